//! `order { … }`: rank keys, columns, expressions.

use super::aggregate::contains_aggregate;
use super::returns::Column;
use super::{Checked, Checker, Place};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast::{self, Order};
use crate::query::{Expr, ExprKind, ExprType, Rank, RankCall, SortBy, SortKey};
use crate::value::Value;

impl Checker<'_> {
    /// The rank key, if the first key is one, and the other keys.
    pub(super) fn order(
        &mut self,
        keys: &[ast::Key],
        output: &Output<'_>,
    ) -> Checked<(Option<Rank>, Vec<SortKey>)> {
        self.place = Place::Order;
        let mut rank = None;
        let mut order = Vec::new();
        let mut failed = None;
        for (position, key) in keys.iter().enumerate() {
            match self.key(key, position == 0, output) {
                Ok(Keyed::Rank(found)) => rank = Some(found),
                Ok(Keyed::Sort(key)) => order.push(key),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok((rank, order)),
        }
    }

    fn key(&mut self, key: &ast::Key, first: bool, output: &Output<'_>) -> Checked<Keyed> {
        let columns = output.columns;
        let span = key.value.span;
        let descending = matches!(key.direction, Some((Order::Descending, _)));
        let word = match &key.value.kind {
            ast::ExprKind::Name(name) => Some(name.as_str()),
            // An alias comes before any other reading of a bare word.
            ast::ExprKind::Literal(Value::Bool(true)) => Some("true"),
            ast::ExprKind::Literal(Value::Bool(false)) => Some("false"),
            ast::ExprKind::Literal(Value::Null) => Some("null"),
            _ => None,
        };
        let by_alias = word.and_then(|word| {
            columns
                .iter()
                .position(|c| c.alias.as_deref() == Some(word))
        });
        let value = match by_alias {
            Some(column) => columns[column].value.clone(),
            None => self.order_expr(key, columns)?,
        };
        if let ExprKind::Score(call) = &value.kind {
            self.check_limit(call, output.limited, span)?;
            if first {
                return self.rank_key(key, call.clone(), by_alias.is_some(), output);
            }
            if by_alias.is_none() {
                return self.score_key(key, value, output);
            }
        }
        let mut nested = Vec::new();
        value.visit(&mut |e| {
            if let ExprKind::Score(call) = &e.kind {
                nested.push(call.clone());
            }
        });
        for call in nested {
            self.check_limit(&call, output.limited, span)?;
        }
        self.sortable(&value, span)?;
        let column = by_alias.or_else(|| columns.iter().position(|c| c.value == value));
        let by = match column {
            Some(column) => SortBy::Column(column),
            None if output.only_columns() || contains_aggregate(&value) => {
                return Err(self.no_column(span));
            }
            None => SortBy::Expr(value),
        };
        Ok(Keyed::Sort(SortKey {
            by,
            descending,
            nulls_last: false,
        }))
    }

    /// The key as an expression. Aggregates that no column has do not become computed by it.
    fn order_expr(&mut self, key: &ast::Key, columns: &[Column]) -> Checked<Expr> {
        let aggregates = self.aggregates.len();
        let value = self.expr(&key.value);
        if self.aggregates.len() > aggregates {
            self.aggregates.truncate(aggregates);
            return Err(self.no_column(key.value.span));
        }
        if let Err(error) = value
            && matches!(key.value.kind, ast::ExprKind::Name(_))
        {
            let known: Vec<&str> = columns.iter().filter_map(|c| c.alias.as_deref()).collect();
            if let (Some(last), false) = (self.diagnostics.last_mut(), known.is_empty()) {
                last.hints
                    .push(format!("the aliases are {}", known.join(", ")));
            }
            return Err(error);
        }
        value
    }

    fn no_column(&mut self, span: Span) -> crate::syntax::Failed {
        self.report(
            Diagnostic::error(
                Code::Q237,
                "with aggregates, `distinct` or `union` the order must be by output columns",
            )
            .at(span)
            .hint("return the value too, and order by its alias"),
        )
    }

    /// Wherever `nearest` or `rrf` occurs in `order`, a limit is required.
    fn check_limit(&mut self, call: &RankCall, limited: bool, span: Span) -> Checked<()> {
        if limited || matches!(call, RankCall::Bm25 { .. }) {
            return Ok(());
        }
        Err(self.report(
            Diagnostic::error(Code::Q217, "to order by nearness a `limit` is required")
                .at(span)
                .hint("add `limit 10` behind `order { … }`"),
        ))
    }

    fn rank_key(
        &mut self,
        key: &ast::Key,
        call: RankCall,
        by_alias: bool,
        output: &Output<'_>,
    ) -> Checked<Keyed> {
        if output.distinct || output.union {
            let message = "a rank key cannot be used with `distinct` or `union`";
            return Err(self.error(Code::Q218, key.value.span, message));
        }
        let reverse = if by_alias {
            // As written: smaller is better for a distance, larger for the others.
            let descending = matches!(key.direction, Some((Order::Descending, _)));
            descending == matches!(call, RankCall::Nearest { .. })
        } else {
            self.ignore_direction(key);
            false
        };
        Ok(Keyed::Rank(Rank { call, reverse }))
    }

    /// A rank call that is not the first key is a number: best first, missing last.
    fn score_key(&mut self, key: &ast::Key, value: Expr, output: &Output<'_>) -> Checked<Keyed> {
        self.ignore_direction(key);
        let descending = !matches!(&value.kind, ExprKind::Score(RankCall::Nearest { .. }));
        let by = match output.columns.iter().position(|c| c.value == value) {
            Some(column) => SortBy::Column(column),
            None if output.only_columns() => return Err(self.no_column(key.value.span)),
            None => SortBy::Expr(value),
        };
        Ok(Keyed::Sort(SortKey {
            by,
            descending,
            nulls_last: true,
        }))
    }

    fn ignore_direction(&mut self, key: &ast::Key) {
        if let Some((_, span)) = key.direction {
            let message = "the best come first always: the direction is ignored";
            self.warn(Code::W505, span, message);
        }
    }

    fn sortable(&mut self, value: &Expr, span: Span) -> Checked<()> {
        let is_search = matches!(value.kind, ExprKind::Search(_));
        let is_sortable = matches!(
            value.ty,
            ExprType::Scalar(_) | ExprType::Node | ExprType::Null
        );
        if is_sortable && !is_search {
            return Ok(());
        }
        if value.ty == ExprType::Path {
            let message = "a path is no order key";
            return Err(self.report(
                Diagnostic::error(Code::Q233, message)
                    .at(span)
                    .hint("order by its length"),
            ));
        }
        let message = if is_search {
            "a text search is no order key".to_owned()
        } else {
            format!("{} is no order key", value.ty)
        };
        Err(self.error(Code::Q207, span, message))
    }
}

/// What order keys can refer to.
pub(super) struct Output<'c> {
    pub(super) columns: &'c [Column],
    pub(super) grouped: bool,
    pub(super) distinct: bool,
    pub(super) union: bool,
    pub(super) limited: bool,
}

impl Output<'_> {
    /// Rows are told apart by output columns only.
    fn only_columns(&self) -> bool {
        self.grouped || self.distinct || self.union
    }
}

enum Keyed {
    Rank(Rank),
    Sort(SortKey),
}
