//! Asking for authorization from within an expression.

use std::fmt;
use std::sync::Arc;

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::types::Opaque;
use crate::value::Value;

/// Decides what `authorizer` in expressions asks.
pub trait Authorizer: Send + Sync {
    /// Whether the request may do what `attributes` say.
    fn authorize(&self, attributes: &AuthorizerAttributes) -> AuthorizerDecision;
}

/// What an expression asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AuthorizerAttributes {
    /// The service account that is asked for instead of the request's user: namespace and name.
    pub service_account: Option<(String, String)>,
    /// The path, if a path is asked for.
    pub path: Option<String>,
    /// The group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The field selector.
    pub field_selector: String,
    /// The label selector.
    pub label_selector: String,
    /// The verb.
    pub verb: String,
}

/// What an authorizer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorizerDecision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// A question that is being put together.
#[derive(Clone)]
pub struct Check {
    authorizer: Arc<dyn Authorizer>,
    attributes: AuthorizerAttributes,
    stage: Opaque,
}

/// The answer of a check.
pub type Decided = AuthorizerDecision;

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

impl Check {
    pub(crate) fn opaque(&self) -> Opaque {
        self.stage
    }

    fn with(&self, stage: Opaque, change: impl FnOnce(&mut AuthorizerAttributes)) -> Self {
        let mut attributes = self.attributes.clone();
        change(&mut attributes);
        Self { authorizer: Arc::clone(&self.authorizer), attributes, stage }
    }
}

impl Value<'_> {
    /// The value of a variable such as `authorizer`.
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        let attributes = AuthorizerAttributes::default();
        Self::Authorizer(Arc::new(Check { authorizer, attributes, stage: Opaque::Authorizer }))
    }

    /// The value of a variable such as `authorizer.requestResource`: a check of a resource.
    pub fn resource_check(authorizer: Arc<dyn Authorizer>, attributes: AuthorizerAttributes) -> Self {
        Self::Authorizer(Arc::new(Check { authorizer, attributes, stage: Opaque::ResourceCheck }))
    }
}

/// A function that adds one text to a question of one stage.
macro_rules! adds {
    ($from:ident, $to:ident, $field:ident) => {
        |args| match args {
            [Value::Authorizer(check), Value::String(text)] if check.stage == Opaque::$from => {
                let next = check.with(Opaque::$to, |it| it.$field = text.as_str().to_owned());
                Ok(Value::Authorizer(Arc::new(next)))
            }
            _ => no_overload(),
        }
    };
}

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "path" => |args| match args {
            [Value::Authorizer(check), Value::String(path)] if check.stage == Opaque::Authorizer => {
                let path = path.as_str().to_owned();
                Ok(Value::Authorizer(Arc::new(check.with(Opaque::PathCheck, |it| it.path = Some(path)))))
            }
            _ => no_overload(),
        },
        "serviceAccount" => |args| match args {
            [Value::Authorizer(check), Value::String(namespace), Value::String(name)]
                if check.stage == Opaque::Authorizer =>
            {
                let account = (namespace.as_str().to_owned(), name.as_str().to_owned());
                check_account(&account)?;
                let next = check.with(Opaque::Authorizer, |it| it.service_account = Some(account));
                Ok(Value::Authorizer(Arc::new(next)))
            }
            _ => no_overload(),
        },
        "group" => adds!(Authorizer, GroupCheck, group),
        "resource" => adds!(GroupCheck, ResourceCheck, resource),
        "subresource" => adds!(ResourceCheck, ResourceCheck, subresource),
        "namespace" => adds!(ResourceCheck, ResourceCheck, namespace),
        "name" => adds!(ResourceCheck, ResourceCheck, name),
        "fieldSelector" => adds!(ResourceCheck, ResourceCheck, field_selector),
        "labelSelector" => adds!(ResourceCheck, ResourceCheck, label_selector),
        "check" => |args| match args {
            [Value::Authorizer(check), Value::String(verb)] => {
                let verb = verb.as_str().to_owned();
                let asked = check.with(check.stage, |it| it.verb = verb);
                Ok(Value::Decision(Arc::new(check.authorizer.authorize(&asked.attributes))))
            }
            _ => no_overload(),
        },
        "allowed" => |args| decision(args, |it| Value::Bool(it.allowed)),
        "reason" => |args| decision(args, |it| Value::from(it.reason.clone())),
        "errored" => |args| decision(args, |it| Value::Bool(it.error.is_some())),
        "error" => |args| decision(args, |it| Value::from(it.error.clone().unwrap_or_default())),
        _ => return None,
    })
}

fn check_account((namespace, name): &(String, String)) -> Result<(), EvaluationError> {
    if !gantry_api::selector::is_dns_subdomain(name) {
        return Err(EvaluationError::failed("Invalid service account name"));
    }
    if !gantry_api::selector::is_dns_label(namespace) {
        return Err(EvaluationError::failed("Invalid service account namespace"));
    }
    Ok(())
}

fn decision<'a>(
    args: &[Value<'a>],
    part: fn(&AuthorizerDecision) -> Value<'a>,
) -> Result<Value<'a>, EvaluationError> {
    match args {
        [Value::Decision(decision)] => Ok(part(decision)),
        _ => no_overload(),
    }
}
