//! Text to tokens.

use crate::diagnostic::{Code, Diagnostic, Span};

/// After this many errors the rest of a text is not looked at.
pub(crate) const MOST_ERRORS: usize = 100;

/// A source must not be larger than this many bytes.
const LARGEST_SOURCE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A word that begins with an upper-case letter.
    Type(String),
    /// A word that begins with a lower-case letter or `_`.
    Ident(String),
    /// `$` and a word.
    Var(String),
    /// Digits; whether they fit depends on the place.
    Int(String),
    Float(String),
    /// With escapes resolved.
    String(String),
    Punct(&'static str),
    End,
}

/// `// …` or `/* … */`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) span: Span,
    /// Number of tokens before it.
    pub(crate) before: usize,
}

pub(crate) struct Lexed {
    /// Ends with [`TokenKind::End`].
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The rest of the text makes no sense: parsing it would only repeat the complaint.
    pub(crate) broken: bool,
}

/// Longest first, because the longest token wins.
const PUNCTUATION: [&str; 25] = [
    "->", "..", "<=", ">=", "!=", "{", "}", "(", ")", "[", "]", ":", ",", ".", "<", ">", "=", "+",
    "-", "*", "/", "%", "|", "?", "@",
];

pub(crate) fn lex(source: &str) -> Lexed {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        column: 1,
        tokens: Vec::new(),
        comments: Vec::new(),
        diagnostics: Vec::new(),
    };
    if source.len() > LARGEST_SOURCE {
        let span = Span {
            start: 0,
            end: 1,
            line: 1,
            column: 1,
        };
        lexer.diagnostics.push(
            Diagnostic::error(Code::P020, "the source is larger than 1 MiB")
                .at(span)
                .hint("split it into several files"),
        );
        return lexer.finish(true);
    }
    let complete = lexer.run();
    lexer.finish(complete.is_none())
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    column: u32,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
    diagnostics: Vec<Diagnostic>,
}

/// Where a token begins.
#[derive(Clone, Copy)]
struct Mark {
    at: usize,
    line: u32,
    column: u32,
}

