//! Discovery and OpenAPI documents: made once, served from memory.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gantry_api::registry::Registry;
use gantry_api::{discovery, openapi};
use http::HeaderValue;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::Version;

/// The media type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A document and the hash of its bytes.
pub(crate) struct Document {
    pub bytes: Bytes,
    pub hash: String,
    pub content_type: HeaderValue,
}

impl Document {
    fn new(value: &Value, content_type: &'static str) -> Self {
        let bytes = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let hash = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Self { bytes, hash, content_type: HeaderValue::from_static(content_type) }
    }
}

/// Everything that clients learn the API from.
pub(crate) struct Documents {
    registry: &'static Registry,
    version: Version,
    pub groups: Value,
    pub aggregated_core: Document,
    pub aggregated_groups: Document,
    index: OnceLock<Document>,
    v2: OnceLock<Document>,
    v3: Mutex<BTreeMap<String, Arc<Document>>>,
}

impl Documents {
    pub fn new(version: &Version) -> Self {
        let registry = Registry::builtin();
        Self {
            registry,
            version: version.clone(),
            groups: discovery::api_group_list(registry),
            aggregated_core: Document::new(&discovery::aggregated(registry, true), AGGREGATED),
            aggregated_groups: Document::new(&discovery::aggregated(registry, false), AGGREGATED),
            index: OnceLock::new(),
            v2: OnceLock::new(),
            v3: Mutex::default(),
        }
    }

    /// Every path that is served.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
        for group in self.groups["groups"].as_array().into_iter().flatten() {
            paths.push(format!("/apis/{}", group["name"].as_str().unwrap_or_default()));
            for version in group["versions"].as_array().into_iter().flatten() {
                paths.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default()));
            }
        }
        let rest = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
        paths.extend(rest.map(str::to_owned));
        paths
    }

    /// One group's document.
    pub fn group(&self, name: &str) -> Option<Value> {
        let groups = self.groups["groups"].as_array()?;
        let mut group = groups.iter().find(|group| group["name"] == name)?.clone();
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
        Some(group)
    }

    /// The resources of a group and version.
    pub fn resources(&self, group: &str, version: &str) -> Option<Value> {
        discovery::api_resource_list(self.registry, group, version)
    }

    /// The index of OpenAPI v3: each document's path and hash.
    pub fn openapi_index(&self) -> &Document {
        self.index.get_or_init(|| {
            let mut paths = serde_json::Map::new();
            for path in openapi::v3_paths(self.registry) {
                if let Some(document) = self.openapi(&path) {
                    let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                    paths.insert(path, serde_json::json!({"serverRelativeURL": url}));
                }
            }
            Document::new(&serde_json::json!({"paths": paths}), "application/json")
        })
    }

    /// The OpenAPI v3 document of a path such as `apis/apps/v1`.
    pub fn openapi(&self, path: &str) -> Option<Arc<Document>> {
        if let Some(document) = self.v3.lock().get(path) {
            return Some(document.clone());
        }
        let value = openapi::v3_document(self.registry, path, &self.version.git_version)?;
        let document = Arc::new(Document::new(&value, "application/json"));
        self.v3.lock().insert(path.to_owned(), document.clone());
        Some(document)
    }

    /// The OpenAPI v2 document.
    pub fn openapi_v2(&self) -> &Document {
        self.v2.get_or_init(|| {
            Document::new(&openapi::v2_document(self.registry, &self.version.git_version), "application/json")
        })
    }
}
