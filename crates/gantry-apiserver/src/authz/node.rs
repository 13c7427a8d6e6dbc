//! The node authorizer: a node reads what its own pods refer to and writes what is its own.
//!
//! What the graph cannot decide because the object is only in the request's body (a Node being
//! created, a pod's status) is left to the NodeRestriction admission plugin.

mod references;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use gantry_api::selector::FieldSelector;
use gantry_api::unmanaged;
use gantry_json::Value;
use gantry_store::{Event, EventKind};
use memchr::memmem;

use super::feed::Index;
use super::{Decision, Rule};
use crate::{Attributes, User};
use references::{Object, References};

/// The name of the node that `user` is; `None`: the user is no node.
pub fn node_name(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix("system:node:").filter(|name| !name.is_empty())?;
    user.in_group("system:nodes").then_some(name)
}

/// Which node's pods refer to what.
#[derive(Default)]
pub struct NodeGraph {
    /// By node, then by pod (`namespace/name`).
    nodes: HashMap<Box<str>, HashMap<Box<str>, References>>,
    node_of_pod: HashMap<Box<str>, Box<str>>,
    /// By volume: the claim (`namespace/name`) it is bound to and the secrets it needs.
    volumes: HashMap<Box<str>, (String, HashSet<Object>)>,
    /// By volume attachment: its node.
    attachments: HashMap<Box<str>, String>,
}

/// What every node may do, from the default role `system:node`.
static NODE_RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| crate::bootstrap::cluster_role_rules("system:node"));

impl NodeGraph {
    /// Takes in a pod as it is now; `None`: it is gone.
    pub fn set_pod(&mut self, key: &str, pod: Option<&Value>) {
        if let Some(node) = self.node_of_pod.remove(key)
            && let Some(pods) = self.nodes.get_mut(&node)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        let Some(pod) = pod else { return };
        let Some(node) =
            pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|node| !node.is_empty())
        else {
            return;
        };
        self.nodes.entry(node.into()).or_default().insert(key.into(), References::of_pod(pod));
        self.node_of_pod.insert(key.into(), node.into());
    }

    /// The node that a pod (`namespace/name`) is on.
    pub fn node_of(&self, pod: &str) -> Option<&str> {
        self.node_of_pod.get(pod).map(|node| &**node)
    }

    fn refers(&self, node: &str, object: &Object) -> bool {
        let Some(pods) = self.nodes.get(node) else { return false };
        let claimed = |claim: &str| {
            let claim = Object::claim(claim);
            pods.values().any(|pod| pod.has(&claim))
        };
        pods.values().any(|pod| pod.has(object))
            || match object {
                Object::Volume(name) => {
                    self.volumes.get(name.as_str()).is_some_and(|(claim, _)| claimed(claim))
                }
                Object::Secret(_) => {
                    self.volumes.values().any(|(claim, secrets)| secrets.contains(object) && claimed(claim))
                }
                _ => false,
            }
    }

    /// Decides on a request of `node`.
    pub fn authorize(&self, node: &str, attributes: &Attributes) -> Decision {
        let refuse = |reason: &str| Decision::NoOpinion(reason.to_owned());
        if !attributes.is_resource {
            return by_rules(attributes);
        }
        let verb = attributes.verb.as_str();
        let name = &*object_name(attributes);
        let place = format!("{}/{name}", attributes.namespace);
        let group = attributes.group.as_str();
        match (group, attributes.resource.as_str(), attributes.subresource.as_str()) {
            ("", "secrets", "") => self.read(node, verb, name, true, Object::Secret(place)),
            ("", "configmaps", "") => self.read(node, verb, name, true, Object::ConfigMap(place)),
            ("", "persistentvolumeclaims", "") => self.read(node, verb, name, false, Object::Claim(place)),
            ("", "persistentvolumeclaims", "status") => match verb {
                "get" | "update" | "patch" => self.related(node, name, &Object::Claim(place)),
                _ => refuse("can only get/update/patch this type"),
            },
            ("", "persistentvolumes", "") => {
                self.read(node, verb, name, false, Object::Volume(name.to_owned()))
            }
            ("storage.k8s.io", "volumeattachments", "") => match (verb, self.attachments.get(name)) {
                ("get", Some(attached)) if attached == node => Decision::Allow(String::new()),
                ("get", _) => refuse(&unrelated(node)),
                _ => refuse("can only get individual resources of this type"),
            },
            ("", "serviceaccounts", "token") => match verb {
                "create" => self.related(node, name, &Object::ServiceAccount(place)),
                _ => refuse("can only create tokens for individual service accounts"),
            },
            ("coordination.k8s.io", "leases", "") => {
                if attributes.namespace != "kube-node-lease" {
                    return refuse("can only access leases in the \"kube-node-lease\" system namespace");
                }
                own(node, verb, name, "can only access node lease with the same name as the requesting node")
            }
            ("storage.k8s.io", "csinodes", "") => {
                own(node, verb, name, "can only access CSINode with the same name as the requesting node")
            }
            ("", "nodes", "") => match verb {
                "create" => by_rules(attributes),
                _ if name == node => by_rules(attributes),
                "get" | "list" | "watch" => {
                    refuse(&format!("node '{node}' cannot read '{name}', only its own Node object"))
                }
                _ => by_rules(attributes),
            },
            ("", "pods", "") => match verb {
                "get" if self.node_of(&place) == Some(node) => Decision::Allow(String::new()),
                "get" => refuse(&unrelated(node)),
                "list" | "watch" if selects_node(&attributes.field_selector, node) => {
                    Decision::Allow(String::new())
                }
                "list" | "watch" if !name.is_empty() && self.node_of(&place) == Some(node) => {
                    Decision::Allow(String::new())
                }
                "list" | "watch" => refuse("can only list/watch pods with spec.nodeName field selector"),
                _ => by_rules(attributes),
            },
            _ => by_rules(attributes),
        }
    }

    fn read(&self, node: &str, verb: &str, name: &str, listable: bool, object: Object) -> Decision {
        match verb {
            "get" => self.related(node, name, &object),
            "list" | "watch" if listable => self.related(node, name, &object),
            _ if listable => Decision::NoOpinion("can only read resources of this type".into()),
            _ => Decision::NoOpinion("can only get individual resources of this type".into()),
        }
    }

    fn related(&self, node: &str, name: &str, object: &Object) -> Decision {
        if name.is_empty() {
            Decision::NoOpinion("No Object name found".into())
        } else if self.refers(node, object) {
            Decision::Allow(String::new())
        } else {
            Decision::NoOpinion(unrelated(node))
        }
    }
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

