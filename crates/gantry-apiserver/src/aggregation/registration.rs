//! The APIServices that the server keeps itself: of its own versions, and of those that
//! CustomResourceDefinitions add for as long as they do. An APIService without the label that says so is
//! somebody else's and left alone. The ConfigMap for the servers of aggregated APIs is kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::group_priority::{self, Priority};
use gantry_api::registry::Registry;
use gantry_json::{Value, json};
use gantry_store::Event;
use http::Method;

use super::MANAGED;
use super::service::{ApiService, PREFIX};
use crate::ApiServer;
use crate::authz::feed::Index;
use crate::bootstrap::{self, Api as _};
use crate::server::settling::{Settling, keep_settled};

const DEFINITIONS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// The label's value for what is put right at the server's start only.
const ON_START: &str = "onstart";
/// The label's value for what is always kept.
const ALWAYS: &str = "true";

/// The APIServices of the server's own versions.
pub fn builtin_api_services(builtin: &Registry) -> Vec<Value> {
    let kinds = builtin.iter();
    let versions: BTreeSet<(&str, &str)> = kinds.map(|kind| (&*kind.group, &*kind.version)).collect();
    let with_priority = versions.into_iter().filter_map(|(group, version)| {
        Some(api_service(group, version, group_priority::builtin(group, version)?, ON_START))
    });
    with_priority.collect()
}

fn api_service(group: &str, version: &str, priority: Priority, managed: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: managed}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": priority.group, "versionPriority": priority.version,
        },
    })
}

/// What an APIService of the server's own versions has to become; `None`: it stays.
pub fn reconcile_api_service(existing: &Value, default: &Value) -> Option<Value> {
    let managed = existing["metadata"]["labels"][MANAGED].as_str().unwrap_or_default();
    let same = existing["spec"] == default["spec"] && managed == ON_START;
    if managed.is_empty() || same {
        return None;
    }
    let mut next = existing.clone();
    next["spec"] = default["spec"].clone();
    next["metadata"]["labels"][MANAGED] = ON_START.into();
    Some(next)
}

/// The versions that established CustomResourceDefinitions have, by definition.
#[derive(Default)]
pub(super) struct Definitions(BTreeMap<String, Vec<(String, String)>>);

impl Definitions {
    /// All of them, each once.
    fn versions(&self) -> BTreeSet<(String, String)> {
        self.0.values().flatten().cloned().collect()
    }
}

impl Index for Definitions {
    const PREFIXES: &'static [&'static str] = &[DEFINITIONS];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        match value.and_then(|value| gantry_json::from_slice(value).ok()) {
            Some(definition) => drop(self.0.insert(key.to_owned(), versions(&definition))),
            None => drop(self.0.remove(key)),
        }
    }
}

/// What a definition adds to the API.
fn versions(definition: &Value) -> Vec<(String, String)> {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let conditions = items(&definition["status"]["conditions"]);
    if !conditions.iter().any(|each| each["type"] == "Established" && each["status"] == "True") {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let served =
        items(&definition["spec"]["versions"]).into_iter().filter(|version| version["served"] == true);
    served.map(|version| (text(&definition["spec"]["group"]), text(&version["name"]))).collect()
}

/// One write that is needed.
#[derive(Debug, PartialEq)]
enum Change {
    Create(Value),
    Update(String, Value),
    Delete(String),
}

/// What is to be written, so that APIServices are those of `versions`. At the server's `start` those
/// that an earlier server kept for versions of its own, which this one does not serve, are removed with the
/// others.
fn plan(
    versions: &BTreeSet<(String, String)>,
    current: &BTreeMap<String, Arc<ApiService>>,
    builtin: &Registry,
    start: bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let is_own = |group: &str, version: &str| {
        builtin.iter().any(|kind| kind.group == group && kind.version == version)
    };
    for (group, version) in versions {
        // A version of the server's own is no CustomResourceDefinition's.
        if is_own(group, version) {
            continue;
        }
        let wanted = api_service(group, version, group_priority::CUSTOM, ALWAYS);
        match current.get(&format!("{version}.{group}")) {
            None => changes.push(Change::Create(wanted)),
            Some(service) if service.managed.as_deref() == Some(ALWAYS) => {
                if service.remote.is_some() || service.priority != group_priority::CUSTOM {
                    changes.push(Change::Update(service.name.clone(), wanted));
                }
            }
            Some(_) => {}
        }
    }
    for service in current.values() {
        let wanted = versions.contains(&(service.group.clone(), service.version.clone()));
        let own = is_own(&service.group, &service.version);
        let gone = match service.managed.as_deref() {
            Some(ALWAYS) => !wanted,
            Some(ON_START) => start && !own,
            _ => false,
        };
        if gone {
            changes.push(Change::Delete(service.name.clone()));
        }
    }
    changes
}

/// Runs until the store closes; dropping it is safe.
pub(crate) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    let mut upkeep = Upkeep { server: &server, start: true, trust: false };
    keep_settled(&server.store, &[PREFIX, DEFINITIONS, bootstrap::AUTHENTICATION_KEY], &mut upkeep).await;
}

