//! The one task that follows revisions: it looks for new ones, builds generations and publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use omnigraph_control_plane::serving::{PolicyText, Serving, ServingPolicy, ServingQuery};
use omnigraph_engine::{Clock, Engine, EngineOptions, Store, StoreOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::authorize::{self, Gate};
use crate::generation::{Generation, build};
use crate::options::{Control, Options};
use crate::replica::{BootError, Inner};
use crate::revision_source::{ControlSource, RevisionSource, SourceError, StorageSource};
use crate::state::{BUILDS_MAX, Board, Job, ReasonCode, Trouble, View};

type Views = BTreeMap<String, View<Generation>>;

/// One look at the ledger takes no longer.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// One build takes no longer.
const BUILD_MAX: Duration = Duration::from_secs(120);
/// After a failed look.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(500);

/// Control plane first, storage otherwise.
#[derive(Clone, Default)]
struct Sources {
    control: Option<ControlSource>,
    storage: Option<StorageSource>,
}

/// How a build ended, and what decides about calls, as far as that is known.
type Built = (Job<Generation>, Option<Gate>, Result<Generation, Trouble>);

pub(crate) struct Loader {
    inner: Arc<Inner>,
    engine: Option<Engine>,
    sources: Sources,
    board: Board<Generation>,
    builds: JoinSet<Built>,
    /// The server's policy that decides now; `None` where it could not be loaded.
    server_policy: Option<Option<ServingPolicy>>,
    /// Looks in a row that failed.
    failures: u32,
}

impl Loader {
    pub(crate) fn new(inner: Arc<Inner>) -> Result<Self, BootError> {
        let Options {
            engine,
            control,
            replica_id,
            ..
        } = &inner.options;
        let control = match control {
            None => None,
            Some(control) => {
                let link = inner.options.dial.dial(control)?;
                let clock = Arc::clone(&inner.clock);
                Some(ControlSource::new(link, clock, replica_id))
            }
        };
        if control.is_none() && engine.is_none() {
            return Err(BootError {
                code: "cluster_state_missing",
                message: "the replica knows neither a storage root nor a control plane".to_owned(),
                remedy: "give it one of them",
            });
        }
        let storage = engine
            .as_ref()
            .map(|engine| StorageSource::new(engine.store()));
        Ok(Loader {
            engine: engine.clone(),
            sources: Sources { control, storage },
            board: Board::new(Gate::of_graphs(&inner.options.access)),
            builds: JoinSet::new(),
            server_policy: None,
            failures: 0,
            inner,
        })
    }

    /// The control plane to follow.
    pub(crate) fn control(&self) -> Option<Control> {
        self.inner.options.control.clone()
    }

    /// Takes up the newest revision, or says why there is none.
    pub(crate) async fn first_revision(&mut self) -> Result<(), BootError> {
        let mut newest = self.newest_in_time().await;
        if let Ok(Some(serving)) = &newest
            && !serving.graphs.is_empty()
        {
            self.enforceable(serving)?;
            match self.take_up(serving).await {
                Ok(()) if self.server_policy.is_some() => return Ok(()),
                Ok(()) => return Err(server_policy_invalid()),
                Err(error) => newest = Err(error),
            }
        }
        let (code, message, remedy) = match newest {
            Ok(Some(_)) => (
                "cluster_empty",
                "the applied revision has no graph".to_owned(),
                "declare a graph and run omnigraphctl apply",
            ),
            Ok(None) => (
                "cluster_state_missing",
                "nothing was ever applied to this storage root".to_owned(),
                "run omnigraphctl apply, or check the path",
            ),
            Err(SourceError::Content(message)) => (
                "catalog_payload_missing",
                message,
                "run omnigraphctl import: it builds the content anew from graphs and declarations",
            ),
            Err(error) => (
                "cluster_state_unreadable",
                error.to_string(),
                "check the object store and the access to it",
            ),
        };
        Err(BootError {
            code,
            message,
            remedy,
        })
    }

    /// Refuses to start where every request would be refused.
    fn enforceable(&self, serving: &Serving) -> Result<(), BootError> {
        let graphs = serving.graphs.iter().any(|graph| graph.policy.is_some());
        let policies = graphs || serving.server_policy.is_some();
        match policies && authorize::knows_nobody(&self.inner.options.access) {
            false => Ok(()),
            true => Err(BootError {
                code: "credentials_missing",
                message: "the applied revision has policies and no credentials are configured: \
                          every request would be refused"
                    .to_owned(),
                remedy: "set OMNIGRAPH_SERVER_BEARER_TOKENS_FILE, and leave --unauthenticated out",
            }),
        }
    }

    /// Runs until the replica is stopped.
    pub(crate) async fn run(mut self) {
        let stop = self.inner.stop.clone();
        let clock = Arc::clone(&self.inner.clock);
        let mut look_at = clock.instant();
        loop {
            self.start_builds();
            self.publish();
            let due = self.board.next_due();
            let woken = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(built) = self.builds.join_next(), if !self.builds.is_empty() => {
                    self.built(built);
                    false
                }
                () = self.inner.wake.notified() => true,
                () = clock.sleep_until(look_at) => true,
                () = sleep_until(&clock, due), if self.has_room() => false,
            };
            if woken {
                look_at = clock.after(self.look().await);
            }
        }
        self.builds.shutdown().await;
    }

    fn has_room(&self) -> bool {
        self.builds.len() < BUILDS_MAX
    }

    /// Looks for a newer revision; says when to look again at the latest.
    async fn look(&mut self) -> Duration {
        let looked = match self.newest_in_time().await {
            Ok(Some(serving)) => self.take_up(&serving).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let poll = self.inner.options.poll_interval;
        match looked {
            Ok(()) => {
                self.failures = 0;
                poll
            }
            Err(error) => {
                tracing::warn!(%error, "the newest revision cannot be taken up");
                self.failures = self.failures.saturating_add(1);
                let again = LOOK_AGAIN_FIRST.saturating_mul(1 << self.failures.min(10));
                again.min(poll)
            }
        }
    }

    async fn newest_in_time(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        match self.inner.clock.timeout(LOOK_MAX, self.newest()).await {
            Ok(newest) => newest,
            Err(_) => Err(SourceError::Unreachable("no answer in time".to_owned())),
        }
    }

    /// The newest revision of all sources. Whether storage answers is noted on the way.
    async fn newest(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        let told = match &self.sources.control {
            None => None,
            Some(control) => match control.newest().await {
                Ok(told) => Some(told),
                Err(error) if self.sources.storage.is_none() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "the storage is asked instead");
                    None
                }
            },
        };
        let Some(storage) = &self.sources.storage else {
            return Ok(told.flatten());
        };
        let read = storage.newest().await;
        let reachable = !matches!(read, Err(SourceError::Unreachable(_)));
        self.inner.status.send_if_modified(|status| {
            std::mem::replace(&mut status.storage_reachable, reachable) != reachable
        });
        match (read, told.flatten()) {
            (Ok(read), None) => Ok(read),
            (Err(error), None) => Err(error),
            (Ok(Some(read)), Some(told)) if read.revision > told.revision => Ok(Some(read)),
            (_, Some(told)) => Ok(Some(told)),
        }
    }

    async fn take_up(&mut self, serving: &Serving) -> Result<(), SourceError> {
        if serving.revision < self.board.revision() {
            // A control plane that is behind: neither its graphs nor its policy count.
            return Ok(());
        }
        self.open_storage().await?;
        self.decide_about_server(serving).await;
        let now = self.inner.clock.instant();
        if self.board.adopt(serving, now) {
            tracing::info!(
                revision = serving.revision,
                graphs = serving.graphs.len(),
                "taking up a revision"
            );
        }
        Ok(())
    }

    /// Loads the server's policy. Until that succeeds nothing is allowed that it would decide.
    async fn decide_about_server(&mut self, serving: &Serving) {
        let wanted = &serving.server_policy;
        if self.server_policy.as_ref() == Some(wanted) {
            return;
        }
        let access = &self.inner.options.access;
        let clock = &*self.inner.clock;
        let loaded = authorize::load_server(&self.sources, access, clock, wanted.as_ref()).await;
        let gate = match loaded {
            Ok(gate) => {
                self.server_policy = Some(wanted.clone());
                gate
            }
            Err(trouble) => {
                self.server_policy = None;
                let (code, remedy) = (trouble.code.as_str(), trouble.code.remedy());
                tracing::warn!(code, remedy, "{}", trouble.message);
                Gate::Closed
            }
        };
        self.inner.status.send_modify(|status| status.server = gate);
    }

    /// Opens the storage that the control plane's revision names, unless there is one already.
    async fn open_storage(&mut self) -> Result<(), SourceError> {
        if self.engine.is_some() {
            return Ok(());
        }
        let control = self.sources.control.as_ref();
        let root = control.and_then(ControlSource::storage_root);
        let root = root.ok_or_else(|| {
            SourceError::Unreadable("the control plane's revision names no storage root".to_owned())
        })?;
        let store = Store::open(&root, StoreOptions::default()).await;
        let store = store.map_err(|error| {
            SourceError::Unreachable(format!("the storage {root} cannot be opened: {error}"))
        })?;
        self.sources.storage = Some(StorageSource::new(&store));
        self.engine = Some(Engine::new(store, EngineOptions::default()));
        Ok(())
    }

    fn start_builds(&mut self) {
        let Some(engine) = &self.engine else {
            return;
        };
        for job in self.board.take_jobs(self.inner.clock.instant()) {
            let engine = engine.clone();
            let sources = self.sources.clone();
            let access = self.inner.options.access.clone();
            let clock = Arc::clone(&self.inner.clock);
            let environment = self.inner.options.environment.clone();
            self.builds.spawn(async move {
                let gate = match job.gate.clone() {
                    Some(gate) => Ok(gate),
                    None => authorize::load_graph(&sources, &access, &*clock, &job.spec).await,
                };
                let gate = match gate {
                    Ok(gate) => gate,
                    Err(trouble) => return (job, None, Err(trouble)),
                };
                let previous = job.previous.as_deref();
                let building = build(&engine, &sources, &job.spec, previous, &environment);
                let outcome = match clock.timeout(BUILD_MAX, building).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Trouble {
                        code: ReasonCode::GraphUnreadable,
                        message: "the storage did not answer in time".to_owned(),
                    }),
                };
                (job, Some(gate), outcome)
            });
        }
    }

    fn built(&mut self, built: Result<Built, tokio::task::JoinError>) {
        let (job, gate, outcome) = match built {
            Ok(built) => built,
            Err(error) => {
                tracing::error!(%error, "a build was lost");
                self.board.forget_builds(self.inner.clock.instant());
                return;
            }
        };
        let graph = &job.graph_id;
        match &outcome {
            Ok(_) => tracing::info!(graph, revision = job.revision, "serving"),
            Err(trouble) => tracing::warn!(
                graph,
                revision = job.revision,
                code = trouble.code.as_str(),
                remedy = trouble.code.remedy(),
                "{}",
                trouble.message
            ),
        }
        if let Some(gate) = gate {
            self.board.gated(&job, gate);
        }
        self.board
            .finished(&job, outcome, self.inner.clock.instant());
    }

    fn publish(&self) {
        let settled = self.board.is_settled();
        let graphs = Arc::new(self.board.views());
        self.inner.status.send_if_modified(|status| {
            let target = self.board.revision();
            let revision = if settled { target } else { status.revision };
            let changed = status.revision != revision
                || status.target != target
                || !same(&status.graphs, &graphs);
            status.revision = revision;
            status.target = target;
            status.serving_digest = self.board.serving_digest().into();
            status.graphs = graphs.clone();
            changed
        });
    }
}

