//! The cluster's certificate authority and the certificates and keys made from it.
//!
//! Files live in one directory, keys readable by root only. A certificate is made anew when it is
//! missing, in its last third of life, or lacks a name it should have.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// Clocks of joining machines may be so far behind.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// A certificate (with its chain) and its key, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// Certificate, then its issuers.
    pub certificate: String,
    /// PKCS #8 key.
    pub key: String,
}

/// What a certificate is for.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// File name without extension.
    pub file: &'static str,
    /// User or host.
    pub common_name: String,
    /// Groups.
    pub organizations: &'static [&'static str],
    /// DNS names and addresses that it serves; none for a client's.
    pub names: Vec<String>,
}

/// The authority in a directory.
#[derive(Clone)]
pub struct Authority {
    directory: PathBuf,
    /// How long the certificates that are made from now on are good.
    lifetime: SignedDuration,
    /// The authority's certificate.
    pub certificate: String,
    /// The authority's key, which also signs kubelets' certificates.
    pub key: String,
}

impl Authority {
    /// Opens the authority in `directory`, making it where there is none. Certificates are made for
    /// `lifetime`.
    pub fn open(directory: &Path, lifetime: SignedDuration) -> Result<Self> {
        Self::named(directory, "ca", "gantry-ca", lifetime)
    }

    /// Opens the authority of front proxies in `directory`: a certificate of it says who may tell others
    /// who asks, so it must not be the one of users.
    pub fn front_proxy(directory: &Path, lifetime: SignedDuration) -> Result<Self> {
        Self::named(directory, "front-proxy-ca", "gantry-front-proxy-ca", lifetime)
    }

    fn named(directory: &Path, file: &str, common_name: &str, lifetime: SignedDuration) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        let (certificate_file, key_file) =
            (directory.join(format!("{file}.crt")), directory.join(format!("{file}.key")));
        if !key_file.exists() {
            let key = KeyPair::generate().with_context(|| format!("making the key of {common_name}"))?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name = name(&format!("{common_name}@{}", Timestamp::now().as_second()), &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
            ];
            validity(&mut params, CA_LIFETIME)?;
            let certificate = params.self_signed(&key).with_context(|| format!("signing {common_name}"))?;
            write(&certificate_file, &certificate.pem(), 0o644)?;
            write(&key_file, &key.serialize_pem(), 0o600)?;
        }
        Ok(Self {
            certificate: read(&certificate_file)?,
            key: read(&key_file)?,
            directory: directory.to_owned(),
            lifetime,
        })
    }

    /// The pair for `leaf`, made anew where needed.
    pub fn leaf(&self, leaf: &Leaf) -> Result<Pair> {
        let certificate_file = self.directory.join(format!("{}.crt", leaf.file));
        let key_file = self.directory.join(format!("{}.key", leaf.file));
        if certificate_file.exists() && key_file.exists() {
            let pair = Pair { certificate: read(&certificate_file)?, key: read(&key_file)? };
            if self.still_good(&pair.certificate, &leaf.names) {
                return Ok(pair);
            }
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.names.clone())
            .with_context(|| format!("certificate {}: names {:?}", leaf.file, leaf.names))?;
        params.distinguished_name = name(&leaf.common_name, leaf.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = if leaf.names.is_empty() {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        } else {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        };
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, self.lifetime)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let certificate =
            params.signed_by(&key, &issuer).with_context(|| format!("signing certificate {}", leaf.file))?;
        let pair = Pair {
            certificate: format!("{}{}", certificate.pem(), self.certificate),
            key: key.serialize_pem(),
        };
        write(&key_file, &pair.key, 0o600)?;
        write(&certificate_file, &pair.certificate, 0o644)?;
        Ok(pair)
    }

    /// The key that signs service-account tokens.
    pub fn service_account_key(&self) -> Result<String> {
        let file = self.directory.join("service-account.key");
        if !file.exists() {
            write(&file, &KeyPair::generate()?.serialize_pem(), 0o600)?;
        }
        read(&file)
    }

    fn still_good(&self, certificate: &str, names: &[String]) -> bool {
        let Ok(facts) = inspect(certificate) else { return false };
        facts.renewal() > Timestamp::now()
            && names.iter().all(|name| facts.names.contains(name))
            && certificate.contains(self.certificate.trim())
    }
}

/// What `status` shows of a certificate.
pub struct Facts {
    /// Whom it names.
    pub subject: String,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// DNS names and addresses.
    pub names: Vec<String>,
}

impl Facts {
    /// When a third of its life is left, and another one is to take its place.
    pub fn renewal(&self) -> Timestamp {
        self.not_after - self.not_after.duration_since(self.not_before) / 3
    }
}

/// Reads the first certificate of `pem`.
pub fn inspect(pem: &str) -> Result<Facts> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).context("not a PEM certificate")?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).context("not an X.509 certificate")?;
    let mut names = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for general in &extension.value.general_names {
            match general {
                GeneralName::DNSName(name) => names.push((*name).to_string()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    Ok(Facts {
        subject: certificate.subject().to_string(),
        not_before: Timestamp::from_second(certificate.validity().not_before.timestamp())?,
        not_after: Timestamp::from_second(certificate.validity().not_after.timestamp())?,
        names,
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}

fn name(common: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common);
    name
}

fn validity(params: &mut CertificateParams, lifetime: SignedDuration) -> Result<()> {
    let now = Timestamp::now();
    let at = |time: Timestamp| time::OffsetDateTime::from_unix_timestamp(time.as_second());
    params.not_before = at(now - BACKDATED.min(lifetime))?;
    params.not_after = at(now + lifetime)?;
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Replaces `path` whole, never leaving half a file.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let emit = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    emit().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    #[test]
    fn a_leaf_is_kept_until_its_names_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path(), DAY).expect("opens");
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let mut leaf = Leaf {
            file: "s",
            common_name: "kube-apiserver".into(),
            organizations: &[],
            names: names[..1].to_vec(),
        };
        let first = authority.leaf(&leaf).expect("made");
        assert_eq!(first.certificate, authority.leaf(&leaf).expect("kept").certificate);
        leaf.names = names.to_vec();
        let second = authority.leaf(&leaf).expect("made anew");
        assert_ne!(first.certificate, second.certificate);
        let facts = inspect(&second.certificate).expect("parses");
        assert_eq!(facts.names, names);
        let left = facts.renewal().duration_since(Timestamp::now());
        assert!(left < DAY * 2 / 3 && left > DAY / 2, "{left}");
    }

    #[test]
    fn a_reopened_authority_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Authority::open(directory.path(), DAY).expect("opens");
        let second = Authority::open(directory.path(), DAY).expect("opens");
        assert_eq!(first.certificate, second.certificate);
    }
}
