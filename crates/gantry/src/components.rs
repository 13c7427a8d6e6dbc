//! The controllers, the scheduler and the cluster's own Services: ordinary clients of the API server in this process, each under
//! the identity it would have elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use gantry_apiserver::{ApiServer, User};
use gantry_client::{Informers, LeaderElector};
use gantry_json::json;
use gantry_scheduler::SchedulerConfig;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster_settings;
use crate::config::Config;
use crate::pki::Authority;

/// A client in this process, as `user`. What runs here watches without managed fields.
pub fn client(server: &Arc<ApiServer>, user: User) -> Client {
    Client::new(server.client_service(user).unmanaged(), "default")
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

/// What runs beside the API server, part by part.
#[derive(Default)]
pub struct Components {
    tasks: JoinSet<&'static str>,
    running: Vec<&'static str>,
}

impl Components {
    fn spawn(&mut self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push(part);
        self.tasks.spawn(work.map(move |()| part));
    }

    /// Waits until every part has ended.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(part) => self.running.retain(|running| *running != part),
                Err(error) => tracing::error!(%error, "a part of the control plane has failed"),
            }
        }
    }

    /// The parts that have not ended.
    pub fn running(&self) -> &[&'static str] {
        &self.running
    }
}

/// Starts everything that belongs to a control plane beside its API server.
pub fn start(
    server: &Arc<ApiServer>,
    authority: &Authority,
    config: &Config,
    shutdown: CancellationToken,
) -> Components {
    let mut running = Components::default();
    running.spawn("controllers", controllers(server.clone(), authority, config, shutdown.clone()));
    running.spawn("scheduler", scheduler(server.clone(), config, shutdown));
    running.spawn("DNS Service", dns_service(server.clone(), config.cluster_dns));
    running.spawn("cluster settings", settings(server.clone(), config.clone()));
    running
}

/// The scheduler, whenever this process holds its lease.
fn scheduler(
    server: Arc<ApiServer>,
    config: &Config,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let api = client(&server, User::new("system:kube-scheduler", []));
    let settings = SchedulerConfig::new(&config.node_name);
    async move {
        server.ready().await;
        gantry_scheduler::run(api, settings, shutdown).await;
    }
}

/// Publishes what nodes that join have to know.
async fn settings(server: Arc<ApiServer>, config: Config) {
    server.ready().await;
    if let Err(error) = cluster_settings::publish(administrator(&server), &config).await {
        tracing::error!(%error, "the cluster's settings are not published; no node can join");
    }
}

/// A client as the server itself.
fn administrator(server: &Arc<ApiServer>) -> Client {
    client(server, User::new("system:apiserver", ["system:masters"]))
}

/// Makes the Service that pods find the cluster's DNS by. Each node answers on its address by itself,
/// so the label takes it away from the service proxy.
async fn dns_service(server: Arc<ApiServer>, address: IpAddr) {
    server.ready().await;
    let port =
        |name, port, protocol| json!({"name": name, "port": port, "targetPort": port, "protocol": protocol});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {
            "k8s-app": "kube-dns",
            "kubernetes.io/cluster-service": "true",
            "kubernetes.io/name": "CoreDNS",
            "service.kubernetes.io/service-proxy-name": "gantry-dns",
        }},
        "spec": {
            "clusterIP": address,
            "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP")],
        },
    });
    let api: Api<Service> = Api::namespaced(administrator(&server), "kube-system");
    let parameters = PatchParams::apply("gantry").force();
    if let Err(error) = api.patch("kube-dns", &parameters, &Patch::Apply(service)).await {
        tracing::error!(%error, "Service kube-system/kube-dns not made; pods cannot resolve names");
    }
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
    let signer = server.clone();
    let sign = gantry_controllers::SignToken::new(move |namespace, account, uid, secret| {
        signer.legacy_token(namespace, account, uid, secret).map_err(Into::into)
    });
    let settings = gantry_controllers::Config {
        sign_token: Some(sign),
        certificate_lifetime: config.certificate_lifetime,
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
