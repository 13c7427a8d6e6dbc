//! CertificateApproval: who approves or denies a request must hold the verb `approve` on its signer.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::status::ApiError;
use gantry_store::Store;

use super::certificate_requestor::subresource;
use super::{Operation, Request, Turns, WaitingPlugin, text};
use crate::authz::Authorizer;
use crate::{Attributes, User};

pub(super) struct CertificateApproval(pub(super) Arc<Authorizer>);

#[async_trait]
impl WaitingPlugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::UPDATES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        subresource(request) == Some("approval")
    }

    async fn validate(&self, request: &mut Request<'_>, _: &Store) -> Result<(), ApiError> {
        let (Some("approval"), Operation::Update, Some(old)) =
            (subresource(request), request.operation, request.old)
        else {
            return Ok(());
        };
        let signer = text(old, "/spec/signerName");
        if may(&self.0, request.user, "approve", signer).await {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

/// Whether `user` holds `verb` on `signer`, by its name or by `DOMAIN/*`.
pub(super) async fn may(authorizer: &Authorizer, user: &User, verb: &str, signer: &str) -> bool {
    let ask = async |name: &str| {
        let attributes = Attributes {
            user: user.clone().into(),
            verb: verb.into(),
            group: "certificates.k8s.io".into(),
            version: "*".into(),
            resource: "signers".into(),
            name: name.into(),
            is_resource: true,
            ..Attributes::default()
        };
        authorizer.authorize(&attributes).await.is_allowed()
    };
    let domain = signer.split('/').next().unwrap_or_default();
    ask(signer).await || ask(&format!("{domain}/*")).await
}
