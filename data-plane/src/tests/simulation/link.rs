//! Connections between replicas and control planes: late, broken, or silent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{Stream, StreamExt as _};
use omnigraph_control_plane::ReplicaApi;
use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1::replica_service_server::ReplicaService as _;
use omnigraph_proto::control::v1::{
    FetchRevisionRequest, FetchRevisionResponse, SyncRequest, SyncResponse,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::rng::Rng;
use super::time::Gate;
use super::world::{Plane, Process, World};
use crate::link::{Dial, Frames, Link};
use crate::options::Control;
use crate::replica::BootError;

/// Frames on their way.
const FRAMES: usize = 16;

/// The network as one replica sees it.
pub(super) struct Wire {
    world: Arc<World>,
    replica: Arc<Process>,
}

/// Where a link leads.
struct To {
    world: Arc<World>,
    replica: Arc<Process>,
    address: String,
    rng: Rng,
}

/// A stream between a replica and a control plane.
pub(super) struct Connection {
    plane: Arc<Process>,
    replica: Arc<Process>,
    state: watch::Sender<Flow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// Nothing comes through, and nobody is told.
    Silent,
    /// Both ends know.
    Broken,
}

impl Wire {
    pub(super) fn new(world: &Arc<World>, replica: &Arc<Process>) -> Self {
        Wire {
            world: Arc::clone(world),
            replica: Arc::clone(replica),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.replica.name)
    }
}

impl Dial for Wire {
    fn dial(&self, control: &Control) -> Result<Arc<dyn Link>, BootError> {
        let rng = self
            .world
            .rng(&format!("{} to {}", self.replica.name, control.address));
        Ok(Arc::new(To {
            world: Arc::clone(&self.world),
            replica: Arc::clone(&self.replica),
            address: control.address.clone(),
            rng,
        }))
    }
}

#[async_trait]
impl Link for To {
    async fn sync(
        &self,
        frames: ReceiverStream<SyncRequest>,
    ) -> Result<Frames<SyncResponse>, Status> {
        let (plane, api) = self.reach().await?;
        let connection = Arc::new(Connection {
            plane: plane.process.clone(),
            replica: Arc::clone(&self.replica),
            state: watch::Sender::new(Flow::Open),
        });
        self.world.connections.lock().push(Arc::clone(&connection));
        self.world
            .note(|| format!("{} connects to {}", self.replica.name, plane.process.name));
        let up = self.carry(&connection, frames.map(Ok), &plane.process.gate);
        let answers = api.follow(up).await?;
        Ok(self.carry(&connection, answers, &self.replica.gate).boxed())
    }

    async fn fetch_revision(
        &self,
        request: FetchRevisionRequest,
    ) -> Result<Frames<FetchRevisionResponse>, Status> {
        let (_, api) = self.reach().await?;
        let answer = api.fetch_revision(Request::new(request)).await?;
        let frames: Vec<_> = answer.into_inner().collect().await;
        self.world.time.sleep(latency(&self.rng)).await;
        self.replica.gate.passed().await;
        Ok(futures::stream::iter(frames).boxed())
    }
}

impl To {
    async fn reach(&self) -> Result<(Plane, ReplicaApi), Status> {
        self.replica.gate.passed().await;
        self.world.time.sleep(latency(&self.rng)).await;
        let cut = !self.world.is_calm() && self.rng.permille(self.world.profile.cut);
        let plane = self.world.plane_at(&self.address).filter(|_| !cut);
        let plane = plane.ok_or_else(|| Status::unavailable("nobody is there"))?;
        plane.process.gate.passed().await;
        let api = plane.plane.replica_api(Credentials::Open);
        Ok((plane, api))
    }

    /// Carries frames to the process behind `gate`.
    fn carry<T: Send + 'static>(
        &self,
        connection: &Arc<Connection>,
        frames: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
        gate: &Arc<Gate>,
    ) -> ReceiverStream<Result<T, Status>> {
        let (to, from) = mpsc::channel(FRAMES);
        let (world, connection) = (Arc::clone(&self.world), Arc::clone(connection));
        let (gate, rng) = (Arc::clone(gate), Rng::new(self.rng.next(), "frames"));
        tokio::spawn(async move {
            let mut frames = frames;
            let mut flow = connection.state.subscribe();
            loop {
                let frame = tokio::select! {
                    biased;
                    () = until(&mut flow, |flow| flow == Flow::Broken) => {
                        Some(Err(Status::unavailable("the connection is broken")))
                    }
                    frame = frames.next() => frame,
                };
                let Some(frame) = frame else { return };
                if !world.is_calm() && rng.permille(world.profile.cut) {
                    connection.end(rng.below(2) == 0);
                }
                world.time.sleep(latency(&rng)).await;
                until(&mut flow, |flow| flow != Flow::Silent).await;
                gate.passed().await;
                let ended = frame.is_err();
                if to.send(frame).await.is_err() || ended {
                    return;
                }
            }
        });
        ReceiverStream::new(from)
    }
}

impl Connection {
    pub(super) fn touches(&self, process: &Arc<Process>) -> bool {
        Arc::ptr_eq(&self.plane, process) || Arc::ptr_eq(&self.replica, process)
    }

    /// It breaks, or falls silent.
    pub(super) fn end(&self, broken: bool) {
        self.state.send_replace(match broken {
            true => Flow::Broken,
            false => Flow::Silent,
        });
    }

    /// What was silent breaks at last.
    pub(super) fn thaw(&self) {
        self.state.send_if_modified(|flow| {
            let silent = *flow == Flow::Silent;
            if silent {
                *flow = Flow::Broken;
            }
            silent
        });
    }
}

async fn until(flow: &mut watch::Receiver<Flow>, is_so: impl Fn(Flow) -> bool) {
    let _ = flow.wait_for(|flow| is_so(*flow)).await;
}

fn latency(rng: &Rng) -> Duration {
    rng.between(Duration::from_micros(100), Duration::from_millis(4))
}
