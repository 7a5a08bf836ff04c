//! Equality and order of rows by their values.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::column::NONE;
use super::expr::compare_floats;
use super::path_values::PathValues;
use super::paths::by_name;
use super::rows::Guard;
use super::space::{EntityColumn, Space};
use crate::error::Result;

/// Values that rows are ordered by.
pub(crate) struct Key {
    pub values: KeyValues,
    pub descending: bool,
    /// Null is after everything else, instead of being the smallest value.
    pub nulls_last: bool,
}

pub(crate) enum KeyValues {
    Column(Comparable),
    /// The names of entities, looked up only when a tie has to be broken.
    Entity {
        ordinals: Vec<u32>,
        space: Arc<Space>,
        ids: EntityColumn,
    },
    Path {
        numbers: Vec<u32>,
        values: PathValues,
    },
    /// Given numbers, one per row.
    Rank(Vec<u32>),
}

/// An array whose values compare by number.
pub(crate) struct Comparable {
    values: Values,
    nulls: Option<NullBuffer>,
}

enum Values {
    Int(ScalarBuffer<i64>),
    UInt(ScalarBuffer<u64>),
    Float(ScalarBuffer<f64>),
    Text(StringArray),
    Bool(BooleanArray),
    /// Items and where each row's are.
    List(Box<Comparable>, ScalarBuffer<i32>),
    /// Items, and how many each row has.
    Vector(Box<Comparable>, usize),
    /// Of a type without order: all are equal.
    Other,
}

impl Comparable {
    pub(crate) fn new(array: &ArrayRef) -> Self {
        let ints = |values: Vec<i64>| Values::Int(values.into());
        let values = match array.data_type() {
            DataType::Int64 => Values::Int(array.as_primitive::<Int64Type>().values().clone()),
            DataType::Timestamp(..) => match array.as_primitive_opt::<TimestampMillisecondType>() {
                Some(array) => Values::Int(array.values().clone()),
                None => Values::Other,
            },
            DataType::Int32 => ints(widen(array.as_primitive::<Int32Type>().values())),
            DataType::Date32 => ints(widen(array.as_primitive::<Date32Type>().values())),
            DataType::UInt32 => ints(widen(array.as_primitive::<UInt32Type>().values())),
            DataType::UInt64 => Values::UInt(array.as_primitive::<UInt64Type>().values().clone()),
            DataType::Float64 => {
                Values::Float(array.as_primitive::<Float64Type>().values().clone())
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                Values::Float(
                    values
                        .iter()
                        .map(|&x| f64::from(x))
                        .collect::<Vec<_>>()
                        .into(),
                )
            }
            DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let items = Self::new(lists.values());
                Values::List(Box::new(items), lists.offsets().inner().clone())
            }
            DataType::FixedSizeList(..) => {
                let vectors = array.as_fixed_size_list();
                let width = usize::try_from(vectors.value_length()).unwrap_or(0);
                Values::Vector(Box::new(Self::new(vectors.values())), width)
            }
            _ => Values::Other,
        };
        Self {
            values,
            nulls: array.logical_nulls(),
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Null is smaller than every value, NaN larger; −0 equals 0.
    pub(crate) fn compare(&self, a: usize, b: usize) -> Ordering {
        if self.nulls.is_some() {
            match (self.is_null(a), self.is_null(b)) {
                (true, true) => return Ordering::Equal,
                (true, false) => return Ordering::Less,
                (false, true) => return Ordering::Greater,
                (false, false) => {}
            }
        }
        match &self.values {
            Values::Int(v) => v[a].cmp(&v[b]),
            Values::UInt(v) => v[a].cmp(&v[b]),
            Values::Float(v) => compare_floats(v[a], v[b]),
            Values::Text(v) => v.value(a).cmp(v.value(b)),
            Values::Bool(v) => v.value(a).cmp(&v.value(b)),
            Values::List(items, offsets) => {
                let range = |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
                items.compare_lists(range(a), range(b))
            }
            Values::Vector(items, width) => {
                items.compare_lists(a * width..(a + 1) * width, b * width..(b + 1) * width)
            }
            Values::Other => Ordering::Equal,
        }
    }

    /// By the first items that differ, then by length.
    fn compare_lists(&self, a: Range<usize>, b: Range<usize>) -> Ordering {
        let lengths = a.len().cmp(&b.len());
        a.zip(b)
            .map(|(a, b)| self.compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or(lengths)
    }

    /// Appends bytes that are equal for equal values and such that no value's bytes begin
    /// another's.
    pub(crate) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.push(0);
            return;
        }
        out.push(1);
        match &self.values {
            Values::Int(v) => out.extend(v[row].to_le_bytes()),
            Values::UInt(v) => out.extend(v[row].to_le_bytes()),
            // All zeros are one value, and so are all NaNs.
            Values::Float(v) => {
                let x = if v[row].is_nan() {
                    f64::NAN
                } else {
                    v[row] + 0.0
                };
                out.extend(x.to_bits().to_le_bytes());
            }
            Values::Text(v) => {
                let text = v.value(row);
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
            }
            Values::Bool(v) => out.push(v.value(row).into()),
            Values::List(items, offsets) => {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                out.extend((range.len() as u32).to_le_bytes());
                range.for_each(|item| items.encode(item, out));
            }
            Values::Vector(items, width) => {
                (row * width..(row + 1) * width).for_each(|item| items.encode(item, out));
            }
            Values::Other => {}
        }
    }
}

