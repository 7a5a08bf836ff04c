//! What a query gives and touches.

use super::Checker;
use super::returns::result_column;
use crate::query::ast::Verb;
use crate::query::{Arm, Block, TypeRef};
use crate::schema::{EntityType, TypeId};

impl<'a> Checker<'a> {
    /// The columns are those of the first arm, which the others have been fitted to.
    pub(super) fn describe_columns(&mut self, arm: &Arm) {
        self.operation.result = arm.projections.iter().map(result_column).collect();
    }

    pub(super) fn describe_arm(&mut self, arm: &Arm) {
        for variable in &arm.variables {
            self.describe_types(&variable.types);
        }
        self.block_reads(&arm.matches);
    }

    pub(super) fn describe_types(&mut self, types: &[TypeId]) {
        for id in types {
            self.reads(*id);
        }
    }

    fn block_reads(&mut self, block: &Block) {
        for edge in block.hops.iter().flat_map(|hop| &hop.edges) {
            self.reads(edge.edge);
            if let Some(edge) = self.catalog.edge_by_id(edge.edge) {
                self.reads(edge.from);
                self.reads(edge.to);
            }
        }
        let inner = [&block.negations, &block.optionals, &block.late_negations];
        for block in inner.into_iter().flatten() {
            self.block_reads(block);
        }
    }

    pub(super) fn describe_statement(&mut self, verb: Verb, entity: EntityType<'a>) {
        let id = entity.body().id;
        self.reads(id);
        self.writes(id);
        match entity {
            EntityType::Edge(edge) if matches!(verb, Verb::Insert | Verb::Upsert) => {
                self.reads(edge.from);
                self.reads(edge.to);
            }
            EntityType::Node(node) if verb == Verb::Delete => {
                let catalog = self.catalog;
                for edge in catalog.incident_edges(node.id) {
                    self.reads(edge.id);
                    self.writes(edge.id);
                }
            }
            _ => {}
        }
    }

    fn reads(&mut self, id: TypeId) {
        if let Some(entity) = self.catalog.entity(id) {
            insert(&mut self.operation.reads, entity);
        }
    }

    fn writes(&mut self, id: TypeId) {
        if let Some(entity) = self.catalog.entity(id) {
            insert(&mut self.operation.writes, entity);
        }
    }
}

/// Sorted, each type once.
fn insert(list: &mut Vec<TypeRef>, entity: EntityType<'_>) {
    let reference = TypeRef {
        kind: entity.kind(),
        type_name: entity.body().name.clone(),
        type_id: entity.body().id,
    };
    if let Err(place) = list.binary_search(&reference) {
        list.insert(place, reference);
    }
}
