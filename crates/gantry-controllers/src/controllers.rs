//! Which controllers there are, and how they are started.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use gantry_client::{Failure, Informers, Recorder};
use ipnet::IpNet;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use tokio_util::sync::CancellationToken;

/// What a controller is started with.
#[derive(Clone)]
pub struct Context {
    /// The API under the controller's own identity.
    pub client: Client,
    /// Shared with the other controllers, under the controller manager's identity.
    pub informers: Informers,
    /// Writes events as the controller.
    pub recorder: Recorder,
    /// Settings.
    pub config: Arc<Config>,
    /// Ends the controller.
    pub shutdown: CancellationToken,
}

/// Settings of the controllers.
#[derive(Debug, Clone)]
pub struct Config {
    /// PEM of the authority that signed the API server's certificate, published to every namespace.
    pub root_ca: String,
    /// Addresses of pods, of which each node gets a part.
    pub cluster_cidr: IpNet,
    /// The key of that authority; without it nobody's certificate is signed.
    pub ca_key: Option<PrivateKey>,
    /// How long a certificate lasts that asks for no time or for more.
    pub certificate_lifetime: SignedDuration,
    /// How long nodes may be silent.
    pub nodes: NodeTimes,
    /// Signs the tokens that Secrets keep; without it such Secrets stay empty.
    pub sign_token: Option<SignToken>,
    /// After this time without a use the token of a Secret that nobody asked for is marked as invalid, and
    /// removed after the same time again.
    pub legacy_token_clean_up: Duration,
    /// How long a ServiceCIDR stays after its deletion, so that whoever was taking an address out of it then
    /// is done.
    pub service_cidr_grace: Duration,
}

impl Config {
    /// Settings with the usual times and without the authority's key.
    pub fn new(root_ca: impl Into<String>, cluster_cidr: IpNet) -> Self {
        Self {
            root_ca: root_ca.into(),
            cluster_cidr,
            ca_key: None,
            certificate_lifetime: SignedDuration::from_hours(24 * 365),
            nodes: NodeTimes::default(),
            sign_token: None,
            legacy_token_clean_up: Duration::from_secs(365 * 24 * 3600),
            service_cidr_grace: Duration::from_secs(10),
        }
    }
}

/// Makes the token of an account that a Secret keeps: from namespace, name and UID of the account and the
/// name of the Secret.
type Sign = dyn Fn(&str, &str, &str, &str) -> Result<String, Failure> + Send + Sync;

/// Signs the tokens of service accounts that Secrets keep.
#[derive(Clone)]
pub struct SignToken(Arc<Sign>);

impl SignToken {
    /// Signs by `sign`, which is given namespace, name and UID of an account and the name of the Secret.
    pub fn new(
        sign: impl Fn(&str, &str, &str, &str) -> Result<String, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(sign))
    }

    /// The token of `account` for its Secret `secret`.
    pub(crate) fn token(&self, account: &ServiceAccount, secret: &str) -> Result<String, Failure> {
        let part = |value: &Option<String>| value.clone().unwrap_or_default();
        let of = &account.metadata;
        (self.0)(&part(&of.namespace), &part(&of.name), &part(&of.uid), secret)
    }
}

impl std::fmt::Debug for SignToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignToken")
    }
}

/// A private key in PEM, which no log shows.
#[derive(Clone)]
pub struct PrivateKey(pub String);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// How long nodes may be silent; the defaults are upstream's.
#[derive(Debug, Clone, Copy)]
pub struct NodeTimes {
    /// After this time without a sign of life a node is unreachable.
    pub grace: Duration,
    /// The same for a node that has never reported.
    pub startup_grace: Duration,
    /// How long a node must be gone before its pods are removed.
    pub quarantine: Duration,
}

impl Default for NodeTimes {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(50),
            startup_grace: Duration::from_secs(60),
            quarantine: Duration::from_secs(40),
        }
    }
}

/// In the place of a service account: the controller acts as the controller manager itself.
const MANAGER: &str = "";

