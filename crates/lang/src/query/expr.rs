//! Expressions of checked queries: typed trees without names.

use std::fmt;

use super::{ParamId, RankCall, VarId};
use crate::schema::{DataType, PropertyId, Scalar, TypeId};
use crate::value::Value;

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

/// Which property of a variable's entity is meant. Property ids are unique only within a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PropertyRef {
    /// Of a variable that has one possible type.
    Single(PropertyId),
    /// Of a variable that has several (or none): the property of each type, ascending by type.
    /// All have one data type. It is null for an entity of a type that is not in the list, which
    /// can only be met where another part of the block excludes that type.
    ByType(Vec<(TypeId, PropertyId)>),
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
        property: PropertyRef,
    },
    /// The entity itself: as a value a node's id. A path stands by itself only as a projection.
    Var(VarId),
    /// `id($x)`
    EntityId(VarId),
    /// `type_name($x)`
    TypeName(VarId),
    /// `from_id($w)`
    FromId(VarId),
    /// `to_id($w)`
    ToId(VarId),
    /// `length($r)`, an I64.
    PathLength(VarId),
    /// `nodes($r)`: the ids from the left end to the right one, both included.
    PathNodes(VarId),
    /// `edges($r)`: the ids in the order of the steps.
    PathEdges(VarId),
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
    pub property: PropertyRef,
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
            | ExprKind::PathLength(_)
            | ExprKind::PathNodes(_)
            | ExprKind::PathEdges(_)
            | ExprKind::Own(_)
            | ExprKind::GroupKey(_)
            | ExprKind::AggregateResult(_) => {}
        }
    }

    /// Levels of nesting: 1 for a literal.
    #[must_use]
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        match &self.kind {
            ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => {
                deepest = items.iter().map(Expr::depth).max().unwrap_or(0);
            }
            ExprKind::Call { args, .. } => {
                deepest = args.iter().map(Expr::depth).max().unwrap_or(0);
            }
            ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
                deepest = left.depth().max(right.depth());
            }
            ExprKind::Text { text, part, .. } => deepest = text.depth().max(part.depth()),
            ExprKind::In { item, list } => deepest = item.depth().max(list.depth()),
            ExprKind::Not(e)
            | ExprKind::IsNull(e)
            | ExprKind::Negate(e)
            | ExprKind::Cast { value: e, .. } => deepest = e.depth(),
            // What a search is about is a literal or a parameter.
            _ => {}
        }
        deepest + 1
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
            | ExprKind::ToId(var)
            | ExprKind::PathLength(var)
            | ExprKind::PathNodes(var)
            | ExprKind::PathEdges(var) => found.push(*var),
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
                    | ExprKind::PathLength(_)
                    | ExprKind::PathNodes(_)
                    | ExprKind::PathEdges(_)
                    | ExprKind::Own(_)
                    | ExprKind::GroupKey(_)
                    | ExprKind::AggregateResult(_)
                    | ExprKind::Search(_)
                    | ExprKind::Score(_)
            );
        });
        constant
    }

    /// For `$x.p = c` or `c = $x.p` with a constant `c` and a variable that has one possible type:
    /// its parts. This is what a key or index look-up needs.
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
                Some((*var, property.single()?, right))
            }
            (_, ExprKind::Property { var, property }) if left.is_constant() => {
                Some((*var, property.single()?, left))
            }
            _ => None,
        }
    }
}

impl PropertyRef {
    /// The property, if the variable has one possible type.
    #[must_use]
    pub fn single(&self) -> Option<PropertyId> {
        match self {
            PropertyRef::Single(id) => Some(*id),
            PropertyRef::ByType(_) => None,
        }
    }

    /// The property of an entity of this type.
    #[must_use]
    pub fn of(&self, ty: TypeId) -> Option<PropertyId> {
        match self {
            PropertyRef::Single(id) => Some(*id),
            PropertyRef::ByType(list) => {
                let at = list.binary_search_by_key(&ty, |(ty, _)| *ty).ok()?;
                Some(list[at].1)
            }
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
