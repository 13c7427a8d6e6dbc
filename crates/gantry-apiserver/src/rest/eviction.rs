//! Eviction: deletes a pod, where its disruption budget allows that.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::registry::Kind;
use gantry_api::selector::LabelSelector;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use gantry_store::{Entry, Error};

use super::admit::Operation;
use super::delete::{DeleteOptions, delete};
use super::precondition::MODIFIED;
use super::preparation::{meta_text, now};
use super::scale::selector_text;
use super::{Context, list};
use crate::{respond, storage};

/// The API group of disruption budgets.
const GROUP: &str = "policy";
/// More evictions than these, not yet seen by the controller, are a fault.
const UNSEEN: usize = 2000;
/// How often a budget is written anew because another write came first.
const ATTEMPTS: usize = 32;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const SEVERAL: &str =
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";

/// Carries out `eviction` of the pod that the path names.
pub(super) async fn evict(context: &mut Context<'_>, eviction: &mut Value) -> Result<(), ApiError> {
    let dry_run = DeleteOptions::from_value(context, &eviction["deleteOptions"])?.dry_run;
    context.mutate(Operation::Create, eviction, None, dry_run).await?;
    context.validate(Operation::Create, eviction, None, dry_run).await?;
    let mut options = DeleteOptions::from_value(context, &eviction["deleteOptions"])?;
    let name = context.info.name.clone();
    let pod = list::value(context.kind, &*context.current().await?).unwrap_or_default();
    if asks_nobody(&pod) {
        return delete(context, &name, &options).await.map(drop);
    }
    if let Some((kind, budget)) = budget(context, &pod)? {
        let counted = spend(context, kind, budget, &pod, options.dry_run).await?;
        if !counted && options.preconditions.resource_version.is_none() {
            // The pod was let go for what it is now.
            options.preconditions.resource_version = Some(meta_text(&pod, "resourceVersion").to_owned());
        }
    }
    delete(context, &name, &options).await.map(drop)
}

/// Whether a pod's end disturbs nobody: it has ended, has not begun, or is going already.
fn asks_nobody(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || pod["metadata"]["deletionTimestamp"].is_string()
}

/// A budget with its kind.
type Found<'a> = Option<(&'a Kind, Arc<Entry>)>;

/// The one budget that a pod counts for.
fn budget<'a>(context: &Context<'a>, pod: &Value) -> Result<Found<'a>, ApiError> {
    let Some(kind) = context.registry.lookup(GROUP, "v1", "poddisruptionbudgets") else {
        return Ok(None);
    };
    let prefix = format!("{}{}/", storage::prefix_of(kind), context.namespace());
    let labels = &pod["metadata"]["labels"];
    let labels: BTreeMap<String, String> = gantry_json::from_value(labels.clone()).unwrap_or_default();
    let snapshot = context.server.store.snapshot();
    let mut found = snapshot.range(&prefix, None).filter(|entry| {
        let budget = list::value(kind, entry).unwrap_or_default();
        let selector = &budget["spec"]["selector"];
        let parsed = LabelSelector::parse(&selector_text(selector));
        selector.is_object() && parsed.is_ok_and(|selector| selector.matches(&labels))
    });
    let first = found.next().cloned();
    match found.next() {
        Some(_) => Err(ApiError::new(500, "", SEVERAL)),
        None => Ok(first.map(|entry| (&**kind, entry))),
    }
}

/// Takes the eviction of `pod` from the budget; whether it counts there at all.
async fn spend(
    context: &Context<'_>,
    kind: &Kind,
    mut entry: Arc<Entry>,
    pod: &Value,
    dry_run: bool,
) -> Result<bool, ApiError> {
    let store = &context.server.store;
    for _ in 0..ATTEMPTS {
        let budget = list::value(kind, &entry).unwrap_or_default();
        let Some(spent) = spent(&budget, pod, &now())? else { return Ok(false) };
        if dry_run {
            return Ok(true);
        }
        match store.update(&entry.key, entry.mod_revision, storage::encode_as(kind, &spent)).await {
            Ok(_) => return Ok(true),
            Err(Error::Conflict { .. }) => match store.snapshot().get(&entry.key) {
                Some(newer) => entry = newer.clone(),
                None => return Ok(true),
            },
            Err(Error::NotFound { .. }) => return Ok(true),
            Err(error) => return Err(respond::storage_error(&error)),
        }
    }
    Err(ApiError::conflict(GROUP, &kind.plural, entry.key.rsplit('/').next().unwrap_or_default(), MODIFIED))
}

