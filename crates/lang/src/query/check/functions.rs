//! Calls and casts.

use super::expr::{common_scalar, literal};
use super::{Checked, Checker, Place, expr_type};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::pattern;
use crate::query::ast;
use crate::query::{
    AggregateFunction, CastMode, Expr, ExprKind, ExprType, Function, VarId, VarKind,
};
use crate::schema::{DataType, Scalar, did_you_mean};
use crate::value::{Value, time_literal};

const TEXT: ExprType = ExprType::Scalar(Scalar::String);
const INTEGER: ExprType = ExprType::Scalar(Scalar::I64);

/// Every name that may stand before a parenthesis.
const NAMES: [&str; 45] = [
    "abs",
    "avg",
    "bm25",
    "cast",
    "ceil",
    "coalesce",
    "collect",
    "count",
    "date",
    "datetime",
    "day",
    "edges",
    "floor",
    "from_id",
    "fuzzy",
    "hour",
    "id",
    "length",
    "lower",
    "match_text",
    "matches",
    "max",
    "millisecond",
    "min",
    "minute",
    "month",
    "nearest",
    "nodes",
    "now",
    "phrase",
    "round",
    "rrf",
    "search",
    "second",
    "size",
    "substring",
    "sum",
    "to_id",
    "trim",
    "try_cast",
    "type_name",
    "upper",
    "weekday",
    "year",
    "distinct",
];

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &ast::Call, span: Span) -> Checked<Expr> {
        let name = call.name.as_str();
        if let Some(function) = aggregate_function(name) {
            return self.aggregate(function, call, span);
        }
        if call.star || call.distinct {
            let message = format!("`{name}` takes neither `*` nor `distinct`");
            return Err(self.error(Code::Q227, span, message));
        }
        match name {
            "search" | "match_text" | "fuzzy" | "phrase" => self.search(call, span),
            "bm25" | "nearest" | "rrf" => self.score(call, span),
            "now" => {
                self.arity(call, 0..=0, span)?;
                let ty = ExprType::Scalar(Scalar::DateTime);
                Ok(Expr::new(ExprKind::Now, ty, false))
            }
            "date" => self.time(call, Scalar::Date, span),
            "datetime" => self.time(call, Scalar::DateTime, span),
            "id" | "type_name" | "from_id" | "to_id" => self.entity_function(call, span),
            "nodes" | "edges" => self.path_function(call, span),
            "length" if self.takes_path(call) => self.path_function(call, span),
            "cast" | "try_cast" => Err(self.report(
                Diagnostic::error(Code::Q227, format!("`{name}` needs a type"))
                    .at(span)
                    .hint(format!("write `{name}(x as I64)`")),
            )),
            _ => match scalar_function(name) {
                Some((function, arity)) => {
                    self.arity(call, arity, span)?;
                    self.scalar_call(function, call, span)
                }
                None => {
                    let diagnostic =
                        Diagnostic::error(Code::Q227, format!("unknown function `{name}`"))
                            .at(span);
                    Err(self.report(did_you_mean(diagnostic, name, NAMES)))
                }
            },
        }
    }

    pub(super) fn arity(
        &mut self,
        call: &ast::Call,
        arity: std::ops::RangeInclusive<usize>,
        span: Span,
    ) -> Checked<()> {
        if arity.contains(&call.args.len()) {
            return Ok(());
        }
        let expected = if arity.start() == arity.end() {
            arity.start().to_string()
        } else if *arity.end() == usize::MAX {
            format!("at least {}", arity.start())
        } else {
            format!("{} to {}", arity.start(), arity.end())
        };
        let message = format!(
            "`{}` takes {expected} arguments, these are {}",
            call.name,
            call.args.len()
        );
        Err(self.error(Code::Q227, span, message))
    }

    /// `date(…)` and `datetime(…)`: a literal, or a cast.
    fn time(&mut self, call: &ast::Call, scalar: Scalar, span: Span) -> Checked<Expr> {
        self.arity(call, 1..=1, span)?;
        let argument = &call.args[0];
        if let ast::ExprKind::Literal(Value::String(text)) = &argument.kind {
            return match time_literal(text, scalar) {
                Ok(value) => Ok(literal(value)),
                Err(e) => Err(self.error(Code::Q203, argument.span, e.message)),
            };
        }
        self.cast("cast", argument, &DataType::Scalar(scalar), span)
    }

    pub(super) fn cast(
        &mut self,
        name: &str,
        value: &ast::Expr,
        to: &DataType,
        span: Span,
    ) -> Checked<Expr> {
        let mode = match name {
            "cast" => CastMode::Strict,
            "try_cast" => CastMode::Try,
            _ => {
                let message = format!("only `cast` and `try_cast` take a type, not `{name}`");
                return Err(self.error(Code::Q227, span, message));
            }
        };
        let checked = self.expr(value)?;
        if !castable(checked.ty, to) {
            let message = format!("{} cannot be cast to {to}", checked.ty);
            return Err(self.error(Code::Q207, value.span, message));
        }
        let nullable = checked.nullable || mode == CastMode::Try;
        Ok(Expr::new(
            ExprKind::Cast {
                value: Box::new(checked),
                to: to.clone(),
                mode,
            },
            expr_type(to),
            nullable,
        ))
    }

    /// `id($x)`, `type_name($x)`, `from_id($w)`, `to_id($w)`.
    fn entity_function(&mut self, call: &ast::Call, span: Span) -> Checked<Expr> {
        self.arity(call, 1..=1, span)?;
        let argument = &call.args[0];
        let ast::ExprKind::Var(name) = &argument.kind else {
            let message = format!("`{}` takes a variable", call.name);
            return Err(self.error(Code::Q207, argument.span, message));
        };
        let var: VarId = self.entity_variable(name, argument.span)?;
        if self.variable(var).kind == VarKind::Path {
            return Err(self.path_misused(name, argument.span));
        }
        let variable = self.variable(var);
        let (kind, nullable) = (variable.kind, variable.optional);
        let made = match call.name.as_str() {
            "id" => ExprKind::EntityId(var),
            "type_name" => ExprKind::TypeName(var),
            word => {
                if kind != VarKind::Edge {
                    let message = format!("`{word}` takes the variable of an edge");
                    return Err(self.error(Code::Q207, argument.span, message));
                }
                if word == "from_id" {
                    ExprKind::FromId(var)
                } else {
                    ExprKind::ToId(var)
                }
            }
        };
        Ok(Expr::new(made, TEXT, nullable))
    }

    /// `length($r)` of a path: a bare `$r` is a parameter first.
    fn takes_path(&self, call: &ast::Call) -> bool {
        match call.args.as_slice() {
            [
                ast::Expr {
                    kind: ast::ExprKind::Var(name),
                    ..
                },
            ] => self.is_path(name),
            _ => false,
        }
    }

    /// `length($r)`, `nodes($r)`, `edges($r)`.
    fn path_function(&mut self, call: &ast::Call, span: Span) -> Checked<Expr> {
        self.arity(call, 1..=1, span)?;
        let argument = &call.args[0];
        let var = match &argument.kind {
            ast::ExprKind::Var(name) => Some(self.entity_variable(name, argument.span)?),
            _ => None,
        };
        let Some(var) = var.filter(|id| self.variable(*id).kind == VarKind::Path) else {
            let message = format!("`{}` takes the variable of a path", call.name);
            return Err(self.report(
                Diagnostic::error(Code::Q207, message)
                    .at(argument.span)
                    .hint("a path is bound by `path $r = shortest $a edge{1,6} $b`"),
            ));
        };
        let (kind, ty) = match call.name.as_str() {
            "nodes" => (ExprKind::PathNodes(var), ExprType::List(Scalar::String)),
            "edges" => (ExprKind::PathEdges(var), ExprType::List(Scalar::String)),
            _ => (ExprKind::PathLength(var), INTEGER),
        };
        Ok(Expr::new(kind, ty, self.variable(var).optional))
    }

    fn scalar_call(&mut self, function: Function, call: &ast::Call, span: Span) -> Checked<Expr> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.expr(arg)?);
        }
        for (position, arg) in args.iter().enumerate() {
            if !takes(function, position, arg.ty) {
                let message = format!("`{}` does not take {} here", call.name, arg.ty);
                return Err(self.error(Code::Q207, call.args[position].span, message));
            }
        }
        if function == Function::Matches {
            self.pattern(&args[1], call.args[1].span)?;
        }
        let ty = self.result_type(function, &args, call, span)?;
        let nullable = match function {
            Function::Coalesce => args.iter().all(|a| a.nullable),
            _ => args.iter().any(|a| a.nullable),
        };
        Ok(Expr::new(ExprKind::Call { function, args }, ty, nullable))
    }

    fn pattern(&mut self, pattern: &Expr, span: Span) -> Checked<()> {
        match &pattern.kind {
            ExprKind::Literal(Value::String(text)) => {
                // Where nothing is left, nothing is compiled any more.
                self.spend(1, span)?;
                let compiled = pattern::compile(text);
                self.spend(compiled.cost, span)?;
                match compiled.error {
                    None => Ok(()),
                    Some(reason) => {
                        let message = format!("invalid regular expression: {reason}");
                        Err(self.error(Code::Q240, span, message))
                    }
                }
            }
            ExprKind::Param(_) => Ok(()),
            _ => Err(self.error(
                Code::Q207,
                span,
                "the pattern must be a text or a parameter",
            )),
        }
    }

    fn result_type(
        &mut self,
        function: Function,
        args: &[Expr],
        call: &ast::Call,
        span: Span,
    ) -> Checked<ExprType> {
        Ok(match function {
            Function::Lower | Function::Upper | Function::Trim | Function::Substring => TEXT,
            Function::Matches => ExprType::Scalar(Scalar::Bool),
            Function::Abs | Function::Floor | Function::Ceil | Function::Round => args[0].ty,
            Function::Coalesce => {
                let mut common = ExprType::Null;
                for (arg, written) in args.iter().zip(&call.args) {
                    common = match common_type(common, arg.ty) {
                        Some(ty) => ty,
                        None => {
                            let message = format!("{} and {common} have no common type", arg.ty);
                            return Err(self.error(Code::Q207, written.span, message));
                        }
                    };
                }
                if common == ExprType::Null {
                    return Err(self.error(Code::Q207, span, "`coalesce` of nulls has no type"));
                }
                common
            }
            Function::Length
            | Function::Year
            | Function::Month
            | Function::Day
            | Function::Hour
            | Function::Minute
            | Function::Second
            | Function::Millisecond
            | Function::Weekday
            | Function::Size => INTEGER,
        })
    }

    /// The node variable that a search looks at.
    pub(super) fn node_variable(&mut self, name: &str, span: Span) -> Checked<VarId> {
        let var = self.entity_variable(name, span)?;
        match self.variable(var).kind {
            VarKind::Node => Ok(var),
            VarKind::Edge => {
                let message = format!("`${name}` is an edge, and edges cannot be searched");
                Err(self.error(Code::Q223, span, message))
            }
            VarKind::Path => Err(self.path_misused(name, span)),
        }
    }

    pub(super) fn in_mutation(&self) -> bool {
        matches!(self.place, Place::Insert | Place::Set(_) | Place::Where(_))
    }
}

