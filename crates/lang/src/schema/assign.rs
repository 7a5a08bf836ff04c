//! Declarations to a catalog: matching with the accepted schema, and stable ids.

use std::collections::BTreeMap;

use super::declared::{Declared, DeclaredMember, DeclaredProperty, DeclaredType, TypeKind};
use super::{
    Catalog, Check, EdgeType, Embed, InterfaceType, Member, NodeType, Property, PropertyId, Range,
    TypeBody, TypeId,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::Name;

/// The catalog of the declarations, and what is wrong with their rename hints: errors of family M,
/// which make the change unsupported, and W508. A declaration with a wrong hint counts as new.
///
/// Without an accepted schema every declaration is new and hints do nothing.
pub(super) fn assign(declared: &Declared, accepted: Option<&Catalog>) -> (Catalog, Vec<Hint>) {
    let nothing = Catalog::default();
    let mut assigner = Assigner {
        first: accepted.is_none(),
        accepted: accepted.unwrap_or(&nothing),
        hints: Vec::new(),
        taken: BTreeMap::new(),
    };
    let catalog = assigner.assign(declared);
    (catalog, assigner.hints)
}

/// What is wrong with a rename hint.
pub(super) struct Hint {
    /// The declaration that has it.
    pub(super) kind: TypeKind,
    pub(super) type_name: String,
    pub(super) property: Option<String>,
    pub(super) diagnostic: Diagnostic,
}

struct Assigner<'a> {
    first: bool,
    accepted: &'a Catalog,
    hints: Vec<Hint>,
    /// Ids by kind and declared name.
    taken: BTreeMap<(TypeKind, String), TypeId>,
}

/// What an accepted type hands on to its successor.
#[derive(Clone, Copy)]
struct Predecessor<'a> {
    properties: &'a [Property],
    next_property_id: u32,
}

impl<'a> Assigner<'a> {
    fn assign(&mut self, declared: &Declared) -> Catalog {
        let next_type_id = self.match_types(declared);
        let mut catalog = Catalog {
            next_type_id,
            ..Catalog::default()
        };
        for declared in &declared.types {
            let id = self.id(declared.kind, &declared.name.text);
            let (properties, next_property_id) = self.properties(declared, id);
            match declared.kind {
                TypeKind::Interface => {
                    catalog
                        .interfaces
                        .push(interface(declared, id, properties, next_property_id));
                }
                TypeKind::Node => {
                    let mut implements: Vec<TypeId> = declared
                        .implements
                        .iter()
                        .map(|name| self.id(TypeKind::Interface, name))
                        .collect();
                    implements.sort_unstable();
                    catalog.nodes.push(NodeType {
                        body: body(declared, id, properties, next_property_id),
                        implements,
                    });
                }
                TypeKind::Edge => {
                    let (from, to) = declared.ends.clone().unwrap_or_default();
                    catalog.edges.push(EdgeType {
                        body: body(declared, id, properties, next_property_id),
                        from: self.id(TypeKind::Node, &from),
                        to: self.id(TypeKind::Node, &to),
                        cardinality: declared.cardinality,
                    });
                }
            }
        }
        catalog
    }

    /// The id of a declared type. The checker has seen to it that the name is declared.
    fn id(&self, kind: TypeKind, name: &str) -> TypeId {
        self.taken
            .get(&(kind, name.to_owned()))
            .copied()
            .unwrap_or(TypeId(0))
    }

    /// Gives every declared type its id and returns the next one to give out.
    fn match_types(&mut self, declared: &Declared) -> u64 {
        let mut claims: BTreeMap<TypeId, &Name> = BTreeMap::new();
        let mut new: Vec<&DeclaredType> = Vec::new();
        let mut hinted: Vec<(&DeclaredType, &Name)> = Vec::new();
        for ty in &declared.types {
            match (self.accepted_id(ty.kind, &ty.name.text), &ty.rename_from) {
                (Some(id), hint) => {
                    claims.insert(id, &ty.name);
                    self.taken.insert((ty.kind, ty.name.text.clone()), id);
                    if let Some(hint) = hint {
                        self.ignored(hint, ty, None);
                    }
                }
                (None, Some(hint)) if !self.first => hinted.push((ty, hint)),
                (None, _) => new.push(ty),
            }
        }
        for (ty, hint) in hinted {
            match self.accepted_id(ty.kind, &hint.text) {
                Some(id) => {
                    if let Some(other) = claims.get(&id) {
                        self.claimed(hint, ty, None, other);
                        new.push(ty);
                    } else {
                        claims.insert(id, &ty.name);
                        self.taken.insert((ty.kind, ty.name.text.clone()), id);
                    }
                }
                None => {
                    self.no_such_type(ty, hint);
                    new.push(ty);
                }
            }
        }
        new.sort_by(|a, b| (&a.name.text, a.kind).cmp(&(&b.name.text, b.kind)));
        let mut next = self.accepted.next_type_id.max(1);
        for ty in new {
            self.taken
                .insert((ty.kind, ty.name.text.clone()), TypeId(next));
            next += 1;
        }
        next
    }

