//! The comparison of two catalogs.

use std::collections::{BTreeMap, BTreeSet};

use super::constraint::{ConstraintKind, constraints_of};
use super::{DropMode, MigrationPlan, PropertyStep, Step, TypeKind, TypeStep};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::digest::name_of;
use crate::schema::{
    Cardinality, Catalog, DataType, EdgeType, InterfaceType, Member, NodeType, Property,
    PropertyId, Scalar, TypeBody, TypeId,
};

/// The plan from `accepted` to `desired`, whose ids must have been carried over.
#[must_use]
pub fn plan(accepted: &Catalog, desired: &Catalog) -> MigrationPlan {
    let mut differ = Differ {
        accepted,
        desired,
        steps: Vec::new(),
    };
    differ.interfaces();
    differ.nodes();
    differ.edges();
    let steps = differ.steps;
    let diagnostics: Vec<Diagnostic> = steps
        .iter()
        .filter_map(|step| match step {
            Step::UnsupportedChange {
                entity,
                reason,
                code,
            } => {
                let path = entity
                    .split_once(':')
                    .map_or(entity.as_str(), |(_, path)| path);
                Some(Diagnostic::error(*code, reason.clone()).path(path))
            }
            _ => None,
        })
        .collect();
    MigrationPlan {
        supported: diagnostics.is_empty(),
        steps,
        diagnostics,
    }
}

struct Differ<'a> {
    accepted: &'a Catalog,
    desired: &'a Catalog,
    steps: Vec<Step>,
}

/// The type that a step is about.
#[derive(Clone, Copy)]
struct On<'a> {
    kind: TypeKind,
    name: &'a str,
}

/// Two versions of something, by the name under which the steps are sorted.
type Pairs<'a, T> = BTreeMap<(&'a str, TypeId), (Option<&'a T>, Option<&'a T>)>;

impl<'a> Differ<'a> {
    fn interfaces(&mut self) {
        let pairs = pairs(&self.accepted.interfaces, &self.desired.interfaces, |t| {
            (t.id, t.name.as_str())
        });
        for ((name, _), pair) in pairs {
            let on = On {
                kind: TypeKind::Interface,
                name,
            };
            match pair {
                (Some(old), Some(new)) => self.interface(on, old, new),
                (None, Some(_)) => self.push(Step::AddType(on.type_step())),
                _ => self.unsupported(
                    on.entity(None),
                    "an interface cannot be removed or renamed",
                    Code::M309,
                ),
            }
        }
    }

    fn interface(&mut self, on: On<'_>, old: &InterfaceType, new: &InterfaceType) {
        self.properties(on, &old.properties, &new.properties, &[]);
        let flags = |t: &InterfaceType, id: PropertyId| {
            (
                t.key.contains(&id),
                t.uniques.contains(&id),
                t.indexes.contains(&id),
            )
        };
        for property in &new.properties {
            let kept = old.properties.iter().any(|p| p.id == property.id);
            if kept && flags(old, property.id) != flags(new, property.id) {
                self.push(Step::UpdatePropertyMetadata(
                    on.property_step(&property.name),
                ));
            }
        }
    }

    fn nodes(&mut self) {
        let pairs = pairs(&self.accepted.nodes, &self.desired.nodes, |t| {
            (t.id, t.name.as_str())
        });
        for ((name, _), pair) in pairs {
            let on = On {
                kind: TypeKind::Node,
                name,
            };
            match pair {
                (Some(old), Some(new)) => {
                    self.body(on, &old.body, &new.body, |differ| {
                        differ.implements(on, old, new)
                    });
                }
                (None, Some(_)) => self.push(Step::AddType(on.type_step())),
                _ => self.push(on.drop()),
            }
        }
    }

    fn edges(&mut self) {
        let pairs = pairs(&self.accepted.edges, &self.desired.edges, |t| {
            (t.id, t.name.as_str())
        });
        for ((name, _), pair) in pairs {
            let on = On {
                kind: TypeKind::Edge,
                name,
            };
            match pair {
                (Some(old), Some(new)) => {
                    self.body(on, &old.body, &new.body, |differ| differ.edge(on, old, new));
                }
                (None, Some(_)) => self.push(Step::AddType(on.type_step())),
                _ => self.push(on.drop()),
            }
        }
    }

