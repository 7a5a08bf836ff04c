//! `match { … }` by trying everything.

use std::collections::BTreeSet;

use omnigraph_lang::Code;
use omnigraph_lang::query::{Block, Expr, ExprKind, Hop, VarId, VarKind, Variable};
use omnigraph_lang::value::Value;

use super::expr::{Bound, Scope};
use super::paths::{least, steps, taken};

/// A row: what each variable of the arm stands for.
pub(super) type Row = Vec<Bound>;

/// Matching of one arm.
pub(super) struct Matching<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) variables: &'a [Variable],
    /// What may go wrong for some combination of entities, whether or not it is part of a match:
    /// in which order conditions apply is not defined.
    pub(super) may_fail: BTreeSet<Code>,
    /// Conditions that have been tried, by address: a block runs many times.
    pub(super) tried: BTreeSet<usize>,
}

impl Matching<'_> {
    /// The rows that continue a row by what satisfies the block; an error if a condition of a row
    /// that all other conditions leave cannot be told.
    pub(super) fn block(&mut self, block: &Block, start: &Row) -> Result<Vec<Row>, Code> {
        for filter in block.filters.iter().chain(&block.late_filters) {
            self.look_for_failures(filter, start);
        }
        let mut rows = vec![start.clone()];
        let mut hops: Vec<&Hop> = block.hops.iter().collect();
        for var in &block.variables {
            if self.variables[var.0 as usize].kind == VarKind::Node
                && start[var.0 as usize] == Bound::Unbound
            {
                rows = self.each_entity(*var, rows);
            }
            rows = self.ready_hops(&mut hops, rows);
        }
        rows = self.ready_hops(&mut hops, rows);
        assert!(hops.is_empty(), "a hop between unbound variables");
        let mut kept = Vec::new();
        for row in rows {
            if self.holds(&block.filters, &row)? && !self.any(&block.negations, &row)? {
                kept.push(row);
            }
        }
        for optional in &block.optionals {
            let mut joined = Vec::new();
            for row in kept {
                let found = self.block(optional, &row)?;
                match found.is_empty() {
                    true => joined.push(nothing(optional, row)),
                    false => joined.extend(found),
                }
            }
            kept = joined;
        }
        let mut last = Vec::new();
        for row in kept {
            if self.holds(&block.late_filters, &row)? && !self.any(&block.late_negations, &row)? {
                last.push(row);
            }
        }
        Ok(last)
    }

    fn each_entity(&self, var: VarId, rows: Vec<Row>) -> Vec<Row> {
        let candidates = self.candidates(var);
        let with = |row: &Row, at: usize| {
            let mut row = row.clone();
            row[var.0 as usize] = Bound::Entity(at);
            row
        };
        let each = rows.iter();
        each.flat_map(|row| candidates.iter().map(move |at| with(row, *at)))
            .collect()
    }

    fn candidates(&self, var: VarId) -> Vec<usize> {
        let types = self.variables[var.0 as usize].types.iter();
        types.flat_map(|ty| self.scope.world.of_type(*ty)).collect()
    }

    fn ready_hops(&self, hops: &mut Vec<&Hop>, mut rows: Vec<Row>) -> Vec<Row> {
        let is_bound = |row: &Row, var: VarId| row[var.0 as usize] != Bound::Unbound;
        let Some(first) = rows.first().cloned() else {
            hops.clear();
            return rows;
        };
        hops.retain(|hop| {
            let ready = is_bound(&first, hop.from) && is_bound(&first, hop.to);
            if ready {
                rows = self.apply(hop, std::mem::take(&mut rows));
            }
            !ready
        });
        rows
    }

    fn apply(&self, hop: &Hop, rows: Vec<Row>) -> Vec<Row> {
        let world = self.scope.world;
        let steps = steps(world, hop);
        let mut kept = Vec::new();
        for row in rows {
            let ends = (&row[hop.from.0 as usize], &row[hop.to.0 as usize]);
            let (Bound::Entity(from), Bound::Entity(to)) = ends else {
                continue;
            };
            let (from, to) = (*from, *to);
            if let Some(var) = hop.edge_var {
                let edges = steps.iter().filter(|(a, b, _)| (*a, *b) == (from, to));
                for (.., edge) in edges {
                    let mut row = row.clone();
                    row[var.0 as usize] = Bound::Entity(*edge);
                    kept.push(row);
                }
            } else if let Some(length) = taken(&steps, hop, from, to) {
                let mut row = row.clone();
                if let Some(var) = hop.path_var {
                    row[var.0 as usize] = Bound::Path(least(world, &steps, from, to, length));
                }
                kept.push(row);
            }
        }
        kept
    }

    /// A condition that is not true wins over one that cannot be told.
    fn holds(&self, conditions: &[Expr], row: &Row) -> Result<bool, Code> {
        let mut failed = None;
        for condition in conditions {
            match self.scope.with_row(row).eval(condition) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(code) => failed = Some(code),
            }
        }
        failed.map_or(Ok(true), Err)
    }

    fn any(&mut self, blocks: &[Block], row: &Row) -> Result<bool, Code> {
        for block in blocks {
            if !self.block(block, row)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tries the expression on every combination of entities that its variables may stand for.
    pub(super) fn look_for_failures(&mut self, expr: &Expr, start: &Row) {
        let address = std::ptr::from_ref(expr) as usize;
        if !can_fail(expr) || !self.tried.insert(address) {
            return;
        }
        let mut rows = vec![start.clone()];
        for var in expr.variables() {
            rows = match self.variables[var.0 as usize].kind {
                VarKind::Path => vec![],
                _ => self.each_entity(var, rows),
            };
        }
        for row in rows {
            // Each part by itself: what stands before it may not keep it from being tried.
            let scope = self.scope.with_row(&row);
            let mut codes = Vec::new();
            expr.visit(&mut |part| codes.extend(scope.eval(part).err()));
            self.may_fail.extend(codes);
        }
    }
}

/// Something in it may be out of range, zero, or no number.
fn can_fail(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |part| {
        found |= matches!(
            part.kind,
            ExprKind::Arithmetic { .. }
                | ExprKind::Negate(_)
                | ExprKind::Call { .. }
                | ExprKind::Cast { .. }
                | ExprKind::Search(_)
        );
    });
    found
}

fn nothing(block: &Block, mut row: Row) -> Row {
    for var in &block.variables {
        if row[var.0 as usize] == Bound::Unbound {
            row[var.0 as usize] = Bound::Nothing;
        }
    }
    block
        .optionals
        .iter()
        .fold(row, |row, inner| nothing(inner, row))
}
