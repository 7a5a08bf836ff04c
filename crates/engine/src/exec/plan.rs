//! Planning of blocks: which part comes next, and how it is carried out.
//!
//! A plan depends on the query and on how many entities and edges there are, not on values. So the
//! plan that is explained is the one that runs.

use futures::FutureExt;
use futures::future::BoxFuture;
use omnigraph_lang::query::{Block, Comparison, Expr, ExprKind, ExprType, Hop, VarId, VarKind};
use omnigraph_lang::schema::{DataType, Member, Property, PropertyId, Scalar};

use super::correlated::{introduced, shared_variables};
use super::execution::Execution;
use super::join::equality;
use super::profile::OpId;
use crate::error::Result;

/// Part of the rows that an equality is assumed to keep, and any other condition.
const EQUAL_SELECTIVITY: f64 = 0.05;
const OTHER_SELECTIVITY: f64 = 0.4;

/// The steps of a block, in order.
pub(crate) struct BlockPlan<'b> {
    pub steps: Vec<Step<'b>>,
    /// Variables that have values after it and not before.
    pub introduces: Vec<VarId>,
}

/// One operator of a block.
pub(crate) struct Step<'b> {
    pub op: OpId,
    pub action: Action<'b>,
    /// Rows after it, for each row before the block.
    pub est_rows: f64,
}

pub(crate) enum Action<'b> {
    Filter(Vec<&'b Expr>),
    /// A hop between two variables that have values.
    CheckHop(&'b Hop),
    Lookup {
        var: VarId,
        id: KnownId<'b>,
    },
    Expand {
        hop: &'b Hop,
        from_left: bool,
    },
    Scan {
        var: VarId,
        /// Conditions on the variable alone.
        own: Vec<&'b Expr>,
        /// Equal values of the variable and of what is bound, if there are such.
        join: Option<(&'b Expr, &'b Expr)>,
    },
    /// `not { … }`
    Without {
        block: &'b Block,
        plan: BlockPlan<'b>,
        shared: Vec<VarId>,
    },
    /// `optional { … }`
    LeftJoin {
        plan: BlockPlan<'b>,
        shared: Vec<VarId>,
        /// Outer rows that are joined at once.
        step: usize,
    },
}

/// What determines the id of a variable's entity.
pub(crate) enum KnownId<'b> {
    /// `id($x) = constant`
    Id(&'b Expr),
    /// The members of the key, in its order, with their values.
    Key(Vec<&'b Expr>),
}

/// What is left to do in a block.
struct Pending<'b> {
    variables: Vec<VarId>,
    hops: Vec<&'b Hop>,
    filters: Vec<&'b Expr>,
    bound: Vec<VarId>,
}

impl Pending<'_> {
    fn is_bound(&self, var: VarId) -> bool {
        self.bound.contains(&var)
    }

    fn bind(&mut self, var: VarId) {
        self.bound.push(var);
        self.variables.retain(|v| *v != var);
    }
}

struct Planner<'b> {
    pending: Pending<'b>,
    steps: Vec<Step<'b>>,
    rows: f64,
}

