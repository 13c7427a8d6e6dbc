//! Which controllers there are, and how they are started.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use gantry_client::{Informers, Recorder};
use ipnet::IpNet;
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
}

/// Name of the controller, its service account in `kube-system`, and what starts it.
type Entry = (&'static str, &'static str, fn(Context) -> BoxFuture<'static, ()>);

/// Every controller.
const CONTROLLERS: &[Entry] = &[
    ("root-ca-cert-publisher", "root-ca-cert-publisher", |context| crate::root_ca::run(context).boxed()),
    ("serviceaccount-controller", "service-account-controller", |context| {
        crate::serviceaccount::run(context).boxed()
    }),
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
        let client = client(account);
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
