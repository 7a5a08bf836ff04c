//! Conditional requests and ranges.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName};
use omnigraph_proto::data::v1::{ByteRange, StartEnd, byte_range};

/// What a request asks of a blob's tag, and which part it wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    /// Without quotes; empty for what is no strong tag, which no blob has.
    pub(super) if_range: Option<String>,
    pub(super) range: Option<Range>,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    /// Each with whether it is weak.
    List(Vec<(bool, String)>),
    Malformed,
}

/// One range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// From the first to the last byte, both included; none: to the end.
    Span(u64, Option<u64>),
    Suffix(u64),
}

impl Range {
    pub(super) fn wire(self) -> ByteRange {
        let range = match self {
            Range::Span(start, last) => byte_range::Range::Span(StartEnd {
                start,
                end: last.map(|last| last.saturating_add(1)),
            }),
            Range::Suffix(last) => byte_range::Range::Suffix(last),
        };
        ByteRange { range: Some(range) }
    }
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let range = range(headers);
        Conditions {
            if_match: tags(headers, &IF_MATCH),
            if_none_match: tags(headers, &IF_NONE_MATCH),
            if_range: if_range(headers).filter(|_| range.is_some()),
            range,
        }
    }

    /// Whether the tag decides about the answer.
    pub(super) fn any(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// `If-Match`: strong comparison; malformed never holds.
    pub(super) fn matches(&self, etag: &str) -> bool {
        match &self.if_match {
            None | Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|(weak, tag)| !weak && tag == etag),
            Some(Tags::Malformed) => false,
        }
    }

    /// `If-None-Match`: weak comparison; malformed is no tag of this blob.
    pub(super) fn is_known(&self, etag: &str) -> bool {
        match &self.if_none_match {
            Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|(_, tag)| tag == etag),
            Some(Tags::Malformed) | None => false,
        }
    }
}

/// All values of a header as one list.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    if !headers.contains_key(name) {
        return None;
    }
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let Ok(text) = value.to_str() else {
            return Some(Tags::Malformed);
        };
        all.push(text);
    }
    let text = all.join(",");
    if text.trim() == "*" {
        return Some(Tags::Any);
    }
    Some(list(&text).map_or(Tags::Malformed, Tags::List))
}

fn list(text: &str) -> Option<Vec<(bool, String)>> {
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let (tag, after) = entity_tag(rest)?;
        tags.push(tag);
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// A tag at the beginning of the text, and what comes after it.
fn entity_tag(text: &str) -> Option<((bool, String), &str)> {
    let (weak, text) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (tag, after) = text.strip_prefix('"')?.split_once('"')?;
    let allowed = |c: char| c == '!' || ('#'..='~').contains(&c);
    tag.chars()
        .all(allowed)
        .then(|| ((weak, tag.to_owned()), after))
}

/// The strong tag of `If-Range`. Dates, weak tags and lists are never current.
fn if_range(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(IF_RANGE).iter();
    let first = values.next()?;
    let tag = match (first.to_str(), values.next()) {
        (Ok(text), None) => entity_tag(text.trim()),
        _ => None,
    };
    Some(match tag {
        Some(((false, tag), "")) if !tag.is_empty() => tag,
        // Not empty, because an empty one would be no condition.
        _ => "-".to_owned(),
    })
}

/// One range of bytes; several, another unit and what is malformed count as none.
fn range(headers: &HeaderMap) -> Option<Range> {
    let mut values = headers.get_all(RANGE).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (unit, ranges) = text.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    match (first, last) {
        ("", last) => number(last).map(Range::Suffix),
        (first, "") => number(first).map(|first| Range::Span(first, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::Span(first, Some(last)))
        }
    }
}

/// Digits only. A number that is too large is larger than any blob.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(pairs: &[(HeaderName, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers)
    }

    #[test]
    fn if_match_is_strong_and_if_none_match_weak() {
        for (value, matches, known) in [
            ("\"a\"", true, true),
            ("\"b\", \"a\"", true, true),
            ("\"b\",,\"a\" ,", true, true),
            ("*", true, true),
            ("W/\"a\"", false, true),
            ("\"b\"", false, false),
            ("a", false, false),
            ("\"a", false, false),
            ("\"a\" \"b\"", false, false),
            ("w/\"a\"", false, false),
            ("", false, false),
            ("\"A\"", false, false),
        ] {
            let conditions = of(&[(IF_MATCH, value)]);
            assert_eq!(conditions.matches("a"), matches, "{value}");
            let conditions = of(&[(IF_NONE_MATCH, value)]);
            assert_eq!(conditions.is_known("a"), known, "{value}");
        }
        assert!(of(&[]).matches("a") && !of(&[]).is_known("a") && !of(&[]).any());
        let two = of(&[(IF_MATCH, "\"b\""), (IF_MATCH, "\"a\"")]);
        assert!(two.matches("a"));
    }

    #[test]
    fn one_range_of_bytes_or_none() {
        for (value, expected) in [
            ("bytes=0-0", Some(Range::Span(0, Some(0)))),
            ("bytes=5-", Some(Range::Span(5, None))),
            ("bytes=-7", Some(Range::Suffix(7))),
            ("Bytes= 1-2 ", Some(Range::Span(1, Some(2)))),
            ("bytes=-0", Some(Range::Suffix(0))),
            (
                "bytes=99999999999999999999-",
                Some(Range::Span(u64::MAX, None)),
            ),
            ("bytes=2-1", None),
            ("bytes=0-1,3-4", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("lines=0-1", None),
            ("0-1", None),
        ] {
            assert_eq!(of(&[(RANGE, value)]).range, expected, "{value}");
        }
        assert_eq!(
            of(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")]).range,
            None
        );
    }

    #[test]
    fn only_one_strong_tag_is_a_condition_that_can_hold() {
        let range = (RANGE, "bytes=0-1");
        let tag = |value| of(&[range.clone(), (IF_RANGE, value)]).if_range;
        assert_eq!(tag("\"a\"").as_deref(), Some("a"));
        for value in [
            "W/\"a\"",
            "\"a\", \"b\"",
            "Sun, 22 Nov 2026 14:00:00 GMT",
            "a",
            "\"\"",
            "*",
        ] {
            assert_eq!(tag(value).as_deref(), Some("-"), "{value}");
        }
        assert_eq!(of(&[(IF_RANGE, "\"a\"")]).if_range, None);
    }
}
