//! What stands in `match { … }`.

use super::Parser;
use crate::diagnostic::{Code, Diagnostic};
use crate::query::ast::{Binding, Block, Bounds, Clause, Expr, ExprKind, Hop, Path};
use crate::syntax::{Cursor, Failed, Name, Parsed, Part, TokenKind};

impl Parser<'_> {
    pub(super) fn block(&mut self, what: &str) -> Parsed<Block> {
        let open = self.cursor.span();
        self.open(&format!("clauses stand in braces, `{what} {{ $p: Type }}`"))?;
        let mut block = Block::default();
        while !self.cursor.eat("}") {
            let returns = self.cursor.at_word("return")
                && (self.cursor.at_ahead(1, "{") || self.cursor.word_ahead(1) == Some("distinct"));
            if returns {
                let hint = format!("the block of `{what}` is not closed");
                self.cursor.unexpected_with("`}`", &hint);
                block.damaged = true;
                return Ok(block);
            }
            // Blocks nest, so one count goes over the whole query.
            self.clauses += 1;
            self.cursor.limit(self.clauses, "clauses of one query")?;
            match self.attempt(Self::clause, "}", begins_clause) {
                Ok(clause) => block.clauses.push(clause),
                Err(_) if self.cursor.at_end() || self.cursor.is_hopeless() => return Err(Failed),
                Err(lost) => {
                    block.lost.extend(lost);
                    block.damaged = true;
                }
            }
            self.cursor.eat(",");
        }
        if block.clauses.is_empty() && !block.damaged {
            self.empty(what, open);
        }
        Ok(block)
    }

    fn clause(&mut self) -> Parsed<Clause> {
        self.cursor.part(Part::Clause);
        let span = self.cursor.span();
        match self.cursor.kind() {
            TokenKind::Var(_) if self.cursor.at_ahead(1, ":") => {
                return self.binding().map(Clause::Binding);
            }
            TokenKind::Var(_) if at_hop(&self.cursor) => return self.hop().map(Clause::Hop),
            TokenKind::Ident(word) if self.cursor.at_ahead(1, "{") => match word.as_str() {
                "not" => {
                    self.cursor.bump();
                    let block = self.nested_block("not")?;
                    return Ok(Clause::Not(block, span));
                }
                "optional" => {
                    self.cursor.bump();
                    let block = self.nested_block("optional")?;
                    return Ok(Clause::Optional(block, span));
                }
                _ => {}
            },
            TokenKind::Ident(word)
                if word == "path"
                    && matches!(self.cursor.kind_at(1), TokenKind::Var(_))
                    && self.cursor.at_ahead(2, "=") =>
            {
                return self.path().map(Clause::Path);
            }
            TokenKind::Ident(word)
                if self.cursor.at_ahead(1, ":")
                    && matches!(self.cursor.kind_at(2), TokenKind::Type(_)) =>
            {
                let hint = format!("variables begin with `$`: write `${word}`");
                return Err(self.cursor.unexpected_with("a clause", &hint));
            }
            _ => {}
        }
        let condition = self.expr()?;
        if let ExprKind::Var(name) = &condition.kind {
            let message = format!("`${name}` alone is no condition");
            self.cursor.report(
                Diagnostic::error(Code::P001, message)
                    .at(condition.span)
                    .hint(format!("bind it with `${name}: Type`, or compare it")),
            );
            return Err(Failed);
        }
        Ok(Clause::Condition(condition))
    }

    fn nested_block(&mut self, what: &str) -> Parsed<Block> {
        // The cursor counts the depth; the closure cannot borrow the parser twice.
        self.deeper(|parser| parser.block(what))
    }

    fn binding(&mut self) -> Parsed<Binding> {
        let var = self.var("a variable")?;
        self.cursor.expect(":")?;
        let type_name = self.cursor.expect_type("the name of a node type")?;
        let mut values: Vec<(Name, Expr)> = Vec::new();
        if self.cursor.eat("{") {
            while !self.cursor.eat("}") {
                self.cursor.limit(values.len(), "conditions")?;
                if !values.is_empty() {
                    if !self.cursor.eat(",") {
                        return Err(self.cursor.unexpected("`,` or `}`"));
                    }
                    if self.cursor.eat("}") {
                        break;
                    }
                }
                self.cursor.part(Part::Item);
                let name = self.cursor.expect_ident("the name of a property")?;
                if self.cursor.at("=") {
                    let hint = format!("in braces write `{}: value`", name.text);
                    return Err(self.cursor.unexpected_with("`:`", &hint));
                }
                self.cursor.expect(":")?;
                values.push((name, self.expr()?));
            }
        }
        Ok(Binding {
            var,
            type_name,
            values,
        })
    }

    fn hop(&mut self) -> Parsed<Hop> {
        let from = self.var("a variable")?;
        let edge_var = if self.cursor.at_ahead(1, ":") {
            let var = self.var("a variable")?;
            self.cursor.bump();
            self.cursor.tight();
            Some(var)
        } else {
            None
        };
        self.hop_behind(from, edge_var)
    }

    /// The edges, bounds and right end of a hop.
    fn hop_behind(&mut self, from: Name, edge_var: Option<Name>) -> Parsed<Hop> {
        let undirected = self.cursor.eat("<");
        if undirected {
            self.cursor.tight();
        }
        let edges = self.edges()?;
        if undirected {
            self.cursor.expect_tight(">")?;
        }
        let bounds = self.bounds()?;
        let to = self.var("the variable at the other end of the hop")?;
        Ok(Hop {
            from,
            edge_var,
            edges,
            undirected,
            bounds,
            to,
        })
    }

    fn edges(&mut self) -> Parsed<Vec<Name>> {
        let mut edges = Vec::new();
        loop {
            let span = self.cursor.span();
            match self.cursor.kind() {
                TokenKind::Ident(text) | TokenKind::Type(text) => {
                    let text = text.clone();
                    self.cursor.bump();
                    edges.push(Name { text, span });
                }
                _ => return Err(self.cursor.unexpected("the name of an edge type")),
            }
            self.cursor.limit(edges.len(), "edge types")?;
            if !self.cursor.at("|") {
                return Ok(edges);
            }
            self.cursor.tight();
            self.cursor.bump();
            self.cursor.tight();
        }
    }

    fn bounds(&mut self) -> Parsed<Option<Bounds>> {
        let start = self.cursor.span();
        if !self.cursor.at("{") {
            return Ok(None);
        }
        self.cursor.expect_tight("{")?;
        self.cursor.tight();
        let (min, _) = self.cursor.expect_int("the least number of steps")?;
        let max = if self.cursor.eat(",") {
            self.cursor.tight();
            if self.cursor.at("}") {
                None
            } else {
                Some(self.cursor.expect_int("the greatest number of steps")?.0)
            }
        } else {
            Some(min)
        };
        if self.cursor.at("..") {
            let hint = "bounds are written `{1,3}`";
            return Err(self.cursor.unexpected_with("`,` or `}`", hint));
        }
        self.cursor.expect_tight("}")?;
        Ok(Some(Bounds {
            min,
            max,
            span: self.cursor.since(start),
        }))
    }

    fn path(&mut self) -> Parsed<Path> {
        self.cursor.bump();
        let var = self.var("a variable")?;
        self.cursor.expect("=")?;
        if !self.cursor.eat_word("shortest") {
            return Err(self.cursor.unexpected("`shortest`"));
        }
        let from = self.var("the variable at which the path begins")?;
        if matches!(self.cursor.kind(), TokenKind::Var(_)) && self.cursor.at_ahead(1, ":") {
            let span = self.cursor.span();
            let hint = format!("leave it out; `edges(${})` gives the edges", var.text);
            self.cursor.report(
                Diagnostic::error(Code::P001, "a path has no bound edge")
                    .at(span)
                    .hint(hint),
            );
            self.cursor.bump();
            self.cursor.bump();
        }
        let hop = self.hop_behind(from, None)?;
        Ok(Path { var, hop })
    }
}

