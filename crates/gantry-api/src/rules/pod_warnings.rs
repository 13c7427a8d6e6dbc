//! What is said about pods and pod templates that are accepted all the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use gantry_json::Value;

use super::common::{deprecated_label, dns_label, list, text};
use super::persistent_volume_claim::quantity;
use super::security_context::containers;
use super::{addresses, app_armor, volume_warnings};
use crate::field::Path;

/// Words for a term that selects nothing.
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
/// The most paths of which each is compared with each.
const FEW: usize = 8;
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Annotations that say nothing any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        r#"non-functional in v1.11+; use the "sysctls" field instead"#,
    ),
];

/// The annotation that said how a pod's system calls are filtered, and the start of that for a container's.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// What is said about a pod, or the template at `path`.
pub(super) fn of(path: &Path, pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let (at, spec) = (path.child("spec"), &pod["spec"]);
    selection(&at, spec, &mut warnings);
    let annotations = path.child("metadata").child("annotations");
    for (key, words) in ANNOTATIONS {
        if !pod["metadata"]["annotations"][key].is_null() {
            warnings.push(format!("{}: {words}", annotations.key(key)));
        }
    }
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        of_volume(&at.child("volumes").index(index), volume, &mut warnings);
    }
    lists(&at, spec, &mut warnings);
    for name in ["memory", "ephemeral-storage"] {
        whole_bytes(&at.child("overhead").key(name), &spec["overhead"][name], &mut warnings);
    }
    let mut seccomp = |holder: &Value, key: String| {
        let (given, profile) =
            (&pod["metadata"]["annotations"][&key], &holder["securityContext"]["seccompProfile"]);
        if !given.is_null() && profile.is_null() {
            let words = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
            warnings.push(format!("{}: {words}", annotations.key(&key)));
        }
    };
    if !pod["metadata"]["annotations"].is_null() {
        seccomp(spec, SECCOMP_POD.to_owned());
        for (_, container) in containers(&at, spec) {
            seccomp(container, format!("{SECCOMP_CONTAINER}{}", text(container, "name")));
        }
    }
    for (path, container) in containers(&at, spec) {
        for field in ["limits", "requests"] {
            for name in ["memory", "ephemeral-storage"] {
                let at = path.child("resources").child(field).key(name);
                whole_bytes(&at, &container["resources"][field][name], &mut warnings);
            }
        }
        variables(&path.child("env"), list(container, "env"), &mut warnings);
    }
    ports(&at, spec, &mut warnings);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let words = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{}: {words}", at.child("terminationGracePeriodSeconds")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (path, terms) = (at.child("affinity").child(kind), &spec["affinity"][kind]);
        for (index, term) in list(terms, REQUIRED).iter().enumerate() {
            no_selector(&path.child(REQUIRED).index(index), term, &mut warnings);
        }
        for (index, term) in list(terms, PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(index).child("podAffinityTerm");
            no_selector(&path, &term["podAffinityTerm"], &mut warnings);
        }
    }
    warnings
}

/// What is said about the name of an object whose pods' hosts are named by it.
pub(super) fn of_name(object: &Value) -> Option<String> {
    let (path, mut faults) = (Path::new("metadata").child("name"), Vec::new());
    dns_label(&path, text(&object["metadata"], "name"), &mut faults);
    let faults: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
    let words = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
    (!faults.is_empty()).then(|| format!("{path}: {words}: [{}]", faults.join(" ")))
}

/// What is said about a workload's template at `path` that is new or changed.
pub(super) fn of_template(path: &Path, template: &Value, old: Option<&Value>) -> Vec<String> {
    match old {
        Some(old) if old == template => Vec::new(),
        _ => [of(path, template), app_armor::of_template(path, template)].concat(),
    }
}

fn no_selector(path: &Path, term: &Value, warnings: &mut Vec<String>) {
    if term["labelSelector"].is_null() {
        warnings.push(format!("{}: {NO_SELECTOR}", path.child("labelSelector")));
    }
}

