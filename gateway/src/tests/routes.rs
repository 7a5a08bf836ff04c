//! Shapes of the routes.

use http::StatusCode;
use serde_json::json;

use super::fake::{COMMIT, Fake};
use super::{get, post, request, send};

#[tokio::test]
async fn health_and_readiness() {
    let got = send(&Fake::default(), get("/healthz")).await;
    assert_eq!(got.json()["status"], "ok");
    assert_eq!(got.json()["internal_schema_version"], 1);
    let got = send(&Fake::default(), get("/livez")).await;
    assert_eq!(got.json(), json!({"status": "ok"}));
    let got = send(&Fake::default(), get("/readyz")).await;
    assert_eq!(got.status, StatusCode::OK);
    let ready = json!({
        "status": "ready", "revision": 3, "graphs_total": 3, "graphs_ready": 1,
        "graphs_stale": 1, "graphs_quarantined": 1, "not_ready_because": [],
    });
    assert_eq!(got.json(), ready);
    let got = send(&Fake::not_ready("draining"), get("/readyz?verbose")).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["not_ready_because"], json!(["draining"]));
    assert_eq!(got.json()["graphs"][0]["graph_id"], "debian");
    let got = send(&Fake::default(), get("/readyz?graph=debian")).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["status"], "quarantined");
}

#[tokio::test]
async fn graphs() {
    let fake = Fake::default();
    let got = send(&fake, get("/graphs?include=all")).await;
    let expected = json!({"graphs": [{
        "graph_id": "debian", "uri": "s3://b/graphs/debian.omni", "status": "ready",
        "served_revision": 3,
    }]});
    assert_eq!(got.json(), expected);
    assert!(fake.asked().contains("include_all: true"));
    let got = send(&fake, get("/graphs/debian")).await;
    assert_eq!(got.json()["reason_code"], "query_invalid");
    assert_eq!(got.json()["served_revision"], json!(null));
}

