//! Binding a variable without a hop: by scan, and by join where an equality ties it to what is
//! bound.

use omnigraph_lang::query::{Comparison, Expr, ExprKind, ExprType, VarId};
use rustc_hash::FxHashMap;

use super::execution::Execution;
use super::order::Comparable;
use super::rows::Rows;
use crate::error::Result;

impl Execution<'_> {
    /// Binds a variable to every entity of its types that passes its own conditions.
    pub(super) async fn scan(
        &mut self,
        var: VarId,
        own: &[&Expr],
        join: Option<(&Expr, &Expr)>,
        rows: Rows,
    ) -> Result<Rows> {
        let space = self.space(var).await?;
        self.rows_scanned += space.live_rows() as u64;
        let found = Rows::of(self.variables.len(), var, space.live().collect());
        let found = self.filter(found, own).await?;
        if let Some((own, other)) = join {
            return self.join(var, found, own, rows, other).await;
        }
        let found = found.column(var)?;
        let count = rows.len() * found.len();
        self.guard
            .memory(count.saturating_mul(rows.row_bytes() + 4))?;
        let mut product = if rows.len() == 1 {
            rows.select(&vec![0; found.len()])
        } else {
            let each = |row: u32| std::iter::repeat_n(row, found.len());
            rows.select(&(0..rows.len() as u32).flat_map(each).collect::<Vec<_>>())
        };
        product.bind(var, found.repeat(rows.len()));
        Ok(product)
    }

    /// Continues each row by the candidates whose value equals one of the row. The condition itself
    /// is still to be applied: this only leaves out pairs that cannot fulfil it.
    async fn join(
        &mut self,
        var: VarId,
        found: Rows,
        own: &Expr,
        rows: Rows,
        other: &Expr,
    ) -> Result<Rows> {
        let right = self.values(&found, &[own]).await?.remove(0);
        let left = self.values(&rows, &[other]).await?.remove(0);
        let found = found.column(var)?;
        let mut by_value: FxHashMap<Box<[u8]>, Vec<u32>> = FxHashMap::default();
        let mut bytes = Vec::new();
        let values = Comparable::new(&right);
        for (at, &ordinal) in found.iter().enumerate() {
            if !values.is_null(at) {
                bytes.clear();
                values.encode(at, &mut bytes);
                by_value
                    .entry(bytes.as_slice().into())
                    .or_default()
                    .push(ordinal);
            }
        }
        let (mut picks, mut ordinals) = (Vec::new(), Vec::new());
        let values = Comparable::new(&left);
        for row in 0..rows.len() {
            bytes.clear();
            values.encode(row, &mut bytes);
            for &ordinal in by_value.get(bytes.as_slice()).into_iter().flatten() {
                picks.push(row as u32);
                ordinals.push(ordinal);
            }
            if row % 1024 == 0 {
                let row_bytes = rows.row_bytes() + 8;
                self.guard.memory(picks.len().saturating_mul(row_bytes))?;
                self.guard.pause().await?;
            }
        }
        let mut joined = rows.select(&picks);
        joined.bind(var, ordinals);
        Ok(joined)
    }
}

/// The sides of an equality between the variable and what is bound, of one type that compares by
/// its bytes.
pub(super) fn equality<'e>(
    var: VarId,
    filters: &[&'e Expr],
    bound: &[VarId],
) -> Option<(&'e Expr, &'e Expr)> {
    filters.iter().find_map(|filter| {
        let (left, right) = equal_sides(filter)?;
        let (own, other) = match (left.variables() == [var], right.variables() == [var]) {
            (true, false) => (left, right),
            (false, true) => (right, left),
            _ => return None,
        };
        let others = other.variables();
        let known = !others.is_empty() && others.iter().all(|v| bound.contains(v));
        known.then_some((own, other))
    })
}

/// The sides of an equality whose types are the same, and no floats.
pub(super) fn equal_sides(filter: &Expr) -> Option<(&Expr, &Expr)> {
    let ExprKind::Compare {
        op: Comparison::Eq,
        left,
        right,
    } = &filter.kind
    else {
        return None;
    };
    let exact = matches!(left.ty, ExprType::Scalar(scalar) if !scalar.is_float());
    (exact && left.ty == right.ty).then_some((left.as_ref(), right.as_ref()))
}
