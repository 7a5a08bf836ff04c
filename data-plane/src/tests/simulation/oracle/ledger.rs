//! The ledger: who leads and what is applied.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Judged, Oracle, count, ensure, json, text};
use crate::tests::simulation::workload::{GRAPHS, version_of};

/// Revisions that the history keeps.
pub(in super::super) const HISTORY: usize = 4;

/// What the ledger says after an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    epoch: u64,
    /// The lease that is held, and who holds it.
    leader: Option<(String, String)>,
    /// The newest revision and its place.
    revision: Option<(u64, u64)>,
}

/// One revision.
#[derive(Clone, Debug)]
pub(in super::super) struct Revision {
    pub(in super::super) number: u64,
    /// Its place in the ledger.
    pub(super) seq: usize,
    pub(in super::super) epoch: u64,
    pub(in super::super) actor: String,
    pub(in super::super) operation: String,
    pub(in super::super) operation_id: String,
    pub(in super::super) converged: bool,
    pub(in super::super) graphs: BTreeMap<String, GraphContent>,
}

/// One graph of a revision.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct GraphContent {
    pub(in super::super) incarnation: String,
    pub(in super::super) schema: String,
    pub(in super::super) source: String,
    /// Texts by name.
    pub(in super::super) queries: BTreeMap<String, String>,
    /// What decides who reads it.
    pub(in super::super) policy: Option<String>,
}

impl GraphContent {
    pub(super) fn root(&self, id: &str) -> String {
        format!("{id}.omni/{}", self.incarnation)
    }
}

impl Oracle {
    pub(super) fn ledger_entry(
        &mut self,
        process: &str,
        seq: usize,
        object: &Value,
        existed: bool,
    ) -> Judged {
        ensure(!existed, || format!("ledger entry {seq} was overwritten"))?;
        if self.reclaimed.contains(&seq) {
            // What was sent long ago and comes late decides nothing any more.
            return Ok(());
        }
        ensure(seq == self.ledger.len(), || {
            format!(
                "ledger entry {seq} is not the next: there are {}",
                self.ledger.len()
            )
        })?;
        let before = self.ledger.last().cloned().unwrap_or_default();
        let entry = object.pointer("/entry").unwrap_or(&Value::Null);
        let wrong = |what: &str| Err(format!("ledger entry {seq} of {process}: {what}: {entry}"));
        let kind = text(entry, "/event/kind");
        if kind == "void" {
            self.ledger.push(before);
            return Ok(());
        }
        let mut after = State {
            epoch: count(entry, "/epoch"),
            leader: entry
                .pointer("/leader")
                .filter(|l| !l.is_null())
                .map(|leader| {
                    let text = |pointer| text(leader, pointer).to_owned();
                    (text("/lease_id"), text("/holder"))
                }),
            revision: before.revision,
        };
        match kind {
            "leader" => {
                if after.epoch != before.epoch + 1 || count(entry, "/leader/epoch") != after.epoch {
                    return wrong("the epoch does not rise by one");
                }
                let Some((lease, holder)) = after.leader.clone() else {
                    return wrong("nobody leads");
                };
                if holder != process || !self.leases.insert(lease) {
                    return wrong("the lease is not this process's own");
                }
            }
            "released" => {
                let lease = before.leader.as_ref().map(|(lease, _)| lease.as_str());
                let same = lease == Some(text(entry, "/event/lease_id"));
                if !same || after.leader.is_some() || after.epoch != before.epoch {
                    return wrong("another lease is released than the one that is held");
                }
            }
            "revision" => {
                let holder = before.leader.as_ref().map(|(_, holder)| holder.as_str());
                if after.leader != before.leader || holder != Some(process) {
                    return wrong("a revision by somebody who does not lead");
                }
                if after.epoch != before.epoch || count(entry, "/event/epoch") != after.epoch {
                    return wrong("a revision of another epoch");
                }
                after.revision = Some((count(entry, "/event/number"), seq as u64));
                self.revision(&before, entry)?;
            }
            _ => return wrong("an unknown kind"),
        }
        let pointer = entry.pointer("/revision").filter(|p| !p.is_null());
        let pointer = pointer.map(|p| (count(p, "/number"), count(p, "/seq")));
        if pointer != after.revision {
            return wrong("it does not carry the newest revision on");
        }
        self.ledger.push(after);
        Ok(())
    }

