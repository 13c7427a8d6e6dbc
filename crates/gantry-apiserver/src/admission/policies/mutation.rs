//! A policy that changes objects, compiled, and what its mutations make of an object.

use gantry_api::patch::apply::Structure;
use gantry_api::patch::apply::configuration::merge_configuration;
use gantry_api::patch::json_patch_steps;
use gantry_api::registry::Registry;
use gantry_api::schema::Schemas;
use gantry_api::status::ApiError;
use gantry_cel::{Budget, Made, Session, Type, Value as Cel, json_patch_type, object_type};
use gantry_json::{Map, Value};

use super::super::expression::{Expression, Inputs};
use super::super::matching::{self, Versioned};
use super::base::{Base, error_type};
use super::index::Bound;
use super::list;

/// A policy.
pub(super) struct Policy {
    pub base: Base,
    pub mutations: Vec<Mutation>,
    /// Whether it wants to see changes that others make after it.
    pub reinvoked: bool,
}

/// One change.
pub(super) struct Mutation {
    expression: Expression,
    sort: Sort,
}

/// What the expression of a mutation makes.
#[derive(Clone, Copy)]
enum Sort {
    /// An object that is merged into the one that is written.
    ApplyConfiguration,
    /// The steps of a JSON patch.
    JsonPatch,
}

/// Why a mutation came to nothing.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// The policy is wrong, which counts as its `failurePolicy` says.
    Own(String),
    /// The request fails in any case.
    Request(ApiError),
}

impl Failure {
    /// What metrics call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Own(message) => error_type(message),
            Self::Request(_) => "invalid_error",
        }
    }
}

impl Bound for Policy {
    const POLICIES: &'static str = "/registry/admissionregistration.k8s.io/mutatingadmissionpolicies/";
    const BINDINGS: &'static str = "/registry/admissionregistration.k8s.io/mutatingadmissionpolicybindings/";

    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let (base, names) = Base::read(object);
        let names = names.with_patch_types();
        let mutations = list(&spec["mutations"]).map(|mutation| {
            let (sort, field, kind) = match mutation["patchType"].as_str() {
                Some("JSONPatch") => (Sort::JsonPatch, "jsonPatch", Type::list(json_patch_type())),
                _ => (Sort::ApplyConfiguration, "applyConfiguration", object_type()),
            };
            let text = mutation[field]["expression"].as_str().unwrap_or_default();
            Mutation { expression: Expression::new(&names, text, &[kind]), sort }
        });
        let mutations = mutations.collect();
        Self { base, mutations, reinvoked: spec["reinvocationPolicy"] == "IfNeeded" }
    }

    fn base(&self) -> &Base {
        &self.base
    }
}

impl Mutation {
    /// What it makes of the object in `versioned`, which the request behind `inputs` is about.
    pub fn change(
        &self,
        base: &Base,
        inputs: &Inputs<'_>,
        versioned: &Versioned,
        registry: &Registry,
    ) -> Result<Value, Failure> {
        if let Some(error) = self.expression.compile_error() {
            return Err(Failure::Own(error.to_owned()));
        }
        let kind = versioned.kind.each_ref().map(String::as_str);
        let structure = structure(registry, kind).ok_or_else(|| {
            let [group, version, kind] = kind;
            let words = format!(
                "Resource kind {group}/{version}, Kind={kind} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."
            );
            Failure::Request(ApiError::service_unavailable(words))
        })?;
        let variables = inputs.variables(Some(&base.composition));
        let mut session = Session::new(&variables);
        let mut budget = Budget::new(Budget::PER_REQUEST);
        let value = self.expression.evaluate(&mut session, &mut budget);
        let value = value.map_err(|fault| Failure::Own(fault.into_message()))?;
        let mut object = match self.sort {
            Sort::ApplyConfiguration => apply(registry, kind, structure, &versioned.object, &value)?,
            Sort::JsonPatch => match patch(registry, kind, &versioned.object, &value)? {
                Some(object) => object,
                None => return Ok(versioned.object.clone()),
            },
        };
        matching::default(registry, kind, &mut object);
        Ok(object)
    }
}

