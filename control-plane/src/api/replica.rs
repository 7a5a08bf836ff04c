//! `ReplicaService`: for replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use omnigraph_policy::{Action, Credentials};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::replica_service_server::ReplicaService;
use omnigraph_proto::control::v1::{fetch_revision_response, sync_request, sync_response};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::Door;
use crate::catalog::BlobKind;
use crate::error::Result as PlaneResult;
use crate::lead::Role;
use crate::ledger::Revision;
use crate::plane::ControlPlane;
use crate::serving::Serving;
use omnigraph_proto::error::WireError;

/// Frames that may wait for a slow replica.
const FRAMES: usize = 16;

/// How long the first frame may take.
const FIRST_FRAME: Duration = Duration::from_secs(10);

/// The service for replicas.
#[derive(Clone)]
pub struct ReplicaApi {
    door: Door,
}

impl ReplicaApi {
    pub(crate) fn new(plane: ControlPlane, credentials: Credentials) -> Self {
        let door = Door::new(plane, credentials);
        Self { door }
    }

    /// What `Sync` does once it is clear who calls; also for callers in this process.
    pub async fn follow<F>(&self, mut frames: F) -> Result<BoxStream<pb::SyncResponse>, Status>
    where
        F: Stream<Item = Result<pb::SyncRequest, Status>> + Send + Unpin + 'static,
    {
        let first = self
            .door
            .plane
            .clock()
            .timeout(FIRST_FRAME, frames.try_next());
        let first = first.await.unwrap_or(Ok(None))?;
        let first = first.and_then(|message| message.frame);
        let Some(sync_request::Frame::Register(register)) = first else {
            return Err(WireError::invalid_request("the first frame must be `register`").into());
        };
        if register.replica_id.is_empty() {
            return Err(WireError::invalid_request("register names no replica").into());
        }
        let (to, from) = mpsc::channel(FRAMES);
        let session = Session {
            plane: self.door.plane.clone(),
            id: register.replica_id.clone(),
            session: register.session_id.clone(),
            to,
        };
        // It ends with the stream, or when the replica has been silent for too long.
        tokio::spawn(async move { session.run(register, frames).await });
        Ok(Box::pin(ReceiverStream::new(from)))
    }
}