impl Lexer<'_> {
    /// `None` if a comment or string is not closed, or if there are too many errors.
    fn run(&mut self) -> Option<()> {
        loop {
            self.skip_blank()?;
            if self.diagnostics.len() >= MOST_ERRORS {
                return None;
            }
            let mark = self.mark();
            let Some(c) = self.peek() else {
                return Some(());
            };
            match c {
                '"' => self.string(mark)?,
                '$' => self.variable(mark),
                '0'..='9' => self.number(mark),
                c if is_word_start(c) => {
                    let word = self.word();
                    self.push(mark, word_kind(word));
                }
                c => self.punctuation(mark, c),
            }
        }
    }

    fn finish(mut self, broken: bool) -> Lexed {
        let mark = self.mark();
        self.push(mark, TokenKind::End);
        Lexed {
            tokens: self.tokens,
            comments: self.comments,
            diagnostics: self.diagnostics,
            broken,
        }
    }

    fn skip_blank(&mut self) -> Option<()> {
        loop {
            let rest = &self.source[self.at..];
            if rest.starts_with([' ', '\t', '\r', '\n']) {
                self.bump();
            } else if rest.starts_with("//") {
                let mark = self.mark();
                let length = rest.find('\n').unwrap_or(rest.len());
                self.bump_to(self.at + length);
                self.comment(mark);
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let mark = self.mark();
                let Some(length) = comment.find("*/") else {
                    let mut span = self.span(mark);
                    span.end = span.start + 2;
                    self.report(
                        Diagnostic::error(Code::P004, "this comment is not closed")
                            .at(span)
                            .hint("end it with `*/`"),
                    );
                    return None;
                };
                self.bump_to(self.at + length + 4);
                self.comment(mark);
            } else {
                return Some(());
            }
        }
    }

    fn comment(&mut self, mark: Mark) {
        self.comments.push(Comment {
            span: self.span(mark),
            before: self.tokens.len(),
        });
    }

    fn string(&mut self, mark: Mark) -> Option<()> {
        self.bump();
        let mut text = String::new();
        loop {
            let escape = self.mark();
            match self.bump() {
                None => {
                    let mut span = self.span(mark);
                    span.end = span.start + 1;
                    self.report(
                        Diagnostic::error(Code::P002, "this string is not closed")
                            .at(span)
                            .hint("end it with `\"`, and write a quote inside it as `\\\"`"),
                    );
                    return None;
                }
                Some('"') => break,
                Some('\\') => {
                    match self.bump() {
                        Some('"') => text.push('"'),
                        Some('\\') => text.push('\\'),
                        Some('n') => text.push('\n'),
                        Some('r') => text.push('\r'),
                        Some('t') => text.push('\t'),
                        Some(other) => {
                            let span = self.span(escape);
                            self.report(
                            Diagnostic::error(
                                Code::P003,
                                format!("unknown escape `\\{}`", plain(other)),
                            )
                            .at(span)
                                .hint("the escapes are \\\" \\\\ \\n \\r \\t; write a backslash as \\\\"),
                        );
                        }
                        None => {}
                    }
                }
                Some(c) => text.push(c),
            }
        }
        self.push(mark, TokenKind::String(text));
        Some(())
    }

    fn variable(&mut self, mark: Mark) {
        self.bump();
        if !self.peek().is_some_and(is_word_start) {
            let span = self.span(mark);
            self.report(
                Diagnostic::error(Code::P006, "`$` must be followed by a name")
                    .at(span)
                    .hint("a variable is written `$name`, the anonymous one `$_`"),
            );
            return;
        }
        let word = self.word();
        if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            let message =
                format!("the name of a variable begins with a lower-case letter, found `${word}`");
            let span = self.span(mark);
            self.report(Diagnostic::error(Code::P007, message).at(span));
        }
        self.push(mark, TokenKind::Var(word));
    }

    fn number(&mut self, mark: Mark) {
        self.digits();
        let rest = &self.source.as_bytes()[self.at..];
        let float = rest.first() == Some(&b'.') && rest.get(1).is_some_and(u8::is_ascii_digit);
        if float {
            self.bump();
            self.digits();
        }
        let text = self.source[mark.at..self.at].to_owned();
        self.push(
            mark,
            if float {
                TokenKind::Float(text)
            } else {
                TokenKind::Int(text)
            },
        );
    }

    fn punctuation(&mut self, mark: Mark, c: char) {
        let rest = &self.source[self.at..];
        match PUNCTUATION.iter().find(|p| rest.starts_with(**p)) {
            Some(punct) => {
                self.bump_to(self.at + punct.len());
                self.push(mark, TokenKind::Punct(punct));
            }
            None => {
                self.bump();
                let span = self.span(mark);
                let message = format!("unexpected character `{}`", plain(c));
                let mut diagnostic = Diagnostic::error(Code::P006, message).at(span);
                diagnostic = match c {
                    '#' => diagnostic.hint("comments begin with `//`"),
                    '\'' => diagnostic.hint("texts are written with double quotes"),
                    '!' => diagnostic.hint(
                        "in a query write `not` or `!=`; types are required unless `?` follows",
                    ),
                    '&' => diagnostic.hint("write `and`"),
                    ';' => diagnostic.hint("nothing has to be separated with `;`"),
                    '\u{feff}' => {
                        diagnostic.hint("save the file as UTF-8 without a byte-order mark")
                    }
                    '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => {
                        diagnostic.hint("texts are written with plain quotes, `\"…\"`")
                    }
                    '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{3000}' => {
                        diagnostic.hint("this is a special space; write a plain one")
                    }
                    c if c.is_alphanumeric() => diagnostic
                        .hint("names consist of the letters a to z and A to Z, digits and `_`"),
                    _ => diagnostic,
                };
                self.report(diagnostic);
            }
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            self.bump();
        }
        self.source[start..self.at].to_owned()
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn bump_to(&mut self, end: usize) {
        while self.at < end {
            self.bump();
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            line: self.line,
            column: self.column,
        }
    }

    /// From the mark to here. A source has at most 2²⁰ bytes, or only its first is pointed at.
    fn span(&self, mark: Mark) -> Span {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            start: offset(mark.at),
            end: offset(self.at.max(mark.at + 1)),
            line: mark.line,
            column: mark.column,
        }
    }

    fn push(&mut self, mark: Mark, kind: TokenKind) {
        let span = self.span(mark);
        self.tokens.push(Token { kind, span });
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

/// A character as a message shows it: what cannot be seen as its number.
fn plain(c: char) -> String {
    match c {
        '\'' | '\\' => c.to_string(),
        _ => c.escape_debug().to_string(),
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn word_kind(word: String) -> TokenKind {
    if word.starts_with(|c: char| c.is_ascii_uppercase()) {
        TokenKind::Type(word)
    } else {
        TokenKind::Ident(word)
    }
}

impl TokenKind {
    /// For messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            TokenKind::Type(word) | TokenKind::Ident(word) => format!("`{}`", short(word)),
            TokenKind::Var(word) => format!("`${}`", short(word)),
            TokenKind::Int(text) | TokenKind::Float(text) => format!("`{}`", short(text)),
            TokenKind::String(_) => "a string".to_owned(),
            TokenKind::Punct(text) => format!("`{text}`"),
            TokenKind::End => "the end of the text".to_owned(),
        }
    }
}

/// Words consist of ASCII characters.
fn short(word: &str) -> String {
    match word.get(..80) {
        Some(start) if word.len() > 80 => format!("{start}…"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<TokenKind> {
        lex(source).tokens.into_iter().map(|t| t.kind).collect()
    }

    fn codes(source: &str) -> Vec<&'static str> {
        lex(source)
            .diagnostics
            .iter()
            .map(|d| d.code.as_str())
            .collect()
    }

    #[test]
    fn the_longest_token_wins() {
        use TokenKind::{End, Float, Ident, Int, Punct, Type, Var};
        assert_eq!(
            kinds("0..9 1.5 a.b $x<=Type->_y // c\n/* d */-"),
            [
                Int("0".into()),
                Punct(".."),
                Int("9".into()),
                Float("1.5".into()),
                Ident("a".into()),
                Punct("."),
                Ident("b".into()),
                Var("x".into()),
                Punct("<="),
                Type("Type".into()),
                Punct("->"),
                Ident("_y".into()),
                Punct("-"),
                End
            ]
        );
    }

    #[test]
    fn strings_have_five_escapes_and_may_break() {
        let TokenKind::String(text) = &kinds("\"a\\\"\\\\\\n\\r\\t\nü\"")[0] else {
            panic!("no string");
        };
        assert_eq!(text, "a\"\\\n\r\t\nü");
        assert_eq!(codes(r#""x\q""#), ["P003"]);
        assert_eq!(codes("\"x"), ["P002"]);
        assert_eq!(codes("\"x\\"), ["P002"]);
        assert_eq!(codes("/* x"), ["P004"]);
        assert_eq!(codes("# x"), ["P006"]);
        assert_eq!(codes("$ x $X"), ["P006", "P007"]);
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        for (source, message, hint) in [
            ("\u{feff}node", "`\\u{feff}`", "byte-order mark"),
            ("a\u{a0}b", "`\\u{a0}`", "special space"),
            ("\u{201c}x", "`\u{201c}`", "plain quotes"),
            ("\u{3a9}x", "`\u{3a9}`", "letters a to z"),
            ("\"\\\u{1b}\"", "`\\\\u{1b}`", "escapes are"),
            ("\0", "`\\0`", ""),
        ] {
            let found = lex(source).diagnostics.remove(0);
            assert!(found.message.contains(message), "{found:?}");
            let hints = found.hints.concat();
            assert!(hints.contains(hint), "{found:?}");
            assert!(!found.to_string().contains(char::is_control), "{found:?}");
        }
    }

    #[test]
    fn spans_count_bytes_and_columns_characters() {
        let tokens = lex("\"ü\" a\n  b").tokens;
        assert_eq!(
            tokens[1].span,
            Span {
                start: 5,
                end: 6,
                line: 1,
                column: 5
            }
        );
        assert_eq!((tokens[2].span.line, tokens[2].span.column), (2, 3));
    }

    #[test]
    fn a_source_has_at_most_a_mebibyte() {
        assert!(codes(&" ".repeat(LARGEST_SOURCE)).is_empty());
        assert_eq!(codes(&" ".repeat(LARGEST_SOURCE + 1)), ["P020"]);
    }
}
