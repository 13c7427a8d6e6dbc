//! CertificateSigning: who issues a certificate, or says that it failed, must hold the verb `sign` on
//! the request's signer.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;

use super::certificate_approval::may;
use super::certificate_requestor::subresource;
use super::{Operation, Request, Turns, WaitingPlugin, text};
use crate::authz::Authorizer;

pub(super) struct CertificateSigning(pub(super) Arc<Authorizer>);

#[async_trait]
impl WaitingPlugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::UPDATES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        subresource(request) == Some("status")
    }

    async fn validate(&self, request: &mut Request<'_>, _: &Store) -> Result<(), ApiError> {
        let (Some("status"), Operation::Update, Some(old)) =
            (subresource(request), request.operation, request.old)
        else {
            return Ok(());
        };
        let same = |field: &str| {
            let (before, after) = (&old["status"][field], &request.object["status"][field]);
            before == after || empty(before) && empty(after)
        };
        let signer = text(old, "/spec/signerName");
        if same("certificate") && same("conditions") || may(&self.0, request.user, "sign", signer).await {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

fn empty(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}
