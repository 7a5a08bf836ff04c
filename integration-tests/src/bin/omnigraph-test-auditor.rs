//! Makes the graph of `tests/e2e/writers.rs`, and tells afterwards what is in it. A process of its
//! own, because the address of an S3 server is read from the environment.
//!
//! `create ROOT BRANCH…` says the graph's incarnation. `tell ROOT INCARNATION BRANCH` says one JSON
//! object: the history, the rows of each type, the counter, the seats. `check ROOT INCARNATION` says
//! what a full check finds wrong: nothing. `collect ROOT INCARNATION KEEP HOURS` collects as if it
//! were so many hours later, and says one JSON object.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{
    Authorship, BranchName, Clock, CollectOptions, Engine, EngineOptions, FsckOptions,
    FsckSeverity, Graph, GraphId, GraphRoot, QueryLimits, ReadOptions, Retention, Snapshot, Store,
    StoreOptions, SystemClock, Target, WriteOptions, rows_to_json,
};
use omnigraph_integration_tests::writers::SCHEMA;
use serde_json::{Map, Value, json};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["create", root, branches @ ..] => create(root, branches).await,
        ["tell", root, incarnation, branch] => tell(root, incarnation, branch).await,
        ["check", root, incarnation] => check(root, incarnation).await,
        ["collect", root, incarnation, keep, hours] => {
            collect(root, incarnation, keep, hours).await;
        }
        _ => panic!(
            "usage: omnigraph-test-auditor create ROOT BRANCH… | tell ROOT INCARNATION BRANCH | check ROOT INCARNATION | collect ROOT INCARNATION KEEP HOURS"
        ),
    }
}

async fn engine(root: &str) -> Engine {
    let store = Store::open(root, StoreOptions::default()).await;
    Engine::new(store.expect("a storage root"), EngineOptions::default())
}

fn graph_id() -> GraphId {
    GraphId::parse("written").expect("a graph id")
}

async fn create(root: &str, branches: &[&str]) {
    let engine = engine(root).await;
    let by = Authorship::default();
    let root = engine.create_graph(&graph_id(), SCHEMA, &by).await;
    let root = root.expect("a graph can be made");
    let graph = engine.open_graph(&root).await.expect("a graph");
    let source = "query begin() { insert Counter { name: \"c\", value: 0 } }";
    let main = BranchName::main();
    let (none, options) = (Map::new(), WriteOptions::default());
    let begun = graph.mutate(&main, source, None, &none, &options).await;
    begun.expect("a counter");
    for name in branches {
        let name = BranchName::parse(name).expect("a branch name");
        if !name.is_main() {
            let made = graph.create_branch(&name, &Target::default(), &by).await;
            made.expect("a branch");
        }
    }
    println!("{}", root.incarnation);
}

fn at(incarnation: &str) -> GraphRoot {
    GraphRoot {
        id: graph_id(),
        incarnation: incarnation.parse().expect("an incarnation"),
    }
}

/// The system's clock, some hours ahead.
#[derive(Debug)]
struct Ahead {
    clock: SystemClock,
    by: Duration,
}

impl Clock for Ahead {
    fn now_micros(&self) -> i64 {
        let by = i64::try_from(self.by.as_micros()).expect("some hours");
        self.clock.now_micros() + by
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.by
    }
}

async fn collect(root: &str, incarnation: &str, keep: &str, hours: &str) {
    let hours: u64 = hours.parse().expect("a number");
    let clock = Ahead {
        clock: SystemClock::default(),
        by: Duration::from_secs(hours * 3600),
    };
    let options = StoreOptions {
        clock: Arc::new(clock),
        ..StoreOptions::default()
    };
    let store = Store::open(root, options).await.expect("a storage root");
    let engine = Engine::new(store, EngineOptions::default());
    let graph = engine.open_graph(&at(incarnation)).await.expect("a graph");
    let options = CollectOptions {
        retention: Retention {
            commits: Some(keep.parse().expect("a number")),
            age: None,
        },
        ..CollectOptions::default()
    };
    let done = graph.collect(&options).await.expect("a collection");
    let told = json!({
        "condemned": done.condemned.objects,
        "removed": done.removed.objects,
        "log_entries": done.log_entries,
    });
    println!("{told}");
}

async fn check(root: &str, incarnation: &str) {
    let engine = engine(root).await;
    let options = FsckOptions {
        history: false,
        rows: true,
    };
    let report = engine.fsck(&at(incarnation), &options).await;
    let report = report.expect("a full check");
    let errors = report
        .findings
        .iter()
        .filter(|f| f.severity == FsckSeverity::Error);
    for finding in errors {
        println!("{finding:?}");
    }
}

async fn tell(root: &str, incarnation: &str, branch: &str) {
    let engine = engine(root).await;
    let root = at(incarnation);
    let graph = engine.open_graph(&root).await.expect("a graph");
    let branch = BranchName::parse(branch).expect("a branch name");
    let page = graph.commits(&branch, None, None).await.expect("a history");
    let history: Vec<Value> = page
        .commits
        .iter()
        .map(|commit| {
            let key = commit.idempotency.as_ref().map(|proof| proof.key.clone());
            json!({ "id": commit.id.to_string(), "key": key, "version": commit.version })
        })
        .collect();
    let read = ReadOptions::default();
    let target = Target::Branch(branch);
    let snapshot = graph.snapshot(&target, &read).await.expect("a snapshot");
    let rows: Map<String, Value> = snapshot
        .datasets()
        .into_iter()
        .map(|dataset| (dataset.type_name, json!(dataset.rows)))
        .collect();
    let counter = "query c() { match { $c: Counter } return { $c.value as value } }";
    let seats = "query s() { match { $s: Seat } return { $s.number as number } }";
    let told = json!({
        "history": history,
        "rows": rows,
        "counter": query(&graph, &snapshot, counter).await,
        "seats": query(&graph, &snapshot, seats).await,
    });
    println!("{told}");
}

async fn query(graph: &Graph, snapshot: &Snapshot, source: &str) -> Vec<Value> {
    let query = graph
        .compile(snapshot, source, None)
        .await
        .expect("a query");
    let limits = QueryLimits::default();
    let result = graph.query(snapshot, &query, &Map::new(), &limits).await;
    let result = result.expect("an answer");
    rows_to_json(&result, false)
        .map(|row| {
            let row: Map<String, Value> = serde_json::from_str(&row).expect("json");
            row.into_iter()
                .map(|(_, value)| value)
                .next()
                .expect("one column")
        })
        .collect()
}
