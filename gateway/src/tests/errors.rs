//! Every refusal has the one error body.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use omnigraph_proto::common::v1::{ErrorReason, GraphState};
use omnigraph_proto::error::{ROWS, WireError};

use super::fake::Fake;
use super::{get, post, request, send};

const QUERY: &str = r#"{"query":"q"}"#;

#[tokio::test]
async fn every_row_of_the_table_crosses() {
    for row in ROWS.iter().filter(|row| row.http.is_some()) {
        let error = WireError::new(row.reason, "the thing").with_hint("do that");
        let fake = Fake::refusing(error);
        let got = send(&fake, post("/graphs/debian/query", QUERY)).await;
        let reason = row.reason.as_str_name();
        assert_eq!(Some(got.status.as_u16()), row.http, "{reason}");
        let body = got.json();
        assert_eq!(body["code"].as_str(), row.code, "{reason}");
        assert_eq!(body["request_id"], got.header("x-request-id"), "{reason}");
        if row.code != Some("internal") {
            assert_eq!(body["error"], "the thing", "{reason}");
            assert_eq!(body["hint"], "do that", "{reason}");
        }
        let retry = row.retry_after_s.map_or(String::new(), |s| s.to_string());
        assert_eq!(got.header("retry-after"), retry, "{reason}");
    }
}

#[tokio::test]
async fn details_cross_field_by_field() {
    let loading = WireError::graph_unavailable("debian", GraphState::Loading, "loading", "soon");
    let got = send(&Fake::refusing(loading), get("/graphs/debian/schema")).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.header("retry-after"), "1");
    assert_eq!(got.json()["graph_unavailable"]["state"], "loading");

    let moved = WireError::precondition_failed("main", "A", "B");
    let got = send(
        &Fake::refusing(moved),
        request("DELETE", "/graphs/d/branches/x", &[], ""),
    )
    .await;
    assert_eq!(got.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(got.json()["precondition_failure"]["actual"], "B");
    assert!(got.json().get("code").is_none());

    let transient = WireError::resource_limit("stream_export_transport_bytes", 16, 17)
        .with_retry_after(Duration::from_millis(1500));
    let got = send(&Fake::refusing(transient), post("/graphs/d/export", "{}")).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.header("retry-after"), "2");
}

#[tokio::test]
async fn the_framework_refuses_with_the_same_body() {
    let fake = Fake::default();
    let cases: [(Request<Body>, u16, &str); 13] = [
        (get("/nothing"), 404, "not_found"),
        (get("/query"), 404, "not_found"),
        (get("/graphs/debian/nothing"), 404, "not_found"),
        (get("/graphs/debian/query"), 405, "method_not_allowed"),
        (get("/graphs/no%20id/schema"), 400, "bad_request"),
        (get("/graphs/healthz/schema"), 400, "bad_request"),
        (get("/graphs/debian/commits?limit=0"), 400, "bad_request"),
        (get("/graphs/debian?verbose"), 400, "bad_request"),
        (
            get("/graphs/debian/snapshot?branch=a&branch=b"),
            400,
            "bad_request",
        ),
        (post("/graphs/debian/query", "{"), 400, "bad_request"),
        (
            post("/graphs/debian/query", r#"{"query":1}"#),
            400,
            "bad_request",
        ),
        (
            post("/graphs/debian/export", r#"{"what":1}"#),
            400,
            "bad_request",
        ),
        (
            request("POST", "/graphs/debian/query", &[], QUERY),
            415,
            "bad_request",
        ),
    ];
    for (request, status, code) in cases {
        let shown = format!("{} {}", request.method(), request.uri());
        let got = send(&fake, request).await;
        assert_eq!(got.status.as_u16(), status, "{shown}: {}", got.text());
        assert_eq!(got.json()["code"], code, "{shown}");
        assert_eq!(got.header("content-type"), "application/json", "{shown}");
        assert_eq!(
            got.json()["request_id"],
            got.header("x-request-id"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let got = send(
        &Fake::default(),
        request("PUT", "/graphs/debian/branches", &[], ""),
    )
    .await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        got.header("allow").contains("GET"),
        "{}",
        got.header("allow")
    );
    assert!(
        got.header("allow").contains("POST"),
        "{}",
        got.header("allow")
    );
}

#[tokio::test]
async fn bodies_have_limits() {
    let large = format!(r#"{{"query":"{}"}}"#, "x".repeat(1024 * 1024));
    let got = send(&Fake::default(), post("/graphs/debian/query", &large)).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    let limit = &got.json()["resource_limit"];
    assert_eq!(limit["resource"], "request_body_bytes");
    assert_eq!(limit["limit"], 1024 * 1024);
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    let got = send(&Fake::default(), post("/graphs/debian/load", &large)).await;
    assert_eq!(got.status, StatusCode::OK);
}

#[tokio::test]
async fn the_credential_is_looked_at_first() {
    let fake = Fake::guarded("Bearer good");
    let malformed = || get("/graphs/no%20id/schema");
    let got = send(&fake, malformed()).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    assert_eq!(got.header("www-authenticate"), "Bearer");
    assert_eq!(got.json()["code"], "unauthorized");
    let mut known = malformed();
    known
        .headers_mut()
        .insert("authorization", "Bearer good".parse().expect("ascii"));
    let got = send(&fake, known).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert_eq!(got.header("omnigraph-actor"), "act-ada");
}

#[tokio::test]
async fn a_replica_that_cannot_be_reached_is_unavailable() {
    let upstream = crate::Upstream::connect("127.0.0.1:1").expect("an address");
    let app = crate::router(upstream, crate::Options::default());
    let response = tower::ServiceExt::oneshot(app, get("/graphs")).await;
    let response = response.expect("routers do not fail");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let reason = ErrorReason::Unavailable;
    assert_eq!(omnigraph_proto::error::row(reason).http, Some(503));
}
