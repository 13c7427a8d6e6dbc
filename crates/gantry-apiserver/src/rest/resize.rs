//! The `resize` subresource of pods: CPU and memory of running containers change, nothing else does.

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::pod::qos_class;
use gantry_json::Value;

/// The lists whose containers can be resized.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// The resources that can change while a container runs.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Keeps everything of `current` but what containers of the same names ask for.
pub(super) fn split(object: &mut Value, current: &Value) {
    let mut new = std::mem::replace(object, current.clone());
    let managed = new["metadata"]["managedFields"].take();
    if !managed.is_null() {
        object["metadata"]["managedFields"] = managed;
    }
    for list in LISTS {
        for container in object["spec"][list].as_array_mut().into_iter().flatten() {
            // What runs to its end before the others start has been sized already.
            if list == "initContainers" && container["restartPolicy"] != "Always" {
                continue;
            }
            let Some(wanted) = named(&new["spec"][list], &container["name"]) else { continue };
            for field in ["resources", "resizePolicy"] {
                match (wanted.get(field), container.as_object_mut()) {
                    (Some(value), Some(container)) => drop(container.insert(field.into(), value.clone())),
                    (None, Some(container)) => drop(container.remove(field)),
                    (_, None) => {}
                }
            }
        }
    }
}

/// What is wrong with the change from `current` to `object`.
pub(super) fn validate(object: &Value, current: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = Path::new("spec");
    let (new, old) = (&object["spec"], &current["spec"]);
    if qos_class(new) != qos_class(old) {
        let class = current["status"]["qosClass"].as_str().unwrap_or_else(|| qos_class(old));
        errors.push(FieldError::invalid(
            &spec,
            class,
            "Pod QOS Class may not change as a result of resizing",
        ));
    }
    let mut others = false;
    for list in LISTS {
        for (at, container) in new[list].as_array().into_iter().flatten().enumerate() {
            let Some(before) = named(&old[list], &container["name"]) else { continue };
            let path = spec.child(list).index(at).child("resources");
            for (field, what) in [("requests", "resource requests"), ("limits", "resource limits")] {
                let (is, was) = (&container["resources"][field], &before["resources"][field]);
                if was.as_object().is_some_and(|was| was.keys().any(|name| is.get(name).is_none())) {
                    let words = format!("{what} cannot be removed");
                    errors.push(FieldError::forbidden(&path.child(field), words));
                }
            }
            others |= fixed(container) != fixed(before);
        }
    }
    if others {
        errors.push(FieldError::forbidden(&spec, "only cpu and memory resources are mutable"));
    }
    errors
}

fn named<'a>(list: &'a Value, name: &Value) -> Option<&'a Value> {
    list.as_array()?.iter().find(|container| container["name"] == *name)
}

/// What no resize may change of a container.
fn fixed(container: &Value) -> Value {
    let mut container = container.clone();
    for field in ["requests", "limits"] {
        if let Some(list) = container["resources"][field].as_object_mut() {
            list.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
        }
        let empty = container["resources"][field].as_object().is_none_or(gantry_json::Map::is_empty);
        if let (true, Some(resources)) = (empty, container["resources"].as_object_mut()) {
            resources.remove(field);
        }
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "c", "image": "x", "resources": resources}]},
            "status": {"qosClass": "Burstable"}})
    }

    fn after(current: &Value, mut object: Value) -> Value {
        split(&mut object, current);
        object
    }

    #[test]
    fn only_resources_change() {
        let current = pod(json!({"requests": {"cpu": "1"}}));
        let mut wanted = pod(json!({"requests": {"cpu": "2"}}));
        wanted["metadata"]["labels"] = json!({"a": "b"});
        wanted["spec"]["containers"][0]["image"] = "other".into();
        wanted["spec"]["initContainers"][0]["resources"] = json!({});
        assert_eq!(after(&current, wanted), pod(json!({"requests": {"cpu": "2"}})));
    }

    #[test]
    fn what_a_resize_may_not_do() {
        let current = pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}));
        for (resources, expect) in [
            (json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "3"}}), vec![]),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi"}}),
                vec!["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"],
            ),
            (
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}),
                vec!["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
            ),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "2"}}),
                vec!["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
        ] {
            let errors = validate(&after(&current, pod(resources.clone())), &current);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, expect, "{resources}");
        }
        let mut guaranteed =
            pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}));
        guaranteed["spec"]["initContainers"] = json!([]);
        let mut current = guaranteed.clone();
        current["status"]["qosClass"] = "Guaranteed".into();
        guaranteed["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2".into();
        let errors = validate(&guaranteed, &current);
        assert_eq!(
            errors[0].to_string(),
            "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing"
        );
    }
}
