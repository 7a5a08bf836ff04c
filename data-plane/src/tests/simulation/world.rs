//! One run's world: its time, its store, its processes, and what is wrong with them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use omnigraph_control_plane::rule::Rules;
use omnigraph_control_plane::{ControlPlane, Options as PlaneOptions};
use omnigraph_engine::{Clock, Engine, EngineOptions, Store, StoreOptions};
use omnigraph_policy::Actor;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::faults::{Fate, Op, Profile, Strike, When, duel};
use super::link::{Connection, Wire};
use super::oracle::{HISTORY, Oracle};
use super::rng::Rng;
use super::store::ProcessStore;
use super::time::{Gate, Life, ProcessClock, Time};
use super::workload::GRAPHS;
use crate::options::{Access, Boot, Control};
use crate::{Options, Replica};

/// The daemons of the control plane, by address.
pub(super) const PLANES: [&str; 2] = ["a", "b"];
pub(super) const REPLICAS: [&str; 2] = ["r", "s"];

/// How often leaders reclaim history.
const HOUSEKEEPING: Duration = Duration::from_secs(25);

/// How a simulated outage of one graph ends.
type Outage = Option<(String, Duration)>;

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) time: Arc<Time>,
    pub(super) objects: InMemory,
    pub(super) profile: Profile,
    /// What every process keeps to.
    rules: Rules,
    pub(super) oracle: Mutex<Oracle>,
    /// From some moment on nothing new goes wrong.
    calm: AtomicBool,
    outage: Mutex<Outage>,
    lives: AtomicU64,
    planes: Mutex<BTreeMap<&'static str, Plane>>,
    replicas: Mutex<BTreeMap<&'static str, Follower>>,
    pub(super) connections: Mutex<Vec<Arc<Connection>>>,
    trace: Mutex<Trace>,
    failure: Mutex<Option<String>>,
    pub(super) failed: Notify,
}

/// One life of a process.
#[derive(Debug)]
pub(super) struct Process {
    /// Its role and its life: `a.3`.
    pub(super) name: String,
    /// Where it is found; none for a command that runs once.
    role: Option<&'static str>,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Arc<ProcessClock>,
    rng: Rng,
    /// What went wrong for it so far.
    pub(super) troubles: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Plane {
    pub(super) process: Arc<Process>,
    pub(super) plane: ControlPlane,
    stop: CancellationToken,
}

#[derive(Clone)]
pub(super) struct Follower {
    pub(super) process: Arc<Process>,
    pub(super) replica: Replica,
}

/// What happened, as a digest, and as text if somebody wants to read it.
struct Trace {
    digest: DefaultHasher,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Process {
    /// The wall clock is set.
    pub(super) fn jump(&self, micros: i64) {
        self.clock.ahead.fetch_add(micros, Ordering::Relaxed);
    }
}

impl World {
    pub(super) fn new(
        seed: u64,
        time: &Arc<Time>,
        profile: Profile,
        rules: Rules,
        keep_trace: bool,
    ) -> Arc<Self> {
        Arc::new(World {
            seed,
            time: Arc::clone(time),
            objects: InMemory::new(),
            profile,
            rules,
            oracle: Mutex::new(Oracle::default()),
            calm: AtomicBool::new(false),
            outage: Mutex::default(),
            lives: AtomicU64::new(0),
            planes: Mutex::default(),
            replicas: Mutex::default(),
            connections: Mutex::default(),
            trace: Mutex::new(Trace {
                digest: DefaultHasher::new(),
                events: 0,
                lines: keep_trace.then(Vec::new),
            }),
            failure: Mutex::default(),
            failed: Notify::new(),
        })
    }

    /// Writes down that something happened.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let line = format!("{:>13.6} {}", self.time.now().as_secs_f64(), line());
        let mut trace = self.trace.lock();
        trace.digest.write(line.as_bytes());
        trace.events += 1;
        if let Some(lines) = &mut trace.lines {
            lines.push(line);
        }
    }

    /// Digest and number of the events so far.
    pub(super) fn traced(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.digest.finish(), trace.events)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.trace.lock().lines.clone().unwrap_or_default()
    }

