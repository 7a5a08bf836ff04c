//! What a parser knows about the tokens of a text and a formatter has to know.

/// Collected while parsing; positions are those of tokens, ascending.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    parts: Vec<(usize, Part)>,
    tight: Vec<usize>,
}

/// What begins at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A declaration of a schema, or a query.
    Declaration,
    /// A property or a constraint.
    Member,
    /// `match`, `return`, `order` and the like, or a statement.
    Section,
    /// A part of a block in `match`.
    Clause,
    /// One of several that commas separate; the last one may have a comma, too.
    Item,
    /// One of several that commas separate; no comma follows the last one.
    LastItem,
    /// A long line may be broken before this token.
    Break,
}

impl Layout {
    pub(crate) fn part(&mut self, at: usize, part: Part) {
        self.parts.push((at, part));
    }

    pub(crate) fn tight(&mut self, at: usize) {
        self.tight.push(at);
    }

    /// The parts that begin at the tokens from `start` up to `end`, exclusive.
    pub(crate) fn parts(&self, start: usize, end: usize) -> &[(usize, Part)] {
        let from = self.parts.partition_point(|(at, _)| *at < start);
        let to = self.parts.partition_point(|(at, _)| *at < end);
        &self.parts[from..to.max(from)]
    }

    pub(crate) fn part_at(&self, at: usize) -> Option<Part> {
        self.parts(at, at + 1).first().map(|(_, part)| *part)
    }

    /// No space stands before this token.
    pub(crate) fn is_tight(&self, at: usize) -> bool {
        self.tight.binary_search(&at).is_ok()
    }
}
