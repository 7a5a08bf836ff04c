//! Columns that are filled in: beside deleted rows, in many fragments, under caches.

use serde_json::json;

use super::*;

const BEFORE: &str = "node P { k: String @key  n: I64?  s: String? }";

fn person(k: usize, n: Option<i64>) -> String {
    json!({"type": "P", "data": {"k": format!("p{k}"), "n": n, "s": format!("s{k}")}}).to_string()
}

/// Several fragments, some with deleted rows.
async fn filled() -> Fixture {
    let f = fixture(BEFORE).await;
    for part in 0..5 {
        let rows: Vec<String> = (part * 20..part * 20 + 20)
            .map(|k| person(k, (k % 3 == 0).then_some(k as i64)))
            .collect();
        load(&f.graph, "main", &rows.join("\n")).await.unwrap();
    }
    for k in [0, 1, 25, 41, 42, 43] {
        let source = format!("query d() {{ delete P where k == \"p{k}\" }}");
        let source = source.replace(" == ", " = ");
        mutate(&f.graph, "main", &source).await.unwrap();
    }
    f
}

async fn sums(graph: &Graph, target: &Target) -> String {
    ask(
        graph,
        target,
        "query q() { match { $p: P } return { count($p) as rows, sum($p.n) as n, min($p.s) as s } }",
    )
    .await
    .join("")
}

