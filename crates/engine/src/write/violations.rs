//! What a write breaks: collected, bounded, in a defined order.

use std::collections::BTreeMap;

use omnigraph_lang::{Code, Diagnostic};

use crate::error::{EntityName, Error, ErrorKind};

/// The most findings that one answer lists.
const LISTED: usize = 100;

/// The checks in the order in which they are reported (schema language, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Shape,
    Key,
    Reference,
    Cardinality,
}

/// One finding.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) check: Check,
    pub(crate) type_name: String,
    /// The entity's id, empty where it has none yet.
    pub(crate) id: String,
    /// The line of a load.
    pub(crate) line: Option<u64>,
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Set where the id exists in the graph already: another status on the wire.
    pub(crate) exists: Option<EntityName>,
    /// A property, for the path of the diagnostic.
    pub(crate) property: Option<String>,
}

/// Findings of a load are sorted by line, those of a mutation by check, type and id; the counter
/// keeps equal ones apart.
type SortKey = (u64, Check, String, String, u64);

/// Keeps the first findings and counts all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Violations {
    first: BTreeMap<SortKey, Violation>,
    total: u64,
    /// How many of them say that an id exists in the graph.
    existing: u64,
    /// What a line number counts.
    unit: Unit,
}

/// What the places of findings count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    #[default]
    Line,
    /// Of columnar input.
    Row,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row => "row",
        }
    }
}

impl Violation {
    pub(crate) fn new(check: Check, type_name: &str, code: Code, message: String) -> Self {
        Self {
            check,
            type_name: type_name.to_owned(),
            id: String::new(),
            line: None,
            code,
            message,
            exists: None,
            property: None,
        }
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.id = id.to_owned();
        self
    }

    pub(crate) fn line(mut self, line: Option<u64>) -> Self {
        self.line = line;
        self
    }

    pub(crate) fn property(mut self, name: &str) -> Self {
        self.property = Some(name.to_owned());
        self
    }

    pub(crate) fn exists(mut self, entity: EntityName) -> Self {
        self.exists = Some(entity);
        self
    }

    fn into_diagnostic(self) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.code, self.message);
        if !self.type_name.is_empty() {
            diagnostic = diagnostic.path(match &self.property {
                Some(property) => format!("{}.{property}", self.type_name),
                None => self.type_name,
            });
        }
        diagnostic.line = self.line;
        diagnostic
    }
}

impl Violations {
    /// None so far, in an input that is counted like this.
    pub(crate) fn counted_by(unit: Unit) -> Self {
        Self {
            unit,
            ..Self::default()
        }
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    pub(crate) fn push(&mut self, violation: Violation) {
        self.total += 1;
        self.existing += u64::from(violation.exists.is_some());
        let key = (
            violation.line.unwrap_or(u64::MAX),
            violation.check,
            violation.type_name.clone(),
            violation.id.clone(),
            self.total,
        );
        self.first.insert(key, violation);
        if self.first.len() > LISTED {
            self.first.pop_last();
        }
    }

    pub(crate) fn extend(&mut self, others: impl IntoIterator<Item = Violation>) {
        others
            .into_iter()
            .for_each(|violation| self.push(violation));
    }

    /// Takes over what another part of the same write found.
    pub(crate) fn absorb(&mut self, other: Violations) {
        let unlisted = other.total - other.first.len() as u64;
        let listed_existing = other.first.values().filter(|v| v.exists.is_some()).count() as u64;
        self.existing += other.existing - listed_existing;
        self.total += unlisted;
        self.extend(other.first.into_values());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The error that reports them. `invalid` is the kind for this sort of write; it becomes a key
    /// conflict if all that is wrong is that ids exist already.
    pub(crate) fn into_error(self, invalid: ErrorKind) -> Error {
        let conflict = self.existing == self.total;
        let entity = self.first.values().find_map(|v| v.exists.clone());
        let total = usize::try_from(self.total).unwrap_or(usize::MAX);
        let found: Vec<Diagnostic> = self
            .first
            .into_values()
            .map(Violation::into_diagnostic)
            .collect();
        let kind = if conflict {
            ErrorKind::KeyConflict
        } else {
            invalid
        };
        let unit = self.unit.name();
        let message = match found.as_slice() {
            [] => "invalid data".to_owned(),
            [first, ..] if total > 1 => {
                format!("{} (and {} more)", headline(first, unit), total - 1)
            }
            [first, ..] => headline(first, unit),
        };
        let mut error = Error::new(kind, message).with_detail(|detail| {
            detail.diagnostics = found;
            detail.diagnostics_total = total;
            if conflict {
                detail.entity = entity;
            }
        });
        if conflict {
            error = error.with_hint("load with mode merge to replace what exists");
        }
        error
    }

    /// `Ok` if nothing was found.
    pub(crate) fn into_result(self, invalid: ErrorKind) -> crate::error::Result<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.into_error(invalid))
        }
    }
}

fn headline(diagnostic: &Diagnostic, unit: &str) -> String {
    let place = match (diagnostic.line, &diagnostic.path) {
        (Some(line), _) => format!("{unit} {line}: "),
        (None, _) => String::new(),
    };
    format!("{place}{}: {}", diagnostic.code, diagnostic.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64) -> Violation {
        Violation::new(Check::Shape, "P", Code::R406, format!("bad {line}")).line(Some(line))
    }

    #[test]
    fn only_the_first_are_listed_and_all_are_counted() {
        let mut violations = Violations::default();
        violations.extend((1..=250).rev().map(at));
        let error = violations.into_error(ErrorKind::LoadInvalid);
        assert_eq!(error.detail().diagnostics_total, 250);
        let lines: Vec<_> = error.detail().diagnostics.iter().map(|d| d.line).collect();
        assert_eq!(lines, (1..=100).map(Some).collect::<Vec<_>>());
        assert_eq!(error.message(), "line 1: R406: bad 1 (and 249 more)");
    }

    #[test]
    fn mutations_are_sorted_by_check_type_and_id() {
        let mut violations = Violations::default();
        for (check, name, id) in [
            (Check::Reference, "A", "1"),
            (Check::Key, "B", "2"),
            (Check::Key, "B", "1"),
            (Check::Shape, "C", "9"),
        ] {
            violations.push(Violation::new(check, name, Code::R410, format!("{name}{id}")).id(id));
        }
        let error = violations.into_error(ErrorKind::Invalid);
        let order: Vec<_> = error
            .detail()
            .diagnostics
            .iter()
            .map(|d| d.message.as_str())
            .collect();
        assert_eq!(order, ["C9", "B1", "B2", "A1"]);
    }

    #[test]
    fn existing_ids_alone_are_a_key_conflict() {
        let exists = |line| {
            at(line).exists(EntityName {
                edge: false,
                type_name: "P".into(),
                id: Some("a".into()),
            })
        };
        let mut violations = Violations::default();
        violations.push(exists(3));
        let error = violations.into_error(ErrorKind::LoadInvalid);
        assert_eq!(error.kind(), ErrorKind::KeyConflict);
        assert!(error.detail().entity.is_some());

        let mut violations = Violations::default();
        violations.extend([exists(3), at(4)]);
        let error = violations.into_error(ErrorKind::LoadInvalid);
        assert_eq!(error.kind(), ErrorKind::LoadInvalid);
    }
}
