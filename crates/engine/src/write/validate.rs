//! The checks on the state that a write would leave behind (schema language, section 7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_ord::cmp::eq;
use arrow_select::filter::{filter, prep_null_mask_filter};
use omnigraph_lang::Code;
use omnigraph_lang::schema::{
    Cardinality, Catalog, EdgeType, EntityType, Member, TypeBody, TypeId,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::added::{Added, AddedType, member_name};
use super::shape::shorten;
use super::violations::{Check, Violation, Violations};
use crate::error::{Error, Result};
use crate::exec::{Column, IdIndex, TableSnapshot};

/// Stored rows that the write takes away or replaces.
#[derive(Clone, Debug)]
pub(crate) enum Gone {
    All,
    Some(FxHashSet<u32>),
}

/// One table before the write, and what the write takes out of it.
pub(crate) struct TableState {
    pub(crate) stored: Arc<TableSnapshot>,
    /// Absent when the table is empty or no id is looked up in it.
    pub(crate) ids: Option<Arc<IdIndex>>,
    pub(crate) gone: Gone,
}

/// The state that a write would leave behind.
pub(crate) struct FinalState<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) added: &'a Added,
    /// All tables that the checks look at.
    pub(crate) tables: BTreeMap<TypeId, TableState>,
}

impl Default for Gone {
    fn default() -> Self {
        Self::Some(FxHashSet::default())
    }
}

impl Gone {
    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(ordinals) => ordinals.contains(&ordinal),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(ordinals) if ordinals.is_empty())
    }
}

impl TableState {
    /// `look_up`: ids are looked up in it.
    pub(crate) async fn new(stored: Arc<TableSnapshot>, gone: Gone, look_up: bool) -> Result<Self> {
        let ids = if look_up && stored.live_rows() > 0 {
            Some(stored.id_index().await?)
        } else {
            None
        };
        Ok(Self { stored, ids, gone })
    }

    /// The stored entity with this id, whether or not the write takes it away.
    pub(crate) fn ordinal_of(&self, id: &str) -> Option<u32> {
        self.ids.as_ref()?.ordinal_of(id)
    }

    /// Stored rows that stay.
    fn staying(&self) -> Vec<u32> {
        match &self.gone {
            Gone::All => Vec::new(),
            Gone::Some(gone) if gone.is_empty() => self.stored.live().collect(),
            Gone::Some(gone) => self.stored.live().filter(|o| !gone.contains(o)).collect(),
        }
    }

    /// Stored rows that go.
    pub(crate) fn going(&self) -> Vec<u32> {
        match &self.gone {
            Gone::All => self.stored.live().collect(),
            Gone::Some(gone) => {
                let mut ordinals: Vec<u32> = gone.iter().copied().collect();
                ordinals.sort_unstable();
                ordinals
            }
        }
    }

    fn keeps(&self, id: &str) -> bool {
        self.ordinal_of(id).is_some_and(|o| !self.gone.contains(o))
    }
}

/// What a write does to one table, as far as it decides what the checks have to look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changed {
    /// Rows are added or replaced.
    pub(crate) adds: bool,
    /// All stored rows go.
    pub(crate) empties: bool,
}

/// The tables that the checks look at, beside those that the write changes. Of the node tables
/// among them, and of those changed ones that are named here too, they look up ids.
pub(crate) fn tables_read(
    catalog: &Catalog,
    changed: &BTreeMap<TypeId, Changed>,
) -> BTreeSet<TypeId> {
    let mut read = BTreeSet::new();
    for (id, change) in changed {
        match catalog.entity(*id) {
            Some(EntityType::Edge(edge)) if change.adds => read.extend([edge.from, edge.to]),
            Some(EntityType::Edge(edge)) if edge.cardinality != Cardinality::default() => {
                read.insert(edge.from);
            }
            Some(EntityType::Node(_)) if change.empties => {
                for edge in catalog.incident_edges(*id) {
                    read.extend([edge.id, edge.from, edge.to]);
                }
            }
            Some(_) | None => {}
        }
    }
    read
}

