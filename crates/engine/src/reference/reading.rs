//! From matched rows to the result: sections 7 to 10.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use omnigraph_lang::Code;
use omnigraph_lang::query::{
    Aggregate, AggregateFunction, Arm, CheckedRead, Count, Expr, ExprKind, ExprType, Rank,
    RankCall, SortBy, SortKey, UnionKind, VarKind,
};
use omnigraph_lang::value::Value;
use serde_json::{Value as Json, json};

use super::expr::{Bound, Scope, float, integer, nulls_first};
use super::functions::shown;
use super::matching::{Matching, Row};

/// What a read gives.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The rows, or that the query must fail.
    pub(super) rows: Result<Vec<Json>, Code>,
    /// The rows come in this order.
    pub(super) ordered: bool,
    /// Rows before an unordered limit.
    pub(super) all: Vec<Json>,
    pub(super) may_fail: BTreeSet<Code>,
}

/// One output row before it is shown.
#[derive(Clone, Debug)]
struct Line {
    cells: Vec<Cell>,
}

/// A value with what tells it apart: of a node its type, too.
#[derive(Clone, Debug)]
struct Cell {
    ty: Option<String>,
    value: Value,
    /// A whole path.
    path: Option<Json>,
}

pub(super) fn read(scope: Scope<'_>, read: &CheckedRead) -> Outcome {
    let mut may_fail = BTreeSet::new();
    let result = run(scope, read, &mut may_fail);
    let ordered = !read.order.is_empty() || read.rank.is_some() || read.skip.is_some();
    let (rows, all) = match result {
        Ok((rows, all)) => (Ok(rows), all),
        Err(code) => (Err(code), Vec::new()),
    };
    if let Err(code) = rows {
        may_fail.insert(code);
    }
    Outcome {
        rows,
        ordered,
        all,
        may_fail,
    }
}

fn run(
    scope: Scope<'_>,
    read: &CheckedRead,
    may_fail: &mut BTreeSet<Code>,
) -> Result<(Vec<Json>, Vec<Json>), Code> {
    let skip = read.skip.map_or(Ok(0), |skip| count(scope, skip))?;
    let limit = read.limit.map(|limit| count(scope, limit)).transpose()?;
    let reach = limit.map_or(usize::MAX, |limit| limit.saturating_add(skip));
    let mut rows = matched(scope, &read.arm, may_fail)?;
    let mut ranks = None;
    if let Some(rank) = &read.rank {
        let mut entities = ranked(scope, rank, &rows, reach)?;
        if read.arm.grouping.is_some() && !matches!(rank.call, RankCall::Bm25 { .. }) {
            entities.truncate(limit.unwrap_or(usize::MAX));
        }
        let place = |row: &Row| match row[rank.call.var().0 as usize] {
            Bound::Entity(at) => entities.iter().position(|e| *e == at),
            _ => None,
        };
        rows.retain(|row| place(row).is_some());
        ranks = Some(rows.iter().map(place).collect::<Vec<_>>());
    }
    let by_columns = read.arm.grouping.is_some() || read.arm.distinct || !read.unions.is_empty();
    let lines = if by_columns {
        let mut lines = lines(scope, &read.arm, &rows, may_fail)?;
        for (kind, arm) in &read.unions {
            let rows = matched(scope, arm, may_fail)?;
            lines.extend(self::lines(scope, arm, &rows, may_fail)?);
            // The ids of nodes are texts here.
            let cells = lines.iter_mut().flat_map(|line| &mut line.cells);
            cells.for_each(|cell| cell.ty = None);
            if *kind == UnionKind::Distinct {
                lines = distinct(lines);
            }
        }
        if !read.order.is_empty() || read.skip.is_some() {
            lines.sort_by(|a, b| by_keys(&read.order, a, b).then_with(|| whole(a, b)));
        }
        lines
    } else {
        let mut order: Vec<(Option<usize>, Vec<Cell>, Row)> = Vec::new();
        for (at, row) in rows.into_iter().enumerate() {
            let keys = read.order.iter().map(|key| match &key.by {
                SortBy::Column(column) => &read.arm.projections[*column].value,
                SortBy::Expr(expr) => expr,
            });
            let keys: Result<Vec<Cell>, Code> =
                keys.map(|key| cell(scope.with_row(&row), key)).collect();
            order.push((ranks.as_ref().and_then(|ranks| ranks[at]), keys?, row));
        }
        if !read.order.is_empty() || read.rank.is_some() || read.skip.is_some() {
            order.sort_by(|a, b| {
                let keys = read.order.iter().zip(&a.1).zip(&b.1);
                let keys = keys.map(|((key, a), b)| by_key(key, a, b));
                a.0.cmp(&b.0)
                    .then_with(|| keys.fold(Ordering::Equal, Ordering::then))
                    .then_with(|| canonical(scope, &read.arm, &a.2, &b.2))
            });
        }
        let mut lines = Vec::new();
        let mut fails = None;
        for (at, (_, _, row)) in order.iter().enumerate() {
            let projections = read.arm.projections.iter();
            let cells: Result<Vec<Cell>, Code> = projections
                .map(|p| cell(scope.with_row(row), &p.value))
                .collect();
            match cells {
                Ok(cells) => lines.push(Line { cells }),
                Err(code) => {
                    may_fail.insert(code);
                    // Only what is shown has to be told.
                    let unordered = read.order.is_empty() && read.rank.is_none();
                    if (at >= skip && at < reach) && !(unordered && limit.is_some()) {
                        fails = Some(code);
                    }
                    lines.push(Line { cells: Vec::new() });
                }
            }
        }
        if let Some(code) = fails {
            return Err(code);
        }
        lines
    };
    let all: Vec<Json> = lines.iter().map(show).collect();
    let cut = all.iter().skip(skip).take(limit.unwrap_or(usize::MAX));
    Ok((cut.cloned().collect(), all))
}

