//! Texts that become vectors, from the declaration to the answer.

use http::StatusCode;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::data::v1::QueryRequest;
use omnigraph_proto::data::v1::graph_service_client::GraphServiceClient;
use omnigraph_proto::error::WireError;
use serde_json::{Value, json};

use super::{LONG, World, call, ok};
use crate::embedding::testing::{Answer, Server, vectors};
use crate::{Environment, Replica};

const SCHEMA: &str = "node Doc {\n    k: String @key\n    text: String\n    note: String?\n    v: Vector(2) @embed(text, model=\"m\")\n}\n";
const QUERIES: &str = "query near($q: String) {\n    match { $d: Doc }\n    return { $d.k as k }\n    order { nearest($d.v, $q) }\n    limit 1\n}\n\nquery mixed($q: String) {\n    match { $d: Doc }\n    return { $d.k as k, nearest($d.v, $q) as far }\n    order { rrf(nearest($d.v, $q), bm25($d.text, $q)) }\n    limit 1\n}\n\nquery write($k: String, $text: String) {\n    insert Doc { k: $k, text: $text }\n}\n\nquery rewrite($k: String, $text: String) {\n    update Doc set { text: $text } where k = $k\n}\n";
const DOCS: &str = r#"{"type":"Doc","data":{"k":"east","text":"sun","v":[1,0]}}
{"type":"Doc","data":{"k":"north","text":"ice","v":[0,1]}}
"#;

async fn apply(world: &World, provider: &str, graph: &str, queries: &str) -> u64 {
    let cluster = format!(
        "version: 1\nmetadata: {{ name: shop }}\nproviders:\n  embedding:\n    p: {provider}\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n{graph}"
    );
    let files = [
        ("cluster.yaml", cluster.as_str()),
        ("shop.pg", SCHEMA),
        ("queries/q.gq", queries),
    ];
    world.apply_files(&files).await.revision
}

const NAMED: &str = "    embedding_provider: p\n";
const ON_WRITE: &str = "    embedding_provider: p\n    embed_on_write: true\n";

/// Answers to stored queries: the status, and rows or else the error.
async fn invoke(replica: &Replica, query: &str, params: Value) -> (StatusCode, Value) {
    let body = json!({"params": params}).to_string();
    let path = format!("/graphs/shop/queries/{query}");
    let got = call(replica, "POST", &path, &body).await;
    let body = got.json();
    match body.get("rows") {
        Some(rows) => (got.status, rows.clone()),
        None => (got.status, body),
    }
}

