//! The environment of a container.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, FileKeySelector, Pod, Secret, Service,
};

use crate::{
    expand::expand,
    field_ref::{self, NodeFacts},
    pod,
};

/// ConfigMaps and Secrets of the pod's namespace that have been fetched, by name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Present ConfigMaps; a name that is absent does not exist.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// Present Secrets.
    pub secrets: BTreeMap<String, Arc<Secret>>,
}

/// Variables for services, in the form that Docker links had.
pub fn service_env(services: &[Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for service in services {
        let (ns, name) = (
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref().unwrap_or_default(),
        );
        let kubernetes = ns == "default" && name == "kubernetes";
        if !(kubernetes || links && ns == namespace) {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
            continue;
        };
        let Some(first) = spec.ports.iter().flatten().next() else { continue };
        let prefix = name.to_uppercase().replace('-', "_");
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() };
        env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_string());
        env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        for port in spec.ports.iter().flatten() {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let key = format!("{prefix}_SERVICE_PORT_{}", port_name.to_uppercase().replace('-', "_"));
                env.insert(key, port.port.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
            if port.port == first.port && port.protocol == first.protocol {
                env.insert(format!("{prefix}_PORT"), url.clone());
            }
            let port_prefix = format!("{prefix}_PORT_{}_{protocol}", port.port);
            env.insert(port_prefix.clone(), url);
            env.insert(format!("{port_prefix}_PROTO"), protocol.to_lowercase());
            env.insert(format!("{port_prefix}_PORT"), port.port.to_string());
            env.insert(format!("{port_prefix}_ADDR"), ip.to_string());
        }
    }
    env
}

/// Reads a variable from a file in one of the pod's volumes; `None` where it is optional and not there.
pub type Files<'a> = dyn Fn(&FileKeySelector) -> Result<Option<String>, String> + Sync + 'a;

fn from_source(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    facts: &NodeFacts,
    files: &Files<'_>,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    let namespace = pod::namespace(pod);
    if let Some(field) = &source.field_ref {
        return field_ref::field(pod, facts, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let other = selector.container_name.as_deref().and_then(|n| pod::find_container(pod, n));
        return field_ref::resource(other.as_ref().map_or(container, |(_, c)| c), facts, selector).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional.unwrap_or(false);
        let Some(map) = objects.config_maps.get(&selector.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap {:?} not found", selector.name)) };
        };
        return match map.data.as_ref().and_then(|d| d.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => {
                Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", selector.key, selector.name))
            }
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional.unwrap_or(false);
        let Some(secret) = objects.secrets.get(&selector.name) else {
            return if optional { Ok(None) } else { Err(format!("secret {:?} not found", selector.name)) };
        };
        return match secret.data.as_ref().and_then(|d| d.get(&selector.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => {
                Err(format!("couldn't find key {} in Secret {namespace}/{}", selector.key, selector.name))
            }
        };
    }
    match &source.file_key_ref {
        Some(selector) => files(selector),
        None => Ok(Some(String::new())),
    }
}

/// The container's variables: `envFrom`, then `env` with expansion, then services that neither names.
/// An error is the message of `CreateContainerConfigError`.
pub fn container_env(
    pod: &Pod,
    container: &Container,
    services: &BTreeMap<String, String>,
    objects: &Objects,
    facts: &NodeFacts,
    files: &Files<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut result: BTreeMap<String, String> = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            match objects.config_maps.get(&source.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        result.insert(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if source.optional.unwrap_or(false) => {}
                None => return Err(format!("configmap {:?} not found", source.name)),
            }
        } else if let Some(source) = &from.secret_ref {
            match objects.secrets.get(&source.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        result
                            .insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if source.optional.unwrap_or(false) => {}
                None => return Err(format!("secret {:?} not found", source.name)),
            }
        }
    }
    let mut declared: BTreeMap<String, String> = BTreeMap::new();
    for EnvVar { name, value, value_from } in container.env.iter().flatten() {
        let value = match (value.as_deref().filter(|v| !v.is_empty()), value_from) {
            (Some(text), _) => Some(expand(text, |n| {
                declared.get(n).or_else(|| result.get(n)).or_else(|| services.get(n)).cloned()
            })),
            (None, Some(source)) => from_source(pod, container, objects, facts, files, source)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            declared.insert(name.clone(), value.clone());
            result.insert(name.clone(), value);
        }
    }
    for (name, value) in services {
        result.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(result.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    #[test]
    fn literal_references_and_services() {
        let pod: Pod = gantry_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}}),
        )
        .unwrap();
        let container: Container = gantry_json::from_value(json!({"name": "c",
            "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "gone", "optional": true}}],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "$(A)-$(CM_k)-$(WEB_SERVICE_PORT)-$(NOPE)"},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}}]}))
        .unwrap();
        let mut objects = Objects::default();
        let cm: ConfigMap = gantry_json::from_value(json!({"data": {"k": "v"}})).unwrap();
        let secret: Secret = gantry_json::from_value(json!({"data": {"pw": "aHVzaA=="}})).unwrap();
        objects.config_maps.insert("cm".into(), Arc::new(cm));
        let service: Service = gantry_json::from_value(json!({"metadata": {"name": "web", "namespace": "n"},
            "spec": {"clusterIP": "10.43.0.7", "ports": [{"name": "http", "port": 80}]}}))
        .unwrap();
        let services = service_env(&[Arc::new(service)], "n", true);
        let facts = NodeFacts::default();
        let missing = container_env(&pod, &container, &services, &objects, &facts, &|_| Ok(None));
        assert_eq!(missing.unwrap_err(), "secret \"s\" not found");
        objects.secrets.insert("s".into(), Arc::new(secret));
        let env: BTreeMap<_, _> = container_env(&pod, &container, &services, &objects, &facts, &|_| Ok(None))
            .unwrap()
            .into_iter()
            .collect();
        for (name, expect) in [
            ("A", "1"),
            ("B", "1-v-80-$(NOPE)"),
            ("POD", "p"),
            ("S", "hush"),
            ("CM_k", "v"),
            ("WEB_SERVICE_HOST", "10.43.0.7"),
            ("WEB_SERVICE_PORT_HTTP", "80"),
            ("WEB_PORT", "tcp://10.43.0.7:80"),
            ("WEB_PORT_80_TCP_ADDR", "10.43.0.7"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(expect), "{name}");
        }
    }
}
