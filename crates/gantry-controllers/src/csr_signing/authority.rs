//! The cluster's authority as the signer sees it.

use jiff::Timestamp;
use rcgen::{KeyPair, SigningKey};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The authority cannot sign.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    /// Its certificate cannot be read.
    #[error("the authority's certificate: {0}")]
    Certificate(String),
    /// Its key cannot be read or used.
    #[error("the authority's key: {0}")]
    Key(#[from] rcgen::Error),
    /// Its key is of a kind that certificates are not signed with.
    #[error("the authority's key is of an unknown kind")]
    Algorithm,
}

/// An authority that is ready to sign.
pub(super) struct Authority {
    key: KeyPair,
    /// AlgorithmIdentifier of its signatures, in DER.
    pub algorithm: &'static [u8],
    /// Its subject, in DER.
    pub subject: Vec<u8>,
    /// Its subject key identifier.
    pub key_id: Option<Vec<u8>>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Authority {
    /// Reads certificate and key, both PEM.
    pub(super) fn open(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let unreadable = |error: &dyn std::fmt::Display| AuthorityError::Certificate(error.to_string());
        let (_, block) =
            x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|error| unreadable(&error))?;
        let (_, parsed) = X509Certificate::from_der(&block.contents).map_err(|error| unreadable(&error))?;
        let key_id = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp());
        let key = KeyPair::from_pem(key)?;
        Ok(Self {
            algorithm: algorithm(&key).ok_or(AuthorityError::Algorithm)?,
            subject: parsed.subject().as_raw().to_vec(),
            key_id,
            not_after: not_after.map_err(|error| unreadable(&error))?,
            key,
        })
    }

    /// The signature of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.key.sign(message)?)
    }
}

fn algorithm(key: &KeyPair) -> Option<&'static [u8]> {
    let known: [(&rcgen::SignatureAlgorithm, &[u8]); 4] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]),
        (&rcgen::PKCS_ED25519, &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70]),
        (
            &rcgen::PKCS_RSA_SHA256,
            &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0],
        ),
    ];
    known.into_iter().find(|(each, _)| *each == key.algorithm()).map(|(_, der)| der)
}
