//! Rows of many batches as columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_select::interleave::interleave;
use omnigraph_lang::schema::EntityType;

use crate::error::{Error, Result};
use crate::graph::delta::RowRef;
use crate::table::arrow_schema;

/// The named columns of these rows, in this order. At least one row.
pub(super) fn columns(rows: &[&RowRef], names: &[&str]) -> Result<Vec<ArrayRef>> {
    let mut batches: Vec<&Arc<RecordBatch>> = Vec::new();
    let mut numbers: HashMap<*const RecordBatch, usize> = HashMap::new();
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        let number = *numbers.entry(Arc::as_ptr(&row.batch)).or_insert_with(|| {
            batches.push(&row.batch);
            batches.len() - 1
        });
        places.push((number, row.row));
    }
    names
        .iter()
        .map(|name| {
            let arrays = batches
                .iter()
                .map(|batch| batch.column_by_name(name).map(AsRef::as_ref))
                .collect::<Option<Vec<&dyn Array>>>()
                .ok_or_else(|| Error::internal(format!("changed rows lack column {name}")))?;
            Ok(interleave(&arrays, &places)?)
        })
        .collect()
}

/// These rows in the form of their type's table.
pub(super) fn batch(entity: EntityType<'_>, rows: &[&RowRef]) -> Result<RecordBatch> {
    let schema = arrow_schema(entity);
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let columns = match rows.is_empty() {
        false => columns(rows, &names)?,
        true => schema
            .fields()
            .iter()
            .map(|field| new_empty_array(field.data_type()))
            .collect(),
    };
    RecordBatch::try_new(schema, columns)
        .map_err(|e| Error::internal("merged rows do not fit their table").with_source(e))
}
