//! What is served is what Kubernetes 1.35 serves: compared with the types of `k8s-openapi`, which are
//! generated from its API. Versions that are not stable are off there by default, and here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gantry_api::registry::Registry;

/// A resource as `k8s-openapi` describes it.
#[derive(Debug)]
struct Described {
    plural: String,
    scope: Scope,
    listed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespace,
    Subresource,
}

/// Where the sources of `k8s-openapi` are.
fn sources() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // What only other platforms need was perhaps never fetched.
    let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--offline", &platform, "--format-version=1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: gantry_json::Value =
        gantry_json::from_slice(&output.stdout).expect("cargo describes the workspace");
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|package| package["name"] == "k8s-openapi").expect("a dependency");
    let manifest = Path::new(found["manifest_path"].as_str().expect("a path"));
    manifest.with_file_name("src").join("v1_35")
}

fn files(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// Every resource of a stable version, by group, version and kind.
fn described() -> BTreeMap<(String, String, String), Described> {
    let mut all = Vec::new();
    let root = sources();
    for part in ["api", "apiextensions_apiserver", "kube_aggregator"] {
        files(&root.join(part), &mut all);
    }
    all.iter().filter_map(|path| read(&fs::read_to_string(path).expect("text"))).collect()
}

fn read(source: &str) -> Option<((String, String, String), Described)> {
    let at = source.find("impl crate::Resource for ")?;
    let block = &source[at..at + source[at..].find("\n}")?];
    let constant = |name: &str| {
        let rest = block.split_once(&format!("const {name}: &'static str = \""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let version = constant("VERSION")?;
    let stable = version.strip_prefix('v')?.bytes().all(|byte| byte.is_ascii_digit());
    let scope = match block.split_once("type Scope = crate::")?.1.split_once(';')?.0 {
        "ClusterResourceScope" => Scope::Cluster,
        "NamespaceResourceScope" => Scope::Namespace,
        "SubResourceScope" => Scope::Subresource,
        other => panic!("an unknown scope: {other}"),
    };
    let listed = source.contains("impl crate::ListableResource for ");
    let described = Described { plural: constant("URL_PATH_SEGMENT")?, scope, listed };
    stable.then_some(((constant("GROUP")?, version, constant("KIND")?), described))
}

/// The verbs of a kind that can be listed or not.
fn verbs(kind: &str, listed: bool) -> &'static [&'static str] {
    match kind {
        "ComponentStatus" => &["get", "list"],
        "Namespace" => &["create", "delete", "get", "list", "patch", "update", "watch"],
        _ if listed => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        _ => &["create"],
    }
}

#[test]
fn nothing_is_missing_and_nothing_is_extra() {
    let registry = Registry::builtin();
    let described = described();
    assert!(described.len() > 60, "the sources were not understood: {described:?}");
    for ((group, version, name), resource) in &described {
        let kind = registry.by_gvk(group, version, name);
        if resource.scope == Scope::Subresource {
            let wanted = Some([group.as_str(), version.as_str(), name.as_str()]);
            let served = registry.iter().flat_map(|kind| &kind.subresources);
            assert!(
                served.into_iter().any(|each| each.name == resource.plural && each.kind == wanted),
                "{name}"
            );
            continue;
        }
        let kind = kind.unwrap_or_else(|| panic!("{group}/{version} {name} is not served"));
        assert_eq!(kind.plural, resource.plural);
        assert_eq!(kind.namespaced, resource.scope == Scope::Namespace, "{name}");
        assert_eq!(kind.verbs, verbs(name, resource.listed), "{name}");
    }
    for kind in registry.iter() {
        let key = (kind.group.to_string(), kind.version.to_string(), kind.kind.to_string());
        assert!(described.contains_key(&key), "{key:?} is not Kubernetes'");
    }
}

#[test]
fn every_group_has_its_preferred_version_first() {
    let first = |group: &str| Registry::builtin().iter().find(|kind| kind.group == group);
    assert_eq!(first("autoscaling").map(|kind| &*kind.version), Some("v2"));
}
