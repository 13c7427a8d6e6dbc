//! Durations as upstream's configuration files write them: `1h30m`, `500ms`, `0s`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a duration. The error is for what is none.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        nanoseconds += number * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())
}

/// A duration in a configuration file.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| parse(&text)).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        let check = |text: &str, milliseconds: u64| {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        };
        check("1h30m", 5_400_000);
        check("1.5s", 1_500);
        check("500ms", 500);
        check("0", 0);
        check("0s", 0);
        for wrong in ["", "5", "s", "-1s", "1d", "1s2"] {
            assert_eq!(parse(wrong), Err(format!("time: invalid duration {wrong:?}")));
        }
    }
}
