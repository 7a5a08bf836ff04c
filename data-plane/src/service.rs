//! The gRPC services: a handler decodes, makes one call of the domain, encodes.

mod asks;
mod backup;
mod blob;
mod branches;
mod call;
mod changes;
mod cleanup;
pub(crate) mod convert;
mod errors;
mod explain;
mod export;
mod fsck;
mod graphs;
mod history;
mod load;
mod maintenance;
mod merge;
mod mutate;
mod query;
mod readiness;
mod stored;
mod tags;

use omnigraph_gateway::MESSAGE_BYTES_MAX;
use omnigraph_policy as policy;
use omnigraph_policy::Action;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::data::v1::graph_service_server::{GraphService, GraphServiceServer};
use omnigraph_proto::data::v1::maintenance_service_server::{
    MaintenanceService, MaintenanceServiceServer,
};
use omnigraph_proto::data::v1::readiness_service_server::ReadinessServiceServer;
use omnigraph_proto::data::v1::*;
use omnigraph_proto::error::WireError;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::replica::Replica;
use asks::Ask;
use call::Budget;

pub(crate) use readiness::HealthBoard;

/// Serves the graphs of a replica.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) replica: Replica,
}

/// All services of a replica, with health and reflection.
pub(crate) fn routes(replica: &Replica) -> Routes {
    let service = Service {
        replica: replica.clone(),
    };
    let graphs = GraphServiceServer::new(service.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut routes = Routes::new(graphs)
        .add_service(ReadinessServiceServer::new(service.clone()))
        .add_service(MaintenanceServiceServer::new(service))
        .add_service(replica.inner().health.server());
    // The descriptors are compiled in; that they decode is tested.
    if let Ok(reflection) = reflection().build_v1() {
        routes = routes.add_service(reflection);
    }
    if let Ok(reflection) = reflection().build_v1alpha() {
        routes = routes.add_service(reflection);
    }
    routes
}

pub(crate) fn reflection<'b>() -> tonic_reflection::server::Builder<'b> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(omnigraph_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[tonic::async_trait]
impl GraphService for Service {
    async fn who_am_i(
        &self,
        request: Request<WhoAmIRequest>,
    ) -> Result<Response<WhoAmIResponse>, Status> {
        let (call, _) = self.call(request, Budget::Read)?;
        let answer = graphs::who_am_i(&call);
        call.answer(async { Ok(answer) }).await
    }

    async fn list_graphs(
        &self,
        request: Request<ListGraphsRequest>,
    ) -> Result<Response<ListGraphsResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        call.server(Action::GraphList)?;
        let answer = graphs::list(&self.replica, &message);
        call.answer(async { Ok(answer) }).await
    }

    async fn get_graph(
        &self,
        request: Request<GetGraphRequest>,
    ) -> Result<Response<GetGraphResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, view) = call.view(&message.graph_id, &[asks::on(Action::Read, "")])?;
        call.answer(graphs::get(&message.graph_id, view)).await
    }

    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<BoxStream<QueryResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Read, message.target.as_ref())],
        )?;
        let (options, guard) = (self.query_options(&call), call.guard());
        call.answer(query::query(&graph, message, options, &guard))
            .await
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let (call, mut message) = self.call(request, Budget::OfKind)?;
        let (mut call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Read, message.target.as_ref())],
        )?;
        call.keyed(&mut message.write_options)?;
        let prepared = explain::prepare(&graph, message, call.deadline(), call.guard()).await;
        let prepared = prepared.map_err(|error| call.fail(error))?;
        call.set_kind(prepared.commits());
        if prepared.commits() {
            let (author, left) = (call.author(), call.left());
            let write = async move { prepared.profile_mutation(&graph, author, left).await };
            return call.write(write).await;
        }
        let options = self.query_options(&call);
        call.answer(prepared.read(&graph, options)).await
    }

    async fn list_queries(
        &self,
        request: Request<ListQueriesRequest>,
    ) -> Result<Response<ListQueriesResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::on(Action::Read, "")])?;
        call.answer(async { Ok(stored::list(&graph)) }).await
    }

    async fn invoke_query(
        &self,
        request: Request<InvokeQueryRequest>,
    ) -> Result<Response<BoxStream<InvokeQueryResponse>>, Status> {
        let (call, mut message) = self.call(request, Budget::OfKind)?;
        let invoke = policy::Call::new(Action::InvokeQuery).of_query(&message.name);
        let unknown = stored::unknown;
        let (mut call, graph) = call.graph_or(&message.graph_id, Ask::Exactly(invoke), unknown)?;
        call.keyed(&mut message.write_options)?;
        let mutation = graph.queries.get(&message.name).is_some_and(|q| q.mutation);
        call.set_kind(mutation);
        let invocation = stored::Invocation {
            inner: self.replica.inner().clone(),
            by: call.author(),
            guard: call.guard(),
            options: self.query_options(&call),
            message,
        };
        let invoked = stored::invoke(invocation, graph);
        match mutation {
            true => call.write(invoked).await,
            false => call.answer(invoked).await,
        }
    }

    async fn mutate(
        &self,
        request: Request<MutateRequest>,
    ) -> Result<Response<MutateResponse>, Status> {
        let (call, mut message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::on(Action::Change, &message.branch)],
        )?;
        call.keyed(&mut message.options)?;
        let (author, left, guard) = (call.author(), call.left(), call.guard());
        let write = async move { mutate::mutate(&graph, message, author, left, &guard).await };
        call.write(write).await
    }

    async fn load(
        &self,
        request: Request<Streaming<LoadRequest>>,
    ) -> Result<Response<BoxStream<LoadResponse>>, Status> {
        let (call, frames) = self.call(request, Budget::Unbounded)?;
        load::load(self, call, frames).await
    }

    async fn export(
        &self,
        request: Request<ExportRequest>,
    ) -> Result<Response<BoxStream<ExportResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Export, message.target.as_ref())],
        )?;
        let permit = self.replica.inner().exports.clone().try_acquire_owned();
        let guard = call.guard();
        call.answer(export::export(&graph, message, permit, &guard))
            .await
    }

    async fn stat_blob(
        &self,
        request: Request<StatBlobRequest>,
    ) -> Result<Response<StatBlobResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Read, message.target.as_ref())],
        )?;
        let (deadline, guard) = (call.deadline(), call.guard());
        call.answer(blob::stat(&graph, message, deadline, &guard))
            .await
    }

    async fn get_blob(
        &self,
        request: Request<GetBlobRequest>,
    ) -> Result<Response<BoxStream<GetBlobResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Read, message.target.as_ref())],
        )?;
        let (deadline, guard) = (call.deadline(), call.guard());
        call.answer(blob::get(&graph, message, deadline, &guard))
            .await
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::at(Action::Read, message.target.as_ref())],
        )?;
        let (deadline, guard) = (call.deadline(), call.guard());
        call.answer(history::snapshot(&graph, message, deadline, &guard))
            .await
    }

    async fn get_schema(
        &self,
        request: Request<GetSchemaRequest>,
    ) -> Result<Response<GetSchemaResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Read)])?;
        call.answer(graphs::schema(&graph, message)).await
    }

    async fn apply_schema(
        &self,
        request: Request<ApplySchemaRequest>,
    ) -> Result<Response<ApplySchemaResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, _) = {
            let apply = policy::Call::new(Action::SchemaApply).to("main");
            call.graph(&message.graph_id, &[Ask::Exactly(apply)])?
        };
        let managed = WireError::new(
            ErrorReason::SchemaManaged,
            "the schema is managed by the control plane",
        )
        .with_hint("change the declared schema and run omnigraphctl apply");
        call.answer(async { Err(managed) }).await
    }

    async fn list_branches(
        &self,
        request: Request<ListBranchesRequest>,
    ) -> Result<Response<ListBranchesResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Read)])?;
        call.answer(branches::list(&graph, message)).await
    }

    async fn get_branch(
        &self,
        request: Request<GetBranchRequest>,
    ) -> Result<Response<GetBranchResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) =
            call.graph(&message.graph_id, &[asks::on(Action::Read, &message.name)])?;
        call.answer(branches::get(&graph, message)).await
    }

    async fn create_branch(
        &self,
        request: Request<CreateBranchRequest>,
    ) -> Result<Response<CreateBranchResponse>, Status> {
        let (call, message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(&message.graph_id, &[Ask::AtAll(Action::BranchCreate)])?;
        let (author, guard) = (call.author(), call.guard());
        call.write(async move { branches::create(&graph, message, author, &guard).await })
            .await
    }

    async fn delete_branch(
        &self,
        request: Request<DeleteBranchRequest>,
    ) -> Result<Response<DeleteBranchResponse>, Status> {
        let (call, message) = self.call(request, Budget::Write)?;
        let (call, graph) = {
            let delete = policy::Call::new(Action::BranchDelete).to(asks::branch(&message.name));
            call.graph(&message.graph_id, &[Ask::Exactly(delete)])?
        };
        let author = call.author();
        call.write(async move { branches::delete(&graph, message, author).await })
            .await
    }

    async fn merge_branches(
        &self,
        request: Request<MergeBranchesRequest>,
    ) -> Result<Response<MergeBranchesResponse>, Status> {
        let (call, mut message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(&message.graph_id, &merge::asks(&message))?;
        call.keyed(&mut message.options)?;
        let (author, left, guard) = (call.author(), call.left(), call.guard());
        call.write(async move { merge::merge(&graph, message, author, left, &guard).await })
            .await
    }

    async fn revert_branch(
        &self,
        request: Request<RevertBranchRequest>,
    ) -> Result<Response<RevertBranchResponse>, Status> {
        let (call, message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::on(Action::Change, &message.branch)],
        )?;
        let (author, left, guard) = (call.author(), call.left(), call.guard());
        call.write(async move { merge::revert(&graph, message, author, left, &guard).await })
            .await
    }

    async fn list_commits(
        &self,
        request: Request<ListCommitsRequest>,
    ) -> Result<Response<ListCommitsResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::on(Action::Read, &message.branch)],
        )?;
        call.answer(history::commits(&graph, message)).await
    }

    async fn get_commit_changes(
        &self,
        request: Request<GetCommitChangesRequest>,
    ) -> Result<Response<GetCommitChangesResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[])?;
        let guard = call.guard();
        call.answer(Box::pin(changes::commit_changes(&graph, message, &guard)))
            .await
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = {
            let sides = [message.from.as_ref(), message.to.as_ref()];
            let asks = sides.map(|side| asks::at(Action::Read, side));
            call.graph(&message.graph_id, &asks)?
        };
        let guard = call.guard();
        call.answer(Box::pin(changes::diff(&graph, message, &guard)))
            .await
    }

    async fn poll_changes(
        &self,
        request: Request<PollChangesRequest>,
    ) -> Result<Response<PollChangesResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::on(Action::Read, &message.branch)],
        )?;
        let (deadline, guard) = (call.deadline(), call.guard());
        call.answer(Box::pin(changes::poll(&graph, message, deadline, &guard)))
            .await
    }

    async fn capture_baseline(
        &self,
        request: Request<CaptureBaselineRequest>,
    ) -> Result<Response<BoxStream<CaptureBaselineResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(
            &message.graph_id,
            &[asks::on(Action::Export, &message.branch)],
        )?;
        let permit = self.replica.inner().exports.clone().try_acquire_owned();
        let guard = call.guard();
        call.answer(changes::baseline(&graph, message, permit, &guard))
            .await
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Read)])?;
        call.answer(tags::list(&graph, message)).await
    }

    async fn get_tag(
        &self,
        request: Request<GetTagRequest>,
    ) -> Result<Response<GetTagResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Read)])?;
        call.answer(tags::get(&graph, message)).await
    }

    async fn create_tag(
        &self,
        request: Request<CreateTagRequest>,
    ) -> Result<Response<CreateTagResponse>, Status> {
        let (call, message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(&message.graph_id, &[Ask::AtAll(Action::Change)])?;
        let (author, guard) = (call.author(), call.guard());
        call.write(async move { tags::create(&graph, message, author, &guard).await })
            .await
    }

    async fn delete_tag(
        &self,
        request: Request<DeleteTagRequest>,
    ) -> Result<Response<DeleteTagResponse>, Status> {
        let (call, message) = self.call(request, Budget::Write)?;
        let (call, graph) = call.graph(&message.graph_id, &[Ask::AtAll(Action::Change)])?;
        let (author, guard) = (call.author(), call.guard());
        call.write(async move { tags::delete(&graph, message, author, &guard).await })
            .await
    }

    async fn get_commit(
        &self,
        request: Request<GetCommitRequest>,
    ) -> Result<Response<GetCommitResponse>, Status> {
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Read)])?;
        call.answer(history::commit(&graph, message)).await
    }
}

