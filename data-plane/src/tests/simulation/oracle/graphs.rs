//! The graphs: each move of a schema is explained, and what was given up never happens.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use super::{Judged, Oracle, Revision, count, ensure, text};

/// The log of a graph's `main`.
#[derive(Debug, Default)]
pub(super) struct Main {
    entries: usize,
    head: String,
    control_epoch: u64,
    schema_commit: String,
    /// Commits that moved the schema, and the meanings that they moved it to.
    moves: Vec<(String, String)>,
    /// How many of them the ledger knows.
    recorded: usize,
    fenced: Vec<String>,
    ended: bool,
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Sidecar {
    /// The graph's root.
    root: String,
    commit: String,
    pub(super) operation_id: String,
    pub(super) operation: String,
    /// The revision that its apply was made on; 0 if it does not say.
    pub(super) made_on: u64,
    /// Of the leader that armed it, and the ledger's when it was there for the first time.
    epoch: u64,
    seen_in: u64,
}

impl Oracle {
    pub(super) fn schema_object(&mut self, name: &str, object: &Value) -> Judged {
        let digest = name.trim_end_matches(".json").to_owned();
        let meaning = meaning_of(text(object, "/source"))?;
        self.meanings.insert(digest, meaning);
        Ok(())
    }

    pub(super) fn main_entry(
        &mut self,
        root: &str,
        seq: usize,
        object: &Value,
        existed: bool,
    ) -> Judged {
        let lost = self.lost.contains(root);
        let main = self.mains.entry(root.to_owned()).or_default();
        ensure(!existed, || {
            format!("entry {seq} of {root} was overwritten")
        })?;
        ensure(seq == main.entries, || {
            format!(
                "entry {seq} of {root} is not the next: there are {}",
                main.entries
            )
        })?;
        main.entries += 1;
        let event = &object["entry"]["event"];
        let ends = event.get("deleted").is_some();
        main.ended |= ends;
        ensure(!ends || !is_applied(&self.revisions, root), || {
            format!("entry {seq} of {root} ends a graph that is applied")
        })?;
        let commit = match event {
            Value::Object(event) if event.contains_key("commit") => &event["commit"]["commit"],
            Value::Object(event) if event.contains_key("created") => &event["created"]["first"],
            // A void, or a note of the collection: the branch stays what it is.
            _ => return Ok(()),
        };
        let wrong = |what: &str| Err(format!("entry {seq} of {root}: {what}: {commit}"));
        if main.ended {
            return wrong("a commit on a graph that has ended");
        }
        let id = text(commit, "/id").to_owned();
        let first = seq == 0;
        if !first && text(commit, "/parents/0/id") != main.head {
            return wrong("its parent is not the head");
        }
        let epoch = count(commit, "/control_epoch");
        if epoch < main.control_epoch {
            return wrong("its control epoch is lower than the head's");
        }
        let moves = text(commit, "/kind") == "schema";
        if !moves && text(commit, "/schema_commit") != main.schema_commit {
            return wrong("it moves the schema without saying so");
        }
        let fences = text(commit, "/fences").to_owned();
        if moves {
            if !lost && (self.retired.contains(&id) || main.fenced.contains(&id)) {
                return wrong("a schema change lands that was given up");
            }
            let mut sidecars = self.sidecars.values();
            let sidecar = sidecars.find(|s| s.commit == id && s.root == root);
            match sidecar {
                _ if first || lost => {}
                None => return wrong("a schema change without a sidecar"),
                // A newer leader lists sidecars after it has raised the epoch.
                Some(sidecar) if sidecar.seen_in != sidecar.epoch => {
                    return wrong("a schema change that a newer leader may not have seen coming");
                }
                Some(_) => {}
            }
            let Some(meaning) = self.meanings.get(text(commit, "/schema")) else {
                return wrong("its schema is not there");
            };
            main.moves.push((id.clone(), meaning.clone()));
            main.schema_commit.clone_from(&id);
        }
        if !fences.is_empty() {
            main.fenced.push(fences);
        }
        main.head = id;
        main.control_epoch = epoch;
        Ok(())
    }

    pub(super) fn armed_sidecar(&mut self, name: &str, object: &Value) -> Judged {
        let graph = text(object, "/graph").to_owned();
        let sidecar = Sidecar {
            root: format!("{graph}.omni/{}", text(object, "/before/incarnation")),
            commit: text(object, "/commit_id").to_owned(),
            operation_id: text(object, "/operation_id").to_owned(),
            operation: text(object, "/operation").to_owned(),
            made_on: count(object, "/policies/revision"),
            epoch: count(object, "/epoch"),
            seen_in: self.epoch(),
        };
        ensure(self.mains.contains_key(&sidecar.root), || {
            format!("sidecar {name} names a graph that is not there: {object}")
        })?;
        self.armed.insert((sidecar.operation_id.clone(), graph));
        self.sidecars.entry(name.to_owned()).or_insert(sidecar);
        Ok(())
    }

