//! Idempotency keys through the doors: a request that is sent again is answered again.

use http::StatusCode;
use omnigraph_proto::common::v1::WriteOptions;
use omnigraph_proto::data::v1::MutateRequest;

use super::{ITEMS, LONG, QUERIES, SCHEMA, World, call_with, ok};

const KEY: (&str, &str) = ("idempotency-key", "k-1");
const LOAD: &str = "/graphs/shop/load/ndjson?mode=append";

#[tokio::test]
async fn a_key_makes_repeats_safe_on_every_write_route() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let reprice = r#"{"params":{"name":"nail","price":"3"}}"#;
    let source = "query paint() { update Item set { price: 7 } where name = \"saw\" }";
    let adhoc = serde_json::json!({ "query": source }).to_string();
    for (key, path, body) in [
        ("k-1", LOAD, ITEMS),
        ("k-2", "/graphs/shop/queries/reprice", reprice),
        ("k-3", "/graphs/shop/mutate", adhoc.as_str()),
    ] {
        let key = ("idempotency-key", key);
        let first = call_with(&replica, "POST", path, key, body).await;
        assert_eq!(first.status, StatusCode::OK, "{path}: {}", first.body);
        assert!(!first.replayed && !first.commit.is_empty(), "{path}");
        let again = call_with(&replica, "POST", path, key, body).await;
        assert!(again.replayed, "{path}");
        assert_eq!(
            (again.commit, again.body),
            (first.commit, first.body),
            "{path}"
        );
    }
    // A stored query is known by its name, whatever was edited in it since.
    let edited = QUERIES.replace("set { price: $price }", "set { price: $price  }");
    assert_ne!(edited, QUERIES);
    world.apply(SCHEMA, &edited).await;
    let key = ("idempotency-key", "k-2");
    let path = "/graphs/shop/queries/reprice";
    assert!(
        call_with(&replica, "POST", path, key, reprice)
            .await
            .replayed
    );

    let other = r#"{"params":{"name":"nail","price":"4"}}"#;
    let refused = call_with(&replica, "POST", path, key, other).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let conflict = &refused.json()["idempotency_conflict"];
    assert_eq!(conflict["cause"], "payload_mismatch");
    assert_eq!(conflict["key"], "k-2");
    assert_eq!(refused.json()["code"], "conflict");
    let commits = ok(&replica, "GET", "/graphs/shop/commits", "").await;
    assert_eq!(commits.json()["commits"].as_array().map(Vec::len), Some(4));
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_request_that_committed_nothing_leaves_its_key_free() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let wrong = ITEMS.replace("9007199254740993", "\"dear\"");
    let refused = call_with(&replica, "POST", LOAD, KEY, &wrong).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    let path = "/graphs/shop/queries/reprice";
    let nobody = r#"{"params":{"name":"nobody","price":"3"}}"#;
    let nothing = call_with(&replica, "POST", path, KEY, nobody).await;
    assert_eq!(
        (nothing.status, &nothing.json()["commit"]),
        (StatusCode::OK, &serde_json::Value::Null)
    );
    let loaded = call_with(&replica, "POST", LOAD, KEY, ITEMS).await;
    assert_eq!(loaded.status, StatusCode::OK, "{}", loaded.body);
    assert!(!loaded.replayed);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn grpc_takes_the_key_as_a_field_or_as_metadata() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    ok(&replica, "POST", LOAD, ITEMS).await;
    let mutate = |field: &str, metadata: &[&'static str]| {
        let mut request = tonic::Request::new(MutateRequest {
            graph_id: "shop".to_owned(),
            query: "query paint() { update Item set { price: 7 } where name = \"saw\" }".to_owned(),
            options: Some(WriteOptions {
                idempotency_key: field.to_owned(),
                ..WriteOptions::default()
            }),
            ..MutateRequest::default()
        });
        for value in metadata {
            let value = tonic::metadata::MetadataValue::from_static(value);
            request.metadata_mut().append("idempotency-key", value);
        }
        let mut graphs = replica.upstream().graphs();
        async move {
            graphs
                .mutate(request)
                .await
                .map(|answer| answer.into_inner().result)
        }
    };
    let first = mutate("k", &[])
        .await
        .expect("an answer")
        .expect("a result");
    assert!(!first.replayed);
    for (field, metadata) in [("", &["k"][..]), ("k", &["k"]), ("", &["k", "k"])] {
        let again = mutate(field, metadata).await.expect("an answer");
        let again = again.expect("a result");
        assert!(again.replayed);
        assert_eq!(again.commit, first.commit);
    }
    for (field, metadata) in [("k", &["l"][..]), ("", &["k", "l"]), ("", &["a b"])] {
        let refused = mutate(field, metadata).await.expect_err("two keys");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    }
    assert!(replica.stop(LONG).await);
}
