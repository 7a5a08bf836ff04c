//! Changes that lose data and wait for somebody's consent.

use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition};

use super::look::vanished;
use super::{Builder, Change};
use crate::approval::{Approval, Consent, Loss};
use crate::declared::DeclaredGraph;
use crate::ledger::GraphContent;
use crate::roots::FoundRoot;

impl Builder {
    /// A graph that is applied and not declared any more.
    pub(super) fn delete_graph(
        &mut self,
        id: &GraphId,
        applied: &GraphContent,
        approvals: &[Approval],
    ) {
        let consent = Consent::to_delete(id, applied, approvals);
        let settings = applied.settings_digest();
        let resource = consent.resource.clone();
        let change = Change::new(resource, ChangeOperation::Delete, Some(&settings), None);
        if let Some(approval) = consent.approval {
            self.deletes.insert(id.clone(), approval);
        }
        self.push_consented(change, consent);
    }

    /// A graph whose root is gone. A new one would be empty, so that nobody makes it unasked.
    pub(super) fn vanished_graph(
        &mut self,
        graph: &DeclaredGraph,
        applied: &GraphContent,
        others: &[FoundRoot],
        approvals: &[Approval],
    ) {
        let id = &graph.id;
        let found = vanished(applied, others);
        let (old, new) = (applied.settings_digest(), graph.digest());
        let resource = format!("graph.{id}");
        let mut change = Change::new(resource, ChangeOperation::Recreate, Some(&old), Some(&new));
        change.drift = true;
        if !others.is_empty() {
            let remedy = "put the applied one back, or move the other away";
            self.push(change.blocked(format!("{found}: {remedy}")));
            return;
        }
        if graph.schema.is_none() {
            self.push(change.blocked(super::graph::schema_errors(id)));
            return;
        }
        change.reason = found;
        let consent = Consent::to_recreate(graph, applied, approvals);
        if let Some(approval) = consent.approval {
            self.replaces.insert(id.clone(), approval);
            self.creates.push(id.clone());
        }
        self.push_consented(change, consent);
    }

    fn push_consented(&mut self, mut change: Change, consent: Consent) {
        if consent.approval.is_none() {
            change.disposition = Disposition::ApprovalRequired;
            let resource = &consent.resource;
            let lost = match consent.loss {
                Loss::Delete => "its data and history would be lost",
                Loss::Recreate => "the graph would come back empty",
            };
            let remedy = format!("omnigraphctl approve {resource}");
            change.reason = match change.reason.as_str() {
                "" => format!("{lost}: {remedy}"),
                found => format!("{found}; {lost}: {remedy}"),
            };
        }
        self.consents.push(consent);
        self.push(change);
    }

    pub(super) fn approvals_required(&self) -> Vec<pb::ApprovalRequirement> {
        let required = self.consents.iter().map(|consent| {
            let change = self.changes.iter().find(|c| c.resource == consent.resource);
            pb::ApprovalRequirement {
                resource: consent.resource.clone(),
                reason: change.map(|c| c.reason.clone()).unwrap_or_default(),
                satisfied: consent.approval.is_some(),
                approval_id: consent
                    .approval
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
            }
        });
        required.collect()
    }
}