    /// A sidecar goes when the ledger knows what its operation did, or when it never can do it.
    pub(super) fn removed_sidecar(&mut self, name: &str) -> Judged {
        let Some(sidecar) = self.sidecars.remove(name) else {
            return Ok(());
        };
        let main = self.mains.entry(sidecar.root.clone()).or_default();
        match main.moves.iter().position(|(id, _)| *id == sidecar.commit) {
            None => {
                self.retired.insert(sidecar.commit);
                Ok(())
            }
            Some(at) => ensure(at < main.recorded, || {
                format!(
                    "sidecar {name} is removed before the ledger knows that {} moved",
                    sidecar.root
                )
            }),
        }
    }

    /// The ledger's schemas of a graph are those that its `main` had, one after the other; only the
    /// last move may be missing, as long as its sidecar is there.
    pub(super) fn explains_schemas(&mut self, revision: &Revision) -> Judged {
        let number = revision.number;
        for (id, graph) in &revision.graphs {
            let root = graph.root(id);
            let main = self.mains.entry(root.clone()).or_default();
            let known = main
                .recorded
                .checked_sub(1)
                .and_then(|at| main.moves.get(at));
            if known.is_none_or(|(_, meaning)| *meaning != graph.schema) {
                let next = main.moves.get(main.recorded);
                ensure(
                    next.is_some_and(|(_, meaning)| *meaning == graph.schema),
                    || {
                        format!(
                            "revision {number} has a schema of {id} that {root} did not move to"
                        )
                    },
                )?;
                main.recorded += 1;
            }
            let ahead = main.moves.get(main.recorded);
            let under_way = |(commit, _): &(String, String)| {
                let mut sidecars = self.sidecars.values();
                sidecars.any(|sidecar| sidecar.commit == *commit)
            };
            let explained = main.moves.len() <= main.recorded + 1 && ahead.is_none_or(under_way);
            ensure(explained, || {
                format!("revision {number} is behind {root}, and no sidecar says why")
            })?;
        }
        Ok(())
    }

    /// How many sidecars there are.
    pub(in super::super) fn unfinished(&self) -> usize {
        self.sidecars.len()
    }

    /// Whether a sidecar of an operation is there.
    pub(in super::super) fn is_unfinished(&self, operation_id: &str) -> bool {
        let mut sidecars = self.sidecars.values();
        sidecars.any(|sidecar| sidecar.operation_id == operation_id)
    }

    /// Whether an operation ever had a sidecar for a graph.
    pub(super) fn was_armed(&self, operation_id: &str, graph: &str) -> bool {
        let key = (operation_id.to_owned(), graph.to_owned());
        self.armed.contains(&key)
    }

    /// Deleted graphs that can still be written to.
    pub(in super::super) fn undead(&self) -> Vec<&String> {
        let lost = self.lost.iter();
        lost.filter(|root| self.mains.get(*root).is_none_or(|main| !main.ended))
            .collect()
    }

    /// Moves of schemas that the ledger does not know.
    pub(in super::super) fn unrecorded(&self) -> Vec<String> {
        let newest = self.newest().map(|revision| &revision.graphs);
        let applied = newest.into_iter().flatten().map(|(id, g)| g.root(id));
        let behind = applied.filter(|root| {
            let main = self.mains.get(root);
            main.is_none_or(|main| main.recorded < main.moves.len())
        });
        behind.collect()
    }
}

/// Whether the newest revision has the graph of this root.
fn is_applied(revisions: &[Revision], root: &str) -> bool {
    let newest = revisions.last();
    let mut graphs = newest.into_iter().flat_map(|newest| &newest.graphs);
    graphs.any(|(id, graph)| graph.root(id) == root)
}

thread_local! {
    /// Meanings by source: the same schemas come again and again.
    static MEANINGS: RefCell<HashMap<String, String>> = RefCell::default();
}

pub(in super::super) fn meaning_of(source: &str) -> Judged<String> {
    let known = MEANINGS.with_borrow(|known| known.get(source).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    let (catalog, _) = omnigraph_lang::schema::parse_schema(source)
        .map_err(|errors| format!("a schema has errors: {errors:?}"))?;
    let meaning = catalog.digest();
    MEANINGS.with_borrow_mut(|known| known.insert(source.to_owned(), meaning.clone()));
    Ok(meaning)
}
