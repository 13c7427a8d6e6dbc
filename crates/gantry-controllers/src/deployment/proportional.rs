//! Scaling while no rollout goes on or while it is paused: each ReplicaSet grows or shrinks by its
//! share.

use std::cmp::Reverse;

use super::limits::{Limits, is_rolling};
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::rollout::{Plot, Rollout};

/// Whether the Deployment's size was changed since its ReplicaSets were scaled.
pub fn is_due(rollout: &Rollout<'_>) -> bool {
    let mut active = rollout.all().filter(|plot| plot.replicas > 0);
    active.any(|plot| plot.number(DESIRED_REPLICAS).is_some_and(|desired| desired != rollout.limits.replicas))
}

/// Brings the ReplicaSets to the Deployment's size.
pub fn scale(rollout: &mut Rollout<'_>) {
    let limits = rollout.limits;
    if let Some(only) = only_one(rollout) {
        only.scale(limits.replicas, &limits);
        return;
    }
    if rollout.new.as_ref().is_some_and(|new| is_saturated(new, &limits)) {
        for plot in &mut rollout.old {
            plot.scale_unless(0, &limits);
        }
        return;
    }
    if is_rolling(rollout.deployment) {
        share(rollout);
    }
}

/// The one ReplicaSet to scale: the active one, or the latest where none is.
fn only_one<'a>(rollout: &'a mut Rollout<'_>) -> Option<&'a mut Plot> {
    match rollout.all().filter(|plot| plot.replicas > 0).count() {
        0 => rollout.new.as_mut().or(rollout.old.last_mut()),
        1 => rollout.active_mut().next(),
        _ => None,
    }
}

/// Whether the new ReplicaSet has all the pods that the Deployment asks for.
fn is_saturated(new: &Plot, limits: &Limits) -> bool {
    new.number(DESIRED_REPLICAS) == Some(limits.replicas)
        && new.replicas == limits.replicas
        && new.available() == limits.replicas
}

fn share(rollout: &mut Rollout<'_>) {
    let limits = rollout.limits;
    let allowed = if limits.replicas > 0 { limits.most() } else { 0 };
    let to_add = allowed - rollout.asked();
    let known = rollout.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let mut active: Vec<_> = rollout.active_mut().collect();
    // The largest first; among equals, the newest grows first and the oldest shrinks first.
    active.sort_by(|a, b| a.age().cmp(&b.age()));
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|plot| Reverse(plot.replicas));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for plot in &active {
        let left = to_add - added;
        let part = if left == 0 { 0 } else { fraction(plot, &limits, known) };
        let part = if to_add > 0 { part.min(left) } else { part.max(left) };
        added += part;
        sizes.push(plot.replicas + part);
    }
    // What rounding left over goes to the largest.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (plot, size) in active.into_iter().zip(sizes) {
        plot.scale(size, &limits);
    }
}

/// By how much a ReplicaSet changes when the whole Deployment goes from its size then to its size now.
fn fraction(plot: &Plot, limits: &Limits, known: i32) -> i32 {
    if limits.replicas == 0 {
        return -plot.replicas;
    }
    let before = plot.number(MAX_REPLICAS).filter(|most| *most != 0).unwrap_or(known);
    if before == 0 {
        return 0;
    }
    let size = f64::from(plot.replicas) * f64::from(limits.most()) / f64::from(before);
    // Out of range cannot happen but by a mad annotation; the cast saturates then.
    (size.round() as i32).saturating_sub(plot.replicas)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_json::json;
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;

    fn plot(name: &str, age: i32, replicas: i32, most: i32) -> Plot {
        let set = json!({
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", 60 - age), "annotations": {
                DESIRED_REPLICAS: "10", MAX_REPLICAS: most.to_string(),
            }},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"replicas": replicas, "availableReplicas": replicas},
        });
        Plot::of(Arc::new(gantry_json::from_value(set).expect("a ReplicaSet")))
    }

    #[track_caller]
    fn check(replicas: i32, surge: i32, new: Option<(i32, i32)>, old: &[(i32, i32)], expect: &[i32]) {
        let deployment = Deployment::default();
        let limits = Limits { replicas, surge, unavailable: 0 };
        let old = old.iter().enumerate();
        let old =
            old.map(|(n, (size, most))| plot(&format!("old{n}"), 20 - n as i32, *size, *most)).collect();
        let new = new.map(|(size, most)| plot("new", 1, size, most));
        let mut rollout = Rollout { deployment: &deployment, limits, new, creates: false, old };
        assert!(is_due(&rollout) || rollout.asked() == 0);
        scale(&mut rollout);
        let sizes: Vec<_> = rollout.new.iter().chain(&rollout.old).map(|plot| plot.replicas).collect();
        assert_eq!(sizes, expect);
        let changed = rollout.all().filter(|plot| plot.replicas > 0);
        assert!(changed.into_iter().all(|plot| plot.number(DESIRED_REPLICAS) == Some(replicas)));
    }

    #[test]
    fn the_only_active_one_takes_it_all() {
        check(12, 0, Some((10, 10)), &[], &[12]);
        check(6, 0, Some((10, 10)), &[], &[6]);
        check(3, 0, None, &[(10, 10)], &[3]);
        check(0, 0, Some((10, 10)), &[(0, 10)], &[0, 0]);
        check(5, 0, Some((0, 10)), &[(0, 10)], &[5, 0]);
    }

    #[test]
    fn several_get_their_shares() {
        check(20, 0, Some((5, 10)), &[(5, 10)], &[10, 10]);
        check(5, 0, Some((5, 10)), &[(5, 10)], &[3, 2]);
        check(15, 0, Some((2, 10)), &[(8, 10)], &[3, 12]);
        check(11, 1, Some((5, 10)), &[(3, 10), (2, 10)], &[6, 4, 2]);
        check(0, 0, Some((5, 10)), &[(5, 10)], &[0, 0]);
        check(30, 3, Some((5, 13)), &[(8, 13)], &[13, 20]);
    }
}
