//! One run: things go wrong for a while, then nothing new does, and all has to be well again.

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::Duration;

use omnigraph_control_plane::rule::Rules;
use parking_lot::Mutex;

use super::client::{self, Asked, Ended, Work};
use super::faults::Profile;
use super::rng::Rng;
use super::time::Time;
use super::workload::{Declared, GRAPHS};
use super::world::{PLANES, Plane, REPLICAS, World};
use crate::Phase;

/// How long things go wrong.
const TROUBLED_MAX: Duration = Duration::from_secs(110);
/// How long it may take until all is well, from when nothing new goes wrong: what is on its way may
/// still arrive, a leader that died is waited for, what it left is swept.
const WELL_WITHIN: Duration = Duration::from_secs(300);
/// Until replicas serve what was applied last.
const SERVED_WITHIN: Duration = Duration::from_secs(90);

/// What a run came to.
pub(super) struct Outcome {
    /// The invariant that did not hold.
    pub(super) violated: Option<String>,
    pub(super) digest: u64,
    pub(super) events: u64,
    pub(super) lines: Vec<String>,
    pub(super) revisions: u64,
    /// Simulated.
    pub(super) took: Duration,
}

/// Runs what a seed stands for.
pub(super) fn run(seed: u64, rules: &Rules, keep_trace: bool) -> Outcome {
    let profile = Profile::of(&Rng::new(seed, "profile"));
    run_with(profile, seed, rules, keep_trace)
}

/// Runs a seed with another mixture of faults than its own.
pub(super) fn run_with(profile: Profile, seed: u64, rules: &Rules, keep_trace: bool) -> Outcome {
    catch_panics();
    let time = Time::new();
    let ticking = Arc::clone(&time);
    let runtime = tokio::runtime::Builder::new_current_thread()
        // Nobody has anything to do now: time goes on. There are no other timers in this runtime,
        // so that whoever does not ask the injected clock panics.
        .on_thread_park(move || {
            assert!(ticking.advance(), "nobody will ever do anything again");
        })
        .build()
        .expect("a runtime");
    let world = runtime.block_on(async {
        tokio::spawn(Arc::clone(&time).idle());
        let world = World::new(seed, &time, profile, rules.clone(), keep_trace);
        world.note(|| format!("seed {seed}: {:?}", world.profile));
        let scenario = tokio::spawn(scenario(Arc::clone(&world)));
        tokio::select! {
            biased;
            () = world.failed.notified() => {}
            ended = scenario => {
                if let Err(error) = ended {
                    world.fail(format!("the scenario ended: {error}"));
                }
            }
        }
        world
    });
    let (digest, events) = world.traced();
    let outcome = Outcome {
        violated: world.failure().or_else(|| PANICKED.take()),
        digest,
        events,
        lines: world.lines(),
        revisions: world.oracle.lock().newest().map_or(0, |r| r.number),
        took: time.now(),
    };
    world.forget_processes();
    outcome
}

async fn scenario(world: Arc<World>) {
    let rng = world.rng("scenario");
    for role in PLANES.iter().chain(&REPLICAS) {
        world.start(role).await;
    }
    let design = Arc::new(Mutex::default());
    for number in 0..3 {
        tokio::spawn(client::operator(
            Arc::clone(&world),
            Arc::clone(&design),
            number,
        ));
    }
    tokio::spawn(client::writer(Arc::clone(&world)));
    tokio::spawn(client::reader(Arc::clone(&world)));
    let chaos = tokio::spawn(chaos(Arc::clone(&world)));
    let troubled = rng.between(TROUBLED_MAX / 3, TROUBLED_MAX);
    world.time.sleep(troubled).await;
    chaos.abort();
    world.calm_down();
    if let Err(what) = settle(&world).await {
        world.fail(what);
    }
}

/// What goes wrong at no request in particular.
async fn chaos(world: Arc<World>) {
    let rng = world.rng("chaos");
    loop {
        world
            .time
            .sleep(rng.between(Duration::from_millis(500), Duration::from_secs(10)))
            .await;
        if world.profile.outage && rng.below(5) == 0 {
            let time = rng.long_tailed(Duration::from_secs(60));
            let graph = world.isolated().unwrap_or(*rng.pick(&GRAPHS));
            world.lose_graph(graph, time);
        }
        if !rng.permille(world.profile.chaos) {
            continue;
        }
        let processes = world.processes();
        if processes.is_empty() {
            continue;
        }
        let process = rng.pick(&processes);
        match rng.below(8) {
            0..3 => {
                let pause = rng.long_tailed(Duration::from_secs(70));
                world.strike(process, Some(pause));
            }
            3..5 => world.strike(process, None),
            5 => {
                let role = *rng.pick(&PLANES);
                let world = Arc::clone(&world);
                tokio::spawn(async move { world.restart(role).await });
            }
            6 => {
                let connections = world.connections.lock().clone();
                if !connections.is_empty() {
                    rng.pick(&connections).end(rng.below(2) == 0);
                }
            }
            _ if world.profile.skew => {
                let jump = i64::try_from(rng.below(400_000_000)).unwrap_or(0) - 200_000_000;
                process.jump(jump);
                world.note(|| format!("the clock of {} jumps by {jump}", process.name));
            }
            _ => {}
        }
    }
}

