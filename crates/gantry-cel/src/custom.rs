//! Rules of custom kinds: `x-kubernetes-validations`, compiled and evaluated, and what a definition
//! must keep to for its rules to be accepted.

mod definition;
mod schema;

use std::sync::Arc;

use gantry_api::custom::rules::{Compiler, Instance, Program as RuleProgram, Verdict};
use gantry_json::Value as Json;

use crate::budget::Budget;
use crate::declared::Declared;
use crate::environment::{Environment, Program};
use crate::error::{CompileError, EvaluationError};
use crate::types::Type;
use crate::value::Value;
use crate::variables::Variables;

pub use definition::validate as validate_definition;
pub use schema::{declared as declared_of_schema, declared_object};

/// The longest message that a rule may compute, in bytes.
const LONGEST_MESSAGE: usize = 5 << 10;

/// Compiles the rules of custom kinds.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuleCompiler;

impl Compiler for RuleCompiler {
    fn compile(&self, schema: &Json, resource: bool) -> Result<Box<dyn RuleProgram>, String> {
        let scope = Scope::new(schema, resource)?;
        let rules = rules_of(schema).iter().map(|rule| scope.compile(rule)).collect();
        Ok(Box::new(Rules { declared: scope.declared, rules }))
    }
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn rules_of(schema: &Json) -> &[Json] {
    schema["x-kubernetes-validations"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What the rules of one place may name.
struct Scope {
    declared: Arc<Declared>,
    environment: Environment,
    with_optional_old: Environment,
}

impl Scope {
    fn new(schema: &Json, resource: bool) -> Result<Self, String> {
        let declared = schema::declared(schema, resource).ok_or_else(|| {
            let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let kind = text(schema, "type");
            format!(
                "rule declared on schema that does not support validation rules type: '{kind}' x-kubernetes-preserve-unknown-fields: '{preserves}'"
            )
        })?;
        let declared = Arc::new(declared);
        let environment = Environment::new()
            .with_declared("self", Arc::clone(&declared))
            .with_declared("oldSelf", Arc::clone(&declared));
        let old = Type::optional(declared.kind_of_expression());
        let with_optional_old = environment.clone().with("oldSelf", old);
        Ok(Self { declared, environment, with_optional_old })
    }

    fn environment(&self, rule: &Json) -> &Environment {
        if rule["optionalOldSelf"] == true { &self.with_optional_old } else { &self.environment }
    }

    fn compile(&self, rule: &Json) -> Rule {
        let environment = self.environment(rule);
        let program = rule_program(environment, rule);
        let message = Some(text(rule, "messageExpression"))
            .filter(|expression| !expression.trim().is_empty())
            .and_then(|_| message_program(environment, rule).ok());
        Rule {
            shown: match text(rule, "message").trim() {
                "" => text(rule, "rule").trim().to_owned(),
                message => message.to_owned(),
            },
            message_text: text(rule, "messageExpression").to_owned(),
            uses_old: program.as_ref().is_ok_and(|program| program.refers_to("oldSelf")),
            optional_old: rule["optionalOldSelf"] == true,
            program,
            message,
        }
    }
}

/// The program of a rule.
fn rule_program(environment: &Environment, rule: &Json) -> Result<Program, String> {
    environment.compile(text(rule, "rule"), &[Type::Bool]).map_err(|error| match error {
        CompileError::Result(..) => "cel expression must evaluate to a bool".to_owned(),
        error => error.to_string(),
    })
}

/// The program of a rule's message.
fn message_program(environment: &Environment, rule: &Json) -> Result<Program, String> {
    environment.compile(text(rule, "messageExpression"), &[Type::String]).map_err(|error| match error {
        CompileError::Result(..) => "messageExpression must evaluate to a string".to_owned(),
        error => format!("messageExpression {error}"),
    })
}

#[derive(Debug)]
struct Rule {
    program: Result<Program, String>,
    message: Option<Program>,
    message_text: String,
    /// What errors show of the rule.
    shown: String,
    uses_old: bool,
    optional_old: bool,
}

/// The compiled rules of one place.
#[derive(Debug)]
struct Rules {
    declared: Arc<Declared>,
    rules: Vec<Rule>,
}

impl RuleProgram for Rules {
    fn uses_old_self(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|rule| rule.uses_old)
    }

    fn evaluate(&self, instance: Instance<'_>, rules: &[usize], budget: &mut u64) -> Vec<Verdict> {
        let mut total = Budget::new(*budget);
        let mut verdicts = Vec::with_capacity(rules.len());
        for rule in rules.iter().filter_map(|at| self.rules.get(*at)) {
            let verdict = rule.evaluate(&self.declared, instance, &mut total);
            let last = matches!(verdict, Verdict::Exhausted(_));
            verdicts.push(verdict);
            if last {
                break;
            }
        }
        *budget = total.remaining();
        verdicts
    }
}

impl Rule {
    fn evaluate(&self, declared: &Declared, instance: Instance<'_>, budget: &mut Budget) -> Verdict {
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => return Verdict::Error(format!("rule compile error: {error}")),
        };
        let variables = match self.variables(declared, instance) {
            Ok(variables) => variables,
            Err(error) => return Verdict::Error(format!("{error} evaluating rule: {}", self.shown)),
        };
        match program.evaluate(&variables, budget) {
            Ok(Value::Bool(true)) => Verdict::Holds,
            Ok(_) => match self.message(&variables, budget) {
                Ok(message) => Verdict::Fails(message),
                Err(exhausted) => Verdict::Exhausted(exhausted),
            },
            Err(error @ EvaluationError::CostLimit) => Verdict::Exhausted(format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                self.shown
            )),
            Err(error @ (EvaluationError::BudgetExhausted | EvaluationError::Interrupted)) => {
                Verdict::Exhausted(error.to_string())
            }
            Err(error) if error == EvaluationError::no_overload() => Verdict::Error(format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                self.shown
            )),
            Err(error) => Verdict::Error(format!("{error} evaluating rule: {}", self.shown)),
        }
    }

    fn variables<'a>(
        &self,
        declared: &'a Declared,
        instance: Instance<'a>,
    ) -> Result<Variables<'a>, EvaluationError> {
        let mut variables = Variables::new().with("self", Value::declared(instance.this, declared)?);
        let old = instance.old.map(|old| Value::declared(old, declared)).transpose()?;
        match (old, self.optional_old) {
            (old, true) => variables.set("oldSelf", Value::Optional(old.map(Arc::new))),
            (Some(old), false) => variables.set("oldSelf", old),
            (None, false) => {}
        }
        Ok(variables)
    }

    /// What the rule's own expression says of the failure; an error if nothing more may run.
    fn message(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<Option<String>, String> {
        let Some(program) = &self.message else { return Ok(None) };
        match program.evaluate(variables, budget) {
            Ok(value) => {
                let message = value.as_str().unwrap_or_default().trim();
                let fine = !message.is_empty() && message.len() <= LONGEST_MESSAGE && !message.contains('\n');
                Ok(fine.then(|| message.to_owned()))
            }
            Err(EvaluationError::BudgetExhausted | EvaluationError::Interrupted) => Err(
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned(),
            ),
            Err(EvaluationError::CostLimit) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                self.message_text
            )),
            Err(EvaluationError::Failed(_)) => Ok(None),
        }
    }
}
