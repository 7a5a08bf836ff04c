//! Tokens to the syntax tree of queries.

mod expr;
mod pattern;
mod statement;

use std::time::Duration;

use super::ast::{Arm, Body, Count, Key, Order, Param, Projection, Query, Read, Statement};
use super::{UnionKind, ast};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::{
    Comment, Cursor, Failed, Layout, Lexed, Name, Parsed, Part, Token, TokenKind, data_type, lex,
};

/// Queries as they are written, as far as they could be read.
pub(crate) struct Tree {
    pub(crate) queries: Vec<Query>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) layout: Layout,
    /// Parts of the text were skipped between queries: there may be more queries than were read.
    pub(crate) skipped: bool,
}

pub(crate) fn parse(source: &str) -> Tree {
    let Lexed {
        tokens,
        comments,
        diagnostics,
        broken,
    } = lex(source);
    let dropped = diagnostics.iter().filter(|d| d.code == Code::P006);
    let dropped = dropped.filter_map(|d| d.span.map(|s| s.start)).collect();
    let mut parser = Parser {
        cursor: Cursor::new(tokens, diagnostics),
        source,
        clauses: 0,
        in_statement: false,
        dropped,
        skipped: broken,
    };
    let queries = if broken { Vec::new() } else { parser.file() };
    let (tokens, diagnostics, layout) = parser.cursor.finish();
    Tree {
        queries,
        diagnostics,
        tokens,
        comments,
        layout,
        skipped: parser.skipped,
    }
}

struct Parser<'a> {
    cursor: Cursor,
    source: &'a str,
    /// Clauses of the query so far.
    clauses: usize,
    /// Bare words may be properties.
    in_statement: bool,
    /// Places of characters that begin no token and are not among the tokens.
    dropped: Vec<u32>,
    skipped: bool,
}

/// `@description` and the like.
#[derive(Default)]
struct Notes {
    description: Option<String>,
    instruction: Option<String>,
    timeout: Option<Duration>,
}

