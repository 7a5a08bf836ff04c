//! Where text goes: stdout is data, stderr is everything else.

use std::io::Write as _;

use crate::args::Format;
use crate::error::{Error, Exit, Result};
use crate::render::{csv, pretty, table};

/// The widest cell of a table; more is cut.
const CELL_MAX: usize = 60;

/// Writes results in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
}

/// A result, ready for each form that its verb offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    /// Goes to stderr before the data.
    pub(crate) header: Option<String>,
    /// For people. Empty: made from `items`.
    pub(crate) text: String,
    /// The whole as JSON.
    pub(crate) json: String,
    /// The first line of `jsonl`, if it has one.
    pub(crate) metadata: Option<String>,
    pub(crate) items: Option<Items>,
}

/// Rows of a list or fields of a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Which columns hold numbers only.
    pub(crate) numeric: Vec<bool>,
    /// Each row as JSON.
    pub(crate) json: Vec<String>,
    /// Whether the table has a line of column names.
    pub(crate) titled: bool,
}

impl Rendered {
    /// One line for people, one object for programs, fields for `kv`.
    pub(crate) fn record(text: impl Into<String>, fields: &[(&str, String)], json: &str) -> Self {
        let items = Items {
            columns: fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![fields.iter().map(|(_, value)| value.clone()).collect()],
            json: vec![json.to_owned()],
            ..Items::default()
        };
        Rendered {
            text: text.into(),
            json: json.to_owned(),
            items: Some(items),
            ..Rendered::default()
        }
    }

    /// Fields for people, one object for programs.
    pub(crate) fn fields(fields: &[(&str, String)], json: &str) -> Self {
        let shown: Vec<_> = fields.iter().filter(|(_, v)| !v.is_empty()).collect();
        let width = shown.iter().map(|(n, _)| n.len()).max().unwrap_or(0);
        let lines = shown.iter().map(|(n, v)| format!("{n:width$}  {v}"));
        let text = lines.collect::<Vec<_>>().join("\n");
        Rendered::record(text, fields, json)
    }

    /// A text for people and the object behind it.
    pub(crate) fn document(text: impl Into<String>, json: impl Into<String>) -> Self {
        Rendered {
            text: text.into(),
            json: json.into(),
            ..Rendered::default()
        }
    }

    /// The text that goes to stdout in this form.
    pub(crate) fn stdout(&self, format: Format) -> Result<String> {
        let text = match (format, &self.items) {
            (Format::Json, _) => pretty::pretty(&self.json),
            (Format::Table, Some(items)) if self.text.is_empty() => table::table(items, CELL_MAX),
            (Format::Table, _) => self.text.clone(),
            (Format::Kv, Some(items)) => table::blocks(items),
            (Format::Csv, Some(items)) => csv::csv(items),
            (Format::Jsonl, items) => {
                let rows = items.iter().flat_map(|items| &items.json);
                let lines: Vec<_> = self.metadata.iter().chain(rows).cloned().collect();
                lines.join("\n")
            }
            (other, None) => {
                return Err(Error::usage(format!("this result has no form {other:?}")));
            }
        };
        Ok(match text.as_str() {
            "" => text,
            text if text.ends_with('\n') => text.to_owned(),
            text => format!("{text}\n"),
        })
    }
}

impl Output {
    /// The result: header to stderr, data to stdout.
    pub(crate) fn show(&self, rendered: &Rendered) -> Result<()> {
        let text = rendered.stdout(self.format)?;
        if let (Some(header), Format::Table | Format::Kv) = (&rendered.header, self.format) {
            self.note(header);
        }
        self.data(&text)
    }

    /// Raw data. A reader that went away ends the command quietly.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        write_all(text.as_bytes())
    }

    /// A line on stderr that `--quiet` removes.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            stderr(line);
        }
    }

    /// A line on stderr that stays.
    pub(crate) fn warn(&self, line: &str) {
        stderr(&format!("warning: {line}"));
    }

    /// The error, for people or programs.
    pub(crate) fn error(&self, error: &Error) {
        if error.silent {
            return;
        }
        let text = if self.format.is_json() {
            error.for_programs()
        } else {
            error.for_people()
        };
        stderr(text.trim_end());
    }
}

/// Writes bytes to stdout.
pub(crate) fn write_all(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Error::silent(Exit::Failed),
        _ => Error::failed(format!("stdout: {e}")),
    })
}

fn stderr(line: &str) {
    // Nothing can be said when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
