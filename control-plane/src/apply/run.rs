//! The steps of one apply, under the lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use omnigraph_engine::Authorship;
use omnigraph_engine::graph::{GraphId, GraphRoot, Incarnation};
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, PlanChange};

use super::content::graph_content;
use super::schema::Moved;
use super::{Events, Publication, count_held};
use crate::address::graph_of;
use crate::catalog::BlobKind;
use crate::declared::{Declared, DeclaredSchema};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::finding;
use crate::lead::Turn;
use crate::ledger::Content;
use crate::plan::{Planned, is_work};
use crate::plane::{ControlPlane, authorship};
use crate::roots::Waiting;
use crate::rule::Rule;

/// Catalog objects written at the same time.
const PARALLEL_WRITES: usize = 8;

/// One apply that runs.
pub(super) struct Run<'a> {
    pub(super) plane: &'a ControlPlane,
    pub(super) turn: &'a Turn,
    pub(super) actor: Option<&'a str>,
    /// `apply` or `rollback`.
    pub(super) operation: &'static str,
    pub(super) message: &'a str,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) declared: &'a Declared,
    pub(super) planned: &'a Planned,
    /// Wall clock.
    pub(super) turn_began: i64,
    /// What is applied so far.
    pub(super) content: Content,
    pub(super) prepared: BTreeMap<GraphId, Incarnation>,
    pub(super) failed: BTreeSet<GraphId>,
    /// Of the newest revision that this run published.
    pub(super) published: Option<u64>,
    /// The highest epoch that adopted graphs know.
    epoch_floor: u64,
    events: &'a Events,
    started: Duration,
    /// Whether `content` says everything that is to be said.
    complete: bool,
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
            operation: "apply",
            message: &request.message,
            diagnostics: planned.plan.diagnostics.clone(),
            declared,
            planned,
            events,
            started: plane.store().clock().monotonic(),
            turn_began: plane.store().clock().now_micros(),
            complete: false,
            epoch_floor: 0,
            content: planned.base_content(),
            prepared: BTreeMap::new(),
            failed: BTreeSet::new(),
            published: None,
            applied: 0,
        }
    }

    /// What the history calls it.
    pub(super) fn named(mut self, operation: &'static str) -> Self {
        self.operation = operation;
        self
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
            revision: self.made_on(),
            converged: ok && held == 0 && self.declared.carried.is_empty(),
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
        let plane = self.plane;
        let failpoints = &plane.options().failpoints;
        self.stage_catalog().await?;
        failpoints.hit(Point::Catalogued).await?;
        self.prepare_graphs().await;
        failpoints.hit(Point::Prepared).await?;
        let last = self.planned.moves.last();
        for id in &self.planned.moves {
            self.report(id, Phase::Started, None).await;
            match self.move_graph(id, Some(id) == last).await {
                Ok(moved) => self.record_move(id, &moved, Some(id) == last).await?,
                Err(error) => {
                    self.fail(id, &error).await;
                    if error.kind() == ErrorKind::NotLeader {
                        return Err(error);
                    }
                }
            }
        }
        self.finish_content();
        if !plane.options().rules.keep(Rule::EndLater) {
            self.end_graphs().await;
        }
        if self.needs_publication() {
            failpoints.hit(Point::Publishing).await?;
            self.publish(true).await?;
            failpoints.hit(Point::Published).await?;
        }
        self.end_graphs().await;
        self.report_rest().await;
        plane.lead_above(&self.turn.leader, self.epoch_floor).await
    }

    /// Writes every source that the revision will name. Writing one again repairs it.
    async fn stage_catalog(&self) -> Result<()> {
        let mut blobs: BTreeMap<(Digest, BlobKind), &str> = BTreeMap::new();
        for (kind, text) in &self.planned.heals {
            blobs.insert((Digest::of(text.as_bytes()), *kind), text);
        }
        let touched = self.planned.creates.iter().chain(&self.planned.updates);
        for graph in touched.filter_map(|id| self.declared.graphs.get(id)) {
            if let Some(schema) = &graph.schema {
                let digest = Digest::of(schema.source.as_bytes());
                blobs.insert((digest, BlobKind::Schema), &schema.source);
            }
            let sound = graph
                .queries
                .values()
                .filter(|query| query.problem.is_none());
            for query in sound {
                blobs.insert((query.digest.clone(), BlobKind::Query), &query.source);
            }
        }
        for policy in self.declared.policies.values() {
            for (kind, text) in policy.texts() {
                blobs.insert((Digest::of(text.as_bytes()), kind), text);
            }
        }
        let catalog = self.plane.shared().catalog.clone();
        let blobs = blobs
            .into_iter()
            .map(|((_, kind), text)| (kind, text.to_owned()));
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
            let by = authorship(self.actor, self.turn.leader.epoch, self.message);
            match self.prepare(id, schema, &by).await {
                Ok(root) => {
                    self.prepared.insert(id.clone(), root.incarnation);
                }
                Err(error) => self.fail(id, &error).await,
            }
        }
    }

    /// A graph that was restored under the id is taken over; the plan has compared its schema.
    async fn prepare(
        &mut self,
        id: &GraphId,
        schema: &DeclaredSchema,
        by: &Authorship,
    ) -> Result<GraphRoot> {
        match self.plane.waiting(id, &self.content).await? {
            Waiting::Nothing => {
                let engine = self.plane.engine();
                Ok(engine.create_graph(id, &schema.source, by).await?)
            }
            Waiting::Restored(found) if found.schema == schema.digest => {
                self.epoch_floor = self.epoch_floor.max(found.control_epoch);
                Ok(found.root)
            }
            Waiting::Restored(found) | Waiting::Unknown(found) => {
                let place = self.plane.place_of(&found.root);
                let message = format!("{place} appeared while graph '{id}' was about to be made");
                Err(Error::new(ErrorKind::PlanStale, message)
                    .with_hint("plan again and look at it"))
            }
        }
    }

    async fn move_graph(&mut self, id: &GraphId, last: bool) -> Result<Moved> {
        let missing = || Error::internal(format!("graph '{id}' is planned and not declared"));
        let graph = self.declared.graphs.get(id).ok_or_else(missing)?;
        let before = self.content.graphs.get(id).cloned().ok_or_else(missing)?;
        let schema = graph.schema.as_ref().ok_or_else(missing)?;
        let after = graph_content(graph, before.incarnation, Some(&before));
        let completes = match last {
            true => self.completion(id, &after),
            false => None,
        };
        if self.plane.options().rules.keep(Rule::PolicyWithSchema) {
            let mut content = std::mem::replace(&mut self.content, Content::empty());
            self.take_policy_of(&mut content, id);
            self.content = content;
        }
        let moved = self
            .move_schema(id, &schema.source, &before, &after, completes)
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
        if !self.plane.options().rules.keep(Rule::LedgerFirst) {
            self.disarm(moved.sidecar).await;
        }
        self.publish(last).await?;
        failpoints.hit(Point::Recorded).await?;
        self.disarm(moved.sidecar).await;
        self.report(id, Phase::Done, Some(format!("commit {}", moved.commit)))
            .await;
        failpoints.hit(Point::Disarmed).await
    }

    fn finish_content(&mut self) {
        if self.complete {
            return;
        }
        let mut content = std::mem::replace(&mut self.content, Content::empty());
        self.complete(&mut content);
        self.content = content;
        self.complete = true;
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
                // A change that failed and moved nothing leaves nothing behind.
                let declared = &self.declared.config_digest;
                let newly_declared = base.record.config_digest != *declared;
                base.content != self.content
                    || !self.planned.heals.is_empty()
                    || newly_declared && self.failed.is_empty()
            }
        }
    }

    async fn publish(&mut self, last: bool) -> Result<()> {
        let mut content = self.content.clone();
        // What earlier revisions ended is done.
        let approvals = &self.plane.shared().approvals;
        content
            .endings
            .retain(|ending| !approvals.is_used(ending.approval));
        let converged = last && self.failed.is_empty() && content.held_back.is_empty();
        let publication = Publication {
            content,
            config_digest: self.declared.config_digest.clone(),
            converged,
            actor: self.actor.map(str::to_owned),
            operation: self.operation,
            operation_id: self.turn.operation_id,
            message: self.message.to_owned(),
            epoch_floor: self.epoch_floor,
        };
        let revision = self.plane.publish(&self.turn.leader, publication).await?;
        self.published = Some(revision.record.number);
        Ok(())
    }

    /// The ledger has said so: the branches of deleted and replaced graphs end. What fails here is
    /// done by the next sweep.
    async fn end_graphs(&mut self) {
        let own = self.turn.operation_id;
        let endings = self.content.endings.iter();
        let endings: Vec<_> = endings.filter(|e| e.operation_id == own).cloned().collect();
        for ending in endings {
            if let Err(error) = self.plane.end_graph(&self.turn.leader, &ending).await {
                let graph = &ending.graph;
                tracing::warn!(%graph, error = error.chain(), "a deleted graph has not ended yet");
                let message = format!("deleted graph '{graph}' has not ended yet: {error}");
                let warning = finding::warning("graph_ending_pending", message);
                let hint = "the next change of the cluster ends it, or the leader by itself";
                self.diagnostics.push(finding::hinted(warning, hint));
            }
        }
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
            let known = graph_of(&change.resource).and_then(|id| GraphId::parse(id).ok());
            let of = |ids: &BTreeSet<GraphId>| known.as_ref().is_some_and(|id| ids.contains(id));
            let subject = !change.resource.starts_with("query.");
            let reported = subject && known.as_ref().is_some_and(|id| moved.contains(id));
            if !is_work(change) || of(&self.failed) || reported {
                continue;
            }
            let deleted = known
                .as_ref()
                .is_some_and(|id| self.planned.deletes.contains_key(id));
            let (phase, message) = match deleted && self.postpones_deletions() {
                true => (Phase::Skipped, "waits until nothing else fails"),
                false => (Phase::Done, ""),
            };
            self.events
                .step(change, phase, self.elapsed(), message, None)
                .await;
            self.applied += u32::from(phase == Phase::Done);
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

/// An error as a finding.
pub(crate) fn of_error(error: &Error) -> Diagnostic {
    let code = match error.kind() {
        ErrorKind::NotLeader => "not_leader",
        ErrorKind::RecoveryPending => "recovery_pending",
        ErrorKind::Unavailable => "unavailable",
        _ => "apply_failed",
    };
    let diagnostic = finding::error(code, None, error.message());
    match error.hint() {
        Some(hint) => finding::hinted(diagnostic, hint),
        None => diagnostic,
    }
}
