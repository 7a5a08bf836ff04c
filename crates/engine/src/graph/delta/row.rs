//! Rows of a delta, and when two of them say the same.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use omnigraph_lang::schema::{EntityKind, EntityType};
use omnigraph_lang::value::Value;

use crate::error::{Error, Result};
use crate::exec::values::value_at;
use crate::table::blob;
use crate::write::rows::Row;

/// One row of a batch whose columns are those of its side's type. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RowRef {
    pub(crate) batch: Arc<RecordBatch>,
    pub(crate) row: usize,
}

impl RowRef {
    /// The entity's id.
    pub(crate) fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// Ids of the nodes at both ends; of edges only.
    pub(crate) fn ends(&self) -> Option<[&str; 2]> {
        Some([self.text("src")?, self.text("dst")?])
    }

    /// A column by the name that the property has on this row's side.
    pub(crate) fn array(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(name)
    }

    /// The value of a property by the name that it has on this row's side.
    pub(crate) fn value(&self, name: &str) -> Result<Value> {
        let array = self
            .array(name)
            .ok_or_else(|| Error::internal(format!("a row of a delta lacks column {name}")))?;
        Ok(value_at(array.as_ref(), self.row))
    }

    /// As a row of `to`, whose schema may be another version than that of this row, `from`: matched
    /// by stable ids; what this row lacks is null.
    pub(crate) fn to_row(&self, from: EntityType<'_>, to: EntityType<'_>) -> Result<Row> {
        let ends = match to.kind() {
            EntityKind::Node => None,
            EntityKind::Edge => Some(
                self.ends()
                    .ok_or_else(|| Error::internal("an edge of a delta lacks its ends"))?
                    .map(str::to_owned),
            ),
        };
        let value = |property: &omnigraph_lang::schema::Property| match from
            .body()
            .property_by_id(property.id)
        {
            Some(own) => self.value(&own.name),
            None => Ok(Value::Null),
        };
        Ok(Row {
            id: self.id().to_owned(),
            ends,
            values: to
                .body()
                .properties
                .iter()
                .map(value)
                .collect::<Result<_>>()?,
        })
    }

    fn text(&self, column: &str) -> Option<&str> {
        let texts = self.array(column)?.as_string_opt::<i32>()?;
        Some(texts.value(self.row))
    }
}

/// Whether two rows of one type say the same; their ids are not compared. A property that only the
/// newer type, `b_type`, has is null in the older row; one that only the older type has says
/// nothing any more.
pub(crate) fn same_entity(
    a: &RowRef,
    a_type: EntityType<'_>,
    b: &RowRef,
    b_type: EntityType<'_>,
) -> Result<bool> {
    if a.ends() != b.ends() {
        return Ok(false);
    }
    for property in &b_type.body().properties {
        let new = column(b, &property.name)?;
        let same = match a_type.body().property_by_id(property.id) {
            Some(own) => {
                let old = column(a, &own.name)?;
                same_cell(old.as_ref(), a.row, new.as_ref(), b.row)
            }
            None => new.is_null(b.row),
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn column<'a>(row: &'a RowRef, name: &str) -> Result<&'a ArrayRef> {
    row.array(name)
        .ok_or_else(|| Error::internal(format!("a row of a delta lacks column {name}")))
}

/// Whether two cells are equal: null equals null, floats are compared by their bits, and blobs by
/// what they hold.
pub(crate) fn same_cell(a: &dyn Array, i: usize, b: &dyn Array, j: usize) -> bool {
    match (a.is_null(i), b.is_null(j)) {
        (true, true) => return true,
        (false, false) => {}
        _ => return false,
    }
    match (a.data_type(), b.data_type()) {
        (DataType::Utf8, DataType::Utf8) => {
            a.as_string::<i32>().value(i) == b.as_string::<i32>().value(j)
        }
        (DataType::List(_), DataType::List(_)) => {
            let (a, b) = (a.as_list::<i32>().value(i), b.as_list::<i32>().value(j));
            a.len() == b.len() && (0..a.len()).all(|at| same_cell(a.as_ref(), at, b.as_ref(), at))
        }
        (left, right) if blob::is_blob(left) && blob::is_blob(right) => {
            value_at(a, i) == value_at(b, j)
        }
        (left, right) if left.equals_datatype(right) => {
            a.slice(i, 1).to_data() == b.slice(j, 1).to_data()
        }
        _ => value_at(a, i) == value_at(b, j),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn cells_are_compared_by_meaning_and_floats_by_bits() {
        let texts = StringArray::from(vec![Some("a"), None, Some("a"), Some("b")]);
        assert!(same_cell(&texts, 0, &texts, 2));
        assert!(same_cell(&texts, 1, &texts, 1));
        assert!(!same_cell(&texts, 0, &texts, 1));
        assert!(!same_cell(&texts, 0, &texts, 3));
        let floats = Float64Array::from(vec![f64::NAN, 0.0, -0.0, f64::NAN]);
        assert!(same_cell(&floats, 0, &floats, 3));
        assert!(!same_cell(&floats, 1, &floats, 2));
        let narrow = Int32Array::from(vec![7]);
        let wide = Int64Array::from(vec![7, 8]);
        assert!(same_cell(&narrow, 0, &wide, 0));
        assert!(!same_cell(&narrow, 0, &wide, 1));
    }
}