/// Name that the controller gives in events, its service account in `kube-system`, and what starts it.
type Entry = (&'static str, &'static str, fn(Context) -> BoxFuture<'static, ()>);

/// Every controller.
const CONTROLLERS: &[Entry] = &[
    ("deployment-controller", "deployment-controller", |context| crate::deployment::run(context).boxed()),
    ("replicaset-controller", "replicaset-controller", |context| crate::replicaset::run(context).boxed()),
    ("replication-controller", "replication-controller", |context| {
        crate::replicaset::run_replication_controllers(context).boxed()
    }),
    ("endpoint-controller", "endpoint-controller", |context| crate::endpoints::run(context).boxed()),
    ("endpoint-slice-controller", "endpointslice-controller", |context| {
        crate::endpointslice::run(context).boxed()
    }),
    ("endpoint-slice-mirroring-controller", "endpointslicemirroring-controller", |context| {
        crate::endpointslicemirroring::run(context).boxed()
    }),
    ("garbage-collector-controller", "generic-garbage-collector", |context| {
        crate::garbage_collector::run(context).boxed()
    }),
    ("cronjob-controller", "cronjob-controller", |context| crate::cronjob::run(context).boxed()),
    ("ttl-after-finished-controller", "ttl-after-finished-controller", |context| {
        crate::ttl_after_finished::run(context).boxed()
    }),
    ("disruption-controller", "disruption-controller", |context| crate::pod_disruption::run(context).boxed()),
    ("daemonset-controller", "daemon-set-controller", |context| crate::daemonset::run(context).boxed()),
    ("statefulset-controller", "statefulset-controller", |context| crate::statefulset::run(context).boxed()),
    ("job-controller", "job-controller", |context| crate::job::run(context).boxed()),
    ("namespace-controller", "namespace-controller", |context| crate::namespace::run(context).boxed()),
    ("root-ca-cert-publisher", "root-ca-cert-publisher", |context| crate::root_ca::run(context).boxed()),
    ("serviceaccount-controller", "service-account-controller", |context| {
        crate::serviceaccount::run(context).boxed()
    }),
    ("serviceaccount-token-controller", MANAGER, |context| {
        crate::service_account_tokens::run(context).boxed()
    }),
    ("legacy-serviceaccount-token-cleaner-controller", "legacy-service-account-token-cleaner", |context| {
        crate::legacy_token_cleaner::run(context).boxed()
    }),
    ("cidrAllocator", "node-controller", |context| crate::node_ipam::run(context).boxed()),
    ("node-controller", "node-controller", |context| crate::node_lifecycle::run(context).boxed()),
    ("taint-eviction-controller", "node-controller", |context| crate::taint_eviction::run(context).boxed()),
    ("pod-garbage-collector", "pod-garbage-collector", |context| crate::pod_gc::run(context).boxed()),
    ("clusterrole-aggregation-controller", "clusterrole-aggregation-controller", |context| {
        crate::clusterrole_aggregation::run(context).boxed()
    }),
    ("ttl-controller", "ttl-controller", |context| crate::node_ttl::run(context).boxed()),
    ("token-cleaner", "token-cleaner", |context| crate::token_cleaner::run(context).boxed()),
    ("service-cidr-controller", "service-cidrs-controller", |context| {
        crate::servicecidrs::run(context).boxed()
    }),
    ("resourcequota-controller", "resourcequota-controller", |context| {
        crate::resourcequota::run(context).boxed()
    }),
    ("persistentvolumeclaim-protection-controller", "pvc-protection-controller", |context| {
        crate::pvc_protection::run(context).boxed()
    }),
    ("persistentvolume-protection-controller", "pv-protection-controller", |context| {
        crate::pv_protection::run(context).boxed()
    }),
    (
        "volumeattributesclass-protection-controller",
        "volumeattributesclass-protection-controller",
        |context| crate::vac_protection::run(context).boxed(),
    ),
    ("csrapproving", "certificate-controller", |context| crate::csr_approving::run(context).boxed()),
    ("csrcleaner", "certificate-controller", |context| crate::csr_cleaner::run(context).boxed()),
    ("csrsigning", "certificate-controller", |context| crate::csr_signing::run(context).boxed()),
];

/// Runs every controller until `shutdown`. `client` gives the API under the identity
/// `system:serviceaccount:kube-system:NAME`; `informers` are under the controller manager's.
pub async fn run(
    client: impl Fn(&str) -> Client,
    informers: Informers,
    config: Config,
    shutdown: CancellationToken,
) {
    let config = Arc::new(config);
    let started = CONTROLLERS.iter().map(|(name, account, start)| {
        let client = match *account {
            MANAGER => informers.client().clone(),
            account => client(account),
        };
        let context = Context {
            recorder: Recorder::new(client.clone(), name),
            client,
            informers: informers.clone(),
            config: config.clone(),
            shutdown: shutdown.clone(),
        };
        tokio::spawn(start(context))
    });
    for ended in join_all(started.collect::<Vec<_>>()).await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller has ended");
        }
    }
}
