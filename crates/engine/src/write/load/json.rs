//! A reader of JSON text that is fast on what data files are made of. It accepts nothing that is
//! not JSON; what it cannot read at once, it hands over as a slice for a complete parser.

use std::borrow::Cow;

/// Reads one line from front to back.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// The text is not what was expected at this place; the caller finds out why by other means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

pub(super) type Read<T> = Result<T, Unexpected>;

/// Objects and arrays within each other; the complete parser stops at the same depth.
const DEEPEST: usize = 128;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether the whole text is one value. Numbers may be of any size.
    pub(super) fn is_json(text: &'a str) -> bool {
        let mut reader = Self::new(text);
        reader.pass(DEEPEST).is_ok() && reader.is_at_end()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn slice_from(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    pub(super) fn expect(&mut self, byte: u8) -> Read<()> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(Unexpected)
        }
    }

    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The name of the next member of an object, with its colon read; `None` at the end of the
    /// object. `first` is true before the first call.
    pub(super) fn member(&mut self, first: &mut bool) -> Read<Option<Cow<'a, str>>> {
        if std::mem::take(first) {
            self.expect(b'{')?;
            if self.accept(b'}') {
                return Ok(None);
            }
        } else if !self.accept(b',') {
            return self.expect(b'}').map(|()| None);
        }
        let name = self.string()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    pub(super) fn string(&mut self) -> Read<Cow<'a, str>> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        loop {
            match bytes.get(self.at).copied() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(byte) if byte >= 0x20 => self.at += 1,
                _ => return Err(Unexpected),
            }
        }
        self.at += 1;
        if escaped {
            // Rare enough to leave the rules of escapes to the complete parser.
            let quoted = self.slice_from(start - 1);
            return serde_json::from_str(quoted)
                .map(Cow::Owned)
                .map_err(|_| Unexpected);
        }
        self.text
            .get(start..self.at - 1)
            .map(Cow::Borrowed)
            .ok_or(Unexpected)
    }

    /// One of the words `true`, `false`, `null`.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let found = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// The text of a number, checked against the grammar.
    pub(super) fn number(&mut self) -> Read<&'a str> {
        self.skip_space();
        let start = self.at;
        self.accept_byte(b'-');
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(Unexpected),
        }
        if self.accept_byte(b'.') {
            self.digits()?;
        }
        if self.accept_byte(b'e') || self.accept_byte(b'E') {
            if !self.accept_byte(b'+') {
                self.accept_byte(b'-');
            }
            self.digits()?;
        }
        Ok(self.slice_from(start))
    }

    /// Passes over one value and gives its text. Strings in it may still hold bad escapes, and
    /// brackets may not match: whoever uses the slice parses it.
    pub(super) fn raw(&mut self) -> Read<&'a str> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek().ok_or(Unexpected)? {
                b'"' => self.pass_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    if depth > DEEPEST {
                        return Err(Unexpected);
                    }
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Unexpected)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                _ if self.word("true") || self.word("false") || self.word("null") => {}
                _ => return Err(Unexpected),
            }
            if depth == 0 {
                return Ok(self.slice_from(start));
            }
        }
    }

    /// Passes over one value and checks all of it.
    fn pass(&mut self, depth: usize) -> Read<()> {
        let depth = depth.checked_sub(1).ok_or(Unexpected)?;
        match self.peek().ok_or(Unexpected)? {
            b'{' => {
                let mut first = true;
                while self.member(&mut first)?.is_some() {
                    self.pass(depth)?;
                }
                Ok(())
            }
            b'[' => {
                self.expect(b'[')?;
                if self.accept(b']') {
                    return Ok(());
                }
                loop {
                    self.pass(depth)?;
                    if !self.accept(b',') {
                        return self.expect(b']');
                    }
                }
            }
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            _ if self.word("true") || self.word("false") || self.word("null") => Ok(()),
            _ => Err(Unexpected),
        }
    }

    fn pass_string(&mut self) -> Read<()> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at).copied().ok_or(Unexpected)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn accept_byte(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// At least one.
    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(Unexpected)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_and_numbers_are_read() {
        assert_eq!(Reader::new(r#" "ab" "#).string().unwrap(), "ab");
        assert_eq!(Reader::new(r#""a\"\u00e9\n""#).string().unwrap(), "a\"é\n");
        assert!(Reader::new("\"a\nb\"").string().is_err());
        assert!(Reader::new(r#""\ud800""#).string().is_err());
        assert!(Reader::new(r#""abc"#).string().is_err());
        assert!(Reader::new(r#""abc\"#).string().is_err());
        for good in ["0", "-0", "12", "1.5", "1e9", "-1.25E-7"] {
            assert_eq!(Reader::new(good).number(), Ok(good));
        }
        for bad in ["-", ".5", "1.", "1e", "+1", "x"] {
            assert!(Reader::new(bad).number().is_err(), "{bad}");
        }
    }

    #[test]
    fn raw_values_end_where_they_end() {
        let mut reader = Reader::new(r#" {"a":[1,"}]",{"b":null}]} , 2"#);
        assert_eq!(reader.raw().unwrap(), r#"{"a":[1,"}]",{"b":null}]}"#);
        assert!(reader.accept(b','));
        assert_eq!(reader.raw().unwrap(), "2");
        for bad in ["", "[1", "]", "tru", "{\"a", "\"\\"] {
            assert!(Reader::new(bad).raw().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn accepts_what_the_complete_parser_accepts(
            text in r#"[\[\]{}:,"0-9.eE+\-\\ntrufalsé \x01]{0,24}"#
        ) {
            let complete = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()
                && serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(Reader::is_json(&text), complete, "{}", text);
        }
    }
}
