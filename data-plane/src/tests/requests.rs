//! Requests through the embedded gateway, down to the storage.

use http::StatusCode;
use serde_json::json;

use super::{ITEMS, LONG, QUERIES, SCHEMA, World, call, call_with, ok};

const DEAR: &str = r#"{"params":{"least":2}}"#;

#[tokio::test]
async fn from_load_to_answer() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);

    let loaded = ok(
        &replica,
        "POST",
        "/graphs/shop/load/ndjson?mode=append",
        ITEMS,
    )
    .await;
    assert_eq!(loaded.json()["total_entities"], 3);
    assert_eq!(loaded.json()["commit"]["graph_commit_id"], loaded.commit);

    let read = ok(&replica, "POST", "/graphs/shop/queries/dear", DEAR).await;
    assert_eq!(
        read.json()["rows"],
        json!([{"name": "saw", "price": 9_007_199_254_740_993_i64}])
    );
    assert_eq!(read.json()["row_count"], 1);
    assert_eq!(read.json()["columns"], json!(["name", "price"]));
    assert_eq!(
        read.json()["target"],
        json!({"branch": "main", "snapshot": null})
    );
    assert_eq!(read.commit, loaded.commit);

    let source = "query all() { match { $i: Item } return { $i.name as n } order { $i.name asc } }";
    let adhoc = json!({"query": source}).to_string();
    let read = ok(&replica, "POST", "/graphs/shop/query", &adhoc).await;
    assert_eq!(read.json()["rows"], json!([{"n": "nail"}, {"n": "saw"}]));

    let reprice = r#"{"params":{"name":"nail","price":"3"},"message":"dearer"}"#;
    let changed = ok(&replica, "POST", "/graphs/shop/queries/reprice", reprice).await;
    assert_eq!(changed.json()["affected_nodes"], 1);
    assert_eq!(changed.json()["commit"]["message"], "dearer");
    let read = ok(&replica, "POST", "/graphs/shop/queries/dear", DEAR).await;
    assert_eq!(read.json()["row_count"], 2);

    let pinned = json!({"query": source, "snapshot": loaded.commit}).to_string();
    let read = ok(&replica, "POST", "/graphs/shop/query", &pinned).await;
    assert_eq!(read.json()["target"]["snapshot"], loaded.commit);

    let commits = ok(&replica, "GET", "/graphs/shop/commits", "").await;
    let kinds: Vec<&str> = commits.json()["commits"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|commit| match commit["kind"].as_str() {
            Some("load") => Some("load"),
            Some("mutate") => Some("mutate"),
            Some("schema") => Some("schema"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["mutate", "load", "schema"]);

    let export = ok(&replica, "POST", "/graphs/shop/export", "{}").await;
    assert_eq!(export.body.lines().count(), 3, "{}", export.body);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn optimize_changes_files_and_no_answer() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    for price in ["3", "4"] {
        let reprice = json!({"params": {"name": "nail", "price": price}}).to_string();
        ok(&replica, "POST", "/graphs/shop/queries/reprice", &reprice).await;
    }
    let before = ok(&replica, "POST", "/graphs/shop/export", "{}").await;

    let route = "/graphs/shop/maintenance/optimize";
    let dry = ok(&replica, "POST", route, r#"{"dry_run":true}"#).await;
    assert_eq!(dry.json()["commit"], json!(null));
    let done = ok(&replica, "POST", route, "").await;
    assert_eq!(done.json()["datasets"], dry.json()["datasets"]);
    let item = done.json()["datasets"][0].clone();
    assert_eq!(item["type_name"], "Item");
    assert_eq!(item["fragments_added"], 1);
    assert_eq!(done.json()["commit"]["kind"], "maintenance");
    assert_eq!(done.json()["commit"]["graph_commit_id"], done.commit);
    let again = ok(&replica, "POST", route, r#"{"branch":"main"}"#).await;
    assert_eq!(again.json()["commit"], json!(null));

    let after = ok(&replica, "POST", "/graphs/shop/export", "{}").await;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&after.body), sorted(&before.body));

    for (body, status) in [
        (r#"{"branch":"nope"}"#, StatusCode::NOT_FOUND),
        (r#"{"type_names":["Nope"]}"#, StatusCode::NOT_FOUND),
        (r#"{"brunch":"main"}"#, StatusCode::BAD_REQUEST),
    ] {
        let refused = call(&replica, "POST", route, body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.body);
    }
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn arrow_and_ndjson_carry_the_same_rows() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    let path = "/graphs/shop/queries/dear";
    let all = r#"{"params":{"least":0}}"#;
    let accept = ("accept", "application/x-ndjson");
    let got = call_with(&replica, "POST", path, accept, all).await;
    let lines: Vec<&str> = got.body.lines().collect();
    assert_eq!(lines[1], r#"{"name":"nail","price":1}"#);
    assert_eq!(lines[3], r#"{"$end":{"row_count":2}}"#);

    use omnigraph_proto::data::v1::{InvokeQueryRequest, invoke_query_response::Frame};
    let request = InvokeQueryRequest {
        graph_id: "shop".to_owned(),
        name: "dear".to_owned(),
        params_json: r#"{"least":0}"#.to_owned(),
        ..Default::default()
    };
    let mut client = replica.upstream().graphs();
    let mut frames = client
        .invoke_query(request)
        .await
        .expect("runs")
        .into_inner();
    let mut ipc = Vec::new();
    let mut count = None;
    while let Some(message) = frames.message().await.expect("goes on") {
        match message.frame {
            Some(Frame::ArrowIpc(bytes)) => ipc.extend_from_slice(&bytes),
            Some(Frame::Trailer(trailer)) => count = Some(trailer.row_count),
            _ => {}
        }
    }
    assert_eq!(count, Some(2));
    let reader = arrow_ipc::reader::StreamReader::try_new(ipc.as_slice(), None);
    let reader = reader.expect("an ipc stream");
    let schema = reader.schema();
    assert_eq!(schema.metadata()["omnigraph.query_name"], "dear");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn branches_live_and_merge() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    ok(
        &replica,
        "POST",
        "/graphs/shop/branches",
        r#"{"name":"review/x"}"#,
    )
    .await;
    let reprice = r#"{"params":{"name":"nail","price":3},"branch":"review/x"}"#;
    let changed = ok(&replica, "POST", "/graphs/shop/queries/reprice", reprice).await;
    let branches = ok(&replica, "GET", "/graphs/shop/branches", "").await;
    assert_eq!(branches.json(), json!({"branches": ["main", "review/x"]}));
    let branch = ok(&replica, "GET", "/graphs/shop/branches/review%2Fx", "").await;
    assert_eq!(branch.json()["head"]["graph_commit_id"], changed.commit);
    let merge = r#"{"source":"review/x","delete_branch":true}"#;
    let merged = ok(&replica, "POST", "/graphs/shop/branches/merge", merge).await;
    assert_eq!(merged.json()["outcome"], "fast_forward");
    assert_eq!(merged.json()["branch_deleted"], true);
    let read = ok(&replica, "POST", "/graphs/shop/queries/dear", DEAR).await;
    assert_eq!(read.json()["row_count"], 2);
    let gone = call(&replica, "GET", "/graphs/shop/branches/review%2Fx", "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "{}", gone.body);
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    let mutation = r#"{"query":"query m() { delete Item where name = \"x\" }"}"#;
    let cases = [
        (
            "POST",
            "/graphs/nowhere/query",
            r#"{"query":"x"}"#,
            404,
            "not_found",
        ),
        (
            "POST",
            "/graphs/shop/query",
            r#"{"query":"query q() {"}"#,
            400,
            "bad_request",
        ),
        ("POST", "/graphs/shop/query", mutation, 400, "bad_request"),
        (
            "POST",
            "/graphs/shop/queries/nothing",
            "{}",
            404,
            "not_found",
        ),
        (
            "POST",
            "/graphs/shop/queries/dear",
            "{}",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/graphs/shop/queries/dear",
            r#"{"expect_mutation":true}"#,
            400,
            "bad_request",
        ),
        (
            "GET",
            "/graphs/shop/snapshot?branch=none",
            "",
            404,
            "not_found",
        ),
        (
            "GET",
            "/graphs/shop/commits/nothing",
            "",
            400,
            "bad_request",
        ),
        (
            "DELETE",
            "/graphs/shop/branches/main",
            "",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/graphs/shop/branches",
            r#"{"name":"main"}"#,
            400,
            "bad_request",
        ),
        (
            "POST",
            "/graphs/shop/load/ndjson",
            "{\"type\":\"Nothing\",\"data\":{}}\n",
            400,
            "bad_request",
        ),
        (
            "POST",
            "/graphs/shop/schema/apply",
            r#"{"schema_source":""}"#,
            409,
            "conflict",
        ),
    ];
    for (method, path, body, status, code) in cases {
        let got = call(&replica, method, path, body).await;
        assert_eq!(
            got.status.as_u16(),
            status,
            "{method} {path} {body}: {}",
            got.body
        );
        assert_eq!(got.json()["code"], code, "{path}");
    }
    let got = call(
        &replica,
        "POST",
        "/graphs/shop/query",
        r#"{"query":"query q() {"}"#,
    )
    .await;
    assert!(
        got.json()["diagnostics"][0]["span"]["line"].is_u64(),
        "{}",
        got.body
    );
    let bad = "{\"type\":\"Item\",\"data\":{\"name\":\"a\",\"price\":1}}\n{\"type\":\"Item\",\"data\":{}}\n";
    let got = call(&replica, "POST", "/graphs/shop/load/ndjson", bad).await;
    assert_eq!(got.json()["diagnostics"][0]["line"], 2, "{}", got.body);
}

#[tokio::test]
async fn a_condition_holds_or_nothing_happens() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    let loaded = ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    let path = "/graphs/shop/queries/reprice/if-graph-commit";
    let body = r#"{"params":{"name":"nail","price":3}}"#;
    let condition = ("omnigraph-if-graph-commit", loaded.commit.as_str());
    let first = call_with(&replica, "POST", path, condition, body).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    let second = call_with(&replica, "POST", path, condition, body).await;
    assert_eq!(
        second.status,
        StatusCode::PRECONDITION_FAILED,
        "{}",
        second.body
    );
    assert_eq!(
        second.json()["precondition_failure"]["actual"],
        first.commit
    );
    let min = ("omnigraph-min-commit", first.commit.as_str());
    let read = call_with(&replica, "POST", "/graphs/shop/queries/dear", min, DEAR).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.body);
}

#[tokio::test]
async fn health_and_reflection_answer_generic_clients() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let mut health = HealthClient::new(replica.routes());
    let names = ["", "graph/shop", "omnigraph.data.v1.GraphService"];
    for service in names {
        let asked = HealthCheckRequest {
            service: service.to_owned(),
        };
        let follow = async {
            // The health board follows the replica; it may be one step behind.
            loop {
                let answer = health.check(asked.clone()).await;
                if answer.is_ok_and(|a| a.into_inner().status() == ServingStatus::Serving) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, follow).await.expect(service);
    }
    let reflected = super::super::service::reflection().build_v1();
    assert!(reflected.is_ok());
}

#[tokio::test]
async fn a_damaged_input_is_the_senders_fault() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let path = "/graphs/shop/load/ndjson?mode=append";
    for encoding in ["gzip", "zstd"] {
        let header = ("content-encoding", encoding);
        let got = call_with(&replica, "POST", path, header, ITEMS).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.body);
        assert_eq!(got.json()["diagnostics"][0]["code"], "R423");
    }
    let header = ("content-encoding", "identity");
    let got = call_with(&replica, "POST", path, header, ITEMS).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.body);
}

#[tokio::test]
async fn paths_lists_and_unions_come_through_in_every_format() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    ok(
        &replica,
        "POST",
        "/graphs/shop/load/ndjson?mode=append",
        ITEMS,
    )
    .await;
    let source = r#"query q() {
        match { $i: Item { name: "saw" }  path $r = shortest $i needs{1,3} $j }
        return { $r as whole, nodes($r) as via, length($r) as n } }"#;
    let body = json!({"query": source}).to_string();
    let read = ok(&replica, "POST", "/graphs/shop/query", &body).await;
    let row = &read.json()["rows"][0];
    assert_eq!(row["via"], json!(["saw", "nail"]));
    assert_eq!(row["n"], 1);
    assert_eq!(
        row["whole"]["nodes"],
        json!([{"type": "Item", "id": "saw"}, {"type": "Item", "id": "nail"}])
    );
    let edge = &row["whole"]["edges"][0];
    assert_eq!(
        (&edge["type"], &edge["from"], &edge["to"]),
        (&json!("Needs"), &json!("saw"), &json!("nail"))
    );
    assert_eq!(row["whole"]["length"], 1);

    let lines = call_with(
        &replica,
        "POST",
        "/graphs/shop/query",
        ("accept", "application/x-ndjson"),
        &body,
    )
    .await;
    let line: Vec<serde_json::Value> = lines
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    assert_eq!(&line[1], row, "{}", lines.body);

    let source = r#"query q() {
        match { $i: Item } return { $i.name as n, [$i.price, 1] as l }
        union match { $i: Item } return { $i.name, [$i.price, 1] } order { n } }"#;
    let body = json!({"query": source, "int64": "string"}).to_string();
    let read = ok(&replica, "POST", "/graphs/shop/query", &body).await;
    assert_eq!(
        read.json()["rows"],
        json!([{"n": "nail", "l": [1, 1]}, {"n": "saw", "l": ["9007199254740993", 1]}])
    );
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn plans_of_stored_and_other_queries() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    ok(
        &replica,
        "POST",
        "/graphs/shop/load/ndjson?mode=append",
        ITEMS,
    )
    .await;
    // A plan needs no values of parameters.
    let body = r#"{"name":"dear"}"#;
    let plan = ok(&replica, "POST", "/graphs/shop/explain", body).await;
    let plan = plan.json();
    assert_eq!(plan["mode"], "explain");
    assert_eq!(plan["params"], json!({"least": "I64"}));
    assert_eq!(
        plan["operation"]["reads"],
        json!([{"kind": "node", "type_name": "Item"}])
    );
    assert_eq!(plan["operation"]["result"][1]["kind"], "bigint");
    assert!(plan["plan"]["est_rows"].is_number() && plan.get("totals").is_none());
    assert_eq!(plan["logical_plan"]["op"], "sort");
    let text = plan["text"].as_str().expect("a text");
    assert!(
        text.contains("scan $i: Item where $i.price >= $least"),
        "{text}"
    );

    let body = r#"{"name":"dear","params":{"least":2},"mode":"profile"}"#;
    let profile = ok(&replica, "POST", "/graphs/shop/explain", body).await;
    let profile = profile.json();
    assert_eq!(profile["result"]["row_count"], 1);
    assert_eq!(
        profile["result"]["rows"],
        json!([{"name": "saw", "price": 9_007_199_254_740_993_i64}])
    );
    assert_eq!(profile["plan"]["rows"], 1);
    assert!(profile["totals"]["rows_scanned"].as_u64() > Some(0));

    // A mutation is planned without effect, and commits when it is profiled.
    let head = ok(&replica, "GET", "/graphs/shop/commits", "").await.json();
    let head = &head["commits"][0]["graph_commit_id"];
    let body = r#"{"name":"reprice"}"#;
    let plan = ok(&replica, "POST", "/graphs/shop/explain", body).await;
    assert_eq!(plan.json()["plan"]["children"][0]["op"], "update");
    assert_eq!(&plan.json()["graph_commit_id"], head);
    let body = r#"{"name":"reprice","params":{"name":"nail","price":5},"mode":"profile"}"#;
    let profile = ok(&replica, "POST", "/graphs/shop/explain", body).await;
    let profile = profile.json();
    assert_eq!(
        profile["result"]["statements"],
        json!([{"kind": "update", "type": "Item", "nodes": 1, "edges": 0}])
    );
    assert_eq!(profile["plan"]["children"][0]["rows"], 1);
    assert_ne!(&profile["graph_commit_id"], head);
    let pinned = json!({"name": "reprice", "params": {"name": "nail", "price": 6},
        "mode": "profile", "snapshot": head});
    let refused = call(
        &replica,
        "POST",
        "/graphs/shop/explain",
        &pinned.to_string(),
    )
    .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    let unknown = call(&replica, "POST", "/graphs/shop/explain", r#"{"name":"x"}"#).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.body);
    let wrong = r#"{"name":"dear","params":{"least":"x"}}"#;
    let wrong = call(&replica, "POST", "/graphs/shop/explain", wrong).await;
    assert_eq!(wrong.json()["diagnostics"][0]["code"], "R432");
    assert!(replica.stop(LONG).await);
}
