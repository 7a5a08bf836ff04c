//! How a verb reaches the planes. The shapes are the same over the network and in this process.

pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod embedded;
pub(crate) mod shapes;
