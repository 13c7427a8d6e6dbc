//! Images from a registry on loopback.

use std::{collections::BTreeMap, io::Read};

use gantry_cri::{Code, CriError, ImageService, v1::*};
use gantry_json::{Value, json};

use crate::{
    registry::{Guard, Registry, digest},
    support::{Node, archive, container, sandbox, within},
};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Configuration and layers of the demo image with a layer of its own on top.
pub fn demo(text: &str) -> (Value, Vec<Vec<u8>>) {
    let mut parts = BTreeMap::new();
    let file = std::fs::File::open(archive("busybox")).unwrap();
    for entry in tar::Archive::new(file).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        parts.insert(entry.path().unwrap().display().to_string(), bytes);
    }
    let saved: Value = gantry_json::from_slice(&parts["manifest.json"]).unwrap();
    let part = |name: &Value| &parts[name.as_str().unwrap()];
    let mut config: Value = gantry_json::from_slice(part(&saved[0]["Config"])).unwrap();
    let mut layers: Vec<Vec<u8>> =
        saved[0]["Layers"].as_array().unwrap().iter().map(|name| part(name).clone()).collect();
    let mut own = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    own.append_data(&mut header, "pulled", text.as_bytes()).unwrap();
    layers.push(own.into_inner().unwrap());
    config["rootfs"]["diff_ids"] = layers.iter().map(|layer| digest(layer)).collect();
    (config, layers)
}

/// [`demo`] as a registry holds it.
fn push(registry: &Registry, repository: &str, tag: Option<&str>, text: &str) -> (String, Value) {
    let (config, layers) = demo(text);
    let zipped = |bytes: &[u8]| {
        let mut zip = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
        let mut out = Vec::new();
        zip.read_to_end(&mut out).unwrap();
        out
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": registry.blob(CONFIG, gantry_json::to_vec(&config).unwrap()),
        "layers": layers.iter().map(|layer| registry.blob(LAYER, zipped(layer))).collect::<Vec<_>>(),
    });
    (registry.manifest(repository, tag, &manifest), manifest)
}

pub async fn pull(node: &Node, image: &str, auth: Option<AuthConfig>) -> Result<String, CriError> {
    let image = Some(ImageSpec { image: image.to_owned(), ..Default::default() });
    let request = PullImageRequest { image, auth, sandbox_config: None };
    within(node.runtime.pull_image(request)).await.map(|response| response.image_ref)
}

async fn status(node: &Node, image: &str) -> Option<Image> {
    let image = Some(ImageSpec { image: image.to_owned(), ..Default::default() });
    node.runtime.image_status(ImageStatusRequest { image, verbose: false }).await.unwrap().image
}

