//! Finds names, functions and types of an expression before it runs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Binding, Call, Entry, Expr, Fold, Literal, Node, Position};
use crate::budget::Budget;
use crate::error::Issue;
use crate::evaluate;
use crate::expand::ACCUMULATOR;
use crate::function::{FunctionId, Functions};
use crate::made;
use crate::parse::literal_type;
use crate::types::{Substitution, Type};

/// Deeper tuples of comprehension variables than this are not of this world.
pub(crate) const SLOTS: usize = 1_024;

/// What checking needs of an environment.
pub(crate) struct Names<'a> {
    /// The variables.
    pub variables: &'a HashMap<Arc<str>, Type>,
    /// The functions that the environment has not.
    pub without: &'a [&'static str],
    /// Whether there are the types that patches are made of.
    pub patches: bool,
}

/// Checks `node`, annotating it: its type, or what is wrong.
pub(crate) fn check(node: &mut Node, names: &Names<'_>) -> Result<Type, Vec<Issue>> {
    let mut checker = Checker {
        names,
        functions: Functions::all(),
        substitution: Substitution::default(),
        locals: Vec::new(),
        issues: Vec::new(),
    };
    let kind = checker.node(node);
    checker.finish(node);
    if checker.issues.is_empty() { Ok(checker.substitution.resolve(&kind)) } else { Err(checker.issues) }
}

