//! Whole operations over real graphs in an in-memory store.

mod applying;
mod formats;
mod leading;
mod policies;
mod recovery;
mod restoring;
mod serving;

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{
    BranchName, Engine, EngineOptions, ReadOptions, Store, StoreOptions, Target,
};
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::{
    ApplyRequest, ApplyResponse, ApplyResult, ConfigBundle, ConfigFile, Plan, StepEvent,
};
use tokio::sync::mpsc;

use crate::apply::Events;
use crate::error::Error;
use crate::failpoint::{Action, Failpoints, Point};
use crate::plane::{ControlPlane, Options};

pub(crate) const CLUSTER: &str = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n";
pub(crate) const SCHEMA: &str =
    "node Item {\n    name: String @key\n    price: I64\n}\n\nedge Needs: Item -> Item\n";
/// With an optional property and a type more.
pub(crate) const WIDER: &str = "node Item {\n    name: String @key\n    price: I64\n    colour: String?\n}\n\nnode Shelf {\n    place: String @key\n}\n\nedge Needs: Item -> Item\n";
/// With another type of a property: not supported.
pub(crate) const REFUSED: &str =
    "node Item {\n    name: String @key\n    price: String\n}\n\nedge Needs: Item -> Item\n";
pub(crate) const QUERIES: &str = "query cheap($limit: I64) {\n    match { $i: Item }\n    return { $i.name, $i.price }\n    limit 10\n}\n";
pub(crate) const COLOURS: &str = "query cheap($limit: I64) {\n    match { $i: Item }\n    return { $i.name, $i.colour }\n    limit 10\n}\n";

/// One storage root that several control planes may work on.
pub(crate) struct World {
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) async fn new() -> Self {
        let store = Store::open("memory://test", StoreOptions::default())
            .await
            .unwrap();
        Self {
            engine: Engine::new(store, EngineOptions::default()),
        }
    }

    /// A control plane as a process of its own would have it: nothing is remembered.
    pub(crate) fn plane(&self, name: &str) -> ControlPlane {
        self.plane_with(name, Failpoints::default())
    }

    pub(crate) fn plane_with(&self, name: &str, failpoints: Failpoints) -> ControlPlane {
        let options = Options {
            heartbeat: Duration::from_millis(40),
            takeover: Duration::from_millis(200),
            replica_heartbeat: Duration::from_millis(100),
            failpoints,
            ..Options::new(name)
        };
        ControlPlane::new(self.engine.clone(), options)
    }

    /// A control plane that meets `action` at `point`, once.
    pub(crate) fn failing(&self, point: Point, action: Action) -> ControlPlane {
        let once = parking_lot::Mutex::new(Some(action));
        let decide = move |at| {
            if at == point {
                once.lock().take()
            } else {
                None
            }
        };
        self.plane_with("failing", Failpoints::new(decide))
    }
}

pub(crate) fn bundle(files: &[(&str, &str)]) -> ConfigBundle {
    let file = |(path, text): &(&str, &str)| ConfigFile {
        path: (*path).to_owned(),
        content: text.as_bytes().to_vec().into(),
    };
    ConfigBundle {
        files: files.iter().map(file).collect(),
    }
}

pub(crate) fn shop(schema: &str, queries: &str) -> ConfigBundle {
    bundle(&[
        ("cluster.yaml", CLUSTER),
        ("shop.pg", schema),
        ("queries/q.gq", queries),
    ])
}

/// What an apply told its caller.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) plan: Option<Plan>,
    pub(crate) steps: Vec<StepEvent>,
    pub(crate) result: ApplyResult,
}

pub(crate) async fn apply(plane: &ControlPlane, bundle: ConfigBundle) -> Result<Told, Error> {
    let request = ApplyRequest {
        bundle: Some(bundle),
        lock_timeout_ms: 10_000,
        ..ApplyRequest::default()
    };
    apply_request(plane, request).await
}

pub(crate) async fn apply_request(
    plane: &ControlPlane,
    request: ApplyRequest,
) -> Result<Told, Error> {
    let (to, mut from) = mpsc::channel(256);
    let events = Events::new(to);
    let result = plane.apply(&request, Some("tester"), &events).await;
    drop(events);
    let mut told = Told::default();
    while let Some(Ok(ApplyResponse { event: Some(event) })) = from.recv().await {
        match event {
            Event::Plan(plan) => told.plan = Some(plan),
            Event::Step(step) => told.steps.push(step),
            Event::Result(result) => told.result = result,
            Event::Rollout(_) => {}
        }
    }
    result.map(|_| told)
}

/// Digest of the schema at the head of the graph's `main`, and of the one in the ledger.
pub(crate) async fn schemas(world: &World) -> (String, String) {
    let plane = world.plane("observer");
    let revision = plane.shared().ledger.newest().await.unwrap().unwrap();
    let id = "shop".parse().unwrap();
    let root = revision.content.root(&id).unwrap();
    let graph = world.engine.open_graph(&root).await.unwrap();
    let main = Target::Branch(BranchName::main());
    let snapshot = graph
        .snapshot(&main, &ReadOptions::default())
        .await
        .unwrap();
    let live = snapshot.schema().catalog.digest();
    (live, revision.content.graphs[&id].schema.to_string())
}

/// Nothing unfinished is left, and ledger and graph agree on this schema.
pub(crate) async fn assert_settled(world: &World, schema: &str) {
    let plane = world.plane("observer");
    assert!(
        plane.shared().sidecars.list().await.unwrap().is_empty(),
        "a sidecar is left"
    );
    let (catalog, _) = omnigraph_lang::schema::parse_schema(schema).unwrap();
    let (live, recorded) = schemas(world).await;
    assert_eq!(live, catalog.digest(), "the graph's schema");
    assert_eq!(recorded, catalog.digest(), "the ledger's schema");
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually<F, R>(what: &str, condition: F)
where
    F: Fn() -> R,
    R: Future<Output = bool>,
{
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen in time");
}

/// A gate that lets operations through one by one.
pub(crate) fn gate() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(0))
}