fn login(username: &str, password: &str) -> Option<AuthConfig> {
    Some(AuthConfig { username: username.to_owned(), password: password.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_image_runs() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let (digest, _) = push(&registry, "team/app", Some("v1"), "from the registry");
        let name = registry.name("team/app:v1");
        assert!(status(node, &name).await.is_none());
        let id = pull(node, &name, None).await.unwrap();
        let image = status(node, &name).await.unwrap();
        let by_digest = registry.name(&format!("team/app@{digest}"));
        assert_eq!((image.id.as_str(), image.repo_tags.as_slice()), (id.as_str(), [name.clone()].as_slice()));
        assert_eq!(image.repo_digests, [by_digest.as_str()]);
        for other in [by_digest, registry.name(&format!("team/app:v1@{digest}")), id] {
            assert!(status(node, &other).await.is_some(), "{other}");
        }
        let pod = node.run(sandbox("pulled")).await;
        let mut config = container("main", "cat /pulled");
        config.image = Some(ImageSpec { image: name, ..Default::default() });
        let container = node.create(&pod, config).await;
        node.start(&container).await;
        let ended = node.exited(&container).await;
        let log = std::fs::read_to_string(&ended.log_path).unwrap();
        assert!(ended.exit_code == 0 && log.contains("from the registry"), "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_fetched_once_and_tags_move() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let name = registry.name("app:latest");
        push(&registry, "app", Some("latest"), "old");
        let old = pull(node, &name, None).await.unwrap();
        let blobs = |paths: Vec<String>| paths.iter().filter(|path| path.contains("/blobs/")).count();
        // The demo image's own layer came with its import.
        assert_eq!(blobs(registry.asked()), 2, "a configuration and a layer");
        pull(node, &name, None).await.unwrap();
        assert_eq!(blobs(registry.asked()), 1, "a configuration");
        push(&registry, "app", Some("latest"), "new");
        let new = pull(node, &name, None).await.unwrap();
        assert_ne!(old, new);
        assert_eq!(status(node, &name).await.unwrap().id, new);
        assert!(status(node, &old).await.unwrap().repo_tags.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_this_platform() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let (here, manifest) = push(&registry, "multi", None, "mine");
        let (other, _) = push(&registry, "multi", None, "another's");
        let entry = |digest: &str, architecture: &str| {
            json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len(),
                   "platform": {"os": "linux", "architecture": architecture}})
        };
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let index = json!({"schemaVersion": 2, "mediaType": INDEX,
                           "manifests": [entry(&other, "riscv64"), entry(&here, architecture)]});
        let index = registry.manifest("multi", Some("1"), &index);
        let id = pull(node, &registry.name("multi:1"), None).await.unwrap();
        assert_eq!(id, manifest["config"]["digest"]);
        // Who pulls by the index's digest finds the image by it afterwards.
        let by_digest = registry.name(&format!("multi@{index}"));
        assert_eq!(status(node, &by_digest).await.unwrap().id, id);
        assert_eq!(pull(node, &by_digest, None).await.unwrap(), id);

        let foreign =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(&other, "riscv64")]});
        registry.manifest("multi", Some("foreign"), &foreign);
        let error = pull(node, &registry.name("multi:foreign"), None).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound, "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_a_registry() {
    Node::with(async |node| {
        for guard in [Guard::Basic("jane", "s3cret"), Guard::Token("jane", "s3cret")] {
            let registry = Registry::start(guard).await;
            push(&registry, "private", Some("1"), "private");
            let name = registry.name("private:1");
            for wrong in [None, login("jane", "wrong")] {
                let error = pull(node, &name, wrong).await.unwrap_err();
                assert_ne!(error.code, Code::NotFound, "{guard:?}: {error}");
                let message = error.message.to_lowercase();
                assert!(message.contains("authoriz") || message.contains("authenti"), "{guard:?}: {message}");
                assert!(!message.contains("s3cret") && !message.contains("wrong"), "{message}");
            }
            assert!(status(node, &name).await.is_none());
            pull(node, &name, login("jane", "s3cret")).await.unwrap();
            let encoded = AuthConfig { auth: "amFuZTpzM2NyZXQ=".to_owned(), ..Default::default() };
            pull(node, &name, Some(encoded)).await.unwrap();
        }
        let registry = Registry::start(Guard::Token("jane", "s3cret")).await;
        push(&registry, "private", Some("1"), "private");
        let token = AuthConfig { registry_token: "a-token".to_owned(), ..Default::default() };
        pull(node, &registry.name("private:1"), Some(token)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_told() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let name = registry.name("nothing:1");
        let error = pull(node, &name, None).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert_eq!(error.message, format!("failed to resolve reference {name:?}: {name}: not found"));
        // Nobody listens there.
        let error = pull(node, "127.0.0.1:1/nothing:1", None).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
        assert!(error.message.contains("refused"), "{error}");
        let error = pull(node, "Not A Name", None).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_must_match_its_digest() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let (_, manifest) = push(&registry, "spoilt", Some("layer"), "a layer");
        registry.spoil_blob(&manifest["layers"][1], "not a layer");
        let error = pull(node, &registry.name("spoilt:layer"), None).await.unwrap_err();
        assert!(error.message.to_lowercase().contains("digest"), "{error}");

        let (_, manifest) = push(&registry, "spoilt", Some("config"), "a configuration");
        registry.spoil_blob(&manifest["config"], "{}");
        let error = pull(node, &registry.name("spoilt:config"), None).await.unwrap_err();
        assert!(error.message.to_lowercase().contains("digest"), "{error}");

        let (asked, mut manifest) = push(&registry, "spoilt", None, "a manifest");
        manifest["annotations"] = json!({"changed": "yes"});
        registry.spoil_manifest("spoilt", &asked, &manifest);
        let error = pull(node, &registry.name(&format!("spoilt@{asked}")), None).await.unwrap_err();
        assert!(error.message.to_lowercase().contains("digest"), "{error}");

        // The blob is what the manifest says, but not what the configuration says.
        let (_, mut manifest) = push(&registry, "spoilt", None, "yet another");
        manifest["layers"][1] = manifest["layers"][0].clone();
        registry.manifest("spoilt", Some("swapped"), &manifest);
        let error = pull(node, &registry.name("spoilt:swapped"), None).await.unwrap_err();
        assert!(error.message.contains("its configuration says"), "{error}");

        for tag in ["layer", "config", "swapped"] {
            assert!(status(node, &registry.name(&format!("spoilt:{tag}"))).await.is_none());
        }
        let left = std::fs::read_dir(node.dir.path().join("root/images/tmp")).unwrap().count();
        assert_eq!(left, 0, "temporary files are left");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_at_once_share_what_they_fetch() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let (one, _) = push(&registry, "app", Some("1"), "one");
        push(&registry, "copy", Some("1"), "one");
        let names = ["app:1", "copy:1", "app:1"].map(|image| registry.name(image));
        let pulls = names.iter().map(|name| pull(node, name, None));
        let ids = futures::future::try_join_all(pulls).await.unwrap();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?} of {one}");
        let blobs = registry.asked().into_iter().filter(|path| path.contains("/blobs/"));
        // Each has asked for the configuration.
        assert_eq!(blobs.count(), 3 + 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_is_resumed() {
    Node::with(async |node| {
        let registry = Registry::start(Guard::Open).await;
        let text: String = (0..40_000).map(|n| n.to_string()).collect();
        let (_, manifest) = push(&registry, "app", Some("1"), &text);
        let layer = manifest["layers"][1]["digest"].as_str().unwrap();
        registry.break_blob(layer, 2);
        pull(node, &registry.name("app:1"), None).await.unwrap();
        let asked = registry.asked().into_iter().filter(|path| path.contains(layer)).count();
        assert_eq!(asked, 3, "two answers broke");
    })
    .await;
}
