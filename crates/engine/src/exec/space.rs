//! The ordinals of a variable: rows of one table, or of several laid end to end.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::DataType;
use arrow_select::interleave::interleave;
use omnigraph_lang::schema::{Catalog, TypeId};

use super::column::{Column, NONE};
use super::table_snapshot::TableSnapshot;
use crate::error::{Error, ErrorKind, Result};

/// The entities of some types under one numbering. Of one type the numbers are the ordinals of its
/// table; several follow each other by name, so that the order of parts is that of type names.
pub(crate) struct Space {
    parts: Vec<Part>,
    rows: usize,
}

/// The entities of one type.
pub(crate) struct Part {
    pub ty: TypeId,
    pub name: String,
    pub start: u32,
    pub table: Arc<TableSnapshot>,
}

impl Space {
    pub(super) fn new(
        catalog: &Catalog,
        tables: Vec<(TypeId, Arc<TableSnapshot>)>,
    ) -> Result<Self> {
        let mut parts = Vec::with_capacity(tables.len());
        for (ty, table) in tables {
            let entity = catalog.entity(ty);
            let entity = entity
                .ok_or_else(|| Error::internal(format!("type {ty} is not in the catalog")))?;
            let name = entity.body().name.clone();
            let start = 0;
            parts.push(Part {
                ty,
                name,
                start,
                table,
            });
        }
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let mut rows = 0;
        for part in &mut parts {
            part.start = u32::try_from(rows).unwrap_or(NONE);
            rows += part.table.rows();
        }
        if rows >= NONE as usize {
            return Err(Error::new(
                ErrorKind::ResourceLimit,
                "the possible types of a variable have more than 4294967294 entities together",
            )
            .with_hint("bind the variable to one type"));
        }
        Ok(Self { parts, rows })
    }

    /// Size of the numbering, dead rows included.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn live_rows(&self) -> usize {
        self.parts.iter().map(|part| part.table.live_rows()).sum()
    }

    /// Numbers of the live rows, ascending.
    pub(crate) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts
            .iter()
            .flat_map(|part| part.table.live().map(|ordinal| part.start + ordinal))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part of a number, and the ordinal in its table.
    pub(crate) fn place(&self, number: u32) -> (usize, u32) {
        if self.parts.len() == 1 {
            return (0, number);
        }
        // Empty parts start where the next one does: the last of those is meant.
        let after = self.parts.partition_point(|part| part.start <= number);
        let at = after.saturating_sub(1);
        let start = self.parts.get(at).map_or(0, |part| part.start);
        (at, number - start)
    }

    pub(crate) fn part_of(&self, ty: TypeId) -> Option<usize> {
        self.parts.iter().position(|part| part.ty == ty)
    }

    /// The table row with an id; of several types that have it the first by name.
    pub(crate) async fn numbers_of(&self, id: &str) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for part in &self.parts {
            let ordinal = part.table.ordinal_of(id).await?;
            found.extend(ordinal.map(|ordinal| part.start + ordinal));
        }
        Ok(found)
    }
}

/// One field of the entities of a space.
pub(crate) enum EntityColumn {
    One(Arc<Column>),
    Several {
        space: Arc<Space>,
        /// By part; null where a type does not have the field.
        columns: Vec<Option<Arc<Column>>>,
        data_type: DataType,
    },
}

impl EntityColumn {
    /// The values at these numbers in this order; [`NONE`] gives null.
    pub(crate) fn gather(&self, numbers: &[u32]) -> Result<ArrayRef> {
        let (space, columns, data_type) = match self {
            Self::One(column) => return column.gather(numbers),
            Self::Several {
                space,
                columns,
                data_type,
            } => (space, columns, data_type),
        };
        let mut ordinals: Vec<Vec<u32>> = vec![Vec::new(); columns.len()];
        let null_at = (columns.len(), 0);
        let place = |&number: &u32| {
            if number == NONE {
                return null_at;
            }
            let (part, ordinal) = space.place(number);
            if columns.get(part).is_none_or(Option::is_none) {
                return null_at;
            }
            ordinals[part].push(ordinal);
            (part, ordinals[part].len() - 1)
        };
        let places: Vec<(usize, usize)> = numbers.iter().map(place).collect();
        let mut arrays = Vec::with_capacity(columns.len() + 1);
        for (column, ordinals) in columns.iter().zip(&ordinals) {
            arrays.push(match column {
                Some(column) if !ordinals.is_empty() => column.gather(ordinals)?,
                _ => new_null_array(data_type, 0),
            });
        }
        arrays.push(new_null_array(data_type, 1));
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        if numbers.is_empty() {
            return Ok(new_null_array(data_type, 0));
        }
        Ok(interleave(&arrays, &places)?)
    }

    /// The text of one entity.
    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        match self {
            Self::One(column) => column.text(number),
            Self::Several { space, columns, .. } => {
                let (part, ordinal) = space.place(number);
                columns.get(part)?.as_ref()?.text(ordinal)
            }
        }
    }
}
