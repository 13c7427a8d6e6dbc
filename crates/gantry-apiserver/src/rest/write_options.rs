//! The options of writes, checked as upstream checks them: dry run, field validation, field manager.

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::metadata::field_manager;
use gantry_api::status::ApiError;
use gantry_json::json;

use super::Context;
use crate::request::Query;

/// What to do about fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// What is wrong with the values of `dryRun`.
pub(super) fn dry_run_errors(values: &[&str]) -> Option<FieldError> {
    let bad = values.iter().any(|value| *value != "All");
    bad.then(|| FieldError::not_supported(&Path::new("dryRun"), json!(values), &["All"]))
}

/// What is wrong with the options of a write.
fn errors(query: &Query) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(manager) = query.filled("fieldManager") {
        field_manager(&Path::new("fieldManager"), manager, &mut errors);
    }
    errors.extend(dry_run_errors(&query.all("dryRun").collect::<Vec<_>>()));
    let validation = query.get("fieldValidation").unwrap_or_default();
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        let path = Path::new("fieldValidation");
        errors.push(FieldError::not_supported(&path, validation, &["", "Ignore", "Strict", "Warn"]));
    }
    errors
}

impl Context<'_> {
    /// Refuses wrong options of a write; `kind` is that of the options.
    pub(super) fn check_options(&self, kind: &str) -> Result<(), ApiError> {
        refuse(kind, errors(self.query))
    }

    /// Refuses wrong options of a patch; an apply names its manager, and it alone may be forced.
    pub(super) fn check_patch_options(&self, apply: bool) -> Result<(), ApiError> {
        let mut wrong = Vec::new();
        if apply && self.query.filled("fieldManager").is_none() {
            wrong.push(FieldError::required(&Path::new("fieldManager"), "is required for apply patch"));
        }
        if !apply && self.query.get("force").is_some() {
            let detail = "may not be specified for non-apply patch";
            wrong.push(FieldError::forbidden(&Path::new("force"), detail));
        }
        wrong.extend(errors(self.query));
        refuse("PatchOptions", wrong)
    }

    /// Whether the request must change nothing.
    pub(super) fn dry_run(&self) -> bool {
        self.query.all("dryRun").any(|value| value == "All")
    }

    pub(super) fn field_validation(&self) -> FieldValidation {
        match self.query.filled("fieldValidation") {
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        }
    }

    /// The name under which this client's fields are kept.
    pub(super) fn field_manager(&self, agent: &str) -> String {
        if let Some(manager) = self.query.filled("fieldManager") {
            return manager.to_owned();
        }
        let product = agent.split('/').next().unwrap_or_default();
        let manager: String = product.chars().filter(|c| !c.is_control()).take(128).collect();
        if manager.is_empty() { "unknown".to_owned() } else { manager }
    }
}

/// A 422 where there are `errors` in options of `kind`.
pub(super) fn refuse(kind: &str, errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", kind, "", &errors)) }
}
