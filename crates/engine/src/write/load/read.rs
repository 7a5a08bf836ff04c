//! The input of a load, whatever its form, as pieces of work in their order.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tokio::sync::mpsc;

use super::LoadFormat;
use super::collect::{Collector, Piece};
use super::columnar::{FilePart, Frames, Mapping, Room, Spool, convert, position_of, read, slices};
use super::input::Input;
use super::memory::Part;
use super::split::{Chunk, Splitter};
use crate::error::{Error, ErrorKind, Result};

/// Batches between the reader of a file and the collector.
const BATCHES: usize = 1;

/// Rows that came before, and how to read those that come.
struct Columns {
    mapping: Arc<Mapping>,
    rows: u64,
}

impl Collector {
    /// Reads the input to its end.
    pub(super) async fn read(&mut self, mut input: Input, format: &LoadFormat) -> Result<()> {
        match format {
            LoadFormat::Ndjson => self.lines(&mut input).await?,
            LoadFormat::Arrow(of) => {
                let at = position_of(&self.plan, of)?;
                self.arrow(&mut input, at).await?;
            }
            LoadFormat::Parquet(of) => {
                let at = position_of(&self.plan, of)?;
                self.parquet(&mut input, at).await?;
            }
        }
        self.drain().await
    }

    async fn lines(&mut self, input: &mut Input) -> Result<()> {
        let mut splitter = Splitter::new(self.plan.permissive, self.shares.chunk, self.shares.line);
        loop {
            let bytes = input.next().await;
            let bytes = bytes.map_err(|damaged| damaged.at(Some(splitter.next_line())))?;
            let Some(mut bytes) = bytes else { break };
            while !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(self.shares.chunk));
                if let Some(chunk) = splitter.push(&part)? {
                    self.line_chunk(chunk).await?;
                }
                self.progress.meter.set(Part::Batches, splitter.waiting());
            }
        }
        self.progress.meter.set(Part::Batches, 0);
        match splitter.finish()? {
            Some(chunk) => self.line_chunk(chunk).await,
            None => Ok(()),
        }
    }

    async fn line_chunk(&mut self, chunk: Chunk) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let piece = Piece {
            records: chunk.lines,
            bytes: chunk.bytes.len(),
            held: chunk.bytes.len(),
        };
        let parse = move || super::collect::parse(plan, &chunk);
        self.put(piece, parse).await
    }

    async fn arrow(&mut self, input: &mut Input, at: usize) -> Result<()> {
        let mut frames = Frames::new(self.shares.batch);
        let mut columns: Option<Columns> = None;
        while let Some(bytes) = input.next().await.map_err(|damaged| damaged.at(None))? {
            self.progress.took(bytes.len());
            frames.push(&bytes);
            while let Some(batch) = frames.next()? {
                let columns = self.columns(&mut columns, at, &batch.schema())?;
                let held = frames.bytes() + batch.get_array_memory_size();
                self.progress.meter.set(Part::Batches, held);
                self.batch(columns, &batch).await?;
            }
            self.progress.meter.set(Part::Batches, frames.bytes());
        }
        // Of a file without a batch the columns are checked all the same.
        if let (None, Some(schema)) = (&columns, frames.schema().cloned()) {
            self.columns(&mut columns, at, &schema)?;
        }
        frames.finish()
    }

    async fn parquet(&mut self, input: &mut Input, at: usize) -> Result<()> {
        let mut spool = Spool::new(self.spool).await?;
        while let Some(bytes) = input.next().await.map_err(|damaged| damaged.at(None))? {
            self.progress.took(bytes.len());
            spool.push(&bytes).await?;
        }
        let file = spool.finish().await?;
        let (sender, mut batches) = mpsc::channel(BATCHES);
        let room = Room {
            batch: self.shares.batch / (2 * (BATCHES + 2)),
            pages: self.shares.pages,
        };
        let reader = tokio::task::spawn_blocking(move || read(file, room, &sender));
        let (mut columns, mut pages) = (None, 0);
        while let Some(next) = batches.recv().await {
            match next? {
                FilePart::Begin(schema, held) => {
                    pages = held;
                    self.progress.meter.set(Part::Batches, pages);
                    self.columns(&mut columns, at, &schema)?;
                }
                FilePart::Rows(batch) => {
                    let columns = self.columns(&mut columns, at, &batch.schema())?;
                    let held = batch.get_array_memory_size() * (BATCHES + 2);
                    self.progress.meter.set(Part::Batches, pages + held);
                    self.batch(columns, &batch).await?;
                }
            }
        }
        self.progress.meter.set(Part::Batches, 0);
        reader
            .await
            .map_err(|e| Error::internal("reading a Parquet file stopped early").with_source(e))
    }

    fn columns<'a>(
        &self,
        columns: &'a mut Option<Columns>,
        at: usize,
        schema: &Schema,
    ) -> Result<&'a mut Columns> {
        if columns.is_none() {
            let mapping = Arc::new(Mapping::new(&self.plan, at, schema)?);
            *columns = Some(Columns { mapping, rows: 0 });
        }
        columns
            .as_mut()
            .ok_or_else(|| Error::internal("the columns of a load are not known"))
    }

    async fn batch(&mut self, columns: &mut Columns, batch: &RecordBatch) -> Result<()> {
        for slice in slices(batch, self.shares.chunk, columns.rows + 1)? {
            let rows = slice.num_rows();
            let first = u32::try_from(columns.rows + 1).ok();
            let first = first.filter(|first| first.checked_add(rows as u32).is_some());
            let first = first.ok_or_else(|| {
                Error::new(
                    ErrorKind::ResourceLimit,
                    "one load can hold at most 4,294,967,294 rows",
                )
                .with_hint("split the input")
            })?;
            columns.rows += rows as u64;
            let (plan, mapping) = (Arc::clone(&self.plan), Arc::clone(&columns.mapping));
            let piece = Piece {
                records: rows as u32,
                bytes: 0,
                held: 0,
            };
            let work = move || convert(plan, &mapping, &slice, first);
            self.put(piece, work).await?;
        }
        Ok(())
    }
}
