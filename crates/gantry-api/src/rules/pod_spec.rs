//! What is wrong with the spec of a pod or a pod template.

use gantry_json::Value;

use super::common::{dns_label, dns_subdomain, legacy_ip, list, qualified_name, required_one_of, text};
use super::container::{self, Around};
use super::resources::{self, Of};
use super::{app_armor, container_env, placement, security_context, volume};
use crate::field::{FieldError, Path};
use crate::pod_resources;
use crate::quantity::Quantity;

/// The annotation of a pod that stands for one that a node runs by itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The most name servers, the most domains that are searched, and the most characters of those.
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const LONGEST_SEARCHES: usize = 2048;
/// The longest name that a host can have.
const LONGEST_HOSTNAME: usize = 64;

/// Checks a spec; `pod` is the pod's name, where it is one.
pub(super) fn validate(path: &Path, spec: &Value, pod: Option<&str>, errors: &mut Vec<FieldError>) {
    let volumes = volume::validate_all(&path.child("volumes"), list(spec, "volumes"), pod, errors);
    let claims = list(spec, "resourceClaims");
    resource_claims(&path.child("resourceClaims"), claims, errors);
    let around = Around {
        volumes,
        claims: claims.iter().map(|claim| text(claim, "name")).filter(|name| !name.is_empty()).collect(),
        grace: spec["terminationGracePeriodSeconds"].as_i64(),
        restart: text(spec, "restartPolicy"),
        host_users: spec["hostUsers"] != false,
        is_pod: pod.is_some(),
    };
    container::validate_all(&path.child("containers"), list(spec, "containers"), &around, errors);
    container::validate_init(&path.child("initContainers"), spec, &around, errors);
    container::validate_ephemeral(&path.child("ephemeralContainers"), spec, &around, errors);
    container_env::validate_files(path, spec, errors);
    whole(&path.child("resources"), spec, &around.claims, errors);
    host_network(&path.child("containers"), spec, pod.is_some(), errors);
    let restarts = ["Always", "Never", "OnFailure"];
    required_one_of(&path.child("restartPolicy"), around.restart, &restarts, errors);
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    required_one_of(&path.child("dnsPolicy"), text(spec, "dnsPolicy"), &policies, errors);
    super::common::labels(&path.child("nodeSelector"), &spec["nodeSelector"], errors);
    security_context::of_pod(&path.child("securityContext"), spec, errors);
    placement::affinity(&path.child("affinity"), &spec["affinity"], errors);
    name_resolution(&path.child("dnsConfig"), spec, errors);
    gates(path, spec, errors);
    let constraints = list(spec, "topologySpreadConstraints");
    placement::spread(&path.child("topologySpreadConstraints"), constraints, errors);
    security_context::host_processes(path, spec, errors);
    host_users(path, spec, errors);
    names(path, spec, errors);
    placement::tolerations(&path.child("tolerations"), list(spec, "tolerations"), errors);
    host_aliases(&path.child("hostAliases"), list(spec, "hostAliases"), errors);
    let policy = &spec["preemptionPolicy"];
    if let Some(policy) = policy.as_str() {
        let known = ["Never", "PreemptLowerPriority"];
        required_one_of(&path.child("preemptionPolicy"), policy, &known, errors);
    }
    for (name, amount) in spec["overhead"].as_object().into_iter().flatten() {
        let path = path.child("overhead").child("limits").key(name);
        resources::container_name(&path, name, errors);
        resources::amount(&path, name, amount, errors);
    }
    security_context::operating_system(path, spec, errors);
    if pod.is_some() && text(spec, "serviceAccountName").is_empty() {
        tokens_without_account(path, spec, errors);
    }
}

/// Checks a new pod's spec alone.
pub(super) fn validate_new(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let words = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), words));
    }
}

