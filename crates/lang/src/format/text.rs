//! A parsed text as the printer sees it: tokens, brackets, parts, comments.

use std::ops::Range;

use crate::syntax::{Comment, Layout, Part, Token, TokenKind};

pub(super) struct Text<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
    layout: Layout,
    /// By token: for an opening bracket the closing one.
    partner: Vec<Option<usize>>,
    /// By token: brackets around it. A bracket itself is outside.
    depth: Vec<usize>,
    /// By token: what it has to do with the commas between parts.
    comma: Vec<Comma>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comma {
    None,
    /// It is one, and printed only where the printer wants one.
    Separator,
    /// It begins a part that has a comma before it.
    Before,
}

/// What stands between two tokens.
pub(super) struct Gap<'t> {
    /// Comments on the line on which the first token ends.
    pub(super) trailing: &'t [Comment],
    pub(super) leading: &'t [Comment],
    /// A blank line is before the leading comments, or before the second token if there are none.
    pub(super) blank: bool,
}

/// How the parts between two brackets are separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// There are no parts: everything stands on one line.
    Flat,
    /// One part per line.
    Lines,
    /// Commas: on one line if they fit. `trailing`: the last part may have one, too.
    Commas { trailing: bool },
}

impl<'s> Text<'s> {
    pub(super) fn new(
        source: &'s str,
        tokens: Vec<Token>,
        comments: Vec<Comment>,
        layout: Layout,
    ) -> Self {
        let mut partner = vec![None; tokens.len()];
        let mut depth = Vec::with_capacity(tokens.len());
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                TokenKind::Punct("{" | "(" | "[") => {
                    depth.push(open.len());
                    open.push(at);
                }
                TokenKind::Punct("}" | ")" | "]") => {
                    if let Some(opening) = open.pop() {
                        partner[opening] = Some(at);
                    }
                    depth.push(open.len());
                }
                _ => depth.push(open.len()),
            }
        }
        let mut text = Self {
            source,
            comma: vec![Comma::None; tokens.len()],
            tokens,
            comments,
            layout,
            partner,
            depth,
        };
        text.find_commas();
        text
    }

    fn find_commas(&mut self) {
        for open in 0..self.tokens.len() {
            let (Some(close), (group, _)) = (self.partner[open], self.group(open)) else {
                continue;
            };
            if group == Group::Flat {
                continue;
            }
            let parts = self.parts(open + 1, close, self.depth[open] + 1);
            let starts = parts.iter().skip(1).map(|p| p.start).chain([close]);
            for (part, next) in parts.iter().zip(starts) {
                for at in part.end..next {
                    self.comma[at] = Comma::Separator;
                }
                if next < close && group != Group::Lines {
                    self.comma[next] = Comma::Before;
                }
            }
        }
    }

    /// A comma between parts, which is printed only where the printer wants one.
    pub(super) fn is_separator(&self, at: usize) -> bool {
        self.comma[at] == Comma::Separator
    }

    /// A part begins here that a comma separates from the one before.
    pub(super) fn has_comma_before(&self, at: usize) -> bool {
        self.comma[at] == Comma::Before
    }

    /// Between token `last` (or the beginning of the text) and token `next`.
    pub(super) fn gap(&self, last: Option<usize>, next: usize) -> Gap<'_> {
        let comments = self.comments_in(last.map_or(0, |at| at + 1), next);
        let mut end = last.map_or(0, |at| self.tokens[at].span.end);
        let mut trailing = 0;
        while last.is_some()
            && let Some(comment) = comments.get(trailing)
            && self.lines_between(end, comment.span.start) == 0
        {
            end = comment.span.end;
            trailing += 1;
        }
        let (trailing, leading) = comments.split_at(trailing);
        let begin = leading
            .first()
            .map_or(self.tokens[next].span, |c| c.span)
            .start;
        Gap {
            trailing,
            leading,
            blank: last.is_some() && self.lines_between(end, begin) > 1,
        }
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn comments(&self) -> &[Comment] {
        &self.comments
    }

    /// The position of the token that ends the text.
    pub(super) fn end(&self) -> usize {
        self.tokens.len() - 1
    }

    pub(super) fn token(&self, at: usize) -> &'s str {
        let span = self.tokens[at].span;
        let text = self.source.get(span.start as usize..span.end as usize);
        text.unwrap_or_default()
    }

    pub(super) fn comment(&self, comment: &Comment) -> &'s str {
        let span = comment.span;
        let text = self.source.get(span.start as usize..span.end as usize);
        text.unwrap_or_default().trim_end()
    }

    fn is(&self, at: usize, punct: &str) -> bool {
        matches!(self.tokens[at].kind, TokenKind::Punct(p) if p == punct)
    }

    /// The closing bracket, if this token is an opening one.
    pub(super) fn partner(&self, at: usize) -> Option<usize> {
        self.partner[at]
    }

    pub(super) fn is_break(&self, at: usize, depth: usize) -> bool {
        self.depth[at] == depth && self.layout.part_at(at) == Some(Part::Break)
    }

    pub(super) fn depth(&self, at: usize) -> usize {
        self.depth[at]
    }

    /// The parts between two tokens, without the commas that separate them.
    pub(super) fn parts(&self, open: usize, close: usize, depth: usize) -> Vec<Range<usize>> {
        let starts: Vec<usize> = self
            .layout
            .parts(open, close)
            .iter()
            .filter(|(at, part)| self.depth[*at] == depth && *part != Part::Break)
            .map(|(at, _)| *at)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([close]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, mut end)| {
                while end > start + 1 && self.is(end - 1, ",") {
                    end -= 1;
                }
                *start..end
            })
            .collect()
    }

    /// How the parts behind this opening bracket are separated, and how many there are.
    pub(super) fn group(&self, open: usize) -> (Group, usize) {
        let Some(close) = self.partner[open] else {
            return (Group::Flat, 0);
        };
        let inside = self.depth[open] + 1;
        let parts = self.layout.parts(open + 1, close).iter();
        let mut own = parts.filter(|(at, part)| self.depth[*at] == inside && *part != Part::Break);
        let Some((_, first)) = own.next() else {
            return (Group::Flat, 0);
        };
        let kind = match first {
            Part::Item => Group::Commas { trailing: true },
            Part::LastItem => Group::Commas { trailing: false },
            _ => Group::Lines,
        };
        (kind, 1 + own.count())
    }

    /// A query is never written on one line.
    pub(super) fn has_sections(&self, open: usize) -> bool {
        self.layout.part_at(open + 1) == Some(Part::Section)
    }

    /// The comments between two neighbouring tokens, or with commas between them.
    pub(super) fn comments_in(&self, after: usize, before: usize) -> &[Comment] {
        let from = self.comments.partition_point(|c| c.before < after);
        let to = self.comments.partition_point(|c| c.before <= before);
        &self.comments[from..to.max(from)]
    }

    /// Line breaks between two places of the source.
    pub(super) fn lines_between(&self, from: u32, to: u32) -> usize {
        let between = self.source.get(from as usize..to as usize);
        between.map_or(0, |text| text.matches('\n').count())
    }

    /// A space belongs between two neighbouring tokens.
    pub(super) fn spaced(&self, at: usize) -> bool {
        if at == 0 || self.layout.is_tight(at) {
            return false;
        }
        let (left, right) = (&self.tokens[at - 1].kind, &self.tokens[at].kind);
        let punct = |kind: &TokenKind| match kind {
            TokenKind::Punct(punct) => *punct,
            _ => "",
        };
        match (punct(left), punct(right)) {
            (_, "," | ")" | "]" | "?" | "." | ":") | ("(" | "[" | "." | "..", _) => false,
            ("{", "}") => false,
            (before, "..") => before == ",",
            _ => true,
        }
    }

    /// Without its comma, the part before would not take in what begins here.
    pub(super) fn stands_alone(&self, at: usize) -> bool {
        match (&self.tokens[at].kind, self.tokens.get(at + 1)) {
            (TokenKind::Var(_), _) => true,
            (TokenKind::Ident(word), Some(next)) => match word.as_str() {
                "not" | "optional" => next.kind == TokenKind::Punct("{"),
                "path" => matches!(next.kind, TokenKind::Var(_)),
                _ => false,
            },
            _ => false,
        }
    }
}
