//! A policy, compiled.

use std::sync::Arc;

use gantry_api::registry::{Kind, Registry};
use gantry_cel::{Budget, Composition, Environment, Session, Type, Value as Cel};
use serde_json::Value;

use super::super::expression::{Conditions, Expression, Fault, Inputs, environment};
use super::super::matching::Constraints;
use super::list;

/// The longest message that an expression may make, in bytes.
const LONGEST_MESSAGE: usize = 5 << 10;

/// A policy.
pub(super) struct Policy {
    pub name: String,
    pub constraints: Constraints,
    /// Whether a failure counts as consent.
    pub fails_open: bool,
    /// API version and kind of its parameters.
    params: Option<(String, String)>,
    conditions: Conditions,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
    composition: Composition,
    /// What it was made from.
    spec: Value,
}

/// One thing that has to hold.
struct Validation {
    expression: Expression,
    message: String,
    made_message: Option<Expression>,
    reason: &'static str,
}

/// What came of asking a policy.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// What does not hold: the validation's place, a message and a reason.
    pub failures: Vec<(usize, String, &'static str)>,
    /// What is to be noted in the audit.
    pub annotations: Vec<(String, String)>,
    /// Annotations that could not be made, where that counts as a refusal.
    pub faults: Vec<String>,
}

/// The composed variables of a policy's spec.
pub(super) fn compose(spec: &Value, environment: &Environment) -> Composition {
    let mut composition = Composition::new();
    for variable in list(&spec["variables"]) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        // One that cannot be compiled is not there; who names it says so.
        let _ = composition.add(environment, text("name"), text("expression"));
    }
    composition
}

impl Policy {
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let params = spec["paramKind"]
            .is_object()
            .then(|| (text(&spec["paramKind"]["apiVersion"]), text(&spec["paramKind"]["kind"])));
        let base = environment(params.is_some());
        let composition = compose(spec, &base);
        let names = composition.environment(&base);
        let compiled =
            |text: &Value, types: &[Type]| Expression::new(&names, text.as_str().unwrap_or_default(), types);
        let validations = list(&spec["validations"]).map(|validation| Validation {
            expression: compiled(&validation["expression"], &[Type::Bool]),
            message: text(&validation["message"]),
            made_message: validation["messageExpression"]
                .is_string()
                .then(|| compiled(&validation["messageExpression"], &[Type::String])),
            reason: match validation["reason"].as_str() {
                Some("Unauthorized") => "Unauthorized",
                Some("Forbidden") => "Forbidden",
                Some("RequestEntityTooLarge") => "RequestEntityTooLarge",
                _ => "Invalid",
            },
        });
        let annotations = list(&spec["auditAnnotations"]).map(|annotation| {
            let expression = compiled(&annotation["valueExpression"], &[Type::String, Type::Null, Type::Dyn]);
            (text(&annotation["key"]), expression)
        });
        Self {
            name: text(&object["metadata"]["name"]),
            constraints: Constraints::read(&spec["matchConstraints"]),
            fails_open: spec["failurePolicy"] == "Ignore",
            conditions: Conditions::read(&spec["matchConditions"], &names),
            validations: validations.collect(),
            annotations: annotations.collect(),
            params,
            composition,
            spec: spec.clone(),
        }
    }

    /// Whether it was made from the spec that `object` has.
    pub fn is_of(&self, object: &Value) -> bool {
        object["spec"] == self.spec
    }

    /// The kind of its parameters, where it has some.
    pub fn params_kind(&self, registry: &Registry) -> Result<Option<Arc<Kind>>, String> {
        let Some((api_version, kind)) = &self.params else { return Ok(None) };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = registry.by_gvk(group, version, kind).cloned();
        found.map(Some).ok_or_else(|| {
            format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'")
        })
    }

    /// Evaluates all expressions.
    pub fn evaluate(&self, inputs: &Inputs<'_>) -> Outcome {
        let variables = inputs.variables(Some(&self.composition));
        let failed = |message: String| match self.fails_open {
            true => Outcome::default(),
            false => Outcome { failures: vec![(0, message, "Invalid")], ..Outcome::default() },
        };
        match self.conditions.hold(&variables, self.fails_open) {
            Ok(true) => {}
            Ok(false) => return Outcome::default(),
            Err(fault) => return failed(fault),
        }
        let mut outcome = Outcome::default();
        let mut session = Session::new(&variables);
        let mut budget = Budget::new(Budget::PER_REQUEST);
        for (at, validation) in self.validations.iter().enumerate() {
            match validation.expression.evaluate(&mut session, &mut budget) {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => {
                    let message = validation.message(&mut session, &mut budget);
                    outcome.failures.push((at, message, validation.reason));
                }
                Err(Fault::Budget(fault)) => return failed(fault),
                Err(Fault::Own(_)) if self.fails_open => {}
                Err(Fault::Own(fault)) => outcome.failures.push((at, fault, "Invalid")),
            }
        }
        let mut budget = Budget::new(Budget::PER_REQUEST);
        for (key, expression) in &self.annotations {
            match expression.evaluate(&mut session, &mut budget) {
                Ok(Cel::Null) => {}
                Ok(value) => match value.as_str() {
                    Some(text) if text.trim().is_empty() => {}
                    Some(text) => outcome.annotations.push((key.clone(), text.trim().to_owned())),
                    None if self.fails_open => {}
                    None => outcome.faults.push(format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                        expression.text,
                        value.type_of()
                    )),
                },
                Err(_) if self.fails_open => {}
                Err(fault) => outcome.faults.push(fault.into_message()),
            }
        }
        outcome
    }
}

impl Validation {
    /// What is said where it does not hold: what its own expression makes of it, its message, or the
    /// expression that does not hold.
    fn message<'a>(&'a self, session: &mut Session<'a, '_>, budget: &mut Budget) -> String {
        let made =
            self.made_message.as_ref().and_then(|expression| expression.evaluate(session, budget).ok());
        let made = made.as_ref().and_then(Cel::as_str).map(str::trim);
        let usable = |text: &&str| !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
        match made.filter(usable) {
            Some(text) => text.to_owned(),
            None if !self.message.trim().is_empty() => self.message.trim().to_owned(),
            None => format!("failed expression: {}", self.expression.text.trim()),
        }
    }
}
