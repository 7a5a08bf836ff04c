//! A schema that has been checked but has no ids yet: everything refers to everything by name.

use std::collections::BTreeSet;

use super::{Annotation, Cardinality, DataType, DefaultValue};
use crate::diagnostic::Span;
use crate::syntax::Name;
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TypeKind {
    Interface,
    Node,
    Edge,
}

/// Sorted by kind, then by name.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) types: Vec<DeclaredType>,
}

#[derive(Clone, Debug)]
pub(crate) struct DeclaredType {
    pub(crate) kind: TypeKind,
    pub(crate) name: Name,
    pub(crate) rename_from: Option<Name>,
    /// Inherited ones included.
    pub(crate) properties: Vec<DeclaredProperty>,
    pub(crate) key: Option<BTreeSet<DeclaredMember>>,
    pub(crate) uniques: BTreeSet<BTreeSet<DeclaredMember>>,
    pub(crate) indexes: BTreeSet<String>,
    pub(crate) ranges: Vec<DeclaredRange>,
    pub(crate) checks: BTreeSet<(String, String)>,
    pub(crate) implements: BTreeSet<String>,
    /// Edges only.
    pub(crate) ends: Option<(String, String)>,
    pub(crate) cardinality: Cardinality,
    pub(crate) description: Option<String>,
    pub(crate) instruction: Option<String>,
    pub(crate) annotations: Vec<Annotation>,
}

#[derive(Clone, Debug)]
pub(crate) struct DeclaredProperty {
    pub(crate) name: Name,
    pub(crate) rename_from: Option<Name>,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    pub(crate) default: Option<DefaultValue>,
    pub(crate) embed: Option<DeclaredEmbed>,
    pub(crate) description: Option<String>,
    pub(crate) annotations: Vec<Annotation>,
    /// `@key`, `@unique`, `@index` in the property form.
    pub(crate) key: Option<Span>,
    pub(crate) unique: Option<Span>,
    pub(crate) index: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredEmbed {
    pub(crate) source: String,
    pub(crate) model: Option<String>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeclaredMember {
    Src,
    Dst,
    Property(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeclaredRange {
    pub(crate) property: String,
    pub(crate) low: Option<Value>,
    pub(crate) high: Option<Value>,
}

impl DeclaredType {
    pub(crate) fn property(&self, name: &str) -> Option<&DeclaredProperty> {
        self.properties.iter().find(|p| p.name.text == name)
    }
}

impl TypeKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            TypeKind::Interface => "interface",
            TypeKind::Node => "node",
            TypeKind::Edge => "edge",
        }
    }
}
