//! A load in progress, fed by its owner.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::afresh::KeptInput;
use super::collect::{Collected, Collector, Progress};
use super::columnar::position_of;
use super::commit::Load;
use super::input::Input;
use super::memory::Shares;
use super::plan::Plan;
use super::repeat::Fingerprinting;
use super::{LoadFormat, LoadMode, LoadOptions, LoadOutcome, LoadPhase, LoadProgress};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{BranchName, CommitRequest, Graph, ReadOptions, Snapshot, Target};
use crate::write::blobs::ExternalRule;
use crate::write::view::AddedBatches;

/// Pieces of the input that wait to be cut.
const WAITING: usize = 4;

/// Files that no version names are kept at least so long: what an older load has written may be
/// collected (storage protocol, section 7).
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Larger pieces are handed on in parts, so that their lines are parsed in parallel.
const PIECE: usize = 1 << 20;

/// How many changes of schema one load follows.
const SCHEMAS: usize = 3;

/// How a load ended.
enum Finished {
    Done(Box<LoadOutcome>),
    /// The rows do not fit the schema that the branch has now; nothing was written.
    SchemaMoved(Error),
}

/// A load that takes its input piece by piece. Dropping it commits nothing.
pub struct LoadSession {
    graph: Graph,
    branch: BranchName,
    options: LoadOptions,
    snapshot: Snapshot,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    /// When it began, by the store's clock.
    begun: Duration,
    fingerprint: Option<Fingerprinting>,
    /// The answer of an earlier load with the same key: the input is not looked at.
    answered: Option<LoadOutcome>,
    /// For starting again when the schema changes meanwhile.
    kept: KeptInput,
    input: mpsc::Sender<Bytes>,
    work: AbortOnDropHandle<Result<Collected>>,
}

/// Looks at a load from outside.
#[derive(Clone, Debug)]
pub struct LoadWatch(Arc<Progress>);

impl LoadWatch {
    /// How far it has come.
    pub fn progress(&self) -> LoadProgress {
        self.0.read()
    }
}

impl Graph {
    /// Begins a load into a branch, or into a new one if `options.from` names where it starts.
    ///
    /// # Errors
    /// `NotFound` if there is no branch to load into.
    pub async fn load(&self, branch: &BranchName, options: LoadOptions) -> Result<LoadSession> {
        let fingerprint = Fingerprinting::begin(branch, &options)?;
        let answered = match &fingerprint {
            Some(request) => request.answered(self, branch, &options).await?,
            None => None,
        };
        let snapshot = match answered
            .as_ref()
            .and_then(|outcome| outcome.commit.as_ref())
        {
            // The branch may be gone since.
            Some(commit) => self.open(Arc::new(commit.clone()), None).await?,
            None => self.start_of_load(branch, &options).await?,
        };
        let now = self.store().clock().now_micros().div_euclid(1000);
        let catalog = &snapshot.schema.catalog;
        let external = ExternalRule {
            admitted: Arc::clone(self.external()),
            keep: options.mode == LoadMode::Overwrite,
        };
        let plan = Arc::new(Plan::new(
            catalog,
            now,
            options.permissive,
            external,
            self.embedding()
                .filter(|embedding| embedding.on_write)
                .map(|embedding| Arc::clone(&embedding.embedder)),
        )?);
        let progress = Arc::new(Progress::default());
        let limits = self.load_limits();
        let memory = options.memory.unwrap_or(limits.memory);
        let shares = Shares::of(memory, options.encoding);
        if let LoadFormat::Arrow(of) | LoadFormat::Parquet(of) = &options.format {
            position_of(&plan, of)?;
        }
        let (input, receiver) = mpsc::channel(WAITING);
        let collector = Collector::new(
            Arc::clone(&plan),
            options.mode,
            snapshot.clone(),
            Arc::clone(&progress),
            (shares, limits.spool),
            options.format.unit(),
            options.write.types.clone(),
        );
        let source = Input::new(options.encoding, receiver, shares.window_log);
        let work = collector.run(source, options.format.clone());
        Ok(LoadSession {
            graph: self.clone(),
            branch: branch.clone(),
            options,
            kept: KeptInput::new(memory),
            snapshot,
            plan,
            progress,
            begun: self.store().clock().monotonic(),
            fingerprint,
            answered,
            input,
            work: AbortOnDropHandle::new(tokio::spawn(work)),
        })
    }

    async fn start_of_load(&self, branch: &BranchName, options: &LoadOptions) -> Result<Snapshot> {
        let read = ReadOptions::default();
        let target = Target::Branch(branch.clone());
        match (self.snapshot(&target, &read).await, &options.from) {
            (Err(error), Some(from)) if error.kind() == ErrorKind::NotFound => {
                self.snapshot(&Target::Branch(from.clone()), &read).await
            }
            (snapshot, _) => snapshot,
        }
    }
}

