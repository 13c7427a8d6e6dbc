//! The documents that let others verify our tokens: OpenID discovery and the JSON Web Key Set.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_json::{Value, json};

use super::{VerifyingKey, der};

/// `/.well-known/openid-configuration`. `jwks_uri` is the address of the key set.
pub fn discovery_document(issuer: &str, jwks_uri: &str, keys: &[VerifyingKey]) -> Value {
    let mut algorithms: Vec<_> = keys.iter().map(VerifyingKey::algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
}

/// `/openid/v1/jwks`.
pub fn key_set(keys: &[VerifyingKey]) -> Value {
    json!({"keys": keys.iter().filter_map(key).collect::<Vec<_>>()})
}

fn key(key: &VerifyingKey) -> Option<Value> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let Some(curve) = key.curve else {
        let (modulus, exponent) = der::rsa_components(&key.bytes)?;
        let (n, e) = (encode(&modulus), encode(&exponent));
        return Some(json!({"use": "sig", "kty": "RSA", "kid": key.id, "alg": "RS256", "n": n, "e": e}));
    };
    let (x, y) = key.bytes.get(1..)?.split_at_checked(curve.size())?;
    let (x, y) = (encode(x), encode(y));
    let (name, algorithm) = (curve.name(), curve.algorithm());
    Some(json!({"use": "sig", "kty": "EC", "kid": key.id, "crv": name, "alg": algorithm, "x": x, "y": y}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::SigningKey;

    #[test]
    fn describes_a_key() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = SigningKey::from_pem(&pair.serialize_pem()).unwrap();
        let set = key_set(&[key.public().clone()]);
        assert_eq!(set["keys"][0]["kid"], key.public().id.as_str());
        assert_eq!(set["keys"][0]["x"].as_str().unwrap().len(), 43);
        let info = pair.public_key_pem();
        assert_eq!(VerifyingKey::all_from_pem(&info).unwrap(), [key.public().clone()]);
        let document = discovery_document("https://a", "https://a/openid/v1/jwks", &[key.public().clone()]);
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    }
}