impl FinalState<'_> {
    /// Adds everything that is wrong with keys, references and cardinality.
    pub(crate) async fn check(&self, violations: &mut Violations) -> Result<()> {
        for entity in self.catalog.entities() {
            let body = entity.body();
            for at in 0..body.uniques.len() {
                self.unique(entity, at, violations).await?;
            }
        }
        for edge in &self.catalog.edges {
            self.references(edge, violations)?;
            self.left_behind(edge, violations).await?;
        }
        for edge in &self.catalog.edges {
            if edge.cardinality != Cardinality::default() {
                self.cardinality(edge, violations).await?;
            }
        }
        Ok(())
    }

    fn table(&self, id: TypeId) -> Result<&TableState> {
        self.tables
            .get(&id)
            .ok_or_else(|| Error::internal("a table that a check needs was not opened"))
    }

    fn exists(&self, node: TypeId, id: &str) -> bool {
        self.added.get(node).is_some_and(|added| added.contains(id))
            || self.tables.get(&node).is_some_and(|table| table.keeps(id))
    }

    /// No two entities share the tuple.
    async fn unique(
        &self,
        entity: EntityType<'_>,
        at: usize,
        violations: &mut Violations,
    ) -> Result<()> {
        let body = entity.body();
        let members = &body.uniques[at];
        let Some(added) = self.added.get(body.id).filter(|added| added.rows() > 0) else {
            return Ok(());
        };
        let tuples = &added.tuples[at];
        let mut first: FxHashMap<u128, usize> = FxHashMap::default();
        for row in added.live().filter(|row| tuples[*row] != 0) {
            if let Some(other) = first.insert(tuples[row], row) {
                first.insert(tuples[row], other);
                let other = match (added.line(other), added.id(other)) {
                    (Some(line), _) => format!("{} {line}", violations.unit().name()),
                    (None, id) => format!("`{}`", shorten(id)),
                };
                violations.push(not_unique(body, members, added, row, &other)?);
            }
        }
        let table = self.table(body.id)?;
        let staying = table.staying();
        if staying.is_empty() || first.is_empty() {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(members.len());
        for member in members {
            let column = table.stored.column(member_name(body, *member)?).await?;
            columns.push(column.gather(&staying)?);
        }
        let (columns, staying) = match added.few(at) {
            Some(few) => equal_to_some(&columns, &staying, few)?,
            None => (columns, staying),
        };
        let stored = self.added.hasher.rows(&columns)?;
        for (tuple, ordinal) in stored.into_iter().zip(&staying) {
            let Some(row) = tuple.and_then(|tuple| first.get(&tuple)) else {
                continue;
            };
            let other = match &table.ids {
                Some(ids) => format!("`{}`", shorten(ids.id(*ordinal))),
                None => format!("a stored {}", body.name),
            };
            violations.push(not_unique(body, members, added, *row, &other)?);
        }
        Ok(())
    }

    /// Both ends of every added edge exist.
    fn references(&self, edge: &EdgeType, violations: &mut Violations) -> Result<()> {
        let Some(added) = self.added.get(edge.id).filter(|added| added.rows() > 0) else {
            return Ok(());
        };
        for (end, (node, member)) in [(edge.from, "from"), (edge.to, "to")]
            .into_iter()
            .enumerate()
        {
            let exists = self.existing(node)?;
            let Some(nodes) = self.added.get(node) else {
                return Err(Error::internal("ends of edges were not noted"));
            };
            for row in added.live() {
                let number = added.ends[row][end];
                if exists.get(number as usize) == Some(&true) {
                    continue;
                }
                let message = dangling(self.catalog, member, node, nodes.ids.get(number));
                violations.push(
                    Violation::new(Check::Reference, &edge.name, Code::R417, message)
                        .id(added.id(row))
                        .line(added.line(row)),
                );
            }
        }
        Ok(())
    }

    /// Which of the noted ids of a node type exist, by their number.
    fn existing(&self, node: TypeId) -> Result<Vec<bool>> {
        let table = self.table(node)?;
        let Some(added) = self.added.get(node) else {
            return Ok(Vec::new());
        };
        let count = u32::try_from(added.ids.len()).unwrap_or(u32::MAX);
        Ok((0..count)
            .map(|number| added.has_row(number) || table.keeps(added.ids.get(number)))
            .collect())
    }

    /// Stored edges whose node was taken away without them: only an emptied table does that.
    async fn left_behind(&self, edge: &EdgeType, violations: &mut Violations) -> Result<()> {
        for (node, column, member) in [(edge.from, "src", "from"), (edge.to, "dst", "to")] {
            let emptied = self
                .tables
                .get(&node)
                .is_some_and(|table| matches!(table.gone, Gone::All));
            if !emptied {
                continue;
            }
            let table = self.table(edge.id)?;
            let staying = table.staying();
            if staying.is_empty() {
                continue;
            }
            let ends = table.stored.column(column).await?;
            for ordinal in staying {
                let Some(end) = ends.text(ordinal).filter(|end| !self.exists(node, end)) else {
                    continue;
                };
                let message = format!("stored edge: {}", dangling(self.catalog, member, node, end));
                violations.push(
                    Violation::new(Check::Reference, &edge.name, Code::R417, message).id(end),
                );
            }
        }
        Ok(())
    }

    /// Sources that gain, lose or hand over an edge have as many as they may.
    async fn cardinality(&self, edge: &EdgeType, violations: &mut Violations) -> Result<()> {
        let Some(table) = self.tables.get(&edge.id) else {
            return Ok(());
        };
        let added = self.added.get(edge.id);
        if added.is_none_or(|added| added.rows() == 0) && table.gone.is_empty() {
            return Ok(());
        }
        let sources = match table.stored.live_rows() {
            0 => None,
            _ => Some(table.stored.column("src").await?),
        };
        let counts = self.count_edges(edge, table, sources.as_deref());
        let mut sources: Vec<_> = counts.into_iter().collect();
        sources.sort_unstable();
        let Cardinality { min, max } = edge.cardinality;
        for (source, (count, line)) in sources {
            if count >= min && max.is_none_or(|max| count <= max) || !self.exists(edge.from, source)
            {
                continue;
            }
            let message = outside_of_card(self.catalog, edge, source, count);
            violations.push(
                Violation::new(Check::Cardinality, &edge.name, Code::R418, message)
                    .id(source)
                    .line(line),
            );
        }
        Ok(())
    }

    /// For each source that the write concerns: its edges afterwards, and the line of the last
    /// that was added.
    fn count_edges<'s>(
        &'s self,
        edge: &EdgeType,
        table: &'s TableState,
        sources: Option<&'s Column>,
    ) -> FxHashMap<&'s str, (u64, Option<u64>)> {
        let mut counts: FxHashMap<&str, (u64, Option<u64>)> = FxHashMap::default();
        if let (Some(added), Some(nodes)) = (self.added.get(edge.id), self.added.get(edge.from)) {
            for row in added.live() {
                let source = nodes.ids.get(added.ends[row][0]);
                let entry = counts.entry(source).or_default();
                entry.0 += 1;
                entry.1 = added.line(row);
            }
        }
        let Some(sources) = sources else {
            return counts;
        };
        for ordinal in table.going() {
            if let Some(source) = sources.text(ordinal) {
                counts.entry(source).or_default();
            }
        }
        for ordinal in table.staying() {
            let entry = sources.text(ordinal).and_then(|s| counts.get_mut(s));
            if let Some(entry) = entry {
                entry.0 += 1;
            }
        }
        counts
    }
}

