//! A replica that answers what the test tells it and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use omnigraph_proto::common::v1 as common;
use omnigraph_proto::common::v1::{CommitKind, ErrorReason, GraphState, read_target};
use omnigraph_proto::data::v1::graph_service_server::{GraphService, GraphServiceServer};
use omnigraph_proto::data::v1::readiness_service_server::{
    ReadinessService, ReadinessServiceServer,
};
use omnigraph_proto::data::v1::*;
use omnigraph_proto::error::WireError;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::Upstream;

pub(crate) const COMMIT: &str = "01JDB4Q2M0000000000000002M";

/// What was asked, as `Debug` text of the messages, and what is to go wrong.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: Vec<String>,
    metadata: Vec<String>,
    loaded: Vec<u8>,
    ended: bool,
    refusals: VecDeque<WireError>,
    /// Refuses every call without this credential.
    token: Option<&'static str>,
    /// Streams end before their last frame.
    truncated: bool,
    not_ready: Option<&'static str>,
    stale: bool,
}

impl Fake {
    pub(crate) fn upstream(&self) -> Upstream {
        let routes = Routes::new(GraphServiceServer::new(self.clone()))
            .add_service(ReadinessServiceServer::new(self.clone()));
        Upstream::in_process(routes)
    }

    pub(crate) fn refusing(error: WireError) -> Fake {
        let fake = Fake::default();
        fake.state().refusals.push_back(error);
        fake
    }

    pub(crate) fn truncated() -> Fake {
        let fake = Fake::default();
        fake.state().truncated = true;
        fake
    }

    pub(crate) fn guarded(token: &'static str) -> Fake {
        let fake = Fake::default();
        fake.state().token = Some(token);
        fake
    }

    pub(crate) fn not_ready(code: &'static str) -> Fake {
        let fake = Fake::default();
        fake.state().not_ready = Some(code);
        fake
    }

    pub(crate) fn stale() -> Fake {
        let fake = Fake::default();
        fake.state().stale = true;
        fake
    }

    /// The last message, as text.
    pub(crate) fn asked(&self) -> String {
        self.state().asked.last().cloned().unwrap_or_default()
    }

    /// The metadata of the last call, as text.
    pub(crate) fn metadata(&self) -> String {
        self.state().metadata.last().cloned().unwrap_or_default()
    }

