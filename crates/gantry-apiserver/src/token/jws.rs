//! Tokens of others: compact JWS (RFC 7515) with the signature algorithms of RFC 7518 that upstream takes,
//! and the JSON Web Keys (RFC 7517) that verify them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_json::{Map, Value};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents};
use serde::Deserialize;

use super::curve::Curve;

/// The algorithms that can be verified.
pub const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];

/// A token whose signature is still to be verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// The signature algorithm that its header names.
    pub algorithm: String,
    /// The key that its header names.
    pub key_id: String,
    /// What it says.
    pub claims: Map,
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
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point on a curve.
    Ec(Curve, Vec<u8>),
}

impl Jwk {
    /// The keys for signatures in a key set; other ones are left out. `None`: it is no key set.
    pub fn set(bytes: &[u8]) -> Option<Vec<Self>> {
        let set: Value = gantry_json::from_slice(bytes).ok()?;
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
            ("EC", Some(name)) => {
                let curve = Curve::ALL.into_iter().find(|curve| curve.name() == name)?;
                Material::Ec(curve, point(curve.size())?)
            }
            _ => return None,
        };
        let text = |field: &str| key[field].as_str().map(str::to_owned);
        Some(Self { id: text("kid").unwrap_or_default(), algorithm: text("alg"), material })
    }

    fn verify(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|own| own != algorithm) {
            return false;
        }
        match &self.material {
            Material::Ec(curve, point) => {
                curve.algorithm() == algorithm && curve.verify(point, message, signed)
            }
            Material::Rsa { n, e } => rsa(algorithm).is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signed).is_ok()
            }),
        }
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
    gantry_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys made for this test, whose private halves nobody kept.
    const KEYS: &str = r#"{"keys":[
        {"kty":"RSA","kid":"r","use":"sig","e":"AQAB","n":"migS30AqCwIpxL2w4gKxfFpyDXH2i8iGMEBZ3bJQcs6aDIZ3XY4iTC5yDir8dRJ3EEMeJz9Ax10v32cVJXG-bHRqNiW4rzTpNQe-vF9XlwIKBqsoOKTEdeQoaIcOAwLEc-VWTlHqBg1MEcdeom2UF2rAZMk8B5ZSmQGBLQSU7e3iQTBm5GGHWMCPqAQJz2WbLrifaq18W8W1RPsSNaVCx3v0JKl9KQFn_fgTbbR2S53SygqGHsLH8G5VqzydubXMTDJAmTPteBrSIJuv2UZCBjp4YI9p-FJXbNBkuZjy0jpM7KTO_uG7INCUC-p7pVxxaEeSoe5R90GQjFbvB3Rjmw"},
        {"kty":"EC","kid":"e","crv":"P-384","x":"zdJfkeG2Yfs1uDfUMt6qrad958gm-81OjlluVtuRjKV4ArsBJKK2CIqQOzeRJadY",
         "y":"XAdFCfv2ef7djXR9CzWI-PRO7i42NLFgf9VGcAzDKnjEZvriV74oHmSOvWUFvmb2"},
        {"kty":"EC","kid":"f","crv":"P-521","x":"AIUoM1uS9zZ0JedyUmeQi42Opmm42hycoG8kXQzc1ttlKK_smDwFB21Sfw1aRoErramVr_ltMPGQkep-y1ixuGZW",
         "y":"AE2mhlclYmMMz7npYd1EGVsEXvX2MuBotjVV4mjb__8YEJI-VaU6-afv3N9-SZRZvoSsv7kPjN5X5rUn9S0-m3xW"},
        {"kty":"RSA","kid":"x","use":"enc","e":"AQAB","n":"AQAB"},{"kty":"oct","kid":"o","k":"AQAB"}]}"#;
    const TOKENS: [(&str, &str); 4] = [
        (
            "RS256",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJpIn0.SGexu5uMfaD1a9GPkne5Z4iWXIPgCh6wZEv1jzor1DwKyyu2bE6RtMuo7kwTct292--KO2evH-6Ykr2a79OCd80PBunH0LlpobTirCOKbsWhSFQ2eIR4ezsoo1r-HINNbjQBCXfOjVbeRMi__0BScOoEMSh2cCzjV4qwurnBRIQvqYFZHPw5zWmqGjmgmBUAREliBHUkKa61t9PsmNOfwwYNXTzN88y7WTJEJiTSdOgULLAv6fGFcKZVbn7ZJuawhTBtZct07l0HGMH2YaElJFryKcIoEea6Ai4oqqq0lA-QxKRvnZN4984zF4bi3YAl-mwZT9e8s63jMDuWY6gfsw",
        ),
        (
            "PS512",
            "eyJhbGciOiJQUzUxMiIsImtpZCI6InIifQ.eyJpc3MiOiJpIn0.aaeW51u0dlurqjj3omRXclmLxLDWsfU2rOB5g3VNDIN4UCxA2n6FmWg0RZZl8m6DGsSCBZmZflbrB04eiS6ElqnHMRNF-srquP1F6_Wu0XkQTz70gcvyhxT5tqX-Tzl-mHiQpcp8Cq0xKcI4VD6h2_KG-7GAWQQ6N-DMbTAvR265NzRHhlD4Xt_F3Fs2BeandJ7c4AaxIG4lHmpJWvNI4yaEXkfD4mer72fnJJcUPAVRLRk97gBdsPD53yw52IiIgvjz7sSniH_QwhJ3u4koFukHdl7bNq31TrtTd7cL1qbOJUXr5lR1Gf_ww2E5_UwWpIwG3sCbzlbG3AXveakzwQ",
        ),
        (
            "ES384",
            "eyJhbGciOiJFUzM4NCIsImtpZCI6ImUifQ.eyJpc3MiOiJpIn0.wlfmMgBYffBhvidfrU00EM28pISRUJgTy7DjYDyJnB3tqjwpJjuLjFzLWTjLfCR1mJsGEWy2J9gEftnw_qccV52bRRvnGijD3Jl-8eFXoT6-xUMdbBzaLCaK0W0LbZ3K",
        ),
        (
            "ES512",
            "eyJhbGciOiJFUzUxMiIsImtpZCI6ImYifQ.eyJpc3MiOiJpIn0.AfA_Us4u7B6kBtVNuso-b5i-peBwDiIut8fYHPn9unygn-sMIVQaxuY9YlkLIg50zlqUH3crzsk7cjEFVQPqekP_ACeYwWV3O1WG2-aG2Jk3ss_fGtJXnHr0GFnuBKPbFpP4A8ZyVY_njvEARzYydkb60zYRs6XRqfC54SXzC9jYOrTN",
        ),
    ];

    #[test]
    fn tokens_of_others_verify() {
        let keys = Jwk::set(KEYS.as_bytes()).unwrap();
        assert_eq!(keys.len(), 3, "those for signatures");
        for (algorithm, text) in TOKENS {
            let token = Unverified::parse(text).unwrap();
            assert_eq!((&*token.algorithm, token.issuer()), (algorithm, "i"));
            assert!(token.is_signed_by(&keys), "{algorithm}");
            let (front, signature) = text.rsplit_once('.').unwrap();
            let first = if signature.starts_with('A') { "B" } else { "A" };
            let changed = format!("{front}.{first}{}", &signature[1..]);
            assert!(!Unverified::parse(&changed).unwrap().is_signed_by(&keys), "{algorithm}");
            // The algorithm is the key's, not the token's to choose.
            let (_, rest) = text.split_once('.').unwrap();
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"r"}"#);
            assert!(!Unverified::parse(&format!("{header}.{rest}")).unwrap().is_signed_by(&keys));
        }
    }

    #[test]
    fn what_is_no_token() {
        let critical = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","crit":["exp"]}"#);
        for text in ["", "a.b", "a.b.c", "..", &format!("{critical}.e30.AA"), "{\"payload\": \"\"}"] {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
        assert!(Jwk::set(b"[]").is_none() && Jwk::set(b"{").is_none());
        assert_eq!(
            Jwk::set(br#"{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"!"}, 1, null]}"#).unwrap().len(),
            0
        );
    }
}
