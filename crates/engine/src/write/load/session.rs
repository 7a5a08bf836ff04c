//! A load in progress, fed by its owner.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

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

/// Larger pieces are handed on in parts, so that their lines are parsed in parallel.
const PIECE: usize = 1 << 20;

/// A load that takes its input piece by piece. Dropping it commits nothing.
pub struct LoadSession {
    graph: Graph,
    branch: BranchName,
    options: LoadOptions,
    schema: String,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    fingerprint: Option<Fingerprinting>,
    /// The answer of an earlier load with the same key: the input is not looked at.
    answered: Option<LoadOutcome>,
    input: mpsc::Sender<Bytes>,
    work: AbortOnDropHandle<Result<Collected>>,
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
        let plan = Arc::new(Plan::new(catalog, now, options.permissive, external)?);
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
        );
        let source = Input::new(options.encoding, receiver, shares.window_log);
        let work = collector.run(source, options.format.clone());
        Ok(LoadSession {
            graph: self.clone(),
            branch: branch.clone(),
            options,
            schema: snapshot.schema.digest.clone(),
            plan,
            progress,
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

    /// Ends the input, checks the whole and commits it.
    ///
    /// # Errors
    /// `LoadInvalid` with diagnostics by line, `KeyConflict` if ids exist already; then nothing is
    /// written.
    pub async fn finish(self) -> Result<LoadOutcome> {
        drop(self.input);
        if let Some(outcome) = self.answered {
            return Ok(outcome);
        }
        let collected = self
            .work
            .await
            .map_err(|e| Error::internal("the load stopped early").with_source(e))??;
        collected.violations.into_result(ErrorKind::LoadInvalid)?;
        self.progress.enter(LoadPhase::Committing);
        let mut load = Load {
            graph: &self.graph,
            plan: &self.plan,
            schema: &self.schema,
            mode: self.options.mode,
            keyed: self.fingerprint.map(Fingerprinting::finish),
            unit: self.options.format.unit(),
            added: collected.added,
            staged: collected.staged,
            last: None,
        };
        let request = CommitRequest {
            branch: &self.branch,
            options: &self.options.write,
            fork_from: self.options.from.as_ref(),
        };
        let (answer, commit) = self.graph.commit_with(request, &mut load).await?;
        if let (Some(_), false, Some((view, staged))) = (&commit, answer.replayed, &load.last) {
            view.remember(staged, &AddedBatches::new()).await;
        }
        let mut outcome = answer.outcome(&self.branch, &self.options, commit.as_deref());
        outcome.memory_peak = self.progress.meter.peak();
        outcome.spilled_bytes = self.progress.meter.spilled();
        Ok(outcome)
    }
}
