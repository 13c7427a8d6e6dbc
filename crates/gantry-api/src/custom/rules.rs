//! The rules in `x-kubernetes-validations`: where they stand, what they compare, and what their
//! failures say. What an expression means is said by whoever compiles it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use gantry_json::Value;

use super::keyed::Keyed;
use super::node::{Kind, Node};
use super::path::checked;
use super::place::Place;
use crate::field::{FieldError, FieldErrorKind, Path};
use crate::rules::common::{list, text};
use crate::schema::ListType;

/// What all rules of one object may cost, in the units of the compiler.
pub const BUDGET: u64 = 10_000_000;

const EXHAUSTED: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Makes programs of rules.
pub trait Compiler: Sync + fmt::Debug {
    /// Compiles the rules in the `x-kubernetes-validations` of `schema`; `resource` says whether what
    /// stands there is a whole resource, whose `apiVersion`, `kind` and `metadata` they may look at.
    fn compile(&self, schema: &Value, resource: bool) -> Result<Box<dyn Program>, String>;
}

/// The rules of one place, compiled.
pub trait Program: Send + Sync + fmt::Debug {
    /// Whether the rule compares with the object as it was.
    fn uses_old_self(&self, rule: usize) -> bool;

    /// Evaluates `rules`, by their places in the list, in order, and takes what that costs from
    /// `budget`. The verdicts end early after one that is [`Verdict::Exhausted`].
    fn evaluate(&self, instance: Instance<'_>, rules: &[usize], budget: &mut u64) -> Vec<Verdict>;
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// `self`; never null.
    pub this: &'a Value,
    /// `oldSelf`, where there is one to compare with.
    pub old: Option<&'a Value>,
}

/// The outcome of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not; what its `messageExpression` says, where it has one that could say it.
    Fails(Option<String>),
    /// It could not be evaluated; the others go on.
    Error(String),
    /// It could not be evaluated, and no other may.
    Exhausted(String),
}

/// One rule, but for its expression.
#[derive(Debug)]
struct Rule {
    message: String,
    reason: Box<str>,
    /// Where its failure is reported, below the place.
    field_path: Option<Path>,
    optional_old_self: bool,
}

/// The rules of one place.
#[derive(Debug)]
pub(crate) struct Expressions {
    rules: Vec<Rule>,
    program: Result<Box<dyn Program>, String>,
}

impl Expressions {
    /// Compiles the rules of `schema`.
    pub fn read(schema: &Value, resource: bool, compiler: &dyn Compiler) -> Self {
        let rule = |rule: &Value| {
            let message = text(rule, "message").trim();
            let field_path = text(rule, "fieldPath");
            Rule {
                message: match message {
                    "" => format!("failed rule: {}", text(rule, "rule").trim()),
                    message => message.to_owned(),
                },
                reason: text(rule, "reason").into(),
                field_path: Some(field_path)
                    .filter(|path| !path.is_empty())
                    .and_then(|path| checked(path, schema, true).ok())
                    .map(|(path, _)| path),
                optional_old_self: rule["optionalOldSelf"] == true,
            }
        };
        Self {
            rules: list(schema, "x-kubernetes-validations").iter().map(rule).collect(),
            program: compiler.compile(schema, resource),
        }
    }
}

/// What is wrong by its own rules with the defaults in a schema at `path`, which has nothing else wrong.
pub fn validate_defaults(path: &Path, schema: &Value, compiler: &dyn Compiler) -> Vec<FieldError> {
    super::default::validate::by_rules(path, schema, compiler)
}

/// What is wrong by the rules with `new`, beside `old` in an update, which tolerates what did not change: that goes
/// to `warnings`.
pub(crate) fn validate(
    node: &Node,
    new: &Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Vec<FieldError> {
    let root = Path::default();
    let mut walk = walk(&root, node, new, old, true);
    warnings.append(&mut walk.warnings);
    walk.errors
}

/// What is wrong by the rules with a default at `path`: it is what it was.
pub(crate) fn validate_default(path: &Path, node: &Node, value: &Value) -> Vec<FieldError> {
    walk(path, node, value, Some(value), false).errors
}

fn walk<'s>(path: &'s Path, node: &Node, new: &Value, old: Option<&Value>, tolerant: bool) -> Walk<'s> {
    let mut walk = Walk { start: path, budget: BUDGET, errors: Vec::new(), warnings: Vec::new() };
    if !node.has.rules {
        return walk;
    }
    let unchanged = Unchanged {
        here: old
            .filter(|_| tolerant)
            .map(|old| Rc::new(Pair { new, old: Some(old), equal: Cell::new(None) })),
        above: None,
        root: true,
    };
    walk.place(node, &Place::START, new, old, &unchanged);
    walk
}

/// A value and the one that it was.
struct Pair<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
    equal: Cell<Option<bool>>,
}

impl Pair<'_> {
    fn is_equal(&self) -> bool {
        self.equal.get().unwrap_or_else(|| {
            let equal = self.old.is_some_and(|old| old == self.new);
            self.equal.set(Some(equal));
            equal
        })
    }
}

/// What tells whether a place changed: failures of what did not are tolerated.
struct Unchanged<'a> {
    here: Option<Rc<Pair<'a>>>,
    /// The nearest place above that can be compared, where this one cannot.
    above: Option<Rc<Pair<'a>>>,
    root: bool,
}

