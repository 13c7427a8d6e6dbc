//! The options of a request, as admission shows them to those who ask.

use gantry_json::{Value, json};

/// What a request was sent with. It is an object only where somebody looks at it: hardly any write is shown
/// to a webhook or an expression.
#[derive(Debug, Clone, Copy, Default)]
pub enum Options<'a> {
    /// A stream has none.
    #[default]
    None,
    /// Those of a write, from its query.
    Write {
        /// CreateOptions or UpdateOptions.
        kind: &'static str,
        /// Who writes.
        field_manager: Option<&'a str>,
        /// What becomes of unknown fields.
        field_validation: Option<&'a str>,
        /// Whether nothing is to be stored.
        dry_run: bool,
    },
    /// Those of a deletion, which come with its body.
    Delete(&'a Value),
}

impl Options<'_> {
    /// As an object; null for a stream.
    pub fn to_value(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Delete(options) => options.clone(),
            Self::Write { kind, field_manager, field_validation, dry_run } => {
                let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
                for (name, text) in [("fieldManager", field_manager), ("fieldValidation", field_validation)] {
                    if let Some(text) = text {
                        options[name] = text.into();
                    }
                }
                if dry_run {
                    options["dryRun"] = json!(["All"]);
                }
                options
            }
        }
    }
}
