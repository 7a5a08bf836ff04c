//! The data plane: HTTP requests to a gateway, or to the gateway's router in this process.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use super::embedded::Embedded;
use crate::error::{Error, Result};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What is sent.
pub(crate) type Body = BoxBody<Bytes, BoxError>;
/// What comes back, maybe streamed.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;
/// One door, whatever is behind it.
pub(crate) type Door = BoxCloneSyncService<Request<Body>, Answer, Error>;

/// A path segment or query value: everything but the unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What may be repeated is tried so often when the replica is not ready or away.
pub(crate) const TRIES: u32 = 4;
/// The longest pause between tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the requests of the data verbs.
pub(crate) struct DataClient {
    door: Door,
    /// What people are told: the URL, or the directory.
    pub(crate) label: String,
    /// Where losing data concerns nobody else.
    pub(crate) local: bool,
    token: Option<String>,
    timeout: Option<Duration>,
    request_id: Option<String>,
    embedded: Option<Embedded>,
}

/// What every request carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) request_id: Option<String>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    /// May be repeated without effect.
    safe: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path.into(), None, true)
    }

    /// A read of headers alone.
    pub(crate) fn head(path: impl Into<String>) -> Call {
        Call::new(Method::HEAD, path.into(), None, true)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call::new(Method::DELETE, path.into(), None, false)
    }

    /// A read that needs a body.
    pub(crate) fn ask(path: impl Into<String>, body: serde_json::Value) -> Call {
        Call::new(Method::POST, path.into(), Some(body), true)
    }

    /// A write.
    pub(crate) fn post(path: impl Into<String>, body: serde_json::Value) -> Call {
        Call::new(Method::POST, path.into(), Some(body), false)
    }

    fn new(method: Method, path: String, body: Option<serde_json::Value>, safe: bool) -> Call {
        Call {
            method,
            path,
            query: String::new(),
            headers: Vec::new(),
            body,
            safe,
        }
    }

    /// Adds a query parameter when there is a value.
    pub(crate) fn query(mut self, name: &str, value: Option<&str>) -> Call {
        if let Some(value) = value {
            self.query
                .push(if self.query.is_empty() { '?' } else { '&' });
            self.query.push_str(&format!("{name}={}", escape(value)));
        }
        self
    }

    /// Adds a header when there is a value.
    pub(crate) fn header(mut self, name: &'static str, value: Option<&str>) -> Call {
        if let Some(value) = value {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// Makes a write repeatable by a key: the caller's, or one of its own.
    pub(crate) fn keyed(mut self, key: Option<&str>) -> Call {
        self.safe = true;
        let key = key.map_or_else(fresh_key, str::to_owned);
        self.headers.push(("idempotency-key", key));
        self
    }

    fn body(&self) -> Body {
        let bytes = self.body.as_ref().map(|body| Bytes::from(body.to_string()));
        full(bytes.unwrap_or_default())
    }
}

/// A key that nobody else uses.
pub(crate) fn fresh_key() -> String {
    format!("omnigraphctl-{}", ulid::Ulid::new())
}

/// Whether it may be answered when it is sent again: the replica is away or not ready, or still
/// works on the first one.
pub(crate) fn may_pass(error: &Error) -> bool {
    let running = error.detail.get("idempotency_conflict");
    let running = running.is_some_and(|conflict| conflict["cause"] == "in_progress");
    running || matches!(error.reason.as_str(), "unavailable" | "graph_loading")
}

/// `review/x` as one path segment.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

impl DataClient {
    /// A gateway at a URL.
    pub(crate) fn gateway(url: &str, credentials: Credentials, local: bool) -> Result<DataClient> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // An external blob is pointed at, and never read by way of this client.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("omnigraphctl/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::failed(format!("http client: {}", chain(&e))))?;
        let base = url.trim_end_matches('/').to_owned();
        reqwest::Url::parse(&base)
            .map_err(|e| Error::usage(format!("'{url}' is not a URL: {e}")))?;
        let label = base.clone();
        let door = tower::service_fn(move |request: Request<Body>| {
            let client = client.clone();
            let url = format!("{base}{}", request.uri());
            let base = base.clone();
            async move {
                let request = outgoing(&url, request)?;
                let response = client.execute(request).await;
                let response = response.map_err(|e| {
                    Error::unavailable(format!("cannot reach {base}: {}", chain(&e)))
                        .with_hint("is the server running, and is the address right?")
                })?;
                let response: http::Response<reqwest::Body> = response.into();
                Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
            }
        });
        Ok(DataClient::new(
            BoxCloneSyncService::new(door),
            label,
            local,
            credentials,
            None,
        ))
    }

    /// A door in this process. The owner of what is behind it is kept and closed with the client.
    pub(crate) fn new(
        door: Door,
        label: String,
        local: bool,
        credentials: Credentials,
        embedded: Option<Embedded>,
    ) -> DataClient {
        DataClient {
            door,
            label,
            local,
            token: credentials.token,
            timeout: credentials.timeout,
            request_id: credentials.request_id,
            embedded,
        }
    }

    /// Ends what runs behind the client.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }

    /// Says on stderr where a write goes.
    pub(crate) fn target(&self, verb: &str, graph: &str, branch: &str) -> String {
        let how = match self.embedded {
            Some(_) => "embedded",
            None => "served",
        };
        format!("→ {verb} into {graph}@{branch} at {} ({how})", self.label)
    }

    /// Sends one request and answers with whatever came.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Answer> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let timeout_ms = self.timeout.map(|t| t.as_millis().to_string());
        let common = [
            ("authorization", bearer),
            ("omnigraph-timeout-ms", timeout_ms),
            ("x-request-id", self.request_id.clone()),
        ];
        for (name, value) in common {
            let Some(value) = value else { continue };
            let mut value = http::HeaderValue::from_str(&value).map_err(|_| {
                Error::usage(format!(
                    "the value for the header {name} is not visible ASCII"
                ))
            })?;
            value.set_sensitive(name == "authorization");
            request.headers_mut().insert(name, value);
        }
        self.door.clone().oneshot(request).await
    }

    /// Sends a call once and answers with whatever came.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Answer> {
        self.send(request(call)?).await
    }

    /// Sends a call and refuses every answer but success. Reads, and writes with a key, are repeated
    /// while the replica says that it is not ready.
    pub(crate) async fn open(&self, call: &Call) -> Result<Answer> {
        let mut tries = 1;
        loop {
            let answer = self.send(request(call)?).await;
            let (error, pause) = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let pause = retry_after(&answer);
                    (refused(answer).await, pause)
                }
                Err(error) => (error, None),
            };
            let pause = pause.unwrap_or(Duration::from_millis(200 * u64::from(tries)));
            if !call.safe || tries == TRIES || !may_pass(&error) {
                return Err(error);
            }
            tokio::time::sleep(pause.min(RETRY_PAUSE_MAX)).await;
            tries += 1;
        }
    }

    /// Sends a call and reads the whole answer.
    pub(crate) async fn text(&self, call: &Call) -> Result<String> {
        let answer = self.open(call).await?;
        read(answer).await
    }

    /// Sends a call and reads the answer, as it came and understood.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<(T, String)> {
        let text = self.text(call).await?;
        Ok((understand(&text)?, text))
    }
}

