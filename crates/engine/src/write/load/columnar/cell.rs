//! One cell of a column as a value of a property, where nothing is lost on the way.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ArrowNativeType;
use arrow_schema::{DataType as Arrow, TimeUnit};
use omnigraph_lang::Code;
use omnigraph_lang::schema::{DataType, Scalar};
use omnigraph_lang::value::{self, Blob, Value, ValueError};

use crate::write::shape::shorten;

const DAY_MILLIS: i64 = 86_400_000;

/// A cell before its property's type is looked at.
enum Raw<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// Unscaled, with the number of digits after the point.
    Decimal(i128, i8),
    Text(&'a str),
    Bytes(&'a [u8]),
    Days(i32),
    Millis(i64),
    Items(ArrayRef),
}

/// Whether cells of the column's type may be values of the property's type.
pub(super) fn accepts(wanted: &DataType, found: &Arrow) -> bool {
    let found = plain(found);
    if matches!(found, Arrow::Null) {
        return true;
    }
    match wanted {
        DataType::Scalar(scalar) => accepts_scalar(*scalar, found),
        DataType::Enum(_) => is_text(found),
        DataType::List(scalar) => item(found).is_some_and(|item| accepts_scalar(*scalar, item)),
        DataType::Vector(_) => item(found).is_some_and(is_number),
        DataType::Blob => is_text(found) || is_bytes(found),
    }
}

/// Whether the column holds texts.
pub(super) fn is_text(found: &Arrow) -> bool {
    matches!(
        plain(found),
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View
    )
}

/// Whether the cell is null, seen through dictionaries.
pub(super) fn is_null(array: &dyn Array, row: usize) -> bool {
    if array.is_null(row) || matches!(array.data_type(), Arrow::Null) {
        return true;
    }
    match array.data_type() {
        Arrow::Dictionary(_, _) => match entry(array, row) {
            Some((values, at)) => is_null(values, at),
            None => true,
        },
        _ => false,
    }
}

/// The text of a cell that is not null, if it is one.
pub(super) fn text(array: &dyn Array, row: usize) -> Option<&str> {
    match array.data_type() {
        Arrow::Utf8 => Some(array.as_string::<i32>().value(row)),
        Arrow::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        Arrow::Utf8View => Some(array.as_string_view().value(row)),
        Arrow::Dictionary(_, _) => {
            let (values, at) = entry(array, row)?;
            text(values, at)
        }
        _ => None,
    }
}

/// A cell that is not null as a value of this type.
pub(super) fn cell(array: &dyn Array, row: usize, wanted: &DataType) -> Result<Value, ValueError> {
    let found = raw(array, row)?;
    match (wanted, found) {
        (DataType::Scalar(scalar), found) => fit(found, *scalar),
        (DataType::Enum(_), Raw::Text(text)) => {
            value::coerce(Value::String(text.to_owned()), wanted)
        }
        (DataType::List(scalar), Raw::Items(items)) => {
            let items = (0..items.len()).map(|at| fit(raw(items.as_ref(), at)?, *scalar));
            items.collect::<Result<_, _>>().map(Value::List)
        }
        (DataType::Vector(_), Raw::Items(items)) => {
            let number = |at| match raw(items.as_ref(), at)? {
                Raw::Null => Ok(Value::Null),
                found => fit_any_number(&found),
            };
            let items = (0..items.len()).map(number).collect::<Result<_, _>>()?;
            value::coerce(Value::List(items), wanted)
        }
        (DataType::Blob, Raw::Bytes(bytes)) => Ok(Value::Blob(Blob::Bytes(bytes.to_vec()))),
        (DataType::Blob, Raw::Text(text)) => value::coerce(Value::String(text.to_owned()), wanted),
        (_, found) => Err(wrong_kind(&wanted.to_string(), &found)),
    }
}

fn plain(found: &Arrow) -> &Arrow {
    match found {
        Arrow::Dictionary(_, values) => plain(values),
        other => other,
    }
}

fn accepts_scalar(wanted: Scalar, found: &Arrow) -> bool {
    let found = plain(found);
    if matches!(found, Arrow::Null) {
        return true;
    }
    let integer = found.is_integer();
    let decimal = found.is_decimal();
    let time = matches!(
        found,
        Arrow::Date32 | Arrow::Date64 | Arrow::Timestamp(_, _)
    );
    match wanted {
        Scalar::String => is_text(found),
        Scalar::Bool => matches!(found, Arrow::Boolean),
        Scalar::I32 | Scalar::U32 => integer || decimal,
        Scalar::I64 | Scalar::U64 => integer || decimal || is_text(found),
        Scalar::F32 | Scalar::F64 => is_number(found),
        Scalar::Date | Scalar::DateTime => time || integer || is_text(found),
    }
}

fn is_number(found: &Arrow) -> bool {
    let found = plain(found);
    found.is_integer() || found.is_floating() || found.is_decimal()
}

fn is_bytes(found: &Arrow) -> bool {
    matches!(
        found,
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_)
    )
}

