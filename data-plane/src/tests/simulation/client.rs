//! Those who use the cluster: people who apply, programs that write, requests that take long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use omnigraph_engine::{Authorship, ReadOptions, Target};
use omnigraph_policy::{Actor, Credentials};
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_server::ClusterService as _;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{
    ApplyRequest, ApplyResult, ApproveRequest, ConfigBundle, Disposition, ImportRequest,
    PlanRequest, RefreshRequest, RollbackRequest, rollback_response,
};
use parking_lot::Mutex;
use tonic::{Code, Request, Status};

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

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Declare(Declared),
    RollBack(u64),
    /// A look at the storage.
    Refresh,
    /// A first revision of what is there.
    Import(Declared),
}

/// One apply, or rollback.
pub(super) struct Asked {
    pub(super) actor: String,
    pub(super) work: Work,
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
        let newest = world.oracle.lock().newest().map_or(0, |r| r.number);
        let work = match rng.below(12) {
            0 if newest > 1 => Work::RollBack(1 + rng.below(newest - 1)),
            1 if newest > 0 => Work::Refresh,
            1 => Work::Import(design.lock().change(&rng)),
            _ => Work::Declare(design.lock().change(&rng)),
        };
        let mut asked = Asked {
            actor: format!("operator-{number}-{turn}"),
            work,
            expect_revision: if rng.below(5) == 0 { newest } else { 0 },
            with_plan: rng.below(6) == 0,
            lock_timeout_ms: *rng.pick(&[0, 2_000, 20_000]),
        };
        let ended = somewhere(&world, &rng, &asked).await;
        // Some losses are agreed to, and then happen.
        if let Some((resource, bundle)) = wants_consent(ended, &asked.work)
            && rng.below(3) > 0
        {
            let plane = world.plane_at(rng.pick::<&str>(&PLANES));
            if let Some(plane) = plane {
                approve(&world, &plane, resource, bundle).await;
            }
            asked.actor.push_str("-again");
            asked.expect_revision = 0;
            somewhere(&world, &rng, &asked).await;
        }
    }
}

/// Applies at some daemon, or by a command of its own.
async fn somewhere(world: &Arc<World>, rng: &Rng, asked: &Asked) -> Option<Ended> {
    if rng.below(6) == 0 {
        let plane = world.embedded().await;
        let ended = at(world, &plane, asked).await;
        plane.process.gate.set(Life::Dead);
        return Some(ended);
    }
    let plane = world.plane_at(rng.pick::<&str>(&PLANES))?;
    Some(at(world, &plane, asked).await)
}

async fn at(world: &Arc<World>, plane: &Plane, asked: &Asked) -> Ended {
    match asked.work {
        Work::Declare(_) | Work::RollBack(_) => apply(world, plane, asked).await,
        Work::Refresh | Work::Import(_) => tend(world, plane, asked).await,
    }
}

/// Refreshes or imports. What is refused has done nothing, unless nobody knows.
async fn tend(world: &Arc<World>, plane: &Plane, asked: &Asked) -> Ended {
    let name = asked.actor.clone();
    let work = format!("{:?}", asked.work);
    let kind = work.split('(').next().unwrap_or_default().to_owned();
    world.note(|| format!("{name} asks {} to {kind}", plane.process.name));
    let api = plane.plane.cluster_api(Credentials::Open);
    let actor = Actor::declared(&name).expect("a name");
    let call = async {
        match &asked.work {
            Work::Import(declared) => {
                let request = ImportRequest {
                    bundle: Some(declared.bundle()),
                    lock_timeout_ms: asked.lock_timeout_ms,
                    expect_revision: asked.expect_revision,
                    ..ImportRequest::default()
                };
                api.import(by(&actor, request)).await.map(drop)
            }
            _ => {
                let request = RefreshRequest {
                    lock_timeout_ms: asked.lock_timeout_ms,
                    expect_revision: asked.expect_revision,
                    ..RefreshRequest::default()
                };
                api.refresh(by(&actor, request)).await.map(drop)
            }
        }
    };
    let over = world.time.sleep(PATIENCE);
    let told = tokio::select! {
        biased;
        told = call => told,
        () = over => return Ended::Silence,
    };
    world.note(|| format!("{name}: {told:?}"));
    let judged = match &told {
        Ok(()) => world.oracle.lock().ended(&name),
        Err(status) if status.code() == Code::Unavailable => Ok(()),
        Err(_) => world.oracle.lock().refused(&name),
    };
    world.hold(judged);
    told.map_or_else(Ended::Refused, |()| Ended::Silence)
}

