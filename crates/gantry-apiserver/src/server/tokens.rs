//! Service account tokens: granting them and saying whose one is.

use futures::future::BoxFuture;
use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::Request;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;

use crate::authn::{LAST_USED, Notes, TokenRequestError, UsedSecret};
use crate::body::Body;
use crate::token::KeyError;
use crate::{ApiServer, User, rest};

impl ApiServer {
    /// Grants a TokenRequest for a stored service account; with it the token's identifier.
    pub(crate) fn issue_token(&self, account: &Value, request: &Value) -> Result<(Value, String), ApiError> {
        let now = Timestamp::now().as_second();
        let jti = uuid::Uuid::new_v4().to_string();
        let name = account["metadata"]["name"].as_str().unwrap_or_default();
        let accounts = &self.authenticators.service_accounts;
        let granted = accounts.grant(account, request, &self.store.snapshot(), now, jti.clone());
        let granted = granted.map_err(|error| match error {
            TokenRequestError::Invalid(field, value, detail) => {
                let error = FieldError::invalid(&Path::new(field), value, detail);
                ApiError::invalid("authentication.k8s.io", "TokenRequest", name, &[error])
            }
            TokenRequestError::BadRequest(why) => ApiError::bad_request(why),
            TokenRequestError::NotFound(resource, name) => ApiError::not_found("", resource, &name),
            TokenRequestError::Conflict(resource, name, why) => ApiError::conflict("", resource, &name, &why),
            TokenRequestError::Key(error) => ApiError::internal(error),
        })?;
        Ok((granted, jti))
    }

    /// The token of a service account that is kept in the Secret `secret` of its namespace, for the controller
    /// that fills such Secrets.
    pub fn legacy_token(
        &self,
        namespace: &str,
        account: &str,
        account_uid: &str,
        secret: &str,
    ) -> Result<String, KeyError> {
        self.authenticators.service_accounts.legacy_token(namespace, account, account_uid, secret)
    }

    /// Writes down in a Secret that its token was used. Others' changes meanwhile do not matter, and where it
    /// fails, the next use tries again.
    pub(super) fn note_use<'a>(&'a self, used: &'a UsedSecret) -> BoxFuture<'a, ()> {
        let UsedSecret { namespace, name, uid, day } = used;
        let patch = json!({"metadata": {"uid": uid, "labels": {LAST_USED: day}}});
        let request = Request::patch(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(Body::from(patch.to_string().into_bytes()));
        Box::pin(async move {
            let Ok(request) = request else { return };
            let response = self.handle(request, Some(User::apiserver())).await;
            if !response.status().is_success() {
                let code = response.status().as_u16();
                tracing::warn!(
                    secret = name,
                    namespace,
                    code,
                    "the use of a token is not noted in its Secret"
                );
            }
        })
    }

    /// The status of a TokenReview; what else is to be said goes into `notes`.
    pub(crate) async fn review_token(&self, spec: &Value, notes: &mut Notes) -> Value {
        let token = spec["token"].as_str().unwrap_or_default();
        let audiences = spec["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences.filter_map(|each| each.as_str().map(str::to_owned)).collect();
        let now = Timestamp::now().as_second();
        let snapshot = self.store.snapshot();
        let found = self.authenticators.token(token, &audiences, &snapshot, now, notes).await;
        drop(snapshot);
        if let Some(used) = &notes.used {
            self.note_use(used).await;
        }
        match found {
            Ok((user, audiences)) => {
                let mut status = json!({"authenticated": true, "user": rest::user_info(&user)});
                if !audiences.is_empty() {
                    status["audiences"] = json!(audiences);
                }
                status
            }
            Err(error) => json!({"user": {}, "error": error.to_string()}),
        }
    }
}
