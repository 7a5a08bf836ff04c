//! Comparison: numbers by exact value, texts by bytes.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMillisecondType};
use arrow_schema::DataType;
use omnigraph_lang::query::Comparison;

use super::operand::{Numbers, Operand, nulls_like, predicate};
use crate::error::{Error, Result};

pub(super) fn compare(op: Comparison, left: &Operand, right: &Operand) -> Result<Operand> {
    let both = [left, right];
    if matches!(left.data_type(), DataType::Null) || matches!(right.data_type(), DataType::Null) {
        return nulls_like(&both, &DataType::Boolean);
    }
    if let (Some(l), Some(r)) = (left.text(), right.text()) {
        return match op {
            // Equality needs no order, and lengths tell most texts apart.
            Comparison::Eq => {
                predicate(&both, |i| l.value(left.index(i)) == r.value(right.index(i)))
            }
            Comparison::Ne => {
                predicate(&both, |i| l.value(left.index(i)) != r.value(right.index(i)))
            }
            _ => predicate(&both, |i| {
                holds(op, l.value(left.index(i)).cmp(r.value(right.index(i))))
            }),
        };
    }
    match (left.data_type(), right.data_type()) {
        (DataType::Boolean, DataType::Boolean) => {
            let (l, r) = (left.array.as_boolean(), right.array.as_boolean());
            predicate(&both, |i| {
                holds(op, l.value(left.index(i)).cmp(&r.value(right.index(i))))
            })
        }
        (DataType::Date32, DataType::Date32) => {
            let l = left.array.as_primitive::<Date32Type>().values();
            let r = right.array.as_primitive::<Date32Type>().values();
            predicate(&both, |i| {
                holds(op, l[left.index(i)].cmp(&r[right.index(i)]))
            })
        }
        (DataType::Timestamp(..), DataType::Timestamp(..)) => {
            let l = left
                .array
                .as_primitive::<TimestampMillisecondType>()
                .values();
            let r = right
                .array
                .as_primitive::<TimestampMillisecondType>()
                .values();
            predicate(&both, |i| {
                holds(op, l[left.index(i)].cmp(&r[right.index(i)]))
            })
        }
        _ => numbers(op, left, right),
    }
}

fn numbers(op: Comparison, left: &Operand, right: &Operand) -> Result<Operand> {
    let both = [left, right];
    let (Some(l), Some(r)) = (Numbers::of(left)?, Numbers::of(right)?) else {
        return Err(Error::internal(format!(
            "{} and {} do not compare",
            left.data_type(),
            right.data_type()
        )));
    };
    match (&l, &r) {
        (Numbers::Int(l), Numbers::Int(r)) => predicate(&both, |i| {
            holds(op, l[left.index(i)].cmp(&r[right.index(i)]))
        }),
        (Numbers::Float(l), Numbers::Float(r)) => predicate(&both, |i| {
            holds(op, compare_floats(l[left.index(i)], r[right.index(i)]))
        }),
        (Numbers::Float(l), ints) => predicate(&both, |i| {
            let order = integer_with_float(ints.integer(right.index(i)), l[left.index(i)]);
            holds(op, order.reverse())
        }),
        (ints, Numbers::Float(r)) => predicate(&both, |i| {
            holds(
                op,
                integer_with_float(ints.integer(left.index(i)), r[right.index(i)]),
            )
        }),
        (l, r) => predicate(&both, |i| {
            holds(op, l.integer(left.index(i)).cmp(&r.integer(right.index(i))))
        }),
    }
}

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
    }
}

/// −0 equals 0; NaN equals itself and is above all numbers, as it is in sorting and grouping.
pub(in crate::exec) fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Exact: integers here have at most 65 bits, so beyond 2^100 a float decides by its sign.
fn integer_with_float(integer: i128, float: f64) -> Ordering {
    if float.is_nan() || float > 2f64.powi(100) {
        return Ordering::Less;
    }
    if float < -2f64.powi(100) {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    integer
        .cmp(&(whole as i128))
        .then_with(|| compare_floats(0.0, float - whole))
}