/// All is well again, and can be changed.
async fn settle(world: &Arc<World>) -> Result<(), String> {
    eventually(world, WELL_WITHIN, || well(world)).await?;
    for (turn, wider) in [false, true].into_iter().enumerate() {
        last_apply(world, turn, wider).await?;
    }
    eventually(world, SERVED_WITHIN, || served(world)).await?;
    // What was sent before the calm has arrived by now; what it left goes away by itself.
    eventually(world, WELL_WITHIN, || well(world)).await?;
    eventually(world, SERVED_WITHIN, || served(world)).await
}

/// One living leader, and nothing unfinished.
fn well(world: &World) -> Result<(), String> {
    let oracle = world.oracle.lock();
    let leader = oracle.leader().unwrap_or("nobody").to_owned();
    let planes = world.planes();
    let leads = |plane: &Plane| plane.process.name == leader && plane.plane.is_leading();
    if planes.iter().filter(|plane| leads(plane)).count() != 1 {
        return Err(format!("{leader} leads, which is no daemon that lives"));
    }
    let unfinished = oracle.unfinished();
    if unfinished > 0 {
        return Err(format!("{unfinished} sidecars are left"));
    }
    let behind = oracle.unrecorded();
    if !behind.is_empty() {
        return Err(format!("the ledger does not know the schema of {behind:?}"));
    }
    match oracle.undead() {
        undead if undead.is_empty() => Ok(()),
        undead => Err(format!("{undead:?} were deleted, and have not ended")),
    }
}

/// A configuration that suits whatever is applied must be applied, and changes nothing else.
async fn last_apply(world: &Arc<World>, turn: usize, wider: bool) -> Result<(), String> {
    let until = world.time.now() + WELL_WITHIN;
    let mut why = "nobody leads".to_owned();
    for attempt in 0.. {
        let applied = world.oracle.lock().schemas();
        let declared = match applied.is_empty() {
            true => Declared::first(),
            false => Declared::last(&applied, wider),
        };
        let leading = world.planes().into_iter().find(|p| p.plane.is_leading());
        if let Some(plane) = leading {
            let asked = Asked {
                actor: format!("last-{turn}-{attempt}"),
                work: Work::Declare(declared),
                expect_revision: 0,
                with_plan: false,
                lock_timeout_ms: 30_000,
            };
            match client::apply(world, &plane, &asked).await {
                Ended::Result(result) if result.ok && result.converged => return Ok(()),
                // Somebody else's may still be under way.
                Ended::Result(result) => why = format!("it does not converge: {result:?}"),
                Ended::Refused(status) => why = format!("it is refused: {status}"),
                Ended::Silence => "it is not answered".clone_into(&mut why),
            }
        }
        if world.time.now() > until {
            return Err(format!("the last apply is not made: {why}"));
        }
        world.time.sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Every replica serves the newest revision of every graph.
fn served(world: &World) -> Result<(), String> {
    let newest = world.oracle.lock().newest().cloned();
    let Some(newest) = newest else {
        return Err("nothing is applied".to_owned());
    };
    let replicas = world.replicas();
    if replicas.len() != REPLICAS.len() {
        return Err("a replica is not there".to_owned());
    }
    for follower in replicas {
        let status = follower.replica.inner().status.borrow().clone();
        let name = &follower.process.name;
        if status.revision != newest.number {
            return Err(format!(
                "{name} is at revision {}, the ledger at {}",
                status.revision, newest.number
            ));
        }
        let ids: Vec<_> = status.graphs.keys().collect();
        if ids != newest.graphs.keys().collect::<Vec<_>>() {
            return Err(format!("{name} has graphs {ids:?}"));
        }
        let unready = status.graphs.iter().find(|(_, v)| v.phase != Phase::Ready);
        if let Some((id, view)) = unready {
            return Err(format!(
                "{name}: {id} is {:?}: {:?}",
                view.phase, view.trouble
            ));
        }
    }
    Ok(())
}

async fn eventually(
    world: &World,
    within: Duration,
    is_so: impl Fn() -> Result<(), String>,
) -> Result<(), String> {
    let until = world.time.now() + within;
    loop {
        match is_so() {
            Ok(()) => return Ok(()),
            Err(why) if world.time.now() > until => {
                return Err(format!("not well after {within:?}: {why}"));
            }
            Err(_) => world.time.sleep(Duration::from_millis(700)).await,
        }
    }
}

thread_local! {
    /// The first panic of this thread's run; the runtime swallows those of tasks.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn catch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
            before(info);
        }));
    });
    PANICKED.take();
}
