//! The control plane as a library: one value that every operation hangs on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{Authorship, Clock, Engine, Graph, GraphRoot, Store};
use omnigraph_policy::Credentials;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{ClusterApi, ReplicaApi};
use crate::approval::Approvals;
use crate::authorize::{AdminActors, ServerPolicy};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::failpoint::Failpoints;
use crate::lead::{Role, Running};
use crate::ledger::Ledger;
use crate::operation::Operations;
use crate::replicas::Replicas;
use crate::rule::Rules;
use crate::sidecar::Sidecars;

/// Who this control plane is, and how patient.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the process for people: `cp-0`.
    pub holder: String,
    /// The machine.
    pub host: String,
    /// Where its gRPC listener is reached; none when it has none.
    pub address: Option<String>,
    /// How often the leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a heartbeat has to stand still before the lead is taken.
    pub takeover: Duration,
    /// How often a replica shows that it lives.
    pub replica_heartbeat: Duration,
    /// How many of those may be missed.
    pub missed_heartbeats: u32,
    /// How long an apply waits for replicas when the request does not say.
    pub wait_timeout: Duration,
    /// How often the leader reclaims history and removes deleted graphs.
    pub housekeeping: Duration,
    /// Who may do everything, whatever the policy says.
    pub admin_actors: AdminActors,
    /// Whether a leader that died on the same machine is known by its process, which spares the wait
    /// for its heartbeat.
    pub watch_processes: bool,
    /// Revisions that the history keeps at least.
    pub history_revisions: usize,
    /// For how long it keeps them at least.
    pub history_age: Duration,
    /// For tests.
    pub failpoints: Failpoints,
    /// For tests.
    pub rules: Rules,
}

impl Options {
    /// The defaults, under a name.
    pub fn new(holder: impl Into<String>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            holder: holder.into(),
            host: host.trim().to_owned(),
            address: None,
            heartbeat: Duration::from_secs(5),
            takeover: Duration::from_secs(15),
            replica_heartbeat: Duration::from_secs(5),
            missed_heartbeats: 3,
            wait_timeout: Duration::from_secs(300),
            housekeeping: Duration::from_secs(6 * 3600),
            admin_actors: AdminActors::default(),
            watch_processes: true,
            history_revisions: 1000,
            history_age: Duration::from_secs(90 * 24 * 3600),
            failpoints: Failpoints::default(),
            rules: Rules::default(),
        }
    }
}

/// A control plane over one storage root. Cheap to clone.
///
/// As it is, it leads for the length of each change. After [`ControlPlane::spawn_leading`] it leads
/// until it is stopped, and stands by while another process leads.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    pub(crate) ledger: Ledger,
    pub(crate) catalog: Catalog,
    pub(crate) sidecars: Sidecars,
    pub(crate) approvals: Approvals,
    pub(crate) replicas: Replicas,
    pub(crate) role: watch::Sender<Role>,
    /// One change at a time.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    pub(crate) running: Mutex<Option<Running>>,
    /// Woken when somebody found that this process does not lead any more.
    pub(crate) lost: Notify,
    pub(crate) operations: Operations,
    /// Operations that run on behalf of callers who may be gone.
    pub(crate) tasks: TaskTracker,
    /// The newest revision that this process knows of; 0 is none.
    pub(crate) newest: watch::Sender<u64>,
    pub(crate) server_policy: ServerPolicy,
    graphs: Mutex<HashMap<GraphRoot, Graph>>,
}

impl ControlPlane {
    /// A control plane over the engine's storage root. Nothing is read or written.
    pub fn new(engine: Engine, options: Options) -> Self {
        let store = engine.store().clone();
        let lapse = options.replica_heartbeat * options.missed_heartbeats;
        let shared = Shared {
            ledger: Ledger::new(&store),
            catalog: Catalog::new(&store),
            sidecars: Sidecars::new(&store),
            approvals: Approvals::new(&store),
            replicas: Replicas::new(Arc::clone(store.clock()), lapse),
            role: watch::Sender::new(Role::Embedded),
            turn: Arc::default(),
            running: Mutex::default(),
            lost: Notify::new(),
            operations: Operations::default(),
            tasks: TaskTracker::new(),
            newest: watch::Sender::new(0),
            server_policy: ServerPolicy::default(),
            graphs: Mutex::default(),
            engine,
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Who this control plane is.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The engine that it works with.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Whether it leads now.
    pub fn is_leading(&self) -> bool {
        matches!(*self.shared.role.borrow(), Role::Leading(_))
    }

    /// Leads until `stop`, then releases the lead and ends; stands by while another process leads.
    /// The caller awaits the handle.
    pub fn spawn_leading(&self, stop: CancellationToken) -> JoinHandle<()> {
        self.shared.role.send_replace(Role::Standby);
        let plane = self.clone();
        tokio::spawn(async move { plane.lead_until(stop).await })
    }

    /// The service for operators.
    pub fn cluster_api(&self, credentials: Credentials) -> ClusterApi {
        ClusterApi::new(self.clone(), credentials)
    }

    /// The service for replicas.
    pub fn replica_api(&self, credentials: Credentials) -> ReplicaApi {
        ReplicaApi::new(self.clone(), credentials)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn store(&self) -> &Store {
        self.shared.engine.store()
    }

    /// Where time, pauses and fresh ids come from.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.shared.engine.store().clock()
    }

    /// A graph, opened once.
    pub(crate) async fn graph(&self, root: &GraphRoot) -> Result<Graph> {
        if let Some(graph) = self.shared.graphs.lock().get(root) {
            return Ok(graph.clone());
        }
        let graph = self.shared.engine.open_graph(root).await?;
        let mut graphs = self.shared.graphs.lock();
        Ok(graphs.entry(root.clone()).or_insert(graph).clone())
    }
}

impl ControlPlane {
    /// A graph that nobody uses any more.
    pub(crate) fn forget_graph(&self, root: &GraphRoot) {
        self.shared.graphs.lock().remove(root);
    }
}

/// On whose behalf the engine writes.
pub(crate) fn authorship(actor: Option<&str>, epoch: u64, message: &str) -> Authorship {
    Authorship {
        actor: actor.and_then(|actor| omnigraph_engine::ActorId::parse(actor).ok()),
        control_epoch: Some(epoch),
        message: Some(message.to_owned()).filter(|message| !message.is_empty()),
    }
}