impl<'a> Unchanged<'a> {
    fn tolerates(&self) -> bool {
        self.here.as_ref().or(self.above.as_ref()).is_some_and(|pair| pair.is_equal())
    }

    fn below(
        &self,
        find: impl FnOnce(&'a Value, &'a Value) -> Option<(&'a Value, Option<&'a Value>)>,
    ) -> Self {
        let Some(here) = &self.here else {
            return Self { here: None, above: self.above.clone(), root: false };
        };
        let found = here.old.and_then(|old| find(here.new, old));
        let pair = found.map(|(new, old)| Rc::new(Pair { new, old, equal: Cell::new(None) }));
        Self { here: pair, above: Some(Rc::clone(here)), root: false }
    }

    fn field(&self, name: &str) -> Self {
        if self.root && matches!(name, "apiVersion" | "kind") {
            return Self { here: None, above: None, root: false };
        }
        self.below(|new, old| Some((new.as_object()?.get(name)?, old.as_object()?.get(name))))
    }

    fn item(&self, new: &'a Value, old: Option<&'a Value>) -> Self {
        self.below(|_, _| old.map(|old| (new, Some(old))))
    }
}

struct Walk<'s> {
    start: &'s Path,
    budget: u64,
    errors: Vec<FieldError>,
    /// The failures that are tolerated.
    warnings: Vec<String>,
}

impl Walk<'_> {
    /// Checks a place and what is below; `None` when no rule may run any more.
    fn place<'a>(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        this: &'a Value,
        old: Option<&'a Value>,
        unchanged: &Unchanged<'a>,
    ) -> Option<()> {
        if !node.has.rules || this.is_null() {
            return Some(());
        }
        let old = old.filter(|old| !old.is_null());
        if let Some(expressions) = &node.rules {
            self.evaluate(expressions, node.kind, place, this, old, unchanged)?;
        }
        match this {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let (below, place) = match node.property(name) {
                        Some(below) => (below, place.field(name)),
                        None => match node.additional_node() {
                            Some(below) => (below, place.key(name)),
                            None => continue,
                        },
                    };
                    if below.has.rules {
                        let old = old.and_then(|old| old.get(name));
                        self.place(below, &place, value, old, &unchanged.field(name))?;
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = node.items.as_deref().filter(|below| below.has.rules) else {
                    return Some(());
                };
                let before = old.and_then(Value::as_array).filter(|_| node.list == ListType::Map);
                let before = before.map(|old| Keyed::new(old, &node.keys));
                for (at, item) in items.iter().enumerate() {
                    let old = before.as_ref().and_then(|before| before.get(item));
                    self.place(below, &place.item(at), item, old, &unchanged.item(item, old))?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn evaluate(
        &mut self,
        expressions: &Expressions,
        kind: Kind,
        place: &Place<'_>,
        this: &Value,
        old: Option<&Value>,
        unchanged: &Unchanged<'_>,
    ) -> Option<()> {
        let path = || place.path(self.start);
        let program = match &expressions.program {
            Ok(program) => program,
            Err(error) => {
                let words = format!("rule compiler initialization error: {error}");
                self.errors.push(shown(FieldErrorKind::Invalid, &path(), this, kind, words));
                return Some(());
            }
        };
        if self.budget == 0 {
            self.errors.push(shown(FieldErrorKind::Invalid, &path(), this, kind, EXHAUSTED.into()));
            return None;
        }
        // A rule about a change says nothing where there is nothing to compare with, unless it asks to.
        let wanted: Vec<usize> = (0..expressions.rules.len())
            .filter(|at| {
                old.is_some() || expressions.rules[*at].optional_old_self || !program.uses_old_self(*at)
            })
            .collect();
        let verdicts = program.evaluate(Instance { this, old }, &wanted, &mut self.budget);
        for (at, verdict) in wanted.into_iter().zip(verdicts) {
            let rule = &expressions.rules[at];
            match verdict {
                Verdict::Holds => {}
                Verdict::Fails(message) => {
                    let tolerated = !program.uses_old_self(at) && unchanged.tolerates();
                    let at = rule.field_path.as_ref().map_or_else(path, |below| path().join(below));
                    let words = message.unwrap_or_else(|| rule.message.clone());
                    let reason = match &*rule.reason {
                        "FieldValueForbidden" => FieldErrorKind::Forbidden,
                        "FieldValueRequired" => FieldErrorKind::Required,
                        "FieldValueDuplicate" => FieldErrorKind::Duplicate,
                        _ => FieldErrorKind::Invalid,
                    };
                    let error = shown(reason, &at, this, kind, words);
                    match tolerated {
                        true => self.warnings.push(error.to_string()),
                        false => self.errors.push(error),
                    }
                }
                Verdict::Error(words) => {
                    self.errors.push(shown(FieldErrorKind::Invalid, &path(), this, kind, words));
                }
                Verdict::Exhausted(words) => {
                    self.errors.push(shown(FieldErrorKind::Invalid, &path(), this, kind, words));
                    return None;
                }
            }
        }
        Some(())
    }
}

/// A failure; objects and lists are not shown, because they may be large.
fn shown(reason: FieldErrorKind, path: &Path, this: &Value, kind: Kind, words: String) -> FieldError {
    let words = if reason == FieldErrorKind::Duplicate { String::new() } else { words };
    let large = matches!(kind, Kind::Object | Kind::Array) || this.is_object() || this.is_array();
    FieldError::of(reason, path, Some(this).filter(|_| !large), words)
}
