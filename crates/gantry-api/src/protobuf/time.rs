//! Times in texts, as seconds and nanoseconds since the Unix epoch.

use jiff::Timestamp;

/// The seconds and nanoseconds of a text of RFC 3339. Seconds before the epoch are rounded down:
/// nanoseconds never count backwards.
pub(super) fn read(text: &[u8]) -> Result<(i64, u32), jiff::Error> {
    if let Some(seconds) = whole_seconds(text) {
        return Ok((seconds, 0));
    }
    let time: Timestamp = String::from_utf8_lossy(text).parse()?;
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    Ok(if nanos < 0 {
        (seconds - 1, (nanos + 1_000_000_000).unsigned_abs())
    } else {
        (seconds, nanos.unsigned_abs())
    })
}

/// The form that almost all times of objects have: `2006-01-02T15:04:05Z`.
fn whole_seconds(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _, b'Z'] = text else {
        return None;
    };
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| 10 * number + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // The end of the last year is beyond what a timestamp can be.
    let usual = (1..9999).contains(&year) && (1..=days_of_month).contains(&day);
    if !usual || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March end with the day that only some have.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    /// From the first of March of the year 0 to the epoch.
    const EPOCH: i64 = 719_468;
    Some((days - EPOCH) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let parsed = text.parse::<Timestamp>();
        match read(text.as_bytes()) {
            Ok((seconds, nanos)) => {
                let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
                assert_eq!(parsed.expect(text).as_nanosecond(), nanos, "{text}");
            }
            Err(_) => assert!(parsed.is_err(), "{text}"),
        }
    }

    #[test]
    fn times_and_what_is_none() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "0000-12-31T00:00:00Z",
            "2000-02-29T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "1900-03-01T00:00:00Z",
            "2023-02-29T12:00:00Z",
            "9998-12-31T23:59:59Z",
            "9999-12-31T23:59:59Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-32T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T23:59:60Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:0xZ",
            "2024-01-01T00:00:00+02:00",
            "1969-12-31T23:59:58.5Z",
            "2024-01-01T00:00:00.123456Z",
            "",
            "now",
        ] {
            check(text);
        }
        assert!(read(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_time(seconds in -62_000_000_000_i64..253_000_000_000) {
            check(&Timestamp::from_second(seconds).expect("in range").to_string());
        }
    }
}
