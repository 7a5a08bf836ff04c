//! Schemas: the catalog, and what turns source text into one.

mod catalog;

pub use catalog::{
    Annotation, AnnotationValue, Cardinality, Catalog, Check, DataType, DefaultValue, EdgeType,
    Embed, EntityKind, EntityType, IndexKind, InterfaceType, Member, NodeType, Property,
    PropertyId, Range, Scalar, TypeBody, TypeId,
};
