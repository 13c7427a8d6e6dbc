//! What is said about volumes and claims that are accepted all the same.

use gantry_json::Value;

use super::common::{deprecated_label, list, text};
use super::persistent_volume_claim::{CLASS_ANNOTATION, quantity};
use crate::field::Path;

/// The annotation that named mount options before there was a field for them.
const OPTIONS_ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";

/// What is said about a source that is on its way out, or no more.
pub(super) fn of_source(path: &Path, holder: &Value, warnings: &mut Vec<String>) {
    for (source, words) in [
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ] {
        if holder[source].is_object() {
            let shown = if source == "storageos" { "storageOS" } else { source };
            warnings.push(format!("{}: {words}", path.child(shown)));
        }
    }
}

/// What is said about terms that select nodes by labels of old names.
pub(super) fn of_node_terms(path: &Path, terms: &[Value], warnings: &mut Vec<String>) {
    for (at, term) in terms.iter().enumerate() {
        let path = path.index(at).child("matchExpressions");
        for (at, expression) in list(term, "matchExpressions").iter().enumerate() {
            warnings.extend(deprecated_label(&path.index(at).child("key"), text(expression, "key")));
        }
    }
}

/// What is said about a PersistentVolume.
pub(super) fn of_persistent_volume(volume: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    let (path, spec) = (Path::new("spec"), &volume["spec"]);
    let annotations = Path::new("metadata").child("annotations");
    for (key, since, field) in
        [(CLASS_ANNOTATION, "v1.8", "storageClassName"), (OPTIONS_ANNOTATION, "v1.31", "mountOptions")]
    {
        if !volume["metadata"]["annotations"][key].is_null() {
            let at = annotations.key(key);
            warnings.push(format!("{at}: deprecated since {since}; use {field:?} attribute instead"));
        }
    }
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        warnings.push(format!(
            "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            path.child("persistentVolumeReclaimPolicy")
        ));
    }
    let terms = list(&spec["nodeAffinity"]["required"], "nodeSelectorTerms");
    let at = path.child("nodeAffinity").child("required").child("nodeSelectorTerms");
    of_node_terms(&at, terms, &mut warnings);
    of_source(&path, spec, &mut warnings);
    warnings
}

/// What is said about a PersistentVolumeClaim.
pub(super) fn of_claim(claim: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !claim["metadata"]["annotations"][CLASS_ANNOTATION].is_null() {
        let at = Path::new("metadata").child("annotations").key(CLASS_ANNOTATION);
        warnings.push(format!("{at}: deprecated since v1.8; use \"storageClassName\" attribute instead"));
    }
    of_claim_spec(&Path::new("spec"), &claim["spec"], &mut warnings);
    warnings
}

/// What is said about a claim's spec: parts of a byte are not.
pub(super) fn of_claim_spec(path: &Path, spec: &Value, warnings: &mut Vec<String>) {
    for list in ["requests", "limits"] {
        let amount = &spec["resources"][list]["storage"];
        if let Some(amount) = quantity(amount).filter(|amount| !amount.is_whole()) {
            let at = path.child("resources").child(list).key("storage");
            let amount = amount.to_string();
            warnings.push(format!("{at}: fractional byte value {amount:?} is invalid, must be an integer"));
        }
    }
}
