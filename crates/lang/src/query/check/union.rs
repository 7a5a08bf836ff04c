//! Whole reads: the first arm, its order, and the arms that are united with it.

use super::functions::common_type;
use super::order::Output;
use super::returns::CheckedArm;
use super::{Checked, Checker};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast;
use crate::query::{CastMode, CheckedRead, Expr, ExprKind, ExprType, UnionKind};
use crate::schema::{DataType, Scalar};
use crate::syntax::Failed;
use crate::value::Value;

impl Checker<'_> {
    pub(super) fn read(&mut self, read: &ast::Read) -> Checked<CheckedRead> {
        let first = self.arm(&read.arm, true);
        // Order keys may repeat projections of the first arm, so they come before the next one.
        let order = match &first {
            Ok(CheckedArm { arm, columns, .. }) => self.order(
                &read.order,
                &Output {
                    columns,
                    grouped: arm.grouping.is_some(),
                    distinct: arm.distinct,
                    union: !read.unions.is_empty(),
                    limited: read.limit.is_some(),
                },
            ),
            Err(Failed) => Err(Failed),
        };
        let skip = self.count(read.skip.as_ref(), "skip");
        let limit = self.count(read.limit.as_ref(), "limit");
        let mut arms = vec![first];
        for (_, _, written) in &read.unions {
            self.next_arm();
            arms.push(self.arm(written, false));
        }
        let mut arms = arms.into_iter().collect::<Checked<Vec<CheckedArm>>>()?;
        let mut kinds = Vec::with_capacity(read.unions.len());
        if !read.unions.is_empty() {
            kinds.extend(read.unions.iter().map(|(kind, span, _)| (*kind, *span)));
            self.unite(&mut arms, &kinds)?;
        }
        let (rank, order) = order?;
        let mut arms = arms.into_iter().map(|checked| checked.arm);
        let arm = arms.next().ok_or(Failed)?;
        self.describe_columns(&arm);
        Ok(CheckedRead {
            arm,
            unions: kinds.into_iter().map(|(kind, _)| kind).zip(arms).collect(),
            rank,
            order,
            skip: skip?,
            limit: limit?,
        })
    }

    /// An arm has its own variables and aliases.
    fn next_arm(&mut self) {
        self.variables.clear();
        self.visible.clear();
        self.narrowed.clear();
        self.declared.clear();
        self.broken.clear();
        self.aggregates.clear();
        self.aliases.clear();
    }

    /// Gives all arms the names of the first and, by column, one type.
    fn unite(&mut self, arms: &mut [CheckedArm], unions: &[(UnionKind, Span)]) -> Checked<()> {
        let width = arms[0].arm.projections.len();
        for (arm, (_, span)) in arms[1..].iter().zip(unions) {
            let found = arm.arm.projections.len();
            if found != width {
                let message = format!(
                    "the arms of a union have equally many columns, not {width} and {found}"
                );
                return Err(self.error(Code::Q232, *span, message));
            }
        }
        let removes = unions.iter().any(|(kind, _)| *kind == UnionKind::Distinct);
        let mut failed = None;
        for column in 0..width {
            match self.united_type(arms, column, removes) {
                Ok(ty) => fit_column(arms, column, ty),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn united_type(
        &mut self,
        arms: &[CheckedArm],
        column: usize,
        removes: bool,
    ) -> Checked<ExprType> {
        let name = arms[0].arm.projections[column].name.clone();
        let mut common = ExprType::Null;
        for arm in arms {
            let span = arm.spans[column];
            let ty = column_type(arm.arm.projections[column].value.ty);
            if ty == ExprType::Path || (removes && matches!(ty, ExprType::Vector(_))) {
                self.comparable_column(ty, "union", span);
                return Err(Failed);
            }
            common = match united(common, ty) {
                Some(ty) => ty,
                None => {
                    let message = format!(
                        "the column `{name}` is {ty} here and {common} in the arms before it"
                    );
                    return Err(self.report(
                        Diagnostic::error(Code::Q232, message)
                            .at(span)
                            .hint("convert it with `cast(… as …)`"),
                    ));
                }
            };
        }
        Ok(common)
    }
}

/// A node is its id.
fn column_type(ty: ExprType) -> ExprType {
    match ty {
        ExprType::Node => ExprType::Scalar(Scalar::String),
        other => other,
    }
}

fn united(a: ExprType, b: ExprType) -> Option<ExprType> {
    match (a, b) {
        (ExprType::EmptyList, list @ ExprType::List(_))
        | (list @ ExprType::List(_), ExprType::EmptyList) => Some(list),
        _ => common_type(a, b),
    }
}

fn fit_column(arms: &mut [CheckedArm], column: usize, ty: ExprType) {
    let name = arms[0].arm.projections[column].name.clone();
    let nullable = (arms.iter()).any(|arm| arm.arm.projections[column].value.nullable);
    for arm in arms {
        let projection = &mut arm.arm.projections[column];
        projection.name.clone_from(&name);
        fit(&mut projection.value, ty);
        projection.value.nullable = nullable;
    }
}

/// Makes the value one of this type, which is the common type of it and others.
fn fit(value: &mut Expr, ty: ExprType) {
    let from = value.ty;
    if let (ExprKind::Var(var), ExprType::Node) = (&value.kind, from) {
        value.kind = ExprKind::EntityId(*var);
    }
    match (from, ty) {
        (ExprType::Null, _) => {
            value.kind = ExprKind::Literal(Value::Null);
            value.ty = ty;
        }
        // Ids are texts, and the literal `[]` is a list of anything.
        (ExprType::Node | ExprType::EmptyList, _) => value.ty = ty,
        (ExprType::Scalar(from), ExprType::Scalar(to)) if from != to => {
            let inner = value.clone();
            value.kind = ExprKind::Cast {
                value: Box::new(inner),
                to: DataType::Scalar(to),
                mode: CastMode::Strict,
            };
            value.ty = ty;
        }
        _ => {}
    }
}
