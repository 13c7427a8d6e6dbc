//! Admission of writes: the plugins' say on an object.

use gantry_api::status::ApiError;
use serde_json::Value;

use super::Context;
use crate::admission;

pub(super) use crate::admission::Operation;

impl Context<'_> {
    /// Waits for the service account of a new pod, where its namespace is new as well.
    pub(super) async fn wait_for_account(&self, object: &mut Value) {
        let request = self.admission_request(Operation::Create, std::mem::take(object), None, false);
        self.server.admission.wait_for_account(&request, &self.server.store).await;
        *object = request.object;
    }

    /// Lets the plugins change `object`.
    pub(super) fn mutate(
        &mut self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let snapshot = self.server.store.snapshot();
        let mut request = self.admission_request(operation, std::mem::take(object), old, dry_run);
        let result = self.server.admission.mutate(&mut request, &snapshot);
        *object = request.object;
        let warnings = request.warnings;
        self.warnings.extend(warnings);
        result
    }

    /// Lets the plugins refuse `object`.
    pub(super) fn validate(
        &mut self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let snapshot = self.server.store.snapshot();
        let request = self.admission_request(operation, std::mem::take(object), old, dry_run);
        let result = self.server.admission.validate(&request, &snapshot);
        *object = request.object;
        result
    }

    fn admission_request<'r>(
        &'r self,
        operation: Operation,
        object: Value,
        old: Option<&'r Value>,
        dry_run: bool,
    ) -> admission::Request<'r> {
        admission::Request {
            operation,
            group: &self.kind.group,
            resource: &self.kind.plural,
            subresource: &self.info.subresource,
            namespace: self.namespace(),
            name: &self.info.name,
            user: self.user,
            object,
            old,
            dry_run,
            warnings: Vec::new(),
        }
    }
}
