//! Quantities: numbers with the suffixes that Kubernetes gives to resources.
//!
//! A quantity is an exact decimal. The canonical form keeps the suffix family that the text
//! used, has no fraction, and uses the largest suffix that allows that.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m k M G T P E`: powers of ten.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`: powers of 1024.
    BinarySi,
    /// `e3`: powers of ten as an exponent.
    DecimalExponent,
}

/// An exact amount with nine decimal places, as upstream keeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    /// The amount in units of 10^-9.
    nano: i128,
    format: Format,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text does not have the form of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Upstream caps amounts at 2^63-1 units.
const MAX: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// A whole amount.
    pub fn from_value(value: i64, format: Format) -> Self {
        Self { nano: i128::from(value) * NANO, format }
    }

    /// An amount in thousandths.
    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1000), format }
    }

    /// The amount in whole units, rounded away from zero.
    pub fn value(&self) -> i64 {
        round_up(self.nano, NANO)
    }

    /// The amount in thousandths, rounded away from zero.
    pub fn milli_value(&self) -> i64 {
        round_up(self.nano, NANO / 1000)
    }

    /// Whether the amount is zero.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// Whether the amount has no fraction.
    pub fn is_whole(&self) -> bool {
        self.nano % NANO == 0
    }

    /// The amount as a floating-point number.
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }
}

fn round_up(nano: i128, unit: i128) -> i64 {
    let whole = nano / unit + (nano % unit).signum();
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let negative = text.starts_with('-');
        let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits);
        if number.is_empty() {
            return Err(ParseError::Form);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseError::Number);
        }
        let (format, scale) = suffix_scale(suffix)?;
        let mantissa: Cow<'_, str> =
            if fraction.is_empty() { whole.into() } else { format!("{whole}{fraction}").into() };
        let mantissa = mantissa.trim_start_matches('0');
        let magnitude = if mantissa.is_empty() {
            0
        } else {
            let exponent = match scale {
                Scale::Ten(power) => power + 9,
                Scale::Binary(_) => 9,
            } - fraction.len() as i32;
            let factor = if let Scale::Binary(bits) = scale { 1i128 << bits } else { 1 };
            scaled(mantissa, exponent, factor)
        };
        Ok(Self { nano: if negative { -magnitude } else { magnitude }, format })
    }
}

enum Scale {
    Ten(i32),
    Binary(u32),
}

fn suffix_scale(suffix: &str) -> Result<(Format, Scale), ParseError> {
    let decimal = |power| Ok((Format::DecimalSi, Scale::Ten(power)));
    let binary = |bits| Ok((Format::BinarySi, Scale::Binary(bits)));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E']).ok_or(if is_suffix_like(suffix) {
                ParseError::Suffix
            } else {
                ParseError::Form
            })?;
            let power: i32 = digits.parse().map_err(|_| ParseError::Suffix)?;
            Ok((Format::DecimalExponent, Scale::Ten(power)))
        }
    }
}

fn is_suffix_like(suffix: &str) -> bool {
    suffix.chars().all(|c| "eEinumkKMGTP+-0123456789".contains(c))
}

/// `digits * factor * 10^exponent`, rounded up to a whole and capped at [`MAX`].
fn scaled(digits: &str, exponent: i32, factor: i128) -> i128 {
    // 40 significant digits are more than any amount below the cap has.
    let cut = digits.len().saturating_sub(30);
    let (kept, dropped) = digits.split_at(digits.len() - cut);
    let inexact = dropped.bytes().any(|digit| digit != b'0');
    let Ok(number) = kept.parse::<i128>() else { return MAX };
    let exponent = exponent.saturating_add(cut as i32);
    if exponent >= 0 {
        let power = u32::try_from(exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent));
        let product =
            power.and_then(|power| number.checked_mul(power)).and_then(|product| product.checked_mul(factor));
        return product.map_or(MAX, |product| product.min(MAX));
    }
    let Some(divisor) = 10i128.checked_pow(exponent.unsigned_abs()) else { return 1 };
    let Some(product) = number.checked_mul(factor) else {
        return (number / divisor).checked_mul(factor).map_or(MAX, |product| product.min(MAX));
    };
    let rest = i128::from(product % divisor != 0 || inexact);
    (product / divisor + rest).min(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.nano < 0 {
            f.write_str("-")?;
        }
        let magnitude = self.nano.unsigned_abs();
        let whole = magnitude / NANO as u128;
        let exact = magnitude.is_multiple_of(NANO as u128);
        if self.format == Format::BinarySi && exact && whole >= 1024 {
            let mut shown = whole;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
                if !shown.is_multiple_of(1024) {
                    break;
                }
                (shown, suffix) = (shown / 1024, next);
            }
            return write!(f, "{shown}{suffix}");
        }
        let mut shown = magnitude;
        let mut power = -9;
        while shown.is_multiple_of(1000) && power < 18 {
            (shown, power) = (shown / 1000, power + 3);
        }
        write!(f, "{shown}")?;
        match (self.format, power) {
            (_, 0) => Ok(()),
            (Format::DecimalExponent, power) => write!(f, "e{power}"),
            (_, power) => {
                let at = usize::try_from((power + 9) / 3).unwrap_or_default();
                f.write_str(["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][at])
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano + other.nano, format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano - other.nano, format }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, expected) in [
            ("0", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("0.5Ki", "512"),
            ("12e6", "12e6"),
            ("1E3", "1e3"),
            ("-2k", "-2k"),
            ("+3", "3"),
            ("1E", "1E"),
            ("0.1n", "1n"),
            ("100000000000000000000", "9223372036854775807"),
            ("1500M", "1500M"),
            ("0.000001", "1u"),
        ] {
            let quantity: Quantity = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(quantity.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in ["", "-", "a", "1Kii", "1x", "1.2.3", "Ki", "1 Gi", "1e", "--1"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn rounding_is_up() {
        let check = |text: &str, value, milli| {
            let quantity: Quantity = text.parse().expect(text);
            assert_eq!((quantity.value(), quantity.milli_value()), (value, milli), "{text}");
        };
        check("1m", 1, 1);
        check("1500m", 2, 1500);
        check("1u", 1, 1);
        check("-1500m", -2, -1500);
        check("2Gi", 2 << 30, (2i64 << 30) * 1000);
    }

    proptest! {
        #[test]
        fn canonical_form_is_the_same_amount(text in "[+-]?[0-9]{1,12}(\\.[0-9]{0,6})?(n|u|m|k|M|G|Ki|Mi|Gi|e3|e-2)?") {
            let quantity: Quantity = text.parse().expect("valid");
            let again: Quantity = quantity.to_string().parse().expect("canonical");
            prop_assert_eq!(quantity, again);
            prop_assert_eq!(quantity.to_string(), again.to_string());
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn sums_undo(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (Quantity::from_milli(a.into(), Format::DecimalSi), Quantity::from_milli(b.into(), Format::DecimalSi));
            prop_assert_eq!(a + b - b, a);
        }
    }
}