struct Upkeep<'a> {
    server: &'a ApiServer,
    /// Whether nothing was looked at yet.
    start: bool,
    /// Whether somebody has changed what tells other servers whom to trust.
    trust: bool,
}

impl Settling for Upkeep<'_> {
    fn note(&mut self, event: &Event) {
        self.trust |= &*event.entry.key == bootstrap::AUTHENTICATION_KEY;
    }

    async fn settle(&mut self) -> Option<Duration> {
        let server = self.server;
        if std::mem::take(&mut self.trust) {
            server.keep_authentication_config().await;
        }
        let versions = server.aggregation.definitions.read(Definitions::versions);
        let start = std::mem::take(&mut self.start);
        let changes =
            server.aggregation.with_services(|all| plan(&versions, &all.all, &server.builtin, start));
        for change in changes {
            write(server, change).await;
        }
        None
    }
}

async fn write(server: &ApiServer, change: Change) {
    let (method, path, body) = match change {
        Change::Create(object) => (Method::POST, PATH.to_owned(), Some(object)),
        Change::Delete(name) => (Method::DELETE, format!("{PATH}/{name}"), None),
        Change::Update(name, wanted) => {
            let Ok(mut object) = server.read_object("apiregistration.k8s.io", "apiservices", "", &name)
            else {
                return;
            };
            object["spec"] = wanted["spec"].clone();
            (Method::PUT, format!("{PATH}/{name}"), Some(object))
        }
    };
    let (code, answer) = server.call(method.clone(), &path, body.as_ref()).await;
    // Another server was quicker, or the next change comes with its event.
    if code >= 400 && !matches!(code, 404 | 409) {
        let message = &answer["message"];
        tracing::warn!(%method, path, code, %message, "an APIService is not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(objects: &[Value]) -> BTreeMap<String, Arc<ApiService>> {
        let services = objects.iter().map(ApiService::read);
        services.map(|service| (service.name.clone(), Arc::new(service))).collect()
    }

    #[test]
    fn what_is_kept_follows_the_definitions() {
        let versions = BTreeSet::from([("example.com".to_owned(), "v1".to_owned())]);
        let wanted = api_service("example.com", "v1", group_priority::CUSTOM, ALWAYS);
        let none = BTreeSet::new();
        assert_eq!(
            plan(&versions, &current(&[]), Registry::builtin(), false),
            [Change::Create(wanted.clone())]
        );
        let there = current(std::slice::from_ref(&wanted));
        assert_eq!(plan(&versions, &there, Registry::builtin(), false), []);
        assert_eq!(
            plan(&none, &there, Registry::builtin(), false),
            [Change::Delete("v1.example.com".into())]
        );

        let mut changed = wanted.clone();
        changed["spec"]["versionPriority"] = json!(7);
        let update = Change::Update("v1.example.com".into(), wanted.clone());
        assert_eq!(plan(&versions, &current(&[changed.clone()]), Registry::builtin(), false), [update]);
        changed["metadata"]["labels"] = json!({});
        assert_eq!(plan(&versions, &current(&[changed.clone()]), Registry::builtin(), true), []);
        assert_eq!(plan(&none, &current(&[changed]), Registry::builtin(), true), []);

        let old = api_service("old.k8s.io", "v1", group_priority::CUSTOM, ON_START);
        assert_eq!(plan(&none, &current(std::slice::from_ref(&old)), Registry::builtin(), false), []);
        assert_eq!(
            plan(&none, &current(&[old]), Registry::builtin(), true),
            [Change::Delete("v1.old.k8s.io".into())]
        );
        let own = builtin_api_services(Registry::builtin());
        assert_eq!(plan(&none, &current(&own), Registry::builtin(), true), []);
    }

    #[test]
    fn the_servers_own_are_put_right() {
        let default = &builtin_api_services(Registry::builtin())[0];
        assert_eq!(default["metadata"]["name"], "v1.");
        assert_eq!(reconcile_api_service(default, default), None);
        let mut other = default.clone();
        other["spec"]["versionPriority"] = json!(3);
        assert_eq!(reconcile_api_service(&other, default), Some(default.clone()));
        other["metadata"]["labels"] = json!({});
        assert_eq!(reconcile_api_service(&other, default), None);
    }
}
