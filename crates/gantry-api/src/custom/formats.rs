//! The formats that texts are checked by. Schemas may name others, which mean nothing here.

mod network;
mod numbers;
mod time;

use std::sync::LazyLock;

use regex::Regex;

pub(crate) use network::is_request_uri;

use crate::quantity::Quantity;
use crate::selector::{is_dns_label, is_dns_subdomain};

type Check = fn(&str) -> bool;

/// The check of a format, however its name is spelled with dashes.
pub(crate) fn check_of(format: &str) -> Option<Check> {
    let check: Check = match format.replace('-', "").as_str() {
        "bsonobjectid" => |text| text.len() == 24 && is_hex(text),
        "byte" => is_base64,
        "cidr" => network::is_cidr,
        "creditcard" => numbers::is_credit_card,
        "date" => time::is_date,
        "datetime" => time::is_date_time,
        "duration" => time::is_duration,
        "email" => network::is_email,
        "hexcolor" => is_hex_color,
        "hostname" => network::is_hostname,
        "ipv4" => |text| network::is_address(text) && text.contains('.'),
        "ipv6" => |text| network::is_address(text) && text.contains(':'),
        "isbn" => |text| numbers::is_isbn10(text) || numbers::is_isbn13(text),
        "isbn10" => numbers::is_isbn10,
        "isbn13" => numbers::is_isbn13,
        "k8slongname" => is_dns_subdomain,
        "k8sshortname" => is_dns_label,
        "mac" => network::is_mac,
        "password" => |_| true,
        "quantity" => |text| text.parse::<Quantity>().is_ok(),
        "rgbcolor" => is_rgb_color,
        "ssn" => numbers::is_social_security_number,
        "uri" => network::is_request_uri,
        "uuid" => |text| is_uuid(text, None),
        "uuid3" => |text| is_uuid(text, Some('3')),
        "uuid4" => |text| is_uuid(text, Some('4')),
        "uuid5" => |text| is_uuid(text, Some('5')),
        _ => return None,
    };
    Some(check)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

fn is_rgb_color(text: &str) -> bool {
    static RGB: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let part = r"[\t\n\x0c\r ]*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])[\t\n\x0c\r ]*";
        Regex::new(&format!(r"^rgb\({part},{part},{part}\)$")).ok()
    });
    RGB.as_ref().is_some_and(|rgb| rgb.is_match(text))
}

/// Padded standard base64 of at least one byte.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !text.is_empty() && text.len().is_multiple_of(4) && padding <= 2 && digits.bytes().all(fine)
}

/// A UUID, with or without its dashes.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut digits = String::with_capacity(32);
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((part, after)) = rest.split_at_checked(length) else { return false };
        digits.push_str(part);
        rest = after;
    }
    if !rest.is_empty() || !is_hex(&digits) {
        return false;
    }
    let at = |at: usize| digits[at..=at].chars().next();
    let variant = || at(16).is_some_and(|c| "89abAB".contains(c));
    match version {
        None => true,
        Some('3') => at(12) == Some('3'),
        Some(version) => at(12) == Some(version) && variant(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats() {
        for (format, good, bad) in [
            ("bsonobjectid", &["507f1f77bcf86cd799439011"][..], &["507f1f77bcf86cd79943901", "x"][..]),
            ("byte", &["YQ==", "YWJj"], &["", "YQ=", "Y*==", "===="]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "a/1", "1.2.3.4/"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111111111111112", ""]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "x"]),
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
                &["2014-12-15", "2014-12-15T24:00:00Z", "2014-12-15T19:30:20", "t"],
            ),
            (
                "duration",
                &["22ns", "1h30m", "1.5h", "-1s", "0", "22 ns", "3 days", "1 week"],
                &["", "1", "x", "1 z"],
            ),
            (
                "email",
                &["a@b.c", "A B <a@b>", "\"a b\"@c.d", "a@[1.2.3.4]"],
                &["a", "@b", "a@", "a b@c", "<a@b"],
            ),
            ("hexcolor", &["#FFF", "00ff00"], &["#FFFF", "#ggg"]),
            ("hostname", &["example.com", "a", "xn--a.b1", "1.2.3.com"], &["", "-a", "a_b.c", "a..b"]),
            ("ipv4", &["1.2.3.4"], &["1.2.3", "::1", "01.2.3.4"]),
            ("ipv6", &["::1", "::ffff:1.2.3.4"], &["1.2.3.4", "fe80::1%eth0"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
            ("isbn10", &["0-321-75104-3", "080442957X"], &["978-0321751041"]),
            ("isbn13", &["978-0321751041"], &["0321751043", "978-0321751042"]),
            ("k8s-short-name", &["a-b"], &["A", "a.b", ""]),
            ("k8s-long-name", &["a.b-c"], &["A", "a..b"]),
            (
                "mac",
                &["00:00:5e:00:53:01", "0000.5e00.5301", "02-00-5e-10-00-00-00-01"],
                &["00:00", "x", "00-00:00:00:00:00"],
            ),
            ("password", &["", "x"], &[]),
            ("quantity", &["10Gi", "0.5"], &["x"]),
            ("rgbcolor", &["rgb(0,10, 255)"], &["rgb(0,10,256)", "rgb(1,2)"]),
            ("ssn", &["111-11-1111", "111 11 1111"], &["111111111", "x"]),
            (
                "uri",
                &["http://a.b/c", "/a", "mailto:x", "*"],
                &["", "a b", "a/b", "http://a b/", "http://[::1", ":x"],
            ),
            (
                "uuid",
                &["123E4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"],
                &["123", "ü"],
            ),
            ("uuid3", &["bcd02ab7-6beb-3467-84c0-3bdbea962817"], &["025b0d74-00a2-4048-bf57-227c5111bb34"]),
            ("uuid4", &["025b0d74-00a2-4048-bf57-227c5111bb34"], &["025b0d74-00a2-4048-cf57-227c5111bb34"]),
            ("uuid5", &["886313e1-3b8a-5372-9b90-0c9aee199e5d"], &["025b0d74-00a2-4048-bf57-227c5111bb34"]),
        ] {
            let check = check_of(format).unwrap_or_else(|| panic!("{format} is known"));
            good.iter().for_each(|text| assert!(check(text), "{format}: {text:?}"));
            bad.iter().for_each(|text| assert!(!check(text), "{format}: {text:?}"));
        }
        assert!(check_of("int-or-string").is_none() && check_of("").is_none());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            for format in ["byte", "cidr", "creditcard", "date", "datetime", "duration", "email", "hostname",
                "isbn", "mac", "rgbcolor", "ssn", "uri", "uuid4"] {
                let _ = check_of(format).map(|check| check(&text));
            }
        }
    }
}
