//! Compact JWS with the two algorithms in use, and the checks on claims that need nothing but a clock.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Claims, KeyError, LEGACY_ISSUER, LegacyClaims, SigningKey, VerifyingKey};

/// How far two clocks may be apart, in seconds.
const LEEWAY: i64 = 10;

/// Why a token is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of ours: another authenticator may know it.
    #[error("not a token of this issuer")]
    Foreign,
    /// Its parts cannot be read.
    #[error("malformed token")]
    Malformed,
    /// No key of ours made the signature.
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Signature,
    /// It ended.
    #[error("service account token has expired")]
    Expired,
    /// It has not begun.
    #[error("service account token is not valid yet")]
    NotYet,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// A signed token with `claims`.
pub fn sign(key: &SigningKey, claims: &impl Serialize) -> Result<String, KeyError> {
    let header = Header { alg: key.public().algorithm().into(), kid: key.public().id.clone() };
    let mut token = encode(&header);
    token.push('.');
    token.push_str(&encode(claims));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The claims of `token`, when one of `issuers` made it with one of `keys` and it is good at `now` (seconds
/// since the Unix epoch). Audiences and bound objects are for the caller to check.
pub fn verify(
    keys: &[VerifyingKey],
    issuers: &[String],
    token: &str,
    now: i64,
) -> Result<Claims, TokenError> {
    let claims: Claims = signed(keys, token, |claims: &Claims| issuers.contains(&claims.iss))?;
    if now > claims.exp + LEEWAY {
        return Err(TokenError::Expired);
    }
    if now + LEEWAY < claims.nbf {
        return Err(TokenError::NotYet);
    }
    Ok(claims)
}

/// The claims of a token that a Secret keeps, when one of `keys` made it. Whether it is still good, its Secret
/// says.
pub fn verify_legacy(keys: &[VerifyingKey], token: &str) -> Result<LegacyClaims, TokenError> {
    signed(keys, token, |claims: &LegacyClaims| claims.iss == LEGACY_ISSUER)
}

/// The claims of `token`, when they are `ours` and one of `keys` signed them.
fn signed<T: for<'de> Deserialize<'de>>(
    keys: &[VerifyingKey],
    token: &str,
    ours: impl Fn(&T) -> bool,
) -> Result<T, TokenError> {
    let mut parts = token.split('.');
    let (Some(header), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Foreign);
    };
    let claims: T = decode(body).filter(ours).ok_or(TokenError::Foreign)?;
    let head: Header = decode(header).ok_or(TokenError::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
    let message = &token.as_bytes()[..header.len() + 1 + body.len()];
    let signed = keys
        .iter()
        .filter(|key| key.algorithm() == head.alg && (head.kid.is_empty() || head.kid == key.id))
        .any(|key| key.verify(message, &signature));
    if signed { Ok(claims) } else { Err(TokenError::Signature) }
}

fn encode(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(gantry_json::to_vec(value).expect("strings and numbers serialise"))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    gantry_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Kubernetes, Reference};

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    fn key() -> SigningKey {
        let pair = rcgen::KeyPair::generate().unwrap();
        SigningKey::from_pem(&pair.serialize_pem()).unwrap()
    }

    fn claims() -> Claims {
        let account = Reference { name: "web".into(), uid: "u1".into() };
        Claims {
            aud: vec![ISSUER.into()],
            exp: 2_000,
            iat: 1_000,
            nbf: 1_000,
            iss: ISSUER.into(),
            jti: "j".into(),
            sub: Claims::user_name("default", "web"),
            kubernetes: Kubernetes {
                namespace: "default".into(),
                serviceaccount: account,
                ..Kubernetes::default()
            },
        }
    }

    #[test]
    fn what_is_signed_verifies() {
        let key = key();
        let keys = [key.public().clone()];
        let token = sign(&key, &claims()).unwrap();
        assert_eq!(verify(&keys, &[ISSUER.into()], &token, 1_500), Ok(claims()));
        let check = |token: &str, issuer: &str, now, expect| {
            assert_eq!(verify(&keys, &[issuer.into()], token, now).unwrap_err(), expect, "{token}");
        };
        check(&token, ISSUER, 2_011, TokenError::Expired);
        check(&token, ISSUER, 900, TokenError::NotYet);
        check(&token, "https://other", 1_500, TokenError::Foreign);
        check("abcdef.0123456789abcdef", ISSUER, 1_500, TokenError::Foreign);
        check(&format!("{token}!"), ISSUER, 1_500, TokenError::Malformed);
        let (front, back) = token.rsplit_once('.').unwrap();
        let first = if back.starts_with('A') { "B" } else { "A" };
        let flipped = format!("{first}{}", &back[1..]);
        check(&format!("{front}.{flipped}"), ISSUER, 1_500, TokenError::Signature);
        let other = sign(&super::tests::key(), &claims()).unwrap();
        check(&other, ISSUER, 1_500, TokenError::Signature);
    }

    #[test]
    fn an_unsigned_token_is_no_token() {
        let key = key();
        let header = Header { alg: "none".into(), kid: String::new() };
        let token = format!("{}.{}.", encode(&header), encode(&claims()));
        assert_eq!(
            verify(&[key.public().clone()], &[ISSUER.into()], &token, 1_500),
            Err(TokenError::Signature)
        );
    }

    #[test]
    fn a_single_audience_may_be_a_string() {
        let read: Claims = gantry_json::from_str(r#"{"aud":"a","exp":1,"iss":"i","sub":"s"}"#).unwrap();
        assert_eq!(read.aud, ["a"]);
    }
}
