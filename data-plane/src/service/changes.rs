//! Changes of commits, differences, the change feed and baselines.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use omnigraph_engine as engine;
use omnigraph_engine::{
    BranchName, ChangeFilter, ChangePage, CommitId, DiffOptions, Error, FeedEnd, FeedPosition,
    FeedRequest, ReadOptions, Target,
};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::data::v1::poll_changes_request::Position;
use omnigraph_proto::data::v1::{
    Baseline, CaptureBaselineRequest, CaptureBaselineResponse, ChangeBlock, ChangeCause,
    DiffRequest, DiffResponse, GetCommitChangesRequest, GetCommitChangesResponse,
    PollChangesRequest, PollChangesResponse, capture_baseline_response::Frame,
};
use omnigraph_proto::error::WireError;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tonic::codegen::BoxStream;

use super::asks;
use super::convert;
use super::errors::{About, entity_kind, wire};
use super::export::too_many;
use crate::authorize::Guard;
use crate::generation::Generation;

/// A poll is held no longer.
const WAIT_MAX_MS: u32 = 30_000;
/// Kept of a call's time for its answer.
const ANSWERING: Duration = Duration::from_millis(500);

pub(super) async fn commit_changes(
    generation: &Generation,
    message: GetCommitChangesRequest,
    guard: &Guard,
) -> Result<GetCommitChangesResponse, WireError> {
    let id = convert::commit_id(&message.commit_id)?;
    let filter = filter(message.filter)?;
    let page = page(message.page_size, message.page_token);
    may_see(generation, &id, &filter, guard).await?;
    let found = generation.graph.commit_changes(&id, &filter, &page).await;
    let found = found.map_err(refused)?;
    Ok(GetCommitChangesResponse {
        block: Some(block(found.block)),
        next_page_token: found.next.unwrap_or_default(),
    })
}

/// Decides about a commit's changes. Who may not see them hears what is said of a commit that is not
/// there.
async fn may_see(
    generation: &Generation,
    id: &CommitId,
    filter: &ChangeFilter,
    guard: &Guard,
) -> Result<(), WireError> {
    let commit = generation.graph.commit(id).await.map_err(refused)?;
    let read = Call::new(Action::Read).on(commit.branch.as_str());
    let decided = match guard.check(&read) {
        Ok(()) if guard.limits_types() => {
            let target = Target::Commit(*id);
            let fresh = ReadOptions::default();
            let snapshot = generation.graph.snapshot(&target, &fresh).await;
            let snapshot = snapshot.map_err(refused)?;
            asks::filtered(guard, read, filter, &snapshot)
        }
        decided => decided,
    };
    decided.map_err(|error| match error.reason {
        ErrorReason::PermissionDenied => refused(Error::commit_not_found(id)),
        _ => error,
    })
}

pub(super) async fn diff(
    generation: &Generation,
    message: DiffRequest,
    guard: &Guard,
) -> Result<DiffResponse, WireError> {
    let (from, to) = (convert::target(message.from)?, convert::target(message.to)?);
    let options = DiffOptions {
        from_merge_base: message.from_merge_base,
        summary_only: message.summary_only,
        filter: filter(message.filter)?,
        page: page(message.page_size, message.page_token),
    };
    for side in [&from, &to] {
        let fresh = ReadOptions::default();
        let snapshot = generation.graph.snapshot(side, &fresh).await;
        let snapshot = snapshot.map_err(refused)?;
        asks::pinned(guard, Action::Read, side, &snapshot)?;
        let read = Call::new(Action::Read).on(asks::branch_of(side, &snapshot).as_str());
        asks::filtered(guard, read, &options.filter, &snapshot)?;
    }
    let diff = generation.graph.diff(&from, &to, &options).await;
    let diff = diff.map_err(refused)?;
    let branch = |side: &engine::DiffSide| {
        let name = side.branch.as_ref();
        name.map_or_else(String::new, ToString::to_string)
    };
    Ok(DiffResponse {
        from_branch: branch(&diff.from),
        from_commit_id: diff.from.commit.to_string(),
        to_branch: branch(&diff.to),
        to_commit_id: diff.to.commit.to_string(),
        merge_base_commit_id: diff
            .merge_base
            .map_or_else(String::new, |id| id.to_string()),
        summary: diff.summary.iter().map(convert::touched).collect(),
        changes: diff.changes.into_iter().map(change).collect(),
        next_page_token: diff.next.unwrap_or_default(),
    })
}

pub(super) async fn poll(
    generation: &Generation,
    message: PollChangesRequest,
    deadline: Option<Instant>,
    guard: &Guard,
) -> Result<PollChangesResponse, WireError> {
    let position = match message.position {
        None => FeedPosition::Now,
        Some(Position::Start(text)) => FeedPosition::parse_start(&text).map_err(refused)?,
        Some(Position::Cursor(text)) => FeedPosition::Cursor(text),
        Some(Position::PageToken(text)) => FeedPosition::Page(text),
    };
    if message.wait_ms > WAIT_MAX_MS {
        return Err(WireError::invalid_request(format!(
            "a poll is held for at most {WAIT_MAX_MS} ms"
        )));
    }
    let wait = Duration::from_millis(message.wait_ms.into());
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let request = FeedRequest {
        branch: convert::branch(&message.branch)?,
        position,
        filter: filter(message.filter)?,
        limit: size(message.page_size),
        wait: left.map_or(wait, |left| wait.min(left.saturating_sub(ANSWERING))),
    };
    may_follow(
        generation,
        Action::Read,
        &request.branch,
        &request.filter,
        guard,
    )
    .await?;
    let found = generation.graph.poll_changes(&request).await;
    let found = found.map_err(refused)?;
    let mut response = PollChangesResponse {
        blocks: found.blocks.into_iter().map(block).collect(),
        ..PollChangesResponse::default()
    };
    match found.end {
        FeedEnd::Page(token) => response.next_page_token = token,
        FeedEnd::Cursor { cursor, caught_up } => {
            response.cursor = cursor;
            response.caught_up = Some(caught_up);
        }
    }
    Ok(response)
}