#[tokio::test]
async fn mutations() {
    let fake = Fake::default();
    let body = r#"{"query_source":"mutation set($n: I64) {}","query_name":"set","params":{"n":9007199254740993},"branch":" review/x ","unknown":1}"#;
    let got = send(&fake, post("/graphs/debian/mutate", body)).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let expected = json!({
        "branch": "main", "query_name": "set", "affected_nodes": 1, "affected_edges": 0,
        "actor_id": "act-ada",
        "commit": {
            "graph_commit_id": COMMIT, "graph_branch": "main", "graph_manifest_version": 7,
            "parent_commit_id": "01JDB4Q2M0000000000000002A", "merged_parent_commit_id": null,
            "actor_id": "act-ada", "created_at": 1_700_000_000_000_001_i64, "kind": "mutate",
        },
        "statements": [{"kind": "update", "type": "Package", "nodes": 1, "edges": 0}],
    });
    assert_eq!(got.json(), expected);
    assert_eq!(got.header("omnigraph-graph-commit"), COMMIT);
    let asked = fake.asked();
    assert!(
        asked.contains(r#"params_json: "{\"n\":9007199254740993}""#),
        "{asked}"
    );
    assert!(asked.contains(r#"branch: "review/x""#), "{asked}");
}

#[tokio::test]
async fn stored_queries() {
    let got = send(&Fake::default(), get("/graphs/debian/queries")).await;
    let expected = json!({"queries": [{
        "name": "find", "tool_name": "find", "mutation": false,
        "params": [{"name": "name", "kind": "string", "nullable": false}],
    }]});
    assert_eq!(got.json(), expected);
}

#[tokio::test]
async fn loads() {
    let fake = Fake::default();
    let ndjson = [("content-type", "application/x-ndjson")];
    let path = "/graphs/debian/load/ndjson?branch=in&from=main&mode=append&message=hi";
    let got = send(&fake, request("POST", path, &ndjson, "{}\n{}\n")).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert_eq!(fake.loaded().as_deref(), Some("{}\n{}\n"));
    let asked = fake.asked();
    for part in [
        r#"branch: "in""#,
        r#"from_branch: "main""#,
        "mode: Append",
        r#"message: "hi""#,
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(got.json().get("uri").is_none());
    assert_eq!(
        got.json()["nodes"],
        json!([{"name": "Package", "entities_loaded": 2}])
    );
    assert_eq!(got.json()["base_branch"], json!(null));

    let fake = Fake::default();
    let got = send(&fake, post("/graphs/debian/load", r#"{"data":"{} {}"}"#)).await;
    assert_eq!(got.json()["uri"], "s3://b/g");
    assert_eq!(fake.loaded().as_deref(), Some("{} {}"));
    assert!(fake.asked().contains("permissive: true"));

    let fake = Fake::default();
    let got = send(&fake, post("/graphs/debian/load/ndjson", "{}")).await;
    assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(fake.loaded(), None);
    let got = send(
        &fake,
        request("POST", "/graphs/d/load/ndjson?mode=what", &ndjson, ""),
    )
    .await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn loads_in_other_forms() {
    let stream = "application/vnd.apache.arrow.stream";
    for (path, content_type, encoding, asked) in [
        (
            "ndjson",
            "application/x-ndjson",
            "gzip",
            &["format: Ndjson", r#"content_encoding: "gzip""#][..],
        ),
        (
            "ndjson",
            "application/x-ndjson",
            "ZSTD",
            &[r#"content_encoding: "zstd""#],
        ),
        (
            "arrow?type=P",
            stream,
            "identity",
            &[
                "format: Arrow",
                r#"node_type: "P""#,
                r#"content_encoding: """#,
            ],
        ),
        (
            "arrow?edge=E",
            "application/vnd.apache.arrow.file; x=y",
            "gzip",
            &[r#"edge_type: "E""#],
        ),
        (
            "parquet?type=P",
            "application/vnd.apache.parquet",
            "identity",
            &["format: Parquet"],
        ),
    ] {
        let fake = Fake::default();
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        let path = format!("/graphs/d/load/{path}");
        let got = send(&fake, request("POST", &path, &headers, "data")).await;
        assert_eq!(got.status, StatusCode::OK, "{path} {}", got.text());
        assert_eq!(fake.loaded().as_deref(), Some("data"));
        for part in asked {
            assert!(fake.asked().contains(part), "{part} in {}", fake.asked());
        }
    }
    for (path, content_type, encoding) in [
        ("ndjson", stream, "identity"),
        ("arrow?type=P", "application/x-ndjson", "identity"),
        ("parquet?type=P", stream, "identity"),
        ("ndjson", "application/x-ndjson", "br"),
        ("ndjson", "application/x-ndjson", "gzip, zstd"),
    ] {
        let fake = Fake::default();
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        let path = format!("/graphs/d/load/{path}");
        let got = send(&fake, request("POST", &path, &headers, "data")).await;
        assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert_eq!(fake.loaded(), None);
    }
}

#[tokio::test]
async fn branches() {
    let fake = Fake::default();
    let got = send(&fake, get("/graphs/debian/branches")).await;
    assert_eq!(got.json(), json!({"branches": ["main", "review/x"]}));
    let got = send(&fake, get("/graphs/debian/branches?limit=1&details=true")).await;
    assert_eq!(got.json()["next_page_token"], "2");
    assert_eq!(
        got.json()["branch_details"][0]["head"]["graph_commit_id"],
        COMMIT
    );
    let got = send(&fake, get("/graphs/debian/branches/review%2Fx")).await;
    assert_eq!(got.json()["name"], "review/x");
    let got = send(&fake, get("/graphs/debian/branches/merge")).await;
    assert_eq!(got.json()["name"], "merge");
    let got = send(&fake, post("/graphs/debian/branches", r#"{"name":" x "}"#)).await;
    let expected = json!({"uri": "s3://b/g", "from": "main", "name": "x", "actor_id": null});
    assert_eq!(got.json(), expected);
    let got = send(&fake, post("/graphs/debian/branches", r#"{"name":"  "}"#)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let got = send(
        &fake,
        request("DELETE", "/graphs/debian/branches/merge", &[], ""),
    )
    .await;
    assert_eq!(got.json()["name"], "merge");
    let merge = r#"{"source":"review/x","delete_branch":true}"#;
    let got = send(&fake, post("/graphs/debian/branches/merge", merge)).await;
    assert_eq!(got.json()["outcome"], "fast_forward");
    assert_eq!(got.json()["target"], "main");
    assert!(fake.asked().contains("delete_source: true"));
}

#[tokio::test]
async fn history_and_schema() {
    let fake = Fake::default();
    let got = send(&fake, get("/graphs/debian/commits?limit=1")).await;
    assert_eq!(got.json()["next_page_token"], "2");
    let got = send(&fake, get("/graphs/debian/commits")).await;
    assert_eq!(got.json()["commits"].as_array().map(Vec::len), Some(2));
    assert!(got.json().get("next_page_token").is_none());
    let got = send(&fake, get(&format!("/graphs/debian/commits/{COMMIT}"))).await;
    assert_eq!(got.json()["graph_commit_id"], COMMIT);
    let got = send(&fake, get("/graphs/debian/snapshot?branch=main")).await;
    let dataset = &got.json()["datasets"][0];
    assert_eq!(
        dataset["published_dataset_version"],
        9_223_372_036_854_775_911_u64
    );
    assert_eq!(dataset["native_dataset_branch"], json!(null));
    let got = send(&fake, get("/graphs/debian/schema")).await;
    assert_eq!(
        got.json(),
        json!({"schema_source": "node A {}", "schema_digest": "d"})
    );
    let got = send(
        &fake,
        post("/graphs/debian/schema/apply", r#"{"schema_source":""}"#),
    )
    .await;
    assert_eq!(got.status, StatusCode::CONFLICT);
    assert_eq!(got.json()["code"], "conflict");
    let got = send(&fake, post("/graphs/debian/export", "{}")).await;
    assert_eq!(
        got.header("content-type"),
        "application/x-ndjson; charset=utf-8"
    );
    assert_eq!(got.text(), "{}\n");
    assert!(got.whole);
}

#[tokio::test]
async fn plans() {
    let fake = Fake::default();
    let body = r#"{"name":"all","params":{"n":null},"branch":"review/x"}"#;
    let got = send(&fake, post("/graphs/debian/explain", body)).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let scan = json!({"op": "scan", "args": {"type": "Package", "index": null}});
    let expected = json!({
        "mode": "explain", "query_name": "all", "graph_commit_id": COMMIT,
        "params": {"n": "String?"},
        "operation": {"result": [], "reads": [], "writes": []},
        "warnings": [],
        "plan": {
            "op": "project", "args": {}, "est_rows": 577.0,
            "children": [{"op": "scan", "args": scan["args"], "est_rows": 577.0}],
        },
        "logical_plan": scan,
        "text": "project\n",
    });
    assert_eq!(got.json(), expected);
    let asked = fake.asked();
    assert!(
        asked.contains(r#"branch: "review/x""#) || asked.contains(r#"Branch("review/x")"#),
        "{asked}"
    );
    let body = r#"{"query":"query all() {}","mode":"profile"}"#;
    let got = send(&fake, post("/graphs/debian/explain", body)).await;
    assert_eq!(got.json()["totals"]["elapsed_us"], 700);
    assert_eq!(got.json()["result"], json!({"row_count": 577}));
    assert_eq!(got.json()["plan"]["children"][0]["rows"], 577);
    let wrong = r#"{"query":"query all() {}","mode":"analyse"}"#;
    let got = send(&fake, post("/graphs/debian/explain", wrong)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
}
