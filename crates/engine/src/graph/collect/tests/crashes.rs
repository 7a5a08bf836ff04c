//! A collector that dies at any step leaves a graph that reads as before, and the next one finishes.

use tokio::sync::Notify;

use super::*;

/// Runs a collection until its `nth` such request, which never happens, and lets it die there.
/// False: it had fewer.
async fn dies_at(bench: &Bench, op: Op, nth: usize) -> bool {
    let there = Arc::new(Notify::new());
    let reached = there.clone();
    let death = hook(async move {
        reached.notify_one();
        futures::future::pending::<()>().await;
    });
    bench.faults.on_nth(op, "", nth, Fault::Before(death));
    let victim = bench.other();
    let died = tokio::select! {
        result = victim.try_collect(2) => {
            result.unwrap();
            false
        }
        () = there.notified() => true,
    };
    bench.faults.heal();
    died
}

async fn prepared() -> (Bench, Vec<CommitId>) {
    let bench = Bench::new().await;
    let commits = bench.fill("main", "p", 6).await;
    bench.fork("side", &at(commits[3])).await.unwrap();
    bench.fill("side", "s", 2).await;
    bench.pass(DAY * 2);
    (bench, commits)
}

async fn check(bench: &Bench, commits: &[CommitId]) {
    let fresh = bench.other();
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 6);
    assert_eq!(fresh.names(&on("side")).await.unwrap().len(), 6);
    for (number, commit) in commits.iter().enumerate().skip(3) {
        let names = fresh.names(&at(*commit)).await;
        assert!(number == 3 || number >= 4, "{number}");
        assert_eq!(names.unwrap().len(), number + 1);
    }
}

/// What a later collection has to bring about.
async fn finishes(bench: &Bench, commits: &[CommitId]) {
    for _ in 0..2 {
        bench.pass(DAY + HOUR);
        bench.other().collect(2).await;
    }
    assert_eq!(bench.leftovers(2).await, Vec::<Path>::new());
    check(bench, commits).await;
    let fresh = bench.other();
    fresh.add("main", "alive").await;
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_crash_at_any_write_of_the_first_phase() {
    for nth in 0.. {
        let (bench, commits) = prepared().await;
        let died = dies_at(&bench, Op::Put, nth).await;
        check(&bench, &commits).await;
        finishes(&bench, &commits).await;
        if !died {
            assert!(nth >= 4, "only {nth} writes");
            return;
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_write_of_the_second_phase() {
    for nth in 0.. {
        let (bench, commits) = prepared().await;
        bench.collect(2).await;
        bench.pass(DAY + HOUR);
        let died = dies_at(&bench, Op::Put, nth).await;
        check(&bench, &commits).await;
        finishes(&bench, &commits).await;
        if !died {
            assert!(nth >= 4, "only {nth} writes");
            return;
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_removal() {
    for nth in (0..).step_by(5) {
        let (bench, commits) = prepared().await;
        bench.collect(2).await;
        bench.pass(DAY + HOUR);
        let died = dies_at(&bench, Op::Delete, nth).await;
        check(&bench, &commits).await;
        finishes(&bench, &commits).await;
        if !died {
            assert!(nth >= 10, "only {nth} removals");
            return;
        }
    }
}

/// Errors, answers that get lost, and effects that come late, at each write of both phases.
#[tokio::test]
async fn a_store_that_misbehaves_at_any_write() {
    let faults: [fn() -> Fault; 4] = [
        || Fault::FailBefore,
        || Fault::FailAfter,
        || Fault::Late,
        || Fault::Twice,
    ];
    for fault in faults {
        for nth in 0..8 {
            let (bench, commits) = prepared().await;
            if nth >= 4 {
                bench.collect(2).await;
                bench.pass(DAY + HOUR);
            }
            bench.faults.on_nth(Op::Put, "", nth % 4, fault());
            // It may fail and may succeed: nobody may be worse off.
            let _ = bench.other().try_collect(2).await;
            bench.faults.release_late().await;
            bench.faults.heal();
            check(&bench, &commits).await;
            finishes(&bench, &commits).await;
        }
    }
}
