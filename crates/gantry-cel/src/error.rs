//! What can be wrong with an expression, in upstream's words.

use std::fmt;

use crate::ast::Position;
use crate::types::Type;

/// One thing wrong at one place of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub at: Position,
    pub message: String,
}

impl Issue {
    /// Something wrong with the whole text.
    pub fn whole(message: String) -> Self {
        Self { at: Position::default(), message }
    }
}

/// Why a text is not an expression of the environment.
#[derive(Debug, Clone, PartialEq)]
pub enum CompileError {
    /// The text cannot be parsed or its types do not fit: all that is wrong, as upstream shows it,
    /// each with the line and a mark under the place.
    Issues(String),
    /// Its type is none of these, but another one.
    Result(Vec<Type>, Type),
}

impl CompileError {
    /// The error for what is wrong with `text`.
    pub(crate) fn of(text: &str, mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| issue.at);
        let shown: Vec<_> = issues.iter().map(|issue| show(text, issue)).collect();
        Self::Issues(shown.join("\n"))
    }
}

/// The longest line that an error repeats.
const LINE: usize = 4_096;

fn show(text: &str, issue: &Issue) -> String {
    let Position { line, column } = issue.at;
    let mut shown = format!("ERROR: <input>:{line}:{column}: {}", issue.message);
    if let Some(source) = line.checked_sub(1).and_then(|at| text.split('\n').nth(at as usize))
        && source.len() <= LINE
    {
        let dots = ".".repeat(column.saturating_sub(1) as usize);
        shown.push_str(&format!("\n | {}\n | {dots}^", source.replace('\t', " ")));
    }
    shown
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issues(issues) => write!(f, "compilation failed: {issues}"),
            Self::Result(types, _) if types.len() == 1 => {
                write!(f, "must evaluate to {}", types[0].runtime_name())
            }
            Self::Result(types, _) => {
                let names: Vec<_> = types.iter().map(Type::runtime_name).collect();
                write!(f, "must evaluate to one of [{}]", names.join(" "))
            }
        }
    }
}

impl std::error::Error for CompileError {}

impl CompileError {
    /// The error as upstream tells it of admission policies and webhooks: with the type that was found.
    pub fn with_found(&self) -> String {
        match self {
            Self::Issues(_) => self.to_string(),
            Self::Result(types, found) => {
                let names: Vec<_> = types.iter().map(Type::declared_name).collect();
                match names.as_slice() {
                    [one] => format!("must evaluate to {one} but got {}", found.declared_name()),
                    several => {
                        format!(
                            "must evaluate to one of [{}] but got {}",
                            several.join(" "),
                            found.declared_name()
                        )
                    }
                }
            }
        }
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// An operation failed: a missing key, a division by zero and so on.
    #[error("{0}")]
    Failed(String),
    /// One evaluation cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// The budget of the request is used up.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExhausted,
    /// The time is up.
    #[error("operation interrupted")]
    Interrupted,
}

impl EvaluationError {
    /// An operation failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// No implementation of an operation fits the values.
    pub(crate) fn no_overload() -> Self {
        Self::Failed("no such overload".to_owned())
    }

    /// Whether `&&` and `||` may take it as unknown rather than give up.
    pub(crate) fn can_be_absorbed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}