/// What is said about labels of nodes with newer names, and terms that select nothing.
fn selection(path: &Path, spec: &Value, warnings: &mut Vec<String>) {
    for (key, _) in spec["nodeSelector"].as_object().into_iter().flatten() {
        warnings.extend(deprecated_label(&path.child("nodeSelector").key(key), key));
    }
    let (at, nodes) = (path.child("affinity").child("nodeAffinity"), &spec["affinity"]["nodeAffinity"]);
    let terms = at.child(REQUIRED).child("nodeSelectorTerms");
    volume_warnings::of_node_terms(&terms, list(&nodes[REQUIRED], "nodeSelectorTerms"), warnings);
    for (index, term) in list(nodes, PREFERRED).iter().enumerate() {
        let path = at.child(PREFERRED).index(index).child("preference").child("matchExpressions");
        for (index, expression) in list(&term["preference"], "matchExpressions").iter().enumerate() {
            warnings.extend(deprecated_label(&path.index(index).child("key"), text(expression, "key")));
        }
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        let key = text(constraint, "topologyKey");
        if let Some(said) = deprecated_label(&Path::new(""), key) {
            let words = said.trim_start_matches(": ");
            warnings.push(format!("{}: {key} is {words}", path.child("topologyKey")));
        }
        no_selector(&path, constraint, warnings);
    }
}

fn of_volume(path: &Path, volume: &Value, warnings: &mut Vec<String>) {
    if volume["gitRepo"].is_object() {
        warnings.push(format!(
            "{}: deprecated in v1.11, and disabled by default in v1.33+",
            path.child("gitRepo")
        ));
    }
    for source in ["flocker", "quobyte"].into_iter().filter(|source| volume[*source].is_object()) {
        warnings.push(format!("{}: deprecated in v1.22, non-functional in v1.25+", path.child(source)));
    }
    volume_warnings::of_source(path, volume, warnings);
    let claim = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
    let at = path.child("ephemeral").child("volumeClaimTemplate").child("spec");
    volume_warnings::of_claim_spec(&at, claim, warnings);
    let name = text(volume, "name");
    for (kind, title, names) in [
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
        ("downwardAPI", "DownwardAPI", ""),
    ] {
        let source = &volume[kind];
        let words = || {
            let of = match names {
                "" => title.to_owned(),
                names => format!("{title} {:?}", text(source, names)),
            };
            format!("volume {name:?} ({of}): overlapping paths")
        };
        overlaps(words, &paths(source), warnings);
    }
    projected(name, list(&volume["projected"], "sources"), warnings);
}

/// The paths of the files of a source.
fn paths(source: &Value) -> Vec<&str> {
    list(source, "items").iter().map(|item| text(item, "path")).collect()
}

fn projected(name: &str, sources: &[Value], warnings: &mut Vec<String>) {
    let mut all: Vec<&str> = Vec::new();
    for source in sources {
        let (mut own, kind, of) = if !list(&source["configMap"], "items").is_empty() {
            (paths(&source["configMap"]), "ConfigMap", Some(text(&source["configMap"], "name")))
        } else if !list(&source["secret"], "items").is_empty() {
            (paths(&source["secret"]), "Secret", Some(text(&source["secret"], "name")))
        } else if !list(&source["downwardAPI"], "items").is_empty() {
            (paths(&source["downwardAPI"]), "DownwardAPI", None)
        } else if source["serviceAccountToken"].is_object() {
            (vec![text(&source["serviceAccountToken"], "path")], "ServiceAccountToken", None)
        } else {
            if source.as_object().is_none_or(gantry_json::Map::is_empty) {
                warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
            }
            continue;
        };
        let words = || {
            let of = of.map(|name| format!(" {name:?}")).unwrap_or_default();
            format!("volume {name:?} (Projected {kind}{of}): overlapping paths")
        };
        overlaps(words, &own, warnings);
        own.sort_unstable();
        own.dedup();
        let mut together = [&*own, &*all].concat();
        together.sort_unstable();
        overlaps(words, &together, warnings);
        all.extend(own);
        all.sort_unstable();
        all.dedup();
    }
}

