//! The work behind a load session: cut, parse, note, write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use omnigraph_lang::schema::EntityType;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::columns::RowBatch;
use super::json::Reader;
use super::parse::{Parsed, Parser};
use super::plan::Plan;
use super::split::{Chunk, Splitter};
use super::{LoadMode, LoadPhase, LoadProgress};
use crate::error::{Error, Result};
use crate::graph::Snapshot;
use crate::table::{FragmentWriter, StagedFragments};
use crate::write::added::{Added, NewRows, Repeated};
use crate::write::violations::Violations;

/// Chunks that are parsed at the same time.
const PARALLEL: usize = 4;

/// What the whole input came to.
pub(super) struct Collected {
    pub(super) added: Added,
    /// Written rows by the type's position.
    pub(super) staged: BTreeMap<usize, StagedFragments>,
    pub(super) violations: Violations,
}

/// Collects one load.
pub(super) struct Collector {
    plan: Arc<Plan>,
    mode: LoadMode,
    snapshot: Snapshot,
    progress: Arc<Progress>,
    writers: BTreeMap<usize, FragmentWriter>,
    added: Added,
    violations: Violations,
}

/// Counters that the session's owner may look at.
#[derive(Debug, Default)]
pub(super) struct Progress {
    lines: AtomicU64,
    bytes: AtomicU64,
    phase: AtomicU8,
}

impl Progress {
    pub(super) fn read(&self) -> LoadProgress {
        LoadProgress {
            lines: self.lines.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            phase: match self.phase.load(Ordering::Relaxed) {
                0 => LoadPhase::Reading,
                1 => LoadPhase::Writing,
                _ => LoadPhase::Committing,
            },
        }
    }