#[tonic::async_trait]
impl MaintenanceService for Service {
    async fn fsck(&self, request: Request<FsckRequest>) -> Result<Response<FsckResponse>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Maintain)])?;
        call.answer(fsck::fsck(&graph, message)).await
    }

    async fn optimize(
        &self,
        request: Request<OptimizeRequest>,
    ) -> Result<Response<BoxStream<OptimizeResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Maintain)])?;
        let inner = self.replica.inner();
        let begun = maintenance::optimize(inner, graph, message, call.author());
        call.respond(begun)
    }

    async fn cleanup(
        &self,
        request: Request<CleanupRequest>,
    ) -> Result<Response<BoxStream<CleanupResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Maintain)])?;
        let begun = cleanup::cleanup(self.replica.inner(), graph, message);
        call.respond(begun)
    }

    async fn backup(
        &self,
        request: Request<BackupRequest>,
    ) -> Result<Response<BoxStream<BackupResponse>>, Status> {
        let (call, message) = self.call(request, Budget::Unbounded)?;
        let (call, graph) = call.graph(&message.graph_id, &[asks::whole(Action::Maintain)])?;
        let begun = backup::backup(self.replica.inner(), graph, message);
        call.respond(begun)
    }
}

impl Service {
    fn query_options(&self, call: &call::Call) -> query::Options {
        query::Options {
            deadline: call.deadline(),
            memory_bytes: self.replica.inner().options.query_memory,
        }
    }
}
