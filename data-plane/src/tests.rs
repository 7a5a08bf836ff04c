//! A replica over the real engine and the real control plane, through its own doors.

mod blobs;
mod declared;
mod embedding;
mod following;
mod policies;
mod reclaiming;
mod repeats;
mod requests;
mod simulation;

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use omnigraph_control_plane::{AdminActors, ControlPlane, Options as PlaneOptions};
use omnigraph_engine::{Engine, EngineOptions, Store, StoreOptions};
use omnigraph_policy::{Actor, Credentials};
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, ConfigBundle, ConfigFile};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{Options, Replica};

const LONG: Duration = Duration::from_secs(60);

const CLUSTER: &str = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n";
const SCHEMA: &str =
    "node Item {\n    name: String @key\n    price: I64\n}\n\nedge Needs: Item -> Item\n";
/// With an optional property more.
const WIDER: &str = "node Item {\n    name: String @key\n    price: I64\n    colour: String?\n}\n\nedge Needs: Item -> Item\n";
const QUERIES: &str = "query dear($least: I64) {\n    match { $i: Item   $i.price >= $least }\n    return { $i.name as name, $i.price as price }\n    order { $i.name asc }\n}\n\nquery reprice($name: String, $price: I64) {\n    update Item set { price: $price } where name = $name\n}\n";
const COLOURS: &str = "query dear($least: I64) {\n    match { $i: Item   $i.price >= $least }\n    return { $i.name as name, $i.colour as colour }\n    order { $i.name asc }\n}\n";
const ITEMS: &str = r#"{"type":"Item","data":{"name":"nail","price":1}}
{"type":"Item","data":{"name":"saw","price":9007199254740993}}
{"edge":"Needs","from":"saw","to":"nail"}
"#;

/// One storage root, its control plane, and whatever replicas the test starts.
struct World {
    engine: Engine,
    plane: ControlPlane,
}

impl World {
    async fn new() -> Self {
        let store = Store::open("memory://replica", StoreOptions::default()).await;
        let engine = Engine::new(store.expect("a store"), EngineOptions::default());
        let options = PlaneOptions {
            admin_actors: AdminActors::parse("default"),
            ..PlaneOptions::new("test")
        };
        let plane = ControlPlane::new(engine.clone(), options);
        World { engine, plane }
    }

    /// Applies a schema and stored queries.
    async fn apply(&self, schema: &str, queries: &str) -> ApplyResult {
        let files = [
            ("cluster.yaml", CLUSTER),
            ("shop.pg", schema),
            ("queries/q.gq", queries),
        ];
        self.apply_files(&files).await
    }

    /// Applies a whole configuration, which must converge.
    async fn apply_files(&self, files: &[(&str, &str)]) -> ApplyResult {
        let result = self.try_files(files).await;
        assert!(result.ok && result.converged, "{result:?}");
        result
    }

    async fn try_files(&self, files: &[(&str, &str)]) -> ApplyResult {
        let files = files.iter().map(|(path, text)| ConfigFile {
            path: (*path).to_owned(),
            content: text.as_bytes().to_vec().into(),
        });
        let api = self.plane.cluster_api(Credentials::Open);
        let mut client = ClusterServiceClient::new(ClusterServiceServer::new(api));
        let request = ApplyRequest {
            bundle: Some(ConfigBundle {
                files: files.collect(),
            }),
            ..ApplyRequest::default()
        };
        let events = client.apply(request).await.expect("apply runs");
        let mut events = events.into_inner();
        let mut result = None;
        while let Some(event) = events.message().await.expect("apply goes on") {
            if let Some(Event::Result(told)) = event.event {
                result = Some(told);
            }
        }
        result.expect("apply has a result")
    }

    fn options(&self) -> Options {
        Options::embedded(self.engine.clone(), Actor::nobody())
    }

    async fn replica(&self) -> Replica {
        Replica::start(self.options()).await.expect("a replica")
    }
}

/// An answer of the embedded gateway.
struct Got {
    status: StatusCode,
    /// Whether the answer is that of an earlier request.
    replayed: bool,
    commit: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no json: {}", self.body))
    }
}

async fn call(replica: &Replica, method: &str, path: &str, body: &str) -> Got {
    call_with(replica, method, path, ("x-none", ""), body).await
}

async fn call_with(
    replica: &Replica,
    method: &str,
    path: &str,
    header: (&str, &str),
    body: &str,
) -> Got {
    call_as(replica, method, path, &[header], body).await
}

async fn call_as(
    replica: &Replica,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Got {
    let app = omnigraph_gateway::router(replica.upstream(), omnigraph_gateway::Options::default());
    let content_type = match path.contains("ndjson") {
        true => "application/x-ndjson",
        false => "application/json",
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let response = app.oneshot(request).await.expect("routers do not fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let commit = parts.headers.get("omnigraph-graph-commit");
    Got {
        status: parts.status,
        replayed: parts.headers.contains_key("idempotency-replayed"),
        commit: commit.map_or(String::new(), |id| id.to_str().expect("ascii").to_owned()),
        body: String::from_utf8(body.into()).expect("text"),
    }
}

/// Calls that must succeed.
async fn ok(replica: &Replica, method: &str, path: &str, body: &str) -> Got {
    let got = call(replica, method, path, body).await;
    assert_eq!(got.status, StatusCode::OK, "{method} {path}: {}", got.body);
    got
}