    /// Numbers count, and the content is complete.
    fn revision(&mut self, before: &State, entry: &Value) -> Judged {
        let event = &entry["event"];
        let number = count(event, "/number");
        let last = before.revision.map_or(0, |(number, _)| number);
        ensure(number == last + 1, || {
            format!("revision {number} after {last}")
        })?;
        let graphs = self.content(number, text(event, "/content"))?;
        let revision = Revision {
            number,
            seq: self.ledger.len(),
            epoch: count(event, "/epoch"),
            actor: text(event, "/actor").to_owned(),
            operation: text(event, "/operation").to_owned(),
            operation_id: text(event, "/operation_id").to_owned(),
            converged: event["converged"] == true,
            graphs,
        };
        self.one_operation(&revision)?;
        self.loses_with_consent(&revision)?;
        self.guards(&revision)?;
        self.explains_schemas(&revision)?;
        self.revisions.push(revision);
        Ok(())
    }

    /// Everything that a revision names is in the catalog, which holds only what has its digest.
    fn content(&self, number: u64, digest: &str) -> Judged<BTreeMap<String, GraphContent>> {
        let missing = |name: &str| format!("revision {number} names {name}, which is missing");
        let name = format!("{digest}.json");
        let bytes = self.catalog.get(&name).ok_or_else(|| missing(&name))?;
        let content = json(&name, bytes)?;
        let none = serde_json::Map::new();
        let listed = content["graphs"].as_object().unwrap_or(&none);
        let mut graphs = BTreeMap::new();
        for (id, graph) in listed {
            let source = format!("{}.pg", text(graph, "/schema_source"));
            let source = self.catalog.get(&source).ok_or_else(|| missing(&source))?;
            let source = String::from_utf8_lossy(source).into_owned();
            let mut queries = BTreeMap::new();
            for (query, digest) in graph["queries"].as_object().unwrap_or(&none) {
                let name = format!("{}.gq", digest.as_str().unwrap_or_default());
                let bytes = self.catalog.get(&name).ok_or_else(|| missing(&name))?;
                let source = String::from_utf8_lossy(bytes).into_owned();
                queries.insert(query.clone(), source);
            }
            let policy = self.policy_of(number, id, &content)?;
            let graph = GraphContent {
                policy,
                incarnation: text(graph, "/incarnation").to_owned(),
                schema: text(graph, "/schema").to_owned(),
                source,
                queries,
            };
            let root = graph.root(id);
            let there = self.described.contains(&root) && self.mains.contains_key(&root);
            ensure(there, || missing(&format!("graph {root}")))?;
            graphs.insert(id.clone(), graph);
        }
        Ok(graphs)
    }

