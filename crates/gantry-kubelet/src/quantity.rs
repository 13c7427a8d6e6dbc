//! Quantities as numbers: CPU in millicores, everything else in whole units, rounded up.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts by resource name.
pub type ResourceList = BTreeMap<String, Quantity>;

/// The value in thousandths, rounded up; `None` when it is not a quantity.
pub fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(end);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(9)];
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, divisor): (i128, i128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = 10i128.checked_pow(power.unsigned_abs())?;
            if power >= 0 { (scale, 1) } else { (1, scale) }
        }
    };
    let divisor = divisor.checked_mul(10i128.pow(fraction.len() as u32))?;
    let numerator = mantissa.checked_mul(factor)?.checked_mul(1000)?;
    let value = numerator / divisor + i128::from(numerator % divisor != 0);
    Some(if negative { -value } else { value })
}

/// Millicores.
pub fn cpu_milli(quantity: &Quantity) -> i64 {
    milli(&quantity.0).unwrap_or(0).clamp(0, i64::MAX as i128) as i64
}

/// Whole units, rounded up: bytes, counts.
pub fn value(quantity: &Quantity) -> i64 {
    let milli = milli(&quantity.0).unwrap_or(0);
    (milli / 1000 + i128::from(milli % 1000 > 0)).clamp(i64::MIN as i128, i64::MAX as i128) as i64
}

/// `amount / divisor`, rounded up, both in the resource's own unit.
pub fn divide(amount: &Quantity, divisor: &Quantity) -> i64 {
    let divisor = milli(&divisor.0).filter(|d| *d > 0).unwrap_or(1000);
    let amount = milli(&amount.0).unwrap_or(0);
    (amount / divisor + i128::from(amount % divisor > 0)) as i64
}

/// A CPU quantity in its shortest usual spelling.
pub fn from_cpu_milli(milli: i64) -> Quantity {
    Quantity(if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_all_suffixes() {
        for (text, expect) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("10Mi", Some(10_485_760_000)),
            ("1k", Some(1_000_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("100u", Some(1)),
            ("-2", Some(-2000)),
            ("", None),
            ("x", None),
            ("1.2.3", None),
        ] {
            assert_eq!(milli(text), expect, "{text}");
        }
        assert_eq!(divide(&Quantity("1500m".into()), &Quantity("1".into())), 2);
        assert_eq!(divide(&Quantity("64Mi".into()), &Quantity("1Mi".into())), 64);
    }
}