/// For a bare word that is the name of a function.
pub(super) fn function_hint(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "now" => Some("did you mean `now()`?".to_owned()),
        "like" | "ilike" => Some(
            "use `contains`, `starts_with`, `ends_with`, or `matches(text, pattern)`".to_owned(),
        ),
        "between" => Some("write `x >= low and x <= high`".to_owned()),
        "distinct" => None,
        lower => NAMES
            .contains(&lower)
            .then(|| format!("`{lower}` is a function: write `{lower}(…)`")),
    }
}

fn aggregate_function(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "collect" => AggregateFunction::Collect,
        _ => return None,
    })
}

fn scalar_function(name: &str) -> Option<(Function, std::ops::RangeInclusive<usize>)> {
    Some(match name {
        "lower" => (Function::Lower, 1..=1),
        "upper" => (Function::Upper, 1..=1),
        "trim" => (Function::Trim, 1..=1),
        "length" => (Function::Length, 1..=1),
        "substring" => (Function::Substring, 2..=3),
        "matches" => (Function::Matches, 2..=2),
        "abs" => (Function::Abs, 1..=1),
        "floor" => (Function::Floor, 1..=1),
        "ceil" => (Function::Ceil, 1..=1),
        "round" => (Function::Round, 1..=2),
        "coalesce" => (Function::Coalesce, 2..=usize::MAX),
        "year" => (Function::Year, 1..=1),
        "month" => (Function::Month, 1..=1),
        "day" => (Function::Day, 1..=1),
        "hour" => (Function::Hour, 1..=1),
        "minute" => (Function::Minute, 1..=1),
        "second" => (Function::Second, 1..=1),
        "millisecond" => (Function::Millisecond, 1..=1),
        "weekday" => (Function::Weekday, 1..=1),
        "size" => (Function::Size, 1..=1),
        _ => return None,
    })
}

