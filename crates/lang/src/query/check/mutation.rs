//! Insert, upsert, update, delete.

use std::collections::BTreeSet;

use super::{Checked, Checker, Place, expr_type};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast::{self, AssignedValue, Verb};
use crate::query::{Assignment, Endpoint, Ends, ExprType, Statement};
use crate::schema::{EntityType, Member, NodeType, PropertyId, Scalar, TypeId, did_you_mean};
use crate::syntax::{Failed, Name};

impl<'a> Checker<'a> {
    pub(super) fn statements(&mut self, written: &[ast::Statement]) -> Checked<Vec<Statement>> {
        let checked: Vec<Checked<Statement>> = written.iter().map(|s| self.statement(s)).collect();
        checked.into_iter().collect()
    }

    fn statement(&mut self, written: &ast::Statement) -> Checked<Statement> {
        let entity = self.target(written)?;
        self.describe_statement(written.verb, entity);
        let target = entity.body().id;
        let kind = entity.kind();
        match written.verb {
            Verb::Insert | Verb::Upsert => {
                let (ends, assignments) = self.new_entity(written, entity)?;
                Ok(if written.verb == Verb::Insert {
                    Statement::Insert {
                        target,
                        kind,
                        ends,
                        assignments,
                    }
                } else {
                    Statement::Upsert {
                        target,
                        kind,
                        ends,
                        assignments,
                    }
                })
            }
            Verb::Update => {
                let assignments = self.changes(written, entity);
                let filter = self.filter(written, target);
                Ok(Statement::Update {
                    target,
                    kind,
                    assignments: assignments?,
                    filter: filter?,
                })
            }
            Verb::Delete => Ok(Statement::Delete {
                target,
                kind,
                filter: self.filter(written, target)?,
            }),
        }
    }

