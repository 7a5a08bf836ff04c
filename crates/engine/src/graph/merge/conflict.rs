//! Why two sides cannot be put together as they are.

use std::collections::BTreeMap;

use omnigraph_lang::schema::{EntityKind, EntityType};
use omnigraph_lang::value::{self, Int64Style};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::{Error, ErrorKind, Result};
use crate::graph::delta::RowRef;
use crate::write::rows::Row;

/// The most conflicts that one answer lists.
const LISTED: usize = 100;

/// What a conflict is about. The first three are questions of taste that a strategy answers; the
/// others break a rule of the schema and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Both sides inserted an entity with this id, with different values.
    DivergentInsert,
    /// Both sides updated the entity, to different values.
    DivergentUpdate,
    /// One side deleted the entity, the other changed it.
    DeleteVsUpdate,
    /// An edge would stay whose node is gone.
    OrphanEdge,
    /// Two entities would have the same unique values.
    UniqueViolation,
    /// A node would have too many or too few edges of a type.
    CardinalityViolation,
    /// A value does not fit the schema of the result.
    ValueConstraintViolation,
    /// Each side has a schema that the other's history does not contain.
    SchemaDiverged,
}

/// Whose version a strategy kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// That of the branch that is merged into.
    Ours,
    /// That of the branch that is merged.
    Theirs,
}

/// The values of an entity, for people and clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictImage {
    /// Every property of its type.
    pub properties: Map<String, Json>,
    /// Ids of the nodes at both ends; of edges only.
    pub ends: Option<[String; 2]>,
}

/// One conflict.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeConflict {
    /// Whether it is about an edge.
    pub edge: bool,
    /// The type's name; empty where the whole schema is meant.
    pub type_name: String,
    /// None where the whole type is meant.
    pub entity_id: Option<String>,
    /// What it is about.
    pub kind: ConflictKind,
    /// In words.
    pub message: String,
    /// The entity at the merge base; none: it was not there.
    pub base: Option<ConflictImage>,
    /// The entity on the branch that is merged into; none: it is not there.
    pub ours: Option<ConflictImage>,
    /// The entity on the branch that is merged; none: it is not there.
    pub theirs: Option<ConflictImage>,
    /// Whose version a strategy kept; none: nobody has decided.
    pub resolution: Option<Resolution>,
}

/// The conflicts of a merge: those that nobody decided first, then by type, entity and kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conflicts {
    /// At most 100.
    pub listed: Vec<MergeConflict>,
    /// All of them.
    pub total: u64,
    /// Those of them that no strategy resolved.
    pub unresolved: u64,
}

impl ConflictKind {
    /// The word for it in answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::DivergentInsert => "divergent_insert",
            Self::DivergentUpdate => "divergent_update",
            Self::DeleteVsUpdate => "delete_vs_update",
            Self::OrphanEdge => "orphan_edge",
            Self::UniqueViolation => "unique_violation",
            Self::CardinalityViolation => "cardinality_violation",
            Self::ValueConstraintViolation => "value_constraint_violation",
            Self::SchemaDiverged => "schema_diverged",
        }
    }

    /// Whether a strategy can decide it.
    pub fn is_resolvable(self) -> bool {
        matches!(
            self,
            Self::DivergentInsert | Self::DivergentUpdate | Self::DeleteVsUpdate
        )
    }
}

/// The three versions of an entity, for a conflict that is listed.
pub(super) type Images = [Option<ConflictImage>; 3];

impl ConflictImage {
    pub(super) fn of(row: &RowRef, entity: EntityType<'_>) -> Result<Self> {
        Self::of_row(&row.to_row(entity, entity)?, entity)
    }

    pub(super) fn of_row(row: &Row, entity: EntityType<'_>) -> Result<Self> {
        let mut properties = Map::new();
        for (property, value) in entity.body().properties.iter().zip(&row.values) {
            let json = serde_json::to_value(value::to_json(value, Int64Style::Number))
                .map_err(|e| Error::internal("a value is no json").with_source(e))?;
            properties.insert(property.name.clone(), json);
        }
        Ok(Self {
            properties,
            ends: row.ends.clone(),
        })
    }
}

