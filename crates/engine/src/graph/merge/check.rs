//! What the result could break, though each side by itself is right.
//!
//! Both sides keep the rules of their schema, and all is read off the entities that either changed
//! since the base, because nothing else can be part of a violation. Let `u` be an entity that
//! neither changed: both sides have it as it is in the result. Let `c` be another, which the result
//! has in the version of some side. That side has `u` and `c` like this together, so they do not
//! share a unique tuple, and neither is an edge that lacks the other as its node. What remains are
//! pairs of changed entities, one from each side. Only the number of edges of a node cannot be told
//! from changes alone: it is looked up for those nodes to which both sides gave or took an edge.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::cast::AsArray;
use datafusion::prelude::{col, lit};
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::scanner::Scanner;
use omnigraph_lang::schema::{Cardinality, EdgeType, EntityType, Member, TypeId};
use omnigraph_lang::value::Value;

use super::conflict::{About, ConflictKind, Found};
use super::entities::{Changed, Entity, Keep, Sides, Way};
use super::locate::stream;
use super::{Strategies, gather};
use crate::error::{Error, Result};
use crate::exec::values::value_at;
use crate::graph::Graph;
use crate::graph::delta::RowRef;
use crate::write::{TupleHasher, shorten};

/// Look-ups that go into one filter.
const LOOK_UPS: usize = 1000;

/// The changed entities that were read, by type.
pub(super) type ByType = BTreeMap<TypeId, Changed>;

