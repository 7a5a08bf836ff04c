//! The end of a load: checks against the head, and the change of each table.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::Code;
use omnigraph_lang::schema::TypeId;

use super::LoadMode;
use super::afresh::still_fits;
use super::collect::Progress;
use super::keys::Noted;
use super::plan::{Plan, TypePlan};
use super::repeat::Answer;
use super::row_set::RowSet;
use super::state::{Checked, CheckedTable};
use crate::error::{EntityName, Error, ErrorKind, Result};
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::writer::Write;
use crate::graph::{
    Attempt, Base, Commit, CommitKind, Graph, SchemaVersion, Snapshot, Staged, TableRef, Touched,
    WriteOptions,
};
use crate::table::{Appended, StagedFragments, TableChange};
use crate::write::shape::shorten;
use crate::write::view::{StagedTables, View};
use crate::write::violations::{Check, Violation, Violations};

/// Rows that are marked deleted in one step. More take more detached versions.
const DELETED_AT_ONCE: usize = 1 << 20;

/// A load whose rows are written and wait for a version that names them. It can be run on any head
/// with the schema that the rows were parsed for.
pub(super) struct Load<'a> {
    pub(super) graph: &'a Graph,
    pub(super) plan: Arc<Plan>,
    /// That schema.
    pub(super) schema: &'a SchemaVersion,
    /// Set when a run met another schema that the rows do not fit.
    pub(super) schema_moved: bool,
    pub(super) mode: LoadMode,
    /// The request, if it came with a key.
    pub(super) keyed: Option<Keyed>,
    pub(super) progress: Arc<Progress>,
    pub(super) noted: Noted,
    /// What was wrong before any head was looked at.
    pub(super) found: Violations,
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
        if self.positions().is_empty() && !base.forks {
            return Ok((self.answer(false), Attempt::Nothing));
        }
        let view = View::new(self.graph, &base.snapshot);
        let checked = Box::pin(self.checked(&view)).await?;
        let mut touched = Vec::new();
        let mut changes = BTreeMap::new();
        for (position, fragments) in &self.staged {
            let (plan, table) = self.table(&checked, *position)?;
            touched.push(touched_rows(plan, table));
            let change = TableChange {
                append: Appended::Fragments(fragments.clone()),
                delete: going(table).take(DELETED_AT_ONCE).collect(),
                truncate: table.emptied,
            };
            changes.insert(plan.id, change);
        }
        let mut tables = view.stage(changes).await?;
        for position in self.staged.keys() {
            let (plan, table) = self.table(&checked, *position)?;
            if let Some(made) = tables.remove(&plan.id) {
                let made = rest(&view, plan.id, table, made).await?;
                tables.insert(plan.id, made);
            }
        }
        self.last = Some((view, tables.clone()));
        let staged = Staged {
            tables,
            read: checked.read,
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
        let positions = self.positions();
        let fits = |position: &usize| {
            let plan = self.plan.types.get(*position);
            plan.is_some_and(|plan| still_fits(plan.id, &self.schema.catalog, &schema.catalog))
        };
        // Over sorted runs only types are looked at that were known when they were written.
        let knows_all = match &self.noted {
            Noted::InMemory(_) => true,
            Noted::Spilled(_) => self.mode != LoadMode::Overwrite,
        };
        schema.digest == self.schema.digest
            || (knows_all && !positions.is_empty() && positions.iter().all(fits))
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

    /// Deletes the files of a load that was refused. What cannot be deleted is collected later.
    pub(super) async fn discard(&self, snapshot: &Snapshot) {
        for (position, fragments) in &self.staged {
            let id = self.plan.types.get(*position).map(|plan| plan.id);
            if let Some(table) = id.and_then(|id| snapshot.table(id).ok()) {
                snapshot.tables.discard(table, fragments).await;
            }
        }
    }

    /// Accepted lines: of nodes, of edges, each by name.
    fn counts(&self) -> [Vec<(String, u64)>; 2] {
        let mut counts = [Vec::new(), Vec::new()];
        for position in self.positions() {
            if let Some(plan) = self.plan.types.get(position) {
                let rows = self.noted.rows(position, plan.id);
                counts[usize::from(plan.is_edge())].push((plan.name.clone(), rows));
            }
        }
        counts.iter_mut().for_each(|names| names.sort_unstable());
        counts
    }

    /// The types that have rows.
    pub(super) fn positions(&self) -> Vec<usize> {
        let types = self.plan.types.iter().enumerate();
        let with_rows = types.filter(|(position, plan)| self.noted.rows(*position, plan.id) > 0);
        with_rows.map(|(position, _)| position).collect()
    }

    fn table<'c>(
        &self,
        checked: &'c Checked,
        position: usize,
    ) -> Result<(&TypePlan, &'c CheckedTable)> {
        let plan = self.plan.types.get(position);
        plan.zip(checked.tables.get(&position))
            .ok_or_else(|| Error::internal("a loaded table was not opened"))
    }
}