/// The structure of the objects of a kind.
fn structure<'a>(registry: &'a Registry, [group, version, kind]: [&str; 3]) -> Option<Structure<'a>> {
    match registry.by_gvk(group, version, kind) {
        Some(known) => Some(known.structure()),
        None => Schemas::builtin().by_kind(group, version, kind).map(Structure::builtin),
    }
}

fn well_placed(value: &Cel<'_>) -> Result<(), Failure> {
    match value.misplaced().as_slice() {
        [] => Ok(()),
        misplaced => Err(Failure::Own(format!("type mismatch: {}", misplaced.join("\n")))),
    }
}

/// `object` with the configuration merged into it that an expression made.
fn apply(
    registry: &Registry,
    kind: [&str; 3],
    structure: Structure<'_>,
    object: &Value,
    configuration: &Cel<'_>,
) -> Result<Value, Failure> {
    well_placed(configuration)?;
    let failed = |why: String| Failure::Own(format!("error applying patch: {why}"));
    let mut wanted = configuration.to_json().map_err(|error| Failure::Own(error.to_string()))?;
    let [group, version, name] = kind;
    wanted["kind"] = name.into();
    wanted["apiVersion"] =
        if group.is_empty() { version.into() } else { format!("{group}/{version}").into() };
    let untyped = |why: String| failed(format!("failed to convert patch object to typed object: {why}"));
    let wanted =
        matching::decode_given(registry, kind, wanted).map_err(|error| untyped(error.to_string()))?;
    let undeclared: Vec<String> = wanted.strict.iter().map(|finding| undeclared(finding)).collect();
    match undeclared.as_slice() {
        [] => {}
        [one] => return Err(untyped(one.clone())),
        several => return Err(untyped(format!("errors:\n  {}", several.join("\n  ")))),
    }
    let merged = merge_configuration(structure, object, &wanted.value)
        .map_err(|why| failed(format!("invalid ApplyConfiguration: {why}")))?;
    matching::read(registry, kind, merged).map_err(failed)
}

/// What upstream says of a field that a configuration has and its kind has not.
fn undeclared(finding: &str) -> String {
    let field = finding.strip_prefix("unknown field ").map(|field| field.trim_matches('"'));
    field.map_or_else(|| finding.to_owned(), |field| format!(".{field}: field not declared in schema"))
}

/// `object` after the steps that an expression made; `None` where one of them is a test that does not hold.
fn patch(
    registry: &Registry,
    kind: [&str; 3],
    object: &Value,
    steps: &Cel<'_>,
) -> Result<Option<Value>, Failure> {
    let internal = |why: String| Failure::Request(ApiError::internal(why));
    let items = steps.items().ok_or_else(|| {
        Failure::Own("type mismatch: JSONPatchType.expression should evaluate to array".to_owned())
    })?;
    let items = items.map_err(|error| Failure::Own(error.to_string()))?;
    let steps = items.iter().map(|item| match item {
        Cel::Made(made) => step(made),
        _ => Err(Failure::Own(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned(),
        )),
    });
    let steps = steps.collect::<Result<Vec<Value>, Failure>>()?;
    let patched = json_patch_steps(object, steps).map_err(|why| Failure::Own(format!("JSONPath: {why}")))?;
    let Some(patched) = patched else { return Ok(None) };
    let decoded = matching::decode(registry, kind, patched).map_err(|error| internal(error.to_string()))?;
    let custom = registry.by_gvk(kind[0], kind[1], kind[2]).is_some_and(|kind| kind.as_custom().is_some());
    // The objects of custom kinds have no types that would be strict.
    if !decoded.strict.is_empty() && !custom {
        return Err(internal(format!("strict decoding error: {}", decoded.strict.join(", "))));
    }
    Ok(Some(decoded.value))
}

/// A step of a JSON patch as JSON.
fn step(made: &Made<'_>) -> Result<Value, Failure> {
    let text = |name: &str| made.field(name).and_then(Cel::as_str).unwrap_or_default();
    let mut step = Map::new();
    step.insert("op".into(), text("op").into());
    step.insert("path".into(), text("path").into());
    if !text("from").is_empty() {
        step.insert("from".into(), text("from").into());
    }
    if let Some(value) = made.field("value") {
        well_placed(value)?;
        let value = value.to_json().map_err(|error| {
            Failure::Own(format!(
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}"
            ))
        })?;
        step.insert("value".into(), value);
    }
    Ok(step.into())
}
