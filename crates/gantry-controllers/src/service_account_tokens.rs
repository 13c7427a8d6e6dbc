//! Fills Secrets of type `kubernetes.io/service-account-token` with a token of the account that they name, the
//! cluster's authority and the namespace.
//!
//! Flow: a Secret appears or changes: what is missing is added. Its account is gone, or another one has its
//! name: the Secret is deleted. The Secret is gone: the account no longer lists it. Guarantees: a token that is
//! there stays; running again changes nothing. Acts as the controller manager, whose role is made for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use crate::Context;
use crate::controllers::SignToken;
use crate::token_secret::{ACCOUNT, ACCOUNT_UID, TokenSecret};
use crate::writes::{is_gone, is_stale};

/// Secrets worked on at the same time.
const WORKERS: usize = 5;
/// How often the removal of a reference is tried when others write the account.
const ATTEMPTS: usize = 10;

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    /// A Secret is there.
    Secret(ObjectKey),
    /// A Secret of that name is gone, whose account may list it.
    Gone { account: ObjectKey, uid: Option<String>, secret: String },
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(key) => key.fmt(f),
            Self::Gone { account, secret, .. } => write!(f, "{secret} of {account}"),
        }
    }
}

/// What becomes of a Secret.
#[derive(Debug, PartialEq)]
enum Plan {
    Keep,
    Delete,
    /// With a new token, where that is missing.
    Fill {
        token: bool,
    },
}

struct Controller {
    context: Context,
    sign: SignToken,
    secrets: Informer<TokenSecret>,
    accounts: Informer<ServiceAccount>,
    queue: WorkQueue<Work>,
}

/// Runs until shutdown; at once at its end where nobody signs tokens.
pub async fn run(context: Context) {
    let Some(sign) = context.config.sign_token.clone() else { return };
    let informers = &context.informers;
    let (secrets, accounts) = (informers.get::<TokenSecret>(), informers.get::<ServiceAccount>());
    secrets.synced().await;
    accounts.synced().await;
    let controller = Controller { context, sign, secrets, accounts, queue: WorkQueue::new() };
    let controller = &controller;
    let of_secrets = controller.secrets.changes().each(|change| controller.secret_changed(&change));
    let of_accounts = controller.accounts.changes().each(|change| controller.account_changed(&change));
    let reconcile = async |work| match work {
        Work::Secret(key) => controller.secret(&key).await,
        Work::Gone { account, uid, secret } => controller.unlist(&account, uid.as_deref(), &secret).await,
    };
    let shutdown = controller.context.shutdown.clone();
    let work = run_workers("serviceaccount-token", controller.queue.clone(), WORKERS, reconcile, shutdown);
    tokio::join!(of_secrets, of_accounts, work);
}

impl Controller {
    fn secret_changed(&self, change: &Change<TokenSecret>) {
        let secret = change.object();
        let key = ObjectKey::of(&secret.0.metadata);
        if secret.account().is_empty() {
            return;
        }
        self.queue.add(match change {
            Change::Applied { .. } => Work::Secret(key),
            Change::Deleted(_) => Work::Gone {
                account: ObjectKey::new(key.namespace, secret.account()),
                uid: secret.account_uid().map(str::to_owned),
                secret: key.name,
            },
        });
    }

    fn account_changed(&self, change: &Change<ServiceAccount>) {
        let account = &change.object().metadata;
        let another = match change {
            Change::Applied { old, .. } => old.as_ref().is_some_and(|old| old.metadata.uid != account.uid),
            Change::Deleted(_) => true,
        };
        if !another {
            return;
        }
        let key = ObjectKey::of(account);
        for secret in self.secrets.in_namespace(&key.namespace) {
            if secret.account() == key.name {
                self.queue.add(Work::Secret(ObjectKey::of(&secret.0.metadata)));
            }
        }
    }

    /// The account that a Secret is for; asked for where the informer does not show it.
    async fn account_of(&self, secret: &TokenSecret) -> kube::Result<Option<Arc<ServiceAccount>>> {
        let namespace = secret.0.metadata.namespace.clone().unwrap_or_default();
        let key = ObjectKey::new(namespace, secret.account());
        if let Some(account) = self.accounts.get(&key).filter(|account| secret.is_for(account)) {
            return Ok(Some(account));
        }
        let api = Api::<ServiceAccount>::namespaced(self.context.client.clone(), &key.namespace);
        let found = api.get_opt(&key.name).await?.filter(|account| secret.is_for(account));
        Ok(found.map(Arc::new))
    }

