//! Findings with the line of source that they are about.

use std::collections::BTreeMap;

use omnigraph_lang::Diagnostic;
use omnigraph_proto::control::v1::ConfigBundle;
use omnigraph_proto::error::DiagnosticOutput;

use crate::error::{Error, diagnostic_line};

/// Source texts that this program has at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: BTreeMap<String, String>,
    /// What findings without a file are about.
    only: Option<String>,
}

impl Sources {
    /// One text, under the name that people know it by.
    pub(crate) fn one(name: &str, text: &str) -> Sources {
        Sources {
            files: BTreeMap::from([(name.to_owned(), text.to_owned())]),
            only: Some(name.to_owned()),
        }
    }

    /// The files of a directory of declarations.
    pub(crate) fn bundle(bundle: &ConfigBundle) -> Sources {
        let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
        let files = bundle
            .files
            .iter()
            .map(|f| (f.path.clone(), text(&f.content)));
        Sources {
            files: files.collect(),
            only: None,
        }
    }

    /// The finding with place, source line and hint; without a known place, in one line.
    pub(crate) fn explain(&self, found: &DiagnosticOutput) -> String {
        self.excerpt(found)
            .unwrap_or_else(|| diagnostic_line(found))
    }

    fn excerpt(&self, found: &DiagnosticOutput) -> Option<String> {
        let span = found.span.as_ref().filter(|s| s.line > 0 && s.column > 0)?;
        let name = span.file.as_deref().or(self.only.as_deref())?;
        let text = self.files.get(name)?;
        let json = serde_json::to_value(found).ok()?;
        // Codes of other origins than the languages are shown in one line.
        let diagnostic: Diagnostic = serde_json::from_value(json).ok()?;
        Some(diagnostic.render(name, text).trim_end().to_owned())
    }

    /// Replaces the details of an error by findings with their source lines.
    pub(crate) fn show_in(&self, mut error: Error) -> Error {
        let found = error.detail.get("diagnostics").cloned();
        let found: Vec<DiagnosticOutput> = found
            .and_then(|json| serde_json::from_value(json).ok())
            .unwrap_or_default();
        if !found.iter().any(|d| self.excerpt(d).is_some()) {
            return error;
        }
        error.hint = error
            .hint
            .take()
            .filter(|hint| !found.iter().any(|d| d.hints.contains(hint)));
        error.details = match found.as_slice() {
            // The message says already what is wrong.
            [only] if error.message.contains(&only.message) => self
                .explain(only)
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect(),
            all => all
                .iter()
                .map(|d| format!("{}\n ", self.explain(d)))
                .collect(),
        };
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden::check;

    const BODY: &str = r#"{"error":"Q202: `Package` has no property `versoin`","code":"bad_request","request_id":"r","diagnostics":[{"code":"Q202","severity":"error","message":"`Package` has no property `versoin`","span":{"start":38,"end":45,"line":1,"column":39},"hints":["did you mean `version`?"]}]}"#;

    #[test]
    fn a_query_of_the_command_line() {
        let source = "query q() { match { $p: Package } return { $p.versoin } }";
        let body = BODY.replace("\"start\":38,\"end\":45", "\"start\":46,\"end\":53");
        let body = body.replace("\"column\":39", "\"column\":47");
        let error = Sources::one("-e", source).show_in(Error::from_http(400, &body));
        check("error-source.txt", &error.for_people());
    }

    #[test]
    fn what_has_no_source_stays_a_line() {
        let error = Sources::default().show_in(Error::from_http(400, BODY));
        assert_eq!(
            error.details,
            ["Q202  1:39  `Package` has no property `versoin`"]
        );
    }
}
