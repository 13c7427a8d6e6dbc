//! What is counted of authentication and authorization.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::table::{Buckets, Histograms, Usual, counter, counters, gauges, histograms};
use crate::authn::TokenUse;

/// The buckets of durations, in seconds: each twice the one before.
const QUICK: [f64; 15] = {
    let mut buckets = [0.001; 15];
    let mut at = 1;
    while at < buckets.len() {
        buckets[at] = buckets[at - 1] * 2.0;
        at += 1;
    }
    buckets
};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultOnly {
    result: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Username {
    username: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decided {
    r#type: &'static str,
    name: String,
    decision: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    name: String,
    result: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Conditioned {
    r#type: &'static str,
    name: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Verified {
    result: &'static str,
    jwt_issuer_hash: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

/// The metrics of authentication and authorization.
pub(crate) struct AccessMetrics {
    attempts: Usual<ResultOnly, Counter>,
    authentication: Usual<ResultOnly, Histogram, Buckets>,
    users: Usual<Username, Counter>,
    authorizations: Usual<ResultOnly, Counter>,
    authorization: Usual<ResultOnly, Histogram, Buckets>,
    decisions: Family<Decided, Counter>,
    asked: Family<Asked, Counter>,
    asking: Histograms<Asked>,
    fail_open: Family<Asked, Counter>,
    condition_failures: Family<Conditioned, Counter>,
    condition_exclusions: Family<Conditioned, Counter>,
    verifying: Histograms<Verified>,
    fetched: Family<Verified, Gauge>,
    remembered: Family<Status, Counter>,
    reloads: [(Family<Status, Counter>, Family<Status, Gauge>); 2],
    /// Service account tokens: legacy ones of all sorts, stale ones and good ones.
    legacy: Counter,
    manual: Counter,
    generated: Counter,
    invalidated: Counter,
    stale: Counter,
    valid: Counter,
}

/// A configuration file that is read again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reloaded {
    Authentication,
    Authorization,
}

impl Default for AccessMetrics {
    /// Metrics that nobody is shown.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl AccessMetrics {
    /// Metrics that `registry` shows under upstream's names.
    pub fn new(registry: &mut Registry) -> Self {
        let mut reload = |part: &str| {
            let name = format!("apiserver_{part}_config_controller_automatic_reload");
            let time = format!("{name}_last_timestamp_seconds");
            (
                counters(registry, &format!("{name}s"), "Reloads of the configuration"),
                gauges(registry, &time, "When the configuration was reloaded last"),
            )
        };
        let reloads = ["authentication", "authorization"].map(&mut reload);
        Self {
            attempts: Usual::of(counters(registry, "authentication_attempts", "Attempts to authenticate")),
            authentication: Usual::of(histograms(
                registry,
                "authentication_duration_seconds",
                "Time that authentication took",
                &QUICK,
            )),
            users: Usual::of(counters(registry, "authenticated_user_requests", "Requests by known users")),
            authorizations: Usual::of(counters(
                registry,
                "authorization_attempts",
                "Requests that authorization decided on",
            )),
            authorization: Usual::of(histograms(
                registry,
                "authorization_duration_seconds",
                "Time that authorization took",
                &QUICK,
            )),
            decisions: counters(
                registry,
                "apiserver_authorization_decisions",
                "Requests that an authorizer allowed or denied",
            ),
            asked: counters(
                registry,
                "apiserver_authorization_webhook_evaluations",
                "Questions to authorization webhooks",
            ),
            asking: histograms(
                registry,
                "apiserver_authorization_webhook_duration_seconds",
                "Time that authorization webhooks took",
                &QUICK,
            ),
            fail_open: counters(
                registry,
                "apiserver_authorization_webhook_evaluations_fail_open",
                "Questions without an answer that left the decision to others",
            ),
            condition_failures: counters(
                registry,
                "apiserver_authorization_match_condition_evaluation_errors",
                "Match conditions that could not be evaluated",
            ),
            condition_exclusions: counters(
                registry,
                "apiserver_authorization_match_condition_exclusions",
                "Requests that match conditions kept from a webhook",
            ),
            verifying: histograms(
                registry,
                "apiserver_authentication_jwt_authenticator_latency_seconds",
                "Time that the verification of a token took",
                &QUICK,
            ),
            fetched: gauges(
                registry,
                "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds",
                "When an issuer's keys were fetched last",
            ),
            remembered: counters(
                registry,
                "authentication_token_cache_request",
                "Answers to token reviews that were remembered, or not",
            ),
            reloads,
            legacy: counter(
                registry,
                "serviceaccount_legacy_tokens",
                "Requests with tokens that name no audience",
            ),
            manual: counter(
                registry,
                "serviceaccount_legacy_manual_token_uses",
                "Requests with tokens of Secrets that persons made",
            ),
            generated: counter(
                registry,
                "serviceaccount_legacy_auto_token_uses",
                "Requests with tokens of Secrets that accounts name",
            ),
            invalidated: counter(
                registry,
                "serviceaccount_invalid_legacy_auto_token_uses",
                "Requests with such tokens that had been marked as unused",
            ),
            stale: counter(
                registry,
                "serviceaccount_stale_tokens",
                "Requests with tokens that should have been renewed",
            ),
            valid: counter(
                registry,
                "serviceaccount_valid_tokens",
                "Requests with tokens of volumes that are renewed in time",
            ),
        }
    }

    /// Counts an attempt to authenticate: `success`, `failure` (nothing was shown) or `error`.
    pub fn authenticated(&self, result: &'static str, took: Duration) {
        self.attempts.count(&ResultOnly { result }, |count| _ = count.inc());
        self.authentication.count(&ResultOnly { result }, |times| times.observe(took.as_secs_f64()));
    }

    /// Counts a request of `user`, whose name is shown where it is one of few.
    pub fn user(&self, user: &str) {
        let username = match user {
            "system:anonymous" => "system:anonymous",
            "system:apiserver" => "system:apiserver",
            "system:kube-controller-manager" => "system:kube-controller-manager",
            "system:kube-scheduler" => "system:kube-scheduler",
            "system:kube-proxy" => "system:kube-proxy",
            "kubernetes-admin" => "kubernetes-admin",
            name if name.starts_with("system:serviceaccount:") => "system:serviceaccount",
            name if name.starts_with("system:node:") => "system:node",
            _ => "other",
        };
        self.users.count(&Username { username }, |count| _ = count.inc());
    }

    /// Counts a decision: `allowed`, `denied`, `no-opinion` or `error`.
    pub fn authorized(&self, result: &'static str, took: Duration) {
        self.authorizations.count(&ResultOnly { result }, |count| _ = count.inc());
        self.authorization.count(&ResultOnly { result }, |times| times.observe(took.as_secs_f64()));
    }

    /// The counters of what an authorizer allows and denies.
    pub fn decisions(&self, r#type: &'static str, name: &str) -> [Counter; 2] {
        ["allowed", "denied"].map(|decision| {
            let labels = Decided { r#type, name: name.to_owned(), decision };
            self.decisions.get_or_create(&labels).clone()
        })
    }

    /// Counts a question to an authorization webhook; `open`: it failed, and others decide.
    pub fn webhook_asked(&self, name: &str, result: &'static str, took: Duration, open: bool) {
        let labels = Asked { name: name.to_owned(), result };
        self.asked.get_or_create(&labels).inc();
        self.asking.get_or_create(&labels).observe(took.as_secs_f64());
        if open {
            self.fail_open.get_or_create(&labels).inc();
        }
    }

    /// Counts a match condition that could not be evaluated.
    pub fn condition_failed(&self, name: &str) {
        let labels = Conditioned { r#type: "Webhook", name: name.to_owned() };
        self.condition_failures.get_or_create(&labels).inc();
    }

    /// Counts a request that match conditions keep from a webhook.
    pub fn condition_excluded(&self, name: &str) {
        let labels = Conditioned { r#type: "Webhook", name: name.to_owned() };
        self.condition_exclusions.get_or_create(&labels).inc();
    }

    /// Counts a token of an issuer: `success` or `failure`.
    pub fn verified(&self, issuer_hash: &str, result: &'static str, took: Duration) {
        let labels = Verified { result, jwt_issuer_hash: issuer_hash.to_owned() };
        self.verifying.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Notes that an issuer's keys were fetched, or could not be.
    pub fn fetched(&self, issuer_hash: &str, success: bool) {
        let result = if success { "success" } else { "failure" };
        let labels = Verified { result, jwt_issuer_hash: issuer_hash.to_owned() };
        self.fetched.get_or_create(&labels).set(jiff::Timestamp::now().as_second());
    }

    /// Counts whether the answer to a token review was `remembered`.
    pub fn remembered(&self, remembered: bool) {
        let status = if remembered { "hit" } else { "miss" };
        self.remembered.get_or_create(&Status { status }).inc();
    }

    /// Notes that a configuration file was read again.
    pub fn reloaded(&self, which: Reloaded, success: bool) {
        let (count, time) = &self.reloads[which as usize];
        let status = Status { status: if success { "success" } else { "failure" } };
        count.get_or_create(&status).inc();
        time.get_or_create(&status).set(jiff::Timestamp::now().as_second());
    }

    /// Counts a request with a service account token.
    pub fn service_account(&self, token: TokenUse) {
        match token {
            TokenUse::Legacy => &self.legacy,
            TokenUse::Manual => &self.manual,
            TokenUse::Generated => &self.generated,
            TokenUse::Invalidated => &self.invalidated,
            TokenUse::Stale => &self.stale,
            TokenUse::Valid => &self.valid,
        }
        .inc();
    }
}