fn item(found: &Arrow) -> Option<&Arrow> {
    match found {
        Arrow::List(field) | Arrow::LargeList(field) | Arrow::FixedSizeList(field, _) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

fn raw(array: &dyn Array, row: usize) -> Result<Raw<'_>, ValueError> {
    macro_rules! number {
        ($kind:ty) => {
            Raw::Int(i128::from(array.as_primitive::<$kind>().value(row)))
        };
    }
    macro_rules! decimal {
        ($kind:ty, $scale:expr) => {
            Raw::Decimal(
                i128::from(array.as_primitive::<$kind>().value(row)),
                *$scale,
            )
        };
    }
    if array.is_null(row) {
        return Ok(Raw::Null);
    }
    Ok(match array.data_type() {
        Arrow::Null => Raw::Null,
        Arrow::Boolean => Raw::Bool(array.as_boolean().value(row)),
        Arrow::Int8 => number!(Int8Type),
        Arrow::Int16 => number!(Int16Type),
        Arrow::Int32 => number!(Int32Type),
        Arrow::Int64 => number!(Int64Type),
        Arrow::UInt8 => number!(UInt8Type),
        Arrow::UInt16 => number!(UInt16Type),
        Arrow::UInt32 => number!(UInt32Type),
        Arrow::UInt64 => number!(UInt64Type),
        Arrow::Float16 => Raw::Float(f64::from(array.as_primitive::<Float16Type>().value(row))),
        Arrow::Float32 => Raw::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        Arrow::Float64 => Raw::Float(array.as_primitive::<Float64Type>().value(row)),
        Arrow::Decimal32(_, scale) => decimal!(Decimal32Type, scale),
        Arrow::Decimal64(_, scale) => decimal!(Decimal64Type, scale),
        Arrow::Decimal128(_, scale) => decimal!(Decimal128Type, scale),
        Arrow::Decimal256(_, scale) => {
            let wide = array.as_primitive::<Decimal256Type>().value(row);
            let narrow = wide.to_i128().ok_or_else(|| {
                ValueError::new(Code::R407, format!("{wide} has too many digits"))
            })?;
            Raw::Decimal(narrow, *scale)
        }
        Arrow::Date32 => Raw::Days(array.as_primitive::<Date32Type>().value(row)),
        Arrow::Date64 => Raw::Millis(array.as_primitive::<Date64Type>().value(row)),
        Arrow::Timestamp(unit, _) => Raw::Millis(millis(array, row, *unit)?),
        Arrow::Binary => Raw::Bytes(array.as_binary::<i32>().value(row)),
        Arrow::LargeBinary => Raw::Bytes(array.as_binary::<i64>().value(row)),
        Arrow::BinaryView => Raw::Bytes(array.as_binary_view().value(row)),
        Arrow::FixedSizeBinary(_) => Raw::Bytes(array.as_fixed_size_binary().value(row)),
        Arrow::List(_) => Raw::Items(array.as_list::<i32>().value(row)),
        Arrow::LargeList(_) => Raw::Items(array.as_list::<i64>().value(row)),
        Arrow::FixedSizeList(_, _) => Raw::Items(array.as_fixed_size_list().value(row)),
        Arrow::Dictionary(_, _) => match entry(array, row) {
            Some((values, at)) => raw(values, at)?,
            None => Raw::Null,
        },
        other => match text(array, row) {
            Some(text) => Raw::Text(text),
            None => {
                return Err(ValueError::new(
                    Code::R406,
                    format!("a column of type {other} has no place in a graph"),
                ));
            }
        },
    })
}

/// Beyond milliseconds a time is cut off.
fn millis(array: &dyn Array, row: usize, unit: TimeUnit) -> Result<i64, ValueError> {
    Ok(match unit {
        TimeUnit::Second => {
            let seconds = array.as_primitive::<TimestampSecondType>().value(row);
            seconds.checked_mul(1000).ok_or_else(|| {
                ValueError::new(Code::R408, format!("{seconds} s is no date and time"))
            })?
        }
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            micros.div_euclid(1000)
        }
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            nanos.div_euclid(1_000_000)
        }
    })
}

