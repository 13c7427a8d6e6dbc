//! The scale subresource: replicas alone, in one shape for every workload.

use gantry_api::custom::value_at;
use gantry_api::custom_kind::CustomKind;
use gantry_api::field::{FieldError, Path};
use gantry_api::patch;
use gantry_api::registry::Kind;
use gantry_api::schema::{self, Schemas};
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::{Request, Response, StatusCode};

use super::create::{Written, user_agent};
use super::patch::{Patch, merged, read_merge};
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::meta_text;
use super::update::change;
use super::write_options::FieldValidation;
use super::{Context, body, list, shape};
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
        "get" => Written::Stored(context.current().await?),
        "update" => {
            context.check_options("UpdateOptions")?;
            let manager = context.field_manager(&user_agent(request.headers()));
            let format = body::format(request.headers())?;
            let bytes = body::read(request.into_body()).await?;
            let scale = body::typed(&bytes, format, SCALE)?;
            if let Some(audit) = context.annotations {
                audit.sent(&scale);
            }
            set(context, &manager, move |_, _| Ok(scale.clone())).await?
        }
        "patch" => {
            let manager = context.field_manager(&user_agent(request.headers()));
            let format = Patch::of(&content_type(request.headers()), context.kind)?;
            context.check_patch_options(matches!(format, Patch::Apply(_)))?;
            let bytes = body::read(request.into_body()).await?;
            match format {
                Patch::Apply(format) => {
                    let mut scale = body::typed(&bytes, format, SCALE)?;
                    // None are left out of a Scale, but are owned by who applies them.
                    let given = schema::decode_free(&bytes, format).ok().map(|given| given.value);
                    if given.is_some_and(|given| given["spec"]["replicas"] == 0) {
                        scale["spec"]["replicas"] = 0.into();
                    }
                    apply(context, &scale).await?
                }
                _ => {
                    set(context, &manager, move |context, current| {
                        let lax = context.field_validation() == FieldValidation::Ignore;
                        if format == Patch::Json {
                            if !lax {
                                patch::json_patch_findings(&bytes)?;
                            }
                            return Ok(patch::json_patch(&current, &bytes)?);
                        }
                        let change = read_merge(&bytes, format, lax)?.value;
                        match format {
                            Patch::Strategic => {
                                let [group, version, kind] = SCALE;
                                let schemas = Schemas::builtin();
                                let id = schemas
                                    .by_kind(group, version, kind)
                                    .ok_or_else(|| ApiError::internal(format!("no definition of {kind}")))?;
                                patch::strategic_merge(schemas, id, &current, &change)
                            }
                            _ => patch::merge_patch(&current, &change),
                        }
                    })
                    .await?
                }
            }
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let object = match written {
        Written::Stored(entry) => {
            let entry = context.server.custom.converter.entry(context.kind, entry).await?;
            list::value(context.kind, &entry).unwrap_or_default()
        }
        Written::Dry(object) => object,
    };
    shape::check(context.kind, false, context.output, context.query)?;
    let shown = shape::scale(scale_of(context.kind, &object), context.output, context.query);
    Ok(respond::json(StatusCode::OK, &shown, context.output))
}

/// Sets replicas to what `edit` makes of the object's Scale.
async fn set(
    context: &mut Context<'_>,
    manager: &str,
    edit: impl Fn(&Context<'_>, Value) -> Result<Value, ApiError>,
) -> Result<Written, ApiError> {
    change(context, Some(manager), |context, current, _| {
        let scale = edit(context, scale_of(context.kind, current))?;
        let replicas = replicas_of(context, &scale, current)?;
        let mut object = current.clone();
        set_replicas(context.kind, &mut object, replicas.unwrap_or(0).into());
        Ok(object)
    })
    .await
}

/// Sets replicas by server-side apply: who applied a Scale owns that field of the object.
async fn apply(context: &mut Context<'_>, scale: &Value) -> Result<Written, ApiError> {
    let manager = context.query.filled("fieldManager").unwrap_or_default().to_owned();
    let force = context.query.flag("force");
    change(context, None, |context, current, _| {
        let replicas = replicas_of(context, scale, current)?;
        let mut applied = json!({"apiVersion": context.kind.api_version(), "kind": context.kind.kind});
        if let Some(replicas) = replicas {
            set_replicas(context.kind, &mut applied, replicas.into());
        }
        merged(context, current, &applied, &manager, force)
    })
    .await
}

/// The replicas that a Scale asks for, where it is one of that object.
fn replicas_of(context: &Context<'_>, scale: &Value, current: &Value) -> Result<Option<i64>, ApiError> {
    let mut asked = Preconditions::read(&scale["metadata"]);
    if asked.resource_version.take().is_some_and(|asked| asked != meta_text(current, "resourceVersion")) {
        return Err(context.conflict(MODIFIED));
    }
    context.check(&asked, current)?;
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => return Ok(None),
        other => other
            .as_i64()
            .ok_or_else(|| ApiError::bad_request("spec.replicas of a Scale must be an integer".to_owned()))?,
    };
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        let error = FieldError::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", &context.info.name, &[error]));
    }
    Ok(Some(replicas))
}

/// The Scale of a workload.
pub(super) fn scale_of(kind: &Kind, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {}, "status": {},
    });
    if let Some(fields) = scale["metadata"].as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let (replicas, current, selector) = match kind.as_custom().and_then(CustomKind::scale) {
        Some(paths) => {
            let at = |path: &str| value_at(object, path).ok().flatten().cloned().unwrap_or_default();
            let selector = match paths.label_selector.as_str() {
                "" => String::new(),
                path => at(path).as_str().unwrap_or_default().to_owned(),
            };
            (at(&paths.spec_replicas).as_i64(), at(&paths.status_replicas).as_i64(), selector)
        }
        None => (
            object["spec"]["replicas"].as_i64(),
            object["status"]["replicas"].as_i64(),
            selector_text(&object["spec"]["selector"]),
        ),
    };
    scale["status"]["replicas"] = current.unwrap_or(0).into();
    if let Some(replicas) = replicas {
        scale["spec"]["replicas"] = replicas.into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// Sets the wanted replicas of a workload.
pub(super) fn set_replicas(kind: &Kind, object: &mut Value, replicas: Value) {
    let Some(paths) = kind.as_custom().and_then(CustomKind::scale) else {
        object["spec"]["replicas"] = replicas;
        return;
    };
    let mut place = object;
    for name in paths.spec_replicas.trim_start_matches('.').split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = replicas;
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
    use gantry_api::registry::Registry;

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
        let kind = Registry::builtin().lookup("apps", "v1", "deployments").unwrap();
        let scale = scale_of(kind, &object);
        assert_eq!(scale["spec"]["replicas"], 2);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a,t in (x,y)"}));
    }
}
