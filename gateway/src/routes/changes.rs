//! Changes of commits, differences, the change feed and baselines.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use omnigraph_proto::common::v1::read_target::Target;
use omnigraph_proto::common::v1::{BranchAsOf, ChangeFilter, ChangeOp, EntityKind, ReadTarget};
use omnigraph_proto::data::v1::poll_changes_request::Position;
use omnigraph_proto::data::v1::{
    CaptureBaselineRequest, CaptureBaselineResponse, DiffRequest, GetCommitChangesRequest,
    PollChangesRequest, capture_baseline_response,
};
use tonic::Streaming;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{AsOf, Budget, GraphCall, JsonBody, QueryParams, branch_name};
use crate::formats::aborted;
use crate::shapes::{
    BaselineOutput, ChangeBaselineRequest, ChangeFeedOutput, CommitChangesOutput, DiffOutput,
    DiffSide, change_block, changes, present,
};

/// Parameters that narrow every list of changes.
const FILTER: [&str; 5] = ["kind", "type", "op", "limit", "page_token"];

pub(crate) async fn commit(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    params.only(&FILTER)?;
    let message = GetCommitChangesRequest {
        graph_id: graph.graph_id.clone(),
        commit_id: graph.segment("id").trim().to_owned(),
        filter: Some(filter(&params)?),
        page_size: page_size(&params)?,
        page_token: params.text("page_token")?.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graphs.get_commit_changes(request);
    let (metadata, found, _) = graph.wait(Budget::Read, answer).await?.into_parts();
    let block = found.block.unwrap_or_default();
    let cause = block.cause.unwrap_or_default();
    let answer = Answer::new(&metadata).commit(&cause.graph_commit_id);
    answer.json(&CommitChangesOutput {
        cause: cause.into(),
        changes: changes(block.changes)?,
        next_page_token: present(found.next_page_token),
    })
}

pub(crate) async fn diff(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let own = [
        "from",
        "to",
        "from_as_of",
        "to_as_of",
        "base",
        "summary_only",
    ];
    params.only(&[&own[..], &FILTER].concat())?;
    let message = DiffRequest {
        graph_id: graph.graph_id.clone(),
        from: Some(side(&params, "from")?),
        to: Some(side(&params, "to")?),
        from_merge_base: match params.one("base")? {
            None | Some("from") => false,
            Some("merge_base") => true,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "query parameter 'base' must be 'merge_base'",
                ));
            }
        },
        summary_only: params.switch("summary_only")?,
        filter: Some(filter(&params)?),
        page_size: page_size(&params)?,
        page_token: params.text("page_token")?.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.diff(request)).await?;
    let (metadata, diff, _) = answer.into_parts();
    let answer = Answer::new(&metadata).commit(&diff.to_commit_id);
    answer.json(&DiffOutput {
        from: DiffSide {
            branch: present(diff.from_branch),
            graph_commit_id: diff.from_commit_id,
        },
        to: DiffSide {
            branch: present(diff.to_branch),
            graph_commit_id: diff.to_commit_id,
        },
        merge_base: present(diff.merge_base_commit_id),
        summary: diff.summary.into_iter().map(Into::into).collect(),
        changes: changes(diff.changes)?,
        next_page_token: present(diff.next_page_token),
    })
}

pub(crate) async fn poll(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let own = ["branch", "cursor", "start", "wait_ms"];
    params.only(&[&own[..], &FILTER].concat())?;
    let message = PollChangesRequest {
        graph_id: graph.graph_id.clone(),
        branch: params.branch("branch")?,
        position: position(&params)?,
        filter: Some(filter(&params)?),
        page_size: page_size(&params)?,
        wait_ms: match params.one("wait_ms")? {
            None => 0,
            Some(text) => text
                .parse()
                .ok()
                .filter(|ms| *ms <= 30_000)
                .ok_or_else(|| {
                    ApiError::bad_request(
                        "query parameter 'wait_ms' must be a number from 0 to 30000",
                    )
                })?,
        },
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Read, graphs.poll_changes(request))
        .await?;
    let (metadata, page, _) = answer.into_parts();
    let blocks = page.blocks.into_iter().map(change_block);
    Answer::new(&metadata).json(&ChangeFeedOutput {
        blocks: blocks.collect::<Result<_, _>>()?,
        next_page_token: present(page.next_page_token),
        cursor: present(page.cursor),
        caught_up: page.caught_up,
    })
}

