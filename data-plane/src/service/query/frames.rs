//! A result as frames: header, data of about 1 MiB each, trailer.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use futures::stream;
use omnigraph_engine::{QueryResult, rows_to_json};
use omnigraph_proto::data::v1::{ExecutionStats, JsonRows, ResultHeader, ResultTrailer};
use omnigraph_proto::error::WireError;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::super::convert;
use super::Answered;

/// What a data frame aims at.
const FRAME_BYTES: usize = 1024 * 1024;

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    Json {
        int64_as_string: bool,
    },
    /// 0 rows: as many as fit into a frame.
    Arrow {
        batch_rows: usize,
    },
}

/// One frame of a result.
pub(crate) enum Frame {
    Header(ResultHeader),
    Arrow(Bytes),
    Rows(JsonRows),
    Trailer(ResultTrailer),
}

/// The frames of a result, made as they are asked for.
pub(crate) fn encode<M: Send + 'static>(
    answered: Answered,
    encoding: Encoding,
    wrap: impl Fn(Frame) -> M + Send + 'static,
) -> BoxStream<M> {
    let columns = &answered.result.columns;
    let header = ResultHeader {
        query_name: answered.query.name.clone(),
        target: Some(convert::read_target(
            &answered.target,
            answered.snapshot.commit_id(),
        )),
        graph_commit_id: answered.snapshot.commit_id().to_string(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
    };
    let trailer = ResultTrailer {
        row_count: answered.result.row_count() as u64,
        stats: Some(ExecutionStats {
            elapsed_us: answered.result.stats.elapsed_us,
            rows_scanned: answered.result.stats.rows_scanned,
            peak_memory_bytes: answered.result.stats.peak_memory_bytes,
            ..ExecutionStats::default()
        }),
    };
    let data = match encoding {
        Encoding::Json { int64_as_string } => Data::Json {
            pieces: pieces(&answered.result, 0),
            columns: answered.result.columns,
            int64_as_string,
        },
        Encoding::Arrow { batch_rows } => match ipc(&answered.result, &header) {
            Ok(writer) => Data::Arrow {
                pieces: pieces(&answered.result, batch_rows),
                writer: Some(writer),
            },
            Err(error) => return Box::pin(stream::iter([Err(broken(&error))])),
        },
    };
    let state = State {
        header: Some(header),
        data,
        trailer: Some(trailer),
    };
    let frames = stream::try_unfold((state, wrap), |(mut state, wrap)| async move {
        let frame = state.next()?;
        Ok(frame.map(|frame| (wrap(frame), (state, wrap))))
    });
    Box::pin(frames)
}

struct State {
    header: Option<ResultHeader>,
    data: Data,
    trailer: Option<ResultTrailer>,
}

enum Data {
    Json {
        pieces: VecDeque<RecordBatch>,
        columns: Vec<omnigraph_engine::ResultColumn>,
        int64_as_string: bool,
    },
    Arrow {
        pieces: VecDeque<RecordBatch>,
        /// Taken when the end of the stream is written.
        writer: Option<StreamWriter<Vec<u8>>>,
    },
}

impl State {
    fn next(&mut self) -> Result<Option<Frame>, Status> {
        if let Some(header) = self.header.take() {
            return Ok(Some(Frame::Header(header)));
        }
        if let Some(frame) = self.data.next().map_err(|error| broken(&error))? {
            return Ok(Some(frame));
        }
        Ok(self.trailer.take().map(Frame::Trailer))
    }
}

impl Data {
    fn next(&mut self) -> Result<Option<Frame>, ArrowError> {
        match self {
            Data::Json {
                pieces,
                columns,
                int64_as_string,
            } => {
                let Some(piece) = pieces.pop_front() else {
                    return Ok(None);
                };
                let result = QueryResult {
                    columns: columns.clone(),
                    batches: vec![piece],
                    stats: omnigraph_engine::QueryStats::default(),
                    warnings: Vec::new(),
                };
                let rows = rows_to_json(&result, *int64_as_string).collect();
                Ok(Some(Frame::Rows(JsonRows { rows })))
            }
            Data::Arrow { pieces, writer } => match pieces.pop_front() {
                Some(piece) => {
                    let Some(writer) = writer else {
                        return Ok(None);
                    };
                    writer.write(&piece)?;
                    Ok(Some(Frame::Arrow(std::mem::take(writer.get_mut()).into())))
                }
                None => match writer.take() {
                    None => Ok(None),
                    Some(mut writer) => {
                        writer.finish()?;
                        Ok(Some(Frame::Arrow(writer.into_inner()?.into())))
                    }
                },
            },
        }
    }
}

/// The rows in slices of about a frame each. A slice is no copy.
fn pieces(result: &QueryResult, rows_max: usize) -> VecDeque<RecordBatch> {
    let mut pieces = VecDeque::new();
    for batch in &result.batches {
        let rows = batch.num_rows();
        let row_bytes = batch.get_array_memory_size() / rows.max(1) + 1;
        let fitting = (FRAME_BYTES / row_bytes).max(1);
        let step = match rows_max {
            0 => fitting,
            asked => fitting.min(asked),
        };
        let mut from = 0;
        while from < rows {
            let length = step.min(rows - from);
            pieces.push_back(batch.slice(from, length));
            from += length;
        }
    }
    pieces
}

/// A writer that has written the schema, with what HTTP clients of Arrow have no other place for.
fn ipc(result: &QueryResult, header: &ResultHeader) -> Result<StreamWriter<Vec<u8>>, ArrowError> {
    let schema = result.batches.first().map(RecordBatch::schema);
    let schema = schema.ok_or_else(|| ArrowError::SchemaError("no batch".to_owned()))?;
    let metadata = [
        ("omnigraph.query_name", &header.query_name),
        ("omnigraph.graph_commit_id", &header.graph_commit_id),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.clone()));
    let schema = Schema::new_with_metadata(schema.fields().clone(), metadata.into());
    StreamWriter::try_new(Vec::new(), &Arc::new(schema))
}

fn broken(error: &ArrowError) -> Status {
    tracing::error!(%error, "a result could not be encoded");
    WireError::internal().into()
}
