//! The changes of one graph.

use omnigraph_engine::graph::{BranchName, GraphId};
use omnigraph_engine::{ReadOptions, Target};
use omnigraph_lang::schema::MigrationPlan;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition};

use super::steps::{migration, refusals};
use super::{Builder, Change};
use crate::declared::DeclaredGraph;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::finding;
use crate::ledger::{Content, GraphContent};
use crate::plane::ControlPlane;
use crate::restore::{Waiting, refusal};

/// What was seen of a living graph.
pub(super) enum Live {
    /// Nothing was looked at.
    Trusted,
    Seen {
        /// Digest of the meaning of the schema at the head of `main`.
        schema: Digest,
        /// The way to the declared schema, if that is another one.
        plan: Option<MigrationPlan>,
    },
    Unreadable(Error),
}

impl ControlPlane {
    pub(super) async fn look_at(
        &self,
        content: &Content,
        id: &GraphId,
        declared: &DeclaredGraph,
        refresh: bool,
    ) -> Live {
        if !refresh {
            return Live::Trusted;
        }
        match self.see(content, id, declared).await {
            Ok(live) => live,
            Err(error) => {
                tracing::warn!(graph = %id, error = error.chain(), "a graph cannot be read");
                Live::Unreadable(error)
            }
        }
    }

    async fn see(&self, content: &Content, id: &GraphId, declared: &DeclaredGraph) -> Result<Live> {
        let missing = || Error::internal(format!("graph '{id}' is not in the ledger"));
        let root = content.root(id).ok_or_else(missing)?;
        let graph = self.graph(&root).await?;
        let main = Target::Branch(BranchName::main());
        let snapshot = graph.snapshot(&main, &ReadOptions::default()).await?;
        let live = Digest::of_schema(&snapshot.schema().catalog);
        let plan = match &declared.schema {
            Some(desired) if desired.digest != live => {
                Some(graph.plan_schema(&snapshot, &desired.source).await?.plan)
            }
            _ => None,
        };
        Ok(Live::Seen { schema: live, plan })
    }
}

impl Builder {
    pub(super) fn create_graph(&mut self, graph: &DeclaredGraph, waiting: Option<&Waiting>) {
        let id = &graph.id;
        let create = ChangeOperation::Create;
        let broken = graph.schema.is_none().then(|| schema_errors(id));
        let broken = broken.or_else(|| waiting.and_then(|found| refusal(found, graph)));
        let adopted = waiting.map(|found| format!("adopts what was restored from {}", found.from));
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
        let (old, new) = (applied.settings_digest(), graph.digest());
        if old != new {
            let resource = format!("graph.{id}");
            let change = Change::new(resource, ChangeOperation::Update, Some(&old), Some(&new));
            self.push(change.blocked_if(waits.as_ref()));
        }
        self.change_queries(graph, applied, waits.as_ref());
        if !held && self.changes.len() > before {
            self.updates.insert(id.clone());
        }
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
            Live::Seen { schema, plan } => {
                change.drift = schema != applied.schema;
                let Some(plan) = plan else {
                    // The graph has it already; only the ledger may not know.
                    if desired.digest != applied.schema {
                        change.disposition = Disposition::Derived;
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
            let unchanged = before == Some(&query.digest) && query.problem.is_none();
            if unchanged {
                continue;
            }
            let reason = query.problem.as_ref().or(waits);
            let change = Change::new(resource, operation, before, Some(&query.digest));
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

    pub(super) fn delete_graph(&mut self, id: &GraphId, applied: &GraphContent) {
        let settings = applied.settings_digest();
        let resource = format!("graph.{id}");
        let mut change = Change::new(resource, ChangeOperation::Delete, Some(&settings), None);
        change.disposition = Disposition::ApprovalRequired;
        change.reason = "deleting a graph needs an approval, which this release cannot record: declare the graph again".to_owned();
        self.push(change);
    }
}

fn schema_errors(id: &GraphId) -> String {
    format!("the schema of graph '{id}' has errors")
}
