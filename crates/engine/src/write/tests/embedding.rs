//! Vectors that mutations and loads compute.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use futures::FutureExt;
use serde_json::{Value as Json, json};

use super::inputs::{batch, columnar, files, load_bytes};
use super::{codes, entities, graph, load, mutate};
use crate::embed::EmbedError;
use crate::embed::testing::Stub;
use crate::graph::{BranchName, Graph};
use crate::write::{LoadMode, LoadOptions, LoadType};

const SCHEMA: &str = r#"
node Doc { k: String @key  n: I32?  t: String  note: String?  v: Vector(2) @embed(t)
           w: Vector(2)? @embed(note, model="m") }
"#;

async fn docs(stub: Stub) -> (Graph, Arc<Stub>) {
    let stub = Arc::new(stub);
    let graph = graph(SCHEMA).await;
    (graph.with_embedding(stub.on_write()), stub)
}

async fn run(graph: &Graph, statements: &str) -> Vec<String> {
    let source = format!("query q() {{ {statements} }}");
    codes(mutate(graph, &BranchName::main(), &source, json!({})).await)
}

async fn doc(graph: &Graph, id: &str) -> [Json; 2] {
    let mut docs = entities(graph, &BranchName::main(), "Doc").await;
    let doc = docs.get_mut(id).expect("it is there");
    ["v", "w"].map(|name| doc[name].take())
}

#[tokio::test]
async fn a_vector_follows_its_text() {
    let (graph, stub) = docs(Stub::lengths()).await;
    // Statements, the texts of each call, and the vectors of "a" then.
    let cases = [
        (
            r#"insert Doc { k: "a", t: "abc" } insert Doc { k: "b", t: "de" } insert Doc { k: "c", t: "abc" }"#,
            json!([["abc", "de"]]),
            json!([[3.0, 1.0], null]),
        ),
        (
            r#"update Doc set { n: 1 } where k = "a""#,
            json!([]),
            json!([[3.0, 1.0], null]),
        ),
        (
            r#"update Doc set { t: "abc" } where k = "a""#,
            json!([]),
            json!([[3.0, 1.0], null]),
        ),
        (
            r#"update Doc set { t: "abcd", note: "x" } where k = "a""#,
            json!([["abcd"], ["x"]]),
            json!([[4.0, 1.0], [1.0, 1.0]]),
        ),
        (
            r#"update Doc set { t: "vwxyz", v: [7, 7] } where k = "a""#,
            json!([]),
            json!([[7.0, 7.0], [1.0, 1.0]]),
        ),
        // Of nothing there is no vector.
        (
            r#"update Doc set { note: " " } where k = "a""#,
            json!([]),
            json!([[7.0, 7.0], null]),
        ),
        (
            r#"upsert Doc { k: "a", t: "vwxyz" }"#,
            json!([]),
            json!([[7.0, 7.0], null]),
        ),
        (
            r#"upsert Doc { k: "a", t: "v" }"#,
            json!([["v"]]),
            json!([[1.0, 1.0], null]),
        ),
        // Where one is missing, setting the text to itself is enough.
        (
            r#"update Doc set { note: "yy", w: null } where k = "a""#,
            json!([]),
            json!([[1.0, 1.0], null]),
        ),
        (
            r#"update Doc set { note: note } where w is null"#,
            json!([["yy"]]),
            json!([[1.0, 1.0], [2.0, 1.0]]),
        ),
        // What an earlier statement left is what a later one changes.
        (
            r#"update Doc set { t: "1" } where k = "a" update Doc set { t: "22" } where k = "a" upsert Doc { k: "n", t: "22" }"#,
            json!([["1"], ["22"]]),
            json!([[2.0, 1.0], [2.0, 1.0]]),
        ),
        (
            r#"insert Doc { k: "a", t: "4444" }"#,
            json!([["4444"]]),
            json!([[4.0, 1.0], null]),
        ),
    ];
    for (statements, calls, vectors) in cases {
        assert_eq!(run(&graph, statements).await, [""; 0], "{statements}");
        assert_eq!(json!(stub.calls()), calls, "{statements}");
        assert_eq!(json!(doc(&graph, "a").await), vectors, "{statements}");
    }
}

