//! Rules of request headers.

use axum::body::Body;
use http::{Request, StatusCode};

use super::fake::{COMMIT, Fake};
use super::{post, post_with, request, send};

const QUERY: &str = r#"{"query":"q"}"#;
const READ: &str = "/graphs/debian/query";
const MUTATE: &str = "/graphs/debian/mutate";
const MUTATE_IF: &str = "/graphs/debian/mutate/if-graph-commit";
const IF: &str = "omnigraph-if-graph-commit";

async fn status(request: Request<Body>) -> StatusCode {
    send(&Fake::default(), request).await.status
}

#[tokio::test]
async fn malformed_headers_are_refused() {
    let cases = [
        (READ, "omnigraph-timeout-ms", "0"),
        (READ, "omnigraph-timeout-ms", "3600001"),
        (READ, "omnigraph-timeout-ms", "soon"),
        (READ, "omnigraph-max-rows", "0"),
        (READ, "omnigraph-max-rows", "-1"),
        (READ, "omnigraph-consistency", "eventual"),
        (READ, "omnigraph-consistency", "bounded="),
        (READ, "omnigraph-min-commit", "\"x\""),
        (MUTATE, "idempotency-key", ""),
        (MUTATE, "idempotency-key", "a b"),
        (MUTATE, IF, COMMIT),
        ("/graphs/debian/queries/set", IF, COMMIT),
        (MUTATE_IF, IF, "*"),
        (MUTATE_IF, IF, ""),
        (MUTATE_IF, IF, "\"01JDB4\""),
        (MUTATE_IF, IF, "W/01JDB4"),
        (MUTATE_IF, IF, "01JDB4, 01JDB5"),
    ];
    for (path, name, value) in cases {
        let got = send(&Fake::default(), post_with(path, QUERY, (name, value))).await;
        assert_eq!(
            got.status,
            StatusCode::BAD_REQUEST,
            "{path} {name}: {value}"
        );
        assert_eq!(got.json()["code"], "bad_request");
    }
}

#[tokio::test]
async fn the_condition_is_needed_once_on_its_route() {
    assert_eq!(
        status(post(MUTATE_IF, QUERY)).await,
        StatusCode::BAD_REQUEST
    );
    let fake = Fake::default();
    let got = send(&fake, post_with(MUTATE_IF, QUERY, (IF, COMMIT))).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(
        fake.asked()
            .contains(&format!("if_head_commit: \"{COMMIT}\""))
    );
    let json = ("content-type", "application/json");
    let twice = request(
        "POST",
        MUTATE_IF,
        &[json, (IF, COMMIT), (IF, COMMIT)],
        QUERY,
    );
    assert_eq!(status(twice).await, StatusCode::BAD_REQUEST);
    let on_read = post_with(
        "/graphs/debian/queries/set/if-graph-commit",
        "{}",
        (IF, COMMIT),
    );
    let got = send(&fake, on_read).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(
        fake.asked().contains("require_mutation: true"),
        "{}",
        fake.asked()
    );
    // The refusal on the plain route names the conditional one.
    let got = send(&fake, post_with(MUTATE, QUERY, (IF, COMMIT))).await;
    assert!(
        got.text().contains("/mutate/if-graph-commit"),
        "{}",
        got.text()
    );
}

#[tokio::test]
async fn headers_become_fields() {
    let fake = Fake::default();
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("omnigraph-min-commit", COMMIT),
        ("omnigraph-consistency", "bounded=250"),
        ("omnigraph-max-rows", "17"),
        ("omnigraph-timeout-ms", "1500"),
    ];
    let got = send(&fake, request("POST", READ, &headers, QUERY)).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let asked = fake.asked();
    for part in [COMMIT, "max_staleness_ms: Some(250)", "max_rows: 17"] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(
        fake.metadata().contains("\"grpc-timeout\": \"1500"),
        "{}",
        fake.metadata()
    );
    let key = post_with(MUTATE, QUERY, ("idempotency-key", "k-1"));
    send(&fake, key).await;
    assert!(fake.asked().contains("idempotency_key: \"k-1\""));
    let pinned = format!(r#"{{"query":"q","snapshot":"{COMMIT}"}}"#);
    let min = post_with(READ, &pinned, ("omnigraph-min-commit", COMMIT));
    assert_eq!(status(min).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let fake = Fake::default();
    let got = send(
        &fake,
        post_with(READ, QUERY, ("x-request-id", "abc.DEF-1_2")),
    )
    .await;
    assert_eq!(got.header("x-request-id"), "abc.DEF-1_2");
    assert!(fake.metadata().contains("abc.DEF-1_2"));
    let got = send(&fake, post_with(READ, QUERY, ("x-request-id", "no spaces"))).await;
    assert_eq!(got.header("x-request-id").len(), 26);
    let got = send(&fake, super::get("/nothing")).await;
    assert_eq!(got.header("x-request-id").len(), 26);
}

#[tokio::test]
async fn credentials_and_traces_are_forwarded_and_actors_are_not() {
    let fake = Fake::default();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer t"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-actor-id", "act-mallory"),
        ("omnigraph-actor", "act-mallory"),
    ];
    send(&fake, request("POST", READ, &headers, QUERY)).await;
    let metadata = fake.metadata();
    assert!(metadata.contains("Bearer t") && metadata.contains("0af7651916cd43dd8448eb211c80319c"));
    assert!(!metadata.contains("mallory"), "{metadata}");
}

#[tokio::test]
async fn a_stale_graph_says_so() {
    let got = send(&Fake::stale(), post(READ, QUERY)).await;
    assert_eq!(got.header("omnigraph-graph-status"), "stale");
}
