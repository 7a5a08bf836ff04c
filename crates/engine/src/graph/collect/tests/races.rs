//! Interleavings of collectors with writers, and with each other.

use super::*;
use crate::error::ErrorKind;
use crate::graph::model::BranchEvent;
use crate::graph::writer::append_deadline;

/// The object of the next entry of a branch's log.
async fn next_entry(bench: &Bench, name: &str) -> String {
    let seq = bench.state(name).await.seq().unwrap().next();
    format!("branches/{name}/{:020}.json", seq.0)
}

/// Both phases, by another process.
async fn collected_elsewhere(bench: Bench, keep: u64) {
    let other = bench.other();
    bench.pass(DAY + HOUR);
    other.collect(keep).await;
    bench.pass(DAY + HOUR);
    other.collect(keep).await;
}

async fn history(count: usize) -> (Bench, Vec<CommitId>) {
    let bench = Bench::new().await;
    let commits = bench.fill("main", "p", count).await;
    bench.pass(DAY * 2);
    (bench, commits)
}

/// With `Swept` as an entry that means nothing, the append would land at the next place, and the
/// commit would name files that are gone.
#[tokio::test]
async fn a_writer_that_staged_before_the_mark_starts_from_scratch() {
    let (bench, _) = history(4).await;
    let place = next_entry(&bench, "main").await;
    let meanwhile = hook(collected_elsewhere(bench.clone(), 1));
    bench.faults.on(Op::Put, &place, Fault::Before(meanwhile));
    bench.add("main", "late").await;
    assert!(bench.faults.exhausted());
    let fresh = bench.other();
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 5);
    assert_eq!(
        bench.leftovers(1).await,
        Vec::<Path>::new(),
        "the first try is gone"
    );
}

