//! Making values fit types, and comparing them.

use std::cmp::Ordering;

use super::json::{enum_member, shorten};
use super::{Blob, Value, ValueError, base64, time};
use crate::diagnostic::Code;
use crate::schema::{DataType, Scalar};

/// The value as an assignment stores it in a property of this type (query language, section 11).
/// Null passes: whether it may be stored is not a matter of the type.
///
/// # Errors
/// R406 for another kind, R407 for numbers that do not fit, R409 for vectors, R411 for enums, R420
/// for blobs.
pub fn coerce(value: Value, data_type: &DataType) -> Result<Value, ValueError> {
    if value.is_null() {
        return Ok(value);
    }
    match (data_type, value) {
        (DataType::Scalar(scalar), value) => coerce_scalar(value, *scalar),
        (DataType::Enum(members), Value::String(text)) => {
            enum_member(&text, members).map_err(|message| ValueError::new(Code::R411, message))
        }
        (DataType::List(scalar), Value::List(items)) => items
            .into_iter()
            .map(|item| coerce_scalar(item, *scalar))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (DataType::Vector(width), Value::List(items)) => coerce_vector(&items, *width),
        (DataType::Vector(width), Value::Vector(items)) if items.len() == *width as usize => {
            Ok(Value::Vector(items))
        }
        (DataType::Vector(width), Value::Vector(items)) => Err(ValueError::new(
            Code::R409,
            format!(
                "expected a vector of {width} numbers, found {}",
                items.len()
            ),
        )),
        (DataType::Blob, Value::String(text)) => blob_from_text(&text).map(Value::Blob),
        (DataType::Blob, Value::Blob(blob)) => Ok(Value::Blob(blob)),
        (_, value) => Err(wrong_kind(data_type, &value)),
    }
}

/// The order of two values: numbers by exact value across their types, texts by bytes, false before
/// true, −0 equal to 0, NaN equal to itself and above all numbers. `None` if one is null, or if they
/// do not compare.
#[must_use]
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(b)),
        _ => match (number(left)?, number(right)?) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => Some(
                a.partial_cmp(&b)
                    .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
            ),
            (Number::Int(a), Number::Float(b)) => Some(compare_int_float(a, b)),
            (Number::Float(a), Number::Int(b)) => Some(compare_int_float(b, a).reverse()),
        },
    }
}

enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(i) => Some(Number::Int(i128::from(*i))),
        Value::UInt(u) => Some(Number::Int(i128::from(*u))),
        Value::F32(x) => Some(Number::Float(f64::from(*x))),
        Value::F64(x) => Some(Number::Float(*x)),
        _ => None,
    }
}

/// Exact: a conversion of the integer to a float would lose digits above 2⁵³.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the float is known to lie within range"
)]
fn compare_int_float(int: i128, float: f64) -> Ordering {
    // All integers here lie within ±2⁶⁵, well inside of i128.
    if float.is_nan() || float >= 36_893_488_147_419_103_232.0 {
        return Ordering::Less;
    }
    if float <= -36_893_488_147_419_103_232.0 {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    int.cmp(&(whole as i128)).then_with(|| {
        0.0_f64
            .partial_cmp(&(float - whole))
            .unwrap_or(Ordering::Equal)
    })
}

fn coerce_scalar(value: Value, scalar: Scalar) -> Result<Value, ValueError> {
    match (scalar, value) {
        (Scalar::String, value @ Value::String(_))
        | (Scalar::Bool, value @ Value::Bool(_))
        | (Scalar::Date, value @ Value::Date(_))
        | (Scalar::DateTime, value @ Value::DateTime(_)) => Ok(value),
        (scalar, Value::Int(i)) if scalar.is_integer() => fit_integer(i128::from(i), scalar),
        (scalar, Value::UInt(u)) if scalar.is_integer() => fit_integer(i128::from(u), scalar),
        (scalar, value) if scalar.is_float() => match number(&value) {
            #[allow(clippy::cast_precision_loss, reason = "rounds to nearest")]
            Some(Number::Int(i)) => fit_float(i as f64, scalar),
            Some(Number::Float(x)) => fit_float(x, scalar),
            None => Err(wrong_kind(&DataType::Scalar(scalar), &value)),
        },
        (scalar, value) => Err(wrong_kind(&DataType::Scalar(scalar), &value)),
    }
}

fn coerce_vector(items: &[Value], width: u32) -> Result<Value, ValueError> {
    let fail = |message| Err(ValueError::new(Code::R409, message));
    if items.len() != width as usize {
        return fail(format!(
            "expected a vector of {width} numbers, found {}",
            items.len()
        ));
    }
    let mut vector = Vec::with_capacity(items.len());
    for item in items {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "rounding to F32 is the rule"
        )]
        let x = match number(item) {
            Some(Number::Int(i)) => i as f32,
            Some(Number::Float(x)) => x as f32,
            None => f32::NAN,
        };
        if !x.is_finite() {
            return fail("a vector holds finite numbers only".to_owned());
        }
        vector.push(x);
    }
    Ok(Value::Vector(vector))
}

pub(super) fn fit_integer(number: i128, scalar: Scalar) -> Result<Value, ValueError> {
    let fitted = match scalar {
        Scalar::I32 => i32::try_from(number).map(|i| Value::Int(i64::from(i))),
        Scalar::I64 => i64::try_from(number).map(Value::Int),
        Scalar::U32 => u32::try_from(number).map(|u| Value::UInt(u64::from(u))),
        _ => u64::try_from(number).map(Value::UInt),
    };
    fitted
        .map_err(|_| ValueError::new(Code::R407, format!("{number} is out of range for {scalar}")))
}

#[allow(clippy::cast_possible_truncation, reason = "F32 rounds to nearest")]
pub(super) fn fit_float(x: f64, scalar: Scalar) -> Result<Value, ValueError> {
    let (finite, value) = if scalar == Scalar::F32 {
        ((x as f32).is_finite(), Value::F32(x as f32))
    } else {
        (x.is_finite(), Value::F64(x))
    };
    if finite {
        Ok(value)
    } else {
        Err(ValueError::new(
            Code::R407,
            format!("{x} is out of range for {scalar}"),
        ))
    }
}

/// Content as `base64:…`, or the URI of an object.
///
/// # Errors
/// R420 for content that is not in the standard alphabet, padded.
pub fn blob_from_text(text: &str) -> Result<Blob, ValueError> {
    match text.strip_prefix("base64:") {
        None => Ok(Blob::Uri(text.to_owned())),
        Some(encoded) => base64::decode(encoded).map(Blob::Bytes).ok_or_else(|| {
            ValueError::new(
                Code::R420,
                "after `base64:` the standard alphabet with padding is expected",
            )
        }),
    }
}

/// The value that a date or datetime text in a schema or query is, if it is one.
pub(crate) fn time_literal(text: &str, scalar: Scalar) -> Result<Value, ValueError> {
    let parsed = match scalar {
        Scalar::Date => time::parse_date(text).map(Value::Date),
        _ => time::parse_datetime(text).map(Value::DateTime),
    };
    parsed.ok_or_else(|| {
        ValueError::new(
            Code::R408,
            format!(
                "\"{}\" is no {scalar}, write it as in \"2024-02-29\" or \"2024-02-29T10:00:00Z\"",
                shorten(text)
            ),
        )
    })
}

fn wrong_kind(data_type: &DataType, value: &Value) -> ValueError {
    ValueError::new(
        Code::R406,
        format!("expected {data_type}, found {}", value.kind_name()),
    )
}
