//! Engine and wire, value by value.

use std::time::{Duration, Instant};

use omnigraph_engine as engine;
use omnigraph_engine::{
    Authorship, BranchName, CommitId, Consistency, ReadOptions, TagName, Target, WriteOptions,
};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::{CommitKind, GraphState, read_target};
use omnigraph_proto::error::WireError;

use super::errors::{About, entity_kind, wire};
use crate::state::Phase;

/// A state as clients know it.
pub(crate) fn graph_state(phase: Phase) -> GraphState {
    match phase {
        Phase::Loading => GraphState::Loading,
        Phase::Ready => GraphState::Ready,
        Phase::Stale => GraphState::Stale,
        Phase::Quarantined => GraphState::Quarantined,
    }
}

/// A branch name; an empty one is `main`.
pub(super) fn branch(name: &str) -> Result<BranchName, WireError> {
    match name.trim() {
        "" => Ok(BranchName::main()),
        name => BranchName::parse(name).map_err(|error| wire(error, About::Source)),
    }
}

/// A branch name that must be there.
pub(super) fn named_branch(name: &str) -> Result<BranchName, WireError> {
    match name.trim() {
        "" => Err(WireError::invalid_request("the branch name is empty")),
        _ => branch(name),
    }
}

/// A commit id; an empty one is none.
pub(super) fn maybe_commit(id: &str) -> Result<Option<CommitId>, WireError> {
    match id {
        "" => Ok(None),
        id => commit_id(id).map(Some),
    }
}

/// A commit id.
pub(super) fn commit_id(id: &str) -> Result<CommitId, WireError> {
    CommitId::parse(id).map_err(|error| wire(error, About::Source))
}

/// What is to be read; unset is `main`.
pub(super) fn target(target: Option<pb::ReadTarget>) -> Result<Target, WireError> {
    match target.and_then(|target| target.target) {
        None => Ok(Target::default()),
        Some(read_target::Target::Branch(name)) => Ok(Target::Branch(branch(&name)?)),
        Some(read_target::Target::CommitId(id)) => Ok(Target::Commit(commit_id(&id)?)),
        Some(read_target::Target::Tag(name)) => Ok(Target::Tag(
            TagName::parse(&name).map_err(|error| wire(error, About::Source))?,
        )),
        Some(read_target::Target::AsOf(as_of)) => Ok(Target::AsOf {
            branch: branch(&as_of.branch)?,
            at: as_of.at_us,
        }),
        Some(read_target::Target::Name(text)) => Ok(Target::Named(text)),
    }
}

/// What was read: the branch, or else the commit that the target meant.
pub(super) fn read_target(target: &Target, read: CommitId) -> pb::ReadTarget {
    let target = match target {
        Target::Branch(name) => read_target::Target::Branch(name.to_string()),
        _ => read_target::Target::CommitId(read.to_string()),
    };
    pb::ReadTarget {
        target: Some(target),
    }
}

/// How fresh a read has to be.
pub(super) fn read_options(
    options: Option<pb::ReadOptions>,
    deadline: Option<Instant>,
) -> Result<ReadOptions, WireError> {
    let options = options.unwrap_or_default();
    Ok(ReadOptions {
        consistency: match options.max_staleness_ms {
            None => Consistency::Strong,
            Some(ms) => Consistency::Bounded(Duration::from_millis(ms.into())),
        },
        min_commit: maybe_commit(&options.min_commit_id)?,
        deadline,
    })
}

/// How a write is to be done.
pub(super) fn write_options(
    options: Option<pb::WriteOptions>,
    by: Authorship,
    left: Duration,
) -> Result<WriteOptions, WireError> {
    let options = options.unwrap_or_default();
    Ok(WriteOptions {
        by: Authorship {
            message: present(options.message),
            ..by
        },
        if_head: maybe_commit(&options.if_head_commit)?,
        idempotency_key: present(options.idempotency_key),
        deadline: left,
        ..WriteOptions::default()
    })
}

/// Parameters as they were sent; an empty text is none.
pub(super) fn params(json: &str) -> Result<serde_json::Map<String, serde_json::Value>, WireError> {
    if json.is_empty() {
        return Ok(serde_json::Map::new());
    }
    serde_json::from_str(json).map_err(|error| {
        WireError::invalid_request(format!("the parameters must be a json object: {error}"))
    })
}

/// A commit on the wire.
pub(super) fn commit(commit: &engine::Commit) -> pb::Commit {
    let mut parents = commit.parents.iter().map(|parent| parent.id.to_string());
    pb::Commit {
        graph_commit_id: commit.id.to_string(),
        graph_branch: commit.branch.to_string(),
        graph_manifest_version: commit.version,
        parent_commit_id: parents.next(),
        merged_parent_commit_id: parents.next(),
        actor_id: commit.actor.as_ref().map(ToString::to_string),
        created_at_us: commit.created_at,
        kind: commit_kind(commit.kind).into(),
        message: commit.message.clone().unwrap_or_default(),
        touched: commit.touched.iter().map(touched).collect(),
    }
}

/// Counts of one type.
pub(super) fn touched(touched: &engine::Touched) -> pb::TypeCount {
    pb::TypeCount {
        kind: entity_kind(touched.edge).into(),
        type_name: touched.type_name.clone(),
        inserted: touched.inserted,
        updated: touched.updated,
        deleted: touched.deleted,
    }
}

fn commit_kind(kind: engine::CommitKind) -> CommitKind {
    match kind {
        engine::CommitKind::Load => CommitKind::Load,
        engine::CommitKind::Mutate => CommitKind::Mutate,
        engine::CommitKind::Merge => CommitKind::Merge,
        engine::CommitKind::Revert => CommitKind::Revert,
        engine::CommitKind::Schema => CommitKind::Schema,
        engine::CommitKind::Maintenance => CommitKind::Maintenance,
        engine::CommitKind::Fence => CommitKind::Fence,
    }
}

/// The wire's empty string is absence.
pub(super) fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
