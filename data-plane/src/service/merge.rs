//! Merges and reverts, and their conflicts on the wire.

use std::collections::HashMap;
use std::time::Duration;

use omnigraph_engine as engine;
use omnigraph_engine::{
    Authorship, BranchName, ConflictKind, MergeOptions, MergeResult, ReadOptions, Resolution,
    RevertMode, RevertOptions, Strategies, Target,
};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::{MergeConflictKind, MergeResolution};
use omnigraph_proto::data::v1::{
    MergeBranchesRequest, MergeBranchesResponse, MergeOutcome, MergeStrategy, RevertBranchRequest,
    RevertBranchResponse, revert_branch_request,
};
use omnigraph_proto::error::WireError;

use super::asks::{self, Ask};
use super::convert;
use super::errors::{About, entity_kind, wire};
use crate::authorize::Guard;
use crate::generation::Generation;

/// A merge changes its target; a trial reads both sides.
pub(super) fn asks(message: &MergeBranchesRequest) -> Vec<Ask<'_>> {
    let (source, target) = (asks::branch(&message.source), asks::branch(&message.target));
    match message.dry_run {
        true => vec![
            asks::on(Action::Read, source),
            asks::on(Action::Read, target),
        ],
        false => {
            let merge = Call::new(Action::BranchMerge).on(source).to(target);
            vec![Ask::Exactly(merge)]
        }
    }
}

pub(super) async fn merge(
    generation: &Generation,
    message: MergeBranchesRequest,
    by: Authorship,
    left: Duration,
    guard: &Guard,
) -> Result<MergeBranchesResponse, WireError> {
    let source = convert::named_branch(&message.source)?;
    let target = convert::branch(&message.target)?;
    let actor_id = by.actor.as_ref().map(ToString::to_string);
    if message.dry_run {
        for side in [&source, &target] {
            every_type(generation, guard, Action::Read, side).await?;
        }
    }
    // The merge goes on without the deletion; the answer says so.
    let delete = Call::new(Action::BranchDelete).to(source.as_str());
    let kept = match message.delete_source && !message.dry_run {
        true => guard.check(&delete).err().map(|refused| refused.message),
        false => None,
    };
    let options = MergeOptions {
        dry_run: message.dry_run,
        strategies: Strategies {
            general: strategy(message.strategy()),
            by_type: strategies(message.strategies)?,
        },
        if_source: convert::maybe_commit(&message.if_source_commit)?,
        delete_source: message.delete_source && kept.is_none(),
        write: convert::write_options(message.options, by, left)?,
    };
    let merged = generation.graph.merge(&source, &target, &options).await;
    let merged = merged.map_err(|error| wire(error, About::Source))?;
    Ok(MergeBranchesResponse {
        source: source.to_string(),
        target: target.to_string(),
        outcome: outcome(&merged).into(),
        actor_id,
        branch_deleted: kept.as_ref().map_or(merged.source_deleted, |_| Some(false)),
        branch_delete_error: kept.or(merged.source_delete_error).unwrap_or_default(),
        commit: merged.commit.as_ref().map(convert::commit),
        dry_run: options.dry_run,
        conflicts: (merged.conflicts.total > 0).then(|| conflicts(&merged.conflicts)),
        merge_base_commit_id: merged.merge_base.to_string(),
        changes: merged.changes.iter().map(convert::touched).collect(),
        replayed: merged.replayed,
    })
}

pub(super) async fn revert(
    generation: &Generation,
    message: RevertBranchRequest,
    by: Authorship,
    left: Duration,
    guard: &Guard,
) -> Result<RevertBranchResponse, WireError> {
    use revert_branch_request::Mode;

    let branch = convert::branch(&message.branch)?;
    let mode = match &message.mode {
        Some(Mode::ToCommitId(id)) => RevertMode::To(convert::commit_id(id)?),
        Some(Mode::UndoCommitId(id)) => RevertMode::Undo(convert::commit_id(id)?),
        None => {
            return Err(WireError::invalid_request(
                "a revert names the commit to go back to, or the commit to undo",
            ));
        }
    };
    every_type(generation, guard, Action::Change, &branch).await?;
    let options = RevertOptions {
        mode,
        dry_run: message.dry_run,
        write: convert::write_options(message.options, by, left)?,
    };
    let reverted = generation.graph.revert(&branch, &options).await;
    let reverted = reverted.map_err(|error| wire(error, About::Source))?;
    Ok(RevertBranchResponse {
        branch: branch.to_string(),
        commit: reverted.commit.as_ref().map(convert::commit),
        changes: reverted.changes.iter().map(convert::touched).collect(),
        conflicts: (reverted.conflicts.total > 0).then(|| conflicts(&reverted.conflicts)),
        dry_run: options.dry_run,
        replayed: reverted.replayed,
    })
}

