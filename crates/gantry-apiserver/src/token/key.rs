//! The keys that sign and verify tokens: ECDSA on P-256 (ES256) and RSA (RS256).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::{self, SectionKind};

use super::der;

/// Why a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text holds no key.
    #[error("service account key: no PEM block with a key")]
    Absent,
    /// The key is of no supported kind, or damaged.
    #[error("service account key: not an ECDSA P-256 or RSA key: {0}")]
    Rejected(String),
    /// Signing failed.
    #[error("service account key: signing failed")]
    Signing,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key with its public half.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
}

/// A public key and its identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// The identifier in a token's header: a digest of the key.
    pub id: String,
    pub(super) rsa: bool,
    /// An uncompressed point, or a PKCS#1 key.
    pub(super) bytes: Vec<u8>,
}

impl SigningKey {
    /// The first private key in `pem`: PKCS#8, PKCS#1 or SEC 1.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let mut rest = pem.as_bytes();
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(rejected)? {
            match kind {
                SectionKind::PrivateKey => return Self::from_pkcs8(&der),
                SectionKind::RsaPrivateKey => {
                    return RsaKeyPair::from_der(&der)
                        .map(|pair| Self::new(Pair::Rsa(pair)))
                        .map_err(rejected);
                }
                SectionKind::EcPrivateKey => {
                    let (private, public) = der::sec1(&der).ok_or_else(|| rejected("malformed EC key"))?;
                    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                    let random = SystemRandom::new();
                    return EcdsaKeyPair::from_private_key_and_public_key(
                        algorithm, &private, &public, &random,
                    )
                    .map(|pair| Self::new(Pair::Ec(pair)))
                    .map_err(rejected);
                }
                _ => {}
            }
        }
        Err(KeyError::Absent)
    }

    /// A key from PKCS#8 DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        match EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new()) {
            Ok(pair) => Ok(Self::new(Pair::Ec(pair))),
            Err(_) => RsaKeyPair::from_pkcs8(der).map(|pair| Self::new(Pair::Rsa(pair))).map_err(rejected),
        }
    }

    fn new(pair: Pair) -> Self {
        let public = match &pair {
            Pair::Ec(pair) => VerifyingKey::new(false, pair.public_key().as_ref().to_vec()),
            Pair::Rsa(pair) => VerifyingKey::new(true, pair.public_key().as_ref().to_vec()),
        };
        Self { pair, public }
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .map(|signed| signed.as_ref().to_vec())
                .map_err(|_| KeyError::Signing),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out)
                    .map_err(|_| KeyError::Signing)?;
                Ok(out)
            }
        }
    }
}

impl VerifyingKey {
    fn new(rsa: bool, bytes: Vec<u8>) -> Self {
        let info = if rsa { der::rsa_public_key_info(&bytes) } else { der::ec_public_key_info(&bytes) };
        let digest = ring::digest::digest(&ring::digest::SHA256, &info);
        Self { id: URL_SAFE_NO_PAD.encode(digest.as_ref()), rsa, bytes }
    }

    /// All public keys in `pem`; private keys stand for their public halves.
    pub fn all_from_pem(pem: &str) -> Result<Vec<Self>, KeyError> {
        let mut rest = pem.as_bytes();
        let mut keys = Vec::new();
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(rejected)? {
            if kind == SectionKind::PublicKey {
                let (rsa, bytes) =
                    der::open_public_key_info(&der).ok_or_else(|| rejected("unknown kind of public key"))?;
                keys.push(Self::new(rsa, bytes));
            }
        }
        if keys.is_empty() {
            keys.push(SigningKey::from_pem(pem)?.public);
        }
        Ok(keys)
    }

    /// The name of its signature algorithm in a token's header.
    pub fn algorithm(&self) -> &'static str {
        if self.rsa { "RS256" } else { "ES256" }
    }

    pub(super) fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = if self.rsa {
            &signature::RSA_PKCS1_2048_8192_SHA256
        } else {
            &signature::ECDSA_P256_SHA256_FIXED
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signed).is_ok()
    }
}

fn rejected(cause: impl ToString) -> KeyError {
    KeyError::Rejected(cause.to_string())
}
