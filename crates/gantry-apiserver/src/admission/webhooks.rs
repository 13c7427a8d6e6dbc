//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: other people's servers that change or refuse
//! writes, as objects of `admissionregistration.k8s.io` say.
//!
//! Flow: configurations are followed in memory, so that a write meets every configuration that was
//! acknowledged before it. Each webhook that a request meets is asked: those that change objects one
//! after another in the order of their configurations' names, each seeing what those before it made; the
//! others all at once. Errors: a webhook that cannot be asked, or that answers what is no answer, fails
//! the write or counts as consent, as its `failurePolicy` says; its refusal always fails the write.

mod call;
mod configuration;
mod mutating;
mod response;
mod review;
mod validating;

use gantry_api::status::ApiError;

pub(crate) use call::Caller;
pub(super) use mutating::MutatingAdmissionWebhook;
pub(super) use validating::ValidatingAdmissionWebhook;

/// Why a webhook's turn did not end well.
#[derive(Debug, Clone, PartialEq)]
enum Failure {
    /// It could not be asked, or its answer is none.
    Calling { message: String, code: u16 },
    /// It refused.
    Rejected(ApiError),
    /// The server itself failed.
    Internal(ApiError),
}

impl Failure {
    fn calling(name: &str, why: impl std::fmt::Display, code: u16) -> Self {
        Self::Calling { message: format!("failed calling webhook {name:?}: {why}"), code }
    }

    /// What metrics call it, and the status code that they count it under.
    fn kind(&self) -> (&'static str, u16) {
        match self {
            Self::Calling { code, .. } => ("calling_webhook_error", *code),
            Self::Rejected(error) => ("no_error", error.code),
            Self::Internal(error) => ("apiserver_internal_error", error.code),
        }
    }

    fn into_error(self) -> ApiError {
        match self {
            Self::Calling { message, .. } => ApiError::internal(message),
            Self::Rejected(error) | Self::Internal(error) => error,
        }
    }
}
