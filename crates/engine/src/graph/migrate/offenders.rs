//! What forbids a schema change: per rule one summary with the total, then the first entities.

use omnigraph_lang::schema::TypeBody;
use omnigraph_lang::{Code, Diagnostic};

use crate::error::Result;
use crate::exec::TableSnapshot;
use crate::write::shorten;

/// The most entities that one answer names.
const LISTED: usize = 100;

/// The diagnostics of one schema change.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) found: Vec<Diagnostic>,
    /// All entities that violate something; one counts once for each rule.
    pub(super) total: u64,
    listed: usize,
}

/// The rule that is violated, and what to do about it.
pub(super) struct Rule {
    pub(super) code: Code,
    /// As in `Package.kb`.
    pub(super) path: String,
    /// The rule, as it stands in a schema.
    pub(super) text: String,
    pub(super) hint: &'static str,
}

/// Rows that violate one rule.
#[derive(Debug, Default)]
pub(super) struct Offenders {
    /// The first, with what is wrong there; rows are counted among the live ones.
    first: Vec<(usize, String)>,
    total: u64,
}

impl Offenders {
    /// Notes a row; says what is wrong only if there is room for it.
    pub(super) fn push(&mut self, row: usize, what: impl FnOnce() -> String) {
        self.total += 1;
        if self.first.len() < LISTED {
            self.first.push((row, what()));
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

impl Findings {
    /// Reports the rows that violate a rule, if there are any.
    pub(super) async fn report(
        &mut self,
        rule: Rule,
        offenders: Offenders,
        table: &TableSnapshot,
        live: &[u32],
    ) -> Result<()> {
        if offenders.total == 0 {
            return Ok(());
        }
        let ids = table.column("id").await?;
        let named = offenders.first.into_iter().map(|(row, what)| {
            let id = live.get(row).and_then(|ordinal| ids.text(*ordinal));
            (shorten(id.unwrap_or_default()), what)
        });
        self.add(rule, offenders.total, live.len(), named);
        Ok(())
    }

    /// Rows that cannot be looked at violate whatever they could.
    pub(super) fn unseen(&mut self, body: &TypeBody, rows: u64) {
        let rule = Rule {
            code: Code::M307,
            path: body.name.clone(),
            text: "the new rules".to_owned(),
            hint: "change these entities first",
        };
        let all = usize::try_from(rows).unwrap_or(usize::MAX);
        self.add(rule, rows, all, std::iter::empty());
    }

    /// Reports entities by name. `of`: how many there are at all.
    pub(super) fn add(
        &mut self,
        rule: Rule,
        total: u64,
        of: usize,
        named: impl Iterator<Item = (String, String)>,
    ) {
        let entities = if of == 1 { "entity" } else { "entities" };
        let message = format!("{}: {total} of {of} {entities} would violate it", rule.text);
        let mut summary = Diagnostic::error(rule.code, message).path(rule.path.clone());
        summary.hints.push(rule.hint.to_owned());
        self.found.push(summary);
        self.total += total;
        for (id, what) in named.take(LISTED - self.listed) {
            let message = format!("`{id}`: {what}");
            self.found
                .push(Diagnostic::error(rule.code, message).path(rule.path.clone()));
            self.listed += 1;
        }
    }
}