    fn accepted_id(&self, kind: TypeKind, name: &str) -> Option<TypeId> {
        match kind {
            TypeKind::Interface => self.accepted.interface(name).map(|t| t.id),
            TypeKind::Node => self.accepted.node(name).map(|t| t.id),
            TypeKind::Edge => self.accepted.edge(name).map(|t| t.id),
        }
    }

    fn predecessor(&self, kind: TypeKind, id: TypeId) -> Option<Predecessor<'a>> {
        let accepted = self.accepted;
        if kind == TypeKind::Interface {
            return accepted.interface_by_id(id).map(|t| Predecessor {
                properties: &t.properties,
                next_property_id: t.next_property_id,
            });
        }
        accepted.entity(id).map(|t| Predecessor {
            properties: &t.body().properties,
            next_property_id: t.body().next_property_id,
        })
    }

    /// The properties with their ids, ascending, and the next id to give out.
    fn properties(&mut self, owner: &DeclaredType, id: TypeId) -> (Vec<Property>, u32) {
        let predecessor = self.predecessor(owner.kind, id);
        let accepted = predecessor.map_or(&[][..], |p| p.properties);
        let find = |name: &str| accepted.iter().find(|p| p.name == name).map(|p| p.id);
        let mut claims: BTreeMap<PropertyId, &Name> = BTreeMap::new();
        let mut ids: BTreeMap<&str, PropertyId> = BTreeMap::new();
        let mut new: Vec<&str> = Vec::new();
        let mut hinted: Vec<(&DeclaredProperty, &Name)> = Vec::new();
        for property in &owner.properties {
            match (find(&property.name.text), &property.rename_from) {
                (Some(id), hint) => {
                    claims.insert(id, &property.name);
                    ids.insert(&property.name.text, id);
                    if let Some(hint) = hint {
                        self.ignored(hint, owner, Some(property));
                    }
                }
                (None, Some(hint)) if !self.first => hinted.push((property, hint)),
                (None, _) => new.push(&property.name.text),
            }
        }
        for (property, hint) in hinted {
            match find(&hint.text) {
                Some(id) if !claims.contains_key(&id) => {
                    claims.insert(id, &property.name);
                    ids.insert(&property.name.text, id);
                    continue;
                }
                Some(id) => {
                    self.claimed(hint, owner, Some(property), claims[&id]);
                }
                None => self.no_such_property(owner, property, hint, predecessor.is_none()),
            }
            new.push(&property.name.text);
        }
        new.sort_unstable();
        let mut next = predecessor.map_or(1, |p| p.next_property_id);
        for name in new {
            ids.insert(name, PropertyId(next));
            next += 1;
        }
        let mut properties: Vec<Property> =
            owner.properties.iter().map(|p| property(p, &ids)).collect();
        properties.sort_by_key(|p| p.id);
        (properties, next)
    }

    fn ignored(&mut self, hint: &Name, owner: &DeclaredType, property: Option<&DeclaredProperty>) {
        if self.first {
            return;
        }
        let name = property.map_or(&owner.name, |p| &p.name);
        let message = format!(
            "the rename hint is ignored, because `{}` exists under this name",
            name.text
        );
        let diagnostic = Diagnostic::warning(Code::W508, message)
            .at(hint.span)
            .hint("remove the hint: the rename is done");
        self.wrong(owner, property, diagnostic);
    }

    fn claimed(
        &mut self,
        hint: &Name,
        owner: &DeclaredType,
        property: Option<&DeclaredProperty>,
        other: &Name,
    ) {
        let (prefix, name) = match property {
            Some(property) => (format!("{}.", owner.name.text), &property.name),
            None => (String::new(), &owner.name),
        };
        let message = format!(
            "`{prefix}{}` cannot take over `{prefix}{}`, which `{prefix}{}` already is",
            name.text, hint.text, other.text
        );
        let diagnostic = Diagnostic::error(Code::M313, message).at(hint.span);
        self.wrong(owner, property, diagnostic);
    }

    fn wrong(
        &mut self,
        owner: &DeclaredType,
        property: Option<&DeclaredProperty>,
        diagnostic: Diagnostic,
    ) {
        let property = property.map(|p| p.name.text.clone());
        let path = match &property {
            Some(property) => format!("{}.{property}", owner.name.text),
            None => owner.name.text.clone(),
        };
        self.hints.push(Hint {
            kind: owner.kind,
            type_name: owner.name.text.clone(),
            property,
            diagnostic: diagnostic.path(path),
        });
    }

    fn no_such_type(&mut self, ty: &DeclaredType, hint: &Name) {
        let kinds = [TypeKind::Interface, TypeKind::Node, TypeKind::Edge];
        let other = kinds
            .into_iter()
            .find(|kind| *kind != ty.kind && self.accepted_id(*kind, &hint.text).is_some());
        let diagnostic = match other {
            Some(other) => {
                let (word, kind) = (other.word(), ty.kind.word());
                let message = format!(
                    "the {word} `{}` cannot become the {kind} `{}`",
                    hint.text, ty.name.text
                );
                Diagnostic::error(Code::M312, message)
            }
            None => {
                let message = format!(
                    "`{}` is to be renamed from `{}`, which does not exist",
                    ty.name.text, hint.text
                );
                Diagnostic::error(Code::M311, message)
            }
        };
        self.wrong(ty, None, diagnostic.at(hint.span));
    }

    fn no_such_property(
        &mut self,
        owner: &DeclaredType,
        property: &DeclaredProperty,
        hint: &Name,
        owner_is_new: bool,
    ) {
        let path = format!("{}.{}", owner.name.text, property.name.text);
        let elsewhere = self
            .accepted
            .entities()
            .any(|t| t.body().property(&hint.text).is_some());
        let diagnostic = if owner_is_new || elsewhere {
            let message = format!(
                "`{path}` cannot take over the property `{}` of another type",
                hint.text
            );
            Diagnostic::error(Code::M312, message)
        } else {
            let message = format!(
                "`{path}` is to be renamed from `{}`, which does not exist",
                hint.text
            );
            Diagnostic::error(Code::M311, message)
        };
        self.wrong(owner, Some(property), diagnostic.at(hint.span));
    }
}