    /// Renames, what only this kind of type has, properties, constraints, metadata.
    fn body(&mut self, on: On<'_>, old: &TypeBody, new: &TypeBody, own: impl FnOnce(&mut Self)) {
        if old.name != new.name {
            self.push(Step::RenameType {
                on: on.type_step(),
                from: old.name.clone(),
                to: new.name.clone(),
            });
        }
        self.renames(on, &old.properties, &new.properties);
        own(self);
        let old_key = old.key.as_deref().unwrap_or_default();
        if old.key != new.key {
            self.unsupported(on.entity(None), "the key cannot be changed", Code::M305);
        }
        self.changed_properties(on, &old.properties, &new.properties, old_key);
        self.constraints(on, old, new);
        let metadata = |t: &TypeBody| {
            (
                t.description.clone(),
                t.instruction.clone(),
                format!("{:?}", t.annotations),
            )
        };
        if metadata(old) != metadata(new) {
            self.push(Step::UpdateTypeMetadata(on.type_step()));
        }
    }

    fn implements(&mut self, on: On<'_>, old: &NodeType, new: &NodeType) {
        if old.implements == new.implements {
            return;
        }
        if old.implements.iter().all(|i| new.implements.contains(i)) {
            // The properties that come with it are steps of their own.
            self.push(Step::UpdateTypeMetadata(on.type_step()));
        } else {
            self.unsupported(
                on.entity(None),
                "an interface cannot be taken away from a node type",
                Code::M310,
            );
        }
    }

    fn edge(&mut self, on: On<'_>, old: &EdgeType, new: &EdgeType) {
        if (old.from, old.to) != (new.from, new.to) {
            self.unsupported(
                on.entity(None),
                "the ends of an edge type cannot be changed",
                Code::M306,
            );
        }
        if old.cardinality != new.cardinality {
            let step = Step::SetCardinality {
                on: on.type_step(),
                from: bounds(old.cardinality),
                to: bounds(new.cardinality),
                checked: is_tighter(old.cardinality, new.cardinality),
            };
            self.push(step);
        }
    }

    fn properties(&mut self, on: On<'_>, old: &[Property], new: &[Property], key: &[Member]) {
        self.renames(on, old, new);
        self.changed_properties(on, old, new, key);
    }

    fn renames(&mut self, on: On<'_>, old: &[Property], new: &[Property]) {
        let mut renamed: Vec<(&Property, &Property)> = new
            .iter()
            .filter_map(|n| old.iter().find(|o| o.id == n.id).map(|o| (o, n)))
            .filter(|(o, n)| o.name != n.name)
            .collect();
        renamed.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        for (old, new) in &renamed {
            self.push(Step::RenameProperty {
                on: on.property_step(&new.name),
                from: old.name.clone(),
                to: new.name.clone(),
            });
        }
    }

