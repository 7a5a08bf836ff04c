//! Feeds: everything once and in order, cursors that fit, gaps that are told.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;

use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::ErrorKind;
use crate::graph::{ChangeOp, GraphId, MergeOptions, Target, WriteOptions};
use crate::store::{Store, StoreOptions};

const SCHEMA: &str = "
node Person { name: String @key  age: I64? }
edge Knows: Person -> Person { since: I64? }
";
const ADD: &str = "query add($n: String, $a: I64?) { insert Person { name: $n, age: $a } }";
const AGE: &str =
    "query age($n: String, $a: I64?) { update Person set { age: $a } where name = $n }";
const DROP: &str = "query gone($n: String) { delete Person where name = $n }";

async fn fixture() -> (Store, Engine, Graph) {
    let store = Store::open("memory://feed", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    );
    let id = GraphId::parse("g").unwrap();
    let by = Authorship::default();
    let root = engine.create_graph(&id, SCHEMA, &by).await.unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    (store, engine, graph)
}

async fn run(graph: &Graph, branch: &str, source: &str, name: &str, age: Option<i64>) -> CommitId {
    let branch = BranchName::parse(branch).unwrap();
    let mut params = serde_json::Map::from_iter([("n".to_owned(), name.into())]);
    if let Some(age) = age {
        params.insert("a".to_owned(), age.into());
    }
    let options = WriteOptions::default();
    let outcome = graph.mutate(&branch, source, None, &params, &options).await;
    outcome.unwrap().commit.unwrap().id
}

fn request(position: FeedPosition) -> FeedRequest {
    FeedRequest {
        branch: BranchName::main(),
        position,
        filter: ChangeFilter::default(),
        limit: None,
        wait: Duration::ZERO,
    }
}

fn cursor(page: &FeedPage) -> String {
    match &page.end {
        FeedEnd::Cursor { cursor, .. } => cursor.clone(),
        FeedEnd::Page(_) => panic!("the poll is not complete"),
    }
}

/// Follows the pages of one poll to its end.
async fn poll(graph: &Graph, mut request: FeedRequest) -> (Vec<ChangeBlock>, String, bool) {
    let mut blocks = Vec::new();
    loop {
        let page = graph.poll_changes(&request).await.unwrap();
        blocks.extend(page.blocks);
        match page.end {
            FeedEnd::Page(token) => request.position = FeedPosition::Page(token),
            FeedEnd::Cursor { cursor, caught_up } => return (blocks, cursor, caught_up),
        }
    }
}

/// A consumer's copy: what applying the changes gives.
fn apply(copy: &mut BTreeMap<String, String>, blocks: &[ChangeBlock]) {
    for change in blocks.iter().flat_map(|block| &block.changes) {
        match (&change.op, &change.after) {
            (ChangeOp::Delete, _) => {
                let gone = copy.remove(&change.id).expect("what is deleted was there");
                assert_eq!(
                    Some(gone),
                    change.before.as_ref().map(|i| i.properties.clone())
                );
            }
            (_, Some(image)) => {
                copy.insert(change.id.clone(), image.properties.clone());
            }
            (_, None) => panic!("an insert or update without an image"),
        }
    }
}

#[tokio::test]
async fn a_feed_delivers_every_commit_in_order_whatever_the_page_size() {
    let (_, _, graph) = fixture().await;
    let mut written = Vec::new();
    for n in 0..5 {
        written.push(run(&graph, "main", ADD, &format!("p{n}"), Some(n)).await);
    }
    written.push(run(&graph, "main", AGE, "p1", Some(10)).await);
    written.push(run(&graph, "main", DROP, "p2", None).await);
    for limit in [1, 2, 3, 1000] {
        let mut request = request(FeedPosition::Beginning);
        request.limit = Some(limit);
        let (blocks, _, caught_up) = poll(&graph, request).await;
        assert!(caught_up);
        let mut seen: Vec<CommitId> = blocks.iter().map(|block| block.cause.commit).collect();
        seen.dedup();
        assert_eq!(seen, written, "limit {limit}");
        let mut copy = BTreeMap::new();
        apply(&mut copy, &blocks);
        assert_eq!(copy.len(), 4);
        assert_eq!(copy["p1"], r#"{"age":10,"name":"p1"}"#);
    }
}

/// Cursors and pages keep to the commits that they were made for while the branch moves.
#[tokio::test]
async fn a_cursor_brings_what_came_after_it() {
    let (store, engine, graph) = fixture().await;
    let first = graph
        .poll_changes(&request(FeedPosition::Now))
        .await
        .unwrap();
    assert!(first.blocks.is_empty());
    let at = cursor(&first);
    assert!(at.len() <= 4096);
    let a = run(&graph, "main", ADD, "a", None).await;
    let b = run(&graph, "main", ADD, "b", None).await;
    let (blocks, next, _) = poll(&graph, request(FeedPosition::Cursor(at.clone()))).await;
    let seen: Vec<CommitId> = blocks.iter().map(|block| block.cause.commit).collect();
    assert_eq!(seen, [a, b]);
    // The same cursor again brings the same: the server keeps nothing.
    let again = poll(&graph, request(FeedPosition::Cursor(at))).await;
    assert_eq!(again.0, blocks);
    // A caught-up poll looks at the head and at nothing else.
    let before = store.requests();
    let idle = graph
        .poll_changes(&request(FeedPosition::Cursor(next.clone())))
        .await
        .unwrap();
    assert!(idle.blocks.is_empty());
    assert_eq!((store.requests() - before).total(), 1);
    // A process that knows nothing finds the same.
    let cold = engine.open_graph(graph.root()).await.unwrap();
    let c = run(&graph, "main", ADD, "c", None).await;
    let (blocks, _, caught_up) = poll(&cold, request(FeedPosition::Cursor(next))).await;
    assert!(caught_up);
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].cause.commit, c);
    let (blocks, ..) = poll(&graph, request(FeedPosition::After(a))).await;
    assert_eq!(blocks.len(), 2);
}

