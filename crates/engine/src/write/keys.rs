//! Sets of ids, and fingerprints of unique tuples.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};

/// No position: an id that is only referred to, or a row whose id nobody can know.
pub(crate) const NONE: u32 = u32::MAX;

/// Texts numbered in the order of their first occurrence, exact, in one allocation. About 40 bytes
/// beside the text for each.
#[derive(Debug, Default)]
pub(crate) struct IdSet {
    /// Keyed, so that nobody can prepare ids that collide.
    hasher: RandomState,
    /// Hash to the newest text with it.
    heads: FxHashMap<u64, u32>,
    /// The next older text with the same hash.
    next: Vec<u32>,
    ends: Vec<usize>,
    text: String,
}

impl IdSet {
    /// The number of this text, and whether it is new.
    pub(crate) fn intern(&mut self, id: &str) -> (u32, bool) {
        let hash = self.hasher.hash_one(id);
        if let Some(found) = self.find_hashed(hash, id) {
            return (found, false);
        }
        let number = u32::try_from(self.next.len()).unwrap_or(NONE);
        let older = self.heads.insert(hash, number).unwrap_or(NONE);
        self.next.push(older);
        self.text.push_str(id);
        self.ends.push(self.text.len());
        (number, true)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.find_hashed(self.hasher.hash_one(id), id)
    }

    pub(crate) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = match number {
            0 => 0,
            _ => self.ends.get(number - 1).copied().unwrap_or(0),
        };
        let end = self.ends.get(number).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.next.len()
    }

    /// Bytes of memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.heads.capacity() * 17
            + self.next.capacity() * 4
            + self.ends.capacity() * 8
            + self.text.capacity()
    }

    fn find_hashed(&self, hash: u64, id: &str) -> Option<u32> {
        let mut number = *self.heads.get(&hash)?;
        while number != NONE {
            if self.get(number) == id {
                return Some(number);
            }
            number = self.next.get(number as usize).copied().unwrap_or(NONE);
        }
        None
    }
}

/// Fingerprints tuples of values with 128 bits of a keyed hash: two different tuples of one write
/// do not meet in practice, and nobody can make them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TupleHasher {
    low: RandomState,
    high: RandomState,
}

impl TupleHasher {
    /// The fingerprint of each row over these columns; `None` where a member is null.
    pub(crate) fn rows(&self, columns: &[ArrayRef]) -> Result<Vec<Option<u128>>> {
        let members = columns.iter().map(Member::of).collect::<Result<Vec<_>>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        Ok((0..rows).map(|row| self.row(&members, row)).collect())
    }

    fn row(&self, members: &[Member<'_>], row: usize) -> Option<u128> {
        let mut low = self.low.build_hasher();
        let mut high = self.high.build_hasher();
        for member in members {
            if !member.hash(row, &mut low) {
                return None;
            }
            member.hash(row, &mut high);
        }
        Some(u128::from(high.finish()) << 64 | u128::from(low.finish()))
    }
}

/// A column that can be part of a unique tuple.
enum Member<'a> {
    Text(&'a arrow_array::StringArray),
    Bool(&'a arrow_array::BooleanArray),
    I32(&'a arrow_array::Int32Array),
    I64(&'a arrow_array::Int64Array),
    U32(&'a arrow_array::UInt32Array),
    U64(&'a arrow_array::UInt64Array),
    F32(&'a arrow_array::Float32Array),
    F64(&'a arrow_array::Float64Array),
    Date(&'a arrow_array::Date32Array),
    DateTime(&'a arrow_array::TimestampMillisecondArray),
}

impl<'a> Member<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Member::Text(column.as_string()),
            DataType::Boolean => Member::Bool(column.as_boolean()),
            DataType::Int32 => Member::I32(column.as_primitive::<Int32Type>()),
            DataType::Int64 => Member::I64(column.as_primitive::<Int64Type>()),
            DataType::UInt32 => Member::U32(column.as_primitive::<UInt32Type>()),
            DataType::UInt64 => Member::U64(column.as_primitive::<UInt64Type>()),
            DataType::Float32 => Member::F32(column.as_primitive::<Float32Type>()),
            DataType::Float64 => Member::F64(column.as_primitive::<Float64Type>()),
            DataType::Date32 => Member::Date(column.as_primitive::<Date32Type>()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Member::DateTime(column.as_primitive::<TimestampMillisecondType>())
            }
            other => {
                return Err(Error::internal(format!(
                    "a column of type {other} cannot be part of a unique tuple"
                )));
            }
        })
    }

    /// False, with nothing hashed, if the value is null. Both zeros are one value.
    fn hash(&self, row: usize, hasher: &mut impl Hasher) -> bool {
        macro_rules! value {
            ($array:expr, $value:ident => $hashed:expr) => {{
                if $array.is_null(row) {
                    return false;
                }
                let $value = $array.value(row);
                $hashed.hash(hasher);
            }};
        }
        match self {
            Member::Text(array) => value!(array, v => v),
            Member::Bool(array) => value!(array, v => v),
            Member::I32(array) => value!(array, v => v),
            Member::I64(array) => value!(array, v => v),
            Member::U32(array) => value!(array, v => v),
            Member::U64(array) => value!(array, v => v),
            Member::F32(array) => value!(array, v => (v + 0.0).to_bits()),
            Member::F64(array) => value!(array, v => (v + 0.0).to_bits()),
            Member::Date(array) => value!(array, v => v),
            Member::DateTime(array) => value!(array, v => v),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn ids_keep_their_numbers() {
        let mut ids = IdSet::default();
        for i in 0..1000 {
            assert_eq!(ids.intern(&format!("id-{i}")), (i, true));
        }
        assert_eq!(ids.intern(""), (1000, true));
        for i in 0..1000 {
            assert_eq!(ids.intern(&format!("id-{i}")), (i, false));
            assert_eq!(ids.get(i), format!("id-{i}"));
        }
        assert_eq!(ids.get(1000), "");
        assert_eq!(ids.find("id-7"), Some(7));
        assert_eq!(ids.find("other"), None);
        assert_eq!(ids.len(), 1001);
    }

    #[test]
    fn tuples_meet_only_when_equal() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![
                Some("a"),
                Some("ab"),
                Some("a"),
                None,
                Some("a"),
            ])),
            Arc::new(StringArray::from(vec!["bc", "c", "bc", "bc", "d"])),
            Arc::new(Int64Array::from(vec![1, 1, 1, 1, 1])),
        ];
        let hashed = TupleHasher::default().rows(&columns).unwrap();
        assert_eq!(hashed[0], hashed[2]);
        assert_ne!(hashed[0], hashed[1]);
        assert_ne!(hashed[0], hashed[4]);
        assert_eq!(hashed[3], None);

        let zeros: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0]))];
        let hashed = TupleHasher::default().rows(&zeros).unwrap();
        assert_eq!(hashed[0], hashed[1]);
        assert_ne!(hashed[0], hashed[2]);
    }
}
