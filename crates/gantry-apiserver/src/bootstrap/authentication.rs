//! What the servers of aggregated APIs need to know to authenticate requests: the ConfigMap
//! `extension-apiserver-authentication`.

use gantry_json::{Value, json};

use crate::authn::RequestHeader;

/// The store's key of the ConfigMap.
pub const AUTHENTICATION_KEY: &str = "/registry/configmaps/kube-system/extension-apiserver-authentication";

/// The ConfigMap: the authority of clients, and the front proxy, where there is one.
pub fn authentication_config(client_ca: &str, request_header: Option<&RequestHeader>) -> Value {
    let mut data = json!({"client-ca-file": client_ca});
    if let Some(front) = request_header {
        let list = |names: &[String]| Value::from(json!(names).to_string());
        data["requestheader-client-ca-file"] = front.ca.clone().into();
        data["requestheader-allowed-names"] = list(&front.allowed_names);
        data["requestheader-username-headers"] = list(&front.username_headers);
        data["requestheader-uid-headers"] = list(&front.uid_headers);
        data["requestheader-group-headers"] = list(&front.group_headers);
        data["requestheader-extra-headers-prefix"] = list(&front.extra_prefixes);
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": data,
    })
}

/// What the ConfigMap has to become; `None`: it stays. Keys that are not ours stay in any case.
pub fn reconcile_authentication(existing: &Value, default: &Value) -> Option<Value> {
    let mut next = existing.clone();
    for (key, value) in default["data"].as_object().into_iter().flatten() {
        if !next["data"].is_object() {
            next["data"] = json!({});
        }
        next["data"][key] = value.clone();
    }
    (next != *existing).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_proxy_is_described() {
        let front = RequestHeader::new("CA".into(), vec!["front-proxy-client".into()]);
        let config = authentication_config("CLIENTS", Some(&front));
        assert_eq!(config["data"]["client-ca-file"], "CLIENTS");
        assert_eq!(config["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
        assert_eq!(config["data"]["requestheader-extra-headers-prefix"], "[\"X-Remote-Extra-\"]");
        assert_eq!(reconcile_authentication(&config, &config), None);
        let mut other = config.clone();
        other["data"]["client-ca-file"] = "OLD".into();
        other["data"]["mine"] = "kept".into();
        let next = reconcile_authentication(&other, &config).unwrap();
        assert_eq!(
            (&next["data"]["client-ca-file"], &next["data"]["mine"]),
            (&json!("CLIENTS"), &json!("kept"))
        );
    }
}
