//! The work behind a load session: parse in parallel, note in order, write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use omnigraph_lang::schema::EntityType;
use tokio::task::JoinHandle;

use super::columns::RowBatch;
use super::input::Input;
use super::json::Reader;
use super::keys::{Keys, Noted};
use super::memory::{Meter, Part, Shares};
use super::parse::{Parsed, Parser};
use super::plan::Plan;
use super::split::Chunk;
use super::{LoadFormat, LoadMode, LoadPhase, LoadProgress};
use crate::error::{Error, Result};
use crate::graph::{Snapshot, TypeGate, TypeUse};
use crate::table::{FragmentWriter, StagedFragments};
use crate::write::added::{NewRows, Repeated};
use crate::write::violations::{Unit, Violations};

/// Pieces that are parsed at the same time.
const PARALLEL: usize = 4;
/// A writer of fragments holds no more than this for each column.
const COLUMN_BUFFER: usize = 8 << 20;

/// What the whole input came to.
pub(super) struct Collected {
    pub(super) noted: Noted,
    /// Written rows by the type's position.
    pub(super) staged: BTreeMap<usize, StagedFragments>,
    pub(super) violations: Violations,
    /// Some of them are about lines by themselves, so what the others come to is not known.
    pub(super) is_malformed: bool,
}

/// Collects one load.
pub(super) struct Collector {
    pub(super) plan: Arc<Plan>,
    pub(super) progress: Arc<Progress>,
    pub(super) shares: Shares,
    /// The largest file that may be kept while it is read.
    pub(super) spool: u64,
    mode: LoadMode,
    snapshot: Snapshot,
    /// Which types may be loaded.
    types: Option<TypeGate>,
    /// Types that were asked about.
    admitted: BTreeSet<usize>,
    in_work: VecDeque<InWork>,
    writers: BTreeMap<usize, Writer>,
    staged: BTreeMap<usize, StagedFragments>,
    /// Always there between two pieces.
    keys: Option<Keys>,
    pub(super) violations: Violations,
    is_malformed: bool,
}

/// The rows of one type on their way into a file.
struct Writer {
    fragments: FragmentWriter,
    /// What it may hold at most, by what it was given.
    held: usize,
    most: usize,
}

/// Counters that the session's owner may look at.
#[derive(Debug, Default)]
pub(super) struct Progress {
    lines: AtomicU64,
    bytes: AtomicU64,
    phase: AtomicU8,
    pub(super) meter: Meter,
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
            memory_peak: self.meter.peak(),
            spilled_bytes: self.meter.spilled(),
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

    /// Counts bytes of input that are not counted with what was parsed.
    pub(super) fn took(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn parsed(&self, piece: &Piece) {
        self.lines
            .fetch_add(u64::from(piece.records), Ordering::Relaxed);
        self.took(piece.bytes);
    }
}

/// A piece of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Lines or rows.
    pub(super) records: u32,
    /// Bytes that progress has not counted yet.
    pub(super) bytes: usize,
    /// Memory that it holds by itself.
    pub(super) held: usize,
}

struct InWork {
    piece: Piece,
    task: JoinHandle<Result<Parsed>>,
}

impl Collector {
    pub(super) fn new(
        plan: Arc<Plan>,
        mode: LoadMode,
        snapshot: Snapshot,
        progress: Arc<Progress>,
        (shares, spool): (Shares, u64),
        unit: Unit,
        types: Option<TypeGate>,
    ) -> Self {
        let keys = Keys::new(Arc::clone(&plan), Arc::clone(&progress), shares);
        Self {
            plan,
            progress,
            shares,
            spool,
            mode,
            snapshot,
            types,
            admitted: BTreeSet::new(),
            in_work: VecDeque::new(),
            writers: BTreeMap::new(),
            staged: BTreeMap::new(),
            keys: Some(keys),
            violations: Violations::counted_by(unit),
            is_malformed: false,
        }
    }

    /// Takes the input until it ends.
    pub(super) async fn run(mut self, input: Input, format: LoadFormat) -> Result<Collected> {
        let read = self.read(input, &format).await;
        self.progress.enter(LoadPhase::Writing);
        let open: Vec<usize> = self.writers.keys().copied().collect();
        for position in open {
            let closed = self.close(position).await;
            if read.is_ok() {
                closed?;
            }
        }
        self.progress.meter.set(Part::Rows, 0);
        if read.is_err() || !self.violations.is_empty() {
            self.discard().await;
        }
        read?;
        let keys = self.keys.take().ok_or_else(lost)?;
        Ok(Collected {
            noted: keys.finish().await?,
            staged: self.staged,
            violations: self.violations,
            is_malformed: self.is_malformed,
        })
    }

    /// Deletes what was written of a load that fails anyway.
    async fn discard(&mut self) {
        for (position, fragments) in std::mem::take(&mut self.staged) {
            let id = self.plan.types.get(position).map(|plan| plan.id);
            if let Some(table) = id.and_then(|id| self.snapshot.table(id).ok()) {
                self.snapshot.tables.discard(table, &fragments).await;
            }
        }
    }

