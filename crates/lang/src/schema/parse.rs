//! Tokens to the syntax tree of a schema.

use super::ast::{
    Annotation, Argument, ArgumentValue, Body, Constraint, ConstraintKind, Edge, Interface, Node,
    Property, Schema, TypeExpr,
};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::{
    Comment, Cursor, Failed, Layout, Lexed, Parsed, Part, Token, TokenKind, data_type, lex,
};
use crate::value::Value;

/// The declarations that could be read, and what was wrong with the text.
pub(crate) fn parse(source: &str) -> Tree {
    let Lexed {
        tokens,
        comments,
        diagnostics,
        broken,
    } = lex(source);
    let mut parser = Parser {
        cursor: Cursor::new(tokens, diagnostics),
        source,
        schema: Schema::default(),
        lost_declarations: broken,
        lost_members: false,
    };
    if !broken {
        parser.schema();
    }
    let (tokens, diagnostics, layout) = parser.cursor.finish();
    Tree {
        schema: parser.schema,
        diagnostics,
        lost_declarations: parser.lost_declarations,
        lost_members: parser.lost_members,
        tokens,
        comments,
        layout,
    }
}

/// A schema as it is written, as far as it could be read.
pub(crate) struct Tree {
    pub(crate) schema: Schema,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) layout: Layout,
    /// Some declaration could not be read.
    pub(super) lost_declarations: bool,
    /// Some property or constraint could not be read.
    pub(super) lost_members: bool,
}

struct Parser<'a> {
    cursor: Cursor,
    source: &'a str,
    schema: Schema,
    lost_declarations: bool,
    lost_members: bool,
}

