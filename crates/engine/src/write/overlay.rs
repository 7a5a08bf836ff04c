//! What the statements of a mutation have done so far, laid over the stored tables.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use omnigraph_lang::query::{Expr, ExprKind, OwnField};
use omnigraph_lang::schema::{Catalog, EntityType, TypeBody, TypeId};
use omnigraph_lang::value::Value;
use rustc_hash::FxHashSet;

use super::rows::Row;
use super::view::View;
use crate::error::{Error, Result};
use crate::exec::expr::{Leaf, Scope};
use crate::exec::{TableSnapshot, values};

/// The tables that the mutation has looked at.
pub(crate) struct Overlay<'a> {
    view: &'a View,
    types: BTreeMap<TypeId, Pending>,
}

/// One table: stored rows without those that are gone, and the rows that are pending.
pub(crate) struct Pending {
    pub(crate) stored: Arc<TableSnapshot>,
    /// Stored rows that are deleted or replaced.
    pub(crate) gone: FxHashSet<u32>,
    /// Rows to be written, by id.
    pub(crate) rows: BTreeMap<String, Row>,
    /// Ids of rows that stand or stood for a stored entity.
    pub(crate) replacing: FxHashSet<String>,
}

/// Where an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Stored(u32),
    Pending,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(view: &'a View) -> Self {
        Self {
            view,
            types: BTreeMap::new(),
        }
    }

    pub(crate) fn catalog(&self) -> &'a Catalog {
        self.view.catalog()
    }

    pub(crate) fn entity(&self, id: TypeId) -> Result<EntityType<'a>> {
        self.catalog()
            .entity(id)
            .ok_or_else(|| Error::internal("a statement names a type that the schema lacks"))
    }

    /// The state of one table; opens it at first.
    pub(crate) async fn table(&mut self, id: TypeId) -> Result<&mut Pending> {
        match self.types.entry(id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Pending {
                stored: self.view.table(id).await?,
                gone: FxHashSet::default(),
                rows: BTreeMap::new(),
                replacing: FxHashSet::default(),
            })),
        }
    }

    pub(crate) fn into_types(self) -> BTreeMap<TypeId, Pending> {
        self.types
    }

    /// Deletes every edge that starts or ends at one of these nodes; how many there were.
    pub(crate) async fn cascade(&mut self, node: TypeId, ids: &[String]) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let deleted: FxHashSet<&str> = ids.iter().map(String::as_str).collect();
        let catalog = self.catalog();
        let mut count = 0;
        for edge in catalog.incident_edges(node) {
            let table = self.table(edge.id).await?;
            let ends = [edge.from == node, edge.to == node];
            count += table.remove_incident(ends, &deleted).await?;
        }
        Ok(count)
    }
}

impl Pending {
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Found>> {
        if self.rows.contains_key(id) {
            return Ok(Some(Found::Pending));
        }
        let stored = self.stored_ordinal(id).await?;
        Ok(stored
            .filter(|ordinal| !self.gone.contains(ordinal))
            .map(Found::Stored))
    }

    /// The stored row with this id, also one that is gone.
    pub(crate) async fn stored_ordinal(&self, id: &str) -> Result<Option<u32>> {
        if self.stored.live_rows() == 0 {
            return Ok(None);
        }
        self.stored.ordinal_of(id).await
    }

    /// Stored rows that are still there.
    pub(crate) fn staying(&self) -> Vec<u32> {
        self.stored
            .live()
            .filter(|ordinal| !self.gone.contains(ordinal))
            .collect()
    }

    /// Whether this table will have another version.
    pub(crate) fn is_changed(&self) -> bool {
        !self.gone.is_empty() || !self.rows.is_empty()
    }

    /// Rows that replace a stored entity.
    pub(crate) fn updated(&self) -> usize {
        let ids = self.rows.keys();
        ids.filter(|id| self.replacing.contains(*id)).count()
    }