/// The values of a dictionary, and which one the row has.
pub(super) fn entry(array: &dyn Array, row: usize) -> Option<(&dyn Array, usize)> {
    fn of<K: ArrowDictionaryKeyType>(array: &dyn Array, row: usize) -> Option<(&dyn Array, usize)> {
        let array = array.as_dictionary_opt::<K>()?;
        let at = array.keys().value(row).as_usize();
        (at < array.values().len()).then(|| (array.values().as_ref(), at))
    }
    let Arrow::Dictionary(keys, _) = array.data_type() else {
        return None;
    };
    match keys.as_ref() {
        Arrow::Int8 => of::<Int8Type>(array, row),
        Arrow::Int16 => of::<Int16Type>(array, row),
        Arrow::Int32 => of::<Int32Type>(array, row),
        Arrow::Int64 => of::<Int64Type>(array, row),
        Arrow::UInt8 => of::<UInt8Type>(array, row),
        Arrow::UInt16 => of::<UInt16Type>(array, row),
        Arrow::UInt32 => of::<UInt32Type>(array, row),
        Arrow::UInt64 => of::<UInt64Type>(array, row),
        _ => None,
    }
}

fn fit(found: Raw<'_>, scalar: Scalar) -> Result<Value, ValueError> {
    match (scalar, found) {
        (Scalar::String, Raw::Text(text)) => Ok(Value::String(text.to_owned())),
        (Scalar::Bool, Raw::Bool(value)) => Ok(Value::Bool(value)),
        (Scalar::I64 | Scalar::U64, Raw::Text(text)) => {
            value::from_json(&text.into(), &DataType::Scalar(scalar))
        }
        (scalar, Raw::Int(number)) if scalar.is_integer() => integer(number, scalar),
        (scalar, Raw::Decimal(digits, scale)) if scalar.is_integer() => {
            integer(whole(digits, scale)?, scalar)
        }
        (scalar, Raw::Float(x)) if scalar.is_float() => {
            value::coerce(Value::F64(x), &DataType::Scalar(scalar))
        }
        (scalar, Raw::Int(number)) if scalar.is_float() => exact_float(number, 0, scalar),
        (scalar, Raw::Decimal(digits, scale)) if scalar.is_float() => {
            exact_float(digits, scale, scalar)
        }
        (Scalar::Date, Raw::Days(days)) => Ok(Value::Date(days)),
        (Scalar::Date, Raw::Millis(millis)) => i32::try_from(millis.div_euclid(DAY_MILLIS))
            .map(Value::Date)
            .map_err(|_| ValueError::new(Code::R408, format!("{millis} ms is no date"))),
        (Scalar::Date, Raw::Int(days)) => i32::try_from(days)
            .map(Value::Date)
            .map_err(|_| ValueError::new(Code::R408, format!("{days} is no date"))),
        (Scalar::DateTime, Raw::Days(days)) => Ok(Value::DateTime(i64::from(days) * DAY_MILLIS)),
        (Scalar::DateTime, Raw::Millis(millis)) => Ok(Value::DateTime(millis)),
        (Scalar::DateTime, Raw::Int(millis)) => i64::try_from(millis)
            .map(Value::DateTime)
            .map_err(|_| ValueError::new(Code::R408, format!("{millis} is no date and time"))),
        (Scalar::Date | Scalar::DateTime, Raw::Text(text)) => {
            value::from_json(&text.into(), &DataType::Scalar(scalar))
        }
        (scalar, found) => Err(wrong_kind(&scalar.to_string(), &found)),
    }
}

