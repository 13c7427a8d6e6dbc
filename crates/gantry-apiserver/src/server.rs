//! The server: what all requests share, and the pipeline that each one passes.

pub(crate) mod certificate;
pub(crate) mod client;
mod deadline;
mod debug;
mod endpoints;
pub(crate) mod event;
mod flow_upkeep;
mod health;
mod identity;
mod in_flight;
mod kept;
mod leftover;
pub(crate) mod listener;
mod openapi;
mod pipeline;
mod service_range;
pub(crate) mod settling;
mod start;
mod tokens;

use std::sync::Arc;

use arc_swap::ArcSwap;
use gantry_api::registry::Registry;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::admission::resource_quota::Turns;
use crate::admission::{self, Admission};
use crate::aggregation::{self, Aggregation};
use crate::audit::Audit;
use crate::authn::{Authenticators, ServiceAccounts};
use crate::authz::Authorizer;
use crate::custom_resources::CustomResources;
use crate::documents::Documents;
use crate::fairness::Fairness;
use crate::metrics::Metrics;
use crate::rest::Encoded;
use crate::services::Services;
use crate::token::SigningKey;
use crate::trace::Tracer;
use crate::webhook::Webhooks;
use crate::{Config, Error, Identity, User, fairness, proxy, services, storage};
use certificate::Shown;
use in_flight::InFlight;

pub use client::ClientService;
pub(crate) use client::Unmanaged;
pub use listener::PeerCertificates;

/// The API server. Make one with [`ApiServer::new`], then [`ApiServer::serve`] it, or hand
/// requests to [`ApiServer::handle`].
pub struct ApiServer {
    pub(crate) config: Config,
    pub(crate) store: Store,
    /// The built-in kinds that are served.
    pub(crate) builtin: Arc<Registry>,
    /// The kinds that are served.
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) custom: CustomResources,
    pub(crate) authenticators: Authenticators,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) admission: Admission,
    pub(crate) aggregation: Aggregation,
    /// Who writes next where there are quotas.
    pub(crate) turns: Turns,
    pub(crate) services: Services,
    pub(crate) metrics: Arc<Metrics>,
    in_flight: InFlight,
    fairness: Option<Fairness>,
    audit: Option<Arc<Audit>>,
    tracer: Option<Tracer>,
    pub(crate) documents: ArcSwap<Documents>,
    pub(crate) encoded: Arc<Encoded>,
    /// What clients are shown, and what kubelets are.
    serving: Arc<Shown>,
    kubelet_client: Option<Arc<Shown>>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) kubelets: Option<TlsConnector>,
    /// Cancelled when the server stops: ends watches.
    pub(crate) stopping: CancellationToken,
    ready: watch::Sender<bool>,
}

impl ApiServer {
    /// A server over the store in `config`, whose default objects it writes first.
    pub fn new(config: Config) -> Result<Self, Error> {
        let signing_key = SigningKey::from_pem(&config.service_account_key)
            .map_err(|cause| Error::config("service account key", cause))?;
        let accounts = ServiceAccounts::configured(signing_key, &config.issuer, &config.authentication)?;
        let serving = Shown::new(&config.serving)?;
        let kubelet_client = config.kubelet_client.as_ref().map(Shown::new).transpose()?;
        let proxy_client = config.proxy_client.as_ref().map(Shown::new).transpose()?;
        let metrics = Arc::new(Metrics::new(&config.version));
        metrics.features(&config.feature_gates);
        let webhooks = Arc::new(Webhooks::new(&config.store));
        let mut authenticators = Authenticators::configured(
            Arc::new(accounts),
            &config.authentication,
            &config.anonymous,
            metrics.access.clone(),
        )?;
        if let Some(front) = config.request_header.clone() {
            authenticators = authenticators.with_front_proxy(front, &config.client_ca)?;
        }
        let authorizer =
            Authorizer::configured(&config.store, &config.authorization, metrics.access.clone())?;
        let authorizer = Arc::new(authorizer);
        let builtin = Arc::new(Registry::serving(&config.runtime_config, &config.feature_gates));
        let custom = CustomResources::new(&config.store, webhooks.clone());
        let configuration = config.admission.resolve()?;
        let caller = admission::webhooks::Caller {
            webhooks,
            authorizer: authorizer.clone(),
            metrics: metrics.clone(),
            credentials: configuration.webhooks.clone(),
        };
        let admission = Admission::new(
            &configuration,
            authorizer.clone(),
            &config.store,
            Arc::new(caller),
            &config.feature_gates,
        );
        let registry = Arc::new(custom.registry(&builtin));
        let audit = config.audit.as_ref().map(|settings| Audit::new(settings, metrics.clone()));
        let audit = audit.transpose()?.map(Arc::new);
        let tracer = config.tracing.as_ref().map(|tracing| Tracer::new(tracing, &instance()));
        let tracer = tracer.transpose()?;
        Ok(Self {
            audit,
            tracer,
            store: config.store.clone(),
            builtin: builtin.clone(),
            registry: ArcSwap::new(registry.clone()),
            custom,
            authenticators,
            admission,
            aggregation: Aggregation::new(&config.store, proxy_client)?,
            turns: Turns::default(),
            authorizer,
            services: Services::new(&config, &builtin),
            metrics,
            in_flight: InFlight::new(&config.limits),
            fairness: config.limits.fairness.then(|| Fairness::new(&config.store, &config.limits)),
            documents: ArcSwap::from_pointee(Documents::new(registry, builtin, &config.version)),
            encoded: Arc::default(),
            acceptor: listener::acceptor(&config, serving.clone())?,
            kubelets: proxy::connector(&config, kubelet_client.clone())?,
            serving,
            kubelet_client,
            stopping: CancellationToken::new(),
            ready: watch::Sender::new(false),
            config,
        })
    }

