//! CertificateSubjectRestriction: nobody asks for a client certificate in `system:masters`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::certificate_request::CertificateRequest;
use gantry_api::status::ApiError;

use super::certificate_requestor::subresource;
use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

pub(super) struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::CREATES)
    }

    fn validate(&self, request: &Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        let created = subresource(request) == Some("") && request.operation == Operation::Create;
        if !created || request.text("/spec/signerName") != SIGNER {
            return Ok(());
        }
        let pem = STANDARD.decode(request.text("/spec/request")).unwrap_or_default();
        let parsed = CertificateRequest::parse(&pem).map_err(|error| request.forbidden(error.to_string()))?;
        if parsed.organizations.iter().any(|group| group == MASTERS) {
            let why = format!("use of {SIGNER} signer with {MASTERS} group is not allowed");
            return Err(request.forbidden(why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn masters_are_refused() {
        let check = |signer: &str, group: &str, expect: Option<&str>| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::OrganizationName, group);
            let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
            let user = User::new("ada", []);
            let object = json!({"metadata": {"name": "r"},
                "spec": {"signerName": signer, "request": STANDARD.encode(pem)}});
            let target = "certificates.k8s.io:certificatesigningrequests";
            let request = request(Operation::Create, target, &user, object, None);
            let refused = admit(&CertificateSubjectRestriction, request, &Objects::default()).err();
            assert_eq!(refused.is_some_and(|why| why.ends_with(expect.unwrap_or("?"))), expect.is_some());
        };
        check(SIGNER, "dev", None);
        check("example.com/x", MASTERS, None);
        check(SIGNER, MASTERS, Some("signer with system:masters group is not allowed"));
    }
}
