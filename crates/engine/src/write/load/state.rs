//! The state that a load would leave behind, checked: in memory, or over sorted runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use omnigraph_lang::schema::{Cardinality, EntityType, TypeBody, TypeId};
use rustc_hash::FxHashSet;

use super::LoadMode;
use super::check::{Checks, Effect, Stored};
use super::commit::{Load, exists};
use super::keys::{Noted, Spilled};
use super::memory::Part;
use super::plan::TypePlan;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::TableSnapshot;
use crate::write::added::{Added, AddedType, member_name};
use crate::write::validate::{Changed, FinalState, Gone, TableState, tables_read};
use crate::write::view::View;
use crate::write::violations::Violations;

/// A state without a fault.
pub(super) struct Checked {
    /// Types that were looked at beside those that change.
    pub(super) read: BTreeSet<TypeId>,
    /// The tables that change, by the type's position.
    pub(super) tables: BTreeMap<usize, CheckedTable>,
}

/// One table before the load, and what the load does to it.
pub(super) struct CheckedTable {
    pub(super) stored: Arc<TableSnapshot>,
    /// All stored rows go.
    pub(super) emptied: bool,
    /// Added rows, superseded ones included.
    pub(super) rows: u64,
    pub(super) effect: Effect,
}

impl Load<'_> {
    /// # Errors
    /// `LoadInvalid` or `KeyConflict` with all that is wrong.
    pub(super) async fn checked(&self, view: &View) -> Result<Checked> {
        match &self.noted {
            Noted::InMemory(added) => self.in_memory(view, added).await,
            Noted::Spilled(spilled) => self.over_runs(view, spilled).await,
        }
    }

    /// Types that the checks read.
    fn reads(&self, view: &View) -> BTreeSet<TypeId> {
        let positions = self.positions();
        let plans = positions.iter().filter_map(|at| self.plan.types.get(*at));
        let change = Changed {
            adds: true,
            empties: self.mode == LoadMode::Overwrite,
        };
        let changes = plans.map(|plan| (plan.id, change)).collect();
        tables_read(view.catalog(), &changes)
    }

    fn type_at(&self, position: usize) -> Result<&TypePlan> {
        let plan = self.plan.types.get(position);
        plan.ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
    }

    async fn in_memory(&self, view: &View, all: &Added) -> Result<Checked> {
        let mut violations = self.found.clone();
        let read = self.reads(view);
        let mut tables = BTreeMap::new();
        for position in self.positions() {
            let plan = self.type_at(position)?;
            let added = added_of(all, plan)?;
            let has_known_ids = added.known_ids().next().is_some();
            let is_read = read.contains(&plan.id) && !plan.is_edge();
            let stored = view.table(plan.id).await?;
            let mut table =
                TableState::new(stored, Gone::default(), has_known_ids || is_read).await?;
            table.gone = match self.mode {
                LoadMode::Overwrite => Gone::All,
                _ => replaced(plan, added, &table, self.mode, &mut violations),
            };
            tables.insert(plan.id, table);
        }
        for id in &read {
            if !tables.contains_key(id) {
                let look_up = view.catalog().node_by_id(*id).is_some();
                let stored = view.table(*id).await?;
                let table = TableState::new(stored, Gone::default(), look_up).await?;
                tables.insert(*id, table);
            }
        }
        let state = FinalState {
            catalog: view.catalog(),
            added: all,
            tables,
        };
        self.progress.meter.set(Part::Sorting, all.bytes());
        state.check(&mut violations).await?;
        self.progress.meter.set(Part::Sorting, 0);
        violations.into_result(ErrorKind::LoadInvalid)?;
        let mut checked = BTreeMap::new();
        for position in self.positions() {
            let plan = self.type_at(position)?;
            let table = state.tables.get(&plan.id);
            let table = table.ok_or_else(|| Error::internal("a loaded table was not opened"))?;
            checked.insert(position, in_memory_effect(added_of(all, plan)?, table));
        }
        Ok(Checked {
            read,
            tables: checked,
        })
    }

    async fn over_runs(&self, view: &View, spilled: &Arc<Spilled>) -> Result<Checked> {
        let read = self.reads(view);
        let mut stored = BTreeMap::new();
        for (position, plan) in self.plan.types.iter().enumerate() {
            let has_rows = spilled.rows(position) > 0;
            if has_rows || read.contains(&plan.id) {
                stored.insert(position, self.stored(view, plan, has_rows, spilled).await?);
            }
        }
        let (plan, spilled) = (Arc::clone(&self.plan), Arc::clone(spilled));
        let schema = Arc::clone(&view.snapshot.schema);
        let (mode, violations) = (self.mode, self.found.clone());
        // Merging reads files, so it leaves the async threads.
        let checked = tokio::task::spawn_blocking(move || {
            let mut checks = Checks {
                plan: &plan,
                schema: &schema,
                spilled: &spilled,
                mode,
                stored: &stored,
                violations,
                effects: BTreeMap::new(),
            };
            checks.run()?;
            let (violations, effects) = (checks.violations, checks.effects);
            violations.into_result(ErrorKind::LoadInvalid)?;
            let tables = effects.into_iter().filter_map(|(position, effect)| {
                let known = stored.get(&position)?;
                let table = CheckedTable {
                    stored: Arc::clone(&known.table),
                    emptied: known.emptied,
                    rows: u64::from(spilled.rows(position)),
                    effect,
                };
                Some((position, table))
            });
            Ok::<BTreeMap<usize, CheckedTable>, Error>(tables.collect())
        });
        let tables = checked
            .await
            .map_err(|e| Error::internal("checking a load stopped early").with_source(e))?;
        Ok(Checked {
            read,
            tables: tables?,
        })
    }

    /// A stored table with the columns that the checks need.
    async fn stored(
        &self,
        view: &View,
        plan: &TypePlan,
        has_rows: bool,
        spilled: &Spilled,
    ) -> Result<Stored> {
        let table = view.table(plan.id).await?;
        let is_empty = table.live_rows() == 0;
        let look_up = !is_empty && (has_rows || !plan.is_edge());
        let emptied = has_rows && self.mode == LoadMode::Overwrite;
        let entity = view.catalog().entity(plan.id);
        let entity = entity.ok_or_else(|| Error::internal("a type that the schema lacks"))?;
        let counted = match entity {
            EntityType::Edge(edge) => has_rows && edge.cardinality != Cardinality::default(),
            EntityType::Node(_) => false,
        };
        let empties = |node: &usize| self.mode == LoadMode::Overwrite && spilled.rows(*node) > 0;
        let may_dangle = plan.ends.is_some_and(|ends| ends.iter().any(empties));
        let ends = match !is_empty && (counted || may_dangle) {
            true => Some([table.column("src").await?, table.column("dst").await?]),
            false => None,
        };
        let mut uniques = Vec::new();
        if has_rows && !is_empty && !emptied {
            uniques = unique_columns(entity.body(), &table).await?;
        }
        Ok(Stored {
            ids: match look_up {
                true => Some(table.id_index().await?),
                false => None,
            },
            table,
            emptied,
            ends,
            uniques,
        })
    }
}

