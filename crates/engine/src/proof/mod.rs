//! What no single module can show: every operation under faults at every durable write, random
//! operations against a model, and request counts that do not grow.
//!
//! | file | subject |
//! |---|---|
//! | `world` | a graph over a store that can be forked and made to fail |
//! | `matrix` | one operation, each of its writes, each fault |
//! | `operations` | the operations of the matrix |
//! | `model` | random operations against a model |
//! | `flat` | request counts over long histories and many types |

mod flat;
mod matrix;
mod model;
mod operations;
mod world;
