//! Running reads.
//!
//! | module | subject |
//! |---|---|
//! | `snapshot_cache`, `table_snapshot`, `part_cache` | an immutable version of a table, what is derived from it, and the memory budget |
//! | `column`, `live`, `id_index`, `adjacency`, `text_index` | the derived parts, each built from that of an older version where possible |
//! | [`expr`], `scope`, `values` | expressions over columns |
//! | `space` | the entities of variables with several possible types |
//! | `plan`, `execution`, `rows`, `pattern`, `join`, `correlated`, `search`, `embedding` | matching: rows of ordinals, block by block |
//! | `steps`, `network`, `expand`, `paths`, `path_values` | hops and shortest paths |
//! | `rank`, `aggregate`, `sum`, `order`, `read` | from matched rows to the result |
//! | `explain`, `profile` | plans for people, and what each operator did |
//! | `result`, `plan_cache` | results as JSON; checked queries of ad-hoc texts |

mod adjacency;
mod aggregate;
mod column;
mod correlated;
mod embedding;
mod execution;
mod expand;
mod explain;
pub(crate) mod expr;
mod id_index;
mod join;
mod live;
mod network;
mod order;
mod part_cache;
mod path_values;
mod paths;
mod pattern;
mod plan;
mod plan_cache;
mod profile;
mod rank;
mod read;
mod read_plan;
mod result;
mod rows;
mod scope;
mod search;
mod snapshot_cache;
mod sort;
mod space;
mod steps;
mod sum;
mod table_snapshot;
#[cfg(test)]
mod tests;
mod text_index;
pub(crate) mod values;

pub(crate) use column::{Column, read_fragments};
pub(crate) use execution::{QueryContext, TableSource};
pub use explain::{Explanation, PlanNode};
pub(crate) use explain::{explain, profile};
pub(crate) use id_index::IdIndex;
pub(crate) use plan_cache::PlanCache;
pub(crate) use read::run;
pub use result::{QueryLimits, QueryResult, QueryStats, ResultColumn, rows_to_json};
pub(crate) use snapshot_cache::{SnapshotCache, TableKey};
pub(crate) use table_snapshot::TableSnapshot;
pub(crate) use values::value_at;
