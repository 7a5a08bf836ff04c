//! The end of a load: checks against the head, and the change of each table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::Code;
use omnigraph_lang::schema::TypeId;
use rustc_hash::FxHashSet;

use super::LoadMode;
use super::afresh::still_fits;
use super::plan::{Plan, TypePlan};
use super::repeat::Answer;
use crate::error::{EntityName, Error, ErrorKind, Result};
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::writer::Write;
use crate::graph::{
    Attempt, Base, Commit, CommitKind, Graph, SchemaVersion, Staged, Touched, WriteOptions,
};
use crate::table::{Appended, StagedFragments, TableChange};
use crate::write::added::{Added, AddedType};
use crate::write::shape::shorten;
use crate::write::validate::{Changed, FinalState, Gone, TableState, tables_read};
use crate::write::view::{StagedTables, View};
use crate::write::violations::{Check, Unit, Violation, Violations};

/// A load whose rows are written and wait for a version that names them. It can be run on any head
/// with the schema that the rows were parsed for.
pub(super) struct Load<'a> {
    pub(super) graph: &'a Graph,
    pub(super) plan: &'a Plan,
    /// That schema.
    pub(super) schema: &'a SchemaVersion,
    /// Set when a run met another schema that the rows do not fit.
    pub(super) schema_moved: bool,
    pub(super) mode: LoadMode,
    /// The request, if it came with a key.
    pub(super) keyed: Option<Keyed>,
    pub(super) unit: Unit,
    pub(super) added: Added,
    /// Written rows by the type's position.
    pub(super) staged: BTreeMap<usize, StagedFragments>,
    /// What the last run staged, and on what.
    pub(super) last: Option<(View, StagedTables)>,
}

#[async_trait]
impl Write for Load<'_> {
    type Answer = Answer;

    async fn attempt(&mut self, base: &Base) -> Result<(Answer, Attempt)> {
        if !self.fits(&base.snapshot.schema) {
            self.schema_moved = true;
            return Err(Error::new(
                ErrorKind::WriteConflict,
                "the schema changed while the load ran; nothing was written",
            )
            .with_hint("load again"));
        }
        if self.staged.is_empty() && !base.forks {
            return Ok((self.answer(false), Attempt::Nothing));
        }
        let view = View::new(self.graph, &base.snapshot);
        let (state, read) = self.final_state(&view).await?;
        let mut touched = Vec::new();
        let mut changes = BTreeMap::new();
        for (position, fragments) in &self.staged {
            let (plan, added) = self.type_at(*position)?;
            let table = (state.tables.get(&plan.id))
                .ok_or_else(|| Error::internal("a loaded table was not opened"))?;
            touched.push(touched_rows(plan, added, table));
            changes.insert(plan.id, table_change(fragments, table));
        }
        let mut tables = view.stage(changes).await?;
        for position in self.staged.keys() {
            self.drop_superseded(&view, *position, &mut tables).await?;
        }
        self.last = Some((view, tables.clone()));
        let staged = Staged {
            tables,
            read,
            touched,
            kind: CommitKind::Load,
        };
        Ok((self.answer(base.forks), Attempt::Staged(staged)))
    }

    fn keyed(&self, _: &WriteOptions) -> Result<Option<Keyed>> {
        Ok(self.keyed.clone())
    }

    fn record(&self, answer: &Answer) -> Option<serde_json::Value> {
        serde_json::to_value(answer).ok()
    }

    fn replay(&mut self, commit: &Commit) -> Result<Answer> {
        let mut answer: Answer = recorded(commit)?;
        answer.replayed = true;
        Ok(answer)
    }
}