struct Checker<'a> {
    names: &'a Names<'a>,
    functions: &'static Functions,
    substitution: Substitution,
    locals: Vec<(Arc<str>, Type)>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn refuse(&mut self, at: Position, message: String) -> Type {
        self.issues.push(Issue { at, message });
        Type::Error
    }

    fn undeclared(&mut self, at: Position, name: &str) -> Type {
        self.refuse(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn shown(&self, kind: &Type) -> String {
        self.substitution.resolve(kind).to_string()
    }

    fn node(&mut self, node: &mut Node) -> Type {
        let kind = self.expression(node);
        node.kind = kind.clone();
        kind
    }

    /// Replaces type parameters by what they stand for in the end, and compiles constant patterns.
    fn finish(&mut self, node: &mut Node) {
        node.kind = self.substitution.resolve(&node.kind);
        match &mut node.expr {
            Expr::Literal(_) | Expr::Ident { .. } => {}
            Expr::Select { operand, .. } => self.finish(operand),
            Expr::Call(call) => {
                call.target.iter_mut().chain(&mut call.args).for_each(|each| self.finish(each));
                self.validate(call);
            }
            Expr::List { items, .. } => items.iter_mut().for_each(|item| self.finish(item)),
            Expr::Map(entries) => {
                for Entry { key, value, .. } in entries {
                    self.finish(key);
                    self.finish(value);
                }
            }
            Expr::Struct { fields, .. } => fields.iter_mut().for_each(|field| self.finish(&mut field.1)),
            Expr::Fold(fold) => {
                let Fold { range, initial, condition, step, result, .. } = &mut **fold;
                [range, initial, condition, step, result].into_iter().for_each(|each| self.finish(each));
            }
            Expr::Bind(bind) => {
                self.finish(&mut bind.value);
                self.finish(&mut bind.body);
            }
        }
        if self.issues.is_empty() && is_known(node) {
            let mut budget = Budget::new(Budget::PER_CALL);
            let value = evaluate::evaluate_constant(node, &mut budget);
            node.constant = value.map(Box::new);
        }
    }

    /// Constant arguments that can never be right are refused before anything runs.
    fn validate(&mut self, call: &mut Call) {
        let constant = |node: &Node| match &node.expr {
            Expr::Literal(Literal::String(text)) => Some(Arc::clone(text)),
            _ => None,
        };
        let Some(last) = call.args.last() else { return };
        let at = last.at;
        match (&*call.name, call.args.len()) {
            ("matches" | "find" | "findAll", _) => {
                let pattern = if call.target.is_some() { call.args.first() } else { call.args.get(1) };
                let Some(text) = pattern.and_then(constant) else { return };
                match crate::library::regex::compile(&text) {
                    Ok(pattern) => call.pattern = Some(pattern),
                    Err(_) if call.name.as_ref() != "matches" => {}
                    Err(_) => {
                        self.refuse(at, "invalid matches argument".to_owned());
                    }
                }
            }
            ("duration", 1)
                if constant(last).is_some_and(|it| crate::library::time::duration(&it).is_err()) =>
            {
                self.refuse(at, "invalid duration argument".to_owned());
            }
            ("timestamp", 1)
                if constant(last).is_some_and(|it| crate::library::time::timestamp(&it).is_err()) =>
            {
                self.refuse(at, "invalid timestamp argument".to_owned());
            }
            _ => {}
        }
    }

    fn expression(&mut self, node: &mut Node) -> Type {
        let at = node.at;
        // A dotted name may be one of a variable or a type.
        if let Expr::Select { test: false, .. } = &node.expr
            && let Some(name) = node.qualified()
            && !self.is_local(name.split('.').next().unwrap_or_default())
            && let Some((binding, kind)) = self.global(&name)
        {
            node.expr = Expr::Ident { name: name.into(), binding };
            return kind;
        }
        match &mut node.expr {
            Expr::Literal(value) => literal_type(value),
            Expr::Ident { name, binding } => {
                let name = Arc::clone(name);
                let local = self.locals.iter().rposition(|local| local.0 == name);
                if let Some(slot) = local {
                    *binding = Binding::Local(slot);
                    return self.locals[slot].1.clone();
                }
                match self.global(name.strip_prefix('.').unwrap_or(&name)) {
                    Some((found, kind)) => {
                        *binding = found;
                        kind
                    }
                    None => self.undeclared(at, &name),
                }
            }
            Expr::Select { operand, field, test } => {
                let target = self.node(operand);
                let kind = self.select(&target, field, at);
                if *test { Type::Bool } else { kind }
            }
            Expr::Call(call) => self.call(call, at),
            Expr::List { items, optional } => {
                let mut item = None;
                for (each, optional) in items.iter_mut().zip(optional) {
                    let (at, kind) = (each.at, self.node(each));
                    let kind = self.entry(kind, *optional, at);
                    item = Some(self.join(item, kind, at));
                }
                let item = item.unwrap_or_else(|| self.substitution.fresh());
                Type::list(item)
            }
            Expr::Map(entries) => {
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    let (at, kind) = (entry.key.at, self.node(&mut entry.key));
                    key = Some(self.join(key, kind, at));
                    let (at, kind) = (entry.value.at, self.node(&mut entry.value));
                    let kind = self.entry(kind, entry.optional, at);
                    value = Some(self.join(value, kind, at));
                }
                let key = key.unwrap_or_else(|| self.substitution.fresh());
                let value = value.unwrap_or_else(|| self.substitution.fresh());
                Type::map(key, value)
            }
            Expr::Struct { name, fields } => {
                let name = Arc::clone(name);
                self.made(&name, fields, at)
            }
            Expr::Fold(fold) => self.fold(fold),
            Expr::Bind(bind) => {
                let value = self.node(&mut bind.value);
                bind.slot = self.locals.len();
                self.locals.push((Arc::clone(&bind.name), value));
                let kind = self.node(&mut bind.body);
                self.locals.pop();
                kind
            }
        }
    }

    /// The type of an object that the expression makes.
    fn made(&mut self, name: &str, fields: &mut [(Arc<str>, Node, bool)], at: Position) -> Type {
        let name = name.strip_prefix('.').unwrap_or(name);
        let object = if self.names.patches { made::object(name) } else { None };
        for (field, value, optional) in fields {
            let (at, found) = (value.at, self.node(value));
            let found = self.entry(found, *optional, at);
            let Some(object) = &object else { continue };
            match object.field_type(field) {
                None => drop(self.refuse(at, format!("undefined field '{field}'"))),
                Some(wanted) if !self.substitution.assignable(&found, &wanted) => {
                    let (wanted, found) = (self.shown(&wanted), self.shown(&found));
                    let words = format!(
                        "expected type of field '{field}' is '{wanted}' but provided type is '{found}'"
                    );
                    self.refuse(at, words);
                }
                Some(_) => {}
            }
        }
        match object {
            Some(object) => Type::Object(object),
            None => self.undeclared(at, name),
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|local| &*local.0 == name)
    }

    fn global(&self, name: &str) -> Option<(Binding, Type)> {
        if let Some(kind) = self.names.variables.get(name) {
            return Some((Binding::Variable, kind.clone()));
        }
        let kind = Type::by_name(name)?;
        Some((Binding::Type(kind.clone()), Type::Type(Arc::new(kind))))
    }

    /// The type of an item with or without `?` in front.
    fn entry(&mut self, kind: Type, optional: bool, at: Position) -> Type {
        if !optional {
            return kind;
        }
        let inner = self.substitution.fresh();
        let wanted = Type::optional(inner.clone());
        if !self.substitution.assignable(&kind, &wanted) {
            let (kind, wanted) = (self.shown(&kind), self.shown(&wanted));
            return self.refuse(at, format!("expected type '{wanted}' but found '{kind}'"));
        }
        inner
    }

    /// Literals have items of one type.
    fn join(&mut self, so_far: Option<Type>, next: Type, at: Position) -> Type {
        let Some(so_far) = so_far else { return next };
        match self.substitution.join(so_far.clone(), &next) {
            Some(kind) => kind,
            None => {
                let (expected, found) = (self.shown(&so_far), self.shown(&next));
                self.refuse(at, format!("expected type '{expected}' but found '{found}'"));
                so_far
            }
        }
    }

    /// The type of the field of a value of type `target`.
    fn select(&mut self, target: &Type, field: &str, at: Position) -> Type {
        let target = self.substitution.apply(target);
        let (inner, optional) = target.unwrapped();
        let kind = match inner {
            Type::Dyn | Type::Error | Type::Param(_) => Type::Dyn,
            Type::Map(types) => types.1.clone(),
            Type::Object(object) => match object.field_type(field) {
                Some(kind) => kind,
                None => self.refuse(at, format!("undefined field '{field}'")),
            },
            other => {
                let shown = self.shown(other);
                self.refuse(at, format!("type '{shown}' does not support field selection"))
            }
        };
        if optional && !matches!(kind, Type::Optional(_)) { Type::optional(kind) } else { kind }
    }

    fn call(&mut self, call: &mut Call, at: Position) -> Type {
        if &*call.name == "_?._" {
            return self.optional_select(call, at);
        }
        // What looks like a call on a value may be one of a function with a dotted name.
        if let Some(target) = &call.target
            && let Some(prefix) = target.qualified()
            && !self.is_local(prefix.split('.').next().unwrap_or_default())
            && !self.names.variables.contains_key(prefix.split('.').next().unwrap_or_default())
            && let Some(function) = self.function(&format!("{prefix}.{}", call.name))
        {
            call.name = self.functions.get(function).name.into();
            call.target = None;
        }
        // The items of a list to be formatted need not be alike.
        let formats = &*call.name == "format" && call.target.is_some();
        let mut args = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &mut call.target {
            args.push(self.node(target));
        }
        for arg in &mut call.args {
            args.push(match &mut arg.expr {
                Expr::List { items, .. } if formats => {
                    items.iter_mut().for_each(|item| drop(self.node(item)));
                    arg.kind = Type::list(Type::Dyn);
                    arg.kind.clone()
                }
                _ => self.node(arg),
            });
        }
        let Some(function) = self.function(call.name.strip_prefix('.').unwrap_or(&call.name)) else {
            let name = Arc::clone(&call.name);
            return self.undeclared(at, &name);
        };
        call.function = Some(function);
        self.resolve(call, function, &args, at)
    }

    fn function(&self, name: &str) -> Option<FunctionId> {
        if name == made::ESCAPE && !self.names.patches {
            return None;
        }
        let found = self.functions.by_name(name)?;
        (!self.names.without.contains(&name)).then_some(found)
    }

    /// Finds the overloads that fit.
    fn resolve(&mut self, call: &mut Call, function: FunctionId, args: &[Type], at: Position) -> Type {
        let member = call.target.is_some();
        let mut result: Option<Type> = None;
        for overload in &self.functions.get(function).overloads {
            if overload.member != member || overload.params.len() != args.len() {
                continue;
            }
            let before = self.substitution.mark();
            let (params, kind) = overload.instance(&mut self.substitution);
            if !args.iter().zip(&params).all(|(arg, param)| self.substitution.assignable(arg, param)) {
                self.substitution = before;
                continue;
            }
            call.overloads.push(overload.id);
            let kind = self.substitution.apply(&kind);
            result = Some(match result {
                None => kind,
                Some(same) if same == kind => same,
                Some(_) => Type::Dyn,
            });
        }
        if let Some(result) = result {
            return result;
        }
        if args.contains(&Type::Error) {
            return Type::Error;
        }
        let shown: Vec<_> = args.iter().map(|arg| self.shown(arg)).collect();
        let signature = match shown.split_first() {
            Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.refuse(at, format!("found no matching overload for '{}' applied to '{signature}'", call.name))
    }

    fn optional_select(&mut self, call: &mut Call, at: Position) -> Type {
        let [operand, field] = &mut *call.args else { return Type::Error };
        let target = self.node(operand);
        let Expr::Literal(Literal::String(name)) = &field.expr else {
            return self.refuse(at, "unsupported optional field selection".to_owned());
        };
        let name = Arc::clone(name);
        field.kind = Type::String;
        let kind = self.select(&target, &name, at);
        call.overloads.push("select_optional_field");
        if matches!(kind, Type::Optional(_) | Type::Error) { kind } else { Type::optional(kind) }
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.node(&mut fold.range);
        let range = self.substitution.apply(&range);
        let (first, second) = match &range {
            Type::List(item) => (Type::Int, (**item).clone()),
            Type::Map(types) => types.as_ref().clone(),
            Type::Dyn | Type::Error | Type::Param(_) => (Type::Dyn, Type::Dyn),
            other => {
                let shown = self.shown(other);
                let at = fold.range.at;
                self.refuse(
                    at,
                    format!(
                        "expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Error, Type::Error)
            }
        };
        let initial = self.node(&mut fold.initial);
        fold.slot = self.locals.len();
        if fold.slot > SLOTS {
            return self.refuse(fold.range.at, "comprehensions nest too deeply".to_owned());
        }
        self.locals.push((Arc::clone(&fold.accumulator), initial.clone()));
        match &fold.second {
            Some(name) => {
                self.locals.push((Arc::clone(&fold.variable), first));
                self.locals.push((Arc::clone(name), second));
            }
            None => {
                let each = if matches!(range, Type::Map(_)) { first } else { second };
                self.locals.push((Arc::clone(&fold.variable), each));
            }
        }
        let condition = self.node(&mut fold.condition);
        self.expect(&condition, &Type::Bool, fold.condition.at);
        let step = self.node(&mut fold.step);
        self.expect(&step, &initial, fold.step.at);
        self.locals.truncate(fold.slot + 1);
        let result = self.node(&mut fold.result);
        self.locals.truncate(fold.slot);
        result
    }

    fn expect(&mut self, found: &Type, expected: &Type, at: Position) {
        if !self.substitution.assignable(found, expected) {
            let (expected, found) = (self.shown(expected), self.shown(found));
            self.refuse(at, format!("expected type '{expected}' but found '{found}'"));
        }
    }
}

/// Whether the value of a node does not depend on anything: of lists, maps and conversions.
fn is_known(node: &Node) -> bool {
    match &node.expr {
        Expr::List { items, optional } => !optional.contains(&true) && items.iter().all(Node::is_constant),
        Expr::Map(entries) => entries
            .iter()
            .all(|entry| !entry.optional && entry.key.is_constant() && entry.value.is_constant()),
        Expr::Call(call) => {
            let conversion = matches!(
                &*call.name,
                "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint"
            );
            conversion
                && call.target.is_none()
                && matches!(&*call.args, [arg] if matches!(arg.expr, Expr::Literal(_)))
        }
        _ => false,
    }
}

/// Whether `variable.field` is read anywhere, as that or as an optional.
pub(crate) fn selects(node: &Node, variable: &str, field: &str) -> bool {
    let is_variable = |operand: &Node| match &operand.expr {
        Expr::Ident { name, .. } => name.trim_start_matches('.') == variable,
        _ => false,
    };
    let here = match &node.expr {
        Expr::Select { operand, field: name, .. } => is_variable(operand) && **name == *field,
        Expr::Call(call) if call.target.is_none() && &*call.name == "_?._" => match call.args.as_slice() {
            [operand, name] => {
                let named = matches!(&name.expr, Expr::Literal(Literal::String(text)) if **text == *field);
                is_variable(operand) && named
            }
            _ => false,
        },
        _ => false,
    };
    here || node.children().into_iter().any(|child| selects(child, variable, field))
}

/// Whether the variable is named anywhere.
pub(crate) fn refers_to(node: &Node, variable: &str) -> bool {
    match &node.expr {
        Expr::Ident { name, binding } => {
            *binding == Binding::Variable
                && name.trim_start_matches('.') == variable
                && variable != ACCUMULATOR
        }
        _ => node.children().into_iter().any(|child| refers_to(child, variable)),
    }
}
