//! Cuts batches into pieces of work: a dictionary or a view can make few bytes of input much data.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType as Arrow;

use super::cell::{entry, text};
use crate::error::{Error, ErrorKind, Result};

/// The most rows of one piece.
const ROWS: usize = 8192;
/// The most bytes of one row.
const LONGEST: usize = 32 << 20;

/// The pieces of a batch, in order, each of about so many bytes; `first_row` is the number of the
/// batch's first row.
pub(in super::super) fn slices(
    batch: &RecordBatch,
    bytes: usize,
    first_row: u64,
) -> Result<Vec<RecordBatch>> {
    let mut slices = Vec::new();
    let (mut start, mut size) = (0, 0);
    for row in 0..batch.num_rows() {
        let columns = batch.columns().iter();
        let row_bytes: usize = columns.map(|column| weight(column.as_ref(), row)).sum();
        if row_bytes > LONGEST {
            return Err(too_long(first_row + row as u64, row_bytes));
        }
        if row > start && (size + row_bytes > bytes || row - start >= ROWS) {
            slices.push(batch.slice(start, row - start));
            (start, size) = (row, 0);
        }
        size += row_bytes;
    }
    if start < batch.num_rows() {
        slices.push(batch.slice(start, batch.num_rows() - start));
    }
    Ok(slices)
}

/// About how many bytes the cell has when it stands for itself.
fn weight(array: &dyn Array, row: usize) -> usize {
    if array.is_null(row) {
        return 8;
    }
    match array.data_type() {
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => {
            text(array, row).map_or(8, |text| text.len() + 8)
        }
        Arrow::Dictionary(_, _) => match entry(array, row) {
            Some((values, at)) => weight(values, at),
            None => 8,
        },
        Arrow::Binary => array.as_binary::<i32>().value(row).len() + 8,
        Arrow::LargeBinary => array.as_binary::<i64>().value(row).len() + 8,
        Arrow::BinaryView => array.as_binary_view().value(row).len() + 8,
        Arrow::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row).len() + 8,
        Arrow::List(_) => items(array.as_list::<i32>().value(row).as_ref()),
        Arrow::LargeList(_) => items(array.as_list::<i64>().value(row).as_ref()),
        Arrow::FixedSizeList(_, _) => items(array.as_fixed_size_list().value(row).as_ref()),
        _ => 8,
    }
}

fn items(array: &dyn Array) -> usize {
    match array.data_type() {
        // Numbers need no look at each.
        plain if plain.is_primitive() => array.len() * 8 + 8,
        _ => (0..array.len()).map(|at| weight(array, at)).sum::<usize>() + 8,
    }
}

fn too_long(row: u64, bytes: usize) -> Error {
    let message = format!("row {row} has more than {LONGEST} bytes");
    Error::diagnostics(
        ErrorKind::ResourceLimit,
        vec![omnigraph_lang::Diagnostic::error(
            omnigraph_lang::Code::R422,
            message,
        )],
    )
    .with_detail(|detail| {
        let limit = (
            "graph_batch_line_bytes".to_owned(),
            LONGEST as u64,
            bytes as u64,
        );
        detail.limit = Some(limit);
    })
}
