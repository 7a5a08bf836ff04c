//! What no single module can show: every operation under faults at every durable write, random
//! operations against a model, and request counts that do not grow.
//!
//! | file | subject |
//! |---|---|
//! | `world` | a graph over a store that can be forked and made to fail |
//! | `matrix` | one operation, each of its writes, each fault, and pairs of faults |
//! | `operations` | the operations of the matrix |
//! | `doors` | every public operation is in the matrix, or only reads |
//! | `reads` | what only reads writes nothing |
//! | `rules` | the rules of the storage protocol, and the tests that break simpler ones |
//! | `model` | random operations against a model |
//! | `flat` | request counts over long histories and many types |
//! | `dice` | seeds that are handed in |

mod dice;
mod doors;
mod flat;
mod matrix;
mod model;
mod operations;
mod reads;
mod rules;
mod world;

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
