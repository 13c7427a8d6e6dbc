//! Values that may be missing.

use std::sync::Arc;

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::Value;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "optional.of" => |args| Ok(Value::Optional(Some(Arc::new(args[0].clone())))),
        "optional.ofNonZeroValue" => |args| {
            let value = &args[0];
            Ok(Value::Optional((!is_zero(value)).then(|| Arc::new(value.clone()))))
        },
        "optional.none" => |_| Ok(Value::Optional(None)),
        "hasValue" => |args| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => no_overload(),
        },
        "value" => |args| match args {
            [Value::Optional(Some(value))] => Ok((**value).clone()),
            [Value::Optional(None)] => Err(EvaluationError::failed("optional.none() dereference")),
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) | Value::Bool(false) | Value::Int(0) | Value::Uint(0) => true,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.as_str().is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Duration(length) => length.is_zero(),
        other => other.list_len().or_else(|| other.map_len()) == Some(0),
    }
}
