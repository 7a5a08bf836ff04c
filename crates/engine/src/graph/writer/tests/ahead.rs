//! What a write does before its turn, and what becomes of it when others are faster.

use futures::future::join_all;
use tokio::sync::oneshot;

use super::*;
use crate::error::ErrorKind;
use crate::graph::writer::YIELDS;
use crate::log::fault::TestClock;

const OLDER: &str =
    "query older($n: String) { update Person set { age: age + 1 } where name = $n }";
const SET_EMAIL: &str =
    "query set($n: String, $e: String) { update Person set { email: $e } where name = $n }";
const ADD_WITH_EMAIL: &str =
    "query add($n: String, $e: String) { insert Person { name: $n, email: $e } }";
const ADD_WITH_AGE: &str = "query add($n: String, $a: I64) { insert Person { name: $n, age: $a } }";

/// A graph in memory, where data files go through the store that a test holds up.
struct Place {
    graph: Graph,
    store: Store,
    faults: FaultStore,
    clock: Arc<TestClock>,
}

impl Place {
    async fn new() -> Self {
        let wrapper = Faulty::default();
        let clock = Arc::new(TestClock::default());
        let options = StoreOptions {
            wrapper: Some(Arc::new(wrapper.clone()) as Arc<dyn WrappingObjectStore>),
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let store = Store::open("memory://ahead", options).await.unwrap();
        let engine = engine(&store);
        let id = GraphId::parse("people").unwrap();
        let root = engine
            .create_graph(&id, SCHEMA, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        let params = json!({ "n": "ann", "a": 1 });
        mutate(&graph, ADD_WITH_AGE, params).await.unwrap();
        mutate(&graph, ADD_PLACE, json!({ "n": "here" }))
            .await
            .unwrap();
        Self {
            faults: wrapper.0.get().unwrap().clone(),
            graph,
            store,
            clock,
        }
    }

    /// Holds the next upload of a data file up until the first half is used or dropped; the second
    /// half says when it has come.
    fn gate(&self) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (open, opened) = oneshot::channel::<()>();
        let (reached, at_gate) = oneshot::channel();
        let wait = hook(async move {
            let _ = reached.send(());
            let _ = opened.await;
        });
        self.faults.on(Op::Put, "/data/", Fault::Before(wait));
        (open, at_gate)
    }

    fn spawn(
        &self,
        source: &'static str,
        params: Json,
    ) -> tokio::task::JoinHandle<Result<MutationOutcome>> {
        tokio::spawn(mutate(&self.graph, source, params))
    }

    async fn age(&self, name: &str) -> i64 {
        let person = self.person(name).await;
        person["age"].as_i64().unwrap()
    }

    async fn person(&self, name: &str) -> Json {
        let snapshot = self
            .graph
            .snapshot(&Target::default(), &ReadOptions::default())
            .await
            .unwrap();
        let stream = self
            .graph
            .export(&snapshot, &["Person".to_owned()])
            .await
            .unwrap();
        let chunks: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        let mut people = text
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap()["data"].clone());
        people.find(|person| person["name"] == name).unwrap()
    }
}

/// With uploads in the branch's turn, the second writer would wait for the first one's.
#[tokio::test]
async fn a_writer_in_an_upload_keeps_nobody_from_committing() {
    let place = Place::new().await;
    let before = place.store.requests();
    let (open, at_gate) = place.gate();
    let slow = place.spawn(ADD_PERSON, json!({ "n": "dan" }));
    at_gate.await.unwrap();
    mutate(&place.graph, ADD_PERSON, json!({ "n": "eve" }))
        .await
        .unwrap();
    assert!(!slow.is_finished());
    open.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(
        ids(&place.graph, "main", "Person").await,
        ["ann", "dan", "eve"]
    );
    // The overtaken writer checks its row again, and names the file that it has.
    let cost = place.store.requests() - before;
    assert_eq!(cost.put, 2 * 4, "{cost}");
}

/// What was run ahead must not be committed on a head that says something else: one of the
/// birthdays would be lost.
#[tokio::test]
async fn a_write_that_is_overtaken_runs_again() {
    let place = Place::new().await;
    let (open, at_gate) = place.gate();
    let slow = place.spawn(OLDER, json!({ "n": "ann" }));
    at_gate.await.unwrap();
    for _ in 0..2 {
        mutate(&place.graph, OLDER, json!({ "n": "ann" }))
            .await
            .unwrap();
    }
    open.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(place.age("ann").await, 1 + 3);
}

/// The address is free when the slow write is run, and taken when its turn comes.
#[tokio::test]
async fn what_an_overtaken_write_must_not_do_any_more_is_refused() {
    let place = Place::new().await;
    let (open, at_gate) = place.gate();
    let slow = place.spawn(ADD_WITH_EMAIL, json!({ "n": "dan", "e": "d@x" }));
    at_gate.await.unwrap();
    mutate(
        &place.graph,
        ADD_WITH_EMAIL,
        json!({ "n": "eve", "e": "d@x" }),
    )
    .await
    .unwrap();
    open.send(()).unwrap();
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(ids(&place.graph, "main", "Person").await, ["ann", "eve"]);
}

