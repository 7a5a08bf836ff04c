//! Which side's version of each entity stays.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use omnigraph_lang::schema::{EntityType, TypeId};

use super::conflict::{About, ConflictImage, ConflictKind, Found, Images, Resolution};
use super::{MergeStrategy, Strategies};
use crate::error::{Error, Result};
use crate::graph::delta::{Change, RowRef, Side, same_entity};
use crate::graph::{Graph, TableRef};

/// What is put together: the heads of both sides, and their best common ancestors. All have one
/// schema.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    /// Newest first, at least one.
    pub(super) bases: Vec<Side>,
    pub(super) ours: Side,
    pub(super) theirs: Side,
    /// What our side and theirs are called in messages.
    pub(super) names: [&'static str; 2],
}

/// Whose table of a type the result starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Both sides have the same.
    Same,
    /// Only ours differs from the base with this number.
    Ours(usize),
    /// Only theirs does.
    Theirs(usize),
    /// Both have moved.
    Both,
}

/// Whose version of an entity the result has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Ours,
    Theirs,
}

/// An entity that at least one side changed.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) base: Option<RowRef>,
    pub(super) ours: Option<RowRef>,
    pub(super) theirs: Option<RowRef>,
    pub(super) keep: Keep,
}

/// The changed entities of one type.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    pub(super) entities: BTreeMap<String, Entity>,
    /// Those with a conflict that nobody has decided; they stand as ours until then.
    pub(super) open: BTreeSet<String>,
}

/// How one entity fares against one base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ours,
    Theirs,
    Conflict,
}

impl Sides {
    /// The type in the schema of the result.
    pub(super) fn entity(&self, id: TypeId) -> Result<EntityType<'_>> {
        self.ours
            .entity(id)
            .ok_or_else(|| Error::internal("a merged type is missing in the schema"))
    }

    pub(super) fn way(&self, id: TypeId) -> Way {
        let table = |side: &Side| -> Option<TableRef> { side.commit.tables.get(&id).cloned() };
        let (ours, theirs) = (table(&self.ours), table(&self.theirs));
        if ours == theirs {
            return Way::Same;
        }
        let base_with = |wanted: &Option<TableRef>| {
            let mut bases = self.bases.iter();
            bases.position(|base| table(base) == *wanted)
        };
        match (base_with(&ours), base_with(&theirs)) {
            (Some(base), None) => Way::Theirs(base),
            (None, Some(base)) => Way::Ours(base),
            _ => Way::Both,
        }
    }
}

impl Entity {
    /// The entity in the result.
    pub(super) fn result(&self) -> Option<&RowRef> {
        match self.keep {
            Keep::Ours => self.ours.as_ref(),
            Keep::Theirs => self.theirs.as_ref(),
        }
    }

    /// The three versions for people.
    pub(super) fn images(&self, entity: EntityType<'_>) -> Result<Images> {
        let image = |row: &Option<RowRef>| {
            let row = row.as_ref();
            row.map(|row| ConflictImage::of(row, entity)).transpose()
        };
        Ok([image(&self.base)?, image(&self.ours)?, image(&self.theirs)?])
    }

    /// What a conflict about it is called.
    fn conflict(&self) -> ConflictKind {
        match (&self.base, &self.ours, &self.theirs) {
            (None, Some(_), Some(_)) => ConflictKind::DivergentInsert,
            (_, Some(_), Some(_)) => ConflictKind::DivergentUpdate,
            _ => ConflictKind::DeleteVsUpdate,
        }
    }

    fn message(&self, [ours, theirs]: [&str; 2]) -> String {
        match (self.conflict(), &self.ours) {
            (ConflictKind::DivergentInsert, _) => {
                format!("{ours} and {theirs} insert it with different values")
            }
            (ConflictKind::DivergentUpdate, _) => {
                format!("{ours} and {theirs} change it to different values")
            }
            (_, None) => format!("{ours} deletes it, {theirs} changes it"),
            (_, Some(_)) => format!("{theirs} deletes it, {ours} changes it"),
        }
    }
}

impl Graph {
    /// The changed entities of a type, each with the side that it follows. What no strategy decides
    /// is left as ours, and noted.
    pub(super) async fn changed(
        &self,
        sides: &Sides,
        id: TypeId,
        strategies: &Strategies,
        found: &mut Found,
    ) -> Result<Changed> {
        match sides.way(id) {
            Way::Same => Ok(Changed::default()),
            Way::Ours(base) => {
                let changes = self.changes(&sides.bases[base], &sides.ours, id).await?;
                Ok(one_sided(changes, Keep::Ours))
            }
            Way::Theirs(base) => {
                let changes = self.changes(&sides.bases[base], &sides.theirs, id).await?;
                Ok(one_sided(changes, Keep::Theirs))
            }
            Way::Both => self.both(sides, id, strategies, found).await,
        }
    }

