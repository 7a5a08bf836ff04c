//! The planes as libraries in this process, straight on storage.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use omnigraph_control_plane::{AdminActors, ControlPlane, bundle};
use omnigraph_data_plane::Replica;
use omnigraph_engine::{Engine, EngineOptions, Store, StoreOptions};
use omnigraph_gateway::Upstream;
use omnigraph_lang::schema::MigrationPlan;
use omnigraph_policy::{Action, Actor, Credentials};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use tokio::sync::Mutex;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use super::control::Transport;
use super::data::{Answer, Body, Door};
use crate::address::Root;
use crate::error::{Error, Result, diagnostic_line};

pub(crate) use omnigraph_control_plane::step_summary;
pub(crate) use omnigraph_engine::STORAGE_FORMAT;

/// Writes that were admitted are finished within this time.
const STOP_BOUND: Duration = Duration::from_secs(30);

/// Reads the declarations of a directory.
pub(crate) fn bundle(dir: &Path) -> Result<pb::ConfigBundle> {
    bundle::read_directory(dir).map_err(|e| control_error(&e))
}

/// Reads and checks the declarations of a directory; needs no cluster.
pub(crate) fn validate(dir: &Path) -> Result<(pb::ConfigBundle, pb::ValidateResponse)> {
    let read = bundle::read(dir).map_err(|e| control_error(&e))?;
    let response = bundle::validate_directory(&read);
    Ok((read.bundle, response))
}

/// The policies of declarations, and what is wrong with them; needs no cluster.
pub(crate) fn policies(
    bundle: &pb::ConfigBundle,
) -> (
    Vec<pb::PolicyBundle>,
    Vec<omnigraph_proto::common::v1::Diagnostic>,
) {
    omnigraph_control_plane::policies::declared(bundle)
}

/// Opens the storage root behind a directory or URI.
pub(crate) async fn engine(root: &Root) -> Result<Engine> {
    let uri = match root {
        Root::Declared(dir) => bundle::storage_root(dir).map_err(|e| control_error(&e))?,
        Root::Storage(uri) => uri.clone(),
    };
    let store = Store::open(&uri, StoreOptions::default()).await;
    let store = store.map_err(|e| Error::failed(format!("{uri}: {}", e.message())))?;
    Ok(Engine::new(store, EngineOptions::default()))
}

/// Both planes over one storage root.
pub(crate) struct Embedded {
    /// The storage root, as people are told.
    pub(crate) label: String,
    engine: Engine,
    plane: ControlPlane,
    /// Who the user says they are.
    actor: Actor,
    /// Started with the first data request.
    replica: Mutex<Option<Replica>>,
}

impl Embedded {
    /// Opens the storage; leads and serves nothing yet.
    pub(crate) async fn open(root: &Root, actor: Actor) -> Result<Embedded> {
        let engine = engine(root).await?;
        let holder = format!("omnigraphctl-{}", std::process::id());
        let options = omnigraph_control_plane::Options {
            admin_actors: AdminActors::from_env(),
            ..omnigraph_control_plane::Options::new(holder)
        };
        Ok(Embedded {
            actor,
            label: engine.store().root_uri().to_owned(),
            plane: ControlPlane::new(engine.clone(), options),
            engine,
            replica: Mutex::new(None),
        })
    }

    /// The control plane's service.
    pub(crate) fn control(&self) -> Transport {
        in_process(&self.plane, &self.actor)
    }

    /// The way of a graph to another schema.
    pub(crate) async fn plan_schema(
        &self,
        graph: Option<&str>,
        desired: &str,
    ) -> Result<MigrationPlan> {
        self.may(Action::ClusterRead).await?;
        let planned = self.plane.plan_schema(graph, desired).await;
        let (_, plan) = planned.map_err(|error| {
            let shown = Error::failed(error.message());
            match error.hint() {
                Some(hint) => shown.with_hint(hint),
                None => shown,
            }
        })?;
        Ok(plan)
    }

    /// A gateway on a replica of this process.
    pub(crate) async fn data(&self) -> Result<Door> {
        let mut running = self.replica.lock().await;
        let replica = match running.as_ref() {
            Some(replica) => replica,
            None => {
                let options = omnigraph_data_plane::Options::embedded(
                    self.engine.clone(),
                    self.actor.clone(),
                );
                let started = Replica::start(options).await;
                running.insert(started.map_err(|e| boot_error(&self.label, &e))?)
            }
        };
        Ok(door(replica.upstream()))
    }

    async fn may(&self, action: Action) -> Result<()> {
        let allowed = self.plane.authorize_declared(&self.actor, action).await;
        allowed.map_err(|error| Error::from_status(&error.into()))
    }

    /// Finishes admitted writes.
    pub(crate) async fn close(self) {
        if let Some(replica) = self.replica.into_inner() {
            replica.stop(STOP_BOUND).await;
        }
    }
}

/// The control plane's service of this process.
pub(crate) fn in_process(plane: &ControlPlane, actor: &Actor) -> Transport {
    let credentials = Credentials::Declared(actor.clone());
    let service = ClusterServiceServer::new(plane.cluster_api(credentials))
        .max_decoding_message_size(omnigraph_gateway::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(omnigraph_gateway::MESSAGE_BYTES_MAX);
    let service = ServiceExt::<http::Request<tonic::body::Body>>::map_err(
        service,
        |never: Infallible| -> BoxError { match never {} },
    );
    BoxCloneSyncService::new(service)
}

/// A gateway of this process on a replica somewhere else.
pub(crate) async fn gateway_to(url: &str) -> Result<Door> {
    let channel = super::control::channel(url).await?;
    Ok(door(Upstream::channel(channel)))
}

/// The gateway's routes as a door.
pub(crate) fn door(upstream: Upstream) -> Door {
    let router = omnigraph_gateway::router(upstream, omnigraph_gateway::Options::default());
    let service = ServiceExt::<Request<Body>>::map_response(router, |answer| -> Answer {
        answer.map(|body| UnsyncBoxBody::new(body.map_err(|e| -> BoxError { Box::new(e) })))
    });
    let service = ServiceExt::<Request<Body>>::map_err(service, |never: Infallible| -> Error {
        match never {}
    });
    BoxCloneSyncService::new(service)
}

fn boot_error(label: &str, error: &omnigraph_data_plane::BootError) -> Error {
    let mut shown = Error::failed(format!("{label}: {}", error.message)).with_hint(error.remedy);
    shown.reason = error.code.to_owned();
    shown
}

/// A directory that cannot be read is a matter of arguments.
pub(crate) fn control_error(error: &omnigraph_control_plane::Error) -> Error {
    let mut shown = match error.findings() {
        [] => Error::usage(error.message()),
        found => {
            let mut shown = Error::failed("the directory cannot be used as it is");
            shown.reason = "config_invalid".to_owned();
            shown.details = found.iter().map(|d| diagnostic_line(&d.into())).collect();
            shown
        }
    };
    shown.hint = error.hint().map(str::to_owned);
    shown
}
