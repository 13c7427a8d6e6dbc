//! The tree of an expression, as the checker annotates it and the evaluator walks it.

use std::sync::Arc;

use crate::function::FunctionId;
use crate::types::Type;
use crate::value::Value;

/// A place in the text, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub expr: Expr,
    /// Where it stands.
    pub at: Position,
    /// Its number, dense in the tree, by which the static estimate keeps its notes.
    pub id: u32,
    /// Its type, once checked.
    pub kind: Type,
    /// Its value, where that is known without running anything: it then costs nothing.
    pub constant: Option<Box<Value<'static>>>,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// Where a name leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Binding {
    /// Not resolved yet.
    Unresolved,
    /// A declared variable.
    Variable,
    /// A variable of an enclosing comprehension: its slot.
    Local(usize),
    /// The name of a type.
    Type(Type),
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Literal),
    Ident {
        name: Arc<str>,
        binding: Binding,
    },
    Select {
        operand: Box<Node>,
        field: Arc<str>,
        test: bool,
    },
    Call(Box<Call>),
    List {
        items: Vec<Node>,
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<(Arc<str>, Node, bool)>,
    },
    Fold(Box<Fold>),
    /// `let`: the value of a macro such as `optMap`, under a name.
    Bind(Box<Bind>),
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The function's name; with the target's name in front where that is a namespace.
    pub name: Arc<str>,
    /// The function, once checked.
    pub function: Option<FunctionId>,
    /// The overloads that may apply, once checked.
    pub overloads: Vec<&'static str>,
    pub target: Option<Node>,
    pub args: Vec<Node>,
    /// A compiled pattern, where the argument is constant.
    pub pattern: Option<regex::Regex>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

/// A comprehension.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub range: Node,
    /// The element, or of maps the key; with two variables the index or key.
    pub variable: Arc<str>,
    /// With two variables: the element or value.
    pub second: Option<Arc<str>>,
    pub accumulator: Arc<str>,
    pub initial: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
    /// The first of the slots of accumulator and variables, once checked.
    pub slot: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Bind {
    pub name: Arc<str>,
    pub value: Node,
    pub body: Node,
    /// The slot of the name, once checked.
    pub slot: usize,
}

impl Node {
    /// A node that no one has checked.
    pub fn new(expr: Expr, at: Position, id: u32) -> Self {
        Self { expr, at, id, kind: Type::Dyn, constant: None }
    }

    /// The dotted name that the node spells, such as `ip.isCanonical`.
    pub fn qualified(&self) -> Option<String> {
        match &self.expr {
            Expr::Ident { name, .. } => Some(name.to_string()),
            Expr::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified()?)),
            _ => None,
        }
    }

    /// Whether it is a variable, or a way from one.
    pub fn is_attribute(&self) -> bool {
        match &self.expr {
            Expr::Ident { .. } => true,
            Expr::Select { operand, test: false, .. } => operand.is_attribute(),
            Expr::Call(call) => &*call.name == "_[_]" && call.args.first().is_some_and(Self::is_attribute),
            _ => false,
        }
    }

    /// Whether it is a literal, or known as well as one.
    pub fn is_constant(&self) -> bool {
        matches!(self.expr, Expr::Literal(_)) || self.constant.is_some()
    }

    /// Its children, in the order of evaluation.
    pub fn children(&self) -> Vec<&Self> {
        match &self.expr {
            Expr::Literal(_) | Expr::Ident { .. } => Vec::new(),
            Expr::Select { operand, .. } => vec![operand],
            Expr::Call(call) => call.target.iter().chain(&call.args).collect(),
            Expr::List { items, .. } => items.iter().collect(),
            Expr::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Expr::Struct { fields, .. } => fields.iter().map(|(_, value, _)| value).collect(),
            Expr::Fold(fold) => {
                vec![&fold.range, &fold.initial, &fold.condition, &fold.step, &fold.result]
            }
            Expr::Bind(bind) => vec![&bind.value, &bind.body],
        }
    }

    /// How deeply it nests.
    pub fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Self::depth).max().unwrap_or_default()
    }
}