/// Tells paths that are others, or lie in them.
fn overlaps(words: impl Fn() -> String, paths: &[&str], warnings: &mut Vec<String>) {
    let touch = |one: &str, other: &str| other.starts_with(one) || one.starts_with(other);
    let apart = |(at, one): (usize, &&str)| {
        paths[..at].iter().all(|other| !touch(one.trim_end_matches('/'), other.trim_end_matches('/')))
    };
    if paths.len() <= FEW && paths.iter().enumerate().all(apart) {
        return;
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for path in paths.iter().map(|path| path.trim_end_matches('/')) {
        let within = |other: &&&str| touch(path, other);
        let empty = path.is_empty() || seen.contains("");
        if let Some(other) = seen.iter().find(within).filter(|_| !empty) {
            warnings.push(format!("{}: {path:?} with {other:?}", words()));
        }
        seen.insert(path);
    }
}

/// What is said about names and addresses that are there twice.
fn lists(path: &Path, spec: &Value, warnings: &mut Vec<String>) {
    for (field, key, what) in [("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")] {
        let mut seen = HashSet::new();
        for (at, item) in list(spec, field).iter().enumerate() {
            let (path, value) = (path.child(field).index(at).child(key), text(item, key));
            if !seen.insert(value) {
                warnings.push(format!("{path}: duplicate {what} {value:?}"));
            }
        }
    }
    for (at, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            let path = path.child("imagePullSecrets").index(at).child("name");
            warnings.push(format!("{path}: invalid empty name \"\""));
        }
    }
    for (at, alias) in list(spec, "hostAliases").iter().enumerate() {
        addresses::of_ip(&path.child("hostAliases").index(at).child("ip"), text(alias, "ip"), warnings);
    }
    for (at, server) in list(&spec["dnsConfig"], "nameservers").iter().filter_map(Value::as_str).enumerate() {
        addresses::of_ip(&path.child("dnsConfig").child("nameservers").index(at), server, warnings);
    }
}

fn whole_bytes(path: &Path, amount: &Value, warnings: &mut Vec<String>) {
    if let Some(amount) = quantity(amount).filter(|amount| amount.milli_value() % 1000 != 0) {
        let amount = amount.to_string();
        warnings.push(format!("{path}: fractional byte value {amount:?} is invalid, must be an integer"));
    }
}

fn variables(path: &Path, variables: &[Value], warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (at, variable) in variables.iter().enumerate() {
        let (name, value) = (text(variable, "name"), text(variable, "value"));
        if seen.insert(name) {
            continue;
        }
        // What builds on the earlier value hides nothing.
        let earlier = format!("$({name})");
        if !variable["valueFrom"].is_null() || value == earlier || !value.contains(&earlier) {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                path.index(at)
            ));
        }
    }
}

fn ports(path: &Path, spec: &Value, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<(i64, &str), Vec<(Path, &Value)>> = BTreeMap::new();
    for (path, container) in containers(path, spec) {
        for (at, port) in list(container, "ports").iter().enumerate() {
            let at = path.child("ports").index(at);
            let host = |port: &Value| port["hostPort"].as_i64().unwrap_or(0);
            let address = |port: &Value| text(port, "hostIP").to_owned();
            let key = (port["containerPort"].as_i64().unwrap_or(0), text(port, "protocol"));
            let others = seen.entry(key).or_default();
            for (other_at, other) in others.iter() {
                let what = if address(port) == address(other) && host(port) == host(other) {
                    "duplicate"
                } else if host(port) == 0 || host(other) == 0 {
                    "overlapping"
                } else if host(port) == host(other) && address(port).is_empty() != address(other).is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{at}: {what} port definition with {other_at}"));
            }
            others.push((at, port));
        }
    }
}
