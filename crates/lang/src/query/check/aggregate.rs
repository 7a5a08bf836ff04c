//! Aggregates, and what may stand beside them.

use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast;
use crate::query::{Aggregate, AggregateFunction, Expr, ExprKind, ExprType, Grouping, Projection};
use crate::schema::Scalar;

impl Checker<'_> {
    pub(super) fn aggregate(
        &mut self,
        function: AggregateFunction,
        call: &ast::Call,
        span: Span,
    ) -> Checked<Expr> {
        if !matches!(self.place, Place::Return | Place::Order) || self.in_aggregate {
            let message = if self.in_aggregate {
                format!("`{}` cannot stand inside of another aggregate", call.name)
            } else {
                format!("`{}` can only stand in `return`", call.name)
            };
            return Err(self.error(Code::Q226, span, message));
        }
        if call.star {
            if function != AggregateFunction::Count {
                let message = format!("`{}` does not take `*`", call.name);
                return Err(self.error(Code::Q227, span, message));
            }
            return Ok(self.add_aggregate(Aggregate {
                function,
                argument: None,
                distinct: false,
                ty: ExprType::Scalar(Scalar::I64),
            }));
        }
        self.arity(call, 1..=1, span)?;
        let written = &call.args[0];
        self.in_aggregate = true;
        let takes_entities = matches!(
            function,
            AggregateFunction::Count | AggregateFunction::Collect
        );
        let argument = if takes_entities {
            self.entity_or_expr(written)
        } else {
            self.expr(written)
        };
        self.in_aggregate = false;
        let argument = argument?;
        if contains_aggregate(&argument) {
            let message = format!("`{}` cannot be over another aggregate", call.name);
            return Err(self.error(Code::Q226, span, message));
        }
        let Some(ty) = result_type(function, argument.ty) else {
            let message = format!("`{}` does not take {}", call.name, argument.ty);
            return Err(self.error(Code::Q208, written.span, message));
        };
        Ok(self.add_aggregate(Aggregate {
            function,
            argument: Some(argument),
            distinct: call.distinct,
            ty,
        }))
    }

    /// Equal aggregates are computed once.
    fn add_aggregate(&mut self, aggregate: Aggregate) -> Expr {
        let nullable = !matches!(
            aggregate.function,
            AggregateFunction::Count | AggregateFunction::Collect
        );
        let ty = aggregate.ty;
        let position = match self.aggregates.iter().position(|a| *a == aggregate) {
            Some(position) => position,
            None => {
                self.aggregates.push(aggregate);
                self.aggregates.len() - 1
            }
        };
        Expr::new(ExprKind::AggregateResult(position), ty, nullable)
    }

    /// Projections without aggregates become the group key; the others are rewritten over it.
    /// Gives nothing if there are no aggregates.
    pub(super) fn group(
        &mut self,
        projections: &mut [Projection],
        written: &[Span],
    ) -> Checked<Option<Grouping>> {
        if self.aggregates.is_empty() {
            return Ok(None);
        }
        let keys: Vec<Expr> = projections
            .iter()
            .map(|p| &p.value)
            .filter(|value| !contains_aggregate(value))
            .fold(Vec::new(), |mut keys, value| {
                if !keys.contains(value) {
                    keys.push(value.clone());
                }
                keys
            });
        let mut failed = None;
        for (projection, span) in projections.iter().zip(written) {
            if projection.value.ty == ExprType::Path {
                let message = "rows cannot be grouped by a path";
                failed = Some(
                    self.report(
                        Diagnostic::error(Code::Q233, message)
                            .at(*span)
                            .hint("group by `nodes($r)`, or by the ends of the path"),
                    ),
                );
            }
        }
        for (projection, span) in projections.iter_mut().zip(written) {
            rewrite(&mut projection.value, &keys);
            if depends_on_rows(&projection.value) {
                let message = "beside an aggregate only constants and other projections can stand";
                failed = Some(
                    self.report(
                        Diagnostic::error(Code::Q226, message)
                            .at(*span)
                            .hint("add the value as a projection of its own"),
                    ),
                );
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Some(Grouping {
                keys,
                aggregates: self.aggregates.clone(),
            })),
        }
    }
}

pub(super) fn contains_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |e| found |= matches!(e.kind, ExprKind::AggregateResult(_)));
    found
}

/// Something in it is neither constant, nor a group key, nor an aggregate.
fn depends_on_rows(expr: &Expr) -> bool {
    !expr.variables().is_empty()
}

/// Puts positions of the group key in place of what is equal to it.
pub(super) fn rewrite(expr: &mut Expr, keys: &[Expr]) {
    if let Some(position) = keys.iter().position(|key| key == expr) {
        expr.kind = ExprKind::GroupKey(position);
        return;
    }
    match &mut expr.kind {
        ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => {
            items.iter_mut().for_each(|e| rewrite(e, keys));
        }
        ExprKind::Call { args, .. } => args.iter_mut().for_each(|e| rewrite(e, keys)),
        ExprKind::Compare { left, right, .. } | ExprKind::Arithmetic { left, right, .. } => {
            rewrite(left, keys);
            rewrite(right, keys);
        }
        ExprKind::Text { text, part, .. } => {
            rewrite(text, keys);
            rewrite(part, keys);
        }
        ExprKind::In { item, list } => {
            rewrite(item, keys);
            rewrite(list, keys);
        }
        ExprKind::Not(e)
        | ExprKind::IsNull(e)
        | ExprKind::Negate(e)
        | ExprKind::Cast { value: e, .. } => rewrite(e, keys),
        _ => {}
    }
}

fn result_type(function: AggregateFunction, ty: ExprType) -> Option<ExprType> {
    let scalar = match ty {
        ExprType::Scalar(scalar) => Some(scalar),
        _ => None,
    };
    match function {
        AggregateFunction::Count => (ty != ExprType::Path).then_some(ExprType::Scalar(Scalar::I64)),
        AggregateFunction::Sum | AggregateFunction::Avg => scalar
            .filter(|s| s.is_number())
            .map(|_| ExprType::Scalar(Scalar::F64)),
        AggregateFunction::Min | AggregateFunction::Max => {
            scalar.filter(|s| *s != Scalar::Bool).map(ExprType::Scalar)
        }
        AggregateFunction::Collect => match ty {
            ExprType::Scalar(scalar) => Some(ExprType::List(scalar)),
            ExprType::Node | ExprType::Edge => Some(ExprType::List(Scalar::String)),
            _ => None,
        },
    }
}