async fn unique_columns(
    body: &TypeBody,
    table: &TableSnapshot,
) -> Result<Vec<Vec<Arc<crate::exec::Column>>>> {
    let mut uniques = Vec::with_capacity(body.uniques.len());
    for members in &body.uniques {
        let mut columns = Vec::with_capacity(members.len());
        for member in members {
            columns.push(table.column(member_name(body, *member)?).await?);
        }
        uniques.push(columns);
    }
    Ok(uniques)
}

fn added_of<'a>(all: &'a Added, plan: &TypePlan) -> Result<&'a AddedType> {
    all.get(plan.id)
        .ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
}

fn in_memory_effect(added: &AddedType, table: &TableState) -> CheckedTable {
    let mut effect = Effect::default();
    for row in &added.superseded {
        effect.superseded.insert(*row);
    }
    match &table.gone {
        Gone::Some(gone) => {
            for ordinal in gone {
                effect.gone.insert(*ordinal);
            }
            effect.updated = effect.gone.len();
        }
        Gone::All => {
            let ids = added.known_ids();
            let updated = ids.filter(|(id, _)| table.ordinal_of(id).is_some());
            effect.updated = updated.count() as u64;
        }
    }
    CheckedTable {
        stored: Arc::clone(&table.stored),
        emptied: matches!(table.gone, Gone::All),
        rows: added.rows() as u64,
        effect,
    }
}

/// Stored rows whose ids the load brings. In mode append there must be none.
fn replaced(
    plan: &TypePlan,
    added: &AddedType,
    table: &TableState,
    mode: LoadMode,
    violations: &mut Violations,
) -> Gone {
    let mut gone = FxHashSet::default();
    if table.ids.is_none() {
        return Gone::Some(gone);
    }
    for (id, row) in added.known_ids() {
        let Some(ordinal) = table.ordinal_of(id) else {
            continue;
        };
        if mode == LoadMode::Merge {
            gone.insert(ordinal);
        } else {
            violations.push(exists(plan, id, added.line(row)));
        }
    }
    Gone::Some(gone)
}
