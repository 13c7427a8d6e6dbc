//! What expressions may name, and the programs that come of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::Node;
use crate::budget::Budget;
use crate::check::{self, Names};
use crate::declared::{Declared, ObjectType};
use crate::error::{CompileError, EvaluationError, Issue};
use crate::estimate::{self, Range};
use crate::evaluate::{self, Known};
use crate::parse;
use crate::stack;
use crate::types::Type;
use crate::value::Value;
use crate::variables::Variables;

/// What expressions may name: variables with their types, and the libraries of Kubernetes v1.35.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: HashMap<Arc<str>, Type>,
    declared: HashMap<Arc<str>, Arc<Declared>>,
    without: Vec<&'static str>,
    bindings: bool,
    patches: bool,
}

impl Environment {
    /// No variables, all libraries.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable of a type.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.insert(name.into(), kind);
        self
    }

    /// With a variable whose values have a schema: its type, and how large it may be.
    #[must_use]
    pub fn with_declared(mut self, name: &str, declared: Arc<Declared>) -> Self {
        self.variables.insert(name.into(), declared.kind_of_expression());
        self.declared.insert(name.into(), declared);
        self
    }

    /// Without these functions.
    #[must_use]
    pub fn without(mut self, functions: &[&'static str]) -> Self {
        self.without.extend(functions);
        self
    }

    /// With `cel.bind(NAME, VALUE, EXPRESSION)`.
    #[must_use]
    pub fn with_bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    /// With the types that patches are made of, `Object`, `Object.FIELD` and so on and `JSONPatch`, and with
    /// `jsonpatch.escapeKey`.
    #[must_use]
    pub fn with_patch_types(mut self) -> Self {
        self.patches = true;
        self
    }

    /// The schema of a variable's values.
    pub(crate) fn declared(&self, name: &str) -> Option<&Declared> {
        self.declared.get(name).map(|declared| &**declared)
    }

    /// What running the program costs at least and at most, by the schemas of the variables.
    pub fn estimate(&self, program: &Program) -> Range {
        let Some(node) = program.node() else { return Range { min: 0, max: 0 } };
        stack::for_depth(program.depth(), || estimate::estimate(node, self)).unwrap_or(Range::UNKNOWN)
    }

    /// The program of an expression of any type.
    pub fn compile_any(&self, text: &str) -> Result<Program, CompileError> {
        let names = Names { variables: &self.variables, without: &self.without, patches: self.patches };
        let compiled = stack::deep(|| {
            let mut node = parse::parse(text, self.bindings)?;
            let depth = node.depth();
            if depth > stack::DEEPEST {
                return Err(vec![Issue::whole(format!(
                    "expression nests too deeply: limit {}",
                    stack::DEEPEST
                ))]);
            }
            let result = check::check(&mut node, &names)?;
            Ok(Program { tree: Arc::new(Tree { node: Some(node), depth }), result })
        });
        let failed =
            |_| Err(vec![Issue::whole("internal error: the expression cannot be compiled".to_owned())]);
        compiled.unwrap_or_else(failed).map_err(|issues| CompileError::of(text, issues))
    }

    /// The program of an expression that has one of the types.
    pub fn compile(&self, text: &str, types: &[Type]) -> Result<Program, CompileError> {
        let program = self.compile_any(text)?;
        match types.contains(&program.result) {
            true => Ok(program),
            false => Err(CompileError::Result(types.to_vec(), program.result.clone())),
        }
    }
}

/// An expression, checked and ready to run.
#[derive(Debug, Clone)]
pub struct Program {
    tree: Arc<Tree>,
    result: Type,
}

#[derive(Debug)]
struct Tree {
    node: Option<Node>,
    depth: usize,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let node = self.node.take();
        // Without a stack to drop it on, a deep tree is left behind.
        let _ = stack::for_depth(self.depth, move || drop(node));
    }
}

impl Program {
    /// The type of the expression.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether the expression refers to the variable.
    pub fn refers_to(&self, variable: &str) -> bool {
        stack::for_depth(self.tree.depth, || {
            self.tree.node.as_ref().is_some_and(|node| check::refers_to(node, variable))
        })
        .unwrap_or(true)
    }

    /// Whether the expression reads the field of the variable.
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        stack::for_depth(self.tree.depth, || {
            self.tree.node.as_ref().is_some_and(|node| check::selects(node, variable, field))
        })
        .unwrap_or(true)
    }

    /// The value of the expression.
    pub fn evaluate<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvaluationError> {
        Session::new(variables).evaluate(self, budget)
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        self.tree.node.as_ref()
    }

    pub(crate) fn depth(&self) -> usize {
        self.tree.depth
    }
}

/// Several evaluations over the same variables: composed variables are found once for all of them.
#[derive(Debug)]
pub struct Session<'a, 'v> {
    variables: &'v Variables<'a>,
    known: Known<'a>,
}

impl<'a, 'v> Session<'a, 'v> {
    /// Over these variables.
    pub fn new(variables: &'v Variables<'a>) -> Self {
        Self { variables, known: Known::new() }
    }

    /// The value of an expression.
    pub fn evaluate(
        &mut self,
        program: &'a Program,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvaluationError> {
        let Some(node) = program.node() else { return Err(EvaluationError::no_overload()) };
        let depth = program.depth() + self.variables.depth();
        stack::for_depth(depth, || evaluate::evaluate(node, self.variables, &mut self.known, budget))
            .unwrap_or(Err(EvaluationError::Interrupted))
    }
}

/// Variables that are expressions themselves: `variables.NAME`, found when they are first asked
/// for. Each may name those before it.
#[derive(Debug, Clone, Default)]
pub struct Composition {
    variables: Vec<(String, Program)>,
}

impl Composition {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The environment with the variables so far.
    pub fn environment(&self, base: &Environment) -> Environment {
        let known = self.variables.iter().map(|(name, program)| (name.clone(), program.result.clone()));
        let object = ObjectType::of_expressions("kubernetes.variables", known);
        base.clone().with("variables", Type::Object(Arc::new(object)))
    }

    /// Adds a variable.
    pub fn add(&mut self, base: &Environment, name: &str, text: &str) -> Result<(), CompileError> {
        let program = self.environment(base).compile_any(text)?;
        self.variables.push((name.to_owned(), program));
        Ok(())
    }

    /// Adds a variable whose expression is wrong: what names it is not wrong for that.
    pub(crate) fn add_unknown(&mut self, name: &str) {
        let tree = Arc::new(Tree { node: None, depth: 0 });
        self.variables.push((name.to_owned(), Program { tree, result: Type::Dyn }));
    }

    pub(crate) fn get(&self, name: &str) -> Option<(&str, &Node)> {
        let (name, program) = self.variables.iter().rev().find(|each| each.0 == name)?;
        Some((name, program.node()?))
    }

    /// How deeply all of them may nest in each other.
    pub(crate) fn depth(&self) -> usize {
        self.variables.iter().map(|each| each.1.depth()).sum()
    }
}
