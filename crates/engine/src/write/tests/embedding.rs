//! Vectors that mutations compute.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::{Value as Json, json};

use super::{codes, entities, graph, mutate};
use crate::embed::EmbedError;
use crate::embed::testing::Stub;
use crate::graph::{BranchName, Graph};

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
            r#"update Doc set { note: note } where k = "a""#,
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
