//! Changes, differences, feeds, tags, and what may be read.

use http::StatusCode;
use serde_json::json;

use super::fake::{COMMIT, Fake};
use super::{get, post, request, send};

fn moved() -> serde_json::Value {
    json!({
        "kind": "edge", "type": {"id": "7", "name": "DependsOn"}, "id": "e", "op": "update",
        "before": {"properties": {"n": u64::MAX}, "endpoints": {"from": "a", "to": "b"}},
        "after": {"properties": {"n": u64::MAX}, "endpoints": {"from": "a", "to": "c"}},
    })
}

fn cause() -> serde_json::Value {
    json!({
        "graph_commit_id": COMMIT, "authored_branch": "main",
        "authored_at": 1_700_000_000_000_001_i64,
    })
}

#[tokio::test]
async fn commit_changes() {
    let fake = Fake::default();
    let path = format!("/graphs/d/commits/{COMMIT}/changes");
    let query = "?kind=edge&type=DependsOn&type=Needs&op=update&op=delete&limit=5&page_token=t";
    let got = send(&fake, get(&format!("{path}{query}"))).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let expected = json!({"cause": cause(), "changes": [moved()], "next_page_token": "next"});
    assert_eq!(got.json(), expected);
    // The text of the replica, not a number that was read and written again.
    assert!(got.text().contains(r#"{"n": 18446744073709551615}"#));
    assert_eq!(got.header("omnigraph-graph-commit"), COMMIT);
    let asked = fake.asked();
    for part in [
        "kinds: [Edge]",
        r#"type_names: ["DependsOn", "Needs"]"#,
        "ops: [Update, Delete]",
        "page_size: 5",
        r#"page_token: "t""#,
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    for bad in [
        "limit=0",
        "limit=x",
        "kind=thing",
        "op=upsert",
        "other=1",
        "limit=1&limit=2",
    ] {
        let got = send(&fake, get(&format!("{path}?{bad}"))).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn differences() {
    let fake = Fake::default();
    let path = "/graphs/d/diff?from=branch:main&to=tag:v1&base=merge_base&summary_only=true";
    let got = send(&fake, get(path)).await;
    let expected = json!({
        "from": {"branch": "main", "graph_commit_id": COMMIT},
        "to": {"graph_commit_id": COMMIT},
        "summary": [{"entity_kind": "node", "type_name": "Package", "inserted": 1, "updated": 0, "deleted": 0}],
        "changes": [moved()],
    });
    assert_eq!(got.json(), expected);
    let asked = fake.asked();
    for part in [
        r#"Branch("main")"#,
        r#"Tag("v1")"#,
        "from_merge_base: true",
        "summary_only: true",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let path = "/graphs/d/diff?from=review/x&to=main&to_as_of=2026-11-22T20:05:00Z";
    send(&fake, get(path)).await;
    let asked = fake.asked();
    assert!(asked.contains(r#"Name("review/x")"#), "{asked}");
    assert!(asked.contains("at_us: 1795377900000000"), "{asked}");
    for bad in [
        "from=main",
        "from=main&to=",
        "from=branch:&to=main",
        "from=a&to=b&base=other",
        "from=a&to=commit:b&to_as_of=1",
        "from=a&to=b&to_as_of=soon",
        "from=a&from=b&to=c",
    ] {
        let got = send(&fake, get(&format!("/graphs/d/diff?{bad}"))).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn feeds_and_baselines() {
    let fake = Fake::default();
    let got = send(
        &fake,
        get("/graphs/d/changes?branch=%20x%20&start=beginning&wait_ms=9"),
    )
    .await;
    let block = json!({"cause": cause(), "changes": [moved()]});
    let expected = json!({"blocks": [block], "cursor": "cursor", "caught_up": true});
    assert_eq!(got.json(), expected);
    let asked = fake.asked();
    for part in [r#"branch: "x""#, r#"Start("beginning")"#, "wait_ms: 9"] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    for bad in [
        "start=now&cursor=c",
        "cursor=c&page_token=p",
        "wait_ms=30001",
        "wait=1",
    ] {
        let got = send(&fake, get(&format!("/graphs/d/changes?{bad}"))).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let body = r#"{"kind":["node"],"op":["insert"]}"#;
    let got = send(&fake, post("/graphs/d/changes/baseline", body)).await;
    assert!(got.whole);
    let end = r#"{"baseline":{"snapshot_commit_id":"01JDB4Q2M0000000000000002M","resume_cursor":"cursor"}}"#;
    assert_eq!(got.text(), format!("{{}}\n{end}\n"));
    let got = send(&fake, post("/graphs/d/changes/baseline", r#"{"kinds":[]}"#)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    // Without its last line there is no cursor, and the body is seen to be incomplete.
    let got = send(&Fake::truncated(), post("/graphs/d/changes/baseline", "{}")).await;
    assert!(!got.whole);
}

#[tokio::test]
async fn tags() {
    let fake = Fake::default();
    let tag = json!({
        "name": "v1", "graph_commit_id": COMMIT, "actor_id": null,
        "created_at": 1_700_000_000_000_002_i64,
    });
    let got = send(&fake, get("/graphs/d/tags")).await;
    assert_eq!(got.json(), json!({"tags": [tag, tag]}));
    let got = send(&fake, get("/graphs/d/tags?limit=1")).await;
    assert_eq!(got.json()["next_page_token"], "2");
    let got = send(&fake, get("/graphs/d/tags/a%2Fb")).await;
    assert_eq!(got.json()["name"], "a/b");
    assert_eq!(got.json()["commit"]["graph_commit_id"], COMMIT);
    let body = r#"{"name":"v1","branch":"x","as_of":1795377900000000,"message":"m"}"#;
    let got = send(&fake, post("/graphs/d/tags", body)).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let asked = fake.asked();
    for part in [
        r#"name: "v1""#,
        r#"branch: "x""#,
        "at_us: 1795377900000000",
        r#"message: "m""#,
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let got = send(&fake, request("DELETE", "/graphs/d/tags/v1", &[], "")).await;
    assert_eq!(got.json(), tag);
    for bad in [
        r#"{"name":"a","snapshot":"b","tag":"c"}"#,
        r#"{"name":"a","x":1}"#,
        "{}",
    ] {
        let got = send(&fake, post("/graphs/d/tags", bad)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn reads_take_tags_and_times() {
    let fake = Fake::default();
    let tag = r#"{"query":"q","tag":"v1"}"#;
    let time = r#"{"query":"q","branch":"x","as_of":"2026-11-22T20:05:00Z"}"#;
    for (path, body) in [
        ("query", tag),
        ("queries/find", r#"{"tag":"v1"}"#),
        ("export", r#"{"tag":"v1"}"#),
    ] {
        let got = send(&fake, post(&format!("/graphs/d/{path}"), body)).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.text());
        assert!(
            fake.asked().contains(r#"Tag("v1")"#),
            "{path}: {}",
            fake.asked()
        );
    }
    send(&fake, post("/graphs/d/query", time)).await;
    assert!(
        fake.asked().contains("at_us: 1795377900000000"),
        "{}",
        fake.asked()
    );
    for path in ["snapshot?tag=v1", "schema?tag=v1"] {
        let got = send(&fake, get(&format!("/graphs/d/{path}"))).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.text());
        assert!(
            fake.asked().contains(r#"Tag("v1")"#),
            "{path}: {}",
            fake.asked()
        );
    }
    let body = r#"{"name":"b","from":"main","from_as_of":5}"#;
    send(&fake, post("/graphs/d/branches", body)).await;
    assert!(fake.asked().contains("at_us: 5"), "{}", fake.asked());
    let min = ("omnigraph-min-commit", COMMIT);
    let got = send(&fake, super::post_with("/graphs/d/query", tag, min)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let got = send(
        &fake,
        post(
            "/graphs/d/query",
            r#"{"query":"q","tag":"a","snapshot":"b"}"#,
        ),
    )
    .await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
}
