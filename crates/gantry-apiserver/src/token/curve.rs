//! The elliptic curves of keys, each with the one hash that goes with it in tokens. P-521 is not among those of
//! `ring`.

use p521::ecdsa::signature::{Signer, Verifier};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, UnparsedPublicKey};

use super::{KeyError, der};

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// What JSON Web Keys call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The name of the signature algorithm.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::P521 => "ES512",
        }
    }

    /// How many bytes a coordinate, or a private key, has.
    pub fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Whether the key of an uncompressed point made a signature.
    pub fn verify(self, point: &[u8], message: &[u8], signed: &[u8]) -> bool {
        let algorithm = match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let signed = p521::ecdsa::Signature::from_slice(signed);
                return key.is_ok_and(|key| signed.is_ok_and(|signed| key.verify(message, &signed).is_ok()));
            }
        };
        UnparsedPublicKey::new(algorithm, point).verify(message, signed).is_ok()
    }

    /// The signing algorithm, where `ring` has it.
    fn signing(self) -> Option<&'static EcdsaSigningAlgorithm> {
        match self {
            Self::P256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::P384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::P521 => None,
        }
    }
}

/// A private key on a curve.
pub(super) enum Pair {
    Ring(Curve, Box<EcdsaKeyPair>),
    P521(Box<p521::ecdsa::SigningKey>),
}

