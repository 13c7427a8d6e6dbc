//! The cluster's certificate authority and the certificates and keys made from it.
//!
//! Files live in one directory, keys readable by root only. A certificate is made anew at
//! start when it is missing, in its last third of life, or lacks a name it should have.

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

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

/// A certificate (with its chain) and its key, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// Certificate, then its issuers.
    pub certificate: String,
    /// PKCS #8 key.
    pub key: String,
}

/// What a certificate is for.
pub struct Leaf<'a> {
    /// File name without extension.
    pub file: &'a str,
    /// User or host.
    pub common_name: &'a str,
    /// Groups.
    pub organizations: &'a [&'a str],
    /// DNS names and addresses that it serves; none for a client's.
    pub names: &'a [String],
}

/// The authority in a directory.
pub struct Authority {
    directory: PathBuf,
    /// The authority's certificate.
    pub certificate: String,
    /// The authority's key, which also signs kubelets' certificates.
    pub key: String,
}

impl Authority {
    /// Opens the authority in `directory`, making it where there is none.
    pub fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        let (certificate_file, key_file) = (directory.join("ca.crt"), directory.join("ca.key"));
        if !key_file.exists() {
            let key = KeyPair::generate().context("making the cluster CA's key")?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name = name(&format!("gantry-ca@{}", Timestamp::now().as_second()), &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
            ];
            validity(&mut params, CA_DAYS)?;
            let certificate = params.self_signed(&key).context("signing the cluster CA")?;
            write(&certificate_file, &certificate.pem(), 0o644)?;
            write(&key_file, &key.serialize_pem(), 0o600)?;
        }
        Ok(Self {
            certificate: read(&certificate_file)?,
            key: read(&key_file)?,
            directory: directory.to_owned(),
        })
    }

    /// The pair for `leaf`, made anew where needed.
    pub fn leaf(&self, leaf: &Leaf<'_>) -> Result<Pair> {
        let certificate_file = self.directory.join(format!("{}.crt", leaf.file));
        let key_file = self.directory.join(format!("{}.key", leaf.file));
        if certificate_file.exists() && key_file.exists() {
            let pair = Pair { certificate: read(&certificate_file)?, key: read(&key_file)? };
            if self.still_good(&pair.certificate, leaf.names) {
                return Ok(pair);
            }
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(leaf.names.to_vec())
            .with_context(|| format!("certificate {}: names {:?}", leaf.file, leaf.names))?;
        params.distinguished_name = name(leaf.common_name, leaf.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = if leaf.names.is_empty() {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        } else {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        };
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, LEAF_DAYS)?;
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
        let left = facts.not_after.duration_since(Timestamp::now());
        let fresh = left > SignedDuration::from_hours(24 * LEAF_DAYS / 3);
        fresh
            && names.iter().all(|name| facts.names.contains(name))
            && certificate.contains(self.certificate.trim())
    }
}

/// What `status` shows of a certificate.
pub struct Facts {
    /// Whom it names.
    pub subject: String,
    /// When it ends.
    pub not_after: Timestamp,
    /// DNS names and addresses.
    pub names: Vec<String>,
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

fn validity(params: &mut CertificateParams, days: i64) -> Result<()> {
    let now = Timestamp::now();
    let at = |time: Timestamp| time::OffsetDateTime::from_unix_timestamp(time.as_second());
    // Clocks of joining machines may be a little behind.
    params.not_before = at(now - SignedDuration::from_mins(5))?;
    params.not_after = at(now + SignedDuration::from_hours(24 * days))?;
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

    #[test]
    fn a_leaf_is_kept_until_its_names_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("opens");
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let mut leaf =
            Leaf { file: "s", common_name: "kube-apiserver", organizations: &[], names: &names[..1] };
        let first = authority.leaf(&leaf).expect("made");
        assert_eq!(first.certificate, authority.leaf(&leaf).expect("kept").certificate);
        leaf.names = &names;
        let second = authority.leaf(&leaf).expect("made anew");
        assert_ne!(first.certificate, second.certificate);
        assert_eq!(inspect(&second.certificate).expect("parses").names, names);
    }

    #[test]
    fn a_reopened_authority_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Authority::open(directory.path()).expect("opens");
        let second = Authority::open(directory.path()).expect("opens");
        assert_eq!(first.certificate, second.certificate);
    }
}
