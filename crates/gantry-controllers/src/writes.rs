//! What controllers share about writing to the API.

use kube::Error;

/// The field manager of the controllers' writes.
pub const MANAGER: &str = "kube-controller-manager";

/// The API's own words where it refused, else what went wrong on the way to it.
pub fn message(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the object was changed since it was read. The change comes through the informer and is
/// worked on then, so that nothing has to be tried again.
pub fn is_stale(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_conflict())
}

/// Whether the object is gone.
pub fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_not_found())
}