impl Parser<'_> {
    fn schema(&mut self) {
        let mut count = 0;
        while !self.cursor.at_end() && !self.cursor.is_hopeless() {
            count += 1;
            if self.cursor.limit(count, "declarations").is_err() {
                self.lost_declarations = true;
                return;
            }
            self.cursor.part(Part::Declaration);
            if self.declaration().is_err() {
                self.lost_declarations = true;
                self.skip_declaration();
            }
        }
    }

    fn declaration(&mut self) -> Parsed<()> {
        match self.cursor.word_ahead(0) {
            Some("interface") => {
                self.cursor.bump();
                let interface = self.interface()?;
                self.schema.interfaces.push(interface);
            }
            Some("node") => {
                self.cursor.bump();
                let node = self.node()?;
                self.schema.nodes.push(node);
            }
            Some("edge") => {
                self.cursor.bump();
                let edge = self.edge()?;
                self.schema.edges.push(edge);
            }
            other => {
                let hint = match other {
                    Some("type" | "table" | "class" | "entity" | "vertex" | "struct") => {
                        "a type of entities is declared with `node`"
                    }
                    Some("relation" | "relationship" | "rel" | "link") => {
                        "a relation is declared as `edge Name: From -> To`"
                    }
                    Some("query") => "queries stand in files of their own (`.gq`)",
                    _ => return Err(self.cursor.unexpected("`node`, `edge` or `interface`")),
                };
                let expected = "`node`, `edge` or `interface`";
                return Err(self.cursor.unexpected_with(expected, hint));
            }
        }
        Ok(())
    }

    /// To the next word that begins a declaration.
    fn skip_declaration(&mut self) {
        while !self.cursor.at_end() {
            let begins = matches!(
                self.cursor.word_ahead(0),
                Some("interface" | "node" | "edge")
            ) && matches!(
                self.cursor.kind_at(1),
                TokenKind::Type(_) | TokenKind::Ident(_)
            );
            if begins {
                return;
            }
            self.cursor.bump();
        }
    }

    fn interface(&mut self) -> Parsed<Interface> {
        let name = self.cursor.expect_type("the name of an interface")?;
        if self.cursor.at("@") {
            let hint = "an interface has no annotations: annotate its properties, or the nodes";
            return Err(self.cursor.unexpected_with("`{`", hint));
        }
        let body = self.body()?;
        for constraint in body.constraints {
            self.cursor.report(
                Diagnostic::error(Code::P001, "an interface has no constraints of its own")
                    .at(constraint.span)
                    .hint("annotate the property, or declare the constraint on the nodes"),
            );
        }
        Ok(Interface {
            name,
            properties: body.properties,
        })
    }

    fn node(&mut self) -> Parsed<Node> {
        let name = self.cursor.expect_type("the name of a node type")?;
        let mut annotations = Vec::new();
        let mut implements = Vec::new();
        let mut seen = false;
        loop {
            if self.cursor.at("@") {
                self.cursor.part(Part::Break);
                annotations.push(self.annotation(true)?);
            } else if self.cursor.at_word("implements") && !seen {
                self.cursor.bump();
                seen = true;
                implements.push(self.cursor.expect_type("the name of an interface")?);
                while self.cursor.eat(",") {
                    self.cursor.limit(implements.len(), "interfaces")?;
                    implements.push(self.cursor.expect_type("the name of an interface")?);
                }
            } else {
                break;
            }
        }
        let body = self.body()?;
        Ok(Node {
            name,
            implements,
            annotations,
            body,
        })
    }

    fn edge(&mut self) -> Parsed<Edge> {
        let name = self.cursor.expect_type("the name of an edge type")?;
        self.cursor.expect(":")?;
        let from = self.cursor.expect_type("the name of a node type")?;
        self.cursor.expect("->")?;
        let to = self.cursor.expect_type("the name of a node type")?;
        let mut annotations = Vec::new();
        while self.cursor.at("@") {
            self.cursor.part(Part::Break);
            annotations.push(self.annotation(true)?);
        }
        let body = if self.cursor.at("{") {
            self.body()?
        } else {
            Body::default()
        };
        Ok(Edge {
            name,
            from,
            to,
            annotations,
            body,
        })
    }

    fn body(&mut self) -> Parsed<Body> {
        if matches!(self.cursor.word_ahead(0), Some("extends" | "is" | "with")) {
            let hint = "a node takes over interfaces with `implements`";
            return Err(self.cursor.unexpected_with("`{`", hint));
        }
        self.cursor.expect("{")?;
        let mut body = Body::default();
        while !self.cursor.eat("}") {
            if self.cursor.at_end() {
                return Err(self.cursor.unexpected("`}`"));
            }
            if self.cursor.is_hopeless() {
                return Err(Failed);
            }
            let count = body.properties.len().max(body.constraints.len());
            self.cursor
                .limit(count, "properties or constraints of one type")?;
            let start = self.cursor.position();
            self.cursor.part(Part::Member);
            if self.member(&mut body).is_err() {
                self.lost_members = true;
                self.skip_member(start);
            }
        }
        Ok(body)
    }

    fn member(&mut self, body: &mut Body) -> Parsed<()> {
        if self.at_constraint() {
            body.constraints.push(self.constraint()?);
            return Ok(());
        }
        match self.cursor.kind() {
            TokenKind::Ident(_) | TokenKind::Type(_) => {
                let name = self.cursor.expect_ident("the name of a property")?;
                self.cursor.expect(":")?;
                let ty = self.type_expr()?;
                let mut annotations = Vec::new();
                while self.cursor.at("@") && !self.at_constraint() {
                    self.cursor.limit(annotations.len(), "annotations")?;
                    self.cursor.part(Part::Break);
                    annotations.push(self.annotation(false)?);
                }
                body.properties.push(Property {
                    name,
                    ty,
                    annotations,
                });
                Ok(())
            }
            TokenKind::Punct(punct) => {
                let hint = match *punct {
                    "," => "properties are separated by white space, without commas",
                    "[" => "a list is written `[String]`",
                    "=" => "a default is written `@default(value)`",
                    _ => return Err(self.cursor.unexpected("a property, a constraint or `}`")),
                };
                let expected = "a property, a constraint or `}`";
                Err(self.cursor.unexpected_with(expected, hint))
            }
            _ => Err(self.cursor.unexpected("a property, a constraint or `}`")),
        }
    }

    /// To what may begin the next member: a name before `:`, a constraint, or the end.
    fn skip_member(&mut self, start: usize) {
        if self.cursor.position() == start {
            self.cursor.bump();
        }
        while !self.cursor.at_end() && !self.cursor.at("}") && !self.at_constraint() {
            let named = matches!(self.cursor.kind(), TokenKind::Ident(_) | TokenKind::Type(_));
            if named && self.cursor.at_ahead(1, ":") {
                return;
            }
            self.cursor.bump();
        }
    }

    fn type_expr(&mut self) -> Parsed<TypeExpr> {
        let (data_type, repeated) = data_type(&mut self.cursor, self.source)?;
        for word in repeated {
            let message = format!("`{}` occurs twice in the enum", word.text);
            self.cursor
                .report(Diagnostic::error(Code::S109, message).at(word.span));
        }
        let nullable = self.cursor.eat("?");
        Ok(TypeExpr {
            data_type,
            nullable,
        })
    }

    /// `@key(`, `@unique(`, `@index(`, `@range`, `@check`.
    fn at_constraint(&self) -> bool {
        self.cursor.at("@")
            && match self.cursor.word_ahead(1) {
                Some("key" | "unique" | "index") => self.cursor.at_ahead(2, "("),
                Some("range" | "check") => true,
                _ => false,
            }
    }

    fn constraint(&mut self) -> Parsed<Constraint> {
        let start = self.cursor.span();
        self.cursor.bump();
        self.cursor.tight();
        let word = self.cursor.expect_ident("a constraint")?.text;
        let open = self.cursor.position();
        let before = self.cursor.diagnostics.len();
        match self.constraint_arguments(&word) {
            Ok(kind) => Ok(Constraint {
                kind,
                span: self.cursor.since(start),
            }),
            Err(Failed) => {
                // Whatever was unexpected, the arguments are malformed: one code says so.
                let form = match word.as_str() {
                    "range" => "`@range(property, low..high)`".to_owned(),
                    "check" => "`@check(property, \"pattern\")`".to_owned(),
                    _ => format!("`@{word}(property, …)`"),
                };
                let at_arguments = self.cursor.position() > open || self.cursor.at("(");
                let span = if at_arguments {
                    self.cursor.span()
                } else {
                    start
                };
                let out_of_range = self.cursor.diagnostics[before..]
                    .iter()
                    .any(|d| d.code == Code::P005);
                if !out_of_range {
                    self.cursor.diagnostics.truncate(before);
                    self.cursor.report(
                        Diagnostic::error(
                            Code::P014,
                            format!("the arguments of `@{word}` are missing or malformed"),
                        )
                        .at(span)
                        .hint(format!("the form is {form}")),
                    );
                }
                Err(Failed)
            }
        }
    }

    fn constraint_arguments(&mut self, word: &str) -> Parsed<ConstraintKind> {
        self.cursor.expect_tight("(")?;
        let first = self.cursor.expect_ident("the name of a property")?;
        let kind = match word {
            "range" => {
                self.cursor.expect(",")?;
                let low = self.bound()?;
                self.cursor.expect("..")?;
                let high = self.bound()?;
                if low.is_none() && high.is_none() {
                    return Err(self.cursor.unexpected("a number"));
                }
                ConstraintKind::Range {
                    property: first,
                    low,
                    high,
                }
            }
            "check" => {
                self.cursor.expect(",")?;
                ConstraintKind::Check {
                    property: first,
                    pattern: self.cursor.expect_string("a pattern")?,
                }
            }
            _ => {
                let mut members = vec![first];
                while self.cursor.eat(",") {
                    self.cursor.limit(members.len(), "members")?;
                    members.push(self.cursor.expect_ident("the name of a property")?);
                }
                match word {
                    "key" => ConstraintKind::Key(members),
                    "unique" => ConstraintKind::Unique(members),
                    _ => ConstraintKind::Index(members),
                }
            }
        };
        self.cursor.expect(")")?;
        Ok(kind)
    }

    fn bound(&mut self) -> Parsed<Option<Value>> {
        if self.cursor.at_number() {
            self.cursor.signed_number().map(Some)
        } else {
            Ok(None)
        }
    }

    fn annotation(&mut self, header: bool) -> Parsed<Annotation> {
        let start = self.cursor.span();
        self.cursor.expect("@")?;
        self.cursor.tight();
        let name = self.cursor.expect_ident("the name of an annotation")?.text;
        let mut annotation = Annotation {
            span: self.cursor.since(start),
            name,
            value: None,
            named: Vec::new(),
            bounds: None,
        };
        if !self.cursor.at("(") {
            return Ok(annotation);
        }
        if header && matches!(annotation.name.as_str(), "range" | "check") {
            // Misplaced, whatever its arguments are.
            self.cursor.bump();
            self.cursor.skip_to(")");
            self.cursor.expect(")")?;
            return Ok(annotation);
        }
        if annotation.name == "card" {
            annotation.bounds = Some(self.card_bounds()?);
            return Ok(annotation);
        }
        self.cursor.tight();
        self.cursor.bump();
        annotation.value = Some(self.argument()?);
        while self.cursor.eat(",") {
            let is_member_list =
                header && matches!(annotation.name.as_str(), "key" | "unique" | "index");
            let name = self.cursor.expect_ident("the name of an argument")?;
            if is_member_list && !self.cursor.at("=") {
                continue;
            }
            self.cursor.tight();
            if !self.cursor.eat("=") {
                return Err(self.malformed_argument("a named argument is written `name=value`"));
            }
            self.cursor.tight();
            let value = self.argument()?;
            if matches!(value.value, ArgumentValue::Name(_)) {
                self.cursor.report(
                    Diagnostic::error(Code::P011, "a named argument takes a text or a number")
                        .at(value.span)
                        .hint("write the text in quotes"),
                );
            }
            annotation.named.push((name, value));
        }
        if !self.cursor.eat(")") {
            return Err(self.malformed_argument("expected `)` after the arguments"));
        }
        Ok(annotation)
    }

    fn card_bounds(&mut self) -> Parsed<(u64, Option<u64>)> {
        self.cursor.expect_tight("(")?;
        let (min, _) = self.cursor.expect_int("the least number of edges")?;
        self.cursor.expect("..")?;
        let max = if self.cursor.at(")") {
            None
        } else {
            Some(
                self.cursor
                    .expect_int("the greatest number of edges or `)`")?
                    .0,
            )
        };
        self.cursor.expect(")")?;
        Ok((min, max))
    }

    fn argument(&mut self) -> Parsed<Argument> {
        let start = self.cursor.span();
        if self.cursor.at_number() {
            let value = ArgumentValue::Literal(self.cursor.signed_number()?);
            let span: Span = self.cursor.since(start);
            return Ok(Argument { value, span });
        }
        let value = match self.cursor.kind().clone() {
            TokenKind::String(text) => ArgumentValue::Literal(Value::String(text)),
            TokenKind::Ident(word) => match word.as_str() {
                "true" => ArgumentValue::Literal(Value::Bool(true)),
                "false" => ArgumentValue::Literal(Value::Bool(false)),
                _ => ArgumentValue::Name(word),
            },
            _ => {
                return Err(
                    self.malformed_argument("expected a text, a number, `true`, `false` or a name")
                );
            }
        };
        self.cursor.bump();
        Ok(Argument { value, span: start })
    }

    fn malformed_argument(&mut self, message: &str) -> Failed {
        let found = self.cursor.kind().describe();
        let span = self.cursor.span();
        self.cursor
            .fail(Diagnostic::error(Code::P011, format!("{message}, found {found}")).at(span))
    }
}