/// Those of the stored tuples that equal one of a few others. Floats are kept all, because both
/// zeros are one value.
fn equal_to_some(
    columns: &[ArrayRef],
    ordinals: &[u32],
    few: &[ArrayRef],
) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
    if columns
        .iter()
        .any(|column| column.data_type().is_floating())
    {
        return Ok((columns.to_vec(), ordinals.to_vec()));
    }
    let mut keep = BooleanBuffer::new_unset(ordinals.len());
    for row in 0..few.first().map_or(0, |column| column.len()) {
        let mut equal = BooleanBuffer::new_set(ordinals.len());
        for (column, few) in columns.iter().zip(few) {
            let here = eq(column, &Scalar::new(few.slice(row, 1)))?;
            let here = match here.nulls() {
                Some(_) => prep_null_mask_filter(&here),
                None => here,
            };
            equal = &equal & here.values();
        }
        keep = &keep | &equal;
    }
    let mask = BooleanArray::new(keep, None);
    let columns = columns
        .iter()
        .map(|column| filter(column, &mask))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let kept = ordinals.iter().zip(mask.values().iter());
    let ordinals = kept.filter(|(_, keep)| *keep).map(|(ordinal, _)| *ordinal);
    Ok((columns, ordinals.collect()))
}

/// What is said of an end that is not there.
pub(crate) fn dangling(catalog: &Catalog, member: &str, node: TypeId, id: &str) -> String {
    let name = catalog.node_by_id(node).map_or("node", |n| &n.name);
    format!("`{member}`: {name} `{}` does not exist", shorten(id))
}

/// What is said of a node with too many or too few edges.
pub(crate) fn outside_of_card(
    catalog: &Catalog,
    edge: &EdgeType,
    source: &str,
    count: u64,
) -> String {
    let name = catalog.node_by_id(edge.from).map_or("node", |n| &n.name);
    let Cardinality { min, max } = edge.cardinality;
    let allowed = match max {
        Some(max) => format!("{min}..{max}"),
        None => format!("at least {min}"),
    };
    format!(
        "{name} `{}` would have {count} edges of type {}, @card allows {allowed}",
        shorten(source),
        edge.name
    )
}

/// What is said of a tuple that another entity has.
pub(crate) fn same_values(body: &TypeBody, members: &[Member], other: &str) -> Result<String> {
    let names = members
        .iter()
        .map(|member| member_name(body, *member))
        .collect::<Result<Vec<_>>>()?;
    Ok(format!(
        "@unique({}): {other} has the same values",
        names.join(", ")
    ))
}

fn not_unique(
    body: &TypeBody,
    members: &[Member],
    added: &AddedType,
    row: usize,
    other: &str,
) -> Result<Violation> {
    let message = same_values(body, members, other)?;
    Ok(Violation::new(Check::Key, &body.name, Code::R414, message)
        .id(added.id(row))
        .line(added.line(row)))
}
