//! Those who use the cluster: people who apply, programs that write, requests that take long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use omnigraph_engine::{Authorship, ReadOptions, Target};
use omnigraph_policy::{Actor, Credentials};
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_server::ClusterService as _;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ApplyRequest, ApplyResult, PlanRequest};
use parking_lot::Mutex;
use tonic::{Request, Status};

use super::oracle::Answer;
use super::rng::Rng;
use super::time::Life;
use super::workload::{Declared, Design};
use super::world::{PLANES, Plane, World};

/// A client waits no longer for its apply.
const PATIENCE: Duration = Duration::from_secs(120);
/// Applies of one client.
const APPLIES: u64 = 4;

/// How an apply ended for its client.
pub(super) enum Ended {
    Refused(Status),
    Result(Box<ApplyResult>),
    /// Nobody answered.
    Silence,
}

/// One apply.
pub(super) struct Asked {
    pub(super) actor: String,
    pub(super) declared: Declared,
    pub(super) expect_revision: u64,
    pub(super) with_plan: bool,
    pub(super) lock_timeout_ms: u32,
}

/// Resources whose steps were told of.
#[derive(Default)]
struct Heard {
    failed: BTreeSet<String>,
    done: BTreeSet<String>,
}

/// Applies one state after the other, wherever somebody answers.
pub(super) async fn operator(world: Arc<World>, design: Arc<Mutex<Design>>, number: u64) {
    let rng = world.rng(&format!("operator {number}"));
    for turn in 0..APPLIES {
        world
            .time
            .sleep(rng.long_tailed(Duration::from_secs(25)))
            .await;
        if world.is_calm() {
            return;
        }
        let declared = design.lock().change(&rng);
        let newest = world.oracle.lock().newest().map_or(0, |r| r.number);
        let asked = Asked {
            actor: format!("operator-{number}-{turn}"),
            declared,
            expect_revision: if rng.below(5) == 0 { newest } else { 0 },
            with_plan: rng.below(6) == 0,
            lock_timeout_ms: *rng.pick(&[0, 2_000, 20_000]),
        };
        let plane = match rng.below(6) {
            0 => Some(world.embedded().await),
            _ => world.plane_at(*rng.pick(&PLANES)),
        };
        if let Some(plane) = plane {
            apply(&world, &plane, asked).await;
            if !PLANES.iter().any(|role| world.is_at(role, &plane.process)) {
                // A command that has ended.
                plane.process.gate.set(Life::Dead);
            }
        }
    }
}

/// Applies, and holds the answer against what the store says.
pub(super) async fn apply(world: &Arc<World>, plane: &Plane, asked: Asked) -> Ended {
    let actor = asked.actor.clone();
    world.note(|| {
        format!(
            "{actor} applies at {}: {:?}",
            plane.process.name,
            asked.declared.graphs.keys()
        )
    });
    let troubles = || plane.process.troubles.load(Ordering::Relaxed);
    let before = troubles();
    let mut heard = Heard::default();
    let over = world.time.sleep(PATIENCE);
    let ended = tokio::select! {
        biased;
        ended = call(plane, &asked, &mut heard) => ended,
        () = over => Ended::Silence,
    };
    world.note(|| match &ended {
        Ended::Refused(status) => format!("{actor} is refused: {}", status.message()),
        Ended::Result(result) => format!(
            "{actor} is told: ok {}, converged {}, written {}, revision {}, failed {:?}, {:?}",
            result.ok,
            result.converged,
            result.state_written,
            result.revision,
            heard.failed,
            result
                .diagnostics
                .iter()
                .map(|d| &d.code)
                .collect::<Vec<_>>(),
        ),
        Ended::Silence => format!("{actor} hears nothing"),
    });
    let judged = match &ended {
        Ended::Refused(_) => world.oracle.lock().refused(&actor),
        Ended::Result(result) => world.oracle.lock().answered(&Answer {
            actor: &actor,
            declared: &asked.declared,
            expected: asked.expect_revision,
            result,
            failed: &heard.failed,
            done: &heard.done,
            undisturbed: before == troubles(),
            isolated: world.isolated(),
        }),
        Ended::Silence => Ok(()),
    };
    world.hold(judged);
    ended
}

