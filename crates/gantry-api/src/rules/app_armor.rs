//! AppArmor profiles that annotations name, from before there was a field for them (KEP-24).

use gantry_json::{Value, json};

use super::common::{list, text};
use super::security_context;
use crate::field::Path;

/// What the annotation of a container's profile begins with, before the container's name.
pub(super) const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const DEPRECATED: &str = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;

/// An annotation of a container that has no profile of its own.
struct Annotated {
    /// The list in which the container is, and its place there.
    place: (&'static str, usize),
    key: String,
    /// The profile, where the value names one that the field may have.
    profile: Option<Value>,
}

fn annotated(pod: &Value) -> Vec<Annotated> {
    let (annotations, spec) = (&pod["metadata"]["annotations"], &pod["spec"]);
    let any = annotations.as_object().is_some_and(|all| all.keys().any(|key| key.starts_with(PREFIX)));
    if !any || spec["os"]["name"] == "windows" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            let key = format!("{PREFIX}{}", text(container, "name"));
            if let Some(value) = annotations[&key].as_str()
                && container["securityContext"]["appArmorProfile"].is_null()
            {
                found.push(Annotated { place: (field, at), key, profile: profile(value) });
            }
        }
    }
    found
}

/// The profile that an annotation's value names.
fn profile(value: &str) -> Option<Value> {
    let profile = match value {
        "unconfined" => json!({"type": "Unconfined"}),
        "runtime/default" => json!({"type": "RuntimeDefault"}),
        _ => json!({"type": "Localhost", "localhostProfile": value.strip_prefix("localhost/")?}),
    };
    let mut errors = Vec::new();
    security_context::app_armor(&Path::default(), &profile, &mut errors);
    errors.is_empty().then_some(profile)
}

/// What is said about a new pod's annotations that say something else than its fields.
pub(super) fn warnings(pod: &Value) -> Vec<String> {
    let whole = &pod["spec"]["securityContext"]["appArmorProfile"];
    let differ = annotated(pod).into_iter().filter(|annotated| annotated.profile.as_ref() != Some(whole));
    differ.map(|annotated| said(&Path::new("metadata"), &annotated.key)).collect()
}

/// What is said about the annotations of the template at `path`.
pub(super) fn of_template(path: &Path, template: &Value) -> Vec<String> {
    let metadata = path.child("metadata");
    annotated(template).iter().map(|annotated| said(&metadata, &annotated.key)).collect()
}

fn said(metadata: &Path, key: &str) -> String {
    format!("{}: {DEPRECATED}", metadata.child("annotations").key(key))
}

/// Gives containers the profiles that annotations name.
pub(super) fn to_fields(pod: &mut Value) {
    let whole = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    for Annotated { place: (field, at), profile, .. } in annotated(pod) {
        if let Some(profile) = profile.filter(|profile| *profile != whole) {
            pod["spec"][field][at]["securityContext"]["appArmorProfile"] = profile;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: &str, whole: Value) -> Value {
        let annotations = json!({format!("{PREFIX}c"): value});
        json!({"metadata": {"annotations": annotations}, "spec": {
            "securityContext": {"appArmorProfile": whole}, "containers": [{"name": "c"}]}})
    }

    #[test]
    fn annotations_become_fields() {
        let words = format!("metadata.annotations[{PREFIX}c]: {DEPRECATED}");
        let local = |name: &str| json!({"type": "Localhost", "localhostProfile": name});
        for (value, profile) in [
            ("unconfined", json!({"type": "Unconfined"})),
            ("runtime/default", json!({"type": "RuntimeDefault"})),
            ("localhost/a", local("a")),
            ("localhost/", Value::Null),
            ("localhost/ a", Value::Null),
            ("other", Value::Null),
        ] {
            let mut pod = pod(value, Value::Null);
            assert_eq!(warnings(&pod), std::slice::from_ref(&words), "{value}");
            to_fields(&mut pod);
            assert_eq!(
                pod["spec"]["containers"][0]["securityContext"]["appArmorProfile"], profile,
                "{value}"
            );
        }
    }

    #[test]
    fn what_the_pod_says_already_is_not_said_again() {
        let mut same = pod("unconfined", json!({"type": "Unconfined"}));
        assert!(warnings(&same).is_empty());
        to_fields(&mut same);
        assert!(same["spec"]["containers"][0].get("securityContext").is_none());
        let mut own = pod("unconfined", Value::Null);
        own["spec"]["containers"][0]["securityContext"] =
            json!({"appArmorProfile": {"type": "RuntimeDefault"}});
        assert!(warnings(&own).is_empty());
        let mut windows = pod("unconfined", Value::Null);
        windows["spec"]["os"] = json!({"name": "windows"});
        assert!(warnings(&windows).is_empty());
        let template = pod("unconfined", json!({"type": "Unconfined"}));
        let path = Path::new("spec").child("template");
        assert_eq!(
            of_template(&path, &template),
            [format!("spec.template.metadata.annotations[{PREFIX}c]: {DEPRECATED}")]
        );
    }
}