#[tokio::test]
async fn a_mock_serves_texts_at_writes_and_in_queries() {
    let world = World::new().await;
    apply(&world, "{ kind: mock }", ON_WRITE, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    for (k, text) in [("a", "red apple"), ("b", "green pear"), ("c", "blue plum")] {
        let (status, answer) = invoke(&replica, "write", json!({"k": k, "text": text})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let near = async |text: &str| invoke(&replica, "near", json!({"q": text})).await.1;
    assert_eq!(near("green pear").await, json!([{"k": "b"}]));
    let rewritten = json!({"k": "b", "text": "yellow quince"});
    assert_eq!(
        invoke(&replica, "rewrite", rewritten).await.0,
        StatusCode::OK
    );
    assert_eq!(near("yellow quince").await, json!([{"k": "b"}]));
    let mixed = invoke(&replica, "mixed", json!({"q": "red apple"})).await;
    assert_eq!(mixed.1, json!([{"k": "a", "far": 0.0}]));
    let rows = r#"{"type":"Doc","data":{"k":"l","text":"black olive"}}"#;
    let load = "/graphs/shop/load/ndjson?mode=merge";
    ok(&replica, "POST", load, rows).await;
    assert_eq!(near("black olive").await, json!([{"k": "l"}]));
    // A text in the source, over gRPC.
    let request = |text: &str| QueryRequest {
        graph_id: "shop".to_owned(),
        query: format!(
            "query q() {{ match {{ $d: Doc }} return {{ $d.k as k }} order {{ nearest($d.v, \"{text}\") }} limit 1 }}"
        ),
        ..QueryRequest::default()
    };
    let mut client = GraphServiceClient::new(replica.routes());
    let frames = client.query(request("blue plum")).await.expect("it runs");
    let mut frames = frames.into_inner();
    let mut rows = 0;
    while let Some(frame) = frames.message().await.expect("it goes on") {
        use omnigraph_proto::data::v1::query_response::Frame;
        if let Some(Frame::Trailer(trailer)) = frame.frame {
            rows = trailer.row_count;
        }
    }
    assert_eq!(rows, 1);

    // Switched off, vectors come with the data again; texts in queries stay possible.
    apply(&world, "{ kind: mock }", NAMED, QUERIES).await;
    let replica = world.replica().await;
    let new = json!({"k": "d", "text": "grey fig"});
    let (status, answer) = invoke(&replica, "write", new).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["diagnostics"][0]["code"], "R410");
    let found = invoke(&replica, "near", json!({"q": "red apple"})).await;
    assert_eq!(found.1, json!([{"k": "a"}]));

    // Without a provider there is nobody to ask.
    apply(&world, "{ kind: mock }", "", QUERIES).await;
    let replica = world.replica().await;
    let (status, answer) = invoke(&replica, "near", json!({"q": "x"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "unavailable");
    assert_eq!(
        answer["error"],
        "R444: a text cannot be made a vector: no embedding provider is configured for this graph; declare one below providers.embedding in cluster.yaml and name it in the graph's embedding_provider, or pass the vector itself"
    );
    let mut client = GraphServiceClient::new(replica.routes());
    let refused = client.query(request("blue plum")).await;
    let refused = WireError::from(&refused.expect_err("nobody to ask"));
    assert_eq!(refused.reason, ErrorReason::Unavailable);
}

#[tokio::test]
async fn a_provider_is_asked_once_for_a_text_and_its_failures_are_told() {
    let server = Server::new([
        vectors(&[&[0.1, 0.9]]),
        Answer::Status(401, "bad key sk-planted".to_owned()),
        vectors(&[&[1.0, 0.0, 0.0]]),
    ])
    .await;
    let provider = format!(
        "{{ kind: openai-compatible, base_url: \"{}\", model: m, api_key: ${{KEY}} }}",
        server.url
    );
    let world = World::new().await;
    apply(&world, &provider, NAMED, QUERIES).await;
    let mut options = world.options();
    options.environment = Environment::new(|name| (name == "KEY").then(|| "sk-planted".to_owned()));
    let replica = Replica::start(options).await.expect("a replica");
    assert!(replica.ready(LONG).await);
    let load = "/graphs/shop/load/ndjson?mode=append";
    ok(&replica, "POST", load, DOCS).await;

    let explained = json!({"query": QUERIES, "name": "near"}).to_string();
    ok(&replica, "POST", "/graphs/shop/explain", &explained).await;
    assert!(server.requests().is_empty(), "a plan asks nobody");
    let cold = json!({"q": "cold"});
    let near = invoke(&replica, "near", cold.clone()).await;
    assert_eq!(near, (StatusCode::OK, json!([{"k": "north"}])));
    assert_eq!(
        invoke(&replica, "mixed", cold.clone()).await.0,
        StatusCode::OK
    );
    // What is known outlives a generation, if the provider stays.
    let wider =
        format!("{QUERIES}query count() {{ match {{ $d: Doc }} return {{ count($d) as n }} }}\n");
    let revision = apply(&world, &provider, NAMED, &wider).await;
    assert!(replica.takes_up(revision, LONG).await);
    assert_eq!(
        invoke(&replica, "count", json!({})).await.1,
        json!([{"n": 2}])
    );
    assert_eq!(invoke(&replica, "near", cold).await.0, StatusCode::OK);
    assert_eq!(server.requests().len(), 1);

    let (status, answer) = invoke(&replica, "near", json!({"q": "warm"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer["error"],
        "R444: embedding provider 'p' answered 401 Unauthorized"
    );
    let (status, answer) = invoke(&replica, "near", json!({"q": "warm"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["code"], "bad_request");
    assert_eq!(
        answer["error"],
        "R446: embedding provider 'p' gave 3 numbers; expected 2 finite numbers"
    );

    let other = provider.replace("model: m", "model: other");
    let revision = apply(&world, &other, NAMED, QUERIES).await;
    assert!(replica.takes_up(revision, LONG).await);
    let (status, answer) = invoke(&replica, "near", json!({"q": "warm"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer["error"],
        "R445: the vectors of Doc.v are of model \"m\", embedding provider 'p' uses \"other\""
    );
}
