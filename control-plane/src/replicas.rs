//! The replicas that are connected, and what they say they serve. Kept in memory only: replicas
//! tell a new leader again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::Clock;
use omnigraph_proto::control::v1::{GraphReport, Register, ReplicaGraph};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Who is connected. Every change is told to those who watch.
pub(crate) struct Replicas {
    clock: Arc<dyn Clock>,
    /// Without a sign for so long a replica is not live.
    lapse: Duration,
    known: Mutex<BTreeMap<String, Replica>>,
    changes: watch::Sender<u64>,
}

/// One replica.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) session: String,
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) draining: bool,
    /// The newest revision that it has taken up for all its graphs.
    pub(crate) revision: u64,
    pub(crate) graphs: BTreeMap<String, ReplicaGraph>,
    /// Wall clock, for people.
    pub(crate) last_seen: i64,
    seen: Duration,
}

impl Replicas {
    pub(crate) fn new(clock: Arc<dyn Clock>, lapse: Duration) -> Self {
        Self {
            clock,
            lapse,
            known: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// A replica has connected. A newer session replaces an older one.
    pub(crate) fn register(&self, register: &Register) {
        let replica = Replica {
            session: register.session_id.clone(),
            address: register.grpc_address.clone(),
            version: register.version.clone(),
            draining: false,
            revision: register.revision,
            graphs: by_id(&register.graphs),
            last_seen: self.clock.now_micros(),
            seen: self.clock.monotonic(),
        };
        tracing::info!(
            replica = register.replica_id,
            address = replica.address,
            "registered"
        );
        self.known
            .lock()
            .insert(register.replica_id.clone(), replica);
        self.changed();
    }

    /// Some of its graphs changed their state.
    pub(crate) fn report(&self, id: &str, session: &str, report: &GraphReport) {
        self.update(id, session, |replica| {
            replica.revision = replica.revision.max(report.revision);
            replica.graphs.extend(by_id(&report.graphs));
        });
    }

    /// It lives.
    pub(crate) fn heartbeat(&self, id: &str, session: &str, revision: u64) {
        self.update(id, session, |replica| {
            replica.revision = replica.revision.max(revision);
        });
    }

    /// It is about to stop.
    pub(crate) fn drain(&self, id: &str, session: &str) {
        self.update(id, session, |replica| replica.draining = true);
    }

    /// Its stream has ended in good order: nobody waits for it any more.
    pub(crate) fn leave(&self, id: &str, session: &str) {
        let mut known = self.known.lock();
        if known
            .get(id)
            .is_some_and(|replica| replica.session == session && replica.draining)
        {
            known.remove(id);
            drop(known);
            self.changed();
        }
    }

    /// Every replica that was seen lately enough to be worth showing, and whether it is live.
    pub(crate) fn all(&self) -> Vec<(String, Replica, bool)> {
        let now = self.clock.monotonic();
        let mut known = self.known.lock();
        // What has been silent for long is forgotten, so that the list does not grow for ever.
        known.retain(|_, replica| now.saturating_sub(replica.seen) <= self.lapse * 20);
        let live = |replica: &Replica| now.saturating_sub(replica.seen) <= self.lapse;
        known
            .iter()
            .map(|(id, r)| (id.clone(), r.clone(), live(r)))
            .collect()
    }

    /// The names of those that serve and are not about to stop.
    pub(crate) fn live(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.filter(|(_, replica, live)| *live && !replica.draining)
            .map(|(id, _, _)| id)
            .collect()
    }

    /// Wakes at every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn update(&self, id: &str, session: &str, change: impl FnOnce(&mut Replica)) {
        let mut known = self.known.lock();
        // A late frame of an older session says nothing about the present one.
        let Some(replica) = known
            .get_mut(id)
            .filter(|replica| replica.session == session)
        else {
            return;
        };
        replica.seen = self.clock.monotonic();
        replica.last_seen = self.clock.now_micros();
        change(replica);
        drop(known);
        self.changed();
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn by_id(graphs: &[ReplicaGraph]) -> BTreeMap<String, ReplicaGraph> {
    let graphs = graphs
        .iter()
        .map(|graph| (graph.graph_id.clone(), graph.clone()));
    graphs.collect()
}