/// If the base were looked at only before the append, the branch would stand on files that go.
#[tokio::test]
async fn a_branch_made_at_a_commit_that_is_being_reclaimed_is_withdrawn() {
    let (bench, commits) = history(6).await;
    let other = bench.other();
    let meanwhile = hook(async move {
        other.collect(1).await;
    });
    bench
        .faults
        .on(Op::Put, "branches/late", Fault::Before(meanwhile));
    let error = bench.fork("late", &at(commits[1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("reclaimed"), "{error}");
    assert!(matches!(
        bench.state("late").await,
        BranchState::Deleted { .. }
    ));
    bench.pass(DAY + HOUR);
    bench.collect(1).await;
    assert_eq!(bench.leftovers(1).await, Vec::<Path>::new());
    // The name can be used.
    bench.fork("late", &on("main")).await.unwrap();
}

/// The maker of the branch dies between its append and its second look. Its marker is missing too:
/// a collector that believed the markers would not see the branch.
#[tokio::test]
async fn what_is_referred_to_again_between_the_phases_stays() {
    let (bench, commits) = history(6).await;
    bench.collect(1).await;
    let (base, commit) = {
        let child = bench.graph.find_commit(&commits[3]).await.unwrap();
        let commit = bench.graph.find_commit(&commits[2]).await.unwrap();
        (child.parents[0].clone(), commit)
    };
    let event = BranchEvent::Created {
        incarnation: Incarnation::new(),
        base: Some(base),
        first: None,
        created_at: bench.clock.now_micros(),
        actor: None,
        base_commit: Some(Box::new(Commit::clone(&commit))),
        control_epoch: 0,
    };
    let late = branch("late");
    let appended = bench
        .graph
        .append_event(&late, None, event, append_deadline());
    appended.await.map(|_| ()).unwrap();
    bench.pass(DAY + HOUR);
    let removed = bench.collect(1).await;
    assert!(removed.removed.objects > 5, "{removed:?}");
    let fresh = bench.other();
    assert_eq!(
        fresh.names(&on("late")).await.unwrap(),
        set(&["p0", "p1", "p2"])
    );
    fresh.add("late", "on").await;
    fresh.names_behind_the_record(commits[1]).await.unwrap_err();
}

/// The merge has read its source; then the source is deleted, and its tables are condemned.
#[tokio::test]
async fn a_merge_does_not_adopt_tables_that_were_removed_meanwhile() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    bench.fork("side", &on("main")).await.unwrap();
    bench.fill("side", "s", 2).await;
    bench.pass(DAY * 2);
    let place = next_entry(&bench, "main").await;
    let elsewhere = bench.clone();
    let meanwhile = hook(async move {
        let other = elsewhere.other();
        other.drop_branch("side").await;
        collected_elsewhere(elsewhere, 1).await;
    });
    bench.faults.on(Op::Put, &place, Fault::Before(meanwhile));
    let merged = bench
        .graph
        .merge(&branch("side"), &branch("main"), &MergeOptions::default())
        .await;
    assert_eq!(merged.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(bench.faults.exhausted());
    assert_eq!(
        bench.other().names(&on("main")).await.unwrap(),
        set(&["p0", "p1"])
    );
}

/// The target is marked before the merge lands, the source after it was deleted: a single pass over
/// the heads sees the adopted tables nowhere.
#[tokio::test]
async fn tables_that_move_from_one_branch_to_another_while_heads_are_read_are_marked() {
    let bench = Bench::new().await;
    bench.fill("main", "p", 2).await;
    bench.fork("zz", &on("main")).await.unwrap();
    bench.fill("zz", "s", 2).await;
    bench.pass(DAY * 2);
    let other = bench.other();
    let marking = bench.other();
    let meanwhile = hook(async move {
        let merged = other
            .graph
            .merge(&branch("zz"), &branch("main"), &MergeOptions::default())
            .await;
        merged.unwrap();
        other.drop_branch("zz").await;
    });
    // After the look at main and before the one at the other branch.
    bench
        .faults
        .on(Op::List, "branches/zz", Fault::After(meanwhile));
    let outcome = marking.collect(1).await;
    assert!(bench.faults.exhausted());
    let files = bench.files().await;
    bench.pass(DAY + HOUR);
    bench.collect(1).await;
    assert!(
        outcome.condemned.objects < files.len() as u64 / 2,
        "{outcome:?}"
    );
    assert_eq!(bench.other().names(&on("main")).await.unwrap().len(), 4);
}

#[tokio::test]
async fn two_collectors_at_once_do_no_harm() {
    let (bench, commits) = history(8).await;
    let (one, two) = (bench.other(), bench.other());
    for _ in 0..3 {
        let (a, b) = tokio::join!(one.try_collect(2), two.try_collect(2));
        a.unwrap();
        b.unwrap();
        bench.pass(DAY + HOUR);
    }
    assert_eq!(bench.leftovers(2).await, Vec::<Path>::new());
    let fresh = bench.other();
    assert_eq!(fresh.names(&at(commits[6])).await.unwrap().len(), 7);
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 8);
}

/// A collector that is held up in the middle of removing, while another finishes, and the world
/// goes on, removes nothing that came after.
#[tokio::test]
async fn a_collector_that_comes_late_removes_nothing_new() {
    let (bench, _) = history(8).await;
    bench.collect(2).await;
    bench.pass(DAY + HOUR);
    let elsewhere = bench.other();
    let meanwhile = hook(async move {
        elsewhere.collect(2).await;
        elsewhere.fill("main", "later", 3).await;
        elsewhere.pass(DAY * 2);
        elsewhere.collect_fully(2).await;
    });
    bench
        .faults
        .on_nth(Op::Delete, "tables/", 5, Fault::Before(meanwhile));
    bench.try_collect(2).await.unwrap();
    assert!(bench.faults.exhausted());
    assert_eq!(bench.other().names(&on("main")).await.unwrap().len(), 11);
    bench.pass(DAY * 2);
    bench.collect_fully(2).await;
    assert_eq!(bench.leftovers(2).await, Vec::<Path>::new());
}

#[tokio::test]
async fn an_object_that_is_missing_stops_the_collection_before_it_removes_anything() {
    use object_store::ObjectStoreExt as _;
    let (bench, commits) = history(6).await;
    let commit = bench.graph.find_commit(&commits[5]).await.unwrap();
    let table = commit.tables.values().find(|table| table.rows > 0).unwrap();
    let dataset = bench.graph.tables().load(table).await.unwrap();
    let manifest = dataset.manifest_location().path.clone();
    bench.store.object_store().delete(&manifest).await.unwrap();
    let files = bench.files().await;
    let error = bench.other().try_collect(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("nothing is collected"), "{error}");
    assert_eq!(bench.files().await, files);
}

/// If the commit were looked at only before the append, the tag would name files that go.
#[tokio::test]
async fn a_tag_made_at_a_commit_that_is_being_reclaimed_is_withdrawn() {
    let (bench, commits) = history(6).await;
    let other = bench.other();
    let meanwhile = hook(async move {
        other.collect(1).await;
    });
    bench
        .faults
        .on(Op::Put, "tags/late", Fault::Before(meanwhile));
    let (late, by) = (TagName::parse("late").unwrap(), Authorship::default());
    let made = bench.graph.create_tag(&late, &at(commits[1]), &by).await;
    made.map(|_| ()).unwrap_err();
    assert!(bench.faults.exhausted());
    assert_eq!(bench.graph.tags().await.unwrap(), []);
}

#[tokio::test]
async fn what_a_tag_names_is_kept_until_the_tag_is_deleted() {
    let (bench, commits) = history(6).await;
    let (kept, by) = (TagName::parse("kept").unwrap(), Authorship::default());
    bench
        .graph
        .create_tag(&kept, &at(commits[1]), &by)
        .await
        .unwrap();
    bench.collect_fully(1).await;
    let fresh = bench.other();
    assert_eq!(fresh.names(&at(commits[1])).await.unwrap().len(), 2);
    fresh.names(&at(commits[2])).await.unwrap_err();
    fresh.graph.delete_tag(&kept, &by).await.unwrap();
    bench.pass(DAY * 2);
    bench.collect_fully(1).await;
    bench.other().names(&at(commits[1])).await.unwrap_err();
    assert_eq!(bench.leftovers(1).await, Vec::<Path>::new());
}

/// Three days in which others write and collect, so that what was the head when they began is
/// reclaimed, and its place in the log is gone.
async fn days_go_by(bench: Bench) {
    let other = bench.other();
    other.fill("main", "later", 4).await;
    bench.pass(DAY * 2);
    other.collect_fully(1).await;
    let (floor, _) = bench.log("main").positions().await.unwrap();
    assert!(floor.0 > 5, "the log was truncated: {floor}");
}

/// A machine that slept for days sends its append into the hole that truncation left. If an append
/// that is found at its place counted as landed, the writer would be told of a commit that nobody
/// will ever see.
#[tokio::test]
async fn a_writer_that_slept_over_truncation_is_not_told_that_it_has_landed() {
    let (bench, _) = history(4).await;
    let place = next_entry(&bench, "main").await;
    let meanwhile = hook(days_go_by(bench.clone()));
    bench.faults.on(Op::Put, &place, Fault::Before(meanwhile));
    let told = bench.try_add("main", "lost").await;
    assert!(bench.faults.exhausted());
    let error = told.unwrap_err();
    assert!(error.message().contains("unknown"), "{error}");
    let fresh = bench.other();
    let names = fresh.names(&on("main")).await.unwrap();
    assert!(!names.contains("lost"), "{names:?}");
    fresh.add("main", "next").await;
    let full = FsckOptions {
        history: true,
        rows: true,
    };
    let report = fresh.graph.fsck(&full).await.unwrap();
    assert!(report.is_sound(), "{report:#?}");
    bench.pass(DAY * 2);
    bench.other().collect_fully(1).await;
    assert_eq!(bench.leftovers(1).await, Vec::<Path>::new());
}

/// The head was one when it was read, so that it needed no second look; but then the machine slept.
#[tokio::test]
async fn a_branch_at_a_head_that_was_read_days_ago_is_withdrawn() {
    let (bench, _) = history(4).await;
    let meanwhile = hook(days_go_by(bench.clone()));
    bench
        .faults
        .on(Op::Put, "branches/late", Fault::Before(meanwhile));
    let made = bench.fork("late", &on("main")).await;
    assert!(bench.faults.exhausted());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound);
    let late = bench.state("late").await;
    assert!(matches!(late, BranchState::Deleted { .. }));
    bench.fork("late", &on("main")).await.unwrap();
    let names = bench.other().names(&on("late")).await.unwrap();
    assert_eq!(names.len(), 8);
}