    fn changed_properties(
        &mut self,
        on: On<'_>,
        old: &[Property],
        new: &[Property],
        key: &[Member],
    ) {
        let ids: BTreeSet<PropertyId> = old.iter().chain(new).map(|p| p.id).collect();
        let mut pairs: Vec<(Option<&Property>, Option<&Property>)> = ids
            .into_iter()
            .map(|id| {
                let find = |list: &'_ [Property]| list.iter().position(|p| p.id == id);
                (find(old).map(|i| &old[i]), find(new).map(|i| &new[i]))
            })
            .collect();
        pairs.sort_by_key(|(o, n)| n.or(*o).map(|p| p.name.clone()));
        for pair in pairs {
            match pair {
                (Some(old_property), Some(new_property)) => {
                    self.property(on, (old_property, old), (new_property, new));
                }
                (None, Some(added)) => {
                    let step = Step::AddProperty {
                        on: on.property_step(&added.name),
                        checked: added.is_required(),
                    };
                    self.push(step);
                }
                (Some(dropped), None) => {
                    // With a member of the key, the change of the key has been refused already.
                    if !key.contains(&Member::Property(dropped.id)) {
                        let step = Step::DropProperty {
                            on: on.property_step(&dropped.name),
                            mode: DropMode::Soft,
                        };
                        self.push(step);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn property(
        &mut self,
        on: On<'_>,
        (old, old_all): (&Property, &[Property]),
        (new, new_all): (&Property, &[Property]),
    ) {
        self.data_type(on, old, new);
        if old.nullable != new.nullable {
            let step = if new.nullable {
                Step::SetNullable(on.property_step(&new.name))
            } else {
                Step::SetRequired {
                    on: on.property_step(&new.name),
                    checked: true,
                }
            };
            self.push(step);
        }
        if old.embed != new.embed {
            let text = |p: &Property, all: &[Property]| match &p.embed {
                None => "none".to_owned(),
                Some(e) => format!(
                    "{} by {}",
                    name_of(all, e.source),
                    e.model.as_deref().unwrap_or("an unnamed model")
                ),
            };
            let reason = format!(
                "the embedding cannot be changed from {} to {}",
                text(old, old_all),
                text(new, new_all)
            );
            self.unsupported(on.entity(Some(&new.name)), &reason, Code::M308);
        }
        let metadata = |p: &Property| {
            (
                p.description.clone(),
                format!("{:?} {:?}", p.default, p.annotations),
            )
        };
        if metadata(old) != metadata(new) {
            self.push(Step::UpdatePropertyMetadata(on.property_step(&new.name)));
        }
    }

    fn data_type(&mut self, on: On<'_>, old: &Property, new: &Property) {
        if old.data_type == new.data_type {
            return;
        }
        if let (DataType::Enum(before), DataType::Enum(after)) = (&old.data_type, &new.data_type)
            && before.iter().all(|value| after.contains(value))
        {
            let added_values = after
                .iter()
                .filter(|value| !before.contains(value))
                .cloned()
                .collect();
            self.push(Step::ExtendEnum {
                on: on.property_step(&new.name),
                added_values,
            });
            return;
        }
        let text = DataType::Scalar(Scalar::String);
        let is_word = |t: &DataType| matches!(t, DataType::Enum(_)) || *t == text;
        let code = if is_word(&old.data_type) && is_word(&new.data_type) {
            Code::M302
        } else {
            Code::M301
        };
        let reason = format!(
            "the type cannot be changed from {} to {}",
            old.data_type, new.data_type
        );
        self.unsupported(on.entity(Some(&new.name)), &reason, code);
    }

    fn constraints(&mut self, on: On<'_>, old: &TypeBody, new: &TypeBody) {
        let before = constraints_of(old);
        let after = constraints_of(new);
        let alive = |members: &[Member]| {
            members.iter().all(|m| match m {
                Member::Property(id) => new.property_by_id(*id).is_some(),
                Member::Src | Member::Dst => true,
            })
        };
        let mut steps = Vec::new();
        for constraint in before.difference(&after) {
            // What names a dropped property goes along with it.
            if alive(&constraint.members) {
                steps.push((
                    constraint.text(&new.properties),
                    Step::DropConstraint {
                        on: on.type_step(),
                        constraint: constraint.text(&new.properties),
                    },
                ));
            }
        }
        for constraint in after.difference(&before) {
            // A constraint on nothing but new columns with nothing in them cannot be violated, but
            // a default fills them: so all but indexes are checked.
            steps.push((
                constraint.text(&new.properties),
                Step::AddConstraint {
                    on: on.type_step(),
                    constraint: constraint.text(&new.properties),
                    checked: constraint.kind != ConstraintKind::Index,
                },
            ));
        }
        steps.sort_by(|a, b| a.0.cmp(&b.0));
        self.steps.extend(steps.into_iter().map(|(_, step)| step));
    }

    fn unsupported(&mut self, entity: String, reason: &str, code: Code) {
        self.push(Step::UnsupportedChange {
            entity,
            reason: reason.to_owned(),
            code,
        });
    }

    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }
}

fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    identity: impl Fn(&'a T) -> (TypeId, &'a str),
) -> Pairs<'a, T> {
    let mut pairs: Pairs<'a, T> = BTreeMap::new();
    for ty in new {
        let (id, name) = identity(ty);
        let before = old.iter().find(|o| identity(o).0 == id);
        pairs.insert((name, id), (before, Some(ty)));
    }
    for ty in old {
        let (id, name) = identity(ty);
        if !new.iter().any(|n| identity(n).0 == id) {
            pairs.insert((name, id), (Some(ty), None));
        }
    }
    pairs
}

impl On<'_> {
    fn type_step(self) -> TypeStep {
        TypeStep {
            type_kind: self.kind,
            type_name: self.name.to_owned(),
        }
    }

    fn property_step(self, property: &str) -> PropertyStep {
        PropertyStep {
            type_kind: self.kind,
            type_name: self.name.to_owned(),
            property_name: property.to_owned(),
        }
    }

    fn drop(self) -> Step {
        Step::DropType {
            on: self.type_step(),
            mode: DropMode::Soft,
        }
    }

    fn entity(self, property: Option<&str>) -> String {
        match property {
            Some(property) => format!("{}:{}.{property}", self.kind.word(), self.name),
            None => format!("{}:{}", self.kind.word(), self.name),
        }
    }
}

fn bounds(cardinality: Cardinality) -> String {
    let max = cardinality.max.map_or_else(String::new, |m| m.to_string());
    format!("{}..{max}", cardinality.min)
}

/// Something that was allowed no longer is.
fn is_tighter(old: Cardinality, new: Cardinality) -> bool {
    let max = |c: Cardinality| c.max.unwrap_or(u64::MAX);
    new.min > old.min || max(new) < max(old)
}
