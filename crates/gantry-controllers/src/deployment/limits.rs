//! How far a rollout may go from the number of replicas asked for.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The numbers that bound a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Replicas asked for.
    pub replicas: i32,
    /// How many pods more than that there may be.
    pub surge: i32,
    /// How many of them may be unavailable.
    pub unavailable: i32,
}

impl Limits {
    /// The limits of `deployment`. Shares of surge are rounded up, of unavailability down; where both
    /// come to nothing one pod may be unavailable, so that the rollout can go on.
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        if !is_rolling(deployment) {
            return Self { replicas, surge: 0, unavailable: 0 };
        }
        let rolling =
            spec.and_then(|spec| spec.strategy.as_ref()?.rolling_update.clone()).unwrap_or_default();
        let surge = amount(rolling.max_surge.as_ref(), replicas, true);
        let mut unavailable = amount(rolling.max_unavailable.as_ref(), replicas, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }

    /// Most pods there may be, by what the ReplicaSets ask for.
    pub fn most(&self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }

    /// Fewest pods that must be available.
    pub fn fewest_available(&self) -> i32 {
        self.replicas - self.unavailable
    }
}

/// Whether pods are replaced little by little.
pub fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// `value` of `of`; a share is rounded as `up` says.
pub(crate) fn amount(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredths = percent.saturating_mul(of.into());
            let whole = if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn limits(replicas: i32, surge: Value, unavailable: Value) -> (i32, i32) {
        let deployment = gantry_json::from_value(json!({"spec": {
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        }}))
        .expect("a Deployment");
        let limits = Limits::of(&deployment);
        (limits.surge, limits.unavailable)
    }

    #[test]
    fn shares_are_rounded_in_favour_of_availability() {
        assert_eq!(limits(10, json!("25%"), json!("25%")), (3, 2));
        assert_eq!(limits(3, json!("25%"), json!("25%")), (1, 0));
        assert_eq!(limits(1, json!("25%"), json!("25%")), (1, 0));
        assert_eq!(limits(2, json!(0), json!("25%")), (0, 1));
        assert_eq!(limits(2, json!(5), json!(5)), (5, 2));
        assert_eq!(limits(0, json!("25%"), json!("25%")), (0, 0));
        assert_eq!(limits(3, json!("100%"), json!("100%")), (3, 3));
    }

    #[test]
    fn recreation_knows_no_limits() {
        let deployment = gantry_json::from_value(json!({"spec": {
            "replicas": 3, "selector": {}, "template": {}, "strategy": {"type": "Recreate"},
        }}))
        .expect("a Deployment");
        assert_eq!(Limits::of(&deployment), Limits { replicas: 3, surge: 0, unavailable: 0 });
    }
}
