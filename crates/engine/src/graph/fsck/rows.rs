//! Rows against the schema: shapes, keys, references, cardinality.

use std::collections::BTreeMap;
use std::sync::Arc;

use omnigraph_lang::schema::{Cardinality, DataType, EdgeType, EntityType, TypeBody, TypeId};
use omnigraph_lang::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::{BranchName, Commit, Graph};
use super::FsckReport;
use crate::error::Result;
use crate::exec::{SnapshotCache, TableSnapshot, value_at};
use crate::graph::Snapshot;
use crate::write::{Shape, TupleHasher, member_name, shorten};

/// Rows that are looked at together.
const BATCH: usize = 8192;
/// Memory for the columns of one check.
const CACHE_BYTES: u64 = 256 << 20;
const RESTORE: &str = "restore the graph from a backup, or revert to a commit that is whole";
const REPAIR: &str = "correct the entity with a mutation, or revert the commit that wrote it";

/// The tables of one head.
struct Rows<'a> {
    tables: BTreeMap<TypeId, Arc<TableSnapshot>>,
    branch: &'a BranchName,
    report: &'a mut FsckReport,
}

impl Graph {
    pub(super) async fn check_rows(
        &self,
        branch: &BranchName,
        head: &Arc<Commit>,
        report: &mut FsckReport,
    ) -> Result<()> {
        let snapshot = self.open(head.clone(), Some(branch.clone())).await?;
        let catalog = &snapshot.schema.catalog;
        let cache = SnapshotCache::new(CACHE_BYTES);
        let mut tables = BTreeMap::new();
        for entity in catalog.entities() {
            let id = entity.body().id;
            if let Some(table) = table(&snapshot, &cache, id).await {
                tables.insert(id, table?);
            }
        }
        let mut rows = Rows {
            tables,
            branch,
            report,
        };
        for entity in catalog.entities() {
            if let Err(error) = rows.check(entity).await {
                let place = format!("branch {branch} {}", entity.body().name);
                let message = format!("its rows cannot be read: {}", error.message());
                rows.report.error(place, message, RESTORE);
            }
        }
        Ok(())
    }
}

/// The table of a type. `None` where it cannot be opened, which the check of tables reports.
async fn table(
    snapshot: &Snapshot,
    cache: &SnapshotCache,
    id: TypeId,
) -> Option<Result<Arc<TableSnapshot>>> {
    use crate::exec::TableSource as _;

    let (key, dataset) = snapshot.dataset(id).await.ok()?;
    Some(Box::pin(cache.get(&dataset, &key)).await)
}

