//! What a load needs to know of the schema, prepared once.

use std::collections::HashMap;

use arrow_schema::SchemaRef;
use omnigraph_lang::schema::{Catalog, EntityType, Member, Property, TypeId};

use crate::error::{Error, Result};
use crate::table::arrow_schema;
use crate::write::blobs::ExternalRule;
use crate::write::shape::Shape;

/// The types by position: nodes first, then edges, each by name.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) types: Vec<TypePlan>,
    nodes: HashMap<String, usize>,
    /// By name in lower case.
    edges: HashMap<String, usize>,
    /// The time at which the load began, epoch ms.
    pub(crate) now: i64,
    /// Unknown members are passed over.
    pub(crate) permissive: bool,
    /// What becomes of external objects that blobs name.
    pub(crate) external: ExternalRule,
}

#[derive(Debug)]
pub(crate) struct TypePlan {
    pub(crate) id: TypeId,
    pub(crate) name: String,
    pub(crate) properties: Vec<PropertyPlan>,
    pub(crate) shape: Shape,
    pub(crate) schema: SchemaRef,
    /// For keyed types the number of members of the key.
    pub(crate) key_len: Option<usize>,
    /// Places of `src` and `dst` in the key.
    pub(crate) end_slots: [Option<usize>; 2],
    /// For edges the positions of the node types at both ends.
    pub(crate) ends: Option<[usize; 2]>,
}

#[derive(Debug)]
pub(crate) struct PropertyPlan {
    pub(crate) property: Property,
    /// The place in the key.
    pub(crate) key_slot: Option<usize>,
}

impl Plan {
    pub(crate) fn new(
        catalog: &Catalog,
        now: i64,
        permissive: bool,
        external: ExternalRule,
    ) -> Result<Self> {
        let positions: HashMap<TypeId, usize> = catalog
            .entities()
            .enumerate()
            .map(|(position, entity)| (entity.body().id, position))
            .collect();
        let types = catalog
            .entities()
            .map(|entity| TypePlan::new(entity, &positions))
            .collect::<Result<Vec<_>>>()?;
        let nodes = (catalog.nodes.iter())
            .filter_map(|node| Some((node.name.clone(), *positions.get(&node.id)?)))
            .collect();
        let edges = (catalog.edges.iter())
            .filter_map(|edge| Some((edge.name.to_ascii_lowercase(), *positions.get(&edge.id)?)))
            .collect();
        Ok(Self {
            types,
            nodes,
            edges,
            now,
            permissive,
            external,
        })
    }

    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.get(name).copied()
    }

    pub(super) fn edge(&self, name: &str) -> Option<usize> {
        self.edges.get(name).copied().or_else(|| {
            let lower = name.to_ascii_lowercase();
            self.edges.get(&lower).copied()
        })
    }
}

impl TypePlan {
    fn new(entity: EntityType<'_>, positions: &HashMap<TypeId, usize>) -> Result<Self> {
        let body = entity.body();
        let slot = |wanted: Member| {
            let key = body.key.as_ref()?;
            key.iter().position(|member| *member == wanted)
        };
        let ends = match entity {
            EntityType::Node(_) => None,
            EntityType::Edge(edge) => {
                let position = |id: TypeId| {
                    positions.get(&id).copied().ok_or_else(|| {
                        Error::corrupt(format!("an end of edge {} has no type", edge.name))
                    })
                };
                Some([position(edge.from)?, position(edge.to)?])
            }
        };
        let properties = body
            .properties
            .iter()
            .map(|property| PropertyPlan {
                property: property.clone(),
                key_slot: slot(Member::Property(property.id)),
            })
            .collect();
        Ok(Self {
            id: body.id,
            name: body.name.clone(),
            properties,
            shape: Shape::new(body)?,
            schema: arrow_schema(entity),
            key_len: body.key.as_ref().map(Vec::len),
            end_slots: [slot(Member::Src), slot(Member::Dst)],
            ends,
        })
    }

    /// The position of a property. Members of one file mostly come in one order, so the search
    /// begins at `hint`.
    pub(super) fn position(&self, name: &str, hint: usize) -> Option<usize> {
        let is_it = |plan: &PropertyPlan| plan.property.name == name;
        match self.properties.get(hint) {
            Some(plan) if is_it(plan) => Some(hint),
            _ => self.properties.iter().position(is_it),
        }
    }

    /// Properties of the key in its order, if no end is a member.
    pub(super) fn key_properties(&self) -> impl Iterator<Item = &Property> {
        let mut members: Vec<(usize, &Property)> = self
            .properties
            .iter()
            .filter_map(|plan| Some((plan.key_slot?, &plan.property)))
            .collect();
        members.sort_by_key(|(slot, _)| *slot);
        members.into_iter().map(|(_, property)| property)
    }

    pub(crate) fn is_edge(&self) -> bool {
        self.ends.is_some()
    }
}