    async fn remove_incident(&mut self, ends: [bool; 2], nodes: &FxHashSet<&str>) -> Result<u64> {
        let before = self.rows.len();
        self.rows.retain(|_, row| {
            let touches = |end: usize| {
                ends[end]
                    && row
                        .ends
                        .as_ref()
                        .is_some_and(|e| nodes.contains(e[end].as_str()))
            };
            !touches(0) && !touches(1)
        });
        let mut count = (before - self.rows.len()) as u64;
        if self.stored.live_rows() == 0 {
            return Ok(count);
        }
        for (column, wanted) in ["src", "dst"].into_iter().zip(ends) {
            if !wanted {
                continue;
            }
            let column = self.stored.column(column).await?;
            // One node is the usual case: comparing is faster than hashing every end.
            let only = nodes.iter().next().filter(|_| nodes.len() == 1);
            let is_deleted = |id: &str| match only {
                Some(only) => *only == id,
                None => nodes.contains(id),
            };
            for ordinal in self.stored.live() {
                if column.text(ordinal).is_some_and(is_deleted) && self.gone.insert(ordinal) {
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

/// The fields of the entity that an expression looks at.
pub(crate) fn own_fields(expr: &Expr) -> Vec<OwnField> {
    let mut fields = Vec::new();
    expr.visit(&mut |e| {
        if let ExprKind::Own(field) = &e.kind
            && !fields.contains(field)
        {
            fields.push(*field);
        }
    });
    fields
}

/// Entities of one type with those fields that an expression looks at.
pub(crate) struct Fields {
    rows: usize,
    columns: HashMap<OwnField, ArrayRef>,
}

impl Fields {
    /// Of stored rows.
    pub(crate) async fn stored(
        body: &TypeBody,
        stored: &TableSnapshot,
        ordinals: &[u32],
        fields: &[OwnField],
    ) -> Result<Self> {
        let mut columns = HashMap::new();
        for field in fields {
            let column = stored.column(column_name(body, *field)?).await?;
            columns.insert(*field, column.gather(ordinals)?);
        }
        Ok(Self {
            rows: ordinals.len(),
            columns,
        })
    }

    /// Of rows outside of a table.
    pub(crate) fn of_rows(body: &TypeBody, rows: &[&Row], fields: &[OwnField]) -> Result<Self> {
        let texts = |text: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
            Arc::new(StringArray::from_iter(rows.iter().map(|row| text(row))))
        };
        let end = |row: &Row, end: usize| row.ends.as_ref().map(|ends| ends[end].clone());
        let mut columns = HashMap::new();
        for field in fields {
            let column = match field {
                OwnField::Id => texts(&|row| Some(row.id.clone())),
                OwnField::From => texts(&|row| end(row, 0)),
                OwnField::To => texts(&|row| end(row, 1)),
                OwnField::Property(id) => {
                    let position = position(body, *id)?;
                    let cells: Vec<Value> = rows
                        .iter()
                        .map(|row| row.values.get(position).cloned().unwrap_or(Value::Null))
                        .collect();
                    let data_type = &body.properties[position].data_type;
                    values::array_of(&values::storage_type(data_type), &cells)?
                }
            };
            columns.insert(*field, column);
        }
        Ok(Self {
            rows: rows.len(),
            columns,
        })
    }
}

impl Scope for Fields {
    fn rows(&self) -> usize {
        self.rows
    }

    fn resolve(&self, leaf: Leaf<'_>) -> Result<ArrayRef> {
        let column = match leaf {
            Leaf::Own(field) => self.columns.get(&field),
            _ => None,
        };
        column
            .cloned()
            .ok_or_else(|| Error::internal("a mutation looks at something that it cannot see"))
    }
}

/// The position of a property among those of its type.
pub(crate) fn position(body: &TypeBody, id: omnigraph_lang::schema::PropertyId) -> Result<usize> {
    body.properties
        .iter()
        .position(|property| property.id == id)
        .ok_or_else(|| {
            Error::internal(format!(
                "type {} lacks a property of a statement",
                body.name
            ))
        })
}

fn column_name(body: &TypeBody, field: OwnField) -> Result<&str> {
    Ok(match field {
        OwnField::Id => "id",
        OwnField::From => "src",
        OwnField::To => "dst",
        OwnField::Property(id) => &body.properties[position(body, id)?].name,
    })
}
