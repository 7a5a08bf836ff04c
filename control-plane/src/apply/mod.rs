//! Making the cluster match a configuration: stage everything → arm → check → act → ledger →
//! disarm. Only a schema change of a living graph touches two logs, and only for it a sidecar is
//! armed; for everything else the ledger entry *is* the act.

mod events;
mod publish;
mod run;
mod schema;

use std::time::Duration;

use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, Disposition};

pub(crate) use events::Events;
pub(crate) use publish::Publication;

use crate::declared::Declared;
use crate::error::Result;
use crate::finding;
use crate::plan::{Planned, check_expectations};
use crate::plane::ControlPlane;
use crate::sweep::Undecided;
use run::Run;

impl ControlPlane {
    /// Applies a configuration and tells `events` what happens. An error means that nothing was
    /// begun; whatever fails later is in the result.
    pub(crate) async fn apply(
        &self,
        request: &ApplyRequest,
        actor: Option<&str>,
        events: &Events,
    ) -> Result<ApplyResult> {
        let bundle = request.bundle.clone().unwrap_or_default();
        let mut declared = Declared::of(&bundle);
        declared.findings.extend(self.lockout(&declared, actor));
        if let Some(result) = self.settled(request, &declared, actor, events).await? {
            return Ok(result);
        }
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("apply", actor, patience).await?;
        let planned = async {
            let undecided = self.sweep(&turn.leader).await?;
            let planned = self.plan(&declared, &undecided, true).await?;
            check_expectations(&planned, &request.plan_digest, request.expect_revision)?;
            Ok(planned)
        };
        let planned = match planned.await {
            Ok(planned) => planned,
            Err(error) => {
                turn.finish().await;
                return Err(error);
            }
        };
        events.plan(&planned.plan).await;
        let result = Run::new(self, &turn, &declared, &planned, actor, request, events)
            .run()
            .await;
        turn.finish().await;
        events.result(&result).await;
        Ok(result)
    }

    /// The answer when there is nothing to do: nothing is written, the lead is not taken.
    async fn settled(
        &self,
        request: &ApplyRequest,
        declared: &Declared,
        actor: Option<&str>,
        events: &Events,
    ) -> Result<Option<ApplyResult>> {
        let planned = self.plan(declared, &Undecided::new(), true).await?;
        if !planned.is_settled(declared) || !self.shared().sidecars.list().await?.is_empty() {
            return Ok(None);
        }
        check_expectations(&planned, &request.plan_digest, request.expect_revision)?;
        let result = ApplyResult {
            ok: true,
            revision: planned.base_number(),
            converged: planned.plan.converged,
            state_written: false,
            applied_count: 0,
            blocked_count: count_held(&planned),
            operation_id: String::new(),
            actor_id: actor.unwrap_or_default().to_owned(),
            changes: planned.plan.changes.clone(),
            diagnostics: planned.plan.diagnostics.clone(),
        };
        events.plan(&planned.plan).await;
        events.held_back(&planned.plan).await;
        events.result(&result).await;
        Ok(Some(result))
    }

    /// The plan as a caller asks for it, without the right to change anything.
    #[cfg(test)]
    pub(crate) async fn plan_for(
        &self,
        bundle: &omnigraph_proto::control::v1::ConfigBundle,
        refresh: bool,
    ) -> Result<Planned> {
        self.plan_declared(&Declared::of(bundle), refresh).await
    }

    /// The plan for what was read already, without the right to change anything.
    pub(crate) async fn plan_declared(
        &self,
        declared: &Declared,
        refresh: bool,
    ) -> Result<Planned> {
        let mut warnings = Vec::new();
        for found in self.shared().sidecars.list().await? {
            match found {
                // The next change resolves it first.
                crate::sidecar::Found::Sidecar(sidecar) => {
                    let reason = format!("operation {} is not finished", sidecar.operation_id);
                    warnings.push(finding::warning("recovery_pending", &reason));
                }
                crate::sidecar::Found::Unattributable { path, reason } => {
                    return Err(crate::sweep::unattributable(&path, &reason));
                }
            }
        }
        let mut planned = self.plan(declared, &Undecided::new(), refresh).await?;
        planned.plan.diagnostics.extend(warnings);
        Ok(planned)
    }
}

fn count_held(planned: &Planned) -> u32 {
    let held = planned.plan.changes.iter().filter(|change| {
        let disposition = change.disposition();
        matches!(
            disposition,
            Disposition::Blocked | Disposition::ApprovalRequired
        )
    });
    u32::try_from(held.count()).unwrap_or(u32::MAX)
}
