//! The data plane: replicas that serve the graphs of one applied revision.
//!
//! | module | content |
//! |---|---|
//! | `options` | [`Options`]: what a replica is given |
//! | `replica` | [`Replica`]: the handle of a running replica |
//! | `loader` | the task that follows revisions and builds generations |
//! | `state` | states of graphs, retries: the machine behind the loader |
//! | `generation` | one graph, ready to serve |
//! | `authorize` | who may do what |
//! | `embedding` | its embedding provider, which makes vectors of texts |
//! | `link` | the way to a control plane: the network, or a stand-in |
//! | [`revision_source`] | where revisions come from |
//! | `sync` | the stream to the control plane |
//! | `upkeep` | automatic maintenance of the graphs |
//! | `service` | gRPC: graphs, readiness |
//! | `serve` | [`serve`]: gRPC and the embedded gateway on their listeners, and their end |
//!
//! A replica keeps no state of its own: everything durable is the engine's and the control plane's.

// Whether a query's future may be sent is decided through all that it holds, down to the engine.
#![recursion_limit = "256"]

mod authorize;
mod embedding;
mod generation;
mod link;
mod loader;
mod options;
mod replica;
pub mod revision_source;
mod serve;
mod service;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod upkeep;

pub use embedding::Environment;
pub use options::{Access, Boot, Control, Options};
pub use replica::{BootError, Replica};
pub use serve::{ServeOptions, serve};
pub use state::{Phase, ReasonCode, Trouble};
