//! Desired against ledger against living graphs. Reads only.

mod graph;
mod policy;
mod single;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use omnigraph_engine::graph::GraphId;
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition, PlanChange};

pub use self::steps::summary;
use crate::declared::Declared;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::finding;
use crate::ledger::{Content, PolicyContent, Revision};
use crate::plane::ControlPlane;
use crate::sweep::Undecided;

/// A plan, and what apply has to do for it.
pub(crate) struct Planned {
    pub(crate) plan: pb::Plan,
    pub(crate) base: Option<Arc<Revision>>,
    /// Graphs to prepare.
    pub(crate) creates: Vec<GraphId>,
    /// Living graphs whose schema has to move.
    pub(crate) moves: Vec<GraphId>,
    /// Graphs whose declared part is taken over as it is: queries, settings, a schema that the
    /// graph has already.
    pub(crate) updates: BTreeSet<GraphId>,
    /// The policies as they are to be.
    pub(crate) policies: BTreeMap<String, PolicyContent>,
    /// What is declared and cannot be applied now, and why, by resource.
    pub(crate) held_back: BTreeMap<String, String>,
}

impl Planned {
    /// Whether applying this would leave the ledger as it is.
    pub(crate) fn is_settled(&self, declared: &Declared) -> bool {
        let Some(base) = &self.base else {
            return false;
        };
        let busy = |change: &PlanChange| {
            matches!(
                change.disposition(),
                Disposition::Applied | Disposition::Derived
            )
        };
        !self.plan.changes.iter().any(busy)
            && base.content.held_back == self.held_back
            && base.record.config_digest == declared.config_digest
            && base.content.cluster_name == declared.cluster_name
    }

    /// The newest revision's content, or none.
    pub(crate) fn base_content(&self) -> Content {
        self.base
            .as_ref()
            .map_or_else(Content::empty, |base| base.content.clone())
    }

    pub(crate) fn base_number(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.record.number)
    }
}

/// Collects changes.
struct Builder {
    changes: Vec<PlanChange>,
    diagnostics: Vec<Diagnostic>,
    creates: Vec<GraphId>,
    moves: Vec<GraphId>,
    updates: BTreeSet<GraphId>,
    policies: BTreeMap<String, PolicyContent>,
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
        let mut builder = Builder {
            changes: Vec::new(),
            diagnostics: declared.findings.clone(),
            creates: Vec::new(),
            moves: Vec::new(),
            updates: BTreeSet::new(),
            policies: BTreeMap::new(),
        };
        for (id, graph) in &declared.graphs {
            match content.graphs.get(id) {
                None => builder.create_graph(graph, self.waiting(id).await?.as_ref()),
                Some(applied) => match undecided.get(id) {
                    Some(reason) => builder.pending_graph(graph, applied, reason),
                    None => {
                        let live = self.look_at(content, id, graph, refresh).await;
                        builder.change_graph(graph, applied, live);
                    }
                },
            }
        }
        for (id, applied) in &content.graphs {
            if !declared.graphs.contains_key(id) {
                builder.delete_graph(id, applied);
            }
        }
        builder.change_policies(declared, content);
        Ok(builder.finish(declared, base))
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
            affects: Vec::new(),
        });
    }

    fn finish(self, declared: &Declared, base: Option<Arc<Revision>>) -> Planned {
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
        let approvals_required = self
            .changes
            .iter()
            .filter(|change| change.disposition() == Disposition::ApprovalRequired)
            .map(|change| pb::ApprovalRequirement {
                resource: change.resource.clone(),
                reason: change.reason.clone(),
                satisfied: false,
                approval_id: String::new(),
            })
            .collect();
        let base_revision = base.as_ref().map_or(0, |base| base.record.number);
        let plan = pb::Plan {
            plan_digest: plan_digest(&self.changes, base_revision, declared).to_string(),
            config_digest: declared.config_digest.to_string(),
            base_revision,
            converged: self.changes.is_empty(),
            changes: self.changes,
            approvals_required,
            diagnostics: self.diagnostics,
        };
        Planned {
            plan,
            base,
            creates: self.creates,
            moves: self.moves,
            updates: self.updates,
            policies: self.policies,
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
    metadata_change: String,
    migration: Option<pb::Migration>,
    drift: bool,
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
            "{} {} {} {} {} {}",
            change.resource,
            change.operation,
            change.before_digest,
            change.after_digest,
            change.disposition,
            change.reason
        ));
        if !change.metadata_change.is_empty() {
            lines.push(change.metadata_change.clone());
        }
        let steps = change
            .migration
            .iter()
            .flat_map(|migration| &migration.steps);
        lines.extend(steps.map(|step| step.detail_json.clone()));
    }
    Digest::of_lines(lines.iter().map(String::as_str))
}

/// Refuses when the world is not the one that the caller planned for.
pub(crate) fn check_expectations(
    planned: &Planned,
    plan_digest: &str,
    expect_revision: u64,
) -> Result<()> {
    let actual = planned.base_number();
    let other_plan = !plan_digest.is_empty() && plan_digest != planned.plan.plan_digest;
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
