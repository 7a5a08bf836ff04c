//! JSON to values and back.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Json};

use super::coerce::{blob_from_text, fit_float, fit_integer};
use super::{Blob, KeptBlob, Value, ValueError, base64, time};
use crate::diagnostic::Code;
use crate::schema::{DataType, Scalar};

/// How integers that other programs may read as doubles are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Int64Style {
    #[default]
    Number,
    /// Beyond ±(2⁵³−1) as decimal strings.
    String,
}

/// A value out of a data file (schema language, section 8).
///
/// # Errors
/// R406 for JSON of another kind, null included; R407, R408, R409, R411, R420 for content.
pub fn from_json(json: &Json, data_type: &DataType) -> Result<Value, ValueError> {
    match data_type {
        DataType::Scalar(scalar) => scalar_from_json(json, *scalar),
        DataType::Enum(members) => {
            let text = expect_str(json, "a string")?;
            enum_member(text, members).map_err(|message| ValueError::new(Code::R411, message))
        }
        DataType::List(scalar) => expect_array(json)?
            .iter()
            .map(|item| scalar_from_json(item, *scalar))
            .collect::<Result<_, _>>()
            .map(Value::List),
        DataType::Vector(width) => vector_from_json(expect_array(json)?, *width),
        DataType::Blob => blob_from_text(expect_str(json, "a string")?).map(Value::Blob),
    }
}

/// A value of a query parameter (query language, section 4). The stricter kinds apply: dates are
/// texts, integers numbers or decimal texts.
///
/// # Errors
/// R432.
pub fn from_json_param(json: &Json, data_type: &DataType) -> Result<Value, ValueError> {
    let scalar = |json: &Json, scalar: Scalar| match (scalar, json) {
        (Scalar::Date | Scalar::DateTime, Json::Number(_)) => Err(wrong_kind("a string", json)),
        (Scalar::I32 | Scalar::U32, Json::String(text)) => integer_from_text(text, scalar),
        _ => scalar_from_json(json, scalar),
    };
    let value = match data_type {
        DataType::Scalar(s) => scalar(json, *s),
        DataType::List(s) => expect_array(json).and_then(|items| {
            let items: Result<_, _> = items.iter().map(|item| scalar(item, *s)).collect();
            items.map(Value::List)
        }),
        _ => from_json(json, data_type),
    };
    value.map_err(|e| ValueError::new(Code::R432, e.message))
}

/// The value as in results (query language, section 12).
#[must_use]
pub fn to_json(value: &Value, style: Int64Style) -> Json {
    const EXACT: u64 = (1 << 53) - 1;
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) if style == Int64Style::String && i.unsigned_abs() > EXACT => {
            Json::String(i.to_string())
        }
        Value::Int(i) => Json::from(*i),
        Value::UInt(u) if style == Int64Style::String && *u > EXACT => Json::String(u.to_string()),
        Value::UInt(u) => Json::from(*u),
        Value::F32(x) => float_to_json(f64::from(*x)),
        Value::F64(x) => float_to_json(*x),
        Value::String(text) => Json::String(text.clone()),
        Value::Date(days) => Json::String(time::format_date(*days)),
        Value::DateTime(millis) => Json::String(time::format_datetime(*millis)),
        Value::List(items) => Json::Array(items.iter().map(|v| to_json(v, style)).collect()),
        Value::Vector(items) => {
            Json::Array(items.iter().map(|x| float_to_json(f64::from(*x))).collect())
        }
        Value::Blob(Blob::Bytes(bytes)) => {
            Json::String(format!("base64:{}", base64::encode(bytes)))
        }
        Value::Blob(Blob::Uri(uri) | Blob::Kept(KeptBlob::External { uri })) => {
            Json::String(uri.clone())
        }
        Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) => {
            serde_json::json!({ "size": blob.size, "etag": blob.etag() })
        }
    }
}

/// JSON text in which no object repeats a member.
///
/// # Errors
/// R401 for what is not JSON, R403 for a repeated member.
pub fn parse_json_strict(text: &str) -> Result<Json, ValueError> {
    let repeated = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = Strict(&repeated)
        .deserialize(&mut reader)
        .and_then(|json| reader.end().map(|()| json));
    match (parsed, repeated.into_inner()) {
        (_, Some(name)) => Err(ValueError::new(
            Code::R403,
            format!("the member `{name}` occurs twice"),
        )),
        (Ok(json), None) => Ok(json),
        (Err(e), None) => Err(ValueError::new(Code::R401, format!("not JSON: {e}"))),
    }
}