impl Graph {
    /// Reads what the checks need beside the types that both sides changed: an edge type and a node
    /// type that went different ways, if nodes went away there.
    pub(super) async fn read_interacting(
        &self,
        sides: &Sides,
        strategies: &Strategies,
        types: &mut ByType,
        found: &mut Found,
    ) -> Result<()> {
        let catalog = &sides.ours.schema.catalog;
        for edge in &catalog.edges {
            for node in BTreeSet::from([edge.from, edge.to]) {
                if !interact(sides.way(edge.id), sides.way(node)) {
                    continue;
                }
                self.read(sides, node, strategies, types, found).await?;
                let lost = |changed: &Changed| {
                    let mut entities = changed.entities.values();
                    entities.any(|entity| entity.result().is_none())
                };
                if types.get(&node).is_some_and(lost) {
                    self.read(sides, edge.id, strategies, types, found).await?;
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        sides: &Sides,
        id: TypeId,
        strategies: &Strategies,
        types: &mut ByType,
        found: &mut Found,
    ) -> Result<()> {
        if let Entry::Vacant(room) = types.entry(id) {
            room.insert(self.changed(sides, id, strategies, found).await?);
        }
        Ok(())
    }

    /// Nodes have as many edges as they may.
    pub(super) async fn check_cardinality(
        &self,
        sides: &Sides,
        types: &ByType,
        found: &mut Found,
    ) -> Result<()> {
        for edge in &sides.ours.schema.catalog.edges {
            if edge.cardinality == Cardinality::default() || sides.way(edge.id) != Way::Both {
                continue;
            }
            let Some(changed) = types.get(&edge.id) else {
                continue;
            };
            let doubtful = doubtful(changed);
            if doubtful.is_empty() {
                continue;
            }
            let nodes: Vec<&str> = doubtful.keys().copied().collect();
            let counts = self.count_edges(sides, edge, &nodes).await?;
            let gone = gone(types, edge.from);
            for (node, doubt) in doubtful {
                let before = counts.get(node).copied().unwrap_or(0);
                let count = u64::try_from(before.saturating_add(doubt.gained)).unwrap_or(0);
                let Cardinality { min, max } = edge.cardinality;
                let fits = count >= min && max.is_none_or(|max| count <= max);
                if fits || gone.contains(node) {
                    continue;
                }
                let name = sides.entity(edge.from)?.body().name.as_str();
                let allowed = match max {
                    Some(max) => format!("{min}..{max}"),
                    None => format!("at least {min}"),
                };
                let about = About {
                    entity: EntityType::Edge(edge),
                    id: doubt.id,
                    kind: ConflictKind::CardinalityViolation,
                    resolution: None,
                    message: format!(
                        "{name} `{node}` would have {count} edges of type {}, @card allows {allowed}",
                        edge.name
                    ),
                };
                found.push(about, || doubt.entity.images(EntityType::Edge(edge)))?;
            }
        }
        Ok(())
    }

    /// How many edges of a type start at each of some nodes on our side.
    async fn count_edges(
        &self,
        sides: &Sides,
        edge: &EdgeType,
        nodes: &[&str],
    ) -> Result<HashMap<String, i64>> {
        let mut counts: HashMap<String, i64> = HashMap::new();
        let Some(table) = sides.ours.commit.tables.get(&edge.id) else {
            return Ok(counts);
        };
        let dataset = self.tables().open(table).await?;
        for nodes in nodes.chunks(LOOK_UPS) {
            let mut batches = stream(starting_at(&dataset, nodes)?).await?;
            while let Some(batch) = batches.try_next().await? {
                let sources = batch.column(0).as_string::<i32>();
                for source in sources.iter().flatten() {
                    *counts.entry(source.to_owned()).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }
}

fn starting_at(dataset: &Dataset, nodes: &[&str]) -> Result<Scanner> {
    let wanted = nodes.iter().map(|node| lit(*node)).collect();
    let mut scanner = dataset.scan();
    scanner
        .filter_expr(col("src").in_list(wanted, false))
        .project(&["src"])?;
    Ok(scanner)
}

/// Whether a node that goes on one side can be missed by an edge of the other.
fn interact(edge: Way, node: Way) -> bool {
    !matches!(
        (edge, node),
        (Way::Same, _)
            | (_, Way::Same)
            | (Way::Ours(_), Way::Ours(_))
            | (Way::Theirs(_), Way::Theirs(_))
    )
}

/// Nodes that the result has no more.
fn gone(types: &ByType, node: TypeId) -> BTreeSet<&str> {
    let entities = types.get(&node).map(|changed| changed.entities.iter());
    entities
        .into_iter()
        .flatten()
        .filter(|(_, entity)| entity.result().is_none())
        .map(|(id, _)| id.as_str())
        .collect()
}

/// Edges whose node is gone.
pub(super) fn check_edges(sides: &Sides, types: &ByType, found: &mut Found) -> Result<()> {
    for edge in &sides.ours.schema.catalog.edges {
        let Some(changed) = types.get(&edge.id) else {
            continue;
        };
        let ends = [(edge.from, "from"), (edge.to, "to")];
        let gone = ends.map(|(node, _)| gone(types, node));
        if gone.iter().all(BTreeSet::is_empty) {
            continue;
        }
        for (id, entity) in &changed.entities {
            let Some(at) = entity.result().and_then(RowRef::ends) else {
                continue;
            };
            let missing = (0..2).find(|end| gone[*end].contains(at[*end]));
            let Some(end) = missing.filter(|_| !changed.open.contains(id)) else {
                continue;
            };
            let (node, member) = ends[end];
            let whose = match entity.keep {
                Keep::Ours => sides.names[1],
                Keep::Theirs => sides.names[0],
            };
            let about = About {
                entity: EntityType::Edge(edge),
                id,
                kind: ConflictKind::OrphanEdge,
                resolution: None,
                message: format!(
                    "`{member}`: {} `{}` is deleted by {whose}",
                    sides.entity(node)?.body().name,
                    at[end]
                ),
            };
            found.push(about, || entity.images(EntityType::Edge(edge)))?;
        }
    }
    Ok(())
}

/// Entities that came from different sides and have the same unique values.
pub(super) fn check_unique(
    sides: &Sides,
    id: TypeId,
    changed: &Changed,
    found: &mut Found,
) -> Result<()> {
    let entity = sides.entity(id)?;
    let body = entity.body();
    if body.uniques.is_empty() {
        return Ok(());
    }
    let kept = |keep: Keep| {
        let mut kept = changed.entities.iter().filter(|(_, e)| e.keep == keep);
        let rows: Vec<(&String, &Entity, &RowRef)> = kept
            .by_ref()
            .filter_map(|(id, entity)| Some((id, entity, entity.result()?)))
            .collect();
        rows
    };
    let (ours, theirs) = (kept(Keep::Ours), kept(Keep::Theirs));
    if ours.is_empty() || theirs.is_empty() {
        return Ok(());
    }
    let hasher = TupleHasher::default();
    for members in &body.uniques {
        let mut names = Vec::with_capacity(members.len());
        for member in members {
            names.push(match member {
                Member::Src => "src",
                Member::Dst => "dst",
                Member::Property(id) => body
                    .property_by_id(*id)
                    .map(|property| property.name.as_str())
                    .ok_or_else(|| Error::corrupt("a constraint names no property"))?,
            });
        }
        let tuples = |rows: &[(&String, &Entity, &RowRef)]| {
            let rows: Vec<&RowRef> = rows.iter().map(|(_, _, row)| *row).collect();
            hasher.rows(&gather::columns(&rows, &names)?)
        };
        let mut first: HashMap<u128, &str> = HashMap::new();
        for (tuple, (id, _, _)) in tuples(&ours)?.into_iter().zip(&ours) {
            if let Some(tuple) = tuple {
                first.insert(tuple, id);
            }
        }
        for (tuple, (id, merged, row)) in tuples(&theirs)?.into_iter().zip(&theirs) {
            let Some(other) = tuple.and_then(|tuple| first.get(&tuple)) else {
                continue;
            };
            let values: Vec<String> = names
                .iter()
                .map(|name| shown(row, name))
                .collect::<Result<_>>()?;
            let about = About {
                entity,
                id,
                kind: ConflictKind::UniqueViolation,
                resolution: None,
                message: format!(
                    "@unique({}): `{other}` of {} has the same values ({})",
                    names.join(", "),
                    sides.names[0],
                    values.join(", ")
                ),
            };
            found.push(about, || merged.images(entity))?;
        }
    }
    Ok(())
}

fn shown(row: &RowRef, name: &str) -> Result<String> {
    let array = row
        .array(name)
        .ok_or_else(|| Error::internal(format!("a row of a delta lacks column {name}")))?;
    let value = value_at(array.as_ref(), row.row);
    Ok(match value {
        Value::String(text) => shorten(&text),
        other => serde_json::to_string(&omnigraph_lang::value::to_json(
            &other,
            omnigraph_lang::value::Int64Style::Number,
        ))
        .unwrap_or_default(),
    })
}

/// A node whose edges both sides changed.
struct Doubt<'a> {
    /// Edges that the result has more than our side, or fewer.
    gained: i64,
    over_theirs: i64,
    /// One of the edges that are taken from theirs.
    id: &'a str,
    entity: &'a Entity,
}

/// Nodes whose number of edges in the result is neither that of our side nor that of theirs. What a
/// side has by itself is right.
fn doubtful(changed: &Changed) -> BTreeMap<&str, Doubt<'_>> {
    let mut doubts: BTreeMap<&str, Doubt<'_>> = BTreeMap::new();
    for (id, entity) in &changed.entities {
        let source = |row: Option<&RowRef>| -> Option<String> {
            row.and_then(RowRef::ends).map(|ends| ends[0].to_owned())
        };
        let versions = [
            entity.ours.as_ref(),
            entity.theirs.as_ref(),
            entity.result(),
        ];
        let [ours, theirs, result] = versions.map(source);
        let rows = versions.into_iter().flatten().filter_map(RowRef::ends);
        let nodes: BTreeSet<&str> = rows.map(|ends| ends[0]).collect();
        for node in nodes {
            let has = |source: &Option<String>| i64::from(source.as_deref() == Some(node));
            let doubt = doubts.entry(node).or_insert(Doubt {
                gained: 0,
                over_theirs: 0,
                id,
                entity,
            });
            doubt.gained += has(&result) - has(&ours);
            doubt.over_theirs += has(&result) - has(&theirs);
            if entity.keep == Keep::Theirs {
                (doubt.id, doubt.entity) = (id, entity);
            }
        }
    }
    doubts.retain(|_, doubt| doubt.gained != 0 && doubt.over_theirs != 0);
    doubts
}
