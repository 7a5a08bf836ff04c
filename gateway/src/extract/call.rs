//! One request on its way to the replica: credential, request id, trace context, time budget.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use http::HeaderMap;
use http::request::Parts;
use omnigraph_proto::data::v1::graph_service_client::GraphServiceClient;
use omnigraph_proto::data::v1::maintenance_service_client::MaintenanceServiceClient;
use tonic::metadata::{MetadataMap, MetadataValue};
use ulid::Ulid;

use super::headers;
use crate::app::AppState;
use crate::errors::ApiError;
use crate::options::Options;
use crate::upstream::{Transport, Upstream};

/// Names a request in answers and logs.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's id if it is well-formed, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|text| {
                let well_formed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
                (1..=128).contains(&text.len()) && text.bytes().all(well_formed)
            });
        match given {
            Some(text) => RequestId(text.into()),
            None => RequestId(Ulid::new().to_string().into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The metadata that a replica gets: never an actor.
pub(crate) fn forwarded_metadata(request: &Request) -> MetadataMap {
    metadata(request.headers(), request.extensions().get::<RequestId>())
}

fn metadata(headers: &HeaderMap, id: Option<&RequestId>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for name in ["authorization", "traceparent", "tracestate"] {
        // Repeated credentials are passed on as such: the replica refuses them.
        for value in headers.get_all(name) {
            if let Ok(value) = MetadataValue::try_from(value.as_bytes()) {
                metadata.append(name, value);
            }
        }
    }
    if let Some(id) = id.and_then(|id| MetadataValue::try_from(id.as_str()).ok()) {
        metadata.insert("x-request-id", id);
    }
    metadata
}

/// Which default a call without `Omnigraph-Timeout-Ms` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    Read,
    Write,
    /// Only the replica knows whether it is a read or a write.
    ReadOrWrite,
    /// Loads and exports: bodies of any size.
    Unbounded,
}

/// One request on its way to the replica.
#[derive(Clone)]
pub(crate) struct Call {
    upstream: Upstream,
    options: Arc<Options>,
    metadata: MetadataMap,
    headers: HeaderMap,
    asked: Option<Duration>,
}

impl Call {
    pub(crate) fn graphs(&self) -> GraphServiceClient<Transport> {
        self.upstream.graphs()
    }

    pub(crate) fn maintenance(&self) -> MaintenanceServiceClient<Transport> {
        self.upstream.maintenance()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The request's headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The budget that the caller asked for.
    fn asked(&self) -> Option<Duration> {
        self.asked.map(|asked| asked.min(self.options.timeout_max))
    }

    /// A gRPC request with this call's metadata.
    pub(crate) fn request<T>(&self, message: T, budget: Budget) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        let default = match budget {
            Budget::Read => Some(self.options.read_timeout),
            Budget::Write => Some(self.options.write_timeout),
            Budget::ReadOrWrite | Budget::Unbounded => None,
        };
        if let Some(budget) = self.asked().or(default) {
            request.set_timeout(budget);
        }
        request
    }

    /// Waits for an RPC within the budget. The replica knows the budget too and has the better
    /// text, so it is given a moment to say it.
    pub(crate) async fn wait<T>(
        &self,
        budget: Budget,
        rpc: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, ApiError> {
        const GRACE: Duration = Duration::from_millis(250);
        let default = match budget {
            Budget::Read => Some(self.options.read_timeout),
            Budget::Write | Budget::ReadOrWrite => Some(self.options.write_timeout),
            Budget::Unbounded => None,
        };
        match self.asked().or(default) {
            None => Ok(rpc.await?),
            Some(budget) => match tokio::time::timeout(budget.saturating_add(GRACE), rpc).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(ApiError::deadline()),
            },
        }
    }
}

impl FromRequestParts<AppState> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let id = parts.extensions.get::<RequestId>();
        Ok(Call {
            upstream: state.upstream.clone(),
            options: state.options.clone(),
            metadata: metadata(&parts.headers, id),
            asked: headers::timeout(&parts.headers)?,
            headers: parts.headers.clone(),
        })
    }
}

/// A call about one graph.
pub(crate) struct GraphCall {
    pub(crate) call: Call,
    pub(crate) graph_id: String,
    rest: Vec<(String, String)>,
}

impl GraphCall {
    /// Another segment of the path, percent-decoded.
    pub(crate) fn segment(&self, name: &str) -> &str {
        let found = self.rest.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

impl std::ops::Deref for GraphCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl FromRequestParts<AppState> for GraphCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let call = Call::from_request_parts(parts, state).await?;
        let path = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::bad_request("the path is not valid utf-8"))?;
        let mut graph_id = String::new();
        let mut rest = Vec::new();
        for (name, value) in &path {
            match name {
                "graph_id" => value.clone_into(&mut graph_id),
                _ => rest.push((name.to_owned(), value.to_owned())),
            }
        }
        check_graph_id(&graph_id)?;
        Ok(GraphCall {
            call,
            graph_id,
            rest,
        })
    }
}

/// Words that graphs may not have as ids.
const RESERVED: [&str; 7] = [
    "policies", "healthz", "openapi", "graphs", "livez", "readyz", "metrics",
];

fn check_graph_id(id: &str) -> Result<(), ApiError> {
    let well_formed =
        (1..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if well_formed && !RESERVED.contains(&id) {
        return Ok(());
    }
    let shown: String = id.chars().take(80).collect();
    Err(ApiError::bad_request(format!(
        "'{shown}' is no graph id: 1 to 64 letters, digits and '-', and no reserved word"
    )))
}