    /// The text of the policy that is bound to a graph; there is never more than one.
    fn policy_of(&self, number: u64, id: &str, content: &Value) -> Judged<Option<String>> {
        let none = serde_json::Map::new();
        let policies = content["policies"].as_object().unwrap_or(&none).values();
        let bound = |policy: &&Value| {
            let scopes = policy["applies_to"].as_array().into_iter().flatten();
            scopes.into_iter().any(|scope| scope == id)
        };
        let bound: Vec<&Value> = policies.filter(bound).collect();
        ensure(bound.len() <= 1, || {
            format!("revision {number} has {} policies for {id}", bound.len())
        })?;
        let Some(policy) = bound.first() else {
            return Ok(None);
        };
        let name = format!("{}.yaml", text(policy, "/text"));
        let bytes = self.catalog.get(&name);
        let bytes =
            bytes.ok_or_else(|| format!("revision {number} names {name}, which is missing"))?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A graph that has moved has the policy that was declared with its schema.
    fn guards(&self, revision: &Revision) -> Judged {
        let (number, operation) = (revision.number, &revision.operation);
        if operation != "apply" && !self.recovers_an_apply(revision) {
            return Ok(());
        }
        let before = self.revisions.last();
        for (id, graph) in &revision.graphs {
            let was = before.and_then(|before| before.graphs.get(id));
            let Some(policy) = &graph.policy else {
                continue;
            };
            if was.is_none_or(|was| was.schema == graph.schema) {
                continue;
            }
            let (schema, policy) = (version_of(&graph.source), version_of(policy));
            ensure(schema == policy, || {
                format!(
                    "revision {number} ({operation}) moves {id} to version {schema:?} under policy {policy:?}"
                )
            })?;
        }
        Ok(())
    }

    /// A recovery on top of the revision that the apply was made on.
    fn recovers_an_apply(&self, revision: &Revision) -> bool {
        let mut sidecars = self.sidecars.values();
        revision.operation == "recovery"
            && sidecars.any(|sidecar| {
                sidecar.operation_id == revision.operation_id
                    && sidecar.operation == "apply"
                    && sidecar.made_on + 1 == revision.number
            })
    }

    /// A graph goes only when somebody has agreed to that, each time anew.
    fn loses_with_consent(&mut self, revision: &Revision) -> Judged {
        let Some(last) = self.revisions.last() else {
            return Ok(());
        };
        for (id, before) in &last.graphs {
            let now = revision.graphs.get(id).map(|graph| &graph.incarnation);
            if now == Some(&before.incarnation) {
                continue;
            }
            let resource = format!("graph.{id}");
            let mut given = self.approvals.values_mut();
            let consent = given.find(|(of, used)| *of == resource && !used);
            let Some((_, used)) = consent else {
                let number = revision.number;
                return Err(format!("revision {number} lost {resource} without consent"));
            };
            *used = true;
            self.lost.insert(before.root(id));
        }
        Ok(())
    }

    /// One apply is one operation of one leader, and makes no revision after its end.
    fn one_operation(&self, revision: &Revision) -> Judged {
        let number = revision.number;
        if revision.operation == "recovery" {
            return Ok(());
        }
        let actor = &revision.actor;
        let others = self.revisions.iter();
        let mut others = others.filter(|r| r.operation != "recovery" && r.actor == *actor);
        let same = |r: &Revision| {
            r.operation_id == revision.operation_id && r.epoch == revision.epoch && !r.converged
        };
        ensure(others.all(same), || {
            format!("revision {number}: the apply of {actor} is made twice")
        })?;
        match self.told.get(actor) {
            None => Ok(()),
            Some(told) => Err(format!("revision {number}: {actor} was told that {told}")),
        }
    }

    /// The history keeps its newest revisions.
    pub(super) fn removed_entry(&mut self, seq: usize) -> Judged {
        self.reclaimed.insert(seq);
        let later = self.revisions.iter().filter(|r| r.seq > seq).count();
        ensure(later >= HISTORY, || {
            format!("ledger entry {seq} is removed, and {later} revisions are later")
        })
    }

    /// The highest epoch so far.
    pub(super) fn epoch(&self) -> u64 {
        self.ledger.last().map_or(0, |state| state.epoch)
    }

    /// The newest revision; none before the first.
    pub(in super::super) fn newest(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// What is applied, as sources of schemas.
    pub(in super::super) fn schemas(&self) -> Vec<(&'static str, String)> {
        let applied = self.newest().map(|revision| &revision.graphs);
        let source = |id: &&'static str| Some((*id, applied?.get(*id)?.source.clone()));
        GRAPHS.iter().filter_map(source).collect()
    }

    pub(in super::super) fn revision_of(&self, number: u64) -> Option<&Revision> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.revisions.get(at)
    }

    pub(in super::super) fn revisions_by(&self, actor: &str) -> Vec<&Revision> {
        let all = self.revisions.iter();
        all.filter(|r| r.actor == actor && r.operation != "recovery")
            .collect()
    }

    /// The holder of the lead, as the ledger says.
    pub(in super::super) fn leader(&self) -> Option<&str> {
        let state = self.ledger.last()?;
        state.leader.as_ref().map(|(_, holder)| holder.as_str())
    }
}