    async fn changes(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
    ) -> Result<BTreeMap<String, Change>> {
        let delta = self.type_delta(from, to, id).boxed().await?;
        Ok(delta.map(|delta| delta.changes).unwrap_or_default())
    }

    async fn both(
        &self,
        sides: &Sides,
        id: TypeId,
        strategies: &Strategies,
        found: &mut Found,
    ) -> Result<Changed> {
        let entity = sides.entity(id)?;
        let mut deltas = Vec::with_capacity(sides.bases.len());
        for base in &sides.bases {
            let (ours, theirs) = tokio::try_join!(
                self.changes(base, &sides.ours, id),
                self.changes(base, &sides.theirs, id)
            )?;
            deltas.push((ours, theirs));
        }
        let Some((ours, theirs)) = deltas.first() else {
            return Err(Error::internal("a merge has no base"));
        };
        let mut changed = Changed::default();
        // An entity that neither side changed since the first base is the same on both.
        let ids: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let strategy = strategies.of(entity);
        for name in ids {
            let mut verdicts = Vec::with_capacity(deltas.len());
            for (ours, theirs) in &deltas {
                verdicts.push(verdict(entity, ours.get(name), theirs.get(name))?);
            }
            let mut merged = versions(ours.get(name), theirs.get(name));
            match combined(&verdicts) {
                Verdict::Ours => {}
                Verdict::Theirs => merged.keep = Keep::Theirs,
                Verdict::Conflict => {
                    let resolution = match strategy {
                        MergeStrategy::Fail => None,
                        MergeStrategy::Ours => Some(Resolution::Ours),
                        MergeStrategy::Theirs => Some(Resolution::Theirs),
                    };
                    match resolution {
                        Some(Resolution::Theirs) => merged.keep = Keep::Theirs,
                        Some(Resolution::Ours) => {}
                        None => {
                            changed.open.insert(name.clone());
                        }
                    }
                    let about = About {
                        entity,
                        id: name,
                        kind: merged.conflict(),
                        resolution,
                        message: merged.message(sides.names),
                    };
                    found.push(about, || merged.images(entity))?;
                }
            }
            changed.entities.insert(name.clone(), merged);
        }
        Ok(changed)
    }
}

/// Every change of the only side that made one.
fn one_sided(changes: BTreeMap<String, Change>, keep: Keep) -> Changed {
    let entity = |change: Change| {
        let base = change.before;
        let (ours, theirs) = match keep {
            Keep::Ours => (change.after, base.clone()),
            Keep::Theirs => (base.clone(), change.after),
        };
        Entity {
            base,
            ours,
            theirs,
            keep,
        }
    };
    Changed {
        entities: changes
            .into_iter()
            .map(|(id, change)| (id, entity(change)))
            .collect(),
        open: BTreeSet::new(),
    }
}

/// The three versions by what both sides did since one base; ours stays until decided.
fn versions(ours: Option<&Change>, theirs: Option<&Change>) -> Entity {
    let base = ours.or(theirs).and_then(|change| change.before.clone());
    let after = |change: Option<&Change>| match change {
        Some(change) => change.after.clone(),
        None => base.clone(),
    };
    Entity {
        ours: after(ours),
        theirs: after(theirs),
        keep: Keep::Ours,
        base,
    }
}

fn verdict(
    entity: EntityType<'_>,
    ours: Option<&Change>,
    theirs: Option<&Change>,
) -> Result<Verdict> {
    Ok(match (ours, theirs) {
        (_, None) => Verdict::Ours,
        (None, Some(_)) => Verdict::Theirs,
        (Some(ours), Some(theirs)) => match (&ours.after, &theirs.after) {
            (None, None) => Verdict::Ours,
            (Some(a), Some(b)) if same_entity(a, entity, b, entity)? => Verdict::Ours,
            _ => Verdict::Conflict,
        },
    })
}

/// Of several bases, one for which a side left the entity alone decides; unless another base says
/// the opposite.
fn combined(verdicts: &[Verdict]) -> Verdict {
    let says = |wanted| verdicts.contains(&wanted);
    match (says(Verdict::Ours), says(Verdict::Theirs)) {
        (true, false) => Verdict::Ours,
        (false, true) => Verdict::Theirs,
        _ => Verdict::Conflict,
    }
}
