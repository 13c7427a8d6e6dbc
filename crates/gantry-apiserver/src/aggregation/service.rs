//! APIServices as they are stored, and which group and version each stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::group_priority::Priority;
use gantry_json::Value;

use crate::authz::feed::Index;

/// Where APIServices are stored.
pub(super) const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";

/// An APIService.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiService {
    /// `VERSION.GROUP`.
    pub name: String,
    pub group: String,
    pub version: String,
    pub priority: Priority,
    /// Who answers for it; `None`: this server.
    pub remote: Option<Remote>,
    /// Whether its condition Available is true.
    pub available: bool,
    /// Its label that says who keeps it.
    pub managed: Option<String>,
}

/// A server that answers for a group and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remote {
    /// The namespace of its Service.
    pub namespace: String,
    /// The name of its Service.
    pub name: String,
    /// The port of its Service.
    pub port: u16,
    /// Who issued its certificate, in PEM; empty: somebody whom this machine trusts.
    pub ca: String,
    /// Whether its certificate does not matter.
    pub insecure: bool,
}

impl Remote {
    /// The name in its certificate.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl ApiService {
    /// The path of its discovery document.
    pub fn path(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    pub(super) fn read(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let service = &spec["service"];
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let remote = service.is_object().then(|| Remote {
            namespace: text(&service["namespace"]),
            name: text(&service["name"]),
            port: service["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(443),
            ca: STANDARD
                .decode(spec["caBundle"].as_str().unwrap_or_default())
                .map(|pem| String::from_utf8_lossy(&pem).into_owned())
                .unwrap_or_default(),
            insecure: spec["insecureSkipTLSVerify"] == true,
        });
        Self {
            name: text(&metadata["name"]),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            priority: Priority {
                group: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
                version: spec["versionPriority"].as_i64().unwrap_or_default(),
            },
            remote,
            available: conditions.any(|each| each["type"] == "Available" && each["status"] == "True"),
            managed: metadata["labels"][super::MANAGED].as_str().map(str::to_owned),
        }
    }
}

/// All APIServices by name.
#[derive(Default)]
pub(crate) struct ApiServices {
    pub(super) all: BTreeMap<String, Arc<ApiService>>,
    remotes: usize,
    /// Changes with every change.
    pub(super) generation: u64,
}

impl ApiServices {
    /// The APIService of a group and version that somebody else answers for.
    pub fn remote(&self, group: &str, version: &str) -> Option<&Arc<ApiService>> {
        if self.remotes == 0 {
            return None;
        }
        self.all.get(&format!("{version}.{group}")).filter(|service| service.remote.is_some())
    }

    /// All that somebody else answers for.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<ApiService>> {
        self.all.values().filter(|service| service.remote.is_some())
    }
}

impl Index for ApiServices {
    const PREFIXES: &'static [&'static str] = &[PREFIX];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let name = key.strip_prefix(PREFIX).unwrap_or(key);
        match value.and_then(|value| gantry_json::from_slice(value).ok()) {
            Some(object) => drop(self.all.insert(name.to_owned(), Arc::new(ApiService::read(&object)))),
            None => drop(self.all.remove(name)),
        }
        self.remotes = self.remotes().count();
        self.generation += 1;
    }
}
