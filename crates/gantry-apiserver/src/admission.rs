//! Admission: what may change or refuse a write, after authorization and before validation.
//!
//! Plugins run in upstream's order, each in a file of its own: first all that change the object, then
//! all that only look. There are two sorts of them, and both are lines of one chain:
//!
//! - A [`Plugin`] decides from a snapshot of the store, at once. Almost all are of this sort, and a
//!   request that meets no other waits for nothing.
//! - A [`WaitingPlugin`] may wait: for somebody else's server, or for a write of its own. It says first
//!   whether a request concerns it, which has to be quick; only then is it run. Its hooks get the
//!   [`Store`], so that it can keep count of what it lets through in [`WaitingPlugin::validate`], the last
//!   step before the write itself. What comes after it sees a newer snapshot.
//!
//! A plugin that changes an object in a way that the ones before it have to see again sets
//! [`Request::again`]: then the whole chain changes the object once more.

mod always_deny;
mod always_pull_images;
mod certificate_approval;
mod certificate_requestor;
mod certificate_signing;
mod certificate_subject_restriction;
mod default_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod expression;
mod limit_pod_hard_anti_affinity_topology;
mod limit_ranger;
mod matching;
mod namespace_exists;
mod namespace_lifecycle;
mod node_restriction;
mod options;
mod persistent_volume_claim_resize;
mod plugins;
mod pod_security;
mod pod_topology_labels;
pub(crate) mod policies;
mod policy_parameters;
mod priority;
mod questions;
mod rbac_escalation;
mod reinvocation;
pub(crate) mod resource_quota;
mod runtime_class;
mod service_account;
mod settings;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod turns;
pub(crate) mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use gantry_api::features::{self, FeatureGates};
use gantry_api::registry::{Kind, Registry};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Replacement, Snapshot, Store};

use crate::authz::Authorizer;
use crate::custom_resources::Converter;
use crate::metrics::{AdmissionMeter, AdmissionMetrics};
use crate::{Lookup, User};
pub(crate) use settings::Configuration;
pub use settings::Settings;

pub use options::Options;
pub(crate) use reinvocation::Reinvocation;
use turns::Rounds;
pub use turns::Turns;

/// How long the account of a new namespace may take.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);

/// What a request does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Makes it.
    #[default]
    Create,
    /// Changes it.
    Update,
    /// Removes it.
    Delete,
    /// Opens a stream to it.
    Connect,
}

impl Operation {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Delete, Self::Connect];

    /// The API's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// One write, as admission sees it.
#[derive(Clone)]
pub struct Request<'a> {
    /// What it does.
    pub operation: Operation,
    /// The kinds that there are.
    pub registry: &'a Registry,
    /// The resource, as the registry has it.
    pub kind: &'a Kind,
    /// Group, version and kind of [`Request::object`]; for a subresource with objects of its own, theirs.
    pub object_kind: [&'a str; 3],
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource's plural name.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty. A Namespace object is in none.
    pub namespace: &'a str,
    /// The name in the request's path, or empty.
    pub name: &'a str,
    /// Whether the object came without a name, for one to be generated after it was changed.
    pub unnamed: bool,
    /// Who asks.
    pub user: &'a User,
    /// The object as it is to become (for a subresource, what was sent; for a stream, its options);
    /// null for a deletion.
    pub object: Value,
    /// The object as it is.
    pub old: Option<&'a Value>,
    /// The request's options.
    pub options: Options<'a>,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// What the client is to be warned of.
    pub warnings: Vec<String>,
    /// What is noted with the request's audit events.
    pub annotations: BTreeMap<String, String>,
    /// Whether the plugins that change the object have to see it once more.
    pub again: Again,
    /// What makes objects of one version of a custom kind objects of another.
    pub(crate) converter: Option<&'a Converter>,
    /// What is known of the webhooks that were called.
    pub(crate) called: Reinvocation,
    /// What is known of the policies that were carried out.
    pub(crate) applied: Reinvocation,
}

/// How a chain is run a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Again {
    /// It is the first time, and nobody asked for another one.
    #[default]
    No,
    /// It is the first time, and somebody asked for another one.
    Wanted,
    /// It is the second time.
    Running,
}

impl Request<'_> {
    /// Asks for the chain to be run again, where it has not been.
    pub fn run_again(&mut self) {
        if self.again == Again::No {
            self.again = Again::Wanted;
        }
    }

    /// Whether the request is about `resource` of the core group itself.
    fn is(&self, resource: &str, subresource: &str) -> bool {
        self.group.is_empty() && self.resource == resource && self.subresource == subresource
    }

    /// A 403 about the request's object.
    fn forbidden(&self, why: impl AsRef<str>) -> ApiError {
        let base = self.text("/metadata/generateName");
        let name = [self.object_name(), base, "Unknown"].into_iter().find(|name| !name.is_empty());
        ApiError::forbidden(self.group, self.resource, name.unwrap_or_default(), why.as_ref())
    }

    /// The object's name: the path's, or a new object's own; empty while it is to be generated.
    fn object_name(&self) -> &str {
        if self.name.is_empty() { self.text("/metadata/name") } else { self.name }
    }

    /// Whether it is about Namespaces, or parts of them.
    fn is_about_namespaces(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces"
    }

    /// The name that others are told of: none where it is generated, not even once it is.
    fn told_name(&self) -> &str {
        if self.unnamed { "" } else { self.object_name() }
    }

    /// The namespace that others are told of: a Namespace is in itself, also before there is one.
    fn told_namespace(&self) -> &str {
        if self.is_about_namespaces() { self.told_name() } else { self.namespace }
    }

    /// The text under a JSON pointer of the new object.
    fn text(&self, pointer: &str) -> &str {
        text(&self.object, pointer)
    }
}

