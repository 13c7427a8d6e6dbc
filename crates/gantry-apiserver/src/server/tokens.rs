//! Service account tokens: granting them and saying whose one is.

use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::authn::TokenRequestError;
use crate::{ApiServer, rest};

impl ApiServer {
    /// Grants a TokenRequest for a stored service account.
    pub(crate) fn issue_token(&self, account: &Value, request: &Value) -> Result<Value, ApiError> {
        let now = Timestamp::now().as_second();
        let jti = uuid::Uuid::new_v4().to_string();
        let name = account["metadata"]["name"].as_str().unwrap_or_default();
        let accounts = &self.authenticators.service_accounts;
        accounts.grant(account, request, &self.store.snapshot(), now, jti).map_err(|error| match error {
            TokenRequestError::Invalid(field, value, detail) => {
                let error = FieldError::invalid(&Path::new(field), value, detail);
                ApiError::invalid("authentication.k8s.io", "TokenRequest", name, &[error])
            }
            TokenRequestError::BadRequest(why) => ApiError::bad_request(why),
            TokenRequestError::NotFound(resource, name) => ApiError::not_found("", resource, &name),
            TokenRequestError::Conflict(resource, name, why) => ApiError::conflict("", resource, &name, &why),
            TokenRequestError::Key(error) => ApiError::internal(error),
        })
    }

    /// The status of a TokenReview.
    pub(crate) async fn review_token(&self, spec: &Value) -> Value {
        let token = spec["token"].as_str().unwrap_or_default();
        let audiences = spec["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences.filter_map(|each| each.as_str().map(str::to_owned)).collect();
        let now = Timestamp::now().as_second();
        match self.authenticators.token(token, &audiences, &self.store.snapshot(), now).await {
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
