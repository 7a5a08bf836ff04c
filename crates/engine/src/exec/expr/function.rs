//! The functions of their arguments alone.

use arrow_array::Array;
use arrow_schema::DataType;
use omnigraph_lang::Code;
use omnigraph_lang::query::Function;
use omnigraph_lang::value::{Value, civil};
use regex::Regex;

use super::arithmetic::{instant, overflow};
use super::operand::{Operand, nulls_like, predicate};
use super::{from_values, in_type, rule};
use crate::error::{Error, Result};

const MILLIS_PER_DAY: i64 = 86_400_000;

pub(super) fn call(function: Function, args: &[Operand], ty: &DataType) -> Result<Operand> {
    let all: Vec<&Operand> = args.iter().collect();
    let Some(first) = args.first() else {
        return Err(Error::internal("a call has no arguments"));
    };
    match function {
        Function::Coalesce => from_values(ty, &all, |row| {
            let mut values = args.iter().map(|arg| arg.value(row));
            in_type(values.find(|v| !v.is_null()).unwrap_or(Value::Null), ty)
        }),
        Function::Matches => matches(first, &args[1]),
        Function::Lower | Function::Upper | Function::Trim | Function::Length => {
            from_values(ty, &all, |row| {
                Ok(text_function(function, &first.value(row)))
            })
        }
        Function::Substring => from_values(ty, &all, |row| {
            substring(&args.iter().map(|arg| arg.value(row)).collect::<Vec<_>>())
        }),
        Function::Abs | Function::Floor | Function::Ceil | Function::Round => {
            from_values(ty, &all, |row| {
                let digits = args.get(1).map(|arg| arg.value(row));
                in_type(numeric(function, first.value(row), digits)?, ty)
            })
        }
        Function::Size => from_values(ty, &all, |row| {
            Ok(match first.value(row) {
                Value::List(items) => Value::Int(items.len() as i64),
                Value::Vector(items) => Value::Int(items.len() as i64),
                _ => Value::Null,
            })
        }),
        _ => from_values(ty, &all, |row| {
            Ok(instant(first, row).map_or(Value::Null, |millis| calendar(function, millis)))
        }),
    }
}

fn matches(text: &Operand, pattern: &Operand) -> Result<Operand> {
    let both = [text, pattern];
    let (Some(texts), Some(patterns)) = (text.text(), pattern.text()) else {
        return nulls_like(&both, &DataType::Boolean);
    };
    if !pattern.constant || patterns.is_null(0) {
        return nulls_like(&both, &DataType::Boolean);
    }
    let pattern_text = patterns.value(0);
    let regex = Regex::new(pattern_text)
        .map_err(|e| rule(Code::R443, format!("invalid pattern {pattern_text:?}: {e}")))?;
    predicate(&both, |row| regex.is_match(texts.value(text.index(row))))
}

fn text_function(function: Function, text: &Value) -> Value {
    let Value::String(text) = text else {
        return Value::Null;
    };
    match function {
        Function::Lower => Value::String(text.to_lowercase()),
        Function::Upper => Value::String(text.to_uppercase()),
        Function::Trim => Value::String(text.trim().to_owned()),
        _ => Value::Int(text.chars().count() as i64),
    }
}

fn substring(args: &[Value]) -> Result<Value> {
    if args.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let Value::String(text) = &args[0] else {
        return Ok(Value::Null);
    };
    let place = |value: &Value| match value {
        Value::Int(i) => usize::try_from(*i)
            .map_err(|_| rule(Code::R443, "substring takes no negative position or length")),
        Value::UInt(u) => Ok(usize::try_from(*u).unwrap_or(usize::MAX)),
        _ => Err(Error::internal("substring takes integers")),
    };
    let rest = text.chars().skip(place(&args[1])?);
    Ok(Value::String(match args.get(2) {
        Some(len) => rest.take(place(len)?).collect(),
        None => rest.collect(),
    }))
}

fn numeric(function: Function, value: Value, digits: Option<Value>) -> Result<Value> {
    let digits = match digits {
        None => 0,
        Some(Value::Int(d)) => d.clamp(-400, 400) as i32,
        Some(Value::UInt(d)) => d.min(400) as i32,
        Some(_) => return Ok(Value::Null),
    };
    let rounds = function == Function::Round;
    let float = |x: f64| match function {
        Function::Abs => x.abs(),
        Function::Floor => x.floor(),
        _ => x.ceil(),
    };
    Ok(match value {
        Value::F64(x) if rounds => Value::F64(round(x, &format!("{x:e}"), digits)),
        Value::F32(x) if rounds => {
            Value::F32(round(f64::from(x), &format!("{x:e}"), digits) as f32)
        }
        Value::F64(x) => Value::F64(float(x)),
        Value::F32(x) => Value::F32(float(f64::from(x)) as f32),
        Value::Int(i) if function == Function::Abs => {
            Value::Int(i.checked_abs().ok_or_else(overflow)?)
        }
        Value::Int(i) if rounds => match i64::try_from(round_integer(i.into(), digits)) {
            Ok(i) => Value::Int(i),
            Err(_) => return Err(overflow()),
        },
        Value::UInt(u) if rounds => match u64::try_from(round_integer(u.into(), digits)) {
            Ok(u) => Value::UInt(u),
            Err(_) => return Err(overflow()),
        },
        other => other,
    })
}

/// Half away from zero, of the shortest decimal digits that stand for the number: what is shown as
/// 1.005 rounds to 1.01. `text` is the number in scientific notation.
fn round(x: f64, text: &str, digits: i32) -> f64 {
    let Some((mantissa, exponent)) = text.split_once('e') else {
        // Not finite.
        return x;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut known: Vec<u8> = mantissa
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|b| b - b'0')
        .collect();
    // Digits in front of the place of rounding.
    let keep = i64::from(exponent) + 1 + i64::from(digits);
    if keep >= known.len() as i64 {
        return x;
    }
    if keep < 0 {
        return 0.0_f64.copysign(x);
    }
    let up = known[keep as usize] >= 5;
    known.truncate(keep as usize);
    let mut number: i128 = 0;
    for digit in known {
        number = number * 10 + i128::from(digit);
    }
    number += i128::from(up);
    let sign = if x.is_sign_negative() { "-" } else { "" };
    // Digits and a power of ten always read as a number.
    format!("{sign}{number}e{}", -digits).parse().unwrap_or(x)
}

fn round_integer(value: i128, digits: i32) -> i128 {
    if digits >= 0 {
        return value;
    }
    if digits < -20 {
        return 0;
    }
    let unit = 10i128.pow(digits.unsigned_abs());
    (value.abs() + unit / 2) / unit * unit * value.signum()
}

fn calendar(function: Function, millis: i64) -> Value {
    let days = millis.div_euclid(MILLIS_PER_DAY);
    let in_day = millis.rem_euclid(MILLIS_PER_DAY);
    let (year, month, day) = civil(days);
    Value::Int(match function {
        Function::Year => year,
        Function::Month => month.into(),
        Function::Day => day.into(),
        Function::Hour => in_day / 3_600_000,
        Function::Minute => in_day / 60_000 % 60,
        Function::Second => in_day / 1000 % 60,
        Function::Millisecond => in_day % 1000,
        // 1970-01-01 was a Thursday.
        _ => (days + 3).rem_euclid(7) + 1,
    })
}
