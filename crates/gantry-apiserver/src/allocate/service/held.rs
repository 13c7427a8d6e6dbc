//! The cluster IPs and node ports that a Service holds.

use std::net::IpAddr;

use gantry_json::Value;
use serde::Deserialize;

/// What a Service holds, by what is stored of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its cluster IPs, the first one first.
    pub ips: Vec<IpAddr>,
    /// Its node ports in their order, the health check's included.
    pub ports: Vec<u16>,
}

impl Held {
    /// What `service` holds.
    pub fn of(service: &Value) -> Self {
        Object::deserialize(service).map(Self::from).unwrap_or_default()
    }

    /// What the Service with these bytes holds.
    pub fn read(service: &[u8]) -> Self {
        gantry_json::from_slice::<Object>(service).map(Self::from).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    health_check_node_port: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    node_port: Option<u64>,
}

impl From<Object> for Held {
    fn from(object: Object) -> Self {
        let spec = object.spec.unwrap_or_default();
        let mut addresses = spec.cluster_ips.unwrap_or_default();
        if addresses.is_empty() {
            addresses.extend(spec.cluster_ip);
        }
        // `None` of headless Services is no address.
        let has_addresses = spec.kind.as_deref() != Some("ExternalName");
        let ips = addresses.iter().filter(|_| has_addresses).filter_map(|address| address.parse().ok());
        let of_ports = spec.ports.into_iter().flatten().filter_map(|port| port.node_port);
        let ports = of_ports.chain(spec.health_check_node_port).filter_map(|port| u16::try_from(port).ok());
        let mut ports: Vec<u16> = ports.filter(|port| *port > 0).collect();
        ports.sort_unstable();
        ports.dedup();
        Self { ips: ips.collect(), ports }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn what_is_held() {
        let check = |spec: Value, ips: &[&str], ports: &[u16]| {
            let service = json!({"metadata": {"name": "a"}, "spec": spec});
            let expect =
                Held { ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(), ports: ports.to_vec() };
            assert_eq!(Held::of(&service), expect, "{service}");
            assert_eq!(Held::read(service.to_string().as_bytes()), expect, "{service}");
        };
        check(json!({"clusterIP": "10.43.0.7"}), &["10.43.0.7"], &[]);
        check(
            json!({"clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7", "fd00::7"]}),
            &["10.43.0.7", "fd00::7"],
            &[],
        );
        check(json!({"clusterIP": "None", "clusterIPs": ["None"]}), &[], &[]);
        check(json!({"type": "ExternalName", "clusterIP": "10.43.0.7"}), &[], &[]);
        let ports = json!([{"nodePort": 30_002}, {"port": 80}, {"nodePort": 30_001}, {"nodePort": 30_002}]);
        check(json!({"ports": ports, "healthCheckNodePort": 30_000}), &[], &[30_000, 30_001, 30_002]);
        check(json!({"ports": null, "clusterIPs": null, "healthCheckNodePort": 0}), &[], &[]);
        check(Value::Null, &[], &[]);
    }
}