fn takes(function: Function, position: usize, ty: ExprType) -> bool {
    if ty == ExprType::Null && function != Function::Size {
        return true;
    }
    let scalar = match ty {
        ExprType::Scalar(scalar) => Some(scalar),
        _ => None,
    };
    let is = |wanted: Scalar| scalar == Some(wanted);
    match (function, position) {
        (Function::Lower | Function::Upper | Function::Trim | Function::Length, _)
        | (Function::Matches, _)
        | (Function::Substring, 0) => is(Scalar::String),
        (Function::Substring, _) | (Function::Round, 1) => scalar.is_some_and(Scalar::is_integer),
        (Function::Abs | Function::Floor | Function::Ceil | Function::Round, _) => {
            scalar.is_some_and(Scalar::is_number)
        }
        (Function::Coalesce, _) => {
            scalar.is_some() || matches!(ty, ExprType::List(_) | ExprType::Vector(_))
        }
        (Function::Year | Function::Month | Function::Day | Function::Weekday, _) => {
            is(Scalar::Date) || is(Scalar::DateTime)
        }
        (Function::Hour | Function::Minute | Function::Second | Function::Millisecond, _) => {
            is(Scalar::DateTime)
        }
        (Function::Size, _) => matches!(
            ty,
            ExprType::List(_) | ExprType::EmptyList | ExprType::Vector(_)
        ),
    }
}

/// Null goes with everything.
pub(super) fn common_type(a: ExprType, b: ExprType) -> Option<ExprType> {
    match (a, b) {
        (ExprType::Null, other) | (other, ExprType::Null) => Some(other),
        (ExprType::Scalar(a), ExprType::Scalar(b)) => common_scalar(a, b).map(ExprType::Scalar),
        (a, b) => (a == b).then_some(a),
    }
}

fn castable(from: ExprType, to: &DataType) -> bool {
    let from = match from {
        ExprType::Null => return matches!(to, DataType::Scalar(_) | DataType::Enum(_)),
        ExprType::Scalar(scalar) => scalar,
        _ => return false,
    };
    match to {
        DataType::Enum(_) => from == Scalar::String,
        DataType::Scalar(to) => {
            from == *to
                || *to == Scalar::String
                || from == Scalar::String
                || (from.is_number() && to.is_number())
                || (from == Scalar::Bool && to.is_integer())
                || (from.is_integer() && *to == Scalar::Bool)
                || matches!(
                    (from, to),
                    (Scalar::Date, Scalar::DateTime) | (Scalar::DateTime, Scalar::Date)
                )
        }
        _ => false,
    }
}
