//! PodSecurity: pods keep to the Pod Security Standard that their namespace's labels name. Pods that do
//! not are refused; of workloads whose pods would not, and of pods that are there when a namespace becomes
//! stricter, clients are warned.

mod checks;
mod configuration;
mod policy;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gantry_api::rules::common::list;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;

use super::{Operation, Request, Turns, WaitingPlugin, text};
use crate::Lookup;
use crate::metrics::{Evaluation, Looked, Metrics};
use checks::{Pod, Violation};
pub(super) use configuration::Configuration;
use policy::{Level, Policy, Standard};

/// Most pods of a namespace that are looked at when it becomes stricter, and for how long.
const MOST_PODS: usize = 3000;
const LONGEST: Duration = Duration::from_secs(1);
/// Subresources of pods that do not change what is checked.
const OTHER_PARTS: [&str; 8] =
    ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// The plugin.
pub(super) struct PodSecurity {
    pub configuration: Configuration,
    pub metrics: Arc<Metrics>,
}

/// It never waits, but it has warnings to give.
#[async_trait]
impl WaitingPlugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::WRITES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        concerns(request)
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let verdict = self.configuration.decide(request, &store.snapshot());
        self.count(request, &verdict);
        request.warnings.extend(verdict.warnings);
        let annotations = verdict.annotations.into_iter();
        request
            .annotations
            .extend(annotations.map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), value)));
        verdict.refusal.map_or(Ok(()), Err)
    }
}

/// What there is to say about a request.
#[derive(Debug, Default)]
struct Verdict {
    refusal: Option<ApiError>,
    warnings: Vec<String>,
    annotations: BTreeMap<&'static str, String>,
    /// What was checked: in which mode, which standard, and whether it was kept to.
    evaluations: Vec<(&'static str, Standard, bool)>,
}

impl Verdict {
    fn exempt(by: &str) -> Self {
        Self { annotations: BTreeMap::from([("exempt", by.to_owned())]), ..Self::default() }
    }
}

impl PodSecurity {
    fn count(&self, request: &Request<'_>, verdict: &Verdict) {
        let counts = &self.metrics.pod_security;
        let looked = Looked {
            request_operation: if request.operation == Operation::Create { "create" } else { "update" },
            resource: match (request.group, request.resource) {
                ("", "pods") => "pod",
                ("", "namespaces") => "namespace",
                _ => "controller",
            },
            subresource: request.subresource.to_owned(),
        };
        if verdict.annotations.contains_key("exempt") {
            counts.exempted(&looked);
        }
        if verdict.annotations.contains_key("error") {
            counts.failed(&looked);
        }
        for (mode, standard, kept) in &verdict.evaluations {
            let decision = if *kept { "allow" } else { "deny" };
            let (policy_level, policy_version) = (standard.level.to_string(), standard.counted_version());
            counts.evaluated(&looked, Evaluation { decision, policy_level, policy_version, mode });
        }
    }
}

impl Configuration {
    fn decide(&self, request: &Request<'_>, objects: &dyn Lookup) -> Verdict {
        match request.resource {
            "namespaces" => self.decide_on_namespace(request, objects),
            resource => self.decide_on_pod(request, resource == "pods", objects),
        }
    }

    fn decide_on_namespace(&self, request: &Request<'_>, objects: &dyn Lookup) -> Verdict {
        let (new, wrong) = Policy::of(&request.object, &self.defaults);
        let old = request.old.map(|old| Policy::of(old, &self.defaults));
        let known = old.as_ref().is_some_and(|(_, before)| *before == wrong);
        if !wrong.is_empty() && !known {
            let refusal = ApiError::invalid("", "Namespace", request.object_name(), &wrong);
            return Verdict { refusal: Some(refusal), ..Verdict::default() };
        }
        let Some((old, _)) = old else { return Verdict::default() };
        let (after, before) = (new.enforce, old.enforce);
        let milder = after.version == before.version && after.level <= before.level;
        if after == before || after.level == Level::Privileged || milder {
            return Verdict::default();
        }
        let name = request.object_name();
        if self.exemptions.namespaces.iter().any(|each| each == name) {
            return Verdict::exempt("namespace");
        }
        let warnings = self.violators(name, after, objects);
        Verdict { warnings, ..Verdict::default() }
    }

