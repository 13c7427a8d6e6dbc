//! Expressions in CEL over a request: what they may name, and the conditions that webhooks and policies
//! have in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_cel::{
    AuthorizerAttributes, Budget, Composition, Declared, Environment, EvaluationError, Program, Session,
    Type, Value as Cel, Variables, admission,
};
use gantry_json::{Map, Value, json};

use super::Request;
use super::matching::{Resource, Versioned};
use super::questions::Questions;
use crate::rest;

/// What expressions may name. `params` only where there are some.
pub(super) fn environment(params: bool) -> Environment {
    admission::environment(params, true)
}

/// An expression of a stored object: its text, and its program or why there is none.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub text: String,
    program: Result<Program, String>,
}

impl Expression {
    pub fn new(environment: &Environment, text: &str, types: &[Type]) -> Self {
        let program = environment.compile(text, types).map_err(|error| error.with_found());
        Self { text: text.to_owned(), program }
    }

    /// Why there is no program.
    pub fn compile_error(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// The value; the error is in upstream's words. `None`: the budget is used up.
    pub fn evaluate<'a>(
        &'a self,
        session: &mut Session<'a, '_>,
        budget: &mut Budget,
    ) -> Result<Cel<'a>, Fault> {
        let program =
            self.program.as_ref().map_err(|error| Fault::Own(format!("compilation error: {error}")))?;
        session.evaluate(program, budget).map_err(|error| match error {
            EvaluationError::BudgetExhausted => Fault::Budget(error.to_string()),
            error => Fault::Own(format!("expression '{}' resulted in error: {error}", self.text)),
        })
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something is wrong with it.
    Own(String),
    /// Those before it have used up what all may cost.
    Budget(String),
}

impl Fault {
    pub fn into_message(self) -> String {
        match self {
            Self::Own(message) | Self::Budget(message) => message,
        }
    }
}

/// What the names of expressions stand for in one request.
pub(super) struct Inputs<'a> {
    versioned: &'a Versioned,
    request: Value,
    params: Option<&'a Value>,
    namespace: Option<&'a Value>,
    questions: Arc<Questions>,
    resource: AuthorizerAttributes,
}

impl<'a> Inputs<'a> {
    /// Those of `request`, which was met as one for `resource`. What is evaluated with them has to be
    /// settled by `questions`.
    pub fn new(
        request: &Request<'_>,
        versioned: &'a Versioned,
        resource: Resource<'_>,
        questions: &Arc<Questions>,
    ) -> Self {
        Self {
            versioned,
            request: admission_request(request, versioned, resource),
            params: None,
            namespace: None,
            questions: questions.clone(),
            resource: AuthorizerAttributes {
                group: request.group.to_owned(),
                resource: request.resource.to_owned(),
                subresource: request.subresource.to_owned(),
                namespace: request.told_namespace().to_owned(),
                name: request.told_name().to_owned(),
                ..AuthorizerAttributes::default()
            },
        }
    }

    /// With these parameters, and the namespace that the object is in.
    #[must_use]
    pub fn with(mut self, params: Option<&'a Value>, namespace: Option<&'a Value>) -> Self {
        (self.params, self.namespace) = (params, namespace);
        self
    }

    /// The variables, with those that are composed.
    pub fn variables<'v>(&'v self, composition: Option<&'v Composition>) -> Variables<'v> {
        let declared =
            |json: &'v Value, declared: &'static Declared| Cel::declared(json, declared).unwrap_or(Cel::Null);
        let namespace =
            self.namespace.map_or(Cel::Null, |namespace| declared(namespace, admission::namespace()));
        let asked = self.questions.clone();
        let variables = Variables::new()
            .with("object", Cel::json(&self.versioned.object))
            .with("oldObject", Cel::json(&self.versioned.old))
            .with("request", declared(&self.request, admission::request()))
            .with("namespaceObject", namespace)
            .with("params", self.params.map_or(Cel::Null, Cel::json))
            .with("authorizer", Cel::authorizer(asked.clone()))
            .with("authorizer.requestResource", Cel::resource_check(asked, self.resource.clone()));
        match composition {
            Some(composition) => variables.with_composition(composition),
            None => variables,
        }
    }
}

/// The AdmissionRequest without its objects. What is empty is left out, as in JSON.
fn admission_request(request: &Request<'_>, versioned: &Versioned, resource: Resource<'_>) -> Value {
    let [group, version, kind] = &versioned.kind;
    let [request_group, request_version, request_kind] = request.object_kind;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.into(), value));
    set("kind", json!({"group": group, "version": version, "kind": kind}));
    let Resource { group, version, resource } = resource;
    set("resource", json!({"group": group, "version": version, "resource": resource}));
    set("requestKind", json!({"group": request_group, "version": request_version, "kind": request_kind}));
    set(
        "requestResource",
        json!({"group": request.group, "version": request.kind.version, "resource": request.resource}),
    );
    for (name, text) in [
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.told_name()),
        ("namespace", request.told_namespace()),
    ] {
        if !text.is_empty() {
            set(name, text.into());
        }
    }
    set("operation", request.operation.word().into());
    set("userInfo", rest::user_info(request.user));
    set("dryRun", request.dry_run.into());
    set("options", request.options.to_value());
    fields.into()
}

/// The match conditions of a webhook or a policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(Vec<Expression>);

impl Conditions {
    /// Reads a list of named expressions.
    pub fn read(conditions: &Value, environment: &Environment) -> Self {
        let list = conditions.as_array().into_iter().flatten();
        let texts = list.map(|each| each["expression"].as_str().unwrap_or_default());
        Self(texts.map(|text| Expression::new(environment, text, &[Type::Bool])).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not hold outweighs others that fail; where some fail, `fails_open`
    /// says whether that is an error or no match.
    pub fn hold(&self, variables: &Variables<'_>, fails_open: bool) -> Held {
        let started = Instant::now();
        let mut session = Session::new(variables);
        let mut budget = Budget::new(Budget::MATCH_CONDITIONS);
        let mut faults = Vec::new();
        let mut errors = 0;
        for condition in &self.0 {
            match condition.evaluate(&mut session, &mut budget) {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => return Held { matched: Ok(false), errors, excluded: true, took: started.elapsed() },
                Err(Fault::Own(fault)) => {
                    errors += 1;
                    faults.push(fault);
                }
                Err(Fault::Budget(fault)) => {
                    errors += 1;
                    faults = vec![fault];
                    break;
                }
            }
        }
        let matched = match faults.as_slice() {
            [] => Ok(true),
            _ if fails_open => Ok(false),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        };
        Held { matched, errors, excluded: false, took: started.elapsed() }
    }
}

/// What came of match conditions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    /// Whether all hold, or why that is not known.
    pub matched: Result<bool, String>,
    /// How many failed.
    pub errors: usize,
    /// Whether one does not hold.
    pub excluded: bool,
    /// How long it took.
    pub took: Duration,
}
