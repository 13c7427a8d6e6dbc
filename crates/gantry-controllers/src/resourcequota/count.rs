//! What a quota's status should say.

use std::time::Duration;

use gantry_api::pod_resources::{self, ResourceList};
use gantry_api::quantity::{Format, Quantity};
use gantry_api::quota::{Resource, in_scope, uncounted_after};
use gantry_json::{Value, json};
use jiff::Timestamp;

/// The status of `quota` among these objects of its namespace, where it is not that already. What none of
/// the resources is known for stays as it is.
pub fn status(quota: &Value, objects: &[(Resource<'_>, Vec<Value>)], now: Timestamp) -> Option<Value> {
    let hard = pod_resources::read(&quota["spec"]["hard"]);
    let before = pod_resources::read(&quota["status"]["used"]);
    let mut used: ResourceList =
        before.clone().into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
    for (resource, objects) in objects {
        let names: Vec<&String> = hard.keys().filter(|name| resource.matches(name)).collect();
        if names.is_empty() {
            continue;
        }
        let zero = Quantity::from_value(0, Format::DecimalSi);
        used.extend(names.iter().map(|name| ((*name).clone(), zero)));
        for object in objects.iter().filter(|object| in_scope(quota, *resource, object)) {
            let mut usage = resource.usage(object, now);
            usage.retain(|name, _| names.contains(&name));
            pod_resources::add(&mut used, &usage);
        }
    }
    let same = before == used && pod_resources::read(&quota["status"]["hard"]) == hard;
    if same && quota["status"]["used"].is_object() {
        return None;
    }
    let used = used.into_iter().map(|(name, amount)| (name, amount.to_string().into()));
    Some(json!({"hard": quota["spec"]["hard"], "used": Value::Object(used.collect())}))
}

/// When the next pod ceases to count though it is there still.
pub fn next_end(objects: &[(Resource<'_>, Vec<Value>)], now: Timestamp) -> Option<Duration> {
    let pods = objects.iter().filter(|(resource, _)| *resource == Resource::new("", "pods"));
    let ends = pods.flat_map(|(_, pods)| pods).filter_map(uncounted_after).filter(|end| *end >= now);
    let wait = ends.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default()).min()?;
    Some(wait + Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_follows_what_is_there() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let pod = |cpu: &str, phase: &str| {
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
                "status": {"phase": phase}})
        };
        let pods = vec![pod("500m", "Running"), pod("1", "Pending"), pod("2", "Succeeded")];
        let objects =
            vec![(Resource::new("", "pods"), pods), (Resource::new("", "secrets"), vec![json!({})])];
        let hard =
            json!({"pods": "5", "count/pods": "5", "cpu": "4", "secrets": "3", "count/widgets.x.io": "1"});
        let mut quota = json!({"spec": {"hard": hard}});
        let found = status(&quota, &objects, now).expect("a new status");
        let used = json!({"pods": "2", "count/pods": "3", "cpu": "1500m", "secrets": "1"});
        assert_eq!(found, json!({"hard": hard, "used": used}));
        quota["status"] = found;
        assert_eq!(status(&quota, &objects, now), None);
        quota["spec"]["hard"] = json!({"pods": "6"});
        assert_eq!(
            status(&quota, &objects, now),
            Some(json!({"hard": {"pods": "6"}, "used": {"pods": "2"}}))
        );
        quota["spec"]["scopes"] = json!(["BestEffort"]);
        assert_eq!(
            status(&quota, &objects, now),
            Some(json!({"hard": {"pods": "6"}, "used": {"pods": "0"}}))
        );
    }

    #[test]
    fn pods_that_should_be_gone_are_counted_no_longer() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let going =
            |at: &str| json!({"metadata": {"deletionTimestamp": at, "deletionGracePeriodSeconds": 30}});
        let pods = vec![json!({}), going("2026-01-01T00:00:10Z"), going("2025-12-31T00:00:00Z")];
        let wait = next_end(&[(Resource::new("", "pods"), pods)], now);
        assert_eq!(wait, Some(Duration::from_millis(40_010)));
        assert_eq!(next_end(&[(Resource::new("", "pods"), vec![json!({})])], now), None);
    }
}
