//! Text search, scores and rank calls.

use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast;
use crate::query::{
    Expr, ExprKind, ExprType, PropertyRef, RankCall, SearchCall, SearchKind, VarId,
};
use crate::schema::{DataType, Property, Scalar};
use crate::syntax::Failed;
use crate::value::{Value, coerce};

impl Checker<'_> {
    /// `search`, `match_text`, `fuzzy`, `phrase`.
    pub(super) fn search(&mut self, call: &ast::Call, span: Span) -> Checked<Expr> {
        let most = if call.name == "fuzzy" { 3 } else { 2 };
        self.arity(call, 2..=most, span)?;
        self.refuse_in_mutation(call, span)?;
        let (var, property, nullable) = self.text_field(&call.args[0])?;
        let query = self.text_query(&call.args[1])?;
        let kind = match call.name.as_str() {
            "phrase" => SearchKind::Phrase,
            "fuzzy" => SearchKind::Fuzzy {
                edits: Box::new(self.edits(call.args.get(2))?),
            },
            _ => SearchKind::AnyToken,
        };
        let nullable = nullable || query.nullable;
        Ok(Expr::bool(
            ExprKind::Search(SearchCall {
                kind,
                var,
                property,
                query: Box::new(query),
            }),
            nullable,
        ))
    }

    /// `bm25`, `nearest`, `rrf` as a number.
    pub(super) fn score(&mut self, call: &ast::Call, span: Span) -> Checked<Expr> {
        if call.name == "rrf" && matches!(self.place, Place::Match | Place::Binding) {
            let message = "`rrf` ranks the rows of the whole match and cannot be a part of it";
            return Err(self.error(Code::Q221, span, message));
        }
        let rank = self.rank_call(call, span)?;
        let nullable = !matches!(rank, RankCall::Bm25 { .. }) || self.variable(rank.var()).optional;
        let ty = ExprType::Scalar(Scalar::F64);
        Ok(Expr::new(ExprKind::Score(rank), ty, nullable))
    }

    fn rank_call(&mut self, call: &ast::Call, span: Span) -> Checked<RankCall> {
        self.refuse_in_mutation(call, span)?;
        match call.name.as_str() {
            "bm25" => {
                self.arity(call, 2..=2, span)?;
                let (var, property, _) = self.text_field(&call.args[0])?;
                let query = Box::new(self.text_query(&call.args[1])?);
                Ok(RankCall::Bm25 {
                    var,
                    property,
                    query,
                })
            }
            "nearest" => {
                self.arity(call, 2..=2, span)?;
                self.nearest(&call.args[0], &call.args[1])
            }
            _ => self.rrf(call, span),
        }
    }

    fn refuse_in_mutation(&mut self, call: &ast::Call, span: Span) -> Checked<()> {
        if self.in_mutation() {
            let message = format!("`{}` cannot be used in a mutation", call.name);
            return Err(self.error(Code::Q219, span, message));
        }
        Ok(())
    }

    /// A String property of a node variable.
    fn text_field(&mut self, written: &ast::Expr) -> Checked<(VarId, PropertyRef, bool)> {
        let ast::ExprKind::Property(name, property) = &written.kind else {
            return Err(self.not_a_text(written.span));
        };
        let var = self.node_variable(name, written.span)?;
        let found = self.common_property(var, property)?;
        self.refuse_blob(found.property, written.span)?;
        if found.property.data_type != DataType::Scalar(Scalar::String) {
            return Err(self.not_a_text(written.span));
        }
        Ok((var, found.reference, found.nullable))
    }

    fn refuse_blob(&mut self, property: &Property, span: Span) -> Checked<()> {
        if property.data_type == DataType::Blob {
            let message = format!("`{}` is a blob and no value in a read", property.name);
            return Err(self.error(Code::Q224, span, message));
        }
        Ok(())
    }

    fn not_a_text(&mut self, span: Span) -> Failed {
        self.report(
            Diagnostic::error(
                Code::Q219,
                "a text search needs a String property of a node",
            )
            .at(span)
            .hint("the first argument is written `$x.p`"),
        )
    }

    /// A String that is the same for all rows.
    fn text_query(&mut self, written: &ast::Expr) -> Checked<Expr> {
        let query = self.expr(written)?;
        let is_text = query.ty == ExprType::Scalar(Scalar::String);
        if !is_text || !is_fixed(&query) {
            let message = "the words to search for must be a text or a String parameter";
            return Err(self.error(Code::Q219, written.span, message));
        }
        Ok(query)
    }

    fn edits(&mut self, written: Option<&ast::Expr>) -> Checked<Expr> {
        let Some(written) = written else {
            return Ok(super::expr::literal(Value::Int(2)));
        };
        let edits = self.expr(written)?;
        let is_integer = matches!(edits.ty, ExprType::Scalar(s) if s.is_integer());
        let negative = matches!(edits.kind, ExprKind::Literal(Value::Int(n)) if n < 0);
        if !is_integer || !is_fixed(&edits) || negative {
            let message = "the number of edits must be a whole number or an integer parameter";
            return Err(self.error(Code::Q219, written.span, message));
        }
        Ok(edits)
    }

    fn nearest(&mut self, field: &ast::Expr, query: &ast::Expr) -> Checked<RankCall> {
        let misuse = "`nearest` needs a vector property of a node";
        let ast::ExprKind::Property(name, property) = &field.kind else {
            return Err(self.error(Code::Q220, field.span, misuse));
        };
        let var = self.node_variable(name, field.span)?;
        let found = self.common_property(var, property)?;
        self.refuse_blob(found.property, field.span)?;
        let DataType::Vector(width) = found.property.data_type else {
            return Err(self.error(Code::Q220, field.span, misuse));
        };
        let property = found.reference;
        let checked = self.expr(query)?;
        let checked = self.vector_query(checked, width, query.span)?;
        Ok(RankCall::Nearest {
            var,
            property,
            query: Box::new(checked),
        })
    }

    /// A vector or list of the width, or a text for the embedding provider.
    fn vector_query(&mut self, query: Expr, width: u32, span: Span) -> Checked<Expr> {
        if !is_fixed(&query) {
            let message = "what to be near to must be the same for all rows";
            return Err(self.error(Code::Q220, span, message));
        }
        if let ExprKind::Literal(value @ Value::List(_)) = &query.kind {
            return match coerce(value.clone(), &DataType::Vector(width)) {
                Ok(vector) => Ok(Expr::new(
                    ExprKind::Literal(vector),
                    ExprType::Vector(width),
                    false,
                )),
                Err(e) => Err(self.error(Code::Q220, span, e.message)),
            };
        }
        let fits = match query.ty {
            ExprType::Scalar(Scalar::String) => true,
            ExprType::Vector(found) => found == width,
            ExprType::List(item) => {
                let length = match &query.kind {
                    ExprKind::List(items) => items.len() == width as usize,
                    _ => true,
                };
                item.is_number() && length
            }
            _ => false,
        };
        if !fits {
            let message = format!(
                "expected a vector of width {width}, or a text, this is {}",
                query.ty
            );
            return Err(self.error(Code::Q220, span, message));
        }
        Ok(query)
    }

    fn rrf(&mut self, call: &ast::Call, span: Span) -> Checked<RankCall> {
        if !(2..=3).contains(&call.args.len()) {
            let message = "`rrf` takes two rank calls and perhaps k";
            return Err(self.error(Code::Q221, span, message));
        }
        let first = self.rrf_arm(&call.args[0])?;
        let second = self.rrf_arm(&call.args[1])?;
        if first.var() != second.var() {
            let message = "both arms of `rrf` must rank one variable";
            return Err(self.error(Code::Q221, span, message));
        }
        let k = match call.args.get(2) {
            None => super::expr::literal(Value::Int(60)),
            Some(written) => {
                let k = self.expr(written)?;
                let integer = matches!(k.ty, ExprType::Scalar(s) if s.is_integer());
                let positive = match k.kind {
                    ExprKind::Literal(Value::Int(n)) => n > 0,
                    ExprKind::Literal(Value::UInt(_)) | ExprKind::Param(_) => true,
                    _ => false,
                };
                if !integer || !positive {
                    let message = "k must be a whole number above 0 or an integer parameter";
                    return Err(self.error(Code::Q221, written.span, message));
                }
                k
            }
        };
        Ok(RankCall::Rrf {
            arms: Box::new([first, second]),
            k: Box::new(k),
        })
    }

    fn rrf_arm(&mut self, written: &ast::Expr) -> Checked<RankCall> {
        match &written.kind {
            ast::ExprKind::Call(call) if matches!(call.name.as_str(), "bm25" | "nearest") => {
                self.rank_call(call, written.span)
            }
            _ => {
                let message = "an arm of `rrf` is a call of `nearest` or `bm25`";
                Err(self.error(Code::Q221, written.span, message))
            }
        }
    }
}

/// A literal, a list of them, or a parameter.
fn is_fixed(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Param(_) => true,
        ExprKind::List(items) => items.iter().all(is_fixed),
        _ => false,
    }
}
