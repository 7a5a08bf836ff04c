//! One operation, every durable write of it, every fault: afterwards the graph is exactly as before
//! or exactly as after, sound, and can be written to; an operation that was acknowledged has
//! happened, and one that failed has not, unless it said that it does not know. Two collections
//! then remove what is left over and nothing else.
//!
//! Beside every single fault, some pairs of faults are tried, which a seeded generator chooses:
//! `OMNIGRAPH_TEST_SEED` chooses others, `OMNIGRAPH_PROOF_PAIRS` more (0 for none). With
//! `OMNIGRAPH_PROOF_FULL=1` collections follow every fault, not only crashes and pairs, and
//! operations of many writes suffer every kind of fault at each of them, not two in turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::dice::{Dice, number, seed};
use super::world::{State, World};
use crate::error::Result;
use crate::log::fault::{Fault, hook};

/// Pairs of faults that are tried for each operation, where the environment does not say otherwise.
const PAIRS: usize = 3;
/// With more writes than these, not every trouble is tried at each.
const FEW: usize = 8;

/// Whether time does not matter.
fn full() -> bool {
    number("OMNIGRAPH_PROOF_FULL", 0) > 0
}

/// How one write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// An error without effect.
    Before,
    /// The effect, and then an error.
    After,
    /// An error, and the effect when the process is gone.
    Late,
    /// The process dies before the effect.
    CrashBefore,
    /// The process dies after the effect.
    CrashAfter,
}

const TROUBLES: [Trouble; 5] = [
    Trouble::Before,
    Trouble::After,
    Trouble::Late,
    Trouble::CrashBefore,
    Trouble::CrashAfter,
];

impl Trouble {
    /// A crash says so when it comes.
    fn fault(self, died: &Arc<AtomicBool>) -> Fault {
        let died = Arc::clone(died);
        let death = hook(async move {
            died.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
        match self {
            Self::Before => Fault::FailBefore,
            Self::After => Fault::FailAfter,
            Self::Late => Fault::Late,
            Self::CrashBefore => Fault::Before(death),
            Self::CrashAfter => Fault::After(death),
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter)
    }
}

/// Faults of one run, each with the number of the write that suffers it.
type Faults = Vec<(usize, Trouble)>;

/// Begins an operation on a world that was prepared for it.
pub(super) type Run = Arc<dyn Fn(&World) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// What has to hold afterwards beside what holds for every operation.
pub(super) type Then = fn(World, String) -> BoxFuture<'static, World>;

/// States that are legal beside those before and after.
pub(super) enum Between {
    /// There is none: the operation is one step.
    Nothing,
    /// These.
    States(Vec<State>),
    /// Part of what was there before has ended.
    PartOfBefore,
}

/// What a run under faults ended with.
enum Ended {
    Acknowledged,
    Failed(String),
    Killed,
}

/// An operation, what it runs on, and what may be seen of it.
pub(super) struct Operation {
    pub(super) seed: World,
    pub(super) run: Run,
    pub(super) between: Between,
    pub(super) then: Option<Then>,
    /// It ends the graph, so that nothing can be written to it afterwards.
    pub(super) is_end: bool,
}

impl Operation {
    /// An operation that is one step and leaves a graph that lives on.
    pub(super) fn new<F>(seed: World, run: impl Fn(&World) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            seed,
            run: Arc::new(move |world| run(world).boxed()),
            between: Between::Nothing,
            then: None,
            is_end: false,
        }
    }

    pub(super) fn between(self, between: Between) -> Self {
        Self { between, ..self }
    }

    pub(super) fn then(self, then: Then) -> Self {
        Self {
            then: Some(then),
            ..self
        }
    }

    pub(super) fn ends_the_graph(self) -> Self {
        Self {
            is_end: true,
            ..self
        }
    }
}

/// Runs the whole matrix of one operation on forks of its seed.
pub(super) async fn check(name: &str, operation: &Operation) {
    let began = std::time::Instant::now();
    let before = operation.seed.state().await;
    let (writes, after) = undisturbed(name, operation).await;
    assert!(writes > 0, "{name}: writes nothing");
    let case = Case {
        name,
        writes,
        before: &before,
        after: &after,
        operation,
    };
    let mut seen = BTreeSet::new();
    let mut dice = Dice::new(seed(), name);
    let shift = dice.below(TROUBLES.len());
    for at in 0..writes {
        for trouble in troubles(at + shift, writes) {
            seen.insert(case.check(vec![(at, trouble)]).await);
        }
    }
    if before != after && writes <= FEW {
        assert_eq!(seen.len(), 2, "{name}: no fault made a difference");
    }
    for _ in 0..number("OMNIGRAPH_PROOF_PAIRS", PAIRS) {
        let faults = pair(&mut dice, writes);
        case.check(faults).await;
    }
    println!("{name}: {writes} writes, {:?}", began.elapsed());
}

/// Every trouble; where there are many writes, two of them at each in turn, unless time does not
/// matter.
fn troubles(turn: usize, writes: usize) -> Vec<Trouble> {
    if writes <= FEW || full() {
        return TROUBLES.to_vec();
    }
    let in_turn = |number: usize| TROUBLES[(2 * turn + number) % TROUBLES.len()];
    vec![in_turn(0), in_turn(1)]
}

/// Two faults, the first of which the process survives. What it does after the first one may be
/// more than it would have done, so the second may lie behind the last write.
fn pair(dice: &mut Dice, writes: usize) -> Faults {
    let survived = [Trouble::Before, Trouble::After, Trouble::Late];
    let first = dice.below(writes);
    let second = first + 1 + dice.below(writes - first + 1);
    vec![
        (first, survived[dice.below(survived.len())]),
        (second, TROUBLES[dice.below(TROUBLES.len())]),
    ]
}

struct Case<'a> {
    name: &'a str,
    writes: usize,
    before: &'a State,
    after: &'a State,
    operation: &'a Operation,
}

