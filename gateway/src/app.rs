//! The router: routes, layers, and the answers of the framework itself.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use omnigraph_proto::data::v1::WhoAmIRequest;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::answer::passed_headers;
use crate::errors::ApiError;
use crate::extract::{RequestId, forwarded_metadata};
use crate::options::Options;
use crate::routes;
use crate::upstream::Upstream;

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) upstream: Upstream,
    pub(crate) options: Arc<Options>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes over one upstream, ready to be served or called.
pub fn router(upstream: Upstream, options: Options) -> Router {
    let cors = cors(&options.cors_allowed_origins);
    let state = AppState {
        upstream,
        options: Arc::new(options),
    };
    let routes = routes::all()
        .layer(from_fn_with_state(state.clone(), credentials_first))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state);
    let routes = match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes.layer(from_fn(finish))
}

/// The outermost layer: gives the request its id and writes the bodies of refusals.
async fn finish(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<ApiError>() {
        log_refusal(&refusal, &id);
        let kept = std::mem::take(response.headers_mut());
        response = refusal.render(id.as_str());
        merge(response.headers_mut(), kept);
    }
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    tracing::debug!(
        request_id = id.as_str(),
        %method,
        route = route.as_ref().map_or("-", MatchedPath::as_str),
        status = response.status().as_u16(),
        elapsed_us = started.elapsed().as_micros(),
        "request"
    );
    response
}

fn log_refusal(refusal: &ApiError, id: &RequestId) {
    if refusal.status().is_server_error() {
        let error = refusal.wire();
        tracing::warn!(
            request_id = id.as_str(),
            reason = error.reason_str(),
            message = error.message,
            "request failed"
        );
    }
}

/// Headers of layers and of the framework (`Allow`, CORS) stay beside those of the refusal.
fn merge(headers: &mut HeaderMap, kept: HeaderMap) {
    for (name, value) in kept {
        if let Some(name) = name.filter(|name| !headers.contains_key(name)) {
            // The body has changed, and with it its length.
            if name != http::header::CONTENT_LENGTH {
                headers.insert(name, value);
            }
        }
    }
}

/// A request that cannot be decoded is refused only after its credential was accepted.
async fn credentials_first(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let metadata = forwarded_metadata(&request);
    let mut response = next.run(request).await;
    let undecoded = response
        .extensions()
        .get::<ApiError>()
        .is_some_and(ApiError::is_undecoded);
    if !undecoded {
        return response;
    }
    let mut call = tonic::Request::new(WhoAmIRequest {});
    *call.metadata_mut() = metadata;
    call.set_timeout(state.options.read_timeout);
    match state.upstream.graphs().who_am_i(call).await {
        Ok(answer) => {
            let headers = passed_headers(answer.metadata());
            response.headers_mut().extend(headers);
            response
        }
        Err(status) => match ApiError::from(status) {
            refusal if refusal.is_unauthenticated() => refusal.into_response(),
            _ => response,
        },
    }
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    ApiError::no_route(format!("there is no {method} {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format!("{} does not take {method}", uri.path()))
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        list => AllowOrigin::list(list.iter().filter_map(|origin| origin.trim().parse().ok())),
    };
    const REQUEST_HEADERS: [&str; 17] = [
        "authorization",
        "accept",
        "content-type",
        "content-encoding",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "if-range",
        "range",
        "omnigraph-if-graph-commit",
        "omnigraph-min-commit",
        "omnigraph-consistency",
        "omnigraph-timeout-ms",
        "omnigraph-max-rows",
        "x-request-id",
        "traceparent",
        "tracestate",
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(Any);
    Some(layer)
}