fn float_to_json(x: f64) -> Json {
    Number::from_f64(x).map_or_else(
        || {
            Json::from(if x.is_nan() {
                "NaN"
            } else if x > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        },
        Json::Number,
    )
}

fn scalar_from_json(json: &Json, scalar: Scalar) -> Result<Value, ValueError> {
    match scalar {
        Scalar::String => expect_str(json, "a string").map(|s| Value::String(s.to_owned())),
        Scalar::Bool => json
            .as_bool()
            .map(Value::Bool)
            .ok_or_else(|| wrong_kind("true or false", json)),
        Scalar::I32 | Scalar::U32 => integer_from_json(json, scalar),
        Scalar::I64 | Scalar::U64 => match json {
            Json::String(text) => integer_from_text(text, scalar),
            _ => integer_from_json(json, scalar),
        },
        Scalar::F32 | Scalar::F64 => match json {
            Json::Number(number) => fit_float(number.as_f64().unwrap_or(f64::NAN), scalar),
            _ => Err(wrong_kind("a number", json)),
        },
        Scalar::Date => match json {
            Json::String(text) => time::parse_date(text).map(Value::Date),
            Json::Number(number) => number
                .as_i64()
                .and_then(|n| i32::try_from(n).ok())
                .map(Value::Date),
            _ => return Err(wrong_kind("a date", json)),
        }
        .ok_or_else(|| not_a_time("date", json)),
        Scalar::DateTime => match json {
            Json::String(text) => time::parse_datetime(text).map(Value::DateTime),
            Json::Number(number) => number.as_i64().map(Value::DateTime),
            _ => return Err(wrong_kind("a date and time", json)),
        }
        .ok_or_else(|| not_a_time("date and time", json)),
    }
}

fn integer_from_json(json: &Json, scalar: Scalar) -> Result<Value, ValueError> {
    let Json::Number(number) = json else {
        return Err(wrong_kind("an integer", json));
    };
    if let Some(i) = number.as_i64() {
        return fit_integer(i128::from(i), scalar);
    }
    if let Some(u) = number.as_u64() {
        return fit_integer(i128::from(u), scalar);
    }
    // Written with a fraction or exponent, or larger than any integer type.
    match number.as_f64() {
        Some(x) if x.abs() >= 18_446_744_073_709_551_615.0 => Err(ValueError::new(
            Code::R407,
            format!("{number} is out of range for {scalar}"),
        )),
        _ => Err(wrong_kind("an integer", json)),
    }
}

fn integer_from_text(text: &str, scalar: Scalar) -> Result<Value, ValueError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueError::new(
            Code::R406,
            format!("expected an integer, found the text {}", shorten(text)),
        ));
    }
    match text.parse::<i128>() {
        Ok(number) => fit_integer(number, scalar),
        Err(_) => Err(ValueError::new(
            Code::R407,
            format!("{} is out of range for {scalar}", shorten(text)),
        )),
    }
}

fn vector_from_json(items: &[Json], width: u32) -> Result<Value, ValueError> {
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
            reason = "rounding to F32 is the rule"
        )]
        let x = item.as_f64().map_or(f32::NAN, |x| x as f32);
        if !x.is_finite() {
            return fail(format!(
                "a vector holds finite numbers only, found {}",
                shorten(&item.to_string())
            ));
        }
        vector.push(x);
    }
    Ok(Value::Vector(vector))
}

pub(super) fn enum_member(text: &str, members: &[String]) -> Result<Value, String> {
    if members.iter().any(|m| m == text) {
        Ok(Value::String(text.to_owned()))
    } else {
        Err(format!(
            "`{}` is none of {}",
            shorten(text),
            members.join(", ")
        ))
    }
}

fn expect_str<'a>(json: &'a Json, expected: &str) -> Result<&'a str, ValueError> {
    json.as_str().ok_or_else(|| wrong_kind(expected, json))
}

fn expect_array(json: &Json) -> Result<&[Json], ValueError> {
    json.as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| wrong_kind("an array", json))
}

fn wrong_kind(expected: &str, found: &Json) -> ValueError {
    let found = match found {
        Json::Null => "null".to_owned(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => n.to_string(),
        Json::String(text) => format!("the text {}", shorten(text)),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    };
    ValueError::new(Code::R406, format!("expected {expected}, found {found}"))
}

fn not_a_time(what: &str, json: &Json) -> ValueError {
    ValueError::new(
        Code::R408,
        format!("{} is no {what}", shorten(&json.to_string())),
    )
}

/// Values in messages are cut, because data may be large.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

/// Reads JSON and notes the first member that an object repeats.
#[derive(Clone, Copy)]
struct Strict<'r>(&'r RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(Json::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::from(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Json, E> {
        Ok(Json::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.borrow_mut().get_or_insert(name);
                return Err(de::Error::custom("repeated member"));
            }
            let value = map.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}
