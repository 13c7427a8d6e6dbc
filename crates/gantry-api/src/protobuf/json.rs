//! Reads JSON text from its start to its end, without building what it says.

use std::borrow::Cow;

use super::Error;

/// Values stand in each other this deep at most, as `gantry_json` has it.
const DEPTH: usize = 127;

/// What is left of a JSON text.
pub(super) struct Text<'a> {
    /// All of it, which is UTF-8.
    all: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Text<'a> {
    /// A text from its start.
    pub fn new(text: &'a [u8]) -> Result<Self, Error> {
        std::str::from_utf8(text).map_err(|error| Error::Json(error.to_string().into()))?;
        Ok(Self { all: text, at: 0, depth: 0 })
    }

    /// An error at this place.
    #[cold]
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::Json(format!("{what} at byte {}", self.at).into())
    }

    /// The first byte of what comes next, which stays.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<u8, Error> {
        while let Some(byte) = self.all.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(self.error("the text ends"))
    }

    /// Whether nothing is left.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.peek() {
            Ok(_) => Err(self.error("trailing characters")),
            Err(_) => Ok(()),
        }
    }

    /// Passes over a null, if one comes next.
    #[inline(always)]
    pub fn null(&mut self) -> Result<bool, Error> {
        Ok(self.peek()? == b'n' && self.word(b"null").map(|()| true)?)
    }

    /// Goes into the object or list that comes next and ends with `end`. Whether there is anything in it.
    #[inline(always)]
    pub fn enter(&mut self, end: u8) -> Result<bool, Error> {
        self.at += 1;
        if self.peek()? == end {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("recursion limit exceeded"));
        }
        Ok(true)
    }

    /// After a value in an object or list: whether another one follows.
    #[inline(always)]
    pub fn more(&mut self, end: u8) -> Result<bool, Error> {
        let next = self.peek()?;
        if next != b',' && next != end {
            return Err(self.error("neither `,` nor an end"));
        }
        self.at += 1;
        self.depth -= usize::from(next == end);
        Ok(next == b',')
    }

    /// The key of an object's field, and to its value.
    #[inline(always)]
    pub fn key(&mut self) -> Result<Cow<'a, [u8]>, Error> {
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(self.error("no `:` after a key"));
        }
        self.at += 1;
        Ok(key)
    }

    /// A string, in UTF-8.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Error> {
        if self.peek()? != b'"' {
            return Err(self.error("no text"));
        }
        let text = &self.all[self.at + 1..];
        let length = plain(text);
        if text.get(length) == Some(&b'"') {
            self.at += length + 2;
            return Ok(Cow::Borrowed(&text[..length]));
        }
        self.escaped(length).map(Cow::Owned)
    }

    /// A string of which so many bytes stand for themselves before the first that does not.
    #[cold]
    fn escaped(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let start = self.at + 1;
        self.at = start + length;
        let mut text = self.all[start..self.at].to_vec();
        loop {
            match self.byte() {
                Some(b'"') => return Ok(text),
                Some(b'\\') => self.escape(&mut text)?,
                _ => return Err(self.error("a control character or the end within a text")),
            }
            let start = self.at;
            self.at += plain(&self.all[start..]);
            text.extend_from_slice(&self.all[start..self.at]);
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.all.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// What stands after a backslash.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        text.push(match self.byte() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let mut code = self.code()?;
                if (0xd800..0xdc00).contains(&code) && self.all[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.code()?.wrapping_sub(0xdc00);
                    // What is no second half makes a code that no character has.
                    code = if low < 0x400 { 0x1_0000 + ((code - 0xd800) << 10) + low } else { 0xd800 };
                }
                let character = char::from_u32(code).ok_or_else(|| self.error("half a character"))?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.error("invalid escape")),
        });
        Ok(())
    }

    /// Four hexadecimal digits.
    fn code(&mut self) -> Result<u32, Error> {
        let digits = self.all.get(self.at..self.at + 4).unwrap_or_default();
        let code = digits
            .iter()
            .try_fold(0, |code, digit| char::from(*digit).to_digit(16).map(|digit| code << 4 | digit));
        self.at += 4;
        code.filter(|_| digits.len() == 4).ok_or_else(|| self.error("invalid escape"))
    }

    /// A truth value.
    pub fn truth(&mut self) -> Result<bool, Error> {
        match self.peek()? {
            b't' => self.word(b"true").map(|()| true),
            b'f' => self.word(b"false").map(|()| false),
            _ => Err(self.error("no truth value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Error> {
        if !self.all[self.at..].starts_with(word) {
            return Err(self.error("no value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A number, as it is written.
    pub fn number(&mut self) -> Result<Number<'a>, Error> {
        self.peek()?;
        let start = self.at;
        self.at += usize::from(self.all[start] == b'-');
        let first = self.at;
        let mut well_formed = self.digits() && (self.all[first] != b'0' || self.at == first + 1);
        let mut whole = true;
        if self.all.get(self.at) == Some(&b'.') {
            self.at += 1;
            (well_formed, whole) = (well_formed && self.digits(), false);
        }
        if matches!(self.all.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.all.get(self.at), Some(b'+' | b'-')));
            (well_formed, whole) = (well_formed && self.digits(), false);
        }
        if !well_formed {
            return Err(self.error("no number"));
        }
        Ok(Number { text: &self.all[start..self.at], whole })
    }

    /// Passes over digits: whether there were any.
    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.all.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at > start
    }

    /// The text of the next value, whatever it is. Of an object or a list only the end is looked for.
    pub fn value(&mut self) -> Result<&'a [u8], Error> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.brackets()?,
            b't' | b'f' => drop(self.truth()?),
            b'n' => self.word(b"null")?,
            _ => drop(self.number()?),
        }
        Ok(&self.all[start..self.at])
    }

    /// Passes over an object or a list.
    fn brackets(&mut self) -> Result<(), Error> {
        let mut rest = &self.all[self.at..];
        let mut depth = 0_usize;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'"' => loop {
                    rest = &rest[plain(rest)..];
                    match rest {
                        [b'"', after @ ..] => {
                            rest = after;
                            break;
                        }
                        [b'\\', _, after @ ..] => rest = after,
                        _ => return Err(self.error("a control character or the end within a text")),
                    }
                },
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at = self.all.len() - rest.len();
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Err(self.error("the text ends within a value"))
    }
}

