//! Tests over real tables in a temporary directory.

mod accept;
mod example;
mod fixture;
mod hops;
mod tables;
