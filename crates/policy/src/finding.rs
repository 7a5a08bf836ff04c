//! What is wrong with a policy file, and where.
//!
//! | code | meaning |
//! |---|---|
//! | C201 | the file is no YAML that can be read |
//! | C202 | a key is given twice |
//! | C203 | a key is not known |
//! | C204 | a value is missing or of the wrong kind |
//! | C205 | an action is not known |
//! | C206 | a scope is not known, or does not fit |
//! | C207 | a group is not known |
//! | C208 | an id or a name is blank or used twice |
//! | C209 | kinds are mixed |
//! | C210 | `types` or `queries` where they do not fit |
//! | C211 | the Cedar text is refused |
//! | C212 | a warning: a rule that can never match |

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable word.
    pub code: &'static str,
    /// Whether the file can be used all the same.
    pub warning: bool,
    /// For people.
    pub message: String,
    /// Where.
    pub place: Place,
    /// The rule or case that it is about.
    pub rule: Option<String>,
    /// What to do about it, where the message does not say it.
    pub hint: Option<String>,
}

/// A stretch of text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset behind the last one.
    pub end: usize,
    /// Line of the start.
    pub line: u32,
    /// Column of the start.
    pub column: u32,
}

/// Collects findings.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    /// The rule that is being read.
    pub(crate) rule: Option<String>,
}

impl Findings {
    pub(crate) fn error(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        self.push(code, place, message.into(), None);
    }

    pub(crate) fn hinted(
        &mut self,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(code, place, message.into(), Some(hint.into()));
    }

    fn push(&mut self, code: &'static str, place: Place, message: String, hint: Option<String>) {
        let message = match &self.rule {
            Some(rule) => format!("rule '{rule}': {message}"),
            None => message,
        };
        self.list.push(Finding {
            code,
            warning: false,
            message,
            place,
            rule: self.rule.clone(),
            hint,
        });
    }

    /// In the order of the text.
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|f| (f.place.start, f.code));
        self.list
    }
}
