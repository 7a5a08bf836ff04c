//! Idempotency keys: a request with a key commits once, however often it is sent.

use super::deadlines::lose_the_append;
use super::*;
use crate::error::{Error, ErrorKind, IdempotencyCause};
use crate::graph::ActorId;

fn add(graph: &Graph, name: &str, key: &str) -> BoxFuture<'static, Result<MutationOutcome>> {
    mutate_with(graph, "main", ADD_PERSON, json!({ "n": name }), &keyed(key))
}

fn cause(error: &Error) -> IdempotencyCause {
    assert_eq!(error.kind(), ErrorKind::IdempotencyConflict, "{error}");
    error.detail().idempotency.as_ref().unwrap().cause
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let site = Site::new().await;
    let first = add(&site.ours, "dan", "k").await.unwrap();
    assert!(!first.replayed);
    mutate(&site.theirs, ADD_PLACE, json!({ "n": "here" }))
        .await
        .unwrap();
    for process in [&site.ours, &site.theirs, &site.another().await] {
        let again = add(process, "dan", "k").await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.commit, first.commit);
        assert_eq!(again.statements, first.statements);
        assert_eq!(
            (again.affected_nodes, again.query_name.as_str()),
            (1, "add")
        );
    }
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

/// One put more, and not one get.
#[tokio::test]
async fn requests_of_a_write_with_a_key() {
    let site = Site::new().await;
    let before = site.store.requests();
    mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    let without = site.store.requests() - before;
    let before = site.store.requests();
    add(&site.ours, "eve", "k").await.unwrap();
    let with = site.store.requests() - before;
    assert_eq!(with.put, without.put + 1, "{with}");
    assert_eq!(
        with.total(),
        without.total() + 1,
        "{with} instead of {without}"
    );

    let before = site.store.requests();
    assert!(add(&site.ours, "eve", "k").await.unwrap().replayed);
    let repeat = site.store.requests() - before;
    // A look at the head, the claim and the place for the next, the commit; the refused claim.
    assert_eq!(
        (repeat.get, repeat.put, repeat.total()),
        (4, 1, 5),
        "{repeat}"
    );
}

/// The client does not know what became of its request, and asks again while the first append is
/// still on its way: whichever comes first, one lands.
#[tokio::test]
async fn a_repeat_after_an_unclear_answer_lands_once() {
    for late_first in [true, false] {
        let site = Site::new().await;
        lose_the_append(&site);
        let unclear = add(&site.ours, "dan", "k").await.unwrap_err();
        assert!(
            unclear.message().starts_with("outcome unknown"),
            "{unclear}"
        );
        if late_first {
            site.faults.release_late().await;
        }
        let again = add(&site.theirs, "dan", "k").await.unwrap();
        assert_eq!(again.replayed, late_first);
        site.faults.release_late().await;
        let third = add(&site.ours, "dan", "k").await.unwrap();
        assert!(third.replayed);
        assert_eq!(third.commit, again.commit);
        assert_eq!(history(&site.theirs, "main").await.len(), 5);
        assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
    }
}

/// The simpler rule, to look for the commit only before the write begins, would land it twice:
/// the other process carries on with the same claim in between.
#[tokio::test]
async fn two_processes_that_repeat_the_same_request_at_once_land_it_once() {
    let site = Site::new().await;
    let up = "query up() { update Person set { age: 7 } where name = \"ann\" }";
    site.rival(move |them| async move {
        let same = mutate_with(&them, "main", up, json!({}), &keyed("k")).await;
        assert!(!same.unwrap().replayed);
    });
    let ours = mutate_with(&site.ours, "main", up, json!({}), &keyed("k"))
        .await
        .unwrap();
    assert!(site.faults.exhausted());
    assert!(ours.replayed);
    let history = history(&site.theirs, "main").await;
    assert_eq!(history.len(), 5);
    assert_eq!(ours.commit.unwrap().id, history[0].id);
}

