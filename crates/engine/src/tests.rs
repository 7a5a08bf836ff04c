//! Exact counts of object-store requests: the performance figures that no noisy machine can blur.

use crate::engine::{Authorship, Engine, EngineOptions};
use crate::exec::QueryLimits;
use crate::graph::{BranchName, Graph, GraphId, GraphRoot, ReadOptions, Target, WriteOptions};
use crate::store::{RequestCounts, Store, StoreOptions};

const SCHEMA: &str = "
node Package { name: String @key  section: String @index  summary: String? @index }
node Maintainer { email: String @key  name: String }
edge Maintains: Maintainer -> Package { @unique(src, dst) }
edge DependsOn: Package -> Package { floor: String? }
";

const ADD_PACKAGE: &str =
    r#"query add($n: String) { insert Package { name: $n, section: "libs" } }"#;
const ADD_EDGE: &str =
    "query add($a: String, $b: String) { insert DependsOn { from: $a, to: $b } }";
const FIND: &str =
    "query find($n: String) { match { $p: Package { name: $n } } return { $p.name, $p.section } }";

struct Fixture {
    store: Store,
    root: GraphRoot,
    graph: Graph,
}

async fn fixture() -> Fixture {
    let store = Store::open("memory://budget", StoreOptions::default())
        .await
        .unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("g").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    Fixture { store, root, graph }
}

fn engine(store: &Store) -> Engine {
    Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

fn params(pairs: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect()
}

async fn mutate(graph: &Graph, source: &str, pairs: &[(&str, &str)]) {
    graph
        .mutate(
            &BranchName::main(),
            source,
            None,
            &params(pairs),
            &WriteOptions::default(),
        )
        .await
        .unwrap();
}

async fn find(graph: &Graph, name: &str) -> usize {
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let query = graph.compile(&snapshot, FIND, None).await.unwrap();
    let result = graph
        .query(
            &snapshot,
            &query,
            &params(&[("n", name)]),
            &QueryLimits::default(),
        )
        .await
        .unwrap();
    result
        .batches
        .iter()
        .map(arrow_array::RecordBatch::num_rows)
        .sum()
}

impl Fixture {
    async fn cost(&self, what: impl Future<Output = ()>) -> RequestCounts {
        let before = self.store.requests();
        what.await;
        self.store.requests() - before
    }
}

#[tokio::test]
async fn a_one_row_insert_costs_at_most_eight_requests_however_long_the_history() {
    let f = fixture().await;
    mutate(&f.graph, ADD_PACKAGE, &[("n", "first")]).await;
    let mut costs = Vec::new();
    for n in 0..40 {
        let name = format!("p{n}");
        costs.push(f.cost(mutate(&f.graph, ADD_PACKAGE, &[("n", &name)])).await);
    }
    // The head, the table's index list; data, transaction, manifest and entry. Every sixteenth
    // append also rewrites the log's hint.
    let plain = costs[1];
    assert_eq!((plain.get, plain.put, plain.total()), (2, 4, 6), "{plain}");
    let totals: Vec<u64> = costs.iter().map(RequestCounts::total).collect();
    assert!(
        totals.iter().all(|total| (6..=7).contains(total)),
        "{totals:?}"
    );
    let with_hint = totals.iter().filter(|total| **total == 7).count();
    assert_eq!(with_hint, 3, "{totals:?}");
}

#[tokio::test]
async fn a_one_row_edge_insert_costs_at_most_eight_requests() {
    let f = fixture().await;
    for name in ["a", "b"] {
        mutate(&f.graph, ADD_PACKAGE, &[("n", name)]).await;
    }
    mutate(&f.graph, ADD_EDGE, &[("a", "a"), ("b", "b")]).await;
    let cost = f
        .cost(mutate(&f.graph, ADD_EDGE, &[("a", "b"), ("b", "a")]))
        .await;
    assert_eq!((cost.get, cost.put, cost.total()), (2, 4, 6), "{cost}");
}

#[tokio::test]
async fn a_warm_key_look_up_costs_one_request() {
    let f = fixture().await;
    mutate(&f.graph, ADD_PACKAGE, &[("n", "a")]).await;
    assert_eq!(find(&f.graph, "a").await, 1);
    let cost = f
        .cost(async { assert_eq!(find(&f.graph, "a").await, 1) })
        .await;
    assert_eq!((cost.get, cost.total()), (1, 1), "{cost}");
}

#[tokio::test]
async fn a_cold_key_look_up_reads_the_table_once() {
    let f = fixture().await;
    for name in ["a", "b", "c"] {
        mutate(&f.graph, ADD_PACKAGE, &[("n", name)]).await;
    }
    let cold = engine(&f.store).open_graph(&f.root).await.unwrap();
    let cost = f
        .cost(async { assert_eq!(find(&cold, "b").await, 1) })
        .await;
    // Graph, head (with a listing), schema; then manifest and index list of the table, and footer and
    // columns of each of its three fragments.
    assert_eq!((cost.get, cost.put, cost.total()), (13, 0, 15), "{cost}");
}