/// Decides about every type of a branch: merges and reverts touch what has changed, whichever that
/// is.
async fn every_type(
    generation: &Generation,
    guard: &Guard,
    action: Action,
    branch: &BranchName,
) -> Result<(), WireError> {
    if !guard.limits_types() {
        return Ok(());
    }
    let target = Target::Branch(branch.clone());
    let fresh = ReadOptions::default();
    let snapshot = generation.graph.snapshot(&target, &fresh).await;
    let snapshot = snapshot.map_err(|error| wire(error, About::Source))?;
    let call = Call::new(action).on(branch.as_str());
    asks::types(guard, call, &[], &snapshot)
}

/// Conflicts as clients know them.
pub(super) fn conflicts(found: &engine::Conflicts) -> pb::MergeConflicts {
    pb::MergeConflicts {
        conflicts: found.listed.iter().map(conflict).collect(),
        total: found.total,
        truncated: (found.listed.len() as u64) < found.total,
    }
}

fn conflict(conflict: &engine::MergeConflict) -> pb::MergeConflict {
    let kind = match conflict.kind {
        ConflictKind::DivergentInsert => MergeConflictKind::DivergentInsert,
        ConflictKind::DivergentUpdate => MergeConflictKind::DivergentUpdate,
        ConflictKind::DeleteVsUpdate => MergeConflictKind::DeleteVsUpdate,
        ConflictKind::OrphanEdge => MergeConflictKind::OrphanEdge,
        ConflictKind::UniqueViolation => MergeConflictKind::UniqueViolation,
        ConflictKind::CardinalityViolation => MergeConflictKind::CardinalityViolation,
        ConflictKind::ValueConstraintViolation => MergeConflictKind::ValueConstraintViolation,
        ConflictKind::SchemaDiverged => MergeConflictKind::SchemaDiverged,
    };
    let resolution = match conflict.resolution {
        None => MergeResolution::Unspecified,
        Some(Resolution::Ours) => MergeResolution::Ours,
        Some(Resolution::Theirs) => MergeResolution::Theirs,
    };
    pb::MergeConflict {
        entity: Some(pb::EntityRef {
            kind: entity_kind(conflict.edge).into(),
            type_name: conflict.type_name.clone(),
            entity_id: conflict.entity_id.clone().unwrap_or_default(),
        }),
        kind: kind.into(),
        message: conflict.message.clone(),
        resolution: resolution.into(),
        base: conflict.base.as_ref().map(image),
        ours: conflict.ours.as_ref().map(image),
        theirs: conflict.theirs.as_ref().map(image),
    }
}

fn image(image: &engine::ConflictImage) -> pb::EntityImage {
    let [from_id, to_id] = image.ends.clone().unwrap_or_default();
    pb::EntityImage {
        properties_json: serde_json::Value::Object(image.properties.clone()).to_string(),
        from_id,
        to_id,
    }
}

fn outcome(merged: &MergeResult) -> MergeOutcome {
    match merged.outcome {
        engine::MergeOutcome::AlreadyUpToDate => MergeOutcome::AlreadyUpToDate,
        engine::MergeOutcome::FastForward => MergeOutcome::FastForward,
        engine::MergeOutcome::Merged => MergeOutcome::Merged,
        engine::MergeOutcome::Conflicted => MergeOutcome::Conflicted,
    }
}

fn strategy(strategy: MergeStrategy) -> engine::MergeStrategy {
    match strategy {
        MergeStrategy::Unspecified | MergeStrategy::Fail => engine::MergeStrategy::Fail,
        MergeStrategy::Ours => engine::MergeStrategy::Ours,
        MergeStrategy::Theirs => engine::MergeStrategy::Theirs,
    }
}

fn strategies(
    given: HashMap<String, i32>,
) -> Result<std::collections::BTreeMap<String, engine::MergeStrategy>, WireError> {
    given
        .into_iter()
        .map(|(name, number)| {
            let known = MergeStrategy::try_from(number).ok();
            let known = known.filter(|known| *known != MergeStrategy::Unspecified);
            let named = known.ok_or_else(|| {
                WireError::invalid_request(format!("unknown merge strategy for type '{name}'"))
            })?;
            Ok((name, strategy(named)))
        })
        .collect()
}
