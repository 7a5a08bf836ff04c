//! Values of a part of an expression: one for all rows, or one for each.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::DataType;
use omnigraph_lang::value::Value;

use super::boolean;
use crate::error::{Error, Result};
use crate::exec::values::value_at;

/// A constant has one value, which stands for any number of rows.
pub(super) struct Operand {
    pub array: ArrayRef,
    pub constant: bool,
}

impl Operand {
    /// Where the value of a row is.
    pub(super) fn index(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn value(&self, row: usize) -> Value {
        value_at(&self.array, self.index(row))
    }

    pub(super) fn data_type(&self) -> &DataType {
        self.array.data_type()
    }

    fn nulls(&self, len: usize) -> Option<NullBuffer> {
        let nulls = self.array.logical_nulls()?;
        if !self.constant {
            return Some(nulls);
        }
        nulls.is_null(0).then(|| NullBuffer::new_null(len))
    }
}

/// How many values a result of these operands has, and whether it is a constant.
pub(super) fn extent_of(operands: &[&Operand]) -> (usize, bool) {
    let rows = operands.iter().find(|o| !o.constant);
    rows.map_or((1, true), |o| (o.array.len(), false))
}

pub(super) fn extent(operands: &[Operand]) -> (usize, bool) {
    let operands: Vec<&Operand> = operands.iter().collect();
    extent_of(&operands)
}

/// Null where any operand is.
pub(super) fn union_nulls(operands: &[&Operand], len: usize) -> Option<NullBuffer> {
    let nulls = operands.iter().map(|o| o.nulls(len));
    nulls.fold(None, |all, one| {
        NullBuffer::union(all.as_ref(), one.as_ref())
    })
}

/// A Bool per row; null where an operand is. The test also sees rows that are null.
pub(super) fn predicate(operands: &[&Operand], test: impl Fn(usize) -> bool) -> Result<Operand> {
    let (len, constant) = extent_of(operands);
    let values = BooleanBuffer::collect_bool(len, test);
    Ok(boolean(
        BooleanArray::new(values, union_nulls(operands, len)),
        constant,
    ))
}

/// Nulls of a type, as many as the operands call for.
pub(super) fn nulls_like(operands: &[&Operand], ty: &DataType) -> Result<Operand> {
    let (len, constant) = extent_of(operands);
    Ok(Operand {
        array: new_null_array(ty, len),
        constant,
    })
}

/// Numbers widened so that no value changes.
pub(super) enum Numbers {
    Int(ScalarBuffer<i64>),
    UInt(ScalarBuffer<u64>),
    Float(ScalarBuffer<f64>),
}

impl Numbers {
    /// `None` if these are no numbers.
    pub(super) fn of(operand: &Operand) -> Result<Option<Self>> {
        let array = &operand.array;
        Ok(Some(match array.data_type() {
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>().values().clone()),
            DataType::UInt64 => Self::UInt(array.as_primitive::<UInt64Type>().values().clone()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().values().clone()),
            DataType::Int32 | DataType::UInt32 => {
                let wide = cast(array, &DataType::Int64)?;
                Self::Int(wide.as_primitive::<Int64Type>().values().clone())
            }
            DataType::Float32 => {
                let wide = cast(array, &DataType::Float64)?;
                Self::Float(wide.as_primitive::<Float64Type>().values().clone())
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn expect(operand: &Operand) -> Result<Self> {
        Self::of(operand)?
            .ok_or_else(|| Error::internal(format!("{} is no number", operand.data_type())))
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self, Self::Float(_))
    }

    /// As the nearest float.
    pub(super) fn float(&self, at: usize) -> f64 {
        match self {
            Self::Int(v) => v[at] as f64,
            Self::UInt(v) => v[at] as f64,
            Self::Float(v) => v[at],
        }
    }

    /// The exact value of an integer; 0 of a float.
    pub(super) fn integer(&self, at: usize) -> i128 {
        match self {
            Self::Int(v) => i128::from(v[at]),
            Self::UInt(v) => i128::from(v[at]),
            Self::Float(_) => 0,
        }
    }
}
