//! Pod templates: when two mean the same, and the hash that tells the ReplicaSets of a Deployment and
//! their pods apart.

use gantry_json::Value;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label with the hash, on ReplicaSets, their selectors and their pods.
pub const HASH_LABEL: &str = "pod-template-hash";

/// What no vowel and no lookalike is among, so that no word comes out.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Maps in which having no entry and not being there mean the same.
const MAPS: &[&str] =
    &["annotations", "labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests"];

/// The hash of `template`. `collisions` is counted up when an unrelated ReplicaSet has the name that
/// the hash gives.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    add(canonical(template).to_string().as_bytes());
    if let Some(collisions) = collisions {
        add(&collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// Whether pods of both templates are the same, whatever their hash label says.
pub fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let metadata = |template: &PodTemplateSpec| {
        let mut metadata = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = &mut metadata.labels {
            labels.remove(HASH_LABEL);
        }
        metadata
    };
    (a.spec == b.spec && metadata(a) == metadata(b)) || canonical(a) == canonical(b)
}

/// The template without its hash label, with one way of writing what can be written in several.
fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = gantry_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    tidy("", &mut value);
    value
}

fn tidy(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let quantities = matches!(name, "limits" | "requests" | "overhead");
            for (key, field) in fields.iter_mut() {
                if (quantities || matches!(key.as_str(), "sizeLimit" | "divisor"))
                    && let Some(Ok(amount)) = field.as_str().map(str::parse::<gantry_api::quantity::Quantity>)
                {
                    *field = amount.to_string().into();
                } else {
                    tidy(key, field);
                }
            }
            fields.retain(|key, field| match field {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&key.as_str()),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy("", item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn template(labels: Value, container: Value) -> PodTemplateSpec {
        gantry_json::from_value(json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}}))
            .expect("a template")
    }

    #[test]
    fn the_hash_label_and_ways_of_writing_do_not_count() {
        let plain = template(json!({"a": "b"}), json!({"name": "c", "resources": {"limits": {"cpu": "1"}}}));
        let labelled = template(
            json!({"a": "b", HASH_LABEL: "x"}),
            json!({"name": "c", "args": [], "resources": {"limits": {"cpu": "1000m"}, "requests": {}}}),
        );
        assert!(same(&plain, &labelled));
        assert_eq!(hash(&plain, None), hash(&labelled, None));
        let other = template(json!({"a": "b"}), json!({"name": "c", "image": "d"}));
        assert!(!same(&plain, &other));
        assert_ne!(hash(&plain, None), hash(&other, None));
        assert!(!same(
            &plain,
            &template(json!({}), json!({"name": "c", "resources": {"limits": {"cpu": "1"}}}))
        ));
    }

    #[test]
    fn a_collision_gives_another_hash() {
        let plain = template(json!({"a": "b"}), json!({"name": "c"}));
        let hashes = [hash(&plain, None), hash(&plain, Some(1)), hash(&plain, Some(2))];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
        assert!(hashes.iter().all(|hash| hash.bytes().all(|letter| LETTERS.contains(&letter))));
    }

    #[test]
    fn an_empty_object_can_mean_something() {
        let volumes = |volume: Value| -> PodTemplateSpec {
            gantry_json::from_value(json!({"spec": {"containers": [], "volumes": [volume]}}))
                .expect("a template")
        };
        assert!(!same(&volumes(json!({"name": "v", "emptyDir": {}})), &volumes(json!({"name": "v"}))));
    }
}
