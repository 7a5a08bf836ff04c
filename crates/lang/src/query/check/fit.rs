//! Whether values fit properties and parameters.

use super::expr::property_expr;
use super::operators::{comparable, compare};
use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, listed};
use crate::query::ast;
use crate::query::{Comparison, Expr, ExprKind, ExprType, VarId};
use crate::schema::{DataType, EntityType, Property, Scalar};
use crate::value::{Value, coerce, time_literal};

impl Checker<'_> {
    /// The conditions that `{ p: v, … }` of a binding means.
    pub(super) fn binding_values(&mut self, binding: &ast::Binding, var: VarId) -> Vec<Expr> {
        let mut conditions = Vec::new();
        for (name, value) in &binding.values {
            self.place = Place::Binding;
            let found = self.common_property(var, name);
            let checked = self.expr(value);
            let (Ok(found), Ok(checked)) = (found, checked) else {
                continue;
            };
            let property = found.property;
            let left = property_expr(var, found);
            if let Ok(condition) = self.equality(left, property, checked, value) {
                conditions.push(condition);
            }
        }
        conditions
    }

    fn equality(
        &mut self,
        left: Expr,
        property: &Property,
        value: Expr,
        written: &ast::Expr,
    ) -> Checked<Expr> {
        let span = written.span;
        if property.data_type == DataType::Blob {
            let message = format!("`{}` is a blob and no value in a read", property.name);
            return Err(self.error(Code::Q224, span, message));
        }
        if let DataType::List(item) = property.data_type {
            if !comparable(ExprType::Scalar(item), value.ty) {
                return Err(self.misfit(property, &value, span));
            }
            return self.member(value, left, span);
        }
        if !comparable(left.ty, value.ty) {
            return Err(self.misfit(property, &value, span));
        }
        if let (DataType::Enum(members), ExprKind::Literal(Value::String(text))) =
            (&property.data_type, &value.kind)
            && !members.contains(text)
        {
            let message = format!("`{text}` is none of {}", listed(members));
            return Err(self.error(Code::Q203, span, message));
        }
        self.warn_if_never(Comparison::Eq, &left, &value, span);
        Ok(compare(Comparison::Eq, left, value))
    }

    fn misfit(
        &mut self,
        property: &Property,
        value: &Expr,
        span: crate::diagnostic::Span,
    ) -> crate::syntax::Failed {
        let message = format!(
            "`{}` is {}, this is {}",
            property.name, property.data_type, value.ty
        );
        let diagnostic = Diagnostic::error(Code::Q203, message).at(span);
        let diagnostic = match property.data_type {
            DataType::Scalar(Scalar::Date) => diagnostic.hint("write `date(\"2024-02-29\")`"),
            DataType::Scalar(Scalar::DateTime) => {
                diagnostic.hint("write `datetime(\"2024-02-29T10:00:00Z\")`")
            }
            DataType::List(_) => {
                diagnostic.hint("a value in a binding tests whether the list has it")
            }
            _ => diagnostic,
        };
        self.report(diagnostic)
    }

    /// Checks that the value may be assigned to the property.
    pub(super) fn assignable(
        &mut self,
        owner: EntityType<'_>,
        property: &Property,
        value: &Expr,
        span: crate::diagnostic::Span,
    ) -> Checked<()> {
        if matches!(value.kind, ExprKind::Literal(Value::Null)) {
            if property.nullable {
                return Ok(());
            }
            let message = format!("`{}.{}` cannot be null", owner.body().name, property.name);
            return Err(self.error(Code::Q203, span, message));
        }
        if !may_fit(value.ty, &property.data_type) {
            return Err(self.misfit_assignment(property, value, span));
        }
        if let ExprKind::Literal(literal) = &value.kind
            && let Err(e) = coerce(literal.clone(), &property.data_type)
        {
            let message = format!("the value does not fit `{}`: {}", property.name, e.message);
            return Err(self.error(Code::Q203, span, message));
        }
        if let (ExprKind::List(items), DataType::Vector(width)) = (&value.kind, &property.data_type)
            && items.len() != *width as usize
        {
            let message = format!(
                "`{}` has {width} numbers, these are {}",
                property.name,
                items.len()
            );
            return Err(self.error(Code::Q203, span, message));
        }
        Ok(())
    }

    fn misfit_assignment(
        &mut self,
        property: &Property,
        value: &Expr,
        span: crate::diagnostic::Span,
    ) -> crate::syntax::Failed {
        let integer = matches!(property.data_type, DataType::Scalar(s) if s.is_integer());
        let float = matches!(value.ty, ExprType::Scalar(s) if s.is_float());
        if integer && float {
            let message = format!(
                "`{}` is {}, this is {}",
                property.name, property.data_type, value.ty
            );
            let hint = format!("cut it with `cast(… as {})`", property.data_type);
            return self.report(Diagnostic::error(Code::Q203, message).at(span).hint(hint));
        }
        self.misfit(property, value, span)
    }

    /// The constant that a parameter's default is.
    pub(super) fn param_default(
        &self,
        param: &ast::Param,
        written: &ast::Expr,
    ) -> Result<Value, String> {
        let value = constant(written)?;
        if value.is_null() && !param.nullable {
            return Err(format!("`{}` without `?` cannot be null", param.data_type));
        }
        let value = match (value, &param.data_type) {
            (Value::String(text), DataType::Scalar(scalar @ (Scalar::Date | Scalar::DateTime))) => {
                return Err(format!(
                    "write `{}(\"{text}\")`",
                    if *scalar == Scalar::Date {
                        "date"
                    } else {
                        "datetime"
                    }
                ));
            }
            (value, _) => value,
        };
        coerce(value, &param.data_type).map_err(|e| e.message)
    }
}

/// A value of the type can be stored in the property, perhaps after conversion.
fn may_fit(ty: ExprType, data_type: &DataType) -> bool {
    match (ty, data_type) {
        (ExprType::Null, _) | (ExprType::EmptyList, DataType::List(_)) => true,
        (ExprType::Scalar(from), DataType::Scalar(to)) => scalar_fits(from, *to),
        (ExprType::Scalar(Scalar::String), DataType::Enum(_) | DataType::Blob)
        | (ExprType::Blob, DataType::Blob) => true,
        (ExprType::List(from), DataType::List(to)) => scalar_fits(from, *to),
        (ExprType::List(from), DataType::Vector(_)) => from.is_number(),
        (ExprType::Vector(from), DataType::Vector(to)) => from == *to,
        _ => false,
    }
}

fn scalar_fits(from: Scalar, to: Scalar) -> bool {
    from == to || (from.is_integer() && to.is_number()) || (from.is_float() && to.is_float())
}

/// A literal, a list of them, `date("…")` or `datetime("…")`.
fn constant(written: &ast::Expr) -> Result<Value, String> {
    match &written.kind {
        ast::ExprKind::Literal(value) => Ok(value.clone()),
        ast::ExprKind::List(items) => items
            .iter()
            .map(constant)
            .collect::<Result<_, _>>()
            .map(Value::List),
        ast::ExprKind::Call(call) => match (call.name.as_str(), call.args.as_slice()) {
            (
                name @ ("date" | "datetime"),
                [
                    ast::Expr {
                        kind: ast::ExprKind::Literal(Value::String(text)),
                        ..
                    },
                ],
            ) => {
                let scalar = if name == "date" {
                    Scalar::Date
                } else {
                    Scalar::DateTime
                };
                time_literal(text, scalar).map_err(|e| e.message)
            }
            _ => Err("it must be a constant".to_owned()),
        },
        _ => Err("it must be a constant".to_owned()),
    }
}
