//! Findings about a configuration: one shape for YAML, schemas and queries.
//!
//! | code | meaning |
//! |---|---|
//! | C101 | a file is no valid YAML, or no UTF-8 text |
//! | C102 | a key is given twice |
//! | C103 | a key is not known |
//! | C104 | a key is reserved |
//! | C105 | a value is missing or of the wrong kind |
//! | C106 | a path leaves the directory |
//! | C107 | a file is missing |
//! | C108 | two queries of a graph have the same name |
//! | C109 | something is not supported yet |
//! | C110 | a name breaks its rules |
//! | C111 | there is too much of something |
//! | C112 | a file cannot be read |
//! | C113 | something that is named is not declared |
//! | C114 | a secret stands in the configuration |

use omnigraph_proto::common::v1::{Diagnostic, SourceSpan, diagnostic::Severity};

/// A place in a file.
pub(crate) type Place = SourceSpan;

/// An error at a place.
pub(crate) fn error(code: &str, place: Option<Place>, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        severity: Severity::Error.into(),
        message: message.into(),
        span: place,
        ..Diagnostic::default()
    }
}

/// A warning that belongs to no place.
pub(crate) fn warning(code: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning.into(),
        ..error(code, None, message)
    }
}

/// Adds what to do about it.
pub(crate) fn hinted(mut finding: Diagnostic, hint: impl Into<String>) -> Diagnostic {
    finding.hints.push(hint.into());
    finding
}

pub(crate) fn is_error(finding: &Diagnostic) -> bool {
    finding.severity() == Severity::Error
}

/// What a language says about a file.
pub(crate) fn of_language(found: &omnigraph_lang::Diagnostic, file: &str) -> Diagnostic {
    let severity = match found.severity {
        omnigraph_lang::Severity::Error => Severity::Error,
        omnigraph_lang::Severity::Warning => Severity::Warning,
    };
    let span = match found.span {
        Some(span) => Place {
            file: file.to_owned(),
            start: span.start.into(),
            end: span.end.into(),
            line: span.line,
            column: span.column,
        },
        None => Place {
            file: file.to_owned(),
            ..Place::default()
        },
    };
    Diagnostic {
        code: found.code.as_str().to_owned(),
        severity: severity.into(),
        message: found.message.clone(),
        span: Some(span),
        path: found.path.clone().unwrap_or_default(),
        line: found.line.unwrap_or_default(),
        param: found.param.clone().unwrap_or_default(),
        hints: found.hints.clone(),
    }
}

/// One line for people: `unknown property Package.vendor (queries/vendor.gq:3:12)`.
pub(crate) fn line(finding: &Diagnostic) -> String {
    match &finding.span {
        Some(place) if place.line > 0 => format!(
            "{} ({}:{}:{})",
            finding.message, place.file, place.line, place.column
        ),
        Some(place) if !place.file.is_empty() => format!("{} ({})", finding.message, place.file),
        _ => finding.message.clone(),
    }
}
