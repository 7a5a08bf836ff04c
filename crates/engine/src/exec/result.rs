//! What a query returns, as Arrow columns and as JSON.

use std::fmt::Write;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use omnigraph_lang::Diagnostic;
use omnigraph_lang::query::ExprType;
use omnigraph_lang::value::{format_date, format_datetime};

/// The largest integer that every JSON reader takes exactly.
const MAX_SAFE_INTEGER: i128 = (1 << 53) - 1;

/// Bounds of one query.
#[derive(Clone, Debug)]
pub struct QueryLimits {
    /// When the query has to be done.
    pub deadline: Option<Instant>,
    /// Rows of the result.
    pub max_rows: Option<u64>,
    /// Bytes that one operator's output may take.
    pub memory_bytes: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            deadline: None,
            max_rows: None,
            memory_bytes: 1 << 30,
        }
    }
}

/// The rows that a query returned.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The columns in order.
    pub columns: Vec<ResultColumn>,
    /// Rows, one Arrow column per result column.
    pub batches: Vec<RecordBatch>,
    /// What it took.
    pub stats: QueryStats,
    /// Of the parameters.
    pub warnings: Vec<Diagnostic>,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// Unique in the result.
    pub name: String,
    /// The type of its values.
    pub ty: ExprType,
    /// Whether a value can be null.
    pub nullable: bool,
}

/// What a query took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// From start to end of the execution.
    pub elapsed_us: u64,
    /// Rows that the operators looked at.
    pub rows_scanned: u64,
    /// The most that one operator's output took.
    pub peak_memory_bytes: u64,
}

impl QueryResult {
    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// The rows as JSON objects, values as in section 12 of the query language.
pub fn rows_to_json(
    result: &QueryResult,
    int64_as_string: bool,
) -> impl Iterator<Item = String> + '_ {
    let names: Vec<String> = result
        .columns
        .iter()
        .map(|column| serde_json::Value::from(column.name.as_str()).to_string())
        .collect();
    let mut last = 64;
    result.batches.iter().flat_map(move |batch| {
        let names = names.clone();
        (0..batch.num_rows()).map(move |row| {
            let mut text = String::with_capacity(last + 32);
            for (at, name) in names.iter().enumerate() {
                text.push(if at == 0 { '{' } else { ',' });
                text.push_str(name);
                text.push(':');
                write_cell(&mut text, batch.column(at), row, int64_as_string);
            }
            text.push('}');
            last = text.len();
            text
        })
    })
}

fn write_cell(out: &mut String, array: &dyn Array, row: usize, int64_as_string: bool) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(match array.as_boolean().value(row) {
            true => "true",
            false => "false",
        }),
        DataType::Int32 => integer(
            out,
            array.as_primitive::<Int32Type>().value(row).into(),
            false,
        ),
        DataType::UInt32 => integer(
            out,
            array.as_primitive::<UInt32Type>().value(row).into(),
            false,
        ),
        DataType::Int64 => {
            integer(
                out,
                array.as_primitive::<Int64Type>().value(row).into(),
                int64_as_string,
            );
        }
        DataType::UInt64 => {
            integer(
                out,
                array.as_primitive::<UInt64Type>().value(row).into(),
                int64_as_string,
            );
        }
        DataType::Float32 => float(out, array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => {
            let text = format_date(array.as_primitive::<Date32Type>().value(row));
            quoted(out, &text);
        }
        DataType::Timestamp(..) => {
            let millis = array.as_primitive_opt::<TimestampMillisecondType>();
            quoted(out, &format_datetime(millis.map_or(0, |a| a.value(row))));
        }
        DataType::Utf8 => quoted(out, array.as_string::<i32>().value(row)),
        DataType::List(_) => items(out, &array.as_list::<i32>().value(row), int64_as_string),
        DataType::Struct(fields) => {
            out.push('{');
            for (at, (field, member)) in fields.iter().zip(array.as_struct().columns()).enumerate()
            {
                if at > 0 {
                    out.push(',');
                }
                quoted(out, field.name());
                out.push(':');
                write_cell(out, member, row, int64_as_string);
            }
            out.push('}');
        }
        DataType::FixedSizeList(..) => {
            items(out, &array.as_fixed_size_list().value(row), int64_as_string);
        }
        _ => out.push_str("null"),
    }
}

fn items(out: &mut String, items: &dyn Array, int64_as_string: bool) {
    out.push('[');
    for at in 0..items.len() {
        if at > 0 {
            out.push(',');
        }
        write_cell(out, items, at, int64_as_string);
    }
    out.push(']');
}

fn integer(out: &mut String, value: i128, as_string: bool) {
    let quote = as_string && value.abs() > MAX_SAFE_INTEGER;
    // Writing to a string cannot fail.
    let _ = match (quote, i64::try_from(value)) {
        (true, _) => write!(out, "\"{value}\""),
        (false, Ok(value)) => write!(out, "{value}"),
        (false, Err(_)) => write!(out, "{value}"),
    };
}

fn float(out: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        // The shortest text that reads back.
        Some(number) => {
            let _ = write!(out, "{number}");
        }
        None if value.is_nan() => out.push_str("\"NaN\""),
        None if value > 0.0 => out.push_str("\"Infinity\""),
        None => out.push_str("\"-Infinity\""),
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
