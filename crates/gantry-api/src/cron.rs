//! Schedules in cron's notation: five fields, or a word such as `@hourly`.

use thiserror::Error;

/// A schedule: for each of its five fields the numbers that it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Minutes, a bit each.
    pub minutes: u64,
    /// Hours, a bit each.
    pub hours: u64,
    /// Days of the month, a bit each.
    pub days: u64,
    /// Months, a bit each.
    pub months: u64,
    /// Days of the week, Sunday first, a bit each.
    pub weekdays: u64,
    /// Whether any day of the month will do: then the day of the week alone decides.
    pub any_day: bool,
    /// Whether any day of the week will do: then the day of the month alone decides.
    pub any_weekday: bool,
    /// The period of `@every`, in seconds; the fields then mean nothing.
    pub every: Option<u64>,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CronError {
    /// It is empty.
    #[error("empty spec string")]
    Empty,
    /// It has more or fewer than five fields.
    #[error("expected exactly 5 fields, found {found}: [{text}]")]
    Fields {
        /// How many there are.
        found: usize,
        /// The fields.
        text: String,
    },
    /// A word after `@` that means nothing.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// A duration that cannot be read.
    #[error("failed to parse duration {0}")]
    Duration(String),
    /// A number below the first that the field allows.
    #[error("beginning of range ({value}) below minimum ({limit}): {text}")]
    Below {
        /// The number.
        value: u32,
        /// The first that is allowed.
        limit: u32,
        /// The part of the field.
        text: String,
    },
    /// A number above the last that the field allows.
    #[error("end of range ({value}) above maximum ({limit}): {text}")]
    Above {
        /// The number.
        value: u32,
        /// The last that is allowed.
        limit: u32,
        /// The part of the field.
        text: String,
    },
    /// A range that ends before it begins.
    #[error("beginning of range ({start}) beyond end of range ({end}): {text}")]
    Reversed {
        /// Its begin.
        start: u32,
        /// Its end.
        end: u32,
        /// The part of the field.
        text: String,
    },
    /// A step of zero.
    #[error("step of range should be a positive number: {0}")]
    Step(String),
    /// A word that is no number.
    #[error("failed to parse int from {0}: strconv.Atoi: parsing {0:?}: invalid syntax")]
    Number(String),
    /// More hyphens or slashes than a part may have.
    #[error("too many {what}: {text}")]
    Many {
        /// Hyphens or slashes.
        what: &'static str,
        /// The part of the field.
        text: String,
    },
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field's range, and the names of its numbers.
struct Bounds {
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { first: 0, last: 59, names: &[] };
const HOUR: Bounds = Bounds { first: 0, last: 23, names: &[] };
const DAY: Bounds = Bounds { first: 1, last: 31, names: &[] };
const MONTH: Bounds = Bounds { first: 1, last: 12, names: &MONTHS };
const WEEKDAY: Bounds = Bounds { first: 0, last: 6, names: &WEEKDAYS };

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.is_empty() {
            return Err(CronError::Empty);
        }
        let expanded = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(period) = expanded.strip_prefix("@every ") {
            let seconds = duration(period).ok_or_else(|| CronError::Duration(expanded.to_owned()))?;
            let none = Self::parse("* * * * *")?;
            return Ok(Self { every: Some(seconds.max(1)), ..none });
        }
        if expanded.starts_with('@') {
            return Err(CronError::Descriptor(expanded.to_owned()));
        }
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::Fields { found: fields.len(), text: fields.join(" ") });
        };
        let any =
            |field: &str| field.split(',').any(|part| matches!(part.split('/').next(), Some("*" | "?")));
        Ok(Self {
            minutes: field(minute, &MINUTE)?,
            hours: field(hour, &HOUR)?,
            days: field(day, &DAY)?,
            months: field(month, &MONTH)?,
            weekdays: field(weekday, &WEEKDAY)?,
            any_day: any(day),
            any_weekday: any(weekday),
            every: None,
        })
    }
}

/// The numbers that a field allows, a bit each.
fn field(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let mut bits = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        bits |= range(part, bounds)?;
    }
    Ok(bits)
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let owned = || text.to_owned();
    let (span, step) = match text.split_once('/') {
        Some((_, step)) if step.contains('/') => {
            return Err(CronError::Many { what: "slashes", text: owned() });
        }
        Some((span, step)) => (span, Some(step)),
        None => (text, None),
    };
    let (start, mut end) = if matches!(span, "*" | "?") {
        (bounds.first, bounds.last)
    } else {
        match span.split_once('-') {
            Some((_, end)) if end.contains('-') => {
                return Err(CronError::Many { what: "hyphens", text: owned() });
            }
            Some((start, end)) => (number(start, bounds)?, number(end, bounds)?),
            None => {
                let only = number(span, bounds)?;
                (only, only)
            }
        }
    };
    let step = match step {
        Some(step) => {
            if !span.contains(['-', '*', '?']) {
                end = bounds.last;
            }
            step.parse::<u32>().map_err(|_| CronError::Number(step.to_owned()))?
        }
        None => 1,
    };
    if start < bounds.first {
        return Err(CronError::Below { value: start, limit: bounds.first, text: owned() });
    }
    if end > bounds.last {
        return Err(CronError::Above { value: end, limit: bounds.last, text: owned() });
    }
    if start > end {
        return Err(CronError::Reversed { start, end, text: owned() });
    }
    if step == 0 {
        return Err(CronError::Step(owned()));
    }
    Ok((start..=end).step_by(step as usize).fold(0, |bits, at| bits | 1 << at))
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, CronError> {
    let lower = text.to_lowercase();
    if let Some(at) = bounds.names.iter().position(|name| *name == lower) {
        return Ok(at as u32 + bounds.first);
    }
    text.parse().map_err(|_| CronError::Number(text.to_owned()))
}

/// The seconds in a text such as `1h30m`.
fn duration(text: &str) -> Option<u64> {
    let (mut seconds, mut rest) = (0.0, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (length, factor) = match unit {
            _ if unit.starts_with("ms") => (2, 0.001),
            _ if unit.starts_with('h') => (1, 3600.0),
            _ if unit.starts_with('m') => (1, 60.0),
            _ if unit.starts_with('s') => (1, 1.0),
            _ => return None,
        };
        seconds += amount * factor;
        rest = &unit[length..];
    }
    Some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn schedules() {
        let bits = |numbers: &[u32]| numbers.iter().fold(0u64, |bits, at| bits | 1 << at);
        let schedule = Schedule::parse("*/15 0,12 1-3 JAN-mar mon").expect("parses");
        assert_eq!(
            [schedule.minutes, schedule.hours, schedule.days, schedule.months, schedule.weekdays],
            [bits(&[0, 15, 30, 45]), bits(&[0, 12]), bits(&[1, 2, 3]), bits(&[1, 2, 3]), bits(&[1])]
        );
        assert!(!schedule.any_day && !schedule.any_weekday);
        let hourly = Schedule::parse("@hourly").expect("parses");
        assert_eq!((hourly.minutes, hourly.any_day, hourly.any_weekday), (1, true, true));
        assert_eq!(Schedule::parse("5/20 * * * *").expect("parses").minutes, bits(&[5, 25, 45]));
        assert_eq!(Schedule::parse("@every 1h30m").expect("parses").every, Some(5400));
    }

    #[test]
    fn faults() {
        for (text, expected) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("9-5 * * * *", "beginning of range (9) beyond end of range (5): 9-5"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(Schedule::parse(text).expect_err(text).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-*/?,@a-z0-9 ]{0,30}") {
            let _ = Schedule::parse(&text);
        }
    }
}