/// A branch that does not live yet is not told of a collection, so that the first commit of a new
/// one meets no `Swept`: its files may be gone when it lands.
#[tokio::test]
async fn a_load_into_a_new_branch_that_slept_for_days_is_withdrawn() {
    let (bench, _) = history(4).await;
    let meanwhile = hook(collected_elsewhere(bench.clone(), 1));
    bench
        .faults
        .on(Op::Put, "branches/fresh", Fault::Before(meanwhile));
    let options = crate::write::LoadOptions {
        from: Some(branch("main")),
        ..Default::default()
    };
    let load = async || {
        let fresh = branch("fresh");
        let mut session = bench.graph.load(&fresh, options.clone()).await?;
        let line = "{\"type\":\"Person\",\"data\":{\"name\":\"loaded\"}}\n";
        session.push(bytes::Bytes::from(line)).await?;
        session.finish().await
    };
    let told = load().await;
    assert!(bench.faults.exhausted());
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WriteConflict);
    let fresh = bench.state("fresh").await;
    assert!(matches!(fresh, BranchState::Deleted { .. }));
    load().await.unwrap();
    let names = bench.other().names(&on("fresh")).await.unwrap();
    assert_eq!(names.len(), 5);
}

/// While the branches are told of the collection one more appears, at a commit that was reclaimed:
/// its maker died before its second look. A collector that marked from the branches that it told
/// would take its files away.
#[tokio::test]
async fn a_branch_that_appears_while_the_branches_are_told_is_marked() {
    let (bench, commits) = history(6).await;
    bench.collect(1).await;
    bench.pass(DAY + HOUR);
    let child = bench.graph.find_commit(&commits[3]).await.unwrap();
    let commit = bench.graph.find_commit(&commits[2]).await.unwrap();
    let event = BranchEvent::Created {
        incarnation: Incarnation::new(),
        base: Some(child.parents[0].clone()),
        first: None,
        created_at: bench.clock.now_micros(),
        actor: None,
        base_commit: Some(Box::new(Commit::clone(&commit))),
        control_epoch: 0,
    };
    let place = next_entry(&bench, "main").await;
    let other = bench.other();
    let meanwhile = hook(async move {
        let late = branch("late");
        let appended = other
            .graph
            .append_event(&late, None, event, append_deadline());
        appended.await.map(|_| ()).unwrap();
    });
    bench.faults.on(Op::Put, &place, Fault::After(meanwhile));
    bench.other().collect(1).await;
    assert!(bench.faults.exhausted());
    let names = bench.other().names(&on("late")).await.unwrap();
    assert_eq!(names, set(&["p0", "p1", "p2"]));
}

