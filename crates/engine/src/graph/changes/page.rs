//! Walking through the changes between two commits until a page is full.

use std::sync::Arc;

use omnigraph_lang::schema::TypeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EntityChange, Selection};
use crate::error::Result;
use crate::graph::delta::{Rest, Side, TableDelta, changed_types};
use crate::graph::{Graph, Touched};

/// A page is not filled beyond so many bytes; one larger change travels alone.
const PAGE_BYTES: usize = 4 << 20;
/// Changes that are read together.
const READ_AT_ONCE: usize = 512;
/// Longer ids are kept in tokens by their beginning and their digest.
const TOKEN_ID_BYTES: usize = 1024;

/// The last change of a page. What follows in the order of the list is still to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    e: bool,
    t: TypeId,
    id: PositionId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PositionId {
    Whole(String),
    Long { begins: String, digest: String },
}

/// What is left of a page.
#[derive(Debug)]
pub(crate) struct Budget {
    changes: usize,
    bytes: usize,
    empty: bool,
}

/// How a walk ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// All changes were given.
    Through,
    /// The page is full; there is more behind this position, or behind the beginning.
    Full(Option<Position>),
}

impl Budget {
    pub(crate) fn new(changes: usize) -> Self {
        Self {
            changes,
            bytes: PAGE_BYTES,
            empty: true,
        }
    }

    /// Whether the change still fits; then it is counted.
    fn take(&mut self, change: &EntityChange) -> bool {
        let bytes = change.bytes();
        if self.changes == 0 || (bytes > self.bytes && !self.empty) {
            return false;
        }
        self.changes -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.empty = false;
        true
    }
}

impl Position {
    fn new(edge: bool, id: TypeId, entity: &str) -> Self {
        let id_text = if entity.len() <= TOKEN_ID_BYTES {
            PositionId::Whole(entity.to_owned())
        } else {
            let end = (0..=TOKEN_ID_BYTES)
                .rev()
                .find(|end| entity.is_char_boundary(*end))
                .unwrap_or(0);
            PositionId::Long {
                begins: entity[..end].to_owned(),
                digest: digest(entity),
            }
        };
        Self {
            e: edge,
            t: id,
            id: id_text,
        }
    }

    /// The id behind which the list goes on.
    fn entity(&self, delta: &TableDelta) -> Option<String> {
        match &self.id {
            PositionId::Whole(id) => Some(id.clone()),
            PositionId::Long { begins, digest: d } => delta
                .ids_from(begins)
                .take_while(|id| id.starts_with(begins.as_str()))
                .find(|id| digest(id) == *d)
                .map(str::to_owned),
        }
    }
}

fn digest(id: &str) -> String {
    hex::encode(&Sha256::digest(id.as_bytes())[..16])
}

impl Graph {
    /// Adds changes to a page, in the order of the list, until it is full.
    pub(crate) async fn walk(
        &self,
        from: &Side,
        to: &Side,
        selection: &Selection,
        behind: Option<&Position>,
        budget: &mut Budget,
        page: &mut Vec<EntityChange>,
    ) -> Result<Walked> {
        let changed = changed_types(from, to);
        let mut last = behind.cloned();
        let types = selection
            .types
            .iter()
            .filter(|(_, id)| changed.contains(id));
        for (edge, id) in types {
            if behind.is_some_and(|behind| (*edge, *id) < (behind.e, behind.t)) {
                continue;
            }
            let delta = Box::pin(self.kept_delta(from, to, *id)).await?;
            let mut after = behind
                .filter(|behind| (behind.e, behind.t) == (*edge, *id))
                .and_then(|behind| behind.entity(&delta));
            loop {
                let wanted = budget.changes.clamp(1, READ_AT_ONCE);
                let (part, rest) = delta.part(after.as_deref(), wanted).await?;
                for (entity, change) in part {
                    if !selection.wants(change.op().into()) {
                        continue;
                    }
                    let change = EntityChange::of(from, to, *id, entity, &change)?;
                    if !budget.take(&change) {
                        return Ok(Walked::Full(last));
                    }
                    last = Some(Position::new(*edge, *id, &change.id));
                    page.push(change);
                }
                match rest {
                    Rest::Nothing => break,
                    Rest::Behind(id) => after = Some(id),
                }
            }
        }
        Ok(Walked::Through)
    }

    /// How many entities changed, by type: nodes before edges, by type identity.
    pub(crate) async fn count_changes(
        &self,
        from: &Side,
        to: &Side,
        selection: &Selection,
    ) -> Result<Vec<Touched>> {
        let changed = changed_types(from, to);
        let mut counts = Vec::new();
        for (edge, id) in selection
            .types
            .iter()
            .filter(|(_, id)| changed.contains(id))
        {
            let delta = Box::pin(self.kept_delta(from, to, *id)).await?;
            let ops = delta.count().await?;
            let count = |op: super::ChangeOp| {
                let count = match op {
                    super::ChangeOp::Insert => ops.inserted,
                    super::ChangeOp::Update => ops.updated,
                    super::ChangeOp::Delete => ops.deleted,
                };
                if selection.wants(op) { count } else { 0 }
            };
            let Some(entity) = to.entity(*id).or(from.entity(*id)) else {
                continue;
            };
            let touched = Touched {
                edge: *edge,
                type_name: entity.body().name.clone(),
                inserted: count(super::ChangeOp::Insert),
                updated: count(super::ChangeOp::Update),
                deleted: count(super::ChangeOp::Delete),
            };
            if touched.inserted + touched.updated + touched.deleted > 0 {
                counts.push(touched);
            }
        }
        Ok(counts)
    }

    /// The delta of a table, kept for the pages that follow.
    async fn kept_delta(&self, from: &Side, to: &Side, id: TypeId) -> Result<Arc<TableDelta>> {
        let key = super::cache::Key::of(from, to, id);
        if let Some(delta) = self.shared.deltas.get(&key) {
            return Ok(delta);
        }
        let delta = Arc::new(self.table_delta(from, to, id).await?);
        self.shared.deltas.put(key, delta.clone());
        Ok(delta)
    }
}
