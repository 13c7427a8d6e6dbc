//! Replacing all pods at once: the old ones are gone before the first new one is made.

use std::collections::HashSet;

use super::rollout::Rollout;

/// Whether the new ReplicaSet may have pods: the old ones ask for none, have none, and none of theirs
/// still runs. `running` are the uids of ReplicaSets of which a pod has not ended.
pub fn is_clear(rollout: &Rollout<'_>, running: &HashSet<String>) -> bool {
    rollout.old.iter().all(|plot| {
        let uid = plot.set.metadata.uid.as_ref();
        plot.replicas == 0 && plot.actual() == 0 && uid.is_none_or(|uid| !running.contains(uid))
    })
}

/// One step: the old ReplicaSets ask for no pods; once that is so, the new one asks for all.
pub fn advance(rollout: &mut Rollout<'_>, clear: bool) {
    let limits = rollout.limits;
    for plot in &mut rollout.old {
        plot.scale_unless(0, &limits);
    }
    if let Some(new) = rollout.new.as_mut().filter(|_| clear) {
        new.scale_unless(limits.replicas, &limits);
    }
}
