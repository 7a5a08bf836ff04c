//! The functions of section 6.3.

use omnigraph_lang::Code;
use omnigraph_lang::query::{Expr, ExprType, Function};
use omnigraph_lang::value::{Int64Style, Value, format_datetime, to_json};

use super::expr::{Evaluated, Scope, as_type, fit, integer};

pub(super) fn call(scope: Scope<'_>, function: Function, args: &[Expr], ty: ExprType) -> Evaluated {
    if function == Function::Coalesce {
        for arg in args {
            let value = scope.eval(arg)?;
            if !value.is_null() {
                return as_type(value, ty);
            }
        }
        return Ok(Value::Null);
    }
    let mut values = Vec::new();
    for arg in args {
        values.push(scope.eval(arg)?);
    }
    if function == Function::Matches
        && let Value::String(pattern) = &values[1]
        && regex::Regex::new(pattern).is_err()
    {
        return Err(Code::R443);
    }
    if values.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    match function {
        Function::Substring => substring(&values),
        Function::Abs | Function::Floor | Function::Ceil | Function::Round => {
            number(function, &values, ty)
        }
        Function::Matches => {
            let (Value::String(text), Value::String(pattern)) = (&values[0], &values[1]) else {
                panic!("matches takes texts");
            };
            Ok(Value::Bool(
                regex::Regex::new(pattern).expect("checked").is_match(text),
            ))
        }
        Function::Size => Ok(Value::Int(match &values[0] {
            Value::List(items) => items.len() as i64,
            Value::Vector(items) => items.len() as i64,
            other => panic!("{other:?} has no size"),
        })),
        Function::Lower | Function::Upper | Function::Trim | Function::Length => {
            let Value::String(text) = &values[0] else {
                panic!("a text is expected");
            };
            Ok(match function {
                Function::Lower => Value::String(text.to_lowercase()),
                Function::Upper => Value::String(text.to_uppercase()),
                Function::Trim => Value::String(text.trim().to_owned()),
                _ => Value::Int(text.chars().count() as i64),
            })
        }
        _ => Ok(Value::Int(calendar(function, &values[0]))),
    }
}

fn substring(values: &[Value]) -> Evaluated {
    let Value::String(text) = &values[0] else {
        panic!("a text is expected");
    };
    let chars: Vec<char> = text.chars().collect();
    let from = integer(&values[1]);
    let len = values.get(2).map_or(i128::from(i64::MAX), integer);
    if from < 0 || len < 0 {
        return Err(Code::R443);
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(chars.len());
    let end = usize::try_from(len)
        .unwrap_or(usize::MAX)
        .saturating_add(from)
        .min(chars.len());
    Ok(Value::String(chars[from..end].iter().collect()))
}

fn number(function: Function, values: &[Value], ty: ExprType) -> Evaluated {
    let digits = values.get(1).map_or(0, integer).clamp(-400, 400) as i32;
    match &values[0] {
        value @ (Value::Int(_) | Value::UInt(_)) => {
            let n = integer(value);
            let n = match function {
                Function::Abs => n.abs(),
                Function::Round if digits < -30 => 0,
                Function::Round if digits < 0 => {
                    let unit = 10i128.pow(digits.unsigned_abs());
                    let down = n / unit * unit;
                    match (n - down).abs() * 2 >= unit {
                        true => down + unit * n.signum(),
                        false => down,
                    }
                }
                _ => n,
            };
            fit(n, ty)
        }
        Value::F32(x) => Ok(Value::F32(match function {
            Function::Abs => x.abs(),
            Function::Floor => x.floor(),
            Function::Ceil => x.ceil(),
            _ => round(&x.to_string(), digits).parse().expect("a number"),
        })),
        Value::F64(x) => Ok(Value::F64(match function {
            Function::Abs => x.abs(),
            Function::Floor => x.floor(),
            Function::Ceil => x.ceil(),
            _ => round(&x.to_string(), digits).parse().expect("a number"),
        })),
        other => panic!("{other:?} is no number"),
    }
}

/// Half away from zero, of the decimal digits that stand for the number.
fn round(text: &str, digits: i32) -> String {
    let Some(unsigned) = text.strip_prefix('-') else {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.to_owned();
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut all: Vec<u8> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|b| b - b'0')
            .collect();
        let keep = whole.len() as i32 + digits;
        if keep >= all.len() as i32 {
            return text.to_owned();
        }
        if keep < 0 {
            return "0".to_owned();
        }
        let up = all[keep as usize] >= 5;
        for digit in &mut all[keep as usize..] {
            *digit = 0;
        }
        let mut at = keep as usize;
        let mut carry = up;
        while carry {
            if at == 0 {
                all.insert(0, 1);
                let text: String = all.iter().map(|d| char::from(b'0' + d)).collect();
                let (whole, fraction) = text.split_at(whole.len() + 1);
                return format!("{whole}.{fraction}0");
            }
            at -= 1;
            all[at] += 1;
            carry = all[at] == 10;
            if carry {
                all[at] = 0;
            }
        }
        let text: String = all.iter().map(|d| char::from(b'0' + d)).collect();
        let (whole, fraction) = text.split_at(whole.len());
        return format!("{whole}.{fraction}0");
    };
    format!("-{}", round(unsigned, digits))
}

/// Read off the text of the time.
fn calendar(function: Function, value: &Value) -> i64 {
    let millis = match value {
        Value::Date(days) => i64::from(*days) * 86_400_000,
        Value::DateTime(millis) => *millis,
        other => panic!("{other:?} is no time"),
    };
    let text = format_datetime(millis);
    let (date, time) = text.split_once('T').expect("a time");
    let (date, day) = date.rsplit_once('-').expect("a day");
    let (year, month) = date.rsplit_once('-').expect("a month");
    let part = |text: &str| text.parse::<i64>().expect("a number");
    match function {
        Function::Year => part(year),
        Function::Month => part(month),
        Function::Day => part(day),
        Function::Hour => part(&time[0..2]),
        Function::Minute => part(&time[3..5]),
        Function::Second => part(&time[6..8]),
        Function::Millisecond => part(&time[9..12]),
        Function::Weekday => {
            // 2024-01-01 was a Monday.
            let days = millis.div_euclid(86_400_000) - 19723;
            days.rem_euclid(7) + 1
        }
        other => panic!("{other:?} is not about times"),
    }
}

/// A value as results show it.
pub(super) fn shown(value: &Value) -> serde_json::Value {
    to_json(value, Int64Style::Number)
}