    /// Shows clients that connect from now on this certificate.
    pub fn replace_serving(&self, next: &Identity) -> Result<(), Error> {
        self.serving.replace(next)
    }

    /// Shows kubelets this certificate from now on, where the server had one for them.
    pub fn replace_kubelet_client(&self, next: &Identity) -> Result<(), Error> {
        self.kubelet_client.as_ref().map_or(Ok(()), |shown| shown.replace(next))
    }

    /// Shows the servers of aggregated APIs this certificate from now on, where the server had one for them.
    pub fn replace_proxy_client(&self, next: &Identity) -> Result<(), Error> {
        self.aggregation.replace_identity(next)
    }

    /// Accepts connections on `listener` until `shutdown`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let indexes = {
            let authorizer = self.authorizer.clone();
            tokio::spawn(async move {
                tokio::join!(authorizer.follow(), authorizer.follow_configuration());
            })
        };
        let registration = tokio::spawn(aggregation::registration::run(self.clone()));
        let availability = tokio::spawn(aggregation::follow::run(self.clone()));
        let kept = tokio::spawn(kept::run(self.clone()));
        let service_range = tokio::spawn(service_range::run(self.clone()));
        let repair = tokio::spawn(services::repair::run(self.clone()));
        let identity = tokio::spawn(identity::run(self.clone()));
        let flows = tokio::spawn(flow_upkeep::run(self.clone()));
        let dangling = {
            let server = self.clone();
            tokio::spawn(async move {
                if server.fairness.is_some() {
                    fairness::dangling::follow(&server).await;
                }
            })
        };
        let policies = {
            let server = self.clone();
            tokio::spawn(async move { admission::policies::status::follow(&server).await })
        };
        let kinds = {
            let server = self.clone();
            tokio::spawn(async move { server.follow_definitions().await })
        };
        let stopping = self.stopping.clone();
        let stop = async {
            shutdown.cancelled().await;
            stopping.cancel();
        };
        let bootstrap = self.bootstrap();
        let served = listener::serve(self.clone(), listener, shutdown.clone());
        // What the last requests leave behind is sent after they have ended.
        let served_all = CancellationToken::new();
        let _ended = served_all.clone().drop_guard();
        // A task of its own: whoever tells it something does not wake all of this one.
        let audit = self.audit.clone().map(|audit| {
            let served_all = served_all.clone();
            tokio::spawn(async move { audit.deliver(served_all).await })
        });
        let audit = futures::future::OptionFuture::from(audit);
        let traces = async {
            if let Some(tracer) = &self.tracer {
                tracer.run(&served_all).await;
            }
        };
        let served = async {
            served.await;
            served_all.cancel();
        };
        let configured = self.authenticators.follow_configuration();
        let served = async { tokio::join!(served, stop, bootstrap, audit, traces) };
        tokio::pin!(configured, served);
        tokio::select! {
            _ = served => {}
            () = configured => {}
        }
        let tasks = [
            indexes,
            registration,
            availability,
            kept,
            service_range,
            repair,
            identity,
            flows,
            dangling,
            policies,
            kinds,
        ];
        tasks.iter().for_each(|task| task.abort());
    }

    /// A transport for clients in this process, whose requests are made by `user`.
    pub fn client_service(self: &Arc<Self>, user: User) -> ClientService {
        ClientService::new(self.clone(), user)
    }

    /// A stored object, for the server's own use.
    pub(crate) fn read_object(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ApiError> {
        let key = storage::key(&storage::prefix(group, plural), namespace, name);
        let snapshot = self.store.snapshot();
        let entry = snapshot.get(&key).ok_or_else(|| ApiError::not_found(group, plural, name))?;
        gantry_json::from_slice(&entry.value).map_err(ApiError::internal)
    }

    /// Returns when the objects that every cluster starts with are there: from then on requests are
    /// judged by the default roles.
    pub async fn ready(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Whether the objects that every cluster starts with are there.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Discovery and OpenAPI, with what other servers say now.
    pub(crate) fn documents(&self) -> Arc<Documents> {
        let documents = self.documents.load_full();
        match documents.renewed(self.aggregation.described()) {
            None => documents,
            Some(renewed) => {
                let renewed = Arc::new(renewed);
                // Whoever was quicker has others' kinds, or does the same.
                self.documents.compare_and_swap(&documents, renewed.clone());
                renewed
            }
        }
    }
}

/// What this server is called among those of the cluster: by its host, so that it is the same after a start.
fn instance() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let host = nix::unistd::gethostname().unwrap_or_default();
    let hash = ring::digest::digest(&ring::digest::SHA256, host.as_encoded_bytes());
    let mut name = "apiserver-".to_owned();
    let (mut bits, mut count) = (0u32, 0);
    for byte in &hash.as_ref()[..16] {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            name.push(char::from(LETTERS[(bits >> count & 31) as usize]));
        }
        bits &= (1 << count) - 1;
    }
    // The last bits are filled up with zeros.
    name.push(char::from(LETTERS[(bits << (5 - count) & 31) as usize]));
    name
}
