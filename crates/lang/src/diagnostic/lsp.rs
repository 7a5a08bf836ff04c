//! Diagnostics in the shape of the language server protocol: lines and characters from 0, the
//! latter in UTF-16 code units.

use serde::Serialize;

use super::{Code, Diagnostic, Severity};

/// A `Diagnostic` of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LspDiagnostic {
    pub range: LspRange,
    /// 1 is an error, 2 a warning.
    pub severity: u8,
    pub code: Code,
    pub source: &'static str,
    /// With the hints, one a line.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LspRange {
    pub start: LspPosition,
    /// Exclusive.
    pub end: LspPosition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LspPosition {
    pub line: u32,
    pub character: u32,
}

/// The findings for an editor that shows `source`. One without a place is put at the beginning.
#[must_use]
pub fn to_lsp(diagnostics: &[Diagnostic], source: &str) -> Vec<LspDiagnostic> {
    let lines = Lines::of(source);
    diagnostics
        .iter()
        .map(|diagnostic| {
            let (start, end) = diagnostic.span.map_or((0, 0), |s| (s.start, s.end));
            let mut message = diagnostic.message.clone();
            for hint in &diagnostic.hints {
                message.push_str("\nhint: ");
                message.push_str(hint);
            }
            LspDiagnostic {
                range: LspRange {
                    start: lines.position(start as usize),
                    end: lines.position(end as usize),
                },
                severity: match diagnostic.severity {
                    Severity::Error => 1,
                    Severity::Warning => 2,
                },
                code: diagnostic.code,
                source: "omnigraph",
                message,
            }
        })
        .collect()
}

struct Lines<'s> {
    source: &'s str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn of(source: &'s str) -> Self {
        let breaks = source.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            source,
            starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn position(&self, offset: usize) -> LspPosition {
        let mut offset = offset.min(self.source.len());
        while !self.source.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = &self.source[self.starts[line]..offset];
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        LspPosition {
            line: number(line),
            character: number(before.encode_utf16().count()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    #[test]
    fn positions_count_utf_16_from_0() {
        let source = "a\n\"\u{1d11e}ü\" bad";
        let start = source.find("bad").unwrap();
        let span = Span {
            start: u32::try_from(start).unwrap(),
            end: u32::try_from(start + 3).unwrap(),
            line: 2,
            column: 6,
        };
        let found = [
            Diagnostic::error(Code::P001, "no").at(span).hint("yes"),
            Diagnostic::warning(Code::W502, "somewhere"),
        ];
        assert_eq!(
            serde_json::to_value(to_lsp(&found, source)).unwrap(),
            serde_json::json!([
                {"range": {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 9}},
                 "severity": 1, "code": "P001", "source": "omnigraph", "message": "no\nhint: yes"},
                {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}},
                 "severity": 2, "code": "W502", "source": "omnigraph", "message": "somewhere"},
            ])
        );
    }
}
