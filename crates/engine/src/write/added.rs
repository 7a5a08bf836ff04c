//! The rows that a write adds, reduced to what the checks on the final state need: ids, ends,
//! fingerprints of unique tuples, and the lines that they came from.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use omnigraph_lang::Code;
use omnigraph_lang::schema::{EntityType, Member, TypeBody, TypeId};
use rustc_hash::FxHashSet;

use super::keys::{IdSet, NONE, TupleHasher};
use super::shape::shorten;
use super::violations::{Check, Violation, Violations};
use crate::error::{Error, Result};

/// Rows that are few.
const FEW: usize = 8;

/// What to do with an id that occurs twice in one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeated {
    Refused,
    /// The row that came last counts.
    LastWins,
    /// Reported by whoever knows the rows before these too.
    Noted,
}

/// The added rows of all types. Ids that only occur as ends of edges are noted with their type.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) hasher: TupleHasher,
    types: BTreeMap<TypeId, AddedType>,
}

/// The added rows of one type, by position.
#[derive(Debug, Default)]
pub(crate) struct AddedType {
    /// Ids of rows, and ids that edges refer to.
    pub(crate) ids: IdSet,
    /// The row with the id, by the id's number; [`NONE`] if edges only refer to it.
    row_of: Vec<u32>,
    /// The number of the row's id; [`NONE`] for one that was made up and that nothing refers to.
    id_of: Vec<u32>,
    /// The line of the row; 0 where there are no lines.
    lines: Vec<u32>,
    /// Numbers of the ids of both ends, in the sets of their types. Of edges only.
    pub(crate) ends: Vec<[u32; 2]>,
    /// By unique constraint and row; 0 for a tuple with a null.
    pub(crate) tuples: Vec<Vec<u128>>,
    /// Rows that a later row with the same id replaces.
    pub(crate) superseded: FxHashSet<u32>,
    /// Numbers of ids that occur again, and the rows where, in the order of the rows.
    pub(crate) repeats: Vec<(u32, u32)>,
    /// The columns of each unique constraint, as long as there are few rows: the check on the
    /// stored rows then compares instead of hashing all of them.
    few: Option<Vec<Vec<ArrayRef>>>,
}

/// A batch of added rows.
pub(crate) struct NewRows<'a> {
    pub(crate) batch: &'a RecordBatch,
    /// The line of each row; empty where there are no lines.
    pub(crate) lines: &'a [u32],
    /// Whether the id was made up, so that nothing else can have it; empty: none was.
    pub(crate) fresh: &'a [bool],
}

impl Added {
    pub(crate) fn get(&self, id: TypeId) -> Option<&AddedType> {
        self.types.get(&id)
    }

    /// Bytes of memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.types.values().map(AddedType::bytes).sum()
    }

    /// Forgets all rows, but not how tuples are fingerprinted.
    pub(crate) fn clear(&mut self) {
        self.types = BTreeMap::new();
    }

    /// Adds the rows of a batch in the form of the type's table.
    pub(crate) fn push(
        &mut self,
        entity: EntityType<'_>,
        rows: &NewRows<'_>,
        repeated: Repeated,
        violations: &mut Violations,
    ) -> Result<()> {
        let body = entity.body();
        let ends = match entity {
            EntityType::Node(_) => None,
            EntityType::Edge(edge) => Some((
                self.intern(edge.from, column(rows.batch, "src")?.as_string()),
                self.intern(edge.to, column(rows.batch, "dst")?.as_string()),
            )),
        };
        let mut tuples = Vec::with_capacity(body.uniques.len());
        let mut members = Vec::with_capacity(body.uniques.len());
        for unique in &body.uniques {
            let columns = member_columns(body, unique, rows.batch)?;
            let hashed = self.hasher.rows(&columns)?;
            tuples.push(hashed.into_iter().map(|tuple| tuple.unwrap_or(0)));
            members.push(columns);
        }
        let added = self.types.entry(body.id).or_default();
        let first = added.rows();
        added.few = (first == 0 && rows.batch.num_rows() <= FEW).then_some(members);
        if let Some((src, dst)) = ends {
            added
                .ends
                .extend(src.into_iter().zip(dst).map(|(s, d)| [s, d]));
        }
        added.tuples.resize(body.uniques.len(), Vec::new());
        for (all, new) in added.tuples.iter_mut().zip(tuples) {
            all.extend(new);
        }
        let ids: &StringArray = column(rows.batch, "id")?.as_string();
        for row in 0..ids.len() {
            let line = rows.lines.get(row).copied().unwrap_or(0);
            let position = position(first + row)?;
            let fresh = rows.fresh.get(row) == Some(&true);
            let number = if fresh {
                NONE
            } else {
                added.number(ids.value(row))
            };
            added.id_of.push(number);
            added.lines.push(line);
            if fresh {
                continue;
            }
            let before = std::mem::replace(&mut added.row_of[number as usize], position);
            match (before, repeated) {
                (NONE, _) => {}
                (before, Repeated::LastWins) => {
                    added.superseded.insert(before);
                }
                (before, Repeated::Noted) => {
                    added.row_of[number as usize] = before;
                    added.repeats.push((number, position));
                }
                (before, Repeated::Refused) => {
                    added.row_of[number as usize] = before;
                    let message = format!(
                        "id `{}` occurs twice, first in {} {}",
                        shorten(ids.value(row)),
                        violations.unit().name(),
                        added.lines[before as usize]
                    );
                    violations.push(
                        Violation::new(Check::Key, &body.name, Code::R415, message)
                            .id(ids.value(row))
                            .line(line_number(line)),
                    );
                }
            }
        }
        Ok(())
    }

    fn intern(&mut self, node: TypeId, ids: &StringArray) -> Vec<u32> {
        let added = self.types.entry(node).or_default();
        (0..ids.len())
            .map(|row| added.number(ids.value(row)))
            .collect()
    }
}

