//! What operations cost: requests to the store and sources compiled, exactly.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::faults::Op;
use super::*;
use crate::declared::{Compiled, Declared};

/// So many graphs with one query each; all of them have the same sources unless `own`.
fn many(graphs: usize, queries: usize, own: bool) -> ConfigBundle {
    let mut cluster = "version: 1\nmetadata: { name: many }\ngraphs:\n".to_owned();
    let mut files = vec![];
    for graph in 0..graphs {
        let set = if own { graph } else { 0 };
        write!(
            cluster,
            "  g{graph}:\n    schema: s{set}.pg\n    queries: q{set}/\n"
        )
        .unwrap();
        if set == graph {
            files.push((format!("s{set}.pg"), SCHEMA.to_owned()));
            for query in 0..queries {
                let text = QUERIES.replace("cheap", &format!("cheap{query}_{set}"));
                files.push((format!("q{set}/{query}.gq"), text));
            }
        }
    }
    files.insert(0, ("cluster.yaml".to_owned(), cluster));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    bundle(&files)
}

#[test]
fn a_thousand_graphs_and_ten_thousand_queries_are_compiled_once_each() {
    let bundle = many(1000, 10, true);
    let declared = Declared::of(&bundle);
    assert_eq!(declared.findings, []);
    let compiled = Compiled {
        schemas: 1000,
        query_files: 10_000,
    };
    assert_eq!(declared.compiled, compiled);
    let queries: usize = declared
        .graphs
        .values()
        .map(|graph| graph.queries.len())
        .sum();
    assert_eq!(queries, 10_000);
}

#[test]
fn sources_that_graphs_share_are_compiled_and_reported_once() {
    let mut bundle = many(1000, 10, false);
    let wrong = "query wrong() {\n    match { $i: Nothing }\n    return { $i.name }\n}\n";
    bundle.files.push(ConfigFile {
        path: "q0/wrong.gq".into(),
        content: wrong.as_bytes().to_vec().into(),
    });
    let declared = Declared::of(&bundle);
    let compiled = Compiled {
        schemas: 1,
        query_files: 11,
    };
    assert_eq!(declared.compiled, compiled);
    assert_eq!(declared.findings.len(), 1, "not once for each graph");
    assert!(
        declared
            .graphs
            .values()
            .all(|graph| { graph.queries.len() == 11 && graph.queries["wrong"].problem.is_some() })
    );
}

/// Reads and writes that an apply spends: on creating so many graphs, on changing one query of each,
/// and on finding that there is nothing to do. Signs of life come by the clock, not by the graphs.
async fn spent(graphs: usize) -> [(u64, u64); 3] {
    let world = World::new().await;
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let [reads, writes] = counts.clone();
    world.faults.set(move |op, path| {
        let count = match op {
            Op::Get | Op::List => &reads,
            Op::Put | Op::Delete => &writes,
        };
        if !path.contains("/heartbeat") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    // As a process of its own: nothing is remembered from one apply to the next.
    let run = async |bundle: &ConfigBundle| {
        let mut options = world.plane("a").options().clone();
        options.heartbeat = Duration::from_secs(3600);
        options.takeover = Duration::from_secs(3 * 3600);
        let plane = ControlPlane::new(world.engine.clone(), options);
        let now = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let before = now();
        let told = apply(&plane, bundle.clone()).await.unwrap();
        assert!(told.result.converged, "{:?}", told.result);
        let after = now();
        (after[0] - before[0], after[1] - before[1])
    };
    let bundle = many(graphs, 1, true);
    let mut changed = bundle.clone();
    for file in &mut changed.files {
        if file.path.ends_with(".gq") {
            let text = String::from_utf8(file.content.to_vec()).unwrap();
            file.content = text.replace("limit 10", "limit 9").into_bytes().into();
        }
    }
    [run(&bundle).await, run(&changed).await, run(&changed).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_grow_with_the_graphs_and_with_nothing_else() {
    let (one, ten, hundred) = (spent(1).await, spent(10).await, spent(100).await);
    println!("reads and writes of apply: 1 {one:?}, 10 {ten:?}, 100 {hundred:?}");
    for kind in 0..3 {
        // Ten times the graphs cost ten times as much for each, and the same once.
        let line = |a: u64, b: u64, c: u64| (c - b, (b - a) * 10);
        let (writes, linear) = line(one[kind].1, ten[kind].1, hundred[kind].1);
        assert_eq!(writes, linear, "writes of {kind}");
        let (reads, linear) = line(one[kind].0, ten[kind].0, hundred[kind].0);
        assert_eq!(reads, linear, "reads of {kind}");
    }
    assert_eq!(hundred[2].1, 0, "a converged apply writes nothing");
}
