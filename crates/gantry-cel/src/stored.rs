//! Expressions that built-in kinds store: they are compiled when they are written.

use std::sync::{Arc, LazyLock};

use gantry_api::field::{FieldError, Path};
use gantry_json::Value as Json;

use crate::admission;
use crate::declared::{Declared, Field, Form, ObjectType};
use crate::environment::{Composition, Environment};
use crate::error::CompileError;
use crate::made::{json_patch_type, object_type};
use crate::types::Type;

/// What a device selector may cost at most.
const SELECTOR: u64 = 1_000_000;
/// The longest device selector, in bytes.
const LONGEST_SELECTOR: usize = 10 << 10;

/// The longest expression of an audit annotation, in bytes.
const LONGEST_ANNOTATION: usize = 5 << 10;

/// What is wrong with the expressions of an object of the kind `group`/`kind`; `old` is what it was.
pub fn validate_stored(group: &str, kind: &str, object: &Json, old: Option<&Json>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            return crate::custom::validate_definition(object, old);
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| admission::environment(false, true));
            for (at, webhook) in list(object, "webhooks").iter().enumerate() {
                let path = Path::new("webhooks").index(at);
                match_conditions(&ENVIRONMENT, &path, webhook, &mut errors);
            }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            validating_policy(&Path::new("spec"), &object["spec"], &mut errors);
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            mutating_policy(&Path::new("spec"), &object["spec"], &mut errors);
        }
        ("resource.k8s.io", "DeviceClass") => selectors(&Path::new("spec"), &object["spec"], &mut errors),
        // What cannot change is not looked at again.
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") if old.is_some() => {}
        ("resource.k8s.io", "ResourceClaim") => claim(&Path::new("spec"), &object["spec"], &mut errors),
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            claim(&Path::new("spec").child("spec"), &object["spec"]["spec"], &mut errors);
        }
        _ => {}
    }
    errors
}

fn list<'a>(value: &'a Json, key: &str) -> &'a [Json] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Compiles the expression `key` of `parent`, if there is one.
fn expression(
    environment: &Environment,
    path: &Path,
    parent: &Json,
    key: &str,
    types: &[Type],
    errors: &mut Vec<FieldError>,
) {
    let text = text(parent, key);
    compile(environment, &path.child(key), text, text, types, errors);
}

/// Compiles `text`, of which `shown` is told where it is wrong; nothing where there is none.
fn compile(
    environment: &Environment,
    path: &Path,
    text: &str,
    shown: &str,
    types: &[Type],
    errors: &mut Vec<FieldError>,
) {
    if text.trim().is_empty() {
        return;
    }
    if let Err(error) = environment.compile(text, types) {
        errors.push(FieldError::invalid(path, shown, error.with_found()));
    }
}

fn match_conditions(environment: &Environment, path: &Path, parent: &Json, errors: &mut Vec<FieldError>) {
    for (at, condition) in list(parent, "matchConditions").iter().enumerate() {
        let path = path.child("matchConditions").index(at).child("expression");
        let trimmed = text(condition, "expression").trim();
        compile(environment, &path, trimmed, trimmed, &[Type::Bool], errors);
    }
}

/// Checks what policies of both sorts have; gives their variables.
fn policy(base: &Environment, path: &Path, spec: &Json, errors: &mut Vec<FieldError>) -> Composition {
    match_conditions(base, path, spec, errors);
    let mut composition = Composition::new();
    for (at, variable) in list(spec, "variables").iter().enumerate() {
        let (name, text) = (text(variable, "name"), text(variable, "expression"));
        if name.is_empty() || text.trim().is_empty() {
            continue;
        }
        if let Err(error) = composition.add(base, name, text) {
            let at = path.child("variables").index(at).child("expression");
            errors.push(FieldError::invalid(&at, text, error.to_string()));
            composition.add_unknown(name);
        }
    }
    composition
}

