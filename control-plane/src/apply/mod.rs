//! Making the cluster match a configuration: stage everything → arm → check → act → ledger →
//! disarm. Only a schema change of a living graph touches two logs, and only for it a sidecar is
//! armed; for everything else the ledger entry *is* the act.
//!
//! An apply is admitted first: it has the turn, the plan is made under the lead and is the one that
//! the caller expects. From then on it belongs to this process and not to its caller.

mod content;
mod events;
mod publish;
mod rollback;
mod run;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, ConfigBundle, Disposition};

pub(crate) use content::{graph_content, providers};
pub(crate) use events::Events;
pub(crate) use publish::Publication;
pub(crate) use run::of_error;

use crate::declared::Declared;
use crate::error::{Error, Result};
use crate::finding;
use crate::lead::Turn;
use crate::operation::{Event, Operation};
use crate::plan::{Planned, Targets, check_expectations};
use crate::plane::ControlPlane;
use crate::sweep::Undecided;
use run::Run;

/// What becomes of a request.
pub(crate) enum Admission {
    /// There is nothing to do: nothing was written, the lead was not taken.
    Settled(Vec<Event>, Box<ApplyResult>),
    Admitted(Box<Admitted>),
}

/// An apply that may run.
pub(crate) struct Admitted {
    plane: ControlPlane,
    turn: Turn,
    declared: Declared,
    planned: Planned,
    actor: Option<String>,
    request: ApplyRequest,
    /// What the history calls it.
    operation: &'static str,
}

impl ControlPlane {
    /// Applies a configuration. An error means that nothing was begun; whatever fails later is in
    /// the result.
    #[cfg(test)]
    pub(crate) async fn apply(
        &self,
        request: &ApplyRequest,
        actor: Option<&str>,
    ) -> Result<(ApplyResult, Vec<Event>)> {
        Ok(self
            .admit(request.clone(), actor)
            .await?
            .run_to_the_end()
            .await)
    }

    /// Waits for the turn, plans, and checks that this is what the caller expects. An error means
    /// that nothing was begun.
    pub(crate) async fn admit(
        &self,
        mut request: ApplyRequest,
        actor: Option<&str>,
    ) -> Result<Admission> {
        let bundle = request.bundle.take().unwrap_or_default();
        let targets = Targets::parse(&request.targets)?;
        let mut declared = declare(bundle).await?;
        declared.findings.extend(self.lockout(&declared, actor));
        if let Some(settled) = self.settled(&request, &declared, &targets, actor).await? {
            return Ok(settled);
        }
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("apply", actor, patience).await?;
        turn.operation.note(&request.message);
        let planned = async {
            let undecided = self.sweep(&turn.leader).await?;
            let planned = self.plan(&declared, &undecided, true).await?;
            let planned = planned.narrow(&targets, &declared)?;
            check_expectations(&planned, &request.plan_digest, request.expect_revision)?;
            Ok(planned)
        };
        let planned = match planned.await {
            Ok(planned) => planned,
            Err(error) => {
                turn.give_back().await;
                return Err(error);
            }
        };
        targets.narrow(&mut declared, &planned);
        Ok(Admission::Admitted(Box::new(Admitted {
            plane: self.clone(),
            turn,
            declared,
            planned,
            actor: actor.map(str::to_owned),
            request,
            operation: "apply",
        })))
    }

    /// The answer when there is nothing to do.
    async fn settled(
        &self,
        request: &ApplyRequest,
        declared: &Declared,
        targets: &Targets,
        actor: Option<&str>,
    ) -> Result<Option<Admission>> {
        let planned = self.plan(declared, &Undecided::new(), true).await?;
        let planned = planned.narrow(targets, declared)?;
        let settled = match targets.is_everything() {
            true => planned.is_settled(declared),
            false => planned.is_settled_in_part(),
        };
        if !settled || !self.shared().sidecars.list().await?.is_empty() {
            return Ok(None);
        }
        if let Some(base) = &planned.base
            && self.has_endings(&base.content).await?
        {
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
        let events = Events::kept();
        events.plan(&planned.plan);
        events.held_back(&planned.plan).await;
        events.result(&result);
        Ok(Some(Admission::Settled(
            events.into_kept(),
            Box::new(result),
        )))
    }

    /// The plan of a whole configuration.
    #[cfg(test)]
    pub(crate) async fn plan_for(&self, bundle: &ConfigBundle, refresh: bool) -> Result<Planned> {
        self.plan_part(bundle, &[], refresh).await
    }

    /// The plan as a caller asks for it, without the right to change anything.
    #[cfg(test)]
    pub(crate) async fn plan_part(
        &self,
        bundle: &ConfigBundle,
        targets: &[String],
        refresh: bool,
    ) -> Result<Planned> {
        let declared = declare(bundle.clone()).await?;
        self.plan_declared(&declared, targets, refresh).await
    }

    /// The plan for what was read already.
    pub(crate) async fn plan_declared(
        &self,
        declared: &Declared,
        targets: &[String],
        refresh: bool,
    ) -> Result<Planned> {
        let targets = Targets::parse(targets)?;
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
        let planned = self.plan(declared, &Undecided::new(), refresh).await?;
        let mut planned = planned.narrow(&targets, declared)?;
        planned.plan.diagnostics.extend(warnings);
        Ok(planned)
    }
}

#[cfg(test)]
impl Admission {
    /// Runs what was admitted; its result and everything that it told.
    pub(crate) async fn run_to_the_end(self) -> (ApplyResult, Vec<Event>) {
        let admitted = match self {
            Admission::Settled(events, result) => return (*result, events),
            Admission::Admitted(admitted) => admitted,
        };
        let operation = Arc::clone(admitted.operation());
        let result = admitted.run().await;
        let mut events = Vec::new();
        while let Some(event) = operation.event(events.len()).await {
            events.push(event);
        }
        (result, events)
    }
}

impl Admitted {
    pub(crate) fn operation(&self) -> &Arc<Operation> {
        &self.turn.operation
    }

    /// Runs to the end, whether or not anybody listens.
    pub(crate) async fn run(self) -> ApplyResult {
        let events = Events::of(&self.turn.operation);
        events.plan(&self.planned.plan);
        let actor = self.actor.as_deref();
        let (plane, turn) = (&self.plane, &self.turn);
        let run = Run::new(
            plane,
            turn,
            &self.declared,
            &self.planned,
            actor,
            &self.request,
            &events,
        );
        let mut result = run.named(self.operation).run().await;
        result.converged &= self.planned.plan.omitted_changes == 0;
        events.result(&result);
        self.turn.finish().await;
        result
    }

    /// Nobody wants it any more: nothing was begun.
    pub(crate) async fn give_back(self) {
        self.turn.give_back().await;
    }
}

/// Bundles of so many bytes are read in a thread of their own.
const LARGE: usize = 64 << 10;

/// Reads and checks a bundle. That takes a while for large ones, and must not keep a leader from
/// showing that it lives.
pub(crate) async fn declare(bundle: ConfigBundle) -> Result<Declared> {
    let size: usize = bundle.files.iter().map(|file| file.content.len()).sum();
    let declared = match size < LARGE {
        true => Ok(Declared::of(&bundle)),
        false => tokio::task::spawn_blocking(move || Declared::of(&bundle)).await,
    };
    let declared = declared
        .map_err(|error| Error::internal("a configuration could not be read").with_source(error))?;
    let compiled = declared.compiled;
    tracing::debug!(
        size,
        compiled.schemas,
        compiled.query_files,
        "a configuration was read"
    );
    Ok(declared)
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
