//! `cast` and `try_cast`.

use omnigraph_lang::Code;
use omnigraph_lang::query::CastMode;
use omnigraph_lang::schema::{DataType, Scalar};
use omnigraph_lang::value::{Int64Style, Value, parse_date, parse_datetime, to_json};

use super::expr::{Evaluated, float, integer};

const DAY: i64 = 86_400_000;

pub(super) fn cast(value: Value, to: &DataType, mode: CastMode) -> Evaluated {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let made = match to {
        DataType::Enum(words) => match &value {
            Value::String(word) if words.contains(word) => Some(value.clone()),
            _ => None,
        },
        DataType::Scalar(to) => scalar(&value, *to, mode),
        _ => panic!("no cast to {to}"),
    };
    match (made, mode) {
        (Some(value), _) => Ok(value),
        (None, CastMode::Try) => Ok(Value::Null),
        (None, _) => Err(Code::R442),
    }
}

fn scalar(value: &Value, to: Scalar, mode: CastMode) -> Option<Value> {
    match to {
        Scalar::String => Some(Value::String(match to_json(value, Int64Style::Number) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })),
        Scalar::Bool => match value {
            Value::Bool(b) => Some(Value::Bool(*b)),
            Value::Int(_) | Value::UInt(_) => match integer(value) {
                0 => Some(Value::Bool(false)),
                1 => Some(Value::Bool(true)),
                _ => None,
            },
            Value::String(text) if text == "true" => Some(Value::Bool(true)),
            Value::String(text) if text == "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Scalar::I32 | Scalar::I64 | Scalar::U32 | Scalar::U64 => whole(value, to),
        Scalar::F64 => real(value).map(Value::F64),
        Scalar::F32 => {
            let wide = real(value)?;
            let narrow = match value {
                Value::String(text) => text.parse().unwrap_or(wide as f32),
                _ => wide as f32,
            };
            let lost = narrow.is_infinite() && wide.is_finite() && mode != CastMode::Round;
            (!lost).then_some(Value::F32(narrow))
        }
        Scalar::Date => match value {
            Value::Date(_) => Some(value.clone()),
            Value::DateTime(millis) => i32::try_from(millis.div_euclid(DAY)).ok().map(Value::Date),
            Value::String(text) => parse_date(text).map(Value::Date),
            _ => None,
        },
        Scalar::DateTime => match value {
            Value::DateTime(_) => Some(value.clone()),
            Value::Date(days) => Some(Value::DateTime(i64::from(*days) * DAY)),
            Value::String(text) => parse_datetime(text).map(Value::DateTime),
            _ => None,
        },
    }
}

fn whole(value: &Value, to: Scalar) -> Option<Value> {
    let number: i128 = match value {
        Value::Bool(b) => i128::from(*b),
        Value::Int(_) | Value::UInt(_) => integer(value),
        Value::F32(_) | Value::F64(_) => {
            let x = float(value);
            if x.is_nan() || x.abs() > 1e20 {
                return None;
            }
            x as i128
        }
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    Some(match to {
        Scalar::I32 => Value::Int(i32::try_from(number).ok()?.into()),
        Scalar::I64 => Value::Int(i64::try_from(number).ok()?),
        Scalar::U32 => Value::UInt(u32::try_from(number).ok()?.into()),
        _ => Value::UInt(u64::try_from(number).ok()?),
    })
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok(),
            _ => None,
        },
        Value::Int(_) | Value::UInt(_) | Value::F32(_) | Value::F64(_) => Some(float(value)),
        _ => None,
    }
}
