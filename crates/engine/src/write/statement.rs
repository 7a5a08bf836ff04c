//! The statements of a mutation, each on the state that the former left.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use omnigraph_lang::query::{Assignment, Comparison, Ends, Expr, ExprKind, OwnField, Statement};
use omnigraph_lang::schema::{
    DataType, EntityKind, EntityType, Member, Property, PropertyId, TypeBody, TypeId,
};
use omnigraph_lang::value::{self, Value};
use serde::{Deserialize, Serialize};

use super::blobs::Incoming;
use super::embedding::Texts;
use super::overlay::{Fields, Found, Overlay, own_fields, position};
use super::rows::{Row, stored_rows};
use super::shape::Shape;
use super::violations::Violations;
use crate::error::Result;
use crate::exec::expr::{EvalContext, evaluate, evaluate_constant, evaluate_filter};
use crate::exec::values::value_at;

/// Stored rows that a condition is evaluated for at once.
const ROWS_PER_TURN: usize = 8 * 1024;

/// What one statement did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementOutcome {
    /// `insert`, `upsert`, `update` or `delete`.
    pub kind: Cow<'static, str>,
    /// The target's name.
    pub type_name: String,
    /// Nodes written, matched or removed.
    pub nodes: u64,
    /// Edges written, matched or removed, those included that went with their node.
    pub edges: u64,
}

/// Runs statements over an overlay.
pub(crate) struct Runner<'a> {
    pub(crate) overlay: Overlay<'a>,
    pub(crate) violations: Violations,
    pub(crate) outcomes: Vec<StatementOutcome>,
    pub(super) context: EvalContext<'a>,
    pub(super) shapes: HashMap<TypeId, Shape>,
    /// Content of blobs: held once, however many rows it goes to.
    pub(crate) blobs: BTreeMap<TypeId, Incoming>,
    pub(super) texts: &'a mut Texts,
}

/// Which stored row a written row takes the place of.
#[derive(Clone, Copy)]
enum Replaces {
    /// None, or one that a pending row has replaced before.
    Nothing,
    Stored(u32),
    /// The one with its id, if there is one.
    LookUp,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(
        overlay: Overlay<'a>,
        context: EvalContext<'a>,
        texts: &'a mut Texts,
    ) -> Self {
        Self {
            overlay,
            violations: Violations::default(),
            outcomes: Vec::new(),
            context,
            shapes: HashMap::new(),
            blobs: BTreeMap::new(),
            texts,
        }
    }

    pub(crate) async fn run(&mut self, statement: &Statement) -> Result<()> {
        let (kind, target, [nodes, edges]) = match statement {
            Statement::Insert {
                target,
                ends,
                assignments,
                ..
            } => {
                let counts = self.insert(*target, ends.as_ref(), assignments).await?;
                ("insert", *target, counts)
            }
            Statement::Upsert {
                target,
                ends,
                assignments,
                ..
            } => {
                let counts = self.upsert(*target, ends.as_ref(), assignments).await?;
                ("upsert", *target, counts)
            }
            Statement::Update {
                target,
                assignments,
                filter,
                ..
            } => {
                let counts = self.update(*target, assignments, filter).await?;
                ("update", *target, counts)
            }
            Statement::Delete { target, filter, .. } => {
                ("delete", *target, self.delete(*target, filter).await?)
            }
        };
        self.outcomes.push(StatementOutcome {
            kind: Cow::Borrowed(kind),
            type_name: self.overlay.entity(target)?.body().name.clone(),
            nodes,
            edges,
        });
        Ok(())
    }

    async fn insert(
        &mut self,
        target: TypeId,
        ends: Option<&Ends>,
        assignments: &[Assignment],
    ) -> Result<[u64; 2]> {
        let entity = self.overlay.entity(target)?;
        let assigned = self.assigned(entity.body(), assignments)?;
        let ends = self.ends(entity, ends)?;
        if let Some(mut row) = self.complete(entity, &assigned, ends)? {
            self.embed_one(entity, assignments, None, &mut row).await?;
            self.check(entity, &row, &assigned.failed)?;
            let replaces = match entity.body().is_keyed() {
                true => Replaces::LookUp,
                false => Replaces::Nothing,
            };
            self.put(target, row, replaces).await?;
        }
        Ok(counts(entity, 1))
    }

