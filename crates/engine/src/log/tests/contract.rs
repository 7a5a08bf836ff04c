//! What holds over every store.

use std::sync::Arc;

use futures::future::join_all;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::log::{AppendError, Error};

/// Runs each rule over each store.
macro_rules! contract {
    ($($rule:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(super::Bench::over(super::memory())).await;
            })+
        }
        mod local_file {
            $(#[tokio::test]
            async fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                super::$rule(super::Bench::over(super::local(dir.path(), false))).await;
            })+
        }
        mod local_file_flushed {
            $(#[tokio::test]
            async fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                super::$rule(super::Bench::over(super::local(dir.path(), true))).await;
            })+
        }
    };
}

contract!(
    an_empty_log_has_no_head,
    entries_are_numbered_from_zero,
    what_was_appended_is_read_back,
    a_taken_position_is_a_conflict,
    racing_appends_have_one_winner,
    many_writers_lose_nothing,
    a_new_process_finds_the_head_of_any_length,
    a_known_head_follows_any_distance,
    a_range_needs_every_entry,
    settling_takes_the_place_or_tells,
    foreign_objects_do_no_harm,
    truncation_keeps_first_last_and_young,
);

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn local(dir: &std::path::Path, fsync: bool) -> Arc<dyn ObjectStore> {
    let store = LocalFileSystem::new_with_prefix(dir).unwrap();
    Arc::new(store.with_fsync(fsync))
}

async fn an_empty_log_has_no_head(bench: Bench) {
    assert_eq!(bench.log.head(None).await.unwrap(), None);
    assert_eq!(bench.log.get(Seq(0)).await.unwrap(), None);
}

async fn entries_are_numbered_from_zero(bench: Bench) {
    assert_eq!(
        bench.log.append(None, &Note::new("a"), SOON).await.unwrap(),
        Seq(0)
    );
    assert_eq!(
        bench
            .log
            .append(at(0), &Note::new("b"), SOON)
            .await
            .unwrap(),
        Seq(1)
    );
    assert_eq!(bench.newest().await, Some((1, "b".into())));
}

async fn what_was_appended_is_read_back(bench: Bench) {
    let note = Note::new("snow ☃ and \"quotes\"");
    bench.log.append(None, &note, SOON).await.unwrap();
    assert_eq!(bench.other().get(Seq(0)).await.unwrap(), Some(note.clone()));
    assert_eq!(
        bench.other().head(None).await.unwrap(),
        Some((Seq(0), note))
    );
}

async fn a_taken_position_is_a_conflict(bench: Bench) {
    bench.fill(2).await;
    let late = bench.other().append(at(0), &Note::new("late"), SOON).await;
    assert!(
        matches!(late, Err(AppendError::Conflict { seq: Seq(1) })),
        "{late:?}"
    );
    let late = bench.other().append(None, &Note::new("late"), SOON).await;
    assert!(
        matches!(late, Err(AppendError::Conflict { seq: Seq(0) })),
        "{late:?}"
    );
    assert_eq!(bench.newest().await, Some((1, "1".into())));
}

async fn racing_appends_have_one_winner(bench: Bench) {
    let logs: Vec<_> = (0..16).map(|_| bench.other()).collect();
    let tries = logs
        .iter()
        .enumerate()
        .map(|(n, log)| async move { log.append(None, &Note::new(&n.to_string()), SOON).await });
    let results = join_all(tries).await;
    let winners: Vec<_> = (0..16).filter(|n| results[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(bench.newest().await, Some((0, winners[0].to_string())));
}

async fn many_writers_lose_nothing(bench: Bench) {
    let writers = (0..4).map(|writer| {
        let log = bench.other();
        async move {
            let mut known = None;
            for n in 0..8 {
                let note = Note::new(&format!("{writer}.{n}"));
                loop {
                    known = log.head(known).await.unwrap().map(|(seq, _)| seq);
                    match log.append(known, &note, SOON).await {
                        Ok(_) => break,
                        Err(AppendError::Conflict { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }
    });
    join_all(writers).await;
    let all = bench.other().range(Seq(0), Seq(31)).await.unwrap();
    let mut texts: Vec<_> = all.iter().map(|(_, note)| note.text().to_owned()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 32);
    assert_eq!(bench.newest().await.unwrap().0, 31);
}

async fn a_new_process_finds_the_head_of_any_length(bench: Bench) {
    for length in 1..40 {
        bench.fill(1).await;
        assert_eq!(bench.newest().await.unwrap().0, length - 1);
    }
}

async fn a_known_head_follows_any_distance(bench: Bench) {
    bench.fill(40).await;
    for known in 0..40 {
        let (seq, note) = bench.other().head(at(known)).await.unwrap().unwrap();
        assert_eq!((seq, note.text()), (Seq(39), "39"), "from {known}");
    }
}

async fn a_range_needs_every_entry(bench: Bench) {
    bench.fill(5).await;
    let got = bench.other().range(Seq(1), Seq(3)).await.unwrap();
    let texts: Vec<_> = got.iter().map(|(seq, note)| (seq.0, note.text())).collect();
    assert_eq!(texts, [(1, "1"), (2, "2"), (3, "3")]);
    assert!(matches!(
        bench.log.range(Seq(3), Seq(5)).await,
        Err(Error::Missing { .. })
    ));
}

async fn settling_takes_the_place_or_tells(bench: Bench) {
    bench.fill(1).await;
    let landed = Note::new("landed");
    bench.log.append(at(0), &landed, SOON).await.unwrap();
    let log = bench.other();
    let settled = log.settle(Seq(1), landed.entry_id(), SOON).await.unwrap();
    assert_eq!(settled, crate::log::Settled::Landed);
    let lost = Note::new("lost");
    let settled = log.settle(Seq(1), lost.entry_id(), SOON).await.unwrap();
    assert_eq!(settled, crate::log::Settled::Excluded);
    let settled = log.settle(Seq(2), lost.entry_id(), SOON).await.unwrap();
    assert_eq!(settled, crate::log::Settled::Excluded);
    assert!(matches!(
        log.get(Seq(2)).await.unwrap(),
        Some(Note::Void { .. })
    ));
    let late = bench.log.append(at(1), &lost, SOON).await;
    assert!(matches!(late, Err(AppendError::Conflict { .. })));
}

async fn foreign_objects_do_no_harm(bench: Bench) {
    bench.fill(3).await;
    for name in [
        "README",
        "5.json",
        "0000000000000000000x.json",
        "floor-x",
        "zzz",
    ] {
        let path = bench.log.prefix().clone().join(name);
        bench.store.put(&path, "noise".into()).await.unwrap();
    }
    assert_eq!(bench.newest().await, Some((2, "2".into())));
}

async fn truncation_keeps_first_last_and_young(bench: Bench) {
    bench.fill(6).await;
    bench.store.advance(crate::log::GRACE * 2);
    bench.clock.advance(crate::log::GRACE * 2);
    bench.fill(2).await;
    // Entry 5 is old, but its successor, which somebody may not have seen yet, is not.
    let done = bench.log.truncate(Seq(100)).await.unwrap();
    assert_eq!((done.floor, done.deleted), (Seq(5), 4));
    for (seq, kept) in [
        (0, true),
        (1, false),
        (4, false),
        (5, true),
        (6, true),
        (7, true),
    ] {
        let entry = bench.log.get(Seq(seq)).await.unwrap();
        assert_eq!(entry.is_some(), kept, "entry {seq}");
    }
    assert_eq!(bench.newest().await, Some((7, "7".into())));
}
