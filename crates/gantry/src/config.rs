//! The settings of a gantry process, from flags, `GANTRY_*` environment and one YAML file, in
//! that order of precedence. Every setting has the same name in all three.

mod access;
mod audit;
mod node;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use gantry_api::features::FeatureGates;
use gantry_api::runtime_config::RuntimeConfig;
use ipnet::IpNet;
use jiff::SignedDuration;
use serde::Deserialize;

pub use access::{Access, AccessSettings};
pub use audit::{Audit, AuditSettings};
pub use node::{NodeLimits, NodeSettings};

/// Settings as given; what is absent comes from the file, then from [`Config`]'s defaults.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// Directory of the cluster's state.
    #[arg(long, env = "GANTRY_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Directory of the configuration and the kubeconfig.
    #[arg(long, env = "GANTRY_CONFIG_DIR", global = true)]
    pub config_dir: Option<PathBuf>,
    /// Directory of sockets, namespaces and what else dies with the machine.
    #[arg(long, env = "GANTRY_RUN_DIR", global = true)]
    pub run_dir: Option<PathBuf>,
    /// Directory of the pods' logs.
    #[arg(long, env = "GANTRY_POD_LOGS_DIR", global = true)]
    pub pod_logs_dir: Option<PathBuf>,
    /// Parent of all pods' cgroups.
    #[arg(long, env = "GANTRY_CGROUP_ROOT", global = true)]
    pub cgroup_root: Option<String>,
    /// Address that the API server listens on.
    #[arg(long, env = "GANTRY_BIND_ADDRESS", global = true)]
    pub bind_address: Option<IpAddr>,
    /// Port that the API server listens on.
    #[arg(long, env = "GANTRY_HTTPS_PORT", global = true)]
    pub https_port: Option<u16>,
    /// Address under which other machines and pods reach the API server.
    #[arg(long, env = "GANTRY_ADVERTISE_ADDRESS", global = true)]
    pub advertise_address: Option<IpAddr>,
    /// More names and addresses for the API server's certificate.
    #[arg(long, env = "GANTRY_TLS_SAN", value_delimiter = ',', global = true)]
    pub tls_san: Vec<String>,
    /// Name of this node; the host's name where absent.
    #[arg(long, env = "GANTRY_NODE_NAME", global = true)]
    pub node_name: Option<String>,
    /// Address of this node.
    #[arg(long, env = "GANTRY_NODE_IP", global = true)]
    pub node_ip: Option<IpAddr>,
    /// Port of the node's own API.
    #[arg(long, env = "GANTRY_KUBELET_PORT", global = true)]
    pub kubelet_port: Option<u16>,
    /// What of the machine is kept from pods and images.
    #[command(flatten)]
    #[serde(flatten)]
    pub node: NodeSettings,
    /// Addresses of pods, of which each node gets a part.
    #[arg(long, env = "GANTRY_CLUSTER_CIDR", global = true)]
    pub cluster_cidr: Option<IpNet>,
    /// Addresses of Services.
    #[arg(long, env = "GANTRY_SERVICE_CIDR", global = true)]
    pub service_cidr: Option<IpNet>,
    /// Address of the cluster's DNS.
    #[arg(long, env = "GANTRY_CLUSTER_DNS", global = true)]
    pub cluster_dns: Option<IpAddr>,
    /// Domain of the cluster's DNS.
    #[arg(long, env = "GANTRY_CLUSTER_DOMAIN", global = true)]
    pub cluster_domain: Option<String>,
    /// How long certificates of the control plane and of nodes are good, such as 90d; they are renewed in
    /// time.
    #[arg(long, env = "GANTRY_CERTIFICATE_LIFETIME", global = true)]
    pub certificate_lifetime: Option<String>,
    /// Paths that need no credentials, with a star at the end for everything below.
    #[arg(long, env = "GANTRY_ANONYMOUS_PATHS", value_delimiter = ',', global = true)]
    pub anonymous_paths: Option<Vec<String>>,
    /// File of the authority of front proxies, which say in headers who asks.
    #[arg(long, env = "GANTRY_REQUESTHEADER_CLIENT_CA_FILE", global = true)]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names that certificates of front proxies may have; any where absent.
    #[arg(long, env = "GANTRY_REQUESTHEADER_ALLOWED_NAMES", value_delimiter = ',', global = true)]
    pub requestheader_allowed_names: Option<Vec<String>>,
    /// More headers of front proxies for the user's name, beside X-Remote-User.
    #[arg(long, env = "GANTRY_REQUESTHEADER_USERNAME_HEADERS", value_delimiter = ',', global = true)]
    pub requestheader_username_headers: Option<Vec<String>>,
    /// More headers of front proxies for the user's identifier, beside X-Remote-Uid.
    #[arg(long, env = "GANTRY_REQUESTHEADER_UID_HEADERS", value_delimiter = ',', global = true)]
    pub requestheader_uid_headers: Option<Vec<String>>,
    /// More headers of front proxies for the user's groups, beside X-Remote-Group.
    #[arg(long, env = "GANTRY_REQUESTHEADER_GROUP_HEADERS", value_delimiter = ',', global = true)]
    pub requestheader_group_headers: Option<Vec<String>>,
    /// More prefixes of headers of front proxies for further facts, beside X-Remote-Extra-.
    #[arg(long, env = "GANTRY_REQUESTHEADER_EXTRA_HEADERS_PREFIX", value_delimiter = ',', global = true)]
    pub requestheader_extra_headers_prefix: Option<Vec<String>>,
    /// What is audited, and where it goes.
    #[command(flatten)]
    #[serde(flatten)]
    pub audit: AuditSettings,
    /// Versions and resources of the API to turn on or off, such as api/beta=true or batch/v1/jobs=false.
    #[arg(long, env = "GANTRY_RUNTIME_CONFIG", value_delimiter = ',', global = true)]
    pub runtime_config: Option<Vec<String>>,
    /// Features to turn on or off, such as MutatingAdmissionPolicy=true.
    #[arg(long, env = "GANTRY_FEATURE_GATES", value_delimiter = ',', global = true)]
    pub feature_gates: Option<Vec<String>>,
    /// File with a TracingConfiguration: where traces of requests are sent, and how many.
    #[arg(long, env = "GANTRY_TRACING_CONFIG_FILE", global = true)]
    pub tracing_config_file: Option<PathBuf>,
    /// Who is believed, and who decides.
    #[command(flatten)]
    #[serde(flatten)]
    pub access: AccessSettings,
    /// Log level or filter: error, warn, info, debug, trace, or `crate=level,...`.
    #[arg(long, env = "GANTRY_LOG_LEVEL", global = true)]
    pub log_level: Option<String>,
    /// Log format: text or json.
    #[arg(long, env = "GANTRY_LOG_FORMAT", global = true)]
    pub log_format: Option<String>,
}

