//! Hops within bounds against the definition, on small random graphs.

use std::collections::{BTreeSet, HashMap};

use omnigraph_lang::query::{
    Arm, Block, Body, CheckedQuery, CheckedRead, Direction, Expr, ExprKind, ExprType, Hop, HopEdge,
    Operation, Projection, VarId, VarKind, Variable,
};
use omnigraph_lang::value::Value;
use serde_json::{Value as Json, json};

use super::fixture::Fixture;
use crate::error::ErrorKind;
use crate::exec::{QueryLimits, rows_to_json};

const SCHEMA: &str = "
node N { name: String @key }
edge E: N -> N
";

/// A reproducible sequence of numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

type Edges = BTreeSet<(u64, u64)>;

async fn graph(nodes: u64, edges: &[(u64, u64)]) -> Fixture {
    let mut graph = Fixture::new(SCHEMA).await;
    let rows: Vec<Json> = (0..nodes)
        .map(|n| json!({"id": n.to_string(), "name": n.to_string()}))
        .collect();
    graph.insert("N", &rows).await;
    let rows: Vec<Json> = edges
        .iter()
        .enumerate()
        .map(|(id, (a, b))| json!({"id": format!("e{id}"), "src": a.to_string(), "dst": b.to_string()}))
        .collect();
    graph.insert("E", &rows).await;
    graph
}

fn expr(kind: ExprKind, ty: ExprType) -> Expr {
    Expr {
        kind,
        ty,
        nullable: false,
    }
}

fn id_is(var: VarId, id: u64) -> Expr {
    let text = ExprType::Scalar(omnigraph_lang::schema::Scalar::String);
    let compare = ExprKind::Compare {
        op: omnigraph_lang::query::Comparison::Eq,
        left: Box::new(expr(ExprKind::EntityId(var), text)),
        right: Box::new(expr(ExprKind::Literal(Value::String(id.to_string())), text)),
    };
    expr(
        compare,
        ExprType::Scalar(omnigraph_lang::schema::Scalar::Bool),
    )
}

/// `match { $a e{min,max} $b … } return { $a, $b }`.
fn hop_query(
    graph: &Fixture,
    direction: Direction,
    bounds: (u32, u32),
    filters: Vec<Expr>,
) -> CheckedQuery {
    let node = graph.type_id("N");
    let variable = |name: &str| Variable {
        name: Some(name.to_owned()),
        kind: VarKind::Node,
        types: vec![node],
        optional: false,
    };
    let hop = Hop {
        from: VarId(0),
        to: VarId(1),
        edges: vec![HopEdge {
            edge: graph.type_id("E"),
            direction,
        }],
        min: bounds.0,
        max: bounds.1,
        edge_var: None,
        path_var: None,
    };
    let projection = |name: &str, var| Projection {
        name: name.to_owned(),
        value: expr(ExprKind::Var(VarId(var)), ExprType::Node),
    };
    let read = CheckedRead {
        arm: Arm {
            variables: vec![variable("a"), variable("b")],
            matches: Block {
                variables: vec![VarId(0), VarId(1)],
                hops: vec![hop],
                filters,
                ..Block::default()
            },
            grouping: None,
            projections: vec![projection("a", 0), projection("b", 1)],
            distinct: false,
        },
        unions: Vec::new(),
        rank: None,
        order: Vec::new(),
        skip: None,
        limit: None,
    };
    CheckedQuery {
        name: "q".to_owned(),
        description: None,
        instruction: None,
        timeout: None,
        params: Vec::new(),
        body: Body::Read(read),
        operation: Operation::default(),
        warnings: Vec::new(),
        source: String::new(),
    }
}