#[tokio::test]
async fn one_new_commit_costs_the_head_and_its_rows_however_long_the_history() {
    let (store, _, graph) = fixture().await;
    let mut costs = Vec::new();
    let mut at = cursor(
        &graph
            .poll_changes(&request(FeedPosition::Now))
            .await
            .unwrap(),
    );
    for n in 0..20 {
        run(&graph, "main", ADD, &format!("p{n}"), None).await;
        let before = store.requests();
        let (blocks, next, _) = poll(&graph, request(FeedPosition::Cursor(at))).await;
        let cost = store.requests() - before;
        assert_eq!(blocks.len(), 1);
        costs.push((cost.get, cost.total()));
        at = next;
    }
    // The head, and the one new data file; the first poll also opens the empty table before it.
    assert_eq!(costs[0], (3, 3));
    assert!(costs[1..].iter().all(|cost| *cost == (2, 2)), "{costs:?}");
}

#[tokio::test]
async fn a_poll_walks_over_a_bounded_number_of_commits() {
    let (_, engine, graph) = fixture().await;
    for n in 0..(FEED_COMMITS + 3) {
        run(&graph, "main", ADD, &format!("p{n:03}"), None).await;
    }
    for graph in [&graph, &engine.open_graph(graph.root()).await.unwrap()] {
        let (first, at, caught_up) = poll(graph, request(FeedPosition::Beginning)).await;
        assert_eq!((first.len(), caught_up), (FEED_COMMITS, false));
        let (second, _, caught_up) = poll(graph, request(FeedPosition::Cursor(at))).await;
        assert_eq!((second.len(), caught_up), (3, true));
        assert_eq!(second[2].changes[0].id, format!("p{:03}", FEED_COMMITS + 2));
    }
}

#[tokio::test]
async fn a_branch_delivers_its_inherited_part_and_merges_against_their_first_parent() {
    let (_, _, graph) = fixture().await;
    let side = BranchName::parse("side").unwrap();
    run(&graph, "main", ADD, "a", None).await;
    let by = Authorship::default();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    run(&graph, "side", ADD, "b", None).await;
    run(&graph, "side", ADD, "c", None).await;
    let mut on_side = request(FeedPosition::Beginning);
    on_side.branch = side.clone();
    let (blocks, at_side, _) = poll(&graph, on_side).await;
    assert_eq!(blocks.len(), 3);
    graph
        .merge(&side, &BranchName::main(), &MergeOptions::default())
        .await
        .unwrap();
    let (blocks, ..) = poll(&graph, request(FeedPosition::Beginning)).await;
    let sizes: Vec<usize> = blocks.iter().map(|block| block.changes.len()).collect();
    assert_eq!(sizes, [1, 2]);
    assert!(blocks[1].cause.merged_parent.is_some());

    // Another life of the branch has another feed.
    graph.delete_branch(&side, None, &by).await.unwrap();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    let mut late = request(FeedPosition::Cursor(at_side.clone()));
    late.branch = side;
    let error = graph.poll_changes(&late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CursorRejected);
    let main = request(FeedPosition::Cursor(at_side));
    let error = graph.poll_changes(&main).await.unwrap_err();
    assert!(
        error.message().starts_with("change cursor rejected:"),
        "{error}"
    );
}

