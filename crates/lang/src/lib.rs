//! The two languages of Omnigraph: schemas (`.pg`) and queries (`.gq`).
//!
//! Text becomes tokens, tokens a syntax tree, and the syntax tree a checked form with every name
//! resolved: a [`schema::Catalog`] or a [`query::CheckedQuery`]. Each stage has one type, reports
//! every problem that it can find as a [`Diagnostic`], and does no input or output.

pub mod diagnostic;
pub mod format;
#[cfg(test)]
mod golden;
mod pattern;
pub mod query;
pub mod schema;
mod syntax;
pub mod value;

pub use diagnostic::{Code, Diagnostic, Severity, Span};
pub use value::{Blob, KeptBlob, ManagedBlob, Value, ValueError};