    async fn upsert(
        &mut self,
        target: TypeId,
        ends: Option<&Ends>,
        assignments: &[Assignment],
    ) -> Result<[u64; 2]> {
        let entity = self.overlay.entity(target)?;
        let assigned = self.assigned(entity.body(), assignments)?;
        let ends = self.ends(entity, ends)?;
        let Some(id) = self.derived_id(entity.body(), &assigned, ends.as_ref()) else {
            return Ok(counts(entity, 1));
        };
        let table = self.overlay.table(target).await?;
        let former = match table.find(&id).await? {
            None => None,
            Some(Found::Pending) => table.rows.get(&id).cloned(),
            Some(Found::Stored(ordinal)) => {
                stored_rows(entity, &table.stored, &[ordinal]).await?.pop()
            }
        };
        let mut row = match former.clone() {
            None => self.complete(entity, &assigned, ends)?,
            Some(mut row) => {
                for (at, value) in &assigned.values {
                    row.values[*at] = value.clone();
                }
                row.ends = ends.or(row.ends);
                Some(row)
            }
        };
        if let Some(row) = &mut row {
            self.embed_one(entity, assignments, former.as_ref(), row)
                .await?;
        }
        if let Some(row) = row.filter(|row| former.as_ref() != Some(row)) {
            self.check(entity, &row, &assigned.failed)?;
            self.put(target, row, Replaces::LookUp).await?;
        }
        Ok(counts(entity, 1))
    }

    async fn update(
        &mut self,
        target: TypeId,
        assignments: &[Assignment],
        filter: &Expr,
    ) -> Result<[u64; 2]> {
        let entity = self.overlay.entity(target)?;
        let (ordinals, ids) = self.matching(target, filter).await?;
        let table = self.overlay.table(target).await?;
        let mut rows = stored_rows(entity, &table.stored, &ordinals).await?;
        rows.extend(ids.iter().filter_map(|id| table.rows.get(id).cloned()));
        let mut updated = rows.clone();
        for assignment in assignments {
            let at = position(entity.body(), assignment.property)?;
            let property = &entity.body().properties[at];
            let wanted = &property.data_type;
            let values = self.new_values(entity.body(), wanted, &rows, &assignment.value)?;
            for (row, value) in updated.iter_mut().zip(values) {
                let checked = match value::coerce(value, &property.data_type) {
                    Ok(value) => {
                        let fits = self.shape(entity.body())?.check(at, property, &value);
                        fits.map(|()| value)
                    }
                    Err(error) => Err(error),
                };
                match checked {
                    Ok(value) => row.values[at] = value,
                    Err(error) => self.refuse(entity.body(), &row.id, Some(property), error),
                }
            }
        }
        self.embed_updated(entity.body(), assignments, &rows, &mut updated)
            .await?;
        let count = updated.len() as u64;
        let stored = ordinals.into_iter().map(Replaces::Stored);
        let replaces = stored.chain(std::iter::repeat(Replaces::Nothing));
        for ((former, row), replaces) in rows.into_iter().zip(updated).zip(replaces) {
            if former != row {
                self.put(target, row, replaces).await?;
            }
        }
        Ok(counts(entity, count))
    }

    /// The vectors of an inserted or upserted row.
    async fn embed_one(
        &mut self,
        entity: EntityType<'_>,
        assignments: &[Assignment],
        former: Option<&Row>,
        row: &mut Row,
    ) -> Result<()> {
        let assigned = properties(assignments);
        let former = former.map(std::slice::from_ref).unwrap_or_default();
        let rows = std::slice::from_mut(row);
        self.embed(entity.body(), &assigned, former, rows).await?;
        Ok(())
    }

    /// The vectors of updated rows, whose other values are checked.
    async fn embed_updated(
        &mut self,
        body: &TypeBody,
        assignments: &[Assignment],
        former: &[Row],
        updated: &mut [Row],
    ) -> Result<()> {
        let assigned = properties(assignments);
        for at in self.embed(body, &assigned, former, updated).await? {
            let property = &body.properties[at];
            for row in updated.iter() {
                let fits = self.shape(body)?.check(at, property, &row.values[at]);
                if let Err(error) = fits {
                    self.refuse(body, &row.id, Some(property), error);
                }
            }
        }
        Ok(())
    }

    async fn delete(&mut self, target: TypeId, filter: &Expr) -> Result<[u64; 2]> {
        let entity = self.overlay.entity(target)?;
        let (ordinals, ids) = self.matching(target, filter).await?;
        let table = self.overlay.table(target).await?;
        let mut deleted = ids;
        for id in &deleted {
            table.rows.remove(id);
        }
        let is_node = matches!(entity, EntityType::Node(_));
        if is_node && !ordinals.is_empty() {
            deleted.extend(super::rows::texts(&table.stored, "id", &ordinals).await?);
        }
        table.gone.extend(&ordinals);
        if !is_node {
            return Ok(counts(entity, (deleted.len() + ordinals.len()) as u64));
        }
        let edges = self.overlay.cascade(target, &deleted).await?;
        Ok([deleted.len() as u64, edges])
    }

