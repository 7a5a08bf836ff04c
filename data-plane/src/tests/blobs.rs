//! Blobs through the embedded gateway, down to the storage.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::{LONG, World, call, ok};
use crate::Replica;

const SCHEMA: &str = "node Item {\n    name: String @key\n    price: I64\n    photo: Blob?\n}\n\nedge Needs: Item -> Item\n";
const QUERIES: &str = "query show($name: String, $photo: Blob) {\n    upsert Item { name: $name, price: 1, photo: $photo }\n}\n";
const PATH: &str = "/graphs/shop/blob?entity=node&type=Item&property=photo&id=";

async fn blob(
    replica: &Replica,
    method: &str,
    id: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let app = omnigraph_gateway::router(replica.upstream(), omnigraph_gateway::Options::default());
    let mut request = Request::builder().method(method).uri(format!("{PATH}{id}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("routers do not fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn written_by_a_query_and_read_by_range() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let show = json!({"params": {"name": "nail", "photo": "base64:aGVsbG8gd29ybGQ="}});
    let route = "/graphs/shop/queries/show";
    let first = ok(&replica, "POST", route, &show.to_string()).await;

    let (status, headers, body) = blob(&replica, "GET", "nail", &[]).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"hello world"[..]));
    assert_eq!(headers["omnigraph-snapshot-id"], first.commit.as_str());
    let etag = headers["etag"].to_str().expect("ascii").to_owned();

    let range = [("range", "bytes=-5"), ("if-range", etag.as_str())];
    let (status, headers, body) = blob(&replica, "GET", "nail", &range).await;
    assert_eq!(
        (status, &body[..]),
        (StatusCode::PARTIAL_CONTENT, &b"world"[..])
    );
    assert_eq!(headers["content-range"], "bytes 6-10/11");
    let known = [("if-none-match", etag.as_str())];
    let (status, _, _) = blob(&replica, "GET", "nail", &known).await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    let (status, headers, _) = blob(&replica, "GET", "nail", &[("range", "bytes=11-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], "bytes */11");

    // Other content: the tag has changed, and the old snapshot keeps its own.
    let show = json!({"params": {"name": "nail", "photo": "base64:bmV3"}});
    ok(&replica, "POST", route, &show.to_string()).await;
    let (status, headers, body) = blob(&replica, "GET", "nail", &range).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"new"[..]));
    assert_ne!(headers["etag"], etag.as_str());
    let pinned = format!("nail&snapshot={}", first.commit);
    let (_, _, body) = blob(&replica, "GET", &pinned, &[]).await;
    assert_eq!(&body[..], b"hello world");
    let (status, headers, body) = blob(&replica, "HEAD", "nail", &[]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "3");
}

#[tokio::test]
async fn external_objects_are_refused_where_none_are_declared() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let show = json!({"params": {"name": "nail", "photo": "file:///etc/hostname"}}).to_string();
    let got = call(&replica, "POST", "/graphs/shop/queries/show", &show).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.body);
    assert_eq!(got.json()["diagnostics"][0]["code"], "R421");
    let (status, _, _) = blob(&replica, "GET", "nail", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
