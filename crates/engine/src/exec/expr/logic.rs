//! Three-valued logic and membership.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;
use omnigraph_lang::value::{Value, compare};
use rustc_hash::FxHashSet;

use super::operand::{Operand, extent, extent_of, nulls_like, union_nulls};
use super::{boolean, from_values};
use crate::error::Result;

/// The rows that are surely true and those that are surely false.
struct Known {
    yes: BooleanBuffer,
    no: BooleanBuffer,
}

impl Known {
    fn of(operand: &Operand, len: usize) -> Self {
        let Some(array) = operand.array.as_boolean_opt() else {
            return Self {
                yes: BooleanBuffer::new_unset(len),
                no: BooleanBuffer::new_unset(len),
            };
        };
        if operand.constant {
            let value = array.is_valid(0).then(|| array.value(0));
            let all = |set: bool| match set {
                true => BooleanBuffer::new_set(len),
                false => BooleanBuffer::new_unset(len),
            };
            return Self {
                yes: all(value == Some(true)),
                no: all(value == Some(false)),
            };
        }
        let values = array.values();
        match array.nulls() {
            None => Self {
                yes: values.clone(),
                no: !values,
            },
            Some(nulls) => Self {
                yes: values & nulls.inner(),
                no: &!values & nulls.inner(),
            },
        }
    }

    fn into_operand(self, constant: bool) -> Operand {
        let valid = NullBuffer::new(&self.yes | &self.no);
        boolean(BooleanArray::new(self.yes, Some(valid)), constant)
    }
}

pub(super) fn and(parts: &[Operand]) -> Result<Operand> {
    fold(parts, |a, b| Known {
        yes: &a.yes & &b.yes,
        no: &a.no | &b.no,
    })
}

pub(super) fn or(parts: &[Operand]) -> Result<Operand> {
    fold(parts, |a, b| Known {
        yes: &a.yes | &b.yes,
        no: &a.no & &b.no,
    })
}

fn fold(parts: &[Operand], join: impl Fn(Known, Known) -> Known) -> Result<Operand> {
    let (len, constant) = extent(parts);
    let known = parts.iter().map(|part| Known::of(part, len)).reduce(join);
    let known = known.ok_or_else(|| crate::error::Error::internal("a condition without parts"))?;
    Ok(known.into_operand(constant))
}

pub(super) fn not(part: &Operand) -> Result<Operand> {
    let (len, constant) = extent_of(&[part]);
    let known = Known::of(part, len);
    Ok(Known {
        yes: known.no,
        no: known.yes,
    }
    .into_operand(constant))
}

pub(super) fn is_null(part: &Operand) -> Result<Operand> {
    let (len, constant) = extent_of(&[part]);
    let values = match part.array.logical_nulls() {
        Some(nulls) => !nulls.inner(),
        None => BooleanBuffer::new_unset(len),
    };
    Ok(boolean(BooleanArray::new(values, None), constant))
}

/// `item in list`.
pub(super) fn contains(item: &Operand, list: &Operand) -> Result<Operand> {
    if list.array.as_list_opt::<i32>().is_none() {
        return nulls_like(&[item, list], &DataType::Boolean);
    }
    if let Some(found) = text_in_constant(item, list).or_else(|| constant_in_texts(item, list)) {
        return Ok(found);
    }
    from_values(&DataType::Boolean, &[item, list], |row| {
        let Value::List(items) = list.value(row) else {
            return Ok(Value::Null);
        };
        let value = item.value(row);
        if value.is_null() {
            return Ok(Value::Null);
        }
        let equal = |other: &Value| compare(&value, other).is_some_and(std::cmp::Ordering::is_eq);
        Ok(if items.iter().any(equal) {
            Value::Bool(true)
        } else if items.iter().any(Value::is_null) {
            Value::Null
        } else {
            Value::Bool(false)
        })
    })
}

/// A column of texts against one list.
fn text_in_constant(item: &Operand, list: &Operand) -> Option<Operand> {
    let texts = item.text()?;
    if !list.constant || list.array.is_null(0) {
        return None;
    }
    let items = list.array.as_list::<i32>().value(0);
    let items = items.as_string_opt::<i32>()?;
    if items.null_count() > 0 {
        return None;
    }
    let set: FxHashSet<&str> = items.iter().flatten().collect();
    let (len, constant) = extent_of(&[item, list]);
    let values = BooleanBuffer::collect_bool(len, |row| set.contains(texts.value(item.index(row))));
    Some(boolean(
        BooleanArray::new(values, union_nulls(&[item], len)),
        constant,
    ))
}

/// One text against a column of lists, which have no nulls inside.
fn constant_in_texts(item: &Operand, list: &Operand) -> Option<Operand> {
    let text = item.text()?;
    if !item.constant || text.is_null(0) || list.constant {
        return None;
    }
    let text = text.value(0);
    let lists = list.array.as_list::<i32>();
    let items = lists.values().as_string_opt::<i32>()?;
    if items.null_count() > 0 {
        return None;
    }
    let offsets = lists.value_offsets();
    let values = BooleanBuffer::collect_bool(lists.len(), |row| {
        (offsets[row]..offsets[row + 1]).any(|at| items.value(at as usize) == text)
    });
    Some(boolean(
        BooleanArray::new(values, lists.nulls().cloned()),
        false,
    ))
}
