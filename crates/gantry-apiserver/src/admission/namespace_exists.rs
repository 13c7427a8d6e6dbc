//! NamespaceExists: what is in no namespace that there is, is not written. NamespaceLifecycle sees to more
//! than that; this is for those who do without it. Off by default.

use gantry_api::status::ApiError;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

pub(super) struct NamespaceExists;

impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::CHANGES)
    }

    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let own = request.is_about_namespaces();
        if own || request.namespace.is_empty() || request.operation == Operation::Connect {
            return Ok(());
        }
        let found = objects.get("", "namespaces", "", request.namespace);
        found.map(drop).ok_or_else(|| ApiError::not_found("", "namespaces", request.namespace))
    }
}
