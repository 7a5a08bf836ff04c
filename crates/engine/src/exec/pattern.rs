//! Matching of blocks: which part comes next, and how it is carried out.

use futures::FutureExt;
use futures::future::BoxFuture;
use omnigraph_lang::query::{Block, Comparison, Expr, ExprKind, Hop, VarId};
use omnigraph_lang::schema::{DataType, Member, PropertyId, Scalar, TypeBody};
use omnigraph_lang::value::{Value, derive_id, spell};
use rustc_hash::FxHashMap;

use super::correlated::introduced;
use super::execution::Execution;
use super::join::equality;
use super::rows::Rows;
use crate::error::Result;

/// Part of the rows that an equality is assumed to keep, and any other condition.
const EQUAL_SELECTIVITY: f64 = 0.05;
const OTHER_SELECTIVITY: f64 = 0.4;

/// What is left to do in a block.
pub(super) struct Pending<'b> {
    pub variables: Vec<VarId>,
    pub hops: Vec<&'b Hop>,
    pub filters: Vec<&'b Expr>,
}

impl Pending<'_> {
    /// The variable gets its values from a hop.
    fn is_edge(&self, var: VarId) -> bool {
        self.hops.iter().any(|hop| hop.edge_var == Some(var))
    }
}

impl Execution<'_> {
    /// The rows continued by everything that satisfies the block.
    pub(crate) fn block<'f>(
        &'f mut self,
        block: &'f Block,
        rows: Rows,
    ) -> BoxFuture<'f, Result<Rows>> {
        self.run_block(block, rows).boxed()
    }

    async fn run_block(&mut self, block: &Block, mut rows: Rows) -> Result<Rows> {
        let mut pending = Pending {
            variables: block
                .variables
                .iter()
                .copied()
                .filter(|v| !rows.is_bound(*v))
                .collect(),
            hops: block.hops.iter().collect(),
            filters: block.filters.iter().collect(),
        };
        loop {
            rows = self.apply_conditions(&mut pending, rows).await?;
            pending.variables.retain(|v| !rows.is_bound(*v));
            if rows.len() == 0 {
                return Ok(nothing(block, rows));
            }
            if self.bind_by_key(&mut pending, &mut rows).await? {
                continue;
            }
            if let Some(at) = self.next_hop(&pending, &rows).await? {
                let hop = pending.hops.remove(at);
                rows = self.expand(hop, rows).await?;
            } else if let Some(at) = self.next_scan(&pending, &rows).await? {
                let var = pending.variables[at];
                rows = self.scan(&mut pending, var, rows).await?;
            } else {
                break;
            }
            pending.variables.retain(|v| !rows.is_bound(*v));
            self.guard.pause().await?;
        }
        for negation in &block.negations {
            rows = self.without(negation, rows).await?;
        }
        for optional in &block.optionals {
            rows = self.left_join(optional, rows).await?;
        }
        let late: Vec<&Expr> = block.late_filters.iter().collect();
        rows = self.filter(rows, &late).await?;
        for negation in &block.late_negations {
            rows = self.without(negation, rows).await?;
        }
        Ok(rows)
    }

    /// Applies the filters and hops all of whose variables are bound.
    async fn apply_conditions(
        &mut self,
        pending: &mut Pending<'_>,
        mut rows: Rows,
    ) -> Result<Rows> {
        loop {
            let (ready, rest) = pending
                .filters
                .drain(..)
                .partition::<Vec<&Expr>, _>(|f| f.variables().iter().all(|v| rows.is_bound(*v)));
            pending.filters = rest;
            rows = self.filter(rows, &ready).await?;
            // A hop between two bound ends may bind an edge, which may make a filter ready.
            let hop = pending
                .hops
                .iter()
                .position(|hop| rows.is_bound(hop.from) && rows.is_bound(hop.to));
            let Some(at) = hop else {
                return Ok(rows);
            };
            let hop = pending.hops.remove(at);
            rows = self.check_hop(hop, rows).await?;
        }
    }

    /// Binds a variable whose id the conditions determine, if there is one.
    async fn bind_by_key(&mut self, pending: &mut Pending<'_>, rows: &mut Rows) -> Result<bool> {
        for at in 0..pending.variables.len() {
            let var = pending.variables[at];
            if pending.is_edge(var) {
                continue;
            }
            let Some((id, used)) = self.known_id(var, &pending.filters)? else {
                continue;
            };
            let ordinal = match id {
                Some(id) => self.table_of(var).await?.ordinal_of(&id).await?,
                None => None,
            };
            self.rows_scanned += 1;
            match ordinal {
                Some(ordinal) => rows.bind(var, vec![ordinal; rows.len()]),
                None => {
                    rows.clear();
                    rows.bind(var, Vec::new());
                }
            }
            pending.variables.remove(at);
            let mut number = 0;
            pending.filters.retain(|_| {
                number += 1;
                !used.contains(&(number - 1))
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// The id that equalities with constants give a variable (`None` inside: no entity can have
    /// it), and the positions of the filters that say nothing beyond that.
    fn known_id(
        &self,
        var: VarId,
        filters: &[&Expr],
    ) -> Result<Option<(Option<String>, Vec<usize>)>> {
        let body = self.body(var)?;
        let mut equal: FxHashMap<PropertyId, (usize, Value)> = FxHashMap::default();
        for (at, filter) in filters.iter().enumerate() {
            if let Some(id) = id_equality(filter, var) {
                return Ok(match self.constant(id)? {
                    Value::String(id) => Some((Some(id), vec![at])),
                    _ => Some((None, vec![at])),
                });
            }
            if let Some((of, property, value)) = filter.as_property_equality()
                && of == var
                && body.is_key_member(property)
            {
                equal.insert(property, (at, self.constant(value)?));
            }
        }
        let Some(key) = body.key.as_ref().filter(|_| !equal.is_empty()) else {
            return Ok(None);
        };
        let mut spelled = Vec::with_capacity(key.len());
        let mut used = Vec::with_capacity(key.len());
        for member in key {
            let Member::Property(property) = member else {
                return Ok(None);
            };
            let Some((at, value)) = equal.get(property) else {
                return Ok(None);
            };
            if value.is_null() {
                return Ok(Some((None, vec![*at])));
            }
            if !spells_like(value, *property, body) {
                return Ok(None);
            }
            match spell(value) {
                Ok(text) => spelled.push(text),
                Err(_) => return Ok(None),
            }
            used.push(*at);
        }
        Ok(Some((Some(derive_id(&spelled)), used)))
    }

    /// The hop from a bound end that multiplies rows least.
    async fn next_hop(&mut self, pending: &Pending<'_>, rows: &Rows) -> Result<Option<usize>> {
        let mut best = None;
        for (at, hop) in pending.hops.iter().enumerate() {
            if !rows.is_bound(hop.from) && !rows.is_bound(hop.to) {
                continue;
            }
            let (known, new) = if rows.is_bound(hop.from) {
                (hop.from, hop.to)
            } else {
                (hop.to, hop.from)
            };
            let cost = if pending.hops.len() == 1 {
                0.0
            } else {
                let from = self.table_of(known).await?.live_rows().max(1) as f64;
                let mut edges = 0.0;
                for edge in &hop.edges {
                    edges += self.table(edge.edge).await?.live_rows() as f64;
                }
                let steps = f64::from(hop.max.min(4));
                (edges / from).max(0.01).powf(steps) * selectivity(new, &pending.filters)
            };
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((at, cost));
            }
        }
        Ok(best.map(|(at, _)| at))
    }

    /// The variable with the fewest candidates.
    async fn next_scan(&mut self, pending: &Pending<'_>, rows: &Rows) -> Result<Option<usize>> {
        let mut best = None;
        for (at, &var) in pending.variables.iter().enumerate() {
            if pending.is_edge(var) {
                continue;
            }
            let cost = match pending.variables.len() {
                1 => 0.0,
                // A join, where the others only multiply.
                _ if equality(var, &pending.filters, rows).is_some() => 1.0,
                _ => {
                    let all = self.table_of(var).await?.live_rows() as f64;
                    all * selectivity(var, &pending.filters)
                }
            };
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((at, cost));
            }
        }
        Ok(best.map(|(at, _)| at))
    }
}

/// A condition `id($x) = constant`.
fn id_equality(filter: &Expr, var: VarId) -> Option<&Expr> {
    let ExprKind::Compare {
        op: Comparison::Eq,
        left,
        right,
    } = &filter.kind
    else {
        return None;
    };
    match (&left.kind, &right.kind) {
        (ExprKind::EntityId(of), _) if *of == var && right.is_constant() => Some(right),
        (_, ExprKind::EntityId(of)) if *of == var && left.is_constant() => Some(left),
        _ => None,
    }
}

/// Whether values that equal this one are spelled as it is.
fn spells_like(value: &Value, property: PropertyId, body: &TypeBody) -> bool {
    let Some(property) = body.property_by_id(property) else {
        return false;
    };
    match (&property.data_type, value) {
        (DataType::Enum(_) | DataType::Scalar(Scalar::String), Value::String(_))
        | (DataType::Scalar(Scalar::Bool), Value::Bool(_))
        | (DataType::Scalar(Scalar::Date), Value::Date(_))
        | (DataType::Scalar(Scalar::DateTime), Value::DateTime(_)) => true,
        (DataType::Scalar(scalar), Value::Int(_) | Value::UInt(_)) => scalar.is_integer(),
        _ => false,
    }
}

fn selectivity(var: VarId, filters: &[&Expr]) -> f64 {
    let own = filters.iter().filter(|f| f.variables() == [var]);
    own.map(|f| match f.as_property_equality() {
        Some(_) => EQUAL_SELECTIVITY,
        None => OTHER_SELECTIVITY,
    })
    .product()
}

/// No rows, with all variables bound.
fn nothing(block: &Block, mut rows: Rows) -> Rows {
    rows.clear();
    for var in introduced(block) {
        rows.bind(var, Vec::new());
    }
    rows
}
