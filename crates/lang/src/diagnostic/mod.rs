//! What the languages have to say about a text, a plan or data.

pub mod catalogue;
mod codes;
mod lsp;
mod render;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use lsp::{LspDiagnostic, LspPosition, LspRange, to_lsp};
pub use render::render_all;

/// A stable code such as `S110`: its meaning never changes. Families: P syntax, S schema,
/// M migration, Q queries, W warnings, R run time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A part of a source text. Byte offsets, end exclusive, at least one byte wide; line and column
/// (in characters) count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    pub start: u32,
    pub end: u32,
    pub line: u32,
    pub column: u32,
}

/// One finding. Where `span` is absent, one of `path`, `line` and `param` may say where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// Lower case, without a full stop.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// A schema element, as `Package.kb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A line of an NDJSON input, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// A query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// What to do about it.
    #[serde(default)]
    pub hints: Vec<String>,
}

/// Characters of a message. Names in a source may be as long as the source.
const LONGEST_MESSAGE: usize = 1000;

fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Words for a message: the first of them, if they are many.
pub(crate) fn listed(words: &[String]) -> String {
    const SHOWN: usize = 12;
    match words.get(..SHOWN) {
        Some(first) if words.len() > SHOWN => {
            format!("{}, … ({} in all)", first.join(", "), words.len())
        }
        _ => words.join(", "),
    }
}

/// By place in the source; of equal ones only the first stays.
pub(crate) fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|d| (d.span, d.code));
    diagnostics.dedup();
}

impl Diagnostic {
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: shortened(message.into()),
            span: None,
            path: None,
            line: None,
            param: None,
            hints: Vec::new(),
        }
    }

    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(shortened(hint.into()));
        self
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line, as for a log: `S110 error: … (3:14)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.severity, self.message)?;
        if let Some(span) = self.span {
            write!(f, " ({}:{})", span.line, span.column)?;
        } else if let Some(path) = &self.path {
            write!(f, " ({path})")?;
        } else if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        } else if let Some(param) = &self.param {
            write!(f, " (${param})")?;
        }
        Ok(())
    }
}

impl Code {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// What the code stands for.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        catalogue::find(self.0).map_or("", |entry| entry.meaning)
    }

    /// The code with this spelling, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Code> {
        let found = catalogue::find(text).filter(|entry| entry.code == text);
        found.map(|entry| Code(entry.code))
    }

    /// Every code there is, by family and number.
    pub fn all() -> impl Iterator<Item = Code> {
        catalogue::entries().map(|entry| Code(entry.code))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Code::parse(&text).ok_or_else(|| de::Error::custom(format!("unknown code {text}")))
    }
}
