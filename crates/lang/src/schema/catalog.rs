//! The checked schema of a graph.
//!
//! Names may change between schema versions; [`TypeId`] and [`PropertyId`] do not, and are never
//! given out twice in one graph. Whatever refers to a type or a property in stored data or in a
//! checked query does so by id.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// The stable identity of an interface, node type or edge type. Unique in one graph over all kinds
/// and all schema versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypeId(pub u64);

/// The stable identity of a property. Unique in its type over all schema versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PropertyId(pub u32);

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One version of a graph's schema. Types are sorted by name within each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub interfaces: Vec<InterfaceType>,
    pub nodes: Vec<NodeType>,
    pub edges: Vec<EdgeType>,
    /// The next type id to give out; larger than every id that any version has used.
    pub next_type_id: u64,
}

/// Properties that several node types share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceType {
    pub id: TypeId,
    pub name: String,
    /// Ascending by id.
    pub properties: Vec<Property>,
    pub next_property_id: u32,
    /// Annotations of the properties that mean constraints, by property id: what an implementer
    /// that does not declare the property inherits.
    pub key: Vec<PropertyId>,
    pub uniques: Vec<PropertyId>,
    pub indexes: Vec<PropertyId>,
}

/// A node type. Its common part is reached through `Deref`: `node.name`, `node.properties`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeType {
    #[serde(flatten)]
    pub body: TypeBody,
    /// Interfaces, ascending by id.
    pub implements: Vec<TypeId>,
}

/// An edge type. Its common part is reached through `Deref`: `edge.name`, `edge.properties`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeType {
    #[serde(flatten)]
    pub body: TypeBody,
    /// Node type at which edges start.
    pub from: TypeId,
    /// Node type at which edges end.
    pub to: TypeId,
    pub cardinality: Cardinality,
}

/// What node types and edge types have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeBody {
    pub id: TypeId,
    pub name: String,
    /// Ascending by id, inherited ones included. This is the column order of the table.
    pub properties: Vec<Property>,
    /// The next property id to give out.
    pub next_property_id: u32,
    /// Members of the key, ascending: `src`, `dst`, then properties by id. `None`: ids are ULIDs.
    pub key: Option<Vec<Member>>,
    /// Member tuples, each ascending.
    pub uniques: Vec<Vec<Member>>,
    /// Properties with an index, ascending; those of the key included. `id`, `src` and `dst` are
    /// always indexed and not listed.
    pub indexes: Vec<PropertyId>,
    pub ranges: Vec<Range>,
    pub checks: Vec<Check>,
    pub description: Option<String>,
    pub instruction: Option<String>,
    /// Annotations without effect, by name.
    pub annotations: Vec<Annotation>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Property {
    pub id: PropertyId,
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub default: Option<DefaultValue>,
    /// Set on vectors that represent a text of the same node.
    pub embed: Option<Embed>,
    pub description: Option<String>,
    /// Annotations without effect, by name.
    pub annotations: Vec<Annotation>,
}

/// A part of a key or of a unique tuple. `src` and `dst` occur on edges only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    Src,
    Dst,
    Property(PropertyId),
}

/// The type of a stored value, apart from nullability.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    Scalar(Scalar),
    /// A text out of a set, sorted.
    Enum(Vec<String>),
    /// A list without null items.
    List(Scalar),
    /// Exactly this many finite F32 numbers.
    Vector(u32),
    Blob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scalar {
    String,
    Bool,
    I32,
    I64,
    U32,
    U64,
    F32,
    F64,
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since 1970-01-01T00:00Z.
    DateTime,
}

/// What a property is when a write omits it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultValue {
    /// A value of the property's type.
    Value(Value),
    /// The time at which the request began; `DateTime` only.
    Now,
}

/// `@embed`: the vector represents the text of `source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    pub source: PropertyId,
    pub model: Option<String>,
}

/// `@range`: inclusive bounds; `Value::Int`, `Value::UInt` or `Value::F64`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub property: PropertyId,
    pub low: Option<Value>,
    pub high: Option<Value>,
}

/// `@check`: the pattern occurs somewhere in the text. The dialect is that of the crate `regex`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub property: PropertyId,
    pub pattern: String,
}

/// Edges of one type per source node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cardinality {
    pub min: u64,
    /// `None`: no upper bound.
    pub max: Option<u64>,
}

/// An annotation that has no effect on the database and is kept for readers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    pub name: String,
    pub value: Option<AnnotationValue>,
    pub arguments: BTreeMap<String, AnnotationValue>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationValue {
    Literal(Value),
    /// A bare word, as in `@embed(summary)`.
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    Node,
    Edge,
}

/// An index that the type of a property calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexKind {
    Ordered,
    FullText,
    NearestNeighbour,
}

