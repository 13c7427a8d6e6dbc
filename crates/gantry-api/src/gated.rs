//! Fields that are there only where a feature gate is on: of what a client sends they are dropped, but where
//! the stored object uses them already, so that a gate that is turned off breaks nothing.
//!
//! Which fields these are is data; where they stand in a kind follows from its structure.

use std::collections::HashMap;
use std::sync::LazyLock;

use gantry_json::Value;

use crate::features::FeatureGates;
use crate::schema::{DefinitionId, Schemas, Type};

/// A line of the data: what belongs together, and the gate that it needs.
#[derive(Debug)]
struct Group {
    gate: &'static str,
    fields: Vec<GatedField>,
}

#[derive(Debug)]
struct GatedField {
    definition: DefinitionId,
    name: &'static str,
    /// The field's own field that matters.
    only_with: Option<&'static str>,
}

/// Groups by their places, of which there are few.
type Groups = u64;

fn groups() -> &'static [Group] {
    static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
        let lines = include_str!("gated/fields.txt").lines().filter(|line| !line.starts_with('#'));
        let group = |line: &'static str| {
            let (gate, fields) = line.split_once(' ')?;
            Some(Group { gate, fields: fields.split(' ').filter_map(gated_field).collect() })
        };
        lines.filter_map(group).collect()
    });
    &GROUPS
}

fn gated_field(text: &'static str) -> Option<GatedField> {
    let (text, only_with) = match text.split_once(".?") {
        Some((text, only)) => (text, Some(only)),
        None => (text, None),
    };
    let (definition, name) = text.rsplit_once('.')?;
    let definition = Schemas::builtin().by_name(&format!("io.k8s.api.{definition}"))?;
    Schemas::builtin().get(definition).field(name)?;
    Some(GatedField { definition, name, only_with })
}

/// Where gated fields stand in an object; a list's items are all alike.
#[derive(Debug, Default)]
struct Places {
    fields: Vec<(Box<str>, Places)>,
    /// What stands under each key of a map.
    values: Option<Box<Places>>,
    /// The group that this place is one of.
    group: Option<(Groups, Option<&'static str>)>,
}

impl Places {
    fn of(definition: DefinitionId) -> Self {
        Self::under(&Type::Object(definition), &mut Vec::new())
    }

    fn under(kind: &Type, within: &mut Vec<DefinitionId>) -> Self {
        let mut places = Self::default();
        match kind {
            Type::List(item) => return Self::under(item, within),
            Type::Map(item) => {
                let values = Self::under(item, within);
                places.values = (!values.is_empty()).then(|| Box::new(values));
            }
            // What holds its own kind holds nothing that is gated.
            Type::Object(id) if !within.contains(id) => {
                within.push(*id);
                for field in &Schemas::builtin().get(*id).fields {
                    let mut at = Self::under(&field.kind, within);
                    at.group = group_of(*id, &field.name);
                    if !at.is_empty() {
                        places.fields.push((field.name.clone(), at));
                    }
                }
                within.pop();
            }
            _ => {}
        }
        places
    }

    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.values.is_none() && self.group.is_none()
    }

    /// The groups that a value uses.
    fn used(&self, value: &Value) -> Groups {
        match value {
            Value::Null => 0,
            Value::Array(items) => items.iter().fold(0, |used, item| used | self.used(item)),
            Value::Object(map) => {
                let named = self.fields.iter().filter_map(|(name, places)| {
                    let value = map.get(name)?;
                    Some(places.used(value) | places.here(value))
                });
                let mut used = named.fold(0, |used, each| used | each);
                if let Some(values) = &self.values {
                    used = map.values().fold(used, |used, value| used | values.used(value));
                }
                used
            }
            _ => 0,
        }
    }

    /// The group of this place, where something stands in it.
    fn here(&self, value: &Value) -> Groups {
        match self.group {
            Some((group, only_with))
                if !value.is_null() && only_with.is_none_or(|only| !value[only].is_null()) =>
            {
                group
            }
            _ => 0,
        }
    }

    /// Removes what is of these groups.
    fn remove(&self, value: &mut Value, groups: Groups) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.remove(item, groups)),
            Value::Object(map) => {
                for (name, places) in &self.fields {
                    let Some(value) = map.get_mut(name) else { continue };
                    if places.here(value) & groups != 0 {
                        map.remove(name);
                    } else {
                        places.remove(value, groups);
                    }
                }
                if let Some(values) = &self.values {
                    map.values_mut().for_each(|value| values.remove(value, groups));
                }
            }
            _ => {}
        }
    }
}

