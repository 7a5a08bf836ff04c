//! What every process of omnigraph does the same way: write its log and stop.
//!
//! - [`log`]: log lines on stderr, as text or JSON, filtered by `RUST_LOG`.
//! - [`Shutdown`]: SIGTERM or SIGINT → a cancelled token → a drain with a bound.

pub mod log;
mod shutdown;

pub use shutdown::{Drained, Shutdown};
