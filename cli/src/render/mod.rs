//! Pure functions from results to text. The whole outputs are under test in `golden/`.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod cleanup;
pub(crate) mod commit;
pub(crate) mod csv;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod maintenance;
pub(crate) mod merge;
pub(crate) mod operation;
pub(crate) mod plan;
pub(crate) mod pretty;
pub(crate) mod query;
pub(crate) mod resources;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod golden;
