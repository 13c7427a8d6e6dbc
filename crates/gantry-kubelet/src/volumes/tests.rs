//! Volumes on a real file system.

use std::sync::Arc;

use gantry_json::json;
use proptest::prelude::*;

use super::*;

fn visible(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, prefix: &str, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("..") {
                continue;
            }
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{prefix}{name}/"), out);
            } else {
                out.insert(format!("{prefix}{name}"), fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, "", &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// After any sequence of writes the directory shows exactly the last payload, and one data directory.
    #[test]
    fn atomic_writer_shows_the_last_payload(
        writes in prop::collection::vec(prop::collection::btree_map("(x/)?[a-d]", prop::collection::vec(any::<u8>(), 0..8), 0..4), 1..6)
    ) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        for files in writes {
            let payload: Payload =
                files.iter().map(|(k, v)| (k.clone(), File { data: v.clone(), mode: 0o644, owner: None })).collect();
            atomic_writer::write(&dir, &payload, None).unwrap();
            prop_assert_eq!(visible(&dir), files);
            let hidden = fs::read_dir(&dir).unwrap().filter(|e| {
                e.as_ref().unwrap().file_name().to_string_lossy().starts_with("..")
            });
            prop_assert_eq!(hidden.count(), 2);
        }
    }
}

#[test]
fn paths_may_not_escape() {
    let root = tempfile::tempdir().unwrap();
    for path in ["../x", "/etc/x", "a/../../b", ""] {
        let payload = Payload::from([(path.to_string(), File { data: vec![], mode: 0o644, owner: None })]);
        assert!(atomic_writer::write(root.path(), &payload, None).is_err(), "{path}");
    }
}

#[test]
fn config_map_items_and_optional() {
    let pod: Pod =
        gantry_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}})).unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut objects = Objects::default();
    objects.config_maps.insert(
        "cm".into(),
        Arc::new(gantry_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap()),
    );
    let source = Source {
        pod: &pod,
        pod_dir: root.path(),
        objects: &objects,
        facts: &NodeFacts::default(),
        tokens: &Tokens::new(),
    };
    for (volume, expect) in [
        (
            json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "a", "path": "x/y", "mode": 256}]}}),
            Ok(1),
        ),
        (json!({"name": "w", "configMap": {"name": "none", "optional": true}}), Ok(0)),
        (
            json!({"name": "k", "configMap": {"name": "cm", "items": [{"key": "none", "path": "x"}]}}),
            Err("MountVolume.SetUp failed for volume \"k\" : configmap references non-existent config key: none"
                .to_string()),
        ),
        (
            json!({"name": "z", "configMap": {"name": "none"}}),
            Err("MountVolume.SetUp failed for volume \"z\" : configmap \"none\" not found".to_string()),
        ),
    ] {
        let volume: Volume = gantry_json::from_value(volume).unwrap();
        let result = set_up(&source, &volume).map(|()| visible(&path(root.path(), &volume).unwrap()).len());
        assert_eq!(result, expect);
    }
    let file = root.path().join("volumes/kubernetes.io~configmap/v/x/y");
    assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o400);
}
