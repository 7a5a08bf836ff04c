//! Requests that fail, lie, come late or twice; and what each call costs.

use super::*;
use crate::log::fault::{Fault, hook};
use crate::log::{AppendError, Error, Settled};

fn unknown<R: std::fmt::Debug>(result: Result<R, AppendError>) {
    let ok = matches!(result, Err(AppendError::OutcomeUnknown { .. }));
    assert!(ok, "{result:?}");
}

#[tokio::test]
async fn requests_of_an_append() {
    let bench = Bench::new();
    let mut head = None;
    for n in 0..15 {
        head = Some(bench.log.append(head, &Note::new("x"), SOON).await.unwrap());
        assert_eq!(bench.requests(), [(Op::Put, 1)], "append {n}");
    }
    bench.log.append(head, &Note::new("x"), SOON).await.unwrap();
    assert_eq!(
        bench.requests(),
        [(Op::Put, 2)],
        "the sixteenth rewrites the hint"
    );
}

#[tokio::test]
async fn requests_of_a_conflict() {
    let bench = Bench::new();
    bench.fill(2).await;
    let _ = bench.log.append(at(0), &Note::new("x"), SOON).await;
    assert_eq!(bench.requests(), [(Op::Put, 1), (Op::Get, 1)]);
}

#[tokio::test]
async fn requests_of_a_known_head() {
    let bench = Bench::new();
    bench.fill(3).await;
    bench.log.head(at(2)).await.unwrap();
    assert_eq!(bench.requests(), [(Op::Get, 1)], "nothing has changed");
    bench.log.head(None).await.unwrap();
    assert_eq!(bench.requests(), [(Op::Get, 1)], "the process remembers");
    let other = bench.other();
    other.append(at(2), &Note::new("3"), SOON).await.unwrap();
    bench.requests();
    bench.log.head(at(2)).await.unwrap();
    assert_eq!(bench.requests(), [(Op::Get, 2)], "one entry more");
}

#[tokio::test]
async fn requests_of_an_unknown_head() {
    let bench = Bench::new();
    bench.other().head(None).await.unwrap();
    assert_eq!(
        bench.requests(),
        [(Op::Get, 1), (Op::List, 1)],
        "empty: hint, list"
    );
    bench.fill(10).await;
    bench.other().head(None).await.unwrap();
    assert_eq!(
        bench.requests(),
        [(Op::Get, 2), (Op::List, 1)],
        "hint, list, entry"
    );
    bench.fill(6).await;
    bench.other().head(None).await.unwrap();
    assert_eq!(bench.requests(), [(Op::Get, 3)], "hint, successor, entry");
    bench.fill(1000).await;
    bench.other().head(at(15)).await.unwrap();
    let requests = bench.requests();
    assert!(
        requests[0].0 == Op::Get && requests[0].1 <= 22,
        "{requests:?}"
    );
    assert_eq!(
        requests.len(),
        1,
        "far behind: gallop and bisect, no listing"
    );
}

#[tokio::test]
async fn error_before_the_effect_is_put_again() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::FailBefore);
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert_eq!(bench.requests(), [(Op::Put, 2), (Op::Get, 1)]);
    assert_eq!(bench.newest().await, Some((1, "mine".into())));
}

#[tokio::test]
async fn error_after_the_effect_is_a_success() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::FailAfter);
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert_eq!(bench.newest().await, Some((1, "mine".into())));
}

#[tokio::test]
async fn a_request_that_collides_with_its_own_first_try_is_a_success() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Twice);
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert_eq!(bench.newest().await, Some((1, "mine".into())));
}

#[tokio::test]
async fn already_exists_that_is_not_there_is_put_again() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Misreport);
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert_eq!(bench.newest().await, Some((1, "mine".into())));
}

/// Taking "not found" for "no effect" would report a failure and then show the entry.
#[tokio::test]
async fn a_late_first_put_decides_for_us() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Late);
    let store = bench.store.clone();
    let late = hook(async move { store.release_late().await });
    // The first try lands between our look and our second try.
    bench.store.on(Op::Get, "01.json", Fault::After(late));
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    assert!(bench.store.exhausted());
    assert_eq!(bench.newest().await, Some((1, "mine".into())));
    assert_eq!(
        bench.other().get(Seq(2)).await.unwrap(),
        None,
        "it landed once"
    );
}

#[tokio::test]
async fn a_late_put_after_a_success_changes_nothing() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Late);
    bench
        .log
        .append(at(0), &Note::new("mine"), SOON)
        .await
        .unwrap();
    bench
        .log
        .append(at(1), &Note::new("next"), SOON)
        .await
        .unwrap();
    bench.store.release_late().await;
    let all = bench.other().range(Seq(0), Seq(2)).await.unwrap();
    let texts: Vec<_> = all.iter().map(|(_, note)| note.text()).collect();
    assert_eq!(texts, ["0", "mine", "next"]);
}

#[tokio::test]
async fn somebody_elses_entry_between_two_tries_is_a_conflict() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::FailBefore);
    let rival = bench.other();
    let rival = hook(async move {
        rival
            .append(at(0), &Note::new("rival"), SOON)
            .await
            .unwrap();
    });
    bench.store.on(Op::Get, "01.json", Fault::After(rival));
    let mine = bench.log.append(at(0), &Note::new("mine"), SOON).await;
    assert!(
        matches!(mine, Err(AppendError::Conflict { seq: Seq(1) })),
        "{mine:?}"
    );
    assert_eq!(bench.newest().await, Some((1, "rival".into())));
}