fn property(declared: &DeclaredProperty, ids: &BTreeMap<&str, PropertyId>) -> Property {
    Property {
        id: resolve(&declared.name.text, ids),
        name: declared.name.text.clone(),
        data_type: declared.data_type.clone(),
        nullable: declared.nullable,
        default: declared.default.clone(),
        embed: declared.embed.as_ref().map(|embed| Embed {
            source: resolve(&embed.source, ids),
            model: embed.model.clone(),
        }),
        description: declared.description.clone(),
        annotations: declared.annotations.clone(),
    }
}

/// The checker has seen to it that the name is declared.
fn resolve(name: &str, ids: &BTreeMap<&str, PropertyId>) -> PropertyId {
    ids.get(name).copied().unwrap_or(PropertyId(0))
}

fn interface(
    declared: &DeclaredType,
    id: TypeId,
    properties: Vec<Property>,
    next_property_id: u32,
) -> InterfaceType {
    let flagged = |flag: fn(&DeclaredProperty) -> bool| {
        properties
            .iter()
            .filter(|p| declared.property(&p.name).is_some_and(flag))
            .map(|p| p.id)
            .collect()
    };
    InterfaceType {
        id,
        name: declared.name.text.clone(),
        key: flagged(|p| p.key.is_some()),
        uniques: flagged(|p| p.unique.is_some()),
        indexes: flagged(|p| p.index.is_some()),
        properties,
        next_property_id,
    }
}

fn body(
    declared: &DeclaredType,
    id: TypeId,
    properties: Vec<Property>,
    next_property_id: u32,
) -> TypeBody {
    let ids: BTreeMap<&str, PropertyId> =
        properties.iter().map(|p| (p.name.as_str(), p.id)).collect();
    let tuple = |members: &std::collections::BTreeSet<DeclaredMember>| {
        let mut tuple: Vec<Member> = members
            .iter()
            .map(|member| match member {
                DeclaredMember::Src => Member::Src,
                DeclaredMember::Dst => Member::Dst,
                DeclaredMember::Property(name) => Member::Property(resolve(name, &ids)),
            })
            .collect();
        tuple.sort_unstable();
        tuple
    };
    let mut uniques: Vec<Vec<Member>> = declared.uniques.iter().map(tuple).collect();
    uniques.sort_unstable();
    let mut indexes: Vec<PropertyId> = declared
        .indexes
        .iter()
        .map(|name| resolve(name, &ids))
        .collect();
    indexes.sort_unstable();
    TypeBody {
        id,
        name: declared.name.text.clone(),
        key: declared.key.as_ref().map(tuple),
        uniques,
        indexes,
        ranges: declared
            .ranges
            .iter()
            .map(|range| Range {
                property: resolve(&range.property, &ids),
                low: range.low.clone(),
                high: range.high.clone(),
            })
            .collect(),
        checks: declared
            .checks
            .iter()
            .map(|(property, pattern)| Check {
                property: resolve(property, &ids),
                pattern: pattern.clone(),
            })
            .collect(),
        description: declared.description.clone(),
        instruction: declared.instruction.clone(),
        annotations: declared.annotations.clone(),
        properties,
        next_property_id,
    }
}
