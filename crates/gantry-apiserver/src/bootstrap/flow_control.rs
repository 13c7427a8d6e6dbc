//! The priority levels and flow schemas that every cluster starts with, from a table.

use gantry_json::{Value, json};

const TABLE: &str = include_str!("flow_control.txt");
const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// The priority levels.
pub fn priority_levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let limited = TABLE.lines().filter_map(|line| line.strip_prefix("level ")).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok()).unwrap_or_default();
        let response = match words.len() {
            3 => json!({"type": "Reject"}),
            _ => json!({"type": "Queue", "queuing": {
                "queues": number(3), "handSize": number(4), "queueLengthLimit": number(5),
            }}),
        };
        let spec = json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": number(1), "lendablePercent": number(2), "limitResponse": response,
        }});
        (words[0], spec)
    });
    let all = std::iter::once(("exempt", exempt)).chain(limited);
    all.map(|(name, spec)| object("PriorityLevelConfiguration", name, spec)).collect()
}

/// The flow schemas.
pub fn flow_schemas() -> Vec<Value> {
    let mut schemas: Vec<Value> = Vec::new();
    for line in TABLE.lines() {
        if let Some(schema) = line.strip_prefix("schema ") {
            let words: Vec<&str> = schema.split(' ').collect();
            let subjects: Vec<Value> = words[4].split(',').map(subject).collect();
            let mut spec = json!({
                "matchingPrecedence": words[1].parse::<i64>().unwrap_or_default(),
                "priorityLevelConfiguration": {"name": words[2]},
                "rules": [{"subjects": subjects}],
            });
            if words[3] != "-" {
                spec["distinguisherMethod"] = json!({"type": words[3]});
            }
            schemas.push(object("FlowSchema", words[0], spec));
        } else if let (Some(rule), Some(schema)) = (line.strip_prefix("  "), schemas.last_mut()) {
            add_rule(&mut schema["spec"]["rules"][0], rule);
        }
    }
    schemas
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}});
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})
}

fn subject(text: &str) -> Value {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "group" => json!({"kind": "Group", "group": {"name": name}}),
        "user" => json!({"kind": "User", "user": {"name": name}}),
        _ => {
            let (namespace, name) = name.split_once(':').unwrap_or((name, "*"));
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
        }
    }
}

fn add_rule(rules: &mut Value, text: &str) {
    let words: Vec<&str> = text.split(' ').collect();
    let list = |at: usize| words[at].split(',').collect::<Vec<_>>();
    let (field, rule) = if words[1] == "url" {
        ("nonResourceRules", json!({"verbs": list(0), "nonResourceURLs": list(2)}))
    } else {
        let groups: Vec<&str> =
            list(1).into_iter().map(|group| if group == "core" { "" } else { group }).collect();
        // What is in no namespace is meant as well where the rule is about everything or about nodes.
        let everywhere = words[2] == "*" || words[2].contains("nodes");
        let mut rule =
            json!({"verbs": list(0), "apiGroups": groups, "resources": list(2), "namespaces": ["*"]});
        if everywhere {
            rule["clusterScope"] = true.into();
        }
        if words[2].contains("nodes") {
            rule.as_object_mut().map(|rule| rule.remove("namespaces"));
        }
        ("resourceRules", rule)
    };
    if !rules[field].is_array() {
        rules[field] = json!([]);
    }
    if let Some(rules) = rules[field].as_array_mut() {
        rules.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_in_kubernetes() {
        let (levels, schemas) = (priority_levels(), flow_schemas());
        assert_eq!((levels.len(), schemas.len()), (8, 13));
        for schema in &schemas {
            let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
            assert!(levels.iter().any(|each| each["metadata"]["name"] == *level), "{level}");
        }
        let high = schemas.iter().find(|each| each["metadata"]["name"] == "system-node-high").unwrap();
        assert_eq!(
            high["spec"]["rules"][0]["resourceRules"],
            json!([
                {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true},
                {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]},
            ])
        );
    }
}