#[tokio::test]
async fn no_decision_before_the_deadline_is_an_unknown_outcome() {
    let bench = Bench::new();
    bench.fill(1).await;
    for _ in 0..100 {
        bench.store.on(Op::Put, "01.json", Fault::FailBefore);
    }
    unknown(bench.log.append(at(0), &Note::new("mine"), SHORT).await);
}

#[tokio::test]
async fn a_put_without_answer_leaves_time_for_another() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Hang);
    let deadline = Duration::from_millis(600);
    bench
        .log
        .append(at(0), &Note::new("mine"), deadline)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refusal_ends_at_once_and_names_the_cause() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Deny);
    let result = bench.log.append(at(0), &Note::new("mine"), SOON).await;
    let Err(AppendError::OutcomeUnknown {
        cause: Some(cause), ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert!(cause.is_refusal());
    assert_eq!(bench.requests(), [(Op::Put, 1), (Op::Get, 1)]);
}

/// Giving up without a void would let the late entry appear after the caller was told that it
/// failed.
#[tokio::test]
async fn a_void_keeps_a_late_put_out() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Late);
    for _ in 0..100 {
        bench.store.on(Op::Put, "01.json", Fault::FailBefore);
    }
    let mine = Note::new("mine");
    unknown(bench.log.append(at(0), &mine, SHORT).await);
    bench.store.heal();
    let settled = bench
        .log
        .settle(Seq(1), mine.entry_id(), SOON)
        .await
        .unwrap();
    assert_eq!(settled, Settled::Excluded);
    bench.store.release_late().await;
    let at_one = bench.other().get(Seq(1)).await.unwrap();
    assert!(matches!(at_one, Some(Note::Void { .. })), "{at_one:?}");
}

#[tokio::test]
async fn settling_against_a_put_that_lands_first_tells_so() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::Late);
    bench.store.on(Op::Put, "01.json", Fault::Deny);
    let mine = Note::new("mine");
    unknown(bench.log.append(at(0), &mine, SHORT).await);
    // It lands between the look and the void.
    let store = bench.store.clone();
    let late = hook(async move { store.release_late().await });
    bench.store.on(Op::Get, "01.json", Fault::After(late));
    let settled = bench
        .log
        .settle(Seq(1), mine.entry_id(), SOON)
        .await
        .unwrap();
    assert_eq!(settled, Settled::Landed);
}

#[tokio::test]
async fn a_void_that_is_reported_as_failed_still_decides() {
    let bench = Bench::new();
    bench.fill(1).await;
    bench.store.on(Op::Put, "01.json", Fault::FailAfter);
    let settled = bench.log.settle(Seq(1), Ulid::new(), SOON).await.unwrap();
    assert_eq!(settled, Settled::Excluded);
}

#[tokio::test]
async fn a_hint_that_is_lost_or_wrong_only_costs_a_listing() {
    let bench = Bench::new();
    bench.store.on(Op::Put, "hint", Fault::FailBefore);
    bench.fill(20).await;
    assert_eq!(bench.newest().await.unwrap().0, 19);
    for wrong in ["7777", "rubbish", "", "0", "3"] {
        use object_store::ObjectStoreExt;
        let path = bench.log.prefix().clone().join("hint");
        bench.store.put(&path, wrong.into()).await.unwrap();
        assert_eq!(bench.newest().await.unwrap().0, 19, "hint {wrong:?}");
    }
}

#[tokio::test]
async fn a_reading_error_is_an_error_and_never_an_absence() {
    let bench = Bench::new();
    bench.fill(3).await;
    bench.store.on(Op::Get, "03.json", Fault::FailBefore);
    let head = bench.log.head(at(2)).await;
    assert!(matches!(head, Err(Error::Store { .. })), "{head:?}");
    bench.store.on(Op::List, "", Fault::FailBefore);
    let head = bench.other().head(None).await;
    assert!(matches!(head, Err(Error::Store { .. })), "{head:?}");
}

#[tokio::test]
async fn entries_of_a_newer_format_are_refused_and_still_decide() {
    use object_store::ObjectStoreExt;
    let bench = Bench::new();
    bench.fill(1).await;
    let newer = format!(r#"{{"format":2,"id":"{}","more":1}}"#, Ulid::new());
    let path = bench.log.prefix().clone().join("00000000000000000001.json");
    bench.store.put(&path, newer.into()).await.unwrap();
    let read = bench.log.get(Seq(1)).await;
    assert!(
        matches!(read, Err(Error::Format { format: 2, .. })),
        "{read:?}"
    );
    let mine = bench.log.append(at(0), &Note::new("mine"), SOON).await;
    assert!(
        matches!(mine, Err(AppendError::Conflict { .. })),
        "{mine:?}"
    );
}

/// The bytes of format 1, as they will have to be read for ever.
#[tokio::test]
async fn golden_format_1() {
    use object_store::ObjectStoreExt;
    let bench = Bench::new();
    let golden = r#"{"format":1,"id":"01JD8Z5W0000000000000000AB","entry":{"kind":"text","id":"01JD8Z5W0000000000000000AB","text":"hi"}}"#;
    let path = bench.log.prefix().clone().join("00000000000000000000.json");
    bench.store.put(&path, golden.into()).await.unwrap();
    let note = bench.log.get(Seq(0)).await.unwrap().unwrap();
    assert_eq!(note.text(), "hi");
    assert_eq!(
        crate::log::codec::encode(&path, &note).unwrap(),
        golden.as_bytes()
    );
}