#[tokio::test]
async fn without_a_vector_nothing_is_written() {
    let insert = r#"insert Doc { k: "a", t: "abc" }"#;
    let (computing, _) = docs(Stub::lengths()).await;
    let blank = r#"insert Doc { k: "a", t: " " }"#;
    assert_eq!(run(&computing, blank).await, ["R410"]);
    assert_eq!(run(&computing, insert).await, [""; 0]);
    let emptied = r#"update Doc set { t: "" } where k = "a""#;
    assert_eq!(run(&computing, emptied).await, ["R410"]);
    assert_eq!(json!(doc(&computing, "a").await), json!([[3.0, 1.0], null]));

    let plain = computing.with_embedding(None);
    let other = r#"insert Doc { k: "b", t: "abc" }"#;
    assert_eq!(run(&plain, other).await, ["R410"]);
    let mut asked_only = computing.embedding().cloned().expect("an embedder");
    asked_only.on_write = false;
    let asked_only = computing.with_embedding(Some(asked_only));
    assert_eq!(run(&asked_only, other).await, ["R410"]);

    let (broken, _) = docs(Stub::new(|_| Err(EmbedError("out".to_owned())))).await;
    assert_eq!(run(&broken, insert).await, ["R444"]);
    let (zeros, _) = docs(Stub::new(|_| Ok(vec![0.0, 0.0]))).await;
    assert_eq!(run(&zeros, insert).await, ["R446"]);
    let (mismatched, _) = docs(Stub::lengths().of_model("other")).await;
    let noted = r#"insert Doc { k: "a", t: "abc", note: "x" }"#;
    assert_eq!(run(&mismatched, noted).await, ["R445"]);
    for graph in [&broken, &zeros, &mismatched] {
        assert!(entities(graph, &BranchName::main(), "Doc").await.is_empty());
    }
}

/// The stub writes to the same branch while it is asked: that would never end if the mutation that
/// asks had the branch's turn.
#[tokio::test]
async fn others_write_while_a_text_is_embedded() {
    let (graph, stub) = docs(Stub::lengths()).await;
    let insert = r#"insert Doc { k: "a", t: "abc", note: "first" }"#;
    assert_eq!(run(&graph, insert).await, [""; 0]);
    stub.calls();
    let other = graph.with_embedding(None);
    stub.meanwhile(move |call| {
        let graph = other.clone();
        async move {
            let statement = match call {
                1 => r#"update Doc set { note: "second one" } where k = "a""#,
                _ => r#"insert Doc { k: "b", t: "t", v: [9, 9] }"#,
            };
            assert_eq!(run(&graph, statement).await, [""; 0]);
        }
        .boxed()
    });
    let change = r#"update Doc set { t: coalesce(note, "-") } where k = "a""#;
    assert_eq!(run(&graph, change).await, [""; 0]);
    assert_eq!(stub.calls(), [["first"], ["second one"]]);
    assert_eq!(doc(&graph, "a").await[0], json!([10.0, 1.0]));
    assert_eq!(doc(&graph, "b").await[0], json!([9.0, 9.0]));
}

const ROWS: &str = r#"{"type":"Doc","data":{"k":"a","t":"abc","note":"x"}}
{"type":"Doc","data":{"k":"b","t":"abc","v":[9,9]}}
{"type":"Doc","data":{"k":"c","t":"abcd","v":null,"note":"  "}}
{"type":"Doc","data":{"k":"d","t":"abcd","w":[8,8]}}
"#;

