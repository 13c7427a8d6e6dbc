//! The little DER that keys need: wrapping public keys, opening private keys.

use super::curve::Curve;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// AlgorithmIdentifier of an ECDSA key on P-256.
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// AlgorithmIdentifier of an ECDSA key on P-384.
const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22,
];
/// AlgorithmIdentifier of an ECDSA key on P-521.
const EC_P521: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x23,
];
/// AlgorithmIdentifier of an RSA key.
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(0)..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

fn identifier(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => EC_P256,
        Curve::P384 => EC_P384,
        Curve::P521 => EC_P521,
    }
}

/// The curve of a key whose AlgorithmIdentifier is at the start of `input`.
fn curve(input: &[u8]) -> Option<Curve> {
    Curve::ALL.into_iter().find(|curve| input.starts_with(identifier(*curve)))
}

/// SubjectPublicKeyInfo of an uncompressed point.
pub(super) fn ec_public_key_info(curve: Curve, point: &[u8]) -> Vec<u8> {
    public_key_info(identifier(curve), point)
}

/// SubjectPublicKeyInfo of a PKCS#1 RSA public key.
pub(super) fn rsa_public_key_info(key: &[u8]) -> Vec<u8> {
    public_key_info(RSA, key)
}

fn public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = [&[0], key].concat();
    tagged(SEQUENCE, &[algorithm, &tagged(BIT_STRING, &bits)].concat())
}

/// The next value of `input`: tag, content, rest.
fn next(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if first & 0x80 == 0 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let bytes = rest.get(..count).filter(|_| count <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), &rest[count..])
    };
    Some((*tag, rest.get(..length)?, &rest[length..]))
}

/// The private and public key of an ECPrivateKey (RFC 5915).
pub(super) fn sec1(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, _version, body) = next(body)?;
    let (OCTET_STRING, private, mut body) = next(body)? else { return None };
    while let Some((tag, content, rest)) = next(body) {
        if tag == 0xa1 {
            let (BIT_STRING, bits, _) = next(content)? else { return None };
            return Some((private.to_vec(), bits.get(1..)?.to_vec()));
        }
        body = rest;
    }
    None
}

/// The curve and the ECPrivateKey inside of PKCS#8 (RFC 5208).
pub(super) fn pkcs8(input: &[u8]) -> Option<(Curve, &[u8])> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, _version, body) = next(body)?;
    let curve = curve(body)?;
    let (_, _identifier, body) = next(body)?;
    let (OCTET_STRING, key, _) = next(body)? else { return None };
    Some((curve, key))
}

/// The key inside a SubjectPublicKeyInfo: its curve, or none for RSA, and its bytes.
pub(super) fn open_public_key_info(input: &[u8]) -> Option<(Option<Curve>, Vec<u8>)> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, _, key) = next(body)?;
    let curve = curve(body);
    if curve.is_none() && !body.starts_with(RSA) {
        return None;
    }
    let (BIT_STRING, bits, _) = next(key)? else { return None };
    Some((curve, bits.get(1..)?.to_vec()))
}

/// Modulus and exponent of a PKCS#1 RSA public key, without leading zeros.
pub(super) fn rsa_components(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, modulus, rest) = next(body)?;
    let (_, exponent, _) = next(rest)?;
    let trim = |number: &[u8]| number.iter().skip_while(|byte| **byte == 0).copied().collect();
    Some((trim(modulus), trim(exponent)))
}
