//! The scale subresource: replicas alone, in one shape for every workload.

use gantry_api::status::ApiError;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::create::{Written, user_agent};
use super::patch::Patch;
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::meta_text;
use super::update::change;
use super::{Context, body, list};
use crate::body::Body;
use crate::negotiate::content_type;
use crate::respond;

/// What the subresource takes and gives.
const SCALE: [&str; 3] = ["autoscaling", "v1", "Scale"];

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let written = match context.info.verb {
        "get" => Written::Stored(context.current()?),
        "update" => {
            context.check_options("UpdateOptions")?;
            let manager = context.field_manager(&user_agent(request.headers()));
            let format = body::format(request.headers())?;
            let bytes = body::read(request.into_body()).await?;
            let scale = body::typed(&bytes, format, SCALE)?;
            set(context, &manager, move |_, _| Ok(scale.clone())).await?
        }
        "patch" => {
            let manager = context.field_manager(&user_agent(request.headers()));
            let format = Patch::of(&content_type(request.headers()))?;
            context.check_patch_options(matches!(format, Patch::Apply(_)))?;
            let bytes = body::read(request.into_body()).await?;
            set(context, &manager, move |_, current| {
                let patch = || {
                    serde_json::from_slice(&bytes)
                        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
                };
                match format {
                    Patch::Json => gantry_api::patch::json_patch(&current, &bytes),
                    Patch::Apply(format) => {
                        gantry_api::patch::merge_patch(&current, &body::typed(&bytes, format, SCALE)?)
                    }
                    // A Scale has no lists: strategic is merge.
                    _ => gantry_api::patch::merge_patch(&current, &patch()?),
                }
            })
            .await?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let object = match written {
        Written::Stored(entry) => list::value(context.kind, &entry).unwrap_or_default(),
        Written::Dry(object) => object,
    };
    Ok(respond::json(StatusCode::OK, &scale_of(&object), context.output))
}

/// Sets replicas to what `edit` makes of the object's Scale.
async fn set(
    context: &mut Context<'_>,
    manager: &str,
    edit: impl Fn(&Context<'_>, Value) -> Result<Value, ApiError>,
) -> Result<Written, ApiError> {
    change(context, Some(manager), |context, current, _| {
        let scale = edit(context, scale_of(current))?;
        let mut asked = Preconditions::read(&scale["metadata"]);
        if asked.resource_version.take().is_some_and(|asked| asked != meta_text(current, "resourceVersion")) {
            return Err(context.conflict(MODIFIED));
        }
        context.check(&asked, current)?;
        let replicas = match &scale["spec"]["replicas"] {
            Value::Null => 0,
            other => other.as_i64().ok_or_else(|| {
                ApiError::bad_request("spec.replicas of a Scale must be an integer".to_owned())
            })?,
        };
        if replicas < 0 {
            use gantry_api::field::{FieldError, Path};
            let path = Path::new("spec").child("replicas");
            let error = FieldError::invalid(&path, replicas, "must be greater than or equal to 0");
            return Err(ApiError::invalid("autoscaling", "Scale", &context.info.name, &[error]));
        }
        let mut object = current.clone();
        object["spec"]["replicas"] = replicas.into();
        Ok(object)
    })
    .await
}

/// The Scale of a workload.
pub(super) fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    });
    if let Some(replicas) = object["spec"]["replicas"].as_i64() {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A label selector as text, as it is used in queries.
pub(super) fn selector_text(selector: &Value) -> String {
    let mut parts = Vec::new();
    // The selector of a ReplicationController is the labels themselves.
    let plain = ["matchLabels", "matchExpressions"].iter().all(|field| selector[*field].is_null());
    let labels = if plain { selector } else { &selector["matchLabels"] };
    for (key, value) in labels.as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_replicas_and_the_selector_as_text() {
        let object = json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "3"},
            "spec": {"replicas": 2, "selector": {
                "matchLabels": {"app": "a"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["x", "y"]}],
            }},
            "status": {"replicas": 1},
        });
        let scale = scale_of(&object);
        assert_eq!(scale["spec"]["replicas"], 2);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a,t in (x,y)"}));
    }
}
