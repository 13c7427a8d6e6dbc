//! Replacing pods little by little.

use super::rollout::{Plot, Rollout};

/// One step: the new ReplicaSet grows as far as the surge allows, the old ones shrink as far as
/// availability allows. The next step comes when pods have changed.
pub fn advance(rollout: &mut Rollout<'_>) {
    grow(rollout);
    shrink(rollout);
}

fn grow(rollout: &mut Rollout<'_>) {
    let limits = rollout.limits;
    let room = (limits.most() - rollout.asked()).max(0);
    let Some(new) = &mut rollout.new else { return };
    let missing = limits.replicas - new.replicas;
    // Below zero it is too large, and shrinks at once.
    new.scale_unless(new.replicas + missing.min(room), &limits);
}

fn shrink(rollout: &mut Rollout<'_>) {
    let limits = rollout.limits;
    let fewest = limits.fewest_available();
    // Pods of the new ReplicaSet count only once they are available, so that the old ones are not
    // given up for pods that never come up.
    let new = rollout.new.as_ref().map_or(0, Plot::lasting);
    let old: i32 = rollout.old.iter().map(|plot| plot.replicas).sum();
    let surplus = old + new - fewest;
    // Unavailable pods first: to lose them costs nothing, and they would hold the rollout up. The
    // ReplicaSet controller removes them before others.
    give_up(rollout, surplus, |plot| plot.replicas - plot.lasting());
    let old: i32 = rollout.old.iter().map(Plot::lasting).sum();
    give_up(rollout, old + new - fewest, |plot| plot.replicas);
}

/// Takes up to `surplus` replicas from the old ReplicaSets, oldest first, from each up to `most`.
fn give_up(rollout: &mut Rollout<'_>, mut surplus: i32, most: impl Fn(&Plot) -> i32) {
    let limits = rollout.limits;
    for plot in &mut rollout.old {
        let count = most(plot).min(surplus);
        if count > 0 {
            plot.scale(plot.replicas - count, &limits);
            surplus -= count;
        }
    }
}