fn count(scope: Scope<'_>, count: Count) -> Result<usize, Code> {
    match count {
        Count::Literal(n) => Ok(n as usize),
        Count::Param(id) => {
            usize::try_from(integer(&scope.params[id.0 as usize])).map_err(|_| Code::R443)
        }
    }
}

fn matched(scope: Scope<'_>, arm: &Arm, may_fail: &mut BTreeSet<Code>) -> Result<Vec<Row>, Code> {
    let start = vec![Bound::Unbound; arm.variables.len()];
    let mut matching = Matching {
        scope,
        variables: &arm.variables,
        may_fail: BTreeSet::new(),
        tried: BTreeSet::new(),
    };
    let rows = matching.block(&arm.matches, &start);
    may_fail.extend(matching.may_fail);
    if let Err(code) = rows {
        may_fail.insert(code);
    }
    rows
}

/// The values of an expression, with the type of a node.
fn cell(scope: Scope<'_>, expr: &Expr) -> Result<Cell, Code> {
    let mut ty = None;
    if let (ExprKind::Var(var), ExprType::Node | ExprType::Edge) = (&expr.kind, expr.ty) {
        ty = scope
            .entity(*var)
            .map(|e| scope.world.type_name(e.ty).to_owned());
    }
    if let (ExprKind::Var(var), ExprType::Path) = (&expr.kind, expr.ty) {
        let path = match &scope.row[var.0 as usize] {
            Bound::Path(path) => path,
            _ => {
                return Ok(Cell {
                    ty,
                    value: Value::Null,
                    path: Some(Json::Null),
                });
            }
        };
        let nodes = path
            .nodes
            .iter()
            .map(|(ty, id)| json!({"type": ty, "id": id}));
        let edges = path.edges.iter().map(|(ty, id)| {
            let edge = scope.world.catalog.edge(ty).expect("an edge type");
            let at = scope.world.find(edge.id, id).expect("an edge");
            let [from, to] = scope.world.entities[at].ends.clone().expect("ends");
            json!({"type": ty, "id": id, "from": from, "to": to})
        });
        let whole = json!({
            "nodes": nodes.collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
            "length": path.edges.len(),
        });
        return Ok(Cell {
            ty,
            value: Value::Null,
            path: Some(whole),
        });
    }
    Ok(Cell {
        ty,
        value: scope.eval(expr)?,
        path: None,
    })
}

