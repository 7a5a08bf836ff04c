//! What is kept, what goes, and when.

use super::*;
use crate::error::ErrorKind;

/// 12 commits, all but the last superseded more than a day ago.
async fn old_history() -> (Bench, Vec<CommitId>) {
    let bench = Bench::new().await;
    let commits = bench.fill("main", "p", 12).await;
    bench.pass(DAY * 2);
    (bench, commits)
}

#[tokio::test]
async fn nothing_young_is_condemned() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 6).await;
    let outcome = bench.collect(1).await;
    assert_eq!(outcome.condemned, Amount::default());
    assert_eq!(outcome.removed, Amount::default());
}

#[tokio::test]
async fn condemned_objects_go_after_a_day_and_not_before() {
    let (bench, commits) = old_history().await;
    let all = bench.files().await.len();
    let first = bench.collect(3).await;
    assert!(first.condemned.objects >= 20, "{first:?}");
    assert_eq!(first.removed, Amount::default());
    assert_eq!(first.oldest_retained, Some(commits[9]));
    bench.pass(DAY - HOUR);
    let early = bench.collect(3).await;
    assert_eq!(
        (early.removed, early.condemned),
        (Amount::default(), first.condemned)
    );
    assert_eq!(bench.files().await.len(), all);
    bench.pass(HOUR * 2);
    let second = bench.collect(3).await;
    assert_eq!(second.removed, first.condemned);
    assert_eq!(second.condemned, Amount::default());
    assert_eq!(second.tables.len(), 1);
    assert_eq!(second.tables[0].type_name, "Person");
    assert_eq!(
        bench.files().await.len() as u64,
        all as u64 - first.condemned.objects
    );
    assert_eq!(bench.leftovers(3).await, Vec::<Path>::new());
}

#[tokio::test]
async fn kept_commits_read_as_before_and_older_ones_say_that_they_are_gone() {
    let (bench, commits) = old_history().await;
    bench.collect_fully(3).await;
    let fresh = bench.other();
    for (number, commit) in commits.iter().enumerate().skip(9) {
        assert_eq!(fresh.names(&at(*commit)).await.unwrap().len(), number + 1);
    }
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 12);
    for gone in [commits[0], commits[8]] {
        let error = bench.names(&at(gone)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("reclaimed"), "{error}");
        let oldest = error.detail().oldest_retained.clone();
        assert_eq!(oldest, Some(commits[9].to_string()));
        let error = bench.fork("late", &at(gone)).await.unwrap_err();
        assert!(error.message().contains("reclaimed"), "{error}");
    }
    let oldest = fresh.graph.oldest_retained(&branch("main")).await.unwrap();
    assert_eq!(oldest, Some(commits[9]));
    let engine = engine(&bench.store);
    let report = engine
        .fsck(bench.graph.root(), &FsckOptions::default())
        .await
        .unwrap();
    assert!(report.is_sound(), "{report:?}");
    // Writing goes on.
    fresh.add("main", "next").await;
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 13);
}

