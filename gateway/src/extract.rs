//! What handlers are given: the call with its headers, the graph, query parameters, JSON bodies.

mod body;
mod call;
mod headers;
mod params;
mod target;

pub(crate) use body::{JsonBody, OptionalJsonBody, object_text};
pub(crate) use call::{Budget, Call, GraphCall, RequestId, forwarded_metadata};
pub(crate) use params::{QueryParams, branch_name};
pub use target::AsOf;
pub(crate) use target::Selector;
