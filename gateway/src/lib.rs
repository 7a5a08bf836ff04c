//! The public HTTP surface of omnigraph: a handler decodes, calls one RPC, encodes.
//!
//! | module | content |
//! |---|---|
//! | `app` | [`router`]: routes, layers, errors of the framework |
//! | `upstream` | [`Upstream`]: the replica behind it, over the network or in this process |
//! | `options` | [`Options`]: limits and time budgets |
//! | [`shapes`] | bodies of requests and answers |
//! | `routes` | the handlers |
//! | `extract` | what a handler is given: the call, path, query parameters, body |
//! | `answer`, `errors`, `formats` | answers, refusals, streamed results |
//! | `serve` | [`serve`]: one accept loop for HTTP/1.1 and h2c |
//!
//! The gateway holds no rules: it authenticates and authorizes nobody and knows no graph.

mod answer;
mod app;
mod errors;
mod extract;
mod formats;
mod options;
mod routes;
mod serve;
pub mod shapes;
mod upstream;

#[cfg(test)]
mod tests;

pub use app::router;
pub use options::{OptionArgs, Options};
pub use serve::serve;
pub use upstream::{AddressError, MESSAGE_BYTES_MAX, Transport, Upstream};

/// Version of the storage format, as clients see it.
pub const INTERNAL_SCHEMA_VERSION: u32 = 1;