/// A variable is here: does it begin a hop?
fn at_hop(cursor: &Cursor) -> bool {
    let is_word = |kind: &TokenKind| match kind {
        TokenKind::Ident(word) => word != "not",
        TokenKind::Type(_) => true,
        _ => false,
    };
    match cursor.kind_at(1) {
        TokenKind::Var(_) => cursor.at_ahead(2, ":"),
        TokenKind::Punct("<") => {
            is_word(cursor.kind_at(2)) && (cursor.at_ahead(3, ">") || cursor.at_ahead(3, "|"))
        }
        word if is_word(word) => {
            matches!(
                cursor.kind_at(2),
                TokenKind::Var(_) | TokenKind::Punct("{" | "|")
            )
        }
        _ => false,
    }
}

/// After a clause that could not be read: here the next one begins, or a comma ends it.
fn begins_clause(cursor: &Cursor) -> bool {
    match cursor.kind() {
        TokenKind::Punct(",") => true,
        TokenKind::Var(_) => {
            let property = cursor.at_ahead(1, ".") && cursor.is_after_operand();
            cursor.at_ahead(1, ":") || at_hop(cursor) || property
        }
        TokenKind::Ident(word) => match word.as_str() {
            "not" | "optional" => cursor.at_ahead(1, "{"),
            "path" => matches!(cursor.kind_at(1), TokenKind::Var(_)) && cursor.at_ahead(2, "="),
            _ => false,
        },
        _ => false,
    }
}
