//! Tokens that a node asks for: for its own pods, and for audiences that the pods name.

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::super::{Request, text};
use super::Question;
use crate::{Attributes, Lookup};

pub(super) fn judge(
    node: &str,
    request: &Request<'_>,
    objects: &dyn Lookup,
) -> Result<Option<Question>, ApiError> {
    let spec = &request.object["spec"];
    let bound = &spec["boundObjectRef"];
    if bound["kind"] != "Pod" || text(bound, "/name").is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    if text(bound, "/uid").is_empty() {
        return Err(request.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = objects.get("", "pods", request.namespace, text(bound, "/name"));
    let pod = pod.ok_or_else(|| ApiError::not_found("", "pods", text(bound, "/name")))?;
    if pod["metadata"]["uid"] != bound["uid"] {
        return Err(
            request.forbidden("the UID in the bound object reference does not match the UID in record")
        );
    }
    if text(&pod, "/spec/nodeName") != node {
        return Err(request.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    let audiences: Vec<&str> = items(&spec["audiences"]).filter_map(Value::as_str).collect();
    let audience = match audiences.as_slice() {
        [] => "",
        [one] => one,
        _ => return Err(request.forbidden("node may only request 0 or 1 audiences")),
    };
    if names_audience(&pod, audience, objects) {
        return Ok(None);
    }
    let asked = Attributes {
        user: request.user.clone().into(),
        verb: "request-serviceaccounts-token-audience".into(),
        version: "v1".into(),
        resource: audience.into(),
        namespace: request.namespace.into(),
        name: request.name.into(),
        is_resource: true,
        ..Attributes::default()
    };
    let otherwise = request.forbidden(format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        request.user.name
    ));
    Ok(Some(Question { asked, otherwise }))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Whether the pod's volumes say that it has tokens for the audience: those that are projected, and those that
/// a volume's driver wants.
fn names_audience(pod: &Value, audience: &str, objects: &dyn Lookup) -> bool {
    items(&pod["spec"]["volumes"]).any(|volume| {
        let mut projected = items(&volume["projected"]["sources"])
            .map(|source| &source["serviceAccountToken"])
            .filter(|token| token.is_object());
        projected.any(|token| text(token, "/audience") == audience)
            || driver(pod, volume, objects).is_some_and(|driver| {
                let driver = objects.get("storage.k8s.io", "csidrivers", "", &driver).unwrap_or_default();
                items(&driver["spec"]["tokenRequests"]).any(|token| text(token, "/audience") == audience)
            })
    })
}

/// The driver of a volume.
fn driver(pod: &Value, volume: &Value, objects: &dyn Lookup) -> Option<String> {
    if let Some(driver) = volume.pointer("/csi/driver").and_then(Value::as_str) {
        return Some(driver.to_owned());
    }
    let claim = match volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str) {
        Some(claim) => claim.to_owned(),
        None if volume["ephemeral"].is_object() => {
            format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"))
        }
        None => return None,
    };
    let claim = objects.get("", "persistentvolumeclaims", text(pod, "/metadata/namespace"), &claim)?;
    let volume = objects.get("", "persistentvolumes", "", text(&claim, "/spec/volumeName"))?;
    volume.pointer("/spec/csi/driver").and_then(Value::as_str).map(str::to_owned)
}