#[tokio::test]
async fn what_was_a_head_within_the_age_is_kept() {
    let bench = Bench::new().await;
    let commits = bench.fill("main", "p", 3).await;
    bench.pass(DAY * 10);
    let newest = bench.fill("main", "q", 2).await;
    // The last of the first three is ten days old, and was the head until a moment ago.
    let outcome = bench.collect(1).await;
    assert_eq!(outcome.oldest_retained, Some(commits[2]));
    bench.pass(DAY * 2);
    let by_age = CollectOptions {
        retention: Retention {
            commits: None,
            age: Some(DAY * 30),
        },
        dry_run: true,
        ..CollectOptions::default()
    };
    bench.collect_fully(1).await;
    let outcome = bench.graph.collect(&by_age).await.unwrap();
    // What was reclaimed does not come back with a longer age.
    assert!(outcome.oldest_retained >= Some(commits[2]));
    assert_eq!(bench.names(&at(newest[1])).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_preview_says_what_would_go_and_writes_nothing() {
    let (bench, commits) = old_history().await;
    let options = CollectOptions {
        dry_run: true,
        ..keeping(3)
    };
    let before = bench.store.requests();
    let preview = bench.graph.collect(&options).await.unwrap();
    let cost = bench.store.requests() - before;
    assert_eq!((cost.put, cost.delete, cost.copy), (0, 0, 0), "{cost}");
    assert!(preview.dry_run);
    assert_eq!(preview.oldest_retained, Some(commits[9]));
    let done = bench.collect(3).await;
    assert_eq!(preview.removed, done.condemned);
}

#[tokio::test]
async fn rules_without_sense_are_refused() {
    let bench = Bench::new().await;
    let none = CollectOptions::default();
    let error = bench.graph.collect(&none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = bench.try_collect(0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn files_of_writers_that_died_are_removed_in_the_end() {
    let (bench, _) = old_history().await;
    bench.die("main").await;
    assert!(bench.leftovers(1000).await.len() >= 3);
    bench.pass(DAY + HOUR);
    bench.collect_fully(1000).await;
    assert_eq!(bench.leftovers(1000).await, Vec::<Path>::new());
    assert_eq!(bench.names(&on("main")).await.unwrap().len(), 12);
}

#[tokio::test]
async fn what_a_branch_stands_on_is_kept() {
    let (bench, commits) = old_history().await;
    bench.fork("old", &at(commits[2])).await.unwrap();
    bench.collect_fully(1).await;
    let fresh = bench.other();
    assert_eq!(
        fresh.names(&on("old")).await.unwrap(),
        set(&["p0", "p1", "p2"])
    );
    assert_eq!(fresh.names(&at(commits[2])).await.unwrap().len(), 3);
    bench.names(&at(commits[3])).await.unwrap_err();
    fresh.add("old", "new").await;
    // Also after it has moved on and been forgotten by its own retention.
    fresh.fill("old", "more", 3).await;
    bench.pass(DAY * 2);
    bench.collect_fully(1).await;
    assert_eq!(bench.other().names(&at(commits[2])).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_commits_of_a_deleted_branch_go_unless_they_were_merged() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    for name in ["merged", "dropped"] {
        bench.fork(name, &on("main")).await.unwrap();
        bench.fill(name, name, 2).await;
    }
    bench
        .graph
        .merge(&branch("merged"), &branch("main"), &MergeOptions::default())
        .await
        .unwrap();
    for name in ["merged", "dropped"] {
        bench.drop_branch(name).await;
    }
    bench.pass(DAY * 2);
    bench.collect_fully(100).await;
    assert_eq!(bench.leftovers(100).await, Vec::<Path>::new());
    let fresh = bench.other();
    assert_eq!(
        fresh.names(&on("main")).await.unwrap(),
        set(&["merged0", "merged1", "p0", "p1"])
    );
}

/// The base of the next merge is older than everything that retention keeps.
#[tokio::test]
async fn the_bases_of_later_merges_are_kept_and_can_be_found() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    bench.fork("side", &on("main")).await.unwrap();
    let side = bench.fill("side", "s", 4).await;
    let merged = bench
        .graph
        .merge(&branch("side"), &branch("main"), &MergeOptions::default())
        .await
        .unwrap();
    assert!(merged.commit.is_some());
    bench.fill("main", "q", 10).await;
    bench.fill("side", "t", 3).await;
    bench.pass(DAY * 2);
    for _ in 0..2 {
        bench.collect_fully(1).await;
        bench.pass(DAY);
    }
    let fresh = bench.other();
    let (main, side_head) = (head(&fresh, "main").await, head(&fresh, "side").await);
    let base = fresh
        .graph
        .merge_base(&main, &side_head)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(base.id, side[3]);
    assert_eq!(fresh.names(&at(base.id)).await.unwrap().len(), 6);
}

async fn head(bench: &Bench, name: &str) -> Arc<Commit> {
    let head = bench
        .graph
        .shared
        .branches
        .head(&branch(name))
        .await
        .unwrap();
    head.commit
}

#[tokio::test]
async fn entries_that_lead_to_nothing_kept_leave_the_logs() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 40).await;
    bench.pass(DAY * 2);
    let outcome = bench.collect_fully(5).await;
    assert!(outcome.log_entries >= 30, "{outcome:?}");
    let fresh = bench.other();
    let page = fresh
        .graph
        .commits(&branch("main"), None, None)
        .await
        .unwrap();
    assert!(
        (5..=8).contains(&page.commits.len()),
        "{}",
        page.commits.len()
    );
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 40);
    fresh.add("main", "next").await;
    // And again.
    bench.pass(DAY * 2);
    bench.collect_fully(5).await;
    assert_eq!(bench.other().names(&on("main")).await.unwrap().len(), 41);
}

#[tokio::test]
async fn a_log_is_kept_down_to_what_a_branch_stands_on() {
    let (bench, commits) = old_history().await;
    bench.fork("old", &at(commits[4])).await.unwrap();
    bench.collect_fully(1).await;
    let fresh = bench.other();
    let (main, old) = (head(&fresh, "main").await, head(&fresh, "old").await);
    let base = fresh.graph.merge_base(&main, &old).await.unwrap().unwrap();
    assert_eq!(base.id, commits[4]);
}

#[tokio::test]
async fn claims_of_requests_older_than_the_history_go() {
    let (bench, _) = old_history().await;
    let options = WriteOptions {
        idempotency_key: Some("one".to_owned()),
        ..WriteOptions::default()
    };
    let source = r#"query a() { insert Person { name: "keyed" } }"#;
    let (main, none) = (BranchName::main(), serde_json::Map::new());
    let written = bench.graph.mutate(&main, source, None, &none, &options);
    written.await.unwrap();
    bench.fill("main", "q", 3).await;
    bench.collect_fully(100).await;
    assert_eq!(
        bench.objects("idempotency").await.len(),
        1,
        "as old as the history"
    );
    bench.pass(DAY * 2);
    bench.collect_fully(1).await;
    assert_eq!(bench.objects("idempotency").await.len(), 0);
}

/// Without the older claim of its key, the younger one would not be found, and its request would
/// land again.
#[tokio::test]
async fn claims_of_one_key_go_together() {
    let (bench, _) = old_history().await;
    let options = WriteOptions {
        idempotency_key: Some("one".to_owned()),
        ..WriteOptions::default()
    };
    let (main, none) = (BranchName::main(), serde_json::Map::new());
    let nothing = r#"query a() { delete Person where name = "nobody" }"#;
    let source = r#"query a() { insert Person { name: "keyed" } }"#;
    let sent = bench.graph.mutate(&main, nothing, None, &none, &options);
    assert!(sent.await.unwrap().commit.is_none());
    bench.pass(DAY * 2);
    let sent = bench.graph.mutate(&main, source, None, &none, &options);
    assert!(!sent.await.unwrap().replayed);
    bench.collect_fully(100).await;
    assert_eq!(bench.objects("idempotency").await.len(), 2);
    let again = bench.graph.mutate(&main, source, None, &none, &options);
    assert!(again.await.unwrap().replayed);
    bench.pass(DAY * 2);
    bench.fill("main", "q", 3).await;
    bench.pass(DAY * 2);
    bench.collect_fully(1).await;
    assert_eq!(bench.objects("idempotency").await.len(), 0);
}

#[tokio::test]
async fn records_of_collections_do_not_pile_up() {
    let bench = Bench::new().await;
    for round in 0..4 {
        bench.fill("main", &format!("r{round}-"), 3).await;
        bench.pass(DAY * 2);
        bench.collect_fully(1).await;
        bench.pass(DAY * 2);
    }
    let lists: BTreeSet<String> = bench
        .objects("collect")
        .await
        .iter()
        .filter_map(|path| path.as_ref().split("/collect/").nth(1).map(str::to_owned))
        .filter(|path| path.ends_with("kept.json"))
        .collect();
    assert!(lists.len() <= 2, "{lists:?}");
}

#[tokio::test]
async fn a_deleted_graph_is_removed_after_ten_minutes_and_a_living_one_never() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    bench.fork("side", &on("main")).await.unwrap();
    let engine = engine(&bench.store);
    let root = bench.graph.root().clone();
    let again = engine
        .create_graph(&root.id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    bench.pass(DAY);
    assert_eq!(engine.remove_graph(&root).await.unwrap(), Removal::Living);
    // The marker of a branch is lost: the branch ends all the same.
    bench
        .graph
        .shared
        .branches
        .unmark_live(&branch("side"))
        .await;
    engine
        .tombstone_graph(&root, &Authorship::default())
        .await
        .unwrap();
    assert_eq!(engine.remove_graph(&root).await.unwrap(), Removal::TooEarly);
    assert!(matches!(
        bench.state("side").await,
        BranchState::Deleted { .. }
    ));
    bench.pass(Duration::from_secs(660));
    let removed = engine.remove_graph(&root).await.unwrap();
    assert!(
        matches!(removed, Removal::Removed { objects } if objects > 20),
        "{removed:?}"
    );
    assert_eq!(bench.objects("").await.len(), 0);
    assert_eq!(
        engine.graph_roots().await.unwrap(),
        std::slice::from_ref(&again)
    );
    engine.open_graph(&again).await.unwrap();
}

#[tokio::test]
async fn changes_of_reclaimed_commits_are_a_gap() {
    let (bench, commits) = old_history().await;
    bench.collect(3).await;
    let main = branch("main");
    let page = ChangePage::default();
    let changes = |id: CommitId| {
        let (graph, page) = (bench.graph.clone(), page.clone());
        async move {
            graph
                .commit_changes(&id, &ChangeFilter::default(), &page)
                .await
        }
    };
    changes(commits[11]).await.unwrap();
    for gone in [commits[2], commits[9]] {
        // Of the oldest kept commit, too: what was before it is gone.
        let error = changes(gone).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChangeFeedGap, "{error}");
    }
    let request = FeedRequest {
        branch: main,
        position: FeedPosition::After(commits[4]),
        filter: ChangeFilter::default(),
        limit: None,
        wait: Duration::ZERO,
    };
    let error = bench
        .graph
        .poll_changes(&request)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChangeFeedGap, "{error}");
    let request = FeedRequest {
        position: FeedPosition::After(commits[9]),
        ..request
    };
    let page = bench.graph.poll_changes(&request).await.unwrap();
    assert_eq!(page.blocks.len(), 2);
}

