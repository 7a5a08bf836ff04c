//! Comparisons, tests and arithmetic.

use super::expr::common_scalar;
use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, Span, listed};
use crate::query::ast;
use crate::query::{
    Arithmetic, CastMode, Comparison, Expr, ExprKind, ExprType, OwnField, TextTest,
};
use crate::schema::{DataType, Scalar};
use crate::value::Value;

impl<'a> Checker<'a> {
    pub(super) fn comparison(
        &mut self,
        op: Comparison,
        left: &ast::Expr,
        right: &ast::Expr,
    ) -> Checked<Expr> {
        let span = Span {
            end: right.span.end,
            ..left.span
        };
        let (left, right) = self.both(left, right)?;
        if !comparable(left.ty, right.ty) {
            return Err(self.incomparable(&left, &right, span));
        }
        self.warn_if_never(op, &left, &right, span);
        Ok(compare(op, left, right))
    }

    /// Both operands, so that errors of both are reported.
    fn both(&mut self, left: &ast::Expr, right: &ast::Expr) -> Checked<(Expr, Expr)> {
        let left = self.expr(left);
        let right = self.expr(right);
        Ok((left?, right?))
    }

    fn incomparable(&mut self, left: &Expr, right: &Expr, span: Span) -> crate::syntax::Failed {
        let message = format!("{} cannot be compared with {}", left.ty, right.ty);
        let mut diagnostic = Diagnostic::error(Code::Q207, message).at(span);
        let types = [left.ty, right.ty];
        let has = |scalar| types.contains(&ExprType::Scalar(scalar));
        if has(Scalar::String) && has(Scalar::Date) {
            diagnostic = diagnostic.hint("write the date as `date(\"2024-02-29\")`");
        } else if has(Scalar::String) && has(Scalar::DateTime) {
            diagnostic = diagnostic.hint("write the time as `datetime(\"2024-02-29T10:00:00Z\")`");
        } else if types.contains(&ExprType::Node) {
            diagnostic = diagnostic.hint("compare a property, or `id($x)`");
        } else if types.iter().any(|t| matches!(t, ExprType::List(_))) {
            diagnostic = diagnostic.hint("test a list with `contains` or `in`");
        }
        self.report(diagnostic)
    }

    /// W506 for what is null or false whatever the data.
    pub(super) fn warn_if_never(&mut self, op: Comparison, left: &Expr, right: &Expr, span: Span) {
        let is_null = |e: &Expr| matches!(e.kind, ExprKind::Literal(Value::Null));
        if is_null(left) || is_null(right) {
            self.report(
                Diagnostic::warning(Code::W506, "a comparison with null never holds")
                    .at(span)
                    .hint("test with `is null`"),
            );
            return;
        }
        if op != Comparison::Eq {
            return;
        }
        for (a, b) in [(left, right), (right, left)] {
            if let (Some(members), ExprKind::Literal(Value::String(text))) =
                (self.enum_members(a), &b.kind)
                && !members.contains(text)
            {
                let diagnostic = outside(text, members);
                self.report(diagnostic.at(span));
            }
        }
    }

    /// W506 for a test of null, which is null.
    fn warn_of_null(&mut self, operands: [&Expr; 2], span: Span) {
        let is_null = |e: &&Expr| matches!(e.kind, ExprKind::Literal(Value::Null));
        if operands.iter().any(is_null) {
            self.report(
                Diagnostic::warning(Code::W506, "a test of null never holds")
                    .at(span)
                    .hint("test with `is null`"),
            );
        }
    }

