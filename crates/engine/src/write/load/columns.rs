//! Growing columns of one type, row by row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMillisecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use omnigraph_lang::schema::{DataType, Scalar};
use omnigraph_lang::value::{ManagedBlob, Value};

use crate::error::{Error, Result};
use crate::exec::values;
use crate::table::blob;
use crate::write::blobs::Incoming;

/// One property's values so far.
pub(super) enum Column {
    Text(StringBuilder),
    Bool(BooleanBuilder),
    I32(Int32Builder),
    I64(Int64Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Date(Date32Builder),
    DateTime(TimestampMillisecondBuilder),
    /// Lists, vectors, blobs.
    Other(DataType, Vec<Value>),
}

impl Column {
    pub(super) fn new(data_type: &DataType) -> Self {
        let Some(scalar) = data_type.scalar() else {
            return Column::Other(data_type.clone(), Vec::new());
        };
        match scalar {
            Scalar::String => Column::Text(StringBuilder::new()),
            Scalar::Bool => Column::Bool(BooleanBuilder::new()),
            Scalar::I32 => Column::I32(Int32Builder::new()),
            Scalar::I64 => Column::I64(Int64Builder::new()),
            Scalar::U32 => Column::U32(UInt32Builder::new()),
            Scalar::U64 => Column::U64(UInt64Builder::new()),
            Scalar::F32 => Column::F32(Float32Builder::new()),
            Scalar::F64 => Column::F64(Float64Builder::new()),
            Scalar::Date => Column::Date(Date32Builder::new()),
            Scalar::DateTime => {
                let builder = TimestampMillisecondBuilder::new();
                Column::DateTime(builder.with_timezone("UTC"))
            }
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Column::Text(b) => b.append_null(),
            Column::Bool(b) => b.append_null(),
            Column::I32(b) => b.append_null(),
            Column::I64(b) => b.append_null(),
            Column::U32(b) => b.append_null(),
            Column::U64(b) => b.append_null(),
            Column::F32(b) => b.append_null(),
            Column::F64(b) => b.append_null(),
            Column::Date(b) => b.append_null(),
            Column::DateTime(b) => b.append_null(),
            Column::Other(_, values) => values.push(Value::Null),
        }
    }

    /// Appends a value that the column's type has been checked for. A value of another type would
    /// be a defect and becomes null, which the required column then refuses.
    pub(super) fn append(&mut self, value: Value) {
        match (self, value) {
            (Column::Text(b), Value::String(text)) => b.append_value(text),
            (Column::Bool(b), Value::Bool(v)) => b.append_value(v),
            (Column::I32(b), Value::Int(i)) => b.append_option(i32::try_from(i).ok()),
            (Column::I64(b), Value::Int(i)) => b.append_value(i),
            (Column::U32(b), Value::UInt(u)) => b.append_option(u32::try_from(u).ok()),
            (Column::U64(b), Value::UInt(u)) => b.append_value(u),
            (Column::F32(b), Value::F32(x)) => b.append_value(x),
            (Column::F64(b), Value::F64(x)) => b.append_value(x),
            (Column::Date(b), Value::Date(days)) => b.append_value(days),
            (Column::DateTime(b), Value::DateTime(millis)) => b.append_value(millis),
            (Column::Other(_, values), value) => values.push(value),
            (column, _) => column.append_null(),
        }
    }

    fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Text(mut b) => Arc::new(b.finish()),
            Column::Bool(mut b) => Arc::new(b.finish()),
            Column::I32(mut b) => Arc::new(b.finish()),
            Column::I64(mut b) => Arc::new(b.finish()),
            Column::U32(mut b) => Arc::new(b.finish()),
            Column::U64(mut b) => Arc::new(b.finish()),
            Column::F32(mut b) => Arc::new(b.finish()),
            Column::F64(mut b) => Arc::new(b.finish()),
            Column::Date(mut b) => Arc::new(b.finish()),
            Column::DateTime(mut b) => Arc::new(b.finish()),
            Column::Other(data_type, items) => {
                values::array_of(&values::storage_type(&data_type), &items)?
            }
        })
    }
}

/// The rows of one type in one chunk of the input.
pub(super) struct Rows {
    pub(super) ids: StringBuilder,
    /// Present for edges.
    pub(super) ends: Option<(StringBuilder, StringBuilder)>,
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<u32>,
    /// Whether the id was made up here, so that nothing else can have it.
    pub(super) fresh: Vec<bool>,
    /// Content of blobs.
    pub(super) incoming: Incoming,
}

/// Rows of one type in table form, with where they came from.
#[derive(Debug)]
pub(super) struct RowBatch {
    pub(super) batch: RecordBatch,
    pub(super) lines: Vec<u32>,
    pub(super) fresh: Vec<bool>,
    /// Content of blobs, to be stored before the rows.
    pub(super) incoming: Incoming,
}

impl RowBatch {
    /// The rows in parts of some size, in order. Their blobs must have been stored.
    pub(super) fn parts(self, most: usize) -> Vec<RowBatch> {
        let rows = self.batch.num_rows();
        if rows <= most {
            return vec![self];
        }
        let starts = (0..rows).step_by(most.max(1));
        let part = |start: usize| {
            let end = rows.min(start + most.max(1));
            RowBatch {
                batch: self.batch.slice(start, end - start),
                lines: self.lines[start..end].to_vec(),
                fresh: self.fresh[start..end].to_vec(),
                incoming: Incoming::default(),
            }
        };
        starts.map(part).collect()
    }

    /// Blobs that were copied in have their places now.
    pub(super) fn with_blob_places(&mut self, places: &HashMap<String, ManagedBlob>) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let resized =
            self.batch
                .columns()
                .iter()
                .map(|column| match blob::is_blob(column.data_type()) {
                    true => blob::with_places(column, places),
                    false => Ok(Arc::clone(column)),
                });
        let columns = resized.collect::<Result<Vec<_>>>()?;
        self.batch = RecordBatch::try_new(self.batch.schema(), columns)?;
        Ok(())
    }
}

impl Rows {
    pub(super) fn new<'a>(edge: bool, types: impl Iterator<Item = &'a DataType>) -> Self {
        Self {
            ids: StringBuilder::new(),
            ends: edge.then(Default::default),
            columns: types.map(Column::new).collect(),
            lines: Vec::new(),
            fresh: Vec::new(),
            incoming: Incoming::default(),
        }
    }

    /// `schema` is that of the table: `id`, for edges `src` and `dst`, then the properties.
    pub(super) fn finish(mut self, schema: &SchemaRef) -> Result<RowBatch> {
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.ids.finish())];
        if let Some((mut src, mut dst)) = self.ends {
            arrays.push(Arc::new(src.finish()));
            arrays.push(Arc::new(dst.finish()));
        }
        for column in self.columns {
            arrays.push(column.finish()?);
        }
        let batch = RecordBatch::try_new(Arc::clone(schema), arrays)
            .map_err(|e| Error::internal("loaded rows do not fit their table").with_source(e))?;
        Ok(RowBatch {
            batch,
            lines: self.lines,
            fresh: self.fresh,
            incoming: self.incoming,
        })
    }
}
