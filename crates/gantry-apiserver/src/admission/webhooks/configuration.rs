//! Webhook configurations, followed from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Snapshot;

use super::super::Request;
use super::super::expression::{Conditions, environment};
use super::super::matching::{Facts, Rule, Selectors, equivalents, find, kind_of, texts};
use crate::authz::feed::Index;
use crate::webhook::{CallError, Target};

/// How long a webhook has, where it does not say.
const TIMEOUT: u64 = 10;

/// One webhook of a configuration.
pub(super) struct Hook {
    /// The configuration's name.
    pub configuration: String,
    /// The webhook's own name.
    pub name: String,
    /// What tells it from all others.
    pub uid: String,
    pub target: Result<Target, CallError>,
    /// Whether a call that fails counts as consent.
    pub fails_open: bool,
    /// Whether it may be called when nothing is to be written.
    pub dry_run: bool,
    /// Whether it wants to see changes that others make after it.
    pub reinvoked: bool,
    pub time: Duration,
    /// The version of reviews that it takes; `None`: none that the server knows.
    pub review: Option<&'static str>,
    /// What has to hold for it to be called.
    pub conditions: Conditions,
    rules: Vec<Rule>,
    equivalent: bool,
    selectors: Selectors,
}

impl Hook {
    fn read(configuration: &str, at: usize, hook: &Value) -> Self {
        let text = |field: &str| hook[field].as_str().unwrap_or_default();
        let versions = texts(&hook["admissionReviewVersions"]);
        let review = versions.iter().find_map(|version| match version.as_str() {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        Self {
            configuration: configuration.to_owned(),
            name: text("name").to_owned(),
            uid: format!("{configuration}/{}/{at}", text("name")),
            target: Target::read(&hook["clientConfig"]),
            fails_open: text("failurePolicy") == "Ignore",
            dry_run: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            reinvoked: text("reinvocationPolicy") == "IfNeeded",
            time: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT)),
            review,
            conditions: Conditions::read(&hook["matchConditions"], &environment(false)),
            rules: Rule::list(&hook["rules"]),
            equivalent: text("matchPolicy") != "Exact",
            selectors: Selectors::read(hook),
        }
    }

    /// The resource that a request meets the webhook as: its own or, where that is allowed, another
    /// version of it. `None`: the webhook is not for the request.
    pub fn met(&self, request: &Request<'_>, objects: &Snapshot) -> Result<Option<Arc<Kind>>, ApiError> {
        let facts = Facts::of(request);
        let own = self.rules.iter().any(|rule| rule.matches(&facts));
        if !own && !self.equivalent {
            return Ok(None);
        }
        // What does not select the request says so before an error of the other is one.
        let namespace = self.selectors.select_namespace(request, objects);
        let object = self.selectors.select_object(request);
        if matches!(namespace, Ok(false)) || matches!(object, Ok(false)) {
            return Ok(None);
        }
        let others = match own {
            true => Vec::new(),
            false => equivalents(request.registry, request.kind, request.subresource),
        };
        let Some(resource) = find(&self.rules, &facts, Some(&others)) else { return Ok(None) };
        namespace?;
        object?;
        let unknown = || {
            let [group, version, resource] = [resource.group, resource.version, resource.resource];
            ApiError::internal(format!(
                "unable to convert to {group}/{version}, Resource={resource}: unknown kind"
            ))
        };
        Ok(Some(kind_of(request.registry, resource).ok_or_else(unknown)?))
    }
}

/// All webhooks of one sort, in the order of their configurations.
#[derive(Default)]
pub(super) struct Configurations {
    by_name: BTreeMap<String, Vec<Arc<Hook>>>,
    all: Arc<[Arc<Hook>]>,
}

impl Configurations {
    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let name = key.rsplit('/').next().unwrap_or_default();
        match value {
            None => drop(self.by_name.remove(name)),
            Some(bytes) => {
                let configuration: Value = gantry_json::from_slice(bytes).unwrap_or_default();
                let hooks = configuration["webhooks"].as_array().into_iter().flatten().enumerate();
                let hooks = hooks.map(|(at, hook)| Arc::new(Hook::read(name, at, hook))).collect();
                self.by_name.insert(name.to_owned(), hooks);
            }
        }
        self.all = self.by_name.values().flatten().cloned().collect();
    }

    /// The webhooks.
    pub fn hooks(&self) -> Arc<[Arc<Hook>]> {
        self.all.clone()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The webhooks that change objects.
#[derive(Default)]
pub(super) struct Mutating(pub Configurations);

impl Index for Mutating {
    const PREFIXES: &'static [&'static str] =
        &["/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/"];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        self.0.apply(key, value);
    }
}

/// The webhooks that only look.
#[derive(Default)]
pub(super) struct Validating(pub Configurations);

impl Index for Validating {
    const PREFIXES: &'static [&'static str] =
        &["/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/"];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        self.0.apply(key, value);
    }
}