/// Checks annotations that say something of a pod.
pub(super) fn annotations(path: &Path, annotations: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    if let Some(value) = annotations[MIRROR].as_str()
        && text(spec, "nodeName").is_empty()
    {
        let words = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(FieldError::invalid(&path.key(MIRROR), value, words));
    }
    if let Some(value) = annotations[DELETION_COST].as_str() {
        let first = value.starts_with('-') || value == "0" || value.starts_with(|c| ('1'..='9').contains(&c));
        if !first || value.parse::<i32>().is_err() {
            errors.push(FieldError::invalid(&path.key(DELETION_COST), value, "must be a 32bit integer"));
        }
    }
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let Some(name) = key.strip_prefix(app_armor::PREFIX) else { continue };
        let (at, profile) = (path.key(key), value.as_str().unwrap_or_default());
        let mut containers = security_context::containers(path, spec);
        if !containers.any(|(_, container)| text(container, "name") == name) {
            errors.push(FieldError::invalid(&at, name, "container not found"));
        }
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            let words = format!("invalid AppArmor profile name: {profile:?}");
            errors.push(FieldError::invalid(&at, profile, words));
        }
    }
}

fn resource_claims(path: &Path, claims: &[Value], errors: &mut Vec<FieldError>) {
    for (at, claim) in claims.iter().enumerate() {
        let (path, name) = (path.index(at), text(claim, "name"));
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if claims[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        } else {
            dns_label(&path.child("name"), name, errors);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        let words = match sources.iter().filter(|source| claim[**source].is_string()).count() {
            0 => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            1 => "",
            _ => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        };
        if !words.is_empty() {
            errors.push(FieldError::invalid(&path, claim.clone(), words));
        }
        for source in sources {
            if let Some(name) = claim[source].as_str() {
                dns_subdomain(&path.child(source), name, errors);
            }
        }
    }
}

/// Checks what a pod asks for altogether, beside what its containers do.
fn whole(path: &Path, spec: &Value, claims: &[&str], errors: &mut Vec<FieldError>) {
    let given = &spec["resources"];
    if !given.is_object() {
        return;
    }
    if !given["claims"].is_null() {
        let words = "claims cannot be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), words));
    }
    resources::requirements(path, given, Of::Pod, claims, errors);
    let mut spec_alone = spec.clone();
    spec_alone.as_object_mut().map(|fields| fields.remove("resources"));
    let requests = pod_resources::read(&given["requests"]);
    let nothing = Quantity::from_value(0, crate::quantity::Format::DecimalSi);
    for (name, sum) in pod_resources::requests(&spec_alone) {
        // Of what cannot be asked for by pods only containers say anything.
        if !pod_resources::is_for_pods(&name) {
            continue;
        }
        let wanted = requests.get(&name).copied().unwrap_or(nothing);
        if sum > wanted {
            let words = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(FieldError::invalid(&path.child("requests").key(&name), wanted.to_string(), words));
        }
    }
    let limits = pod_resources::read(&given["limits"]);
    for (at, container) in list(spec, "containers").iter().enumerate() {
        for (name, limit) in pod_resources::read(&container["resources"]["limits"]) {
            if let Some(whole) = limits.get(&name).filter(|whole| limit > **whole) {
                let words = format!("must be less than or equal to pod limits of {whole}");
                let path = path.child("containers").index(at).key(&name).child("limits");
                errors.push(FieldError::invalid(&path, limit.to_string(), words));
            }
        }
    }
}

/// Checks that with the node's network, ports are the node's.
fn host_network(path: &Path, spec: &Value, is_pod: bool, errors: &mut Vec<FieldError>) {
    if spec["hostNetwork"] != true {
        return;
    }
    for (at, container) in list(spec, "containers").iter().enumerate() {
        for (index, port) in list(container, "ports").iter().enumerate() {
            let number = |key: &str| port[key].as_i64().unwrap_or(0);
            let (host, own) = (number("hostPort"), number("containerPort"));
            if (is_pod || host != 0) && host != own {
                let path = path.index(at).child("ports").index(index).child("hostPort");
                let words = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path, host, words));
            }
        }
    }
}

