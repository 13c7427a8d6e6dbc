//! Issuing a certificate for a request (RFC 5280). Subject, public key and alternative names are taken
//! over byte by byte, so that nothing gets lost that this program has no words for: a subject may have several
//! organizations, which rcgen's names cannot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use time::OffsetDateTime;
use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag};

use super::authority::{Authority, AuthorityError};

const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const ALTERNATIVE_NAMES: [u64; 4] = [2, 5, 29, 17];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

/// A certificate begins a little before it is issued, since clocks differ; a short one as much before as
/// it ends after.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// The request cannot be read.
    #[error("the request: {0}")]
    Request(String),
    /// The certificate would begin or end at no time that certificates can name.
    #[error("the certificate's time: {0}")]
    Time(#[from] time::error::ComponentRange),
    /// The authority cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The certificate, in PEM, for the request in `der`.
pub(super) fn issue(
    authority: &Authority,
    der: &[u8],
    usages: &[String],
    (now, until): (Timestamp, Timestamp),
    serial: [u8; 16],
) -> Result<String, IssueError> {
    let (_, request) =
        X509CertificationRequest::from_der(der).map_err(|error| IssueError::Request(error.to_string()))?;
    let info = &request.certification_request_info;
    let (start, end) = (time(now - BACKDATE.min(until.duration_since(now)))?, time(until)?);
    let body = yasna::construct_der(|writer| {
        writer.write_sequence(|fields| {
            fields.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            fields.next().write_bigint_bytes(&serial, true);
            fields.next().write_der(authority.algorithm);
            fields.next().write_der(&authority.subject);
            fields.next().write_sequence(|validity| {
                write_time(validity.next(), start);
                write_time(validity.next(), end);
            });
            fields.next().write_der(info.subject.as_raw());
            fields.next().write_der(info.subject_pki.raw);
            fields.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|all| write_extensions(all, authority, info, usages));
            });
        });
    });
    let signature = authority.sign(&body)?;
    Ok(pem(&yasna::construct_der(|writer| {
        writer.write_sequence(|fields| {
            fields.next().write_der(&body);
            fields.next().write_der(authority.algorithm);
            fields.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    })))
}

fn write_extensions(
    all: &mut DERWriterSeq<'_>,
    authority: &Authority,
    info: &X509CertificationRequestInfo<'_>,
    usages: &[String],
) {
    let mut write = |oid: &[u64], critical: bool, value: &[u8]| {
        all.next().write_sequence(|fields| {
            fields.next().write_oid(&ObjectIdentifier::from_slice(oid));
            if critical {
                fields.next().write_bool(true);
            }
            fields.next().write_bytes(value);
        });
    };
    let key_usages: Vec<usize> = usages.iter().filter_map(|usage| key_usage(usage)).collect();
    if let Some(last) = key_usages.iter().max() {
        // A named bit list (X.680 22.7): bit 0 first, without trailing zeros.
        let mut bits = vec![0; last / 8 + 1];
        for bit in &key_usages {
            bits[bit / 8] |= 0x80 >> (bit % 8);
        }
        let value = yasna::construct_der(|writer| writer.write_bitvec_bytes(&bits, last + 1));
        write(&KEY_USAGE, true, &value);
    }
    let mut purposes: Vec<&[u64]> = usages.iter().filter_map(|usage| purpose(usage)).collect();
    purposes.dedup();
    if !purposes.is_empty() {
        let value = yasna::construct_der(|writer| {
            writer.write_sequence(|list| {
                for purpose in &purposes {
                    list.next().write_oid(&ObjectIdentifier::from_slice(purpose));
                }
            });
        });
        write(&EXTENDED_KEY_USAGE, false, &value);
    }
    write(&BASIC_CONSTRAINTS, true, &yasna::construct_der(|writer| writer.write_sequence(|_| {})));
    if let Some(id) = &authority.key_id {
        let value = yasna::construct_der(|writer| {
            writer.write_sequence(|fields| {
                fields.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
            });
        });
        write(&AUTHORITY_KEY, false, &value);
    }
    let nameless = info.subject.iter_rdn().next().is_none();
    for attribute in info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
        for names in asked.extensions.iter().filter(|each| each.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
            write(&ALTERNATIVE_NAMES, nameless, names.value);
        }
    }
}

