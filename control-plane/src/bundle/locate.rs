//! Where a key stands in a YAML text. The YAML library tells the place of syntax errors only, so
//! keys that it has read are looked up in the text again: by their path, through the indentation.

use std::collections::HashMap;

use crate::finding::Place;

/// One line with content.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Byte offset and number, from 1, of the line.
    start: usize,
    number: usize,
    indent: usize,
    content: &'a str,
}

/// A text whose keys can be looked up. Built once, in one pass: a lookup costs its path only, so
/// that large files are read in linear time.
pub(super) struct Index<'a> {
    file: &'a str,
    text: &'a str,
    lines: Vec<Line<'a>>,
    /// Lines by the line that they are indented under and their key.
    keys: HashMap<(Option<usize>, &'a str), Vec<usize>>,
}

/// Lines under a key that are searched for a flow mapping.
const FLOW_LINES: usize = 64;

impl<'a> Index<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let lines = lines(text);
        let mut keys: HashMap<_, Vec<usize>> = HashMap::new();
        let mut above: Vec<usize> = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            while above
                .last()
                .is_some_and(|last| lines[*last].indent >= line.indent)
            {
                above.pop();
            }
            if let Some(key) = key_of(line.content) {
                let under = above.last().copied();
                keys.entry((under, key)).or_default().push(at);
            }
            above.push(at);
        }
        Self {
            file,
            text,
            lines,
            keys,
        }
    }

    /// The place of the key that `path` leads to, of its `nth` occurrence, or of the nearest key on
    /// the way.
    pub(super) fn locate(&self, path: &[&str], nth: usize) -> Place {
        let mut place = Place {
            file: self.file.to_owned(),
            line: 1,
            column: 1,
            ..Place::default()
        };
        let mut under = None;
        for (depth, key) in path.iter().enumerate() {
            let skip = if depth + 1 == path.len() { nth } else { 0 };
            let found = self.keys.get(&(under, *key)).and_then(|at| at.get(skip));
            if let Some(at) = found {
                place = self.span(&self.lines[*at], 0, key.len());
                under = Some(*at);
                continue;
            }
            match self.flow(under, key) {
                Some((at, column)) => {
                    place = self.span(&self.lines[at], column, key.len());
                    under = Some(at);
                }
                None => break,
            }
        }
        place
    }

    /// A key in a flow mapping, on the line of the key above or on those below it.
    fn flow(&self, under: Option<usize>, key: &str) -> Option<(usize, usize)> {
        let first = under.unwrap_or(0);
        let level = under.map(|at| self.lines[at].indent);
        let inside = |(at, line): &(usize, &Line<'_>)| {
            *at == first || level.is_none_or(|level| line.indent > level)
        };
        let mut lines = self.lines.iter().enumerate().skip(first).take(FLOW_LINES);
        let lines = lines.by_ref().take_while(inside);
        lines
            .filter_map(|(at, line)| Some((at, flow_key(line.content, key)?)))
            .next()
    }

    fn span(&self, line: &Line<'_>, at: usize, width: usize) -> Place {
        span(self.file, self.text, line, at, width)
    }
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut start = 0;
    let mut found = Vec::new();
    for (index, raw) in text.split('\n').enumerate() {
        let trimmed = raw.trim_start_matches([' ', '-']);
        let content = trimmed.trim_end();
        if !content.is_empty() && !content.starts_with('#') {
            found.push(Line {
                start,
                number: index + 1,
                indent: raw.len() - trimmed.len(),
                content,
            });
        }
        start += raw.len() + 1;
    }
    found
}

/// The key at the beginning of a block line.
fn key_of(content: &str) -> Option<&str> {
    let (key, rest) = match content.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split_once(['"', '\''])?,
        None => content.split_at(content.find(':')?),
    };
    let rest = rest.trim_start().strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(key.trim_end())
}

/// Where a key stands in a flow mapping: `{ key: … }`.
fn flow_key(content: &str, key: &str) -> Option<usize> {
    content.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = content[..*at].trim_end_matches(['"', '\'', ' ']);
        let after = content[at + key.len()..].trim_start_matches(['"', '\'', ' ']);
        before.ends_with(['{', ',']) && after.starts_with(':')
    })
}

fn span(file: &str, text: &str, line: &Line<'_>, at: usize, width: usize) -> Place {
    let quoted = usize::from(at == 0 && line.content.starts_with(['"', '\'']));
    let start = line.start + line.indent + at + quoted;
    let column = text[line.start..start].chars().count() + 1;
    Place {
        file: file.to_owned(),
        start: start as u64,
        end: (start + width) as u64,
        line: u32::try_from(line.number).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version: 1\n# graphs: no\ngraphs:\n  a:\n    schema: a.pg\n  \"b\":\n    schema: b.pg\n    retention: { commits: 5, age: 3d }\n  a:\n    x: 1\n";

    fn at(path: &[&str], nth: usize) -> (u32, u32) {
        let place = Index::new("cluster.yaml", TEXT).locate(path, nth);
        (place.line, place.column)
    }

    #[test]
    fn keys_are_found_by_their_path() {
        assert_eq!(at(&["version"], 0), (1, 1));
        assert_eq!(at(&["graphs"], 0), (3, 1));
        assert_eq!(at(&["graphs", "a", "schema"], 0), (5, 5));
        assert_eq!(at(&["graphs", "b"], 0), (6, 4));
        assert_eq!(at(&["graphs", "b", "schema"], 0), (7, 5));
        assert_eq!(at(&["graphs", "b", "retention", "age"], 0), (8, 30));
        assert_eq!(at(&["graphs", "a"], 1), (9, 3));
    }

    #[test]
    fn what_is_not_there_is_shown_at_its_parent() {
        assert_eq!(at(&["graphs", "a", "nothing"], 0), (4, 3));
        assert_eq!(at(&["nothing"], 0), (1, 1));
    }
}