    /// The loaded bytes, if the load was ended.
    pub(crate) fn loaded(&self) -> Option<String> {
        let state = self.state();
        state
            .ended
            .then(|| String::from_utf8(state.loaded.clone()).expect("text"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with the lock")
    }

    fn admit<T: std::fmt::Debug>(&self, request: &Request<T>) -> Result<(), Status> {
        let mut state = self.state();
        state.asked.push(format!("{:?}", request.get_ref()));
        state.metadata.push(format!("{:?}", request.metadata()));
        let given = request.metadata().get("authorization");
        if state
            .token
            .is_some_and(|token| given.is_none_or(|given| given != token))
        {
            return Err(WireError::new(ErrorReason::Unauthenticated, "who are you").into());
        }
        match state.refusals.pop_front() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn answer<T>(&self, message: T) -> Result<Response<T>, Status> {
        let mut response = Response::new(message);
        let metadata = response.metadata_mut();
        metadata.insert("omnigraph-actor", "act-ada".parse().expect("ascii"));
        if self.state().stale {
            metadata.insert("omnigraph-graph-status", "stale".parse().expect("ascii"));
        }
        Ok(response)
    }

    fn frames<T: Send + 'static>(
        &self,
        mut frames: Vec<T>,
    ) -> Result<Response<BoxStream<T>>, Status> {
        if self.state().truncated {
            frames.pop();
        }
        let frames = frames.into_iter().map(Ok);
        self.answer(Box::pin(stream::iter(frames)) as BoxStream<T>)
    }
}

pub(crate) fn commit() -> common::Commit {
    common::Commit {
        graph_commit_id: COMMIT.to_owned(),
        graph_branch: "main".to_owned(),
        graph_manifest_version: 7,
        parent_commit_id: Some("01JDB4Q2M0000000000000002A".to_owned()),
        actor_id: Some("act-ada".to_owned()),
        created_at_us: 1_700_000_000_000_001,
        kind: CommitKind::Mutate.into(),
        ..Default::default()
    }
}

fn header() -> ResultHeader {
    ResultHeader {
        query_name: "q".to_owned(),
        target: Some(common::ReadTarget {
            target: Some(read_target::Target::Branch("main".to_owned())),
        }),
        graph_commit_id: COMMIT.to_owned(),
        columns: vec!["n".to_owned()],
    }
}

/// Texts that no JSON library would write this way: they must arrive as they are.
fn rows() -> JsonRows {
    JsonRows {
        rows: vec![
            r#"{"n": 18446744073709551615}"#.to_owned(),
            r#"{"n":1.0}"#.to_owned(),
        ],
    }
}

fn trailer() -> ResultTrailer {
    ResultTrailer {
        row_count: 2,
        stats: None,
    }
}

fn mutation() -> MutationResult {
    MutationResult {
        branch: "main".to_owned(),
        query_name: "set".to_owned(),
        affected_nodes: 1,
        affected_edges: 0,
        actor_id: Some("act-ada".to_owned()),
        commit: Some(commit()),
        replayed: true,
        statements: vec![StatementResult {
            kind: "update".to_owned(),
            type_name: "Package".to_owned(),
            nodes: 1,
            edges: 0,
        }],
    }
}

fn tag(name: &str) -> Tag {
    Tag {
        name: name.to_owned(),
        graph_commit_id: COMMIT.to_owned(),
        created_at_us: 1_700_000_000_000_002,
        ..Default::default()
    }
}

/// One edge that was moved.
fn block() -> ChangeBlock {
    let image = |to: &str| common::EntityImage {
        properties_json: r#"{"n": 18446744073709551615}"#.to_owned(),
        from_id: "a".to_owned(),
        to_id: to.to_owned(),
    };
    ChangeBlock {
        cause: Some(ChangeCause {
            graph_commit_id: COMMIT.to_owned(),
            authored_branch: "main".to_owned(),
            authored_at_us: 1_700_000_000_000_001,
            ..Default::default()
        }),
        changes: vec![common::EntityChange {
            kind: common::EntityKind::Edge.into(),
            r#type: Some(common::EntityType {
                id: "7".to_owned(),
                name: "DependsOn".to_owned(),
            }),
            id: "e".to_owned(),
            op: common::ChangeOp::Update.into(),
            before: Some(image("b")),
            after: Some(image("c")),
        }],
    }
}

