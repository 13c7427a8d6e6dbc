//! Service account tokens: keys, signatures and claims (RFC 7519, KEP-1205), and the key set that
//! others verify them with.

mod claims;
mod curve;
mod der;
mod jwks;
mod jws;
mod jwt;
mod key;

pub use claims::{Bound, Claims, Kubernetes, LEGACY_ISSUER, LegacyClaims, Reference};
pub use jwks::{discovery_document, key_set};
pub use jws::{ALGORITHMS, Jwk, Unverified};
pub use jwt::{TokenError, sign, verify, verify_legacy};
pub use key::{KeyError, SigningKey, VerifyingKey};
