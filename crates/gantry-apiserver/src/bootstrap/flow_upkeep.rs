//! What has to be written so that the default flow schemas and priority levels are as they should be.
//!
//! The mandatory ones are always put right. The suggested ones are put right unless an administrator has said
//! otherwise, or has changed them before anything was said; they come back when they are removed. What says
//! that it is kept up to date and is no longer among the defaults is removed.

use gantry_api::registry::Kind;
use gantry_json::Value;

/// Says whether an object is kept as the defaults are.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The name of the level, and of the schema, that has no limit.
const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Upkeep {
    /// This object is missing.
    Create(Value),
    /// This object has to be like this.
    Replace(Value),
    /// The object of this name is not wanted.
    Remove(String),
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// What an object says of being kept up to date.
fn said(object: &Value) -> Option<bool> {
    match object["metadata"]["annotations"][AUTO_UPDATE].as_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What has to be written where `existing` are the objects of `kind` that there are, and `defaults` those that
/// there should be.
pub fn flow_upkeep(kind: &Kind, existing: &[Value], defaults: &[Value]) -> Vec<Upkeep> {
    let find = |all: &[Value], wanted: &str| all.iter().position(|each| name(each) == wanted);
    let mut writes: Vec<Upkeep> = Vec::new();
    for default in defaults {
        match find(existing, name(default)) {
            None => writes.push(Upkeep::Create(default.clone())),
            Some(at) => writes.extend(right(kind, &existing[at], default).map(Upkeep::Replace)),
        }
    }
    let unwanted = existing.iter().filter(|each| said(each) == Some(true));
    let unwanted = unwanted.map(name).filter(|name| find(defaults, name).is_none());
    writes.extend(unwanted.map(|name| Upkeep::Remove(name.to_owned())));
    writes
}

/// What an object has to be to be like its default; `None`: it is right as it is.
fn right(kind: &Kind, existing: &Value, default: &Value) -> Option<Value> {
    let mandatory = [EXEMPT, CATCH_ALL].contains(&name(default));
    let untouched = existing["metadata"]["generation"] == 1;
    let keep = mandatory || said(existing).unwrap_or(untouched);
    let mut next = existing.clone();
    if said(existing) != Some(keep) {
        next["metadata"]["annotations"][AUTO_UPDATE] = keep.to_string().into();
    }
    if keep {
        let mut wanted = kind.decode_value(default.clone()).ok()?.value;
        kind.default(&mut wanted);
        let mut spec = wanted["spec"].take();
        // How much the exempt level lends is the administrator's to say.
        if name(default) == EXEMPT && existing["spec"]["exempt"].is_object() && spec["exempt"].is_object() {
            spec["exempt"] = existing["spec"]["exempt"].clone();
        }
        next["spec"] = spec;
    }
    (next != *existing).then_some(next)
}

#[cfg(test)]
mod tests {
    use gantry_api::registry::Registry;
    use gantry_json::json;

    use super::*;
    use crate::bootstrap::{flow_schemas, priority_levels};

    fn kind(name: &str) -> &'static Kind {
        Registry::builtin().by_gvk("flowcontrol.apiserver.k8s.io", "v1", name).unwrap()
    }

    /// The defaults as a server stores them.
    fn stored(kind: &Kind, defaults: &[Value]) -> Vec<Value> {
        let stored = |default: &Value| {
            let mut object = kind.decode_value(default.clone()).unwrap().value;
            kind.default(&mut object);
            object["metadata"]["generation"] = json!(1);
            object["metadata"]["resourceVersion"] = json!("7");
            object
        };
        defaults.iter().map(stored).collect()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for (kind, defaults) in
            [(kind("FlowSchema"), flow_schemas()), (kind("PriorityLevelConfiguration"), priority_levels())]
        {
            assert_eq!(flow_upkeep(kind, &stored(kind, &defaults), &defaults), []);
            let all: Vec<_> = defaults.iter().cloned().map(Upkeep::Create).collect();
            assert_eq!(flow_upkeep(kind, &[], &defaults), all);
        }
    }

    /// What becomes of the level `name` that is changed.
    fn check(name: &str, change: impl Fn(&mut Value), expect: Option<(i64, &str)>) {
        let (kind, defaults) = (kind("PriorityLevelConfiguration"), priority_levels());
        let mut existing = stored(kind, &defaults);
        let level = existing.iter_mut().find(|each| super::name(each) == name).unwrap();
        change(level);
        let writes = flow_upkeep(kind, &existing, &defaults);
        let found: Vec<_> = writes
            .iter()
            .map(|write| match write {
                Upkeep::Replace(next) => (
                    next["spec"]["limited"]["nominalConcurrencyShares"].as_i64().unwrap_or(-1),
                    next["metadata"]["annotations"][AUTO_UPDATE].as_str().unwrap(),
                ),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, Vec::from_iter(expect), "{name}");
    }

    #[test]
    fn administrators_may_change_what_is_suggested() {
        let shares = |level: &mut Value| level["spec"]["limited"]["nominalConcurrencyShares"] = json!(7);
        let says =
            |level: &mut Value, word: Value| level["metadata"]["annotations"] = json!({AUTO_UPDATE: word});
        let touched = |level: &mut Value| level["metadata"]["generation"] = json!(2);
        check("workload-low", shares, Some((100, "true")));
        check("workload-low", |level| (shares(level), says(level, json!("false"))).1, None);
        check("workload-low", |level| (shares(level), says(level, json!("yes"))).1, Some((100, "true")));
        let unsaid = |level: &mut Value| level["metadata"]["annotations"] = json!({});
        check("workload-low", |level| (shares(level), touched(level), unsaid(level)).2, Some((7, "false")));
        check("catch-all", |level| (shares(level), says(level, json!("false"))).1, Some((5, "true")));
        check("exempt", |level| level["spec"]["exempt"]["lendablePercent"] = json!(50), None);
        check("exempt", |level| level["spec"] = json!({"type": "Limited"}), Some((-1, "true")));
    }

    #[test]
    fn what_was_once_suggested_goes() {
        let kind = kind("FlowSchema");
        let old =
            |name: &str, word: &str| json!({"metadata": {"name": name, "annotations": {AUTO_UPDATE: word}}});
        let existing = [old("a", "true"), old("b", "false"), json!({"metadata": {"name": "c"}})];
        assert_eq!(flow_upkeep(kind, &existing, &[]), [Upkeep::Remove("a".to_owned())]);
    }
}
