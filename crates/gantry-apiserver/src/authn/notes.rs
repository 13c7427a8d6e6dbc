//! What authentication has to say beside who asks.

use std::collections::BTreeMap;

/// What is to be told and done once it is known who asks, or that nobody knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// For the audit log.
    pub annotations: BTreeMap<String, String>,
    /// For the client.
    pub warnings: Vec<String>,
    /// For the metrics.
    pub uses: Vec<TokenUse>,
    /// The Secret whose label is to say that its token was used today.
    pub used: Option<UsedSecret>,
}

/// How a service account token was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUse {
    /// It names no audience.
    Legacy,
    /// A Secret keeps it that a person made.
    Manual,
    /// A Secret keeps it that its account names, as those do that were once made for every account.
    Generated,
    /// The same, and it had been marked as unused.
    Invalidated,
    /// It should have been renewed.
    Stale,
    /// Its time to be renewed has not come.
    Valid,
}

/// A Secret with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The day, as the label shows it.
    pub day: String,
}

impl Notes {
    /// Notes `value` for the audit log under `authentication.k8s.io/KEY`.
    pub fn annotate(&mut self, key: &str, value: &str) {
        self.annotations.insert(format!("authentication.k8s.io/{key}"), value.to_owned());
    }
}
