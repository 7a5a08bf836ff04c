//! One writing process of `tests/e2e/writers.rs`: a stateless replica without its doors.
//!
//! Takes steps `from` to `to` on one branch, each as one request with a key of its own, and says
//! `ack <step> <commit> <what>` on stdout after each answer. Started again after a kill, it repeats
//! the step whose answer was lost under the same key.

use std::io::Write as _;
use std::time::{Duration, Instant};

use omnigraph_engine::{
    BranchName, CommitId, Engine, EngineOptions, Error, ErrorKind, Graph, GraphId, GraphRoot,
    Store, StoreOptions, WriteOptions,
};
use omnigraph_integration_tests::writers::{Step, What};
use serde_json::{Map, Value, json};

/// A step that does not get through in this time fails the test.
const STEP_BOUND: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, id, incarnation, branch, worker, from, to] = args.as_slice() else {
        panic!("usage: omnigraph-test-writer ROOT GRAPH INCARNATION BRANCH WORKER FROM TO");
    };
    let graph = open(root, id, incarnation).await;
    let branch = BranchName::parse(branch).expect("a branch name");
    let worker: usize = worker.parse().expect("a number");
    let (from, to): (usize, usize) = (
        from.parse().expect("a number"),
        to.parse().expect("a number"),
    );
    for number in from..to {
        let step = Step { worker, number };
        let (commit, what) = take(&graph, &branch, step).await;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "ack {number} {commit} {}", what.label()).expect("stdout is open");
        stdout.flush().expect("stdout is open");
    }
}

async fn open(root: &str, id: &str, incarnation: &str) -> Graph {
    let store = Store::open(root, StoreOptions::default());
    let store = store.await.expect("a storage root");
    let options = EngineOptions {
        cache_bytes: 32 << 20,
        ..EngineOptions::default()
    };
    let root = GraphRoot {
        id: GraphId::parse(id).expect("a graph id"),
        incarnation: incarnation.parse().expect("an incarnation"),
    };
    let graph = Engine::new(store, options).open_graph(&root).await;
    graph.expect("a graph")
}

/// What a step did and by which commit. A seat may be taken: then it adds an item after all.
async fn take(graph: &Graph, branch: &BranchName, step: Step) -> (CommitId, What) {
    if step.what() == What::Seat {
        let params = json!({ "n": step.key(), "s": step.number });
        let source = "query sit($n: String, $s: I64) { insert Seat { name: $n, number: $s } }";
        match request(graph, branch, source, &params, &step.key()).await {
            Ok(commit) => return (commit, What::Seat),
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => panic!("step {}: {error}", step.key()),
        }
    }
    let (source, params, key) = match step.what() {
        What::Counter => {
            let source =
                "query up() { update Counter set { value: value + 1 } where name = \"c\" }";
            (source.to_owned(), json!({}), step.key())
        }
        What::Item | What::Seat => {
            let name = format!("Item{}", step.worker);
            let source = format!(
                "query add($n: String, $s: I64) {{ insert {name} {{ name: $n, step: $s }} }}"
            );
            let params = json!({ "n": step.key(), "s": step.number });
            (source, params, format!("{}-item", step.key()))
        }
    };
    let what = match step.what() {
        What::Counter => What::Counter,
        What::Item | What::Seat => What::Item,
    };
    match request(graph, branch, &source, &params, &key).await {
        Ok(commit) => (commit, what),
        Err(error) => panic!("step {}: {error} {:?}", step.key(), error.detail()),
    }
}

/// One request, repeated with its key while that may help.
async fn request(
    graph: &Graph,
    branch: &BranchName,
    source: &str,
    params: &Value,
    key: &str,
) -> Result<CommitId, Error> {
    let none = Map::new();
    let params = params.as_object().unwrap_or(&none);
    let options = WriteOptions {
        idempotency_key: Some(key.to_owned()),
        ..WriteOptions::default()
    };
    let began = Instant::now();
    loop {
        let refused = match graph.mutate(branch, source, None, params, &options).await {
            Ok(outcome) => {
                let commit = outcome.commit.expect("every step changes something");
                return Ok(commit.id);
            }
            Err(error) => error,
        };
        let passes = matches!(
            refused.kind(),
            ErrorKind::WriteConflict | ErrorKind::Unavailable | ErrorKind::Deadline
        );
        if !passes || began.elapsed() > STEP_BOUND {
            return Err(refused);
        }
    }
}