/// As above, and the branch is gone when the loser looks: its answer is still in the log.
#[tokio::test]
async fn an_answer_outlives_its_branch() {
    let site = Site::new().await;
    let by = Authorship::default();
    site.ours
        .create_branch(&branch("x"), &Target::default(), &by)
        .await
        .unwrap();
    let them = site.theirs.clone();
    let both = hook(async move {
        let same = json!({ "n": "dan" });
        mutate_with(&them, "x", ADD_PERSON, same, &keyed("k"))
            .await
            .unwrap();
        them.delete_branch(&branch("x"), None, &Authorship::default())
            .await
            .unwrap();
    });
    site.faults.on(Op::Put, "branches/x/0", Fault::Before(both));
    let same = json!({ "n": "dan" });
    let ours = mutate_with(&site.ours, "x", ADD_PERSON, same.clone(), &keyed("k")).await;
    assert!(ours.unwrap().replayed);
    let again = mutate_with(&site.theirs, "x", ADD_PERSON, same, &keyed("k")).await;
    assert!(again.unwrap().replayed);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_actor() {
    let site = Site::new().await;
    let first = add(&site.ours, "dan", "k").await.unwrap();
    let error = add(&site.theirs, "eve", "k").await.unwrap_err();
    assert_eq!(cause(&error), IdempotencyCause::PayloadMismatch);
    let named = error.detail().idempotency.clone().unwrap();
    assert_eq!(
        named.commit,
        first.commit.map(|commit| commit.id.to_string())
    );
    // The same words on another branch, with a condition, or from another actor are another
    // request; the last has another key, too.
    let conditional = WriteOptions {
        if_head: Some(head(&site.ours, "main").await.id),
        ..keyed("k")
    };
    let same = json!({ "n": "dan" });
    let error = mutate_with(&site.ours, "main", ADD_PERSON, same, &conditional).await;
    assert_eq!(
        cause(&error.unwrap_err()),
        IdempotencyCause::PayloadMismatch
    );
    let somebody = WriteOptions {
        by: Authorship {
            actor: Some(ActorId::parse("eve").unwrap()),
            ..Authorship::default()
        },
        ..keyed("k")
    };
    let add = json!({ "n": "eve" });
    let theirs = mutate_with(&site.ours, "main", ADD_PERSON, add, &somebody)
        .await
        .unwrap();
    assert!(!theirs.replayed);
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan", "eve"]);
}

/// The simpler rule, that a claim binds its key, would refuse the corrected request.
#[tokio::test]
async fn a_request_that_committed_nothing_leaves_its_key_free() {
    let site = Site::new().await;
    // Refused, and then without anything to do.
    let edge = || json!({ "a": "ann", "b": "nobody" });
    let refused = mutate_with(&site.ours, "main", ADD_EDGE, edge(), &keyed("k")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    let nobody = || json!({ "n": "nobody", "a": 1 });
    let nothing = mutate_with(&site.ours, "main", SET_AGE, nobody(), &keyed("k")).await;
    assert!(nothing.unwrap().commit.is_none());
    // Sent again as they were, they run again.
    let refused = mutate_with(&site.theirs, "main", ADD_EDGE, edge(), &keyed("k")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    let nothing = mutate_with(&site.theirs, "main", SET_AGE, nobody(), &keyed("k")).await;
    assert!(!nothing.unwrap().replayed);
    // The corrected one takes the key, for good.
    assert!(!add(&site.theirs, "dan", "k").await.unwrap().replayed);
    assert!(add(&site.ours, "dan", "k").await.unwrap().replayed);
    let late = mutate_with(&site.ours, "main", SET_AGE, nobody(), &keyed("k")).await;
    assert_eq!(cause(&late.unwrap_err()), IdempotencyCause::PayloadMismatch);
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

/// The first request is still on its way when the second takes its key over on the same branch.
#[tokio::test]
async fn of_two_requests_with_one_key_that_race_one_lands() {
    let site = Site::new().await;
    site.rival(|them| async move {
        add(&them, "eve", "k").await.unwrap();
    });
    let error = add(&site.ours, "dan", "k").await.unwrap_err();
    assert_eq!(cause(&error), IdempotencyCause::PayloadMismatch);
    assert!(site.faults.exhausted());
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "eve"]);
}

#[tokio::test]
async fn a_request_that_is_running_in_this_process_is_not_begun_again() {
    let site = Site::new().await;
    let same = site.ours.clone();
    site.before_append(async move {
        let error = add(&same, "dan", "k").await.unwrap_err();
        assert_eq!(cause(&error), IdempotencyCause::InProgress);
    });
    add(&site.ours, "dan", "k").await.unwrap();
    assert!(site.faults.exhausted());
    assert!(add(&site.ours, "dan", "k").await.unwrap().replayed);
}

/// The claim's put takes effect and is reported as failed: the writer must know its own claim.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_recognised() {
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::Twice] {
        let site = Site::new().await;
        site.faults.on(Op::Put, "idempotency/", fault);
        assert!(!add(&site.ours, "dan", "k").await.unwrap().replayed);
        assert!(add(&site.theirs, "dan", "k").await.unwrap().replayed);
        assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
    }
    // And a claim that the store does not take at all commits nothing.
    let site = Site::new().await;
    for _ in 0..3 {
        site.faults.on(Op::Put, "idempotency/", Fault::Late);
    }
    let error = add(&site.ours, "dan", "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    site.faults.release_late().await;
    assert_eq!(site.people().await, ["ann", "bob", "cyd"]);
    assert!(!add(&site.ours, "dan", "k").await.unwrap().replayed);
}

/// The writer dies between claim and append; the repeat, in another process, finishes.
#[tokio::test]
async fn a_claim_of_a_dead_process_is_carried_on() {
    let site = Site::new().await;
    site.faults
        .on(Op::Put, "branches/main/0", Fault::Before(never()));
    let dying = site.ours.clone();
    let dying = tokio::spawn(async move { add(&dying, "dan", "k").await });
    let entry = |site: &Site| {
        let claims = site
            .directory
            .path()
            .join(site.root.path())
            .join("idempotency");
        std::fs::read_dir(claims).map_or(0, Iterator::count)
    };
    while entry(&site) == 0 {
        tokio::task::yield_now().await;
    }
    dying.abort();
    assert!(dying.await.is_err());
    assert!(!add(&site.theirs, "dan", "k").await.unwrap().replayed);
    assert!(
        add(&site.another().await, "dan", "k")
            .await
            .unwrap()
            .replayed
    );
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

#[tokio::test]
async fn a_repeated_load_is_answered_without_its_input() {
    let site = Site::new().await;
    let line = r#"{"type":"Person","data":{"name":"dan"}}"#;
    let options = |key: &str| LoadOptions {
        from: Some(BranchName::main()),
        ..load_options(LoadMode::Append, keyed(key))
    };
    let first = load(&site.ours, "new", options("k"), line).await.unwrap();
    assert!(first.branch_created && !first.replayed);
    let session = site
        .theirs
        .load(&branch("new"), options("k"))
        .await
        .unwrap();
    assert!(session.is_answered());
    let again = session.finish().await.unwrap();
    assert!(again.branch_created && again.replayed);
    assert_eq!(
        (again.commit, again.nodes, again.total),
        (first.commit, first.nodes, 1)
    );
    // Another mode is another load, which is known before its input is.
    let other = LoadOptions {
        mode: LoadMode::Merge,
        ..options("k")
    };
    let refused = site
        .theirs
        .load(&branch("new"), other)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(cause(&refused), IdempotencyCause::PayloadMismatch);
    assert_eq!(
        ids(&site.theirs, "new", "Person").await,
        ["ann", "bob", "cyd", "dan"]
    );
}

#[tokio::test]
async fn a_load_with_a_key_that_lost_its_answer_lands_once() {
    let site = Site::new().await;
    let line = r#"{"type":"Place","data":{"name":"here"}}"#;
    let options = || load_options(LoadMode::Append, keyed("k"));
    lose_the_append(&site);
    let unclear = load(&site.ours, "main", options(), line).await.unwrap_err();
    assert!(
        unclear.message().starts_with("outcome unknown"),
        "{unclear}"
    );
    // Another input under the same key may be tried; it lands first and keeps the late one out.
    let other = r#"{"type":"Place","data":{"name":"there"}}"#;
    assert!(
        !load(&site.theirs, "main", options(), other)
            .await
            .unwrap()
            .replayed
    );
    site.faults.release_late().await;
    let again = load(&site.ours, "main", options(), line).await.unwrap();
    assert!(
        again.replayed,
        "without its input it is taken for the repeat of what landed"
    );
    assert_eq!(ids(&site.theirs, "main", "Place").await, ["there"]);
}

#[tokio::test]
async fn malformed_keys_are_refused() {
    let site = Site::new().await;
    for key in ["", "a b", "ä", &"x".repeat(256)] {
        let refused = add(&site.ours, "dan", key).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{key}");
    }
    assert!(
        !add(&site.ours, "dan", &"x".repeat(255))
            .await
            .unwrap()
            .replayed
    );
}