/// A component of a vector, which is rounded to F32.
fn fit_any_number(found: &Raw<'_>) -> Result<Value, ValueError> {
    match found {
        Raw::Float(x) => Ok(Value::F64(*x)),
        Raw::Int(number) => exact_float(*number, 0, Scalar::F64),
        Raw::Decimal(digits, scale) => exact_float(*digits, *scale, Scalar::F64),
        found => Err(wrong_kind("a number", found)),
    }
}

fn integer(number: i128, scalar: Scalar) -> Result<Value, ValueError> {
    let wanted = DataType::Scalar(scalar);
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => value::coerce(Value::Int(number), &wanted),
        (_, Ok(number)) => value::coerce(Value::UInt(number), &wanted),
        _ => Err(ValueError::new(
            Code::R407,
            format!("{number} is out of range for {scalar}"),
        )),
    }
}

/// A decimal without digits after its point.
fn whole(digits: i128, scale: i8) -> Result<i128, ValueError> {
    let power = 10_i128.checked_pow(u32::from(scale.unsigned_abs()));
    let number = match (power, scale < 0) {
        (Some(power), true) => digits.checked_mul(power),
        (Some(power), false) => (digits % power == 0).then(|| digits / power),
        (None, _) => (digits == 0).then_some(0),
    };
    number.ok_or_else(|| {
        ValueError::new(
            Code::R406,
            format!("expected an integer, found {}", written(digits, scale)),
        )
    })
}

/// A float that is written with the same digits.
fn exact_float(digits: i128, scale: i8, scalar: Scalar) -> Result<Value, ValueError> {
    let inexact = || {
        let number = written(digits, scale);
        ValueError::new(
            Code::R407,
            format!("{number} has more digits than {scalar} holds"),
        )
    };
    let (mut kept, mut dropped) = (digits, 0_i32);
    while kept != 0 && kept % 10 == 0 {
        kept /= 10;
        dropped += 1;
    }
    let most: i128 = match scalar {
        Scalar::F32 => 1_000_000,
        _ => 1_000_000_000_000_000,
    };
    let exponent = dropped - i32::from(scale);
    let x: f64 = format!("{kept}e{exponent}")
        .parse()
        .map_err(|_| inexact())?;
    // Fifteen digits always survive; an integer may have more and still be exact.
    #[allow(clippy::cast_possible_truncation, reason = "compared right away")]
    let survives = kept.abs() < most
        || (scale == 0 && scalar != Scalar::F32 && x.abs() < 1e30 && x as i128 == digits)
        || (scale == 0 && scalar == Scalar::F32 && f64::from(x as f32) as i128 == digits);
    if !survives {
        return Err(inexact());
    }
    value::coerce(Value::F64(x), &DataType::Scalar(scalar))
}

fn written(digits: i128, scale: i8) -> String {
    match scale {
        0 => digits.to_string(),
        scale => format!("{digits}e{}", -i32::from(scale)),
    }
}

fn wrong_kind(expected: &str, found: &Raw<'_>) -> ValueError {
    let found = match found {
        Raw::Null => "null".to_owned(),
        Raw::Bool(value) => value.to_string(),
        Raw::Int(number) => number.to_string(),
        Raw::Float(number) => number.to_string(),
        Raw::Decimal(digits, scale) => written(*digits, *scale),
        Raw::Text(text) => format!("the text {}", shorten(text)),
        Raw::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Raw::Days(days) => value::format_date(*days),
        Raw::Millis(millis) => value::format_datetime(*millis),
        Raw::Items(_) => "a list".to_owned(),
    };
    ValueError::new(Code::R406, format!("expected {expected}, found {found}"))
}