/// The text under a JSON pointer without escapes and without places in lists, or nothing.
///
/// Every write asks for a dozen of them, and [`Value::pointer`] copies each of their elements twice.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let mut elements = pointer.split('/').skip(1);
    elements.try_fold(object, |value, element| value.get(element)).and_then(Value::as_str).unwrap_or("")
}

/// An admission plugin. A plugin says nothing on requests that it does not know.
pub trait Plugin: Send + Sync {
    /// What configuration and logs call it.
    fn name(&self) -> &'static str;

    /// When it is asked.
    fn turns(&self) -> Turns;

    /// Changes the object, or refuses.
    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let _ = (request, objects);
        Ok(())
    }

    /// Refuses, or does not.
    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let _ = (request, objects);
        Ok(())
    }
}

/// An admission plugin that may wait.
#[async_trait]
pub trait WaitingPlugin: Send + Sync {
    /// What configuration and logs call it.
    fn name(&self) -> &'static str;

    /// When it is asked.
    fn turns(&self) -> Turns;

    /// Whether the request concerns it at all. Must be quick: every write asks.
    fn concerns(&self, request: &Request<'_>) -> bool;

    /// Changes the object, or refuses.
    async fn mutate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let _ = (request, store);
        Ok(())
    }

    /// Refuses, or does not. Warnings and annotations may be added; what becomes of the object is lost.
    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let _ = (request, store);
        Ok(())
    }
}

/// A place in the chain.
enum Step {
    Now(Box<dyn Plugin>),
    Waiting(Box<dyn WaitingPlugin>),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Now(plugin) => plugin.name(),
            Self::Waiting(plugin) => plugin.name(),
        }
    }

    fn turns(&self) -> Turns {
        match self {
            Self::Now(plugin) => plugin.turns(),
            Self::Waiting(plugin) => plugin.turns(),
        }
    }
}

impl<P: Plugin + 'static> From<P> for Step {
    fn from(plugin: P) -> Self {
        Self::Now(Box::new(plugin))
    }
}

impl From<Box<dyn WaitingPlugin>> for Step {
    fn from(plugin: Box<dyn WaitingPlugin>) -> Self {
        Self::Waiting(plugin)
    }
}

fn waiting(plugin: impl WaitingPlugin + 'static) -> Step {
    Step::Waiting(Box::new(plugin))
}

/// The plugins of a server.
pub struct Admission {
    chain: Vec<Step>,
    /// What may be used only where a quota speaks of it; `None`: quotas do not count.
    limits: Option<resource_quota::Limits>,
    rounds: Rounds,
}

impl Admission {
    /// The plugins that `configuration` chooses and `features` allow; webhooks are called by `caller`.
    pub(crate) fn new(
        configuration: &Configuration,
        authorizer: Arc<Authorizer>,
        store: &Store,
        caller: Arc<webhooks::Caller>,
        features: &FeatureGates,
    ) -> Self {
        let Configuration { chosen, pod_security, limits, .. } = configuration;
        let pod_security = pod_security::PodSecurity {
            configuration: pod_security.clone(),
            metrics: caller.metrics.clone(),
        };
        let changing = features.enabled(features::MUTATING_ADMISSION_POLICY).then(|| {
            waiting(policies::MutatingAdmissionPolicy::new(store, authorizer.clone(), caller.metrics.clone()))
        });
        let mutating: Box<dyn WaitingPlugin> =
            Box::new(webhooks::MutatingAdmissionWebhook::new(store, caller.clone()));
        let policies: Box<dyn WaitingPlugin> = Box::new(policies::ValidatingAdmissionPolicy::new(
            store,
            authorizer.clone(),
            caller.metrics.clone(),
        ));
        let validating: Box<dyn WaitingPlugin> =
            Box::new(webhooks::ValidatingAdmissionWebhook::new(store, caller.clone()));
        let mut chain: Vec<Step> = vec![
            namespace_lifecycle::NamespaceLifecycle.into(),
            namespace_exists::NamespaceExists.into(),
            limit_pod_hard_anti_affinity_topology::LimitPodHardAntiAffinityTopology.into(),
            limit_ranger::LimitRanger.into(),
            service_account::ServiceAccount.into(),
            waiting(node_restriction::NodeRestriction(authorizer.clone())),
            taint_nodes_by_condition::TaintNodesByCondition.into(),
            always_pull_images::AlwaysPullImages.into(),
            waiting(pod_security),
            priority::Priority.into(),
            default_toleration_seconds::DefaultTolerationSeconds.into(),
            default_class::STORAGE.into(),
            storage_object_in_use_protection::StorageObjectInUseProtection.into(),
            persistent_volume_claim_resize::PersistentVolumeClaimResize.into(),
            runtime_class::RuntimeClass.into(),
            certificate_requestor::CertificateRequestor.into(),
            waiting(certificate_approval::CertificateApproval(authorizer.clone())),
            waiting(certificate_signing::CertificateSigning(authorizer.clone())),
            certificate_subject_restriction::CertificateSubjectRestriction.into(),
            default_class::INGRESS.into(),
            deny_service_external_ips::DenyServiceExternalIps.into(),
            pod_topology_labels::PodTopologyLabels.into(),
            waiting(rbac_escalation::RbacEscalation(authorizer.clone())),
            waiting(policy_parameters::PolicyParameters(authorizer)),
        ];
        chain.extend(changing);
        chain.extend([mutating.into(), policies.into(), validating.into(), always_deny::AlwaysDeny.into()]);
        chain.retain(|step| chosen.has(step.name()));
        let limits = chosen.has(resource_quota::NAME).then(|| limits.clone());
        Self::of(chain, limits, &caller.metrics.admission)
    }

