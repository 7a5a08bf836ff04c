//! What clients were told must be so, and stay so.

use std::collections::BTreeSet;

use omnigraph_proto::control::v1::{ApplyResult, Disposition};

use super::graphs::meaning_of;
use super::{Judged, Oracle, ensure};
use crate::tests::simulation::workload::Declared;

/// An apply, as its client saw it.
pub(in super::super) struct Answer<'a> {
    pub(in super::super) actor: &'a str,
    /// None: it was to be what an earlier revision says.
    pub(in super::super) declared: Option<&'a Declared>,
    /// The revision that it was to be based on; 0: any.
    pub(in super::super) expected: u64,
    pub(in super::super) result: &'a ApplyResult,
    /// Resources whose step failed.
    pub(in super::super) failed: &'a BTreeSet<String>,
    /// Resources whose step was done.
    pub(in super::super) done: &'a BTreeSet<String>,
    /// Whether nothing went wrong in its process while it ran.
    pub(in super::super) undisturbed: bool,
    /// The only graph that had any trouble, when nothing else went wrong.
    pub(in super::super) isolated: Option<&'a str>,
}

impl Oracle {
    /// Nothing was begun.
    pub(in super::super) fn refused(&mut self, actor: &str) -> Judged {
        self.told.insert(actor.to_owned(), "it was refused");
        ensure(self.revisions_by(actor).is_empty(), || {
            format!("{actor} was refused, and has made a revision")
        })
    }

    /// Nothing more comes of it.
    pub(in super::super) fn ended(&mut self, actor: &str) -> Judged {
        self.told.insert(actor.to_owned(), "it has ended");
        let made = self.revisions_by(actor).len();
        ensure(made <= 1, || {
            format!("{actor} has made {made} revisions at once")
        })
    }

    /// It ended, well or not.
    pub(in super::super) fn answered(&mut self, answer: &Answer<'_>) -> Judged {
        let Answer { actor, result, .. } = answer;
        let coded = |code: &str| result.diagnostics.iter().any(|d| d.code == code);
        // Where the storage did not say whether the ledger was written, it may still be.
        if !coded("unavailable") {
            self.told.insert((*actor).to_owned(), "it has ended");
            let last = self.revisions_by(actor).last().map(|r| r.number);
            let told = result.state_written.then_some(result.revision);
            ensure(last == told, || {
                format!(
                    "{actor} was told of revision {told:?}, the ledger has {last:?}: {result:?}"
                )
            })?;
        }
        let id = &result.operation_id;
        let cleanup = coded("recovery_sidecar_cleanup_failed");
        ensure(!result.ok || cleanup || !self.is_unfinished(id), || {
            format!("{actor} has left a sidecar without a word: {result:?}")
        })?;
        // Who loses the lead leaves the rest to the next leader.
        let certain = answer.undisturbed && !coded("not_leader");
        ensure(!certain || !self.is_unfinished(id), || {
            format!("{actor} has left a sidecar although nothing went wrong: {result:?}")
        })?;
        for change in &result.changes {
            if is_held(change.disposition())
                && let Some(graph) = change.resource.strip_prefix("schema.")
            {
                ensure(!self.was_armed(id, graph), || {
                    format!(
                        "{actor} armed a sidecar for {}, which is blocked",
                        change.resource
                    )
                })?;
            }
        }
        if result.ok || result.state_written {
            self.expected(answer)?;
            if let Some(declared) = answer.declared {
                self.reached(answer, declared)?;
            }
        }
        match answer.isolated {
            Some(graph) => only(graph, answer),
            None => Ok(()),
        }
    }

    /// What it was based on is what it was to be based on.
    fn expected(&self, answer: &Answer<'_>) -> Judged {
        let expected = answer.expected;
        if expected == 0 {
            return Ok(());
        }
        let first = self.revisions_by(answer.actor).first().map(|r| r.number);
        let based_on = first.map_or(answer.result.revision, |number| number - 1);
        ensure(based_on == expected, || {
            format!(
                "{} expected revision {expected} and changed {based_on}",
                answer.actor
            )
        })
    }

    /// The revision has everything that was declared and is not named as held back or failed.
    fn reached(&self, answer: &Answer<'_>, declared: &Declared) -> Judged {
        let result = answer.result;
        let Some(revision) = self.revision_of(result.revision) else {
            return ensure(result.revision == 0, || {
                format!(
                    "{} was told of a revision that is not there: {result:?}",
                    answer.actor
                )
            });
        };
        let held = result.changes.iter().filter(|c| is_held(c.disposition()));
        let mut left_out: BTreeSet<&str> = held.map(|c| c.resource.as_str()).collect();
        left_out.extend(answer.failed.iter().map(String::as_str));
        let wrong = |what: &str| {
            let number = revision.number;
            Err(format!(
                "{}: revision {number}: {what}: {result:?}",
                answer.actor
            ))
        };
        for (id, declared) in &declared.graphs {
            let whole = [format!("graph.{id}"), format!("schema.{id}")];
            let any = |of: &dyn Fn(&str) -> bool| whole.iter().any(|resource| of(resource));
            // What stopped on its way says what it has done until then.
            let open = !result.ok && !any(&|resource| answer.done.contains(resource));
            if open || any(&|resource| left_out.contains(resource)) {
                continue;
            }
            let Some(applied) = revision.graphs.get(*id) else {
                return wrong(&format!("graph {id} is missing"));
            };
            if applied.schema != meaning_of(&declared.schema)? {
                return wrong(&format!("another schema of {id}"));
            }
            for (name, source) in &declared.queries {
                let resource = format!("query.{id}.{name}");
                let is = applied.queries.get(name).map(String::as_str);
                if !left_out.contains(resource.as_str()) && is != Some(source.trim()) {
                    return wrong(&format!("another text of {resource}: {is:?}"));
                }
            }
            let undeclared = |name: &&String| !declared.queries.contains_key(*name);
            if result.ok
                && let Some(name) = applied.queries.keys().find(undeclared)
            {
                return wrong(&format!("query.{id}.{name} is left"));
            }
        }
        Ok(())
    }
}

/// One graph's trouble is no other's.
fn only(graph: &str, answer: &Answer<'_>) -> Judged {
    let own = |resource: &str| resource.split('.').nth(1) == Some(graph);
    let others = answer.failed.iter().find(|resource| !own(resource));
    ensure(others.is_none(), || {
        format!(
            "{}: only {graph} has trouble, and {others:?} failed",
            answer.actor
        )
    })?;
    let unreadable = answer
        .result
        .changes
        .iter()
        .find(|change| change.reason.starts_with("graph_unreadable") && !own(&change.resource));
    ensure(unreadable.is_none(), || {
        format!("{}: only {graph} has trouble: {unreadable:?}", answer.actor)
    })
}

fn is_held(disposition: Disposition) -> bool {
    matches!(
        disposition,
        Disposition::Blocked | Disposition::ApprovalRequired
    )
}
