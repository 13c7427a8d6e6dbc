//! Reviews: questions to authentication and authorization in the shape of a resource. They
//! are answered and not stored.

use gantry_api::status::ApiError;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::body;
use crate::body::Body;
use crate::negotiate::Output;
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
    review: Review,
    info: &RequestInfo,
    query: &Query,
    user: &User,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    if info.verb != "create" {
        return Err(ApiError::method_not_allowed(&info.group, &info.resource, info.verb));
    }
    let output = Output::negotiate(request.headers(), query).unwrap_or(Output::JSON);
    let format = body::format(request.headers())?;
    let bytes = body::read(request.into_body()).await?;
    let mut object = body::free(&bytes, format)?;
    body::check_kind(&mut object, review.kind(), &format!("{}/{}", info.group, info.version))?;
    let spec = object["spec"].clone();
    let authorizer = &server.authorizer;
    let refused = ApiError::bad_request;
    let status = match review {
        Review::SelfSubjectAccess => {
            authz::self_subject_access_review(authorizer, user, &spec).map_err(refused)?
        }
        Review::SubjectAccess => authz::subject_access_review(authorizer, &spec).map_err(refused)?,
        Review::LocalSubjectAccess => {
            authz::local_subject_access_review(authorizer, &info.namespace, &spec).map_err(refused)?
        }
        Review::SelfSubjectRules => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            authz::self_subject_rules_review(authorizer, user, namespace)
        }
        Review::SelfSubject => json!({"userInfo": user_info(user)}),
        Review::Token => server.review_token(&spec),
    };
    object["status"] = status;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(respond::json(StatusCode::CREATED, &object, output))
}

/// A user as reviews show one.
pub(crate) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
