//! Two sides with one schema: what the result takes from theirs.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use futures::FutureExt;
use omnigraph_lang::schema::{Catalog, EntityType, TypeId};

use super::Strategies;
use super::check::{ByType, check_edges, check_unique};
use super::conflict::{Conflicts, Found};
use super::counts::{Count, Counts};
use super::entities::{Changed, Keep, Sides, Way};
use super::gather;
use super::locate::{Versions, addresses};
use crate::error::{Error, Result};
use crate::graph::delta::Side;
use crate::graph::{Graph, TableRef, Touched};
use crate::table::{Appended, TableChange};
use crate::write::view::{AddedBatches, StagedTables, View};

/// What the result takes from theirs, and what stands in its way.
pub(super) struct Combined {
    /// Tables that are theirs as they lie.
    pub(super) adopted: BTreeMap<TypeId, TableRef>,
    /// Changes of tables that both sides moved.
    applied: BTreeMap<TypeId, Applied>,
    pub(super) conflicts: Conflicts,
    /// What our side gains.
    pub(super) touched: Vec<Touched>,
    /// Types on which this depends: it has to be done again when one moves on our side.
    pub(super) read: BTreeSet<TypeId>,
}

/// Tables of the result that are ready for a commit.
pub(super) struct Ready {
    pub(super) view: View,
    pub(super) tables: StagedTables,
    pub(super) added: AddedBatches,
}

/// What happens to one of our tables.
struct Applied {
    rows: Option<RecordBatch>,
    /// Entities that go or are replaced.
    gone: Vec<String>,
}

impl Graph {
    /// Compares the sides. Reads what both changed, and nothing that only one did unless it can
    /// break the other's; writes nothing.
    pub(super) async fn combine(&self, sides: &Sides, strategies: &Strategies) -> Result<Combined> {
        let catalog = &sides.ours.schema.catalog;
        strategies.check(catalog)?;
        let mut found = Found::default();
        let mut types = ByType::new();
        for entity in catalog.entities() {
            let id = entity.body().id;
            if sides.way(id) == Way::Both {
                let changed = self.changed(sides, id, strategies, &mut found).await?;
                types.insert(id, changed);
            }
        }
        self.read_interacting(sides, strategies, &mut types, &mut found)
            .await?;
        check_edges(sides, &types, &mut found)?;
        for (id, changed) in &types {
            check_unique(sides, *id, changed, &mut found)?;
        }
        self.check_cardinality(sides, &types, &mut found).await?;
        self.result(sides, &types, found.into_conflicts()).await
    }

    async fn result(
        &self,
        sides: &Sides,
        types: &ByType,
        conflicts: Conflicts,
    ) -> Result<Combined> {
        let catalog = &sides.ours.schema.catalog;
        let mut combined = Combined {
            adopted: BTreeMap::new(),
            applied: BTreeMap::new(),
            conflicts,
            touched: Vec::new(),
            read: BTreeSet::new(),
        };
        let mut counts = Counts::default();
        let mut ways = BTreeMap::new();
        for entity in catalog.entities() {
            let id = entity.body().id;
            let count = match (sides.way(id), types.get(&id)) {
                (Way::Same | Way::Ours(_), _) | (Way::Both, None) => continue,
                (Way::Theirs(_), Some(changed)) => Count::of(changed),
                (Way::Theirs(number), None) => {
                    let base = &sides.bases[number];
                    if let std::collections::btree_map::Entry::Vacant(way) = ways.entry(number) {
                        way.insert(self.first_parents(base, &sides.theirs).await?);
                    }
                    self.count(base, &sides.theirs, &ways[&number], id).await?
                }
                (Way::Both, Some(changed)) => {
                    if let Some(applied) = Applied::of(entity, changed)? {
                        combined.applied.insert(id, applied);
                    }
                    Count::of(changed)
                }
            };
            counts.put(entity, count);
            combined.read.insert(id);
            combined.read.extend(neighbours(catalog, entity));
            if let (Way::Theirs(_), Some(table)) =
                (sides.way(id), sides.theirs.commit.tables.get(&id))
            {
                combined.adopted.insert(id, table.clone());
            }
        }
        combined.touched = counts.into_touched();
        Ok(combined)
    }

    /// Makes the new versions of the tables that both sides moved.
    pub(super) async fn stage(&self, sides: &Sides, combined: &Combined) -> Result<Ready> {
        let snapshot = self.open(sides.ours.commit.clone(), None).await?;
        let view = View::new(self, &snapshot);
        let mut changes = BTreeMap::new();
        let mut added = AddedBatches::new();
        for (id, applied) in &combined.applied {
            let delete = self.places(sides, *id, &applied.gone).await?;
            let append = match &applied.rows {
                None => Appended::None,
                Some(rows) => {
                    added.insert(*id, rows.clone());
                    Appended::Batches(vec![rows.clone()])
                }
            };
            let change = TableChange {
                append,
                delete,
                truncate: false,
            };
            changes.insert(*id, change);
        }
        let tables = view.stage(changes).await?;
        Ok(Ready {
            view,
            tables,
            added,
        })
    }

    async fn places(&self, sides: &Sides, id: TypeId, gone: &[String]) -> Result<Vec<u64>> {
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let open = async |side: &Side| {
            let table = side.commit.tables.get(&id).ok_or_else(|| {
                Error::corrupt(format!("commit {} lacks a table", side.commit.id))
            })?;
            self.tables().open(table).await
        };
        let (base, ours, theirs) = (
            open(&sides.bases[0]).await?,
            open(&sides.ours).await?,
            open(&sides.theirs).await?,
        );
        let versions = Versions {
            base: &base,
            theirs: &theirs,
            ours: &ours,
        };
        let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
        let mut places = addresses(&versions, &ids).boxed().await?;
        places.sort_unstable();
        Ok(places)
    }
}

impl Applied {
    fn of(entity: EntityType<'_>, changed: &Changed) -> Result<Option<Self>> {
        let taken: Vec<_> = changed
            .entities
            .iter()
            .filter(|(_, entity)| entity.keep == Keep::Theirs)
            .collect();
        if taken.is_empty() {
            return Ok(None);
        }
        let gone = taken.iter().filter(|(_, entity)| entity.ours.is_some());
        let gone = gone.map(|(id, _)| (*id).clone()).collect();
        let rows: Vec<_> = taken
            .iter()
            .filter_map(|(_, e)| e.theirs.as_ref())
            .collect();
        let rows = match rows.is_empty() {
            true => None,
            false => Some(gather::batch(entity, &rows)?),
        };
        Ok(Some(Self { rows, gone }))
    }
}

/// Types whose entities a change of this one can break, or be broken by.
pub(super) fn neighbours(catalog: &Catalog, entity: EntityType<'_>) -> Vec<TypeId> {
    match entity {
        EntityType::Node(node) => catalog
            .incident_edges(node.id)
            .map(|edge| edge.id)
            .collect(),
        EntityType::Edge(edge) => vec![edge.from, edge.to],
    }
}
