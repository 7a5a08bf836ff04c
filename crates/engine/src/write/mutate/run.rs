//! One run of a mutation: its statements on a commit, and the whole checked. Writes nothing but
//! the copies of external objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use omnigraph_lang::query::Statement;
use omnigraph_lang::schema::TypeId;
use omnigraph_lang::value::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::expr::EvalContext;
use crate::graph::Touched;
use crate::write::added::{Added, NewRows, Repeated};
use crate::write::blobs::{self, Incoming, StoredBlobs};
use crate::write::embedding::Texts;
use crate::write::overlay::{Overlay, Pending};
use crate::write::rows::to_batch;
use crate::write::statement::{Runner, StatementOutcome};
use crate::write::validate::{Changed, FinalState, Gone, TableState, tables_read};
use crate::write::view::{AddedBatches, View};
use crate::write::violations::Violations;
use futures::FutureExt;

/// What a run came to, valid and not yet written.
pub(super) struct Done {
    pub(super) statements: Vec<StatementOutcome>,
    /// By each type that changes, addresses of the rows that go.
    pub(super) gone: BTreeMap<TypeId, Vec<u64>>,
    /// The rows that come.
    pub(super) batches: AddedBatches,
    /// Content that the rows name and that is to be stored before them.
    pub(super) blobs: BTreeMap<TypeId, Incoming>,
    /// The types that were looked at.
    pub(super) read: BTreeSet<TypeId>,
    pub(super) touched: Vec<Touched>,
}

/// Runs the statements; content that an earlier run has stored is taken from there, and so are
/// vectors of texts.
pub(super) async fn run(
    view: &View,
    statements: &[Statement],
    params: &[Value],
    now: i64,
    stored: &mut StoredBlobs,
    texts: &mut Texts,
) -> Result<Done> {
    let context = EvalContext { params, now };
    let mut runner = Runner::new(Overlay::new(view), context, texts);
    runner.embed_ahead(statements).boxed().await?;
    for statement in statements {
        // Boxed, because the futures of table operations are deep.
        runner.run(statement).boxed().await?;
    }
    // Rows that break a rule by themselves cannot stand in a table: what the others would come to
    // is not known before they are right.
    runner.violations.into_result(ErrorKind::Invalid)?;
    let mut violations = Violations::default();
    let looked_at = runner.overlay.into_types();
    let mut read: BTreeSet<TypeId> = looked_at.keys().copied().collect();
    let mut changed: BTreeMap<TypeId, Pending> = looked_at
        .into_iter()
        .filter(|(_, pending)| pending.is_changed())
        .collect();
    let mut blobs = runner.blobs;
    blobs::settle(view, &mut changed, &mut blobs, stored, &mut violations)
        .boxed()
        .await?;
    if !violations.is_empty() {
        return Err(violations.into_error(ErrorKind::Invalid));
    }
    let batches = batches(view, &changed)?;
    read.extend(
        check(view, &changed, &batches, &mut violations)
            .boxed()
            .await?,
    );
    violations.into_result(ErrorKind::Invalid)?;

    let mut addresses = BTreeMap::new();
    let mut touched = Vec::new();
    for (id, pending) in changed {
        let entity = entity(view, id)?;
        let updated = pending.updated() as u64;
        touched.push(Touched {
            edge: entity.kind() == omnigraph_lang::schema::EntityKind::Edge,
            type_name: entity.body().name.clone(),
            inserted: pending.rows.len() as u64 - updated,
            updated,
            deleted: pending.gone.len() as u64 - updated,
        });
        let mut gone: Vec<u32> = pending.gone.into_iter().collect();
        gone.sort_unstable();
        let gone = gone.iter().map(|o| pending.stored.row_address(*o));
        addresses.insert(id, gone.collect());
    }
    Ok(Done {
        statements: runner.outcomes,
        gone: addresses,
        batches,
        blobs,
        read,
        touched,
    })
}

fn entity(view: &View, id: TypeId) -> Result<omnigraph_lang::schema::EntityType<'_>> {
    view.catalog()
        .entity(id)
        .ok_or_else(|| Error::internal("a statement names a type that the schema lacks"))
}

/// The pending rows in the form of their tables.
fn batches(view: &View, changed: &BTreeMap<TypeId, Pending>) -> Result<AddedBatches> {
    let with_rows = changed
        .iter()
        .filter(|(_, pending)| !pending.rows.is_empty());
    with_rows
        .map(|(id, pending)| Ok((*id, to_batch(entity(view, *id)?, pending.rows.values())?)))
        .collect()
}

/// Checks the final state; which tables that took.
async fn check(
    view: &View,
    changed: &BTreeMap<TypeId, Pending>,
    batches: &AddedBatches,
    violations: &mut Violations,
) -> Result<BTreeSet<TypeId>> {
    let catalog = view.catalog();
    let mut added = Added::default();
    for (id, batch) in batches {
        let rows = NewRows {
            batch,
            lines: &[],
            fresh: &[],
        };
        added.push(entity(view, *id)?, &rows, Repeated::Refused, violations)?;
    }
    let changes = changed
        .iter()
        .map(|(id, pending)| {
            let adds = !pending.rows.is_empty();
            (
                *id,
                Changed {
                    adds,
                    empties: false,
                },
            )
        })
        .collect();
    let read = tables_read(catalog, &changes);
    let mut tables = BTreeMap::new();
    for (id, pending) in changed {
        let gone = Gone::Some(pending.gone.clone());
        let look_up = read.contains(id) && catalog.node_by_id(*id).is_some();
        let state = TableState::new(Arc::clone(&pending.stored), gone, look_up).await?;
        tables.insert(*id, state);
    }
    for id in &read {
        if !tables.contains_key(id) {
            let stored = view.table(*id).await?;
            tables.insert(*id, TableState::new(stored, Gone::default(), true).await?);
        }
    }
    let state = FinalState {
        catalog,
        added: &added,
        tables,
    };
    state.check(violations).await?;
    Ok(read)
}