fn group_of(definition: DefinitionId, name: &str) -> Option<(Groups, Option<&'static str>)> {
    groups().iter().enumerate().find_map(|(at, group)| {
        let is = |field: &&GatedField| field.definition == definition && field.name == name;
        Some((1 << at, group.fields.iter().find(is)?.only_with))
    })
}

/// Which fields are gated off; by default none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gated {
    off: Groups,
}

impl Gated {
    /// What is gated off by `gates`.
    pub fn new(gates: &FeatureGates) -> Self {
        let off = groups().iter().enumerate().filter(|(_, group)| !gates.enabled(group.gate));
        Self { off: off.fold(0, |off, (at, _)| off | 1 << at) }
    }

    /// Drops what is gated off from an object of a definition; not what `old`, which it replaces, uses.
    pub fn drop_from(&self, definition: DefinitionId, object: &mut Value, old: Option<&Value>) {
        static PLACES: LazyLock<HashMap<DefinitionId, Places>> = LazyLock::new(|| {
            let all = Schemas::builtin().iter().filter(|(_, definition)| !definition.kinds.is_empty());
            let places = all.map(|(id, _)| (id, Places::of(id)));
            places.filter(|(_, places)| !places.is_empty()).collect()
        });
        let Some(places) = PLACES.get(&definition) else { return };
        let used = places.used(object) & self.off;
        if used != 0 {
            let kept = old.map_or(0, |old| places.used(old));
            places.remove(object, used & !kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn check(gates: &str, kind: [&str; 3], object: Value, old: Option<Value>, expect: Value) {
        let id = Schemas::builtin().by_kind(kind[0], kind[1], kind[2]).expect("known");
        let mut object = object;
        let gates = FeatureGates::parse([gates]).expect(gates);
        Gated::new(&gates).drop_from(id, &mut object, old.as_ref());
        assert_eq!(object, expect);
    }

    #[test]
    fn every_line_names_a_gate_and_fields() {
        let all = FeatureGates::parse(["AllAlpha=true,AllBeta=true"]).expect("reads");
        let lines = include_str!("gated/fields.txt").lines().filter(|line| !line.starts_with('#'));
        assert!(groups().len() < 64);
        for (line, group) in lines.zip(groups()) {
            assert_eq!(group.fields.len() + 1, line.split(' ').count(), "{line}");
            let chosen = FeatureGates::parse([format!("{}=true", group.gate).as_str()]);
            assert!(all.enabled(group.gate) || chosen.is_ok(), "{line}");
            assert!(!FeatureGates::default().enabled(group.gate), "{line}");
        }
    }

    #[test]
    fn what_is_gated_off_is_dropped_but_where_it_is_in_use() {
        let lease = ["coordination.k8s.io", "v1", "Lease"];
        let both = json!({"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "x", "holderIdentity": "y"}});
        check("", lease, both.clone(), None, json!({"spec": {"holderIdentity": "y"}}));
        check("CoordinatedLeaderElection=true", lease, both.clone(), None, both.clone());
        let old = json!({"spec": {"strategy": "other"}});
        let kept = json!({"spec": {"strategy": "OldestEmulationVersion", "holderIdentity": "y"}});
        check("", lease, both.clone(), Some(old), kept);
        check("", lease, both.clone(), Some(both.clone()), both);
    }

    #[test]
    fn fields_are_found_wherever_they_stand() {
        let container = |more: Value| json!({"name": "c", "lifecycle": more});
        let stop = json!({"stopSignal": "SIGTERM", "preStop": {"sleep": {"seconds": 1}}});
        let rest = json!({"preStop": {"sleep": {"seconds": 1}}});
        let of = |more: &Value| {
            let spec = json!({
                "containers": [container(more.clone())], "initContainers": [container(more.clone())],
            });
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}})
        };
        check("", ["batch", "v1", "CronJob"], of(&stop), None, of(&rest));
        let slice =
            |capacity: Value| json!({"spec": {"devices": [{"name": "d", "capacity": {"memory": capacity}}]}});
        let policy = slice(json!({"value": "1Gi", "requestPolicy": {"default": "1Mi"}}));
        check("", ["resource.k8s.io", "v1", "ResourceSlice"], policy, None, slice(json!({"value": "1Gi"})));
    }

    #[test]
    fn a_source_in_another_namespace_is_dropped_as_a_whole() {
        let claim = |source: Value| json!({"spec": {"dataSourceRef": source, "volumeName": "v"}});
        let kind = ["", "v1", "PersistentVolumeClaim"];
        let here = claim(json!({"kind": "A", "name": "b"}));
        check("", kind, here.clone(), None, here);
        let there = claim(json!({"kind": "A", "name": "b", "namespace": "c"}));
        check("", kind, there, None, json!({"spec": {"volumeName": "v"}}));
    }
}