/// Reads an answer as one of our shapes.
pub(crate) fn understand<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        Error::failed(format!("the server's answer has an unexpected shape: {e}"))
            .with_hint("are this program and the server of the same version?")
    })
}

/// A refusal, read to its end.
pub(crate) async fn refused(answer: Answer) -> Error {
    let status = answer.status().as_u16();
    match read(answer).await {
        Ok(body) => Error::from_http(status, &body),
        Err(error) => error,
    }
}

async fn read(answer: Answer) -> Result<String> {
    let collected = answer.into_body().collect().await.map_err(broken)?;
    String::from_utf8(collected.to_bytes().into())
        .map_err(|_| Error::failed("the server's answer is not UTF-8"))
}

/// A body that ended early.
pub(crate) fn broken(error: BoxError) -> Error {
    Error::unavailable(format!("the answer broke off: {error}"))
}

fn request(call: &Call) -> Result<Request<Body>> {
    let mut builder = Request::builder()
        .method(call.method.clone())
        .uri(format!("{}{}", call.path, call.query));
    if call.body.is_some() {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in &call.headers {
        builder = builder.header(*name, value);
    }
    builder
        .body(call.body())
        .map_err(|e| Error::usage(format!("the request cannot be written: {e}")))
}

fn outgoing(url: &str, request: Request<Body>) -> Result<reqwest::Request> {
    let url =
        reqwest::Url::parse(url).map_err(|e| Error::usage(format!("'{url}' is not a URL: {e}")))?;
    let (parts, body) = request.into_parts();
    let mut outgoing = reqwest::Request::new(parts.method, url);
    *outgoing.headers_mut() = parts.headers;
    let size = http_body::Body::size_hint(&body).exact();
    if size != Some(0) {
        *outgoing.body_mut() = Some(reqwest::Body::wrap(body));
    }
    Ok(outgoing)
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let seconds = answer.headers().get("retry-after")?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// An error with its causes: the outermost alone says too little.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn client(door: Door) -> DataClient {
        let credentials = Credentials {
            token: Some("secret".into()),
            timeout: Some(Duration::from_secs(5)),
            request_id: Some("r1".into()),
        };
        DataClient::new(door, "test".into(), true, credentials, None)
    }

    fn answer(status: u16, body: &'static str) -> Answer {
        let body = Full::new(Bytes::from(body))
            .map_err(|never| match never {})
            .boxed_unsync();
        Response::builder()
            .status(status)
            .header("retry-after", "0")
            .body(body)
            .unwrap()
    }

    #[tokio::test]
    async fn requests_carry_credentials_and_escaped_paths() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let door = BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
            let line = format!(
                "{} {} {:?} {:?} {:?}",
                request.method(),
                request.uri(),
                request.headers()["authorization"].to_str().unwrap(),
                request.headers()["omnigraph-timeout-ms"].to_str().unwrap(),
                request.headers()["x-request-id"].to_str().unwrap(),
            );
            log.lock().unwrap().push(line);
            async { Ok(answer(200, "{}")) }
        }));
        let call = Call::get(format!("/graphs/g/branches/{}", escape("review/x y")))
            .query("limit", Some("5"))
            .query("page_token", None)
            .query("a", Some("b&c"));
        client(door).text(&call).await.unwrap();
        assert_eq!(
            *seen.lock().unwrap(),
            [
                r#"GET /graphs/g/branches/review%2Fx%20y?limit=5&a=b%26c "Bearer secret" "5000" "r1""#
            ]
        );
    }

    #[tokio::test]
    async fn only_reads_are_repeated() {
        const LOADING: &str =
            r#"{"error":"graph 'g' is loading","code":"graph_loading","request_id":"r"}"#;
        for (call, expected) in [
            (Call::get("/graphs/g"), TRIES),
            (Call::ask("/graphs/g/query", serde_json::json!({})), TRIES),
            (Call::post("/graphs/g/mutate", serde_json::json!({})), 1),
        ] {
            let tries = Arc::new(Mutex::new(0));
            let counter = tries.clone();
            let door = BoxCloneSyncService::new(tower::service_fn(move |_: Request<Body>| {
                *counter.lock().unwrap() += 1;
                async { Ok(answer(503, LOADING)) }
            }));
            let error = client(door).text(&call).await.unwrap_err();
            assert_eq!(error.reason, "graph_loading");
            assert_eq!(*tries.lock().unwrap(), expected);
        }
    }
}
