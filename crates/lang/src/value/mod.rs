//! Values: literals, parameters, defaults, and what they become as JSON and as identity.

mod base64;
mod coerce;
mod identity;
mod json;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic};

pub(crate) use coerce::time_literal;
pub use coerce::{coerce, compare};
pub use identity::{derive_id, spell};
pub use json::{Int64Style, from_json, from_json_param, parse_json_strict, to_json};
pub use time::{civil, format_date, format_datetime, parse_date, parse_datetime};

/// A value. Of an `I32` or `I64` it is an `Int`, of a `U32` or `U64` a `UInt`; an enum is a
/// `String`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    String(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds since 1970-01-01T00:00Z.
    DateTime(i64),
    /// Items of one type. Null items only in results and literals, never in stored data.
    List(Vec<Value>),
    Vector(Vec<f32>),
    Blob(Blob),
}

/// The content of a blob or where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blob {
    Bytes(Vec<u8>),
    Uri(String),
}

/// A value that does not fit, with the code that says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    pub code: Code,
    pub message: String,
}

impl Value {
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "Bool",
            Value::Int(_) | Value::UInt(_) => "an integer",
            Value::F32(_) | Value::F64(_) => "a float",
            Value::String(_) => "String",
            Value::Date(_) => "Date",
            Value::DateTime(_) => "DateTime",
            Value::List(_) => "a list",
            Value::Vector(_) => "a vector",
            Value::Blob(_) => "Blob",
        }
    }
}

impl ValueError {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<ValueError> for Diagnostic {
    fn from(error: ValueError) -> Self {
        Diagnostic::error(error.code, error.message)
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blob::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Blob::Uri(uri) => f.write_str(uri),
        }
    }
}