/// The first loss that waits for consent.
fn wants_consent(ended: Option<Ended>, work: &Work) -> Option<(String, ConfigBundle)> {
    let (Some(Ended::Result(result)), Work::Declare(declared)) = (ended, work) else {
        return None;
    };
    let mut changes = result.changes.into_iter();
    let waits = changes.find(|c| c.disposition() == Disposition::ApprovalRequired)?;
    Some((waits.resource, declared.bundle()))
}

async fn approve(world: &Arc<World>, plane: &Plane, resource: String, bundle: ConfigBundle) {
    world.note(|| format!("somebody agrees to lose {resource}"));
    let request = Request::new(ApproveRequest {
        resource,
        bundle: Some(bundle),
        lock_timeout_ms: 5_000,
        ..ApproveRequest::default()
    });
    let api = plane.plane.cluster_api(Credentials::Open);
    let over = world.time.sleep(PATIENCE);
    tokio::select! {
        biased;
        given = api.approve(request) => world.note(|| format!("consent: {}", given.is_ok())),
        () = over => {}
    }
}

/// Applies, and holds the answer against what the store says.
pub(super) async fn apply(world: &Arc<World>, plane: &Plane, asked: &Asked) -> Ended {
    let actor = asked.actor.clone();
    world.note(|| match &asked.work {
        Work::Declare(declared) => {
            let ids: Vec<_> = declared.graphs.keys().collect();
            format!("{actor} applies at {}: {ids:?}", plane.process.name)
        }
        Work::RollBack(to) => format!("{actor} rolls back to {to} at {}", plane.process.name),
        Work::Refresh | Work::Import(_) => unreachable!("these are no applies"),
    });
    let troubles = || plane.process.troubles.load(Ordering::Relaxed);
    let before = troubles();
    let mut heard = Heard::default();
    let over = world.time.sleep(PATIENCE);
    let ended = tokio::select! {
        biased;
        ended = call(plane, asked, &mut heard) => ended,
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
            declared: match &asked.work {
                Work::Declare(declared) => Some(declared),
                _ => None,
            },
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

/// The events of the operation, the result among them.
async fn events(
    plane: &Plane,
    asked: &Asked,
    heard: &mut Heard,
) -> Result<Option<ApplyResult>, Status> {
    let api = plane.plane.cluster_api(Credentials::Open);
    let actor = Actor::declared(&asked.actor).expect("a name");
    let mut events = match &asked.work {
        Work::Declare(declared) => {
            let bundle = Some(declared.bundle());
            let mut plan_digest = String::new();
            if asked.with_plan {
                let request = PlanRequest {
                    bundle: bundle.clone(),
                    ..PlanRequest::default()
                };
                let plan = api.plan(by(&actor, request)).await?.into_inner().plan;
                plan_digest = plan.unwrap_or_default().plan_digest;
            }
            let request = ApplyRequest {
                bundle,
                plan_digest,
                lock_timeout_ms: asked.lock_timeout_ms,
                expect_revision: asked.expect_revision,
                ..ApplyRequest::default()
            };
            let events = api.apply(by(&actor, request)).await?.into_inner();
            events.map_ok(|frame| frame.event).boxed()
        }
        Work::RollBack(to) => {
            let request = RollbackRequest {
                to_revision: *to,
                lock_timeout_ms: asked.lock_timeout_ms,
                expect_revision: asked.expect_revision,
                ..RollbackRequest::default()
            };
            let events = api.rollback(by(&actor, request)).await?.into_inner();
            events
                .map_ok(|frame| frame.event.and_then(as_applied))
                .boxed()
        }
        Work::Refresh | Work::Import(_) => unreachable!("these are no applies"),
    };
    let mut result = None;
    while let Some(event) = events.next().await {
        plane.process.gate.passed().await;
        match event? {
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

fn by<T>(actor: &Actor, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(actor.clone());
    request
}

/// What a rollback tells, as an apply would.
fn as_applied(event: rollback_response::Event) -> Option<Event> {
    match event {
        rollback_response::Event::Step(step) => Some(Event::Step(step)),
        rollback_response::Event::Result(result) => Some(Event::Result(result)),
        _ => None,
    }
}

/// Writes a row to some graph every now and then, as a client of a replica.
pub(super) async fn writer(world: Arc<World>) {
    let rng = world.rng("writer");
    loop {
        // A duel is between leaders: others seldom decide it for them.
        let most = match world.profile.duel {
            true => Duration::from_secs(60),
            false => Duration::from_secs(12),
        };
        world
            .time
            .sleep(rng.between(Duration::from_millis(100), most))
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
