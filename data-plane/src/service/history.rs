//! Snapshots and commits.

use std::time::Instant;

use omnigraph_engine::{DatasetInfo, STORAGE_FORMAT};
use omnigraph_policy::Action;
use omnigraph_proto::data::v1::{
    GetCommitRequest, GetCommitResponse, GetSnapshotRequest, GetSnapshotResponse,
    ListCommitsRequest, ListCommitsResponse, SnapshotDataset,
};
use omnigraph_proto::error::WireError;

use super::asks;
use super::convert;
use super::errors::{About, entity_kind, wire};
use crate::authorize::Guard;
use crate::generation::Generation;

/// Page of a request that names no size, and the largest.
pub(super) const PAGE_MAX: u32 = 1000;

pub(super) async fn snapshot(
    generation: &Generation,
    message: GetSnapshotRequest,
    deadline: Option<Instant>,
    guard: &Guard,
) -> Result<GetSnapshotResponse, WireError> {
    let target = convert::target(message.target)?;
    let options = convert::read_options(message.options, deadline)?;
    let snapshot = generation
        .graph
        .snapshot(&target, &options)
        .await
        .map_err(|error| wire(error, About::Source))?;
    asks::pinned(guard, Action::Read, &target, &snapshot)?;
    let commit = snapshot.commit();
    let branch = snapshot.branch().unwrap_or(&commit.branch);
    Ok(GetSnapshotResponse {
        graph_branch: branch.to_string(),
        graph_manifest_version: commit.version,
        internal_schema_version: STORAGE_FORMAT,
        graph_commit_id: commit.id.to_string(),
        datasets: snapshot.datasets().into_iter().map(dataset).collect(),
    })
}

fn dataset(dataset: DatasetInfo) -> SnapshotDataset {
    SnapshotDataset {
        kind: entity_kind(dataset.edge).into(),
        type_name: dataset.type_name,
        dataset_path: dataset.path,
        published_dataset_version: dataset.version,
        native_dataset_branch: String::new(),
        entity_count: dataset.rows,
    }
}

pub(super) async fn commits(
    generation: &Generation,
    message: ListCommitsRequest,
) -> Result<ListCommitsResponse, WireError> {
    let branch = convert::branch(&message.branch)?;
    let limit = page_size(message.page_size)?;
    let after = convert::present(message.page_token);
    let page = generation
        .graph
        .commits(&branch, Some(limit), after.as_deref())
        .await
        .map_err(|error| wire(error, About::Source))?;
    Ok(ListCommitsResponse {
        commits: page.commits.iter().map(convert::commit).collect(),
        next_page_token: page.next.unwrap_or_default(),
    })
}

pub(super) fn page_size(asked: u32) -> Result<usize, WireError> {
    match asked {
        0 => Ok(PAGE_MAX as usize),
        1..=PAGE_MAX => Ok(asked as usize),
        _ => Err(WireError::invalid_request(format!(
            "a page has at most {PAGE_MAX} entries"
        ))),
    }
}

pub(super) async fn commit(
    generation: &Generation,
    message: GetCommitRequest,
) -> Result<GetCommitResponse, WireError> {
    let id = convert::commit_id(&message.commit_id)?;
    let commit = generation
        .graph
        .commit(&id)
        .await
        .map_err(|error| wire(error, About::Source))?;
    Ok(GetCommitResponse {
        commit: Some(convert::commit(&commit)),
    })
}
