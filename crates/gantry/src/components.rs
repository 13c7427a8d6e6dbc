//! The controllers and the scheduler: ordinary clients of the API server in this process, each under
//! the identity it would have elsewhere.

use std::sync::Arc;

use gantry_apiserver::{ApiServer, User};
use gantry_client::{Informers, LeaderElector};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::pki::Authority;

/// A client in this process, as `user`.
pub fn client(server: &Arc<ApiServer>, user: User) -> Client {
    Client::new(server.client_service(user), "default")
}

/// The user that the service account `name` in `kube-system` is.
fn service_account(name: &str) -> User {
    let name = format!("system:serviceaccount:kube-system:{name}");
    User::new(name, ["system:serviceaccounts", "system:serviceaccounts:kube-system"])
}

/// The user that the node `name` is.
pub fn node(name: &str) -> User {
    User::new(format!("system:node:{name}"), ["system:nodes"])
}

/// Starts everything that belongs to a control plane beside its API server.
pub fn start(
    server: &Arc<ApiServer>,
    authority: &Authority,
    config: &Config,
    shutdown: CancellationToken,
) -> JoinSet<()> {
    let mut running = JoinSet::new();
    running.spawn(controllers(server.clone(), authority, config, shutdown.clone()));
    running
}

/// The controllers, whenever this process holds their lease.
fn controllers(
    server: Arc<ApiServer>,
    authority: &Authority,
    config: &Config,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let manager = client(&server, User::new("system:kube-controller-manager", []));
    let elector =
        LeaderElector::new(manager.clone(), "kube-system", "kube-controller-manager", &config.node_name);
    let settings = gantry_controllers::Config {
        ca_key: Some(gantry_controllers::PrivateKey(authority.key.clone())),
        ..gantry_controllers::Config::new(&authority.certificate, config.cluster_cidr)
    };
    async move {
        server.ready().await;
        let lead = |leading: CancellationToken| {
            let informers = Informers::new(manager.clone(), leading.clone());
            let as_account = |name: &str| client(&server, service_account(name));
            gantry_controllers::run(as_account, informers, settings.clone(), leading)
        };
        elector.run(shutdown, lead).await;
    }
}
