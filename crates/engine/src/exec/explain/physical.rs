//! The operators of a read.

use std::time::Duration;

use omnigraph_lang::query::{CheckedQuery, CheckedRead, Direction, Expr, Hop, VarId};
use omnigraph_lang::schema::Catalog;
use serde_json::Value as Json;

use super::logical::{aggregate_words, count, order_keys, union_word, words};
use super::node::PlanNode;
use super::words::Words;
use crate::exec::plan::{Action, BlockPlan, KnownId, Step};
use crate::exec::profile::{OpId, Profile};
use crate::exec::read_plan::{ArmPlan, ReadPlan};

pub(super) fn read(
    catalog: &Catalog,
    query: &CheckedQuery,
    read: &CheckedRead,
    plan: &ReadPlan<'_>,
    profile: Option<&Profile>,
) -> PlanNode {
    let tree = Tree { profile };
    let mut node: Option<PlanNode> = None;
    for (at, arm) in plan.arms.iter().enumerate() {
        let words = words(catalog, query, arm.arm);
        let next = tree.arm(words, read, arm);
        node = Some(match node {
            None => next,
            Some(before) => {
                let kind = union_word(read.unions[at - 1].0);
                let rows = before.est_rows.unwrap_or(0.0) + next.est_rows.unwrap_or(0.0);
                let union = PlanNode::new("union", kind)
                    .arg("kind", kind)
                    .expecting(rows)
                    .over(Some(before))
                    .over(Some(next));
                tree.measured(union, arm.union, Duration::ZERO)
            }
        });
    }
    let words = words(catalog, query, &read.arm);
    // A read has at least one arm.
    let node = node.unwrap_or_else(|| PlanNode::new("project", ""));
    tree.tail(words, read, plan.order, node)
}

struct Tree<'p> {
    profile: Option<&'p Profile>,
}

impl Tree<'_> {
    /// With what the operator did; `inner` is the time of the operators inside of it.
    fn measured(&self, mut node: PlanNode, op: Option<OpId>, inner: Duration) -> PlanNode {
        if let (Some(profile), Some(op)) = (self.profile, op) {
            let actual = profile.of(op);
            node.rows = Some(actual.rows);
            let own = actual.time.saturating_sub(inner);
            node.ms = Some(own.as_secs_f64() * 1000.0);
        }
        node
    }

    fn time(&self, op: OpId) -> Duration {
        self.profile
            .map_or(Duration::ZERO, |profile| profile.of(op).time)
    }

    fn arm(&self, words: Words<'_>, read: &CheckedRead, plan: &ArmPlan<'_>) -> PlanNode {
        let (node, _) = self.block(words, &plan.block, None);
        let mut node = node.unwrap_or_else(|| PlanNode::new("scan", "nothing").expecting(1.0));
        let mut rows = node.est_rows.unwrap_or(1.0);
        if let (Some(op), Some(rank)) = (plan.rank, &read.rank) {
            let about = words.rank(&rank.call);
            let scan = PlanNode::new("search_scan", about.clone())
                .arg("rank", about)
                .arg("index", Json::Null)
                .expecting(rows)
                .over(Some(node));
            node = self.measured(scan, Some(op), Duration::ZERO);
        }
        if let Some(op) = plan.aggregate {
            let grouping = plan.arm.grouping.as_ref();
            let keys: Vec<&Expr> = grouping.iter().flat_map(|g| &g.keys).collect();
            let keys = words.all(&keys);
            let aggregates = aggregate_words(words, plan.arm);
            rows = match keys.is_empty() {
                true => 1.0,
                false => rows.sqrt().max(1.0),
            };
            let about = match keys.is_empty() {
                true => aggregates.join(", "),
                false => format!("{} by {}", aggregates.join(", "), keys.join(", ")),
            };
            let aggregate = PlanNode::new("aggregate", about)
                .arg("keys", keys)
                .arg("aggregates", aggregates)
                .expecting(rows)
                .over(Some(node));
            node = self.measured(aggregate, Some(op), Duration::ZERO);
        }
        let names = plan.arm.projections.iter().map(|p| p.name.as_str());
        let columns: Vec<&str> = names.collect();
        let project = PlanNode::new("project", columns.join(", "))
            .arg("columns", columns)
            .expecting(rows)
            .over(Some(node));
        let inner = plan.aggregate.map_or(Duration::ZERO, |op| self.time(op));
        node = self.measured(project, plan.project, inner);
        if let Some(op) = plan.distinct {
            let distinct = PlanNode::new("distinct", "")
                .expecting(rows.sqrt().max(1.0))
                .over(Some(node));
            node = self.measured(distinct, Some(op), Duration::ZERO);
        }
        node
    }

    /// Order, skip and limit are one operator that runs and up to three that are shown.
    fn tail(
        &self,
        words: Words<'_>,
        read: &CheckedRead,
        op: Option<OpId>,
        mut node: PlanNode,
    ) -> PlanNode {
        let keys = order_keys(words, read);
        let mut rows = node.est_rows.unwrap_or(1.0);
        let mut parts = Vec::new();
        if !keys.is_empty() || read.skip.is_some() {
            let op = if read.limit.is_some() {
                "top_k"
            } else {
                "sort"
            };
            let about = match keys.is_empty() {
                true => "by the entities".to_owned(),
                false => keys.join(", "),
            };
            parts.push(PlanNode::new(op, about).arg("keys", keys));
        }
        for (op, value) in [("skip", read.skip), ("limit", read.limit)] {
            if let Some(value) = value {
                let (text, json) = count(words, value);
                if let ("limit", Some(n)) = (op, json.as_f64()) {
                    rows = rows.min(n);
                }
                parts.push(PlanNode::new(op, text).arg(op, json));
            }
        }
        let last = parts.len().saturating_sub(1);
        for (at, part) in parts.into_iter().enumerate() {
            let part = part.expecting(rows).over(Some(node));
            node = match at == last {
                true => self.measured(part, op, Duration::ZERO),
                false => part,
            };
        }
        node
    }

    /// The operators of a block, each over the one before it, and the time that all of them took.
    fn block(
        &self,
        words: Words<'_>,
        plan: &BlockPlan<'_>,
        mut node: Option<PlanNode>,
    ) -> (Option<PlanNode>, Duration) {
        let mut total = Duration::ZERO;
        for step in &plan.steps {
            total += self.time(step.op);
            node = Some(self.step(words, step, node));
        }
        (node, total)
    }

    fn step(&self, words: Words<'_>, step: &Step<'_>, before: Option<PlanNode>) -> PlanNode {
        let mut inner = Duration::ZERO;
        let node = match &step.action {
            Action::Filter(conditions) => {
                let conditions = words.all(conditions);
                PlanNode::new("filter", conditions.join(" and "))
                    .arg("conditions", conditions)
                    .over(before)
            }
            Action::CheckHop(hop) => {
                hop_args(PlanNode::new("semi_join", words.hop(hop)), words, hop).over(before)
            }
            Action::Lookup { var, id } => lookup(words, *var, id).over(before),
            Action::Expand { hop, from_left } => {
                let op = match (hop.path_var, hop.min, hop.max) {
                    (Some(_), ..) => "shortest_path",
                    (None, 1, 1) => "expand",
                    _ => "reachable_expand",
                };
                let start = if *from_left { hop.from } else { hop.to };
                hop_args(PlanNode::new(op, words.hop(hop)), words, hop)
                    .arg("start", words.variable(start))
                    .over(before)
            }
            Action::Scan { var, own, join } => scan(words, *var, own, *join, before),
            Action::Without { plan, .. } => {
                let (block, time) = self.block(words, plan, None);
                inner = time;
                PlanNode::new("anti_join", "not").over(before).over(block)
            }
            Action::LeftJoin { plan, .. } => {
                let (block, time) = self.block(words, plan, None);
                inner = time;
                PlanNode::new("left_join", "optional")
                    .over(before)
                    .over(block)
            }
        };
        self.measured(node.expecting(step.est_rows), Some(step.op), inner)
    }
}