impl Parser<'_> {
    fn file(&mut self) -> Vec<Query> {
        let mut queries = Vec::new();
        while !self.cursor.at_end() && !self.cursor.is_hopeless() {
            if self.cursor.limit(queries.len(), "queries").is_err() {
                self.skipped = true;
                break;
            }
            match self.query() {
                Ok((query, closed)) => {
                    queries.push(query);
                    if !closed {
                        self.skip_query();
                    }
                }
                Err(Failed) => self.skip_query(),
            }
        }
        self.skipped |= !self.cursor.at_end();
        queries
    }

    /// To the next `query name(`.
    fn skip_query(&mut self) {
        self.skipped = true;
        while !self.cursor.at_end() {
            let named = matches!(
                self.cursor.kind_at(1),
                TokenKind::Ident(_) | TokenKind::Type(_)
            );
            let begins = match named {
                true => self.cursor.at_ahead(2, "("),
                // One without a name, and no hop over an edge that is called `query`.
                false => self.cursor.at_ahead(1, "{") && self.cursor.is_after("}"),
            };
            if self.cursor.at_word("query") && begins {
                return;
            }
            self.cursor.bump();
        }
    }

    /// Parses one of several parts. If that fails, or characters in it were dropped, goes on where
    /// the next part may begin and gives the variables that were lost.
    fn attempt<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Parsed<T>,
        closing: &str,
        resumes: impl Fn(&Cursor) -> bool,
    ) -> Result<T, Vec<String>> {
        let start = self.cursor.position();
        let begin = self.cursor.span().start;
        if let Ok(parsed) = parse(self) {
            let end = self.cursor.since(self.cursor.span()).end;
            let end = end.max(self.cursor.span().start);
            let from = self.dropped.partition_point(|at| *at < begin);
            let whole = self.dropped.get(from).is_none_or(|at| *at >= end);
            if whole {
                return Ok(parsed);
            }
        }
        Err(self.cursor.recover(start, closing, resumes))
    }

    /// The query as far as it could be read, and whether that is to its end.
    fn query(&mut self) -> Parsed<(Query, bool)> {
        let start = self.cursor.span();
        self.clauses = 0;
        self.cursor.part(Part::Declaration);
        if !self.cursor.eat_word("query") {
            return Err(self.cursor.unexpected("`query`"));
        }
        let name = self.cursor.expect_ident("the name of a query")?;
        let (params, lost_params) = self.params()?;
        let notes = self.notes()?;
        self.cursor.expect("{")?;
        let (body, whole) = self.body()?;
        let closed = whole && self.end().is_ok();
        let mut span = self.cursor.since(start);
        if !closed {
            // What is wrong where it breaks off is wrong with this query.
            span.end = span.end.max(self.cursor.span().end);
        }
        Ok((
            Query {
                name,
                params,
                lost_params,
                description: notes.description,
                instruction: notes.instruction,
                timeout: notes.timeout,
                body,
                closed,
                span,
            },
            closed,
        ))
    }

    /// The closing brace of a query.
    fn end(&mut self) -> Parsed<()> {
        let hint = match self.cursor.word_ahead(0) {
            Some("order") => "`order { … }` stands before `skip` and `limit`",
            Some("offset") => "write `skip` and a number",
            Some("where") => "conditions stand among the clauses of `match { … }`",
            Some("group") => "rows are grouped by what stands beside an aggregate in `return`",
            _ => return self.cursor.expect("}"),
        };
        Err(self.cursor.unexpected_with("`}`", hint))
    }

    /// Opens the braces of a part.
    fn open(&mut self, hint: &str) -> Parsed<()> {
        if self.cursor.eat("{") {
            return Ok(());
        }
        Err(self.cursor.unexpected_with("`{`", hint))
    }

    fn params(&mut self) -> Parsed<(Vec<Param>, Vec<String>)> {
        if !self.cursor.at("(") {
            let hint = "a query without parameters is written `query q() { … }`";
            return Err(self.cursor.unexpected_with("`(`", hint));
        }
        self.cursor.expect_tight("(")?;
        let mut params: Vec<Param> = Vec::new();
        let mut lost = Vec::new();
        let mut first = true;
        while !self.cursor.eat(")") {
            if !first && !self.cursor.eat(",") {
                return Err(self.cursor.unexpected("`,` or `)`"));
            }
            first = false;
            self.cursor.limit(params.len(), "parameters")?;
            match self.attempt(Self::param, ")", |c| c.at(",") || c.at("{") || c.at("@")) {
                Ok(param) if params.iter().any(|p| p.name.text == param.name.text) => {
                    let message = format!("the parameter `${}` is declared twice", param.name.text);
                    self.cursor
                        .report(Diagnostic::error(Code::P001, message).at(param.name.span));
                }
                Ok(param) => params.push(param),
                Err(names) => {
                    lost.extend(names);
                    // The parenthesis is missing, and has been complained about.
                    if !self.cursor.at(",") && !self.cursor.at(")") {
                        break;
                    }
                }
            }
        }
        Ok((params, lost))
    }

    fn param(&mut self) -> Parsed<Param> {
        self.cursor.part(Part::LastItem);
        if let Some(word) = self.cursor.word_ahead(0) {
            let hint = format!("parameters begin with `$`: write `${word}`");
            return Err(self.cursor.unexpected_with("a parameter (`$name`)", &hint));
        }
        let name = self.var("a parameter")?;
        self.cursor.expect(":")?;
        let data_type = self.data_type()?;
        let nullable = self.cursor.eat("?");
        let default = if self.cursor.eat("=") {
            Some(self.expr()?)
        } else {
            None
        };
        if !self.cursor.at(",") && !self.cursor.at(")") {
            return Err(self.cursor.unexpected("`,` or `)`"));
        }
        Ok(Param {
            name,
            data_type,
            nullable,
            default,
        })
    }

    fn data_type(&mut self) -> Parsed<crate::schema::DataType> {
        let (data_type, repeated) = data_type(&mut self.cursor, self.source)?;
        for word in repeated {
            let message = format!("`{}` occurs twice in the enum", word.text);
            self.cursor
                .report(Diagnostic::error(Code::S109, message).at(word.span));
        }
        Ok(data_type)
    }

    fn notes(&mut self) -> Parsed<Notes> {
        let mut notes = Notes::default();
        while self.cursor.at("@") {
            let start = self.cursor.span();
            self.cursor.part(Part::Break);
            self.cursor.bump();
            self.cursor.tight();
            let name = self.cursor.expect_ident("the name of an annotation")?;
            let span = self.cursor.since(start);
            if !matches!(
                name.text.as_str(),
                "description" | "instruction" | "timeout"
            ) {
                self.cursor.report(
                    Diagnostic::error(Code::P013, format!("unknown annotation `@{}`", name.text))
                        .at(span)
                        .hint("queries have @description, @instruction and @timeout"),
                );
                if self.cursor.eat("(") {
                    self.cursor.skip_to(")");
                    self.cursor.expect(")")?;
                }
                continue;
            }
            self.cursor.expect_tight("(")?;
            let (text, text_span) = self.cursor.expect_string("a text")?;
            self.cursor.expect(")")?;
            let repeated = match name.text.as_str() {
                "description" => notes.description.replace(text).is_some(),
                "instruction" => notes.instruction.replace(text).is_some(),
                _ => {
                    let timeout = self.duration(&text, text_span);
                    notes.timeout.replace(timeout).is_some()
                }
            };
            if repeated {
                let message = format!("`@{}` is repeated", name.text);
                self.cursor
                    .report(Diagnostic::error(Code::P012, message).at(span));
            }
        }
        Ok(notes)
    }

    /// `500ms`, `2s`, `1m`.
    fn duration(&mut self, text: &str, span: Span) -> Duration {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let number = number.parse::<u64>().ok().filter(|n| *n > 0);
        match number.zip(millis).and_then(|(n, unit)| n.checked_mul(unit)) {
            Some(millis) => Duration::from_millis(millis),
            None => {
                self.cursor.report(
                    Diagnostic::error(
                        Code::P019,
                        format!("`{}` is no duration", text.escape_debug()),
                    )
                    .at(span)
                    .hint("write a whole number with `ms`, `s` or `m`, as in \"500ms\""),
                );
                Duration::ZERO
            }
        }
    }

    /// What could be read of the body, and whether that is all of it.
    fn body(&mut self) -> Parsed<(Body, bool)> {
        self.in_statement = !self.cursor.at_word("match");
        let (body, whole) = if self.cursor.at_word("match") {
            let (read, whole) = self.read();
            (Body::Read(read), whole)
        } else {
            let mut statements: Vec<Statement> = Vec::new();
            while let Some(statement) = self.statement()? {
                self.cursor.limit(statements.len(), "statements")?;
                statements.push(statement);
            }
            if statements.is_empty() {
                let expected = "`match`, `insert`, `upsert`, `update` or `delete`";
                return Err(self.cursor.unexpected(expected));
            }
            (Body::Mutation(statements), true)
        };
        let mixed = match &body {
            Body::Read(_) => matches!(
                self.cursor.word_ahead(0),
                Some("insert" | "upsert" | "update" | "delete")
            ),
            Body::Mutation(_) => self.cursor.at_word("match"),
        };
        if mixed && whole {
            let span = self.cursor.span();
            return Err(self.cursor.fail(
                Diagnostic::error(Code::P018, "a query either reads or changes data")
                    .at(span)
                    .hint("write two queries"),
            ));
        }
        Ok((body, whole))
    }

    /// What could be read of the read, and whether that is all of it.
    fn read(&mut self) -> (Read, bool) {
        let mut read = Read::default();
        let whole = self.read_into(&mut read).is_ok();
        (read, whole)
    }

    fn read_into(&mut self, read: &mut Read) -> Parsed<()> {
        self.arm(&mut read.arm)?;
        while self.cursor.at_word("union") {
            self.cursor.limit(read.unions.len(), "arms of a union")?;
            self.cursor.part(Part::Section);
            let span = self.cursor.bump().span;
            let kind = if self.cursor.eat_word("all") {
                UnionKind::All
            } else {
                UnionKind::Distinct
            };
            let mut arm = Arm::default();
            let parsed = self.arm(&mut arm);
            read.unions.push((kind, span, arm));
            parsed?;
        }
        if self.cursor.at_word("order") {
            self.cursor.part(Part::Section);
            self.cursor.bump();
            read.order = self.order()?;
        }
        while let Some(word @ ("skip" | "limit")) = self.cursor.word_ahead(0) {
            let given = if word == "skip" {
                read.skip.is_some()
            } else {
                read.limit.is_some()
            };
            let is_skip = word == "skip";
            if given {
                let expected = "`}`, because this was given already";
                return Err(self.cursor.unexpected(expected));
            }
            self.cursor.part(Part::Section);
            self.cursor.bump();
            let count = match self.cursor.kind() {
                TokenKind::Var(_) => Count::Param(self.var("a parameter")?),
                _ => Count::Literal(self.cursor.expect_int("a whole number or a parameter")?.0),
            };
            if is_skip {
                read.skip = Some(count);
            } else {
                read.limit = Some(count);
            }
        }
        Ok(())
    }

    fn arm(&mut self, arm: &mut Arm) -> Parsed<()> {
        arm.damaged = true;
        self.cursor.part(Part::Section);
        if !self.cursor.eat_word("match") {
            return Err(self.cursor.unexpected("`match`"));
        }
        arm.block = self.block("match")?;
        self.cursor.part(Part::Section);
        if self.cursor.at_word("where") {
            let hint = "conditions stand among the clauses of `match { … }`";
            return Err(self.cursor.unexpected_with("`return`", hint));
        }
        if !self.cursor.eat_word("return") {
            return Err(self.cursor.unexpected("`return`"));
        }
        arm.distinct = self.cursor.eat_word("distinct");
        let open = self.cursor.span();
        if !self.cursor.at("{") {
            let hint = "what is returned stands in braces, `return { $p.name }`";
            return Err(self.cursor.unexpected_with("`{`", hint));
        }
        self.cursor.bump();
        let mut damaged = false;
        while !self.cursor.eat("}") {
            self.cursor.limit(arm.projections.len(), "projections")?;
            match self.attempt(Self::projection, "}", |c| c.at(",")) {
                Ok(projection) => arm.projections.push(projection),
                Err(_) if self.cursor.at_end() || self.cursor.is_hopeless() => return Err(Failed),
                Err(_) => damaged = true,
            }
            self.cursor.eat(",");
        }
        if arm.projections.is_empty() && !damaged {
            self.empty("return", open);
        }
        arm.damaged = damaged;
        Ok(())
    }

    fn projection(&mut self) -> Parsed<Projection> {
        self.cursor.part(Part::Item);
        let value = self.expr()?;
        let alias = if self.cursor.eat_word("as") {
            Some(self.cursor.expect_ident("a column name")?)
        } else {
            None
        };
        Ok(Projection { value, alias })
    }

    fn order(&mut self) -> Parsed<Vec<Key>> {
        if !self.cursor.at("{") {
            let hint = "the keys stand in braces, `order { $p.name desc }`";
            return Err(self.cursor.unexpected_with("`{`", hint));
        }
        self.cursor.bump();
        let mut keys = Vec::new();
        loop {
            self.cursor.limit(keys.len(), "order keys")?;
            self.cursor.part(Part::LastItem);
            let value = self.expr()?;
            let span = self.cursor.span();
            let mut direction = match self.cursor.word_ahead(0) {
                Some("asc") => Some((Order::Ascending, span)),
                Some("desc") => Some((Order::Descending, span)),
                _ => None,
            };
            if direction.is_some() {
                self.cursor.bump();
                if matches!(&value.kind, ast::ExprKind::Call(call) if call.name == "nearest") {
                    self.cursor.report(
                        Diagnostic::error(Code::P016, "`nearest` takes no direction")
                            .at(span)
                            .hint("the nearest come first always; leave the word out"),
                    );
                    direction = None;
                }
            }
            keys.push(Key { value, direction });
            if self.cursor.eat("}") {
                return Ok(keys);
            }
            if !self.cursor.eat(",") {
                return Err(self.cursor.unexpected("`,` or `}`"));
            }
        }
    }

    fn var(&mut self, what: &str) -> Parsed<Name> {
        let span = self.cursor.span();
        match self.cursor.kind() {
            TokenKind::Var(text) => {
                let text = text.clone();
                self.cursor.bump();
                Ok(Name { text, span })
            }
            _ => Err(self.cursor.unexpected(&format!("{what} (`$name`)"))),
        }
    }

    fn empty(&mut self, what: &str, span: Span) {
        let message = format!("`{what}` must not be empty");
        self.cursor
            .report(Diagnostic::error(Code::P017, message).at(span));
    }
}