/// A number as JSON has it.
#[derive(Clone, Copy)]
pub(super) struct Number<'a> {
    /// How it is written.
    pub text: &'a [u8],
    whole: bool,
}

impl Number<'_> {
    /// A whole number.
    pub fn integer(self) -> Option<i64> {
        if !self.whole {
            return None;
        }
        let (negative, digits) = match self.text.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, self.text),
        };
        let magnitude = digits
            .iter()
            .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
        if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    }

    /// The nearest number of double precision.
    pub fn double(self) -> Option<f64> {
        gantry_json::from_slice(self.text).ok()
    }
}

/// How many bytes go before what ends a text or stands for something else in it: a quote, a backslash, a
/// control character. Eight at a time.
#[inline(always)]
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const QUOTES: u64 = ONES * 0x22;
    const BACKSLASHES: u64 = ONES * 0x5c;
    /// Has the high bits of zero bytes; bytes after the first of them may be marked, too.
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (control | zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES)) & HIGH;
        if found != 0 {
            return 8 * at + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    8 * words.len() + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use gantry_json::Value;
    use proptest::prelude::*;

    use super::*;

    /// What a text says: all of its strings, and whether it is well-formed.
    fn strings(text: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        fn gather(text: &mut Text<'_>, into: &mut Vec<Vec<u8>>) -> Result<(), Error> {
            match text.peek()? {
                b'"' => into.push(text.string()?.into_owned()),
                b'[' => {
                    let mut more = text.enter(b']')?;
                    while more {
                        gather(text, into)?;
                        more = text.more(b']')?;
                    }
                }
                b'{' => {
                    let mut more = text.enter(b'}')?;
                    while more {
                        into.push(text.key()?.into_owned());
                        gather(text, into)?;
                        more = text.more(b'}')?;
                    }
                }
                _ => drop(text.value()?),
            }
            Ok(())
        }
        let (mut text, mut all) = (Text::new(text)?, Vec::new());
        gather(&mut text, &mut all)?;
        text.end()?;
        Ok(all)
    }

    fn said(value: &Value, into: &mut Vec<Vec<u8>>) {
        match value {
            Value::String(text) => into.push(text.as_bytes().to_vec()),
            Value::Array(items) => items.iter().for_each(|item| said(item, into)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    into.push(key.as_bytes().to_vec());
                    said(value, into);
                }
            }
            _ => {}
        }
    }

    fn same(text: &[u8]) {
        let value = gantry_json::from_slice::<serde::de::IgnoredAny>(text);
        let read = strings(text);
        assert_eq!(read.is_ok(), value.is_ok(), "{:?}: {read:?} {value:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn what_is_json_and_what_is_not() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "true ",
            "tru",
            "falsey",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e",
            "1e5",
            "1E+5",
            "1e-",
            "--1",
            "1 2",
            "[",
            "[]",
            "[1,]",
            "[,]",
            "[1 2]",
            "[1,2]",
            "{",
            "{}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\" : 1 , \"b\":[ ] }",
            "{a:1}",
            "\"",
            "\"a",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u00e4\"",
            "\"\\ud83d\\ude00\"",
            "\"a\u{1}\"",
            "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
            "]",
            "}",
            "[1}",
            "{\"a\":1]",
        ] {
            same(text.as_bytes());
        }
        for lone in ["\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\"", "\"\\ud83d\\u0041\""] {
            assert!(strings(lone.as_bytes()).is_err(), "{lone}");
        }
        assert!(Text::new(b"\"\xff\"").is_err());
        let deep = |depth: usize| [vec![b'['; depth], b"1".to_vec(), vec![b']'; depth]].concat();
        assert!(strings(&deep(DEPTH)).is_ok());
        assert!(strings(&deep(DEPTH + 1)).is_err());
        let deep = deep(100_000);
        assert_eq!(Text::new(&deep).unwrap().value().unwrap(), deep);
        for open in ["{", "[", "[[]", "{\"a\": \"}", "[\"\\\"]", "[\"\\"] {
            assert!(Text::new(open.as_bytes()).unwrap().value().is_err(), "{open}");
        }
    }

    #[test]
    fn numbers() {
        let read = |text: &str| {
            let number = Text::new(text.as_bytes()).unwrap().number().unwrap();
            (number.integer(), number.double())
        };
        assert_eq!(read("-9223372036854775808"), (Some(i64::MIN), Some(i64::MIN as f64)));
        assert_eq!(read("9223372036854775807").0, Some(i64::MAX));
        assert_eq!(read("9223372036854775808").0, None);
        assert_eq!(read("99999999999999999999999"), (None, Some(1e23)));
        assert_eq!(read("-2.5e1"), (None, Some(-25.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn texts_say_what_serde_reads(bytes in "[\\[\\]{}:,\"\\\\0-9a-f ntrsel.+-]{0,24}") {
            same(bytes.as_bytes());
        }

        #[test]
        fn strings_are_found(texts in prop::collection::vec(".{0,20}", 0..4), pretty: bool) {
            let value = gantry_json::json!({"a": texts, "b": {"c": [texts.clone()], "d": 1.5}});
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let mut expected = Vec::new();
            said(&value, &mut expected);
            let more = format!(" {text}, {text}");
            prop_assert_eq!(Text::new(more.as_bytes()).unwrap().value().unwrap(), text.as_bytes());
            prop_assert_eq!(strings(text.as_bytes()).unwrap(), expected);
        }
    }
}