/// Names of the objects that hold blobs.
async fn blobs(bench: &Bench) -> BTreeSet<Path> {
    let files = bench.files().await;
    files
        .into_iter()
        .filter(|path| path.as_ref().contains("/_blobs/"))
        .collect()
}

async fn load(bench: &Bench, text: &str) {
    let options = crate::write::LoadOptions::default();
    let mut session = bench
        .graph
        .load(&BranchName::main(), options)
        .await
        .unwrap();
    let text = bytes::Bytes::copy_from_slice(text.as_bytes());
    session.push(text).await.unwrap();
    session.finish().await.unwrap();
}

#[tokio::test]
async fn blobs_are_kept_as_long_as_a_kept_row_names_them() {
    let bench = Bench::new().await;
    let lines = |names: &[(&str, &str)]| -> String {
        let line = |(name, body): &(&str, &str)| {
            format!(r#"{{"type":"Doc","data":{{"name":"{name}","body":"base64:{body}"}}}}"#)
        };
        names.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    // Two rows in one fragment: one goes, and its content with it.
    load(&bench, &lines(&[("kept", "b25l"), ("gone", "dHdv")])).await;
    load(&bench, &lines(&[("changed", "dGhyZWU=")])).await;
    bench.pass(HOUR);
    load(&bench, &lines(&[("changed", "Zm91cg==")])).await;
    let source = r#"query d() { delete Doc where name = "gone" }"#;
    let (main, none) = (BranchName::main(), serde_json::Map::new());
    let options = WriteOptions::default();
    let deleted = bench.graph.mutate(&main, source, None, &none, &options);
    deleted.await.unwrap();
    assert_eq!(blobs(&bench).await.len(), 4);
    bench.pass(DAY * 2);
    bench.collect_fully(1).await;
    assert_eq!(blobs(&bench).await.len(), 2);
    let snapshot = bench
        .other()
        .graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    for (name, body) in [("kept", b"one".as_slice()), ("changed", b"four".as_slice())] {
        let selector = BlobSelector {
            edge: false,
            type_name: "Doc".to_owned(),
            id: name.to_owned(),
            property: "body".to_owned(),
        };
        let (_, content) = bench.graph.open_blob(&snapshot, &selector).await.unwrap();
        let pieces = content.unwrap().read(0..u64::MAX);
        let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), body, "{name}");
    }
}

