//! What an error of the API means to whoever asked.

/// The code of an answer that is an error; 0 where there was no answer.
pub(crate) fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// Whether nothing can be made because the namespace is going away or gone.
pub(crate) fn namespace_leaves(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            status.code == 404 || causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}