pub(super) async fn baseline(
    generation: &Generation,
    message: CaptureBaselineRequest,
    permit: Result<OwnedSemaphorePermit, TryAcquireError>,
    guard: &Guard,
) -> Result<BoxStream<CaptureBaselineResponse>, WireError> {
    let permit = permit.map_err(|_| too_many())?;
    let branch = convert::branch(&message.branch)?;
    let filter = filter(message.filter)?;
    may_follow(generation, Action::Export, &branch, &filter, guard).await?;
    let baseline = generation.graph.baseline(&branch, &filter).await;
    let baseline = baseline.map_err(refused)?;
    let rest = Rest {
        records: baseline.records,
        end: Baseline {
            snapshot_commit_id: baseline.commit.to_string(),
            resume_cursor: baseline.cursor,
        },
        _permit: permit,
    };
    Ok(Box::pin(stream::try_unfold(
        Some(rest),
        |rest| async move {
            match rest {
                None => Ok(None),
                Some(rest) => rest.next().await.map(Some),
            }
        },
    )))
}

/// Decides about the types of a feed or a baseline.
async fn may_follow(
    generation: &Generation,
    action: Action,
    branch: &BranchName,
    filter: &ChangeFilter,
    guard: &Guard,
) -> Result<(), WireError> {
    if !guard.limits_types() {
        return Ok(());
    }
    let target = Target::Branch(branch.clone());
    let fresh = ReadOptions::default();
    let snapshot = generation.graph.snapshot(&target, &fresh).await;
    let snapshot = snapshot.map_err(refused)?;
    asks::filtered(
        guard,
        Call::new(action).on(branch.as_str()),
        filter,
        &snapshot,
    )
}

/// What is still to be sent of a baseline, and the right to send it.
struct Rest {
    records: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    end: Baseline,
    _permit: OwnedSemaphorePermit,
}

impl Rest {
    async fn next(mut self) -> Result<(CaptureBaselineResponse, Option<Rest>), tonic::Status> {
        let frame = |frame| CaptureBaselineResponse { frame: Some(frame) };
        match self.records.next().await {
            Some(Ok(chunk)) => Ok((frame(Frame::Ndjson(chunk)), Some(self))),
            Some(Err(error)) => Err(wire(error, About::Source).into()),
            None => Ok((frame(Frame::Baseline(self.end)), None)),
        }
    }
}

fn refused(error: Error) -> WireError {
    wire(error, About::Source)
}

fn page(page_size: u32, token: String) -> ChangePage {
    ChangePage {
        limit: size(page_size),
        token: convert::present(token),
    }
}

/// 0 is the default.
fn size(page_size: u32) -> Option<u64> {
    (page_size > 0).then_some(page_size.into())
}

fn filter(filter: Option<pb::ChangeFilter>) -> Result<ChangeFilter, WireError> {
    let unknown = |what: &str| WireError::invalid_request(format!("unknown {what} in the filter"));
    let filter = filter.unwrap_or_default();
    let edges = filter.kinds().map(|kind| match kind {
        pb::EntityKind::Node => Ok(false),
        pb::EntityKind::Edge => Ok(true),
        pb::EntityKind::Unspecified => Err(unknown("kind")),
    });
    let edges = edges.collect::<Result<BTreeSet<bool>, _>>()?;
    let ops = filter.ops().map(|op| match op {
        pb::ChangeOp::Insert => Ok(engine::ChangeOp::Insert),
        pb::ChangeOp::Update => Ok(engine::ChangeOp::Update),
        pb::ChangeOp::Delete => Ok(engine::ChangeOp::Delete),
        pb::ChangeOp::Unspecified => Err(unknown("op")),
    });
    let ops = ops.collect::<Result<BTreeSet<engine::ChangeOp>, _>>()?;
    Ok(ChangeFilter {
        edges,
        ops,
        types: filter.type_names.into_iter().collect(),
    })
}

fn block(block: engine::ChangeBlock) -> ChangeBlock {
    ChangeBlock {
        cause: Some(cause(&block.cause)),
        changes: block.changes.into_iter().map(change).collect(),
    }
}

fn cause(cause: &engine::ChangeCause) -> ChangeCause {
    ChangeCause {
        graph_commit_id: cause.commit.to_string(),
        parent_commit_id: cause.parent.map(|id| id.to_string()),
        merged_parent_commit_id: cause.merged_parent.map(|id| id.to_string()),
        authored_branch: cause.branch.to_string(),
        actor_id: cause.actor.as_ref().map(ToString::to_string),
        authored_at_us: cause.authored_at,
    }
}

fn change(change: engine::EntityChange) -> pb::EntityChange {
    let op = match change.op {
        engine::ChangeOp::Insert => pb::ChangeOp::Insert,
        engine::ChangeOp::Update => pb::ChangeOp::Update,
        engine::ChangeOp::Delete => pb::ChangeOp::Delete,
    };
    pb::EntityChange {
        kind: entity_kind(change.edge).into(),
        r#type: Some(pb::EntityType {
            id: change.type_id.to_string(),
            name: change.type_name,
        }),
        id: change.id,
        op: op.into(),
        before: change.before.map(image),
        after: change.after.map(image),
    }
}

fn image(image: engine::EntityImage) -> pb::EntityImage {
    let [from_id, to_id] = image.ends.unwrap_or_default();
    pb::EntityImage {
        properties_json: image.properties,
        from_id,
        to_id,
    }
}