fn time(at: Timestamp) -> Result<OffsetDateTime, time::error::ComponentRange> {
    OffsetDateTime::from_unix_timestamp(at.as_second())
}

/// A time as certificates write it (RFC 5280 4.1.2.5).
fn write_time(writer: DERWriter<'_>, at: OffsetDateTime) {
    match at.year() {
        1950..2050 => writer.write_utctime(&UTCTime::from_datetime(at)),
        _ => writer.write_generalized_time(&GeneralizedTime::from_datetime(at)),
    }
}

/// The bit of a usage of the key.
fn key_usage(usage: &str) -> Option<usize> {
    Some(match usage {
        "signing" | "digital signature" => 0,
        "content commitment" => 1,
        "key encipherment" => 2,
        "data encipherment" => 3,
        "key agreement" => 4,
        "cert sign" => 5,
        "crl sign" => 6,
        "encipher only" => 7,
        "decipher only" => 8,
        _ => return None,
    })
}

/// The identifier of an extended usage.
fn purpose(usage: &str) -> Option<&'static [u64]> {
    Some(match usage {
        "any" => &[2, 5, 29, 37, 0],
        "server auth" => &[1, 3, 6, 1, 5, 5, 7, 3, 1],
        "client auth" => &[1, 3, 6, 1, 5, 5, 7, 3, 2],
        "code signing" => &[1, 3, 6, 1, 5, 5, 7, 3, 3],
        "email protection" | "s/mime" => &[1, 3, 6, 1, 5, 5, 7, 3, 4],
        "ipsec end system" => &[1, 3, 6, 1, 5, 5, 7, 3, 5],
        "ipsec tunnel" => &[1, 3, 6, 1, 5, 5, 7, 3, 6],
        "ipsec user" => &[1, 3, 6, 1, 5, 5, 7, 3, 7],
        "timestamping" => &[1, 3, 6, 1, 5, 5, 7, 3, 8],
        "ocsp signing" => &[1, 3, 6, 1, 5, 5, 7, 3, 9],
        "microsoft sgc" => &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3],
        "netscape sgc" => &[2, 16, 840, 1, 113730, 4, 1],
        _ => return None,
    })
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
    use x509_parser::prelude::X509Certificate;

    use super::*;

    #[test]
    fn times_after_2049_have_four_digits() {
        let written = |text: &str| {
            let at = time(text.parse().expect("a time")).expect("in range");
            yasna::construct_der(|writer| write_time(writer, at))
        };
        assert_eq!(written("2049-12-31T23:59:59Z")[2..], b"491231235959Z"[..]);
        assert_eq!(written("2050-01-01T00:00:00Z")[2..], b"20500101000000Z"[..]);
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_verifies() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root");
        let authority = Authority::open(&root.pem(), &key.serialize_pem()).expect("opens");
        let mut asked = CertificateParams::new(vec!["n1".to_owned(), "192.0.2.7".to_owned()]).expect("names");
        asked.distinguished_name = DistinguishedName::new();
        asked.distinguished_name.push(DnType::CommonName, "system:node:n1");
        let request = asked.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let until = now + SignedDuration::from_hours(1);
        let usages = ["digital signature", "server auth"].map(str::to_owned);
        let pem = issue(&authority, request.der(), &usages, (now, until), [0xff; 16]).expect("issued");
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let (rest, certificate) = X509Certificate::from_der(&block.contents).expect("a certificate");
        let (_, issuer) = X509Certificate::from_der(root.der()).expect("a certificate");
        certificate.verify_signature(Some(issuer.public_key())).expect("verifies");
        assert!(rest.is_empty() && !certificate.is_ca());
        assert_eq!(certificate.issuer(), issuer.subject());
        assert_eq!(certificate.subject().to_string(), "CN=system:node:n1");
        assert_eq!(certificate.validity().not_after.timestamp(), until.as_second());
        assert_eq!(certificate.validity().not_before.timestamp(), now.as_second() - 300);
        let names = certificate.subject_alternative_name().expect("parses").expect("there");
        assert_eq!(names.value.general_names.len(), 2);
        let purposes = certificate.extended_key_usage().expect("parses").expect("there");
        assert!(purposes.value.server_auth && !purposes.value.client_auth);
        let usage = certificate.key_usage().expect("parses").expect("there");
        assert!(usage.value.digital_signature() && !usage.value.key_cert_sign());
    }
}
