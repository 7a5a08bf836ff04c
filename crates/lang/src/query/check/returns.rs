//! `return { … }`: projections, column names, grouping.

use std::collections::BTreeMap;

use super::{Checked, Checker, Place, expr_type};
use crate::diagnostic::{Code, Span};
use crate::query::ast;
use crate::query::{
    Arm, CheckedRead, Count, Expr, ExprKind, ExprType, Projection, ResultColumn, ResultKind,
};
use crate::schema::{DataType, Scalar};
use crate::syntax::Failed;

/// A projection before grouping, for the order keys that repeat it.
pub(super) struct Column {
    pub(super) alias: Option<String>,
    pub(super) value: Expr,
}

impl Checker<'_> {
    pub(super) fn read(&mut self, read: &ast::Read) -> Checked<CheckedRead> {
        if let Some((_, span, _)) = read.unions.first() {
            self.unsupported("`union`", *span);
        }
        let limited = read.limit.is_some();
        let (arm, columns) = self.arm(&read.arm)?;
        let order = self.order(&read.order, &arm, &columns, limited);
        let skip = self.count(read.skip.as_ref(), "skip");
        let limit = self.count(read.limit.as_ref(), "limit");
        let (rank, order) = order?;
        self.describe_read(&arm);
        Ok(CheckedRead {
            arm,
            unions: Vec::new(),
            rank,
            order,
            skip: skip?,
            limit: limit?,
        })
    }

    fn count(&mut self, count: Option<&ast::Count>, word: &str) -> Checked<Option<Count>> {
        match count {
            None => Ok(None),
            Some(ast::Count::Literal(n)) => Ok(Some(Count::Literal(*n))),
            Some(ast::Count::Param(name)) => {
                let found = self.param(&name.text).map(|(id, param)| {
                    let integer = matches!(param.data_type, DataType::Scalar(s) if s.is_integer());
                    (id, integer && !param.nullable)
                });
                match found {
                    Some((id, true)) => Ok(Some(Count::Param(id))),
                    Some((_, false)) => {
                        let message =
                            format!("`{word}` needs a parameter of an integer type without `?`");
                        Err(self.error(Code::Q236, name.span, message))
                    }
                    None => {
                        let message = format!("`${}` is not a declared parameter", name.text);
                        Err(self.error(Code::Q214, name.span, message))
                    }
                }
            }
        }
    }

    fn arm(&mut self, written: &ast::Arm) -> Checked<(Arm, Vec<Column>)> {
        let matches = self.block(&written.block);
        self.warn_of_shared_names();
        self.place = Place::Return;
        let mut columns: Vec<Column> = Vec::new();
        let mut names: Vec<(String, Span)> = Vec::new();
        let mut spans = Vec::new();
        let mut failed = None;
        for projection in &written.projections {
            match self.projection(projection, &mut columns, &mut names) {
                Ok(()) => spans.resize(columns.len(), projection.value.span),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let names = self.unique_names(names);
        let mut projections: Vec<Projection> = names
            .into_iter()
            .zip(&columns)
            .map(|(name, column)| Projection {
                name,
                value: column.value.clone(),
            })
            .collect();
        let grouping = self.group(&mut projections, &spans)?;
        if written.distinct {
            for (projection, span) in projections.iter().zip(&spans) {
                if matches!(projection.value.ty, ExprType::Vector(_)) {
                    self.error(Code::Q237, *span, "a vector cannot be in `return distinct`");
                }
            }
        }
        let arm = Arm {
            variables: self.variables.clone(),
            matches,
            grouping,
            projections,
            distinct: written.distinct,
        };
        Ok((arm, columns))
    }

    fn warn_of_shared_names(&mut self) {
        for param in &self.query.params {
            let name = &param.name.text;
            if self.variables.iter().any(|v| v.name.as_ref() == Some(name)) {
                let message =
                    format!("`${name}` is a parameter and a variable: alone it is the parameter");
                self.warn(Code::W509, param.name.span, message);
            }
        }
    }

    fn projection(
        &mut self,
        projection: &ast::Projection,
        columns: &mut Vec<Column>,
        names: &mut Vec<(String, Span)>,
    ) -> Checked<()> {
        let span = projection.value.span;
        if let ast::ExprKind::AllProperties(var) = &projection.value.kind {
            return self.all_properties(var, span, columns, names);
        }
        let value = self.expr(&projection.value)?;
        if matches!(value.ty, ExprType::Edge | ExprType::Path) {
            return Err(self.error(Code::Q223, span, "an edge is no value"));
        }
        let alias = projection.alias.as_ref().map(|a| a.text.clone());
        let name = match &projection.alias {
            Some(alias) => (alias.text.clone(), alias.span),
            None => (column_name(&projection.value), span),
        };
        if let Some(alias) = &alias {
            self.aliases.push((alias.clone(), value.clone()));
        }
        names.push(name);
        columns.push(Column { alias, value });
        Ok(())
    }

    /// `$p.*`: all properties but blobs, by name.
    fn all_properties(
        &mut self,
        var: &str,
        span: Span,
        columns: &mut Vec<Column>,
        names: &mut Vec<(String, Span)>,
    ) -> Checked<()> {
        let id = self.entity_variable(var, span)?;
        let optional = self.variable(id).optional;
        let Some(entity) = self.type_of(id) else {
            return Err(Failed);
        };
        let mut properties: Vec<_> = entity
            .body()
            .properties
            .iter()
            .filter(|p| p.data_type != DataType::Blob)
            .collect();
        properties.sort_by(|a, b| a.name.cmp(&b.name));
        for property in properties {
            names.push((format!("{var}.{}", property.name), span));
            columns.push(Column {
                alias: None,
                value: Expr::new(
                    ExprKind::Property {
                        var: id,
                        property: property.id,
                    },
                    expr_type(&property.data_type),
                    property.nullable || optional,
                ),
            });
        }
        Ok(())
    }

    /// The second of a name gets `_2`, the third `_3`.
    fn unique_names(&mut self, names: Vec<(String, Span)>) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut taken: Vec<String> = Vec::new();
        for (name, span) in names {
            let count = seen.entry(name.clone()).or_insert(0);
            *count += 1;
            let mut unique = if *count == 1 {
                name.clone()
            } else {
                format!("{name}_{count}")
            };
            // An alias may look like a numbered name.
            while taken.contains(&unique) {
                *count += 1;
                unique = format!("{name}_{count}");
            }
            if unique != name {
                let message =
                    format!("the column name `{name}` is repeated, this one is called `{unique}`");
                self.diagnostics.push(
                    crate::diagnostic::Diagnostic::warning(Code::W507, message)
                        .at(span)
                        .hint("name the column with `as`"),
                );
            }
            taken.push(unique);
        }
        taken
    }
}

