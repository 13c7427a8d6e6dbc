//! Subresources: parts of an object with verbs of their own.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::{Request, Response, StatusCode};

use super::admit::Operation;
use super::precondition::Preconditions;
use super::preparation::{meta_text, now};
use super::update::change;
use super::{Context, body, eviction, patch, scale, update};
use crate::body::Body;
use crate::request::RequestInfo;
use crate::{proxy, respond};

/// What a token's identifier is noted under when it is made.
const ISSUED: &str = "authentication.kubernetes.io/issued-credential-id";

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let info = context.info;
    let plural: &str = &context.kind.plural;
    let name = info.subresource.as_str();
    let known = context.kind.subresources.iter().find(|each| *each.name == *name);
    let known = known.ok_or_else(|| match context.kind.as_custom() {
        Some(_) => ApiError::not_found(&context.kind.group, plural, &info.name),
        None => ApiError::no_such_resource(),
    })?;
    // A proxied request has any method.
    if name != "proxy" && !known.verbs.contains(&info.verb) {
        return Err(ApiError::method_not_allowed());
    }
    let kind = known.kind;
    if matches!(name, "exec" | "attach" | "portforward" | "proxy") {
        context.admit_stream().await?;
    }
    match (plural, name) {
        ("pods", "log" | "exec" | "attach" | "portforward") => {
            return proxy::pod_stream(context.server, info, request).await;
        }
        ("nodes", "proxy") => return proxy::node_proxy(context.server, info, request).await,
        ("pods", "proxy") => return proxy::pod_proxy(context.server, info, request).await,
        ("services", "proxy") => return proxy::service_proxy(context.server, info, request).await,
        (_, "scale") => return scale::serve(context, request).await,
        ("pods", "binding") => return bind(context, request, kind).await,
        ("pods", "eviction") => return evict(context, request, kind).await,
        ("serviceaccounts", "token") => return token(context, request, kind).await,
        _ => {}
    }
    match info.verb {
        "get" => context.entry(StatusCode::OK, &*context.current().await?),
        "update" => update::serve(context, request).await,
        "patch" => patch::serve(context, request).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// What is created, as [`gantry_api::registry::Subresource::kind`] has it.
type Created = Option<[&'static str; 3]>;

async fn read(context: &Context<'_>, request: Request<Body>, kind: Created) -> Result<Value, ApiError> {
    context.check_options("CreateOptions")?;
    let format = body::format(request.headers())?;
    let bytes = body::read(request.into_body()).await?;
    let [group, version, kind] = kind.unwrap_or_default();
    let mut value = body::typed(&bytes, format, [group, version, kind])?;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    body::check_kind(context.registry, &mut value, kind, &api_version)?;
    if let Some(audit) = context.annotations {
        audit.sent(&value);
    }
    let named = meta_text(&value, "name");
    if !named.is_empty() && !context.info.name.is_empty() && named != context.info.name {
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in {} object",
            value["kind"].as_str().unwrap_or("the")
        )));
    }
    Ok(value)
}

fn success(code: StatusCode, context: &Context<'_>) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code.as_u16(),
    });
    respond::json(code, &status, context.output)
}

/// Assigns a pod to a node.
async fn bind(
    context: &mut Context<'_>,
    request: Request<Body>,
    kind: Created,
) -> Result<Response<Body>, ApiError> {
    let binding = read(context, request, kind).await?;
    assign(context, binding).await
}

