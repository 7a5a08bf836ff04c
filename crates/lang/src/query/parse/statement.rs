//! Mutations.

use super::Parser;
use crate::query::ast::{AssignedValue, Assignment, Statement, Verb};
use crate::syntax::{Cursor, Failed, Name, Parsed, Part, TokenKind};

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
        self.cursor.part(Part::Section);
        self.cursor.bump();
        let (target, lower_case) = self.target()?;
        let mut assignments = Assignments::default();
        match verb {
            Verb::Insert | Verb::Upsert => assignments = self.assignments("the assignments")?,
            Verb::Update => {
                if !self.cursor.eat_word("set") {
                    let hint = "the form is `update T set { p: value } where …`";
                    return Err(self.cursor.unexpected_with("`set`", hint));
                }
                assignments = self.assignments("set")?;
            }
            Verb::Delete => {}
        }
        let filter = if matches!(verb, Verb::Update | Verb::Delete) {
            self.cursor.part(Part::Break);
            if !self.cursor.eat_word("where") {
                let hint = match verb {
                    Verb::Delete => "the form is `delete T where p = value`",
                    _ => "the form is `update T set { p: value } where …`",
                };
                return Err(self.cursor.unexpected_with("`where`", hint));
            }
            match self.attempt(Self::expr, "}", begins_statement) {
                Ok(filter) => Some(filter),
                Err(_) => {
                    assignments.damaged = true;
                    None
                }
            }
        } else {
            None
        };
        Ok(Some(Statement {
            verb,
            target,
            lower_case,
            assignments: assignments.written,
            filter,
            damaged: assignments.damaged,
        }))
    }

    fn target(&mut self) -> Parsed<(Name, bool)> {
        let span = self.cursor.span();
        if let (Some(word @ ("into" | "from")), TokenKind::Type(_)) =
            (self.cursor.word_ahead(0), self.cursor.kind_at(1))
        {
            let hint = format!("leave out `{word}`");
            let what = "the name of a node or edge type";
            return Err(self.cursor.unexpected_with(what, &hint));
        }
        let (text, lower_case) = match self.cursor.kind() {
            TokenKind::Type(text) => (text.clone(), false),
            TokenKind::Ident(text) => (text.clone(), true),
            _ => return Err(self.cursor.unexpected("the name of a node or edge type")),
        };
        self.cursor.bump();
        Ok((Name { text, span }, lower_case))
    }

    fn assignments(&mut self, what: &str) -> Parsed<Assignments> {
        let open = self.cursor.span();
        self.open("assignments stand in braces, `{ p: value }`")?;
        let mut assignments = Assignments::default();
        while !self.cursor.eat("}") {
            self.cursor
                .limit(assignments.written.len(), "assignments")?;
            match self.attempt(Self::assignment, "}", begins_assignment) {
                Ok(assignment) => assignments.written.push(assignment),
                Err(_) if self.cursor.at_end() || self.cursor.is_hopeless() => return Err(Failed),
                Err(_) => assignments.damaged = true,
            }
            self.cursor.eat(",");
        }
        if assignments.written.is_empty() && !assignments.damaged {
            self.empty(what, open);
        }
        Ok(assignments)
    }

    fn assignment(&mut self) -> Parsed<Assignment> {
        self.cursor.part(Part::Item);
        let name = self.cursor.expect_ident("the name of a property")?;
        self.cursor.expect(":")?;
        let value = if self.cursor.at("{") {
            self.members()?
        } else {
            AssignedValue::Expr(self.expr()?)
        };
        Ok(Assignment { name, value })
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

/// What stands between the braces of a statement.
#[derive(Default)]
struct Assignments {
    written: Vec<Assignment>,
    damaged: bool,
}

fn begins_assignment(cursor: &Cursor) -> bool {
    cursor.at(",") || (cursor.word_ahead(0).is_some() && cursor.at_ahead(1, ":"))
}

fn begins_statement(cursor: &Cursor) -> bool {
    matches!(
        cursor.word_ahead(0),
        Some("insert" | "upsert" | "update" | "delete" | "match")
    )
}