async fn pairs(graph: &Fixture, query: &CheckedQuery) -> Vec<(u64, u64)> {
    let result = graph
        .run(query, json!({}), &QueryLimits::default())
        .await
        .unwrap();
    let mut pairs: Vec<(u64, u64)> = rows_to_json(&result, false)
        .map(|row| {
            let row: Json = serde_json::from_str(&row).unwrap();
            let id = |name: &str| row[name].as_str().unwrap().parse().unwrap();
            (id("a"), id("b"))
        })
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Section 5, "Bounds", word for word.
fn reached(
    nodes: u64,
    edges: &Edges,
    direction: Direction,
    (min, max): (u32, u32),
) -> Vec<(u64, u64)> {
    let step = |a: u64, b: u64| match direction {
        Direction::Out => edges.contains(&(a, b)),
        Direction::In => edges.contains(&(b, a)),
        Direction::Both => edges.contains(&(a, b)) || edges.contains(&(b, a)),
    };
    let mut found = Vec::new();
    for s in 0..nodes {
        let mut distance = HashMap::from([(s, 0)]);
        let mut frontier = vec![s];
        for d in 1..=nodes as u32 {
            let next: Vec<u64> = (0..nodes)
                .filter(|n| !distance.contains_key(n) && frontier.iter().any(|&m| step(m, *n)))
                .collect();
            distance.extend(next.iter().map(|&n| (n, d)));
            frontier = next;
        }
        for n in 0..nodes {
            let Some(&d) = distance.get(&n) else {
                continue;
            };
            let at_distance = n != s && (min..=max).contains(&d);
            let by_loop = step(n, n) && (min..=max).contains(&(d + 1));
            if at_distance || by_loop {
                found.push((s, n));
            }
        }
    }
    found
}

#[tokio::test]
async fn bounds_mean_what_the_contract_says() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..6 {
        let nodes = 3 + numbers.below(7);
        let count = numbers.below(3 * nodes);
        let edges: Vec<(u64, u64)> = (0..count)
            .map(|_| (numbers.below(nodes), numbers.below(nodes)))
            .collect();
        let graph = graph(nodes, &edges).await;
        let set: Edges = edges.iter().copied().collect();
        for direction in [Direction::Out, Direction::In, Direction::Both] {
            for bounds in [(1, 1), (1, 2), (2, 2), (1, 5), (2, 4), (3, 3)] {
                let expected = reached(nodes, &set, direction, bounds);
                let about = format!("round {round}: {direction:?} {bounds:?} over {edges:?}");
                let all = hop_query(&graph, direction, bounds, Vec::new());
                assert_eq!(pairs(&graph, &all).await, expected, "{about}");
                // From the right end, and as a condition between two known ends.
                for id in 0..nodes {
                    let query = hop_query(&graph, direction, bounds, vec![id_is(VarId(1), id)]);
                    let some: Vec<_> = expected.iter().copied().filter(|(_, b)| *b == id).collect();
                    assert_eq!(pairs(&graph, &query).await, some, "{about}, to {id}");
                    let both = vec![id_is(VarId(0), 0), id_is(VarId(1), id)];
                    let query = hop_query(&graph, direction, bounds, both);
                    let some: Vec<_> = some.into_iter().filter(|(a, _)| *a == 0).collect();
                    assert_eq!(pairs(&graph, &query).await, some, "{about}, 0 to {id}");
                }
            }
        }
    }
}

#[tokio::test]
async fn limits_stop_a_query() {
    let edges: Vec<(u64, u64)> = (0..300).map(|n| (n % 30, n / 10)).collect();
    let graph = graph(30, &edges).await;
    let query = hop_query(&graph, Direction::Out, (1, 4), Vec::new());
    let run = |limits: QueryLimits| {
        let (graph, query) = (&graph, &query);
        async move { graph.run(query, json!({}), &limits).await.unwrap_err() }
    };
    let expired = QueryLimits {
        deadline: Some(std::time::Instant::now()),
        ..QueryLimits::default()
    };
    assert_eq!(run(expired).await.kind(), ErrorKind::Deadline);
    let small = QueryLimits {
        memory_bytes: 100,
        ..QueryLimits::default()
    };
    assert_eq!(run(small).await.kind(), ErrorKind::ResourceLimit);
    let few = QueryLimits {
        max_rows: Some(3),
        ..QueryLimits::default()
    };
    assert_eq!(run(few).await.kind(), ErrorKind::ResourceLimit);
}
