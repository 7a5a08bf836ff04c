//! Readiness, for the gateway and for generic health checkers.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use omnigraph_policy::Action;
use omnigraph_proto::data::v1::graph_service_server::GraphServiceServer;
use omnigraph_proto::data::v1::maintenance_service_server::MaintenanceServiceServer;
use omnigraph_proto::data::v1::readiness_service_server::{
    ReadinessService, ReadinessServiceServer,
};
use omnigraph_proto::data::v1::*;
use omnigraph_proto::error::WireError;
use tokio_stream::wrappers::WatchStream;
use tonic::codegen::BoxStream;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};

use super::Service;
use super::asks;
use super::call::Budget;
use super::convert::graph_state;
use crate::generation::Generation;
use crate::replica::{self, Inner};
use crate::state::View;

#[tonic::async_trait]
impl ReadinessService for Service {
    /// Without a credential the graphs are counted and not named.
    async fn get_readiness(
        &self,
        request: Request<GetReadinessRequest>,
    ) -> Result<Response<GetReadinessResponse>, Status> {
        let named = self.may_list(&request);
        if request.get_ref().graph_id.is_empty() {
            let status = self.replica.inner().status.borrow().clone();
            let readiness = readiness(self.replica.inner(), &status, named);
            return Ok(Response::new(GetReadinessResponse {
                readiness: Some(readiness),
            }));
        }
        let (call, message) = self.call(request, Budget::Read)?;
        let (call, _) = call.view(&message.graph_id, &[asks::on(Action::Read, "")])?;
        let status = self.replica.inner().status.borrow().clone();
        let mut readiness = readiness(self.replica.inner(), &status, true);
        readiness
            .graphs
            .retain(|graph| graph.graph_id == message.graph_id);
        call.respond(match readiness.graphs.is_empty() {
            true => Err(WireError::graph_not_found(&message.graph_id)),
            false => Ok(GetReadinessResponse {
                readiness: Some(readiness),
            }),
        })
    }

    async fn watch_readiness(
        &self,
        request: Request<WatchReadinessRequest>,
    ) -> Result<Response<BoxStream<WatchReadinessResponse>>, Status> {
        let named = self.may_list(&request);
        let (_, _) = self.call(request, Budget::Unbounded)?;
        let inner = self.replica.inner().clone();
        let stop = inner.stop.clone().cancelled_owned();
        let changes = WatchStream::new(inner.status.subscribe());
        let messages = changes.map(move |status| {
            Ok(WatchReadinessResponse {
                readiness: Some(readiness(&inner, &status, named)),
            })
        });
        Ok(Response::new(Box::pin(messages.take_until(stop))))
    }
}

fn readiness(inner: &Inner, status: &replica::Status, named: bool) -> Readiness {
    let not_ready = inner.not_ready(status);
    let graphs = status.graphs.iter().map(|(id, view)| {
        let graph = graph(id, view);
        match named {
            true => graph,
            false => GraphReadiness {
                state: graph.state,
                ..GraphReadiness::default()
            },
        }
    });
    Readiness {
        replica_id: inner.options.replica_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: not_ready.is_empty(),
        draining: status.draining,
        not_ready_because: not_ready.into_iter().map(str::to_owned).collect(),
        revision: status.revision,
        serving_digest: status.serving_digest.to_string(),
        control_plane_connected: status.control_connected,
        storage_reachable: status.storage_reachable,
        graphs: graphs.collect(),
    }
}

fn graph(id: &str, view: &View<Generation>) -> GraphReadiness {
    let trouble = view.trouble.as_ref();
    GraphReadiness {
        graph_id: id.to_owned(),
        state: graph_state(view.phase).into(),
        reason_code: trouble.map_or(String::new(), |t| t.code.as_str().to_owned()),
        message: trouble.map_or(String::new(), |t| t.message.clone()),
        remedy: trouble.map_or(String::new(), |t| t.code.remedy().to_owned()),
        served_revision: view.served.as_ref().map_or(0, |(revision, _)| *revision),
        target_revision: view.target_revision,
        attempt: view.attempt,
        retry_at_us: view.retry_at.map_or(0, |at| epoch_us(at.into_std())),
        since_us: epoch_us(view.since.into_std()),
    }
}

/// An instant of the monotonic clock as wall time, for people.
#[expect(
    clippy::disallowed_methods,
    reason = "shown, never compared: nothing depends on it"
)]
fn epoch_us(at: Instant) -> i64 {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let moment = match at.checked_duration_since(now) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(now.saturating_duration_since(at)),
    };
    let since = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// The standard health service, fed with the replica's status.
pub(crate) struct HealthBoard {
    reporter: HealthReporter,
}

impl HealthBoard {
    pub(crate) fn new() -> Self {
        HealthBoard {
            reporter: HealthReporter::new(),
        }
    }

    /// The service, to be mounted beside the others.
    pub(crate) fn server(&self) -> HealthServer<impl Health> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Follows the replica until it stops.
    pub(crate) async fn follow(inner: std::sync::Arc<Inner>) {
        let mut status = inner.status.subscribe();
        let mut known: Vec<String> = Vec::new();
        loop {
            let now = status.borrow_and_update().clone();
            known = inner.health.update(&inner, &now, known).await;
            tokio::select! {
                biased;
                changed = status.changed() => if changed.is_err() { return },
                () = inner.stop.cancelled() => {
                    let now = status.borrow_and_update().clone();
                    inner.health.update(&inner, &now, known).await;
                    return;
                }
            }
        }
    }

    async fn update(
        &self,
        inner: &Inner,
        status: &replica::Status,
        known: Vec<String>,
    ) -> Vec<String> {
        let serving = |is: bool| match is {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        let ready = inner.not_ready(status).is_empty();
        for name in [
            "",
            GraphServiceServer::<Service>::NAME,
            ReadinessServiceServer::<Service>::NAME,
            MaintenanceServiceServer::<Service>::NAME,
        ] {
            self.reporter.set_service_status(name, serving(ready)).await;
        }
        let mut named = Vec::with_capacity(status.graphs.len());
        for (id, view) in status.graphs.iter() {
            let name = format!("graph/{id}");
            let serves = view.is_served() && !status.draining;
            self.reporter
                .set_service_status(&name, serving(serves))
                .await;
            named.push(name);
        }
        for gone in known.iter().filter(|name| !named.contains(name)) {
            let mut reporter = self.reporter.clone();
            reporter.clear_service_status(gone).await;
        }
        named
    }
}
