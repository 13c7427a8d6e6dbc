//! Writing DER (X.690), as far as certificates need it.

use jiff::Timestamp;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A value with its tag and length.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
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

/// A sequence of values that are encoded already.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// A number that is not negative.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    tagged(INTEGER, &[sign, bytes].concat())
}

/// An object identifier, its arcs encoded already.
pub(super) fn oid(arcs: &[u8]) -> Vec<u8> {
    tagged(OID, arcs)
}

/// A bit string whose bits fill its bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &[&[0], bytes].concat())
}

/// A named bit list (X.680 22.7): bit 0 first, without trailing zeros.
pub(super) fn named_bits(set: &[usize]) -> Vec<u8> {
    let Some(last) = set.iter().max() else { return tagged(BIT_STRING, &[0]) };
    let mut content = vec![0; last / 8 + 2];
    content[0] = (7 - last % 8) as u8;
    for bit in set {
        content[1 + bit / 8] |= 0x80 >> (bit % 8);
    }
    tagged(BIT_STRING, &content)
}

/// A time as certificates write it (RFC 5280 4.1.2.5).
pub(super) fn time(at: Timestamp) -> Vec<u8> {
    let year: u32 = at.strftime("%Y").to_string().parse().unwrap_or(0);
    match year {
        1950..2050 => tagged(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()),
        _ => tagged(GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()),
    }
}

/// A certificate's extension.
pub(super) fn extension(arcs: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tagged(BOOLEAN, &[0xff]) } else { Vec::new() };
    sequence(&[&oid(arcs), &critical, &tagged(OCTET_STRING, value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(integer(&[0, 0]), [INTEGER, 1, 0]);
        assert_eq!(integer(&[0, 0x80]), [INTEGER, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0x7f]), [INTEGER, 1, 0x7f]);
        assert_eq!(named_bits(&[0, 2]), [BIT_STRING, 2, 5, 0xa0]);
        assert_eq!(named_bits(&[8]), [BIT_STRING, 3, 7, 0, 0x80]);
        assert_eq!(tagged(4, &[1; 200])[..3], [4, 0x81, 200]);
        let at = |text: &str| time(text.parse().unwrap_or_default());
        assert_eq!(at("2049-12-31T23:59:59Z"), [&[UTC_TIME, 13][..], b"491231235959Z"].concat());
        assert_eq!(at("2050-01-01T00:00:00Z"), [&[GENERALIZED_TIME, 15][..], b"20500101000000Z"].concat());
    }
}