    fn decide_on_pod(&self, request: &Request<'_>, enforce: bool, objects: &dyn Lookup) -> Verdict {
        let listed = |names: &[String], name: &str| names.iter().any(|each| each == name);
        if listed(&self.exemptions.namespaces, request.namespace) {
            return Verdict::exempt("namespace");
        }
        if listed(&self.exemptions.usernames, &request.user.name) {
            return Verdict::exempt("user");
        }
        // Most namespaces say nothing about it.
        let labelled =
            objects.get_with("", "namespaces", "", request.namespace, "\"pod-security.kubernetes.io/");
        let namespace = labelled.unwrap_or_default();
        let (policy, wrong) = Policy::of(&namespace, &self.defaults);
        let annotate = |standard: Standard| BTreeMap::from([("enforce-policy", standard.to_string())]);
        if wrong.is_empty() && enforce && policy.is_privileged() {
            let evaluations = vec![("enforce", policy.enforce, true)];
            return Verdict { annotations: annotate(policy.enforce), evaluations, ..Verdict::default() };
        }
        let silent = wrong.is_empty() && !enforce && policy.only_enforces();
        let unchanged = enforce && request.old.is_some_and(|old| !changes(&request.object, old));
        let pod = template(request.group, request.resource).and_then(|place| request.object.pointer(place));
        let Some(pod) = pod.filter(|pod| pod.is_object() && !silent && !unchanged) else {
            return Verdict::default();
        };
        if listed(&self.exemptions.runtime_classes, text(pod, "/spec/runtimeClassName")) {
            return Verdict::exempt("runtimeClass");
        }
        let pod = Pod { metadata: &pod["metadata"], spec: &pod["spec"] };
        let mut verdict = Verdict::default();
        if !wrong.is_empty() {
            let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            let texts = match texts.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            verdict.annotations.insert("error", format!("Failed to parse policy: {texts}"));
        }
        // What is said of the same standard is found once.
        let mut found: Vec<(Standard, Vec<Violation>)> = Vec::new();
        let mut faults = |standard: Standard| {
            let known = found.iter().find(|(each, _)| *each == standard).map(|(_, found)| found.clone());
            let violations = known.unwrap_or_else(|| checks::violations(standard, pod));
            let text = format!("PodSecurity \"{standard}\": {}", checks::details(&violations));
            let any = !violations.is_empty();
            found.push((standard, violations));
            any.then_some(text)
        };
        if enforce {
            verdict.annotations.extend(annotate(policy.enforce));
            let fault = faults(policy.enforce);
            verdict.evaluations.push(("enforce", policy.enforce, fault.is_none()));
            if let Some(text) = fault {
                verdict.refusal = Some(request.forbidden(format!("violates {text}")));
            }
        }
        if let Some(text) = faults(policy.audit) {
            verdict.evaluations.push(("audit", policy.audit, false));
            verdict.annotations.insert("audit-violations", format!("would violate {text}"));
        }
        if verdict.refusal.is_none()
            && let Some(text) = faults(policy.warn)
        {
            verdict.evaluations.push(("warn", policy.warn, false));
            verdict.warnings.push(format!("would violate {text}"));
        }
        verdict
    }

    /// What is to be said of the pods of a namespace that becomes stricter: of each sort of fault once.
    fn violators(&self, namespace: &str, enforce: Standard, objects: &dyn Lookup) -> Vec<String> {
        let started = Instant::now();
        let mut pods = objects.list("", "pods", namespace);
        pods.retain(|pod| {
            let class = text(pod, "/spec/runtimeClassName");
            class.is_empty() || !self.exemptions.runtime_classes.iter().any(|each| each == class)
        });
        // One pod of each controller before the others, which are likely to be the same.
        let mut controllers = HashSet::new();
        let (first, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(|pod| {
            let owners = list(&pod["metadata"], "ownerReferences").iter();
            let mut controller = owners.filter(|owner| owner["controller"] == true);
            controller.next().is_none_or(|owner| controllers.insert(text(owner, "/uid").to_owned()))
        });
        let total = first.len() + others.len();
        let mut checked = 0;
        let mut faults: HashMap<String, (String, usize)> = HashMap::new();
        for pod in first.iter().chain(&others).take(MOST_PODS) {
            checked += 1;
            let pod_name = text(pod, "/metadata/name");
            let pod = Pod { metadata: &pod["metadata"], spec: &pod["spec"] };
            let violations = checks::violations(enforce, pod);
            if !violations.is_empty() {
                let entry = faults.entry(checks::reasons(&violations)).or_default();
                if entry.1 == 0 || pod_name < entry.0.as_str() {
                    entry.0 = pod_name.to_owned();
                }
                entry.1 += 1;
            }
            if started.elapsed() > LONGEST {
                break;
            }
        }
        let mut warnings = Vec::new();
        if checked < total {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
            ));
        }
        if !faults.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut texts: Vec<String> = faults
            .into_iter()
            .map(|(fault, (pod, count))| match count {
                1 => format!("{pod}: {fault}"),
                2 => format!("{pod} (and 1 other pod): {fault}"),
                _ => format!("{pod} (and {} other pods): {fault}", count - 1),
            })
            .collect();
        texts.sort();
        warnings.extend(texts);
        warnings
    }
}

fn concerns(request: &Request<'_>) -> bool {
    let part = request.subresource;
    matches!(request.operation, Operation::Create | Operation::Update)
        && match (request.group, request.resource) {
            ("", "pods") => !OTHER_PARTS.contains(&part),
            ("", "namespaces") => part.is_empty(),
            (group, resource) => part.is_empty() && template(group, resource).is_some(),
        }
}

/// Where a resource's objects hold what their pods look like.
fn template(group: &str, resource: &str) -> Option<&'static str> {
    match (group, resource) {
        ("", "pods") => Some(""),
        ("", "podtemplates") => Some("/template"),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some("/spec/template"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// Whether a pod changes in a way that can make it break a standard: by an image, by a container that is
/// added to it, or by the annotations that once chose seccomp profiles.
fn changes(pod: &Value, old: &Value) -> bool {
    let annotation = |key: &str| {
        let of = |pod: &Value| pod["metadata"]["annotations"].get(key).cloned();
        of(pod) != of(old)
    };
    if annotation("seccomp.security.alpha.kubernetes.io/pod") {
        return true;
    }
    let differs = |new: &Value, old: &Value| {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", text(new, "/name"));
        new["image"] != old["image"] || annotation(&key)
    };
    let (new, old) = (&pod["spec"], &old["spec"]);
    let fixed = ["containers", "initContainers"].into_iter().any(|field| {
        let (new, old) = (list(new, field), list(old, field));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| differs(new, old))
    });
    fixed
        || list(new, "ephemeralContainers").iter().any(|added| {
            let before = list(old, "ephemeralContainers").iter().find(|each| each["name"] == added["name"]);
            before.is_none_or(|before| differs(added, before))
        })
}

#[cfg(test)]
mod tests;
