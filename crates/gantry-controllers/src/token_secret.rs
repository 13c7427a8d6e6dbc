//! Secrets that keep the token of a service account.

use gantry_client::{Cached, Meta};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};

/// The annotation that names the account.
pub(crate) const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// The annotation with its UID.
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Such a Secret, and no other.
pub(crate) struct TokenSecret(pub Secret);

impl Cached for TokenSecret {
    type Object = Secret;
    const FIELDS: Option<&'static str> = Some("type=kubernetes.io/service-account-token");

    fn from_object(mut object: Secret) -> Self {
        object.metadata.managed_fields = None;
        Self(object)
    }

    fn meta(&self) -> &dyn Meta {
        &self.0.metadata
    }
}

impl TokenSecret {
    fn annotation(&self, name: &str) -> &str {
        let annotations = self.0.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(name)).map(String::as_str).unwrap_or_default()
    }

    /// The name of the account that it is for.
    pub(crate) fn account(&self) -> &str {
        self.annotation(ACCOUNT)
    }

    /// The UID of that account, where the Secret says it.
    pub(crate) fn account_uid(&self) -> Option<&str> {
        Some(self.annotation(ACCOUNT_UID)).filter(|uid| !uid.is_empty())
    }

    /// Whether it is for `account`, which has that name and namespace.
    pub(crate) fn is_for(&self, account: &ServiceAccount) -> bool {
        self.account_uid().is_none_or(|uid| account.metadata.uid.as_deref() == Some(uid))
    }
}