impl Execution<'_> {
    /// The plan of a block whose rows start with these variables.
    pub(crate) fn plan<'f, 'b: 'f>(
        &'f mut self,
        block: &'b Block,
        bound: &'f [VarId],
    ) -> BoxFuture<'f, Result<BlockPlan<'b>>> {
        self.plan_block(block, bound).boxed()
    }

    async fn plan_block<'b>(&mut self, block: &'b Block, bound: &[VarId]) -> Result<BlockPlan<'b>> {
        let is_new = |var: &VarId| !bound.contains(var);
        let mut planner = Planner {
            pending: Pending {
                variables: block.variables.iter().copied().filter(is_new).collect(),
                hops: block.hops.iter().collect(),
                filters: block.filters.iter().collect(),
                bound: bound.to_vec(),
            },
            steps: Vec::new(),
            rows: 1.0,
        };
        loop {
            self.apply_conditions(&mut planner);
            if self.look_up(&mut planner)? {
                continue;
            }
            if let Some(at) = self.next_hop(&planner.pending).await? {
                self.plan_expand(&mut planner, at).await?;
            } else if let Some(at) = self.next_scan(&planner.pending).await? {
                self.plan_scan(&mut planner, at).await?;
            } else {
                break;
            }
        }
        for negation in &block.negations {
            self.plan_without(&mut planner, negation).await?;
        }
        for optional in &block.optionals {
            self.plan_left_join(&mut planner, optional).await?;
        }
        let late: Vec<&Expr> = block.late_filters.iter().collect();
        self.plan_filters(&mut planner, late);
        for negation in &block.late_negations {
            self.plan_without(&mut planner, negation).await?;
        }
        let introduces = introduced(block).into_iter().filter(is_new).collect();
        Ok(BlockPlan {
            steps: planner.steps,
            introduces,
        })
    }

    fn push<'b>(&mut self, planner: &mut Planner<'b>, action: Action<'b>) {
        let op = self.next_op();
        planner.steps.push(Step {
            op,
            action,
            est_rows: planner.rows,
        });
    }

    fn plan_filters<'b>(&mut self, planner: &mut Planner<'b>, filters: Vec<&'b Expr>) {
        if filters.is_empty() {
            return;
        }
        for filter in &filters {
            planner.rows *= match is_equality(filter) {
                true => EQUAL_SELECTIVITY,
                false => OTHER_SELECTIVITY,
            };
        }
        self.push(planner, Action::Filter(filters));
    }

    /// The filters and hops all of whose variables are bound.
    fn apply_conditions<'b>(&mut self, planner: &mut Planner<'b>) {
        loop {
            let pending = &mut planner.pending;
            let bound = &pending.bound;
            let (ready, rest) = pending
                .filters
                .drain(..)
                .partition::<Vec<&Expr>, _>(|f| f.variables().iter().all(|v| bound.contains(v)));
            pending.filters = rest;
            self.plan_filters(planner, ready);
            // A hop between two bound ends may bind an edge, which may make a filter ready.
            let pending = &mut planner.pending;
            let hop = (pending.hops.iter())
                .position(|hop| pending.is_bound(hop.from) && pending.is_bound(hop.to));
            let Some(at) = hop else {
                return;
            };
            let hop = pending.hops.remove(at);
            for var in hop.edge_var.into_iter().chain(hop.path_var) {
                pending.bind(var);
            }
            planner.rows *= EQUAL_SELECTIVITY;
            self.push(planner, Action::CheckHop(hop));
        }
    }

    /// Binds a variable whose id the conditions determine, if there is one.
    fn look_up<'b>(&mut self, planner: &mut Planner<'b>) -> Result<bool> {
        for at in 0..planner.pending.variables.len() {
            let var = planner.pending.variables[at];
            if !self.is_node(var)? {
                continue;
            }
            let Some((id, used)) = self.known_id(var, &planner.pending.filters)? else {
                continue;
            };
            planner.pending.bind(var);
            let mut number = 0;
            planner.pending.filters.retain(|_| {
                number += 1;
                !used.contains(&(number - 1))
            });
            self.push(planner, Action::Lookup { var, id });
            return Ok(true);
        }
        Ok(false)
    }

    /// Edges and paths get their values from hops.
    fn is_node(&self, var: VarId) -> Result<bool> {
        Ok(self.variable(var)?.kind == VarKind::Node)
    }

    /// What determines the id of a variable, and the positions of the filters that say nothing
    /// beyond that.
    fn known_id<'b>(
        &self,
        var: VarId,
        filters: &[&'b Expr],
    ) -> Result<Option<(KnownId<'b>, Vec<usize>)>> {
        let ids = filters.iter().enumerate();
        if let Some((at, id)) = ids
            .clone()
            .find_map(|(at, f)| Some((at, id_equality(f, var)?)))
        {
            return Ok(Some((KnownId::Id(id), vec![at])));
        }
        let Some(ty) = self.variable(var)?.single_type() else {
            return Ok(None);
        };
        let body = self.body(ty)?;
        let equal = |member: PropertyId| {
            ids.clone().find_map(|(at, filter)| {
                let (of, property, value) = filter.as_property_equality()?;
                (of == var && property == member).then_some((at, value))
            })
        };
        let mut values = Vec::new();
        let mut used = Vec::new();
        for member in body.key.iter().flatten() {
            let Member::Property(member) = member else {
                return Ok(None);
            };
            let Some((at, value)) = equal(*member) else {
                return Ok(None);
            };
            let property = body.property_by_id(*member);
            if !property.is_some_and(|property| spells_like(value.ty, property)) {
                return Ok(None);
            }
            values.push(value);
            used.push(at);
        }
        Ok((!values.is_empty()).then_some((KnownId::Key(values), used)))
    }

    /// The hop from a bound end that multiplies rows least.
    async fn next_hop(&mut self, pending: &Pending<'_>) -> Result<Option<usize>> {
        let mut best = None;
        for (at, hop) in pending.hops.iter().enumerate() {
            if !pending.is_bound(hop.from) && !pending.is_bound(hop.to) {
                continue;
            }
            let cost = match pending.hops.len() {
                1 => 0.0,
                _ => self.multiplies(pending, hop).await?,
            };
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((at, cost));
            }
        }
        Ok(best.map(|(at, _)| at))
    }

    /// By how much an expansion is expected to multiply rows, conditions on the new end included.
    async fn multiplies(&mut self, pending: &Pending<'_>, hop: &Hop) -> Result<f64> {
        let (known, new) = match pending.is_bound(hop.from) {
            true => (hop.from, hop.to),
            false => (hop.to, hop.from),
        };
        let from = self.space(known).await?.live_rows().max(1) as f64;
        let mut edges = 0.0;
        for edge in &hop.edges {
            edges += self.table(edge.edge).await?.live_rows() as f64;
        }
        let steps = f64::from(hop.max.min(4));
        Ok((edges / from).max(0.01).powf(steps) * selectivity(new, &pending.filters))
    }

    async fn plan_expand<'b>(&mut self, planner: &mut Planner<'b>, at: usize) -> Result<()> {
        let hop = planner.pending.hops[at];
        let from_left = planner.pending.is_bound(hop.from);
        planner.rows *= match self.explaining {
            true => {
                let new = if from_left { hop.to } else { hop.from };
                self.multiplies(&planner.pending, hop).await?
                    / selectivity(new, &planner.pending.filters)
            }
            false => 1.0,
        };
        planner.pending.hops.remove(at);
        let new = if from_left { hop.to } else { hop.from };
        planner.pending.bind(new);
        for var in hop.edge_var.into_iter().chain(hop.path_var) {
            planner.pending.bind(var);
        }
        self.push(planner, Action::Expand { hop, from_left });
        Ok(())
    }

    /// The variable with the fewest candidates.
    async fn next_scan(&mut self, pending: &Pending<'_>) -> Result<Option<usize>> {
        let mut best = None;
        for (at, &var) in pending.variables.iter().enumerate() {
            if !self.is_node(var)? {
                continue;
            }
            let cost = match pending.variables.len() {
                1 => 0.0,
                // A join, where the others only multiply.
                _ if equality(var, &pending.filters, &pending.bound).is_some() => 1.0,
                _ => {
                    let all = self.space(var).await?.live_rows() as f64;
                    all * selectivity(var, &pending.filters)
                }
            };
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((at, cost));
            }
        }
        Ok(best.map(|(at, _)| at))
    }

    async fn plan_scan<'b>(&mut self, planner: &mut Planner<'b>, at: usize) -> Result<()> {
        let pending = &mut planner.pending;
        let var = pending.variables[at];
        let (own, rest) = pending
            .filters
            .drain(..)
            .partition::<Vec<&Expr>, _>(|f| f.variables() == [var]);
        pending.filters = rest;
        let join = equality(var, &pending.filters, &pending.bound);
        if self.explaining {
            let all = self.space(var).await?.live_rows() as f64;
            planner.rows *= all * selectivity(var, &own);
        }
        pending.bind(var);
        self.push(planner, Action::Scan { var, own, join });
        Ok(())
    }

    async fn plan_without<'b>(
        &mut self,
        planner: &mut Planner<'b>,
        block: &'b Block,
    ) -> Result<()> {
        let shared = shared_variables(block, &planner.pending.bound);
        let plan = self.plan(block, &shared).await?;
        planner.rows *= OTHER_SELECTIVITY;
        let action = Action::Without {
            block,
            plan,
            shared,
        };
        self.push(planner, action);
        Ok(())
    }

    async fn plan_left_join<'b>(
        &mut self,
        planner: &mut Planner<'b>,
        block: &'b Block,
    ) -> Result<()> {
        let shared = shared_variables(block, &planner.pending.bound);
        let plan = self.plan(block, &shared).await?;
        let inner = plan.steps.last().map_or(1.0, |step| step.est_rows);
        planner.rows *= inner.max(1.0);
        for var in &plan.introduces {
            planner.pending.bind(*var);
        }
        let step = super::correlated::chunk_size(block, &shared);
        let action = Action::LeftJoin { plan, shared, step };
        self.push(planner, action);
        Ok(())
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

/// Whether values of the type that equal one of the property are spelled like it.
fn spells_like(ty: ExprType, property: &Property) -> bool {
    match (&property.data_type, ty) {
        (_, ExprType::Null) => true,
        (DataType::Enum(_), ExprType::Scalar(Scalar::String)) => true,
        (DataType::Scalar(own), ExprType::Scalar(other)) => {
            !own.is_float() && (*own == other || (own.is_integer() && other.is_integer()))
        }
        _ => false,
    }
}

fn is_equality(filter: &Expr) -> bool {
    matches!(
        filter.kind,
        ExprKind::Compare {
            op: Comparison::Eq,
            ..
        } | ExprKind::In { .. }
    )
}

fn selectivity(var: VarId, filters: &[&Expr]) -> f64 {
    let own = filters.iter().filter(|f| f.variables() == [var]);
    own.map(|f| match f.as_property_equality() {
        Some(_) => EQUAL_SELECTIVITY,
        None => OTHER_SELECTIVITY,
    })
    .product()
}