    pub(super) fn enter(&self, phase: LoadPhase) {
        let phase = match phase {
            LoadPhase::Reading => 0,
            LoadPhase::Writing => 1,
            LoadPhase::Committing => 2,
        };
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn parsed(&self, lines: u32, bytes: usize) {
        self.lines.fetch_add(u64::from(lines), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

struct InWork {
    lines: u32,
    bytes: usize,
    task: JoinHandle<Result<Parsed>>,
}

impl Collector {
    pub(super) fn new(
        plan: Arc<Plan>,
        mode: LoadMode,
        snapshot: Snapshot,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            plan,
            mode,
            snapshot,
            progress,
            writers: BTreeMap::new(),
            added: Added::default(),
            violations: Violations::default(),
        }
    }

    /// Takes pieces of the input until the sender is gone.
    pub(super) async fn run(mut self, mut input: mpsc::Receiver<Bytes>) -> Result<Collected> {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        let parallel = parallel.min(PARALLEL) + 1;
        let mut splitter = Splitter::new(self.plan.permissive);
        let mut in_work = VecDeque::new();
        while let Some(bytes) = input.recv().await {
            if let Some(chunk) = splitter.push(&bytes)? {
                if in_work.len() >= parallel {
                    self.collect(in_work.pop_front()).await?;
                }
                in_work.push_back(self.parse(chunk));
            }
        }
        if let Some(chunk) = splitter.finish()? {
            in_work.push_back(self.parse(chunk));
        }
        while let Some(next) = in_work.pop_front() {
            self.collect(Some(next)).await?;
        }
        self.progress.enter(LoadPhase::Writing);
        let mut staged = BTreeMap::new();
        for (position, writer) in std::mem::take(&mut self.writers) {
            // Files of a load that fails anyway are left unfinished.
            if self.violations.is_empty() {
                staged.insert(position, writer.finish().await?);
            }
        }
        Ok(Collected {
            added: self.added,
            staged,
            violations: self.violations,
        })
    }

    fn parse(&self, chunk: Chunk) -> InWork {
        let plan = Arc::clone(&self.plan);
        InWork {
            lines: chunk.lines,
            bytes: chunk.bytes.len(),
            task: tokio::task::spawn_blocking(move || parse(plan, &chunk)),
        }
    }

    async fn collect(&mut self, next: Option<InWork>) -> Result<()> {
        let Some(next) = next else { return Ok(()) };
        let parsed = next
            .task
            .await
            .map_err(|e| Error::internal("parsing stopped early").with_source(e))??;
        self.progress.parsed(next.lines, next.bytes);
        self.violations.absorb(parsed.violations);
        // Once something is wrong, the rest is only read for its own faults.
        if !self.violations.is_empty() {
            return Ok(());
        }
        for (position, mut rows) in parsed.batches {
            self.store_blobs(position, &mut rows).await?;
            let new = NewRows {
                batch: &rows.batch,
                lines: &rows.lines,
                fresh: &rows.fresh,
            };
            let entity = entity_at(&self.plan, &self.snapshot, position)?;
            let repeated = match self.mode {
                LoadMode::Merge if !entity.body().is_keyed() => Repeated::LastWins,
                _ => Repeated::Refused,
            };
            self.added
                .push(entity, &new, repeated, &mut self.violations)?;
            self.writer(position).await?.write(rows.batch).await?;
        }
        Ok(())
    }

    /// Stores the content of blobs before the rows that name it.
    async fn store_blobs(&self, position: usize, rows: &mut RowBatch) -> Result<()> {
        let incoming = std::mem::take(&mut rows.incoming);
        if incoming.is_empty() {
            return Ok(());
        }
        let table = &self.snapshot.table(type_at(&self.plan, position)?.id)?.path;
        let external = &self.plan.external.admitted;
        let sizes = incoming
            .store(&self.snapshot.tables, table, external)
            .await?;
        rows.with_blob_sizes(&sizes)
    }

    async fn writer(&mut self, position: usize) -> Result<&mut FragmentWriter> {
        use std::collections::btree_map::Entry;
        match self.writers.entry(position) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let plan = type_at(&self.plan, position)?;
                let base = self.snapshot.open(plan.id).await?;
                let schema = Arc::clone(&plan.schema);
                Ok(entry.insert(self.snapshot.tables.fragment_writer(&base, schema)))
            }
        }
    }
}

fn type_at(plan: &Plan, position: usize) -> Result<&super::plan::TypePlan> {
    plan.types
        .get(position)
        .ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
}

fn entity_at<'a>(plan: &Plan, snapshot: &'a Snapshot, position: usize) -> Result<EntityType<'a>> {
    let id = type_at(plan, position)?.id;
    let entity = snapshot.schema.catalog.entity(id);
    entity.ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
}

pub(super) fn parse(plan: Arc<Plan>, chunk: &Chunk) -> Result<Parsed> {
    let permissive = plan.permissive;
    let mut parser = Parser::new(plan);
    match (std::str::from_utf8(&chunk.bytes), permissive) {
        (Ok(text), true) => parse_values(&mut parser, text),
        (Ok(text), false) => {
            for (number, line) in (chunk.first_line..).zip(text.split('\n')) {
                parse_line(&mut parser, line, number);
            }
        }
        (Err(_), _) => {
            let lines = chunk.bytes.split(|byte| *byte == b'\n');
            for (number, line) in (chunk.first_line..).zip(lines) {
                match std::str::from_utf8(line) {
                    Ok(line) => parse_line(&mut parser, line, number),
                    Err(_) => parser.not_text(number),
                }
            }
        }
    }
    parser.finish()
}

fn parse_line(parser: &mut Parser, line: &str, number: u32) {
    if !line.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
        parser.line(line, number);
    }
}

/// Values with any white space between them; each is reported with the line on which it begins.
fn parse_values(parser: &mut Parser, text: &str) {
    let mut reader = Reader::new(text);
    let (mut line, mut counted) = (1_u32, 0);
    while !reader.is_at_end() {
        let start = reader.position();
        let passed = text.get(counted..start).unwrap_or_default();
        let ends = passed.bytes().filter(|b| *b == b'\n').count();
        line = line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        counted = start;
        match reader.raw() {
            Ok(value) => parser.line(value, line),
            // Where the next value would begin is not known.
            Err(_) => return parser.line(text.get(start..).unwrap_or_default(), line),
        }
    }
}
