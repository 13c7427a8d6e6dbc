//! The token that a machine joins with: `K10HASH::ID.SECRET`, or `ID.SECRET` without the hash of the
//! authority's certificate.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

/// What stands before the hash; the number is the form's version.
const PREFIX: &str = "K10";
const SEPARATOR: &str = "::";

/// SHA-256 of a certificate in DER.
pub type Fingerprint = [u8; 32];

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The cluster's authority.
    pub authority: Option<Fingerprint>,
    /// The public half, which names the Secret.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

impl Token {
    /// A new token for the cluster of `authority`, PEM.
    pub fn generate(authority: &str) -> Result<Self> {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let text =
            |length| (0..length).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect();
        Ok(Self { authority: Some(fingerprint(authority)?), id: text(6), secret: text(16) })
    }

    /// What the API server is shown.
    pub fn credentials(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

/// The fingerprint of the first certificate in `pem`.
pub fn fingerprint(pem: &str) -> Result<Fingerprint> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("not a PEM certificate")?;
    Ok(of_der(&der))
}

/// The fingerprint of a certificate.
pub fn of_der(der: &CertificateDer<'_>) -> Fingerprint {
    Sha256::digest(der).into()
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(authority) = &self.authority {
            f.write_str(PREFIX)?;
            authority.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str(SEPARATOR)?;
        }
        write!(f, "{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl FromStr for Token {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (authority, rest) =
            match text.trim().strip_prefix(PREFIX).and_then(|rest| rest.split_once(SEPARATOR)) {
                Some((hash, rest)) => (Some(parse_hash(hash)?), rest),
                None => (None, text.trim()),
            };
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match rest.split_once('.') {
            Some((id, secret)) if id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret) => {
                Ok(Self { authority, id: id.to_owned(), secret: secret.to_owned() })
            }
            _ => bail!(
                "a token has the form K10HASH::ID.SECRET or ID.SECRET, ID with 6 and SECRET with 16 characters"
            ),
        }
    }
}

fn parse_hash(text: &str) -> Result<Fingerprint> {
    let wrong = || format!("the token's hash has {} characters instead of 64 hexadecimal ones", text.len());
    let pair = |at: usize| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(pair).collect();
    let bytes = bytes.filter(|_| text.len() == 64).with_context(wrong)?;
    Fingerprint::try_from(bytes.as_slice()).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let token =
            Token { authority: Some([0xab; 32]), id: "abcdef".into(), secret: "0123456789abcdef".into() };
        let text = token.to_string();
        assert_eq!(text, format!("K10{}::abcdef.0123456789abcdef", "ab".repeat(32)));
        assert_eq!(text.parse::<Token>().expect("parses"), token);
        let plain: Token = " abcdef.0123456789abcdef\n".parse().expect("parses");
        assert_eq!((plain.authority, plain.credentials().as_str()), (None, "abcdef.0123456789abcdef"));
        assert_eq!(format!("{token:?}"), "Token(abcdef)", "no log shows the secret");
        for wrong in
            ["", "abc.def", "K10ab::abcdef.0123456789abcdef", "ABCDEF.0123456789abcdef", "K10::abcdef"]
        {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