/// The claim of a request goes with the history that it is older than. Then the client sends the
/// request again, and at last the first try wakes up.
#[tokio::test]
async fn a_request_that_slept_until_its_claim_was_collected_lands_once() {
    let (bench, _) = history(4).await;
    let keyed = WriteOptions {
        idempotency_key: Some("once".to_owned()),
        ..WriteOptions::default()
    };
    let send = async |graph: Graph, options: WriteOptions| {
        let source = r#"query a() { insert Person { name: "once" } }"#;
        let none = serde_json::Map::new();
        let main = branch("main");
        let sent = graph.mutate(&main, source, None, &none, &options).await;
        sent.map(|done| done.commit.unwrap().id)
    };
    let place = next_entry(&bench, "main").await;
    let (elsewhere, again) = (bench.clone(), keyed.clone());
    let meanwhile = hook(async move {
        let other = elsewhere.other();
        elsewhere.pass(HOUR);
        other.fill("main", "later", 2).await;
        elsewhere.pass(DAY * 2);
        other.collect_fully(2).await;
        assert!(elsewhere.objects("idempotency").await.is_empty());
        let source = r#"query a() { insert Person { name: "once" } }"#;
        let none = serde_json::Map::new();
        let main = branch("main");
        let sent = other.graph.mutate(&main, source, None, &none, &again);
        Box::pin(sent).await.unwrap();
    });
    bench.faults.on(Op::Put, &place, Fault::Before(meanwhile));
    let told = send(bench.graph.clone(), keyed.clone()).await;
    assert!(bench.faults.exhausted());
    if let Err(error) = &told {
        assert!(error.message().contains("unknown"), "{error}");
    }
    let fresh = bench.other();
    let page = fresh.graph.commits(&branch("main"), None, None).await;
    let commits = page.unwrap().commits;
    let landed = commits.iter().filter(|commit| {
        let proof = commit.idempotency.as_ref();
        proof.is_some_and(|proof| proof.key == "once")
    });
    assert_eq!(landed.count(), 1);
    send(fresh.graph.clone(), keyed).await.unwrap();
    assert_eq!(fresh.names(&on("main")).await.unwrap().len(), 7);
}

/// The commit was kept when the revert looked at it; then it was reclaimed.
#[tokio::test]
async fn a_revert_does_not_bring_back_tables_that_were_removed_meanwhile() {
    let (bench, commits) = history(6).await;
    let place = next_entry(&bench, "main").await;
    let meanwhile = hook(collected_elsewhere(bench.clone(), 1));
    bench.faults.on(Op::Put, &place, Fault::Before(meanwhile));
    let options = RevertOptions {
        mode: RevertMode::To(commits[2]),
        dry_run: false,
        write: WriteOptions::default(),
    };
    let told = bench.graph.revert(&branch("main"), &options).await;
    assert!(bench.faults.exhausted());
    assert_eq!(told.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.other().names(&on("main")).await.unwrap().len(), 6);
}
