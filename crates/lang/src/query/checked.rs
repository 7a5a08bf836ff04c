//! Checked queries: every name resolved against one catalog, every expression typed.
//!
//! This is what the engine plans and executes. It holds ids and positions only: nothing in it has
//! to be looked up by name. A [`VarId`] is a position in [`Arm::variables`], a [`ParamId`] one in
//! [`CheckedQuery::params`].

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::schema::{DataType, EntityKind, PropertyId, Scalar, TypeId};
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
pub enum Body {
    Read(CheckedRead),
    /// Run in order, each on the state that the former left.
    Mutation(Vec<Statement>),
}

// ---------------------------------------------------------------------------------------- reads

#[derive(Clone, Debug, PartialEq)]
pub struct CheckedRead {
    pub arm: Arm,
    /// Further arms, applied from left to right. If there are any, `rank` is `None` and every
    /// sort key is a column.
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
    /// The possible types, ascending; never empty except for paths. More than one only for
    /// interfaces and hops over several edge types, which the checker does not admit yet.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// The end written on the left.
    pub from: VarId,
    /// The end written on the right.
    pub to: VarId,
    /// Never empty; more than one for `a|b`, which the checker does not admit yet.
    pub edges: Vec<HopEdge>,
    /// At least 1.
    pub min: u32,
    /// At least `min`.
    pub max: u32,
    /// Only with bounds of exactly one.
    pub edge_var: Option<VarId>,
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
        property: PropertyId,
        /// A vector, or a String for the embedding provider. The same for all rows.
        query: Box<Expr>,
    },
    /// Larger is better; score 0 is dropped.
    Bm25 {
        var: VarId,
        property: PropertyId,
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

// ---------------------------------------------------------------------------------- expressions

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: ExprType,
    pub nullable: bool,
}

