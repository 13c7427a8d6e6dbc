//! What a server is made from.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use gantry_api::features::FeatureGates;
use gantry_api::runtime_config::RuntimeConfig;
use gantry_store::Store;
use ipnet::IpNet;

use crate::authn::{self, Anonymous, RequestHeader};
use crate::{Limits, admission, audit, authz, trace};

/// A certificate chain and its private key, in PEM.
#[derive(Clone, Default)]
pub struct Identity {
    /// The certificate chain, leaf first.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    /// Without the key, which is nobody's to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What `/version` says.
#[derive(Debug, Clone)]
pub struct Version {
    /// Major version of the API, such as `1`.
    pub major: String,
    /// Minor version of the API, such as `35`.
    pub minor: String,
    /// The full version, such as `v1.35.0+gantry`.
    pub git_version: String,
    /// The commit that the binary was built from.
    pub git_commit: String,
    /// When the binary was built, RFC 3339.
    pub build_date: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            major: "1".into(),
            minor: "35".into(),
            git_version: "v1.35.0+gantry".into(),
            git_commit: String::new(),
            build_date: "1970-01-01T00:00:00Z".into(),
        }
    }
}

/// Told how much to log from now on, in the numbers of upstream's `-v`.
pub type Verbosity = Arc<dyn Fn(i32) + Send + Sync>;

/// How to run an API server.
#[derive(Clone)]
pub struct Config {
    /// The address that clients are told to use: the endpoint of the `kubernetes` Service.
    pub advertise: SocketAddr,
    /// Where objects live. Open it with the options of the module `storage`.
    pub store: Store,
    /// What the server shows to clients.
    pub serving: Identity,
    /// The CA that client certificates must come from, in PEM.
    pub client_ca: String,
    /// The CA of the cluster, in PEM: what clients and pods trust.
    pub cluster_ca: String,
    /// The private key that signs service account tokens, in PEM (PKCS#8, ECDSA P-256).
    pub service_account_key: String,
    /// The issuer of service account tokens.
    pub issuer: String,
    /// The range that Services' cluster addresses come from.
    pub service_cidr: IpNet,
    /// The range that node ports come from.
    pub node_ports: RangeInclusive<u16>,
    /// How the server identifies itself to kubelets; `None`: it proxies to none.
    pub kubelet_client: Option<Identity>,
    /// The CA of the kubelets' serving certificates, in PEM.
    pub kubelet_ca: String,
    /// The front proxies that say in headers who asks; `None`: nobody may.
    pub request_header: Option<RequestHeader>,
    /// How the server identifies itself to the servers of aggregated APIs; `None`: it does not.
    pub proxy_client: Option<Identity>,
    /// How requests are authenticated, beside client certificates and the server's own tokens.
    pub authentication: authn::Settings,
    /// How requests are authorized.
    pub authorization: authz::Settings,
    /// Which admission plugins are asked, and how they are configured.
    pub admission: admission::Settings,
    /// What needs no credentials.
    pub anonymous: Anonymous,
    /// What is audited; `None`: nothing.
    pub audit: Option<audit::Settings>,
    /// Where traces of requests are sent; `None`: nowhere.
    pub tracing: Option<trace::Configuration>,
    /// How much the server takes on.
    pub limits: Limits,
    /// Which built-in versions and resources are served.
    pub runtime_config: RuntimeConfig,
    /// Which features are on.
    pub feature_gates: FeatureGates,
    /// What `/debug/flags/v` tells; `None`: it is not there.
    pub verbosity: Option<Verbosity>,
    /// What the server calls itself.
    pub version: Version,
}
