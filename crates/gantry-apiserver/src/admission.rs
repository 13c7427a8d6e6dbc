//! Admission: what may change or refuse a write, after authorization and before validation.
//!
//! Plugins run in upstream's order, each in a file of its own: first all that change the object, then
//! all that only look.

mod certificate_approval;
mod certificate_requestor;
mod certificate_signing;
mod certificate_subject_restriction;
mod default_class;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod pod_topology_labels;
mod priority;
mod rbac_escalation;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gantry_api::status::ApiError;
use gantry_store::Store;
use serde_json::Value;

use crate::authz::Authorizer;
use crate::{Lookup, User};

/// How long the account of a new namespace may take.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);

/// What a request does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Makes it.
    #[default]
    Create,
    /// Changes it.
    Update,
    /// Removes it.
    Delete,
    /// Opens a stream to it.
    Connect,
}

impl Operation {
    /// The API's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One write, as admission sees it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What it does.
    pub operation: Operation,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource's plural name.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty. A Namespace object is in none.
    pub namespace: &'a str,
    /// The object's name; empty while it is to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// The object as it is to become (for a subresource, what was sent); null for a deletion.
    pub object: Value,
    /// The object as it is.
    pub old: Option<&'a Value>,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// What the client is to be warned of.
    pub warnings: Vec<String>,
}

impl Request<'_> {
    /// Whether the request is about `resource` of the core group itself.
    fn is(&self, resource: &str, subresource: &str) -> bool {
        self.group.is_empty() && self.resource == resource && self.subresource == subresource
    }

    /// A 403 about the request's object.
    fn forbidden(&self, why: impl AsRef<str>) -> ApiError {
        ApiError::forbidden(self.group, self.resource, self.object_name(), why.as_ref())
    }

    /// The object's name: the path's, or a new object's own.
    fn object_name(&self) -> &str {
        if self.name.is_empty() { self.text("/metadata/name") } else { self.name }
    }

    /// The text under a JSON pointer of the new object.
    fn text(&self, pointer: &str) -> &str {
        text(&self.object, pointer)
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// An admission plugin. A plugin says nothing on requests that it does not know.
pub trait Plugin: Send + Sync {
    /// What configuration and logs call it.
    fn name(&self) -> &'static str;

    /// Changes the object, or refuses.
    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let _ = (request, objects);
        Ok(())
    }

    /// Refuses, or does not.
    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let _ = (request, objects);
        Ok(())
    }
}

/// Told of each plugin's turn: its name, the operation, `admit` or `validate`, whether it refused, and how
/// long it took.
pub type Observer = Box<dyn Fn(&'static str, Operation, &'static str, bool, Duration) + Send + Sync>;

/// The plugins of a server.
pub struct Admission {
    plugins: Vec<Box<dyn Plugin>>,
    observer: Observer,
}

impl Admission {
    /// The plugins that are on by default.
    pub fn new(authorizer: Arc<Authorizer>) -> Self {
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes_by_condition::TaintNodesByCondition),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(default_storage_class::DefaultStorageClass),
            Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
            Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificate_requestor::CertificateRequestor),
            Box::new(certificate_approval::CertificateApproval(authorizer.clone())),
            Box::new(certificate_signing::CertificateSigning(authorizer.clone())),
            Box::new(certificate_subject_restriction::CertificateSubjectRestriction),
            Box::new(default_ingress_class::DefaultIngressClass),
            Box::new(pod_topology_labels::PodTopologyLabels),
            Box::new(rbac_escalation::RbacEscalation(authorizer)),
        ];
        Self { plugins, observer: Box::new(|_, _, _, _, _| {}) }
    }

    /// Tells `observer` of each plugin's turn.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Waits, a second at most, for the service account of a new pod: a namespace gets its account
    /// `default` from a controller, a moment after it was made.
    pub async fn wait_for_account(&self, request: &Request<'_>, store: &Store) {
        if !request.is("pods", "") || request.operation != Operation::Create {
            return;
        }
        let name = match request.text("/spec/serviceAccountName") {
            "" => "default",
            name => name,
        };
        let key = format!("/registry/serviceaccounts/{}/{name}", request.namespace);
        let snapshot = store.snapshot();
        let namespace = format!("/registry/namespaces/{}", request.namespace);
        if snapshot.get(&key).is_some() || snapshot.get(&namespace).is_none() {
            return;
        }
        if let Ok(mut created) = store.watch(&key, snapshot.revision(), None) {
            // Late or not, the plugin says what there is to say.
            let _ = tokio::time::timeout(ACCOUNT_PATIENCE, created.next()).await;
        }
    }

    /// Lets every plugin change the object, in order; the first refusal ends it.
    pub fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        self.plugins.iter().try_for_each(|plugin| {
            let started = Instant::now();
            let result = plugin.mutate(request, objects);
            let operation = request.operation;
            (self.observer)(plugin.name(), operation, "admit", result.is_err(), started.elapsed());
            result
        })
    }

    /// Asks every plugin whether the object as it is now may be written.
    pub fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        self.plugins.iter().try_for_each(|plugin| {
            let started = Instant::now();
            let result = plugin.validate(request, objects);
            let operation = request.operation;
            (self.observer)(plugin.name(), operation, "validate", result.is_err(), started.elapsed());
            result
        })
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
