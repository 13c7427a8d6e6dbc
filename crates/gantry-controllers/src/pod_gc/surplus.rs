//! Which pods that have ended are too many.

use std::sync::Arc;

use gantry_client::PodView;

/// The pods to remove so that `most` of those that have ended are left: evicted ones first, then the
/// oldest.
pub(super) fn surplus(pods: Vec<Arc<PodView>>, most: usize) -> Vec<Arc<PodView>> {
    let mut ended: Vec<_> = pods.into_iter().filter(|pod| has_ended(pod)).collect();
    let too_many = ended.len().saturating_sub(most);
    ended.sort_by_cached_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!is_evicted(pod), created, pod.metadata.name.clone())
    });
    ended.truncate(too_many);
    ended
}

/// Whether the pod counts among those that have ended.
pub(super) fn has_ended(pod: &PodView) -> bool {
    pod.is_terminal() && !pod.is_deleted()
}

fn is_evicted(pod: &PodView) -> bool {
    pod.phase.as_deref() == Some("Failed") && pod.reason.as_deref() == Some("Evicted")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::{Pod, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn pod(name: &str, phase: &str, reason: &str, second: i64) -> Arc<PodView> {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.creation_timestamp = Timestamp::from_second(second).ok().map(Time);
        let (phase, reason) = (Some(phase.into()), Some(reason.into()));
        pod.status = Some(PodStatus { phase, reason, ..Default::default() });
        Arc::new(pod.into())
    }

    #[test]
    fn evicted_ones_go_first_then_the_oldest() {
        let pods = || {
            vec![
                pod("a", "Running", "", 1),
                pod("b", "Succeeded", "", 2),
                pod("c", "Failed", "Evicted", 9),
                pod("d", "Failed", "", 3),
                pod("e", "Succeeded", "Evicted", 2),
            ]
        };
        let check = |most: usize, expect: &[&str]| {
            let found = surplus(pods(), most);
            let names: Vec<_> = found.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            assert_eq!(names, expect, "{most}");
        };
        check(9, &[]);
        check(4, &[]);
        check(3, &["c"]);
        check(1, &["c", "b", "e"]);
        check(0, &["c", "b", "e", "d"]);
    }
}
