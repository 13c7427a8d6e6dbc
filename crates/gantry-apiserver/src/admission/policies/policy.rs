//! A policy that validates, compiled.

use std::time::{Duration, Instant};

use gantry_cel::{Budget, Session, Type, Value as Cel};
use gantry_json::Value;

use super::super::expression::{Expression, Fault, Held, Inputs};
use super::base::{Base, NO_ERROR, error_type};
use super::index::Bound;
use super::list;

/// The longest message that an expression may make, in bytes.
const LONGEST_MESSAGE: usize = 5 << 10;

/// A policy.
pub(super) struct Policy {
    pub base: Base,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

/// One thing that has to hold.
struct Validation {
    expression: Expression,
    message: String,
    made_message: Option<Expression>,
    reason: &'static str,
}

/// A validation that does not hold, or that failed.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    /// The validation's place.
    pub at: usize,
    pub message: String,
    pub reason: &'static str,
    /// What metrics call the error, where it is one.
    pub error: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// What came of asking a policy.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub failures: Vec<Failure>,
    /// Errors that count as consent: what metrics call them, and how long they took.
    pub ignored: Vec<(&'static str, Duration)>,
    /// What came of the match conditions, where there are some.
    pub held: Option<Held>,
    /// What is to be noted in the audit.
    pub annotations: Vec<(String, String)>,
    /// Annotations that could not be made, where that counts as a refusal.
    pub faults: Vec<String>,
}

impl Bound for Policy {
    const POLICIES: &'static str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
    const BINDINGS: &'static str =
        "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/";

    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (base, names) = Base::read(object);
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
        Self { base, validations: validations.collect(), annotations: annotations.collect() }
    }

    fn base(&self) -> &Base {
        &self.base
    }
}

impl Policy {
    /// Evaluates all expressions.
    pub fn evaluate(&self, inputs: &Inputs<'_>) -> Outcome {
        let variables = inputs.variables(Some(&self.base.composition));
        let held = match self.base.conditions.is_empty() {
            true => None,
            false => Some(self.base.conditions.hold(&variables, self.base.fails_open)),
        };
        let matched = held.as_ref().map_or(Ok(true), |held| held.matched.clone());
        let mut outcome = Outcome { held, ..Outcome::default() };
        let fail = |outcome: &mut Outcome, at: usize, message: String, took: Duration| {
            let error = error_type(&message);
            match self.base.fails_open {
                true => outcome.ignored.push((error, took)),
                false => outcome.failures.push(Failure { at, message, reason: "Invalid", error, took }),
            }
        };
        match matched {
            Ok(true) => {}
            Ok(false) => return outcome,
            Err(fault) => {
                fail(&mut outcome, 0, fault, Duration::ZERO);
                return outcome;
            }
        }
        let mut session = Session::new(&variables);
        let mut budget = Budget::new(Budget::PER_REQUEST);
        for (at, validation) in self.validations.iter().enumerate() {
            let started = Instant::now();
            match validation.expression.evaluate(&mut session, &mut budget) {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => {
                    let (reason, took) = (validation.reason, started.elapsed());
                    let message = validation.message(&mut session, &mut budget);
                    outcome.failures.push(Failure { at, message, reason, error: NO_ERROR, took });
                }
                Err(Fault::Budget(fault)) => {
                    // Nothing of what was found so far counts.
                    outcome.failures.clear();
                    fail(&mut outcome, 0, fault, started.elapsed());
                    return outcome;
                }
                Err(Fault::Own(fault)) => fail(&mut outcome, at, fault, started.elapsed()),
            }
        }
        let mut budget = Budget::new(Budget::PER_REQUEST);
        for (key, expression) in &self.annotations {
            match expression.evaluate(&mut session, &mut budget) {
                Ok(Cel::Null) => {}
                Ok(value) => match value.as_str() {
                    Some(text) if text.trim().is_empty() => {}
                    Some(text) => outcome.annotations.push((key.clone(), text.trim().to_owned())),
                    None if self.base.fails_open => {}
                    None => outcome.faults.push(format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                        expression.text,
                        value.type_of()
                    )),
                },
                Err(_) if self.base.fails_open => {}
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
