//! The steps of one apply, under the lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use omnigraph_engine::Authorship;
use omnigraph_engine::graph::{GraphId, GraphRoot, Incarnation};
use omnigraph_policy::Format;
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, Disposition, PlanChange};

use super::schema::Moved;
use super::{Events, Publication, count_held};
use crate::catalog::BlobKind;
use crate::declared::{Declared, DeclaredGraph};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::failpoint::Point;
use crate::finding;
use crate::lead::Turn;
use crate::ledger::{Content, GraphContent};
use crate::plan::Planned;
use crate::plane::{ControlPlane, authorship};

/// Catalog objects written at the same time.
const PARALLEL_WRITES: usize = 8;

/// One apply that runs.
pub(super) struct Run<'a> {
    pub(super) plane: &'a ControlPlane,
    pub(super) turn: &'a Turn,
    pub(super) actor: Option<&'a str>,
    pub(super) request: &'a ApplyRequest,
    pub(super) diagnostics: Vec<Diagnostic>,
    declared: &'a Declared,
    planned: &'a Planned,
    events: &'a Events,
    started: Duration,
    /// What is applied so far.
    content: Content,
    prepared: BTreeMap<GraphId, Incarnation>,
    failed: BTreeSet<GraphId>,
    /// Of the newest revision that this run published.
    published: Option<u64>,
    applied: u32,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        plane: &'a ControlPlane,
        turn: &'a Turn,
        declared: &'a Declared,
        planned: &'a Planned,
        actor: Option<&'a str>,
        request: &'a ApplyRequest,
        events: &'a Events,
    ) -> Self {
        Self {
            plane,
            turn,
            actor,
            request,
            diagnostics: planned.plan.diagnostics.clone(),
            declared,
            planned,
            events,
            started: plane.store().clock().monotonic(),
            content: planned.base_content(),
            prepared: BTreeMap::new(),
            failed: BTreeSet::new(),
            published: None,
            applied: 0,
        }
    }

    pub(super) async fn run(mut self) -> ApplyResult {
        self.events.held_back(&self.planned.plan).await;
        let outcome = self.steps().await;
        if let Err(error) = &outcome {
            tracing::warn!(error = error.chain(), "apply stopped");
            self.diagnostics.push(of_error(error));
        }
        let ok = outcome.is_ok() && self.failed.is_empty();
        let held = count_held(self.planned);
        ApplyResult {
            ok,
            revision: self.published.unwrap_or_else(|| self.planned.base_number()),
            converged: ok && held == 0,
            state_written: self.published.is_some(),
            applied_count: self.applied,
            blocked_count: held,
            operation_id: self.turn.operation_id.to_string(),
            actor_id: self.actor.unwrap_or_default().to_owned(),
            changes: self.planned.plan.changes.clone(),
            diagnostics: self.diagnostics,
        }
    }

    async fn steps(&mut self) -> Result<()> {
        self.stage_catalog().await?;
        self.prepare_graphs().await;
        let last = self.planned.moves.last();
        for id in &self.planned.moves {
            self.report(id, Phase::Started, None).await;
            match self.move_graph(id).await {
                Ok(moved) => self.record_move(id, &moved, Some(id) == last).await?,
                Err(error) => {
                    if error.kind() == crate::error::ErrorKind::NotLeader {
                        self.fail(id, &error).await;
                        return Err(error);
                    }
                    self.fail(id, &error).await;
                }
            }
        }
        self.finish_content();
        if self.needs_publication() {
            self.publish(true).await?;
        }
        self.report_rest().await;
        Ok(())
    }

    /// Writes every source that the revision will name. Writing one again repairs it.
    async fn stage_catalog(&self) -> Result<()> {
        let mut blobs: BTreeMap<Digest, (BlobKind, &str)> = BTreeMap::new();
        let touched = self.planned.creates.iter().chain(&self.planned.updates);
        for graph in touched.filter_map(|id| self.declared.graphs.get(id)) {
            if let Some(schema) = &graph.schema {
                let digest = Digest::of(schema.source.as_bytes());
                blobs.insert(digest, (BlobKind::Schema, &schema.source));
            }
            let sound = graph
                .queries
                .values()
                .filter(|query| query.problem.is_none());
            for query in sound {
                blobs.insert(query.digest.clone(), (BlobKind::Query, &query.source));
            }
        }
        for policy in self.declared.policies.values() {
            let kind = match policy.format {
                Format::Yaml => BlobKind::Policy,
                Format::Cedar => BlobKind::Cedar,
            };
            blobs.insert(policy.text_digest(), (kind, &policy.text));
            if let (Some(digest), Some(text)) = (policy.groups_digest(), &policy.groups) {
                blobs.insert(digest, (BlobKind::Policy, text));
            }
        }
        let catalog = self.plane.shared().catalog.clone();
        let blobs = blobs
            .into_values()
            .map(|(kind, text)| (kind, text.to_owned()));
        futures::stream::iter(blobs.collect::<Vec<_>>())
            .map(move |(kind, text)| {
                let catalog = catalog.clone();
                async move { catalog.put(kind, text.as_bytes()).await }
            })
            .buffer_unordered(PARALLEL_WRITES)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(())
    }

    /// Prepares new graphs. Nobody sees them before the ledger names them.
    async fn prepare_graphs(&mut self) {
        for id in &self.planned.creates {
            let Some(graph) = self.declared.graphs.get(id) else {
                continue;
            };
            let Some(schema) = &graph.schema else {
                continue;
            };
            self.report(id, Phase::Started, None).await;
            let by = authorship(self.actor, self.turn.leader.epoch, &self.request.message);
            match self.prepare(id, &schema.source, &by).await {
                Ok(root) => {
                    self.prepared.insert(id.clone(), root.incarnation);
                }
                Err(error) => self.fail(id, &error).await,
            }
        }
    }

    /// A graph that was restored under the id is taken over; the plan has compared its schema.
    async fn prepare(&self, id: &GraphId, schema: &str, by: &Authorship) -> Result<GraphRoot> {
        if let Some(waiting) = self.plane.waiting(id).await? {
            return Ok(waiting.root);
        }
        Ok(self.plane.engine().create_graph(id, schema, by).await?)
    }

    async fn move_graph(&mut self, id: &GraphId) -> Result<Moved> {
        let missing = || Error::internal(format!("graph '{id}' is planned and not declared"));
        let graph = self.declared.graphs.get(id).ok_or_else(missing)?;
        let before = self.content.graphs.get(id).cloned().ok_or_else(missing)?;
        let schema = graph.schema.as_ref().ok_or_else(missing)?;
        let after = graph_content(graph, before.incarnation, Some(&before));
        let moved = self
            .move_schema(id, &schema.source, &before, &after)
            .await?;
        self.content.graphs.insert(id.clone(), after);
        Ok(moved)
    }

    /// Act and ledger follow each other directly: a revision per graph that moved.
    async fn record_move(&mut self, id: &GraphId, moved: &Moved, last: bool) -> Result<()> {
        let failpoints = &self.plane.options().failpoints;
        failpoints.hit(Point::Acted).await?;
        if last {
            self.finish_content();
        }
        self.publish(last).await?;
        failpoints.hit(Point::Recorded).await?;
        self.disarm(moved.sidecar).await;
        self.report(id, Phase::Done, Some(format!("commit {}", moved.commit)))
            .await;
        failpoints.hit(Point::Disarmed).await
    }

    /// Takes over everything that needs no move.
    fn finish_content(&mut self) {
        self.content
            .cluster_name
            .clone_from(&self.declared.cluster_name);
        self.content.held_back.clone_from(&self.planned.held_back);
        self.content.policies.clone_from(&self.planned.policies);
        for (id, incarnation) in &self.prepared {
            if let Some(graph) = self.declared.graphs.get(id) {
                let made = graph_content(graph, *incarnation, None);
                self.content.graphs.insert(id.clone(), made);
            }
        }
        for id in &self.planned.updates {
            let waits = self.failed.contains(id) || self.planned.moves.contains(id);
            if let Some(graph) = self.declared.graphs.get(id).filter(|_| !waits)
                && let Some(before) = self.content.graphs.get(id)
            {
                let after = graph_content(graph, before.incarnation, Some(before));
                self.content.graphs.insert(id.clone(), after);
            }
        }
    }

    /// Whether the ledger does not say yet what was reached.
    fn needs_publication(&self) -> bool {
        if self.published.is_some()
            && self
                .planned
                .moves
                .last()
                .is_some_and(|last| !self.failed.contains(last))
        {
            return false;
        }
        match &self.planned.base {
            None => true,
            Some(base) => {
                base.content != self.content
                    || base.record.config_digest != self.declared.config_digest
            }
        }
    }

    async fn publish(&mut self, last: bool) -> Result<()> {
        let converged = last && self.failed.is_empty() && self.planned.held_back.is_empty();
        let publication = Publication {
            content: self.content.clone(),
            config_digest: self.declared.config_digest.clone(),
            converged,
            actor: self.actor.map(str::to_owned),
            operation: "apply",
            operation_id: self.turn.operation_id,
            message: self.request.message.clone(),
        };
        let revision = self.plane.publish(&self.turn.leader, publication).await?;
        self.published = Some(revision.record.number);
        Ok(())
    }

    async fn fail(&mut self, id: &GraphId, error: &Error) {
        self.failed.insert(id.clone());
        let diagnostic = of_error(error);
        for change in self.changes_of(id) {
            let diagnostic = Some(diagnostic.clone());
            let elapsed = self.elapsed();
            self.events
                .step(change, Phase::Failed, elapsed, error.message(), diagnostic)
                .await;
        }
        self.diagnostics.push(diagnostic);
    }

    /// Reports what concerns the graph itself: its creation, or the move of its schema.
    async fn report(&mut self, id: &GraphId, phase: Phase, message: Option<String>) {
        let message = message.unwrap_or_default();
        let subjects = [format!("graph.{id}"), format!("schema.{id}")];
        for change in self.changes_of(id) {
            if subjects.contains(&change.resource) {
                self.events
                    .step(change, phase, self.elapsed(), &message, None)
                    .await;
                if phase == Phase::Done {
                    self.applied += 1;
                }
            }
        }
    }

    /// After the last revision: everything that has not been reported as done or failed.
    async fn report_rest(&mut self) {
        let moved: BTreeSet<_> = self.planned.moves.iter().collect();
        for change in &self.planned.plan.changes {
            let subject = !change.resource.starts_with("query.");
            let known = graph_of(&change.resource).and_then(|id| GraphId::parse(id).ok());
            let failed = known.as_ref().is_some_and(|id| self.failed.contains(id));
            let reported = subject && known.as_ref().is_some_and(|id| moved.contains(id));
            if is_work(change) && !failed && !reported {
                self.events
                    .step(change, Phase::Done, self.elapsed(), "", None)
                    .await;
                self.applied += 1;
            }
        }
    }

    fn changes_of(&self, id: &GraphId) -> impl Iterator<Item = &'a PlanChange> + use<'a> {
        let id = id.clone();
        let changes = self.planned.plan.changes.iter();
        changes.filter(move |change| {
            is_work(change) && graph_of(&change.resource) == Some(id.as_str())
        })
    }

    fn elapsed(&self) -> Duration {
        let now = self.plane.store().clock().monotonic();
        now.saturating_sub(self.started)
    }
}

