//! Desired against ledger against living graphs. Reads only.

mod consent;
mod describe;
mod graph;
mod look;
mod provider;
mod single;
mod steps;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use omnigraph_engine::graph::GraphId;
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition, PlanChange};

pub(crate) use self::look::{Live, Sight};
pub use self::steps::summary;
pub(crate) use self::target::Targets;
use crate::address::graph_of;
use crate::approval::Consent;
use crate::catalog::{BlobKind, BlobTrouble};
use crate::declared::Declared;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::finding;
use crate::ledger::{Content, Observation, Revision};
use crate::plane::ControlPlane;
use crate::roots::{Waiting, refusal};
use crate::sweep::Undecided;
use ulid::Ulid;

/// Ids under which the storage is looked at at the same time.
const PARALLEL_LOOKS: usize = 8;

/// A plan, and what apply has to do for it.
pub(crate) struct Planned {
    pub(crate) plan: pb::Plan,
    pub(crate) base: Option<Arc<Revision>>,
    /// Graphs to prepare.
    pub(crate) creates: Vec<GraphId>,
    /// Those of them that take the place of a vanished one, and whose consent that needs.
    pub(crate) replaces: BTreeMap<GraphId, Ulid>,
    /// Graphs to delete, and whose consent that needs.
    pub(crate) deletes: BTreeMap<GraphId, Ulid>,
    /// Changes that need somebody's consent, given or not.
    pub(crate) consents: Vec<Consent>,
    /// Texts of the catalog that have to be published again.
    pub(crate) heals: Vec<(BlobKind, String)>,
    /// What is wrong with the storage, by resource.
    pub(crate) seen: BTreeMap<String, Observation>,
    /// Living graphs whose schema has to move.
    pub(crate) moves: Vec<GraphId>,
    /// Graphs whose declared part is taken over as it is: queries, settings, a schema that the
    /// graph has already.
    pub(crate) updates: BTreeSet<GraphId>,
    /// What is declared and cannot be applied now, and why, by resource.
    pub(crate) held_back: BTreeMap<String, String>,
}

impl Planned {
    /// Whether applying this would leave the ledger as it is.
    pub(crate) fn is_settled(&self, declared: &Declared) -> bool {
        let Some(base) = &self.base else {
            return false;
        };
        !self.plan.changes.iter().any(is_work)
            && base.content.held_back == self.held_back
            && base.content.observations == self.seen
            && base.record.config_digest == declared.config_digest
            && base.content.cluster_name == declared.cluster_name
    }

    /// The newest revision's content, or none.
    pub(crate) fn base_content(&self) -> Content {
        self.base
            .as_ref()
            .map_or_else(Content::empty, |base| base.content.clone())
    }

    /// What stays wrong when the changes have been made, except those of `failed` graphs.
    pub(crate) fn unrepaired(&self, failed: &BTreeSet<GraphId>) -> BTreeMap<String, Observation> {
        let done = |address: &str| {
            let is_failed = graph_of(address)
                .and_then(|id| GraphId::parse(id).ok())
                .is_some_and(|id| failed.contains(&id));
            let mut changes = self.plan.changes.iter();
            !is_failed && changes.any(|c| c.resource == address && is_work(c))
        };
        let mut seen = self.seen.clone();
        seen.retain(|address, _| !done(address));
        seen
    }

    pub(crate) fn base_number(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.record.number)
    }
}

