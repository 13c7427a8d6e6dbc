//! How long a request may take: what the client asks for in `timeout`, but no longer than the server
//! allows.

use std::time::Duration;

use gantry_api::status::ApiError;

use crate::request::Query;

/// The time that the request with `query` has, of at most `most`.
pub(super) fn of(query: &Query, most: Duration) -> Result<Duration, ApiError> {
    let Some(text) = query.filled("timeout") else { return Ok(most) };
    let asked = parse(text).map_err(|why| {
        ApiError::bad_request(format!("invalid timeout specified in the request URL - time: {why}"))
    })?;
    Ok(asked.filter(|asked| !asked.is_zero() && *asked < most).unwrap_or(most))
}

/// The error about a request that took too long.
pub(super) fn exceeded() -> ApiError {
    ApiError::timeout(
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
    )
}

/// A duration such as `1m30s` or `1.5h`; `None`: one below zero.
fn parse(text: &str) -> Result<Option<Duration>, String> {
    let invalid = || format!("invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return Err(format!("missing unit in duration {text:?}")),
                other => return Err(format!("unknown unit {other:?} in duration {text:?}")),
            };
        rest = after;
    }
    if text.trim_start_matches(['+', '-']).is_empty() {
        return Err(invalid());
    }
    Ok(if negative { None } else { Duration::try_from_secs_f64(seconds).ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_ask_for_less() {
        let most = Duration::from_secs(60);
        let check = |query: &str, expected: Result<u64, &str>| {
            let got = of(&Query::parse(Some(query)), most).map(|time| time.as_millis() as u64);
            let expected =
                expected.map_err(|why| format!("invalid timeout specified in the request URL - time: {why}"));
            assert_eq!(got.map_err(|error| error.message), expected, "{query}");
        };
        check("", Ok(60_000));
        check("timeout=10s", Ok(10_000));
        check("timeout=1m30s", Ok(60_000));
        check("timeout=1.5ms", Ok(1));
        check("timeout=0s", Ok(60_000));
        check("timeout=0", Ok(60_000));
        check("timeout=-3s", Ok(60_000));
        check("timeout=99999999999999999999h", Ok(60_000));
        check("timeout=10", Err("missing unit in duration \"10\""));
        check("timeout=1y", Err("unknown unit \"y\" in duration \"1y\""));
        check("timeout=soon", Err("invalid duration \"soon\""));
        check("timeout=-", Err("invalid duration \"-\""));
        check("timeout=.s", Err("invalid duration \".s\""));
    }
}