/// Which conflict, before its images are made.
pub(super) struct About<'a> {
    pub(super) entity: EntityType<'a>,
    pub(super) id: &'a str,
    pub(super) kind: ConflictKind,
    pub(super) resolution: Option<Resolution>,
    pub(super) message: String,
}

type Key = (bool, String, String, ConflictKind);

/// Collects conflicts: keeps the first of them, counts all.
#[derive(Debug, Default)]
pub(super) struct Found {
    open: Kept,
    resolved: Kept,
}

#[derive(Debug, Default)]
struct Kept {
    first: BTreeMap<Key, MergeConflict>,
    total: u64,
}

impl Found {
    /// `images` is asked only for conflicts that are listed.
    pub(super) fn push(
        &mut self,
        about: About<'_>,
        images: impl FnOnce() -> Result<Images>,
    ) -> Result<()> {
        let kept = match about.resolution {
            None => &mut self.open,
            Some(_) => &mut self.resolved,
        };
        kept.total += 1;
        let key = (
            about.entity.kind() == EntityKind::Edge,
            about.entity.body().name.clone(),
            about.id.to_owned(),
            about.kind,
        );
        let full = kept.first.len() >= LISTED;
        if full
            && kept
                .first
                .last_key_value()
                .is_some_and(|(last, _)| *last <= key)
        {
            return Ok(());
        }
        let [base, ours, theirs] = images()?;
        let conflict = MergeConflict {
            edge: key.0,
            type_name: key.1.clone(),
            entity_id: (!about.id.is_empty()).then(|| about.id.to_owned()),
            kind: about.kind,
            message: about.message,
            base,
            ours,
            theirs,
            resolution: about.resolution,
        };
        kept.first.insert(key, conflict);
        if kept.first.len() > LISTED {
            kept.first.pop_last();
        }
        Ok(())
    }

    pub(super) fn into_conflicts(self) -> Conflicts {
        let (open, resolved) = (self.open, self.resolved);
        let listed = open.first.into_values().chain(resolved.first.into_values());
        Conflicts {
            listed: listed.take(LISTED).collect(),
            total: open.total + resolved.total,
            unresolved: open.total,
        }
    }
}

impl Conflicts {
    /// The only conflict: the schemas have gone different ways.
    pub(super) fn schema_diverged(message: String) -> Self {
        Self {
            listed: vec![MergeConflict {
                edge: false,
                type_name: String::new(),
                entity_id: None,
                kind: ConflictKind::SchemaDiverged,
                message,
                base: None,
                ours: None,
                theirs: None,
                resolution: None,
            }],
            total: 1,
            unresolved: 1,
        }
    }

    /// The error that reports those that nobody decided.
    pub(super) fn into_error(mut self, what: &str) -> Error {
        self.listed.retain(|conflict| conflict.resolution.is_none());
        self.total = self.unresolved;
        let (count, s) = match self.unresolved {
            1 => ("1".to_owned(), ""),
            n => (n.to_string(), "s"),
        };
        let first = self
            .listed
            .first()
            .map_or(String::new(), |first| format!(": {}", first.headline()));
        let resolvable = self.listed.iter().any(|c| c.kind.is_resolvable());
        let error = Error::new(
            ErrorKind::MergeConflict,
            format!("{what} has {count} conflict{s}{first}; nothing was written"),
        )
        .with_detail(|detail| detail.merge_conflicts = Some(Box::new(self)));
        match resolvable {
            true => error.with_hint(
                "strategy 'theirs' takes the source's version of an entity, 'ours' keeps the target's; a dry run lists all",
            ),
            false => error.with_hint("change one of the branches so that both fit together"),
        }
    }
}

impl MergeConflict {
    fn headline(&self) -> String {
        let kind = self.kind.label();
        match (&self.entity_id, self.type_name.is_empty()) {
            (Some(id), _) => format!("{kind} of {} `{id}`", self.type_name),
            (None, false) => format!("{kind} of {}", self.type_name),
            (None, true) => kind.to_owned(),
        }
    }
}
