//! Parquet files. Their index is at the end, so the input goes to a temporary file first.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType as Arrow, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use omnigraph_lang::{Code, Diagnostic};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::pages::{Largest, largest};
use crate::error::{Error, ErrorKind, Result};
use crate::write::load::input::unreadable;

/// Rows that are read together, at most.
const ROWS: usize = 8192;

/// A temporary file without a name: it is gone with its handle, however the process ends.
pub(in super::super) struct Spool {
    file: tokio::fs::File,
    length: u64,
    limit: u64,
}

impl Spool {
    pub(in super::super) async fn new(limit: u64) -> Result<Self> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile);
        let file = file.await.map_err(|e| no_room(&e.into()))?;
        Ok(Self {
            file: tokio::fs::File::from_std(file.map_err(|e| no_room(&e))?),
            length: 0,
            limit,
        })
    }

    pub(in super::super) async fn push(&mut self, bytes: &Bytes) -> Result<()> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            let message = format!("the Parquet file has more than {} bytes", self.limit);
            return Err(Error::diagnostics(
                ErrorKind::ResourceLimit,
                vec![Diagnostic::error(Code::R422, message)],
            )
            .with_hint("split the file, or send an Arrow stream, which is not kept")
            .with_detail(|detail| {
                detail.limit = Some(("load_spool".to_owned(), self.limit, self.length));
            }));
        }
        self.file.write_all(bytes).await.map_err(|e| no_room(&e))
    }

    pub(in super::super) async fn finish(mut self) -> Result<File> {
        self.file.flush().await.map_err(|e| no_room(&e))?;
        let mut file = self.file.into_std().await;
        file.seek(SeekFrom::Start(0)).map_err(|e| no_room(&e))?;
        Ok(file)
    }
}

/// What reading a file may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Room {
    /// One batch of rows, about.
    pub(in super::super) batch: usize,
    /// The pages that are decoded at one time.
    pub(in super::super) pages: usize,
}

/// Parts of a file.
pub(in super::super) enum Part {
    /// Before any rows: the columns, and what the decoded pages take at most.
    Begin(SchemaRef, usize),
    Rows(RecordBatch),
}

/// Reads the file until it ends or nobody listens. Blocks.
pub(in super::super) fn read(file: File, room: Room, parts: &mpsc::Sender<Result<Part>>) {
    // The library trusts what it decodes and would panic over some damage.
    let mut rows = 0;
    let done = catch_unwind(AssertUnwindSafe(|| pass_on(file, room, parts, &mut rows)));
    let error = match done {
        Ok(Ok(())) => return,
        Ok(Err(Failed::TooLarge(largest))) => {
            let _ = parts.blocking_send(Err(too_large(&largest, room.pages)));
            return;
        }
        Ok(Err(Failed::Damaged(error))) => error.to_string(),
        Err(_) => "it contradicts itself".to_owned(),
    };
    let message = format!("the Parquet file is damaged, after {rows} rows: {error}");
    let _ = parts.blocking_send(Err(unreadable(message, None)));
}

/// Why a file is not read to its end.
enum Failed {
    Damaged(ParquetError),
    TooLarge(Largest),
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self::Damaged(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Damaged(error.into())
    }
}

fn pass_on(
    file: File,
    room: Room,
    parts: &mpsc::Sender<Result<Part>>,
    rows: &mut u64,
) -> std::result::Result<(), Failed> {
    let (schema, pages, reader) = open(file, room)?;
    if parts.blocking_send(Ok(Part::Begin(schema, pages))).is_err() {
        return Ok(());
    }
    for batch in reader {
        let batch = batch.map_err(ParquetError::from)?;
        *rows += batch.num_rows() as u64;
        if parts.blocking_send(Ok(Part::Rows(batch))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn open(
    mut file: File,
    room: Room,
) -> std::result::Result<(SchemaRef, usize, ParquetRecordBatchReader), Failed> {
    let first = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let pages = largest(&mut file, first.metadata())?;
    if pages.bytes > room.pages as u64 {
        return Err(Failed::TooLarge(pages));
    }
    let pages = usize::try_from(pages.bytes).unwrap_or(usize::MAX);
    let viewed = ArrowReaderOptions::new().with_schema(viewed(first.schema()));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(first.metadata()), viewed);
    let metadata = metadata.unwrap_or(first);
    let groups = metadata.metadata().row_groups().iter();
    let (rows, size) = groups.fold((0_u64, 0_u64), |(rows, size), group| {
        (
            rows.saturating_add(u64::try_from(group.num_rows()).unwrap_or(0)),
            size.saturating_add(u64::try_from(group.total_byte_size()).unwrap_or(0)),
        )
    });
    let fit = room.batch as u64 * rows.max(1) / size.max(1);
    let fit = usize::try_from(fit).unwrap_or(ROWS).clamp(16, ROWS);
    let schema = Arc::clone(metadata.schema());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_batch_size(fit)
        .build()?;
    Ok((schema, pages, reader))
}

/// The same schema with views for texts and bytes: a value of a dictionary that many rows share is
/// then in memory once.
fn viewed(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(view);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn view(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        Arrow::Utf8 | Arrow::LargeUtf8 => Arrow::Utf8View,
        Arrow::Binary | Arrow::LargeBinary => Arrow::BinaryView,
        Arrow::List(item) => Arrow::List(view(item)),
        Arrow::LargeList(item) => Arrow::LargeList(view(item)),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn too_large(largest: &Largest, limit: usize) -> Error {
    let Largest {
        bytes,
        row_group,
        column,
        column_bytes,
    } = largest;
    let message = format!(
        "the pages of row group {row_group} take {bytes} bytes, more than {limit}; those of column `{column}` alone {column_bytes}"
    );
    Error::diagnostics(
        ErrorKind::ResourceLimit,
        vec![Diagnostic::error(Code::R422, message)],
    )
    .with_hint("write the file with smaller pages, or give loads more memory")
    .with_detail(|detail| {
        detail.limit = Some(("load_page_bytes".to_owned(), limit as u64, *bytes));
    })
}

fn no_room(error: &std::io::Error) -> Error {
    let message = format!("the input cannot be kept in a temporary file: {error}");
    Error::new(ErrorKind::Unavailable, message).with_hint(format!(
        "make room in {}, or set TMPDIR for the server",
        std::env::temp_dir().display()
    ))
}
