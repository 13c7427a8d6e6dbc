//! Checks a policy's expressions against the types of the objects that it names: `object.sepc` is no
//! error until an object comes, but a mistake all the same.

use std::sync::Arc;

use gantry_api::registry::{Kind, Registry};
use gantry_cel::{CompileError, Declared, Environment};
use gantry_json::{Value, json};

use super::super::expression::environment;
use super::super::matching::texts;
use super::base::compose;
use super::list;

/// The most kinds that are checked.
const MOST_KINDS: usize = 10;

/// The warnings about a policy's expressions, as its status has them.
pub(super) fn warnings(policy: &Value, registry: &Registry) -> Vec<Value> {
    let spec = &policy["spec"];
    let params = &spec["paramKind"];
    let base = environment(params.is_object());
    let kinds = kinds(spec, registry);
    let environments: Vec<(String, Environment)> = kinds
        .iter()
        .map(|kind| {
            let declared = Arc::new(declared(kind));
            let mut names =
                base.clone().with_declared("object", declared.clone()).with_declared("oldObject", declared);
            if let Some(kind) = params_kind(params, registry) {
                names = names.with_declared("params", Arc::new(self::declared(&kind)));
            }
            let names = compose(spec, &names).environment(&names);
            (format!("{}, Kind={}", kind.api_version(), kind.kind), names)
        })
        .collect();
    let mut warnings = Vec::new();
    for (at, validation) in list(&spec["validations"]).enumerate() {
        for field in ["expression", "messageExpression"] {
            let Some(text) = validation[field].as_str() else { continue };
            let faults: Vec<String> = environments
                .iter()
                .filter_map(|(kind, names)| match names.compile_any(text) {
                    Err(CompileError::Issues(issues)) => Some(format!("{kind}: {issues}\n")),
                    _ => None,
                })
                .collect();
            if !faults.is_empty() {
                let place = format!("spec.validations[{at}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": faults.join("\n")}));
            }
        }
    }
    warnings
}

fn params_kind(params: &Value, registry: &Registry) -> Option<Arc<Kind>> {
    let api_version = params["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    registry.by_gvk(group, version, params["kind"].as_str()?).cloned()
}

fn declared(kind: &Kind) -> Declared {
    if let Some(custom) = kind.as_custom() {
        return gantry_cel::custom::declared_object(&custom.version().open_api());
    }
    Declared::kind(&kind.group, &kind.version, &kind.kind)
        .unwrap_or_else(|| Declared::new(gantry_cel::Form::Dyn))
}

/// The kinds that the policy's rules name one by one.
fn kinds(spec: &Value, registry: &Registry) -> Vec<Arc<Kind>> {
    let mut found: Vec<Arc<Kind>> = Vec::new();
    for rule in list(&spec["matchConstraints"]["resourceRules"]) {
        let [groups, versions, resources] =
            ["apiGroups", "apiVersions", "resources"].map(|field| texts(&rule[field]));
        for group in &groups {
            for version in &versions {
                for resource in &resources {
                    let Some(kind) = registry.lookup(group, version, resource) else { continue };
                    let known = found
                        .iter()
                        .any(|each| each.kind == kind.kind && each.api_version() == kind.api_version());
                    if !known && found.len() < MOST_KINDS {
                        found.push(kind.clone());
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_there() {
        let policy = json!({"spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                "operations": ["*"], "resources": ["deployments", "*"]}]},
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "object.spec0.replicas > 1"},
                {"expression": "variables.replicas > 1", "messageExpression": "object.nothing"},
            ],
        }});
        let warnings = warnings(&policy, Registry::builtin());
        let places: Vec<&Value> = warnings.iter().map(|warning| &warning["fieldRef"]).collect();
        assert_eq!(places, ["spec.validations[0].expression", "spec.validations[1].messageExpression"]);
        let text = warnings[0]["warning"].as_str().unwrap();
        assert!(
            text.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'spec0'\n"),
            "{text}"
        );
    }
}
