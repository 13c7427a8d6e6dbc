//! The control plane of one server: store, API server, and how they are secured.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_apiserver::authn::{Anonymous, RequestHeader};
use gantry_apiserver::trace::Configuration;
use gantry_apiserver::{ApiServer, Identity, Version, storage};
use gantry_store::{Options, Pace, Store};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::audit;
use crate::components;
use crate::config::Config;
use crate::kubeconfig;
use crate::pki::{Authority, Leaf, Pair};
use crate::rotation::Rotation;

/// The certificate that servers of aggregated APIs know this server by.
const PROXY_CLIENT: &str = "front-proxy-client";

/// Longest that the end of a control plane takes; the server drains its connections for 5 s of it.
const FAREWELL: Duration = Duration::from_secs(15);

/// A control plane that listens.
pub struct ControlPlane {
    /// The server, for clients in this process.
    pub server: Arc<ApiServer>,
    /// The cluster's authority.
    pub authority: Authority,
    /// What renews its certificates.
    pub rotation: Rotation,
    listener: TcpListener,
}

impl ControlPlane {
    /// Opens the store, makes the certificates that are missing, binds the port and writes the
    /// administrator's kubeconfig. By `pace` the runtime's threads tell the store what they do.
    pub async fn open(config: &Config, pace: Arc<Pace>) -> Result<Self> {
        let authority = Authority::open(&config.pki_dir(), config.certificate_lifetime)?;
        let of_serving = Leaf {
            file: "apiserver",
            common_name: "kube-apiserver".into(),
            organizations: &[],
            names: serving_names(config)?,
        };
        let client = |file, common_name: &str| Leaf {
            file,
            common_name: common_name.into(),
            organizations: &["system:masters"],
            names: Vec::new(),
        };
        let of_kubelet_client = client("apiserver-kubelet-client", "kube-apiserver-kubelet-client");
        let of_admin = client("admin", "kubernetes-admin");
        let (serving, kubelet_client) = (authority.leaf(&of_serving)?, authority.leaf(&of_kubelet_client)?);
        let front_proxy = Authority::front_proxy(&config.pki_dir(), config.certificate_lifetime)?;
        let of_proxy_client = Leaf { organizations: &[], ..client(PROXY_CLIENT, PROXY_CLIENT) };
        let proxy_client = front_proxy.leaf(&of_proxy_client)?;
        let path = config.data_dir.join("store");
        let store = Store::open(&path, Options { pace: Some(pace), ..storage::options() })
            .with_context(|| format!("opening the store in {}", path.display()))?;
        let access = &config.access;
        let own_issuer = || format!("https://kubernetes.default.svc.{}", config.cluster_domain);
        let server = ApiServer::new(gantry_apiserver::Config {
            advertise: SocketAddr::new(config.advertise_address, config.https_port),
            store,
            serving: identity(serving),
            client_ca: authority.certificate.clone(),
            cluster_ca: authority.certificate.clone(),
            service_account_key: match &access.signing_key_file {
                Some(file) => std::fs::read_to_string(file)
                    .with_context(|| format!("service-account-signing-key-file {}", file.display()))?,
                None => authority.service_account_key()?,
            },
            issuer: access.issuer.clone().unwrap_or_else(own_issuer),
            service_cidr: config.service_cidr,
            node_ports: 30000..=32767,
            kubelet_client: Some(identity(kubelet_client)),
            kubelet_ca: authority.certificate.clone(),
            request_header: Some(request_header(config, &front_proxy)?),
            proxy_client: Some(identity(proxy_client)),
            authentication: access.authentication.clone(),
            authorization: access.authorization.clone(),
            admission: access.admission.clone(),
            anonymous: match &config.anonymous_paths {
                Some(paths) => Anonymous::Paths(paths.clone()),
                None => Anonymous::default(),
            },
            audit: audit::settings(config)?,
            tracing: config.tracing_config_file.as_deref().map(Configuration::read).transpose()?,
            limits: gantry_apiserver::Limits::default(),
            runtime_config: config.runtime_config.clone(),
            feature_gates: config.feature_gates.clone(),
            verbosity: Some(Arc::new(crate::logging::set_verbosity)),
            version: Version {
                git_version: super::commands::version::KUBERNETES.into(),
                ..Version::default()
            },
        })?;
        let address = SocketAddr::new(config.bind_address, config.https_port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}; choose another --https-port"))?;
        let server = Arc::new(server);
        let mut rotation = Rotation::new(authority.clone());
        let (url, path, ca) = (config.local_url(), config.kubeconfig(), authority.certificate.clone());
        rotation
            .keep(of_admin, move |admin| kubeconfig::write(&path, &kubeconfig::document(&url, &ca, admin)))?;
        let shown = server.clone();
        rotation.keep(of_serving, move |pair| Ok(shown.replace_serving(&identity(pair.clone()))?))?;
        let shown = server.clone();
        rotation.keep(of_kubelet_client, move |pair| {
            Ok(shown.replace_kubelet_client(&identity(pair.clone()))?)
        })?;
        let shown = server.clone();
        rotation.keep_from(front_proxy, of_proxy_client, move |pair| {
            Ok(shown.replace_proxy_client(&identity(pair.clone()))?)
        })?;
        Ok(Self { server, authority, rotation, listener })
    }