/// The output of an arm.
fn lines(
    scope: Scope<'_>,
    arm: &Arm,
    rows: &[Row],
    may_fail: &mut BTreeSet<Code>,
) -> Result<Vec<Line>, Code> {
    let mut lines = Vec::new();
    match &arm.grouping {
        None => {
            for row in rows {
                let projections = arm.projections.iter();
                let cells: Result<Vec<Cell>, Code> = projections
                    .map(|p| cell(scope.with_row(row), &p.value))
                    .collect();
                lines.push(Line { cells: cells? });
            }
        }
        Some(grouping) => {
            let mut groups: Vec<(Line, Vec<Row>)> = Vec::new();
            if grouping.keys.is_empty() {
                groups.push((Line { cells: Vec::new() }, Vec::new()));
            }
            for row in rows {
                let keys = grouping.keys.iter();
                let cells: Result<Vec<Cell>, Code> =
                    keys.map(|key| cell(scope.with_row(row), key)).collect();
                let key = Line { cells: cells? };
                match groups
                    .iter_mut()
                    .find(|(known, _)| whole(known, &key).is_eq())
                {
                    Some((_, rows)) => rows.push(row.clone()),
                    None => groups.push((key, vec![row.clone()])),
                }
            }
            for (key, rows) in &groups {
                let aggregates: Result<Vec<Value>, Code> = grouping
                    .aggregates
                    .iter()
                    .map(|aggregate| aggregated(scope, aggregate, rows))
                    .collect();
                let aggregates = aggregates?;
                let keys: Vec<Value> = key.cells.iter().map(|c| c.value.clone()).collect();
                let nothing = Row::new();
                let scope = Scope {
                    group: Some((&keys, &aggregates)),
                    ..scope.with_row(&nothing)
                };
                let cells: Result<Vec<Cell>, Code> = arm
                    .projections
                    .iter()
                    .map(|p| {
                        let ty = match p.value.kind {
                            ExprKind::GroupKey(at) => key.cells[at].ty.clone(),
                            _ => None,
                        };
                        let value = scope.eval(&p.value).inspect_err(|code| {
                            may_fail.insert(*code);
                        })?;
                        Ok(Cell {
                            ty,
                            value,
                            path: None,
                        })
                    })
                    .collect();
                lines.push(Line { cells: cells? });
            }
        }
    }
    Ok(match arm.distinct {
        true => distinct(lines),
        false => lines,
    })
}

fn aggregated(scope: Scope<'_>, aggregate: &Aggregate, rows: &[Row]) -> Result<Value, Code> {
    let Some(argument) = &aggregate.argument else {
        return Ok(Value::Int(rows.len() as i64));
    };
    let mut cells: Vec<Cell> = Vec::new();
    for row in rows {
        let cell = cell(scope.with_row(row), argument)?;
        let known = || cells.iter().any(|other| same(other, &cell).is_eq());
        if !(cell.value.is_null() || (aggregate.distinct && known())) {
            cells.push(cell);
        }
    }
    cells.sort_by(same);
    let values: Vec<Value> = cells.into_iter().map(|cell| cell.value).collect();
    Ok(match aggregate.function {
        AggregateFunction::Count => Value::Int(values.len() as i64),
        AggregateFunction::Collect => Value::List(values),
        AggregateFunction::Min => values.first().cloned().unwrap_or(Value::Null),
        AggregateFunction::Max => values.last().cloned().unwrap_or(Value::Null),
        AggregateFunction::Sum | AggregateFunction::Avg if values.is_empty() => Value::Null,
        AggregateFunction::Sum => Value::F64(sum(&values)),
        AggregateFunction::Avg => Value::F64(sum(&values) / values.len() as f64),
    })
}

/// Of integers exact.
fn sum(values: &[Value]) -> f64 {
    match values[0] {
        Value::Int(_) | Value::UInt(_) => values.iter().map(integer).sum::<i128>() as f64,
        _ => {
            let mut numbers: Vec<f64> = values.iter().map(float).collect();
            numbers.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
            numbers.iter().sum()
        }
    }
}

fn same(a: &Cell, b: &Cell) -> Ordering {
    a.ty.cmp(&b.ty)
        .then_with(|| nulls_first(&a.value, &b.value))
}

fn whole(a: &Line, b: &Line) -> Ordering {
    let cells = a.cells.iter().zip(&b.cells);
    cells
        .map(|(a, b)| same(a, b))
        .fold(Ordering::Equal, Ordering::then)
}

fn distinct(lines: Vec<Line>) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    for line in lines {
        if !kept.iter().any(|other| whole(other, &line).is_eq()) {
            kept.push(line);
        }
    }
    kept
}

