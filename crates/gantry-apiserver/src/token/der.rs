//! The little DER that keys need: wrapping public keys, opening SEC 1 private keys.

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// AlgorithmIdentifier of an ECDSA key on P-256.
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
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

/// SubjectPublicKeyInfo of an uncompressed P-256 point.
pub(super) fn ec_public_key_info(point: &[u8]) -> Vec<u8> {
    public_key_info(EC_P256, point)
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

/// The key inside a SubjectPublicKeyInfo: whether it is RSA, and its bytes.
pub(super) fn open_public_key_info(input: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, _, key) = next(body)?;
    let rsa = body.starts_with(RSA);
    if !rsa && !body.starts_with(EC_P256) {
        return None;
    }
    let (BIT_STRING, bits, _) = next(key)? else { return None };
    Some((rsa, bits.get(1..)?.to_vec()))
}

/// Modulus and exponent of a PKCS#1 RSA public key, without leading zeros.
pub(super) fn rsa_components(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (SEQUENCE, body, _) = next(input)? else { return None };
    let (_, modulus, rest) = next(body)?;
    let (_, exponent, _) = next(rest)?;
    let trim = |number: &[u8]| number.iter().skip_while(|byte| **byte == 0).copied().collect();
    Some((trim(modulus), trim(exponent)))
}
