//! The router over a replica that is made up here.

mod blob;
mod changes;
mod errors;
mod fake;
mod headers;
mod results;
mod routes;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{Options, router};
use fake::Fake;

/// An answer, completely read. `whole` is false when the body was aborted.
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) whole: bool,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a json body")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("visible ascii"))
    }
}

pub(crate) async fn send(fake: &Fake, request: Request<Body>) -> Got {
    send_with(fake, Options::default(), request).await
}

pub(crate) async fn send_with(fake: &Fake, options: Options, request: Request<Body>) -> Got {
    let app = router(fake.upstream(), options);
    let response = app.oneshot(request).await.expect("routers do not fail");
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Got {
        status: parts.status,
        headers: parts.headers,
        body: bytes.into(),
        whole,
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, &[], "")
}

pub(crate) fn post(path: &str, body: &str) -> Request<Body> {
    request("POST", path, &[("content-type", "application/json")], body)
}

pub(crate) fn post_with(path: &str, body: &str, header: (&str, &str)) -> Request<Body> {
    let json = ("content-type", "application/json");
    request("POST", path, &[json, header], body)
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Body::from(body.to_owned()))
        .expect("a well-formed request")
}
