//! Loads: the acceptance examples of the schema language (section 12), modes, streaming.

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{branch, codes, entities, graph, load, load_with, mutate};
use crate::error::ErrorKind;
use crate::graph::{BranchName, Graph, ReadOptions, Target};
use crate::write::{LoadMode, LoadOptions};

const P: &str = "node P { k: String @key }";
const A: &str = r#"{"type":"P","data":{"k":"a"}}"#;
const B: &str = r#"{"type":"P","data":{"k":"b"}}"#;
const AB: &str = r#"{"edge":"E","from":"a","to":"b"}"#;

fn lines(lines: &[&str]) -> String {
    lines.join("\n")
}

async fn appended(graph: &Graph, text: &[&str]) -> Vec<String> {
    codes(load(graph, LoadMode::Append, &lines(text)).await)
}

async fn count(graph: &Graph, name: &str) -> usize {
    entities(graph, &BranchName::main(), name).await.len()
}

#[tokio::test]
async fn modes_treat_existing_ids_differently() {
    // 32, 33
    let graph = graph(&format!("{P} edge E: P -> P")).await;
    assert_eq!(appended(&graph, &[A]).await, [""; 0]);
    let error = load(&graph, LoadMode::Append, A).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyConflict);
    assert_eq!(
        error.detail().entity.as_ref().unwrap().id.as_deref(),
        Some("a")
    );
    let merged = load(&graph, LoadMode::Merge, A).await.unwrap();
    assert_eq!(merged.nodes, [("P".to_owned(), 1)]);
    assert_eq!(merged.commit.unwrap().touched[0].updated, 1);
    let error = load(&graph, LoadMode::Merge, &lines(&[A, B, A]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoadInvalid);
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R415");
    assert_eq!(error.detail().diagnostics[0].line, Some(3));
    assert_eq!(count(&graph, "P").await, 1);
    // Overwriting removes what is not in the file, of the types in the file.
    load(&graph, LoadMode::Merge, &lines(&[A, B, AB]))
        .await
        .unwrap();
    let overwritten = load(&graph, LoadMode::Overwrite, &lines(&[A, B]))
        .await
        .unwrap();
    let touched = &overwritten.commit.unwrap().touched;
    assert_eq!(touched.len(), 1);
    assert_eq!(
        (touched[0].inserted, touched[0].updated, touched[0].deleted),
        (0, 2, 0)
    );
    assert_eq!(count(&graph, "E").await, 1);
    // 37
    assert_eq!(codes(load(&graph, LoadMode::Overwrite, A).await), ["R417"]);
    assert_eq!(count(&graph, "P").await, 2);
}

#[tokio::test]
async fn replaced_means_the_whole_entity() {
    // 34
    let graph = graph("node P { k: String @key  n: I64? }").await;
    let text = r#"{"type":"P","data":{"k":"a","n":1}}"#;
    load(&graph, LoadMode::Merge, text).await.unwrap();
    load(&graph, LoadMode::Merge, A).await.unwrap();
    let nodes = entities(&graph, &BranchName::main(), "P").await;
    assert_eq!(nodes["a"]["n"], Json::Null);
    assert_eq!(nodes.len(), 1);
}

