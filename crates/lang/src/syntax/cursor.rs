//! A position among tokens, with the errors found so far.

use super::layout::{Layout, Part};
use super::lexer::{MOST_ERRORS, Token, TokenKind};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::value::Value;

/// The error has been reported; the caller finds a place to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

pub(crate) type Parsed<T> = Result<T, Failed>;

/// A word of the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

pub(crate) struct Cursor {
    tokens: Vec<Token>,
    at: usize,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Token at which the last error was reported: a second one there would be noise.
    complained: Option<usize>,
    depth: usize,
    pub(crate) layout: Layout,
}

/// Parts of one kind in one place: properties of a type, projections of a query.
pub(crate) const MOST: usize = 2000;

/// Blocks and expressions may be nested this deeply.
pub(crate) const DEEPEST: usize = 64;

/// Words that those who know other languages write in capitals.
const WORDS: [&str; 36] = [
    "all",
    "and",
    "as",
    "asc",
    "contains",
    "delete",
    "desc",
    "distinct",
    "edge",
    "ends_with",
    "enum",
    "false",
    "implements",
    "in",
    "insert",
    "interface",
    "is",
    "limit",
    "match",
    "node",
    "not",
    "null",
    "optional",
    "or",
    "order",
    "path",
    "query",
    "return",
    "set",
    "skip",
    "starts_with",
    "true",
    "union",
    "update",
    "upsert",
    "where",
];

