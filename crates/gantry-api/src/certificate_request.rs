//! Certificate signing requests as they stand in `spec.request`: PEM around PKCS #10 (RFC 2986).

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

/// Why a request cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no PEM block of the right type.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    /// The block holds something else.
    #[error("not a certificate request: {0}")]
    Malformed(String),
    /// The request was not signed with the key that it asks a certificate for.
    #[error("the signature of the request does not verify: {0}")]
    Signature(String),
}

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// Names of hosts.
    pub dns_names: Vec<String>,
    /// Addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// Mail addresses.
    pub email_addresses: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The request in DER.
    pub der: Vec<u8>,
}

impl CertificateRequest {
    /// Reads `pem` and checks its signature.
    pub fn parse(pem: &[u8]) -> Result<Self, RequestError> {
        let block = Pem::iter_from_buffer(pem).next();
        let block = block.and_then(Result::ok).filter(|block| block.label == "CERTIFICATE REQUEST");
        let block = block.ok_or(RequestError::Pem)?;
        let malformed = |error: &dyn std::fmt::Display| RequestError::Malformed(error.to_string());
        let (_, request) =
            X509CertificationRequest::from_der(&block.contents).map_err(|error| malformed(&error))?;
        request.verify_signature().map_err(|error| RequestError::Signature(error.to_string()))?;
        let subject = &request.certification_request_info.subject;
        let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            name.as_str().map(str::to_owned).map_err(|error| malformed(&error))
        };
        let mut found = Self {
            common_name: subject.iter_common_name().map(text).next().transpose()?.unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect::<Result<_, _>>()?,
            der: block.contents.clone(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| found.add(name));
            }
        }
        Ok(found)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => self.ip_addresses.extend(address(bytes)),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            _ => {}
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
