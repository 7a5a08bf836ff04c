//! The handle of a running replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::Clock;
use omnigraph_gateway::Upstream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::authorize::Gate;
use crate::generation::Generation;
use crate::loader::Loader;
use crate::options::{Access, Boot, Options};
use crate::service::{self, HealthBoard};
use crate::state::{Phase, View};
use crate::{sync, upkeep};

/// How long the first revision may take when the start must not wait.
const BOOT_MAX: Duration = Duration::from_secs(120);
/// Exports at the same time.
const EXPORTS_MAX: usize = 16;

/// A running replica. Clones are handles of the same one.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

/// What all parts of a replica share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    /// Where time, pauses and fresh ids come from.
    pub(crate) clock: Arc<dyn Clock>,
    /// Names this life of the replica.
    pub(crate) session_id: String,
    pub(crate) status: watch::Sender<Status>,
    /// Somebody knows of a newer revision.
    pub(crate) wake: Notify,
    pub(crate) stop: CancellationToken,
    /// Admitted writes and streams, which the stop waits for.
    pub(crate) tasks: TaskTracker,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) health: HealthBoard,
    /// Replicas that the control plane says are live; empty: not known.
    pub(crate) peers: watch::Sender<Vec<String>>,
}

/// What a replica serves, at one moment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Status {
    /// The newest revision whose graphs are all decided; 0: none.
    pub(crate) revision: u64,
    /// The newest revision that is known; 0: none.
    pub(crate) target: u64,
    pub(crate) serving_digest: Arc<str>,
    pub(crate) graphs: Arc<BTreeMap<String, View<Generation>>>,
    /// What decides about calls to the server itself.
    pub(crate) server: Gate,
    pub(crate) storage_reachable: bool,
    pub(crate) control_connected: bool,
    pub(crate) draining: bool,
}

impl Status {
    fn new(access: &Access) -> Self {
        Status {
            server: Gate::of_server(access),
            revision: 0,
            target: 0,
            serving_digest: "".into(),
            graphs: Arc::default(),
            storage_reachable: true,
            control_connected: false,
            draining: false,
        }
    }
}

/// Why a replica does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}; {remedy}")]
pub struct BootError {
    /// A stable word.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Replica {
    /// Starts a replica. With [`Boot::Wait`] it returns at once; with [`Boot::Fail`] when the first
    /// revision is loaded and at least one graph is healthy.
    pub async fn start(options: Options) -> Result<Replica, BootError> {
        let boot = options.boot;
        let clock = options.clock();
        let inner = Arc::new(Inner {
            session_id: clock.fresh_id().to_string(),
            clock,
            status: watch::Sender::new(Status::new(&options.access)),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            health: HealthBoard::new(),
            peers: watch::Sender::new(Vec::new()),
            options,
        });
        let replica = Replica { inner };
        let mut loader = Loader::new(replica.inner.clone())?;
        if boot == Boot::Fail {
            loader.first_revision().await?;
        }
        if let Some(control) = loader.control() {
            let follow = sync::follow(replica.inner.clone(), control);
            replica.inner.tasks.spawn(follow);
        }
        replica.inner.tasks.spawn(loader.run());
        replica
            .inner
            .tasks
            .spawn(upkeep::run(replica.inner.clone()));
        replica
            .inner
            .tasks
            .spawn(HealthBoard::follow(replica.inner.clone()));
        if boot == Boot::Fail {
            let loaded = replica.first_graphs().await;
            if let Err(error) = loaded {
                replica.stop(Duration::ZERO).await;
                return Err(error);
            }
        }
        Ok(replica)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.inner.options.replica_id
    }

    /// All gRPC services, to be served or called in this process.
    pub fn routes(&self) -> Routes {
        service::routes(self)
    }

    /// The replica as the upstream of a gateway in this process.
    pub fn upstream(&self) -> Upstream {
        Upstream::in_process(self.routes())
    }

    /// Looks for a newer revision now instead of at the next poll.
    pub fn refresh(&self) {
        self.inner.wake.notify_one();
    }

    /// Waits until the replica is ready, or the time is over; says which.
    pub async fn ready(&self, within: Duration) -> bool {
        self.wait(within, |inner, status| inner.not_ready(status).is_empty())
            .await
    }

