//! The stream to the control plane: who this replica is, what it serves, and notices of revisions.
//! Serving never stops because of it.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use omnigraph_engine::Clock;
use omnigraph_proto::control::v1::{
    Draining, GraphReport, Heartbeat, Register, ReplicaGraph, SyncRequest, SyncResponse,
    sync_request, sync_response,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status as RpcStatus;
use ulid::Ulid;

use crate::link::{Frames, Link};
use crate::options::Control;
use crate::replica::{Inner, Status};
use crate::service::convert::graph_state;

const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// Until the control plane has said another.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without an answer for so long the stream is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Frames that wait to be sent.
const FRAMES_MAX: usize = 16;

/// Keeps a stream to the control plane until the replica stops.
pub(crate) async fn follow(inner: Arc<Inner>, control: Control) {
    let dial = Arc::clone(&inner.options.dial);
    let Ok(mut link) = dial.dial(&control) else {
        return;
    };
    let clock = Arc::clone(&inner.clock);
    let mut pause = BACK_OFF_FIRST;
    while !inner.stop.is_cancelled() {
        let begun = clock.instant();
        let ended = session(&inner, &link).await;
        let was_connected = inner
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.control_connected, false));
        match ended {
            Ok(End::Stopped) => return,
            Ok(End::Elsewhere(leader)) => {
                let elsewhere = Control {
                    address: leader,
                    token: control.token.clone(),
                };
                if let Ok(leader) = dial.dial(&elsewhere) {
                    link = leader;
                }
            }
            Err(status) => {
                if was_connected {
                    tracing::warn!(error = status.message(), "lost the control plane");
                } else {
                    tracing::debug!(error = status.message(), "no control plane");
                }
                if let Ok(configured) = dial.dial(&control) {
                    link = configured;
                }
            }
        }
        if clock.instant() - begun > BACK_OFF_MAX {
            pause = BACK_OFF_FIRST;
        }
        let wait = jittered(pause, clock.fresh_id());
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            () = clock.sleep(wait) => pause = (pause * 2).min(BACK_OFF_MAX),
        }
    }
}

/// How a stream ended in order.
enum End {
    Stopped,
    /// The leader is at this address.
    Elsewhere(String),
}

async fn session(inner: &Arc<Inner>, link: &Arc<dyn Link>) -> Result<End, RpcStatus> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let mut status = inner.status.subscribe();
    let now = status.borrow_and_update().clone();
    send(&inner.clock, &frames, register(inner, &now)).await?;
    let answer = link.sync(ReceiverStream::new(receiver));
    let answer = tokio::select! {
        biased;
        () = inner.stop.cancelled() => return Ok(End::Stopped),
        answer = inner.clock.timeout(SILENCE_MAX, answer) => answer,
    };
    let mut answers =
        answer.map_err(|_| RpcStatus::deadline_exceeded("the control plane did not answer"))??;
    let mut session = Session {
        inner,
        frames,
        reported: now,
        heartbeat: HEARTBEAT,
        sequence: 0,
    };
    session.run(&mut answers, &mut status).await
}

struct Session<'a> {
    inner: &'a Arc<Inner>,
    frames: mpsc::Sender<SyncRequest>,
    reported: Status,
    heartbeat: Duration,
    sequence: u64,
}