    /// Serves in the background until `shutdown`, with the controllers and the scheduler.
    pub fn start(self, config: &Config, shutdown: CancellationToken) -> JoinHandle<()> {
        let mut components = components::start(&self.server, &self.authority, config, shutdown.clone());
        let mut rotation = self.rotation;
        let renewal = AbortOnDropHandle::new(tokio::spawn(async move { rotation.run().await }));
        tokio::spawn(async move {
            let _renewal = renewal;
            let ended = async {
                self.server.serve(self.listener, shutdown.clone()).await;
                components.ended().await;
            };
            let late = async {
                shutdown.cancelled().await;
                tokio::time::sleep(FAREWELL).await;
            };
            let in_time = tokio::select! {
                () = ended => true,
                () = late => false,
            };
            if !in_time {
                // What was acknowledged is on disk: nobody need wait for the rest.
                tracing::warn!(parts = ?components.running(), "the control plane has not ended in time");
            }
        })
    }
}

fn identity(pair: Pair) -> Identity {
    Identity { certificate: pair.certificate, key: pair.key }
}

/// Who may say who asks: this server, towards the servers of aggregated APIs, and the front proxies of
/// the configuration, towards this server.
fn request_header(config: &Config, own: &Authority) -> Result<RequestHeader> {
    let given = &config.request_header;
    let mut header = RequestHeader::new(own.certificate.clone(), vec![PROXY_CLIENT.to_owned()]);
    if let Some(path) = &given.client_ca_file {
        let ca = std::fs::read_to_string(path)
            .with_context(|| format!("requestheader-client-ca-file {}", path.display()))?;
        header.ca = format!("{}\n{ca}", header.ca.trim_end());
        match &given.allowed_names {
            Some(names) if !names.is_empty() => header.allowed_names.extend(names.iter().cloned()),
            _ => header.allowed_names.clear(),
        }
    }
    for (names, given) in [
        (&mut header.username_headers, &given.username_headers),
        (&mut header.uid_headers, &given.uid_headers),
        (&mut header.group_headers, &given.group_headers),
        (&mut header.extra_prefixes, &given.extra_headers_prefix),
    ] {
        if let Some(given) = given {
            // What this server says of itself is understood in any case.
            names.extend(given.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
        }
    }
    Ok(header)
}

/// Every name and address that clients reach the API server by.
fn serving_names(config: &Config) -> Result<Vec<String>> {
    let first = config.service_cidr.hosts().next().context("service-cidr is empty")?;
    let mut names: Vec<String> =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned).into();
    names.push(format!("kubernetes.default.svc.{}", config.cluster_domain));
    names.push(config.node_name.clone());
    let addresses = [IpAddr::from([127, 0, 0, 1]), config.advertise_address, config.node_ip, first];
    names.extend(addresses.iter().map(IpAddr::to_string));
    names.extend(config.tls_san.iter().cloned());
    names.sort();
    names.dedup();
    Ok(names)
}
