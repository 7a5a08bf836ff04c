//! `sum` and `avg`: exact until the end, so that the order of rows does not show.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_cast::cast;
use arrow_schema::DataType;

use crate::error::Result;

/// Sums or means of the rows that are taken, by group; null where there are none.
pub(super) fn sums(
    values: &ArrayRef,
    of: &[u32],
    groups: usize,
    mean: bool,
    takes: impl Fn(usize) -> bool,
) -> Result<ArrayRef> {
    let taken = of.iter().enumerate().filter(|(row, _)| takes(*row));
    let mut counts = vec![0u64; groups];
    for (_, &group) in taken.clone() {
        counts[group as usize] += 1;
    }
    let totals: Vec<f64> = match values.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let numbers = cast(values, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>().values();
            let mut sums = vec![Sum::default(); groups];
            for (row, &group) in taken {
                sums[group as usize].add(numbers[row]);
            }
            sums.iter().map(Sum::total).collect()
        }
        DataType::UInt64 => {
            let numbers = values.as_primitive::<UInt64Type>().values();
            integers(
                taken.map(|(row, group)| (*group, numbers[row].into())),
                groups,
            )
        }
        _ => {
            let numbers = cast(values, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>().values();
            integers(
                taken.map(|(row, group)| (*group, numbers[row].into())),
                groups,
            )
        }
    };
    let result = totals
        .into_iter()
        .zip(counts)
        .map(|(sum, count)| match (count, mean) {
            (0, _) => None,
            (count, true) => Some(sum / count as f64),
            (_, false) => Some(sum),
        });
    Ok(Arc::new(result.collect::<Float64Array>()))
}

/// 2³² rows of 64 bits have at most 96.
fn integers(numbers: impl Iterator<Item = (u32, i128)>, groups: usize) -> Vec<f64> {
    let mut sums = vec![0i128; groups];
    for (group, number) in numbers {
        sums[group as usize] += number;
    }
    sums.into_iter().map(|sum| sum as f64).collect()
}

/// The exact sum of floats, as parts that do not overlap (J. R. Shewchuk, "Adaptive Precision
/// Floating-Point Arithmetic and Fast Robust Geometric Predicates").
#[derive(Clone, Debug, Default)]
struct Sum {
    /// Ascending by magnitude.
    parts: Vec<f64>,
    /// Of what is not finite, and of what became so on the way.
    special: f64,
}

impl Sum {
    fn add(&mut self, mut x: f64) {
        if !x.is_finite() {
            self.special += x;
            return;
        }
        let mut kept = 0;
        for at in 0..self.parts.len() {
            let mut y = self.parts[at];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                self.parts[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.parts.truncate(kept);
        match x.is_finite() {
            true => self.parts.push(x),
            false => {
                self.special += x;
                self.parts.clear();
            }
        }
    }

    /// The float nearest to the exact sum.
    fn total(&self) -> f64 {
        if self.special != 0.0 || self.special.is_nan() {
            return self.special;
        }
        let mut parts = self.parts.iter().rev().copied();
        let Some(mut high) = parts.next() else {
            return 0.0;
        };
        let mut low = 0.0;
        while let Some(part) = parts.next() {
            let sum = high + part;
            low = part - (sum - high);
            high = sum;
            if low != 0.0 {
                // Half way between two floats, what is left decides.
                if let Some(next) = parts.next()
                    && (low < 0.0) == (next < 0.0)
                {
                    let twice = low * 2.0;
                    let other = high + twice;
                    if twice == other - high {
                        high = other;
                    }
                }
                break;
            }
        }
        let _ = low;
        high
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    fn total(numbers: &[f64]) -> f64 {
        let mut sum = Sum::default();
        numbers.iter().for_each(|x| sum.add(*x));
        sum.total()
    }

    #[test]
    fn sums_of_floats_are_exact() {
        assert_eq!(total(&[]), 0.0);
        assert_eq!(total(&[0.1; 10]), 1.0);
        assert_eq!(total(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(total(&[1.0, 1e-16, 1e-16]), 1.0 + f64::EPSILON);
        assert_eq!(total(&[9007199254740992.0, 1.0, -0.5]), 9007199254740992.0);
        assert_eq!(total(&[9007199254740992.0, 1.0, 0.5]), 9007199254740994.0);
        assert_eq!(total(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(total(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn the_order_of_rows_does_not_show() {
        let mut numbers: Vec<f64> = (1..60)
            .map(|n| f64::from(n * n) * 1.37e-3 * 10f64.powi(n % 30 - 15))
            .collect();
        let forward = total(&numbers);
        numbers.reverse();
        assert_eq!(total(&numbers), forward);
        numbers.sort_by(f64::total_cmp);
        assert_eq!(total(&numbers), forward);
    }
}
