//! Nobody appends into, or reads across, the hole that truncation leaves.

use super::*;
use crate::log::fault::{Fault, hook};
use crate::log::{AppendError, GRACE, Settled};

const HOUR: Duration = Duration::from_secs(3600);

/// Both clocks, the store's and the processes', move on.
fn pass(bench: &Bench, time: Duration) {
    bench.store.advance(time);
    bench.clock.advance(time);
}

/// Ten old entries, ten of now; 1 to 8 are deleted, the floor is 9.
async fn truncated() -> Bench {
    let bench = Bench::new();
    bench.fill(10).await;
    pass(&bench, GRACE + HOUR);
    bench.fill(10).await;
    let done = bench.log.truncate(Seq(15)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(9), 8));
    bench.requests();
    bench
}

#[tokio::test]
async fn young_entries_stay_whatever_is_asked() {
    let bench = Bench::new();
    bench.fill(10).await;
    let done = bench.log.truncate(Seq(9)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(0), 0));
}

#[tokio::test]
async fn what_is_asked_to_be_kept_stays() {
    let bench = Bench::new();
    bench.fill(10).await;
    pass(&bench, GRACE * 3);
    bench.fill(1).await;
    let done = bench.log.truncate(Seq(4)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(4), 3));
}

#[tokio::test]
async fn truncation_is_repeatable_and_carried_on() {
    let bench = Bench::new();
    bench.fill(10).await;
    pass(&bench, GRACE + HOUR);
    bench.fill(10).await;
    bench.store.on(Op::Delete, "05.json", Fault::FailBefore);
    bench.log.truncate(Seq(15)).await.unwrap_err();
    assert_eq!(bench.newest().await.unwrap().0, 19);
    let done = bench.log.truncate(Seq(15)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(9), 4));
    let done = bench.log.truncate(Seq(15)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(9), 0));
}

#[tokio::test]
async fn a_new_floor_replaces_the_old_one() {
    let bench = truncated().await;
    pass(&bench, GRACE + HOUR);
    bench.fill(1).await;
    let done = bench.log.truncate(Seq(15)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(15), 6));
    assert_eq!(bench.other().floor().await.unwrap(), Some(Seq(15)));
}

/// A simpler rule, "whoever knows *n* asks for *n + 1*", would take 3 for the head.
#[tokio::test]
async fn an_old_position_below_the_floor_is_not_taken_for_the_head() {
    let bench = truncated().await;
    for known in [0, 1, 3, 8, 9, 12, 19] {
        let (seq, _) = bench.other().head(at(known)).await.unwrap().unwrap();
        assert_eq!(seq, Seq(19), "from {known}");
    }
}

#[tokio::test]
async fn a_hint_into_the_hole_is_not_trusted() {
    use object_store::ObjectStoreExt;
    let bench = truncated().await;
    let path = bench.log.prefix().clone().join("hint");
    bench.store.put(&path, "4".into()).await.unwrap();
    assert_eq!(bench.newest().await.unwrap().0, 19);
}

/// The search sees 9, finds 10 deleted, and must not take 9 for the head.
#[tokio::test]
async fn truncation_in_the_middle_of_a_search_is_noticed() {
    use object_store::ObjectStoreExt;
    let bench = truncated().await;
    let path = bench.log.prefix().clone().join("hint");
    bench.store.put(&path, "9".into()).await.unwrap();
    pass(&bench, GRACE + HOUR);
    bench.fill(1).await;
    let other = bench.other();
    let cut = hook(async move {
        other.truncate(Seq(15)).await.unwrap();
    });
    // Hint 9; then 10, 11, 13, 17 and beyond are asked for: truncated up to 15 before the first.
    bench.store.on(Op::Get, "10.json", Fault::Before(cut));
    assert_eq!(bench.newest().await.unwrap().0, 20);
    assert!(bench.store.exhausted());
}

#[tokio::test]
async fn a_remembered_head_is_forgotten_after_half_the_grace() {
    let bench = Bench::new();
    bench.fill(10).await;
    let sleeper = bench.other();
    assert_eq!(sleeper.head(None).await.unwrap().unwrap().0, Seq(9));
    pass(&bench, GRACE + HOUR);
    bench.fill(10).await;
    pass(&bench, GRACE + HOUR);
    bench.fill(1).await;
    bench.log.truncate(Seq(19)).await.unwrap();
    // 10 is gone: who still trusted its memory would see nothing after 9.
    assert_eq!(sleeper.get(Seq(10)).await.unwrap(), None);
    assert_eq!(sleeper.head(at(9)).await.unwrap().unwrap().0, Seq(20));
}

#[tokio::test]
async fn a_machine_that_slept_forgets_its_head_too() {
    let bench = Bench::new();
    bench.fill(10).await;
    bench.clock.sleep_machine(GRACE);
    bench.requests();
    bench.log.head(None).await.unwrap();
    assert_ne!(bench.requests(), [(Op::Get, 1)], "found anew");
}

/// The create succeeds because truncation has removed what was there.
#[tokio::test]
async fn an_append_that_slept_over_truncation_is_not_reported_as_a_success() {
    let bench = Bench::new();
    bench.fill(10).await;
    let sleeper = bench.other();
    let head = sleeper.head(None).await.unwrap().map(|(seq, _)| seq);
    let (store, clock, log) = (bench.store.clone(), bench.clock.clone(), bench.other());
    let meanwhile = hook(async move {
        log.append(at(9), &Note::new("rival"), SOON).await.unwrap();
        for _ in 0..2 {
            store.advance(GRACE + HOUR);
            clock.advance(GRACE + HOUR);
            let known = log.head(None).await.unwrap().map(|(seq, _)| seq);
            log.append(known, &Note::new("later"), SOON).await.unwrap();
        }
        log.truncate(Seq(100)).await.unwrap();
    });
    bench.store.on(Op::Put, "10.json", Fault::Before(meanwhile));
    let result = sleeper.append(head, &Note::new("mine"), SOON).await;
    // The hook's own append to 10 must not be the one that is held up.
    let unknown = matches!(result, Err(AppendError::OutcomeUnknown { .. }));
    assert!(unknown, "{result:?}");
}

#[tokio::test]
async fn an_append_after_a_position_of_unknown_age_looks_at_the_floor() {
    let bench = truncated().await;
    let result = bench.other().append(at(3), &Note::new("mine"), SOON).await;
    assert!(
        matches!(result, Err(AppendError::OutcomeUnknown { .. })),
        "{result:?}"
    );
    bench.requests();
    bench
        .other()
        .append(at(19), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert_eq!(bench.requests(), [(Op::Put, 1), (Op::List, 1)]);
}

#[tokio::test]
async fn an_append_to_a_log_believed_empty_always_collides() {
    let bench = truncated().await;
    let result = bench.other().append(None, &Note::new("mine"), SOON).await;
    assert!(
        matches!(result, Err(AppendError::Conflict { seq: Seq(0) })),
        "{result:?}"
    );
}

#[tokio::test]
async fn settling_below_the_floor_stays_unknown() {
    let bench = truncated().await;
    let result = bench.other().settle(Seq(5), Ulid::new(), SOON).await;
    assert!(
        matches!(result, Err(AppendError::OutcomeUnknown { .. })),
        "{result:?}"
    );
    let settled = bench
        .other()
        .settle(Seq(12), Ulid::new(), SOON)
        .await
        .unwrap();
    assert_eq!(settled, Settled::Excluded);
}
