//! The syntax tree of queries: what is written, nothing resolved.

use crate::diagnostic::Span;
use crate::query::{Arithmetic, Comparison, TextTest, UnionKind};
use crate::schema::DataType;
use crate::syntax::Name;
use crate::value::Value;

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: Name,
    pub(crate) params: Vec<Param>,
    /// Parameters that could not be read.
    pub(crate) lost_params: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) instruction: Option<String>,
    pub(crate) timeout: Option<std::time::Duration>,
    pub(crate) body: Body,
    /// It was read up to its closing brace.
    pub(crate) closed: bool,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: Name,
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Expr>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Read(Read),
    Mutation(Vec<Statement>),
}

#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) arm: Arm,
    pub(crate) unions: Vec<(UnionKind, Span, Arm)>,
    pub(crate) order: Vec<Key>,
    pub(crate) skip: Option<Count>,
    pub(crate) limit: Option<Count>,
}

#[derive(Debug, Default)]
pub(crate) struct Arm {
    pub(crate) block: Block,
    pub(crate) distinct: bool,
    pub(crate) projections: Vec<Projection>,
    /// Some projection could not be read, or none at all.
    pub(crate) damaged: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) clauses: Vec<Clause>,
    /// Variables of clauses that could not be read.
    pub(crate) lost: Vec<String>,
    /// Some clause could not be read.
    pub(crate) damaged: bool,
}

#[derive(Debug)]
pub(crate) enum Clause {
    Binding(Binding),
    Hop(Hop),
    Path(Path),
    Not(Block, Span),
    Optional(Block, Span),
    Condition(Expr),
}

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) var: Name,
    pub(crate) type_name: Name,
    pub(crate) values: Vec<(Name, Expr)>,
}

#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) from: Name,
    pub(crate) edge_var: Option<Name>,
    pub(crate) edges: Vec<Name>,
    pub(crate) undirected: bool,
    pub(crate) bounds: Option<Bounds>,
    pub(crate) to: Name,
}

/// `path $r = shortest …`
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) var: Name,
    /// Without a bound edge.
    pub(crate) hop: Hop,
}

#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) min: u64,
    /// `None`: missing, which is not allowed.
    pub(crate) max: Option<u64>,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) value: Expr,
    pub(crate) alias: Option<Name>,
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) value: Expr,
    /// The direction as written.
    pub(crate) direction: Option<(Order, Span)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

#[derive(Debug)]
pub(crate) enum Count {
    Literal(u64),
    Param(Name),
}

#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) verb: Verb,
    pub(crate) target: Name,
    /// The target was written with a lower-case letter, so it is an edge.
    pub(crate) lower_case: bool,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) filter: Option<Expr>,
    /// Some assignment or the condition could not be read.
    pub(crate) damaged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Insert,
    Upsert,
    Update,
    Delete,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: Name,
    pub(crate) value: AssignedValue,
}

#[derive(Debug)]
pub(crate) enum AssignedValue {
    Expr(Expr),
    /// The members of a composite key.
    Members(Vec<(Name, Expr)>, Span),
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    Literal(Value),
    List(Vec<Expr>),
    /// `$x`
    Var(String),
    /// `$x.p`
    Property(String, Name),
    /// `$x.*`
    AllProperties(String),
    /// A bare word.
    Name(String),
    Call(Call),
    /// `name(value as type)`
    Cast {
        name: String,
        value: Box<Expr>,
        to: DataType,
    },
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Text(TextTest, Box<Expr>, Box<Expr>),
    In {
        item: Box<Expr>,
        list: Box<Expr>,
        negated: bool,
    },
    IsNull {
        value: Box<Expr>,
        negated: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Negate(Box<Expr>),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Vec<Expr>,
    pub(crate) distinct: bool,
    /// `name(*)`
    pub(crate) star: bool,
}

impl Expr {
    /// Calls `f` on this expression and on all below it.
    pub(crate) fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        f(self);
        match &self.kind {
            ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => {
                items.iter().for_each(|e| e.visit(f));
            }
            ExprKind::Call(call) => call.args.iter().for_each(|e| e.visit(f)),
            ExprKind::Cast { value: e, .. }
            | ExprKind::IsNull { value: e, .. }
            | ExprKind::Not(e)
            | ExprKind::Negate(e) => e.visit(f),
            ExprKind::Compare(_, a, b)
            | ExprKind::Text(_, a, b)
            | ExprKind::Arithmetic(_, a, b)
            | ExprKind::In {
                item: a, list: b, ..
            } => {
                a.visit(f);
                b.visit(f);
            }
            ExprKind::Literal(_)
            | ExprKind::Var(_)
            | ExprKind::Property(..)
            | ExprKind::AllProperties(_)
            | ExprKind::Name(_) => {}
        }
    }
}
