//! Kubeconfig files: the administrator's, and merging it into another.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_json::{Value, json};

use crate::pki::{self, Pair};

/// The name of the cluster, user and context.
const NAME: &str = "gantry";

/// A kubeconfig for `server`, trusting `authority` and showing `client`.
pub fn document(server: &str, authority: &str, client: &Pair) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(authority)}}],
        "users": [{"name": NAME, "user": {
            "client-certificate-data": STANDARD.encode(&client.certificate),
            "client-key-data": STANDARD.encode(&client.key)}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
        "preferences": {},
    })
}

/// Writes `document` to `path`, readable by its owner only.
pub fn write(path: &Path, document: &Value) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    pki::write(path, &serde_yaml_ng::to_string(document)?, 0o600)
}

/// `into` with our cluster, user and context added or replaced, and made current.
pub fn merge(mut into: Value, ours: &Value) -> Result<Value> {
    if into.is_null() {
        into = json!({"apiVersion": "v1", "kind": "Config"});
    }
    let target = into.as_object_mut().context("the kubeconfig to merge into is not a mapping")?;
    for list in ["clusters", "users", "contexts"] {
        let entries = target.entry(list).or_insert_with(|| json!([]));
        if entries.is_null() {
            *entries = json!([]);
        }
        let entries = entries.as_array_mut().with_context(|| format!("{list} is not a list"))?;
        entries.retain(|entry| entry["name"] != NAME);
        entries.extend(ours[list].as_array().into_iter().flatten().cloned());
    }
    target.insert("current-context".into(), ours["current-context"].clone());
    Ok(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_other_clusters_and_replaces_ours() {
        let pair = Pair { certificate: "c".into(), key: "k".into() };
        let ours = document("https://new:6443", "ca", &pair);
        let old = json!({"clusters": [{"name": "other"}, {"name": NAME, "cluster": {"server": "old"}}],
                         "users": null, "current-context": "other", "extra": 1});
        let merged = merge(old, &ours).expect("merges");
        assert_eq!(merged["clusters"][0]["name"], "other");
        assert_eq!(merged["clusters"][1]["cluster"]["server"], "https://new:6443");
        assert_eq!((merged["users"].as_array().map(Vec::len), &merged["extra"]), (Some(1), &json!(1)));
        assert_eq!(merged["current-context"], NAME);
        assert!(merge(json!([]), &ours).is_err());
    }
}