/// Entries outlive the tables of their commits: the first and the last of a log always do.
#[tokio::test]
async fn a_full_check_does_not_miss_what_was_reclaimed() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    bench.fork("gone", &on("main")).await.unwrap();
    bench.fill("gone", "g", 2).await;
    bench.drop_branch("gone").await;
    bench.fill("main", "q", 2).await;
    let full = FsckOptions {
        history: true,
        rows: true,
    };
    let whole = bench.other().graph.fsck(&full).await.unwrap();
    bench.pass(DAY * 2);
    // From the moment that it is condemned.
    bench.collect(1).await;
    let condemned = bench.other().graph.fsck(&full).await.unwrap();
    assert!(condemned.is_sound(), "{condemned:#?}");
    assert!(condemned.commits < whole.commits);
    assert!(condemned.unreferenced_objects > 0);
    bench.pass(DAY + HOUR);
    bench.collect(1).await;
    let removed = bench.other().graph.fsck(&full).await.unwrap();
    assert!(removed.is_sound(), "{removed:#?}");
    assert_eq!(removed.unreferenced_objects, 0);
}

#[tokio::test]
async fn a_missing_record_of_collections_is_damage() {
    use object_store::ObjectStoreExt as _;
    let bench = Bench::new().await;
    bench.fill("main", "p", 4).await;
    bench.pass(DAY * 2);
    bench.collect(1).await;
    let objects = bench.objects("collect").await;
    let record = objects
        .iter()
        .find(|path| path.as_ref().ends_with("/kept.json"));
    let objects = bench.store.object_store();
    objects.delete(record.unwrap()).await.unwrap();
    let report = bench.other().graph.fsck(&FsckOptions::default()).await;
    let report = report.unwrap();
    assert_eq!(report.errors, 1, "{report:#?}");
    assert!(report.findings[0].place.contains("collections"));
}

#[tokio::test]
async fn probes_of_processes_that_died_go_and_young_ones_stay() {
    use object_store::ObjectStoreExt as _;
    let bench = Bench::new().await;
    bench.fill("main", "p", 4).await;
    let probe = |name: &str| bench.store.path(&format!("graphs/probe-{name}"));
    let objects = bench.store.object_store();
    objects.put(&probe("old"), "{}".into()).await.unwrap();
    bench.pass(DAY * 2);
    bench.collect(1).await;
    bench.pass(DAY + HOUR);
    objects.put(&probe("young"), "{}".into()).await.unwrap();
    bench.collect(1).await;
    objects.head(&probe("old")).await.unwrap_err();
    objects.head(&probe("young")).await.unwrap();
}