/// An id that the graph has already.
pub(super) fn exists(plan: &TypePlan, id: &str, line: Option<u64>) -> Violation {
    let message = format!("{} `{}` exists already", plan.name, shorten(id));
    let entity = EntityName {
        edge: plan.is_edge(),
        type_name: plan.name.clone(),
        id: Some(id.to_owned()),
    };
    Violation::new(Check::Key, &plan.name, Code::R415, message)
        .id(id)
        .line(line)
        .exists(entity)
}

fn touched_rows(plan: &TypePlan, table: &CheckedTable) -> Touched {
    let effect = &table.effect;
    let gone = match table.emptied {
        true => table.stored.live_rows() as u64,
        false => effect.gone.len(),
    };
    Touched {
        edge: plan.is_edge(),
        type_name: plan.name.clone(),
        inserted: table.rows - effect.superseded.len() - effect.updated,
        updated: effect.updated,
        deleted: gone - effect.updated,
    }
}

/// Addresses of stored rows that are replaced.
fn going(table: &CheckedTable) -> impl Iterator<Item = u64> + '_ {
    let ordinals = table.effect.gone.iter().filter(|_| !table.emptied);
    ordinals.map(|ordinal| table.stored.row_address(ordinal))
}

/// Deletes what one step did not: many replaced rows, and rows of this load that a later line
/// replaced, which are written already.
async fn rest(
    view: &View,
    id: TypeId,
    table: &CheckedTable,
    mut made: (TableRef, Arc<Dataset>),
) -> Result<(TableRef, Arc<Dataset>)> {
    let base = view.snapshot.open(id).await?;
    let places = places(&base, &made.1);
    let superseded = addresses(&places, &table.effect.superseded);
    let mut left = going(table).skip(DELETED_AT_ONCE).chain(superseded);
    loop {
        let delete: Vec<u64> = left.by_ref().take(DELETED_AT_ONCE).collect();
        if delete.is_empty() {
            return Ok(made);
        }
        let change = TableChange {
            append: Appended::None,
            delete,
            truncate: false,
        };
        made = view.apply(&made.1, &made.0, change).await?;
    }
}

/// Where added rows are: the position of the first in the input, their number, the fragment.
/// Fragments that `base` lacks hold them in this order.
fn places(base: &Dataset, made: &Dataset) -> Vec<(u64, u64, u64)> {
    let known: std::collections::BTreeSet<u64> =
        base.get_fragments().iter().map(|f| f.id() as u64).collect();
    let mut first = 0;
    let mut places = Vec::new();
    for fragment in made.get_fragments() {
        let metadata = fragment.metadata();
        if !known.contains(&metadata.id) {
            let rows = metadata.physical_rows.unwrap_or(0) as u64;
            places.push((first, rows, metadata.id));
            first += rows;
        }
    }
    places
}

/// Addresses of added rows, given by their position in the input.
fn addresses<'a>(
    places: &'a [(u64, u64, u64)],
    rows: &'a RowSet,
) -> impl Iterator<Item = u64> + 'a {
    rows.iter().filter_map(|row| {
        let row = u64::from(row);
        let at = places.partition_point(|(first, rows, _)| first + rows <= row);
        let (first, _, fragment) = places.get(at)?;
        Some(fragment << 32 | (row - first))
    })
}
