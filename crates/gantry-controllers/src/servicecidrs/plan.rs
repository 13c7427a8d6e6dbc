//! The next step for a ServiceCIDR.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use super::{FINALIZER, networks};
use crate::protection;

/// What the condition Ready is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: &'static str,
}

const READY: Ready = Ready { status: "True", reason: "", message: "Kubernetes Service CIDR is ready" };
const TERMINATING: Ready = Ready {
    status: "False",
    reason: "Terminating",
    message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new \
              ServiceCIDR",
};

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The finalizer is to be added, or to be taken away.
    Finalizer,
    /// The condition is to say this.
    Ready(Ready),
    /// It is to be looked at again after this time.
    Later(Duration),
    Nothing,
}

/// Whether the address is one that is handed out of the network: not its own, nor, of IPv4, its broadcasts'.
pub fn contains(network: &IpNet, address: IpAddr) -> bool {
    let last = matches!(network, IpNet::V4(network) if IpAddr::V4(network.broadcast()) == address);
    network.contains(&address) && network.network() != address && !last
}

/// The next step for `range` at `now`. `others` are the networks of the other ranges that stay, `used` the
/// addresses in use, which are asked for only where they matter; `grace` is how long a range stays after its
/// deletion.
pub fn decide<I: Iterator<Item = IpAddr>>(
    range: &ServiceCIDR,
    others: &[IpNet],
    used: impl FnOnce() -> I,
    now: Timestamp,
    grace: Duration,
) -> Step {
    let Some(deleted) = &range.metadata.deletion_timestamp else {
        return match protection::step(range, FINALIZER) {
            protection::Step::Add => Step::Finalizer,
            _ => says(range, READY),
        };
    };
    if protection::step(range, FINALIZER) != protection::Step::RemoveUnlessUsed {
        return Step::Nothing;
    }
    let covered = networks(range).all(|network| others.iter().any(|other| other.contains(&network)));
    let alone = |address: IpAddr| {
        networks(range).any(|network| contains(&network, address))
            && !others.iter().any(|other| contains(other, address))
    };
    if !covered && used().any(alone) {
        return says(range, TERMINATING);
    }
    let since = Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default();
    match grace.checked_sub(since).filter(|left| !left.is_zero()) {
        Some(left) => Step::Later(left),
        None => Step::Finalizer,
    }
}

/// Nothing, if the condition says so already.
fn says(range: &ServiceCIDR, ready: Ready) -> Step {
    let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions = conditions.filter(|condition| condition.type_ == "Ready");
    let same = conditions.next().is_some_and(|condition| {
        (&*condition.status, &*condition.reason, &*condition.message)
            == (ready.status, ready.reason, ready.message)
    });
    if same { Step::Nothing } else { Step::Ready(ready) }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use proptest::prelude::*;

    use super::*;

    const DELETED: &str = "2026-01-01T00:00:00Z";
    const GRACE: Duration = Duration::from_secs(10);

    fn range(cidrs: &[&str], metadata: Value, ready: Option<Ready>) -> ServiceCIDR {
        let condition = |ready: Ready| {
            json!({"type": "Ready", "status": ready.status, "reason": ready.reason, "message": ready.message,
                "lastTransitionTime": DELETED})
        };
        let conditions: Vec<Value> = ready.map(condition).into_iter().collect();
        let object =
            json!({"metadata": metadata, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}});
        gantry_json::from_value(object).unwrap()
    }

    fn after(seconds: i64) -> Timestamp {
        DELETED.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
    }

    fn networks_of(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_range_that_stays_is_ready() {
        let check = |metadata: Value, ready: Option<Ready>, expect: Step| {
            let range = range(&["10.43.0.0/16"], metadata, ready);
            assert_eq!(decide(&range, &[], || [].into_iter(), after(0), GRACE), expect);
        };
        check(json!({}), None, Step::Finalizer);
        check(json!({"finalizers": [FINALIZER]}), None, Step::Ready(READY));
        check(json!({"finalizers": [FINALIZER]}), Some(TERMINATING), Step::Ready(READY));
        let other = Ready { message: "Kubernetes default Service CIDR is ready", ..READY };
        check(json!({"finalizers": [FINALIZER]}), Some(other), Step::Ready(READY));
        check(json!({"finalizers": [FINALIZER]}), Some(READY), Step::Nothing);
    }

    #[test]
    fn a_deleted_range_stays_while_it_is_needed() {
        let check = |others: &[&str], used: &[&str], ready: Ready, at: i64, expect: Step| {
            let metadata = json!({"deletionTimestamp": DELETED, "finalizers": [FINALIZER]});
            let range = range(&["10.43.0.0/24", "fd00:43::/112"], metadata, Some(ready));
            let used = used.iter().map(|address| address.parse().unwrap());
            assert_eq!(decide(&range, &networks_of(others), || used, after(at), GRACE), expect, "{others:?}");
        };
        check(&[], &["10.43.0.7"], READY, 60, Step::Ready(TERMINATING));
        check(&[], &["10.43.0.7"], TERMINATING, 60, Step::Nothing);
        check(&[], &["fd00:43::7"], READY, 60, Step::Ready(TERMINATING));
        check(&[], &["10.44.0.7", "10.43.0.0"], READY, 60, Step::Finalizer);
        check(&["10.43.0.0/28"], &["10.43.0.7"], READY, 60, Step::Finalizer);
        check(&["10.43.0.0/28"], &["10.43.0.7", "10.43.0.15"], READY, 60, Step::Ready(TERMINATING));
        check(&["10.43.0.0/16", "fd00:43::/64"], &["10.43.0.7"], READY, 60, Step::Finalizer);
        check(&["10.43.0.0/16"], &["10.43.0.7", "fd00:43::7"], READY, 60, Step::Ready(TERMINATING));
        check(&[], &[], TERMINATING, 4, Step::Later(Duration::from_secs(6)));
        check(&[], &[], TERMINATING, 10, Step::Finalizer);
        check(&[], &[], TERMINATING, -5, Step::Later(Duration::from_secs(10)));
    }

    #[test]
    fn what_others_hold_is_theirs() {
        let deleted =
            range(&["10.43.0.0/24"], json!({"deletionTimestamp": DELETED, "finalizers": ["x/y"]}), None);
        assert_eq!(decide(&deleted, &[], || [].into_iter(), after(60), GRACE), Step::Nothing);
    }

    proptest! {
        /// Whatever goes: each address that it held is in a range that stays.
        #[test]
        fn no_address_is_left_without_a_range(
            own in 24u8..31,
            others in prop::collection::vec((24u8..31, any::<u8>()), 0..4),
            used in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            let metadata = json!({"deletionTimestamp": DELETED, "finalizers": [FINALIZER]});
            let range = range(&[&format!("10.43.0.0/{own}")], metadata, None);
            let text = |(bits, last): &(u8, u8)| format!("10.43.0.{last}/{bits}").parse::<IpNet>().unwrap().trunc();
            let others: Vec<IpNet> = others.iter().map(text).collect();
            let used: Vec<IpAddr> = used.iter().map(|last| IpAddr::from([10, 43, 0, *last])).collect();
            let own = networks(&range).next().unwrap();
            if decide(&range, &others, || used.iter().copied(), after(60), GRACE) == Step::Finalizer {
                for address in used.iter().filter(|address| contains(&own, **address)) {
                    prop_assert!(others.iter().any(|other| other.contains(address)), "{address}");
                }
            }
        }
    }
}
