//! Writing: mutations and loads, and what both must satisfy.
//!
//! Both reduce the rows that they add to [`added::Added`] and check the state that they would
//! leave behind with [`validate::FinalState`]; then each touched table gets one new version, and
//! one append makes them all visible.

pub(crate) mod added;
mod blobs;
mod embedding;
mod entity;
pub(crate) mod keys;
mod load;
mod mutate;
mod overlay;
pub(crate) mod rows;
pub(crate) mod shape;
mod statement;
pub(crate) mod validate;
pub(crate) mod view;
pub(crate) mod violations;

#[cfg(test)]
mod tests;

pub(crate) use added::member_name;
pub(crate) use keys::TupleHasher;
pub(crate) use shape::{Shape, shorten};
pub(crate) use view::View;

pub use load::{
    LoadEncoding, LoadFormat, LoadMode, LoadOptions, LoadOutcome, LoadPhase, LoadProgress,
    LoadSession, LoadType, LoadWatch,
};
pub use mutate::MutationOutcome;
pub use statement::StatementOutcome;
