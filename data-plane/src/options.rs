//! What a replica is given.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{Clock, Engine, SystemClock};
use omnigraph_policy::{Actor, Credentials};
use ulid::Ulid;

use crate::embedding::Environment;
use crate::link::{Dial, Network};

/// Settings of a replica. Start from [`Options::embedded`] or [`Options::served`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the replica for the control plane and in readiness.
    pub replica_id: String,
    /// The storage; `None`: the one that the control plane's revision names.
    pub engine: Option<Engine>,
    /// The control plane to follow; `None`: the ledger in storage alone.
    pub control: Option<Control>,
    /// Who may call.
    pub access: Access,
    /// What to do when there is nothing to serve at the start.
    pub boot: Boot,
    /// Whether one quarantined graph makes the replica unready.
    pub require_all_graphs: bool,
    /// How often the ledger is looked at without being told to.
    pub poll_interval: Duration,
    /// How often graphs are looked after by themselves; `None`: never.
    pub maintenance: Option<Duration>,
    /// Budget of reads without a deadline.
    pub read_timeout: Duration,
    /// Budget of writes without a deadline.
    pub write_timeout: Duration,
    /// Larger deadlines are cut down to this.
    pub timeout_max: Duration,
    /// Bytes that one query may hold.
    pub query_memory: u64,
    /// Where the keys of embedding providers are looked up.
    pub environment: Environment,
    /// Where other processes reach this replica; told to the control plane.
    pub grpc_address: String,
    /// Where other processes reach the embedded gateway; told to the control plane.
    pub http_address: String,
    /// How control planes are reached.
    pub(crate) dial: Arc<dyn Dial>,
}

/// The control plane that a replica follows.
#[derive(Clone)]
pub struct Control {
    /// `host:port`, `grpc://host:port` or `grpcs://host:port`.
    pub address: String,
    /// The bearer token; `None`: the control plane is open.
    pub token: Option<String>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Who may call.
#[derive(Clone, Debug)]
pub enum Access {
    /// Callers prove who they are; or everybody may, in open mode.
    Credentials(Credentials),
    /// Every call is this actor's: for programs that hold the storage's credentials themselves.
    Embedded(Actor),
}

/// What to do when there is nothing to serve at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// Stay up, not ready, and try again.
    Wait,
    /// Fail with a code and a remedy.
    Fail,
}

impl Options {
    /// A replica inside a program, over a storage root, for the given actor.
    pub fn embedded(engine: Engine, actor: Actor) -> Self {
        Options {
            engine: Some(engine),
            boot: Boot::Fail,
            maintenance: None,
            ..Self::served(Access::Embedded(actor))
        }
    }

    /// A replica of a daemon. It needs `engine` or `control`.
    pub fn served(access: Access) -> Self {
        Options {
            replica_id: Ulid::new().to_string(),
            engine: None,
            control: None,
            access,
            boot: Boot::Wait,
            require_all_graphs: false,
            poll_interval: Duration::from_secs(30),
            maintenance: crate::upkeep::interval_from_env(),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(300),
            timeout_max: Duration::from_secs(3600),
            query_memory: 1 << 30,
            environment: Environment::process(),
            grpc_address: String::new(),
            http_address: String::new(),
            dial: Arc::new(Network),
        }
    }

    /// The clock of the storage, else the machine's.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        match &self.engine {
            Some(engine) => Arc::clone(engine.store().clock()),
            None => Arc::new(SystemClock::default()),
        }
    }
}
