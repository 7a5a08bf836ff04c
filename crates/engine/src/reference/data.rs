//! A graph as a list of entities.

use std::collections::BTreeMap;

use omnigraph_lang::schema::{Catalog, EntityType, PropertyId, TypeBody, TypeId};
use omnigraph_lang::value::{Value, from_json};

/// Everything that a commit has.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) catalog: Catalog,
    pub(super) entities: Vec<Entity>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entity {
    pub(super) ty: TypeId,
    pub(super) id: String,
    /// Ids of the source and target of an edge.
    pub(super) ends: Option<[String; 2]>,
    pub(super) values: BTreeMap<PropertyId, Value>,
}

impl World {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            entities: Vec::new(),
        }
    }

    pub(super) fn body(&self, ty: TypeId) -> &TypeBody {
        match self.catalog.entity(ty) {
            Some(EntityType::Node(node)) => &node.body,
            Some(EntityType::Edge(edge)) => &edge.body,
            None => panic!("type {ty} is not in the schema"),
        }
    }

    pub(super) fn type_name(&self, ty: TypeId) -> &str {
        &self.body(ty).name
    }

    /// Positions of the entities of a type.
    pub(super) fn of_type(&self, ty: TypeId) -> Vec<usize> {
        let all = self.entities.iter().enumerate();
        all.filter(|(_, e)| e.ty == ty).map(|(at, _)| at).collect()
    }

    pub(super) fn find(&self, ty: TypeId, id: &str) -> Option<usize> {
        let mut all = self.entities.iter();
        all.position(|e| e.ty == ty && e.id == id)
    }

    /// What tells an entity apart, and orders it.
    pub(super) fn name(&self, at: usize) -> (String, String) {
        let entity = &self.entities[at];
        (self.type_name(entity.ty).to_owned(), entity.id.clone())
    }

    /// Adds the entity of a line of an export.
    pub(super) fn add(&mut self, line: &serde_json::Value) {
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let body = match (line.get("type"), line.get("edge")) {
            (Some(name), _) => {
                &self
                    .catalog
                    .node(name.as_str().expect("a name"))
                    .expect("a type")
                    .body
            }
            (_, name) => {
                let name = name.and_then(|name| name.as_str()).expect("a name");
                &self.catalog.edge(name).expect("a type").body
            }
        };
        let values = body.properties.iter().map(|property| {
            let value = match &line["data"][&property.name] {
                serde_json::Value::Null => Value::Null,
                json => from_json(json, &property.data_type).expect("a value"),
            };
            (property.id, value)
        });
        let entity = Entity {
            ty: body.id,
            id: text(&line["data"]["id"]),
            ends: line
                .get("edge")
                .map(|_| [text(&line["from"]), text(&line["to"])]),
            values: values.collect(),
        };
        self.entities.push(entity);
    }

    /// The entity as a line of a load.
    pub(super) fn line(&self, entity: &Entity) -> serde_json::Value {
        use omnigraph_lang::value::{Int64Style, to_json};
        let body = self.body(entity.ty);
        let mut data = serde_json::Map::new();
        for property in &body.properties {
            let value = entity.values.get(&property.id).unwrap_or(&Value::Null);
            data.insert(property.name.clone(), to_json(value, Int64Style::Number));
        }
        if !body.is_keyed() {
            data.insert("id".to_owned(), entity.id.clone().into());
        }
        match &entity.ends {
            None => serde_json::json!({"type": body.name, "data": data}),
            Some([from, to]) => {
                serde_json::json!({"edge": body.name, "from": from, "to": to, "data": data})
            }
        }
    }
}