fn hop_args(node: PlanNode, words: Words<'_>, hop: &Hop) -> PlanNode {
    let edges: Vec<&str> = hop
        .edges
        .iter()
        .map(|edge| words.type_name(edge.edge))
        .collect();
    let directions = hop.edges.iter().map(|edge| match edge.direction {
        Direction::Out => "out",
        Direction::In => "in",
        Direction::Both => "both",
    });
    let node = node
        .arg("edges", edges)
        .arg("directions", directions.collect::<Vec<_>>())
        .arg("from", words.variable(hop.from))
        .arg("to", words.variable(hop.to))
        .arg("bounds", vec![hop.min, hop.max]);
    match (hop.edge_var, hop.path_var) {
        (Some(edge), _) => node.arg("edge_variable", words.variable(edge)),
        (_, Some(path)) => node.arg("path_variable", words.variable(path)),
        _ => node,
    }
}

fn lookup(words: Words<'_>, var: VarId, id: &KnownId<'_>) -> PlanNode {
    let ty = words.types(var);
    let key = match id {
        KnownId::Id(id) => format!("id = {}", words.expr(id)),
        KnownId::Key(members) => format!("key = {}", words.all(members).join(", ")),
    };
    PlanNode::new("key_lookup", format!("{} {ty} {key}", words.variable(var)))
        .arg("variable", words.variable(var))
        .arg("type", ty)
        .arg("key", key)
        .arg("index", "id")
}

fn scan(
    words: Words<'_>,
    var: VarId,
    own: &[&Expr],
    join: Option<(&Expr, &Expr)>,
    before: Option<PlanNode>,
) -> PlanNode {
    let conditions = words.all(own);
    let mut about = format!("{}: {}", words.variable(var), words.types(var));
    if !conditions.is_empty() {
        about = format!("{about} where {}", conditions.join(" and "));
    }
    let scan = PlanNode::new("scan", about.clone())
        .arg("variable", words.variable(var))
        .arg("type", words.types(var))
        .arg("conditions", conditions)
        .arg("index", Json::Null);
    match (join, before) {
        (_, None) => scan,
        (Some((own, other)), before) => {
            let on = format!("{} = {}", words.expr(own), words.expr(other));
            PlanNode::new("join", on.clone())
                .arg("on", on)
                .over(before)
                .over(Some(scan))
        }
        (None, before) => PlanNode::new("cross", about).over(before).over(Some(scan)),
    }
}
