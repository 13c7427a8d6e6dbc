//! The functions that expressions may call.

pub(crate) mod authorizer;
pub(crate) mod convert;
pub(crate) mod encoding;
pub(crate) mod format;
mod lists;
mod net;
pub(crate) mod operators;
mod optional;
mod printf;
mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
mod sets;
mod strings;
pub(crate) mod time;
pub(crate) mod url;

use std::sync::LazyLock;

use crate::error::EvaluationError;
use crate::function::{FunctionId, Functions};
use crate::value::Value;

/// A function over its arguments, what it is called on first.
pub(crate) type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvaluationError>;

/// How a call is made.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    And,
    Or,
    Conditional,
    NotStrictlyFalse,
    OptionalSelect,
    OptionalOr,
    OptionalOrValue,
    Add,
    Insert,
    Function(Implementation),
}

/// How calls of the function are made.
pub(crate) fn operation(function: FunctionId) -> Operation {
    static ALL: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        Functions::all().iter().map(|function| by_name(function.name).unwrap_or(MISSING)).collect()
    });
    ALL.get(function.0).copied().unwrap_or(MISSING)
}

const MISSING: Operation = Operation::Function(|_| Err(EvaluationError::no_overload()));

fn by_name(name: &str) -> Option<Operation> {
    Some(match name {
        "_&&_" => Operation::And,
        "_||_" => Operation::Or,
        "_?_:_" => Operation::Conditional,
        "@not_strictly_false" => Operation::NotStrictlyFalse,
        "or" => Operation::OptionalOr,
        "orValue" => Operation::OptionalOrValue,
        "_+_" => Operation::Add,
        "cel.@mapInsert" => Operation::Insert,
        _ => Operation::Function(
            operators::by_name(name)
                .or_else(|| convert::by_name(name))
                .or_else(|| time::by_name(name))
                .or_else(|| strings::by_name(name))
                .or_else(|| lists::by_name(name))
                .or_else(|| sets::by_name(name))
                .or_else(|| optional::by_name(name))
                .or_else(|| regex::by_name(name))
                .or_else(|| url::by_name(name))
                .or_else(|| net::by_name(name))
                .or_else(|| format::by_name(name))
                .or_else(|| quantity::by_name(name))
                .or_else(|| authorizer::by_name(name))?,
        ),
    })
}

fn no_overload<'a>() -> Result<Value<'a>, EvaluationError> {
    Err(EvaluationError::no_overload())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_function_is_there() {
        for function in Functions::all().iter() {
            assert!(by_name(function.name).is_some(), "{} has no implementation", function.name);
        }
    }
}
