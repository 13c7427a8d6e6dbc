//! The error every call of the interface returns.

use std::fmt;

/// Why a call failed, as gRPC codes, which is what kubelets tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request itself is wrong.
    InvalidArgument,
    /// The named sandbox, container or image does not exist.
    NotFound,
    /// A sandbox or container of that name exists.
    AlreadyExists,
    /// The object is in a state that does not allow the call.
    FailedPrecondition,
    /// The call did not end in the time it was given.
    DeadlineExceeded,
    /// Credentials are missing or not enough.
    PermissionDenied,
    /// The runtime cannot do that.
    Unimplemented,
    /// The runtime or the registry cannot be reached now.
    Unavailable,
    /// Anything else.
    Internal,
}

/// A failed call: its code and a message that names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CriError {
    /// The kind of failure.
    pub code: Code,
    /// What failed, for people.
    pub message: String,
}

impl CriError {
    /// An error of `code`.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// The named object does not exist.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format_args!("{what} not found"))
    }

    /// The request is wrong.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The object's state forbids the call.
    pub fn precondition(message: impl fmt::Display) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// Anything unexpected.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Code::Internal, message)
    }

    /// Whether the named object does not exist, which makes removal a success.
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

impl From<CriError> for tonic::Status {
    fn from(error: CriError) -> Self {
        let code = match error.code {
            Code::InvalidArgument => tonic::Code::InvalidArgument,
            Code::NotFound => tonic::Code::NotFound,
            Code::AlreadyExists => tonic::Code::AlreadyExists,
            Code::FailedPrecondition => tonic::Code::FailedPrecondition,
            Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            Code::PermissionDenied => tonic::Code::PermissionDenied,
            Code::Unimplemented => tonic::Code::Unimplemented,
            Code::Unavailable => tonic::Code::Unavailable,
            Code::Internal => tonic::Code::Internal,
        };
        tonic::Status::new(code, error.message)
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        let code = match status.code() {
            tonic::Code::InvalidArgument => Code::InvalidArgument,
            tonic::Code::NotFound => Code::NotFound,
            tonic::Code::AlreadyExists => Code::AlreadyExists,
            tonic::Code::FailedPrecondition => Code::FailedPrecondition,
            tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => Code::PermissionDenied,
            tonic::Code::Unimplemented => Code::Unimplemented,
            tonic::Code::Unavailable => Code::Unavailable,
            _ => Code::Internal,
        };
        Self::new(code, status.message())
    }
}
