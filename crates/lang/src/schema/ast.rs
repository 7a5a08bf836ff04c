//! The syntax tree of a schema: what is written, in order, nothing resolved.

use crate::diagnostic::Span;
use crate::schema::DataType;
use crate::syntax::Name;
use crate::value::Value;

#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: Name,
    pub(crate) properties: Vec<Property>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) implements: Vec<Name>,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) name: Name,
    pub(crate) from: Name,
    pub(crate) to: Name,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) body: Body,
}

#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) properties: Vec<Property>,
    pub(crate) constraints: Vec<Constraint>,
}

#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) annotations: Vec<Annotation>,
}

/// A written type. Enum words are in the order of the text and may repeat.
#[derive(Debug, Clone)]
pub(crate) struct TypeExpr {
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
}

#[derive(Debug)]
pub(crate) struct Constraint {
    pub(crate) kind: ConstraintKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ConstraintKind {
    Key(Vec<Name>),
    Unique(Vec<Name>),
    Index(Vec<Name>),
    Range {
        property: Name,
        low: Option<Value>,
        high: Option<Value>,
    },
    Check {
        property: Name,
        pattern: (String, Span),
    },
}

#[derive(Debug)]
pub(crate) struct Annotation {
    pub(crate) name: String,
    /// Of the `@` and the name.
    pub(crate) span: Span,
    pub(crate) value: Option<Argument>,
    pub(crate) named: Vec<(Name, Argument)>,
    /// `@card` only.
    pub(crate) bounds: Option<(u64, Option<u64>)>,
}

#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) value: ArgumentValue,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ArgumentValue {
    Literal(Value),
    Name(String),
}
