//! Mutations.

use super::Parser;
use crate::query::ast::{AssignedValue, Assignment, Statement, Verb};
use crate::syntax::{Name, Parsed, TokenKind};

impl Parser<'_> {
    /// The next statement, if one begins here.
    pub(super) fn statement(&mut self) -> Parsed<Option<Statement>> {
        let verb = match self.cursor.word_ahead(0) {
            Some("insert") => Verb::Insert,
            Some("upsert") => Verb::Upsert,
            Some("update") => Verb::Update,
            Some("delete") => Verb::Delete,
            _ => return Ok(None),
        };
        self.cursor.bump();
        let (target, lower_case) = self.target()?;
        let mut assignments = Vec::new();
        match verb {
            Verb::Insert | Verb::Upsert => assignments = self.assignments("the assignments")?,
            Verb::Update => {
                if !self.cursor.eat_word("set") {
                    return Err(self.cursor.unexpected("`set`"));
                }
                assignments = self.assignments("set")?;
            }
            Verb::Delete => {}
        }
        let filter = if matches!(verb, Verb::Update | Verb::Delete) {
            if !self.cursor.eat_word("where") {
                return Err(self.cursor.unexpected("`where`"));
            }
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Some(Statement {
            verb,
            target,
            lower_case,
            assignments,
            filter,
        }))
    }

    fn target(&mut self) -> Parsed<(Name, bool)> {
        let span = self.cursor.span();
        let (text, lower_case) = match self.cursor.kind() {
            TokenKind::Type(text) => (text.clone(), false),
            TokenKind::Ident(text) => (text.clone(), true),
            _ => return Err(self.cursor.unexpected("the name of a node or edge type")),
        };
        self.cursor.bump();
        Ok((Name { text, span }, lower_case))
    }

    fn assignments(&mut self, what: &str) -> Parsed<Vec<Assignment>> {
        let open = self.cursor.span();
        self.cursor.expect("{")?;
        let mut assignments = Vec::new();
        while !self.cursor.eat("}") {
            self.cursor.limit(assignments.len(), "assignments")?;
            let name = self.cursor.expect_ident("the name of a property")?;
            self.cursor.expect(":")?;
            let value = if self.cursor.at("{") {
                self.members()?
            } else {
                AssignedValue::Expr(self.expr()?)
            };
            assignments.push(Assignment { name, value });
            self.cursor.eat(",");
        }
        if assignments.is_empty() {
            self.empty(what, open);
        }
        Ok(assignments)
    }

    fn members(&mut self) -> Parsed<AssignedValue> {
        let open = self.cursor.span();
        self.cursor.expect("{")?;
        let mut members = Vec::new();
        loop {
            self.cursor.limit(members.len(), "members of a key")?;
            let name = self.cursor.expect_ident("the name of a key member")?;
            self.cursor.expect(":")?;
            members.push((name, self.expr()?));
            if self.cursor.eat("}") {
                return Ok(AssignedValue::Members(members, self.cursor.since(open)));
            }
            self.cursor.expect(",")?;
        }
    }
}
