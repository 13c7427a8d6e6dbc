//! Discovery and OpenAPI documents. Discovery is made once and served from memory; OpenAPI of version 3
//! is large and seldom asked for, so only the hashes of its documents are kept.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use gantry_api::registry::Registry;
use gantry_api::{discovery, openapi};
use http::HeaderValue;
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
        let hash = hash(&bytes);
        Self { bytes, hash, content_type: HeaderValue::from_static(content_type) }
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
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
    hashes: OnceLock<BTreeMap<String, String>>,
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
            hashes: OnceLock::new(),
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
            let urls = self.openapi_hashes().iter().map(|(path, hash)| {
                let url = format!("/openapi/v3/{path}?hash={hash}");
                (path.clone(), serde_json::json!({"serverRelativeURL": url}))
            });
            let paths: serde_json::Map<String, Value> = urls.collect();
            Document::new(&serde_json::json!({"paths": paths}), "application/json")
        })
    }

    /// The hashes of the OpenAPI v3 documents. Descriptions change with the version alone, which is
    /// part of what is hashed, so they are left out.
    fn openapi_hashes(&self) -> &BTreeMap<String, String> {
        self.hashes.get_or_init(|| {
            let paths = openapi::v3_paths(self.registry).into_iter();
            let hashed = paths.filter_map(|path| {
                let document = openapi::v3_document(self.registry, &path, &self.version.git_version, false)?;
                let hash = hash(&serde_json::to_vec(&document).ok()?);
                Some((path, hash))
            });
            hashed.collect()
        })
    }

    /// The hash of the OpenAPI v3 document of a path such as `apis/apps/v1`.
    pub fn openapi_hash(&self, path: &str) -> Option<&str> {
        self.openapi_hashes().get(path).map(String::as_str)
    }

    /// The OpenAPI v3 document of a path, with its descriptions.
    pub fn openapi(&self, path: &str) -> Option<Document> {
        let value = openapi::v3_document(self.registry, path, &self.version.git_version, true)?;
        let hash = self.openapi_hash(path)?.to_owned();
        Some(Document { hash, ..Document::new(&value, "application/json") })
    }

    /// The OpenAPI v2 document.
    pub fn openapi_v2(&self) -> &Document {
        self.v2.get_or_init(|| {
            Document::new(&openapi::v2_document(self.registry, &self.version.git_version), "application/json")
        })
    }
}
