//! `ClusterService`: for operators.

use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{authenticate, stream};
use crate::bundle;
use crate::error::Error;
use crate::operation::parse_id;
use crate::plane::ControlPlane;

/// The service for operators.
#[derive(Clone)]
pub struct ClusterApi {
    plane: ControlPlane,
    credentials: Credentials,
}

impl ClusterApi {
    pub(crate) fn new(plane: ControlPlane, credentials: Credentials) -> Self {
        Self { plane, credentials }
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn validate(
        &self,
        request: Request<pb::ValidateRequest>,
    ) -> Result<Response<pb::ValidateResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let bundle = request.into_inner().bundle.unwrap_or_default();
        let validated = tokio::task::spawn_blocking(move || bundle::validate(&bundle)).await;
        let validated = validated.map_err(|error| {
            Error::internal("a configuration could not be checked").with_source(error)
        })?;
        Ok(Response::new(validated))
    }

    async fn plan(
        &self,
        request: Request<pb::PlanRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        Ok(Response::new(self.plane.describe_plan(request).await?))
    }

    async fn apply(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<BoxStream<pb::ApplyResponse>>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let (to, from) = mpsc::channel(stream::FRAMES);
        let (plane, actor) = (self.plane.clone(), actor.name().map(str::to_owned));
        // It ends with the operation, or when the caller has gone.
        tokio::spawn(stream::apply(plane, request.into_inner(), actor, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let operations = self
            .plane
            .operations(request.into_inner().page_size)
            .await?;
        Ok(Response::new(pb::ListOperationsResponse { operations }))
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let id = parse_id(&request.into_inner().operation_id)?;
        let operation = self.plane.operation(id).await?;
        Ok(Response::new(pb::GetOperationResponse {
            operation: Some(operation),
        }))
    }

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<BoxStream<pb::WatchOperationResponse>>, Status> {
        authenticate(&self.credentials, &request)?;
        let (to, from) = mpsc::channel(stream::FRAMES);
        tokio::spawn(stream::watch(self.plane.clone(), request.into_inner(), to));
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn restore_graph(
        &self,
        request: Request<pb::RestoreGraphRequest>,
    ) -> Result<Response<BoxStream<pb::RestoreGraphResponse>>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let (to, from) = mpsc::channel(stream::FRAMES);
        let (plane, actor) = (self.plane.clone(), actor.name().map(str::to_owned));
        tokio::spawn(stream::restore(plane, request.into_inner(), actor, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let status = self.plane.status().await?;
        Ok(Response::new(pb::StatusResponse {
            status: Some(status),
        }))
    }

    async fn rollout_status(
        &self,
        request: Request<pb::RolloutStatusRequest>,
    ) -> Result<Response<pb::RolloutStatusResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let rollout = self
            .plane
            .rollout(request.revision, &request.graph_id)
            .await?;
        Ok(Response::new(pb::RolloutStatusResponse {
            rollout: Some(rollout),
        }))
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Result<Response<pb::ListRevisionsResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let page = self
            .plane
            .revisions(request.page_size, &request.page_token, request.with_changes)
            .await?;
        Ok(Response::new(page))
    }

    async fn get_revision(
        &self,
        request: Request<pb::GetRevisionRequest>,
    ) -> Result<Response<pb::GetRevisionResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let number = request.into_inner().revision;
        Ok(Response::new(self.plane.describe_revision(number).await?))
    }

    async fn force_unlock(
        &self,
        request: Request<pb::ForceUnlockRequest>,
    ) -> Result<Response<pb::ForceUnlockResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let lease = self
            .plane
            .unlock(&request.lease_id, &request.reason)
            .await?;
        Ok(Response::new(pb::ForceUnlockResponse {
            released: Some(lease),
        }))
    }

    async fn rollback(
        &self,
        request: Request<pb::RollbackRequest>,
    ) -> Result<Response<BoxStream<pb::RollbackResponse>>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let (to, from) = mpsc::channel(stream::FRAMES);
        let (plane, actor) = (self.plane.clone(), actor.name().map(str::to_owned));
        tokio::spawn(stream::rollback(plane, request.into_inner(), actor, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn import(
        &self,
        request: Request<pb::ImportRequest>,
    ) -> Result<Response<pb::ImportResponse>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let status = self.plane.import(&request, actor.name()).await?;
        Ok(Response::new(pb::ImportResponse {
            status: Some(status),
        }))
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let status = self.plane.refresh(&request, actor.name()).await?;
        Ok(Response::new(pb::RefreshResponse {
            status: Some(status),
        }))
    }

    async fn approve(
        &self,
        request: Request<pb::ApproveRequest>,
    ) -> Result<Response<pb::ApproveResponse>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let approval = self.plane.approve(&request, actor.name()).await?;
        Ok(Response::new(pb::ApproveResponse {
            approval: Some(approval),
        }))
    }
}