impl Cursor {
    pub(crate) fn new(tokens: Vec<Token>, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            tokens,
            at: 0,
            diagnostics,
            complained: None,
            depth: 0,
            layout: Layout::default(),
        }
    }

    /// The tokens, what was wrong with them, and where parts begin.
    pub(crate) fn finish(self) -> (Vec<Token>, Vec<Diagnostic>, Layout) {
        (self.tokens, self.diagnostics, self.layout)
    }

    pub(crate) fn kind(&self) -> &TokenKind {
        self.kind_at(0)
    }

    /// The token `ahead` places further on.
    pub(crate) fn kind_at(&self, ahead: usize) -> &TokenKind {
        self.tokens
            .get(self.at + ahead)
            .map_or(&TokenKind::End, |t| &t.kind)
    }

    pub(crate) fn span(&self) -> Span {
        self.span_at(0)
    }

    pub(crate) fn span_at(&self, ahead: usize) -> Span {
        // The last token is the end of the text.
        let last = self.tokens.len() - 1;
        self.tokens[(self.at + ahead).min(last)].span
    }

    /// From the start of `from` to the end of the token before this one.
    pub(crate) fn since(&self, from: Span) -> Span {
        let last = self.tokens[self.at.saturating_sub(1)].span;
        Span {
            end: last.end.max(from.end),
            ..from
        }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn bump(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    /// Something begins at this token.
    pub(crate) fn part(&mut self, part: Part) {
        self.layout.part(self.at, part);
    }

    /// No space belongs before this token.
    pub(crate) fn tight(&mut self) {
        self.layout.tight(self.at);
    }

    /// Like [`Cursor::expect`], with no space before.
    pub(crate) fn expect_tight(&mut self, punct: &str) -> Parsed<()> {
        self.tight();
        self.expect(punct)
    }

    pub(crate) fn at_end(&self) -> bool {
        *self.kind() == TokenKind::End
    }

    pub(crate) fn at(&self, punct: &str) -> bool {
        self.at_ahead(0, punct)
    }

    pub(crate) fn at_ahead(&self, ahead: usize, punct: &str) -> bool {
        matches!(self.kind_at(ahead), TokenKind::Punct(p) if *p == punct)
    }

    pub(crate) fn at_word(&self, word: &str) -> bool {
        self.word_ahead(0) == Some(word)
    }

    pub(crate) fn is_after(&self, punct: &str) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        matches!(before.map(|t| &t.kind), Some(TokenKind::Punct(p)) if *p == punct)
    }

    /// What comes before this token can be the end of an expression.
    pub(crate) fn is_after_operand(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        match before.map(|t| &t.kind) {
            Some(TokenKind::Punct(punct)) => matches!(*punct, ")" | "]" | "}"),
            Some(TokenKind::Ident(word)) => !matches!(
                word.as_str(),
                "and" | "or" | "not" | "in" | "contains" | "starts_with" | "ends_with"
            ),
            Some(TokenKind::End) | None => false,
            Some(_) => true,
        }
    }

    /// The lower-case word `ahead` places further on.
    pub(crate) fn word_ahead(&self, ahead: usize) -> Option<&str> {
        match self.kind_at(ahead) {
            TokenKind::Ident(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn eat(&mut self, punct: &str) -> bool {
        let found = self.at(punct);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{punct}`")))
        }
    }

    /// A name that begins with an upper-case letter.
    pub(crate) fn expect_type(&mut self, what: &str) -> Parsed<Name> {
        let span = self.span();
        match self.kind().clone() {
            TokenKind::Type(text) => {
                self.bump();
                Ok(Name { text, span })
            }
            TokenKind::Ident(text) => {
                let message = format!("{what} begins with an upper-case letter, found `{text}`");
                let hint = format!("write `{}`", with_first(&text, char::to_ascii_uppercase));
                self.report(Diagnostic::error(Code::P007, message).at(span).hint(hint));
                self.bump();
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A name that begins with a lower-case letter.
    pub(crate) fn expect_ident(&mut self, what: &str) -> Parsed<Name> {
        let span = self.span();
        match self.kind().clone() {
            TokenKind::Ident(text) => {
                self.bump();
                Ok(Name { text, span })
            }
            TokenKind::Type(text) => {
                let message = format!("{what} begins with a lower-case letter, found `{text}`");
                let hint = format!("write `{}`", with_first(&text, char::to_ascii_lowercase));
                self.report(Diagnostic::error(Code::P007, message).at(span).hint(hint));
                self.bump();
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// An unsigned integer without sign.
    pub(crate) fn expect_int(&mut self, what: &str) -> Parsed<(u64, Span)> {
        let span = self.span();
        let TokenKind::Int(text) = self.kind() else {
            return Err(self.unexpected(what));
        };
        let parsed = text.parse();
        self.bump();
        match parsed {
            Ok(number) => Ok((number, span)),
            Err(_) => Err(self.out_of_range(span)),
        }
    }

    pub(crate) fn expect_string(&mut self, what: &str) -> Parsed<(String, Span)> {
        let span = self.span();
        let TokenKind::String(text) = self.kind() else {
            return Err(self.unexpected(what));
        };
        let text = text.clone();
        self.bump();
        Ok((text, span))
    }

    /// A number with its optional sign; the caller has seen that one follows.
    pub(crate) fn signed_number(&mut self) -> Parsed<Value> {
        let start = self.span();
        let negative = self.eat("-");
        if negative {
            self.tight();
        }
        let value = self.number(negative)?;
        match value {
            Some(value) => Ok(value),
            None => Err(self.out_of_range(self.since(start))),
        }
    }

    /// A number follows, perhaps with a sign.
    pub(crate) fn at_number(&self) -> bool {
        let ahead = usize::from(self.at("-"));
        matches!(self.kind_at(ahead), TokenKind::Int(_) | TokenKind::Float(_))
    }

    /// `None` if it is out of range. Integers above 2⁶³−1 are U64.
    pub(crate) fn number(&mut self, negative: bool) -> Parsed<Option<Value>> {
        let value = match self.kind() {
            TokenKind::Int(text) if negative => format!("-{text}").parse().ok().map(Value::Int),
            TokenKind::Int(text) => text
                .parse()
                .map(Value::Int)
                .or_else(|_| text.parse().map(Value::UInt))
                .ok(),
            TokenKind::Float(text) => text
                .parse::<f64>()
                .ok()
                .filter(|x| x.is_finite())
                .map(|x| Value::F64(if negative { -x } else { x })),
            _ => return Err(self.unexpected("a number")),
        };
        self.bump();
        Ok(value)
    }

    pub(crate) fn out_of_range(&mut self, span: Span) -> Failed {
        self.report(Diagnostic::error(Code::P005, "this number is out of range").at(span));
        Failed
    }

    /// Reports P001 here.
    pub(crate) fn unexpected(&mut self, expected: &str) -> Failed {
        let message = format!("expected {expected}, found {}", self.kind().describe());
        let diagnostic = Diagnostic::error(Code::P001, message).at(self.span());
        self.fail(match self.word_in_capitals() {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        })
    }

    /// Here stands a word of the languages, but for its case.
    fn word_in_capitals(&self) -> Option<String> {
        let TokenKind::Type(word) = self.kind() else {
            return None;
        };
        let lower = word.to_ascii_lowercase();
        WORDS
            .contains(&lower.as_str())
            .then(|| format!("write `{lower}`: the words of the language are in lower case"))
    }

    /// Reports P001 here, with what to do about it.
    pub(crate) fn unexpected_with(&mut self, expected: &str, hint: &str) -> Failed {
        let message = format!("expected {expected}, found {}", self.kind().describe());
        let diagnostic = Diagnostic::error(Code::P001, message).at(self.span());
        let capitals = self.word_in_capitals();
        self.fail(diagnostic.hint(capitals.unwrap_or_else(|| hint.to_owned())))
    }

    /// Reports an error about this token, unless one has been reported here before.
    pub(crate) fn fail(&mut self, diagnostic: Diagnostic) -> Failed {
        if self.complained != Some(self.at) {
            self.complained = Some(self.at);
            self.report(diagnostic);
        }
        Failed
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Fails if there are more of something than a text may reasonably have. What follows may
    /// then compare each with each.
    pub(crate) fn limit(&mut self, count: usize, what: &str) -> Parsed<()> {
        if count <= MOST {
            return Ok(());
        }
        let message = format!("more than {MOST} {what}");
        let span = self.span();
        Err(self.fail(Diagnostic::error(Code::P020, message).at(span)))
    }

    /// There are so many errors that more would not help.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.diagnostics.len() >= MOST_ERRORS
    }

    /// One level of nesting deeper, until [`Cursor::leave`].
    pub(crate) fn enter(&mut self) -> Parsed<()> {
        if self.depth >= DEEPEST {
            let message = format!("nested more than {DEEPEST} levels deep");
            let span = self.span();
            return Err(self.fail(Diagnostic::error(Code::P020, message).at(span)));
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Skips to `closing` on this level of brackets, or to the end; the closing one stays.
    pub(crate) fn skip_to(&mut self, closing: &str) {
        let mut open = 0_usize;
        while !self.at_end() {
            if open == 0 && self.at(closing) {
                return;
            }
            match self.kind() {
                TokenKind::Punct("{" | "(" | "[") => open += 1,
                TokenKind::Punct("}" | ")" | "]") => open = open.saturating_sub(1),
                _ => {}
            }
            self.bump();
        }
    }

    /// After a failure in what began at token `start`: skips to the next token on the same level of
    /// brackets at which `resumes` holds, or to `closing`, which stays. Gives the variables that
    /// were skipped over.
    pub(crate) fn recover(
        &mut self,
        start: usize,
        closing: &str,
        resumes: impl Fn(&Self) -> bool,
    ) -> Vec<String> {
        let stopped = self.at;
        self.at = start;
        let mut open: Vec<&'static str> = Vec::new();
        let mut lost = Vec::new();
        while !self.at_end() {
            // Where nothing could be read, the caller has to get past what resumes.
            if self.at >= stopped && open.is_empty() && resumes(self) {
                break;
            }
            match self.kind() {
                TokenKind::Punct(punct @ ("{" | "(" | "[")) => open.push(punct),
                TokenKind::Punct(punct @ ("}" | ")" | "]")) => {
                    let partner = match *punct {
                        "}" => "{",
                        ")" => "(",
                        _ => "[",
                    };
                    match open.iter().rposition(|p| *p == partner) {
                        Some(depth) => open.truncate(depth),
                        None if *punct == closing => break,
                        None => {}
                    }
                }
                TokenKind::Var(name) => lost.push(name.clone()),
                _ => {}
            }
            self.bump();
        }
        lost
    }

    /// The words of `enum( )`: runs of letters, digits, `_` and `-` without a gap.
    pub(crate) fn enum_words(&mut self, source: &str) -> Parsed<Vec<Name>> {
        self.expect_tight("(")?;
        let mut words = Vec::new();
        loop {
            if !is_enum_part(self.kind()) {
                let what = "a word of the enum";
                return Err(match self.kind() {
                    TokenKind::String(_) => {
                        self.unexpected_with(what, "write the words without quotes")
                    }
                    _ => self.unexpected(what),
                });
            }
            let mut span = self.bump().span;
            while is_enum_part(self.kind()) && self.span().start == span.end {
                self.tight();
                span.end = self.bump().span.end;
            }
            let text = source
                .get(span.start as usize..span.end as usize)
                .unwrap_or("")
                .to_owned();
            words.push(Name { text, span });
            if self.eat(")") {
                return Ok(words);
            }
            self.expect(",")?;
        }
    }
}

/// The word with its first letter in the other case.
fn with_first(word: &str, change: fn(&char) -> char) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| change(&c));
    first.into_iter().chain(chars).collect()
}

fn is_enum_part(kind: &TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Type(_) | TokenKind::Ident(_) | TokenKind::Int(_) | TokenKind::Punct("-")
    )
}