    /// A node type if one has the name, else an edge type.
    fn target(&mut self, written: &ast::Statement) -> Checked<EntityType<'a>> {
        let catalog = self.catalog;
        let name = &written.target;
        let node = catalog.node(&name.text).filter(|_| !written.lower_case);
        if let Some(node) = node {
            return Ok(EntityType::Node(node));
        }
        if let Some(edge) = catalog.edge(&name.text) {
            return Ok(EntityType::Edge(edge));
        }
        let message = format!("unknown node or edge type `{}`", name.text);
        let mut diagnostic = Diagnostic::error(Code::Q210, message).at(name.span);
        let same = catalog
            .nodes
            .iter()
            .find(|n| n.name.eq_ignore_ascii_case(&name.text));
        if let Some(node) = same {
            diagnostic = diagnostic.hint(format!(
                "`{}` is a node type: write it in this case",
                node.name
            ));
            return Err(self.report(diagnostic));
        }
        let known = catalog.entities().map(|t| t.body().name.as_str());
        Err(self.report(did_you_mean(diagnostic, &name.text, known)))
    }

    fn filter(&mut self, written: &ast::Statement, target: TypeId) -> Checked<crate::query::Expr> {
        self.place = Place::Where(target);
        match &written.filter {
            Some(filter) => self.condition(filter),
            None => Err(Failed),
        }
    }

    /// The assignments of an update.
    fn changes(
        &mut self,
        written: &ast::Statement,
        entity: EntityType<'a>,
    ) -> Checked<Vec<Assignment>> {
        self.place = Place::Set(entity.body().id);
        let mut assigned = Assigned::default();
        let mut failed = None;
        for assignment in &written.assignments {
            let name = &assignment.name;
            let fixed = if is_end(entity, &name.text) {
                Some("an end of an edge")
            } else {
                let property = entity.body().property(&name.text);
                property
                    .filter(|p| entity.body().is_key_member(p.id))
                    .map(|_| "part of the key")
            };
            if let Some(what) = fixed {
                let message = format!("`{}` is {what} and cannot be changed", name.text);
                failed = Some(
                    self.report(
                        Diagnostic::error(Code::Q216, message)
                            .at(name.span)
                            .hint("delete the entity and insert another"),
                    ),
                );
                continue;
            }
            if let Err(error) = self.assignment(entity, assignment, &mut assigned) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(assigned.properties), Err)
    }

    /// The ends and assignments of an insert or upsert.
    fn new_entity(
        &mut self,
        written: &ast::Statement,
        entity: EntityType<'a>,
    ) -> Checked<(Option<Ends>, Vec<Assignment>)> {
        self.place = Place::Insert;
        let body = entity.body();
        let upsert = written.verb == Verb::Upsert;
        if upsert && !body.is_keyed() {
            let message = format!(
                "`{}` has no key: what `upsert` would change is not defined",
                body.name
            );
            return Err(self.report(
                Diagnostic::error(Code::Q235, message)
                    .at(written.target.span)
                    .hint("use `insert`, or declare a `@key`"),
            ));
        }
        let mut assigned = Assigned::default();
        let mut failed = None;
        for assignment in &written.assignments {
            let result = if is_end(entity, &assignment.name.text) {
                self.end_assignment(entity, assignment, &mut assigned)
            } else {
                self.assignment(entity, assignment, &mut assigned)
            };
            if let Err(error) = result {
                failed = Some(error);
            }
        }
        if written.damaged {
            return Err(Failed);
        }
        self.missing(written, entity, &assigned, upsert)?;
        if let Some(error) = failed {
            return Err(error);
        }
        let ends = match (assigned.from, assigned.to) {
            (Some(from), Some(to)) => Some(Ends { from, to }),
            _ => None,
        };
        Ok((ends, assigned.properties))
    }

    fn assignment(
        &mut self,
        entity: EntityType<'a>,
        assignment: &ast::Assignment,
        assigned: &mut Assigned,
    ) -> Checked<()> {
        let name = &assignment.name;
        self.once(name, assigned)?;
        let property = self.known_property(entity, name)?;
        let value = match &assignment.value {
            AssignedValue::Expr(value) => value,
            AssignedValue::Members(_, span) => {
                let message = "only the ends of an edge take the members of a key";
                return Err(self.error(Code::Q203, *span, message));
            }
        };
        let checked = self.expr(value)?;
        self.assignable(entity, property, &checked, value.span)?;
        assigned.ids.insert(property.id);
        assigned.properties.push(Assignment {
            property: property.id,
            value: checked,
        });
        Ok(())
    }

    fn once(&mut self, name: &Name, assigned: &mut Assigned) -> Checked<()> {
        if assigned.names.insert(name.text.clone()) {
            return Ok(());
        }
        let message = format!("`{}` is assigned twice", name.text);
        Err(self.error(Code::Q213, name.span, message))
    }

    /// Everything that must be assigned is.
    fn missing(
        &mut self,
        written: &ast::Statement,
        entity: EntityType<'a>,
        assigned: &Assigned,
        upsert: bool,
    ) -> Checked<()> {
        let body = entity.body();
        let mut missing: Vec<&str> = Vec::new();
        if let EntityType::Edge(_) = entity {
            missing.extend(
                ["from", "to"]
                    .into_iter()
                    .filter(|end| !assigned.names.contains(*end)),
            );
        }
        for property in &body.properties {
            let needed = if upsert {
                body.is_key_member(property.id)
            } else {
                let source = property.embed.as_ref().map(|e| e.source);
                property.is_required() && !source.is_some_and(|s| assigned.ids.contains(&s))
            };
            if needed && !assigned.names.contains(&property.name) {
                missing.push(&property.name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("`{}` needs {}", body.name, missing.join(", "));
        Err(self.error(Code::Q212, written.target.span, message))
    }

    fn end_assignment(
        &mut self,
        entity: EntityType<'a>,
        assignment: &ast::Assignment,
        assigned: &mut Assigned,
    ) -> Checked<()> {
        let name = &assignment.name;
        self.once(name, assigned)?;
        let EntityType::Edge(edge) = entity else {
            return Err(Failed);
        };
        let is_from = name.text == "from";
        let catalog = self.catalog;
        let Some(node) = catalog.node_by_id(if is_from { edge.from } else { edge.to }) else {
            return Err(Failed);
        };
        let end = match &assignment.value {
            AssignedValue::Expr(value) => self.end_value(node, value)?,
            AssignedValue::Members(members, span) => self.end_members(node, members, *span)?,
        };
        if is_from {
            assigned.from = Some(end);
        } else {
            assigned.to = Some(end);
        }
        Ok(())
    }

    /// The id of a node, or the value of its one-member key.
    fn end_value(&mut self, node: &'a NodeType, value: &ast::Expr) -> Checked<Endpoint> {
        let checked = self.expr(value)?;
        if checked.ty == ExprType::Scalar(Scalar::String) {
            return Ok(Endpoint::Id(checked));
        }
        let member = match node.key.as_deref() {
            Some([Member::Property(id)]) => node.property_by_id(*id),
            _ => None,
        };
        match member {
            Some(property)
                if expr_type(&property.data_type) != ExprType::Scalar(Scalar::String) =>
            {
                self.assignable(EntityType::Node(node), property, &checked, value.span)?;
                Ok(Endpoint::Key(vec![Assignment {
                    property: property.id,
                    value: checked,
                }]))
            }
            _ => {
                let message = format!(
                    "an end is the id of a `{}`, a String; this is {}",
                    node.name, checked.ty
                );
                Err(self.error(Code::Q203, value.span, message))
            }
        }
    }

    /// `{ tenant: $t, slot: 7 }`
    fn end_members(
        &mut self,
        node: &'a NodeType,
        members: &[(Name, ast::Expr)],
        span: Span,
    ) -> Checked<Endpoint> {
        let mut found: Vec<Assignment> = Vec::new();
        for (name, value) in members {
            let property = self.known_property(EntityType::Node(node), name)?;
            if !node.is_key_member(property.id) {
                let message = format!("`{}` is not part of the key of `{}`", name.text, node.name);
                return Err(self.error(Code::Q202, name.span, message));
            }
            if found.iter().any(|a| a.property == property.id) {
                let message = format!("`{}` is given twice", name.text);
                return Err(self.error(Code::Q213, name.span, message));
            }
            let checked = self.expr(value)?;
            self.assignable(EntityType::Node(node), property, &checked, value.span)?;
            found.push(Assignment {
                property: property.id,
                value: checked,
            });
        }
        // Ascending ids are the order of the key.
        found.sort_by_key(|a| a.property);
        if node.key.as_ref().is_none_or(|key| key.len() != found.len()) {
            let message = format!("all members of the key of `{}` must be given", node.name);
            return Err(self.error(Code::Q212, span, message));
        }
        Ok(Endpoint::Key(found))
    }
}

/// What a statement has assigned so far.
#[derive(Default)]
struct Assigned {
    names: BTreeSet<String>,
    ids: BTreeSet<PropertyId>,
    properties: Vec<Assignment>,
    from: Option<Endpoint>,
    to: Option<Endpoint>,
}

fn is_end(entity: EntityType<'_>, name: &str) -> bool {
    matches!(entity, EntityType::Edge(_)) && matches!(name, "from" | "to")
}
