//! Strategic merge patch: a merge that finds list items by their merge keys and obeys directives.

use gantry_json::{Key, Map, Value};

use crate::go::no_object;
use crate::schema::{DefinitionId, Field, Schemas, Type};
use crate::status::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

/// `current`, an object of `schema`, merged with `patch`. 400 where a directive makes no sense.
pub fn strategic_merge(
    schemas: &Schemas,
    schema: DefinitionId,
    current: &Value,
    patch: &Value,
) -> Result<Value, ApiError> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(ApiError::bad_request(no_object(patch)));
    };
    let merge = Merge { schemas };
    Ok(Value::Object(merge.maps(Some(&Type::Any), Some(schema), current.clone(), patch)?))
}

struct Merge<'a> {
    schemas: &'a Schemas,
}

fn bad(why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("invalid strategic merge patch: {why}"))
}

impl<'a> Merge<'a> {
    fn definition(kind: Option<&Type>) -> Option<DefinitionId> {
        match kind {
            Some(Type::Object(id)) => Some(*id),
            _ => None,
        }
    }

    fn maps(
        &self,
        kind: Option<&'a Type>,
        definition: Option<DefinitionId>,
        mut current: Map,
        patch: &Map,
    ) -> Result<Map, ApiError> {
        match patch.get(PATCH).map(Value::as_str) {
            None => {}
            Some(Some("replace")) => {
                return Ok(patch.iter().filter(|(name, _)| *name != PATCH).map(own).collect());
            }
            Some(Some("delete")) => return Ok(Map::new()),
            Some(Some("merge")) => {}
            Some(other) => {
                return Err(bad(format!("unknown patch type {:?} in map", other.unwrap_or_default())));
            }
        }
        if let Some(Value::Array(keep)) = patch.get(RETAIN_KEYS) {
            current.retain(|name, _| keep.iter().any(|each| each == name));
        }
        for (name, values) in patch {
            let Some(list) = name.strip_prefix(DELETE_PREFIX) else { continue };
            let values = values.as_array().ok_or_else(|| bad(format!("{name} is not a list")))?;
            if let Some(Value::Array(items)) = current.get_mut(list) {
                items.retain(|item| !values.contains(item));
            }
        }
        for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
            let field = definition.and_then(|id| self.schemas.get(id).field(name));
            let below = match (field, kind) {
                (Some(field), _) => Some(&field.kind),
                (None, Some(Type::Map(inner))) => Some(&**inner),
                _ => None,
            };
            match (value, current.remove(name)) {
                (Value::Null, _) => {}
                (Value::Object(patch), before) => {
                    if patch.get(PATCH).and_then(Value::as_str) == Some("delete") {
                        continue;
                    }
                    let before = match before {
                        Some(Value::Object(before)) => before,
                        _ => Map::new(),
                    };
                    let merged = self.maps(below, Self::definition(below), before, patch)?;
                    current.insert(name.clone(), Value::Object(merged));
                }
                (Value::Array(patch), before) => {
                    let before = match before {
                        Some(Value::Array(before)) => before,
                        _ => Vec::new(),
                    };
                    let items = self.lists(field, before, patch)?;
                    current.insert(name.clone(), Value::Array(items));
                }
                (value, _) => {
                    current.insert(name.clone(), value.clone());
                }
            }
        }
        for (name, order) in patch {
            let Some(list) = name.strip_prefix(ORDER_PREFIX) else { continue };
            let order = order.as_array().ok_or_else(|| bad(format!("{name} is not a list")))?;
            let field = definition.and_then(|id| self.schemas.get(id).field(list));
            if let Some(Value::Array(items)) = current.get_mut(list) {
                let key = field.and_then(|field| field.merge_key.as_deref());
                sort(items, order, key);
            }
        }
        Ok(current)
    }

    fn lists(
        &self,
        field: Option<&'a Field>,
        mut current: Vec<Value>,
        patch: &[Value],
    ) -> Result<Vec<Value>, ApiError> {
        let replaces = patch.iter().any(|item| item[PATCH] == "replace");
        let Some(field) = field.filter(|field| field.merges && !replaces) else {
            return Ok(patch.iter().filter(|item| item[PATCH] != "replace").cloned().collect());
        };
        let item_type = match &field.kind {
            Type::List(inner) => Some(&**inner),
            _ => None,
        };
        let Some(key) = field.merge_key.as_deref() else {
            for item in patch {
                if !current.contains(item) {
                    current.push(item.clone());
                }
            }
            return Ok(current);
        };
        for item in patch {
            let Value::Object(fields) = item else {
                return Err(bad("expected an object in a list merged by key"));
            };
            let value = fields
                .get(key)
                .ok_or_else(|| bad(format!("map: {item} does not contain declared merge key: {key}")))?;
            let at = current.iter().position(|each| &each[key] == value);
            match (fields.get(PATCH).and_then(Value::as_str), at) {
                (Some("delete"), _) => current.retain(|each| &each[key] != value),
                (_, Some(at)) => {
                    let before = match current[at].take() {
                        Value::Object(before) => before,
                        _ => Map::new(),
                    };
                    let merged = self.maps(item_type, Self::definition(item_type), before, fields)?;
                    current[at] = Value::Object(merged);
                }
                (_, None) => {
                    let made = self.maps(item_type, Self::definition(item_type), Map::new(), fields)?;
                    current.push(Value::Object(made));
                }
            }
        }
        Ok(current)
    }
}

