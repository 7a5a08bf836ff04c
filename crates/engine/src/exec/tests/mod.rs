//! Tests over real tables in a temporary directory.

mod accept;
mod deadline;
mod embedding;
mod example;
mod explain;
mod fixture;
mod hops;
mod more;
mod reference;
mod semantics;
mod tables;