    /// An invariant does not hold. The first one counts.
    pub(super) fn fail(&self, what: String) {
        self.note(|| format!("VIOLATED {what}"));
        self.failure.lock().get_or_insert(what);
        self.failed.notify_one();
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Looks at the oracle's answer.
    pub(super) fn hold(&self, judged: Result<(), String>) {
        if let Err(what) = judged {
            self.fail(what);
        }
    }

    pub(super) fn rng(&self, name: &str) -> Rng {
        Rng::new(self.seed, name)
    }

    // What the store tells.

    pub(super) fn stored(&self, process: &Process, path: &Path, bytes: &Bytes, existed: bool) {
        self.note(|| format!("{} stored {path}", process.name));
        let judged = self
            .oracle
            .lock()
            .stored(&process.name, path.as_ref(), bytes, existed);
        self.hold(judged);
        self.look_at_replicas();
    }

    pub(super) fn removed(&self, process: &Process, path: &Path) {
        self.note(|| format!("{} removed {path}", process.name));
        let judged = self.oracle.lock().removed(path.as_ref());
        self.hold(judged);
    }

    /// Holds every replica against what is applied.
    pub(super) fn look_at_replicas(&self) {
        for follower in self.replicas() {
            let status = follower.replica.inner().status.borrow().clone();
            let name = &follower.process.name;
            let judged = self.oracle.lock().serves(name, &status);
            self.hold(judged);
        }
    }

    // What goes wrong.

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Nothing new goes wrong from now on; whoever stands still goes on.
    pub(super) fn calm_down(&self) {
        self.note(|| "calm".to_owned());
        self.calm.store(true, Ordering::Relaxed);
        *self.outage.lock() = None;
        for process in self.processes() {
            process.gate.set(Life::Running);
        }
        for connection in self.connections.lock().iter() {
            connection.thaw();
        }
    }

    pub(super) fn fate(&self, process: &Process, op: Op, path: &Path) -> (Fate, Option<Strike>) {
        let quick = Fate::Answer {
            reach: process
                .rng
                .between(Duration::from_micros(200), Duration::from_millis(5)),
            back: process
                .rng
                .between(Duration::from_micros(200), Duration::from_millis(5)),
        };
        if self.is_calm() {
            return (quick, None);
        }
        let outage = self.outage.lock().clone();
        if let Some((graph, until)) = outage
            && self.time.now() < until
            && path.as_ref().contains(&format!("graphs/{graph}.omni"))
        {
            process.troubles.fetch_add(1, Ordering::Relaxed);
            let back = Duration::from_millis(3);
            return (Fate::Error { back }, None);
        }
        let mut fate = self.profile.fate(&process.rng, op);
        let mut strike = self.profile.strike(&process.rng, op, path.as_ref());
        let leads = process.role.is_none_or(|role| PLANES.contains(&role));
        if self.profile.duel && leads {
            (fate, strike) = duel(&process.rng, op, path.as_ref()).unwrap_or((fate, strike));
            if let Fate::ErrorAfter { reach, .. } = fate
                && let Some(graph) = graph_of(path)
            {
                // Nobody can find out what becomes of it until it has arrived.
                self.lose_graph(graph, reach + Duration::from_millis(100));
            }
        }
        if strike.is_some_and(|strike| strike.when == When::Meanwhile) && !self.profile.duel {
            fate = Profile::stray(&process.rng);
        }
        if strike.is_some() || fate.is_trouble() {
            process.troubles.fetch_add(1, Ordering::Relaxed);
        }
        (fate, strike)
    }

    /// One graph cannot be reached for a while.
    pub(super) fn lose_graph(&self, graph: &str, time: Duration) {
        self.note(|| format!("outage of {graph} for {time:?}"));
        *self.outage.lock() = Some((graph.to_owned(), self.time.now() + time));
    }

    /// A process stops for a time, or for ever.
    pub(super) fn strike(self: &Arc<Self>, process: &Arc<Process>, pause: Option<Duration>) {
        if self.is_calm() || process.gate.life() != Life::Running {
            return;
        }
        process.troubles.fetch_add(1, Ordering::Relaxed);
        match pause {
            Some(pause) => {
                self.note(|| format!("{} pauses for {pause:?}", process.name));
                process.gate.set(Life::Paused);
                let (world, process) = (Arc::clone(self), Arc::clone(process));
                tokio::spawn(async move {
                    world.time.sleep(pause).await;
                    world.note(|| format!("{} goes on", process.name));
                    process.gate.set(Life::Running);
                });
            }
            None => self.kill(process),
        }
    }

    /// A process dies; another life of it begins later.
    pub(super) fn kill(self: &Arc<Self>, process: &Arc<Process>) {
        self.note(|| format!("{} dies", process.name));
        process.gate.set(Life::Dead);
        for connection in self.connections.lock().iter() {
            if connection.touches(process) {
                connection.end(process.rng.below(2) == 0);
            }
        }
        let Some(role) = process.role else { return };
        let is_it = |other: &Arc<Process>| Arc::ptr_eq(other, process);
        let mut planes = self.planes.lock();
        if planes.get(role).is_some_and(|plane| is_it(&plane.process)) {
            planes.remove(role);
        }
        drop(planes);
        let mut replicas = self.replicas.lock();
        if replicas
            .get(role)
            .is_some_and(|found| is_it(&found.process))
        {
            replicas.remove(role);
        }
        drop(replicas);
        let back = process.rng.long_tailed(Duration::from_secs(40));
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let at = world.time.now() + back;
            // Nobody stays dead for long once it is calm.
            while world.time.now() < at && !world.is_calm() {
                world.time.sleep(back / 8).await;
            }
            world.start(role).await;
        });
    }

    // Processes.

    pub(super) async fn start(self: &Arc<Self>, role: &'static str) {
        if PLANES.contains(&role) {
            let plane = self.plane(Some(role), role).await;
            // It is awaited by nobody, as a process that is started by itself.
            drop(plane.plane.spawn_leading(plane.stop.clone()));
            self.planes.lock().insert(role, plane);
        } else {
            let follower = self.follower(role).await;
            self.replicas.lock().insert(role, follower);
        }
    }

    /// A control plane for the length of one command.
    pub(super) async fn embedded(self: &Arc<Self>) -> Plane {
        self.plane(None, "c").await
    }

    /// A daemon is asked to stop, and started again after it has.
    pub(super) async fn restart(self: &Arc<Self>, role: &'static str) {
        let Some(plane) = self.plane_at(role) else {
            return;
        };
        self.note(|| format!("{} is asked to stop", plane.process.name));
        plane.stop.cancel();
        self.time.sleep(Duration::from_secs(30)).await;
        if plane.process.gate.life() != Life::Dead {
            self.kill(&plane.process);
        }
    }

    async fn plane(self: &Arc<Self>, role: Option<&'static str>, name: &str) -> Plane {
        let process = self.process(role, name);
        let mut options = PlaneOptions::new(process.name.clone());
        options.host = "simulated".to_owned();
        options.address = role.map(str::to_owned);
        options.watch_processes = false;
        options.housekeeping = HOUSEKEEPING;
        options.history_revisions = HISTORY;
        options.history_age = Duration::ZERO;
        options.rules = self.rules.clone();
        Plane {
            plane: ControlPlane::new(self.engine(&process).await, options),
            process,
            stop: CancellationToken::new(),
        }
    }

    async fn follower(self: &Arc<Self>, role: &'static str) -> Follower {
        let process = self.process(Some(role), role);
        let plane = PLANES[usize::from(role != REPLICAS[0])];
        let mut options = Options::served(Access::Embedded(Actor::nobody()));
        options.replica_id = process.name.clone();
        options.engine = Some(self.engine(&process).await);
        options.control = Some(Control {
            address: plane.to_owned(),
            token: None,
        });
        options.boot = Boot::Wait;
        options.maintenance = None;
        options.poll_interval = Duration::from_secs(20);
        options.dial = Arc::new(Wire::new(self, &process));
        let replica = Replica::start(options).await.expect("it waits");
        Follower { process, replica }
    }

    fn process(self: &Arc<Self>, role: Option<&'static str>, name: &str) -> Arc<Process> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}.{life}");
        let rng = self.rng(&name);
        let skew = match self.profile.skew {
            true => i64::try_from(rng.below(240_000_000)).unwrap_or(0) - 120_000_000,
            false => 0,
        };
        let gate = Arc::new(Gate::default());
        let clock = ProcessClock {
            time: Arc::clone(&self.time),
            gate: Arc::clone(&gate),
            ahead: AtomicI64::new(skew),
            ids: self.rng(&format!("{name} ids")),
        };
        self.note(|| format!("{name} starts"));
        Arc::new(Process {
            name,
            role,
            gate,
            clock: Arc::new(clock),
            rng,
            troubles: AtomicU64::new(0),
        })
    }

    /// What a fresh process knows of the storage root: nothing.
    async fn engine(self: &Arc<Self>, process: &Arc<Process>) -> Engine {
        let options = StoreOptions {
            clock: Arc::clone(&process.clock) as Arc<dyn Clock>,
            wrapper: Some(Arc::new(ProcessStore::new(self, process))),
            fsync: false,
        };
        let store = Store::open("memory://sim", options).await.expect("memory");
        let options = EngineOptions {
            cache_bytes: 1 << 20,
            load_memory: 1 << 20,
            load_spool: 1 << 20,
        };
        Engine::outlined(store, &options)
    }

    /// The graph that alone has any trouble in this run.
    pub(super) fn isolated(&self) -> Option<&'static str> {
        let at = usize::try_from(self.seed).unwrap_or(0) / 2 % GRAPHS.len();
        self.profile.isolates().then_some(GRAPHS[at])
    }

    /// Breaks the circle between the world and those who live in it.
    pub(super) fn forget_processes(&self) {
        self.planes.lock().clear();
        self.replicas.lock().clear();
        self.connections.lock().clear();
    }

    pub(super) fn plane_at(&self, address: &str) -> Option<Plane> {
        self.planes.lock().get(address).cloned()
    }

    pub(super) fn planes(&self) -> Vec<Plane> {
        self.planes.lock().values().cloned().collect()
    }

    pub(super) fn replicas(&self) -> Vec<Follower> {
        self.replicas.lock().values().cloned().collect()
    }

    /// Those that have a place.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        let planes = self.planes().into_iter().map(|plane| plane.process);
        let replicas = self.replicas().into_iter().map(|found| found.process);
        planes.chain(replicas).collect()
    }
}

/// The graph that an object belongs to.
fn graph_of(path: &Path) -> Option<&'static str> {
    let of = |id: &&&'static str| path.as_ref().contains(&format!("graphs/{id}.omni"));
    GRAPHS.iter().find(of).copied()
}