impl Rows<'_> {
    async fn check(&mut self, entity: EntityType<'_>) -> Result<()> {
        let body = entity.body();
        let Some(table) = self.tables.get(&body.id).cloned() else {
            return Ok(());
        };
        let live: Vec<u32> = table.live().collect();
        self.report.rows += live.len() as u64;
        self.ids(body, &table, &live).await?;
        self.shapes(body, &table, &live).await?;
        self.uniques(body, &table, &live).await?;
        if let EntityType::Edge(edge) = entity {
            self.ends(edge, &table, &live).await?;
        }
        Ok(())
    }

    fn wrong(&mut self, body: &TypeBody, id: &str, message: &str) {
        let place = format!("branch {} {} `{}`", self.branch, body.name, shorten(id));
        self.report.error(place, message, REPAIR);
    }

    async fn ids(&mut self, body: &TypeBody, table: &TableSnapshot, live: &[u32]) -> Result<()> {
        if live.is_empty() {
            return Ok(());
        }
        let ids = table.column("id").await?;
        let mut seen: FxHashSet<&str> = FxHashSet::default();
        for ordinal in live {
            match ids.text(*ordinal) {
                None | Some("") => self.wrong(body, "", "a row has no id"),
                Some(id) if !seen.insert(id) => self.wrong(body, id, "the id is there twice"),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Required values, members of enums, ranges and patterns.
    async fn shapes(&mut self, body: &TypeBody, table: &TableSnapshot, live: &[u32]) -> Result<()> {
        let shape = Shape::new(body)?;
        let ids = match live {
            [] => return Ok(()),
            _ => table.column("id").await?,
        };
        for (position, property) in body.properties.iter().enumerate() {
            let free = shape.property(position).is_none_or(|shape| shape.is_free());
            let open =
                property.nullable && free && !matches!(property.data_type, DataType::Enum(_));
            if open || matches!(property.data_type, DataType::Blob) {
                continue;
            }
            let column = table.column(&property.name).await?;
            for ordinals in live.chunks(BATCH) {
                let values = column.gather(ordinals)?;
                for (row, ordinal) in ordinals.iter().enumerate() {
                    let value = value_at(values.as_ref(), row);
                    let fault = match (&value, &property.data_type) {
                        (Value::String(text), DataType::Enum(members))
                            if !members.contains(text) =>
                        {
                            Some(format!(
                                "`{}` is none of the declared values",
                                shorten(text)
                            ))
                        }
                        _ => shape
                            .check(position, property, &value)
                            .err()
                            .map(|error| format!("{}: {}", error.code, error.message)),
                    };
                    if let Some(fault) = fault {
                        let id = ids.text(*ordinal).unwrap_or_default();
                        self.wrong(body, id, &format!("{}: {fault}", property.name));
                    }
                }
            }
        }
        Ok(())
    }

    async fn uniques(
        &mut self,
        body: &TypeBody,
        table: &TableSnapshot,
        live: &[u32],
    ) -> Result<()> {
        let hasher = TupleHasher::default();
        for members in body.key.iter().chain(&body.uniques) {
            if live.is_empty() {
                return Ok(());
            }
            let mut columns = Vec::with_capacity(members.len());
            let mut names = Vec::with_capacity(members.len());
            for member in members {
                let name = member_name(body, *member)?;
                names.push(name);
                columns.push(table.column(name).await?.gather(live)?);
            }
            let ids = table.column("id").await?;
            let mut first: FxHashMap<u128, u32> = FxHashMap::default();
            for (tuple, ordinal) in hasher.rows(&columns)?.into_iter().zip(live) {
                let Some(other) = tuple.and_then(|tuple| first.insert(tuple, *ordinal)) else {
                    continue;
                };
                let (id, other) = (ids.text(*ordinal), ids.text(other));
                let message = format!(
                    "has the same values of ({}) as `{}`",
                    names.join(", "),
                    shorten(other.unwrap_or_default())
                );
                self.wrong(body, id.unwrap_or_default(), &message);
            }
        }
        Ok(())
    }

    /// Both ends exist, and sources have as many edges as they may.
    async fn ends(&mut self, edge: &EdgeType, table: &TableSnapshot, live: &[u32]) -> Result<()> {
        for (node, column) in [(edge.from, "src"), (edge.to, "dst")] {
            let Some(nodes) = self.tables.get(&node).cloned() else {
                continue;
            };
            if live.is_empty() {
                continue;
            }
            let ends = table.column(column).await?;
            let ids = table.column("id").await?;
            let known = match nodes.live_rows() {
                0 => None,
                _ => Some(nodes.id_index().await?),
            };
            for ordinal in live {
                let end = ends.text(*ordinal).unwrap_or_default();
                if known
                    .as_ref()
                    .and_then(|known| known.ordinal_of(end))
                    .is_none()
                {
                    let id = ids.text(*ordinal).unwrap_or_default();
                    let message = format!("{column}: `{}` does not exist", shorten(end));
                    self.wrong(edge, id, &message);
                }
            }
        }
        if edge.cardinality != Cardinality::default() {
            self.cardinality(edge, table, live).await?;
        }
        Ok(())
    }

    async fn cardinality(
        &mut self,
        edge: &EdgeType,
        table: &TableSnapshot,
        live: &[u32],
    ) -> Result<()> {
        let Some(nodes) = self.tables.get(&edge.from).cloned() else {
            return Ok(());
        };
        let Cardinality { min, max } = edge.cardinality;
        let mut counts: FxHashMap<String, u64> = FxHashMap::default();
        if nodes.live_rows() > 0 {
            let ids = nodes.column("id").await?;
            let ids = nodes.live().filter_map(|ordinal| ids.text(ordinal));
            counts.extend(ids.map(|id| (id.to_owned(), 0)));
        }
        if !live.is_empty() {
            let sources = table.column("src").await?;
            for source in live.iter().filter_map(|ordinal| sources.text(*ordinal)) {
                if let Some(count) = counts.get_mut(source) {
                    *count += 1;
                }
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        for (source, count) in counts {
            // Whether a node without any edge breaks a minimum is decided when edges are written.
            if (count > 0 && count < min) || max.is_some_and(|max| count > max) {
                let message = format!("`{}` has {count} edges", shorten(&source));
                self.wrong(edge, &source, &message);
            }
        }
        Ok(())
    }
}