fn own(node: &str, verb: &str, name: &str, otherwise: &str) -> Decision {
    match verb {
        // The name of a new object is in the body: admission looks at it.
        "create" if name.is_empty() => Decision::Allow(String::new()),
        "get" | "create" | "update" | "patch" | "delete" if name == node => Decision::Allow(String::new()),
        "get" | "create" | "update" | "patch" | "delete" => Decision::NoOpinion(otherwise.to_owned()),
        _ => Decision::NoOpinion("can only get, create, update, patch, or delete a node lease".into()),
    }
}

fn by_rules(attributes: &Attributes) -> Decision {
    let mut resource = attributes.resource.to_string();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    if NODE_RULES.iter().any(|rule| rule.allows(attributes, &resource)) {
        Decision::Allow(String::new())
    } else {
        Decision::NoOpinion(String::new())
    }
}

/// The one object a request is about: its name, or the name that its field selector asks for.
fn object_name(attributes: &Attributes) -> Cow<'_, str> {
    if !attributes.name.is_empty() {
        return Cow::Borrowed(&attributes.name);
    }
    Cow::Owned(selected(&attributes.field_selector, "metadata.name").unwrap_or_default())
}

fn selects_node(selector: &str, node: &str) -> bool {
    selected(selector, "spec.nodeName").is_some_and(|selected| selected == node)
}

/// The value that a field selector demands of `field`; one that cannot be read demands nothing.
fn selected(selector: &str, field: &str) -> Option<String> {
    let selector = FieldSelector::parse(selector).ok()?;
    selector.required_value(field).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// [`NodeGraph`] fed from the store.
#[derive(Default)]
pub(super) struct NodeIndex {
    pub(super) graph: NodeGraph,
}

const PODS: &str = "/registry/pods/";
const VOLUMES: &str = "/registry/persistentvolumes/";
const ATTACHMENTS: &str = "/registry/storage.k8s.io/volumeattachments/";

impl Index for NodeIndex {
    const PREFIXES: &'static [&'static str] = &[PODS, VOLUMES, ATTACHMENTS];

    /// Of the many events of a pod, those that bind it to a node, those that end it, and those of pods
    /// that got further containers.
    fn wants(event: &Event) -> bool {
        if !event.entry.key.starts_with(PODS) || event.kind == EventKind::Delete {
            return true;
        }
        let before = event.prev.as_ref().is_some_and(|prev| is_bound(&prev.value));
        let grows = || memmem::find(&event.entry.value, b"\"ephemeralContainers\"").is_some();
        is_bound(&event.entry.value) && (!before || grows())
    }

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let graph = &mut self.graph;
        if let Some(pod) = key.strip_prefix(PODS) {
            let bound = value.filter(|value| is_bound(value));
            return graph.set_pod(pod, bound.and_then(references::read_pod).as_ref());
        }
        let object: Option<Value> = value.and_then(|value| unmanaged::from_slice(value).ok());
        if let Some(name) = key.strip_prefix(VOLUMES) {
            match object.as_ref().and_then(references::of_volume) {
                Some(volume) => graph.volumes.insert(name.into(), volume),
                None => graph.volumes.remove(name),
            };
        } else if let Some(name) = key.strip_prefix(ATTACHMENTS) {
            match object.as_ref().and_then(|object| object.pointer("/spec/nodeName")?.as_str()) {
                Some(node) => graph.attachments.insert(name.into(), node.to_owned()),
                None => graph.attachments.remove(name),
            };
        }
    }
}

/// Whether the bytes of a pod may name a node: a server that starts looks at each pod that there is.
fn is_bound(pod: &[u8]) -> bool {
    memmem::find(pod, b"\"nodeName\":\"").is_some()
}

#[cfg(test)]
mod tests;