fn name_resolution(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let config = &spec["dnsConfig"];
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if !config.is_object() {
            let words = "must provide `dnsConfig` when `dnsPolicy` is None";
            return errors.push(FieldError::required(path, words));
        }
        if servers.is_empty() {
            let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.push(FieldError::required(&path.child("nameservers"), words));
        }
    }
    let at = path.child("nameservers");
    if servers.len() > MOST_SERVERS {
        let words = format!("must not have more than {MOST_SERVERS} nameservers");
        errors.push(FieldError::invalid(&at, servers.to_vec(), words));
    }
    for (index, server) in servers.iter().enumerate() {
        legacy_ip(&at.index(index), server.as_str().unwrap_or_default(), errors);
    }
    let (at, searches) = (path.child("searches"), list(config, "searches"));
    if searches.len() > MOST_SEARCHES {
        let words = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.push(FieldError::invalid(&at, searches.to_vec(), words));
    }
    let length: usize = searches.iter().map(|search| search.as_str().map_or(0, str::len) + 1).sum();
    if length > LONGEST_SEARCHES + 1 {
        let words = format!(
            "must not have more than {LONGEST_SEARCHES} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(&at, searches.to_vec(), words));
    }
    for (index, search) in searches.iter().filter_map(Value::as_str).enumerate() {
        if search != "." {
            search_domain(&at.index(index), search.strip_suffix('.').unwrap_or(search), errors);
        }
    }
    for (index, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(&path.child("options").index(index), "must not be empty"));
        }
    }
}

/// Checks a domain whose parts may have underscores.
fn search_domain(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '_' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*')";
    if name.len() > 253 {
        errors.push(FieldError::invalid(path, name, super::common::too_long(253)));
    }
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        let inner = part.chars().all(|c| fine(c) || matches!(c, '-' | '_'));
        let ends = part == "_" || part.ends_with(fine);
        part.starts_with(|c| fine(c) || c == '_') && ends && inner
    };
    if !name.split('.').all(part) {
        errors.push(FieldError::invalid(path, name, FORM));
    }
}

fn gates(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    for (at, gate) in list(spec, "readinessGates").iter().enumerate() {
        let path = path.child("readinessGates").index(at).child("conditionType");
        qualified_name(&path, text(gate, "conditionType"), errors);
    }
    let gates = list(spec, "schedulingGates");
    for (at, gate) in gates.iter().enumerate() {
        let (path, name) = (path.child("schedulingGates").index(at), text(gate, "name"));
        qualified_name(&path, name, errors);
        if gates[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
    }
}

fn host_users(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if spec["hostUsers"] != false {
        return;
    }
    for (key, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec[key] == true {
            errors.push(FieldError::forbidden(&path.child(shown), "when `pod.Spec.HostUsers` is false"));
        }
    }
}

fn names(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    for key in ["serviceAccountName", "nodeName"].into_iter().filter(|key| !text(spec, key).is_empty()) {
        dns_subdomain(&path.child(key), text(spec, key), errors);
    }
    let (at, deadline) = (path.child("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"]);
    if deadline.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let words = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(&at, deadline.clone(), words));
    }
    for key in ["hostname", "subdomain"].into_iter().filter(|key| !text(spec, key).is_empty()) {
        dns_label(&path.child(key), text(spec, key), errors);
    }
    if let Some(name) = spec["hostnameOverride"].as_str() {
        let at = path.child("hostnameOverride");
        dns_subdomain(&at, name, errors);
        if name.len() > LONGEST_HOSTNAME {
            let words = format!("must be no more than {LONGEST_HOSTNAME} characters");
            errors.push(FieldError::invalid(&at, name, words));
        }
        for key in ["hostNetwork", "setHostnameAsFQDN"].into_iter().filter(|key| spec[*key] == true) {
            errors.push(FieldError::forbidden(&at, format!("may not be set when `{key}` is true")));
        }
    }
    if !text(spec, "priorityClassName").is_empty() {
        dns_subdomain(&path.child("priorityClassName"), text(spec, "priorityClassName"), errors);
    }
    if let Some(name) = spec["runtimeClassName"].as_str() {
        dns_subdomain(&path.child("runtimeClassName"), name, errors);
    }
}

fn host_aliases(path: &Path, aliases: &[Value], errors: &mut Vec<FieldError>) {
    for (at, alias) in aliases.iter().enumerate() {
        let path = path.index(at);
        legacy_ip(&path.child("ip"), text(alias, "ip"), errors);
        for (at, name) in list(alias, "hostnames").iter().filter_map(Value::as_str).enumerate() {
            dns_subdomain(&path.child("hostnames").index(at), name, errors);
        }
    }
}

fn tokens_without_account(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.child("volumes").index(at).child("projected").child("sources");
        for (at, source) in list(&volume["projected"], "sources").iter().enumerate() {
            if source["serviceAccountToken"].is_object() {
                let words = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(&path.index(at).child("serviceAccountToken"), words));
            }
        }
    }
}
