//! Tests over real tables in a temporary directory.

mod accept;
mod example;
mod fixture;
mod hops;
mod more;
mod reference;
mod tables;
