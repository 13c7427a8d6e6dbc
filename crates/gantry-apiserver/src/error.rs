//! Why a server could not be made.

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate, key or CA is unusable.
    #[error("{operation}: {cause}")]
    Tls {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        cause: String,
    },
    /// The service account key is unusable, or another part of the configuration is.
    #[error("{part}: {cause}")]
    Config {
        /// The part of the configuration.
        part: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl Error {
    pub(crate) fn tls(operation: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Tls { operation, cause: cause.to_string() }
    }

    pub(crate) fn config(part: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Config { part, cause: cause.to_string() }
    }
}
