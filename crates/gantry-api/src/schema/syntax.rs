//! What is wrong with a text that should be JSON, in the words that clients of upstream know.

/// Checks that `bytes` are one JSON value.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner { bytes, at: 0, open: Vec::new() };
    scanner.document()
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// After `[`.
    ValueOrEnd,
    Key,
    /// After `{`.
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether each open bracket is an object's.
    open: Vec<bool>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), String> {
        let mut next = Next::Value;
        loop {
            while self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
                self.at += 1;
            }
            if next == Next::Nothing && self.at == self.bytes.len() {
                return Ok(());
            }
            next = self.step(next)?;
        }
    }

    fn step(&mut self, next: Next) -> Result<Next, String> {
        let byte = self.take()?;
        match (next, byte) {
            (Next::Value | Next::ValueOrEnd, b'{') => {
                self.open.push(true);
                Ok(Next::KeyOrEnd)
            }
            (Next::Value | Next::ValueOrEnd, b'[') => {
                self.open.push(false);
                Ok(Next::ValueOrEnd)
            }
            (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => Ok(self.close()),
            (Next::Value | Next::ValueOrEnd, first) => {
                self.scalar(first)?;
                Ok(self.after_value())
            }
            (Next::Key | Next::KeyOrEnd, b'"') => {
                self.string()?;
                Ok(Next::Colon)
            }
            (Next::Key | Next::KeyOrEnd, other) => {
                Err(invalid(other, "looking for beginning of object key string"))
            }
            (Next::Colon, b':') => Ok(Next::Value),
            (Next::Colon, other) => Err(invalid(other, "after object key")),
            (Next::CommaOrEnd, byte) => match (self.open.last(), byte) {
                (Some(true), b',') => Ok(Next::Key),
                (Some(false), b',') => Ok(Next::Value),
                (Some(true), b'}') | (Some(false), b']') => Ok(self.close()),
                (Some(true), other) => Err(invalid(other, "after object key:value pair")),
                (_, other) => Err(invalid(other, "after array element")),
            },
            (Next::Nothing, other) => Err(invalid(other, "after top-level value")),
        }
    }

    fn close(&mut self) -> Next {
        self.open.pop();
        self.after_value()
    }

    fn after_value(&self) -> Next {
        if self.open.is_empty() { Next::Nothing } else { Next::CommaOrEnd }
    }

    fn take(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| "unexpected end of JSON input".to_owned())
    }

    fn scalar(&mut self, first: u8) -> Result<(), String> {
        match first {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(first),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes().skip(1) {
            let byte = self.take()?;
            if byte != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(invalid(byte, &context));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.take()?;
                            if !byte.is_ascii_hexdigit() {
                                return Err(invalid(byte, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                other if other < 0x20 => return Err(invalid(other, "in string literal")),
                _ => {}
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let leading = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if leading != b'0' {
            self.digits();
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, context: &str) -> Result<u8, String> {
        let byte = self.take()?;
        if byte.is_ascii_digit() { Ok(byte) } else { Err(invalid(byte, context)) }
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        _ => char::from(byte).to_string(),
    };
    format!("invalid character '{shown}' {context}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\": [1, 2", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("tru3", "invalid character '3' in literal true (expecting 'e')"),
            ("\"a\\x\"", "invalid character 'x' in string escape code"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
        ] {
            assert_eq!(check(text.as_bytes()).expect_err(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_parser(text in "[\\[\\]{}:,\"0-9.eE\\-tfn aul\\\\]{0,12}") {
            let parsed = gantry_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(check(text.as_bytes()).is_ok(), parsed, "{}", text);
        }
    }
}