const KEYS: &[&str] = &[
    "data-dir",
    "config-dir",
    "run-dir",
    "pod-logs-dir",
    "cgroup-root",
    "bind-address",
    "https-port",
    "advertise-address",
    "tls-san",
    "node-name",
    "node-ip",
    "kubelet-port",
    "cluster-cidr",
    "service-cidr",
    "cluster-dns",
    "cluster-domain",
    "certificate-lifetime",
    "anonymous-paths",
    "requestheader-client-ca-file",
    "requestheader-allowed-names",
    "requestheader-username-headers",
    "requestheader-uid-headers",
    "requestheader-group-headers",
    "requestheader-extra-headers-prefix",
    "runtime-config",
    "feature-gates",
    "tracing-config-file",
    "log-level",
    "log-format",
];

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// State.
    pub data_dir: PathBuf,
    /// Configuration and kubeconfig.
    pub config_dir: PathBuf,
    /// Sockets, namespaces and what else dies with the machine.
    pub run_dir: PathBuf,
    /// Pods' logs.
    pub pod_logs_dir: PathBuf,
    /// Parent of pods' cgroups, with a leading slash.
    pub cgroup_root: String,
    /// API server's listening address.
    pub bind_address: IpAddr,
    /// API server's port.
    pub https_port: u16,
    /// Address of this machine for others.
    pub advertise_address: IpAddr,
    /// More names for the serving certificate.
    pub tls_san: Vec<String>,
    /// This node's name, lower case.
    pub node_name: String,
    /// This node's address.
    pub node_ip: IpAddr,
    /// The kubelet's port.
    pub kubelet_port: u16,
    /// What of the machine is kept from pods and images.
    pub node_limits: NodeLimits,
    /// Pods' addresses.
    pub cluster_cidr: IpNet,
    /// Services' addresses.
    pub service_cidr: IpNet,
    /// DNS address.
    pub cluster_dns: IpAddr,
    /// DNS domain.
    pub cluster_domain: String,
    /// How long certificates are good.
    pub certificate_lifetime: SignedDuration,
    /// Paths that need no credentials; the server's usual ones where `None`.
    pub anonymous_paths: Option<Vec<String>>,
    /// Front proxies.
    pub request_header: FrontProxies,
    /// Who is believed, and who decides.
    pub access: Access,
    /// What is audited.
    pub audit: Audit,
    /// Which built-in versions and resources are served.
    pub runtime_config: RuntimeConfig,
    /// Which features are on.
    pub feature_gates: FeatureGates,
    /// Where traces of requests are sent; nowhere without it.
    pub tracing_config_file: Option<PathBuf>,
    /// Log filter.
    pub log_level: String,
    /// Whether logs are JSON.
    pub log_json: bool,
}

