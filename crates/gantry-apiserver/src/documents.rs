//! Discovery and OpenAPI documents of the kinds at one moment. Discovery is made when it is first asked
//! for and served from memory. OpenAPI is large and seldom asked for: of version 3 only the hashes of the documents are kept, and version 2 is
//! made when it is first asked for and kept compressed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use gantry_api::openapi::Form;
use gantry_api::registry::Registry;
use gantry_api::{discovery, openapi};
use gantry_json::Value;
use http::HeaderValue;
use ring::digest::{SHA256, digest};

use crate::Version;
use crate::aggregation::documents::Described;

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
        let bytes = Bytes::from(value.to_vec());
        let hash = hash(&bytes);
        Self { bytes, hash, content_type: HeaderValue::from_static(content_type) }
    }
}

/// A document that is kept compressed, and the hash of its bytes.
pub(crate) struct Packed {
    /// The document in gzip.
    pub gzip: Bytes,
    pub hash: String,
}

impl Packed {
    fn new(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let gzip = encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { gzip: gzip.into_boxed_slice().into(), hash: hash(bytes) }
    }

    /// The document itself.
    pub fn unpacked(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // What was packed above is whole.
        let _ = GzDecoder::new(&*self.gzip).read_to_end(&mut out);
        out
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Everything that clients learn the API from.
pub(crate) struct Documents {
    /// What other servers say of their versions.
    others: Arc<Described>,
    registry: Arc<Registry>,
    version: Version,
    groups: OnceLock<Value>,
    aggregated_core: OnceLock<Document>,
    aggregated_groups: OnceLock<Document>,
    index: OnceLock<Document>,
    v2_json: OnceLock<Packed>,
    v2_protobuf: OnceLock<Packed>,
    hashes: OnceLock<BTreeMap<String, String>>,
    /// The kinds that are always there.
    base: Arc<Registry>,
    /// The hashes of their documents, which stay as they are.
    builtin: Arc<OnceLock<BTreeMap<String, String>>>,
}

impl Documents {
    /// Of `registry`, which has custom kinds beside those of `base`.
    pub fn new(registry: Arc<Registry>, base: Arc<Registry>, version: &Version) -> Self {
        Self::with_others(registry, base, version, Arc::default(), Arc::default())
    }

    /// As [`Documents::new`], with what other servers answer for.
    fn with_others(
        registry: Arc<Registry>,
        base: Arc<Registry>,
        version: &Version,
        others: Arc<Described>,
        builtin: Arc<OnceLock<BTreeMap<String, String>>>,
    ) -> Self {
        Self {
            version: version.clone(),
            base,
            builtin,
            groups: OnceLock::new(),
            aggregated_core: OnceLock::new(),
            aggregated_groups: OnceLock::new(),
            others,
            index: OnceLock::new(),
            v2_json: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
            hashes: OnceLock::new(),
            registry,
        }
    }

    /// `/apis`.
    pub fn groups(&self) -> &Value {
        self.groups.get_or_init(|| discovery::api_group_list(&self.registry, &self.others.discovered))
    }

    /// Aggregated discovery of the core group.
    pub fn aggregated_core(&self) -> &Document {
        self.aggregated_core.get_or_init(|| self.aggregated(true))
    }

    /// Aggregated discovery of the named groups.
    pub fn aggregated_groups(&self) -> &Document {
        self.aggregated_groups.get_or_init(|| self.aggregated(false))
    }

    fn aggregated(&self, core: bool) -> Document {
        Document::new(&discovery::aggregated(&self.registry, &self.others.discovered, core), AGGREGATED)
    }

    /// The same of the server's own kinds, with what other servers say now; `None`: these are they.
    pub fn renewed(&self, others: Arc<Described>) -> Option<Self> {
        let same = others.generation == self.others.generation;
        let (base, builtin) = (self.base.clone(), self.builtin.clone());
        (!same).then(|| Self::with_others(self.registry.clone(), base, &self.version, others, builtin))
    }

    /// The same of other kinds.
    pub fn of_kinds(&self, registry: Arc<Registry>) -> Self {
        let (base, others) = (self.base.clone(), self.others.clone());
        Self::with_others(registry, base, &self.version, others, self.builtin.clone())
    }

    /// Every path that is served.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
        for group in self.groups()["groups"].as_array().into_iter().flatten() {
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
        let groups = self.groups()["groups"].as_array()?;
        let mut group = groups.iter().find(|group| group["name"] == name)?.clone();
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
        Some(group)
    }

    /// The resources of a group and version.
    pub fn resources(&self, group: &str, version: &str) -> Option<Value> {
        discovery::api_resource_list(&self.registry, group, version)
    }

    /// The index of OpenAPI v3: each document's path and hash.
    pub fn openapi_index(&self) -> &Document {
        self.index.get_or_init(|| {
            let entry = |url: &str| gantry_json::json!({"serverRelativeURL": url});
            let theirs = self.others.openapi_v3().map(|(path, url)| (path, entry(url)));
            let urls = self
                .openapi_hashes()
                .iter()
                .map(|(path, hash)| (path.clone(), entry(&format!("/openapi/v3/{path}?hash={hash}"))));
            let paths: gantry_json::Map = theirs.chain(urls).collect();
            Document::new(&gantry_json::json!({"paths": paths}), "application/json")
        })
    }

    /// The hashes of the OpenAPI v3 documents. Descriptions change with the version alone, which is
    /// part of what is hashed, so they are left out. Of custom kinds what they are made of is hashed.
    fn openapi_hashes(&self) -> &BTreeMap<String, String> {
        self.hashes.get_or_init(|| {
            let builtin = self.builtin.get_or_init(|| {
                let registry = &self.base;
                let paths = openapi::v3_paths(registry).into_iter();
                let hashed = paths.filter_map(|path| {
                    let version = &self.version.git_version;
                    let document = openapi::v3_document(registry, &path, version, false, Form::Json)?;
                    Some((path, hash(&document)))
                });
                hashed.collect()
            });
            let mut hashes = builtin.clone();
            let mut custom: BTreeMap<String, String> = BTreeMap::new();
            for kind in self.registry.iter() {
                if let Some(definition) = kind.as_custom().map(|custom| &custom.definition) {
                    let made_of = custom.entry(openapi::base(kind)).or_insert_with(|| {
                        // Built-in kinds of the same version are in the document, too.
                        let others = builtin.get(&openapi::base(kind));
                        format!("{} {}", self.version.git_version, others.map_or("", String::as_str))
                    });
                    *made_of += &format!(" {} {}", definition.digest, definition.terminating);
                }
            }
            hashes.extend(custom.into_iter().map(|(path, made_of)| (path, hash(made_of.as_bytes()))));
            let made = self.others.conversions();
            let made = made.map(|(path, document)| (path, hash(&openapi::v3_of_v2(document, Form::Json))));
            hashes.extend(made);
            hashes
        })
    }

    /// The hash of the OpenAPI v3 document of a path such as `apis/apps/v1`.
    pub fn openapi_hash(&self, path: &str) -> Option<&str> {
        self.openapi_hashes().get(path).map(String::as_str)
    }

    /// The OpenAPI v3 document of a path, with its descriptions.
    pub fn openapi(&self, path: &str, form: Form) -> Option<Vec<u8>> {
        let mut made = self.others.conversions();
        if let Some((_, document)) = made.find(|(other, _)| other == path) {
            return Some(openapi::v3_of_v2(document, form));
        }
        openapi::v3_document(&self.registry, path, &self.version.git_version, true, form)
    }

    /// The OpenAPI v2 document.
    pub fn openapi_v2(&self, form: Form) -> &Packed {
        let kept = match form {
            Form::Json => &self.v2_json,
            Form::Protobuf => &self.v2_protobuf,
        };
        kept.get_or_init(|| {
            let others: Vec<openapi::Other<'_>> = self
                .others
                .openapi_v2()
                .map(|(group, version, document)| openapi::Other { group, version, document })
                .collect();
            Packed::new(&openapi::v2_document(&self.registry, &self.version.git_version, form, &others))
        })
    }
}
