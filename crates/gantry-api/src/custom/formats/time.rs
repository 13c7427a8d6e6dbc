//! Dates, times and durations.

use jiff::civil::Date;

/// A day, as in RFC 3339.
pub(super) fn is_date(text: &str) -> bool {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shaped && text.parse::<Date>().is_ok()
}

/// A time with its day and its zone, as in RFC 3339.
pub(super) fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    let Some((clock, rest)) = time.split_at_checked(8) else { return false };
    let part = |at: usize, most: u32| {
        clock[at..].get(..2).and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|value| value <= most)
    };
    let shaped = clock.bytes().enumerate().all(|(at, byte)| match at {
        2 | 5 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    is_date(date) && shaped && part(0, 23) && part(3, 59) && part(6, 59) && is_zone(rest)
}

/// What follows the seconds: a fraction perhaps, then a zone.
fn is_zone(text: &str) -> bool {
    let mut rest = text;
    if !rest.starts_with(['z', '+', '-']) {
        // Whatever sign begins the fraction.
        let Some(first) = rest.chars().next() else { return false };
        let digits = rest[first.len_utf8()..].trim_start_matches(|c: char| c.is_ascii_digit());
        if digits.len() == rest.len() - first.len_utf8() {
            return false;
        }
        rest = digits;
    }
    match rest.strip_prefix(['+', '-']) {
        None => rest == "z",
        Some(offset) => {
            offset.len() == 5
                && offset.bytes().enumerate().all(|(at, byte)| match at {
                    2 => byte == b':',
                    _ => byte.is_ascii_digit(),
                })
        }
    }
}

/// A duration such as `1h30m`, or in words such as `3 days`.
pub(super) fn is_duration(text: &str) -> bool {
    is_plain(text) || is_in_words(text)
}

fn is_plain(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - after.len()];
        let dots = number.matches('.').count();
        if number.len() == dots || dots > 1 {
            return false;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        if !matches!(&after[..end], "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = &after[end..];
    }
    true
}

fn is_in_words(text: &str) -> bool {
    const UNITS: &[(&[&str], &str)] = &[
        (&["ns"], "nano"),
        (&["us", "µs"], "micro"),
        (&["ms"], "milli"),
        (&["s"], "sec"),
        (&["m"], "min"),
        (&["h", "hr"], "hour"),
        (&["d"], "day"),
        (&["w", "wk"], "week"),
    ];
    let mut rest = text.trim();
    let mut known = false;
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &rest[..rest.len() - after.len()];
        let after = after.trim_start();
        let next = after.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
        let unit = after[..after.len() - next.len()].to_lowercase();
        if number.parse::<i64>().is_err() || unit.is_empty() {
            return false;
        }
        known |= UNITS.iter().any(|(short, long)| short.contains(&unit.as_str()) || unit.starts_with(long));
        rest = next.trim_start();
    }
    known
}