#[tokio::test]
async fn edges_are_a_multiset_unless_declared_otherwise() {
    // 35
    let plain = graph(&format!("{P} edge E: P -> P")).await;
    assert_eq!(appended(&plain, &[AB, A, AB, B]).await, [""; 0]);
    assert_eq!(count(&plain, "E").await, 2);
    // 36
    let unique = graph(&format!("{P} edge E: P -> P {{ @unique(src, dst) }}")).await;
    let error = load(&unique, LoadMode::Append, &lines(&[A, B, AB, AB]))
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R414");
    assert_eq!(error.detail().diagnostics[0].line, Some(4));
    assert_eq!(appended(&unique, &[A, B, AB]).await, [""; 0]);
    assert_eq!(appended(&unique, &[AB]).await, ["R414"]);
    let keyed = graph(&format!("{P} edge E: P -> P {{ @key(src, dst) }}")).await;
    load(&keyed, LoadMode::Merge, &lines(&[A, B, AB]))
        .await
        .unwrap();
    load(&keyed, LoadMode::Merge, AB).await.unwrap();
    let edges = entities(&keyed, &BranchName::main(), "E").await;
    assert_eq!(edges.keys().collect::<Vec<_>>(), [r#"["a","b"]"#]);
}

#[tokio::test]
async fn the_final_state_is_checked() {
    // 37, 38, 39
    let schema = format!("{P} edge E: P -> P @card(0..1) edge F: P -> P @card(1..)");
    let graph = graph(&schema).await;
    let error = load(&graph, LoadMode::Append, &lines(&[A, AB, AB]))
        .await
        .unwrap_err();
    let found: Vec<_> = error
        .detail()
        .diagnostics
        .iter()
        .map(|d| (d.line.unwrap(), d.code.as_str()))
        .collect();
    assert_eq!(found, [(2, "R417"), (3, "R417"), (3, "R418")]);
    assert_eq!(appended(&graph, &[A, B, AB]).await, [""; 0]);
    assert_eq!(appended(&graph, &[AB]).await, ["R418"]);
    let f = r#"{"edge":"F","from":"a","to":"b"}"#;
    assert_eq!(appended(&graph, &[f]).await, [""; 0]);
    let main = BranchName::main();
    for source in [
        r#"query q() { delete F where from = "a" }"#,
        r#"query q() { delete P where k = "b" }"#,
    ] {
        assert_eq!(
            codes(mutate(&graph, &main, source, Json::Null).await),
            ["R418"]
        );
    }
    let both = r#"query q() { delete P where k = "b"  delete P where k = "a" }"#;
    assert!(mutate(&graph, &main, both, Json::Null).await.is_ok());
}

#[tokio::test]
async fn unique_values_may_be_null_or_freed() {
    // 40
    let graph = graph("node P { k: String @key  email: String? @unique }").await;
    let p =
        |k: &str, email: &str| format!(r#"{{"type":"P","data":{{"k":"{k}","email":{email}}}}}"#);
    assert_eq!(
        appended(&graph, &[&p("a", "null"), &p("b", "null")]).await,
        [""; 0]
    );
    assert_eq!(
        appended(&graph, &[&p("c", "\"x\""), &p("d", "\"x\"")]).await,
        ["R414"]
    );
    assert_eq!(appended(&graph, &[&p("c", "\"x\"")]).await, [""; 0]);
    assert_eq!(appended(&graph, &[&p("d", "\"x\"")]).await, ["R414"]);
    // An entity does not conflict with its own former version, nor with one that goes.
    let text = lines(&[&p("c", "\"y\""), &p("d", "\"x\"")]);
    load(&graph, LoadMode::Merge, &text).await.unwrap();
    load(&graph, LoadMode::Overwrite, &p("z", "\"x\""))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_last_line_of_a_given_id_wins_in_a_merge() {
    let graph = graph("node N { t: String } edge E: N -> N { w: I64? }").await;
    let n = |id: &str, t: &str| format!(r#"{{"type":"N","data":{{"id":"{id}","t":"{t}"}}}}"#);
    let e = |to: &str, w: u8| {
        format!(r#"{{"edge":"E","from":"x","to":"{to}","data":{{"id":"e","w":{w}}}}}"#)
    };
    let text = lines(&[
        &n("x", "1"),
        &e("nowhere", 1),
        &n("y", "2"),
        &n("x", "3"),
        &e("y", 2),
        &n("x", "4"),
    ]);
    assert_eq!(
        appended(&graph, &[&text]).await,
        ["R417", "R415", "R415", "R415"]
    );
    let outcome = load(&graph, LoadMode::Merge, &text).await.unwrap();
    assert_eq!(outcome.nodes, [("N".to_owned(), 4)]);
    let main = BranchName::main();
    let nodes = entities(&graph, &main, "N").await;
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes["x"]["t"], json!("4"));
    let edges = entities(&graph, &main, "E").await;
    assert_eq!(edges.len(), 1);
    assert_eq!(
        (&edges["e"]["to"], &edges["e"]["data"]["w"]),
        (&json!("y"), &json!(2))
    );
    // A second merge moves the edge.
    load(&graph, LoadMode::Merge, &e("x", 3)).await.unwrap();
    assert_eq!(entities(&graph, &main, "E").await["e"]["to"], json!("x"));
}

#[tokio::test]
async fn the_input_may_be_cut_anywhere() {
    let graph = graph(&format!("{P} edge E: P -> P {{ note: String? }}")).await;
    let mut text = String::new();
    for i in 0..500 {
        text += &format!(
            "{{\"edge\":\"E\",\"from\":\"n{i}\",\"to\":\"n{}\",\"data\":{{\"note\":\"ü{i}\"}}}}\r\n\n",
            (i + 1) % 500
        );
    }
    for i in 0..500 {
        text += &format!("{{\"type\":\"P\",\"data\":{{\"k\":\"n{i}\"}}}}\n");
    }
    for (name, piece) in [("one", 1), ("seven", 7), ("odd", 4099), ("all", usize::MAX)] {
        let name = branch(name);
        let from = Some(BranchName::main());
        let outcome = load_with(
            &graph,
            &name,
            LoadMode::Append,
            from,
            text.trim_end(),
            piece,
        )
        .await
        .unwrap();
        assert!(outcome.branch_created);
        assert_eq!(outcome.total, 1000);
        assert_eq!(entities(&graph, &name, "E").await.len(), 500);
        assert_eq!(entities(&graph, &name, "P").await.len(), 500);
    }
    assert_eq!(count(&graph, "P").await, 0);
}

#[tokio::test]
async fn bad_lines_are_listed_and_nothing_is_written() {
    let graph = graph(P).await;
    let mut text = String::new();
    for i in 1..=300 {
        text += &match i % 3 {
            0 => "{\"type\":\"P\",\"data\":{\"k\":7}}\n".to_owned(),
            _ => format!("{{\"type\":\"P\",\"data\":{{\"k\":\"n{i}\"}}}}\n"),
        };
    }
    // Two chunks, so that the numbers of the second go on.
    let filler = format!("{}\n", " ".repeat(1 << 20));
    let error = load(
        &graph,
        LoadMode::Append,
        &format!("{text}{filler}{{}}\n{text}"),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoadInvalid);
    assert_eq!(error.detail().diagnostics_total, 201);
    let lines: Vec<_> = error
        .detail()
        .diagnostics
        .iter()
        .map(|d| d.line.unwrap())
        .collect();
    assert_eq!(lines, (1..=100).map(|i| i * 3).collect::<Vec<_>>());
    let late = load(&graph, LoadMode::Append, &format!("{A}\n{filler}{{}}\n")).await;
    let late = late.unwrap_err();
    assert_eq!(late.detail().diagnostics[0].line, Some(3));
    assert_eq!(count(&graph, "P").await, 0);
}

#[tokio::test]
async fn a_load_that_is_dropped_or_fails_leaves_no_trace() {
    let graph = graph(P).await;
    let before = head(&graph).await;
    let mut session = graph
        .load(&BranchName::main(), LoadOptions::default())
        .await
        .unwrap();
    session
        .push(Bytes::from_static(A.as_bytes()))
        .await
        .unwrap();
    drop(session);
    assert_eq!(head(&graph).await, before);
    // A failing load that would create its branch creates none.
    let new = branch("new");
    let main = Some(BranchName::main());
    let failed = load_with(&graph, &new, LoadMode::Append, main, "{}", 10).await;
    assert!(failed.is_err());
    let missing = load_with(&graph, &new, LoadMode::Append, None, A, 10).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    // Nothing to write is no commit.
    let empty = load(&graph, LoadMode::Merge, "\n \n").await.unwrap();
    assert_eq!((empty.total, empty.commit), (0, None));
    assert_eq!(head(&graph).await, before);
}

#[tokio::test]
async fn progress_counts_lines_and_bytes() {
    let graph = graph(P).await;
    let mut session = graph
        .load(&BranchName::main(), LoadOptions::default())
        .await
        .unwrap();
    assert_eq!(session.progress().lines, 0);
    session
        .push(Bytes::from_static(A.as_bytes()))
        .await
        .unwrap();
    let outcome = session.finish().await.unwrap();
    assert_eq!((outcome.total, outcome.mode), (1, LoadMode::Merge));
}

#[tokio::test]
async fn an_export_loads_back_the_same() {
    let schema =
        "node P { a: String  b: U32  @key(a, b)  f: F64?  at: DateTime?  v: Vector(2)?  l: [I64]? }
                  edge E: P -> P { w: F32? }";
    let first = graph(schema).await;
    let text = r#"{"edge":"E","from":{"a":"x","b":1},"to":{"a":"é\"","b":2},"data":{"w":0.1}}
{"type":"P","data":{"a":"x","b":1,"f":0.1,"at":"2024-01-01T00:00:00.123Z","v":[1,0.5],"l":[1,-9007199254740993]}}
{"type":"P","data":{"a":"é\"","b":2}}"#;
    load(&first, LoadMode::Append, text).await.unwrap();
    let exported = export(&first).await;
    assert_eq!(exported.lines().count(), 3);
    let second = graph(schema).await;
    load(&second, LoadMode::Overwrite, &exported).await.unwrap();
    assert_eq!(export(&second).await, exported);
}

async fn export(graph: &Graph) -> String {
    use futures::TryStreamExt;
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let stream = graph.export(&snapshot, &[]).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

async fn head(graph: &Graph) -> crate::graph::CommitId {
    let read = ReadOptions::default();
    graph
        .snapshot(&Target::default(), &read)
        .await
        .unwrap()
        .commit_id()
}

/// Loading one row into a warm graph: two looks at the head, a version of one table, its entry, and
/// those columns of the row before that the checks look at.
#[tokio::test]
async fn a_small_load_costs_few_requests() {
    let graph = graph(&format!("{P} edge E: P -> P {{ @unique(src, dst) }}")).await;
    let p = |i: usize| format!(r#"{{"type":"P","data":{{"k":"{i}"}}}}"#);
    let e = |i: usize, j: usize| format!(r#"{{"edge":"E","from":"{i}","to":"{j}"}}"#);
    for text in [p(0), p(1), p(2), e(0, 1), e(1, 2)] {
        load(&graph, LoadMode::Append, &text).await.unwrap();
    }
    for (text, most) in [(e(0, 0), 9), (e(1, 1), 9), (p(3), 8), (p(4), 8), (p(5), 8)] {
        let before = graph.store().requests();
        load(&graph, LoadMode::Append, &text).await.unwrap();
        let used = graph.store().requests() - before;
        assert!(used.total() <= most, "{text}: {used}");
    }
}

/// What another writer committed meanwhile counts, although the input is read only once.
#[tokio::test]
async fn a_load_is_checked_on_the_newest_head() {
    let graph = graph(&format!("{P} edge E: P -> P")).await;
    let begin = async |mode: LoadMode, text: &'static str| {
        let options = LoadOptions {
            mode,
            ..LoadOptions::default()
        };
        let mut session = graph.load(&BranchName::main(), options).await.unwrap();
        session
            .push(Bytes::from_static(text.as_bytes()))
            .await
            .unwrap();
        session
    };
    let append = begin(LoadMode::Append, A).await;
    let merge = begin(LoadMode::Merge, A).await;
    let edge = begin(LoadMode::Append, AB).await;
    load(&graph, LoadMode::Append, &lines(&[A, B]))
        .await
        .unwrap();
    let error = append.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyConflict);
    let merged = merge.finish().await.unwrap();
    assert_eq!(merged.commit.unwrap().touched[0].updated, 1);
    assert!(edge.finish().await.is_ok());
    assert_eq!(count(&graph, "P").await, 2);
    assert_eq!(count(&graph, "E").await, 1);
}
