//! All codes with what they mean, where they come from and what to do. The reference for users and
//! `explain-code` are made of this.

mod migration;
mod query;
mod runtime;
mod schema;
mod syntax;

use serde::Serialize;

/// A code that has once been released keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub code: &'static str,
    /// In one line.
    pub meaning: &'static str,
    pub cause: &'static str,
    pub remedy: &'static str,
}

const fn entry(
    code: &'static str,
    meaning: &'static str,
    cause: &'static str,
    remedy: &'static str,
) -> Entry {
    Entry {
        code,
        meaning,
        cause,
        remedy,
    }
}

/// The families and their entries, by number.
pub(super) const FAMILIES: [(&str, &[Entry]); 5] = [
    ("syntax, of both languages", syntax::ENTRIES),
    ("schemas", schema::ENTRIES),
    ("migrations", migration::ENTRIES),
    ("queries", query::ENTRIES),
    ("data, parameters and execution", runtime::ENTRIES),
];

/// Every entry, by family and number.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.into_iter().flat_map(|(_, entries)| entries)
}

/// The entry of a code, in any case.
#[must_use]
pub fn find(code: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.code.eq_ignore_ascii_case(code))
}

/// The code that was probably meant by a text that is none.
#[must_use]
pub fn nearest(text: &str) -> Option<&'static str> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let same_number = entries().find(|e| !digits.is_empty() && e.code[1..] == *digits);
    same_number
        .map(|e| e.code)
        .or_else(|| crate::syntax::closest(text, entries().map(|e| e.code)))
}

/// The catalogue as a page of the reference.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for (name, entries) in FAMILIES {
        let mut letters: Vec<&str> = entries.iter().map(|e| &e.code[..1]).collect();
        letters.dedup();
        out.push_str(&format!("\n## {}: {name}\n", letters.join(", ")));
        for entry in entries {
            out.push_str(&format!(
                "\n### {}\n\n**{}.** {}\n\n*Remedy:* {}\n",
                entry.code, entry.meaning, entry.cause, entry.remedy
            ));
        }
    }
    out
}

const HEAD: &str = "# Diagnostic codes

This page is made of the catalogue that `omnigraphctl explain-code CODE` prints; a test keeps the two equal.

Every finding about a schema, a query, a plan or data has a code. Codes keep their meaning; the wording of messages may change. Codes of family W are warnings, all others are errors.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn every_code_is_explained_once() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in entries() {
            assert!(seen.insert(entry.code), "{} twice", entry.code);
            assert!(!entry.meaning.is_empty() && !entry.meaning.ends_with('.'));
            for text in [entry.cause, entry.remedy] {
                assert!(text.ends_with('.'), "{}: {text}", entry.code);
                assert!(
                    text.starts_with(|c: char| c.is_uppercase() || c == '`'),
                    "{}",
                    entry.code
                );
            }
            assert_eq!(Code::parse(entry.code).map(Code::as_str), Some(entry.code));
        }
        for (_, entries) in FAMILIES {
            assert!(entries.is_sorted_by_key(|e| (e.code.as_bytes()[0] == b'W', e.code)));
        }
    }

    #[test]
    fn codes_are_found_in_any_case_and_nearly() {
        assert_eq!(find("s110").map(|e| e.code), Some("S110"));
        assert_eq!(find("S999"), None);
        assert_eq!(nearest("202"), Some("Q202"));
        assert_eq!(nearest("E202"), Some("Q202"));
        assert_eq!(nearest("Q20"), Some("Q201"));
        assert_eq!(nearest("nonsense"), None);
    }

    #[test]
    fn the_reference_has_all_codes() {
        let page = markdown();
        for code in Code::all() {
            assert!(page.contains(&format!("\n### {code}\n")), "{code}");
        }
    }
}
