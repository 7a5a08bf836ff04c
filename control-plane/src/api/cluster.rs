//! `ClusterService`: for operators.

use std::time::Duration;

use omnigraph_policy::{Action, Credentials};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::Door;
use crate::apply::Events;
use crate::bundle;
use crate::declared::Declared;
use crate::error::{Error, ErrorKind};
use crate::plane::ControlPlane;

/// Events that may wait for a slow caller.
const EVENTS: usize = 256;

/// The service for operators.
#[derive(Clone)]
pub struct ClusterApi {
    door: Door,
}

impl ClusterApi {
    pub(crate) fn new(plane: ControlPlane, credentials: Credentials) -> Self {
        let door = Door::new(plane, credentials);
        Self { door }
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn validate(
        &self,
        request: Request<pb::ValidateRequest>,
    ) -> Result<Response<pb::ValidateResponse>, Status> {
        self.door.admit(&request, Action::ClusterRead).await?;
        let bundle = request.into_inner().bundle.unwrap_or_default();
        Ok(Response::new(bundle::validate(&bundle)))
    }

    async fn plan(
        &self,
        request: Request<pb::PlanRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        let actor = self.door.admit(&request, Action::ClusterRead).await?;
        let request = request.into_inner();
        let bundle = request.bundle.unwrap_or_default();
        let (plane, declared) = (&self.door.plane, Declared::of(&bundle));
        let planned = plane.plan_declared(&declared, !request.no_refresh).await?;
        let mut plan = planned.plan;
        plan.diagnostics.extend(plane.lockout(&declared, actor.name()));
        Ok(Response::new(pb::PlanResponse {
            plan: Some(plan),
        }))
    }

    async fn apply(
        &self,
        request: Request<pb::ApplyRequest>,
    ) -> Result<Response<BoxStream<pb::ApplyResponse>>, Status> {
        let actor = self.door.admit(&request, Action::ClusterApply).await?;
        let request = request.into_inner();
        let (to, from) = mpsc::channel(EVENTS);
        let plane = self.door.plane.clone();
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
        self.door.admit(&request, Action::ClusterRead).await?;
        let status = self.door.plane.status().await?;
        Ok(Response::new(pb::StatusResponse {
            status: Some(status),
        }))
    }

    async fn rollout_status(
        &self,
        request: Request<pb::RolloutStatusRequest>,
    ) -> Result<Response<pb::RolloutStatusResponse>, Status> {
        self.door.admit(&request, Action::ClusterRead).await?;
        let request = request.into_inner();
        let rollout = self
            .door
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
        self.door.admit(&request, Action::ClusterRead).await?;
        let request = request.into_inner();
        let page = self
            .door
            .plane
            .revisions(request.page_size, &request.page_token)
            .await?;
        Ok(Response::new(page))
    }

    async fn get_revision(
        &self,
        request: Request<pb::GetRevisionRequest>,
    ) -> Result<Response<pb::GetRevisionResponse>, Status> {
        self.door.admit(&request, Action::ClusterRead).await?;
        let request = request.into_inner();
        let plane = &self.door.plane;
        let mut answer = plane.describe_revision(request.revision).await?;
        if request.with_policies {
            let revision = plane.revision(request.revision).await?;
            answer.policies = plane.policy_sources(&revision.content).await?;
        }
        Ok(Response::new(answer))
    }

    async fn force_unlock(
        &self,
        request: Request<pb::ForceUnlockRequest>,
    ) -> Result<Response<pb::ForceUnlockResponse>, Status> {
        self.door.admit(&request, Action::ClusterUnlock).await?;
        let request = request.into_inner();
        let lease = self
            .door
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
        self.door.admit(&request, Action::ClusterApply).await?;
        Err(unsupported("rollback", "apply the earlier configuration"))
    }

    async fn import(
        &self,
        request: Request<pb::ImportRequest>,
    ) -> Result<Response<pb::ImportResponse>, Status> {
        self.door.admit(&request, Action::ClusterApply).await?;
        Err(unsupported(
            "import",
            "apply creates the graphs of an empty root",
        ))
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        self.door.admit(&request, Action::ClusterApply).await?;
        Err(unsupported("refresh", "plan looks at the living graphs"))
    }

    async fn approve(
        &self,
        request: Request<pb::ApproveRequest>,
    ) -> Result<Response<pb::ApproveResponse>, Status> {
        self.door.admit(&request, Action::ClusterApprove).await?;
        Err(unsupported("approve", "graphs cannot be deleted yet"))
    }
}

fn unsupported(verb: &str, instead: &str) -> Status {
    let message = format!("{verb} is not supported by this release: {instead}");
    Error::new(ErrorKind::Unsupported, message).into()
}
