//! The changes of one graph.

use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition};

use super::look::Live;
use super::provider::BACKFILL;
use super::steps::{migration, refusals};
use super::{Builder, Change};
use crate::catalog::{BlobKind, BlobTrouble};
use crate::declared::DeclaredGraph;
use crate::digest::Digest;
use crate::finding;
use crate::ledger::GraphContent;
use crate::roots::Waiting;

impl Builder {
    /// A graph that the ledger does not have. `refused` says why it cannot be made now.
    pub(super) fn create_graph(
        &mut self,
        graph: &DeclaredGraph,
        waiting: &Waiting,
        refused: Option<String>,
    ) {
        let id = &graph.id;
        let create = ChangeOperation::Create;
        let broken = graph.schema.is_none().then(|| schema_errors(id));
        let broken = broken.or(refused);
        let adopted = match waiting {
            Waiting::Restored(found) => {
                let from = found.restored_from.as_deref().unwrap_or_default();
                Some(format!("adopts what was restored from {from}"))
            }
            Waiting::Nothing | Waiting::Unknown(_) => None,
        };
        let settings = graph.digest();
        let schema = graph.schema.as_ref().map(|s| &s.digest);
        let waits = broken.as_ref().map(|_| format!("waits for schema.{id}"));
        self.push(
            Change::new(format!("graph.{id}"), create, None, Some(&settings))
                .because(adopted.as_ref())
                .blocked_if(waits.as_ref()),
        );
        self.push(
            Change::new(format!("schema.{id}"), create, None, schema).blocked_if(broken.as_ref()),
        );
        for query in graph.queries.values() {
            let problem = query.problem.as_ref().or(waits.as_ref());
            let resource = format!("query.{id}.{}", query.name);
            self.push(Change::new(resource, create, None, Some(&query.digest)).blocked_if(problem));
        }
        if broken.is_none() {
            self.creates.push(id.clone());
        }
    }

    /// An operation on the graph is not resolved: nothing else may touch it.
    pub(super) fn pending_graph(
        &mut self,
        graph: &DeclaredGraph,
        applied: &GraphContent,
        reason: &str,
    ) {
        let settings = applied.settings_digest();
        let resource = format!("graph.{}", graph.id);
        let reason = format!("recovery_pending: {reason}");
        let change = Change::new(
            resource,
            ChangeOperation::Update,
            Some(&settings),
            Some(&graph.digest()),
        );
        self.push(change.blocked(reason));
    }

    /// The same for a graph that is not declared any more.
    pub(super) fn pending_deletion(&mut self, id: &GraphId, applied: &GraphContent, reason: &str) {
        let settings = applied.settings_digest();
        let resource = format!("graph.{id}");
        let change = Change::new(resource, ChangeOperation::Delete, Some(&settings), None);
        self.push(change.blocked(format!("recovery_pending: {reason}")));
    }

    pub(super) fn change_graph(
        &mut self,
        graph: &DeclaredGraph,
        applied: &GraphContent,
        live: Live,
    ) {
        let id = &graph.id;
        let before = self.changes.len();
        let held = self.change_schema(graph, applied, live);
        let waits = held.then(|| format!("waits for schema.{id}"));
        let moved = self.change_settings(graph, applied, waits.as_ref());
        self.change_queries(graph, applied, waits.as_ref());
        if !held && (moved || self.changes.len() > before) {
            self.updates.insert(id.clone());
        }
    }

    /// Everything that is neither schema nor query; whether the graph's part has to be taken over
    /// although no change of its own says so.
    fn change_settings(
        &mut self,
        graph: &DeclaredGraph,
        applied: &GraphContent,
        waits: Option<&String>,
    ) -> bool {
        let resource = format!("graph.{}", graph.id);
        let (old, new) = (applied.settings_digest(), graph.digest());
        let mut change = Change::new(resource, ChangeOperation::Update, Some(&old), Some(&new));
        if old != new {
            change.metadata_change = settings(graph, applied);
            self.push(change.blocked_if(waits));
            return false;
        }
        let (Some(before), Some(after)) = (&applied.embedding, &graph.embedding) else {
            return false;
        };
        if before.profile == after.profile {
            return false;
        }
        // The change of the provider tells of it, except where an earlier release left it out or
        // the graph cannot follow, or could not then.
        let told = self.moving_providers.contains(&after.provider);
        if before.profile.is_none() || waits.is_some() || !told {
            change.metadata_change = match before.profile {
                None => BACKFILL.to_owned(),
                Some(_) => "embedding profile".to_owned(),
            };
            self.push(change.blocked_if(waits));
        }
        true
    }

