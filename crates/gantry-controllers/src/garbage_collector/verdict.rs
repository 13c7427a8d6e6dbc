//! What becomes of an object, given how its owners are.

use kube::api::PropagationPolicy;

use super::graph::{Dependents, FOREGROUND, ORPHAN};

/// How the owner that a reference names is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// There, and a reason for the object to be there too.
    Solid,
    /// Deleted, and waiting for its dependents to go.
    Waiting,
    /// Not there.
    Absent,
}

/// What is to be done with an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Keep,
    /// The references that are not solid have to go.
    Release,
    /// It goes, after its own dependents: its owner waits. Where they are in a circle with it, it
    /// must no longer hold its owners back.
    Follow {
        unblock: bool,
    },
    Delete(PropagationPolicy),
}

/// The verdict on an object with these owners, dependents and finalizers.
pub(super) fn judge(owners: &[Owner], dependents: Dependents, finalizers: &[String]) -> Verdict {
    let has = |state| owners.contains(&state);
    let holds = |name: &str| finalizers.iter().any(|each| each == name);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    match (has(Owner::Solid), has(Owner::Waiting), has(Owner::Absent)) {
        (true, false, false) => Verdict::Keep,
        (true, _, _) => Verdict::Release,
        (false, true, _) if dependents.any => Verdict::Follow { unblock: dependents.waiting },
        _ if holds(ORPHAN) => Verdict::Delete(PropagationPolicy::Orphan),
        _ if holds(FOREGROUND) => Verdict::Delete(PropagationPolicy::Foreground),
        _ => Verdict::Delete(PropagationPolicy::Background),
    }
}

#[cfg(test)]
mod tests {
    use super::Owner::{Absent, Solid, Waiting};
    use super::*;

    #[test]
    fn an_object_stays_as_long_as_one_owner_does() {
        const ALONE: Dependents = Dependents { any: false, waiting: false };
        const OWNS: Dependents = Dependents { any: true, waiting: false };
        const CIRCLE: Dependents = Dependents { any: true, waiting: true };
        let check = |owners: &[Owner], dependents, finalizers: &[&str], expect: Verdict| {
            let finalizers: Vec<String> = finalizers.iter().copied().map(str::to_owned).collect();
            assert_eq!(judge(owners, dependents, &finalizers), expect, "{owners:?} {dependents:?}");
        };
        check(&[], ALONE, &[], Verdict::Keep);
        check(&[Solid, Solid], OWNS, &[], Verdict::Keep);
        check(&[Solid, Absent], ALONE, &[], Verdict::Release);
        check(&[Solid, Waiting], OWNS, &[], Verdict::Release);
        check(&[Waiting, Absent], OWNS, &[], Verdict::Follow { unblock: false });
        check(&[Waiting], CIRCLE, &[], Verdict::Follow { unblock: true });
        check(&[Waiting], ALONE, &[], Verdict::Delete(PropagationPolicy::Background));
        check(&[Absent], OWNS, &[], Verdict::Delete(PropagationPolicy::Background));
        check(&[Absent], OWNS, &[ORPHAN], Verdict::Delete(PropagationPolicy::Orphan));
        check(&[Absent, Absent], OWNS, &["x", FOREGROUND], Verdict::Delete(PropagationPolicy::Foreground));
    }
}
