//! Tokens to the syntax tree of queries.

mod expr;
mod pattern;
mod statement;

use std::time::Duration;

use super::ast::{Arm, Body, Count, Key, Order, Param, Projection, Query, Read, Statement};
use super::{UnionKind, ast};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::{Cursor, Failed, Lexed, Name, Parsed, TokenKind, data_type, lex};

/// The queries that could be read, and what was wrong with the text.
pub(super) fn parse(source: &str) -> (Vec<Query>, Vec<Diagnostic>) {
    let Lexed {
        tokens,
        diagnostics,
        broken,
    } = lex(source);
    let mut parser = Parser {
        cursor: Cursor::new(tokens, diagnostics),
        source,
        clauses: 0,
    };
    let queries = if broken { Vec::new() } else { parser.file() };
    (queries, parser.cursor.diagnostics)
}

struct Parser<'a> {
    cursor: Cursor,
    source: &'a str,
    /// Clauses of the query so far.
    clauses: usize,
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
                break;
            }
            match self.query() {
                Ok(query) => queries.push(query),
                Err(Failed) => self.skip_query(),
            }
        }
        queries
    }

    /// To the next `query name(`.
    fn skip_query(&mut self) {
        while !self.cursor.at_end() {
            let begins = self.cursor.at_word("query")
                && self.cursor.word_ahead(1).is_some()
                && self.cursor.at_ahead(2, "(");
            if begins {
                return;
            }
            self.cursor.bump();
        }
    }

    fn query(&mut self) -> Parsed<Query> {
        let start = self.cursor.span();
        self.clauses = 0;
        if !self.cursor.eat_word("query") {
            return Err(self.cursor.unexpected("`query`"));
        }
        let name = self.cursor.expect_ident("the name of a query")?;
        let params = self.params()?;
        let notes = self.notes()?;
        self.cursor.expect("{")?;
        let body = self.body()?;
        self.cursor.expect("}")?;
        Ok(Query {
            name,
            params,
            description: notes.description,
            instruction: notes.instruction,
            timeout: notes.timeout,
            body,
            span: self.cursor.since(start),
        })
    }

    fn params(&mut self) -> Parsed<Vec<Param>> {
        self.cursor.expect("(")?;
        let mut params: Vec<Param> = Vec::new();
        while !self.cursor.eat(")") {
            if !params.is_empty() && !self.cursor.eat(",") {
                return Err(self.cursor.unexpected("`,` or `)`"));
            }
            self.cursor.limit(params.len(), "parameters")?;
            let name = self.var("a parameter")?;
            self.cursor.expect(":")?;
            let data_type = self.data_type()?;
            let nullable = self.cursor.eat("?");
            let default = if self.cursor.eat("=") {
                Some(self.expr()?)
            } else {
                None
            };
            if params.iter().any(|p| p.name.text == name.text) {
                let message = format!("the parameter `${}` is declared twice", name.text);
                self.cursor
                    .report(Diagnostic::error(Code::P001, message).at(name.span));
                continue;
            }
            params.push(Param {
                name,
                data_type,
                nullable,
                default,
            });
        }
        Ok(params)
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
            self.cursor.bump();
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
            self.cursor.expect("(")?;
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

    fn body(&mut self) -> Parsed<Body> {
        let body = if self.cursor.at_word("match") {
            Body::Read(self.read()?)
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
            Body::Mutation(statements)
        };
        let mixed = match &body {
            Body::Read(_) => matches!(
                self.cursor.word_ahead(0),
                Some("insert" | "upsert" | "update" | "delete")
            ),
            Body::Mutation(_) => self.cursor.at_word("match"),
        };
        if mixed {
            let span = self.cursor.span();
            return Err(self.cursor.fail(
                Diagnostic::error(Code::P018, "a query either reads or changes data")
                    .at(span)
                    .hint("write two queries"),
            ));
        }
        Ok(body)
    }

    fn read(&mut self) -> Parsed<Read> {
        let arm = self.arm()?;
        let mut unions = Vec::new();
        while self.cursor.at_word("union") {
            self.cursor.limit(unions.len(), "arms of a union")?;
            let span = self.cursor.bump().span;
            let kind = if self.cursor.eat_word("all") {
                UnionKind::All
            } else {
                UnionKind::Distinct
            };
            unions.push((kind, span, self.arm()?));
        }
        let order = if self.cursor.at_word("order") && self.cursor.at_ahead(1, "{") {
            self.cursor.bump();
            self.order()?
        } else {
            Vec::new()
        };
        let (mut skip, mut limit) = (None, None);
        while let Some(word @ ("skip" | "limit")) = self.cursor.word_ahead(0) {
            let slot = if word == "skip" {
                &mut skip
            } else {
                &mut limit
            };
            if slot.is_some() {
                let expected = "`}`, because this was given already";
                return Err(self.cursor.unexpected(expected));
            }
            self.cursor.bump();
            *slot = Some(match self.cursor.kind() {
                TokenKind::Var(_) => Count::Param(self.var("a parameter")?),
                _ => Count::Literal(self.cursor.expect_int("a whole number or a parameter")?.0),
            });
        }
        Ok(Read {
            arm,
            unions,
            order,
            skip,
            limit,
        })
    }

    fn arm(&mut self) -> Parsed<Arm> {
        if !self.cursor.eat_word("match") {
            return Err(self.cursor.unexpected("`match`"));
        }
        let block = self.block("match")?;
        if !self.cursor.eat_word("return") {
            return Err(self.cursor.unexpected("`return`"));
        }
        let distinct = self.cursor.eat_word("distinct");
        let open = self.cursor.span();
        self.cursor.expect("{")?;
        let mut projections = Vec::new();
        while !self.cursor.eat("}") {
            self.cursor.limit(projections.len(), "projections")?;
            let value = self.expr()?;
            let alias = if self.cursor.eat_word("as") {
                Some(self.cursor.expect_ident("a column name")?)
            } else {
                None
            };
            projections.push(Projection { value, alias });
            self.cursor.eat(",");
        }
        if projections.is_empty() {
            self.empty("return", open);
        }
        Ok(Arm {
            block,
            distinct,
            projections,
        })
    }

    fn order(&mut self) -> Parsed<Vec<Key>> {
        self.cursor.expect("{")?;
        let mut keys = Vec::new();
        loop {
            self.cursor.limit(keys.len(), "order keys")?;
            let value = self.expr()?;
            let span = self.cursor.span();
            let direction = match self.cursor.word_ahead(0) {
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