fn moving_providers(declared: &Declared, content: &Content) -> BTreeSet<String> {
    let applied = |name: &String| content.providers.get(name)?.profile.as_ref();
    let moving = declared.providers.iter();
    moving
        .filter(|(name, profile)| applied(name) != Some(*profile))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether apply makes a change.
pub(crate) fn is_work(change: &PlanChange) -> bool {
    matches!(
        change.disposition(),
        Disposition::Applied | Disposition::Derived
    )
}

/// Collects changes.
#[derive(Default)]
struct Builder {
    changes: Vec<PlanChange>,
    diagnostics: Vec<Diagnostic>,
    blobs: BTreeMap<(Digest, BlobKind), BlobTrouble>,
    /// Providers whose own change tells of what it means for graphs.
    moving_providers: BTreeSet<String>,
    creates: Vec<GraphId>,
    replaces: BTreeMap<GraphId, Ulid>,
    deletes: BTreeMap<GraphId, Ulid>,
    consents: Vec<Consent>,
    heals: Vec<(BlobKind, String)>,
    moves: Vec<GraphId>,
    updates: BTreeSet<GraphId>,
}

impl ControlPlane {
    /// The plan for a configuration. `refresh` looks at the living graphs too; without it the
    /// ledger is trusted.
    pub(crate) async fn plan(
        &self,
        declared: &Declared,
        undecided: &Undecided,
        refresh: bool,
    ) -> Result<Planned> {
        if declared.broken {
            let errors = declared.findings.iter().filter(|f| finding::is_error(f));
            return Err(Error::config(errors.cloned().collect()));
        }
        let base = self.shared().ledger.newest().await?;
        let empty = Content::empty();
        let content = base.as_ref().map_or(&empty, |base| &base.content);
        let mut sight = Sight::default();
        if refresh {
            sight = self.look(content, &declared.graphs, undecided).await?;
        }
        let seen = sight.observations(content, self.store().clock().now_micros());
        let waiting = self.all_waiting(declared, content).await;
        // Read only where somebody's consent is needed at all.
        let lossy = content.graphs.keys().any(|id| {
            let vanished = matches!(sight.graphs.get(id), Some(Live::Vanished(_)));
            vanished || !declared.graphs.contains_key(id)
        });
        let approvals = match lossy {
            true => self.shared().approvals.usable().await?,
            false => Vec::new(),
        };
        let mut builder = Builder {
            diagnostics: declared.findings.clone(),
            blobs: std::mem::take(&mut sight.blobs),
            moving_providers: moving_providers(declared, content),
            ..Builder::default()
        };
        let unborn = content.graphs.is_empty();
        for (id, graph) in &declared.graphs {
            let Some(applied) = content.graphs.get(id) else {
                let waiting = waiting.get(id);
                let refused = match waiting {
                    Some(Ok(found)) => refusal(found, graph, unborn, |r| self.place_of(r)),
                    Some(Err(error)) => Some(format!("graph_unreadable: {error}")),
                    None => None,
                };
                let found = waiting.and_then(|w| w.as_ref().ok());
                builder.create_graph(graph, found.unwrap_or(&Waiting::Nothing), refused);
                continue;
            };
            if let Some(reason) = undecided.get(id) {
                builder.pending_graph(graph, applied, reason);
                continue;
            }
            match sight.graphs.remove(id).unwrap_or(Live::Trusted) {
                Live::Vanished(others) => {
                    builder.vanished_graph(graph, applied, &others, &approvals);
                }
                live => builder.change_graph(graph, applied, live),
            }
        }
        for (id, applied) in &content.graphs {
            if declared.graphs.contains_key(id) {
                continue;
            }
            match undecided.get(id) {
                Some(reason) => builder.pending_deletion(id, applied, reason),
                None => builder.delete_graph(id, applied, &approvals),
            }
        }
        builder.change_providers(declared, content);
        Ok(builder.finish(declared, base, seen))
    }

    /// What lies under the ids of graphs that are to be made.
    async fn all_waiting(
        &self,
        declared: &Declared,
        content: &Content,
    ) -> BTreeMap<GraphId, Result<Waiting>> {
        let fresh = declared.graphs.keys();
        let fresh = fresh.filter(|id| !content.graphs.contains_key(*id));
        futures::stream::iter(fresh.cloned().collect::<Vec<_>>())
            .map(|id| async move {
                let waiting = self.waiting(&id, content).await;
                (id, waiting)
            })
            .buffer_unordered(PARALLEL_LOOKS)
            .collect()
            .await
    }
}

impl Builder {
    fn push(&mut self, change: Change) {
        self.changes.push(PlanChange {
            resource: change.resource,
            operation: change.operation.into(),
            before_digest: change.before.map(|d| d.to_string()).unwrap_or_default(),
            after_digest: change.after.map(|d| d.to_string()).unwrap_or_default(),
            disposition: change.disposition.into(),
            reason: change.reason,
            metadata_change: change.metadata_change,
            migration: change.migration,
            drift: change.drift,
            affects: change.affects,
        });
    }

    fn finish(
        self,
        declared: &Declared,
        base: Option<Arc<Revision>>,
        seen: BTreeMap<String, Observation>,
    ) -> Planned {
        let held = |change: &&PlanChange| {
            let disposition = change.disposition();
            matches!(
                disposition,
                Disposition::Blocked | Disposition::ApprovalRequired
            )
        };
        let held_back = self.changes.iter().filter(held);
        let held_back: BTreeMap<_, _> = held_back
            .map(|change| (change.resource.clone(), change.reason.clone()))
            .collect();
        let approvals_required = self.approvals_required();
        let base_revision = base.as_ref().map_or(0, |base| base.record.number);
        let plan = pb::Plan {
            plan_digest: plan_digest(&self.changes, base_revision, declared).to_string(),
            config_digest: declared.config_digest.to_string(),
            base_revision,
            converged: self.changes.is_empty(),
            changes: self.changes,
            approvals_required,
            diagnostics: self.diagnostics,
            ..pb::Plan::default()
        };
        Planned {
            plan,
            base,
            creates: self.creates,
            replaces: self.replaces,
            deletes: self.deletes,
            consents: self.consents,
            heals: self.heals,
            seen,
            moves: self.moves,
            updates: self.updates,
            held_back,
        }
    }
}

/// One change, before it is put into its message.
struct Change {
    resource: String,
    operation: ChangeOperation,
    before: Option<Digest>,
    after: Option<Digest>,
    disposition: Disposition,
    reason: String,
    /// What changes besides the content, for people.
    metadata_change: String,
    migration: Option<pb::Migration>,
    drift: bool,
    affects: Vec<String>,
}

impl Change {
    fn new(
        resource: String,
        operation: ChangeOperation,
        before: Option<&Digest>,
        after: Option<&Digest>,
    ) -> Self {
        Self {
            resource,
            operation,
            before: before.cloned(),
            after: after.cloned(),
            disposition: Disposition::Applied,
            reason: String::new(),
            metadata_change: String::new(),
            migration: None,
            drift: false,
            affects: Vec::new(),
        }
    }

    fn blocked(mut self, reason: impl Into<String>) -> Self {
        self.disposition = Disposition::Blocked;
        self.reason = reason.into();
        self
    }

    /// Says something about a change that is applied.
    fn because(mut self, reason: Option<&String>) -> Self {
        self.reason = reason.cloned().unwrap_or_default();
        self
    }

    fn blocked_if(self, reason: Option<&String>) -> Self {
        match reason {
            Some(reason) => self.blocked(reason.clone()),
            None => self,
        }
    }
}

/// What a plan says; equal for equal worlds.
fn plan_digest(changes: &[PlanChange], base: u64, declared: &Declared) -> Digest {
    let mut lines = vec![format!("{base} {}", declared.config_digest)];
    for change in changes {
        lines.push(format!(
            "{} {} {} {} {} {} {}",
            change.resource,
            change.operation,
            change.before_digest,
            change.after_digest,
            change.disposition,
            change.reason,
            change.metadata_change
        ));
        let steps = change
            .migration
            .iter()
            .flat_map(|migration| &migration.steps);
        lines.extend(steps.map(|step| step.detail_json.clone()));
    }
    Digest::of_lines(lines.iter().map(String::as_str))
}

/// So much of a plan's digest names it.
const DIGEST_MIN: usize = 8;

/// Refuses a change whose caller has seen another revision; 0 is any.
pub(crate) fn expect_revision(expected: u64, actual: u64) -> Result<()> {
    if expected == 0 || expected == actual {
        return Ok(());
    }
    let stale = omnigraph_proto::common::v1::PlanStale {
        ledger_revision: actual,
        ..Default::default()
    };
    let message = format!("the ledger is at revision {actual}, not {expected}");
    Err(Error::new(ErrorKind::PlanStale, message)
        .with_hint("look at what happened meanwhile, and decide again")
        .with_stale(stale))
}

/// Refuses when the world is not the one that the caller planned for.
pub(crate) fn check_expectations(
    planned: &Planned,
    plan_digest: &str,
    expect_revision: u64,
) -> Result<()> {
    let actual = planned.base_number();
    let same_plan = plan_digest == planned.plan.plan_digest
        || plan_digest.len() >= DIGEST_MIN && planned.plan.plan_digest.starts_with(plan_digest);
    let other_plan = !plan_digest.is_empty() && !same_plan;
    let other_revision = expect_revision != 0 && expect_revision != actual;
    if !other_plan && !other_revision {
        return Ok(());
    }
    let message = if other_revision {
        format!("the ledger is at revision {actual}, not {expect_revision}")
    } else {
        "the plan has changed since it was made".to_owned()
    };
    let stale = omnigraph_proto::common::v1::PlanStale {
        expected_plan_digest: plan_digest.to_owned(),
        actual_plan_digest: planned.plan.plan_digest.clone(),
        ledger_revision: actual,
    };
    Err(Error::new(ErrorKind::PlanStale, message)
        .with_hint("plan again and look at it")
        .with_stale(stale))
}
