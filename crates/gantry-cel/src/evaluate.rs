//! Runs checked expressions over values, counting what that costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ast::{Binding, Call, Entry, Expr, Fold, Literal, Node};
use crate::budget::{Budget, Meter};
use crate::cost;
use crate::error::EvaluationError;
use crate::expand::ACCUMULATOR;
use crate::library::{self, Operation};
use crate::made::Made;
use crate::types::Type;
use crate::value::{Entries, Text, Value};
use crate::variables::Variables;

/// A value or why there is none.
pub(crate) type Outcome<'a> = Result<Value<'a>, EvaluationError>;

/// Values of composed variables that are known.
pub(crate) type Known<'a> = HashMap<&'a str, Outcome<'a>>;

/// After so many iterations of comprehensions the clock is read.
const CLOCK: u32 = 100;

/// No evaluation takes longer, whatever its cost: patterns that are not constant are compiled each time.
const LONGEST: Duration = Duration::from_secs(5);

pub(crate) struct Evaluation<'a, 'b> {
    variables: &'b Variables<'a>,
    known: &'b mut Known<'a>,
    budget: &'b mut Budget,
    meter: Meter,
    locals: Vec<Outcome<'a>>,
    iterations: u32,
    started: Instant,
}

/// Runs `node`.
pub(crate) fn evaluate<'a>(
    node: &'a Node,
    variables: &Variables<'a>,
    known: &mut Known<'a>,
    budget: &mut Budget,
) -> Outcome<'a> {
    let meter = Meter::new(budget);
    let mut evaluation = Evaluation {
        variables,
        known,
        budget,
        meter,
        locals: Vec::new(),
        iterations: 0,
        started: Instant::now(),
    };
    let outcome = evaluation.node(node);
    let cost = evaluation.meter.cost();
    budget.take(cost);
    outcome
}

/// The value of a node that depends on nothing.
pub(crate) fn evaluate_constant(node: &Node, budget: &mut Budget) -> Option<Value<'static>> {
    evaluate(node, &Variables::new(), &mut Known::new(), budget).ok()?.into_owned()
}

fn no_such_key(key: &str) -> EvaluationError {
    EvaluationError::failed(format!("no such key: {key}"))
}

