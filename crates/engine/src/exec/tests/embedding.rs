//! Texts as what `nearest` measures from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde_json::{Map, Value as Json, json};

use super::fixture::Fixture;
use crate::embed::testing::Stub;
use crate::embed::{EmbedError, Embedder};
use crate::error::ErrorKind;
use crate::exec::{QueryLimits, explain};

const SCHEMA: &str = r#"
node Doc { k: String @key  t: String?  v: Vector(2)? @embed(t, model="m") }
"#;
const BY_LITERAL: &str =
    r#"query q() { match { $d: Doc } return { $d.k } order { nearest($d.v, "aaa") } limit 2 }"#;

async fn docs(stub: Stub) -> (Fixture, Arc<Stub>) {
    let mut docs = Fixture::new(SCHEMA).await;
    let doc = |k: &str, t: &str, v: Json| json!({"id": k, "k": k, "t": t, "v": v});
    let rows = [
        doc("one", "red apple", json!([1, 1])),
        doc("three", "red pear", json!([3, 1])),
        doc("six", "green apple", json!([6, 1])),
        doc("none", "red", Json::Null),
    ];
    docs.insert("Doc", &rows).await;
    let stub = Arc::new(stub);
    docs.embedder = Some(stub.clone());
    (docs, stub)
}

#[tokio::test]
async fn a_text_is_made_a_vector_once_wherever_it_stands() {
    let (docs, stub) = docs(Stub::lengths()).await;
    let cases = [
        (BY_LITERAL, json!({}), json!([["three"], ["one"]]), 1),
        (
            "query q($q: String) { match { $d: Doc } return { $d.k } order { nearest($d.v, $q) } limit 1 }",
            json!({"q": "aaaaaaa"}),
            json!([["six"]]),
            1,
        ),
        (
            r#"query q() { match { $d: Doc } return { $d.k, nearest($d.v, "aaaaaa") as far } order { $d.k asc } limit 4 }"#,
            json!({}),
            json!([["none", null], ["one", 25.0], ["six", 0.0], ["three", 9.0]]),
            1,
        ),
        (
            r#"query q() { match { $d: Doc  nearest($d.v, "a") < 5 } return { $d.k, nearest($d.v, "a") as far } order { nearest($d.v, "a") } limit 9 }"#,
            json!({}),
            json!([["one", 0.0], ["three", 4.0]]),
            1,
        ),
        (
            r#"query q($q: String) { match { $d: Doc } return { $d.k } order { rrf(nearest($d.v, $q), bm25($d.t, "pear")) } limit 1 }"#,
            json!({"q": "aaa"}),
            json!([["three"]]),
            1,
        ),
        (
            r#"query q() { match { $d: Doc } return { $d.k } order { rrf(nearest($d.v, "a"), nearest($d.v, "aaaaaa")) } limit 1 }"#,
            json!({}),
            json!([["one"]]),
            2,
        ),
    ];
    for (source, params, expected, calls) in cases {
        let rows = docs.rows(source, params).await;
        assert_eq!(rows.map(Json::from), Ok(expected), "{source}");
        assert_eq!(stub.calls().len(), calls, "{source}");
    }
}

/// Code and message of what goes wrong.
async fn wrong(stub: Stub) -> String {
    let (docs, _) = docs(stub).await;
    let query = docs.check(BY_LITERAL).unwrap();
    let ran = docs.run(&query, json!({}), &QueryLimits::default()).await;
    let error = ran.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.message().to_owned()
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    assert_eq!(
        wrong(Stub::lengths().of_model("n")).await,
        r#"R445: the vectors of Doc.v are of model "m", the stub uses "n""#
    );
    let broken = Stub::new(|_| Err(EmbedError("the stub is out".to_owned())));
    assert_eq!(wrong(broken).await, "R444: the stub is out");
    let cases: [(&[f32], &str); 4] = [
        (&[1.0, 2.0, 3.0], "3 numbers"),
        (&[], "0 numbers"),
        (&[1.0, f32::INFINITY], "numbers that are not finite"),
        (&[0.0, -0.0], "zeros only"),
    ];
    for (vector, found) in cases {
        let vector = vector.to_vec();
        assert_eq!(
            wrong(Stub::new(move |_| Ok(vector.clone()))).await,
            format!("R446: the stub gave {found}; expected 2 finite numbers")
        );
    }
}

#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl Embedder for Silent {
    fn name(&self) -> &str {
        "silence"
    }

    fn model(&self) -> Option<&str> {
        Some("m")
    }

    async fn embed(&self, _: &[String], _: u32) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn vectors_are_counted() {
    let (mut docs, _) = docs(Stub::lengths()).await;
    docs.embedder = Some(Arc::new(Silent));
    let query = docs.check(BY_LITERAL).unwrap();
    let ran = docs.run(&query, json!({}), &QueryLimits::default()).await;
    assert_eq!(
        ran.unwrap_err().message(),
        "R444: silence gave 0 vectors for 1 texts"
    );
}

#[tokio::test]
async fn waiting_ends_with_the_time_of_the_query() {
    let stub = Stub::lengths();
    stub.meanwhile(|_| std::future::pending().boxed());
    let (docs, _) = docs(stub).await;
    let query = docs.check(BY_LITERAL).unwrap();
    let limits = QueryLimits {
        deadline: Some(Instant::now() + Duration::from_millis(500)),
        ..QueryLimits::default()
    };
    let error = docs.run(&query, json!({}), &limits).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R450");
}

#[tokio::test]
async fn a_plan_asks_nobody() {
    let (docs, stub) = docs(Stub::lengths()).await;
    let query = docs.check(BY_LITERAL).unwrap();
    explain(&docs.context(), &query, &Map::new()).await.unwrap();
    assert!(stub.calls().is_empty());
}
