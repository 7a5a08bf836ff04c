//! What a statement assigns becomes a whole entity: values in the types of their properties, ids,
//! ends, and what is wrong with it by itself.

use std::collections::hash_map::Entry;

use omnigraph_lang::query::{Assignment, Endpoint, Ends};
use omnigraph_lang::schema::{EntityType, Member, Property, TypeBody, TypeId};
use omnigraph_lang::value::{self, Value, ValueError};

use super::load::fresh_id;
use super::overlay::position;
use super::rows::Row;
use super::shape::{Shape, omitted};
use super::statement::Runner;
use super::violations::{Check, Violation};
use crate::error::Result;
use crate::exec::expr::evaluate_constant;

/// What an `insert` or `upsert` assigns, by the property's position.
#[derive(Default)]
pub(super) struct Assigned {
    pub(super) values: Vec<(usize, Value)>,
    /// Values that do not fit, which has been noted.
    pub(super) failed: Vec<usize>,
}

impl Runner<'_> {
    /// The assigned values in the types of their properties; those that do not fit are noted.
    pub(super) fn assigned(
        &mut self,
        body: &TypeBody,
        assignments: &[Assignment],
    ) -> Result<Assigned> {
        let mut assigned = Assigned::default();
        for assignment in assignments {
            let at = position(body, assignment.property)?;
            let property = &body.properties[at];
            let value = evaluate_constant(&assignment.value, &self.context)?;
            let value = self.placed(body, &property.data_type, value);
            match value::coerce(value, &property.data_type) {
                Ok(value) => assigned.values.push((at, value)),
                Err(error) => {
                    assigned.failed.push(at);
                    self.refuse(body, "", Some(property), error);
                }
            }
        }
        Ok(assigned)
    }

    /// A whole entity: what is not assigned becomes its default or null. `None` if its id cannot
    /// be told, which has been noted.
    pub(super) fn complete(
        &mut self,
        entity: EntityType<'_>,
        assigned: &Assigned,
        ends: Option<[String; 2]>,
    ) -> Result<Option<Row>> {
        let body = entity.body();
        let now = self.context.now;
        let mut values: Vec<Value> = body.properties.iter().map(|p| omitted(p, now)).collect();
        for (at, value) in &assigned.values {
            values[*at] = value.clone();
        }
        let id = if body.is_keyed() {
            let Some(id) = self.derived_id(body, assigned, ends.as_ref()) else {
                return Ok(None);
            };
            id
        } else {
            fresh_id(now, &mut [0; 26]).to_owned()
        };
        if matches!(entity, EntityType::Edge(_)) && ends.is_none() {
            return Ok(None);
        }
        Ok(Some(Row { id, ends, values }))
    }

    pub(super) fn derived_id(
        &mut self,
        body: &TypeBody,
        assigned: &Assigned,
        ends: Option<&[String; 2]>,
    ) -> Option<String> {
        let mut spelled = Vec::new();
        for member in body.key.iter().flatten() {
            let spelling = match member {
                Member::Src => ends.map(|ends| ends[0].clone()),
                Member::Dst => ends.map(|ends| ends[1].clone()),
                Member::Property(id) => {
                    let at = position(body, *id).ok()?;
                    if assigned.failed.contains(&at) {
                        return None;
                    }
                    let value = assigned.values.iter().find(|(other, _)| *other == at);
                    match value::spell(value.map_or(&Value::Null, |(_, value)| value)) {
                        Ok(spelling) => Some(spelling),
                        Err(error) => {
                            self.refuse(body, "", Some(&body.properties[at]), error);
                            return None;
                        }
                    }
                }
            };
            spelled.push(spelling?);
        }
        Some(value::derive_id(&spelled))
    }

    /// The ids of the ends. `None` for nodes, and where one cannot be told, which has been noted.
    pub(super) fn ends(
        &mut self,
        entity: EntityType<'_>,
        ends: Option<&Ends>,
    ) -> Result<Option<[String; 2]>> {
        let (EntityType::Edge(edge), Some(ends)) = (entity, ends) else {
            return Ok(None);
        };
        let from = self.end(&edge.body, "from", edge.from, &ends.from)?;
        let to = self.end(&edge.body, "to", edge.to, &ends.to)?;
        Ok(from.zip(to).map(|(from, to)| [from, to]))
    }

    fn end(
        &mut self,
        edge: &TypeBody,
        member: &str,
        node: TypeId,
        end: &Endpoint,
    ) -> Result<Option<String>> {
        let node = self.overlay.entity(node)?.body();
        let id = match end {
            Endpoint::Id(expr) => value::spell(&evaluate_constant(expr, &self.context)?),
            Endpoint::Key(assignments) => self.composite(node, assignments)?,
        };
        match id {
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                let message = format!("`{member}`: {}", error.message);
                self.refuse(edge, "", None, ValueError::new(error.code, message));
                Ok(None)
            }
        }
    }

    fn composite(
        &self,
        node: &TypeBody,
        members: &[Assignment],
    ) -> Result<std::result::Result<String, ValueError>> {
        let mut spelled = Vec::with_capacity(members.len());
        for member in members {
            let property = &node.properties[position(node, member.property)?];
            let value = evaluate_constant(&member.value, &self.context)?;
            let spelling =
                value::coerce(value, &property.data_type).and_then(|value| value::spell(&value));
            match spelling {
                Ok(spelling) => spelled.push(spelling),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(value::derive_id(&spelled)))
    }

    /// Notes what is wrong with a row by itself, beside what has been noted before.
    pub(super) fn check(
        &mut self,
        entity: EntityType<'_>,
        row: &Row,
        failed: &[usize],
    ) -> Result<()> {
        let body = entity.body();
        let shape = self.shape(body)?;
        let wrong: Vec<_> = body
            .properties
            .iter()
            .zip(&row.values)
            .enumerate()
            .filter(|(at, _)| !failed.contains(at))
            .filter_map(|(at, (property, value))| {
                let error = shape.check(at, property, value).err()?;
                Some((property, error))
            })
            .collect();
        for (property, error) in wrong {
            self.refuse(body, &row.id, Some(property), error);
        }
        Ok(())
    }

    pub(super) fn shape(&mut self, body: &TypeBody) -> Result<&Shape> {
        match self.shapes.entry(body.id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Shape::new(body)?)),
        }
    }

    pub(super) fn refuse(
        &mut self,
        body: &TypeBody,
        id: &str,
        property: Option<&Property>,
        e: ValueError,
    ) {
        let mut violation = Violation::new(Check::Shape, &body.name, e.code, e.message).id(id);
        if let Some(property) = property {
            violation = violation.property(&property.name);
        }
        self.violations.push(violation);
    }
}
