//! The checks on the state that a load would leave behind, over keys in sorted runs (schema
//! language, section 7). They find what [`crate::write::validate::FinalState`] finds in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use omnigraph_lang::Code;
use omnigraph_lang::schema::{Cardinality, Catalog, EdgeType, EntityType};

use super::LoadMode;
use super::keys::{Spilled, What, end_kind, of_kind};
use super::memory::Part;
use super::plan::{Plan, TypePlan};
use super::row_set::RowSet;
use super::spill::{Merge, Origin, Record, Section, Sorter, Spill};
use crate::error::{Error, Result};
use crate::exec::{Column, IdIndex, TableSnapshot};
use crate::graph::SchemaVersion;
use crate::write::validate::{dangling, outside_of_card, same_values};
use crate::write::violations::{Check, Violation, Violations};

/// Stored rows that are looked at together.
const ROWS: usize = 32 << 10;

/// Bytes that are sorted together, at least.
const SORTED_AT_ONCE: usize = 64 << 10;

/// A stored table as the checks need it.
pub(super) struct Stored {
    pub(super) table: Arc<TableSnapshot>,
    /// Absent when nothing is looked up.
    pub(super) ids: Option<Arc<IdIndex>>,
    /// The load takes all its rows away.
    pub(super) emptied: bool,
    /// Of edges, where they are needed.
    pub(super) ends: Option<[Arc<Column>; 2]>,
    /// The columns of each unique constraint, where they are needed.
    pub(super) uniques: Vec<Vec<Arc<Column>>>,
}

/// What the load does to one table.
#[derive(Default)]
pub(super) struct Effect {
    /// Stored rows that are replaced.
    pub(super) gone: RowSet,
    /// Added rows that a later one replaces.
    pub(super) superseded: RowSet,
    /// Rows that take the place of a stored one.
    pub(super) updated: u64,
}

/// Everything that the checks look at. They block.
pub(super) struct Checks<'a> {
    pub(super) plan: &'a Plan,
    pub(super) schema: &'a SchemaVersion,
    pub(super) spilled: &'a Spilled,
    pub(super) mode: LoadMode,
    /// By the type's position.
    pub(super) stored: &'a BTreeMap<usize, Stored>,
    pub(super) violations: Violations,
    pub(super) effects: BTreeMap<usize, Effect>,
}

/// What is known of one node while the records about it pass by.
#[derive(Default)]
struct Node {
    is_added: bool,
    exists: Option<bool>,
    /// Of edge types with a cardinality, by position.
    edges: Vec<(usize, Outgoing)>,
}

#[derive(Clone, Copy, Default)]
struct Outgoing {
    count: u64,
    line: u32,
    /// The load gives or takes one.
    is_concerned: bool,
}

