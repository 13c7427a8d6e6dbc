//! ComponentStatuses: made when they are asked for. The server knows the store, which is part of it; the
//! scheduler and the controllers are well where one of them leads, which their Leases tell wherever they run.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::{Response, StatusCode};
use jiff::Timestamp;

use super::{Context, shape};
use crate::body::Body;
use crate::negotiate::Shape;
use crate::{Lookup, lease, respond};

/// The names by which clients know the components, and the Leases of those that are led.
const COMPONENTS: [(&str, Option<&str>); 3] = [
    ("controller-manager", Some("kube-controller-manager")),
    ("etcd-0", None),
    ("scheduler", Some("kube-scheduler")),
];

/// Answers a get or list.
pub(super) fn serve(context: &Context<'_>) -> Result<Response<Body>, ApiError> {
    let (objects, now) = (context.server.store.snapshot(), Timestamp::now());
    let status = |(name, lease): (&str, Option<&str>)| status(name, lease, &objects, now);
    if context.info.verb == "get" {
        let component = COMPONENTS.into_iter().find(|(name, _)| *name == context.info.name);
        return context.object(StatusCode::OK, status(component.ok_or_else(|| context.not_found())?));
    }
    let kind = context.kind;
    shape::check(kind, true, context.output, context.query)?;
    let items: Vec<Value> = COMPONENTS.into_iter().map(status).collect();
    let list = match context.output.shape {
        Shape::Object => json!({
            "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": {}, "items": items,
        }),
        _ => shape::list(kind, items, json!({}), context.output, context.query),
    };
    Ok(respond::json(StatusCode::OK, &list, context.output))
}

fn status(name: &str, lease: Option<&str>, objects: &dyn Lookup, now: Timestamp) -> Value {
    let fault = lease.and_then(|lease| fault(lease, objects, now));
    let healthy = if fault.is_none() { "True" } else { "False" };
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
        "conditions": [
            {"type": "Healthy", "status": healthy, "message": fault.unwrap_or_else(|| "ok".to_owned())},
        ],
    })
}

/// Why nobody leads by the Lease.
fn fault(name: &str, objects: &dyn Lookup, now: Timestamp) -> Option<String> {
    let lease = objects.get("coordination.k8s.io", "leases", "kube-system", name).unwrap_or_default();
    match lease["spec"]["holderIdentity"].as_str().unwrap_or_default() {
        "" => Some(format!("nobody holds the lease kube-system/{name}")),
        holder if lease::expired(&lease, now) => {
            Some(format!("{holder} holds the lease kube-system/{name} and has not renewed it in time"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Objects;

    #[test]
    fn a_component_is_well_while_somebody_leads() {
        let now: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let shown = |spec: Option<Value>| {
            let lease = |spec| {
                ("leases", json!({"metadata": {"namespace": "kube-system", "name": "l"}, "spec": spec}))
            };
            let shown = status("c", Some("l"), &Objects(spec.map(lease).into_iter().collect()), now);
            let condition = &shown["conditions"][0];
            (condition["status"].clone(), condition["message"].as_str().unwrap().to_owned())
        };
        let led = |holder: &str, seconds: u32| json!({"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": "2026-01-01T00:00:20.000000Z"});
        assert_eq!(shown(Some(led("a", 15))), (json!("True"), "ok".to_owned()));
        let late = "a holds the lease kube-system/l and has not renewed it in time";
        assert_eq!(shown(Some(led("a", 5))), (json!("False"), late.to_owned()));
        for nobody in [None, Some(led("", 15))] {
            assert_eq!(shown(nobody), (json!("False"), "nobody holds the lease kube-system/l".to_owned()));
        }
    }
}
