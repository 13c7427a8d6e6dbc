//! The token webhook: somebody else's server says whose a token is, in a TokenReview.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use gantry_json::{Value, json};
use parking_lot::Mutex;

use super::TokenWebhook;
use crate::expiring::{self, Expiring, Key};
use crate::metrics::AccessMetrics;
use crate::review_client::ReviewClient;
use crate::{Error, User};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers remembered, at most.
const REMEMBERED: usize = 4096;

/// Who a token's user is and for which audiences it is good; `None`: the webhook does not know.
type Answer = Option<(User, Vec<String>)>;

/// A question to the webhook.
type Question = BoxFuture<'static, Result<Answer, String>>;
/// A question that is on its way; several may wait for its answer.
type Flight = Shared<Question>;

/// A webhook that knows tokens.
pub(super) struct Webhook {
    asking: Arc<Asking>,
    /// Questions on their way. Who asks the same meanwhile waits for the same answer.
    flights: Mutex<HashMap<Key, WeakShared<Question>>>,
}

/// How it is asked, and what it has answered.
struct Asking {
    client: ReviewClient,
    version: String,
    ttl: Duration,
    answers: Expiring<Answer>,
}

impl Webhook {
    pub fn new(settings: &TokenWebhook) -> Result<Self, Error> {
        if !matches!(&*settings.version, "v1" | "v1beta1") {
            let why = format!(
                "unsupported authentication webhook version {:?}, supported versions are \"v1\", \"v1beta1\"",
                settings.version
            );
            return Err(Error::config("authentication", why));
        }
        let asking = Asking {
            client: ReviewClient::from_kubeconfig(&settings.config_file, PATIENCE)?,
            version: settings.version.clone(),
            ttl: settings.cache_ttl,
            answers: Expiring::new(REMEMBERED),
        };
        Ok(Self { asking: Arc::new(asking), flights: Mutex::default() })
    }

    /// Whose `token` it is, and for which of the audiences `wanted` it is good. A webhook that says nothing of
    /// audiences speaks of `own` ones.
    pub async fn user(
        &self,
        token: &str,
        wanted: &[String],
        own: &[String],
        metrics: &AccessMetrics,
    ) -> Result<Answer, String> {
        let parts = std::iter::once(token).chain(wanted.iter().map(String::as_str));
        let key = expiring::key(parts.map(str::as_bytes));
        let remembered = self.asking.answers.get(&key);
        metrics.remembered(remembered.is_some());
        match remembered {
            Some(answer) => Ok(answer),
            None => self.flight(key, token, wanted, own).await,
        }
    }

    /// The question that is on its way, or a new one.
    fn flight(&self, key: Key, token: &str, wanted: &[String], own: &[String]) -> Flight {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        // One that has just ended has left its answer.
        if let Some(answer) = self.asking.answers.get(&key) {
            return std::future::ready(Ok(answer)).boxed().shared();
        }
        let (asking, token) = (self.asking.clone(), token.to_owned());
        let (wanted, own) = (wanted.to_vec(), own.to_vec());
        let flight = async move { asking.ask(key, &token, &wanted, &own).await }.boxed().shared();
        flights.retain(|_, other| other.upgrade().is_some());
        flights.extend(flight.downgrade().map(|weak| (key, weak)));
        flight
    }
}

impl Asking {
    async fn ask(&self, key: Key, token: &str, wanted: &[String], own: &[String]) -> Result<Answer, String> {
        let review = json!({
            "kind": "TokenReview",
            "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": {},
            "spec": {"token": token, "audiences": wanted},
            "status": {"user": {}},
        });
        let reviewed = self.client.ask(&review).await.map_err(|error| {
            tracing::warn!(%error, "the authentication webhook gave no answer");
            error.to_string()
        })?;
        let answer = answer(&reviewed["status"], wanted, own)?;
        self.answers.insert(key, answer.clone(), self.ttl);
        Ok(answer)
    }
}

fn answer(status: &Value, wanted: &[String], own: &[String]) -> Result<Answer, String> {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|each| each.as_str().map(str::to_owned)).collect()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if status["authenticated"] != true {
        return match status["error"].as_str() {
            Some(error) if !error.is_empty() => Err(error.to_owned()),
            _ => Ok(None),
        };
    }
    let said = list(&status["audiences"]);
    let good = if said.is_empty() { own } else { &said };
    let audiences: Vec<String> = wanted.iter().filter(|each| good.contains(each)).cloned().collect();
    if audiences.is_empty() {
        return Ok(None);
    }
    let user = &status["user"];
    let extra = user["extra"].as_object().into_iter().flatten();
    let user = User {
        name: text(&user["username"]),
        uid: text(&user["uid"]),
        groups: list(&user["groups"]),
        extra: extra.map(|(key, values)| (key.to_string(), list(values))).collect(),
    };
    Ok(Some((user, audiences)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_must_meet() {
        let owned = |list: &[&str]| list.iter().map(|each| (*each).to_owned()).collect::<Vec<_>>();
        let check = |status: Value, expect: Result<Option<&[&str]>, &str>| {
            let got = answer(&status, &owned(&["api", "x"]), &owned(&["api"]));
            let got = got.map(|answer| answer.map(|(_, audiences)| audiences));
            assert_eq!(got, expect.map(|some| some.map(owned)).map_err(str::to_owned), "{status}");
        };
        check(json!({"authenticated": true, "user": {"username": "u"}}), Ok(Some(&["api"])));
        check(json!({"authenticated": true, "audiences": ["x", "y"]}), Ok(Some(&["x"])));
        check(json!({"authenticated": true, "audiences": ["y"]}), Ok(None));
        check(json!({"authenticated": false}), Ok(None));
        check(json!({"error": "no"}), Err("no"));
        check(Value::Null, Ok(None));
    }
}