pub(crate) async fn baseline(
    graph: GraphCall,
    JsonBody(body): JsonBody<ChangeBaselineRequest>,
) -> Result<Response, ApiError> {
    let message = CaptureBaselineRequest {
        graph_id: graph.graph_id.clone(),
        branch: branch_name(body.branch.as_deref(), "main")?,
        filter: Some(filter_of(&body.kind, body.types, &body.op)?),
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut graphs = graph.graphs();
    let answer = graphs.capture_baseline(request);
    let (metadata, frames, _) = graph.wait(Budget::Write, answer).await?.into_parts();
    let answer = Answer::new(&metadata);
    Ok(answer.body("application/x-ndjson; charset=utf-8", records(frames)))
}

/// The records, then the line with the cursor; without it the body is aborted.
fn records(frames: Streaming<CaptureBaselineResponse>) -> Body {
    use capture_baseline_response::Frame;
    let chunks = stream::unfold(Some(frames), |state| async move {
        let mut frames = state?;
        let frame = match frames.message().await {
            Ok(message) => message.and_then(|message| message.frame),
            Err(status) => return Some((Err(aborted(&status.into())), None)),
        };
        match frame {
            Some(Frame::Ndjson(bytes)) => Some((Ok(bytes), Some(frames))),
            Some(Frame::Baseline(end)) => {
                let end = BaselineOutput {
                    snapshot_commit_id: end.snapshot_commit_id,
                    resume_cursor: end.resume_cursor,
                };
                let line = serde_json::json!({ "baseline": end });
                Some((Ok(Bytes::from(format!("{line}\n"))), None))
            }
            None => Some((Err(aborted(&ApiError::broken_off())), None)),
        }
    });
    Body::from_stream(chunks)
}

/// Where a poll begins: at most one of the three.
fn position(params: &QueryParams) -> Result<Option<Position>, ApiError> {
    let given = [
        params.text("cursor")?.map(Position::Cursor),
        params.text("start")?.map(Position::Start),
        params.text("page_token")?.map(Position::PageToken),
    ];
    let mut given = given.into_iter().flatten();
    let position = given.next();
    if given.next().is_some() {
        return Err(ApiError::bad_request(
            "'cursor', 'start' and 'page_token' exclude each other",
        ));
    }
    Ok(position)
}

/// `branch:<name>`, `commit:<id>`, `tag:<name>`, or a bare name of any of them.
fn side(params: &QueryParams, name: &str) -> Result<ReadTarget, ApiError> {
    let as_of = params.text(&format!("{name}_as_of"))?.map(AsOf::Text);
    let text = params.one(name)?.map(str::trim).unwrap_or_default();
    let (kind, value) = match text.split_once(':') {
        Some((kind @ ("branch" | "commit" | "tag"), value)) => (kind, value.trim()),
        _ => ("", text),
    };
    if value.is_empty() {
        return Err(ApiError::bad_request(format!(
            "query parameter '{name}' must name a branch, a commit or a tag"
        )));
    }
    let value = value.to_owned();
    let target = match (kind, as_of) {
        ("" | "branch", Some(time)) => Target::AsOf(BranchAsOf {
            branch: value,
            at_us: time.micros()?,
        }),
        (_, Some(_)) => {
            return Err(ApiError::bad_request(format!(
                "'{name}_as_of' goes with a branch"
            )));
        }
        ("branch", None) => Target::Branch(value),
        ("commit", None) => Target::CommitId(value),
        ("tag", None) => Target::Tag(value),
        (_, None) => Target::Name(value),
    };
    Ok(ReadTarget {
        target: Some(target),
    })
}

fn filter(params: &QueryParams) -> Result<ChangeFilter, ApiError> {
    let texts = |name: &str| params.many(name).map(str::to_owned).collect::<Vec<_>>();
    filter_of(&texts("kind"), texts("type"), &texts("op"))
}

fn filter_of(
    kinds: &[String],
    type_names: Vec<String>,
    ops: &[String],
) -> Result<ChangeFilter, ApiError> {
    let unknown = |name: &str, value: &str, known: &str| {
        Err(ApiError::bad_request(format!(
            "unknown {name} '{value}': {known}"
        )))
    };
    let mut filter = ChangeFilter {
        type_names,
        ..ChangeFilter::default()
    };
    for kind in kinds {
        filter.kinds.push(match kind.as_str() {
            "node" => EntityKind::Node.into(),
            "edge" => EntityKind::Edge.into(),
            other => return unknown("kind", other, "'node' or 'edge'"),
        });
    }
    for op in ops {
        filter.ops.push(match op.as_str() {
            "insert" => ChangeOp::Insert.into(),
            "update" => ChangeOp::Update.into(),
            "delete" => ChangeOp::Delete.into(),
            other => return unknown("op", other, "'insert', 'update' or 'delete'"),
        });
    }
    Ok(filter)
}

/// The page size; how large it may be the replica says.
fn page_size(params: &QueryParams) -> Result<u32, ApiError> {
    match params.one("limit")?.map(str::parse::<u32>) {
        None => Ok(0),
        Some(Ok(limit)) if limit > 0 => Ok(limit),
        Some(_) => Err(ApiError::bad_request(
            "query parameter 'limit' must be a number from 1 to 8192",
        )),
    }
}