    /// Gives a piece to be parsed, and waits for an older one when there are many.
    pub(super) async fn put(
        &mut self,
        piece: Piece,
        parse: impl FnOnce() -> Result<Parsed> + Send + 'static,
    ) -> Result<()> {
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        if self.in_work.len() > parallel.min(PARALLEL) {
            self.collect().await?;
        }
        let task = tokio::task::spawn_blocking(parse);
        self.in_work.push_back(InWork { piece, task });
        self.hold(0);
        Ok(())
    }

    /// Waits for all pieces.
    pub(super) async fn drain(&mut self) -> Result<()> {
        while !self.in_work.is_empty() {
            self.collect().await?;
        }
        self.hold(0);
        Ok(())
    }

    /// Notes what is in work, and what came out of the oldest piece.
    fn hold(&self, parsed: usize) {
        let waiting: usize = self.in_work.iter().map(|work| work.piece.held).sum();
        // What a piece comes to is known afterwards; as much again is assumed of those in work.
        self.progress.meter.set(Part::Parsing, 2 * waiting + parsed);
    }

    async fn collect(&mut self) -> Result<()> {
        let Some(InWork { piece, task }) = self.in_work.pop_front() else {
            return Ok(());
        };
        let parsed = task
            .await
            .map_err(|e| Error::internal("parsing stopped early").with_source(e))??;
        self.progress.parsed(&piece);
        let batches = parsed.batches.iter();
        self.hold(
            batches
                .map(|(_, rows)| rows.batch.get_array_memory_size())
                .sum(),
        );
        for (position, _) in &parsed.batches {
            self.admit(*position)?;
        }
        self.is_malformed |= !parsed.violations.is_empty();
        self.violations.absorb(parsed.violations);
        // Once a line is malformed, the rest is only read for its own faults.
        if self.is_malformed {
            return Ok(());
        }
        let mut keys = self.keys.take().ok_or_else(lost)?;
        for (position, mut rows) in parsed.batches {
            // Where ids occur twice, only what else is wrong is of interest.
            if self.violations.is_empty() {
                self.store_blobs(position, &mut rows).await?;
            }
            for part in rows.parts(self.rows_at_once(position)?) {
                self.add(&mut keys, position, part).await?;
            }
        }
        self.keys = Some(keys.balance().await?);
        Ok(())
    }

    /// Notes rows of a type, and writes them as long as nothing is wrong.
    async fn add(&mut self, keys: &mut Keys, position: usize, mut rows: RowBatch) -> Result<()> {
        if self.violations.is_empty() {
            self.embed(position, &mut rows).await?;
            self.is_malformed |= !self.violations.is_empty();
        }
        let is_sound = self.violations.is_empty();
        let new = NewRows {
            batch: &rows.batch,
            lines: &rows.lines,
            fresh: &rows.fresh,
        };
        let entity = entity_at(&self.plan, &self.snapshot, position)?;
        let repeated = match self.mode {
            LoadMode::Merge if !entity.body().is_keyed() => Repeated::LastWins,
            // The row that had the id first may lie in a run.
            _ if keys.has_runs() => Repeated::Noted,
            _ => Repeated::Refused,
        };
        keys.added
            .push(entity, &new, repeated, &mut self.violations)?;
        match is_sound {
            true => self.write(position, rows.batch).await,
            false => Ok(()),
        }
    }

    /// Asks about a type when its first rows have come.
    fn admit(&mut self, position: usize) -> Result<()> {
        let Some(gate) = &self.types else {
            return Ok(());
        };
        if self.admitted.insert(position) {
            gate.check(TypeUse::Write, &type_at(&self.plan, position)?.name)?;
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
        let places = incoming
            .store(&self.snapshot.tables, table, external)
            .await?;
        rows.with_blob_places(&places)
    }

    async fn write(&mut self, position: usize, batch: arrow_array::RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        let writer = self.writer(position).await?;
        writer.fragments.write(batch).await?;
        writer.held = (writer.held + bytes).min(writer.most);
        loop {
            let held: usize = self.writers.values().map(|writer| writer.held).sum();
            self.progress.meter.set(Part::Rows, held);
            if held <= self.shares.rows {
                return Ok(());
            }
            let largest = self.writers.iter().max_by_key(|(_, writer)| writer.held);
            let Some((largest, _)) = largest else {
                return Ok(());
            };
            self.close(*largest).await?;
        }
    }

    /// Finishes the file of a type. More rows begin another one.
    async fn close(&mut self, position: usize) -> Result<()> {
        if let Some(writer) = self.writers.remove(&position) {
            let fragments = writer.fragments.finish().await?;
            self.staged.entry(position).or_default().extend(fragments);
        }
        Ok(())
    }

    async fn writer(&mut self, position: usize) -> Result<&mut Writer> {
        use std::collections::btree_map::Entry;
        match self.writers.entry(position) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let plan = type_at(&self.plan, position)?;
                let base = self.snapshot.open(plan.id).await?;
                let schema = Arc::clone(&plan.schema);
                Ok(entry.insert(Writer {
                    most: schema.fields().len() * COLUMN_BUFFER,
                    fragments: self.snapshot.tables.fragment_writer(&base, schema),
                    held: 0,
                }))
            }
        }
    }
}

fn lost() -> Error {
    Error::internal("what was noted of a load is lost")
}

pub(super) fn type_at(plan: &Plan, position: usize) -> Result<&super::plan::TypePlan> {
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