/// Front proxies that say in headers who asks, and in which.
#[derive(Debug, Clone, Default)]
pub struct FrontProxies {
    /// Their authority; nobody but this server itself is one without it.
    pub client_ca_file: Option<PathBuf>,
    /// Common names.
    pub allowed_names: Option<Vec<String>>,
    /// More headers for the user's name.
    pub username_headers: Option<Vec<String>>,
    /// More headers for the user's identifier.
    pub uid_headers: Option<Vec<String>>,
    /// More headers for the user's groups.
    pub group_headers: Option<Vec<String>>,
    /// More prefixes of headers for further facts.
    pub extra_headers_prefix: Option<Vec<String>>,
}

impl Config {
    /// The settings in force for `given` flags and environment and the file at `file`, which
    /// must exist where it was named by hand.
    pub fn resolve(given: Settings, file: Option<&Path>) -> Result<Self> {
        let config_dir = given.config_dir.clone().unwrap_or_else(|| "/etc/gantry".into());
        let (path, required) = match file {
            Some(path) => (path.to_owned(), true),
            None => (config_dir.join("config.yaml"), false),
        };
        let stored = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).with_context(|| format!("configuration file {}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => Settings::default(),
            Err(error) => bail!("configuration file {}: {error}", path.display()),
        };
        macro_rules! pick {
            ($field:ident) => {
                given.$field.or(stored.$field)
            };
        }
        let node_ip = pick!(node_ip).map_or_else(default_address, Ok)?;
        let log_format = pick!(log_format).unwrap_or_else(|| "text".into());
        if !matches!(log_format.as_str(), "text" | "json") {
            bail!("log-format: {log_format:?} is neither text nor json");
        }
        let certificate_lifetime = pick!(certificate_lifetime).unwrap_or_else(|| "365d".into());
        let certificate_lifetime =
            lifetime(&certificate_lifetime).map_err(|error| anyhow!("certificate-lifetime: {error}"))?;
        let certificate_lifetime = SignedDuration::try_from(certificate_lifetime)?;
        if !certificate_lifetime.is_positive() {
            bail!("certificate-lifetime: certificates have to be good for some time");
        }
        let runtime_config = pick!(runtime_config).unwrap_or_default();
        let runtime_config = RuntimeConfig::parse(runtime_config.iter().map(String::as_str))
            .map_err(|error| anyhow!("runtime-config: {error}"))?;
        let feature_gates = pick!(feature_gates).unwrap_or_default();
        let feature_gates = FeatureGates::parse(feature_gates.iter().map(String::as_str))
            .map_err(|error| anyhow!("feature-gates: {error}"))?;
        let service_cidr = pick!(service_cidr).map_or_else(|| "10.43.0.0/16".parse(), Ok)?;
        Ok(Self {
            data_dir: pick!(data_dir).unwrap_or_else(|| "/var/lib/gantry".into()),
            config_dir: given.config_dir.or(stored.config_dir).unwrap_or(config_dir),
            run_dir: pick!(run_dir).unwrap_or_else(|| "/run/gantry".into()),
            pod_logs_dir: pick!(pod_logs_dir).unwrap_or_else(|| "/var/log/pods".into()),
            cgroup_root: format!(
                "/{}",
                pick!(cgroup_root).unwrap_or_else(|| "kubepods".into()).trim_matches('/')
            ),
            cluster_cidr: pick!(cluster_cidr).map_or_else(|| "10.42.0.0/16".parse(), Ok)?,
            bind_address: pick!(bind_address).map_or_else(|| "0.0.0.0".parse(), Ok)?,
            https_port: pick!(https_port).unwrap_or(6443),
            advertise_address: pick!(advertise_address).unwrap_or(node_ip),
            tls_san: if given.tls_san.is_empty() { stored.tls_san } else { given.tls_san },
            node_name: pick!(node_name).map_or_else(host_name, Ok)?.to_lowercase(),
            node_ip,
            kubelet_port: pick!(kubelet_port).unwrap_or(10250),
            node_limits: given.node.resolve(stored.node)?,
            cluster_dns: match pick!(cluster_dns) {
                Some(address) => address,
                None => service_cidr.hosts().nth(9).context("service-cidr has no room for cluster DNS")?,
            },
            service_cidr,
            cluster_domain: pick!(cluster_domain).unwrap_or_else(|| "cluster.local".into()),
            certificate_lifetime,
            anonymous_paths: pick!(anonymous_paths),
            request_header: FrontProxies {
                client_ca_file: pick!(requestheader_client_ca_file),
                allowed_names: pick!(requestheader_allowed_names),
                username_headers: pick!(requestheader_username_headers),
                uid_headers: pick!(requestheader_uid_headers),
                group_headers: pick!(requestheader_group_headers),
                extra_headers_prefix: pick!(requestheader_extra_headers_prefix),
            },
            access: given.access.resolve(stored.access)?,
            audit: given.audit.resolve(stored.audit)?,
            runtime_config,
            feature_gates,
            tracing_config_file: pick!(tracing_config_file),
            log_level: pick!(log_level).unwrap_or_else(|| "info".into()),
            log_json: log_format == "json",
        })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.config_dir.join("kubeconfig.yaml")
    }