impl AddedType {
    /// Added rows, superseded ones included.
    pub(crate) fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The row that has the id with this number.
    pub(crate) fn row_with(&self, number: u32) -> Option<usize> {
        let row = self.row_of.get(number as usize).copied();
        row.filter(|row| *row != NONE).map(|row| row as usize)
    }

    fn bytes(&self) -> usize {
        let words = self.row_of.capacity()
            + self.id_of.capacity()
            + self.lines.capacity()
            + 2 * self.repeats.capacity();
        let tuples: usize = self.tuples.iter().map(Vec::capacity).sum();
        self.ids.bytes()
            + words * 4
            + self.ends.capacity() * 8
            + tuples * 16
            + self.superseded.capacity() * 8
    }

    /// Positions of the rows that count.
    pub(crate) fn live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows()).filter(|row| !self.is_superseded(*row))
    }

    /// The columns of a unique constraint, if there are few rows.
    pub(crate) fn few(&self, unique: usize) -> Option<&[ArrayRef]> {
        Some(self.few.as_ref()?.get(unique)?)
    }

    /// Whether a row has the id with this number.
    pub(crate) fn has_row(&self, number: u32) -> bool {
        self.row_with(number).is_some()
    }

    /// Whether a row has this id.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.find(id).is_some_and(|number| self.has_row(number))
    }

    /// The ids of rows that others may know, with the position of the row.
    pub(crate) fn known_ids(&self) -> impl Iterator<Item = (&str, usize)> {
        let numbered = (0..).zip(&self.row_of).filter(|(_, row)| **row != NONE);
        numbered.map(|(number, row)| (self.ids.get(number), *row as usize))
    }

    /// The id of the row, empty if it was made up.
    pub(crate) fn id(&self, row: usize) -> &str {
        match self.id_of.get(row) {
            Some(number) if *number != NONE => self.ids.get(*number),
            _ => "",
        }
    }

    pub(crate) fn line(&self, row: usize) -> Option<u64> {
        self.lines.get(row).copied().and_then(line_number)
    }

    fn is_superseded(&self, row: usize) -> bool {
        !self.superseded.is_empty() && position(row).is_ok_and(|row| self.superseded.contains(&row))
    }

    fn number(&mut self, id: &str) -> u32 {
        let (number, new) = self.ids.intern(id);
        if new {
            self.row_of.push(NONE);
        }
        number
    }
}

/// The columns of the members of a tuple.
fn member_columns(
    body: &TypeBody,
    members: &[Member],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    members
        .iter()
        .map(|member| column(batch, member_name(body, *member)?).cloned())
        .collect()
}

/// The name of the column that holds a member of a key or of a unique tuple.
pub(crate) fn member_name(body: &TypeBody, member: Member) -> Result<&str> {
    match member {
        Member::Src => Ok("src"),
        Member::Dst => Ok("dst"),
        Member::Property(id) => body
            .property_by_id(id)
            .map(|property| property.name.as_str())
            .ok_or_else(|| {
                Error::corrupt(format!("a constraint of {} names no property", body.name))
            }),
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::internal(format!("column {name} is missing in written rows")))
}

fn position(row: usize) -> Result<u32> {
    u32::try_from(row)
        .ok()
        .filter(|row| *row != NONE)
        .ok_or_else(|| {
            Error::new(
                crate::error::ErrorKind::ResourceLimit,
                "one write can hold at most 4,294,967,294 rows of a type, split the input",
            )
        })
}

fn line_number(line: u32) -> Option<u64> {
    (line > 0).then_some(u64::from(line))
}
