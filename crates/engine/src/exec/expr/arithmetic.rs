//! `+ - * / %` and negation.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMillisecondType};
use arrow_array::{Array, Float64Array, StringArray};
use arrow_schema::DataType;
use omnigraph_lang::Code;
use omnigraph_lang::query::{Arithmetic, ExprType};
use omnigraph_lang::schema::Scalar;
use omnigraph_lang::value::Value;

use super::operand::{Numbers, Operand, extent_of, nulls_like, union_nulls};
use super::{arrow_type, from_values, rule};
use crate::error::{Error, Result};

pub(super) fn arithmetic(
    op: Arithmetic,
    left: &Operand,
    right: &Operand,
    ty: &ExprType,
) -> Result<Operand> {
    let both = [left, right];
    let result = arrow_type(ty);
    if matches!(left.data_type(), DataType::Null) || matches!(right.data_type(), DataType::Null) {
        return nulls_like(&both, &result);
    }
    if let (Some(l), Some(r)) = (left.text(), right.text()) {
        let (len, constant) = extent_of(&both);
        let nulls = union_nulls(&both, len);
        let texts: StringArray = (0..len)
            .map(|row| {
                let valid = nulls.as_ref().is_none_or(|n| n.is_valid(row));
                valid.then(|| [l.value(left.index(row)), r.value(right.index(row))].concat())
            })
            .collect();
        return Ok(Operand {
            array: Arc::new(texts),
            constant,
        });
    }
    if is_time(left.data_type()) || is_time(right.data_type()) {
        return times(op, left, right, &result);
    }
    numbers(op, left, right, ty)
}

fn numbers(op: Arithmetic, left: &Operand, right: &Operand, ty: &ExprType) -> Result<Operand> {
    let both = [left, right];
    let (len, constant) = extent_of(&both);
    let nulls = union_nulls(&both, len);
    let (l, r) = (Numbers::expect(left)?, Numbers::expect(right)?);
    if l.is_float() || r.is_float() {
        let of = |row: usize| {
            let (a, b) = (l.float(left.index(row)), r.float(right.index(row)));
            match op {
                Arithmetic::Add => a + b,
                Arithmetic::Sub => a - b,
                Arithmetic::Mul => a * b,
                Arithmetic::Div => a / b,
                Arithmetic::Rem => a % b,
            }
        };
        let values: Vec<f64> = (0..len).map(of).collect();
        return Ok(Operand {
            array: Arc::new(Float64Array::new(values.into(), nulls)),
            constant,
        });
    }
    let unsigned = matches!(ty, ExprType::Scalar(Scalar::U64 | Scalar::U32));
    from_values(&arrow_type(ty), &both, |row| {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            return Ok(Value::Null);
        }
        let exact = integers(op, l.integer(left.index(row)), r.integer(right.index(row)))?;
        in_range(exact, unsigned)
    })
}

fn integers(op: Arithmetic, a: i128, b: i128) -> Result<i128> {
    let zero = || rule(Code::R441, "division by zero");
    match op {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Sub => Ok(a - b),
        // Operands of 64 bits: a product of two unsigned ones may not fit 127 bits.
        Arithmetic::Mul => a.checked_mul(b).ok_or_else(overflow),
        Arithmetic::Div => a.checked_div(b).ok_or_else(zero),
        Arithmetic::Rem => a.checked_rem(b).ok_or_else(zero),
    }
}

fn in_range(exact: i128, unsigned: bool) -> Result<Value> {
    let value = match unsigned {
        true => u64::try_from(exact).ok().map(Value::UInt),
        false => i64::try_from(exact).ok().map(Value::Int),
    };
    value.ok_or_else(overflow)
}

pub(super) fn overflow() -> Error {
    rule(
        Code::R440,
        "arithmetic overflow: the result does not fit its type",
    )
}

fn is_time(ty: &DataType) -> bool {
    matches!(ty, DataType::Date32 | DataType::Timestamp(..))
}

/// Days or milliseconds.
fn ticks(operand: &Operand, row: usize) -> Option<i128> {
    let at = operand.index(row);
    if operand.array.is_null(at) {
        return None;
    }
    match operand.value(row) {
        Value::Date(days) => Some(days.into()),
        Value::DateTime(millis) => Some(millis.into()),
        Value::Int(i) => Some(i.into()),
        Value::UInt(u) => Some(u.into()),
        _ => None,
    }
}

fn times(op: Arithmetic, left: &Operand, right: &Operand, result: &DataType) -> Result<Operand> {
    from_values(result, &[left, right], |row| {
        let (Some(a), Some(b)) = (ticks(left, row), ticks(right, row)) else {
            return Ok(Value::Null);
        };
        let exact = match op {
            Arithmetic::Add => a + b,
            Arithmetic::Sub => a - b,
            _ => return Err(Error::internal("times are only added and subtracted")),
        };
        let value = match result {
            DataType::Date32 => i32::try_from(exact).ok().map(Value::Date),
            DataType::Timestamp(..) => i64::try_from(exact).ok().map(Value::DateTime),
            _ => i64::try_from(exact).ok().map(Value::Int),
        };
        value.ok_or_else(overflow)
    })
}

pub(super) fn negate(part: &Operand, ty: &ExprType) -> Result<Operand> {
    if matches!(part.data_type(), DataType::Null) {
        return nulls_like(&[part], &arrow_type(ty));
    }
    let numbers = Numbers::expect(part)?;
    from_values(&arrow_type(ty), &[part], |row| {
        let at = part.index(row);
        if part.array.is_null(at) {
            return Ok(Value::Null);
        }
        match &numbers {
            Numbers::Float(values) => Ok(Value::F64(-values[at])),
            integers => in_range(-integers.integer(at), false),
        }
    })
}

/// Milliseconds since 1970 of a cell that holds a date or a time.
pub(super) fn instant(operand: &Operand, row: usize) -> Option<i64> {
    let at = operand.index(row);
    if operand.array.is_null(at) {
        return None;
    }
    if let Some(days) = operand.array.as_primitive_opt::<Date32Type>() {
        return Some(i64::from(days.value(at)) * 86_400_000);
    }
    let times = operand
        .array
        .as_primitive_opt::<TimestampMillisecondType>()?;
    Some(times.value(at))
}