/// Assigns the pod that a Binding of its own names.
pub(super) async fn bind_named(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let binding = read(context, request, Some(["", "v1", "Binding"])).await?;
    let name = meta_text(&binding, "name").into();
    let pods = context.registry.lookup("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
    let info =
        RequestInfo { resource: "pods".into(), subresource: "binding".into(), name, ..context.info.clone() };
    let mut pod = Context {
        server: context.server,
        info: &info,
        query: context.query,
        user: context.user,
        registry: context.registry,
        kind: pods,
        output: context.output,
        unnamed: false,
        warnings: Vec::new(),
        annotations: context.annotations,
    };
    let result = assign(&mut pod, binding).await;
    context.warnings.append(&mut pod.warnings);
    result
}

/// What is wrong with what a pod is bound to.
fn binding_faults(target: &Value) -> Option<String> {
    use gantry_api::field::{FieldError, FieldErrorKind, Path};
    let (path, mut faults) = (Path::new("target"), Vec::new());
    if !matches!(target["kind"].as_str(), None | Some("" | "Node")) {
        let (at, words) = (path.child("kind"), "supported values: \"Node\", \"<empty>\"");
        faults.push(
            FieldError::of(FieldErrorKind::NotSupported, &at, Some(&target["kind"]), words).to_string(),
        );
    }
    if target["name"].as_str().unwrap_or_default().is_empty() {
        faults.push(FieldError::required(&path.child("name"), "").to_string());
    }
    match faults.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

/// Sets the node of a pod. As upstream has it, that is nobody's field and changes nothing else that would have
/// to be looked at again.
async fn assign(context: &mut Context<'_>, mut binding: Value) -> Result<Response<Body>, ApiError> {
    let dry_run = context.dry_run();
    context.mutate(Operation::Create, &mut binding, None, dry_run).await?;
    if let Some(faults) = binding_faults(&binding["target"]) {
        // Upstream takes them for faults of its own.
        return Err(ApiError::new(500, "", faults));
    }
    context.validate(Operation::Create, &mut binding, None, dry_run).await?;
    let target = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    let preconditions = Preconditions::read(&binding["metadata"]);
    change(context, None, |context, current, _| {
        let name = &context.info.name;
        context.check(&preconditions, current)?;
        if current["metadata"]["deletionTimestamp"].is_string() {
            return Err(
                context.conflict(&format!("pod {name} is being deleted, cannot be assigned to a host"))
            );
        }
        let node = current["spec"]["nodeName"].as_str().unwrap_or_default();
        if !node.is_empty() {
            return Err(context.conflict(&format!("pod {name} is already assigned to node {node:?}")));
        }
        if current["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            return Err(context.conflict(&format!("pod {name} has non-empty .spec.schedulingGates")));
        }
        let mut pod = current.clone();
        pod["spec"]["nodeName"] = json!(target);
        for field in ["annotations", "labels"] {
            for (key, value) in binding["metadata"][field].as_object().into_iter().flatten() {
                pod["metadata"][field][key] = value.clone();
            }
        }
        set_scheduled(&mut pod);
        Ok(pod)
    })
    .await?;
    Ok(success(StatusCode::CREATED, context))
}

fn set_scheduled(pod: &mut Value) {
    if let Some(status) = pod["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else { return };
    conditions.retain(|each| each["type"] != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
    }));
}

/// Deletes a pod as its disruption budget allows.
async fn evict(
    context: &mut Context<'_>,
    request: Request<Body>,
    kind: Created,
) -> Result<Response<Body>, ApiError> {
    let mut eviction = read(context, request, kind).await?;
    eviction::evict(context, &mut eviction).await?;
    Ok(success(StatusCode::CREATED, context))
}

/// Makes a token for a service account.
async fn token(
    context: &mut Context<'_>,
    request: Request<Body>,
    kind: Created,
) -> Result<Response<Body>, ApiError> {
    let mut review = read(context, request, kind).await?;
    let dry_run = context.dry_run();
    context.mutate(Operation::Create, &mut review, None, dry_run).await?;
    context.validate(Operation::Create, &mut review, None, dry_run).await?;
    let account = super::list::value(context.kind, &*context.current().await?).unwrap_or_default();
    let (made, jti) = context.server.issue_token(&account, &review)?;
    if let Some(audit) = context.annotations {
        audit.extend([(ISSUED.to_owned(), format!("JTI={jti}"))].into());
    }
    Ok(respond::json(StatusCode::CREATED, &made, context.output))
}
