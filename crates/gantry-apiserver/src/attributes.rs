//! What a request wants to do, in the words that authorization and admission decide on.

use std::sync::Arc;

use gantry_json::Text;

use crate::User;

/// One request's user, verb and target.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Who asks.
    pub user: Arc<User>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or
    /// the HTTP method in lower case where the path names no resource.
    pub verb: Text,
    /// The API group; empty for the core group.
    pub group: Text,
    /// The API version.
    pub version: Text,
    /// The resource's plural name.
    pub resource: Text,
    /// The subresource, or empty.
    pub subresource: Text,
    /// The namespace, or empty. A Namespace object is in the namespace that it is.
    pub namespace: Text,
    /// The object's name, or empty for a collection.
    pub name: Text,
    /// The URL path.
    pub path: Text,
    /// Whether the path names a resource.
    pub is_resource: bool,
    /// The field selector of a list, watch or deletecollection, as it was sent.
    pub field_selector: Text,
    /// The label selector of a list, watch or deletecollection, as it was sent.
    pub label_selector: Text,
}