    /// The set that an enum property is out of.
    fn enum_members(&self, expr: &Expr) -> Option<&'a [String]> {
        let property = match (&expr.kind, self.place) {
            (ExprKind::Property { var, property }, _) => self.property_of(*var, property)?,
            (
                ExprKind::Own(OwnField::Property(property)),
                Place::Set(target) | Place::Where(target),
            ) => self.body_of(target)?.property_by_id(*property)?,
            _ => return None,
        };
        match &property.data_type {
            DataType::Enum(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn text_test(
        &mut self,
        test: TextTest,
        text: &ast::Expr,
        part: &ast::Expr,
    ) -> Checked<Expr> {
        let span = text.span;
        let part_span = part.span;
        let (text, part) = self.both(text, part)?;
        if test == TextTest::Contains && matches!(text.ty, ExprType::List(_) | ExprType::EmptyList)
        {
            return self.member(part, text, part_span);
        }
        for (operand, span) in [(&text, span), (&part, part_span)] {
            if !matches!(
                operand.ty,
                ExprType::Scalar(Scalar::String) | ExprType::Null
            ) {
                let word = match test {
                    TextTest::Contains => "contains",
                    TextTest::StartsWith => "starts_with",
                    TextTest::EndsWith => "ends_with",
                };
                let message = format!("`{word}` tests a String, this is {}", operand.ty);
                return Err(self.error(Code::Q207, span, message));
            }
        }
        self.warn_of_null([&text, &part], span);
        let nullable = text.nullable || part.nullable;
        Ok(Expr::bool(
            ExprKind::Text {
                test,
                text: Box::new(text),
                part: Box::new(part),
            },
            nullable,
        ))
    }

    pub(super) fn membership(&mut self, item: &ast::Expr, list: &ast::Expr) -> Checked<Expr> {
        let (span, list_span) = (item.span, list.span);
        let (item, list) = self.both(item, list)?;
        if !matches!(
            list.ty,
            ExprType::List(_) | ExprType::EmptyList | ExprType::Null
        ) {
            let message = format!("`in` needs a list, this is {}", list.ty);
            return Err(self.error(Code::Q207, list_span, message));
        }
        self.member(item, list, span)
    }

    /// `item in list`, whose types must go together.
    pub(super) fn member(&mut self, item: Expr, list: Expr, span: Span) -> Checked<Expr> {
        let fits = match (item.ty, list.ty) {
            (ExprType::Scalar(item), ExprType::List(of)) => common_scalar(item, of).is_some(),
            (ExprType::Null, _) | (ExprType::Scalar(_), ExprType::EmptyList | ExprType::Null) => {
                true
            }
            _ => false,
        };
        if !fits {
            let message = format!("{} cannot be in {}", item.ty, list.ty);
            return Err(self.error(Code::Q207, span, message));
        }
        let nulls = matches!(&list.kind, ExprKind::Literal(Value::List(items)) if items.contains(&Value::Null))
            || matches!(&list.kind, ExprKind::List(items) if items.iter().any(|i| i.nullable));
        self.warn_of_null([&item, &list], span);
        let (item, list) = as_f32(item, list);
        let nullable = item.nullable || list.nullable || nulls;
        if let (Some(members), ExprKind::Literal(Value::List(items))) =
            (self.enum_members(&item), &list.kind)
        {
            let word = |item: &Value| match item {
                Value::String(text) => members.contains(text),
                _ => false,
            };
            if !items.is_empty() && !items.iter().any(word) {
                let message = format!(
                    "none of the list is among {}: this never holds",
                    listed(members)
                );
                self.warn(Code::W506, span, message);
            }
        }
        Ok(Expr::bool(
            ExprKind::In {
                item: Box::new(item),
                list: Box::new(list),
            },
            nullable,
        ))
    }

    pub(super) fn arithmetic(
        &mut self,
        op: Arithmetic,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Checked<Expr> {
        let (left, right) = self.both(left, right)?;
        let Some(ty) = arithmetic_type(op, left.ty, right.ty) else {
            let word = match op {
                Arithmetic::Add => "+",
                Arithmetic::Sub => "-",
                Arithmetic::Mul => "*",
                Arithmetic::Div => "/",
                Arithmetic::Rem => "%",
            };
            let message = format!("`{word}` does not take {} and {}", left.ty, right.ty);
            return Err(self.error(Code::Q207, span, message));
        };
        let nullable = left.nullable || right.nullable;
        Ok(Expr::new(
            ExprKind::Arithmetic {
                op,
                left: Box::new(left),
                right: Box::new(right),
            },
            ty,
            nullable,
        ))
    }

    pub(super) fn minus(&mut self, operand: &ast::Expr) -> Checked<Expr> {
        let checked = self.expr(operand)?;
        let ty = match checked.ty {
            ExprType::Scalar(s) if s.is_integer() => ExprType::Scalar(Scalar::I64),
            ExprType::Scalar(s) if s.is_float() => ExprType::Scalar(Scalar::F64),
            ExprType::Null => ExprType::Null,
            other => {
                let message = format!("`-` does not take {other}");
                return Err(self.error(Code::Q207, operand.span, message));
            }
        };
        let nullable = checked.nullable;
        Ok(Expr::new(ExprKind::Negate(Box::new(checked)), ty, nullable))
    }
}

fn outside(text: &str, members: &[String]) -> Diagnostic {
    let message = format!("`{text}` is none of {}: this never holds", listed(members));
    Diagnostic::warning(Code::W506, message)
}

pub(super) fn comparable(left: ExprType, right: ExprType) -> bool {
    match (left, right) {
        (ExprType::Scalar(a), ExprType::Scalar(b)) => a == b || (a.is_number() && b.is_number()),
        (ExprType::Null, ExprType::Scalar(_) | ExprType::Null)
        | (ExprType::Scalar(_), ExprType::Null) => true,
        _ => false,
    }
}

fn is_property(e: &Expr, ty: ExprType) -> bool {
    e.ty == ty && matches!(e.kind, ExprKind::Property { .. } | ExprKind::Own(_))
}

/// A literal or parameter that is compared with an F32 property.
fn round(e: Expr, other_is_f32: bool) -> Expr {
    let constant = matches!(e.kind, ExprKind::Literal(_) | ExprKind::Param(_));
    let number = matches!(e.ty, ExprType::Scalar(s) if s.is_number() && s != Scalar::F32);
    if !(other_is_f32 && constant && number) {
        return e;
    }
    let nullable = e.nullable;
    Expr::new(
        ExprKind::Cast {
            value: Box::new(e),
            to: DataType::Scalar(Scalar::F32),
            mode: CastMode::Round,
        },
        ExprType::Scalar(Scalar::F32),
        nullable,
    )
}

/// Membership is equality with an element, so F32 properties are compared in F32 here, too.
fn as_f32(item: Expr, list: Expr) -> (Expr, Expr) {
    if is_property(&list, ExprType::List(Scalar::F32)) {
        return (round(item, true), list);
    }
    if !is_property(&item, ExprType::Scalar(Scalar::F32)) {
        return (item, list);
    }
    let list = match list.kind {
        ExprKind::Literal(Value::List(items)) => {
            let each = items.into_iter().map(super::expr::literal);
            in_f32(each.collect(), list.nullable)
        }
        ExprKind::List(items) => in_f32(items, list.nullable),
        _ => list,
    };
    (item, list)
}

fn in_f32(items: Vec<Expr>, nullable: bool) -> Expr {
    let items: Vec<Expr> = items.into_iter().map(|item| round(item, true)).collect();
    let exact = items.iter().any(|e| e.ty == ExprType::Scalar(Scalar::F64));
    let of = if exact { Scalar::F64 } else { Scalar::F32 };
    Expr::new(ExprKind::List(items), ExprType::List(of), nullable)
}

/// The comparison; an F32 property is compared with a literal or parameter in F32.
pub(super) fn compare(op: Comparison, left: Expr, right: Expr) -> Expr {
    let f32 = ExprType::Scalar(Scalar::F32);
    let (left_is, right_is) = (is_property(&left, f32), is_property(&right, f32));
    let left = round(left, right_is);
    let right = round(right, left_is);
    let nullable = left.nullable || right.nullable;
    Expr::bool(
        ExprKind::Compare {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        nullable,
    )
}

fn arithmetic_type(op: Arithmetic, left: ExprType, right: ExprType) -> Option<ExprType> {
    let (a, b) = match (left, right) {
        (ExprType::Scalar(a), ExprType::Scalar(b)) => (a, b),
        // Null with anything is null.
        (ExprType::Null, ExprType::Scalar(_) | ExprType::Null)
        | (ExprType::Scalar(_), ExprType::Null) => return Some(ExprType::Null),
        _ => return None,
    };
    let result = if a.is_number() && b.is_number() {
        if a.is_float() || b.is_float() {
            Scalar::F64
        } else if a.is_unsigned() && b.is_unsigned() && op != Arithmetic::Sub {
            Scalar::U64
        } else {
            Scalar::I64
        }
    } else {
        match (op, a, b) {
            (Arithmetic::Add, Scalar::String, Scalar::String) => Scalar::String,
            (Arithmetic::Sub, Scalar::Date, Scalar::Date)
            | (Arithmetic::Sub, Scalar::DateTime, Scalar::DateTime) => Scalar::I64,
            (Arithmetic::Add | Arithmetic::Sub, Scalar::Date | Scalar::DateTime, n)
                if n.is_integer() =>
            {
                a
            }
            _ => return None,
        }
    };
    Some(ExprType::Scalar(result))
}
