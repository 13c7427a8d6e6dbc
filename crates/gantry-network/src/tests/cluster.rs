//! What an API server would tell a node, told by the test.

use std::sync::Arc;

use gantry_client::Change;
use gantry_json::{Value, json};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};

use crate::{Network, run::Told};

/// The API as one network sees it.
pub struct Cluster {
    network: Arc<Network>,
    told: Told,
}

impl Cluster {
    /// Without any object.
    pub fn new(network: &Arc<Network>) -> Self {
        let cluster = Self { network: network.clone(), told: Told::new(network.place()) };
        cluster.done()
    }

    fn done(mut self) -> Self {
        self.apply();
        self
    }

    /// Has the network do what was told.
    pub fn apply(&mut self) {
        self.network.apply(&mut self.told).unwrap();
    }

    /// A Service `web` with this spec.
    pub fn service(&mut self, spec: Value) {
        self.named("web", spec, Value::Null);
    }

    /// A Service with this spec and load balancer's ingress.
    pub fn named(&mut self, name: &str, spec: Value, ingress: Value) {
        let service: Service = gantry_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}},
        }))
        .unwrap();
        self.told.index.service(Change::Applied { old: None, new: Arc::new(service) });
        self.apply();
    }

    /// The Service `web` is gone.
    pub fn no_service(&mut self) {
        let service: Service =
            gantry_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}})).unwrap();
        self.told.index.service(Change::Deleted(Arc::new(service)));
        self.apply();
    }

    /// The endpoints of the Service `web`, at port 8080.
    pub fn endpoints(&mut self, endpoints: &[Value]) {
        self.endpoints_of("web", endpoints);
    }

    /// The endpoints of a Service, at port 8080.
    pub fn endpoints_of(&mut self, service: &str, endpoints: &[Value]) {
        let port =
            |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 8080, "protocol": protocol});
        let slice: EndpointSlice = gantry_json::from_value(json!({
            "metadata": {
                "namespace": "default",
                "name": format!("{service}-1"),
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [port("TCP"), port("UDP")],
            "endpoints": endpoints,
        }))
        .unwrap();
        self.told.index.slice(Change::Applied { old: None, new: Arc::new(slice) });
        self.apply();
    }

    /// A Node.
    pub fn node(&mut self, name: &str, address: &str, pod_cidr: &str) {
        let node: Node = gantry_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }))
        .unwrap();
        self.told.node(&Change::Applied { old: None, new: Arc::new(node) });
        self.apply();
    }

    /// A Node is gone.
    pub fn no_node(&mut self, name: &str) {
        let node: Node = gantry_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        self.told.node(&Change::Deleted(Arc::new(node)));
        self.apply();
    }
}

/// A Service's spec with this address and port 80, for TCP and UDP.
pub fn spec(cluster_ip: &str, more: Value) -> Value {
    let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 80, "protocol": protocol, "targetPort": 8080});
    let mut spec =
        json!({"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": [port("TCP"), port("UDP")]});
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// The same with node port 30080 for both protocols.
pub fn node_port(cluster_ip: &str, more: Value) -> Value {
    let mut spec = spec(cluster_ip, more);
    spec["type"] = "NodePort".into();
    for port in spec["ports"].as_array_mut().unwrap() {
        port["nodePort"] = 30080.into();
    }
    spec
}

/// A ready endpoint on node `here`.
pub fn ready(address: impl ToString) -> Value {
    endpoint(address, "here", true, false)
}

/// An endpoint that shuts down but still answers, on node `here`.
pub fn draining(address: impl ToString) -> Value {
    endpoint(address, "here", false, true)
}

/// A ready endpoint on another node.
pub fn elsewhere(address: impl ToString) -> Value {
    endpoint(address, "there", true, false)
}

fn endpoint(address: impl ToString, node: &str, ready: bool, terminating: bool) -> Value {
    json!({
        "addresses": [address.to_string()],
        "nodeName": node,
        "conditions": {"ready": ready, "serving": true, "terminating": terminating},
    })
}
