//! Service account tokens: issuing them for TokenRequests and finding out whose one is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_json::{Value, json};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{Notes, Settings, TokenUse, Unauthorized, legacy_token};
use crate::lookup::Lookup;
use crate::token::{
    self, Bound, Claims, KeyError, Kubernetes, LegacyClaims, Reference, SigningKey, TokenError, VerifyingKey,
};
use crate::{Error, User};

/// What a token lasts when the client does not say, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// What kubelets ask for on behalf of pods whose clients may not reload tokens.
const PROJECTED_SECONDS: i64 = 3607;
/// What such a token lasts, with a warning after [`PROJECTED_SECONDS`].
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// How long after its deletion was due an object still vouches for its tokens, in seconds.
const DELETION_LEEWAY: i64 = 60;
/// Verified signatures remembered, at most.
const REMEMBERED: usize = 8192;

/// Why a TokenRequest cannot be granted.
#[derive(Debug, thiserror::Error)]
pub enum TokenRequestError {
    /// 422: a field holds what it cannot; field, value, detail.
    #[error("{0}: Invalid value: {1}: {2}")]
    Invalid(&'static str, Value, String),
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 404: resource and name.
    #[error("{0} {1:?} not found")]
    NotFound(&'static str, String),
    /// 409: resource, name, detail.
    #[error("{0} {1:?}: {2}")]
    Conflict(&'static str, String, String),
    /// The key does not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A token whose signature is good.
enum Verified {
    Bound(Claims),
    Legacy(LegacyClaims),
}

impl Verified {
    /// For whom it is meant, and whose it is.
    fn audience_and_subject(&self) -> (&[String], &str) {
        match self {
            Self::Bound(claims) => (&claims.aud, &claims.sub),
            Self::Legacy(claims) => (&claims.aud, &claims.sub),
        }
    }
}

/// Issuer and verifier of service account tokens.
pub struct ServiceAccounts {
    signing: SigningKey,
    verifying: Vec<VerifyingKey>,
    /// The issuer of new tokens, and then those whose tokens are good as well.
    issuers: Vec<String>,
    longest: Option<i64>,
    exact: bool,
    /// Claims of tokens whose signature was good, by digest of the token.
    verified: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
}

impl ServiceAccounts {
    /// Signs with `signing`; accepts what it or one of `others` signed. The server's own audience is
    /// `issuer`.
    pub fn new(signing: SigningKey, others: Vec<VerifyingKey>, issuer: impl Into<String>) -> Self {
        let mut verifying = vec![signing.public().clone()];
        verifying.extend(others.into_iter().filter(|key| key != signing.public()));
        let issuers = vec![issuer.into()];
        Self { signing, verifying, issuers, longest: None, exact: false, verified: Mutex::default() }
    }

    /// Accepts what `settings` say too, and grants tokens as they say.
    pub(crate) fn configured(signing: SigningKey, issuer: &str, settings: &Settings) -> Result<Self, Error> {
        let keys = &settings.service_account_keys;
        let others = if keys.trim().is_empty() { Ok(Vec::new()) } else { VerifyingKey::all_from_pem(keys) };
        let others = others.map_err(|error| Error::config("service account keys", error))?;
        let mut own = Self::new(signing, others, issuer);
        own.issuers.extend(settings.accepted_issuers.iter().filter(|other| **other != issuer).cloned());
        own.exact = settings.exact_token_expiration;
        if let Some(longest) = settings.max_token_expiration {
            if !(Duration::from_secs(3600)..=Duration::from_secs(1 << 32)).contains(&longest) {
                let why = "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds";
                return Err(Error::config("service account tokens", why));
            }
            own.longest = Some(longest.as_secs() as i64);
        }
        Ok(own)
    }

    /// The issuer of new tokens.
    pub fn issuer(&self) -> &str {
        &self.issuers[0]
    }

    /// The issuers whose tokens are good.
    pub fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// `/openid/v1/jwks`.
    pub fn key_set(&self) -> Value {
        token::key_set(&self.verifying)
    }

    /// `/.well-known/openid-configuration`.
    pub fn discovery_document(&self, jwks_uri: &str) -> Value {
        token::discovery_document(self.issuer(), jwks_uri, &self.verifying)
    }

    /// The token of an account that is kept in the Secret `secret` of its namespace.
    pub fn legacy_token(
        &self,
        namespace: &str,
        account: &str,
        account_uid: &str,
        secret: &str,
    ) -> Result<String, KeyError> {
        let account = Reference { name: account.to_owned(), uid: account_uid.to_owned() };
        token::sign(&self.signing, &LegacyClaims::new(namespace, &account, secret))
    }

    /// Whose `token` it is, and for which of the audiences `wanted` it is good. One that names none is good
    /// for the server's `own`. `None`: it is no service account's.
    pub fn user(
        &self,
        token: &str,
        (wanted, own): (&[String], &[String]),
        objects: &dyn Lookup,
        now: i64,
        notes: &mut Notes,
    ) -> Result<Option<(User, Vec<String>)>, Unauthorized> {
        let verified = match self.verified(token, now) {
            Ok(verified) => verified,
            Err(TokenError::Foreign | TokenError::Malformed) => return Ok(None),
            Err(error) => return Err(Unauthorized(error.to_string())),
        };
        let (mut audiences, subject) = verified.audience_and_subject();
        if audiences.is_empty() {
            notes.annotate("legacy-token", subject);
            notes.uses.push(TokenUse::Legacy);
            audiences = own;
        }
        let common: Vec<String> = wanted.iter().filter(|each| audiences.contains(each)).cloned().collect();
        if common.is_empty() {
            return Err(Unauthorized(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted(audiences),
                quoted(wanted)
            )));
        }
        let user = match &*verified {
            Verified::Bound(claims) => {
                let user = bound_user(claims, objects, now)?;
                if let Some(moment) = claims.kubernetes.warnafter {
                    renewal(&claims.sub, now - moment, notes);
                }
                user
            }
            Verified::Legacy(claims) => legacy_token::user(claims, token, objects, now, notes)?,
        };
        Ok(Some((user, common)))
    }

    fn verified(&self, token: &str, now: i64) -> Result<Arc<Verified>, TokenError> {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
        let lasts = |known: &&Arc<Verified>| match &***known {
            Verified::Bound(claims) => now <= claims.exp,
            Verified::Legacy(_) => true,
        };
        if let Some(known) = self.verified.lock().get(&digest).filter(lasts) {
            return Ok(known.clone());
        }
        let claims = match token::verify(&self.verifying, &self.issuers, token, now) {
            Err(TokenError::Foreign) => token::verify_legacy(&self.verifying, token).map(Verified::Legacy),
            claims => claims.map(Verified::Bound),
        };
        let claims = Arc::new(claims?);
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(digest, claims.clone());
        Ok(claims)
    }

    /// Answers a TokenRequest for a service account: `request` with its `status`. `jti` is a fresh
    /// unique identifier.
    pub fn grant(
        &self,
        account: &Value,
        request: &Value,
        objects: &dyn Lookup,
        now: i64,
        jti: String,
    ) -> Result<Value, TokenRequestError> {
        let spec = &request["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let invalid = |why: &str| {
            Err(TokenRequestError::Invalid("spec.expirationSeconds", json!(seconds), why.to_owned()))
        };
        if seconds < 600 {
            return invalid("may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            return invalid("may not specify a duration larger than 2^32 seconds");
        }
        let mut aud: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(text).collect();
        if aud.is_empty() {
            aud.push(self.issuer().to_owned());
        }
        let seconds = self.longest.map_or(seconds, |longest| seconds.min(longest));
        let namespace = text(&account["metadata"]["namespace"]).unwrap_or_default();
        let bound = bound_object(spec, account, &namespace, objects)?;
        let own_audience = aud.len() == 1 && aud[0] == self.issuer();
        let extended = !self.exact
            && seconds == PROJECTED_SECONDS
            && own_audience
            && matches!(bound, Some(Bound::Pod(..)));
        let serviceaccount = reference(account);
        let mut kubernetes = Kubernetes { namespace, serviceaccount, ..Kubernetes::default() };
        match bound {
            Some(Bound::Pod(pod, node)) => (kubernetes.pod, kubernetes.node) = (Some(pod), node),
            Some(Bound::Secret(secret)) => kubernetes.secret = Some(secret),
            Some(Bound::Node(node)) => kubernetes.node = Some(node),
            None => {}
        }
        kubernetes.warnafter = extended.then_some(now + seconds);
        let claims = Claims {
            exp: now + if extended { EXTENDED_SECONDS } else { seconds },
            iat: now,
            nbf: now,
            iss: self.issuer().to_owned(),
            jti,
            sub: Claims::user_name(&kubernetes.namespace, &kubernetes.serviceaccount.name),
            kubernetes,
            aud,
        };
        let mut response = request.clone();
        let time = |seconds| Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
        for field in ["name", "namespace"] {
            if response["metadata"][field].as_str().is_none_or(str::is_empty) {
                response["metadata"][field] = account["metadata"][field].clone();
            }
        }
        response["metadata"]["creationTimestamp"] = json!(time(now));
        response["spec"]["audiences"] = json!(claims.aud);
        response["spec"]["expirationSeconds"] = json!(seconds);
        let token = token::sign(&self.signing, &claims)?;
        response["status"] = json!({"token": token, "expirationTimestamp": time(now + seconds)});
        Ok(response)
    }
}

/// Notes whether a token that a kubelet keeps should have been renewed `late` seconds ago.
fn renewal(subject: &str, late: i64, notes: &mut Notes) {
    if late <= 0 {
        return notes.uses.push(TokenUse::Valid);
    }
    notes.uses.push(TokenUse::Stale);
    let text = format!("subject: {subject}, seconds after warning threshold: {late}");
    notes.annotate("stale-token", &text);
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn reference(object: &Value) -> Reference {
    let get = |field: &str| text(&object["metadata"][field]).unwrap_or_default();
    Reference { name: get("name"), uid: get("uid") }
}

fn bound_object(
    spec: &Value,
    account: &Value,
    namespace: &str,
    objects: &dyn Lookup,
) -> Result<Option<Bound>, TokenRequestError> {
    let wanted = &spec["boundObjectRef"];
    if !wanted.is_object() {
        return Ok(None);
    }
    let name = text(&wanted["name"]).unwrap_or_default();
    let kind = wanted["kind"].as_str().unwrap_or_default();
    let api_version = wanted["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (resource, place) = match (group, kind) {
        ("", "Pod") => ("pods", namespace),
        ("", "Secret") => ("secrets", namespace),
        ("", "Node") => ("nodes", ""),
        _ => {
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(TokenRequestError::BadRequest(why));
        }
    };
    let object = objects
        .get("", resource, place, &name)
        .ok_or_else(|| TokenRequestError::NotFound(resource, name.clone()))?;
    let found = reference(&object);
    if let Some(uid) = text(&wanted["uid"]).filter(|uid| !uid.is_empty() && *uid != found.uid) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(TokenRequestError::Conflict(resource, name, why));
    }
    Ok(Some(match kind {
        "Pod" => {
            let own = account["metadata"]["name"].as_str().unwrap_or_default();
            if object["spec"]["serviceAccountName"] != own {
                let why = format!(
                    "cannot bind token for serviceaccount {own:?} to pod running with different serviceaccount name."
                );
                return Err(TokenRequestError::BadRequest(why));
            }
            let node = object["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
            let node = node.map(|node| {
                let object = objects.get("", "nodes", "", node);
                let uid = object.map(|node| reference(&node).uid).unwrap_or_default();
                Reference { name: node.to_owned(), uid }
            });
            Bound::Pod(found, node)
        }
        "Secret" => Bound::Secret(found),
        _ => Bound::Node(found),
    }))
}

/// Texts as upstream shows a list of them.
fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn deleted_before(object: &Value, moment: i64) -> bool {
    let time =
        object["metadata"]["deletionTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    time.is_some_and(|time| time.as_second() < moment)
}

/// What is said of a token whose pod, Secret or node has gone.
const INVALIDATED: &str = "service account token has been invalidated";

/// The user of a token, when the account and what the token is bound to still exist.
fn bound_user(claims: &Claims, objects: &dyn Lookup, now: i64) -> Result<User, Unauthorized> {
    let own = &claims.kubernetes;
    let account = &own.serviceaccount;
    if claims.sub != Claims::user_name(&own.namespace, &account.name) {
        return Err(Unauthorized("token subject and private claims differ".into()));
    }
    let (place, named) = (&own.namespace, &account.name);
    let alive = |resource: &'static str, namespace: &str, wanted: &Reference| {
        let is_account = resource == "serviceaccounts";
        let object = objects.get("", resource, namespace, &wanted.name);
        let found = object.as_ref().map(|object| reference(object).uid);
        let why = match (object, found) {
            (None, _) | (_, None) if is_account => format!("serviceaccounts {named:?} not found"),
            (None, _) | (_, None) => INVALIDATED.to_owned(),
            (_, Some(uid)) if uid != wanted.uid && is_account => {
                format!("service account UID ({uid}) does not match claim ({})", wanted.uid)
            }
            (_, Some(uid)) if uid != wanted.uid => {
                let kind = resource.trim_end_matches('s');
                format!("{kind} UID ({uid}) does not match service account {kind} ref claim ({})", wanted.uid)
            }
            (Some(object), _) if !deleted_before(&object, now - DELETION_LEEWAY) => return Ok(()),
            _ if is_account => format!("service account {place}/{named} has been deleted"),
            _ => INVALIDATED.to_owned(),
        };
        Err(Unauthorized(why))
    };
    alive("serviceaccounts", &own.namespace, account)?;
    let mut extra = std::collections::BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    if let Some(pod) = &own.pod {
        alive("pods", &own.namespace, pod)?;
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(secret) = &own.secret {
        alive("secrets", &own.namespace, secret)?;
    }
    if let Some(node) = &own.node {
        if own.pod.is_none() {
            alive("nodes", "", node)?;
        }
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    Ok(User { extra, ..account_user(&own.namespace, account) })
}

/// The user that an account is.
pub(super) fn account_user(namespace: &str, account: &Reference) -> User {
    User {
        name: Claims::user_name(namespace, &account.name),
        uid: account.uid.clone(),
        groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        extra: Default::default(),
    }
}
