//! What a namespace that is being deleted says about what holds it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What one round of deleting its content found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    /// Group versions that could not be discovered.
    pub undiscovered: Vec<String>,
    /// Why discovery's group versions could not be read.
    pub unparsed: Option<String>,
    /// What went wrong with deleting.
    pub errors: Vec<String>,
    /// Objects that are left, by `resource.group`.
    pub remaining: BTreeMap<String, usize>,
    /// Objects that are left and have a finalizer, by finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

struct Verdict {
    type_: &'static str,
    /// Reason and message of the condition being true.
    trouble: Option<(&'static str, String)>,
    /// Reason and message of it being false.
    fine: (&'static str, &'static str),
}

fn verdicts(findings: &Findings) -> [Verdict; 5] {
    let counted = |map: &BTreeMap<String, usize>, text: &dyn Fn(&String, &usize) -> String| {
        map.iter().map(|(name, count)| text(name, count)).collect::<Vec<_>>().join(", ")
    };
    let mut errors = findings.errors.clone();
    errors.sort();
    let undiscovered = (!findings.undiscovered.is_empty()).then(|| {
        let (count, names) = (findings.undiscovered.len(), findings.undiscovered.join(", "));
        let why = format!("unable to retrieve the complete list of server APIs: {names}");
        ("DiscoveryFailed", format!("Discovery failed for some groups, {count} failing: {why}"))
    });
    let failed = (!errors.is_empty()).then(|| {
        let (count, errors) = (errors.len(), errors.join(", "));
        ("ContentDeletionFailed", format!("Failed to delete all resource types, {count} remaining: {errors}"))
    });
    let remaining = (!findings.remaining.is_empty()).then(|| {
        let list =
            counted(&findings.remaining, &|name, count| format!("{name} has {count} resource instances"));
        ("SomeResourcesRemain", format!("Some resources are remaining: {list}"))
    });
    let finalizers = (!findings.finalizers.is_empty()).then(|| {
        let list =
            counted(&findings.finalizers, &|name, count| format!("{name} in {count} resource instances"));
        ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {list}"))
    });
    [
        Verdict {
            type_: "NamespaceDeletionDiscoveryFailure",
            trouble: undiscovered,
            fine: ("ResourcesDiscovered", "All resources successfully discovered"),
        },
        Verdict {
            type_: "NamespaceDeletionGroupVersionParsingFailure",
            trouble: findings.unparsed.clone().map(|why| ("GroupVersionParsingFailed", why)),
            fine: ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        },
        Verdict {
            type_: "NamespaceDeletionContentFailure",
            trouble: failed,
            fine: ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        },
        Verdict {
            type_: "NamespaceContentRemaining",
            trouble: remaining,
            fine: ("ContentRemoved", "All content successfully removed"),
        },
        Verdict {
            type_: "NamespaceFinalizersRemaining",
            trouble: finalizers,
            fine: ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        },
    ]
}

/// Writes the findings into `conditions`; whether that changed any.
pub(super) fn apply(conditions: &mut Vec<NamespaceCondition>, findings: &Findings, now: Timestamp) -> bool {
    let before = conditions.clone();
    for Verdict { type_, trouble, fine } in verdicts(findings) {
        let status = if trouble.is_some() { "True" } else { "False" };
        let (reason, message) = trouble.unwrap_or_else(|| (fine.0, fine.1.to_owned()));
        let at = conditions.iter().position(|each| each.type_ == type_);
        let old = at.map(|at| &conditions[at]).filter(|old| old.status == status);
        let since = old.and_then(|old| old.last_transition_time.clone()).unwrap_or(Time(now));
        let condition = NamespaceCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(since),
        };
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    *conditions != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(conditions: &'a [NamespaceCondition], type_: &str) -> (&'a str, &'a str, &'a str) {
        let found = conditions.iter().find(|each| each.type_ == type_).expect("the condition");
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        (&found.status, text(&found.reason), text(&found.message))
    }

    #[test]
    fn the_five_conditions_say_what_is_left() {
        let findings = Findings {
            errors: vec!["b".into(), "a".into()],
            remaining: [("pods.".into(), 2), ("things.example.com".into(), 1)].into(),
            finalizers: [("example.com/hold".into(), 1)].into(),
            ..Default::default()
        };
        let mut conditions = Vec::new();
        assert!(apply(&mut conditions, &findings, Timestamp::UNIX_EPOCH));
        assert_eq!(conditions.len(), 5);
        let check = |type_, expect| assert_eq!(of(&conditions, type_), expect);
        check(
            "NamespaceDeletionDiscoveryFailure",
            ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        );
        check(
            "NamespaceDeletionContentFailure",
            ("True", "ContentDeletionFailed", "Failed to delete all resource types, 2 remaining: a, b"),
        );
        check(
            "NamespaceContentRemaining",
            (
                "True",
                "SomeResourcesRemain",
                "Some resources are remaining: pods. has 2 resource instances, things.example.com has 1 resource instances",
            ),
        );
        check(
            "NamespaceFinalizersRemaining",
            (
                "True",
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ),
        );
        assert!(!apply(&mut conditions, &findings, Timestamp::MAX), "the same findings change nothing");
        assert!(apply(&mut conditions, &Findings::default(), Timestamp::MAX));
        assert!(conditions.iter().all(|each| each.status == "False"));
        let moved = conditions.iter().filter(|each| each.last_transition_time == Some(Time(Timestamp::MAX)));
        assert_eq!(moved.count(), 3, "only those whose status changed");
    }
}
