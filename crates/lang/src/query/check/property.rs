//! Properties of variables, which may have several possible types.

use super::{Checked, Checker};
use crate::diagnostic::{Code, Diagnostic};
use crate::query::{PropertyRef, VarId, VarKind};
use crate::schema::{DataType, EntityType, Property, TypeBody, TypeId, suggest};
use crate::syntax::Name;

/// A property that all possible types of a variable have.
pub(super) struct Common<'a> {
    pub(super) reference: PropertyRef,
    /// That of one of the types; the others have the same data type.
    pub(super) property: &'a Property,
    /// May be null: in one of the types, or because the variable may be.
    pub(super) nullable: bool,
}

impl<'a> Checker<'a> {
    /// The possible types of a variable in the block that is being checked.
    pub(super) fn types_of(&self, var: VarId) -> &[TypeId] {
        match self.narrowed.get(&var) {
            Some(types) => types,
            None => &self.variable(var).types,
        }
    }

    /// Leaves a variable only some of its types: for good in the block that introduces it, and
    /// elsewhere as long as the block is being checked.
    pub(super) fn narrow(&mut self, var: VarId, types: Vec<TypeId>) {
        let position = var.0 as usize;
        if position >= self.block_start {
            self.variables[position].types = types;
        } else {
            self.narrowed.insert(var, types);
        }
    }

    /// The names of a variable's possible types, for messages.
    pub(super) fn type_names(&self, var: VarId) -> String {
        let bodies = self.bodies(var);
        let mut names: Vec<&str> = bodies.iter().map(|b| b.name.as_str()).collect();
        names.sort_unstable();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None if self.variable(var).kind == VarKind::Path => "a path".to_owned(),
            None => "of no type".to_owned(),
        }
    }

    fn bodies(&self, var: VarId) -> Vec<&'a TypeBody> {
        let catalog = self.catalog;
        let types = self.types_of(var).iter();
        types
            .filter_map(|ty| catalog.entity(*ty).map(EntityType::body))
            .collect()
    }

    /// The property, if every possible type of the variable has it with one data type.
    pub(super) fn common_property(&mut self, var: VarId, name: &Name) -> Checked<Common<'a>> {
        if self.variable(var).kind == VarKind::Path {
            let path = self.variable(var).name.clone().unwrap_or_default();
            return Err(self.path_misused(&path, name.span));
        }
        let bodies = self.bodies(var);
        let mut found: Vec<(&TypeBody, &Property)> = Vec::new();
        for body in &bodies {
            found.extend(body.property(&name.text).map(|property| (*body, property)));
        }
        let Some(&(first, property)) = found.first() else {
            return self.no_property(var, &bodies, name);
        };
        if found.len() < bodies.len() {
            let without = bodies.iter().find(|b| b.property(&name.text).is_none());
            let without = without.map_or("", |b| b.name.as_str());
            return Err(self.not_common(var, name, format!("{without} has no such property")));
        }
        if let Some((other, differs)) =
            (found.iter()).find(|(_, p)| p.data_type != property.data_type)
        {
            let reason = format!(
                "it is {} in {} and {} in {}",
                property.data_type, first.name, differs.data_type, other.name
            );
            return Err(self.not_common(var, name, reason));
        }
        let reference = if self.variable(var).types.len() == 1 {
            PropertyRef::Single(property.id)
        } else {
            self.spend(found.len(), name.span)?;
            PropertyRef::ByType(found.iter().map(|(body, p)| (body.id, p.id)).collect())
        };
        Ok(Common {
            reference,
            property,
            nullable: self.variable(var).optional || found.iter().any(|(_, p)| p.nullable),
        })
    }

    /// The properties but blobs that all possible types have in common, by name.
    pub(super) fn shared_properties(&self, var: VarId) -> Vec<String> {
        let bodies = self.bodies(var);
        let declared = self.declared.get(&var);
        let declared = declared.and_then(|id| self.catalog.interface_by_id(*id));
        let candidates = match (bodies.first(), declared) {
            (Some(first), _) => first.properties.as_slice(),
            (None, Some(interface)) => interface.properties.as_slice(),
            (None, None) => &[],
        };
        let mut names: Vec<String> = candidates
            .iter()
            .filter(|p| p.data_type != DataType::Blob)
            .filter(|p| {
                let mut others = bodies.iter().map(|b| b.property(&p.name));
                others.all(|other| other.is_some_and(|o| o.data_type == p.data_type))
            })
            .map(|p| p.name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// A bare `$x` that means a path.
    pub(super) fn is_path(&self, name: &str) -> bool {
        let var = self.visible.get(name);
        self.param(name).is_none() && var.is_some_and(|id| self.variable(*id).kind == VarKind::Path)
    }

    fn not_common(&mut self, var: VarId, name: &Name, reason: String) -> crate::syntax::Failed {
        let variable = self.variable(var).name.clone().unwrap_or_default();
        let message = format!(
            "`${variable}` is {}: `{}` is not common to them, {reason}",
            self.type_names(var),
            name.text
        );
        self.report(
            Diagnostic::error(Code::Q234, message)
                .at(name.span)
                .hint(format!(
                    "bind `${variable}` to one type, or narrow it by a hop"
                )),
        )
    }

    /// None of the types has the property; or there are none, and the interface tells.
    fn no_property(
        &mut self,
        var: VarId,
        bodies: &[&'a TypeBody],
        name: &Name,
    ) -> Checked<Common<'a>> {
        let catalog = self.catalog;
        if let [only] = bodies
            && let Some(entity) = catalog.entity(only.id)
        {
            return self.known_property(entity, name).map(|property| Common {
                reference: PropertyRef::Single(property.id),
                property,
                nullable: property.nullable,
            });
        }
        let interface = self.declared.get(&var);
        let interface = interface.and_then(|id| catalog.interface_by_id(*id));
        let declared = interface.map_or(&[][..], |i| i.properties.as_slice());
        if bodies.is_empty()
            && let Some(property) = declared.iter().find(|p| p.name == name.text)
        {
            return Ok(Common {
                reference: PropertyRef::ByType(Vec::new()),
                property,
                nullable: true,
            });
        }
        let owner = match interface {
            Some(interface) if bodies.is_empty() => interface.name.clone(),
            _ => self.type_names(var),
        };
        let message = format!("`{owner}` has no property `{}`", name.text);
        let diagnostic = Diagnostic::error(Code::Q202, message).at(name.span);
        let known = bodies.iter().flat_map(|b| &b.properties).chain(declared);
        let known = known.map(|p| p.name.as_str());
        Err(self.report(suggest(diagnostic, &name.text, known)))
    }

    /// Q233, the only answer to most that can be done with a path.
    pub(super) fn path_misused(
        &mut self,
        name: &str,
        span: crate::diagnostic::Span,
    ) -> crate::syntax::Failed {
        let message = format!("`${name}` is a path, which cannot be used here");
        self.report(Diagnostic::error(Code::Q233, message).at(span).hint(format!(
            "a path is returned whole, or given to `length(${name})`, `nodes(${name})` or `edges(${name})`"
        )))
    }
}