/// What another process wrote a moment ago is not known here yet: neither may a write fail for
/// lack of it, nor pass by it.
#[tokio::test]
async fn what_is_wrong_with_an_old_head_only_is_no_error() {
    let site = Site::new().await;
    mutate(&site.theirs, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    mutate(&site.ours, ADD_EDGE, json!({ "a": "ann", "b": "dan" }))
        .await
        .unwrap();
    let email = |name: &str| json!({ "n": name, "e": "e@x" });
    mutate(&site.theirs, ADD_WITH_EMAIL, email("eve"))
        .await
        .unwrap();
    let twice = mutate(&site.ours, ADD_WITH_EMAIL, email("fay")).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Invalid);
    mutate(&site.theirs, DROP_PERSON, json!({ "n": "eve" }))
        .await
        .unwrap();
    let none = mutate(&site.ours, SET_AGE, json!({ "n": "eve", "a": 3 })).await;
    assert!(none.unwrap().commit.is_none());
    mutate(&site.ours, ADD_WITH_EMAIL, email("fay"))
        .await
        .unwrap();
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan", "fay"]);
}

/// The next uploads each come after a rival has committed; the one after those while a rival waits.
fn rivals(
    faults: &FaultStore,
    graph: &Graph,
    more: usize,
    late: oneshot::Sender<tokio::task::JoinHandle<Result<MutationOutcome>>>,
) {
    let (again, graph) = (faults.clone(), graph.clone());
    let rival = hook(async move {
        mutate(&graph, OLDER, json!({ "n": "ann" })).await.unwrap();
        if more > 0 {
            rivals(&again, &graph, more - 1, late);
            return;
        }
        let last = hook(async move {
            let _ = late.send(tokio::spawn(mutate(&graph, OLDER, json!({ "n": "ann" }))));
        });
        again.on(Op::Put, "/data/", Fault::Before(last));
    });
    faults.on(Op::Put, "/data/", Fault::Before(rival));
}

/// The row is large and another one each time, so it is uploaded outside of the turn, and somebody
/// is faster each time. In the end the turn is kept, and who comes then waits.
#[tokio::test]
async fn a_large_write_that_is_always_overtaken_lands() {
    let place = Place::new().await;
    let (late, arrived) = oneshot::channel();
    rivals(&place.faults, &place.graph, YIELDS, late);
    let email = "x".repeat(2 << 20);
    let slow = mutate(&place.graph, SET_EMAIL, json!({ "n": "ann", "e": email }))
        .await
        .unwrap();
    let rival = arrived.await.unwrap().await.unwrap().unwrap();
    let (slow, rival) = (slow.commit.unwrap(), rival.commit.unwrap());
    assert!(rival.version > slow.version, "the turn was not kept");
    assert!(place.faults.exhausted());
    let person = place.person("ann").await;
    assert_eq!(person["email"].as_str().map(str::len), Some(2 << 20));
    assert_eq!(person["age"], 1 + YIELDS + 2);
}

/// Writers of one process know what they have written: none reads the entries of the others for its
/// key, however many they are.
#[tokio::test]
async fn writers_with_keys_do_not_read_each_others_entries() {
    let place = Place::new().await;
    mutate(&place.graph, ADD_PERSON, json!({ "n": "bob" }))
        .await
        .unwrap();
    let before = place.store.requests();
    let writers = (0..16).map(|n| {
        let graph = place.graph.clone();
        async move {
            let params = json!({ "n": format!("p{n}") });
            let options = keyed(&format!("k{n}"));
            mutate_with(&graph, "main", ADD_PERSON, params, &options).await
        }
    });
    for written in join_all(writers).await {
        assert!(!written.unwrap().replayed);
    }
    let cost = place.store.requests() - before;
    // Each: the head and the index list; claim, data, transaction, manifest, entry. And the hint.
    assert_eq!((cost.get, cost.put), (16 * 2, 16 * 5 + 1), "{cost}");
    assert_eq!(ids(&place.graph, "main", "Person").await.len(), 2 + 16);
}

/// A head that was seen long ago is looked at before the write is prepared, and then not again.
#[tokio::test]
async fn a_write_after_a_pause_costs_no_more() {
    let place = Place::new().await;
    let cost = |n: &'static str| {
        let (graph, store) = (place.graph.clone(), place.store.clone());
        async move {
            let before = store.requests();
            mutate(&graph, ADD_PERSON, json!({ "n": n })).await.unwrap();
            store.requests() - before
        }
    };
    cost("cyd").await;
    let busy = cost("dan").await;
    place.clock.advance(Duration::from_secs(600));
    let idle = cost("eve").await;
    assert_eq!((busy.get, busy.put), (2, 4), "{busy}");
    assert_eq!((idle.get, idle.put), (2, 4), "{idle}");
}

#[tokio::test]
async fn an_error_is_the_same_however_old_the_head_is() {
    let place = Place::new().await;
    let email = |name: &str| json!({ "n": name, "e": "a@x" });
    mutate(&place.graph, ADD_WITH_EMAIL, email("ann"))
        .await
        .unwrap();
    for seconds in [0, 600] {
        place.clock.advance(Duration::from_secs(seconds));
        let twice = mutate(&place.graph, ADD_WITH_EMAIL, email("bob")).await;
        let error = twice.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
