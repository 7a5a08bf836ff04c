//! The engine in this process, over a local store.

use std::path::Path;
use std::time::{Duration, Instant};

use omnigraph_engine::{
    Authorship, BranchName, Engine, Graph, QueryLimits, ReadOptions, Target, WriteOptions,
};

use crate::graph::{Failure, create, load_file, open};
use crate::record::Record;

type Result<T> = std::result::Result<T, Failure>;

/// Reads that are measured warm: name, source, parameters.
const READS: &[(&str, &str, &str)] = &[
    (
        "key_lookup",
        "query q($n: String) { match { $p: Package { name: $n } } return { $p.name, $p.version } }",
        r#"{"n":"bash"}"#,
    ),
    (
        "one_hop",
        "query q($n: String) { match { $p: Package { name: $n } $p dependsOn $d } return { $d.name } }",
        r#"{"n":"python3"}"#,
    ),
    (
        "hub_count",
        "query q($n: String) { match { $p: Package { name: $n } $u: Package $u dependsOn $p } return { count($u) as n } }",
        r#"{"n":"libc6"}"#,
    ),
    (
        "two_hops_distinct",
        "query q($n: String) { match { $p: Package { name: $n } $p dependsOn $x $x dependsOn $d } return distinct { $d.name } }",
        r#"{"n":"python3"}"#,
    ),
    (
        "reachable_1_4",
        "query q($n: String) { match { $p: Package { name: $n } $p dependsOn{1,4} $d } return { $d.name } }",
        r#"{"n":"gnome"}"#,
    ),
    (
        "group_by_section",
        "query q() { match { $p: Package } return { $p.section as s, count($p) as n } order { n desc } }",
        "{}",
    ),
    (
        "top_in_degree",
        "query q() { match { $u: Package $u dependsOn $p } return { $p.name, count($u) as n } order { n desc } limit 10 }",
        "{}",
    ),
    (
        "top_maintainers",
        "query q() { match { $m: Maintainer $m maintains $p } return { $m.name, count($p) as n } order { n desc } limit 10 }",
        "{}",
    ),
    (
        "substring",
        "query q($w: String) { match { $p: Package $p.summary contains $w } return { $p.name } }",
        r#"{"w":"editor"}"#,
    ),
    (
        "full_text",
        "query q($w: String) { match { $p: Package search($p.summary, $w) } return { $p.name } order { bm25($p.summary, $w) } limit 10 }",
        r#"{"w":"text editor"}"#,
    ),
];

pub(crate) async fn run(data: &Path, runs: usize, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().to_string_lossy().into_owned();
    let engine = open(&root).await?;
    let (graph_root, graph) = create(&engine, "debian").await?;

    load(&engine, &graph, data).await?;
    cold(&root, &graph_root, wanted).await?;
    for (name, source, params) in READS {
        let case = format!("read/{name}");
        if wanted(&case) {
            read(&engine, &graph, &case, source, params, runs).await?;
        }
    }
    if wanted("write/one_row_insert") {
        insert(&engine, &graph, runs.min(200)).await?;
    }
    if wanted("branch/create") {
        branch(&engine, &graph, runs.min(200)).await?;
    }
    Ok(())
}

async fn load(engine: &Engine, graph: &Graph, data: &Path) -> Result<()> {
    let before = engine.store().requests();
    let started = Instant::now();
    let loaded = load_file(graph, data, None).await?;
    Record::new("load/append", vec![started.elapsed()])
        .rows(loaded.total)
        .requests(engine.store().requests() - before)
        .print()?;
    Ok(())
}

/// A new engine has nothing at hand: what a fresh replica pays for its first answer.
async fn cold(
    root: &str,
    graph_root: &omnigraph_engine::GraphRoot,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<()> {
    if !wanted("open/cold_key_lookup") {
        return Ok(());
    }
    let (_, source, params) = READS[0];
    let mut times = Vec::new();
    let mut requests = None;
    for _ in 0..5 {
        let engine = open(root).await?;
        let before = engine.store().requests();
        let started = Instant::now();
        let graph = engine.open_graph(graph_root).await?;
        one(&graph, source, params).await?;
        times.push(started.elapsed());
        requests = Some(engine.store().requests() - before);
    }
    let record = Record::new("open/cold_key_lookup", times);
    match requests {
        Some(requests) => record.requests(requests).print()?,
        None => record.print()?,
    }
    Ok(())
}

async fn one(graph: &Graph, source: &str, params: &str) -> Result<u64> {
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await?;
    let query = graph.compile(&snapshot, source, None).await?;
    let params: serde_json::Map<String, serde_json::Value> = serde_json::from_str(params)?;
    let result = graph
        .query(&snapshot, &query, &params, &QueryLimits::default())
        .await?;
    Ok(result
        .batches
        .iter()
        .map(|batch| batch.num_rows() as u64)
        .sum())
}

async fn read(
    engine: &Engine,
    graph: &Graph,
    case: &str,
    source: &str,
    params: &str,
    runs: usize,
) -> Result<()> {
    for _ in 0..5 {
        one(graph, source, params).await?;
    }
    let before = engine.store().requests();
    let mut rows = 0;
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        rows = one(graph, source, params).await?;
        times.push(started.elapsed());
    }
    Record::new(case, times)
        .rows(rows)
        .requests(engine.store().requests() - before)
        .print()?;
    Ok(())
}

async fn insert(engine: &Engine, graph: &Graph, runs: usize) -> Result<()> {
    let source = r#"query q($e: String) { insert Maintainer { email: $e, name: "a" } }"#;
    let before = engine.store().requests();
    let mut times: Vec<Duration> = Vec::with_capacity(runs);
    for run in 0..runs {
        let mut params = serde_json::Map::new();
        params.insert("e".to_owned(), format!("new{run}@example.org").into());
        let started = Instant::now();
        graph
            .mutate(
                &BranchName::main(),
                source,
                None,
                &params,
                &WriteOptions::default(),
            )
            .await?;
        times.push(started.elapsed());
    }
    Record::new("write/one_row_insert", times)
        .requests(engine.store().requests() - before)
        .print()?;
    Ok(())
}

async fn branch(engine: &Engine, graph: &Graph, runs: usize) -> Result<()> {
    let before = engine.store().requests();
    let mut times = Vec::with_capacity(runs);
    for run in 0..runs {
        let name = BranchName::parse(&format!("bench/{run}"))?;
        let started = Instant::now();
        graph
            .create_branch(&name, &Target::default(), &Authorship::default())
            .await?;
        times.push(started.elapsed());
    }
    Record::new("branch/create", times)
        .requests(engine.store().requests() - before)
        .print()?;
    Ok(())
}
