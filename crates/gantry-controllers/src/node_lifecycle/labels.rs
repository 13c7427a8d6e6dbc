//! Labels that have an older name, under which they are kept too.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;

const NAMES: [(&str, &str); 2] =
    [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];

/// The labels to add or change; empty where they are right.
pub(super) fn missing(node: &Node) -> BTreeMap<&'static str, String> {
    let Some(labels) = &node.metadata.labels else { return BTreeMap::new() };
    let differs = |(name, old): &(&str, &'static str)| {
        let value = labels.get(*name).filter(|value| labels.get(*old) != Some(value))?;
        Some((*old, value.clone()))
    };
    NAMES.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn the_old_names_follow_the_new_ones() {
        let check = |labels: Value, expect: &[(&str, &str)]| {
            let node = gantry_json::from_value(json!({"metadata": {"labels": labels}})).expect("a Node");
            let found = missing(&node);
            assert_eq!(found.iter().map(|(key, value)| (*key, &**value)).collect::<Vec<_>>(), expect);
        };
        check(json!({}), &[]);
        check(json!({"beta.kubernetes.io/os": "linux"}), &[]);
        check(json!({"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux"}), &[]);
        check(json!({"kubernetes.io/os": "linux"}), &[("beta.kubernetes.io/os", "linux")]);
        check(
            json!({"kubernetes.io/arch": "arm64", "beta.kubernetes.io/arch": "amd64"}),
            &[("beta.kubernetes.io/arch", "arm64")],
        );
    }
}