fn is_work(change: &PlanChange) -> bool {
    matches!(
        change.disposition(),
        Disposition::Applied | Disposition::Derived
    )
}

/// The graph of `query.<graph>.<name>`, `graph.<graph>`, `schema.<graph>`.
fn graph_of(resource: &str) -> Option<&str> {
    let (kind, rest) = resource.split_once('.')?;
    let of_graph = matches!(kind, "query" | "graph" | "schema");
    rest.split('.').next().filter(|_| of_graph)
}

/// The declared graph as a part of a revision. Queries with problems keep what was applied before.
fn graph_content(
    graph: &DeclaredGraph,
    incarnation: Incarnation,
    before: Option<&GraphContent>,
) -> GraphContent {
    let mut queries = BTreeMap::new();
    for query in graph.queries.values() {
        let applied = before.and_then(|before| before.queries.get(&query.name));
        let digest = match &query.problem {
            None => Some(&query.digest),
            Some(_) => applied,
        };
        queries.extend(digest.map(|digest| (query.name.clone(), digest.clone())));
    }
    let (schema, schema_source) = match (&graph.schema, before) {
        (Some(schema), _) => (schema.digest.clone(), Digest::of(schema.source.as_bytes())),
        (None, Some(before)) => (before.schema.clone(), before.schema_source.clone()),
        (None, None) => (Digest::of(b""), Digest::of(b"")),
    };
    GraphContent {
        incarnation,
        schema,
        schema_source,
        queries,
        retention: graph.retention.clone(),
        external_blobs: graph.external_blobs.clone(),
    }
}

fn of_error(error: &Error) -> Diagnostic {
    let code = match error.kind() {
        crate::error::ErrorKind::NotLeader => "not_leader",
        crate::error::ErrorKind::RecoveryPending => "recovery_pending",
        crate::error::ErrorKind::Unavailable => "unavailable",
        _ => "apply_failed",
    };
    let diagnostic = finding::error(code, None, error.message());
    match error.hint() {
        Some(hint) => finding::hinted(diagnostic, hint),
        None => diagnostic,
    }
}
