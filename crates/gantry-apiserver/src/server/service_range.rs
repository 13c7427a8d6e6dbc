//! The ServiceCIDR `kubernetes`, which cluster addresses come from: made from the configured range, and made
//! again when it is gone.
//!
//! Guarantee: an object that says something else than the configuration stays as it is; an event tells of it
//! once. Its condition is set where it has none; later ones are the controller's and the administrator's.

use std::sync::Arc;
use std::time::Duration;

use gantry_json::{Value, json};
use http::Method;
use ipnet::IpNet;

use super::event::Warning;
use super::settling::{Delays, Settling, keep_settled};
use crate::bootstrap::Api;
use crate::rest::now;
use crate::{ApiServer, services};

const NAME: &str = "kubernetes";
const COMPONENT: &str = "kubernetes-service-cidr-controller";
const ALL: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const KEY: &str = "/registry/networking.k8s.io/servicecidrs/kubernetes";
/// The longest delay of what could not be written.
const LONGEST: Duration = Duration::from_secs(10);

/// What is to be done about the object as it is.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// Nobody has said yet whether it is ready.
    SetReady,
    /// It is not what the configuration says, or not ready: said by this reason and this message.
    Warn(String, String),
    Nothing,
}

fn step(existing: Option<&Value>, range: IpNet) -> Step {
    let Some(existing) = existing else { return Step::Create };
    if existing["metadata"]["deletionTimestamp"].is_string() {
        return Step::Nothing;
    }
    let cidrs = existing["spec"]["cidrs"].as_array().map_or(&[][..], Vec::as_slice);
    let cidrs: Vec<&str> = cidrs.iter().filter_map(Value::as_str).collect();
    let range = range.trunc().to_string();
    if cidrs != [range.as_str()] {
        let message = format!(
            "The default ServiceCIDR [{}] does not match the controller flag configurations [{range}]",
            cidrs.join(" "),
        );
        return Step::Warn("KubernetesDefaultServiceCIDRInconsistent".to_owned(), message);
    }
    let conditions = existing["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    let text = |field: &str| ready.and_then(|ready| ready[field].as_str()).unwrap_or_default();
    match text("status") {
        "True" => Step::Nothing,
        "False" => {
            let message = format!("Configuration matches, but {}", text("message"));
            Step::Warn(text("reason").to_owned(), message)
        }
        _ => Step::SetReady,
    }
}

fn ready(existing: &Value) -> Value {
    let mut next = existing.clone();
    let conditions = existing["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<Value> =
        conditions.filter(|condition| condition["type"] != "Ready").cloned().collect();
    conditions.push(json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": now(),
    }));
    next["status"] = json!({"conditions": conditions});
    next
}

/// What has been warned of.
#[derive(Default)]
pub(super) struct Warned(Vec<String>);

/// Brings the object to where nothing is left to do, and warns of what has not been `warned` of, if that is
/// given. False: something could not be written.
pub(super) async fn settle(server: &ApiServer, mut warned: Option<&mut Warned>) -> bool {
    // Creation and condition; whatever comes after is somebody else's doing and seen again.
    for _ in 0..3 {
        let existing = server.read_object("networking.k8s.io", "servicecidrs", "", NAME).ok();
        let (method, path, body) = match step(existing.as_ref(), server.config.service_cidr) {
            Step::Nothing => return true,
            Step::Create => {
                let range = server.config.service_cidr.trunc().to_string();
                let object = json!({
                    "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
                    "metadata": {"name": NAME}, "spec": {"cidrs": [range]},
                });
                (Method::POST, format!("{ALL}?fieldManager={COMPONENT}"), object)
            }
            Step::SetReady => {
                let next = ready(&existing.unwrap_or_default());
                (Method::PUT, format!("{ALL}/{NAME}/status?fieldManager={COMPONENT}"), next)
            }
            Step::Warn(reason, message) => {
                if let Some(warned) = warned.as_mut().filter(|warned| !warned.0.contains(&reason)) {
                    tracing::warn!("{message}");
                    warned.0.push(reason.clone());
                    let action = "ServiceCIDRSync";
                    let warning = Warning { component: COMPONENT, reason, action, message };
                    server.warn(&existing.unwrap_or_default(), &warning).await;
                }
                return true;
            }
        };
        let (code, answer) = server.call(method, &path, Some(&body)).await;
        // Somebody else may have been quicker.
        if code >= 400 && code != 404 && code != 409 {
            tracing::warn!(code, message = %answer["message"], "the default ServiceCIDR was not written");
            return false;
        }
    }
    true
}

/// Makes it again when it is gone. Runs until the store closes; dropping it is safe.
pub(super) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    if !services::are_objects_served(&server.builtin) {
        return;
    }
    let (warned, delays) = (Warned::default(), Delays::up_to(LONGEST));
    keep_settled(&server.store, &[KEY], &mut Upkeep { server: &server, warned, delays }).await;
}

struct Upkeep<'a> {
    server: &'a ApiServer,
    warned: Warned,
    delays: Delays,
}

impl Settling for Upkeep<'_> {
    async fn settle(&mut self) -> Option<Duration> {
        let settled = settle(self.server, Some(&mut self.warned)).await;
        self.delays.after(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let range: IpNet = "10.43.0.0/16".parse().unwrap();
        let object = |cidrs: Value, status: Value| {
            let conditions = match status {
                Value::Null => json!([]),
                status => json!([{"type": "Ready", "status": status, "reason": "R", "message": "M"}]),
            };
            json!({"metadata": {"name": NAME}, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}})
        };
        let (own, other) = (json!(["10.43.0.0/16"]), json!(["10.44.0.0/16", "fd00::/64"]));
        assert_eq!(step(None, range), Step::Create);
        assert_eq!(step(Some(&object(own.clone(), Value::Null)), range), Step::SetReady);
        assert_eq!(step(Some(&object(own.clone(), json!("Unknown"))), range), Step::SetReady);
        assert_eq!(step(Some(&object(own.clone(), json!("True"))), range), Step::Nothing);
        assert_eq!(step(Some(&ready(&object(own.clone(), Value::Null))), range), Step::Nothing);
        let words = "Configuration matches, but M".to_owned();
        assert_eq!(step(Some(&object(own.clone(), json!("False"))), range), Step::Warn("R".into(), words));
        let words = "The default ServiceCIDR [10.44.0.0/16 fd00::/64] does not match the controller flag \
                     configurations [10.43.0.0/16]";
        let reason = "KubernetesDefaultServiceCIDRInconsistent".to_owned();
        assert_eq!(step(Some(&object(other, json!("True"))), range), Step::Warn(reason, words.into()));
        let mut deleted = object(own, Value::Null);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(step(Some(&deleted), range), Step::Nothing);
    }
}