impl Pair {
    /// A key from an ECPrivateKey (RFC 5915).
    pub fn from_sec1(input: &[u8]) -> Option<Self> {
        let (private, public) = der::sec1(input)?;
        let curve = Curve::ALL.into_iter().find(|curve| curve.size() == private.len())?;
        let Some(algorithm) = curve.signing() else {
            return p521::ecdsa::SigningKey::from_slice(&private).ok().map(|key| Self::P521(Box::new(key)));
        };
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public, &random);
        pair.ok().map(|pair| Self::Ring(curve, Box::new(pair)))
    }

    /// A key from PKCS#8 DER.
    pub fn from_pkcs8(input: &[u8]) -> Option<Self> {
        let of_ring = Curve::ALL.into_iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve.signing()?, input, &SystemRandom::new()).ok()?;
            Some(Self::Ring(curve, Box::new(pair)))
        });
        of_ring.or_else(|| match der::pkcs8(input)? {
            (Curve::P521, key) => Self::from_sec1(key),
            _ => None,
        })
    }

    /// The curve and the public key, an uncompressed point.
    pub fn public(&self) -> (Curve, Vec<u8>) {
        match self {
            Self::Ring(curve, pair) => (*curve, pair.public_key().as_ref().to_vec()),
            Self::P521(key) => (Curve::P521, key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
        }
    }

    /// The signature of a message: two numbers of the curve's size.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Ring(_, pair) => {
                let signed = pair.sign(&SystemRandom::new(), message);
                signed.map(|signed| signed.as_ref().to_vec()).map_err(|_| KeyError::Signing)
            }
            Self::P521(key) => {
                let signed: p521::ecdsa::Signature = key.try_sign(message).map_err(|_| KeyError::Signing)?;
                Ok(signed.to_bytes().to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SigningKey, VerifyingKey};

    /// Keys made for this test: by SEC 1, by PKCS#8, and the public half.
    const KEYS: [(&str, [&str; 3]); 2] = [
        (
            "ES384",
            [
                "-----BEGIN EC PRIVATE KEY-----\n\
                 MIGkAgEBBDDOs523XmIPqfh6TUosPGRgD55wiGDdZ/V/yNZtWg7SqlLviON+yyt/\n\
                 aYBRHdDJ84CgBwYFK4EEACKhZANiAAQXLM0U57jifjb5eoSbeeIWoRKQrjQ+HoSA\n\
                 GAMhco/RyKvmeJgn30M0SNiaP+sXsSt3XFHOvhMM1UFED+nzruCgbicTOI/+4lpG\n\
                 YAyk1wed0mXdXZP5zXt9wuh/I/PM5FI=\n\
                 -----END EC PRIVATE KEY-----",
                "-----BEGIN PRIVATE KEY-----\n\
                 MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDDOs523XmIPqfh6TUos\n\
                 PGRgD55wiGDdZ/V/yNZtWg7SqlLviON+yyt/aYBRHdDJ84ChZANiAAQXLM0U57ji\n\
                 fjb5eoSbeeIWoRKQrjQ+HoSAGAMhco/RyKvmeJgn30M0SNiaP+sXsSt3XFHOvhMM\n\
                 1UFED+nzruCgbicTOI/+4lpGYAyk1wed0mXdXZP5zXt9wuh/I/PM5FI=\n\
                 -----END PRIVATE KEY-----",
                "-----BEGIN PUBLIC KEY-----\n\
                 MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEFyzNFOe44n42+XqEm3niFqESkK40Ph6E\n\
                 gBgDIXKP0cir5niYJ99DNEjYmj/rF7Erd1xRzr4TDNVBRA/p867goG4nEziP/uJa\n\
                 RmAMpNcHndJl3V2T+c17fcLofyPzzORS\n\
                 -----END PUBLIC KEY-----",
            ],
        ),
        (
            "ES512",
            [
                "-----BEGIN EC PRIVATE KEY-----\n\
                 MIHcAgEBBEIBS4B7m2yb0zXSb5LQcN1e9cDL0qDAm6rjK/4VfH1Ja89QAd5MZbBR\n\
                 BknCi0ZSrIJXocj7RgO28wmH3jVz1K250bigBwYFK4EEACOhgYkDgYYABACFKDNb\n\
                 kvc2dCXnclJnkIuNjqZpuNocnKBvJF0M3NbbZSiv7Jg8BQdtUn8NWkaBK62pla/5\n\
                 bTDxkJHqfstYsbhmVgBNpoZXJWJjDM+56WHdRBlbBF719jLgaLY1VeJo2///GBCS\n\
                 PlWlOvmn79zffkmUWb6ErL+5D4zeV+a1J/UtPpt8Vg==\n\
                 -----END EC PRIVATE KEY-----",
                "-----BEGIN PRIVATE KEY-----\n\
                 MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIBS4B7m2yb0zXSb5LQ\n\
                 cN1e9cDL0qDAm6rjK/4VfH1Ja89QAd5MZbBRBknCi0ZSrIJXocj7RgO28wmH3jVz\n\
                 1K250bihgYkDgYYABACFKDNbkvc2dCXnclJnkIuNjqZpuNocnKBvJF0M3NbbZSiv\n\
                 7Jg8BQdtUn8NWkaBK62pla/5bTDxkJHqfstYsbhmVgBNpoZXJWJjDM+56WHdRBlb\n\
                 BF719jLgaLY1VeJo2///GBCSPlWlOvmn79zffkmUWb6ErL+5D4zeV+a1J/UtPpt8\n\
                 Vg==\n\
                 -----END PRIVATE KEY-----",
                "-----BEGIN PUBLIC KEY-----\n\
                 MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAhSgzW5L3NnQl53JSZ5CLjY6mabja\n\
                 HJygbyRdDNzW22Uor+yYPAUHbVJ/DVpGgSutqZWv+W0w8ZCR6n7LWLG4ZlYATaaG\n\
                 VyViYwzPuelh3UQZWwRe9fYy4Gi2NVXiaNv//xgQkj5VpTr5p+/c335JlFm+hKy/\n\
                 uQ+M3lfmtSf1LT6bfFY=\n\
                 -----END PUBLIC KEY-----",
            ],
        ),
    ];

    #[test]
    fn keys_are_read_in_all_their_forms() {
        for (algorithm, [sec1, pkcs8, public]) in KEYS {
            let keys = [sec1, pkcs8].map(|pem| SigningKey::from_pem(pem).expect(algorithm));
            let public = VerifyingKey::all_from_pem(public).expect(algorithm);
            for key in &keys {
                assert_eq!(key.public().algorithm(), algorithm);
                assert_eq!(std::slice::from_ref(key.public()), public);
                let mut signed = key.sign(b"message").expect(algorithm);
                assert!(public[0].verify(b"message", &signed) && !public[0].verify(b"another", &signed));
                signed[7] ^= 1;
                assert!(!public[0].verify(b"message", &signed));
                assert!(!public[0].verify(b"message", &signed[1..]));
            }
        }
    }
}