/// The name of a column without alias.
fn column_name(written: &ast::Expr) -> String {
    match &written.kind {
        ast::ExprKind::Property(var, property) => format!("{var}.{}", property.text),
        ast::ExprKind::Var(name) | ast::ExprKind::Name(name) => name.clone(),
        ast::ExprKind::Literal(_) | ast::ExprKind::List(_) => "literal".to_owned(),
        ast::ExprKind::Cast { name, .. } => name.clone(),
        ast::ExprKind::Call(call) => match (call.name.as_str(), call.args.as_slice()) {
            ("count" | "sum" | "avg" | "min" | "max" | "collect", [argument]) => {
                column_name(argument)
            }
            (name, _) => name.to_owned(),
        },
        _ => "expr".to_owned(),
    }
}

/// What lint and clients are told about a column.
pub(super) fn result_column(projection: &Projection) -> ResultColumn {
    let value = &projection.value;
    let (kind, item_kind, vector_dim) = match value.ty {
        ExprType::Scalar(scalar) => (scalar_kind(scalar), None, None),
        ExprType::List(item) => (ResultKind::List, Some(scalar_kind(item)), None),
        ExprType::EmptyList => (ResultKind::List, None, None),
        ExprType::Vector(width) => (ResultKind::Vector, None, Some(width)),
        ExprType::Path => (ResultKind::Object, None, None),
        // A node is its id; a null has no type of its own.
        ExprType::Node | ExprType::Edge | ExprType::Blob | ExprType::Null => {
            (ResultKind::String, None, None)
        }
    };
    ResultColumn {
        name: projection.name.clone(),
        kind,
        item_kind,
        vector_dim,
        nullable: value.nullable,
    }
}

fn scalar_kind(scalar: Scalar) -> ResultKind {
    match scalar {
        Scalar::String => ResultKind::String,
        Scalar::Bool => ResultKind::Bool,
        Scalar::I32 | Scalar::U32 => ResultKind::Int,
        Scalar::I64 | Scalar::U64 => ResultKind::BigInt,
        Scalar::F32 | Scalar::F64 => ResultKind::Float,
        Scalar::Date => ResultKind::Date,
        Scalar::DateTime => ResultKind::DateTime,
    }
}

/// Rows are told apart by output columns only: order keys must be among them.
pub(super) fn orders_by_columns_only(arm: &Arm) -> bool {
    arm.grouping.is_some() || arm.distinct
}
