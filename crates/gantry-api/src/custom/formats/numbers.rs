//! Numbers with rules of their own: books, cards, insured people.

/// The digits of a card number: anything between them is skipped.
pub(super) fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (length, starts) = (digits.len(), |prefix: &str| digits.starts_with(prefix));
    let second = digits.as_bytes().get(1).copied().unwrap_or_default();
    let third = digits.as_bytes().get(2).copied().unwrap_or_default();
    let issued = match length {
        13 => starts("4"),
        14 => (starts("30") && third <= b'5') || starts("36") || starts("38"),
        15 => starts("34") || starts("37") || starts("2131") || starts("1800"),
        16 => {
            starts("4")
                || (starts("5") && (b'1'..=b'5').contains(&second))
                || starts("6011")
                || starts("65")
                || starts("35")
        }
        _ => false,
    };
    issued && luhn(&digits)
}

fn luhn(digits: &str) -> bool {
    let values = digits.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
    let weighed = values.map(|(at, value)| match (at % 2, value * 2) {
        (0, _) => value,
        (_, double @ 0..=9) => double,
        (_, double) => double - 9,
    });
    weighed.sum::<u32>().is_multiple_of(10)
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| *c != '-' && !c.is_ascii_whitespace()).collect()
}

/// A book's number of ten digits, of which the last may be an X.
pub(super) fn is_isbn10(text: &str) -> bool {
    let text = bare(text);
    let mut sum = 0;
    for (at, byte) in text.bytes().enumerate() {
        sum += match byte {
            b'0'..=b'9' => (at as u32 + 1) * u32::from(byte - b'0'),
            b'X' if at == 9 => 100,
            _ => return false,
        };
    }
    text.len() == 10 && sum.is_multiple_of(11)
}

/// A book's number of thirteen digits.
pub(super) fn is_isbn13(text: &str) -> bool {
    let text = bare(text);
    if text.len() != 13 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let weighed = text.bytes().enumerate().map(|(at, byte)| {
        let weight = if at % 2 == 0 { 1 } else { 3 };
        weight * u32::from(byte - b'0')
    });
    weighed.sum::<u32>().is_multiple_of(10)
}

/// A social security number of the United States, with its separators.
pub(super) fn is_social_security_number(text: &str) -> bool {
    text.len() == 11
        && text.bytes().enumerate().all(|(at, byte)| match at {
            3 | 6 => matches!(byte, b'-' | b' '),
            _ => byte.is_ascii_digit(),
        })
}
