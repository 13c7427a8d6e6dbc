//! From text to a tree: the grammar is the `cel` crate's, the same as upstream's.

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr as Parsed, IdedExpr, LiteralValue, SourceInfo};
use cel::parser::{ParseErrors, Parser};

use crate::ast::{Call, Entry, Expr, Fold, Literal, Node, Position};
use crate::error::Issue;
use crate::expand;
use crate::types::Type;

/// Upstream's limit on the nesting of expressions.
const NESTING: u16 = 250;
/// Upstream's limit on the size of a text, in characters.
const CHARACTERS: usize = 100_000;
/// More tokens than this may make a tree too deep for any stack.
const OPERATORS: usize = 10_000;

/// The tree of `text`, with all macros expanded; it takes a lot of stack.
/// `bindings` says whether `cel.bind` is one.
pub(crate) fn parse(text: &str, bindings: bool) -> Result<Node, Vec<Issue>> {
    let characters = text.chars().count();
    if characters > CHARACTERS {
        return Err(vec![Issue::whole(format!(
            "expression code point size exceeds limit: size: {characters}, limit {CHARACTERS}"
        ))]);
    }
    let operators = text.bytes().filter(|byte| b"+-*/%.[<>=!(?{".contains(byte)).count();
    if operators > OPERATORS {
        return Err(vec![Issue::whole(format!("expression has too many operators: limit {OPERATORS}"))]);
    }
    // The parser allows one level more than it is told.
    let parser = Parser::default().max_recursion_depth(NESTING).enable_optional_syntax(true);
    let (parsed, source) = parser.parse_with_source_info(text).map_err(issues)?;
    let lines = Lines::new(text);
    let mut reader = Reader { source: &source, lines: &lines, next: 0, issues: Vec::new(), bindings };
    let node = reader.node(parsed);
    if reader.issues.is_empty() { Ok(node) } else { Err(reader.issues) }
}

fn issues(errors: ParseErrors) -> Vec<Issue> {
    let issue = |error: cel::ParseError| {
        let too_deep = error.msg.contains("Recursion limit of");
        let message =
            if too_deep { format!("expression recursion limit exceeded: {NESTING}") } else { error.msg };
        let place = |at: isize| u32::try_from(at).unwrap_or_default();
        Issue { at: Position { line: place(error.pos.0), column: place(error.pos.1) }, message }
    };
    errors.errors.into_iter().map(issue).collect()
}

/// Where the lines of a text begin, in characters.
struct Lines(Vec<u32>);

impl Lines {
    fn new(text: &str) -> Self {
        let breaks = text.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(at, _)| at as u32 + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    fn position(&self, offset: u32) -> Position {
        let line = self.0.partition_point(|start| *start <= offset).max(1);
        Position { line: line as u32, column: offset - self.0[line - 1] + 1 }
    }
}

/// Turns the parser's tree into ours.
pub(crate) struct Reader<'a> {
    source: &'a SourceInfo,
    lines: &'a Lines,
    next: u32,
    issues: Vec<Issue>,
    /// Whether `cel.bind` is a macro.
    pub bindings: bool,
}

impl Reader<'_> {
    /// A new node at a place.
    pub fn make(&mut self, expr: Expr, at: Position) -> Node {
        self.next += 1;
        Node::new(expr, at, self.next - 1)
    }

    /// Notes what is wrong.
    pub fn refuse(&mut self, at: Position, message: impl Into<String>) {
        self.issues.push(Issue { at, message: message.into() });
    }

    fn boxed(&mut self, parsed: IdedExpr) -> Box<Node> {
        Box::new(self.node(parsed))
    }

    fn nodes(&mut self, parsed: Vec<IdedExpr>) -> Vec<Node> {
        parsed.into_iter().map(|each| self.node(each)).collect()
    }

    fn node(&mut self, parsed: IdedExpr) -> Node {
        let at = self
            .source
            .offset_for(parsed.id)
            .map_or(Position::default(), |(start, _)| self.lines.position(start));
        let expr = match parsed.expr {
            Parsed::Unspecified => {
                self.refuse(at, "unsupported expression kind");
                Expr::Literal(Literal::Null)
            }
            Parsed::Literal(value) => Expr::Literal(literal(value)),
            Parsed::Ident(name) => {
                Expr::Ident { name: name.into(), binding: crate::ast::Binding::Unresolved }
            }
            Parsed::Select(select) => Expr::Select {
                operand: self.boxed(*select.operand),
                field: select.field.into(),
                test: select.test,
            },
            Parsed::List(list) => {
                let mut optional = vec![false; list.elements.len()];
                list.optional_indices.iter().for_each(|at| optional[*at] = true);
                Expr::List { items: self.nodes(list.elements), optional }
            }
            Parsed::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in map.entries {
                    if let EntryExpr::MapEntry(entry) = entry.expr {
                        let (key, value) = (self.node(entry.key), self.node(entry.value));
                        entries.push(Entry { key, value, optional: entry.optional });
                    }
                }
                Expr::Map(entries)
            }
            Parsed::Struct(made) => {
                let mut fields = Vec::with_capacity(made.entries.len());
                for entry in made.entries {
                    if let EntryExpr::StructField(field) = entry.expr {
                        fields.push((field.field.into(), self.node(field.value), field.optional));
                    }
                }
                Expr::Struct { name: made.type_name.into(), fields }
            }
            Parsed::Comprehension(fold) => {
                let (range, initial) = (self.node(fold.iter_range), self.node(fold.accu_init));
                let (condition, step) = (self.node(fold.loop_cond), self.node(fold.loop_step));
                let result = self.node(fold.result);
                Expr::Fold(Box::new(Fold {
                    range,
                    variable: fold.iter_var.into(),
                    second: fold.iter_var2.map(Into::into),
                    accumulator: fold.accu_var.into(),
                    initial,
                    condition,
                    step,
                    result,
                    slot: 0,
                }))
            }
            Parsed::Call(call) => {
                let target = call.target.map(|target| self.node(*target));
                let args = self.nodes(call.args);
                return match target {
                    Some(target) => expand::call(self, &call.func_name, target, args, at),
                    None => self.call(&call.func_name, None, args, at),
                };
            }
        };
        self.make(expr, at)
    }

    /// A call.
    pub fn call(&mut self, name: &str, target: Option<Node>, args: Vec<Node>, at: Position) -> Node {
        let call = Call {
            name: Arc::from(name),
            function: None,
            overloads: Vec::new(),
            target,
            args,
            pattern: None,
        };
        self.make(Expr::Call(Box::new(call)), at)
    }
}

fn literal(value: LiteralValue) -> Literal {
    match value {
        LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Literal::Bytes(value.inner().into()),
        LiteralValue::Double(value) => Literal::Double(*value.inner()),
        LiteralValue::Int(value) => Literal::Int(*value.inner()),
        LiteralValue::Null => Literal::Null,
        LiteralValue::String(value) => Literal::String(value.inner().into()),
        LiteralValue::UInt(value) => Literal::Uint(*value.inner()),
    }
}

/// The type of a constant.
pub(crate) fn literal_type(value: &Literal) -> Type {
    match value {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
