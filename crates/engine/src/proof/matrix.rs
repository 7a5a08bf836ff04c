//! One operation, every durable write of it, every fault: afterwards the graph is exactly as before
//! or exactly as after, sound, and can be written to; an operation that was acknowledged has
//! happened, and one that failed has not, unless it said that it does not know.

use std::collections::BTreeSet;

use futures::future::BoxFuture;

use super::world::{State, World};
use crate::error::Result;
use crate::graph::Graph;
use crate::log::fault::{Fault, hook};

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
    fn fault(self) -> Fault {
        match self {
            Self::Before => Fault::FailBefore,
            Self::After => Fault::FailAfter,
            Self::Late => Fault::Late,
            Self::CrashBefore => Fault::Hang,
            Self::CrashAfter => Fault::After(hook(std::future::pending())),
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::CrashBefore | Self::CrashAfter)
    }
}

/// Runs on a graph that was prepared for it.
pub(super) type Run = fn(Graph) -> BoxFuture<'static, Result<()>>;

/// What a run under a fault ended with.
enum Ended {
    Acknowledged,
    Failed(String),
    Killed,
}

/// An operation and what may be seen of it.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) run: Run,
    /// States between before and after that are legal: the operation is several commits.
    pub(super) between: Vec<State>,
}

/// Runs the whole matrix of one operation on forks of `seed`. Gives the number of cases.
pub(super) async fn check(seed: &World, operation: &Operation) -> usize {
    let before = seed.state().await;
    let (writes, after) = undisturbed(seed, operation).await;
    assert!(writes > 0, "{}: writes nothing", operation.name);
    let mut seen = BTreeSet::new();
    let mut cases = 0;
    for at in 0..writes {
        for trouble in TROUBLES {
            let case = format!("{}: write {at} of {writes}, {trouble:?}", operation.name);
            let world = seed.fork().await;
            let ended = run_under(&world, operation.run, at, trouble).await;
            let world = world.reopen().await;
            let state = world.state().await;
            let landed = verdict(&case, &state, &before, &after, operation, &ended);
            seen.insert(landed);
            sound(&world, &case).await;
            writable(&world, &case).await;
            if trouble == Trouble::CrashAfter {
                collectable(&world, &case).await;
            }
            cases += 1;
        }
    }
    if before != after {
        assert_eq!(
            seen.len(),
            2,
            "{}: no fault made a difference",
            operation.name
        );
    }
    cases
}

/// Runs an operation under every fault and then again, twice, in a fresh process: `verdict` gets the
/// number of commits of `main` afterwards.
pub(super) async fn repeated(seed: &World, run: Run, verdict: impl Fn(usize)) {
    let operation = Operation {
        name: "repeated",
        run,
        between: Vec::new(),
    };
    let (writes, after) = undisturbed(seed, &operation).await;
    for at in 0..writes {
        for trouble in TROUBLES {
            let case = format!("repeated: write {at} of {writes}, {trouble:?}");
            let world = seed.fork().await;
            run_under(&world, run, at, trouble).await;
            let world = world.reopen().await;
            for _ in 0..2 {
                let again = run(world.graph.clone()).await;
                assert!(again.is_ok(), "{case}: {again:?}");
            }
            assert_eq!(world.state().await, after, "{case}");
            verdict(world.history().await);
            sound(&world, &case).await;
        }
    }
}

/// The number of durable writes, and what the operation leaves behind.
async fn undisturbed(seed: &World, operation: &Operation) -> (usize, State) {
    let world = seed.fork().await;
    world.faults.take_counts();
    (operation.run)(world.graph.clone()).await.unwrap();
    let counts = world.faults.take_counts();
    let writes = counts.iter().filter(|(op, _)| op.changes());
    let writes: u64 = writes.map(|(_, count)| count).sum();
    let state = world.state().await;
    sound(&world, operation.name).await;
    (usize::try_from(writes).unwrap(), state)
}

async fn run_under(world: &World, run: Run, at: usize, trouble: Trouble) -> Ended {
    world.faults.on_nth_write(at, trouble.fault());
    let mut task = tokio::spawn(run(world.graph.clone()));
    loop {
        tokio::select! {
            ended = &mut task => {
                return match ended.unwrap() {
                    Ok(()) => Ended::Acknowledged,
                    Err(error) => Ended::Failed(error.message().to_owned()),
                };
            }
            () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {}
        }
        if trouble.kills() && world.faults.exhausted() {
            // Others may be on their way in the same moment; they land or do not.
            tokio::task::yield_now().await;
            task.abort();
            let _ = task.await;
            return Ended::Killed;
        }
    }
}

/// Whether it has landed.
fn verdict(
    case: &str,
    state: &State,
    before: &State,
    after: &State,
    operation: &Operation,
    ended: &Ended,
) -> bool {
    let is_before = state == before;
    let is_after = state == after;
    let is_between = operation.between.contains(state);
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

async fn sound(world: &World, case: &str) {
    let report = world.fsck().await;
    assert!(report.is_sound(), "{case}: {report:#?}");
}

/// The next operation works: a write, and a read of it.
async fn writable(world: &World, case: &str) {
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
}

/// Two collections, a day and more apart, remove what the dead writer left and nothing else.
async fn collectable(world: &World, case: &str) {
    let state = world.state().await;
    world.collect().await;
    world.collect().await;
    assert_eq!(world.state().await, state, "{case}");
    let report = world.fsck().await;
    assert!(report.is_sound(), "{case}: {report:#?}");
    assert_eq!(report.unreferenced_objects, 0, "{case}: {report:#?}");
}