    fn of(chain: Vec<Step>, limits: Option<resource_quota::Limits>, metrics: &AdmissionMetrics) -> Self {
        let rounds = Rounds::of(&chain, metrics);
        Self { chain, limits, rounds }
    }

    /// Waits, a second at most, for the service account of a new pod: a namespace gets its account
    /// `default` from a controller, a moment after it was made.
    pub async fn wait_for_account(&self, namespace: &str, pod: &Value, store: &Store) {
        let name = match text(pod, "/spec/serviceAccountName") {
            "" => "default",
            name => name,
        };
        let key = format!("/registry/serviceaccounts/{namespace}/{name}");
        let snapshot = store.snapshot();
        let namespace = format!("/registry/namespaces/{namespace}");
        if snapshot.get(&key).is_some() || snapshot.get(&namespace).is_none() {
            return;
        }
        if let Ok(mut created) = store.watch(&key, snapshot.revision(), None) {
            // Late or not, the plugin says what there is to say.
            let _ = tokio::time::timeout(ACCOUNT_PATIENCE, created.next()).await;
        }
    }

    /// Lets every plugin change the object, in order; the first refusal ends it.
    pub async fn mutate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let (started, round) = (Instant::now(), self.rounds.round(request.operation, true));
        let mut result = self.run(request, store, true).await;
        if result.is_ok() && request.again == Again::Wanted {
            request.again = Again::Running;
            result = self.run(request, store, true).await;
        }
        round.together.observe(result.is_err(), started.elapsed());
        result
    }

    /// Asks every plugin whether the object as it is now may be written.
    pub async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let (started, round) = (Instant::now(), self.rounds.round(request.operation, false));
        let mut result = self.run(request, store, false).await;
        if result.is_ok() {
            result = self.fits(request, &store.snapshot(), &round.quotas);
        }
        round.together.observe(result.is_err(), started.elapsed());
        result
    }

    /// Whether quotas have room for the write: upstream's plugin ResourceQuota, the last of the chain.
    fn fits(
        &self,
        request: &Request<'_>,
        snapshot: &Snapshot,
        meter: &AdmissionMeter,
    ) -> Result<(), ApiError> {
        let limits = self.limits.as_ref();
        let Some(limits) =
            limits.filter(|limits| !limits.is_empty() || resource_quota::any(request.namespace, snapshot))
        else {
            return Ok(());
        };
        let started = Instant::now();
        let result = resource_quota::charge(request, snapshot, limits).map(drop);
        meter.observe(result.is_err(), started.elapsed());
        result
    }

    /// The quotas that the write is charged to, as they will be, when every plugin has agreed. They are written
    /// with the object, and may have changed since they had room for it.
    pub fn charge(&self, request: &Request<'_>, snapshot: &Snapshot) -> Result<Vec<Replacement>, ApiError> {
        match &self.limits {
            Some(limits) => resource_quota::charge(request, snapshot, limits),
            None => Ok(Vec::new()),
        }
    }

    /// Whether something may be used only where a quota speaks of it.
    pub(crate) fn limits(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| !limits.is_empty())
    }

    async fn run(&self, request: &mut Request<'_>, store: &Store, mutate: bool) -> Result<(), ApiError> {
        let (mut snapshot, mut started) = (store.snapshot(), Instant::now());
        for turn in &self.rounds.round(request.operation, mutate).turns {
            let result = match &self.chain[turn.step] {
                Step::Now(plugin) if mutate => plugin.mutate(request, &snapshot),
                Step::Now(plugin) => plugin.validate(request, &snapshot),
                Step::Waiting(plugin) if !plugin.concerns(request) => continue,
                Step::Waiting(plugin) => {
                    let result = match mutate {
                        true => plugin.mutate(request, store).await,
                        false => plugin.validate(request, store).await,
                    };
                    snapshot = store.snapshot();
                    result
                }
            };
            let ended = Instant::now();
            turn.meter.observe(result.is_err(), ended - started);
            started = ended;
            result?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
