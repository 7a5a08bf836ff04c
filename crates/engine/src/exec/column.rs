//! One column of a table snapshot, aligned to its ordinals.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, UInt32Array, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig};
use lance_core::datatypes::Schema;

use super::part_cache::Part;
use crate::error::{Error, Result};
use crate::table::blob;

/// An ordinal that stands for no row.
pub(crate) const NONE: u32 = u32::MAX;

/// Text arrays have 32-bit offsets, so segments are not merged beyond this.
const MAX_MERGED_BYTES: usize = 1 << 30;
const READ_BATCH_ROWS: u32 = 32 * 1024;
const FRAGMENTS_AT_ONCE: usize = 8;

/// Values by ordinal, in segments: a later version of the table shares those of the version it was
/// derived from.
pub(crate) struct Column {
    data_type: DataType,
    field_id: i32,
    segments: Vec<Segment>,
    rows: usize,
}

#[derive(Clone)]
struct Segment {
    start: u32,
    array: ArrayRef,
}

impl Column {
    pub(crate) fn empty(data_type: DataType, field_id: i32) -> Self {
        Self {
            data_type,
            field_id,
            segments: Vec::new(),
            rows: 0,
        }
    }

    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The field of the table's schema that this column was read from.
    pub(crate) fn field_id(&self) -> i32 {
        self.field_id
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The same column with more rows at its end. Small segments at the end are merged, so that
    /// there are only logarithmically many and each value is copied logarithmically often.
    pub(crate) fn append(&self, arrays: Vec<ArrayRef>) -> Result<Self> {
        let mut segments = self.segments.clone();
        let mut rows = self.rows;
        for array in joined(arrays)? {
            let start = u32::try_from(rows)
                .map_err(|_| Error::internal("a table has more rows than ordinals"))?;
            rows += array.len();
            segments.push(Segment { start, array });
            while let [.., before, last] = segments.as_slice() {
                let bytes =
                    before.array.get_array_memory_size() + last.array.get_array_memory_size();
                if before.array.len() > 2 * last.array.len() || bytes > MAX_MERGED_BYTES {
                    break;
                }
                let merged = Segment {
                    start: before.start,
                    array: concat(&[&before.array, &last.array])?,
                };
                segments.truncate(segments.len() - 2);
                segments.push(merged);
            }
        }
        Ok(Self {
            data_type: self.data_type.clone(),
            field_id: self.field_id,
            segments,
            rows,
        })
    }

    /// The values at these ordinals in this order; [`NONE`] gives null. Nothing is copied for
    /// consecutive rows of one segment.
    pub(crate) fn gather(&self, ordinals: &[u32]) -> Result<ArrayRef> {
        let Some(&first) = ordinals.first() else {
            return Ok(new_null_array(&self.data_type, 0));
        };
        if first != NONE && is_range(ordinals) {
            return self.range(first, ordinals.len());
        }
        let known = || ordinals.iter().copied().filter(|&o| o != NONE);
        let (Some(least), Some(most)) = (known().min(), known().max()) else {
            return Ok(new_null_array(&self.data_type, ordinals.len()));
        };
        let (segment, _) = self.place(least);
        if self.place(most).0 == segment {
            let Segment { start, array } = &self.segments[segment];
            let indices = if ordinals.contains(&NONE) {
                let offset = |&o: &u32| (o != NONE).then(|| o - start);
                ordinals.iter().map(offset).collect::<UInt32Array>()
            } else {
                ordinals
                    .iter()
                    .map(|o| o - start)
                    .collect::<Vec<_>>()
                    .into()
            };
            return Ok(take(array, &indices, None)?);
        }
        let null = new_null_array(&self.data_type, 1);
        let mut arrays: Vec<&dyn Array> = self.segments.iter().map(|s| s.array.as_ref()).collect();
        arrays.push(null.as_ref());
        let place = |&ordinal: &u32| match ordinal {
            NONE => (self.segments.len(), 0),
            _ => self.place(ordinal),
        };
        let places: Vec<(usize, usize)> = ordinals.iter().map(place).collect();
        Ok(interleave(&arrays, &places)?)
    }

    fn range(&self, first: u32, len: usize) -> Result<ArrayRef> {
        let (mut segment, mut offset) = self.place(first);
        let mut parts = Vec::new();
        let mut left = len;
        while left > 0 {
            let Some(Segment { array, .. }) = self.segments.get(segment) else {
                return Err(Error::internal("an ordinal is beyond its column"));
            };
            let here = left.min(array.len() - offset);
            parts.push(array.slice(offset, here));
            left -= here;
            segment += 1;
            offset = 0;
        }
        if let [only] = parts.as_slice() {
            return Ok(only.clone());
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        Ok(concat(&parts)?)
    }

    /// The text at an ordinal of a text column.
    pub(crate) fn text(&self, ordinal: u32) -> Option<&str> {
        let (segment, offset) = self.place(ordinal);
        let array = self.segments.get(segment)?.array.as_any();
        let array = array.downcast_ref::<StringArray>()?;
        array.is_valid(offset).then(|| array.value(offset))
    }

    /// The arrays with the ordinal of their first value.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u32, &ArrayRef)> {
        self.segments.iter().map(|s| (s.start, &s.array))
    }

    fn place(&self, ordinal: u32) -> (usize, usize) {
        if self.segments.len() == 1 {
            return (0, ordinal as usize);
        }
        let after = self.segments.partition_point(|s| s.start <= ordinal);
        let segment = after.saturating_sub(1);
        let start = self.segments.get(segment).map_or(0, |s| s.start);
        (segment, (ordinal - start) as usize)
    }
}

impl Part for Column {
    fn bytes(&self) -> usize {
        let arrays = self.segments.iter();
        arrays
            .map(|s| s.array.get_array_memory_size())
            .sum::<usize>()
            + 64
    }
}

/// Makes one array of several, where offsets allow.
fn joined(arrays: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    let arrays: Vec<ArrayRef> = arrays.into_iter().filter(|a| !a.is_empty()).collect();
    let bytes: usize = arrays.iter().map(|a| a.get_array_memory_size()).sum();
    if arrays.len() < 2 || bytes > MAX_MERGED_BYTES {
        return Ok(arrays);
    }
    let parts: Vec<&dyn Array> = arrays.iter().map(|a| a.as_ref()).collect();
    Ok(vec![concat(&parts)?])
}

fn is_range(ordinals: &[u32]) -> bool {
    let (first, last) = (ordinals[0], ordinals[ordinals.len() - 1]);
    last.wrapping_sub(first) as usize == ordinals.len() - 1
        && ordinals
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
}

/// The stored values of one column in these fragments, deleted rows included: one array per
/// fragment, in their order.
pub(crate) async fn read_fragments(
    dataset: &Arc<Dataset>,
    fragments: Vec<FileFragment>,
    name: &str,
) -> Result<Vec<ArrayRef>> {
    let projection = blob::unloaded(dataset.schema().project(&[name])?);
    let projection = &projection;
    stream::iter(fragments)
        .map(|fragment| async move { read_fragment(&fragment, projection).await })
        .buffered(FRAGMENTS_AT_ONCE)
        .try_collect()
        .await
}

async fn read_fragment(fragment: &FileFragment, projection: &Schema) -> Result<ArrayRef> {
    let field = projection
        .fields
        .first()
        .ok_or_else(|| Error::internal("a projection is empty"))?;
    let rows = fragment.physical_rows().await?;
    let stored = projection
        .fields_pre_order()
        .any(|f| fragment.data_file_for_field(f.id as u32).is_some());
    if !stored {
        // The property is younger than the fragment.
        return Ok(new_null_array(&field.data_type(), rows));
    }
    let config = FragReadConfig::default().with_ignore_deletions(true);
    let reader = fragment.open(projection, config).await?;
    let batches: Vec<_> = reader
        .read_all(READ_BATCH_ROWS)
        .await?
        .buffered(FRAGMENTS_AT_ONCE)
        .try_collect()
        .await?;
    let arrays: Vec<&dyn Array> = batches.iter().map(|b| b.column(0).as_ref()).collect();
    let array = match arrays.as_slice() {
        [] => new_null_array(&field.data_type(), 0),
        [_] => batches[0].column(0).clone(),
        _ => concat(&arrays)?,
    };
    if array.len() != rows {
        return Err(Error::corrupt(format!(
            "fragment {} has {} values of {} for {rows} rows",
            fragment.id(),
            array.len(),
            field.name
        )));
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int32Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;

    #[test]
    fn appended_rows_keep_their_ordinals() {
        let mut column = Column::empty(DataType::Int32, 0);
        let mut next = 0;
        for len in [100, 1, 1, 1, 7, 1, 40, 1] {
            let array = Int32Array::from_iter_values(next..next + len);
            next += len;
            column = column.append(vec![Arc::new(array)]).unwrap();
        }
        assert!(column.segments.len() < 6, "{}", column.segments.len());
        assert_eq!(column.rows(), next as usize);
        let ordinals: Vec<u32> = (0..next as u32).rev().chain([NONE]).collect();
        let gathered = column.gather(&ordinals).unwrap();
        let gathered = gathered.as_primitive::<Int32Type>();
        for (i, &ordinal) in ordinals.iter().enumerate() {
            assert_eq!(gathered.is_null(i), ordinal == NONE);
            if ordinal != NONE {
                assert_eq!(gathered.value(i), ordinal as i32);
            }
        }
    }
}
