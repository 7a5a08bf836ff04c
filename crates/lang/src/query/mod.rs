//! Queries: the checked form, and what turns source text into it.

mod checked;

pub use checked::{
    Aggregate, AggregateFunction, Arithmetic, Arm, Assignment, Block, Body, CastMode, CheckedQuery,
    CheckedRead, Comparison, Count, Direction, Endpoint, Ends, Expr, ExprKind, ExprType, Function,
    Grouping, Hop, HopEdge, Operation, OwnField, Param, ParamId, Projection, Rank, RankCall,
    ResultColumn, ResultKind, SearchCall, SearchKind, SortBy, SortKey, Statement, TextTest,
    TypeRef, UnionKind, VarId, VarKind, Variable,
};
