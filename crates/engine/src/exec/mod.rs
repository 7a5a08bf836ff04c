//! Running reads.
//!
//! | module | subject |
//! |---|---|
//! | `snapshot_cache`, `table_snapshot`, `part_cache` | an immutable version of a table, what is derived from it, and the memory budget |
//! | `column`, `live`, `id_index`, `adjacency`, `text_index` | the derived parts, each built from that of an older version where possible |
//! | [`expr`], `scope`, `values` | expressions over columns |
//! | `execution`, `rows`, `pattern`, `expand`, `join`, `correlated`, `search` | matching: rows of ordinals, block by block |
//! | `rank`, `aggregate`, `order`, `read` | from matched rows to the result |
//! | `result`, `plan_cache` | results as JSON; checked queries of ad-hoc texts |

mod adjacency;
mod aggregate;
mod column;
mod correlated;
mod execution;
mod expand;
pub(crate) mod expr;
mod id_index;
mod join;
mod live;
mod order;
mod part_cache;
mod pattern;
mod plan_cache;
mod rank;
mod read;
mod result;
mod rows;
mod scope;
mod search;
mod snapshot_cache;
mod table_snapshot;
#[cfg(test)]
mod tests;
mod text_index;
pub(crate) mod values;

pub(crate) use column::{Column, read_fragments};
pub(crate) use execution::{QueryContext, TableSource};
pub(crate) use id_index::IdIndex;
pub(crate) use plan_cache::PlanCache;
pub(crate) use read::run;
pub use result::{QueryLimits, QueryResult, QueryStats, ResultColumn, rows_to_json};
pub(crate) use snapshot_cache::{SnapshotCache, TableKey};
pub(crate) use table_snapshot::TableSnapshot;
pub(crate) use values::value_at;