impl Session<'_> {
    async fn run(
        &mut self,
        answers: &mut Frames<SyncResponse>,
        status: &mut watch::Receiver<Status>,
    ) -> Result<End, RpcStatus> {
        let clock = Arc::clone(&self.inner.clock);
        let mut heard = clock.instant();
        let mut beat_at = heard + self.heartbeat;
        loop {
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => {
                    self.say_goodbye().await?;
                    return Ok(End::Stopped);
                }
                answer = answers.try_next() => {
                    heard = clock.instant();
                    let frame = answer?.and_then(|answer| answer.frame);
                    let heartbeat = self.heartbeat;
                    match self.heed(frame)? {
                        Some(leader) => return Ok(End::Elsewhere(leader)),
                        None if heartbeat != self.heartbeat => {
                            beat_at = clock.after(self.heartbeat);
                        }
                        None => {}
                    }
                }
                changed = status.changed() => {
                    changed.map_err(|_| RpcStatus::cancelled("the replica is gone"))?;
                    let now = status.borrow_and_update().clone();
                    self.report(now).await?;
                }
                () = clock.sleep_until(beat_at) => {
                    beat_at = clock.after(self.heartbeat);
                    if clock.instant() - heard > SILENCE_MAX.max(self.heartbeat * 3) {
                        return Err(RpcStatus::deadline_exceeded("the control plane is silent"));
                    }
                    self.beat().await?;
                }
            }
        }
    }

    /// Heeds a frame; says where to go if the leader is elsewhere.
    fn heed(&mut self, frame: Option<sync_response::Frame>) -> Result<Option<String>, RpcStatus> {
        use sync_response::Frame;
        match frame {
            None => return Err(RpcStatus::unavailable("the control plane ended the stream")),
            Some(Frame::Welcome(welcome)) => {
                if welcome.heartbeat_interval_ms > 0 {
                    let interval = u64::from(welcome.heartbeat_interval_ms);
                    self.heartbeat = Duration::from_millis(interval);
                }
                tracing::info!(leader = welcome.leader, "follows the control plane");
                self.inner
                    .status
                    .send_modify(|s| s.control_connected = true);
            }
            Some(Frame::Revision(notice)) => self.hear_of(notice.revision),
            Some(Frame::Ack(ack)) => {
                self.inner.peers.send_replace(ack.live_replicas);
                self.hear_of(ack.latest_revision);
            }
            Some(Frame::Reregister(elsewhere)) => {
                return match elsewhere.leader.is_empty() {
                    true => Err(RpcStatus::unavailable(elsewhere.reason)),
                    false => Ok(Some(elsewhere.leader)),
                };
            }
        }
        Ok(None)
    }

    fn hear_of(&self, revision: u64) {
        if revision > self.inner.status.borrow().target {
            self.inner.wake.notify_one();
        }
    }

    async fn report(&mut self, now: Status) -> Result<(), RpcStatus> {
        if now.draining && !self.reported.draining {
            self.say_goodbye().await?;
        }
        let old = replica_graphs(&self.reported);
        let graphs = replica_graphs(&now);
        if graphs != old || now.revision != self.reported.revision {
            let report = GraphReport {
                revision: now.revision,
                graphs,
            };
            send(
                &self.inner.clock,
                &self.frames,
                sync_request::Frame::Report(report),
            )
            .await?;
        }
        self.reported = now;
        Ok(())
    }

    async fn beat(&mut self) -> Result<(), RpcStatus> {
        self.sequence += 1;
        let (revision, storage_reachable) = {
            let status = self.inner.status.borrow();
            (status.revision, status.storage_reachable)
        };
        let heartbeat = Heartbeat {
            sequence: self.sequence,
            revision,
            storage_reachable,
        };
        send(
            &self.inner.clock,
            &self.frames,
            sync_request::Frame::Heartbeat(heartbeat),
        )
        .await
    }

    async fn say_goodbye(&self) -> Result<(), RpcStatus> {
        let draining = Draining {
            reason: "stopping".to_owned(),
            grace_ms: 0,
        };
        send(
            &self.inner.clock,
            &self.frames,
            sync_request::Frame::Draining(draining),
        )
        .await
    }
}

fn register(inner: &Inner, status: &Status) -> sync_request::Frame {
    sync_request::Frame::Register(Register {
        replica_id: inner.options.replica_id.clone(),
        session_id: inner.session_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        grpc_address: inner.options.grpc_address.clone(),
        http_address: inner.options.http_address.clone(),
        revision: status.revision,
        serving_digest: status.serving_digest.to_string(),
        graphs: replica_graphs(status),
        labels: std::collections::HashMap::new(),
    })
}

fn replica_graphs(status: &Status) -> Vec<ReplicaGraph> {
    let graphs = status.graphs.iter().map(|(id, view)| ReplicaGraph {
        graph_id: id.clone(),
        state: graph_state(view.phase).into(),
        reason_code: view
            .trouble
            .as_ref()
            .map_or(String::new(), |t| t.code.as_str().to_owned()),
        message: view
            .trouble
            .as_ref()
            .map_or(String::new(), |t| t.message.clone()),
        served_revision: view.served.as_ref().map_or(0, |(revision, _)| *revision),
        elapsed_ms: 0,
    });
    graphs.collect()
}

/// The control plane takes frames quickly; one that does not is as good as gone.
async fn send(
    clock: &Arc<dyn Clock>,
    frames: &mpsc::Sender<SyncRequest>,
    frame: sync_request::Frame,
) -> Result<(), RpcStatus> {
    let frame = SyncRequest { frame: Some(frame) };
    match clock.timeout(SILENCE_MAX, frames.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(RpcStatus::unavailable("the control plane takes no frames")),
    }
}

/// Between half and all of a pause, so that replicas do not come back in step.
fn jittered(pause: Duration, random: Ulid) -> Duration {
    let random = u32::try_from(random.random() & 0xffff).unwrap_or(0);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(0x1_0000_u32) / 2.0)
}
