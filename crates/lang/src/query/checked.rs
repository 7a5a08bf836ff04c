//! Checked queries: every name resolved against one catalog, every expression typed.
//!
//! This is what the engine plans and executes. It holds ids and positions only: nothing in it has
//! to be looked up by name. A [`VarId`] is a position in [`Arm::variables`], a [`ParamId`] one in
//! [`CheckedQuery::params`].

use std::time::Duration;

use serde::Serialize;

use super::{Expr, ExprType, PropertyRef};
use crate::diagnostic::Diagnostic;
use crate::schema::{DataType, EntityKind, PropertyId, TypeId};
use crate::value::Value;

/// Position of a variable in [`Arm::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarId(pub u32);

/// Position of a parameter in [`CheckedQuery::params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub u32);

#[derive(Clone, Debug, PartialEq)]
pub struct CheckedQuery {
    pub name: String,
    pub description: Option<String>,
    pub instruction: Option<String>,
    /// `@timeout`: bounds the execution.
    pub timeout: Option<Duration>,
    pub params: Vec<Param>,
    pub body: Body,
    pub operation: Operation,
    pub warnings: Vec<Diagnostic>,
    /// The text of this query alone.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: String,
    pub data_type: DataType,
    /// Null is accepted, and absent means null unless there is a default.
    pub nullable: bool,
    /// Used when the parameter is absent; of the parameter's type.
    pub default: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one per query")]
pub enum Body {
    Read(CheckedRead),
    /// Run in order, each on the state that the former left.
    Mutation(Vec<Statement>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct CheckedRead {
    pub arm: Arm,
    /// Further arms, applied from left to right. If there are any, `rank` is `None`, every sort key
    /// is a column, and the columns of all arms have the same names and types: projections are
    /// cast where they have to be. Ties are broken by all columns from left to right.
    pub unions: Vec<(UnionKind, Arm)>,
    /// The first order key, if it is a rank key. It selects and orders entities before anything
    /// else does.
    pub rank: Option<Rank>,
    /// The other order keys, in order.
    pub order: Vec<SortKey>,
    /// Without `order`, `skip` implies the canonical order.
    pub skip: Option<Count>,
    pub limit: Option<Count>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnionKind {
    Distinct,
    All,
}

/// One `match … return …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// All variables of the arm, those of nested blocks included.
    pub variables: Vec<Variable>,
    pub matches: Block,
    /// Present if any projection has an aggregate. The projections then are expressions over
    /// [`ExprKind::GroupKey`] and [`ExprKind::AggregateResult`] instead of over variables.
    pub grouping: Option<Grouping>,
    pub projections: Vec<Projection>,
    pub distinct: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// `None`: anonymous (`$_`).
    pub name: Option<String>,
    pub kind: VarKind,
    /// The possible types, ascending. More than one only for interfaces and for hops over several
    /// edge types. None for paths, and for interfaces that no node type implements: such a
    /// variable has no values.
    pub types: Vec<TypeId>,
    /// Introduced by an optional block, so it may be null outside of it.
    pub optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VarKind {
    Node,
    /// A bound edge.
    Edge,
    Path,
}

/// A conjunctive pattern. The order of its parts carries no meaning, except that optional blocks
/// apply in order; hops are in textual order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Variables that this block introduces, in order of first mention: it has a row for each
    /// combination of them that satisfies hops and filters. Variables of enclosing blocks keep
    /// their values.
    pub variables: Vec<VarId>,
    pub hops: Vec<Hop>,
    /// Conditions, also those written as `{ p: v }` in a binding. A row stays if all are true.
    /// None is an `and` at its top.
    pub filters: Vec<Expr>,
    /// A row stays if the block has no result that agrees with it.
    pub negations: Vec<Block>,
    /// Left joins, in order, after everything above.
    pub optionals: Vec<Block>,
    /// Conditions that mention a variable of one of `optionals`: they apply last.
    pub late_filters: Vec<Expr>,
    pub late_negations: Vec<Block>,
}

/// Relates two node variables, which may be the same.
///
/// Without `edge_var` it relates nodes: each pair once, however many parallel edges there are, at
/// a distance within the bounds. With `edge_var` there is one row per stored edge.
///
/// A step takes any of `edges` that begins, in its direction, at the type of the node where the
/// step starts; the ends of the whole hop must also have one of the possible types of their
/// variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// The end written on the left.
    pub from: VarId,
    /// The end written on the right.
    pub to: VarId,
    /// Never empty, each edge type once; more than one for `a|b`.
    pub edges: Vec<HopEdge>,
    /// At least 1.
    pub min: u32,
    /// At least `min`.
    pub max: u32,
    /// Only with bounds of exactly one.
    pub edge_var: Option<VarId>,
    /// `path $r = shortest …`: the hop has the same rows with and without it. The path has as many
    /// steps as the hop took; of those paths it is the one whose sequence of nodes, by type name
    /// and id, and then of edges, by type name and id, is least in byte order. Never together with
    /// `edge_var`.
    pub path_var: Option<VarId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopEdge {
    pub edge: TypeId,
    pub direction: Direction,
}

/// The direction in which a hop goes from its left end to its right end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the edge's source to its target.
    Out,
    /// From the edge's target to its source.
    In,
    Both,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Unique among the columns of the arm.
    pub name: String,
    pub value: Expr,
}

/// Groups are compared by value, null equal to null, nodes by entity. Without keys there is always
/// exactly one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    pub keys: Vec<Expr>,
    pub aggregates: Vec<Aggregate>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub function: AggregateFunction,
    /// `None` for `count(*)`.
    pub argument: Option<Expr>,
    pub distinct: bool,
    pub ty: ExprType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    /// The values that are not null as a list, in canonical order; of nodes their ids.
    Collect,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    pub by: SortBy,
    /// Null is smaller than every value: first ascending, last descending.
    pub descending: bool,
    /// Rank calls that are not the first key: null comes last whatever the direction.
    pub nulls_last: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SortBy {
    /// Position of an output column.
    Column(usize),
    /// Over the matched variables; only without grouping, `distinct` and unions.
    Expr(Expr),
}

/// The rank key: who is ranked, and in which sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Rank {
    pub call: RankCall,
    /// Worst first; only where the alias of a score has the unusual direction.
    pub reverse: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RankCall {
    /// Squared Euclidean distance; smaller is better; null vectors are dropped.
    Nearest {
        var: VarId,
        property: PropertyRef,
        /// A vector, or a String for the embedding provider. The same for all rows.
        query: Box<Expr>,
    },
    /// Larger is better; score 0 is dropped.
    Bm25 {
        var: VarId,
        property: PropertyRef,
        /// A String, the same for all rows.
        query: Box<Expr>,
    },
    /// Σ 1/(k + rank) over two arms on one variable, each `Nearest` or `Bm25`.
    Rrf {
        arms: Box<[RankCall; 2]>,
        /// An integer, default 60; not positive at run time is R443.
        k: Box<Expr>,
    },
}

/// An integer; a negative parameter is R443 at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Literal(u64),
    Param(ParamId),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// On a keyed type it replaces an entity with the same key as a whole.
    Insert {
        target: TypeId,
        kind: EntityKind,
        /// Present for edges.
        ends: Option<Ends>,
        assignments: Vec<Assignment>,
    },
    /// Keyed types only; an existing entity keeps what is not assigned.
    Upsert {
        target: TypeId,
        kind: EntityKind,
        ends: Option<Ends>,
        assignments: Vec<Assignment>,
    },
    Update {
        target: TypeId,
        kind: EntityKind,
        assignments: Vec<Assignment>,
        filter: Expr,
    },
    Delete {
        target: TypeId,
        kind: EntityKind,
        filter: Expr,
    },
}

/// The ends of an edge that a statement writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    pub from: Endpoint,
    pub to: Endpoint,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Endpoint {
    /// The id of the node, a String.
    Id(Expr),
    /// The members of the key in key order; each value is to be coerced to the property's
    /// type, spelled ([`crate::value::spell`]) and joined ([`crate::value::derive_id`]).
    Key(Vec<Assignment>),
}

/// The value fits the property or can be made to by [`crate::value::coerce`].
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub property: PropertyId,
    pub value: Expr,
}

/// What a query gives and touches, for clients, lint and authorization.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Operation {
    /// Columns in order; empty for mutations.
    pub result: Vec<ResultColumn>,
    /// Types that execution may look at; sorted by kind and name.
    pub reads: Vec<TypeRef>,
    /// Types that execution may change; sorted by kind and name.
    pub writes: Vec<TypeRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultColumn {
    pub name: String,
    pub kind: ResultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_kind: Option<ResultKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_dim: Option<u32>,
    pub nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultKind {
    String,
    Bool,
    /// I32, U32.
    Int,
    /// I64, U64.
    BigInt,
    Float,
    Date,
    DateTime,
    Vector,
    List,
    /// A path.
    Object,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TypeRef {
    pub kind: EntityKind,
    pub type_name: String,
    #[serde(skip)]
    pub type_id: TypeId,
}

impl CheckedQuery {
    #[must_use]
    pub fn is_mutation(&self) -> bool {
        matches!(self.body, Body::Mutation(_))
    }
}

impl Variable {
    /// The type of a variable that has only one.
    #[must_use]
    pub fn single_type(&self) -> Option<TypeId> {
        match self.types.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }
}
