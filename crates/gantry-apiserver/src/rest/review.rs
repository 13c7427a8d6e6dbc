//! Reviews: questions to authentication and authorization in the shape of a resource. They
//! are answered and not stored.

use gantry_api::field::{FieldError, Path};
use gantry_api::registry::Registry;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::{Request, Response, StatusCode};

use super::{Context, body};
use crate::audit::Annotations;
use crate::authn::Notes;
use crate::body::Body;
use crate::negotiate::{ACCEPTED, Output};
use crate::request::{Query, RequestInfo};
use crate::{ApiServer, User, authz, respond};

/// The reviews that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    SelfSubjectAccess,
    SubjectAccess,
    LocalSubjectAccess,
    SelfSubjectRules,
    SelfSubject,
    Token,
}

impl Review {
    fn kind(self) -> &'static str {
        match self {
            Self::SelfSubjectAccess => "SelfSubjectAccessReview",
            Self::SubjectAccess => "SubjectAccessReview",
            Self::LocalSubjectAccess => "LocalSubjectAccessReview",
            Self::SelfSubjectRules => "SelfSubjectRulesReview",
            Self::SelfSubject => "SelfSubjectReview",
            Self::Token => "TokenReview",
        }
    }
}

/// The review that the path names.
pub(super) fn find(info: &RequestInfo) -> Option<Review> {
    match (info.group.as_str(), info.version.as_str(), info.resource.as_str()) {
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews") => Some(Review::SelfSubjectAccess),
        ("authorization.k8s.io", "v1", "subjectaccessreviews") => Some(Review::SubjectAccess),
        ("authorization.k8s.io", "v1", "localsubjectaccessreviews") => Some(Review::LocalSubjectAccess),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews") => Some(Review::SelfSubjectRules),
        ("authentication.k8s.io", "v1", "selfsubjectreviews") => Some(Review::SelfSubject),
        ("authentication.k8s.io", "v1", "tokenreviews") => Some(Review::Token),
        _ => None,
    }
}

pub(super) async fn serve(
    server: &ApiServer,
    registry: &Registry,
    review: Review,
    info: &RequestInfo,
    query: &Query,
    user: &User,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let kind =
        registry.lookup(&info.group, &info.version, &info.resource).ok_or_else(ApiError::no_such_resource)?;
    if info.verb != "create" || !info.name.is_empty() || kind.namespaced == info.namespace.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let output =
        Output::of_answers(request.headers(), query).ok_or_else(|| ApiError::not_acceptable(&ACCEPTED))?;
    let mut context = Context {
        server,
        info,
        query,
        user,
        registry,
        kind,
        output,
        unnamed: false,
        warnings: Vec::new(),
        annotations: None,
    };
    let audit = request.extensions().get::<Annotations>().cloned();
    context.check_options("CreateOptions")?;
    let format = body::format(request.headers())?;
    let bytes = body::read(request.into_body()).await?;
    let mut object = context.decode(&bytes, format)?;
    context.place(&mut object, "")?;
    let mut notes = Notes::default();
    object["status"] = answer(server, review, info, user, &object, &mut notes).await?;
    context.warnings.append(&mut notes.warnings);
    if let Some(audit) = audit {
        audit.extend(notes.annotations);
    }
    let mut response = respond::json(StatusCode::CREATED, &object, output);
    respond::warn(&mut response, &context.warnings);
    Ok(response)
}

async fn answer(
    server: &ApiServer,
    review: Review,
    info: &RequestInfo,
    user: &User,
    object: &Value,
    notes: &mut Notes,
) -> Result<Value, ApiError> {
    let (authorizer, spec) = (&server.authorizer, &object["spec"]);
    let named = || named(object, review).into_iter();
    let status = match review {
        Review::SelfSubjectAccess => authz::self_subject_access_review(authorizer, user, spec).await,
        Review::SubjectAccess => authz::subject_access_review(authorizer, spec).await,
        Review::LocalSubjectAccess => {
            authz::local_subject_access_review(authorizer, &info.namespace, spec).await
        }
        Review::SelfSubjectRules => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            if namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            return Ok(authz::self_subject_rules_review(authorizer, user, namespace));
        }
        Review::SelfSubject => return Ok(json!({"userInfo": user_info(user)})),
        Review::Token => {
            if spec["token"].as_str().unwrap_or_default().is_empty() {
                return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
            }
            return Ok(server.review_token(spec, notes).await);
        }
    };
    let refused = |errors: Vec<FieldError>| ApiError::invalid(&info.group, review.kind(), "", &errors);
    let status = status.map_err(|errors| refused(errors.into_iter().chain(named()).collect()))?;
    let errors: Vec<FieldError> = named().collect();
    if errors.is_empty() { Ok(status) } else { Err(refused(errors)) }
}

/// An access review has no metadata but the namespace of a local one.
fn named(object: &Value, review: Review) -> Option<FieldError> {
    let local = review == Review::LocalSubjectAccess;
    let metadata = object["metadata"].as_object()?;
    let other = |field: &str| field != "managedFields" && !(local && field == "namespace");
    if !metadata.keys().any(|field| other(field)) {
        return None;
    }
    let detail = if local { "must be empty except for namespace" } else { "must be empty" };
    Some(FieldError::invalid(&Path::new("metadata"), object["metadata"].clone(), detail))
}

/// A user as reviews show one.
pub(crate) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
