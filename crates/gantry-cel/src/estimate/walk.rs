//! Walks an expression, keeping where values come from and how large they may be.

use std::collections::HashMap;
use std::sync::Arc;

use super::Range;
use super::calls;
use crate::ast::{Binding, Call, Expr, Fold, Literal, Node};
use crate::cost::{LIST, MAP, OBJECT};
use crate::declared::{Declared, Form};
use crate::environment::Environment;
use crate::expand::ACCUMULATOR;
use crate::types::Type;

/// How large the keys and values of a list or map may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    pub list: bool,
    pub key: Range,
    pub value: Range,
}

impl Entries {
    fn or(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.or(other.key), value: self.value.or(other.value) }
    }
}

/// The way from a variable to a value.
pub(super) type Path = Vec<Arc<str>>;

struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Range>,
    entries: Option<Entries>,
}

pub(super) struct Walk<'a> {
    environment: &'a Environment,
    paths: HashMap<u32, Path>,
    sizes: HashMap<u32, Range>,
    entries: HashMap<u32, Entries>,
    locals: Vec<Local>,
}

impl<'a> Walk<'a> {
    pub fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            paths: HashMap::new(),
            sizes: HashMap::new(),
            entries: HashMap::new(),
            locals: Vec::new(),
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    /// The way to a value, where it is part of the data.
    pub fn path(&self, node: &Node) -> Path {
        if let Expr::Ident { name, .. } = &node.expr
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&node.id).cloned().unwrap_or_default()
    }

    /// What the schema says of the place that a path leads to.
    pub fn declared(&self, path: &[Arc<str>]) -> Option<&'a Declared> {
        let (variable, rest) = path.split_first()?;
        // A way that does not begin at a variable begins, for upstream, at the one of rules.
        let mut at = self.environment.declared(variable).or_else(|| match variable.strip_prefix('@') {
            Some(_) => self.environment.declared("self"),
            None => None,
        })?;
        for name in rest {
            at = match (&at.form, &**name) {
                (Form::List(item, _), "@items") => item,
                (Form::Map(value), "@values") => value,
                (Form::Object(object), name) => &object.field(name)?.declared,
                (Form::Map(value), _) => value,
                _ => return None,
            };
        }
        Some(at)
    }

    /// How large a value may be, if anything tells.
    pub fn size(&mut self, node: &Node) -> Option<Range> {
        if let Some(known) = self.sizes.get(&node.id) {
            return Some(*known);
        }
        match &node.expr {
            Expr::Literal(Literal::String(text)) => {
                return Some(Range::exactly(text.chars().count() as u64));
            }
            Expr::Literal(Literal::Bytes(bytes)) => return Some(Range::exactly(bytes.len() as u64)),
            Expr::Literal(_) => return Some(Range::exactly(1)),
            Expr::List { items, .. } => return Some(Range::exactly(items.len() as u64)),
            Expr::Map(entries) => return Some(Range::exactly(entries.len() as u64)),
            // What has no size of its own, upstream takes to be empty.
            Expr::Ident { binding: Binding::Type(_), .. } => return Some(Range::ZERO),
            _ => {}
        }
        let path = self.path(node);
        if path.last().is_some_and(|step| &**step == "@keys") {
            return Some(Range::ZERO);
        }
        if path.first().is_some_and(|root| &**root != ACCUMULATOR)
            && let Some(declared) = self.declared(&path)
        {
            let size = Range { min: 0, max: declared.max };
            self.sizes.insert(node.id, size);
            return Some(size);
        }
        if is_scalar(&node.kind) {
            return Some(Range::exactly(1));
        }
        match &node.expr {
            Expr::Ident { name, .. } => self.local(name)?.size,
            _ => None,
        }
    }

    /// How large a value may be.
    pub fn size_or_unknown(&mut self, node: &Node) -> Range {
        self.size(node).unwrap_or(Range::UNKNOWN)
    }

    pub fn entries(&self, node: &Node) -> Option<Entries> {
        if let Some(known) = self.entries.get(&node.id) {
            return Some(*known);
        }
        match &node.expr {
            Expr::Ident { name, .. } => self.local(name)?.entries,
            _ => None,
        }
    }

    pub fn set_entries(&mut self, node: &Node, entries: Option<Entries>) {
        if let Some(entries) = entries {
            self.entries.insert(node.id, entries);
        }
    }

    /// What the entries of either have in common.
    pub fn common_entries(&self, a: &Node, b: &Node) -> Option<Entries> {
        Some(self.entries(a)?.or(self.entries(b)?))
    }

    /// What running the node costs.
    pub fn cost(&mut self, node: &Node) -> Range {
        match &node.expr {
            Expr::Literal(_) => Range::ZERO,
            Expr::Ident { name, binding } => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None if matches!(binding, Binding::Type(_)) => Vec::new(),
                    None => vec![Arc::clone(name)],
                };
                self.paths.insert(node.id, path);
                Range::exactly(1)
            }
            Expr::Select { operand, test: true, .. } => self.cost(operand),
            Expr::Select { operand, field, .. } => {
                let mut sum = self.cost(operand);
                if matches!(operand.kind, Type::Map(_) | Type::Object(_)) {
                    sum = sum.plus(Range::exactly(1));
                }
                let mut path = self.path(operand);
                path.push(Arc::clone(field));
                self.paths.insert(node.id, path);
                sum
            }
            Expr::List { items, .. } => {
                let mut sum = Range::exactly(LIST);
                let mut value = Range { min: if items.is_empty() { 0 } else { u64::MAX }, max: 0 };
                for item in items {
                    sum = sum.plus(self.cost(item));
                    value = value.or(self.size_or_unknown(item));
                }
                self.set_entries(node, Some(Entries { list: true, key: Range::exactly(1), value }));
                sum
            }
            Expr::Map(entries) => {
                let mut sum = Range::exactly(MAP);
                let start = Range { min: if entries.is_empty() { 0 } else { u64::MAX }, max: 0 };
                let (mut key, mut value) = (start, start);
                for entry in entries {
                    sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    key = key.or(self.size_or_unknown(&entry.key));
                    value = value.or(self.size_or_unknown(&entry.value));
                }
                self.set_entries(node, Some(Entries { list: false, key, value }));
                sum
            }
            Expr::Struct { fields, .. } => {
                fields.iter().fold(Range::exactly(OBJECT), |sum, field| sum.plus(self.cost(&field.1)))
            }
            Expr::Bind(bind) => {
                let sum = self.cost(&bind.value).plus(Range::exactly(LIST));
                let (path, size) = (self.path(&bind.value), self.size(&bind.value));
                let entries = self.entries(&bind.value);
                self.locals.push(Local { name: Arc::clone(&bind.name), path, size, entries });
                let sum = sum.plus(self.cost(&bind.body));
                let (size, entries) = (self.size(&bind.body), self.entries(&bind.body));
                self.locals.pop();
                self.set_size(node, size);
                self.set_entries(node, entries);
                sum
            }
            Expr::Fold(fold) => self.fold(node, fold),
            Expr::Call(call) => self.call(node, call),
        }
    }

    fn set_size(&mut self, node: &Node, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(node.id, size);
        }
    }

    fn fold(&mut self, node: &Node, fold: &Fold) -> Range {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.initial));
        let (path, size) = (self.path(&fold.initial), self.size(&fold.initial));
        let entries = self.entries(&fold.initial);
        self.locals.push(Local { name: Arc::clone(&fold.accumulator), path, size, entries });
        let before = self.locals.len();
        let range = self.entries(&fold.range);
        let list = range.map_or(matches!(fold.range.kind, Type::List(_)), |entries| entries.list);
        let (keys, values) = if list { ("@indices", "@items") } else { ("@keys", "@values") };
        let bind = |walk: &mut Self, name: &Arc<str>, step: &str, size: Option<Range>| {
            let mut path = walk.path(&fold.range);
            path.push(step.into());
            walk.locals.push(Local { name: Arc::clone(name), path, size, entries: None });
        };
        let (key, value) = (range.map(|it| it.key), range.map(|it| it.value));
        match &fold.second {
            Some(second) => {
                bind(self, &fold.variable, keys, key);
                bind(self, second, values, value);
            }
            None if list => bind(self, &fold.variable, values, value),
            None => bind(self, &fold.variable, keys, key),
        }
        let round = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.locals.truncate(before);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.truncate(before - 1);
        let rounds = self.size_or_unknown(&fold.range);
        sum = sum.plus(rounds.times(round));
        match &fold.initial.expr {
            Expr::Literal(_) => {
                let size = self.size(&fold.initial);
                self.set_size(node, size);
            }
            Expr::List { .. } | Expr::Map(_) => {
                self.set_size(node, Some(rounds));
                let entries = self.entries(&fold.step);
                self.set_entries(node, entries);
            }
            _ => {}
        }
        sum
    }

    fn call(&mut self, node: &Node, call: &Call) -> Range {
        let costs: Vec<Range> = call.args.iter().map(|arg| self.cost(arg)).collect();
        if &*call.name == "dyn"
            && let (Some(arg), Some(cost)) = (call.args.first(), costs.first())
        {
            let (size, entries) = (self.size(arg), self.entries(arg));
            self.set_size(node, size);
            self.set_entries(node, entries);
            return cost.plus(Range::exactly(1));
        }
        let mut sum = Range::ZERO;
        if let Some(target) = &call.target {
            sum = self.cost(target);
        }
        let mut cost = Range { min: u64::MAX, max: 0 };
        let mut size: Option<Range> = None;
        for overload in &call.overloads {
            let (each, result) = calls::estimate(self, node, call, overload, &costs);
            cost = cost.or(each);
            size = match (size, result) {
                (Some(a), Some(b)) => Some(a.or(b)),
                (a, b) => a.or(b),
            };
            let step = match *overload {
                "index_list" => "@items",
                "index_map" => "@values",
                _ => continue,
            };
            if let Some(container) = call.args.first() {
                size = self.entries(container).map(|entries| entries.value);
                let mut path = self.path(container);
                path.push(step.into());
                self.paths.insert(node.id, path);
            }
        }
        if call.overloads.is_empty() {
            return sum;
        }
        let size = size.or_else(|| self.size(node));
        self.set_size(node, size);
        sum.plus(cost)
    }
}

/// Whether values of the type have a size that is known.
fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
