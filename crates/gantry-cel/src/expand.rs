//! The macros that the parser does not know: comprehensions over two variables, and of optionals.

use std::sync::Arc;

use crate::ast::{Bind, Binding, Entry, Expr, Fold, Literal, Node, Position};
use crate::parse::Reader;

/// The name under which a comprehension collects its result.
pub(crate) const ACCUMULATOR: &str = "@result";
/// The name of what `optMap`, `optFlatMap` and `sortBy` are called on.
const TARGET: &str = "@target";

/// A call on a target, expanded if it is a macro.
pub(crate) fn call(reader: &mut Reader<'_>, name: &str, target: Node, args: Vec<Node>, at: Position) -> Node {
    let mut expansion = Expansion { reader, at };
    match (name, args.len()) {
        ("all" | "exists" | "existsOne" | "exists_one", 3) => expansion.quantifier(name, target, args),
        ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
            expansion.transform(name, target, args)
        }
        ("sortBy", 2) => expansion.sort_by(target, args),
        ("bind", 3) if expansion.reader.bindings && target.qualified().as_deref() == Some("cel") => {
            expansion.bind(args)
        }
        ("optMap" | "optFlatMap", 2) => expansion.optional(name, target, args),
        _ => expansion.reader.call(name, Some(target), args, at),
    }
}

struct Expansion<'r, 'a> {
    reader: &'r mut Reader<'a>,
    at: Position,
}

impl Expansion<'_, '_> {
    fn make(&mut self, expr: Expr) -> Node {
        self.reader.make(expr, self.at)
    }

    fn accumulator(&mut self) -> Node {
        self.make(Expr::Ident { name: ACCUMULATOR.into(), binding: Binding::Unresolved })
    }

    fn literal(&mut self, value: Literal) -> Node {
        self.make(Expr::Literal(value))
    }

    fn list(&mut self, items: Vec<Node>) -> Node {
        let optional = vec![false; items.len()];
        self.make(Expr::List { items, optional })
    }

    fn call(&mut self, name: &str, args: Vec<Node>) -> Node {
        self.reader.call(name, None, args, self.at)
    }

    /// The name that an argument is.
    fn name(&mut self, node: &Node) -> Arc<str> {
        match &node.expr {
            Expr::Ident { name, .. } if &**name != ACCUMULATOR && !name.starts_with('.') => Arc::clone(name),
            _ => {
                self.reader.refuse(node.at, "argument must be a simple name");
                "@invalid".into()
            }
        }
    }

    fn fold(&mut self, range: Node, names: [Arc<str>; 2], parts: [Node; 4]) -> Node {
        if names[0] == names[1] {
            self.reader.refuse(self.at, format!("duplicate variable name: {}", names[1]));
        }
        let [variable, second] = names;
        let [initial, condition, step, result] = parts;
        self.make(Expr::Fold(Box::new(Fold {
            range,
            variable,
            second: Some(second),
            accumulator: ACCUMULATOR.into(),
            initial,
            condition,
            step,
            result,
            slot: 0,
        })))
    }

    fn quantifier(&mut self, name: &str, target: Node, args: Vec<Node>) -> Node {
        let names = [self.name(&args[0]), self.name(&args[1])];
        let Some(predicate) = args.into_iter().nth(2) else { return target };
        let accumulator = self.accumulator();
        let (initial, condition, step, result) = match name {
            "all" => {
                let condition = self.call("@not_strictly_false", vec![accumulator]);
                let so_far = self.accumulator();
                let step = self.call("_&&_", vec![so_far, predicate]);
                (self.literal(Literal::Bool(true)), condition, step, self.accumulator())
            }
            "exists" => {
                let negated = self.call("!_", vec![accumulator]);
                let condition = self.call("@not_strictly_false", vec![negated]);
                let so_far = self.accumulator();
                let step = self.call("_||_", vec![so_far, predicate]);
                (self.literal(Literal::Bool(false)), condition, step, self.accumulator())
            }
            _ => {
                let one = self.literal(Literal::Int(1));
                let more = self.call("_+_", vec![accumulator, one]);
                let same = self.accumulator();
                let step = self.call("_?_:_", vec![predicate, more, same]);
                let (count, one) = (self.accumulator(), self.literal(Literal::Int(1)));
                let result = self.call("_==_", vec![count, one]);
                (self.literal(Literal::Int(0)), self.literal(Literal::Bool(true)), step, result)
            }
        };
        self.fold(target, names, [initial, condition, step, result])
    }

