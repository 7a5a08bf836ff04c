//! `ClusterService`: for operators.

use std::time::Duration;

use futures::TryStreamExt as _;
use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::authenticate;
use crate::apply::Events;
use crate::bundle;
use crate::plane::ControlPlane;

/// Events that may wait for a slow caller.
const EVENTS: usize = 256;

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
        Ok(Response::new(bundle::validate(&bundle)))
    }

    async fn plan(
        &self,
        request: Request<pb::PlanRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let bundle = request.bundle.unwrap_or_default();
        let planned = self.plane.plan_for(&bundle, !request.no_refresh).await?;
        Ok(Response::new(pb::PlanResponse {
            plan: Some(planned.plan),
        }))
    }

    async fn apply(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<BoxStream<pb::ApplyResponse>>, Status> {
        let actor = authenticate(&self.credentials, &request)?;
        let request = request.into_inner();
        let (to, from) = mpsc::channel(EVENTS);
        let plane = self.plane.clone();
        // The apply goes on when its caller goes away; it ends by itself, every step is bounded.
        tokio::spawn(async move {
            let events = Events::new(to);
            match plane.apply(&request, actor.name(), &events).await {
                Err(error) => events.refuse(error.into()).await,
                Ok(result) if request.wait && result.revision > 0 => {
                    let limit = match request.wait_timeout_ms {
                        0 => plane.options().wait_timeout,
                        limit => Duration::from_millis(limit.into()),
                    };
                    plane.watch_rollout(result.revision, limit, &events).await;
                }
                Ok(_) => {}
            }
        });
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
            .revisions(request.page_size, &request.page_token)
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
        let request = request.into_inner();
        let (to, from) = mpsc::channel(EVENTS);
        let plane = self.plane.clone();
        tokio::spawn(async move {
            let events = Events::new(to);
            match plane.rollback(&request, actor.name(), &events).await {
                Err(error) => events.refuse(error.into()).await,
                Ok(result) if request.wait && result.revision > 0 => {
                    let limit = wait_of(&plane, request.wait_timeout_ms);
                    plane.watch_rollout(result.revision, limit, &events).await;
                }
                Ok(_) => {}
            }
        });
        let events = ReceiverStream::new(from).map_ok(rolled_back);
        Ok(Response::new(Box::pin(events)))
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

fn wait_of(plane: &ControlPlane, millis: u32) -> Duration {
    match millis {
        0 => plane.options().wait_timeout,
        millis => Duration::from_millis(millis.into()),
    }
}

fn rolled_back(response: pb::ApplyResponse) -> pb::RollbackResponse {
    use pb::apply_response::Event as Apply;
    use pb::rollback_response::Event;
    let event = response.event.map(|event| match event {
        Apply::Plan(plan) => Event::Plan(plan),
        Apply::Step(step) => Event::Step(step),
        Apply::Result(result) => Event::Result(result),
        Apply::Rollout(rollout) => Event::Rollout(rollout),
    });
    pb::RollbackResponse { event }
}