#[tonic::async_trait]
impl ReplicaService for ReplicaApi {
    async fn sync(
        &self,
        request: Request<Streaming<pb::SyncRequest>>,
    ) -> Result<Response<BoxStream<pb::SyncResponse>>, Status> {
        self.door.admit(&request, Action::ReplicaSync).await?;
        let answers = self.follow(request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    async fn fetch_revision(
        &self,
        request: Request<pb::FetchRevisionRequest>,
    ) -> Result<Response<BoxStream<pb::FetchRevisionResponse>>, Status> {
        self.door.admit(&request, Action::ReplicaSync).await?;
        let request = request.into_inner();
        let revision = self.door.plane.revision(request.revision).await?;
        let (to, from) = mpsc::channel(FRAMES);
        let plane = self.door.plane.clone();
        tokio::spawn(async move {
            let have = request.have_digests.into_iter().collect();
            if let Err(error) = send_revision(&plane, &revision, &have, &to).await {
                let _ = to.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }
}

/// First the revision, then every source that the replica lacks.
async fn send_revision(
    plane: &ControlPlane,
    revision: &Revision,
    have: &BTreeSet<String>,
    to: &mpsc::Sender<Result<pb::FetchRevisionResponse, Status>>,
) -> PlaneResult<()> {
    let wire = Serving::of(revision).to_wire(plane.store().root_uri());
    let frame = |frame| pb::FetchRevisionResponse { frame: Some(frame) };
    let first = frame(fetch_revision_response::Frame::Revision(wire));
    if to.send(Ok(first)).await.is_err() {
        return Ok(());
    }
    let mut sent = BTreeSet::new();
    let mut blobs = Vec::new();
    for policy in revision.content.policies.values() {
        blobs.push((&policy.text, policy.kind()));
        blobs.extend(
            policy
                .groups
                .iter()
                .map(|digest| (digest, BlobKind::Policy)),
        );
    }
    for graph in revision.content.graphs.values() {
        let queries = graph
            .queries
            .values()
            .map(|digest| (digest, BlobKind::Query));
        blobs.extend(queries.chain([(&graph.schema_source, BlobKind::Schema)]));
    }
    for (digest, kind) in blobs {
        if have.contains(digest.as_str()) || !sent.insert(digest.clone()) {
            continue;
        }
        let content = plane.shared().catalog.get(digest, kind).await?;
        let blob = frame(fetch_revision_response::Frame::Blob(pb::CatalogBlob {
            digest: digest.to_string(),
            kind: kind.label().to_owned(),
            content,
        }));
        if to.send(Ok(blob)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Until this process does not lead any more.
async fn stood_down(role: &mut watch::Receiver<Role>) {
    let _ = role.wait_for(|role| matches!(role, Role::Standby)).await;
}

/// One connected replica.
struct Session {
    plane: ControlPlane,
    id: String,
    session: String,
    to: mpsc::Sender<Result<pb::SyncResponse, Status>>,
}

impl Session {
    async fn run<F>(self, register: pb::Register, frames: F)
    where
        F: Stream<Item = Result<pb::SyncRequest, Status>> + Unpin,
    {
        let role = self.plane.shared().role.borrow().clone();
        if matches!(role, Role::Standby) {
            self.send_away().await;
            return;
        }
        self.plane.shared().replicas.register(&register);
        if self.welcome(&role).await.is_some() {
            self.follow(frames).await;
        }
        self.plane.shared().replicas.leave(&self.id, &self.session);
    }

    /// Answers frames and tells of new revisions until one side ends.
    async fn follow<F>(&self, mut frames: F)
    where
        F: Stream<Item = Result<pb::SyncRequest, Status>> + Unpin,
    {
        let options = self.plane.options();
        let lapse = options.replica_heartbeat * options.missed_heartbeats;
        let mut newest = self.plane.shared().newest.subscribe();
        let mut role = self.plane.shared().role.subscribe();
        newest.mark_unchanged();
        let clock = self.plane.clock();
        loop {
            let silence = lapse.max(Duration::from_secs(1));
            let alive = tokio::select! {
                biased;
                () = stood_down(&mut role) => {
                    self.send_away().await;
                    None
                }
                frame = clock.timeout(silence, frames.try_next()) => {
                    match frame {
                        Ok(Ok(Some(message))) => self.answer(message.frame, &newest).await,
                        // Ended, broken or silent.
                        _ => None,
                    }
                }
                changed = newest.changed() => match changed {
                    Ok(()) => {
                        let number = *newest.borrow_and_update();
                        self.notify(number).await
                    }
                    Err(_) => None,
                },
            };
            if alive.is_none() {
                return;
            }
        }
    }

    async fn answer(
        &self,
        frame: Option<sync_request::Frame>,
        newest: &watch::Receiver<u64>,
    ) -> Option<()> {
        let replicas = &self.plane.shared().replicas;
        match frame? {
            // Registering again on the same stream only repeats what is served.
            sync_request::Frame::Register(register) => replicas.register(&register),
            sync_request::Frame::Report(report) => {
                replicas.report(&self.id, &self.session, &report)
            }
            sync_request::Frame::Draining(_) => replicas.drain(&self.id, &self.session),
            sync_request::Frame::Heartbeat(beat) => {
                replicas.heartbeat(&self.id, &self.session, beat.revision);
                let latest_revision = *newest.borrow();
                self.send(sync_response::Frame::Ack(pb::HeartbeatAck {
                    sequence: beat.sequence,
                    latest_revision,
                    live_replicas: replicas.live(),
                }))
                .await?;
            }
        }
        Some(())
    }

    /// The terms, and at once the newest revision.
    async fn welcome(&self, role: &Role) -> Option<()> {
        let options = self.plane.options();
        let epoch = match role {
            Role::Leading(leader) => leader.epoch,
            Role::Embedded | Role::Standby => 0,
        };
        let interval = options.replica_heartbeat.as_millis();
        self.send(sync_response::Frame::Welcome(pb::Welcome {
            heartbeat_interval_ms: u32::try_from(interval).unwrap_or(u32::MAX),
            missed_heartbeats: options.missed_heartbeats,
            epoch,
            leader: options.address.clone().unwrap_or_default(),
        }))
        .await?;
        match self.plane.shared().ledger.newest().await {
            Ok(Some(revision)) => {
                self.plane.announce(revision.record.number);
                self.notify(revision.record.number).await
            }
            Ok(None) => Some(()),
            Err(error) => {
                tracing::warn!(error = error.chain(), "the newest revision cannot be read");
                Some(())
            }
        }
    }

    async fn notify(&self, number: u64) -> Option<()> {
        let newest = self.plane.shared().ledger.newest().await.ok().flatten();
        let digest = newest.filter(|newest| newest.record.number == number);
        let digest = digest.map(|newest| newest.record.serving_digest.to_string());
        self.send(sync_response::Frame::Revision(pb::RevisionNotice {
            revision: number,
            serving_digest: digest.unwrap_or_default(),
            changed_graphs: Vec::new(),
        }))
        .await
    }

    /// This process does not lead: the replica has to look for the one that does.
    async fn send_away(&self) {
        let state = self.plane.shared().ledger.state().await.ok();
        let leader = state.and_then(|state| state.leader);
        let address = leader.and_then(|leader| leader.address).unwrap_or_default();
        self.send(sync_response::Frame::Reregister(pb::Reregister {
            leader: address,
            reason: "this control plane does not lead".to_owned(),
        }))
        .await;
    }

    async fn send(&self, frame: sync_response::Frame) -> Option<()> {
        let response = pb::SyncResponse { frame: Some(frame) };
        self.to.send(Ok(response)).await.ok()
    }
}