#[tokio::test]
async fn cursors_of_another_filter_graph_or_kind_are_rejected() {
    let (_, engine, graph) = fixture().await;
    run(&graph, "main", ADD, "a", None).await;
    let at = cursor(
        &graph
            .poll_changes(&request(FeedPosition::Now))
            .await
            .unwrap(),
    );
    let mut filtered = request(FeedPosition::Cursor(at.clone()));
    filtered.filter.types = BTreeSet::from(["Person".to_owned()]);
    let mut bent = at.clone().into_bytes();
    bent[10] = if bent[10] == b'a' { b'b' } else { b'a' };
    let bent = String::from_utf8(bent).unwrap();
    let other = GraphId::parse("other").unwrap();
    let root = engine
        .create_graph(&other, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let other = engine.open_graph(&root).await.unwrap();
    let cases = [
        graph.poll_changes(&filtered).await,
        graph
            .poll_changes(&request(FeedPosition::Cursor(bent)))
            .await,
        graph
            .poll_changes(&request(FeedPosition::Page(at.clone())))
            .await,
        other.poll_changes(&request(FeedPosition::Cursor(at))).await,
    ];
    for case in cases {
        let error = case.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorRejected, "{error}");
    }
    let mut unknown = request(FeedPosition::Beginning);
    unknown.filter.types = BTreeSet::from(["Nobody".to_owned()]);
    let error = graph.poll_changes(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn reclaimed_history_is_a_gap_that_a_baseline_closes() {
    let (store, engine, graph) = fixture().await;
    let mut at = Vec::new();
    for n in 0..4 {
        run(&graph, "main", ADD, &format!("p{n}"), None).await;
        at.push(cursor(
            &graph
                .poll_changes(&request(FeedPosition::Now))
                .await
                .unwrap(),
        ));
    }
    // As a truncation leaves it: entries between the first and the floor are gone.
    let directory = format!("{}/branches/main", graph.root().path());
    for seq in [1, 2, 3] {
        let path = store.path(&format!("{directory}/{seq:020}.json"));
        object_store::ObjectStoreExt::delete(store.object_store().as_ref(), &path)
            .await
            .unwrap();
    }
    let cold = engine.open_graph(graph.root()).await.unwrap();
    for position in [FeedPosition::Cursor(at[0].clone()), FeedPosition::Beginning] {
        let error = cold.poll_changes(&request(position)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChangeFeedGap, "{error}");
        assert!(error.detail().gap.is_some());
    }
    let baseline = cold
        .baseline(&BranchName::main(), &ChangeFilter::default())
        .await
        .unwrap();
    let (commit, next) = (baseline.commit, baseline.cursor.clone());
    let records: Vec<bytes::Bytes> = baseline.records.try_collect().await.unwrap();
    assert_eq!(records.concat().iter().filter(|b| **b == b'\n').count(), 4);
    run(&graph, "main", ADD, "late", None).await;
    let (blocks, ..) = poll(&cold, request(FeedPosition::Cursor(next))).await;
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].cause.parent, Some(commit));
}

#[tokio::test]
async fn a_held_poll_answers_when_a_commit_lands() {
    let (_, engine, graph) = fixture().await;
    let mut held = request(FeedPosition::Now);
    held.wait = Duration::from_secs(30);
    let started = std::time::Instant::now();
    let other = engine.open_graph(graph.root()).await.unwrap();
    let (page, commit) = tokio::join!(
        graph.poll_changes(&held),
        run(&other, "main", ADD, "a", None)
    );
    let page = page.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    if let [block] = page.blocks.as_slice() {
        assert_eq!(block.cause.commit, commit);
    } else {
        // The commit landed before the poll took its cut.
        panic!("a held poll came back without the commit: {page:?}");
    }
    held.wait = Duration::from_millis(30);
    held.position = FeedPosition::Cursor(cursor(&page));
    let idle = graph.poll_changes(&held).await.unwrap();
    assert!(idle.blocks.is_empty());
}

#[tokio::test]
async fn filters_narrow_and_starts_are_checked() {
    let (_, _, graph) = fixture().await;
    run(&graph, "main", ADD, "a", None).await;
    run(&graph, "main", AGE, "a", Some(1)).await;
    let mut updates = request(FeedPosition::Beginning);
    updates.filter.ops = BTreeSet::from([ChangeOp::Update]);
    let (blocks, ..) = poll(&graph, updates).await;
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].changes[0].op, ChangeOp::Update);
    let mut edges = request(FeedPosition::Beginning);
    edges.filter.edges = BTreeSet::from([true]);
    assert!(poll(&graph, edges).await.0.is_empty());
    assert!(FeedPosition::parse_start("later").is_err());
    assert!(FeedPosition::parse_start("after:x").is_err());
    let nowhere = request(FeedPosition::After(CommitId::new()));
    let error = graph.poll_changes(&nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
