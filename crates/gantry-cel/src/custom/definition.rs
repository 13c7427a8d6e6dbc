//! Whether the rules of a definition can be compiled, and cost no more than rules may.

use gantry_api::custom::rules::validate_defaults;
use gantry_api::field::{FieldError, Path};
use gantry_json::Value as Json;

use super::{RuleCompiler, Scope, message_program, rule_program, rules_of, schema, text};

/// What one expression may cost at most.
const PER_EXPRESSION: u64 = 10_000_000;
/// What all expressions of a schema may cost at most.
const PER_SCHEMA: u64 = 100_000_000;
/// So many of the expressions that make a schema too costly are named.
const NAMED: usize = 4;
/// The largest request, in bytes.
const REQUEST: u64 = 3 << 20;

/// What is wrong with the rules of a CustomResourceDefinition that is otherwise fine; `old` is what
/// it was before, whose rules are not questioned again.
pub fn validate(definition: &Json, old: Option<&Json>) -> Vec<FieldError> {
    let versions = |definition: &Json| definition["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let (versions, before) = (versions(definition), old.map(versions).unwrap_or_default());
    let known = |schema: &Json| before.iter().any(|version| version["schema"] == *schema);
    let mut errors = Vec::new();
    let Some(first) = versions.first() else { return errors };
    let spec = Path::new("spec");
    if versions.iter().all(|version| version["schema"] == first["schema"]) {
        if !known(&first["schema"]) {
            validate_schema(&spec.child("validation"), &first["schema"], &mut errors);
        }
        return errors;
    }
    for (at, version) in versions.iter().enumerate() {
        if !known(&version["schema"]) {
            validate_schema(
                &spec.child("versions").index(at).child("schema"),
                &version["schema"],
                &mut errors,
            );
        }
    }
    errors
}

fn validate_schema(path: &Path, validation: &Json, errors: &mut Vec<FieldError>) {
    let path = path.child("openAPIV3Schema");
    let mut walk = Walk { errors, total: 0, costly: Vec::new() };
    let place = Place { resource: true, instances: Some(1), uncorrelatable: None };
    walk.place(&path, &validation["openAPIV3Schema"], &place);
    let Walk { total, mut costly, errors } = walk;
    if total > PER_SCHEMA {
        costly.sort_by_key(|each| std::cmp::Reverse(each.0));
        for (_, path) in costly.into_iter().take(NAMED) {
            let words =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(&path, words));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(&path, exceeds(what, total, PER_SCHEMA)));
    }
    if errors.is_empty() {
        errors.extend(validate_defaults(&path, &validation["openAPIV3Schema"], &RuleCompiler));
    }
}

/// That something costs too much, and by how much.
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

struct Walk<'e> {
    errors: &'e mut Vec<FieldError>,
    total: u64,
    costly: Vec<(u64, Path)>,
}

/// Where a schema stands.
struct Place {
    /// Whether a whole resource is there.
    resource: bool,
    /// How many values may stand there in one object, if that is limited.
    instances: Option<u64>,
    /// The list below which old and new values cannot be told to belong together.
    uncorrelatable: Option<Path>,
}

impl Place {
    /// The place of entries of which there may be `most` for each value here.
    fn below(&self, schema: &Json, most: Option<u64>) -> Self {
        Self {
            resource: schema["x-kubernetes-embedded-resource"] == true,
            instances: self.instances.zip(most).map(|(here, most)| here.saturating_mul(most)),
            uncorrelatable: self.uncorrelatable.clone(),
        }
    }
}

impl Walk<'_> {
    fn place(&mut self, path: &Path, schema: &Json, place: &Place) {
        if !schema.is_object() {
            return;
        }
        self.rules(path, schema, place);
        let limit = |key: &str| schema[key].as_i64().map(|limit| limit.max(0) as u64);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let below = place.below(property, Some(1));
            self.place(&path.child("properties").key(name), property, &below);
        }
        let additional = &schema["additionalProperties"];
        let below = place.below(additional, limit("maxProperties"));
        self.place(&path.child("additionalProperties"), additional, &below);
        let items = &schema["items"];
        let mut below = place.below(items, limit("maxItems"));
        if text(schema, "x-kubernetes-list-type") != "map" && below.uncorrelatable.is_none() {
            below.uncorrelatable = Some(path.clone());
        }
        self.place(&path.child("items"), items, &below);
    }

    fn rules(&mut self, path: &Path, schema: &Json, place: &Place) {
        let rules = rules_of(schema);
        if rules.is_empty() {
            return;
        }
        let at = path.child("x-kubernetes-validations");
        let (Ok(scope), Some(sized)) =
            (Scope::new(schema, place.resource), schema::sized(schema, place.resource))
        else {
            let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let kind = text(schema, "type");
            let words = format!(
                "compilation error: rule declared on schema that does not support validation rules type: '{kind}' x-kubernetes-preserve-unknown-fields: '{preserves}'"
            );
            self.errors.push(FieldError::invalid(&at, "", words));
            return;
        };
        let instances = place.instances.unwrap_or(REQUEST / (sized.shortest + 1));
        for (index, rule) in rules.iter().enumerate() {
            let at = at.index(index);
            let environment = scope.environment(rule);
            if !text(rule, "rule").trim().is_empty() {
                let at = at.child("rule");
                match rule_program(environment, rule) {
                    Ok(program) => {
                        let cost = environment.estimate(&program).max.saturating_mul(instances);
                        self.charge(&at, "estimated rule cost", cost);
                        if program.refers_to("oldSelf")
                            && let Some(list) = &place.uncorrelatable
                        {
                            let words = format!(
                                "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                            );
                            self.errors.push(FieldError::invalid(&at, text(rule, "rule"), words));
                        }
                    }
                    Err(words) => self.errors.push(FieldError::invalid(&at, rule.clone(), words)),
                }
            }
            if !text(rule, "messageExpression").trim().is_empty() {
                let at = at.child("messageExpression");
                match message_program(environment, rule) {
                    Ok(program) => {
                        let cost = environment.estimate(&program).max;
                        self.charge(&at, "estimated messageExpression cost", cost);
                    }
                    Err(words) => self.errors.push(FieldError::invalid(&at, rule.clone(), words)),
                }
            }
        }
    }

    fn charge(&mut self, path: &Path, what: &str, cost: u64) {
        if cost > PER_EXPRESSION {
            self.errors.push(FieldError::forbidden(path, exceeds(what, cost, PER_EXPRESSION)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= PER_SCHEMA / 100 {
            self.costly.push((cost, path.clone()));
        }
    }
}