fn own((name, value): (&Key, &Value)) -> (Key, Value) {
    (name.clone(), value.clone())
}

/// Puts the items in `order`; those not in it stay behind the one they followed.
fn sort(items: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let place = |item: &Value| match key {
        Some(key) => order.iter().position(|each| each.get(key).is_some_and(|value| value == &item[key])),
        None => order.iter().position(|each| each == item),
    };
    let mut groups: Vec<(Option<usize>, Vec<Value>)> = vec![(None, Vec::new())];
    for item in items.drain(..) {
        match place(&item) {
            None => groups.last_mut().expect("there is a first group").1.push(item),
            at => groups.push((at, vec![item])),
        }
    }
    groups.sort_by_key(|(at, _)| *at);
    items.extend(groups.into_iter().flat_map(|(_, items)| items));
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn pod(current: Value, patch: Value) -> Result<Value, ApiError> {
        let schemas = Schemas::builtin();
        strategic_merge(schemas, schemas.by_kind("", "v1", "Pod").expect("there"), &current, &patch)
    }

    #[test]
    fn containers_merge_by_name() {
        let current =
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "2"}, {"name": "c", "image": "3"}]}});
        let merged = pod(current.clone(), patch).expect("merges");
        assert_eq!(
            merged["spec"]["containers"],
            json!([{"name": "b", "image": "1"}, {"name": "c", "image": "3"}, {"name": "a", "image": "2"}])
        );
        let merged =
            pod(current.clone(), json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}));
        assert_eq!(merged.expect("merges")["spec"]["containers"], json!([{"name": "b", "image": "1"}]));
        let merged =
            pod(current.clone(), json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}));
        assert_eq!(merged.expect("merges")["spec"]["containers"], json!([{"name": "z"}]));
        assert_eq!(
            pod(current.clone(), json!({"spec": {"containers": [{"image": "x"}]}})).expect_err("no key").code,
            400
        );
        let refused = pod(current, json!("a")).expect_err("no object");
        let words = "json: cannot unmarshal string into Go value of type map[string]interface {}";
        assert_eq!((refused.code, refused.message.as_str()), (400, words));
    }

    #[test]
    fn primitive_lists_and_directives() {
        let current = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
            "labels": {"x": null, "z": "3"}}});
        let merged = pod(current.clone(), patch).expect("merges");
        assert_eq!(merged["metadata"], json!({"finalizers": ["b", "c"], "labels": {"y": "2", "z": "3"}}));
        let merged =
            pod(current, json!({"metadata": {"labels": {"$patch": "replace", "q": "1"}}})).expect("merges");
        assert_eq!(merged["metadata"]["labels"], json!({"q": "1"}));
        let current = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let patch = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}});
        let merged = pod(current, patch).expect("merges");
        assert_eq!(merged["spec"]["volumes"], json!([{"name": "v", "secret": {"secretName": "s"}}]));
    }
}
