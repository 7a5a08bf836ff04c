//! What a load needs to know of the schema, prepared once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use omnigraph_lang::schema::{Catalog, DataType, EntityType, Member, Property, TypeBody, TypeId};

use crate::embed::Embedder;
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
    /// What computes vectors that rows do not have; `None`: they come with the rows.
    pub(crate) embedder: Option<Arc<dyn Embedder>>,
}

#[derive(Debug)]
pub(crate) struct TypePlan {
    pub(crate) id: TypeId,
    pub(crate) name: String,
    pub(crate) properties: Vec<PropertyPlan>,
    pub(crate) shape: Shape,
    pub(crate) schema: SchemaRef,
    /// The same before vectors are computed: those may be missing.
    pub(crate) parsed: SchemaRef,
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
    /// Set on vectors that are computed where they are missing.
    pub(crate) computed: Option<Computed>,
}

/// How a vector is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computed {
    /// The position of the property with the text.
    pub(crate) source: usize,
    pub(crate) width: u32,
}

impl PropertyPlan {
    /// Whether a row without it is refused before anything is computed.
    pub(super) fn must_be_given(&self) -> bool {
        self.property.is_required() && self.computed.is_none()
    }
}

impl Plan {
    pub(crate) fn new(
        catalog: &Catalog,
        now: i64,
        permissive: bool,
        external: ExternalRule,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Result<Self> {
        let positions: HashMap<TypeId, usize> = catalog
            .entities()
            .enumerate()
            .map(|(position, entity)| (entity.body().id, position))
            .collect();
        let types = catalog
            .entities()
            .map(|entity| TypePlan::new(entity, &positions, embedder.is_some()))
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
            embedder,
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
    fn new(
        entity: EntityType<'_>,
        positions: &HashMap<TypeId, usize>,
        computes: bool,
    ) -> Result<Self> {
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
                computed: computed(body, property).filter(|_| computes),
            })
            .collect::<Vec<_>>();
        let schema = arrow_schema(entity);
        Ok(Self {
            id: body.id,
            name: body.name.clone(),
            shape: Shape::new(body)?,
            parsed: may_lack(&schema, &properties),
            schema,
            properties,
            key_len: body.key.as_ref().map(Vec::len),
            end_slots: [slot(Member::Src), slot(Member::Dst)],
            ends,
        })
    }

    /// Whether vectors of its rows are computed where they are missing.
    pub(super) fn computes(&self) -> bool {
        self.properties.iter().any(|plan| plan.computed.is_some())
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

fn computed(body: &TypeBody, property: &Property) -> Option<Computed> {
    let source = property.embed.as_ref()?.source;
    let DataType::Vector(width) = property.data_type else {
        return None;
    };
    let source = body.properties.iter().position(|p| p.id == source)?;
    Some(Computed { source, width })
}

/// The schema in which what is computed may be null; properties are its last fields.
fn may_lack(schema: &SchemaRef, properties: &[PropertyPlan]) -> SchemaRef {
    if properties.iter().all(|plan| plan.computed.is_none()) {
        return Arc::clone(schema);
    }
    let first = schema.fields().len() - properties.len();
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let plan = at.checked_sub(first).and_then(|at| properties.get(at));
        match plan.is_some_and(|plan| plan.computed.is_some()) {
            true => Arc::new(field.as_ref().clone().with_nullable(true)),
            false => Arc::clone(field),
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
