//! Loads that meet a change of schema: they start from scratch against the new one, as long as
//! their input is still at hand.

use bytes::Bytes;
use omnigraph_lang::schema::{Catalog, EntityType, TypeId};

/// The most input that is kept for starting again, unless the memory of the load is small. A larger
/// load is refused when the types that it writes have changed, and its sender repeats it.
const KEPT: usize = 8 << 20;

/// The input so far, as long as it is small.
pub(super) struct KeptInput {
    pieces: Option<Vec<Bytes>>,
    bytes: usize,
    most: usize,
}

impl Default for KeptInput {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl KeptInput {
    /// `memory`: what the load may take in all.
    pub(super) fn new(memory: u64) -> Self {
        Self {
            pieces: Some(Vec::new()),
            bytes: 0,
            most: usize::try_from(memory / 16).unwrap_or(KEPT).min(KEPT),
        }
    }

    /// Notes a piece; it is shared, not copied.
    pub(super) fn push(&mut self, piece: &Bytes) {
        self.bytes += piece.len();
        if self.bytes > self.most {
            self.pieces = None;
        }
        if let Some(pieces) = &mut self.pieces {
            pieces.push(piece.clone());
        }
    }

    /// All of it, if it was small enough.
    pub(super) fn into_pieces(self) -> Option<Vec<Bytes>> {
        self.pieces
    }
}

/// Whether rows of a type that were made for one version of the schema are rows of another one:
/// nothing about the type and the types at its ends has changed.
pub(super) fn still_fits(id: TypeId, made_for: &Catalog, now: &Catalog) -> bool {
    let node = |id| {
        let before = made_for.node_by_id(id);
        before.is_some() && before == now.node_by_id(id)
    };
    match (made_for.entity(id), now.entity(id)) {
        (Some(EntityType::Node(before)), Some(EntityType::Node(after))) => before == after,
        (Some(EntityType::Edge(before)), Some(EntityType::Edge(after))) => {
            before == after && node(before.from) && node(before.to)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_inputs_are_not_kept() {
        let mut kept = KeptInput::default();
        kept.push(&Bytes::from_static(b"a"));
        kept.push(&Bytes::from(vec![0; KEPT - 1]));
        assert_eq!(kept.pieces.as_ref().map(Vec::len), Some(2));
        kept.push(&Bytes::from_static(b"b"));
        kept.push(&Bytes::from_static(b"c"));
        assert!(kept.into_pieces().is_none());
    }

    #[test]
    fn rows_fit_while_their_type_and_its_ends_stay() {
        let before = "node A { k: String @key }  node B { k: String @key  n: I64? }  node C { k: String @key }
            edge E: A -> A  edge F: A -> B";
        let (accepted, _) = omnigraph_lang::schema::parse_schema(before).unwrap();
        let after = before.replace("n: I64?", "n: I64?  m: I64?");
        let after = after.replace("node C { k: String @key }", "");
        let now = omnigraph_lang::schema::evolve(&accepted, &after)
            .unwrap()
            .catalog;
        let fits = |name: &str| {
            let node = accepted.node(name).map(|t| t.id);
            let id = node.or_else(|| accepted.edge(name).map(|t| t.id)).unwrap();
            still_fits(id, &accepted, &now)
        };
        assert_eq!(
            ["A", "B", "C", "E", "F"].map(fits),
            [true, false, false, true, false]
        );
    }
}