impl<'a> Evaluation<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), EvaluationError> {
        self.meter.charge(cost)
    }

    fn node(&mut self, node: &'a Node) -> Outcome<'a> {
        if let Some(constant) = &node.constant {
            return Ok((**constant).clone());
        }
        match &node.expr {
            Expr::Literal(value) => Ok(literal(value)),
            Expr::Ident { name, binding } => self.ident(name, binding),
            Expr::Select { operand, field, test } => {
                let target = self.node(operand)?;
                if *test {
                    return Ok(Value::Bool(has(&target, field)));
                }
                self.charge(1)?;
                self.select(&target, field)
            }
            Expr::Call(call) => self.call(call),
            Expr::List { items, optional } => self.list(items, optional),
            Expr::Map(entries) => self.map(entries),
            Expr::Struct { name, fields } => self.made(&node.kind, name, fields),
            Expr::Fold(fold) => self.fold(fold),
            Expr::Bind(bind) => {
                let value = self.node(&bind.value);
                self.locals.truncate(bind.slot);
                self.locals.push(value);
                let outcome = self.node(&bind.body);
                self.locals.truncate(bind.slot);
                outcome
            }
        }
    }

    fn ident(&mut self, name: &str, binding: &'a Binding) -> Outcome<'a> {
        self.charge(1)?;
        match binding {
            Binding::Local(slot) => match self.locals.get(*slot) {
                Some(value) => value.clone(),
                None => Err(EvaluationError::failed(format!("no such attribute(s): {name}"))),
            },
            Binding::Type(kind) => Ok(Value::Type(Arc::new(kind.clone()))),
            Binding::Variable | Binding::Unresolved => {
                let name = name.strip_prefix('.').unwrap_or(name);
                self.variables
                    .get(name)
                    .ok_or_else(|| EvaluationError::failed(format!("no such attribute(s): {name}")))
            }
        }
    }

    fn select(&mut self, target: &Value<'a>, field: &str) -> Outcome<'a> {
        match target {
            Value::Variables => self.composed(field),
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => self.select_optional(inner, field),
            other => other.entry(field).unwrap_or_else(|| Err(no_such_key(field))),
        }
    }

    fn select_optional(&mut self, target: &Value<'a>, field: &str) -> Outcome<'a> {
        let found = match target {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => return self.select_optional(inner, field),
            Value::Variables => Some(self.composed(field)),
            other => other.entry(field),
        };
        Ok(Value::Optional(found.transpose()?.map(Arc::new)))
    }

    /// The value of a composed variable, found when it is first asked for.
    fn composed(&mut self, name: &str) -> Outcome<'a> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let Some((name, node)) = self.variables.composed(name) else { return Err(no_such_key(name)) };
        // What this evaluation has spent is not there for the variable.
        self.budget.take(self.meter.cost());
        let outcome = evaluate(node, self.variables, self.known, self.budget);
        self.meter = Meter::new(self.budget);
        if !matches!(outcome, Err(EvaluationError::BudgetExhausted | EvaluationError::Interrupted)) {
            self.known.insert(name, outcome.clone());
        }
        outcome.map_err(|error| match error {
            EvaluationError::Failed(message) => {
                EvaluationError::failed(format!("composited variable {name:?} fails to evaluate: {message}"))
            }
            other => other,
        })
    }

    fn list(&mut self, items: &'a [Node], optional: &[bool]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items.iter().zip(optional) {
            match (self.node(item)?, optional) {
                (Value::Optional(None), true) => {}
                (Value::Optional(Some(value)), true) => values.push((*value).clone()),
                (_, true) => return Err(EvaluationError::no_overload()),
                (value, false) => values.push(value),
            }
        }
        self.charge(cost::LIST)?;
        Ok(Value::List(Arc::new(values)))
    }

    fn map(&mut self, entries: &'a [Entry]) -> Outcome<'a> {
        let mut made = Entries::default();
        for entry in entries {
            let key = self.node(&entry.key)?;
            let value = match (self.node(&entry.value)?, entry.optional) {
                (Value::Optional(None), true) => continue,
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (_, true) => return Err(EvaluationError::no_overload()),
                (value, false) => value,
            };
            if !made.insert(key.clone(), value)? {
                let key = library::convert::text(&key).unwrap_or_default();
                return Err(EvaluationError::failed(format!("Failed with repeated key: {key}")));
            }
        }
        self.charge(cost::MAP)?;
        Ok(Value::Map(Arc::new(made)))
    }

    fn made(&mut self, kind: &'a Type, name: &str, fields: &'a [(Arc<str>, Node, bool)]) -> Outcome<'a> {
        let Type::Object(object) = kind else {
            return Err(EvaluationError::failed(format!("unknown type: {name}")));
        };
        let mut made = Vec::with_capacity(fields.len());
        for (name, value, optional) in fields {
            match (self.node(value)?, optional) {
                (Value::Optional(None), true) => {}
                (Value::Optional(Some(value)), true) => made.push((Arc::clone(name), (*value).clone())),
                (_, true) => return Err(EvaluationError::no_overload()),
                (value, false) => made.push((Arc::clone(name), value)),
            }
        }
        self.charge(cost::OBJECT)?;
        Ok(Value::Made(Arc::new(Made::new(Arc::clone(object), made))))
    }

    fn call(&mut self, call: &'a Call) -> Outcome<'a> {
        let operation = match call.function {
            Some(function) => library::operation(function),
            None => Operation::OptionalSelect,
        };
        match operation {
            Operation::And => self.logical(&call.args, false),
            Operation::Or => self.logical(&call.args, true),
            Operation::Conditional => match self.node(&call.args[0])? {
                Value::Bool(true) => self.attribute(&call.args[1]),
                Value::Bool(false) => self.attribute(&call.args[2]),
                _ => Err(EvaluationError::no_overload()),
            },
            Operation::NotStrictlyFalse => {
                let outcome = self.node(&call.args[0]);
                if let Err(error) = &outcome
                    && !error.can_be_absorbed()
                {
                    return outcome;
                }
                self.charge(1)?;
                Ok(Value::Bool(!matches!(outcome, Ok(Value::Bool(false)))))
            }
            Operation::OptionalSelect => {
                let target = self.node(&call.args[0])?;
                self.charge(1)?;
                match &call.args[1].expr {
                    Expr::Literal(Literal::String(field)) => self.select_optional(&target, field),
                    _ => Err(EvaluationError::no_overload()),
                }
            }
            Operation::OptionalOr | Operation::OptionalOrValue => {
                let Some(target) = &call.target else { return Err(EvaluationError::no_overload()) };
                match (self.node(target)?, operation) {
                    (Value::Optional(None), _) => self.node(&call.args[0]),
                    (Value::Optional(Some(value)), Operation::OptionalOrValue) => Ok((*value).clone()),
                    (some @ Value::Optional(_), _) => Ok(some),
                    _ => Err(EvaluationError::no_overload()),
                }
            }
            Operation::Add if is_append(call) => self.append(call),
            Operation::Add => self.function(call, library::operators::add),
            Operation::Insert => self.insert(call),
            Operation::Function(function) => self.function(call, function),
        }
    }

    /// A node whose variable upstream does not count, if it is a variable or a way from one.
    fn attribute(&mut self, node: &'a Node) -> Outcome<'a> {
        let outcome = self.node(node);
        if node.is_attribute() {
            self.meter.refund(1);
        }
        outcome
    }

    fn function(&mut self, call: &'a Call, function: library::Implementation) -> Outcome<'a> {
        let index = matches!(&*call.name, "_[_]" | "_[?_]");
        // Nearly all calls are of these forms, and need no room but the stack.
        match (&call.target, &*call.args) {
            (None, [arg]) => {
                let args = [self.node(arg)?];
                self.apply(call, function, &args)
            }
            (None, [first, second]) => {
                let first = self.node(first)?;
                let second = if index { self.attribute(second)? } else { self.node(second)? };
                self.apply(call, function, &[first, second])
            }
            (Some(target), []) => {
                let args = [self.node(target)?];
                self.apply(call, function, &args)
            }
            (Some(target), [arg]) => {
                let args = [self.node(target)?, self.node(arg)?];
                self.apply(call, function, &args)
            }
            (target, args) => {
                let all = target.iter().chain(args).map(|arg| self.node(arg));
                let args: Vec<_> = all.collect::<Result<_, _>>()?;
                self.apply(call, function, &args)
            }
        }
    }

    fn apply(
        &mut self,
        call: &'a Call,
        function: library::Implementation,
        args: &[Value<'a>],
    ) -> Outcome<'a> {
        // Membership of a list of constants is looked up.
        if &*call.name == "@in" && call.args[1].is_constant() {
            return function(args);
        }
        self.charge(cost::before(&call.name, args))?;
        let value = match &call.pattern {
            Some(pattern) => library::regex::with_pattern(&call.name, pattern, args)?,
            None => function(args)?,
        };
        self.charge(cost::after(&call.name, &value))?;
        Ok(value)
    }

    /// `&&` and `||`: `decisive` is the value that decides whatever the other side is.
    fn logical(&mut self, args: &'a [Node], decisive: bool) -> Outcome<'a> {
        let mut failure = None;
        for arg in args {
            match self.node(arg) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failure = failure.or(Some(EvaluationError::no_overload())),
                Err(error) if error.can_be_absorbed() => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    /// Adds an item to what a comprehension collects, without a copy of the rest.
    fn append(&mut self, call: &'a Call) -> Outcome<'a> {
        let (Expr::Ident { binding: Binding::Local(slot), .. }, Expr::List { items, .. }) =
            (&call.args[0].expr, &call.args[1].expr)
        else {
            return Err(EvaluationError::no_overload());
        };
        // What adding costs: the name, the list of one item, and the sum.
        self.charge(1 + cost::LIST + 1)?;
        let item = self.node(&items[0])?;
        match self.taken(*slot)? {
            Value::List(mut list) => {
                Arc::make_mut(&mut list).push(item);
                Ok(Value::List(list))
            }
            _ => Err(EvaluationError::no_overload()),
        }
    }

    fn insert(&mut self, call: &'a Call) -> Outcome<'a> {
        let Expr::Ident { binding: Binding::Local(slot), .. } = &call.args[0].expr else {
            return Err(EvaluationError::no_overload());
        };
        self.charge(2)?;
        let first = self.node(&call.args[1])?;
        let second = call.args.get(2).map(|arg| self.node(arg)).transpose()?;
        let Value::Map(mut map) = self.taken(*slot)? else { return Err(EvaluationError::no_overload()) };
        let entries = Arc::make_mut(&mut map);
        let added = match second {
            Some(value) => vec![(first, value)],
            None => library::operators::entries(&first)?,
        };
        for (key, value) in added {
            if !entries.insert(key.clone(), value)? {
                let key = library::convert::text(&key).unwrap_or_default();
                return Err(EvaluationError::failed(format!("insert failed: key {key} already exists")));
            }
        }
        Ok(Value::Map(map))
    }

    fn taken(&mut self, slot: usize) -> Outcome<'a> {
        match self.locals.get_mut(slot) {
            Some(value) => std::mem::replace(value, Ok(Value::Null)),
            None => Err(EvaluationError::no_overload()),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.node(&fold.range)?;
        let initial = self.node(&fold.initial);
        self.locals.truncate(fold.slot);
        self.locals.push(initial);
        let outcome = self.iterate(fold, &range).and_then(|()| {
            self.locals.truncate(fold.slot + 1);
            self.node(&fold.result)
        });
        self.locals.truncate(fold.slot);
        outcome
    }

    fn iterate(&mut self, fold: &'a Fold, range: &Value<'a>) -> Result<(), EvaluationError> {
        let two = fold.second.is_some();
        if let Some(len) = range.list_len() {
            for at in 0..len {
                let Some(item) = range.item(at) else { break };
                let (first, second) =
                    if two { (Ok(Value::Int(at as i64)), Some(item)) } else { (item, None) };
                if !self.step(fold, first, second)? {
                    break;
                }
            }
            return Ok(());
        }
        let Some(keys) = range.keys() else { return Err(EvaluationError::no_overload()) };
        for key in keys {
            let second =
                if two { Some(range.entry_of(&key).unwrap_or_else(|| Err(no_such_key("")))) } else { None };
            if !self.step(fold, Ok(key), second)? {
                break;
            }
        }
        Ok(())
    }

    /// One round: whether there may be another.
    fn step(
        &mut self,
        fold: &'a Fold,
        first: Outcome<'a>,
        second: Option<Outcome<'a>>,
    ) -> Result<bool, EvaluationError> {
        self.iterations += 1;
        let late = || self.budget.is_late() || self.started.elapsed() > LONGEST;
        if self.iterations.is_multiple_of(CLOCK) && late() {
            return Err(EvaluationError::Interrupted);
        }
        self.locals.truncate(fold.slot + 1);
        self.locals.push(first);
        self.locals.extend(second);
        match self.node(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(error) if !error.can_be_absorbed() => return Err(error),
            _ => {}
        }
        let next = self.node(&fold.step);
        if let Err(error) = &next
            && !error.can_be_absorbed()
        {
            return Err(error.clone());
        }
        self.locals[fold.slot] = next;
        Ok(true)
    }
}

/// Whether a call is `@result + [item]`.
fn is_append(call: &Call) -> bool {
    let [accumulator, added] = &*call.args else { return false };
    let name = matches!(&accumulator.expr, Expr::Ident { name, binding: Binding::Local(_) } if &**name == ACCUMULATOR);
    name && matches!(&added.expr, Expr::List { items, optional } if items.len() == 1 && !optional[0])
}

fn has(target: &Value<'_>, field: &str) -> bool {
    match target {
        Value::Optional(Some(inner)) => has(inner, field),
        Value::Variables => true,
        Value::Made(made) => made.has(field),
        other => other.entry(field).is_some(),
    }
}

fn literal<'a>(value: &'a Literal) -> Value<'a> {
    match value {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}