async fn call(plane: &Plane, asked: &Asked, heard: &mut Heard) -> Ended {
    match events(plane, asked, heard).await {
        Ok(Some(result)) => Ended::Result(Box::new(result)),
        Ok(None) => Ended::Silence,
        Err(status) => Ended::Refused(status),
    }
}

async fn events(
    plane: &Plane,
    asked: &Asked,
    heard: &mut Heard,
) -> Result<Option<ApplyResult>, Status> {
    let api = plane.plane.cluster_api(Credentials::Open);
    let actor = Actor::declared(&asked.actor).expect("a name");
    let bundle = asked.declared.bundle();
    let mut plan_digest = String::new();
    if asked.with_plan {
        let mut request = Request::new(PlanRequest {
            bundle: Some(bundle.clone()),
            ..PlanRequest::default()
        });
        request.extensions_mut().insert(actor.clone());
        let plan = api.plan(request).await?.into_inner().plan;
        plan_digest = plan.unwrap_or_default().plan_digest;
    }
    let mut request = Request::new(ApplyRequest {
        bundle: Some(bundle),
        plan_digest,
        lock_timeout_ms: asked.lock_timeout_ms,
        expect_revision: asked.expect_revision,
        ..ApplyRequest::default()
    });
    request.extensions_mut().insert(actor);
    let mut events = api.apply(request).await?.into_inner();
    let mut result = None;
    while let Some(event) = events.next().await {
        plane.process.gate.passed().await;
        match event?.event {
            Some(Event::Step(step)) => match step.phase() {
                Phase::Failed => {
                    heard.failed.insert(step.resource);
                }
                Phase::Done => {
                    heard.done.insert(step.resource);
                }
                _ => {}
            },
            Some(Event::Result(told)) => result = Some(told),
            _ => {}
        }
    }
    Ok(result)
}

/// Writes a row to some graph every now and then, as a client of a replica.
pub(super) async fn writer(world: Arc<World>) {
    let rng = world.rng("writer");
    loop {
        world
            .time
            .sleep(rng.between(Duration::from_millis(100), Duration::from_secs(12)))
            .await;
        let Some((_, generation)) = some_graph(&world, &rng) else {
            continue;
        };
        // It may hang with its replica.
        tokio::spawn(async move {
            let by = Authorship::default();
            let _ = generation.graph.write_outline("Item", 1, &by).await;
        });
    }
}

/// Requests that take long: what they began with stays as it was, and checks on the schema that it
/// was made for.
pub(super) async fn reader(world: Arc<World>) {
    let rng = world.rng("reader");
    loop {
        world
            .time
            .sleep(rng.long_tailed(Duration::from_secs(20)))
            .await;
        let Some((name, generation)) = some_graph(&world, &rng) else {
            continue;
        };
        let (world, takes) = (Arc::clone(&world), rng.long_tailed(Duration::from_secs(30)));
        tokio::spawn(async move {
            let read = ReadOptions::default();
            let head = generation.graph.snapshot(&Target::default(), &read).await;
            let began = format!("{:?}", generation.queries);
            world.time.sleep(takes).await;
            if format!("{:?}", generation.queries) != began {
                world.fail(format!("{name} changed a generation that is in use"));
            }
            let Ok(head) = head else { return };
            if head.commit().schema_commit != generation.schema_commit {
                return;
            }
            for query in generation.queries.values() {
                let checked = generation
                    .graph
                    .compile(&head, &query.source, Some(&query.name))
                    .await;
                if let Err(error) = checked {
                    world.fail(format!(
                        "{name} serves {}, which fails: {error}",
                        query.name
                    ));
                }
            }
        });
    }
}

fn some_graph(
    world: &Arc<World>,
    rng: &Rng,
) -> Option<(String, Arc<crate::generation::Generation>)> {
    let replicas = world.replicas();
    if replicas.is_empty() {
        return None;
    }
    let follower = rng.pick(&replicas);
    if follower.process.gate.life() != Life::Running {
        return None;
    }
    let status = follower.replica.inner().status.borrow().clone();
    let served: Vec<_> = status
        .graphs
        .values()
        .filter_map(|view| Some(view.served.as_ref()?.1.clone()))
        .collect();
    if served.is_empty() {
        return None;
    }
    Some((follower.process.name.clone(), rng.pick(&served).clone()))
}
