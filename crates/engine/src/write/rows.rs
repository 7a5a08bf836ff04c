//! Single entities outside of columns, and the way between both.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use omnigraph_lang::schema::EntityType;
use omnigraph_lang::value::Value;

use crate::error::{Error, Result};
use crate::exec::{TableSnapshot, values};
use crate::table::arrow_schema;

/// One entity as it is to be stored. Rows with the same content are equal, wherever their blobs lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Ids of the nodes at both ends; of edges only.
    pub(crate) ends: Option<[String; 2]>,
    /// In the order of the type's properties.
    pub(crate) values: Vec<Value>,
}

/// The rows as columns, in the given order.
pub(crate) fn to_batch<'a>(
    entity: EntityType<'_>,
    rows: impl Iterator<Item = &'a Row> + Clone,
) -> Result<RecordBatch> {
    let ids: StringArray = rows.clone().map(|row| Some(row.id.as_str())).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    if let EntityType::Edge(_) = entity {
        for end in 0..2 {
            let ids: StringArray = rows
                .clone()
                .map(|row| row.ends.as_ref().map(|ends| ends[end].as_str()))
                .collect();
            columns.push(Arc::new(ids));
        }
    }
    for (position, property) in entity.body().properties.iter().enumerate() {
        let column: Vec<Value> = rows
            .clone()
            .map(|row| row.values.get(position).cloned().unwrap_or(Value::Null))
            .collect();
        let data_type = values::storage_type(&property.data_type);
        columns.push(values::array_of(&data_type, &column)?);
    }
    RecordBatch::try_new(arrow_schema(entity), columns)
        .map_err(|e| Error::internal("written rows do not fit their table").with_source(e))
}

/// The stored entities at these ordinals, in this order.
pub(crate) async fn stored_rows(
    entity: EntityType<'_>,
    table: &TableSnapshot,
    ordinals: &[u32],
) -> Result<Vec<Row>> {
    if ordinals.is_empty() {
        return Ok(Vec::new());
    }
    let ids = texts(table, "id", ordinals).await?;
    let ends = match entity {
        EntityType::Node(_) => None,
        EntityType::Edge(_) => Some((
            texts(table, "src", ordinals).await?,
            texts(table, "dst", ordinals).await?,
        )),
    };
    let mut columns = Vec::new();
    for property in &entity.body().properties {
        columns.push(table.column(&property.name).await?.gather(ordinals)?);
    }
    let row = |i: usize, id: String| Row {
        id,
        ends: ends
            .as_ref()
            .map(|(src, dst)| [src[i].clone(), dst[i].clone()]),
        values: columns
            .iter()
            .map(|column| values::value_at(column.as_ref(), i))
            .collect(),
    };
    Ok(ids
        .into_iter()
        .enumerate()
        .map(|(i, id)| row(i, id))
        .collect())
}

/// The texts of a column that has no nulls.
pub(crate) async fn texts(
    table: &TableSnapshot,
    column: &str,
    ordinals: &[u32],
) -> Result<Vec<String>> {
    let column_data = table.column(column).await?;
    ordinals
        .iter()
        .map(|ordinal| {
            column_data
                .text(*ordinal)
                .map(str::to_owned)
                .ok_or_else(|| Error::corrupt(format!("column {column} of a table has a null")))
        })
        .collect()
}