    /// The schema's change, if there is one; whether it holds up the rest of the graph.
    fn change_schema(&mut self, graph: &DeclaredGraph, applied: &GraphContent, live: Live) -> bool {
        let id = &graph.id;
        let resource = format!("schema.{id}");
        let update = ChangeOperation::Update;
        let Some(desired) = &graph.schema else {
            let change = Change::new(resource, update, Some(&applied.schema), None);
            self.push(change.blocked(schema_errors(id)));
            return true;
        };
        let mut change = Change::new(
            resource,
            update,
            Some(&applied.schema),
            Some(&desired.digest),
        );
        match live {
            Live::Unreadable(error) => {
                change.drift = true;
                self.push(change.blocked(format!("graph_unreadable: {error}")));
                true
            }
            Live::Trusted => {
                if desired.digest != applied.schema {
                    self.push(change);
                    self.moves.push(id.clone());
                }
                false
            }
            // Planned elsewhere.
            Live::Vanished(_) => true,
            Live::Seen { schema, plan } => {
                change.drift = schema != applied.schema;
                let Some(plan) = plan else {
                    // The graph has it already; only the ledger may not know.
                    if desired.digest != applied.schema {
                        change.disposition = Disposition::Derived;
                        self.push(change);
                    } else if let Some(found) =
                        self.trouble(&applied.schema_source, BlobKind::Schema)
                    {
                        self.heals.push((BlobKind::Schema, desired.source.clone()));
                        change.metadata_change = found;
                        change.drift = true;
                        self.push(change);
                    }
                    return false;
                };
                change.migration = Some(migration(&plan));
                if plan.supported {
                    self.push(change);
                    self.moves.push(id.clone());
                    return false;
                }
                let found = refusals(&plan, &graph.schema_path);
                let reason = found.first().map_or_else(
                    || "the change is not supported".to_owned(),
                    |first| format!("{}: {}", first.code, finding::line(first)),
                );
                self.diagnostics.extend(found);
                self.push(change.blocked(reason));
                true
            }
        }
    }

    fn change_queries(
        &mut self,
        graph: &DeclaredGraph,
        applied: &GraphContent,
        waits: Option<&String>,
    ) {
        let id = &graph.id;
        for query in graph.queries.values() {
            let resource = format!("query.{id}.{}", query.name);
            let before = applied.queries.get(&query.name);
            let operation = match before {
                None => ChangeOperation::Create,
                Some(_) => ChangeOperation::Update,
            };
            let same = before == Some(&query.digest);
            let found = before
                .filter(|_| same)
                .and_then(|digest| self.trouble(digest, BlobKind::Query));
            let mut change = Change::new(resource, operation, before, Some(&query.digest));
            if let Some(found) = found {
                // The text is at hand, whatever else keeps the query from being applied.
                self.heals.push((BlobKind::Query, query.source.clone()));
                change.metadata_change = found;
                change.drift = true;
                self.push(change);
                continue;
            }
            if same && query.problem.is_none() {
                continue;
            }
            let reason = query.problem.as_ref().or(waits);
            self.push(change.blocked_if(reason));
        }
        for (name, digest) in &applied.queries {
            if !graph.queries.contains_key(name) {
                let resource = format!("query.{id}.{name}");
                let change = Change::new(resource, ChangeOperation::Delete, Some(digest), None);
                self.push(change.blocked_if(waits));
            }
        }
    }

    /// What is wrong with a catalog object that can be published again. One that could not be read
    /// is said to be so, and stays.
    pub(super) fn trouble(&mut self, digest: &Digest, kind: BlobKind) -> Option<String> {
        match self.blobs.get(&(digest.clone(), kind))? {
            BlobTrouble::Missing => Some("catalog object is missing".to_owned()),
            BlobTrouble::Tampered => Some("catalog object is not what its digest says".to_owned()),
            BlobTrouble::Unreadable(error) => {
                let message = format!("catalog object {digest} cannot be read: {error}");
                let found = finding::warning("catalog_unreadable", message);
                self.diagnostics.push(found);
                None
            }
        }
    }
}

/// Which settings of a graph change, for people.
fn settings(graph: &DeclaredGraph, applied: &GraphContent) -> String {
    let provider = |embedding: &Option<crate::ledger::GraphEmbedding>| {
        embedding
            .as_ref()
            .map(|embedding| embedding.provider.clone())
    };
    let on_write = |embedding: &Option<crate::ledger::GraphEmbedding>| {
        embedding
            .as_ref()
            .is_some_and(|embedding| embedding.on_write)
    };
    let respects = [
        ("retention", graph.retention != applied.retention),
        (
            "external_blobs",
            graph.external_blobs != applied.external_blobs,
        ),
        (
            "embedding_provider",
            provider(&graph.embedding) != provider(&applied.embedding),
        ),
        (
            "embed_on_write",
            on_write(&graph.embedding) != on_write(&applied.embedding),
        ),
    ];
    let differing = respects.iter().filter(|(_, differs)| *differs);
    let names: Vec<_> = differing.map(|(name, _)| *name).collect();
    names.join(", ")
}

pub(super) fn schema_errors(id: &GraphId) -> String {
    format!("the schema of graph '{id}' has errors")
}