impl LoadSession {
    /// Hands over the next piece of the input, cut anywhere; waits while the load is behind.
    ///
    /// # Errors
    /// What ended the load early, such as a line that is too long.
    pub async fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        if self.answered.is_some() {
            return Ok(());
        }
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.push(&bytes);
        }
        self.kept.push(&bytes);
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            if self.input.send(piece).await.is_err() {
                return match (&mut self.work).await {
                    Ok(Err(error)) => Err(error),
                    Ok(Ok(_)) | Err(_) => Err(Error::internal("the load stopped early")),
                };
            }
        }
        Ok(())
    }

    /// Whether an earlier load with the same key has been answered, so that no input is needed:
    /// [`LoadSession::finish`] gives its answer.
    pub fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// How far it has come.
    pub fn progress(&self) -> LoadProgress {
        self.progress.read()
    }

    /// Tells how far it has come while it is finished.
    pub fn watch(&self) -> LoadWatch {
        LoadWatch(Arc::clone(&self.progress))
    }

    /// Ends the input, checks the whole and commits it. If the schema has changed meanwhile, a small
    /// load is parsed again, against the new one.
    ///
    /// # Errors
    /// `LoadInvalid` with diagnostics by line, `KeyConflict` if ids exist already, `WriteConflict`
    /// if the schema of the loaded types has changed and the input is too large to be kept; then
    /// nothing is written.
    pub async fn finish(self) -> Result<LoadOutcome> {
        let mut session = self;
        for _ in 0..SCHEMAS {
            let graph = session.graph.clone();
            let (branch, options) = (session.branch.clone(), session.options.clone());
            let kept = std::mem::take(&mut session.kept).into_pieces();
            let moved = match session.finish_once().await? {
                Finished::Done(outcome) => return Ok(*outcome),
                Finished::SchemaMoved(moved) => moved,
            };
            let Some(pieces) = kept else {
                return Err(moved);
            };
            session = Box::pin(graph.load(&branch, options)).await?;
            for piece in pieces {
                session.push(piece).await?;
            }
        }
        match session.finish_once().await? {
            Finished::Done(outcome) => Ok(*outcome),
            Finished::SchemaMoved(moved) => Err(moved),
        }
    }

    async fn finish_once(self) -> Result<Finished> {
        drop(self.input);
        if let Some(outcome) = self.answered {
            return Ok(Finished::Done(Box::new(outcome)));
        }
        let collected = self
            .work
            .await
            .map_err(|e| Error::internal("the load stopped early").with_source(e))??;
        if collected.is_malformed {
            collected.violations.into_result(ErrorKind::LoadInvalid)?;
            return Err(Error::internal("a load is malformed, but nothing is wrong"));
        }
        let took = (self.graph.store().clock().monotonic()).saturating_sub(self.begun);
        if took > KEPT {
            return Err(Error::new(
                ErrorKind::WriteConflict,
                "the load took more than 24 h, so that its files may have been collected; nothing was written",
            )
            .with_hint("load the file in parts"));
        }
        self.progress.enter(LoadPhase::Committing);
        let mut load = Load {
            graph: &self.graph,
            plan: Arc::clone(&self.plan),
            schema: &self.snapshot.schema,
            mode: self.options.mode,
            keyed: self.fingerprint.map(Fingerprinting::finish),
            progress: Arc::clone(&self.progress),
            noted: collected.noted,
            found: collected.violations,
            staged: collected.staged,
            last: None,
            schema_moved: false,
        };
        let request = CommitRequest {
            branch: &self.branch,
            options: &self.options.write,
            fork_from: self.options.from.as_ref(),
        };
        let (answer, commit) = match self.graph.commit_with(request, &mut load).await {
            Ok(done) => done,
            Err(error) => {
                // Only what was refused for its content is surely in no commit.
                let is_refused = matches!(
                    error.kind(),
                    ErrorKind::LoadInvalid | ErrorKind::KeyConflict
                );
                if is_refused || load.schema_moved {
                    load.discard(&self.snapshot).await;
                }
                return match load.schema_moved {
                    true => Ok(Finished::SchemaMoved(error)),
                    false => Err(error),
                };
            }
        };
        if let (Some(_), false, Some((view, staged))) = (&commit, answer.replayed, &load.last) {
            view.remember(staged, &AddedBatches::new()).await;
        }
        let mut outcome = answer.outcome(&self.branch, &self.options, commit.as_deref());
        outcome.memory_peak = self.progress.meter.peak();
        outcome.spilled_bytes = self.progress.meter.spilled();
        Ok(Finished::Done(Box::new(outcome)))
    }
}
