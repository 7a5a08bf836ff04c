//! `return { … }`: projections, column names, grouping.

use std::collections::BTreeMap;

use super::expr::property_expr;
use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast;
use crate::query::{Arm, Count, Expr, ExprType, Projection, ResultColumn, ResultKind, VarKind};
use crate::schema::{DataType, Scalar};
use crate::syntax::{Failed, MOST, Name};

/// One arm, with what order keys and unions need besides.
pub(super) struct CheckedArm {
    pub(super) arm: Arm,
    pub(super) columns: Vec<Column>,
    /// Of the projections in the source.
    pub(super) spans: Vec<Span>,
}

/// A projection before grouping, for the order keys that repeat it.
pub(super) struct Column {
    pub(super) alias: Option<String>,
    pub(super) value: Expr,
}

impl Checker<'_> {
    pub(super) fn count(
        &mut self,
        count: Option<&ast::Count>,
        word: &str,
    ) -> Checked<Option<Count>> {
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
                    None if self.lost_params.contains(&name.text) => Err(Failed),
                    None => {
                        let message = format!("`${}` is not a declared parameter", name.text);
                        Err(self.error(Code::Q214, name.span, message))
                    }
                }
            }
        }
    }

    /// `named`: the names of the columns are those of the result.
    pub(super) fn arm(&mut self, written: &ast::Arm, named: bool) -> Checked<CheckedArm> {
        if written.block.clauses.is_empty() && !written.block.damaged {
            // The parser has said so; nothing is bound.
            return Err(Failed);
        }
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
        if written.damaged {
            // What could not be read might be a group key, an alias, a column of a union.
            return Err(Failed);
        }
        let names = if named {
            self.unique_names(names)
        } else {
            names.into_iter().map(|(name, _)| name).collect()
        };
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
                self.comparable_column(projection.value.ty, "return distinct", *span);
            }
        }
        let arm = Arm {
            variables: std::mem::take(&mut self.variables),
            matches,
            grouping,
            projections,
            distinct: written.distinct,
        };
        self.describe_arm(&arm);
        // The order keys may repeat projections.
        self.variables.clone_from(&arm.variables);
        Ok(CheckedArm {
            arm,
            columns,
            spans,
        })
    }

    /// Values whose equality removes rows.
    pub(super) fn comparable_column(&mut self, ty: ExprType, place: &str, span: Span) {
        match ty {
            ExprType::Vector(_) => {
                let message = format!("a vector cannot be in `{place}`");
                self.error(Code::Q237, span, message);
            }
            ExprType::Path => {
                let message = format!("a path cannot be in `{place}`");
                self.report(
                    Diagnostic::error(Code::Q233, message)
                        .at(span)
                        .hint("return `nodes($r)` or `edges($r)`"),
                );
            }
            _ => {}
        }
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
        let value = match &projection.value.kind {
            // A path is returned whole.
            ast::ExprKind::Var(name) if self.is_path(name) => self.bare_variable(name, span)?,
            _ => self.expr(&projection.value)?,
        };
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

    /// `$p.*`: all properties but blobs, by name; of several possible types those in common.
    fn all_properties(
        &mut self,
        var: &str,
        span: Span,
        columns: &mut Vec<Column>,
        names: &mut Vec<(String, Span)>,
    ) -> Checked<()> {
        let id = self.entity_variable(var, span)?;
        if self.variable(id).kind == VarKind::Path {
            return Err(self.path_misused(var, span));
        }
        let shared = self.shared_properties(id);
        if columns.len() + shared.len() > MOST {
            let message = format!("more than {MOST} columns");
            return Err(self.error(Code::P020, span, message));
        }
        self.spend(shared.len(), span)?;
        for name in shared {
            let name = Name { text: name, span };
            let found = self.common_property(id, &name)?;
            names.push((format!("{var}.{}", name.text), span));
            columns.push(Column {
                alias: None,
                value: property_expr(id, found),
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
                self.report(
                    Diagnostic::warning(Code::W507, message)
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
