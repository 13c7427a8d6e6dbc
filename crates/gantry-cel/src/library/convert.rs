//! Conversions between types.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Implementation, no_overload, time};
use crate::error::EvaluationError;
use crate::types::Type;
use crate::value::Value;

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "dyn" => |args| Ok(args[0].clone()),
        "type" => |args| Ok(Value::Type(Arc::new(args[0].type_of()))),
        "bool" => to_bool,
        "int" => to_int,
        "uint" => to_uint,
        "double" => to_double,
        "string" => to_string,
        "bytes" => |args| match args {
            [Value::String(text)] => Ok(Value::Bytes(text.as_str().as_bytes().into())),
            [bytes @ Value::Bytes(_)] => Ok(bytes.clone()),
            _ => no_overload(),
        },
        "timestamp" => |args| match args {
            [at @ Value::Timestamp(_)] => Ok(at.clone()),
            [Value::Int(seconds)] => Timestamp::from_second(*seconds)
                .map(Value::Timestamp)
                .map_err(|_| EvaluationError::failed("timestamp overflow")),
            [Value::String(text)] => {
                time::timestamp(text.as_str()).map(Value::Timestamp).map_err(EvaluationError::failed)
            }
            _ => no_overload(),
        },
        "duration" => |args| match args {
            [length @ Value::Duration(_)] => Ok(length.clone()),
            [Value::Int(nanos)] => Ok(Value::Duration(jiff::SignedDuration::from_nanos(*nanos))),
            [Value::String(text)] => {
                time::duration(text.as_str()).map(Value::Duration).map_err(EvaluationError::failed)
            }
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn range(kind: &str) -> EvaluationError {
    EvaluationError::failed(format!("{kind} overflow"))
}

fn conversion(from: &Type, to: &str) -> EvaluationError {
    EvaluationError::failed(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [value @ Value::Bool(_)] => Ok(value.clone()),
        [Value::String(text)] => match text.as_str() {
            "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(Value::Bool(true)),
            "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(Value::Bool(false)),
            _ => Err(conversion(&Type::String, "bool")),
        },
        _ => no_overload(),
    }
}

fn to_int<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Int(match args {
        [Value::Int(value)] => *value,
        [Value::Uint(value)] => i64::try_from(*value).map_err(|_| range("integer"))?,
        [Value::Double(value)] if value.abs() < 9.223_372_036_854_775e18 => *value as i64,
        [Value::Double(_)] => return Err(range("integer")),
        [Value::String(text)] => text.as_str().parse().map_err(|_| conversion(&Type::String, "int"))?,
        [Value::Timestamp(at)] => at.as_second(),
        [Value::Duration(length)] => i64::try_from(length.as_nanos()).map_err(|_| range("integer"))?,
        _ => return no_overload(),
    }))
}

fn to_uint<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let overflow = || range("unsigned integer");
    Ok(Value::Uint(match args {
        [Value::Uint(value)] => *value,
        [Value::Int(value)] => u64::try_from(*value).map_err(|_| overflow())?,
        [Value::Double(value)] if (0.0..1.844_674_407_370_955e19).contains(value) => *value as u64,
        [Value::Double(_)] => return Err(overflow()),
        [Value::String(text)] => text.as_str().parse().map_err(|_| conversion(&Type::String, "uint"))?,
        _ => return no_overload(),
    }))
}

fn to_double<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Double(match args {
        [Value::Double(value)] => *value,
        [Value::Int(value)] => *value as f64,
        [Value::Uint(value)] => *value as f64,
        [Value::String(text)] => text.as_str().parse().map_err(|_| conversion(&Type::String, "double"))?,
        _ => return no_overload(),
    }))
}

fn to_string<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [text @ Value::String(_)] => Ok(text.clone()),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::from(text.to_owned())),
            Err(_) => Err(EvaluationError::failed("invalid UTF-8 in bytes, cannot convert to string")),
        },
        [value] => text(value).map(Value::from).ok_or_else(EvaluationError::no_overload),
        _ => no_overload(),
    }
}

/// A floating-point number as it is written.
pub(crate) fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let shown = format!("{value:e}");
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

/// The text of a scalar.
pub(crate) fn text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value),
        Value::String(text) => text.as_str().to_owned(),
        Value::Timestamp(at) => at.to_string(),
        Value::Duration(length) => time::seconds(*length),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(address, length) => format!("{address}/{length}"),
        _ => return None,
    })
}