/// The type of an expression. Enums are strings here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExprType {
    /// Of the literal `null` and of `[]` items.
    Null,
    Scalar(Scalar),
    List(Scalar),
    /// The literal `[]`, where its use gives it no other type.
    EmptyList,
    Vector(u32),
    Blob,
    Node,
    Edge,
    Path,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Literal(Value),
    Param(ParamId),
    /// The time at which the request began, a DateTime.
    Now,
    /// A property of a node or bound edge; null if the entity is null.
    Property {
        var: VarId,
        property: PropertyId,
    },
    /// The entity itself: as a value a node's id.
    Var(VarId),
    /// `id($x)`
    EntityId(VarId),
    /// `type_name($x)`
    TypeName(VarId),
    /// `from_id($w)`
    FromId(VarId),
    /// `to_id($w)`
    ToId(VarId),
    /// In `where` and `set`: of the entity that the statement looks at.
    Own(OwnField),
    /// Position in [`Grouping::keys`]; only in projections.
    GroupKey(usize),
    /// Position in [`Grouping::aggregates`]; only in projections.
    AggregateResult(usize),
    /// Items have one type; some may be null.
    List(Vec<Expr>),
    /// Both sides numbers (compared by exact value, whatever their types), or both of one type.
    /// Null if a side is.
    Compare {
        op: Comparison,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Both sides Strings. Null if a side is.
    Text {
        test: TextTest,
        text: Box<Expr>,
        part: Box<Expr>,
    },
    /// `item in list`, also `list contains item`. Null if a side is, or if nothing equals the
    /// item and the list has a null.
    In {
        item: Box<Expr>,
        list: Box<Expr>,
    },
    /// Three-valued, at least two operands.
    And(Vec<Expr>),
    /// Three-valued, at least two operands.
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// Never null.
    IsNull(Box<Expr>),
    /// Operand types decide the meaning; `ty` is the result.
    Arithmetic {
        op: Arithmetic,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Negate(Box<Expr>),
    Call {
        function: Function,
        args: Vec<Expr>,
    },
    Cast {
        value: Box<Expr>,
        to: DataType,
        mode: CastMode,
    },
    /// A Bool text search.
    Search(SearchCall),
    /// The score of a rank call, F64: `Nearest` is null for a null vector.
    Score(RankCall),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnField {
    Property(PropertyId),
    Id,
    From,
    To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CastMode {
    /// Failure is R442.
    Strict,
    /// Failure is null.
    Try,
    /// To F32 for a comparison: rounds to nearest, overflow is infinite.
    Round,
}

/// Functions of their arguments alone. `length` and the like of paths are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    Lower,
    Upper,
    Trim,
    /// Unicode scalar values of a String.
    Length,
    Substring,
    /// The pattern is a literal (checked) or a parameter.
    Matches,
    Abs,
    Floor,
    Ceil,
    Round,
    Coalesce,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Weekday,
    /// Of a list or vector.
    Size,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SearchCall {
    pub kind: SearchKind,
    pub var: VarId,
    /// A String property of the node.
    pub property: PropertyId,
    /// A String, the same for all rows.
    pub query: Box<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SearchKind {
    /// Some token occurs: `search` and `match_text`.
    AnyToken,
    /// Some token is within this many edits of one in the text (integer, negative is R443).
    Fuzzy {
        edits: Box<Expr>,
    },
    Phrase,
}

// ------------------------------------------------------------------------------------ mutations

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

// ------------------------------------------------------------------------------------ operation

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

impl Expr {
    /// Calls `f` on this expression and on all below it.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        f(self);
        match &self.kind {
            ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => {
                items.iter().for_each(|e| e.visit(f));
            }
            ExprKind::Call { args, .. } => args.iter().for_each(|e| e.visit(f)),
            ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
                left.visit(f);
                right.visit(f);
            }
            ExprKind::Text { text, part, .. } => {
                text.visit(f);
                part.visit(f);
            }
            ExprKind::In { item, list } => {
                item.visit(f);
                list.visit(f);
            }
            ExprKind::Not(e)
            | ExprKind::IsNull(e)
            | ExprKind::Negate(e)
            | ExprKind::Cast { value: e, .. } => e.visit(f),
            ExprKind::Search(call) => {
                call.query.visit(f);
                if let SearchKind::Fuzzy { edits } = &call.kind {
                    edits.visit(f);
                }
            }
            ExprKind::Score(call) => call.visit(f),
            ExprKind::Literal(_)
            | ExprKind::Param(_)
            | ExprKind::Now
            | ExprKind::Property { .. }
            | ExprKind::Var(_)
            | ExprKind::EntityId(_)
            | ExprKind::TypeName(_)
            | ExprKind::FromId(_)
            | ExprKind::ToId(_)
            | ExprKind::Own(_)
            | ExprKind::GroupKey(_)
            | ExprKind::AggregateResult(_) => {}
        }
    }

    /// The variables that the expression mentions, each once, ascending.
    #[must_use]
    pub fn variables(&self) -> Vec<VarId> {
        let mut found = Vec::new();
        self.visit(&mut |e| match &e.kind {
            ExprKind::Property { var, .. }
            | ExprKind::Var(var)
            | ExprKind::EntityId(var)
            | ExprKind::TypeName(var)
            | ExprKind::FromId(var)
            | ExprKind::ToId(var) => found.push(*var),
            ExprKind::Search(call) => found.push(call.var),
            ExprKind::Score(call) => found.push(call.var()),
            _ => {}
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same for all rows: literals, parameters, `now()` and what is made of them.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        let mut constant = true;
        self.visit(&mut |e| {
            constant &= !matches!(
                e.kind,
                ExprKind::Property { .. }
                    | ExprKind::Var(_)
                    | ExprKind::EntityId(_)
                    | ExprKind::TypeName(_)
                    | ExprKind::FromId(_)
                    | ExprKind::ToId(_)
                    | ExprKind::Own(_)
                    | ExprKind::GroupKey(_)
                    | ExprKind::AggregateResult(_)
                    | ExprKind::Search(_)
                    | ExprKind::Score(_)
            );
        });
        constant
    }

    /// For `$x.p = c` or `c = $x.p` with a constant `c`: its parts. This is what a key or index
    /// look-up needs.
    #[must_use]
    pub fn as_property_equality(&self) -> Option<(VarId, PropertyId, &Expr)> {
        let ExprKind::Compare {
            op: Comparison::Eq,
            left,
            right,
        } = &self.kind
        else {
            return None;
        };
        match (&left.kind, &right.kind) {
            (ExprKind::Property { var, property }, _) if right.is_constant() => {
                Some((*var, *property, right))
            }
            (_, ExprKind::Property { var, property }) if left.is_constant() => {
                Some((*var, *property, left))
            }
            _ => None,
        }
    }
}

/// For messages.
impl fmt::Display for ExprType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExprType::Null => f.write_str("null"),
            ExprType::Scalar(scalar) => write!(f, "{scalar}"),
            ExprType::List(scalar) => write!(f, "[{scalar}]"),
            ExprType::EmptyList => f.write_str("an empty list"),
            ExprType::Vector(width) => write!(f, "Vector({width})"),
            ExprType::Blob => f.write_str("Blob"),
            ExprType::Node => f.write_str("a node"),
            ExprType::Edge => f.write_str("an edge"),
            ExprType::Path => f.write_str("a path"),
        }
    }
}

impl RankCall {
    /// The variable whose entities are ranked.
    #[must_use]
    pub fn var(&self) -> VarId {
        match self {
            RankCall::Nearest { var, .. } | RankCall::Bm25 { var, .. } => *var,
            RankCall::Rrf { arms, .. } => arms[0].var(),
        }
    }

    fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        match self {
            RankCall::Nearest { query, .. } | RankCall::Bm25 { query, .. } => query.visit(f),
            RankCall::Rrf { arms, k } => {
                arms.iter().for_each(|arm| arm.visit(f));
                k.visit(f);
            }
        }
    }
}

impl Comparison {
    /// The comparison with its sides exchanged.
    #[must_use]
    pub fn flip(self) -> Comparison {
        match self {
            Comparison::Eq => Comparison::Eq,
            Comparison::Ne => Comparison::Ne,
            Comparison::Lt => Comparison::Gt,
            Comparison::Le => Comparison::Ge,
            Comparison::Gt => Comparison::Lt,
            Comparison::Ge => Comparison::Le,
        }
    }
}