impl Case<'_> {
    /// Runs under faults and looks at what is left. Whether something has happened.
    async fn check(&self, faults: Faults) -> bool {
        let (name, writes) = (self.name, self.writes);
        let case = format!(
            "{name}, {faults:?} of {writes} writes (OMNIGRAPH_TEST_SEED={})",
            seed()
        );
        let world = self.operation.seed.fork().await;
        let ended = run_under(&world, &self.operation.run, &faults).await;
        let world = world.reopen().await;
        let state = world.state().await;
        let landed = self.verdict(&case, &state, &ended);
        sound(&world, &case).await;
        let world = match self.operation.then {
            Some(then) => then(world, case.clone()).await,
            None => world,
        };
        if !self.operation.is_end {
            let state = writable(&world, &case).await;
            // What an error leaves over a crash leaves as well.
            if faults.len() > 1 || faults.iter().any(|(_, trouble)| trouble.kills()) || full() {
                collectable(&world, &state, &case).await;
            }
        }
        landed
    }

    /// Whether it has landed.
    fn verdict(&self, case: &str, state: &State, ended: &Ended) -> bool {
        let (before, after) = (self.before, self.after);
        let is_before = state == before;
        let is_after = state == after;
        let is_between = match &self.operation.between {
            Between::Nothing => false,
            Between::States(states) => states.contains(state),
            Between::PartOfBefore => state.iter().all(|(k, v)| before.get(k) == Some(v)),
        };
        assert!(
            is_before || is_after || is_between,
            "{case}: neither before nor after: {state:#?}\nbefore: {before:#?}\nafter: {after:#?}"
        );
        match ended {
            Ended::Acknowledged => assert!(
                is_after || is_between,
                "{case}: acknowledged, but it has not happened"
            ),
            Ended::Failed(message) => assert!(
                is_before || is_between || message.contains("unknown"),
                "{case}: failed with `{message}`, but it has happened"
            ),
            Ended::Killed => {}
        }
        !is_before
    }
}

/// Runs an operation under every fault and then again, twice, in a fresh process: it has to have
/// happened once, so that `main` has as many commits as after one run.
pub(super) async fn repeated(name: &str, operation: &Operation) {
    let (writes, after) = undisturbed(name, operation).await;
    let once = operation.seed.fork().await;
    (operation.run)(&once).await.unwrap();
    let commits = once.history().await;
    for at in 0..writes {
        for trouble in TROUBLES {
            let case = format!("{name}: write {at} of {writes}, {trouble:?}");
            let world = operation.seed.fork().await;
            run_under(&world, &operation.run, &[(at, trouble)]).await;
            let world = world.reopen().await;
            for _ in 0..2 {
                let again = (operation.run)(&world).await;
                assert!(again.is_ok(), "{case}: {again:?}");
            }
            assert_eq!(world.state().await, after, "{case}");
            assert_eq!(world.history().await, commits, "{case}");
            sound(&world, &case).await;
        }
    }
}

/// The number of durable writes, and what the operation leaves behind.
async fn undisturbed(name: &str, operation: &Operation) -> (usize, State) {
    let world = operation.seed.fork().await;
    world.faults.take_counts();
    (operation.run)(&world)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error} {:?}", error.detail()));
    let writes = world.faults.take_writes();
    let state = world.state().await;
    sound(&world, name).await;
    let world = match operation.then {
        Some(then) => then(world, format!("{name}, undisturbed")).await,
        None => world,
    };
    drop(world);
    (writes, state)
}

async fn run_under(world: &World, run: &Run, faults: &[(usize, Trouble)]) -> Ended {
    let died = Arc::new(AtomicBool::new(false));
    for (at, trouble) in faults {
        world.faults.on_nth_write(*at, trouble.fault(&died));
    }
    let may_die = faults.iter().any(|(_, trouble)| trouble.kills());
    let mut task = tokio::spawn(run(world));
    loop {
        tokio::select! {
            ended = &mut task => {
                return match ended.unwrap() {
                    Ok(()) => Ended::Acknowledged,
                    Err(error) => Ended::Failed(error.message().to_owned()),
                };
            }
            () = tokio::time::sleep(Duration::from_millis(2)), if may_die => {}
        }
        if died.load(Ordering::SeqCst) {
            // Others may be on their way in the same moment; they land or do not.
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
            return Ended::Killed;
        }
    }
}

async fn sound(world: &World, case: &str) {
    if !world.exists().await {
        return;
    }
    let report = world.fsck().await;
    assert!(report.is_sound(), "{case}: {report:#?}");
}

/// The next operation works: a write, and a read of it.
async fn writable(world: &World, case: &str) -> State {
    let name = "next-operation";
    world
        .mutate(
            "main",
            &format!(r#"query next() {{ insert Package {{ name: "{name}" }} }}"#),
        )
        .await;
    let state = world.state().await;
    let (_, rows) = &state["main"];
    assert!(rows.iter().any(|row| row.contains(name)), "{case}");
    state
}

/// Two collections, a day and more apart, remove what the dead writer left and nothing else.
async fn collectable(world: &World, state: &State, case: &str) {
    world.collect().await;
    world.collect().await;
    assert_eq!(world.state().await, *state, "{case}");
    let report = world.fsck().await;
    assert!(report.is_sound(), "{case}: {report:#?}");
    assert_eq!(report.unreferenced_objects, 0, "{case}: {report:#?}");
}