#[tokio::test]
async fn a_default_is_filled_in_beside_deleted_rows() {
    let f = filled().await;
    let graph = &f.graph;
    let before = sums(graph, &on("main")).await;
    let old = snapshot(graph, &on("main")).await.commit_id();
    let after = "node P { k: String @key  n: I64?  s: String?  z: I32 @default(7)  w: String? @default(\"w\") }";
    let commit = apply(graph, after).await.unwrap();
    assert_eq!(commit.touched[0].updated, 94);
    assert_eq!(sums(graph, &on("main")).await, before);
    let query = "query q() { match { $p: P } return { sum($p.z) as z, count($p.w) as w } }";
    for graph in [graph, &f.elsewhere().await] {
        assert_eq!(
            ask(graph, &on("main"), query).await,
            [r#"{"z":658.0,"w":94}"#]
        );
    }
    assert_eq!(sums(graph, &Target::Commit(old)).await, before);
    // Rows can be replaced and deleted as before, and what is new has its own values.
    load(
        graph,
        "main",
        r#"{"type":"P","data":{"k":"p2","z":0,"w":null}}"#,
    )
    .await
    .unwrap();
    mutate(graph, "main", "query d() { delete P where k = \"p3\" }")
        .await
        .unwrap();
    for graph in [graph, &f.elsewhere().await] {
        assert_eq!(
            ask(graph, &on("main"), query).await,
            [r#"{"z":644.0,"w":92}"#]
        );
    }
}

#[tokio::test]
async fn nulls_become_the_default_where_a_property_becomes_required() {
    let f = filled().await;
    let graph = &f.graph;
    let old = snapshot(graph, &on("main")).await.commit_id();
    let before = exported(graph, &on("main"), "P").await;
    let nulls = before.values().filter(|row| row["n"].is_null()).count();
    let after = BEFORE.replace("n: I64?", "n: I64 @default(-1) @index");
    let commit = apply(graph, &after).await.unwrap();
    assert_eq!(commit.touched[0].updated, nulls as u64);
    let expected: BTreeMap<String, Json> = before
        .iter()
        .map(|(id, row)| {
            let mut row = row.clone();
            if row["n"].is_null() {
                row["n"] = (-1).into();
            }
            (id.clone(), row)
        })
        .collect();
    assert_eq!(exported(graph, &on("main"), "P").await, expected);
    let query = "query q() { match { $p: P { n: -1 } } return { count($p) as c } }";
    for graph in [graph, &f.elsewhere().await] {
        let answer = ask(graph, &on("main"), query).await;
        assert_eq!(answer, [format!("{{\"c\":{nulls}}}")]);
    }
    assert_eq!(exported(graph, &Target::Commit(old), "P").await, before);
    // Back to optional: null can be written again.
    apply(graph, BEFORE).await.unwrap();
    load(graph, "main", &person(500, None)).await.unwrap();
    let rows = exported(graph, &on("main"), "P").await;
    assert!(rows["p500"]["n"].is_null());
    // And required again: only that row is filled.
    let commit = apply(graph, &after).await.unwrap();
    assert_eq!(commit.touched[0].updated, 1);
    let rows = exported(graph, &on("main"), "P").await;
    assert_eq!(rows["p500"]["n"], -1);
}

/// A deleted row has nulls where no living one has: neither the check nor later reads mind.
#[tokio::test]
async fn a_deleted_row_without_a_value_does_not_forbid_required() {
    let f = fixture(BEFORE).await;
    let graph = &f.graph;
    load(
        graph,
        "main",
        &format!("{}\n{}", person(1, Some(1)), person(2, None)),
    )
    .await
    .unwrap();
    mutate(graph, "main", "query d() { delete P where k = \"p2\" }")
        .await
        .unwrap();
    apply(graph, &BEFORE.replace("n: I64?", "n: I64"))
        .await
        .unwrap();
    for graph in [graph, &f.elsewhere().await] {
        assert_eq!(
            ask(
                graph,
                &on("main"),
                "query q() { match { $p: P } return { $p.n as n } }"
            )
            .await,
            [r#"{"n":1}"#]
        );
    }
    assert_eq!(exported(graph, &on("main"), "P").await.len(), 1);
    let missing = load(graph, "main", &person(3, None)).await.unwrap_err();
    assert!(missing.message().contains("R410"), "{missing}");
}

/// A column that comes back under its old name is another one: nothing that was remembered of the
/// old one may show through.
#[tokio::test]
async fn a_dropped_column_does_not_come_back() {
    let f = filled().await;
    let graph = &f.graph;
    let with = |z: &str| BEFORE.replace("s: String?", &format!("s: String?  {z}"));
    let query = "query q() { match { $p: P } return { min($p.z) as a, max($p.z) as b } }";
    apply(graph, &with("z: I64 @default(1)")).await.unwrap();
    assert_eq!(ask(graph, &on("main"), query).await, [r#"{"a":1,"b":1}"#]);
    apply(graph, BEFORE).await.unwrap();
    apply(graph, &with("z: I64 @default(2)")).await.unwrap();
    assert_eq!(ask(graph, &on("main"), query).await, [r#"{"a":2,"b":2}"#]);
    apply(graph, BEFORE).await.unwrap();
    apply(graph, &with("z: I64?")).await.unwrap();
    assert_eq!(
        ask(graph, &on("main"), query).await,
        [r#"{"a":null,"b":null}"#]
    );
    apply(graph, BEFORE).await.unwrap();
    apply(graph, &with("z: I64 @default(3)")).await.unwrap();
    assert_eq!(ask(graph, &on("main"), query).await, [r#"{"a":3,"b":3}"#]);
    let rows = exported(graph, &on("main"), "P").await;
    assert!(rows.values().all(|row| row["z"] == 3));
}

#[tokio::test]
async fn two_columns_swap_their_names() {
    let schema = "node P { k: String @key  a: I64? @index  b: I64? @index }";
    let f = fixture(schema).await;
    let graph = &f.graph;
    let row = r#"{"type":"P","data":{"k":"p","a":1,"b":2}}"#;
    load(graph, "main", row).await.unwrap();
    let query = "query q() { match { $p: P } return { $p.a as a, $p.b as b } }";
    assert_eq!(ask(graph, &on("main"), query).await, [r#"{"a":1,"b":2}"#]);
    // A name that exists is matched by name, so it takes two steps.
    let between = "node P { k: String @key  x: I64? @index @rename_from(\"a\")  a: I64? @index @rename_from(\"b\") }";
    // `a` exists, so its hint is ignored and `b` goes.
    let plan = graph
        .plan_schema(&snapshot(graph, &on("main")).await, between)
        .await
        .unwrap();
    let codes: Vec<String> = plan
        .plan
        .diagnostics
        .iter()
        .map(|d| d.code.to_string())
        .collect();
    assert_eq!(codes, ["W508", "M313"], "{:?}", plan.plan);
    for schema in [
        "node P { k: String @key  x: I64? @index @rename_from(\"a\")  y: I64? @index @rename_from(\"b\") }",
        "node P { k: String @key  a: I64? @index @rename_from(\"y\")  b: I64? @index @rename_from(\"x\") }",
    ] {
        apply(graph, schema).await.unwrap();
    }
    for graph in [graph, &f.elsewhere().await] {
        assert_eq!(ask(graph, &on("main"), query).await, [r#"{"a":2,"b":1}"#]);
    }
    let rows = exported(graph, &on("main"), "P").await;
    assert_eq!(rows["p"], json!({"k": "p", "a": 2, "b": 1}));
}

#[tokio::test]
async fn now_is_the_time_of_the_change() {
    let f = filled().await;
    let clock = f.store.clock().clone();
    let before = clock.now_micros() / 1000;
    let after = BEFORE.replace("s: String?", "s: String?  t: DateTime @default(now)");
    apply(&f.graph, &after).await.unwrap();
    let rows = exported(&f.graph, &on("main"), "P").await;
    let times: std::collections::BTreeSet<i64> = rows
        .values()
        .map(|row| row["t"].as_i64().unwrap())
        .collect();
    assert_eq!(times.len(), 1);
    let time = times.into_iter().next().unwrap();
    assert!(time >= before && time <= clock.now_micros() / 1000);
}
