//! `cast`, `try_cast` and the conversions that comparisons need.

use arrow_schema::DataType;
use omnigraph_lang::Code;
use omnigraph_lang::query::CastMode;
use omnigraph_lang::schema::{DataType as PropertyType, Scalar};
use omnigraph_lang::value::{Value, format_date, format_datetime, parse_date, parse_datetime};

use super::operand::{Operand, nulls_like};
use super::{from_values, rule};
use crate::error::Result;
use crate::exec::values::storage_type;

const MILLIS_PER_DAY: i64 = 86_400_000;

pub(super) fn cast(value: &Operand, to: &PropertyType, mode: CastMode) -> Result<Operand> {
    let ty = storage_type(to);
    if matches!(value.data_type(), DataType::Null) {
        return nulls_like(&[value], &ty);
    }
    if *value.data_type() == ty && !matches!(to, PropertyType::Enum(_)) {
        return Ok(Operand {
            array: value.array.clone(),
            constant: value.constant,
        });
    }
    from_values(&ty, &[value], |row| {
        let value = value.value(row);
        if value.is_null() {
            return Ok(value);
        }
        match (convert(&value, to, mode), mode) {
            (Some(converted), _) => Ok(converted),
            (None, CastMode::Try) => Ok(Value::Null),
            (None, _) => Err(rule(
                Code::R442,
                format!(
                    "cast failed: {} is no {to}",
                    text(&value).unwrap_or_default()
                ),
            )),
        }
    })
}

fn convert(value: &Value, to: &PropertyType, mode: CastMode) -> Option<Value> {
    match to {
        PropertyType::Scalar(scalar) => to_scalar(value, *scalar, mode),
        PropertyType::Enum(words) => match value {
            Value::String(s) if words.contains(s) => Some(value.clone()),
            _ => None,
        },
        PropertyType::List(_) | PropertyType::Vector(_) | PropertyType::Blob => None,
    }
}

fn to_scalar(value: &Value, to: Scalar, mode: CastMode) -> Option<Value> {
    match to {
        Scalar::String => text(value).map(Value::String),
        Scalar::Bool => match value {
            Value::Bool(_) => Some(value.clone()),
            Value::Int(0) | Value::UInt(0) => Some(Value::Bool(false)),
            Value::Int(1) | Value::UInt(1) => Some(Value::Bool(true)),
            Value::String(s) => s.parse().ok().map(Value::Bool),
            _ => None,
        },
        Scalar::I32 => integer(value)
            .and_then(|i| i32::try_from(i).ok())
            .map(|i| Value::Int(i.into())),
        Scalar::I64 => integer(value)
            .and_then(|i| i64::try_from(i).ok())
            .map(Value::Int),
        Scalar::U32 => integer(value)
            .and_then(|i| u32::try_from(i).ok())
            .map(|u| Value::UInt(u.into())),
        Scalar::U64 => integer(value)
            .and_then(|i| u64::try_from(i).ok())
            .map(Value::UInt),
        Scalar::F64 => float(value).map(Value::F64),
        Scalar::F32 => {
            // Of a text the digits are rounded once, not first to F64.
            if let Value::String(s) = value
                && let Ok(x) = s.parse::<f32>()
                && !s.trim_start_matches('-').starts_with(['i', 'n'])
            {
                return Some(Value::F32(x));
            }
            let x = float(value)?;
            let narrow = x as f32;
            let overflowed = narrow.is_infinite() && x.is_finite();
            (!overflowed || mode == CastMode::Round).then_some(Value::F32(narrow))
        }
        Scalar::Date => match value {
            Value::Date(_) => Some(value.clone()),
            Value::DateTime(millis) => i32::try_from(millis.div_euclid(MILLIS_PER_DAY))
                .ok()
                .map(Value::Date),
            Value::String(s) => parse_date(s).map(Value::Date),
            _ => None,
        },
        Scalar::DateTime => match value {
            Value::DateTime(_) => Some(value.clone()),
            Value::Date(days) => Some(Value::DateTime(i64::from(*days) * MILLIS_PER_DAY)),
            Value::String(s) => parse_datetime(s).map(Value::DateTime),
            _ => None,
        },
    }
}

/// Cuts toward zero.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(i) => Some((*i).into()),
        Value::UInt(u) => Some((*u).into()),
        Value::Bool(b) => Some((*b).into()),
        Value::F32(x) => whole(f64::from(*x)),
        Value::F64(x) => whole(*x),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}

fn whole(x: f64) -> Option<i128> {
    (x.is_finite() && x.abs() < 1e30).then_some(x as i128)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::UInt(u) => Some(*u as f64),
        Value::F32(x) => Some((*x).into()),
        Value::F64(x) => Some(*x),
        Value::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            s if s.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => {
                s.parse().ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// As results write it.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(s) => s.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::UInt(u) => u.to_string(),
        Value::F32(x) => float_text(f64::from(*x)),
        Value::F64(x) => float_text(*x),
        Value::Date(days) => format_date(*days),
        Value::DateTime(millis) => format_datetime(*millis),
        Value::Null | Value::List(_) | Value::Vector(_) | Value::Blob(_) => return None,
    })
}

fn float_text(x: f64) -> String {
    if x.is_nan() {
        "NaN".to_owned()
    } else if x.is_infinite() {
        if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        serde_json::Number::from_f64(x).map_or_else(|| x.to_string(), |n| n.to_string())
    }
}