    async fn secret(&self, key: &ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(secret) = self.secrets.get(key).filter(|secret| !secret.account().is_empty()) else {
            return Ok(None);
        };
        let account = self.account_of(&secret).await?;
        let api = Api::<Secret>::namespaced(self.context.client.clone(), &key.namespace);
        let written = match (plan(&secret.0, account.is_some(), &self.context.config.root_ca), account) {
            (Plan::Fill { token }, Some(account)) => {
                let token = match token {
                    true => Some(self.sign.token(&account, &key.name)?),
                    false => None,
                };
                let filled = filled(&secret.0, &account, token, &self.context.config.root_ca);
                api.replace(&key.name, &PostParams::default(), &filled).await.map(drop)
            }
            (Plan::Delete, _) => {
                let uid = secret.0.metadata.uid.clone();
                let preconditions = Some(Preconditions { uid, resource_version: None });
                api.delete(&key.name, &DeleteParams { preconditions, ..Default::default() }).await.map(drop)
            }
            _ => return Ok(None),
        };
        match written {
            // What changed meanwhile comes through the informer.
            Err(error) if !is_gone(&error) && !is_stale(&error) => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// Takes a Secret that is gone off the list of its account.
    async fn unlist(
        &self,
        key: &ObjectKey,
        uid: Option<&str>,
        secret: &str,
    ) -> Result<Option<Duration>, Failure> {
        let known = self.accounts.get(key);
        if known.is_none_or(|account| uid.is_some() && account.metadata.uid.as_deref() != uid) {
            return Ok(None);
        }
        let api = Api::<ServiceAccount>::namespaced(self.context.client.clone(), &key.namespace);
        let mut attempt = 1;
        loop {
            let Some(mut account) = api.get_opt(&key.name).await? else { return Ok(None) };
            let listed = account.secrets.get_or_insert_default();
            let before = listed.len();
            listed.retain(|each| each.name.as_deref() != Some(secret));
            let same = listed.len() == before || uid.is_some() && account.metadata.uid.as_deref() != uid;
            if same {
                return Ok(None);
            }
            match api.replace(&key.name, &PostParams::default(), &account).await {
                Err(error) if is_stale(&error) && attempt < ATTEMPTS => attempt += 1,
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => return Ok(None),
            }
        }
    }
}

fn bytes<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| &*bytes.0).unwrap_or_default()
}

/// What becomes of `secret`, whose account is `there` or not.
fn plan(secret: &Secret, there: bool, authority: &str) -> Plan {
    if !there {
        return Plan::Delete;
    }
    let token = bytes(secret, "token").is_empty();
    let authority = !authority.is_empty() && bytes(secret, "ca.crt") != authority.as_bytes();
    let namespace = bytes(secret, "namespace").is_empty();
    if token || authority || namespace { Plan::Fill { token } } else { Plan::Keep }
}

/// `secret` with what it misses.
fn filled(secret: &Secret, account: &ServiceAccount, token: Option<String>, authority: &str) -> Secret {
    let mut secret = secret.clone();
    let namespace = secret.metadata.namespace.clone().unwrap_or_default();
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT.into(), account.metadata.name.clone().unwrap_or_default());
    annotations.insert(ACCOUNT_UID.into(), account.metadata.uid.clone().unwrap_or_default());
    let data = secret.data.get_or_insert_default();
    if !authority.is_empty() {
        data.insert("ca.crt".into(), ByteString(authority.into()));
    }
    if data.get("namespace").is_none_or(|bytes| bytes.0.is_empty()) {
        data.insert("namespace".into(), ByteString(namespace.into()));
    }
    if let Some(token) = token {
        data.insert("token".into(), ByteString(token.into()));
    }
    secret
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn secret(data: Value) -> Secret {
        let metadata = json!({"name": "s", "namespace": "shop", "annotations": {ACCOUNT: "web"}});
        gantry_json::from_value(json!({"metadata": metadata, "data": data})).expect("a Secret")
    }

    #[test]
    fn what_is_missing_is_added_and_nothing_else() {
        let account = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u"}});
        let account: ServiceAccount = gantry_json::from_value(account).expect("an account");
        let check = |data: Value, expect: Plan| {
            let secret = secret(data);
            assert_eq!(plan(&secret, false, "CA"), Plan::Delete);
            let planned = plan(&secret, true, "CA");
            if let Plan::Fill { token } = planned {
                let filled = filled(&secret, &account, token.then(|| "T".into()), "CA");
                assert_eq!(plan(&filled, true, "CA"), Plan::Keep);
                assert_eq!(filled.metadata.annotations.as_ref().expect("some")[ACCOUNT_UID], "u");
                assert_eq!(bytes(&filled, "token"), if token { b"T" } else { bytes(&secret, "token") });
                let own = bytes(&secret, "namespace");
                assert_eq!(bytes(&filled, "namespace"), if own.is_empty() { b"shop" } else { own });
            }
            assert_eq!(planned, expect);
        };
        check(json!({}), Plan::Fill { token: true });
        // T, CA, shop
        check(json!({"token": "VA==", "ca.crt": "Q0E=", "namespace": "c2hvcA=="}), Plan::Keep);
        check(json!({"token": "VA==", "ca.crt": "VA==", "namespace": "VA=="}), Plan::Fill { token: false });
        check(json!({"token": "VA==", "ca.crt": "Q0E="}), Plan::Fill { token: false });
        check(json!({"token": "", "ca.crt": "Q0E=", "namespace": "VA=="}), Plan::Fill { token: true });
        let full = secret(json!({"token": "VA==", "namespace": "VA=="}));
        assert_eq!(plan(&full, true, ""), Plan::Keep, "no authority to publish");
    }
}