fn validating_policy(path: &Path, spec: &Json, errors: &mut Vec<FieldError>) {
    let params = spec["paramKind"].is_object();
    let base = admission::environment(params, true);
    let composition = policy(&base, path, spec, errors);
    let environment = composition.environment(&base);
    let without_authorizer = composition.environment(&admission::environment(params, false));
    for (at, validation) in list(spec, "validations").iter().enumerate() {
        let path = path.child("validations").index(at);
        expression(&environment, &path, validation, "expression", &[Type::Bool], errors);
        expression(&without_authorizer, &path, validation, "messageExpression", &[Type::String], errors);
    }
    for (at, annotation) in list(spec, "auditAnnotations").iter().enumerate() {
        let path = path.child("auditAnnotations").index(at).child("valueExpression");
        let shown = text(annotation, "valueExpression");
        // One that is too long is refused for that.
        if shown.trim().len() <= LONGEST_ANNOTATION {
            compile(&environment, &path, shown.trim(), shown, &[Type::String, Type::Null], errors);
        }
    }
}

fn mutating_policy(path: &Path, spec: &Json, errors: &mut Vec<FieldError>) {
    let base = admission::environment(spec["paramKind"].is_object(), true);
    let environment = policy(&base, path, spec, errors).environment(&base).with_patch_types();
    for (at, mutation) in list(spec, "mutations").iter().enumerate() {
        let (field, kind) = match text(mutation, "patchType") {
            "ApplyConfiguration" => ("applyConfiguration", object_type()),
            "JSONPatch" => ("jsonPatch", Type::list(json_patch_type())),
            _ => continue,
        };
        let path = path.child("mutations").index(at).child(field).child("expression");
        let trimmed = text(&mutation[field], "expression").trim();
        compile(&environment, &path, trimmed, trimmed, &[kind], errors);
    }
}

/// What device selectors may name: `device`.
pub fn device_environment() -> &'static Environment {
    static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
        let sized = |form: Form, max: u64| Declared { form, max };
        let field = |name: &str, declared: Declared| Field {
            json: name.to_owned(),
            declared,
            required: false,
            has_default: false,
        };
        // The limits are those of a ResourceSlice's device.
        let by_domain = |value: Declared| {
            let inner = sized(Form::Map(Box::new(value)), 32);
            sized(Form::Map(Box::new(inner)), 32)
        };
        let device = ObjectType::new(
            "kubernetes.DRADevice",
            [
                field("driver", sized(Form::String, 63)),
                field("attributes", by_domain(sized(Form::Dyn, 64))),
                field("capacity", by_domain(Declared::new(Form::Quantity))),
                field("allowMultipleAllocations", Declared::new(Form::Bool)),
            ],
        );
        let device = Declared::new(Form::Object(Arc::new(device)));
        Environment::new().with_declared("device", Arc::new(device)).with_bindings()
    });
    &ENVIRONMENT
}

fn selectors(path: &Path, parent: &Json, errors: &mut Vec<FieldError>) {
    for (at, selector) in list(parent, "selectors").iter().enumerate() {
        let path = path.child("selectors").index(at).child("cel").child("expression");
        let text = text(&selector["cel"], "expression");
        // One that is too long is refused for that.
        if !selector["cel"].is_object() || text.len() > LONGEST_SELECTOR {
            continue;
        }
        let environment = device_environment();
        match environment.compile_any(text) {
            Ok(program) if !matches!(program.result(), Type::Bool | Type::Dyn) => {
                let words = format!("must evaluate to bool or the unknown type, not {}", program.result());
                errors.push(FieldError::invalid(&path, text, words));
            }
            Ok(program) if environment.estimate(&program).max > SELECTOR => {
                errors.push(FieldError::forbidden(&path, "too complex, exceeds cost limit"));
            }
            Ok(_) => {}
            Err(error @ (CompileError::Issues(_) | CompileError::Result(..))) => {
                errors.push(FieldError::invalid(&path, text, error.to_string()));
            }
        }
    }
}

fn claim(path: &Path, spec: &Json, errors: &mut Vec<FieldError>) {
    let path = path.child("devices").child("requests");
    for (at, request) in list(&spec["devices"], "requests").iter().enumerate() {
        let path = path.index(at);
        selectors(&path.child("exactly"), &request["exactly"], errors);
        for (at, sub) in list(request, "firstAvailable").iter().enumerate() {
            selectors(&path.child("firstAvailable").index(at), sub, errors);
        }
    }
}
