//! Rows of a delta as images.

use omnigraph_lang::schema::{EntityKind, EntityType};
use omnigraph_lang::value::{self, Int64Style};

use super::{ChangeOp, EntityChange, EntityImage};
use crate::error::{Error, Result};
use crate::graph::delta::{Change, Op, RowRef, Side};

impl From<Op> for ChangeOp {
    fn from(op: Op) -> Self {
        match op {
            Op::Insert => Self::Insert,
            Op::Update => Self::Update,
            Op::Delete => Self::Delete,
        }
    }
}

impl EntityChange {
    /// A change with its images.
    pub(super) fn of(
        from: &Side,
        to: &Side,
        id: omnigraph_lang::schema::TypeId,
        entity_id: String,
        change: &Change,
    ) -> Result<Self> {
        let entity = to.entity(id).or(from.entity(id));
        let entity = entity.ok_or_else(|| Error::internal("a changed type is in no schema"))?;
        Ok(Self {
            edge: entity.kind() == EntityKind::Edge,
            type_id: id,
            type_name: entity.body().name.clone(),
            id: entity_id,
            op: change.op().into(),
            before: image(change.before.as_ref(), from.entity(id))?,
            after: image(change.after.as_ref(), to.entity(id))?,
        })
    }
}

fn image(row: Option<&RowRef>, entity: Option<EntityType<'_>>) -> Result<Option<EntityImage>> {
    let (Some(row), Some(entity)) = (row, entity) else {
        return Ok(None);
    };
    // Written by hand: the properties keep the order of their type.
    let mut properties = String::from("{");
    for (at, property) in entity.body().properties.iter().enumerate() {
        if at > 0 {
            properties.push(',');
        }
        let value = value::to_json(&row.value(&property.name)?, Int64Style::Number);
        properties.push_str(&serde_json::Value::from(property.name.as_str()).to_string());
        properties.push(':');
        properties.push_str(&value.to_string());
    }
    properties.push('}');
    Ok(Some(EntityImage {
        properties,
        ends: row.ends().map(|ends| ends.map(str::to_owned)),
    }))
}