impl Checks<'_> {
    pub(super) fn run(&mut self) -> Result<()> {
        let positions: Vec<usize> = self.spilled.types.keys().copied().collect();
        for position in &positions {
            let effect = self.ids(*position)?;
            self.effects.insert(*position, effect);
        }
        let sets = self.effects.values();
        let bytes = sets.map(|effect| effect.gone.bytes() + effect.superseded.bytes());
        self.spilled.progress.meter.set(Part::Keys, bytes.sum());
        for position in positions {
            self.uniques(position)?;
        }
        let more = self.stored_edges()?;
        for (position, plan) in self.plan.types.iter().enumerate() {
            if !plan.is_edge() {
                self.nodes(position, &more)?;
            }
        }
        self.spilled.progress.meter.set(Part::Sorting, 0);
        Ok(())
    }

    fn catalog(&self) -> &Catalog {
        &self.schema.catalog
    }

    fn type_plan(&self, position: usize) -> Result<&TypePlan> {
        let plan = self.plan.types.get(position);
        plan.ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
    }

    fn entity(&self, position: usize) -> Result<EntityType<'_>> {
        let entity = self.catalog().entity(self.type_plan(position)?.id);
        entity.ok_or_else(|| Error::internal("rows of a type that the schema lacks"))
    }

    fn edge(&self, position: usize) -> Result<&EdgeType> {
        let edge = self.catalog().edge_by_id(self.type_plan(position)?.id);
        edge.ok_or_else(|| Error::internal("edges of a type that the schema lacks"))
    }

    fn merge(&self, sections: &[Section], more: Option<&Spill>) -> Result<Merge> {
        let merge = self.spilled.spill.merge(sections, more)?;
        self.spilled
            .progress
            .meter
            .set(Part::Sorting, merge.bytes());
        Ok(merge)
    }

    /// Ids that occur twice, and those that are stored.
    fn ids(&mut self, position: usize) -> Result<Effect> {
        let body = self.entity(position)?.body();
        let (name, last_wins) = (
            body.name.clone(),
            self.mode == LoadMode::Merge && !body.is_keyed(),
        );
        let known = self.spilled.types.get(&position);
        let mut effect = Effect {
            superseded: known
                .map(|rows| rows.superseded.clone())
                .unwrap_or_default(),
            ..Effect::default()
        };
        let mut merge = self.merge(&[Section::Ids(position)], None)?;
        let mut before: Option<(Vec<u8>, Origin)> = None;
        while let Some(record) = merge.next()? {
            match &mut before {
                Some((_, last)) if !record.is_new && last_wins => {
                    effect.superseded.insert(last.row);
                    *last = record.origin;
                }
                Some((_, first)) if !record.is_new => {
                    let unit = self.violations.unit().name();
                    let id = shown(merge.key());
                    let message = format!(
                        "id `{}` occurs twice, first in {unit} {}",
                        short(&id),
                        first.line
                    );
                    self.violations.push(
                        Violation::new(Check::Key, &name, Code::R415, message)
                            .id(&id)
                            .line(line(record.origin.line)),
                    );
                }
                _ => {
                    let passed = before.replace((merge.key().to_vec(), record.origin));
                    if let Some((id, last)) = passed {
                        self.stored_id(position, &id, last, &mut effect)?;
                    }
                }
            }
        }
        if let Some((id, last)) = before {
            self.stored_id(position, &id, last, &mut effect)?;
        }
        Ok(effect)
    }

    fn stored_id(
        &mut self,
        position: usize,
        id: &[u8],
        origin: Origin,
        effect: &mut Effect,
    ) -> Result<()> {
        let Some(stored) = self.stored.get(&position) else {
            return Ok(());
        };
        let Some(ordinal) = ordinal_of(stored, id) else {
            return Ok(());
        };
        effect.updated += 1;
        match self.mode {
            LoadMode::Overwrite => {}
            LoadMode::Merge => {
                effect.gone.insert(ordinal);
            }
            LoadMode::Append => {
                let plan = self.type_plan(position)?;
                let id = shown(id);
                let violation = super::commit::exists(plan, &id, line(origin.line));
                self.violations.push(violation);
            }
        }
        Ok(())
    }

    /// No two entities share a tuple.
    fn uniques(&mut self, position: usize) -> Result<()> {
        let body = self.entity(position)?.body().clone();
        for (at, members) in body.uniques.iter().enumerate() {
            let more = self.stored_tuples(position, at)?;
            let mut merge = self.merge(&[Section::Unique(position, at)], more.as_ref())?;
            let mut first: Option<Origin> = None;
            while let Some(Record { origin, is_new, .. }) = merge.next()? {
                if is_new {
                    first = None;
                }
                let other = match (origin.kind, first) {
                    (0, _) if self.is_superseded(position, origin.row) => continue,
                    (0, None) => {
                        first = Some(origin);
                        continue;
                    }
                    (0, Some(first)) => {
                        let unit = self.violations.unit().name();
                        (origin, format!("{unit} {}", first.line))
                    }
                    (_, None) => continue,
                    (_, Some(first)) => {
                        let stored = self.stored.get(&position);
                        let ids = stored.and_then(|stored| stored.ids.as_ref());
                        let other = match ids {
                            Some(ids) => format!("`{}`", short(ids.id(origin.row))),
                            None => format!("a stored {}", body.name),
                        };
                        (first, other)
                    }
                };
                let (origin, other) = other;
                let message = same_values(&body, members, &other)?;
                self.violations.push(
                    Violation::new(Check::Key, &body.name, Code::R414, message)
                        .id(&format!("{:010}", origin.row))
                        .line(line(origin.line)),
                );
            }
        }
        Ok(())
    }

    /// The tuples of stored rows that stay.
    fn stored_tuples(&self, position: usize, at: usize) -> Result<Option<Spill>> {
        let Some(stored) = self.stored.get(&position) else {
            return Ok(None);
        };
        let (Some(columns), false) = (stored.uniques.get(at), stored.emptied) else {
            return Ok(None);
        };
        let mut sorter = self.sorter();
        let mut staying = self.staying(position, stored);
        loop {
            let rows: Vec<u32> = staying.by_ref().take(ROWS).collect();
            if rows.is_empty() {
                break;
            }
            let columns = columns.iter().map(|column| column.gather(&rows));
            let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
            let tuples = self.spilled.hasher.rows(&columns)?;
            for (tuple, row) in tuples.into_iter().zip(rows) {
                if let Some(tuple) = tuple {
                    let origin = Origin {
                        kind: 1,
                        row,
                        line: 0,
                    };
                    sorter.put(Section::Unique(position, at), &tuple.to_be_bytes(), origin)?;
                }
            }
            self.spilled
                .progress
                .meter
                .set(Part::Sorting, sorter.bytes());
        }
        sorter.finish().map(Some)
    }

    /// Ends of stored edges that have to be looked at: where a node may have gone with its table,
    /// and where edges are counted.
    fn stored_edges(&self) -> Result<Spill> {
        let mut sorter = self.sorter();
        for (position, stored) in self.stored {
            let (Some(ends), Some(types)) = (&stored.ends, self.type_plan(*position)?.ends) else {
                continue;
            };
            let whats = [What::StoredFrom, What::StoredTo];
            for ((column, node), what) in ends.iter().zip(types).zip(whats) {
                if !self.is_emptied(node) {
                    continue;
                }
                for row in self.staying(*position, stored) {
                    let end = column.text(row).unwrap_or_default().as_bytes();
                    let kind = end_kind(*position, what);
                    sorter.put(Section::Ends(node), end, Origin { kind, row, line: 0 })?;
                }
            }
            let gone = self.effects.get(position).map(|effect| &effect.gone);
            let is_touched = self.spilled.rows(*position) > 0;
            if self.edge(*position)?.cardinality == Cardinality::default() || !is_touched {
                continue;
            }
            for row in stored.table.live() {
                let goes = stored.emptied || gone.is_some_and(|gone| gone.contains(row));
                let what = if goes { What::Leaves } else { What::Stays };
                let kind = end_kind(*position, what);
                let source = ends[0].text(row).unwrap_or_default().as_bytes();
                sorter.put(
                    Section::Ends(types[0]),
                    source,
                    Origin { kind, row, line: 0 },
                )?;
            }
            self.spilled
                .progress
                .meter
                .set(Part::Sorting, sorter.bytes());
        }
        sorter.finish()
    }

    fn sorter(&self) -> Sorter {
        let memory = (self.spilled.shares.keys / 2).max(SORTED_AT_ONCE);
        let spill = Spill::new(Arc::clone(&self.spilled.progress), memory);
        Sorter::new(spill, memory)
    }

    fn is_emptied(&self, position: usize) -> bool {
        self.stored
            .get(&position)
            .is_some_and(|stored| stored.emptied)
    }

    fn is_superseded(&self, position: usize, row: u32) -> bool {
        let effect = self.effects.get(&position);
        effect.is_some_and(|effect| effect.superseded.contains(row))
    }

    /// Stored rows that stay.
    fn staying<'s>(
        &'s self,
        position: usize,
        stored: &'s Stored,
    ) -> impl Iterator<Item = u32> + 's {
        let gone = self.effects.get(&position).map(|effect| &effect.gone);
        let live = stored.table.live().filter(|_| !stored.emptied);
        live.filter(move |row| gone.is_none_or(|gone| !gone.contains(*row)))
    }

    /// What edges ask of the nodes of a type.
    fn nodes(&mut self, position: usize, more: &Spill) -> Result<()> {
        let sections = [Section::Ids(position), Section::Ends(position)];
        let mut merge = self.merge(&sections, Some(more))?;
        let mut node = Node::default();
        let mut id = Vec::new();
        while let Some(record) = merge.next()? {
            if record.is_new {
                self.cardinality(position, &id, &mut node)?;
                node = Node::default();
                id.clear();
                id.extend_from_slice(merge.key());
            }
            match record.part {
                0 => node.is_added = true,
                _ => self.end(position, &id, record.origin, &mut node)?,
            }
        }
        self.cardinality(position, &id, &mut node)
    }

    fn exists(&self, position: usize, id: &[u8], node: &mut Node) -> bool {
        let stored = || {
            let stored = self.stored.get(&position);
            stored.is_some_and(|stored| !stored.emptied && ordinal_of(stored, id).is_some())
        };
        *node.exists.get_or_insert_with(|| node.is_added || stored())
    }

    fn end(&mut self, position: usize, id: &[u8], origin: Origin, node: &mut Node) -> Result<()> {
        let Some((edge, what)) = of_kind(origin.kind) else {
            return Err(Error::internal("a sorted key says nothing"));
        };
        if matches!(what, What::From | What::To) && self.is_superseded(edge, origin.row) {
            return Ok(());
        }
        let member = match what {
            What::To | What::StoredTo => "to",
            _ => "from",
        };
        let refers = !matches!(what, What::Leaves | What::Stays);
        if refers && !self.exists(position, id, node) {
            let id = shown(id);
            let message = dangling(self.catalog(), member, self.type_plan(position)?.id, &id);
            let message = match what {
                What::From | What::To => message,
                _ => format!("stored edge: {message}"),
            };
            let name = &self.type_plan(edge)?.name;
            let violation = Violation::new(Check::Reference, name, Code::R417, message);
            let violation = match what {
                What::From | What::To => violation.id(&format!("{:010}", origin.row)),
                _ => violation.id(&id),
            };
            self.violations.push(violation.line(line(origin.line)));
        }
        if matches!(what, What::From | What::Leaves | What::Stays)
            && self.edge(edge)?.cardinality != Cardinality::default()
        {
            let known = node.edges.iter().position(|(other, _)| *other == edge);
            let known = known.unwrap_or_else(|| {
                node.edges.push((edge, Outgoing::default()));
                node.edges.len() - 1
            });
            let outgoing = &mut node.edges[known].1;
            outgoing.count += u64::from(what != What::Leaves);
            outgoing.is_concerned |= what != What::Stays;
            outgoing.line = outgoing.line.max(origin.line);
        }
        Ok(())
    }

    /// The node that has passed by has as many edges as it may.
    fn cardinality(&mut self, position: usize, id: &[u8], node: &mut Node) -> Result<()> {
        for (edge, outgoing) in std::mem::take(&mut node.edges) {
            let edge = self.edge(edge)?;
            let Cardinality { min, max } = edge.cardinality;
            let fits = outgoing.count >= min && max.is_none_or(|max| outgoing.count <= max);
            if fits || !outgoing.is_concerned || !self.exists(position, id, node) {
                continue;
            }
            let id = shown(id);
            let message = outside_of_card(self.catalog(), edge, &id, outgoing.count);
            let violation =
                Violation::new(Check::Cardinality, &edge.name, Code::R418, message).id(&id);
            self.violations.push(violation.line(line(outgoing.line)));
        }
        Ok(())
    }
}

fn ordinal_of(stored: &Stored, id: &[u8]) -> Option<u32> {
    stored
        .ids
        .as_ref()?
        .ordinal_of(std::str::from_utf8(id).ok()?)
}

fn shown(id: &[u8]) -> String {
    String::from_utf8_lossy(id).into_owned()
}

fn short(id: &str) -> String {
    crate::write::shape::shorten(id)
}

fn line(line: u32) -> Option<u64> {
    (line > 0).then_some(u64::from(line))
}
