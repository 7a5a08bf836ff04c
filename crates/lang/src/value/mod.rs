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
pub use coerce::{blob_from_text, coerce, compare};
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
    /// An object that a write names and that nobody has looked at yet.
    Uri(String),
    /// What a stored cell holds.
    Kept(KeptBlob),
}

/// Where the content of a stored blob lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBlob {
    /// An immutable object of the graph's storage.
    Managed(ManagedBlob),
    /// An object outside of it.
    External { uri: String },
}

/// The content of a blob in the graph's own storage. Two are equal if their content is, wherever it
/// lies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManagedBlob {
    /// Relative to the table: a directory, then `<ulid>-<sha256>.blob`, or `<ulid>.blob` where the
    /// content was never seen as a whole.
    pub path: String,
    pub size: u64,
}

impl PartialEq for ManagedBlob {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.etag() == other.etag()
    }
}

impl Eq for ManagedBlob {}

impl ManagedBlob {
    /// Equal tags mean equal bytes: the digest of the content where it is known, else the name of
    /// the object, which is written once.
    #[must_use]
    pub fn etag(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let stem = name.strip_suffix(".blob").unwrap_or(name);
        stem.split_once('-').map_or(stem, |(_, digest)| digest)
    }
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
            Blob::Uri(uri) | Blob::Kept(KeptBlob::External { uri }) => f.write_str(uri),
            Blob::Kept(KeptBlob::Managed(blob)) => write!(f, "{} bytes", blob.size),
        }
    }
}