fn widen<T: Copy + Into<i64>>(values: &[T]) -> Vec<i64> {
    values.iter().map(|&v| v.into()).collect()
}

impl Key {
    pub(super) fn compare(&self, a: usize, b: usize) -> Ordering {
        let order = match &self.values {
            KeyValues::Rank(ranks) => ranks[a].cmp(&ranks[b]),
            KeyValues::Entity {
                ordinals,
                space,
                ids,
            } => nulls_first(ordinals[a], ordinals[b], |a, b| by_name(space, ids, a, b)),
            KeyValues::Path { numbers, values } => {
                nulls_first(numbers[a], numbers[b], |a, b| values.compare(a, b))
            }
            KeyValues::Column(values) => {
                if self.nulls_last && (values.is_null(a) || values.is_null(b)) {
                    return values.is_null(a).cmp(&values.is_null(b));
                }
                values.compare(a, b)
            }
        };
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}

fn nulls_first(a: u32, b: u32, compare: impl Fn(u32, u32) -> Ordering) -> Ordering {
    match (a, b) {
        _ if a == b => Ordering::Equal,
        (NONE, _) => Ordering::Less,
        (_, NONE) => Ordering::Greater,
        _ => compare(a, b),
    }
}

/// Rows that are grouped between two looks at the time.
const STEP: usize = 1 << 14;

/// Rows with equal values: the group of each row and the first row of each group.
pub(crate) async fn group_by_value(
    rows: usize,
    columns: &[ArrayRef],
    guard: &mut Guard,
) -> Result<(Vec<u32>, Vec<u32>)> {
    if let [column] = columns
        && let Some(texts) = column.as_string_opt::<i32>()
    {
        return group_texts(texts, guard).await;
    }
    let columns: Vec<Comparable> = columns.iter().map(Comparable::new).collect();
    let mut known: rustc_hash::FxHashMap<Box<[u8]>, u32> = rustc_hash::FxHashMap::default();
    let mut first = Vec::new();
    let mut of = Vec::with_capacity(rows);
    let mut bytes = Vec::new();
    for row in 0..rows {
        if row % STEP == STEP - 1 {
            guard.pause().await?;
        }
        bytes.clear();
        columns
            .iter()
            .for_each(|column| column.encode(row, &mut bytes));
        let group = match known.get(bytes.as_slice()) {
            Some(&group) => group,
            None => {
                let group = first.len() as u32;
                known.insert(bytes.as_slice().into(), group);
                first.push(row as u32);
                group
            }
        };
        of.push(group);
    }
    Ok((of, first))
}

async fn group_texts(texts: &StringArray, guard: &mut Guard) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut known: rustc_hash::FxHashMap<Option<&str>, u32> = rustc_hash::FxHashMap::default();
    let mut first = Vec::new();
    let mut of = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        if row % STEP == STEP - 1 {
            guard.pause().await?;
        }
        of.push(*known.entry(text).or_insert_with(|| {
            first.push(row as u32);
            first.len() as u32 - 1
        }));
    }
    Ok((of, first))
}
