//! Queues, deadlines, and answers that do not come.

use tokio::sync::oneshot;

use super::*;
use crate::error::ErrorKind;
use crate::log::fault::TestClock;

/// Holds our next append to a branch back until the other half is used or dropped.
fn gate(site: &Site, path_part: &str) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
    let (open, opened) = oneshot::channel::<()>();
    let (reached, at_gate) = oneshot::channel();
    let wait = hook(async move {
        let _ = reached.send(());
        let _ = opened.await;
    });
    site.faults.on(Op::Put, path_part, Fault::Before(wait));
    (open, at_gate)
}

#[tokio::test]
async fn different_branches_never_wait_for_each_other() {
    let site = Site::new().await;
    let by = Authorship::default();
    site.ours
        .create_branch(&branch("x"), &Target::default(), &by)
        .await
        .unwrap();
    let (open, at_gate) = gate(&site, "branches/x/0");
    let slow = site.ours.clone();
    let slow = tokio::spawn(async move {
        let options = WriteOptions::default();
        mutate_with(&slow, "x", ADD_PERSON, json!({ "n": "dan" }), &options).await
    });
    at_gate.await.unwrap();
    // The append to x is under way, and main does not wait for it.
    mutate(&site.ours, ADD_PERSON, json!({ "n": "eve" }))
        .await
        .unwrap();
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "eve"]);
    open.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(
        ids(&site.theirs, "x", "Person").await,
        ["ann", "bob", "cyd", "dan"]
    );
}

#[tokio::test]
async fn writers_of_one_process_queue_and_do_not_conflict() {
    let site = Site::new().await;
    let writers = (0..16).map(|n| {
        let graph = site.ours.clone();
        async move { mutate(&graph, ADD_PERSON, json!({ "n": format!("p{n}") })).await }
    });
    let before = site.store.requests();
    futures::future::try_join_all(writers).await.unwrap();
    let cost = site.store.requests() - before;
    // Nothing is done twice: manifest and entry of each, and one hint.
    assert_eq!(cost.put, 16 * 2 + 1, "{cost}");
    assert_eq!(site.people().await.len(), 3 + 16);
}

#[tokio::test]
async fn a_write_whose_time_ends_in_the_queue_has_no_effect() {
    let site = Site::new().await;
    let (open, at_gate) = gate(&site, "branches/main/0");
    let first = site.ours.clone();
    let first =
        tokio::spawn(async move { mutate(&first, ADD_PERSON, json!({ "n": "dan" })).await });
    at_gate.await.unwrap();
    let options = within(Duration::from_millis(20));
    let late = mutate_with(
        &site.ours,
        "main",
        ADD_PERSON,
        json!({ "n": "eve" }),
        &options,
    )
    .await;
    let error = late.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.message().contains("nothing was written"), "{error}");
    open.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

#[tokio::test]
async fn a_write_whose_time_ends_while_it_is_prepared_has_no_effect() {
    let site = Site::new().await;
    site.faults.on(Op::Put, "tables/", Fault::Before(never()));
    let options = within(Duration::from_millis(200));
    let late = mutate_with(
        &site.ours,
        "main",
        ADD_PERSON,
        json!({ "n": "eve" }),
        &options,
    )
    .await;
    let error = late.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.message().contains("nothing was written"), "{error}");
    assert_eq!(site.people().await, ["ann", "bob", "cyd"]);
}

/// The first put of the entry is late and the store then refuses everything: saying that nothing
/// was written would be a lie, because the put takes effect afterwards.
#[tokio::test]
async fn an_append_without_an_answer_is_never_called_without_effect() {
    let site = Site::new().await;
    lose_the_append(&site);
    let error = mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap_err();
    assert!(error.message().starts_with("outcome unknown"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    site.faults.release_late().await;
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

/// As above, and nobody acts on the same place in between: a void keeps the late put out, so that
/// the answer is certain.
#[tokio::test]
async fn an_append_that_is_given_up_is_shut_out() {
    let site = Site::new().await;
    site.faults.on(Op::Put, "branches/main/0", Fault::Late);
    site.faults.on(Op::Put, "branches/main/0", Fault::Deny);
    // The void of the settlement lands; the write goes on behind it.
    mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    site.faults.release_late().await;
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
    let named: Vec<_> = history(&site.theirs, "main")
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    let once: std::collections::BTreeSet<_> = named.iter().collect();
    assert_eq!(named.len(), once.len());
}

/// Its files may be condemned and swept before it reads its base, which a look at the entries since
/// that base would not show.
#[tokio::test]
async fn a_load_of_more_than_a_day_is_refused() {
    let clock = Arc::new(TestClock::default());
    let options = StoreOptions {
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let store = Store::open("memory://long", options).await.unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("long").unwrap();
    let by = Authorship::default();
    let root = engine.create_graph(&id, SCHEMA, &by).await.unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    let line = || bytes::Bytes::from_static(br#"{"type":"Place","data":{"name":"here"}}"#);
    for (hours, fits) in [(25, false), (23, true)] {
        let mut session = graph
            .load(&branch("main"), LoadOptions::default())
            .await
            .unwrap();
        session.push(line()).await.unwrap();
        clock.advance(Duration::from_secs(hours * 3600));
        assert_eq!(session.finish().await.is_ok(), fits, "{hours}");
    }
    assert_eq!(ids(&graph, "main", "Place").await, ["here"]);
}

/// The next append to `main` takes effect only when the late requests are released, and what the
/// writer tries then is refused.
pub(super) fn lose_the_append(site: &Site) {
    site.faults.on(Op::Put, "branches/main/0", Fault::Late);
    site.faults.on(Op::Put, "branches/main/0", Fault::Deny);
    site.faults.on(Op::Put, "branches/main/0", Fault::Deny);
}