/// The budget after the eviction of `pod`; `None` where the pod may go without counting. The error
/// says why it may not go now.
fn spent(budget: &Value, pod: &Value, now: &str) -> Result<Option<Value>, ApiError> {
    let status = &budget["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let name = meta_text(budget, "name");
    if !is_ready(pod) {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        let healthy = count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0;
        if always || healthy {
            return Ok(None);
        }
    }
    if count("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(refused(format!("The disruption budget {name} is still being processed by the server.")));
    }
    let allowed = count("disruptionsAllowed");
    let forbidden = |why| Err(ApiError::forbidden(GROUP, "poddisruptionbudget", name, why));
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > UNSEEN) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(refused(format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            count("desiredHealthy"),
            count("currentHealthy")
        )));
    }
    let mut spent = budget.clone();
    spent["status"]["disruptionsAllowed"] = (allowed - 1).into();
    spent["status"]["disruptedPods"][meta_text(pod, "name")] = now.into();
    if allowed == 1 {
        exhausted(&mut spent, now);
    }
    Ok(Some(spent))
}

fn refused(why: String) -> ApiError {
    let cause = json!({"reason": "DisruptionBudget", "message": why});
    ApiError::too_many_requests(REFUSED, 0).with_causes(vec![cause])
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|each| each["type"] == "Ready" && each["status"] == "True")
}

/// Says in the budget's conditions that it allows nothing more.
fn exhausted(budget: &mut Value, now: &str) {
    let generation = budget["status"]["observedGeneration"].clone();
    if !budget["status"]["conditions"].is_array() {
        budget["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = budget["status"]["conditions"].as_array_mut() else { return };
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "lastTransitionTime": now,
    });
    if !generation.is_null() {
        condition["observedGeneration"] = generation;
    }
    match conditions.iter_mut().find(|each| each["type"] == "DisruptionAllowed") {
        Some(old) => {
            if old["status"] == "False" {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn budget(spec: Value, allowed: i64, healthy: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": {
            "observedGeneration": 2, "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": healthy}})
    }

    #[test]
    fn a_budget_is_spent_until_there_is_none() {
        let time = Timestamp::UNIX_EPOCH.to_string();
        let left = spent(&budget(json!({}), 2, 4), &pod("True"), &time).unwrap().unwrap();
        assert_eq!(left["status"]["disruptionsAllowed"], 1);
        assert_eq!(left["status"]["disruptedPods"], json!({"p": time}));
        let none = spent(&left, &pod("True"), &time).unwrap().unwrap();
        let condition = &none["status"]["conditions"][0];
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("InsufficientPods"))
        );
        let error = spent(&none, &pod("True"), &time).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (429, REFUSED));
        let cause = &error.details.unwrap().causes[0];
        assert_eq!(cause["message"], "The disruption budget b needs 2 healthy pods and has 4 currently");
        let mut behind = budget(json!({}), 2, 4);
        behind["metadata"]["generation"] = 3.into();
        assert_eq!(spent(&behind, &pod("True"), &time).unwrap_err().code, 429);
    }

    #[test]
    fn a_pod_that_is_not_ready_may_go_where_the_policy_says() {
        let check = |policy: Value, healthy, ready, expect: Result<bool, u16>| {
            let spec = json!({"unhealthyPodEvictionPolicy": policy});
            let got = spent(&budget(spec, 0, healthy), &pod(ready), "");
            assert_eq!(
                got.map(|spent| spent.is_none()).map_err(|error| error.code),
                expect,
                "{policy} {healthy}"
            );
        };
        check(Value::Null, 2, "False", Ok(true));
        check(Value::Null, 1, "False", Err(429));
        check(json!("IfHealthyBudget"), 2, "True", Err(429));
        check(json!("AlwaysAllow"), 0, "False", Ok(true));
        check(json!("AlwaysAllow"), 0, "True", Err(429));
    }
}
