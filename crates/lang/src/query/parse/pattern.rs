//! What stands in `match { … }`.

use super::Parser;
use crate::diagnostic::{Code, Diagnostic};
use crate::query::ast::{Binding, Block, Bounds, Clause, Expr, ExprKind, Hop, Path};
use crate::syntax::{Name, Parsed, TokenKind};

impl Parser<'_> {
    pub(super) fn block(&mut self, what: &str) -> Parsed<Block> {
        let open = self.cursor.span();
        self.cursor.expect("{")?;
        let mut block = Block::default();
        let mut failed = false;
        while !self.cursor.eat("}") {
            // Blocks nest, so one count goes over the whole query.
            self.clauses += 1;
            self.cursor.limit(self.clauses, "clauses of one query")?;
            match self.clause() {
                Ok(clause) => block.clauses.push(clause),
                Err(error) => {
                    // What follows in the block may read wrongly; what follows it does not.
                    self.cursor.skip_to("}");
                    if self.cursor.at_end() {
                        return Err(error);
                    }
                    failed = true;
                }
            }
            self.cursor.eat(",");
        }
        if block.clauses.is_empty() && !failed {
            self.empty(what, open);
        }
        Ok(block)
    }

    fn clause(&mut self) -> Parsed<Clause> {
        let span = self.cursor.span();
        match self.cursor.kind() {
            TokenKind::Var(_) if self.cursor.at_ahead(1, ":") => {
                return self.binding().map(Clause::Binding);
            }
            TokenKind::Var(_) if self.at_hop() => return self.hop().map(Clause::Hop),
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
        }
        Ok(Clause::Condition(condition))
    }

    fn nested_block(&mut self, what: &str) -> Parsed<Block> {
        // The cursor counts the depth; the closure cannot borrow the parser twice.
        self.deeper(|parser| parser.block(what))
    }

    /// A variable is here: does it begin a hop?
    fn at_hop(&self) -> bool {
        let cursor = &self.cursor;
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
                let name = self.cursor.expect_ident("the name of a property")?;
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
            Some(var)
        } else {
            None
        };
        self.hop_behind(from, edge_var)
    }

    /// The edges, bounds and right end of a hop.
    fn hop_behind(&mut self, from: Name, edge_var: Option<Name>) -> Parsed<Hop> {
        let undirected = self.cursor.eat("<");
        let edges = self.edges()?;
        if undirected {
            self.cursor.expect(">")?;
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
            if !self.cursor.eat("|") {
                return Ok(edges);
            }
        }
    }

    fn bounds(&mut self) -> Parsed<Option<Bounds>> {
        let start = self.cursor.span();
        if !self.cursor.eat("{") {
            return Ok(None);
        }
        let (min, _) = self.cursor.expect_int("the least number of steps")?;
        let max = if self.cursor.eat(",") {
            if self.cursor.at("}") {
                None
            } else {
                Some(self.cursor.expect_int("the greatest number of steps")?.0)
            }
        } else {
            Some(min)
        };
        self.cursor.expect("}")?;
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
        let hop = self.hop_behind(from, None)?;
        Ok(Path { var, hop })
    }
}