fn server_policy_invalid() -> BootError {
    BootError {
        code: "cluster_policy_invalid",
        message: "the policy that is bound to cluster cannot be used".to_owned(),
        remedy: "see the log, correct it and run omnigraphctl apply",
    }
}

/// Whether nobody has to be told.
fn same(old: &Views, new: &Views) -> bool {
    let key = |view: &View<Generation>| {
        let served = view.served.as_ref().map(|(revision, _)| *revision);
        (view.phase, view.attempt, view.target_revision, served)
    };
    let alike = |old: &View<Generation>, new: &View<Generation>| {
        key(old) == key(new) && old.trouble == new.trouble
    };
    let mut pairs = old.iter().zip(new);
    old.len() == new.len() && pairs.all(|(old, new)| old.0 == new.0 && alike(old.1, new.1))
}

/// Never comes without a time.
async fn sleep_until(clock: &Arc<dyn Clock>, due: Option<Instant>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl RevisionSource for Sources {
    async fn newest(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        match (&self.control, &self.storage) {
            (Some(control), _) => control.newest().await,
            (None, Some(storage)) => storage.newest().await,
            (None, None) => Ok(None),
        }
    }

    async fn query_source(&self, query: &ServingQuery) -> Result<String, SourceError> {
        let mut failed = None;
        // The control plane has sent the content already; storage is the way out.
        if let Some(control) = &self.control {
            match control.query_source(query).await {
                Ok(source) => return Ok(source),
                Err(error) => failed = Some(error),
            }
        }
        match (&self.storage, failed) {
            (Some(storage), _) => storage.query_source(query).await,
            (None, Some(error)) => Err(error),
            (None, None) => Err(SourceError::Content("there is no catalog".to_owned())),
        }
    }

    async fn policy_text(&self, policy: &ServingPolicy) -> Result<PolicyText, SourceError> {
        let mut failed = None;
        if let Some(control) = &self.control {
            match control.policy_text(policy).await {
                Ok(text) => return Ok(text),
                Err(error) => failed = Some(error),
            }
        }
        match (&self.storage, failed) {
            (Some(storage), _) => storage.policy_text(policy).await,
            (None, Some(error)) => Err(error),
            (None, None) => Err(SourceError::Content("there is no catalog".to_owned())),
        }
    }
}