    /// Stored rows and ids of pending rows for which the condition is true.
    async fn matching(&mut self, target: TypeId, filter: &Expr) -> Result<(Vec<u32>, Vec<String>)> {
        let body = self.overlay.entity(target)?.body();
        let fields = own_fields(filter);
        let pinned = pinned_id(body, filter, &self.context)?;
        let context = self.context;
        let table = self.overlay.table(target).await?;
        let candidates = match &pinned {
            Some(id) => match table.find(id).await? {
                Some(Found::Stored(ordinal)) => vec![ordinal],
                Some(Found::Pending) | None => Vec::new(),
            },
            None => table.staying(),
        };
        let mut ordinals = Vec::new();
        for candidates in candidates.chunks(ROWS_PER_TURN) {
            let scope = Fields::stored(body, &table.stored, candidates, &fields).await?;
            let keep = evaluate_filter(filter, &scope, &context)?;
            let kept = candidates.iter().zip(keep).filter(|(_, keep)| *keep);
            ordinals.extend(kept.map(|(ordinal, _)| *ordinal));
            // Others have a turn, and a deadline is noticed.
            tokio::task::yield_now().await;
        }
        let rows: Vec<&Row> = table.rows.values().collect();
        let mut ids = Vec::new();
        if !rows.is_empty() {
            let scope = Fields::of_rows(body, &rows, &fields)?;
            let keep = evaluate_filter(filter, &scope, &context)?;
            let kept = rows.iter().zip(keep).filter(|(_, keep)| *keep);
            ids.extend(kept.map(|(row, _)| row.id.clone()));
        }
        Ok((ordinals, ids))
    }

    /// The value of an assignment for each of the rows.
    fn new_values(
        &mut self,
        body: &TypeBody,
        wanted: &DataType,
        rows: &[Row],
        expr: &Expr,
    ) -> Result<Vec<Value>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if expr.is_constant() {
            let value = evaluate_constant(expr, &self.context)?;
            return Ok(vec![self.placed(body, wanted, value); rows.len()]);
        }
        let rows: Vec<&Row> = rows.iter().collect();
        let scope = Fields::of_rows(body, &rows, &own_fields(expr))?;
        let values = evaluate(expr, &scope, &self.context)?;
        Ok((0..rows.len())
            .map(|row| value_at(values.as_ref(), row))
            .collect())
    }

    /// Content of a blob property gets its place at once; a text may be content too.
    pub(super) fn placed(&mut self, body: &TypeBody, wanted: &DataType, value: Value) -> Value {
        if *wanted != DataType::Blob || !matches!(value, Value::Blob(_) | Value::String(_)) {
            return value;
        }
        match value::coerce(value.clone(), wanted) {
            Ok(value) => self.blobs.entry(body.id).or_default().place(value),
            // What is wrong with it is said where it is checked.
            Err(_) => value,
        }
    }

    /// Writes a row, in place of the entity with its id if there is one.
    async fn put(&mut self, target: TypeId, row: Row, replaces: Replaces) -> Result<()> {
        let table = self.overlay.table(target).await?;
        let stored = match replaces {
            Replaces::Nothing => None,
            Replaces::Stored(ordinal) => Some(ordinal),
            Replaces::LookUp => table.stored_ordinal(&row.id).await?,
        };
        if let Some(ordinal) = stored {
            table.gone.insert(ordinal);
            table.replacing.insert(row.id.clone());
        }
        table.rows.insert(row.id.clone(), row);
        Ok(())
    }
}

fn counts(entity: EntityType<'_>, count: u64) -> [u64; 2] {
    match entity.kind() {
        EntityKind::Node => [count, 0],
        EntityKind::Edge => [0, count],
    }
}

fn properties(assignments: &[Assignment]) -> Vec<PropertyId> {
    assignments.iter().map(|a| a.property).collect()
}

fn property(body: &TypeBody, id: PropertyId) -> Result<&Property> {
    position(body, id).map(|at| &body.properties[at])
}

/// The id that the condition asks for, if it asks for one: `id = c`, or `p = c` for a key of one
/// member.
fn pinned_id(body: &TypeBody, filter: &Expr, context: &EvalContext<'_>) -> Result<Option<String>> {
    let conditions = match &filter.kind {
        ExprKind::And(conditions) => conditions.as_slice(),
        _ => std::slice::from_ref(filter),
    };
    for condition in conditions {
        let ExprKind::Compare {
            op: Comparison::Eq,
            left,
            right,
        } = &condition.kind
        else {
            continue;
        };
        for (own, constant) in [(left, right), (right, left)] {
            let ExprKind::Own(field) = own.kind else {
                continue;
            };
            if !constant.is_constant() {
                continue;
            }
            let data_type = match (field, body.key.as_deref()) {
                (OwnField::Id, _) => None,
                (OwnField::Property(id), Some([Member::Property(only)])) if id == *only => {
                    Some(&property(body, id)?.data_type)
                }
                _ => continue,
            };
            let value = evaluate_constant(constant, context)?;
            let value = match data_type {
                None => Ok(value),
                Some(data_type) => value::coerce(value, data_type),
            };
            if let Some(id) = value.ok().and_then(|value| value::spell(&value).ok()) {
                return Ok(Some(id));
            }
        }
    }
    Ok(None)
}
