//! The Pod Security Standards: what each level forbids, in the form of each release.
//!
//! Every check looks at one thing. Messages name them in the order of their names, those of the baseline
//! level first; a stricter check of the same thing replaces the milder one.

mod baseline;
mod restricted;

use std::collections::BTreeSet;

use gantry_api::rules::common::list;
use gantry_json::Value;

use super::policy::{Level, Standard, Version};

/// The release whose form is the latest.
const LATEST: u32 = 35;

/// A pod as it is, or as a template would make it.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

/// Something that a standard forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub reason: String,
    pub detail: String,
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Option<Self> {
        Some(Self { reason: reason.into(), detail: detail.into() })
    }
}

/// All of them with their details.
pub fn details(violations: &[Violation]) -> String {
    let texts = violations.iter().map(|each| match each.detail.as_str() {
        "" => each.reason.clone(),
        detail => format!("{} ({detail})", each.reason),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// All of them without.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|each| each.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// What `standard` forbids about `pod`.
pub fn violations(standard: Standard, pod: Pod<'_>) -> Vec<Violation> {
    let minor = match standard.version {
        Version::Minor(minor) => minor.min(LATEST),
        Version::Latest => LATEST,
    };
    let active = |checks: &'static [Check]| {
        checks.iter().filter_map(move |check| {
            let of_version = check.since.iter().rev().find(|(since, _)| *since <= minor);
            of_version.map(|(_, run)| (check, *run))
        })
    };
    let restricted: Vec<_> = match standard.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => Vec::new(),
        Level::Restricted => active(restricted::CHECKS).collect(),
    };
    let replaced: Vec<&str> = restricted.iter().filter_map(|(check, _)| check.replaces).collect();
    let baseline = active(baseline::CHECKS).filter(|(check, _)| !replaced.contains(&check.id));
    baseline.chain(restricted.iter().copied()).filter_map(|(_, run)| run(pod)).collect()
}

/// What is checked, in each release's form.
struct Check {
    id: &'static str,
    /// The check of the baseline level that this one makes needless.
    replaces: Option<&'static str>,
    since: &'static [(u32, Run)],
}

type Run = fn(Pod<'_>) -> Option<Violation>;

impl<'a> Pod<'a> {
    /// All containers, with those that start first and those that were added.
    fn containers(self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|field| list(spec, field))
    }

    /// The names of the containers that are so.
    fn containers_that(self, mut are: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| are(container)).map(name).collect()
    }

    fn is_windows(self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether root in it is nobody outside: then some of what is forbidden does no harm.
    fn has_own_users(self) -> bool {
        self.spec["hostUsers"] == false
    }

    fn annotation(self, key: &str) -> Option<&'a str> {
        self.metadata["annotations"].get(key)?.as_str()
    }
}

fn name(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

/// `one` for one of them, else `many`.
fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`.
fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

/// `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names.iter().copied()))
}

/// `pod and container "a"`: who does what is forbidden; `None` where nobody does.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(containers(names)),
        (true, false) => Some(format!("pod and {}", containers(names))),
    }
}

/// The pod and the names of the containers whose security context has a bad `field`, with the bad values.
fn bad_setters<'a>(
    pod: Pod<'a>,
    field: &str,
    is_bad: impl Fn(&'a Value) -> Option<&'a str>,
) -> (bool, Vec<&'a str>, BTreeSet<&'a str>) {
    let mut values = BTreeSet::new();
    let mut bad = |object: &'a Value| {
        let set = object["securityContext"].get(field).filter(|value| !value.is_null());
        let value = set.and_then(&is_bad);
        values.extend(value);
        value.is_some()
    };
    let whole = bad(pod.spec);
    let names = pod.containers().filter(|container| bad(container)).map(name).collect();
    (whole, names, values)
}