impl Load<'_> {
    /// Whether the written rows are rows of this version of the schema.
    fn fits(&self, schema: &SchemaVersion) -> bool {
        let fits = |position: &usize| {
            let plan = self.plan.types.get(*position);
            plan.is_some_and(|plan| still_fits(plan.id, &self.schema.catalog, &schema.catalog))
        };
        schema.digest == self.schema.digest
            || (!self.staged.is_empty() && self.staged.keys().all(fits))
    }

    fn answer(&self, branch_created: bool) -> Answer {
        let [nodes, edges] = self.counts();
        Answer {
            branch_created,
            nodes,
            edges,
            replayed: false,
        }
    }

    /// Accepted lines: of nodes, of edges, each by name.
    fn counts(&self) -> [Vec<(String, u64)>; 2] {
        let mut counts = [Vec::new(), Vec::new()];
        for position in self.staged.keys() {
            if let Ok((plan, added)) = self.type_at(*position) {
                let kind = usize::from(plan.is_edge());
                counts[kind].push((plan.name.clone(), added.rows() as u64));
            }
        }
        counts.iter_mut().for_each(|names| names.sort_unstable());
        counts
    }

    fn type_at(&self, position: usize) -> Result<(&TypePlan, &AddedType)> {
        let plan = self.plan.types.get(position);
        plan.and_then(|plan| Some((plan, self.added.get(plan.id)?)))
            .ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
    }

    /// The state after the load, checked, and the tables that this took.
    async fn final_state<'s>(
        &'s self,
        view: &'s View,
    ) -> Result<(FinalState<'s>, BTreeSet<TypeId>)> {
        let mut violations = Violations::counted_by(self.unit);
        let mut changes = BTreeMap::new();
        for position in self.staged.keys() {
            let empties = self.mode == LoadMode::Overwrite;
            let (plan, _) = self.type_at(*position)?;
            changes.insert(
                plan.id,
                Changed {
                    adds: true,
                    empties,
                },
            );
        }
        let catalog = view.catalog();
        let read = tables_read(catalog, &changes);
        let mut tables = BTreeMap::new();
        for position in self.staged.keys() {
            let (plan, added) = self.type_at(*position)?;
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
                let look_up = catalog.node_by_id(*id).is_some();
                let stored = view.table(*id).await?;
                let table = TableState::new(stored, Gone::default(), look_up).await?;
                tables.insert(*id, table);
            }
        }
        let state = FinalState {
            catalog,
            added: &self.added,
            tables,
        };
        state.check(&mut violations).await?;
        violations.into_result(ErrorKind::LoadInvalid)?;
        Ok((state, read))
    }

    /// Rows that a later line replaced are written already: a second version marks them deleted.
    async fn drop_superseded(
        &self,
        view: &View,
        position: usize,
        tables: &mut StagedTables,
    ) -> Result<()> {
        let (plan, added) = self.type_at(position)?;
        if added.superseded.is_empty() {
            return Ok(());
        }
        let Some((table, dataset)) = tables.get(&plan.id) else {
            return Ok(());
        };
        let base = view.snapshot.open(plan.id).await?;
        let change = TableChange {
            append: Appended::None,
            delete: addresses(&base, dataset, &added.superseded),
            truncate: false,
        };
        let made = view.apply(dataset, table, change).await?;
        tables.insert(plan.id, made);
        Ok(())
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
            continue;
        }
        let message = format!("{} `{}` exists already", plan.name, shorten(id));
        let entity = EntityName {
            edge: plan.is_edge(),
            type_name: plan.name.clone(),
            id: Some(id.to_owned()),
        };
        violations.push(
            Violation::new(Check::Key, &plan.name, Code::R415, message)
                .id(id)
                .line(added.line(row))
                .exists(entity),
        );
    }
    Gone::Some(gone)
}

fn touched_rows(plan: &TypePlan, added: &AddedType, table: &TableState) -> Touched {
    let updated = match &table.gone {
        Gone::Some(gone) => gone.len(),
        Gone::All => {
            let ids = added.known_ids();
            ids.filter(|(id, _)| table.ordinal_of(id).is_some()).count()
        }
    };
    let gone = match &table.gone {
        Gone::Some(gone) => gone.len(),
        Gone::All => table.stored.live_rows(),
    };
    Touched {
        edge: plan.is_edge(),
        type_name: plan.name.clone(),
        inserted: (added.live_count() - updated) as u64,
        updated: updated as u64,
        deleted: (gone - updated) as u64,
    }
}

fn table_change(fragments: &StagedFragments, table: &TableState) -> TableChange {
    let truncate = matches!(table.gone, Gone::All);
    let delete = match truncate {
        true => Vec::new(),
        false => {
            let going = table.going();
            going.iter().map(|o| table.stored.row_address(*o)).collect()
        }
    };
    TableChange {
        append: Appended::Fragments(fragments.clone()),
        delete,
        truncate,
    }
}

/// Addresses of added rows, given by their position in the input. Fragments that `base` lacks hold
/// them in this order.
fn addresses(base: &Arc<Dataset>, made: &Arc<Dataset>, rows: &FxHashSet<u32>) -> Vec<u64> {
    let known: BTreeSet<u64> = base.get_fragments().iter().map(|f| f.id() as u64).collect();
    let mut rows: Vec<u64> = rows.iter().map(|row| u64::from(*row)).collect();
    rows.sort_unstable();
    let mut rows = rows.into_iter().peekable();
    let mut addresses = Vec::new();
    let mut first = 0;
    for fragment in made.get_fragments() {
        let metadata = fragment.metadata();
        if known.contains(&metadata.id) {
            continue;
        }
        let end = first + metadata.physical_rows.unwrap_or(0) as u64;
        while let Some(row) = rows.next_if(|row| *row < end) {
            addresses.push(metadata.id << 32 | (row - first));
        }
        first = end;
    }
    addresses
}