fn by_key(key: &SortKey, a: &Cell, b: &Cell) -> Ordering {
    let nulls = (a.value.is_null(), b.value.is_null());
    if key.nulls_last && nulls.0 != nulls.1 {
        return nulls.0.cmp(&nulls.1);
    }
    match key.descending {
        true => same(b, a),
        false => same(a, b),
    }
}

fn by_keys(keys: &[SortKey], a: &Line, b: &Line) -> Ordering {
    let keys = keys.iter().map(|key| {
        let SortBy::Column(at) = key.by else {
            panic!("an order by columns is expected");
        };
        by_key(key, &a.cells[at], &b.cells[at])
    });
    keys.fold(Ordering::Equal, Ordering::then)
}

/// Section 8: variable by variable in the order of their names, nulls first. Paths come last.
fn canonical(scope: Scope<'_>, arm: &Arm, a: &Row, b: &Row) -> Ordering {
    let mut named: Vec<(bool, &str, usize)> = arm
        .variables
        .iter()
        .enumerate()
        .filter_map(|(at, v)| Some((v.kind == VarKind::Path, v.name.as_deref()?, at)))
        .collect();
    named.sort_unstable();
    let orders = named.into_iter().map(|(_, _, at)| match (&a[at], &b[at]) {
        (Bound::Entity(a), Bound::Entity(b)) => scope.world.name(*a).cmp(&scope.world.name(*b)),
        (Bound::Nothing, Bound::Entity(_) | Bound::Path(_)) => Ordering::Less,
        (Bound::Entity(_) | Bound::Path(_), Bound::Nothing) => Ordering::Greater,
        (Bound::Path(a), Bound::Path(b)) => a.cmp(b),
        _ => Ordering::Equal,
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The entities that the rank key ranks, best first.
fn ranked(scope: Scope<'_>, rank: &Rank, rows: &[Row], reach: usize) -> Result<Vec<usize>, Code> {
    let mut candidates: Vec<usize> = Vec::new();
    for row in rows {
        if let Bound::Entity(at) = row[rank.call.var().0 as usize]
            && !candidates.contains(&at)
        {
            candidates.push(at);
        }
    }
    let mut best = match &rank.call {
        RankCall::Rrf { arms, k } => {
            let k = integer(&scope.eval(k)?);
            if k <= 0 {
                return Err(Code::R443);
            }
            let mut places: Vec<(usize, [usize; 2])> =
                candidates.iter().map(|at| (*at, [usize::MAX; 2])).collect();
            for (arm, call) in arms.iter().enumerate() {
                let mut order = by_score(scope, call, &candidates)?;
                if matches!(call, RankCall::Nearest { .. }) {
                    order.truncate(reach);
                }
                for (at, place) in &mut places {
                    let found = order.iter().position(|e| e == at);
                    place[arm] = found.map_or(usize::MAX, |p| p + 1);
                }
            }
            places.retain(|(_, place)| place.iter().any(|p| *p != usize::MAX));
            let score = |place: &[usize; 2]| -> f64 {
                let known = place.iter().filter(|p| **p != usize::MAX);
                known.map(|p| 1.0 / (k as f64 + *p as f64)).sum()
            };
            places.sort_by(|a, b| score(&b.1).total_cmp(&score(&a.1)).then(a.1.cmp(&b.1)));
            places.into_iter().map(|(at, _)| at).collect()
        }
        call => by_score(scope, call, &candidates)?,
    };
    if rank.reverse {
        best.reverse();
    }
    Ok(best)
}

fn by_score(scope: Scope<'_>, call: &RankCall, of: &[usize]) -> Result<Vec<usize>, Code> {
    let nearest = matches!(call, RankCall::Nearest { .. });
    let mut scored = Vec::new();
    for at in of {
        match scope.score(call, &scope.world.entities[*at])? {
            Value::F64(distance) if nearest => scored.push((distance, *at)),
            Value::F64(score) if score > 0.0 => scored.push((-score, *at)),
            _ => {}
        }
    }
    scored.sort_by(|a, b| {
        a.0.total_cmp(&b.0)
            .then_with(|| scope.world.name(a.1).cmp(&scope.world.name(b.1)))
    });
    Ok(scored.into_iter().map(|(_, at)| at).collect())
}

fn show(line: &Line) -> Json {
    let cells = line.cells.iter().map(|cell| match &cell.path {
        Some(path) => path.clone(),
        None => shown(&cell.value),
    });
    Json::Array(cells.collect())
}