    fn transform(&mut self, name: &str, target: Node, args: Vec<Node>) -> Node {
        let names = [self.name(&args[0]), self.name(&args[1])];
        let key = self.make(Expr::Ident { name: Arc::clone(&names[0]), binding: Binding::Unresolved });
        let mut rest = args.into_iter().skip(2);
        let (first, last) = (rest.next(), rest.next());
        let (filter, value) = if last.is_some() { (first, last) } else { (None, first) };
        let Some(value) = value else { return target };
        let so_far = self.accumulator();
        let (initial, mut step) = match name {
            "transformList" => {
                let item = self.list(vec![value]);
                (self.list(Vec::new()), self.call("_+_", vec![so_far, item]))
            }
            "transformMap" => {
                (self.make(Expr::Map(Vec::new())), self.call("cel.@mapInsert", vec![so_far, key, value]))
            }
            _ => {
                (self.make(Expr::Map(Vec::<Entry>::new())), self.call("cel.@mapInsert", vec![so_far, value]))
            }
        };
        if let Some(filter) = filter {
            let same = self.accumulator();
            step = self.call("_?_:_", vec![filter, step, same]);
        }
        let (condition, result) = (self.literal(Literal::Bool(true)), self.accumulator());
        self.fold(target, names, [initial, condition, step, result])
    }

    /// `let T = target in T.@sortByAssociatedKeys(T.map(NAME, KEY))`.
    fn sort_by(&mut self, target: Node, args: Vec<Node>) -> Node {
        let variable = self.name(&args[0]);
        let Some(key) = args.into_iter().nth(1) else { return target };
        let so_far = self.accumulator();
        let item = self.list(vec![key]);
        let step = self.call("_+_", vec![so_far, item]);
        let (condition, result) = (self.literal(Literal::Bool(true)), self.accumulator());
        let (initial, range) = (self.list(Vec::new()), self.target());
        let keys = self.make(Expr::Fold(Box::new(Fold {
            range,
            variable,
            second: None,
            accumulator: ACCUMULATOR.into(),
            initial,
            condition,
            step,
            result,
            slot: 0,
        })));
        let sorted = self.target();
        let body = self.reader.call("@sortByAssociatedKeys", Some(sorted), vec![keys], self.at);
        self.make(Expr::Bind(Box::new(Bind { name: TARGET.into(), value: target, body, slot: 0 })))
    }

    fn bind(&mut self, args: Vec<Node>) -> Node {
        let name = self.name(&args[0]);
        let mut rest = args.into_iter().skip(1);
        match (rest.next(), rest.next()) {
            (Some(value), Some(body)) => self.make(Expr::Bind(Box::new(Bind { name, value, body, slot: 0 }))),
            _ => self.literal(Literal::Null),
        }
    }

    /// `let T = target in T.hasValue() ? optional.of(let NAME = T.value() in BODY) : optional.none()`.
    ///
    /// Upstream repeats the target instead, which makes chains of these grow without bound.
    fn optional(&mut self, name: &str, target: Node, args: Vec<Node>) -> Node {
        let variable = self.name(&args[0]);
        let Some(body) = args.into_iter().nth(1) else { return target };
        let has = self.on_target("hasValue");
        let value = self.on_target("value");
        let bound = self.make(Expr::Bind(Box::new(Bind { name: variable, value, body, slot: 0 })));
        let some = if name == "optMap" { self.call("optional.of", vec![bound]) } else { bound };
        let none = self.call("optional.none", Vec::new());
        let body = self.call("_?_:_", vec![has, some, none]);
        self.make(Expr::Bind(Box::new(Bind { name: TARGET.into(), value: target, body, slot: 0 })))
    }

    fn target(&mut self) -> Node {
        self.make(Expr::Ident { name: TARGET.into(), binding: Binding::Unresolved })
    }

    fn on_target(&mut self, name: &str) -> Node {
        let target = self.target();
        self.reader.call(name, Some(target), Vec::new(), self.at)
    }
}
