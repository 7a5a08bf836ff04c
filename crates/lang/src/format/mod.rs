//! Formatting: one look for every text, with its comments, and with the same meaning.
//!
//! A formatter prints the tokens that it read, in their order. Only white space and the commas
//! that the grammar leaves open change, so the syntax tree stays the same.

mod printer;
#[cfg(test)]
mod tests;
mod text;

use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::{Token, TokenKind};
use text::Text;

/// One of the two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    Schema,
    Query,
}

impl Language {
    /// By the extension of a file's name, `.pg` or `.gq`.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Language> {
        match name.rsplit_once('.')?.1 {
            "pg" => Some(Language::Schema),
            "gq" => Some(Language::Query),
            _ => None,
        }
    }

    /// Of a text without a name: queries begin with `query`.
    #[must_use]
    pub fn guess(source: &str) -> Language {
        match crate::syntax::lex(source).tokens.first().map(|t| &t.kind) {
            Some(TokenKind::Ident(word)) if word == "query" => Language::Query,
            _ => Language::Schema,
        }
    }

    /// The text in its standard form.
    ///
    /// # Errors
    /// What keeps the text from being read: its syntax errors.
    pub fn format(self, source: &str) -> Result<String, Vec<Diagnostic>> {
        match self {
            Language::Schema => format_schema(source),
            Language::Query => format_queries(source),
        }
    }
}

/// A schema (`.pg`) in its standard form.
///
/// # Errors
/// What keeps the text from being read: its syntax errors.
pub fn format_schema(source: &str) -> Result<String, Vec<Diagnostic>> {
    format(source, |source| {
        let tree = crate::schema::parse::parse(source);
        refuse_errors(tree.diagnostics)?;
        Ok(Text::new(source, tree.tokens, tree.comments, tree.layout))
    })
}

/// Queries (`.gq`) in their standard form.
///
/// # Errors
/// What keeps the text from being read: its syntax errors.
pub fn format_queries(source: &str) -> Result<String, Vec<Diagnostic>> {
    format(source, |source| {
        let tree = crate::query::parse::parse(source);
        refuse_errors(tree.diagnostics)?;
        Ok(Text::new(source, tree.tokens, tree.comments, tree.layout))
    })
}

fn refuse_errors(diagnostics: Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
    if diagnostics.iter().any(Diagnostic::is_error) {
        Err(diagnostics)
    } else {
        Ok(())
    }
}

fn format(
    source: &str,
    parse: impl for<'s> Fn(&'s str) -> Result<Text<'s>, Vec<Diagnostic>>,
) -> Result<String, Vec<Diagnostic>> {
    let text = parse(source)?;
    let formatted = printer::print(&text);
    if let Ok(again) = parse(&formatted)
        && text.comments().len() == again.comments().len()
        && meaning(text.tokens()).eq(meaning(again.tokens()))
    {
        drop(again);
        return Ok(formatted);
    }
    // Rather no formatting than another meaning.
    let message =
        "this text cannot be formatted without changing it: this is a bug of the formatter";
    Err(vec![Diagnostic::error(Code::P001, message)])
}

/// What must stay. That commas stay where they mean something is for the tests to show.
fn meaning(tokens: &[Token]) -> impl Iterator<Item = &TokenKind> {
    let tokens = tokens.iter().map(|t| &t.kind);
    tokens.filter(|kind| **kind != TokenKind::Punct(","))
}
