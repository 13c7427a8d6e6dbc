//! What to do about the number of pods.

use std::sync::Arc;

use gantry_client::PodView;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{ranking, status};

/// Most pods made or removed before what came of it is looked at.
const BURST: usize = 500;

/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// There are as many as are asked for.
    Nothing,
    /// Make that many.
    Create(usize),
    /// Remove these.
    Delete(Vec<Arc<PodView>>),
}

/// Compares the active pods with what `set` asks for. `related` gives the pods among which surplus
/// ones are chosen so that nodes stay evenly used.
pub fn plan(
    set: &ReplicaSet,
    active: &[Arc<PodView>],
    related: impl FnOnce() -> Vec<Arc<PodView>>,
    now: Timestamp,
) -> Plan {
    let desired = usize::try_from(status::desired(set)).unwrap_or_default();
    if active.len() < desired {
        Plan::Create((desired - active.len()).min(BURST))
    } else if active.len() > desired {
        let surplus = (active.len() - desired).min(BURST);
        Plan::Delete(ranking::least_missed(active, &related(), surplus, now))
    } else {
        Plan::Nothing
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_number_asked_for_is_reached_and_never_passed(desired in 0..1500_usize, start in 0..1500_usize) {
            let set: ReplicaSet = gantry_json::from_value(
                json!({"spec": {"replicas": desired, "selector": {}}}),
            ).expect("a ReplicaSet");
            let made = |count| (0..count).map(|_| Arc::new(PodView::default()));
            let mut pods: Vec<_> = made(start).collect();
            let now = Timestamp::UNIX_EPOCH;
            for _ in 0..4 {
                match plan(&set, &pods, Vec::new, now) {
                    Plan::Nothing => break,
                    Plan::Create(count) => {
                        prop_assert!(count <= BURST);
                        pods.extend(made(count));
                        prop_assert!(pods.len() <= desired);
                    }
                    Plan::Delete(surplus) => {
                        prop_assert!(surplus.len() <= BURST);
                        pods.truncate(pods.len() - surplus.len());
                        prop_assert!(pods.len() >= desired);
                    }
                }
            }
            prop_assert_eq!(pods.len(), desired);
        }
    }
}
