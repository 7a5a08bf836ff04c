//! Tokens to formatted text.

use std::ops::Range;

use super::text::{Gap, Group, Text};
use crate::syntax::Comment;

/// Lines are not longer than this many characters if there is a place to break them.
const WIDTH: usize = 100;
const INDENT: usize = 4;

pub(super) fn print(text: &Text<'_>) -> String {
    let mut printer = Printer {
        text,
        out: String::new(),
        line: 0,
    };
    printer.declarations();
    printer.out
}

struct Printer<'t> {
    text: &'t Text<'t>,
    out: String,
    /// Where the current line begins in `out`.
    line: usize,
}

/// A part that is being printed on several lines.
struct Broken {
    part: Range<usize>,
    depth: usize,
    indent: usize,
}

impl<'t> Printer<'t> {
    fn declarations(&mut self) {
        let text = self.text;
        let mut last = None;
        let mut broken = false;
        for part in text.parts(0, text.end(), 0) {
            let gap = text.gap(last, part.start);
            if last.is_some() {
                self.comments_behind(gap.trailing);
                self.newline(0);
            }
            let begin = self.out.len();
            self.leading(&gap, part.start, 0);
            last = Some(part.end - 1);
            let start = self.out.len();
            self.part(part, 0);
            let before = std::mem::replace(&mut broken, self.out[start..].contains('\n'));
            if begin > 0 && (before || broken || gap.blank || start > begin) {
                self.out.insert(begin, '\n');
                self.line += 1;
            }
        }
        let gap = text.gap(last, text.end());
        self.comments_behind(gap.trailing);
        if !gap.leading.is_empty() && last.is_some() {
            self.newline(0);
            if gap.blank || broken {
                self.newline(0);
            }
        }
        self.own_lines(gap.leading, 0);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// The comments before a part that stand on lines of their own.
    fn leading(&mut self, gap: &Gap<'_>, next: usize, indent: usize) {
        let Some(last) = gap.leading.last() else {
            return;
        };
        self.own_lines(gap.leading, indent);
        let begin = self.text.tokens()[next].span.start;
        if self.text.lines_between(last.span.end, begin) > 1 {
            self.newline(0);
        }
        self.newline(indent);
    }

    fn own_lines(&mut self, comments: &[Comment], indent: usize) {
        let mut end = None;
        for comment in comments {
            if let Some(end) = end {
                if self.text.lines_between(end, comment.span.start) > 1 {
                    self.newline(0);
                }
                self.newline(indent);
            }
            end = Some(comment.span.end);
            self.push(self.text.comment(comment));
        }
    }

    fn comments_behind(&mut self, comments: &[Comment]) {
        for comment in comments {
            self.out.push(' ');
            self.push(self.text.comment(comment));
        }
    }

    /// One part, from the current column on.
    fn part(&mut self, part: Range<usize>, indent: usize) {
        if let Some(flat) = self.flat(part.clone())
            && self.fits(&flat, 1)
        {
            self.push(&flat);
            return;
        }
        let text = self.text;
        let broken = Broken {
            depth: text.depth(part.start),
            part,
            indent,
        };
        let (start, end) = (broken.part.start, broken.part.end);
        let mut at = start;
        // Whether the places to break up to the next group are used, and whether one was.
        let mut breaks = !self.run_fits(&broken, start);
        let mut broke = false;
        while at < end {
            let group = text.group(at).0;
            let close = text.partner(at).filter(|_| group != Group::Flat);
            if at > start && !self.inner_comments(at, indent + INDENT) {
                if breaks && text.is_break(at, broken.depth) {
                    self.newline(indent + INDENT);
                    broke = true;
                } else if broke && group == Group::Lines && close.is_some_and(|c| c + 1 == end) {
                    self.newline(indent);
                } else if text.spaced(at) {
                    self.out.push(' ');
                }
            }
            match close {
                Some(close) => {
                    self.group(at, close, &broken);
                    at = close + 1;
                    breaks = !self.run_fits(&broken, at);
                }
                None => {
                    self.push(text.token(at));
                    at += 1;
                }
            }
        }
    }

    /// Comments inside of a part; gives whether the next token has its line or space already.
    fn inner_comments(&mut self, at: usize, indent: usize) -> bool {
        let text = self.text;
        let mut end = text.tokens()[at - 1].span.end;
        let comments = text.comments_in(at, at);
        for comment in comments {
            if text.lines_between(end, comment.span.start) > 0 {
                self.newline(indent);
            } else {
                self.out.push(' ');
            }
            end = comment.span.end;
            self.push(text.comment(comment));
        }
        if comments.is_empty() {
            return false;
        }
        if text.lines_between(end, text.tokens()[at].span.start) > 0 {
            self.newline(indent);
        } else {
            self.out.push(' ');
        }
        true
    }

    /// The end of what stands on one line with token `at`: before the next group of parts.
    fn run_end(&self, broken: &Broken, at: usize) -> usize {
        (at..broken.part.end)
            .find(|&i| {
                self.text.depth(i) == broken.depth
                    && self.text.partner(i).is_some()
                    && self.text.group(i).0 != Group::Flat
            })
            .unwrap_or(broken.part.end)
    }

    fn run_fits(&self, broken: &Broken, at: usize) -> bool {
        let flat = self.flat(at..self.run_end(broken, at));
        flat.is_some_and(|flat| self.fits(&flat, 3))
    }

    /// A group of parts, on one line or on several.
    fn group(&mut self, open: usize, close: usize, broken: &Broken) {
        let text = self.text;
        // What follows up to the next place to break stays on the line.
        let run = self.run_end(broken, close + 1);
        let end = (close + 1..run).find(|&i| text.is_break(i, broken.depth));
        let tail = self.flat(close + 1..end.unwrap_or(run));
        let tail = tail.map_or(0, |tail| tail.chars().count() + 3);
        if let Some(flat) = self.flat(open..close + 1)
            && self.fits(&flat, tail)
        {
            self.push(&flat);
            return;
        }
        self.push(text.token(open));
        let inner = broken.indent + INDENT;
        let parts = text.parts(open + 1, close, broken.depth + 1);
        let mut last = open;
        for (number, part) in parts.iter().enumerate() {
            let gap = text.gap(Some(last), part.start);
            self.comments_behind(gap.trailing);
            if number > 0 && gap.blank {
                self.newline(0);
            }
            self.newline(inner);
            self.leading(&gap, part.start, inner);
            self.part(part.clone(), inner);
            last = part.end - 1;
            let next = parts.get(number + 1).map(|p| p.start);
            if self.wants_comma(text.group(open).0, last, next) {
                self.out.push(',');
            }
        }
        let gap = text.gap(Some(last), close);
        self.comments_behind(gap.trailing);
        if !gap.leading.is_empty() {
            if gap.blank && !parts.is_empty() {
                self.newline(0);
            }
            self.newline(inner);
            self.own_lines(gap.leading, inner);
        }
        self.newline(broken.indent);
        self.push(text.token(close));
    }

    /// A comma stands behind the part that ends with token `last`.
    fn wants_comma(&self, group: Group, last: usize, next: Option<usize>) -> bool {
        match group {
            Group::Commas { trailing } => trailing || next.is_some(),
            // Between clauses only where it keeps them apart.
            _ => next.is_some_and(|next| {
                self.text.is_separator(last + 1) && !self.text.stands_alone(next)
            }),
        }
    }

    /// The tokens on one line; nothing if comments or parts forbid that.
    fn flat(&self, range: Range<usize>) -> Option<String> {
        let text = self.text;
        let mut out = String::new();
        for at in range.clone() {
            if at > range.start && !text.comments_in(at, at).is_empty() {
                return None;
            }
            let (group, parts) = text.group(at);
            if group == Group::Lines && (parts > 1 || text.has_sections(at)) {
                return None;
            }
            if text.is_separator(at) {
                continue;
            }
            if at > range.start && text.has_comma_before(at) {
                out.push_str(", ");
            } else if at > range.start && text.spaced(at) {
                out.push(' ');
            }
            out.push_str(text.token(at));
        }
        Some(out)
    }

    /// This much, and `tail` characters more, have place on the line.
    fn fits(&self, flat: &str, tail: usize) -> bool {
        let first = flat.split('\n').next().unwrap_or_default();
        let column = self.out[self.line..].chars().count();
        let tail = if first.len() == flat.len() { tail } else { 0 };
        column + first.chars().count() + tail <= WIDTH
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        if let Some(at) = text.rfind('\n') {
            self.line = self.out.len() - text.len() + at + 1;
        }
    }

    fn newline(&mut self, indent: usize) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.line = self.out.len();
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}