#[tonic::async_trait]
impl GraphService for Fake {
    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        self.admit(&request)?;
        self.answer(WhoAmIResponse::default())
    }

    async fn list_graphs(
        &self,
        request: Request<ListGraphsRequest>,
    ) -> Result<Response<ListGraphsResponse>, Status> {
        self.admit(&request)?;
        let graph = GraphInfo {
            graph_id: "debian".to_owned(),
            uri: "s3://b/graphs/debian.omni".to_owned(),
            state: GraphState::Ready.into(),
            served_revision: 3,
            target_revision: 3,
            ..Default::default()
        };
        self.answer(ListGraphsResponse {
            graphs: vec![graph],
        })
    }

    async fn get_graph(
        &self,
        request: Request<GetGraphRequest>,
    ) -> Result<Response<GetGraphResponse>, Status> {
        self.admit(&request)?;
        let graph = GraphInfo {
            graph_id: request.into_inner().graph_id,
            state: GraphState::Quarantined.into(),
            reason_code: "query_invalid".to_owned(),
            target_revision: 4,
            ..Default::default()
        };
        self.answer(GetGraphResponse { graph: Some(graph) })
    }

    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<BoxStream<QueryResponse>>, Status> {
        use query_response::Frame;
        self.admit(&request)?;
        let data = match request.get_ref().encoding() {
            ResultEncoding::JsonRows => Frame::JsonRows(rows()),
            _ => Frame::ArrowIpc(Bytes::from_static(b"ARROW")),
        };
        let frames = [Frame::Header(header()), data, Frame::Trailer(trailer())];
        let frames = frames.map(|frame| QueryResponse { frame: Some(frame) });
        self.frames(frames.into())
    }

    async fn invoke_query(
        &self,
        request: Request<InvokeQueryRequest>,
    ) -> Result<Response<BoxStream<InvokeQueryResponse>>, Status> {
        use invoke_query_response::Frame;
        self.admit(&request)?;
        let frames = match request.get_ref().name.as_str() {
            "set" => vec![Frame::Mutation(mutation())],
            _ => vec![
                Frame::Header(header()),
                Frame::JsonRows(rows()),
                Frame::Trailer(trailer()),
            ],
        };
        let frames = frames
            .into_iter()
            .map(|frame| InvokeQueryResponse { frame: Some(frame) });
        self.frames(frames.collect())
    }

    async fn list_queries(
        &self,
        request: Request<ListQueriesRequest>,
    ) -> Result<Response<ListQueriesResponse>, Status> {
        self.admit(&request)?;
        let query = StoredQuery {
            name: "find".to_owned(),
            tool_name: "find".to_owned(),
            params: vec![QueryParam {
                name: "name".to_owned(),
                kind: "string".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.answer(ListQueriesResponse {
            queries: vec![query],
        })
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let profile = request.get_ref().mode() == ExplainMode::Profile;
        self.admit(&request)?;
        let scan = PlanNode {
            op: "scan".to_owned(),
            args_json: r#"{"type":"Package","index":null}"#.to_owned(),
            est_rows: 577.0,
            rows: profile.then_some(577),
            ms: profile.then_some(0.5),
            children: Vec::new(),
        };
        self.answer(ExplainResponse {
            query_name: "all".to_owned(),
            graph_commit_id: COMMIT.to_owned(),
            params: [("n".to_owned(), "String?".to_owned())].into(),
            plan: Some(PlanNode {
                op: "project".to_owned(),
                args_json: "{}".to_owned(),
                est_rows: 577.0,
                children: vec![scan.clone()],
                ..PlanNode::default()
            }),
            logical_plan: Some(scan),
            result_json: if profile { r#"{"row_count":577}"# } else { "" }.to_owned(),
            totals: profile.then(|| ExecutionStats {
                elapsed_us: 700,
                ..ExecutionStats::default()
            }),
            text: "project\n".to_owned(),
            ..ExplainResponse::default()
        })
    }

    async fn mutate(
        &self,
        request: Request<MutateRequest>,
    ) -> Result<Response<MutateResponse>, Status> {
        self.admit(&request)?;
        self.answer(MutateResponse {
            result: Some(mutation()),
        })
    }

    async fn load(
        &self,
        request: Request<Streaming<LoadRequest>>,
    ) -> Result<Response<BoxStream<LoadResponse>>, Status> {
        use load_response::Frame;
        let (metadata, extensions, mut frames) = request.into_parts();
        let first = frames.message().await?.and_then(|message| message.frame);
        self.admit(&Request::from_parts(metadata, extensions, first))?;
        let fake = self.clone();
        let accepted = LoadResponse {
            frame: Some(Frame::Accepted(LoadAccepted::default())),
        };
        let result = stream::once(async move {
            while let Some(message) = frames.message().await? {
                match message.frame {
                    Some(load_request::Frame::Ndjson(bytes)) => fake.state().loaded.extend(bytes),
                    Some(load_request::Frame::End(_)) => fake.state().ended = true,
                    _ => return Err(Status::invalid_argument("unexpected frame")),
                }
            }
            if !fake.state().ended {
                return Err(Status::cancelled("no end"));
            }
            let result = LoadResult {
                branch: "main".to_owned(),
                mode: LoadMode::Merge.into(),
                nodes: vec![LoadedType {
                    name: "Package".to_owned(),
                    entities_loaded: 2,
                }],
                total_entities: 2,
                uri: "s3://b/g".to_owned(),
                commit: Some(commit()),
                ..Default::default()
            };
            Ok(LoadResponse {
                frame: Some(Frame::Result(result)),
            })
        });
        let frames = futures::StreamExt::chain(stream::iter([Ok(accepted)]), result);
        self.answer(Box::pin(frames) as BoxStream<LoadResponse>)
    }

    async fn export(
        &self,
        request: Request<ExportRequest>,
    ) -> Result<Response<BoxStream<ExportResponse>>, Status> {
        use export_response::Frame;
        self.admit(&request)?;
        let frames = [
            Frame::GraphCommitId(COMMIT.to_owned()),
            Frame::Ndjson(Bytes::from_static(b"{}\n")),
            Frame::RecordCount(1),
        ];
        let frames = frames.map(|frame| ExportResponse { frame: Some(frame) });
        self.frames(frames.into())
    }

    async fn stat_blob(
        &self,
        request: Request<StatBlobRequest>,
    ) -> Result<Response<StatBlobResponse>, Status> {
        self.admit(&request)?;
        self.answer(super::blob::stat(request.into_inner())?)
    }

    async fn get_blob(
        &self,
        request: Request<GetBlobRequest>,
    ) -> Result<Response<BoxStream<GetBlobResponse>>, Status> {
        self.admit(&request)?;
        self.frames(super::blob::frames(request.into_inner())?)
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        self.admit(&request)?;
        self.answer(GetSnapshotResponse {
            graph_branch: "main".to_owned(),
            graph_manifest_version: 7,
            internal_schema_version: 1,
            graph_commit_id: COMMIT.to_owned(),
            datasets: vec![SnapshotDataset {
                kind: common::EntityKind::Node.into(),
                type_name: "Package".to_owned(),
                published_dataset_version: 9_223_372_036_854_775_911,
                ..Default::default()
            }],
        })
    }

    async fn list_branches(
        &self,
        request: Request<ListBranchesRequest>,
    ) -> Result<Response<ListBranchesResponse>, Status> {
        self.admit(&request)?;
        let branch = |name: &str| Branch {
            name: name.to_owned(),
            head: Some(commit()),
            ..Default::default()
        };
        let page = match request.get_ref().page_token.as_str() {
            "" => ListBranchesResponse {
                branches: vec![branch("main")],
                next_page_token: "2".to_owned(),
            },
            _ => ListBranchesResponse {
                branches: vec![branch("review/x")],
                next_page_token: String::new(),
            },
        };
        self.answer(page)
    }

    async fn get_branch(
        &self,
        request: Request<GetBranchRequest>,
    ) -> Result<Response<GetBranchResponse>, Status> {
        self.admit(&request)?;
        let branch = Branch {
            name: request.into_inner().name,
            head: Some(commit()),
            ..Default::default()
        };
        self.answer(GetBranchResponse {
            branch: Some(branch),
        })
    }

    async fn create_branch(
        &self,
        request: Request<CreateBranchRequest>,
    ) -> Result<Response<CreateBranchResponse>, Status> {
        self.admit(&request)?;
        let branch = Branch {
            name: request.get_ref().name.clone(),
            head: Some(commit()),
            ..Default::default()
        };
        self.answer(CreateBranchResponse {
            branch: Some(branch),
            from: "main".to_owned(),
            actor_id: None,
            uri: "s3://b/g".to_owned(),
        })
    }

    async fn delete_branch(
        &self,
        request: Request<DeleteBranchRequest>,
    ) -> Result<Response<DeleteBranchResponse>, Status> {
        self.admit(&request)?;
        self.answer(DeleteBranchResponse {
            name: request.into_inner().name,
            ..Default::default()
        })
    }

    async fn merge_branches(
        &self,
        request: Request<MergeBranchesRequest>,
    ) -> Result<Response<MergeBranchesResponse>, Status> {
        self.admit(&request)?;
        self.answer(MergeBranchesResponse {
            source: request.get_ref().source.clone(),
            target: request.get_ref().target.clone(),
            outcome: MergeOutcome::FastForward.into(),
            commit: Some(commit()),
            ..Default::default()
        })
    }

    async fn list_commits(
        &self,
        request: Request<ListCommitsRequest>,
    ) -> Result<Response<ListCommitsResponse>, Status> {
        self.admit(&request)?;
        let more = request.get_ref().page_token.is_empty();
        let next_page_token = if more { "2".to_owned() } else { String::new() };
        self.answer(ListCommitsResponse {
            commits: vec![commit()],
            next_page_token,
        })
    }

    async fn get_commit_changes(
        &self,
        request: Request<GetCommitChangesRequest>,
    ) -> Result<Response<GetCommitChangesResponse>, Status> {
        self.admit(&request)?;
        self.answer(GetCommitChangesResponse {
            block: Some(block()),
            next_page_token: "next".to_owned(),
        })
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        self.admit(&request)?;
        self.answer(DiffResponse {
            from_branch: "main".to_owned(),
            from_commit_id: COMMIT.to_owned(),
            to_commit_id: COMMIT.to_owned(),
            summary: vec![common::TypeCount {
                kind: common::EntityKind::Node.into(),
                type_name: "Package".to_owned(),
                inserted: 1,
                ..Default::default()
            }],
            changes: block().changes,
            ..Default::default()
        })
    }

    async fn poll_changes(
        &self,
        request: Request<PollChangesRequest>,
    ) -> Result<Response<PollChangesResponse>, Status> {
        self.admit(&request)?;
        self.answer(PollChangesResponse {
            blocks: vec![block()],
            cursor: "cursor".to_owned(),
            caught_up: Some(true),
            ..Default::default()
        })
    }

    async fn capture_baseline(
        &self,
        request: Request<CaptureBaselineRequest>,
    ) -> Result<Response<BoxStream<CaptureBaselineResponse>>, Status> {
        use capture_baseline_response::Frame;
        self.admit(&request)?;
        let frames = [
            Frame::Ndjson(Bytes::from_static(b"{}\n")),
            Frame::Baseline(Baseline {
                snapshot_commit_id: COMMIT.to_owned(),
                resume_cursor: "cursor".to_owned(),
            }),
        ];
        let frames = frames.map(|frame| CaptureBaselineResponse { frame: Some(frame) });
        self.frames(frames.into())
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        self.admit(&request)?;
        let more = request.get_ref().page_token.is_empty();
        self.answer(ListTagsResponse {
            tags: vec![tag("v1")],
            next_page_token: if more { "2".to_owned() } else { String::new() },
        })
    }

    async fn get_tag(
        &self,
        request: Request<GetTagRequest>,
    ) -> Result<Response<GetTagResponse>, Status> {
        self.admit(&request)?;
        self.answer(GetTagResponse {
            tag: Some(tag(&request.get_ref().name)),
            commit: Some(commit()),
        })
    }

    async fn create_tag(
        &self,
        request: Request<CreateTagRequest>,
    ) -> Result<Response<CreateTagResponse>, Status> {
        self.admit(&request)?;
        self.answer(CreateTagResponse {
            tag: Some(tag(&request.get_ref().name)),
        })
    }

    async fn delete_tag(
        &self,
        request: Request<DeleteTagRequest>,
    ) -> Result<Response<DeleteTagResponse>, Status> {
        self.admit(&request)?;
        self.answer(DeleteTagResponse {
            tag: Some(tag(&request.get_ref().name)),
        })
    }

    async fn get_commit(
        &self,
        request: Request<GetCommitRequest>,
    ) -> Result<Response<GetCommitResponse>, Status> {
        self.admit(&request)?;
        self.answer(GetCommitResponse {
            commit: Some(commit()),
        })
    }

    async fn get_schema(
        &self,
        request: Request<GetSchemaRequest>,
    ) -> Result<Response<GetSchemaResponse>, Status> {
        self.admit(&request)?;
        self.answer(GetSchemaResponse {
            schema_source: "node A {}".to_owned(),
            schema_digest: "d".to_owned(),
        })
    }

    async fn apply_schema(
        &self,
        request: Request<ApplySchemaRequest>,
    ) -> Result<Response<ApplySchemaResponse>, Status> {
        self.admit(&request)?;
        Err(WireError::new(ErrorReason::SchemaManaged, "schemas are applied").into())
    }
}

#[tonic::async_trait]
impl ReadinessService for Fake {
    async fn get_readiness(
        &self,
        _: Request<GetReadinessRequest>,
    ) -> Result<Response<GetReadinessResponse>, Status> {
        let not_ready = self.state().not_ready;
        let graph = |state: GraphState| GraphReadiness {
            state: state.into(),
            ..Default::default()
        };
        let readiness = Readiness {
            ready: not_ready.is_none(),
            not_ready_because: not_ready.into_iter().map(str::to_owned).collect(),
            revision: 3,
            graphs: vec![
                graph(GraphState::Ready),
                graph(GraphState::Stale),
                graph(GraphState::Quarantined),
            ],
            ..Default::default()
        };
        self.answer(GetReadinessResponse {
            readiness: Some(readiness),
        })
    }
}
