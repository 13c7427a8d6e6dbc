//! How often each numbered pod failed, where the numbers have limits of their own.
//!
//! A new pod carries what its forerunners' failures come to. So the last failed pod of a number is held
//! until there is a next one, or until none is to come.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gantry_client::PodView;
use k8s_openapi::api::batch::v1::JobSpec;

use super::failures::{Action, is_failed};
use super::plan::{index, is_tracked};

/// The annotations of a pod with the failures of its number before it: those that count, and those that
/// the failure policy ignores.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Failures that count, and failures that are ignored.
pub(super) type Counts = (u32, u32);

/// What is known of the numbers.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// By number, where there is any.
    pub counts: BTreeMap<u32, Counts>,
    /// The numbers that have failed for good.
    pub failed: BTreeSet<u32>,
    /// Uids of pods that are held for their successors.
    pub held: HashSet<String>,
}

impl Retries {
    /// What the pods tell; `failed` are the numbers that had failed before.
    pub fn read(
        spec: &JobSpec,
        pods: &[Arc<PodView>],
        actions: &HashMap<String, Action>,
        failed: BTreeSet<u32>,
    ) -> Option<Self> {
        let limit = u32::try_from(spec.backoff_limit_per_index?).unwrap_or(0);
        let mut retries = Self { failed, ..Self::default() };
        let mut ended: BTreeMap<u32, (Counts, String)> = BTreeMap::new();
        let mut begun: BTreeMap<u32, Counts> = BTreeMap::new();
        for pod in pods {
            let Some(number) = index(pod) else { continue };
            let mut counts = (noted(pod, FAILURES), noted(pod, IGNORED));
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if is_tracked(pod) && is_failed(pod, spec) {
                match actions.get(&uid) {
                    Some(Action::Ignore) => counts.1 += 1,
                    Some(Action::FailIndex) => {
                        counts.0 += 1;
                        retries.failed.insert(number);
                    }
                    _ => counts.0 += 1,
                }
                if counts.0 > limit {
                    retries.failed.insert(number);
                }
                if ended.get(&number).is_none_or(|(known, _)| *known <= counts) {
                    ended.insert(number, (counts, uid));
                }
            } else {
                let known = begun.entry(number).or_default();
                *known = counts.max(*known);
            }
            let known = retries.counts.entry(number).or_default();
            *known = counts.max(*known);
        }
        for (number, (counts, uid)) in ended {
            let succeeded_by = begun.get(&number).is_some_and(|known| *known >= counts);
            if !succeeded_by && !retries.failed.contains(&number) {
                retries.held.insert(uid);
            }
        }
        Some(retries)
    }
}

fn noted(pod: &PodView, key: &str) -> u32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(key)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use k8s_openapi::api::core::v1::Pod;

    use super::super::template::INDEX;
    use super::*;

    #[test]
    fn each_number_has_its_failures() {
        let spec: JobSpec =
            gantry_json::from_value(json!({"backoffLimitPerIndex": 1, "template": {}})).expect("a spec");
        let pod = |name: &str, phase: &str, index: u32, before: u32| -> Arc<PodView> {
            let annotations = json!({INDEX: index.to_string(), FAILURES: before.to_string()});
            let metadata = json!({"name": name, "uid": name, "annotations": annotations,
                "finalizers": [super::super::TRACKING]});
            let pod: Pod = gantry_json::from_value(json!({"metadata": metadata, "status": {"phase": phase}}))
                .expect("a Pod");
            Arc::new(pod.into())
        };
        let read = |pods: &[Arc<PodView>], actions: &[(&str, Action)]| {
            let actions = actions.iter().map(|(uid, action)| ((*uid).to_owned(), action.clone())).collect();
            let found = Retries::read(&spec, pods, &actions, BTreeSet::new()).expect("there are limits");
            let mut held: Vec<String> = found.held.into_iter().collect();
            held.sort();
            (found.counts.into_iter().collect::<Vec<_>>(), found.failed.into_iter().collect::<Vec<_>>(), held)
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let first = pod("a", "Failed", 0, 0);
        assert_eq!(read(std::slice::from_ref(&first), &[]), (vec![(0, (1, 0))], vec![], names(&["a"])));
        let next = pod("b", "Running", 0, 1);
        assert_eq!(read(&[first.clone(), next], &[]), (vec![(0, (1, 0))], vec![], names(&[])));
        let again = pod("b", "Failed", 0, 1);
        assert_eq!(read(&[first.clone(), again], &[]), (vec![(0, (2, 0))], vec![0], names(&[])));
        let other = pod("c", "Running", 1, 0);
        assert_eq!(
            read(&[first.clone(), other], &[("a", Action::Ignore)]),
            (vec![(0, (0, 1)), (1, (0, 0))], vec![], names(&["a"]))
        );
        assert_eq!(read(&[first], &[("a", Action::FailIndex)]), (vec![(0, (1, 0))], vec![0], names(&[])));
        assert!(Retries::read(&JobSpec::default(), &[], &HashMap::new(), BTreeSet::new()).is_none());
    }
}
