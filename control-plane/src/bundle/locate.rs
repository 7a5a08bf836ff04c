//! Where a key stands in a YAML text. The YAML library tells the place of syntax errors only, so
//! keys that it has read are looked up in the text again: by their path, through the indentation.

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

/// The place of the key that `path` leads to, of its `nth` occurrence, or of the nearest key on
/// the way.
pub(super) fn locate(file: &str, text: &str, path: &[&str], nth: usize) -> Place {
    let lines = lines(text);
    let mut region: &[Line<'_>] = &lines;
    let mut place = Place {
        file: file.to_owned(),
        line: 1,
        column: 1,
        ..Place::default()
    };
    for (depth, key) in path.iter().enumerate() {
        let skip = if depth + 1 == path.len() { nth } else { 0 };
        let Some(first) = region.first() else { break };
        let level = first.indent;
        let mut matches = region
            .iter()
            .enumerate()
            .filter(|(_, line)| line.indent == level && key_of(line.content) == Some(*key));
        if let Some((index, line)) = matches.nth(skip) {
            place = span(file, text, line, 0, key.len());
            let rest = &region[index + 1..];
            let inner = rest.iter().take_while(|l| l.indent > level).count();
            // A value on the same line, `{ … }`, is searched from there.
            region = if inner == 0 {
                &region[index..=index]
            } else {
                &rest[..inner]
            };
            continue;
        }
        let flow = region
            .iter()
            .find_map(|line| Some((line, flow_key(line.content, key)?)));
        match flow {
            Some((line, at)) => place = span(file, text, line, at, key.len()),
            None => break,
        }
    }
    place
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
        let place = locate("cluster.yaml", TEXT, path, nth);
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
