//! Tags name commits for good, and reads find commits by tag and by time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::engine::{Engine, EngineOptions};
use crate::graph::{GraphId, ReadOptions, WriteOptions};
use crate::store::{Clock, Store, StoreOptions};

const SCHEMA: &str = "node Person { name: String @key }";
const ADD: &str = "query add($n: String) { insert Person { name: $n } }";

/// A clock that goes on by a second with every look.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now_micros(&self) -> i64 {
        self.0.fetch_add(1_000_000, Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

async fn fixture() -> (Store, Engine, Graph) {
    let options = StoreOptions {
        clock: Arc::new(Ticking(AtomicI64::new(1_000_000_000))),
        ..StoreOptions::default()
    };
    let store = Store::open("memory://tags", options).await.unwrap();
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

async fn add(graph: &Graph, branch: &str, name: &str) -> Commit {
    let branch = BranchName::parse(branch).unwrap();
    let params = serde_json::Map::from_iter([("n".to_owned(), name.into())]);
    let options = WriteOptions::default();
    let outcome = graph.mutate(&branch, ADD, None, &params, &options).await;
    outcome.unwrap().commit.unwrap()
}

fn name(text: &str) -> TagName {
    TagName::parse(text).unwrap()
}

async fn read(graph: &Graph, target: &Target) -> Result<CommitId> {
    let snapshot = graph.snapshot(target, &ReadOptions::default()).await?;
    Ok(snapshot.commit_id())
}

#[tokio::test]
async fn a_tag_names_one_commit_for_good_until_it_is_deleted() {
    let (store, engine, graph) = fixture().await;
    let first = add(&graph, "main", "a").await;
    let by = Authorship {
        message: Some("before the import".to_owned()),
        ..Authorship::default()
    };
    let v1 = name("release/1.0");
    let before = store.requests();
    let tag = graph
        .create_tag(&v1, &Target::default(), &by)
        .await
        .unwrap();
    let cost = store.requests() - before;
    // The head; the empty log; the commit and what was collected, before and after; the entry; and
    // the tag as it was made.
    assert_eq!((cost.put, cost.get, cost.list), (1, 7, 3), "{cost}");
    assert_eq!(tag.commit, first.id);
    assert_eq!(tag.message.as_deref(), Some("before the import"));
    add(&graph, "main", "b").await;

    let again = graph.create_tag(&v1, &Target::default(), &by).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    graph
        .create_tag(&name("a"), &Target::Commit(first.id), &by)
        .await
        .unwrap();
    let names: Vec<String> = graph
        .tags()
        .await
        .unwrap()
        .iter()
        .map(|t| t.name.to_string())
        .collect();
    assert_eq!(names, ["a", "release/1.0"]);
    let cold = engine.open_graph(graph.root()).await.unwrap();
    assert_eq!(
        read(&cold, &Target::Tag(v1.clone())).await.unwrap(),
        first.id
    );
    // Warm, a read by tag looks at the tag and at nothing else.
    let before = store.requests();
    read(&graph, &Target::Tag(v1.clone())).await.unwrap();
    assert_eq!((store.requests() - before).total(), 1);

    let gone = graph.delete_tag(&v1, &by).await.unwrap();
    assert_eq!(gone.commit, first.id);
    assert_eq!(
        graph.tag(&v1).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        graph.delete_tag(&v1, &by).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let moved = graph
        .create_tag(&v1, &Target::default(), &by)
        .await
        .unwrap();
    assert_ne!(moved.commit, first.id);
    for bad in ["", "  ", "a\nb", &"x".repeat(201)] {
        let error = TagName::parse(bad).unwrap_err();
        assert!(error.message().contains("tag name"), "{error}");
    }
}

/// Two processes: the simpler rule, to look and then write, would let both believe to be first.
#[tokio::test]
async fn of_two_that_make_the_same_tag_one_is_told_so() {
    let (_, engine, graph) = fixture().await;
    add(&graph, "main", "a").await;
    let other = engine.open_graph(graph.root()).await.unwrap();
    let (tag, target, by) = (name("t"), Target::default(), Authorship::default());
    let (one, two) = tokio::join!(
        graph.create_tag(&tag, &target, &by),
        other.create_tag(&tag, &target, &by)
    );
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    let refused = one.err().or(two.err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
}

/// The simpler rule, to look at the commit only before the append, would leave a tag that names
/// nothing.
#[tokio::test]
async fn a_tag_of_a_commit_that_is_gone_is_not_made() {
    let (store, engine, graph) = fixture().await;
    let first = add(&graph, "main", "a").await;
    add(&graph, "main", "b").await;
    let path = format!("{}/branches/main/{:020}.json", graph.root().path(), 1);
    let path = store.path(&path);
    object_store::ObjectStoreExt::delete(store.object_store().as_ref(), &path)
        .await
        .unwrap();
    // This process still knows the commit.
    let error = graph
        .create_tag(
            &name("t"),
            &Target::Commit(first.id),
            &Authorship::default(),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChangeFeedGap);
    let cold = engine.open_graph(graph.root()).await.unwrap();
    assert!(cold.tags().await.unwrap().is_empty());
}

#[tokio::test]
async fn reads_find_the_newest_commit_of_a_time() {
    let (store, engine, graph) = fixture().await;
    let genesis = graph
        .commits(&BranchName::main(), None, None)
        .await
        .unwrap()
        .commits[0]
        .clone();
    let mut written = vec![genesis];
    for n in 0..20 {
        written.push(add(&graph, "main", &format!("p{n}")).await);
    }
    let side = BranchName::parse("side").unwrap();
    let by = Authorship::default();
    graph
        .create_branch(&side, &Target::Commit(written[10].id), &by)
        .await
        .unwrap();
    let on_side = add(&graph, "side", "s").await;
    let cold = engine.open_graph(graph.root()).await.unwrap();
    let as_of = |branch: &str, at: i64| Target::AsOf {
        branch: BranchName::parse(branch).unwrap(),
        at,
    };
    for graph in [&graph, &cold] {
        for (at, commit) in written.iter().enumerate() {
            let exactly = as_of("main", commit.created_at);
            assert_eq!(read(graph, &exactly).await.unwrap(), commit.id, "{at}");
            let later = as_of("main", commit.created_at + 1);
            assert_eq!(read(graph, &later).await.unwrap(), commit.id, "{at}");
        }
        // The inherited part counts, what came later on the other branch does not.
        let inherited = as_of("side", written[5].created_at);
        assert_eq!(read(graph, &inherited).await.unwrap(), written[5].id);
        let forked = as_of("side", written[20].created_at);
        assert_eq!(read(graph, &forked).await.unwrap(), written[10].id);
        let newest = as_of("side", on_side.created_at);
        assert_eq!(read(graph, &newest).await.unwrap(), on_side.id);
        let error = read(graph, &as_of("main", 5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let before = store.requests();
    read(&graph, &as_of("main", written[3].created_at))
        .await
        .unwrap();
    let cost = store.requests() - before;
    assert!(cost.total() <= 8, "bisecting 21 commits: {cost}");
}

#[tokio::test]
async fn a_name_means_a_commit_then_a_branch_then_a_tag() {
    let (_, _, graph) = fixture().await;
    let first = add(&graph, "main", "a").await;
    let by = Authorship::default();
    graph
        .create_tag(&name("t"), &Target::default(), &by)
        .await
        .unwrap();
    let second = add(&graph, "main", "b").await;
    let named = |text: &str| Target::Named(text.to_owned());
    assert_eq!(read(&graph, &named("t")).await.unwrap(), first.id);
    assert_eq!(read(&graph, &named(" main ")).await.unwrap(), second.id);
    assert_eq!(
        read(&graph, &named(&first.id.to_string())).await.unwrap(),
        first.id
    );
    // A branch may be called like a commit id that does not exist.
    let odd = BranchName::parse(&CommitId::new().to_string()).unwrap();
    graph
        .create_branch(&odd, &Target::Tag(name("t")), &by)
        .await
        .unwrap();
    assert_eq!(read(&graph, &named(odd.as_str())).await.unwrap(), first.id);
    let error = read(&graph, &named("nobody")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let pinned = ReadOptions {
        min_commit: Some(first.id),
        ..ReadOptions::default()
    };
    let error = graph
        .snapshot(&Target::Tag(name("t")), &pinned)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A clock that a test sets, also backwards.
#[derive(Debug, Default)]
struct Skewed(AtomicI64);

impl Clock for Skewed {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// With the writers' own times, the second commit would be older than the first, and what "as of"
/// means would hang on where a bisection happens to look.
#[tokio::test]
async fn times_never_go_back_along_a_branch() {
    let clock = Arc::new(Skewed::default());
    clock.0.store(1_000, Ordering::SeqCst);
    let options = StoreOptions {
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let store = Store::open("memory://skewed", options).await.unwrap();
    let engine = Engine::new(store, EngineOptions::default());
    let id = GraphId::parse("g").unwrap();
    let by = Authorship::default();
    let root = engine.create_graph(&id, SCHEMA, &by).await.unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    let side = BranchName::parse("side").unwrap();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    let mut commits = Vec::new();
    for (time, given) in [
        (5_000, 5_000),
        (3_000, 5_000),
        (9_000, 9_000),
        (1, 9_000),
        (9_500, 9_500),
    ] {
        clock.0.store(time, Ordering::SeqCst);
        let commit = add(&graph, "main", &format!("p{time}")).await;
        assert_eq!(commit.created_at, given, "at {time}");
        commits.push(commit);
    }
    let as_of = |at: i64| {
        let target = Target::AsOf {
            branch: BranchName::main(),
            at,
        };
        let graph = graph.clone();
        async move { read(&graph, &target).await.unwrap() }
    };
    assert_eq!(as_of(4_999).await, commits[0].parents[0].id);
    assert_eq!(as_of(5_000).await, commits[1].id);
    assert_eq!(as_of(8_999).await, commits[1].id);
    assert_eq!(as_of(9_000).await, commits[3].id);
    assert_eq!(as_of(10_000).await, commits[4].id);
    // A merge is not older than what it merges, upkeep not older than what it works on.
    clock.0.store(20_000, Ordering::SeqCst);
    let late = add(&graph, "side", "late").await;
    clock.0.store(2, Ordering::SeqCst);
    let merged = graph
        .merge(
            &side,
            &BranchName::main(),
            &crate::graph::MergeOptions::default(),
        )
        .await
        .unwrap()
        .commit
        .unwrap();
    assert_eq!((late.created_at, merged.created_at), (20_000, 20_000));
    let options = crate::graph::OptimizeOptions::default();
    let optimized = Box::pin(graph.optimize(&BranchName::main(), &options, &|_| {}))
        .await
        .unwrap();
    assert_eq!(optimized.commit.unwrap().created_at, 20_000);
}