#[tokio::test]
async fn loads_compute_what_their_rows_lack() {
    let (graph, stub) = docs(Stub::lengths()).await;
    load(&graph, LoadMode::Append, ROWS).await.unwrap();
    // Each text once in a piece, property by property.
    assert_eq!(json!(stub.calls()), json!([["abc", "abcd"], ["x"]]));
    let expected = json!({
        "a": [[3.0, 1.0], [1.0, 1.0]],
        "b": [[9.0, 9.0], null],
        "c": [[4.0, 1.0], null],
        "d": [[4.0, 1.0], [8.0, 8.0]],
    });
    for (id, vectors) in expected.as_object().unwrap() {
        assert_eq!(json!(doc(&graph, id).await), *vectors, "{id}");
    }
    // A whole row in place of another.
    let row = r#"{"type":"Doc","data":{"k":"a","t":"de"}}"#;
    load(&graph, LoadMode::Merge, row).await.unwrap();
    assert_eq!(json!(doc(&graph, "a").await), json!([[2.0, 1.0], null]));
    assert_eq!(json!(stub.calls()), json!([["de"]]));

    let texts = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let columns = batch(vec![("k", texts(&["e", "f"])), ("t", texts(&["1", "22"]))]);
    for (_, parquet, bytes) in files(&[columns]) {
        let of = LoadType::Node("Doc".to_owned());
        let options = columnar(parquet, of, LoadMode::Merge);
        load_bytes(&graph, options, &bytes, usize::MAX)
            .await
            .unwrap();
        assert_eq!(json!(doc(&graph, "f").await), json!([[2.0, 1.0], null]));
        assert_eq!(json!(stub.calls()), json!([["1", "22"]]));
    }
}

#[tokio::test]
async fn loads_in_little_memory_take_few_rows_at_once() {
    let (graph, stub) = docs(Stub::lengths()).await;
    // 16 KiB a piece, and 16 bytes of vectors a row: 4096 rows.
    let count = 5000;
    let rows: String = (0..count)
        .map(|n| format!("{{\"type\":\"Doc\",\"data\":{{\"k\":\"{n}\",\"t\":\"{n}\"}}}}\n"))
        .collect();
    let options = LoadOptions {
        permissive: true,
        memory: Some(1 << 20),
        ..LoadOptions::default()
    };
    load_bytes(&graph, options, rows.as_bytes(), usize::MAX)
        .await
        .unwrap();
    let calls = stub.calls();
    let sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
    assert_eq!(sizes[..17], [[256; 16].as_slice(), &[256]].concat());
    assert_eq!(sizes.iter().sum::<usize>(), count);
    assert!(calls[16].contains(&"4096".to_owned()), "a part of its own");
    let docs = entities(&graph, &BranchName::main(), "Doc").await;
    assert_eq!(docs.len(), count);
    let right = docs
        .iter()
        .all(|(k, doc)| doc["v"] == json!([k.len() as f64, 1.0]));
    assert!(right);
}

#[tokio::test]
async fn loads_without_vectors_are_refused_by_line() {
    let (computing, _) = docs(Stub::lengths()).await;
    let blank = ROWS.replace("abcd", " ");
    let refused = load(&computing, LoadMode::Append, &blank).await;
    let error = refused.unwrap_err();
    let found = &error.detail().diagnostics;
    let found: Vec<_> = found
        .iter()
        .map(|d| (d.code.as_str(), d.line, d.path.clone()))
        .collect();
    let path = || Some("Doc.v".to_owned());
    assert_eq!(
        found,
        [("R410", Some(3), path()), ("R410", Some(4), path())]
    );
    let plain = computing.with_embedding(None);
    let refused = load(&plain, LoadMode::Append, ROWS).await;
    assert_eq!(codes(refused), ["R410", "R410", "R410"]);
    let (broken, _) = docs(Stub::new(|_| Err(EmbedError("out".to_owned())))).await;
    assert_eq!(codes(load(&broken, LoadMode::Append, ROWS).await), ["R444"]);
    let (mismatched, _) = docs(Stub::lengths().of_model("other")).await;
    assert_eq!(
        codes(load(&mismatched, LoadMode::Append, ROWS).await),
        ["R445"]
    );
    for graph in [&computing, &broken, &mismatched] {
        let docs = entities(graph, &BranchName::main(), "Doc").await;
        assert!(docs.is_empty());
    }
}
