//! Whole operations over real graphs in an in-memory store.

mod applying;
mod approving;
mod bounds;
mod declaring;
mod drifting;
mod faults;
mod formats;
mod guarded;
mod importing;
mod leading;
mod matrix;
mod operations;
mod policies;
mod recovery;
mod restoring;
mod retaining;
mod rolling;
mod rules;
mod serving;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{
    BranchName, Engine, EngineOptions, GraphRoot, ReadOptions, Store, StoreOptions, Target,
    WriteOptions,
};
use omnigraph_proto::control::v1::{
    ApplyRequest, ApplyResult, Approval, ApproveRequest, ConfigBundle, ConfigFile, Plan,
    RollbackRequest, StepEvent,
};

use crate::authorize::AdminActors;
use crate::error::Error;
use crate::failpoint::{Action, Failpoints, Point};
use crate::ledger::Revision;
use crate::operation::Event;
use crate::plane::{ControlPlane, Options};
use faults::{Ahead, Faults};

/// A second graph besides the shop.
pub(crate) const TWO: &str = "version: 1\nmetadata: { name: shop }\ngraphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n  side:\n    schema: side.pg\n";
/// Three items, two of which have the same price.
pub(crate) const STOCK: &str = "query stock() {\n    insert Item { name: \"saw\", price: 2 }\n    insert Item { name: \"nail\", price: 1 }\n    insert Item { name: \"pin\", price: 1 }\n}\n";
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
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<Ahead>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (faults, clock) = (Faults::default(), Arc::new(Ahead::default()));
        let options = StoreOptions {
            wrapper: Some(Arc::new(faults.clone())),
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let store = Store::open("memory://test", options).await.unwrap();
        Self {
            engine: Engine::new(store, EngineOptions::default()),
            faults,
            clock,
        }
    }

    /// The newest revision, as a process reads it that remembers nothing.
    pub(crate) async fn newest(&self) -> Arc<Revision> {
        let plane = self.plane("observer");
        plane.shared().ledger.newest().await.unwrap().unwrap()
    }

    pub(crate) async fn root(&self, id: &str) -> Option<GraphRoot> {
        self.newest().await.content.root(&id.parse().unwrap())
    }

    /// Runs a mutation on `main` of an applied graph.
    pub(crate) async fn mutate(&self, id: &str, source: &str) {
        let root = self.root(id).await.unwrap();
        let graph = self.engine.open_graph(&root).await.unwrap();
        let none = serde_json::Map::new();
        let main = BranchName::main();
        graph
            .mutate(&main, source, None, &none, &WriteOptions::default())
            .await
            .unwrap();
    }

    /// How many items a graph has.
    pub(crate) async fn items(&self, id: &str) -> usize {
        let root = self.root(id).await.unwrap();
        let graph = self.engine.open_graph(&root).await.unwrap();
        let snapshot = graph
            .snapshot(&Target::default(), &ReadOptions::default())
            .await
            .unwrap();
        let datasets = snapshot.datasets();
        let items = datasets.iter().find(|set| set.type_name == "Item").unwrap();
        usize::try_from(items.rows).unwrap()
    }

    /// Removes one object.
    pub(crate) async fn erase_one(&self, path: &str) {
        use object_store::ObjectStoreExt;
        let store = self.engine.store();
        store
            .object_store()
            .delete(&store.path(path))
            .await
            .unwrap();
    }

    /// Removes every object below a path.
    pub(crate) async fn erase(&self, prefix: &str) {
        use futures::TryStreamExt;
        use object_store::ObjectStoreExt;
        let store = self.engine.store();
        let objects = store.object_store();
        let listed = objects.list(Some(&store.path(prefix)));
        let found: Vec<_> = listed.try_collect().await.unwrap();
        assert!(!found.is_empty(), "{prefix} has nothing");
        for meta in found {
            objects.delete(&meta.location).await.unwrap();
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
            admin_actors: AdminActors::parse("default"),
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

/// The shop and a second graph.
pub(crate) fn two(side: &str) -> ConfigBundle {
    bundle(&[
        ("cluster.yaml", TWO),
        ("shop.pg", SCHEMA),
        ("side.pg", side),
        ("queries/q.gq", QUERIES),
    ])
}

pub(crate) async fn approve(
    plane: &ControlPlane,
    resource: &str,
    bundle: ConfigBundle,
) -> Result<Approval, Error> {
    let request = ApproveRequest {
        resource: resource.to_owned(),
        bundle: Some(bundle),
        reason: "a test".to_owned(),
        lock_timeout_ms: 10_000,
        ..ApproveRequest::default()
    };
    plane.approve(&request, Some("approver")).await
}

/// One line for each change: operation, resource, disposition.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let line = |change: &omnigraph_proto::control::v1::PlanChange| {
        let drift = if change.drift { " (drift)" } else { "" };
        format!(
            "{} {} {}{drift}",
            change.operation().label(),
            change.resource,
            change.disposition().label()
        )
    };
    plan.changes.iter().map(line).collect()
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

pub(crate) async fn roll_back(
    plane: &ControlPlane,
    request: RollbackRequest,
) -> Result<Told, Error> {
    let (_, events) = plane.rollback(&request, Some("tester")).await?;
    Ok(hear(events))
}

pub(crate) async fn apply_request(
    plane: &ControlPlane,
    request: ApplyRequest,
) -> Result<Told, Error> {
    let (_, events) = plane.apply(&request, Some("tester")).await?;
    Ok(hear(events))
}

fn hear(events: Vec<Event>) -> Told {
    let mut told = Told::default();
    for event in events {
        match event {
            Event::Plan(plan) => told.plan = Some(plan),
            Event::Step(step) => told.steps.push(step),
            Event::Result(result) => told.result = result,
            Event::Restored(_) => {}
        }
    }
    told
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
