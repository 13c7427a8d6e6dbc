//! The keys that sign and verify tokens: ECDSA (ES256, ES384, ES512) and RSA (RS256).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::{self, SectionKind};

use super::curve::{self, Curve};
use super::der;

/// Why a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text holds no key.
    #[error("service account key: no PEM block with a key")]
    Absent,
    /// The key is of no supported kind, or damaged.
    #[error("service account key: not an ECDSA or RSA key: {0}")]
    Rejected(String),
    /// Signing failed.
    #[error("service account key: signing failed")]
    Signing,
}

enum Pair {
    Ec(curve::Pair),
    Rsa(Box<RsaKeyPair>),
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
    /// `None`: it is an RSA key.
    pub(super) curve: Option<Curve>,
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
                        .map(|pair| Self::new(Pair::Rsa(Box::new(pair))))
                        .map_err(rejected);
                }
                SectionKind::EcPrivateKey => {
                    let pair = curve::Pair::from_sec1(&der).ok_or_else(|| rejected("malformed EC key"))?;
                    return Ok(Self::new(Pair::Ec(pair)));
                }
                _ => {}
            }
        }
        Err(KeyError::Absent)
    }

    /// A key from PKCS#8 DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        match curve::Pair::from_pkcs8(der) {
            Some(pair) => Ok(Self::new(Pair::Ec(pair))),
            None => {
                RsaKeyPair::from_pkcs8(der).map(|pair| Self::new(Pair::Rsa(Box::new(pair)))).map_err(rejected)
            }
        }
    }

    fn new(pair: Pair) -> Self {
        let public = match &pair {
            Pair::Ec(pair) => {
                let (curve, point) = pair.public();
                VerifyingKey::new(Some(curve), point)
            }
            Pair::Rsa(pair) => VerifyingKey::new(None, pair.public_key().as_ref().to_vec()),
        };
        Self { pair, public }
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Ec(pair) => pair.sign(message),
            Pair::Rsa(pair) => {
                let random = SystemRandom::new();
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out)
                    .map_err(|_| KeyError::Signing)?;
                Ok(out)
            }
        }
    }
}

impl VerifyingKey {
    fn new(curve: Option<Curve>, bytes: Vec<u8>) -> Self {
        let info = match curve {
            Some(curve) => der::ec_public_key_info(curve, &bytes),
            None => der::rsa_public_key_info(&bytes),
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, &info);
        Self { id: URL_SAFE_NO_PAD.encode(digest.as_ref()), curve, bytes }
    }

    /// All public keys in `pem`; private keys stand for their public halves.
    pub fn all_from_pem(pem: &str) -> Result<Vec<Self>, KeyError> {
        let mut rest = pem.as_bytes();
        let mut keys = Vec::new();
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(rejected)? {
            if kind == SectionKind::PublicKey {
                let (curve, bytes) =
                    der::open_public_key_info(&der).ok_or_else(|| rejected("unknown kind of public key"))?;
                keys.push(Self::new(curve, bytes));
            }
        }
        if keys.is_empty() {
            keys.push(SigningKey::from_pem(pem)?.public);
        }
        Ok(keys)
    }

    /// The name of its signature algorithm in a token's header.
    pub fn algorithm(&self) -> &'static str {
        self.curve.map_or("RS256", Curve::algorithm)
    }

    pub(super) fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        match self.curve {
            Some(curve) => curve.verify(&self.bytes, message, signed),
            None => {
                let key = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &self.bytes);
                key.verify(message, signed).is_ok()
            }
        }
    }
}

fn rejected(cause: impl ToString) -> KeyError {
    KeyError::Rejected(cause.to_string())
}
