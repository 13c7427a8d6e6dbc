//! CertificateApproval: who approves or denies a request must hold the verb `approve` on its signer.

use std::sync::Arc;

use gantry_api::status::ApiError;

use super::certificate_requestor::subresource;
use super::{Operation, Plugin, Request, text};
use crate::authz::Authorizer;
use crate::{Attributes, Lookup, User};

pub(super) struct CertificateApproval(pub(super) Arc<Authorizer>);

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate(&self, request: &Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        let (Some("approval"), Operation::Update, Some(old)) =
            (subresource(request), request.operation, request.old)
        else {
            return Ok(());
        };
        let signer = text(old, "/spec/signerName");
        if may(&self.0, request.user, "approve", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

/// Whether `user` holds `verb` on `signer`, by its name or by `DOMAIN/*`.
pub(super) fn may(authorizer: &Authorizer, user: &User, verb: &str, signer: &str) -> bool {
    let ask = |name: &str| {
        let attributes = Attributes {
            user: user.clone(),
            verb: verb.to_owned(),
            group: "certificates.k8s.io".to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name: name.to_owned(),
            is_resource: true,
            ..Attributes::default()
        };
        authorizer.authorize_now(&attributes).is_allowed()
    };
    let domain = signer.split('/').next().unwrap_or_default();
    ask(signer) || ask(&format!("{domain}/*"))
}
