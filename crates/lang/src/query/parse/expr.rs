//! Expressions. From loose to tight: `or`, `and`, `not`, tests, `+ -`, `* / %`, unary `-`.

use super::Parser;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast::{Call, Expr, ExprKind};
use crate::query::{Arithmetic, Comparison, TextTest};
use crate::syntax::{Failed, Name, Parsed, Part, TokenKind};
use crate::value::Value;

/// A test that stands after its first operand.
#[derive(Clone, Copy)]
enum Test {
    Compare(Comparison),
    Text(TextTest),
    In { negated: bool },
    IsNull,
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(Self::disjunction)
    }

    /// Runs `parse` one level of nesting deeper.
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.cursor.enter()?;
        let parsed = parse(self);
        self.cursor.leave();
        parsed
    }

    fn disjunction(&mut self) -> Parsed<Expr> {
        self.chain("or", Self::conjunction, ExprKind::Or)
    }

    fn conjunction(&mut self) -> Parsed<Expr> {
        self.chain("and", Self::negation, ExprKind::And)
    }

    fn chain(
        &mut self,
        word: &str,
        operand: fn(&mut Self) -> Parsed<Expr>,
        join: fn(Vec<Expr>) -> ExprKind,
    ) -> Parsed<Expr> {
        let start = self.cursor.span();
        let first = operand(self)?;
        if !self.at_operator(word) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.at_operator(word) {
            self.cursor.part(Part::Break);
            self.cursor.bump();
            operands.push(operand(self)?);
        }
        Ok(self.made(start, join(operands)))
    }

    /// An operator word, and not the name of the next assignment.
    fn at_operator(&self, word: &str) -> bool {
        self.cursor.at_word(word) && !self.cursor.at_ahead(1, ":")
    }

    fn negation(&mut self) -> Parsed<Expr> {
        let start = self.cursor.span();
        // Before an operator, or before nothing, it is a name.
        let compared = matches!(
            self.cursor.kind_at(1),
            TokenKind::Punct("=" | "!=" | "<" | "<=" | ">" | ">=" | "}" | ")" | "]" | ",")
        );
        if !self.cursor.at_word("not") || compared || self.cursor.at_ahead(1, ":") {
            return self.test();
        }
        self.cursor.bump();
        let operand = self.deeper(Self::negation)?;
        Ok(self.made(start, ExprKind::Not(Box::new(operand))))
    }

    fn test(&mut self) -> Parsed<Expr> {
        let start = self.cursor.span();
        let left = self.sum()?;
        let Some(test) = self.eat_test()? else {
            return Ok(left);
        };
        let left = Box::new(left);
        let kind = match test {
            Test::Compare(op) => ExprKind::Compare(op, left, Box::new(self.sum()?)),
            Test::Text(test) => ExprKind::Text(test, left, Box::new(self.sum()?)),
            Test::In { negated } => ExprKind::In {
                item: left,
                list: Box::new(self.sum()?),
                negated,
            },
            Test::IsNull => {
                let negated = self.cursor.eat_word("not");
                if !self.cursor.eat_word("null") {
                    let hint = "`is` tests for null only: compare with `=` or `!=`";
                    return Err(self.cursor.unexpected_with("`null`", hint));
                }
                ExprKind::IsNull {
                    value: left,
                    negated,
                }
            }
        };
        let span = self.cursor.span();
        if self.peek_test().is_some() {
            return Err(self.cursor.fail(
                Diagnostic::error(Code::P015, "tests do not chain")
                    .at(span)
                    .hint("join two tests with `and`, or set parentheses"),
            ));
        }
        Ok(self.made(start, kind))
    }

    fn eat_test(&mut self) -> Parsed<Option<Test>> {
        let test = self.peek_test();
        if let Some(test) = test {
            self.cursor.bump();
            if matches!(test, Test::In { negated: true }) {
                self.cursor.bump();
            }
        }
        Ok(test)
    }

    fn peek_test(&self) -> Option<Test> {
        let comparison = match self.cursor.kind() {
            TokenKind::Punct("=") => Comparison::Eq,
            TokenKind::Punct("!=") => Comparison::Ne,
            TokenKind::Punct("<") => Comparison::Lt,
            TokenKind::Punct("<=") => Comparison::Le,
            TokenKind::Punct(">") => Comparison::Gt,
            TokenKind::Punct(">=") => Comparison::Ge,
            TokenKind::Ident(word) if !self.cursor.at_ahead(1, ":") => {
                return match word.as_str() {
                    "contains" => Some(Test::Text(TextTest::Contains)),
                    "starts_with" => Some(Test::Text(TextTest::StartsWith)),
                    "ends_with" => Some(Test::Text(TextTest::EndsWith)),
                    "in" => Some(Test::In { negated: false }),
                    "not" if self.cursor.word_ahead(1) == Some("in") => {
                        Some(Test::In { negated: true })
                    }
                    "is" => Some(Test::IsNull),
                    _ => None,
                };
            }
            _ => return None,
        };
        Some(Test::Compare(comparison))
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.arithmetic(Self::product, |kind| match kind {
            TokenKind::Punct("+") => Some(Arithmetic::Add),
            TokenKind::Punct("-") => Some(Arithmetic::Sub),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed<Expr> {
        self.arithmetic(Self::unary, |kind| match kind {
            TokenKind::Punct("*") => Some(Arithmetic::Mul),
            TokenKind::Punct("/") => Some(Arithmetic::Div),
            TokenKind::Punct("%") => Some(Arithmetic::Rem),
            _ => None,
        })
    }

    /// Left-associative, so a long sum is a deep tree: its length counts as depth.
    fn arithmetic(
        &mut self,
        operand: fn(&mut Self) -> Parsed<Expr>,
        operator: fn(&TokenKind) -> Option<Arithmetic>,
    ) -> Parsed<Expr> {
        let start = self.cursor.span();
        let mut left = operand(self)?;
        let mut entered = 0;
        let result = loop {
            let Some(op) = operator(self.cursor.kind()) else {
                break Ok(left);
            };
            if self.cursor.enter().is_err() {
                break Err(Failed);
            }
            entered += 1;
            self.cursor.bump();
            match operand(self) {
                Ok(right) => {
                    let kind = ExprKind::Arithmetic(op, Box::new(left), Box::new(right));
                    left = self.made(start, kind);
                }
                Err(error) => break Err(error),
            }
        };
        for _ in 0..entered {
            self.cursor.leave();
        }
        result
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let start = self.cursor.span();
        if !self.cursor.at("-") {
            return self.atom();
        }
        self.cursor.bump();
        self.cursor.tight();
        if matches!(self.cursor.kind(), TokenKind::Int(_) | TokenKind::Float(_)) {
            return self.number(start, true);
        }
        let operand = self.deeper(Self::unary)?;
        Ok(self.made(start, ExprKind::Negate(Box::new(operand))))
    }

    fn number(&mut self, start: Span, negative: bool) -> Parsed<Expr> {
        match self.cursor.number(negative)? {
            Some(value) => Ok(self.made(start, ExprKind::Literal(value))),
            None => Err(self.cursor.out_of_range(self.cursor.since(start))),
        }
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let start = self.cursor.span();
        let kind = match self.cursor.kind().clone() {
            TokenKind::Int(_) | TokenKind::Float(_) => return self.number(start, false),
            TokenKind::String(text) => {
                self.cursor.bump();
                ExprKind::Literal(Value::String(text))
            }
            TokenKind::Var(name) => {
                self.cursor.bump();
                self.after_var(name)?
            }
            TokenKind::Punct("(") => {
                self.cursor.bump();
                let inner = self.expr()?;
                self.cursor.expect(")")?;
                return Ok(inner);
            }
            TokenKind::Punct("[") => {
                self.cursor.bump();
                ExprKind::List(self.items("]")?.0)
            }
            TokenKind::Ident(word) if self.cursor.at_ahead(1, "(") => {
                self.cursor.bump();
                self.cursor.tight();
                self.cursor.bump();
                self.call(word)?
            }
            TokenKind::Ident(word) if self.cursor.at_ahead(1, ".") => {
                let hint = format!("variables begin with `$`: write `${word}.…`");
                return Err(self.cursor.unexpected_with("a value", &hint));
            }
            TokenKind::Punct("->") => {
                let hint = "a hop is written `$a edge $b`, both ways `$a <edge> $b`";
                return Err(self.cursor.unexpected_with("a value", hint));
            }
            TokenKind::Ident(word) => {
                self.cursor.bump();
                // In a statement it may be the name of a property.
                let compared = self.in_statement
                    && matches!(
                        self.cursor.kind(),
                        TokenKind::Punct("=" | "!=" | "<" | "<=" | ">" | ">=")
                    );
                match word.as_str() {
                    _ if compared => ExprKind::Name(word),
                    "true" => ExprKind::Literal(Value::Bool(true)),
                    "false" => ExprKind::Literal(Value::Bool(false)),
                    "null" => ExprKind::Literal(Value::Null),
                    _ => ExprKind::Name(word),
                }
            }
            TokenKind::Punct("=") => {
                let hint = "equality is written with one `=`";
                return Err(self.cursor.unexpected_with("a value", hint));
            }
            TokenKind::Punct(">") => {
                let hint = "inequality is written `!=`, at most `<=`, at least `>=`";
                return Err(self.cursor.unexpected_with("a value", hint));
            }
            TokenKind::Punct("|") => {
                return Err(self.cursor.unexpected_with("a value", "write `or`"));
            }
            TokenKind::Punct("{") => {
                let hint = "lists are written with brackets, `[1, 2]`";
                return Err(self.cursor.unexpected_with("a value", hint));
            }
            TokenKind::Type(word) if self.cursor.at_ahead(1, "(") => {
                let hint = format!(
                    "functions are written in lower case, `{}(…)`",
                    word.to_ascii_lowercase()
                );
                return Err(self.cursor.unexpected_with("a value", &hint));
            }
            TokenKind::Type(_) => {
                return Err(self
                    .cursor
                    .unexpected_with("a value", "texts are written in double quotes"));
            }
            _ => return Err(self.cursor.unexpected("a value")),
        };
        Ok(self.made(start, kind))
    }

    fn after_var(&mut self, name: String) -> Parsed<ExprKind> {
        if !self.cursor.eat(".") {
            return Ok(ExprKind::Var(name));
        }
        if self.cursor.eat("*") {
            return Ok(ExprKind::AllProperties(name));
        }
        let property: Name = self.cursor.expect_ident("the name of a property")?;
        Ok(ExprKind::Property(name, property))
    }

    /// Behind the opening parenthesis.
    fn call(&mut self, name: String) -> Parsed<ExprKind> {
        let mut call = Call {
            name,
            args: Vec::new(),
            distinct: false,
            star: false,
        };
        if self.cursor.at("*") && self.cursor.at_ahead(1, ")") {
            self.cursor.bump();
            self.cursor.bump();
            call.star = true;
            return Ok(ExprKind::Call(call));
        }
        let alone = self.cursor.at_ahead(1, ")") || self.cursor.at_ahead(1, ",");
        if self.cursor.at_word("distinct") && !alone {
            self.cursor.bump();
            call.distinct = true;
        }
        let closed;
        (call.args, closed) = self.items(")")?;
        if closed {
            return Ok(ExprKind::Call(call));
        }
        // `items` stops before `as`, which only a single argument may have.
        self.cursor.bump();
        let to = self.data_type()?;
        self.cursor.expect(")")?;
        if let Some(value) = call.args.pop() {
            return Ok(ExprKind::Cast {
                name: call.name,
                value: Box::new(value),
                to,
            });
        }
        Ok(ExprKind::Call(call))
    }

    /// Expressions up to the closing bracket (`true`), or up to `as` behind the first.
    fn items(&mut self, closing: &str) -> Parsed<(Vec<Expr>, bool)> {
        let mut items = Vec::new();
        if self.cursor.eat(closing) {
            return Ok((items, true));
        }
        loop {
            if closing == ")" {
                self.cursor.limit(items.len(), "arguments")?;
            }
            items.push(self.expr()?);
            if self.cursor.eat(closing) {
                return Ok((items, true));
            }
            if closing == ")" && items.len() == 1 && self.cursor.at_word("as") {
                return Ok((items, false));
            }
            if !self.cursor.eat(",") {
                return Err(self.cursor.unexpected(&format!("`,` or `{closing}`")));
            }
        }
    }

    fn made(&self, start: Span, kind: ExprKind) -> Expr {
        Expr {
            kind,
            span: self.cursor.since(start),
        }
    }
}