    /// Waits until a revision is taken up: each of its graphs is served or in trouble. Says whether
    /// that happened in time.
    pub async fn takes_up(&self, revision: u64, within: Duration) -> bool {
        self.refresh();
        self.wait(within, |_, status| status.revision >= revision)
            .await
    }

    /// Turns unready and stays so; requests are answered all the same.
    pub fn drain(&self) {
        self.inner
            .status
            .send_modify(|status| status.draining = true);
    }

    /// Stops following revisions and waits for admitted work; says whether all of it was done.
    pub async fn stop(&self, within: Duration) -> bool {
        self.drain();
        self.inner.stop.cancel();
        self.inner.tasks.close();
        let done = tokio::time::timeout(within, self.inner.tasks.wait()).await;
        done.is_ok()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    async fn wait(&self, within: Duration, is_so: impl Fn(&Inner, &Status) -> bool) -> bool {
        let mut status = self.inner.status.subscribe();
        let changed = status.wait_for(|status| is_so(&self.inner, status));
        matches!(tokio::time::timeout(within, changed).await, Ok(Ok(_)))
    }

    async fn first_graphs(&self) -> Result<(), BootError> {
        let loaded = self.wait(BOOT_MAX, |_, status| status.revision > 0).await;
        let status = self.inner.status.borrow().clone();
        let healthy = status.graphs.values().any(View::is_served);
        let quarantined = status
            .graphs
            .values()
            .any(|g| g.phase == Phase::Quarantined);
        if !loaded || !healthy || (quarantined && self.inner.options.require_all_graphs) {
            return Err(BootError {
                code: "cluster_no_healthy_graphs",
                message: unhealthy(&status),
                remedy: "see the reason of each graph",
            });
        }
        Ok(())
    }
}

fn unhealthy(status: &Status) -> String {
    let named = status.graphs.iter().filter_map(|(id, graph)| {
        let trouble = graph.trouble.as_ref()?;
        let code = trouble.code.as_str();
        Some(format!(
            "graph '{id}': {code}: {} ({})",
            trouble.message,
            trouble.code.remedy()
        ))
    });
    let named: Vec<String> = named.collect();
    match named.as_slice() {
        [] => "no graph was loaded in time".to_owned(),
        list => list.join("; "),
    }
}

impl Inner {
    /// Why the replica is not ready; empty when it is.
    pub(crate) fn not_ready(&self, status: &Status) -> Vec<&'static str> {
        let graphs = &status.graphs;
        let quarantined = graphs.values().any(|g| g.phase == Phase::Quarantined);
        let reasons = [
            (status.revision == 0, "no_revision"),
            (
                status.revision > 0 && !graphs.values().any(View::is_served),
                "no_healthy_graph",
            ),
            (!status.storage_reachable, "storage_unreachable"),
            (status.draining, "draining"),
            (
                self.options.require_all_graphs && quarantined,
                "require_all_graphs",
            ),
        ];
        let holds = reasons.into_iter().filter(|(holds, _)| *holds);
        holds.map(|(_, code)| code).collect()
    }

    /// The live replicas, as far as they are known now.
    pub(crate) fn live_peers(&self) -> Vec<String> {
        match self.status.borrow().control_connected {
            true => self.peers.borrow().clone(),
            false => Vec::new(),
        }
    }

    /// The generation of a graph, if one is served.
    pub(crate) fn generation(&self, graph_id: &str) -> Option<Arc<Generation>> {
        let status = self.status.borrow();
        let view = status.graphs.get(graph_id)?;
        view.served
            .as_ref()
            .map(|(_, generation)| generation.clone())
    }

    /// Looks for a newer revision until the graph has another generation than this, or the
    /// deadline passes.
    pub(crate) async fn newer_generation(
        &self,
        graph_id: &str,
        seen: &Arc<Generation>,
        until: Instant,
    ) -> Option<Arc<Generation>> {
        let mut status = self.status.subscribe();
        let mut pause = Duration::from_millis(20);
        loop {
            let now = self.generation(graph_id)?;
            if !Arc::ptr_eq(&now, seen) {
                return Some(now);
            }
            if self.clock.instant() >= until {
                return None;
            }
            self.wake.notify_one();
            let look_again = until.min(self.clock.after(pause));
            tokio::select! {
                biased;
                changed = status.changed() => changed.ok()?,
                () = self.clock.sleep_until(look_again) => {
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }
}
