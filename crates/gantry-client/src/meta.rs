//! What every kept object tells of itself, whole metadata or lean.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

/// Metadata of an object, in whatever form it is kept.
pub trait Meta: Sync {
    /// `name`.
    fn name(&self) -> Option<&str>;
    /// `namespace`.
    fn namespace(&self) -> Option<&str>;
    /// `uid`.
    fn uid(&self) -> Option<&str>;
    /// `resourceVersion`.
    fn resource_version(&self) -> Option<&str>;
    /// `labels`.
    fn labels(&self) -> Option<&BTreeMap<String, String>>;
    /// `ownerReferences`.
    fn owner_references(&self) -> &[OwnerReference];
    /// `deletionTimestamp`.
    fn deletion_timestamp(&self) -> Option<&Time>;
}

impl Meta for ObjectMeta {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }

    fn owner_references(&self) -> &[OwnerReference] {
        self.owner_references.as_deref().unwrap_or_default()
    }

    fn deletion_timestamp(&self) -> Option<&Time> {
        self.deletion_timestamp.as_ref()
    }
}
