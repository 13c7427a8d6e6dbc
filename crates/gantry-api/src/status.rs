//! Failures as the API reports them: a code, a reason, a message and details.

use gantry_json::{Map, Value, json};

use crate::field::{FieldError, quoted};

/// A failure of an API request. Made into a `metav1.Status` once, at the HTTP edge.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason.
    pub reason: &'static str,
    /// The human-readable message.
    pub message: String,
    /// What the failure is about.
    pub details: Option<Box<Details>>,
}

/// What a failure is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Object name.
    pub name: String,
    /// API group.
    pub group: String,
    /// Kind, or resource where the failure is about a resource.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// Several causes, each with reason, message and field.
    pub causes: Vec<Value>,
    /// When to try again.
    pub retry_after_seconds: u32,
    /// The Status that is sent as it is, where somebody else made it.
    pub foreign: Option<Value>,
}

impl ApiError {
    /// A failure without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.group = group.to_owned();
        details.kind = kind.to_owned();
        details.name = name.to_owned();
        self
    }

    /// The failure with `causes` added.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details.get_or_insert_default().causes.extend(causes);
        self
    }

    /// 404: no object `name` of `resource`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource, group));
        Self::new(404, "NotFound", message).about(group, resource, name)
    }

    /// 404: no such resource or path is served.
    pub fn no_such_resource() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(Box::default());
        error
    }

    /// 409: an object `name` of `resource` is already there.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource, group));
        Self::new(409, "AlreadyExists", message).about(group, resource, name)
    }

    /// 409: the write was based on something that is no longer so.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource, group));
        Self::new(409, "Conflict", message).about(group, resource, name)
    }

    /// 409: the object changed since it was read.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 422: fields of the object are wrong.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let listed = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = if texts.is_empty() {
            format!("{} {} is invalid", qualified(kind, group), quoted(name))
        } else {
            format!("{} {} is invalid: {listed}", qualified(kind, group), quoted(name))
        };
        Self::new(422, "Invalid", message)
            .about(group, kind, name)
            .with_causes(errors.iter().map(FieldError::cause).collect())
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: who asks is not known.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the action on an object is not allowed, for the reason `why`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = qualified(resource, group);
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{what} is forbidden: {why}"),
            _ => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// 405: the path is served, but not with this method.
    pub fn method_not_allowed() -> Self {
        let mut error = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = Some(Box::default());
        error
    }

    /// 406: none of the `accepted` media types is asked for.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {list}"))
    }

    /// 408 or 504: the server took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// 410: the revision asked for is no longer there.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 410: what was asked for is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message)
    }

    /// 413: the request's body is too large; `limit` is in bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's media type is none of `accepted`.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {list}"
            ),
        )
    }

    /// 429: try again after `seconds`.
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        let mut error = Self::new(429, "TooManyRequests", message);
        error.details = Some(Box::new(Details { retry_after_seconds: seconds, ..Details::default() }));
        error
    }

    /// 500: the server itself failed.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_causes(vec![json!({"message": message.to_string()})])
    }

    /// 503: something the request needs is not there.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// A failure that somebody else made `status` of, which is sent as it is.
    pub fn foreign(code: u16, message: impl Into<String>, status: Value) -> Self {
        let details = Details { foreign: Some(status), ..Details::default() };
        Self { code, reason: "", message: message.into(), details: Some(Box::new(details)) }
    }

    /// The failure as a `metav1.Status`.
    pub fn to_value(&self) -> Value {
        if let Some(status) = self.details.as_ref().and_then(|details| details.foreign.clone()) {
            return status;
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !text.is_empty() {
                map.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.clone().into());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}

/// `resource.group`, or `resource` alone in the core group.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn messages() {
        let check = |error: ApiError, code, expected: &str| {
            assert_eq!((error.code, error.message.as_str()), (code, expected));
        };
        check(ApiError::not_found("apps", "deployments", "d"), 404, "deployments.apps \"d\" not found");
        check(ApiError::already_exists("", "pods", "p"), 409, "pods \"p\" already exists");
        check(
            ApiError::stale("", "pods", "p"),
            409,
            "Operation cannot be fulfilled on pods \"p\": the object has been modified; please apply your \
             changes to the latest version and try again",
        );
        check(ApiError::forbidden("", "pods", "", "no rights"), 403, "pods is forbidden: no rights");
        let path = Path::new("spec");
        let one = FieldError::required(&path, "");
        check(
            ApiError::invalid("", "Pod", "p", std::slice::from_ref(&one)),
            422,
            "Pod \"p\" is invalid: spec: Required value",
        );
        let two = [one, FieldError::forbidden(&path, "no")];
        check(
            ApiError::invalid("", "Pod", "p", &two),
            422,
            "Pod \"p\" is invalid: [spec: Required value, spec: Forbidden: no]",
        );
    }

    #[test]
    fn a_status_carries_causes() {
        let error =
            ApiError::invalid("apps", "Deployment", "d", &[FieldError::required(&Path::new("spec"), "x")]);
        let status = error.to_value();
        assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
        assert_eq!((&status["details"]["group"], &status["code"]), (&json!("apps"), &json!(422)));
    }
}
