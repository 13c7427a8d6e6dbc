//! Tokens of others: compact JWS (RFC 7515) with the signature algorithms of RFC 7518 that upstream takes,
//! and the JSON Web Keys (RFC 7517) that verify them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The algorithms that can be verified. ES512 is not among them.
pub const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];

/// A token whose signature is still to be verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// The signature algorithm that its header names.
    pub algorithm: String,
    /// The key that its header names.
    pub key_id: String,
    /// What it says.
    pub claims: Map<String, Value>,
    message: &'a [u8],
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crit: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Reads a token; `None`: it is none.
    pub fn parse(token: &'a str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let read: Header = decode(header)?;
        // What must be understood is not.
        if read.crit.is_some() {
            return None;
        }
        Some(Self {
            algorithm: read.alg,
            key_id: read.kid,
            claims: decode(body)?,
            message: &token.as_bytes()[..header.len() + 1 + body.len()],
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Who is said to have made it.
    pub fn issuer(&self) -> &str {
        match self.claims.get("iss").and_then(Value::as_str).unwrap_or_default() {
            // As Google once called itself.
            "accounts.google.com" => "https://accounts.google.com",
            issuer => issuer,
        }
    }

    /// Whether one of `keys` made the signature.
    pub fn is_signed_by(&self, keys: &[Jwk]) -> bool {
        let named = |key: &&Jwk| self.key_id.is_empty() || key.id.is_empty() || key.id == self.key_id;
        keys.iter().filter(named).any(|key| key.verify(&self.algorithm, self.message, &self.signature))
    }

    /// Whether one of `keys` has the identifier that the token names.
    pub fn names_one_of(&self, keys: &[Jwk]) -> bool {
        self.key_id.is_empty() || keys.iter().any(|key| key.id == self.key_id)
    }
}

/// A public key of somebody else.
#[derive(Debug, Clone)]
pub struct Jwk {
    id: String,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl Jwk {
    /// The keys for signatures in a key set; other ones are left out. `None`: it is no key set.
    pub fn set(bytes: &[u8]) -> Option<Vec<Self>> {
        let set: Value = serde_json::from_slice(bytes).ok()?;
        Some(set["keys"].as_array()?.iter().filter_map(Self::parse).collect())
    }

    fn parse(key: &Value) -> Option<Self> {
        if key["use"].as_str().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |field: &str| URL_SAFE_NO_PAD.decode(key[field].as_str()?.trim_end_matches('=')).ok();
        let point = |size: usize| {
            let mut point = vec![4];
            for coordinate in [bytes("x")?, bytes("y")?] {
                point.resize(point.len() + size.checked_sub(coordinate.len())?, 0);
                point.extend(coordinate);
            }
            Some(point)
        };
        let material = match (key["kty"].as_str()?, key["crv"].as_str()) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            _ => return None,
        };
        let text = |field: &str| key[field].as_str().map(str::to_owned);
        Some(Self { id: text("kid").unwrap_or_default(), algorithm: text("alg"), material })
    }

    fn verify(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|own| own != algorithm) {
            return false;
        }
        match (&self.material, algorithm) {
            (Material::P256(point), "ES256") => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signed)
            }
            (Material::P384(point), "ES384") => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signed)
            }
            (Material::Rsa { n, e }, _) => match rsa(algorithm) {
                Some(parameters) => RsaPublicKeyComponents { n, e }.verify(parameters, message, signed),
                None => return false,
            },
            _ => return false,
        }
        .is_ok()
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
