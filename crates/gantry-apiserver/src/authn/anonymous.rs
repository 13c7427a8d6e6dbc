//! Requests without credentials: where they may go.

use super::Unauthorized;
use crate::User;

/// The paths for which requests need no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// These, and everything below those that end in a star.
    Paths(Vec<String>),
    /// Exactly these.
    Exactly(Vec<String>),
    /// Every path; what is done there is for authorization to say.
    Everywhere,
}

impl Default for Anonymous {
    /// Health and version, which load balancers and probes ask for.
    fn default() -> Self {
        let paths =
            ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"];
        Self::Paths(paths.map(str::to_owned).into())
    }
}

impl Anonymous {
    /// The user that a request without credentials is; the error is for paths that it cannot have.
    pub fn user(&self, path: &str) -> Result<User, Unauthorized> {
        let open = match self {
            Self::Everywhere => true,
            Self::Exactly(paths) => paths.iter().any(|each| each == path),
            Self::Paths(paths) => paths.iter().any(|each| match each.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => each == path,
            }),
        };
        if open { Ok(User::anonymous()) } else { Err(Unauthorized(format!("no credentials for {path}"))) }
    }
}