/// A node or edge type, for code that treats them alike.
#[derive(Clone, Copy, Debug)]
pub enum EntityType<'a> {
    Node(&'a NodeType),
    Edge(&'a EdgeType),
}

impl Catalog {
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&InterfaceType> {
        self.interfaces.iter().find(|t| t.name == name)
    }

    /// Node names are case-sensitive.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeType> {
        self.nodes.iter().find(|t| t.name == name)
    }

    /// Edge names are compared without regard to ASCII case.
    #[must_use]
    pub fn edge(&self, name: &str) -> Option<&EdgeType> {
        self.edges
            .iter()
            .find(|t| t.name.eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn interface_by_id(&self, id: TypeId) -> Option<&InterfaceType> {
        self.interfaces.iter().find(|t| t.id == id)
    }

    #[must_use]
    pub fn node_by_id(&self, id: TypeId) -> Option<&NodeType> {
        self.nodes.iter().find(|t| t.id == id)
    }

    #[must_use]
    pub fn edge_by_id(&self, id: TypeId) -> Option<&EdgeType> {
        self.edges.iter().find(|t| t.id == id)
    }

    /// The node or edge type with this id.
    #[must_use]
    pub fn entity(&self, id: TypeId) -> Option<EntityType<'_>> {
        self.node_by_id(id)
            .map(EntityType::Node)
            .or_else(|| self.edge_by_id(id).map(EntityType::Edge))
    }

    /// All node types, then all edge types, each by name.
    pub fn entities(&self) -> impl Iterator<Item = EntityType<'_>> {
        self.nodes
            .iter()
            .map(EntityType::Node)
            .chain(self.edges.iter().map(EntityType::Edge))
    }

    /// Node types that implement the interface, by name.
    pub fn implementers(&self, interface: TypeId) -> impl Iterator<Item = &NodeType> {
        self.nodes
            .iter()
            .filter(move |n| n.implements.contains(&interface))
    }

    /// Edge types that can start or end at the node type, by name.
    pub fn incident_edges(&self, node: TypeId) -> impl Iterator<Item = &EdgeType> {
        self.edges
            .iter()
            .filter(move |e| e.from == node || e.to == node)
    }
}

impl<'a> EntityType<'a> {
    #[must_use]
    pub fn body(self) -> &'a TypeBody {
        match self {
            EntityType::Node(node) => &node.body,
            EntityType::Edge(edge) => &edge.body,
        }
    }

    #[must_use]
    pub fn kind(self) -> EntityKind {
        match self {
            EntityType::Node(_) => EntityKind::Node,
            EntityType::Edge(_) => EntityKind::Edge,
        }
    }
}

impl TypeBody {
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name)
    }

    #[must_use]
    pub fn property_by_id(&self, id: PropertyId) -> Option<&Property> {
        self.properties.iter().find(|p| p.id == id)
    }

    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    #[must_use]
    pub fn is_key_member(&self, id: PropertyId) -> bool {
        self.key
            .as_ref()
            .is_some_and(|key| key.contains(&Member::Property(id)))
    }
}

impl Property {
    /// A write must give a value, because neither null nor a default stands in for it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.nullable && self.default.is_none()
    }
}

impl Deref for NodeType {
    type Target = TypeBody;
    fn deref(&self) -> &TypeBody {
        &self.body
    }
}

impl Deref for EdgeType {
    type Target = TypeBody;
    fn deref(&self) -> &TypeBody {
        &self.body
    }
}

impl DataType {
    /// Can be a member of a key or of a unique tuple.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        matches!(self, DataType::Scalar(_) | DataType::Enum(_))
    }

    /// The indexes that `@index` on a property of this type asks for.
    #[must_use]
    pub fn index_kinds(&self) -> &'static [IndexKind] {
        match self {
            DataType::Scalar(Scalar::String) => &[IndexKind::FullText, IndexKind::Ordered],
            DataType::Scalar(_) | DataType::Enum(_) => &[IndexKind::Ordered],
            DataType::Vector(_) => &[IndexKind::NearestNeighbour],
            DataType::List(_) | DataType::Blob => &[],
        }
    }

    /// The scalar that a value of this type is; enums are strings.
    #[must_use]
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            DataType::Scalar(scalar) => Some(*scalar),
            DataType::Enum(_) => Some(Scalar::String),
            DataType::List(_) | DataType::Vector(_) | DataType::Blob => None,
        }
    }
}

/// The spelling of the schema language, without `?`.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Scalar(scalar) => write!(f, "{scalar}"),
            DataType::Enum(values) => write!(f, "enum({})", values.join(", ")),
            DataType::List(scalar) => write!(f, "[{scalar}]"),
            DataType::Vector(width) => write!(f, "Vector({width})"),
            DataType::Blob => f.write_str("Blob"),
        }
    }
}

impl Scalar {
    pub const ALL: [Scalar; 10] = [
        Scalar::String,
        Scalar::Bool,
        Scalar::I32,
        Scalar::I64,
        Scalar::U32,
        Scalar::U64,
        Scalar::F32,
        Scalar::F64,
        Scalar::Date,
        Scalar::DateTime,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scalar::String => "String",
            Scalar::Bool => "Bool",
            Scalar::I32 => "I32",
            Scalar::I64 => "I64",
            Scalar::U32 => "U32",
            Scalar::U64 => "U64",
            Scalar::F32 => "F32",
            Scalar::F64 => "F64",
            Scalar::Date => "Date",
            Scalar::DateTime => "DateTime",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Scalar> {
        Scalar::ALL.into_iter().find(|s| s.name() == name)
    }

    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Scalar::I32 | Scalar::I64 | Scalar::U32 | Scalar::U64)
    }

    #[must_use]
    pub fn is_unsigned(self) -> bool {
        matches!(self, Scalar::U32 | Scalar::U64)
    }

    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Scalar::F32 | Scalar::F64)
    }

    #[must_use]
    pub fn is_number(self) -> bool {
        self.is_integer() || self.is_float()
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntityKind::Node => "node",
            EntityKind::Edge => "edge",
        })
    }
}