    /// The directory of keys and certificates.
    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// The socket of the node's runtime.
    pub fn runtime_socket(&self) -> PathBuf {
        self.run_dir.join("runtime.sock")
    }

    /// The URL of the local API server.
    pub fn local_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.https_port)
    }
}

/// Reads the YAML form, refusing keys that are no settings.
fn parse(text: &str) -> Result<Settings> {
    let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
    if let serde_yaml_ng::Value::Mapping(mapping) = &value {
        for key in mapping.keys() {
            let key = key.as_str().context("a key is not a string")?;
            let mut known = KEYS.iter().chain(access::KEYS).chain(audit::KEYS).chain(node::KEYS);
            if !known.clone().any(|each| *each == key) {
                let nearest = known
                    .by_ref()
                    .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
                bail!("unknown key {key:?}; did you mean {:?}?", nearest.unwrap_or(&""));
            }
        }
    } else if !value.is_null() {
        bail!("expected a mapping of settings");
    } else {
        return Ok(Settings::default());
    }
    Ok(serde_yaml_ng::from_value(value)?)
}

pub fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number with a unit: s, m, h or d");
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "" if number == 0 => 0,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("reading the host's name")?;
    Ok(name.to_string_lossy().trim_end_matches('.').to_string())
}

/// The address that the default route leaves from; without one, the first address that is not
/// loopback, then loopback itself.
fn default_address() -> Result<IpAddr> {
    let routed = std::net::UdpSocket::bind("0.0.0.0:0").ok().and_then(|socket| {
        // Connecting a datagram socket sends nothing; it only asks the kernel for a route.
        socket.connect("192.0.2.1:9").ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    });
    let from_interfaces = || {
        nix::ifaddrs::getifaddrs().ok()?.find_map(|interface| {
            let address = IpAddr::V4(interface.address?.as_sockaddr_in()?.ip());
            (!address.is_loopback()).then_some(address)
        })
    };
    Ok(routed
        .filter(|address| !address.is_unspecified())
        .or_else(from_interfaces)
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = parse("data-dri: /x").expect_err("refused").to_string();
        assert_eq!(error, "unknown key \"data-dri\"; did you mean \"data-dir\"?");
        let error = parse("- a").expect_err("refused").to_string();
        assert_eq!(error, "expected a mapping of settings");
    }

    #[test]
    fn every_key_is_a_setting() {
        let mut settings = serde_yaml_ng::Mapping::new();
        for key in KEYS.iter().chain(access::KEYS).chain(audit::KEYS).chain(node::KEYS) {
            settings.insert((*key).into(), serde_yaml_ng::Value::Null);
        }
        settings.insert("tls-san".into(), serde_yaml_ng::Value::Sequence(vec![]));
        parse(&serde_yaml_ng::to_string(&settings).expect("yaml")).expect("all keys parse");
    }

    #[test]
    fn lifetimes_have_units() {
        assert_eq!(lifetime("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(lifetime("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(lifetime("0"), Ok(Duration::ZERO));
        assert!(lifetime("24").is_err() && lifetime("h").is_err() && lifetime("").is_err());
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("c.yaml");
        std::fs::write(&file, "https-port: 7443\nnode-name: FromFile\n").expect("write");
        let given = Settings { https_port: Some(8443), ..Settings::default() };
        let config = Config::resolve(given, Some(&file)).expect("resolves");
        assert_eq!((config.https_port, config.node_name.as_str()), (8443, "fromfile"));
        assert_eq!(config.cluster_dns.to_string(), "10.43.0.10");
        assert!(Config::resolve(Settings::default(), Some(Path::new("/nonexistent.yaml"))).is_err());
    }

    #[test]
    fn what_is_served_can_be_chosen() {
        let directory = tempfile::tempdir().expect("a directory");
        let resolve = |text: &str| {
            let file = directory.path().join("c.yaml");
            std::fs::write(&file, text).expect("write");
            Config::resolve(Settings::default(), Some(&file))
        };
        let text = "runtime-config: [api/beta=true, batch/v1/jobs=false]\nfeature-gates: [MutatingAdmissionPolicy=true]";
        let config = resolve(text).expect("resolves");
        assert!(config.runtime_config.serves("certificates.k8s.io", "v1beta1", "clustertrustbundles"));
        assert!(!config.runtime_config.serves("batch", "v1", "jobs"));
        assert!(config.feature_gates.enabled("MutatingAdmissionPolicy"));
        let bad = |text: &str| resolve(text).expect_err("refused").to_string();
        assert_eq!(bad("runtime-config: [v1=true]"), "runtime-config: runtime-config invalid key v1");
        let unknown = bad("feature-gates: [Sorcery=true]");
        assert_eq!(unknown, "feature-gates: unrecognized feature gate: Sorcery");
    }
}
