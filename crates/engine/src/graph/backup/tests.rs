//! Backups: complete, incremental, verified, and nothing that only looks complete.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::super::*;
use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::{ErrorKind, Result};
use crate::graph::collect::{CollectOptions, Retention};
use crate::log::fault::TestClock;
use crate::log::{Clock, SystemClock};
use crate::store::{Store, StoreOptions};
use std::sync::Arc;

const SCHEMA: &str = "
node Person { name: String @key  bio: String? @index }
edge Knows: Person -> Person
";

struct Bench {
    _directory: tempfile::TempDir,
    destination: String,
    clock: Arc<TestClock>,
    engine: Engine,
    graph: Graph,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let clock = Arc::new(TestClock::default());
        let now = u64::try_from(SystemClock::default().now_micros()).unwrap();
        clock.advance(Duration::from_micros(now));
        let engine = engine(&at("source"), clock.clone()).await;
        let id = GraphId::parse("people").unwrap();
        let root = engine
            .create_graph(&id, SCHEMA, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        Self {
            destination: at("backups"),
            _directory: directory,
            clock,
            engine,
            graph,
        }
    }

    async fn add(&self, on: &str, name: &str) -> CommitId {
        let source =
            format!(r#"query a() {{ insert Person {{ name: "{name}", bio: "a life" }} }}"#);
        let (branch, none) = (branch(on), serde_json::Map::new());
        let options = WriteOptions::default();
        let written = self.graph.mutate(&branch, &source, None, &none, &options);
        written.await.unwrap().commit.unwrap().id
    }

    async fn backup(&self, scope: BackupScope) -> Result<BackupInfo> {
        let options = BackupOptions {
            scope,
            progress: None,
        };
        self.graph.backup(&self.destination, &options).await
    }

    /// Another cluster, and a graph in it that was made of a backup.
    async fn restore(&self, uri: &str) -> Result<(Engine, Graph, Restored)> {
        let root = format!("{}-restored-{}", self.destination, ulid::Ulid::new());
        let engine = engine(&root, self.clock.clone()).await;
        let by = Authorship {
            control_epoch: Some(1),
            ..Authorship::default()
        };
        let id = GraphId::parse("again").unwrap();
        let restored = engine.restore_graph(uri, &id, &by).await?;
        let graph = engine.open_graph(&restored.root).await?;
        Ok((engine, graph, restored))
    }

    /// Changes the content of one object of a backup.
    async fn damage(&self, part: &str) -> String {
        let store = Store::open(&self.destination, StoreOptions::default())
            .await
            .unwrap();
        let objects = files(&store).await;
        let victim = objects
            .iter()
            .find(|path| path.contains(part))
            .unwrap()
            .clone();
        let path = object_store::path::Path::from(victim.as_str());
        let bytes = store
            .object_store()
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.object_store().put(&path, bytes.into()).await.unwrap();
        victim
    }
}

async fn engine(root: &str, clock: Arc<TestClock>) -> Engine {
    let options = StoreOptions {
        clock,
        wrapper: None,
        fsync: false,
    };
    let store = Store::open(root, options).await.unwrap();
    Engine::new(
        store,
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

async fn files(store: &Store) -> BTreeSet<String> {
    let listed = store.object_store().list(Some(&store.path("")));
    let listed = listed.map_ok(|object| object.location.to_string());
    listed.try_collect().await.unwrap()
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

fn on(name: &str) -> Target {
    Target::Branch(branch(name))
}

async fn names(graph: &Graph, target: &Target) -> Vec<String> {
    let snapshot = graph
        .snapshot(target, &ReadOptions::default())
        .await
        .unwrap();
    let lines = graph
        .export(&snapshot, &["Person".to_owned()])
        .await
        .unwrap();
    let lines: Vec<Bytes> = lines.try_collect().await.unwrap();
    let mut names: Vec<String> = lines
        .concat()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            line["data"]["name"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_commit_comes_back_as_a_graph_that_can_be_written_to() {
    let bench = Bench::new().await;
    bench.add("main", "ann").await;
    let head = bench.add("main", "bob").await;
    let made = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    assert_eq!((made.commit, made.history), (head, false));
    assert_eq!(made.copied, made.content);
    assert!(verify_backup(&made.uri).await.unwrap().is_ok());
    let (engine, graph, restored) = bench.restore(&made.uri).await.unwrap();
    assert_eq!(restored.commit, head);
    assert_eq!(names(&graph, &on("main")).await, ["ann", "bob"]);
    let info = graph.branch(&branch("main")).await.unwrap();
    assert_eq!((info.head.id, info.head.parents.len()), (head, 0));
    let write = r#"query a() { insert Person { name: "cyd", bio: "x" } insert Knows { from: "ann", to: "cyd" } }"#;
    let none = serde_json::Map::new();
    graph
        .mutate(
            &branch("main"),
            write,
            None,
            &none,
            &WriteOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(names(&graph, &on("main")).await, ["ann", "bob", "cyd"]);
    let report = engine
        .fsck(&restored.root, &FsckOptions::default())
        .await
        .unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test]
async fn history_comes_back_with_branches_and_old_commits() {
    let bench = Bench::new().await;
    let first = bench.add("main", "ann").await;
    let by = Authorship::default();
    let side = branch("side/x");
    bench
        .graph
        .create_branch(&side, &on("main"), &by)
        .await
        .unwrap();
    bench.add("side/x", "bob").await;
    bench
        .graph
        .merge(&side, &branch("main"), &MergeOptions::default())
        .await
        .unwrap();
    let gone = branch("gone");
    bench
        .graph
        .create_branch(&gone, &on("main"), &by)
        .await
        .unwrap();
    bench.graph.delete_branch(&gone, None, &by).await.unwrap();
    bench.add("main", "cyd").await;
    let made = bench.backup(BackupScope::History).await.unwrap();
    assert!(made.history);
    let (_, graph, _) = bench.restore(&made.uri).await.unwrap();
    let branches = graph.branches().await.unwrap();
    let listed: Vec<&str> = branches.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(listed, ["main", "side/x"]);
    assert_eq!(names(&graph, &on("main")).await, ["ann", "bob", "cyd"]);
    assert_eq!(names(&graph, &Target::Commit(first)).await, ["ann"]);
    let theirs = graph.commits(&branch("main"), None, None).await.unwrap();
    let ours = bench
        .graph
        .commits(&branch("main"), None, None)
        .await
        .unwrap();
    let ids = |page: &CommitPage| page.commits.iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(&theirs), ids(&ours));
    graph
        .create_branch(&branch("new"), &Target::Commit(first), &by)
        .await
        .unwrap();
}

#[tokio::test]
async fn reclaimed_history_stays_reclaimed_after_a_restoration() {
    let bench = Bench::new().await;
    let mut commits = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        commits.push(bench.add("main", name).await);
        bench.clock.advance(Duration::from_secs(3600));
    }
    // The files are as young as the test, so that nothing is removed; the decision counts.
    bench.clock.advance(Duration::from_secs(72 * 3600));
    let marker = collect::Marker {
        graph: &bench.graph,
        boundary: collect::Boundary::Policy {
            retention: Retention {
                commits: Some(2),
                age: None,
            },
            now: bench.clock.now_micros(),
            before: None,
        },
        tell: None,
    };
    let record = marker.mark().await.unwrap().record;
    bench
        .graph
        .shared
        .collection
        .begin_with(&record)
        .await
        .unwrap();
    let made = bench.backup(BackupScope::History).await.unwrap();
    let (_, graph, _) = bench.restore(&made.uri).await.unwrap();
    assert_eq!(names(&graph, &Target::Commit(commits[3])).await.len(), 4);
    let old = Target::Commit(commits[1]);
    let error = graph
        .snapshot(&old, &ReadOptions::default())
        .await
        .unwrap_err();
    assert!(error.message().contains("reclaimed"), "{error}");
    let options = CollectOptions {
        retention: Retention {
            commits: Some(2),
            age: None,
        },
        dry_run: true,
        progress: None,
    };
    graph.collect(&options).await.unwrap();
}

#[tokio::test]
async fn a_second_backup_copies_what_is_new() {
    let bench = Bench::new().await;
    for name in ["ann", "bob", "cyd"] {
        bench.add("main", name).await;
    }
    let first = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    let again = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    assert_eq!(again.copied, Amount::default());
    assert_eq!(again.content, first.content);
    bench.add("main", "dan").await;
    let third = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    // Data, transaction and manifest.
    assert_eq!(third.copied.objects, 3);
    let listed = list_backups(&bench.destination).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|backup| backup.id).collect();
    assert_eq!(ids, [first.id, again.id, third.id]);
    let (_, graph, _) = bench.restore(&third.uri).await.unwrap();
    assert_eq!(names(&graph, &on("main")).await.len(), 4);
    let (_, graph, _) = bench.restore(&first.manifest_uri).await.unwrap();
    assert_eq!(names(&graph, &on("main")).await.len(), 3);
}

#[tokio::test]
async fn damaged_and_missing_objects_are_named_and_refuse_a_restoration() {
    let bench = Bench::new().await;
    bench.add("main", "ann").await;
    let made = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    let victim = bench.damage("/data/").await;
    let check = verify_backup(&made.uri).await.unwrap();
    assert_eq!(check.mismatched.len(), 1);
    assert!(victim.ends_with(&check.mismatched[0]), "{victim}");
    assert!(!check.is_ok());
    let error = bench.restore(&made.uri).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(&check.mismatched[0]), "{error}");

    let store = Store::open(&bench.destination, StoreOptions::default())
        .await
        .unwrap();
    let path = object_store::path::Path::from(victim.as_str());
    store.object_store().delete(&path).await.unwrap();
    let check = verify_backup(&made.uri).await.unwrap();
    assert_eq!((check.missing.len(), check.mismatched.len()), (1, 0));
    bench.restore(&made.uri).await.map(|_| ()).unwrap_err();
    // A new backup copies it again, which heals the old one.
    bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    assert!(verify_backup(&made.uri).await.unwrap().is_ok());
}

#[tokio::test]
async fn damaged_logs_and_manifests_are_noticed() {
    let bench = Bench::new().await;
    bench.add("main", "ann").await;
    let made = bench.backup(BackupScope::History).await.unwrap();
    bench.damage("/branches/").await;
    let error = bench.restore(&made.uri).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    bench.damage("manifest.ndjson").await;
    let error = verify_backup(&made.uri).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("manifest"), "{error}");
}

/// At every write, of both operations: nothing that looks complete, and a second try succeeds.
#[tokio::test]
async fn what_was_interrupted_is_nothing() {
    let bench = Bench::new().await;
    bench.add("main", "ann").await;
    let made = bench.backup(BackupScope::History).await.unwrap();
    let store = Store::open(&bench.destination, StoreOptions::default())
        .await
        .unwrap();
    // A backup that was interrupted has objects and no manifest.
    let manifest = object_store::path::Path::from(
        files(&store)
            .await
            .iter()
            .find(|path| path.ends_with("manifest.ndjson"))
            .unwrap()
            .as_str(),
    );
    let bytes = store
        .object_store()
        .get(&manifest)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    store.object_store().delete(&manifest).await.unwrap();
    assert_eq!(list_backups(&bench.destination).await.unwrap(), []);
    assert_eq!(
        verify_backup(&made.uri).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        bench
            .restore(&made.uri)
            .await
            .map(|_| ())
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    store
        .object_store()
        .put(&manifest, bytes.into())
        .await
        .unwrap();
    // A restoration that was interrupted has everything but graph.json.
    let (engine, graph, restored) = bench.restore(&made.uri).await.unwrap();
    let file = engine
        .store()
        .path(&format!("{}/graph.json", restored.root.path()));
    engine.store().object_store().delete(&file).await.unwrap();
    assert!(engine.open_graph(graph.root()).await.is_err());
    assert!(engine.restored_roots().await.unwrap().is_empty());
    assert_eq!(
        engine.remove_graph(&restored.root).await.unwrap(),
        Removal::TooEarly,
        "somebody may be at it"
    );
}

#[tokio::test]
async fn a_failed_restoration_leaves_no_objects() {
    let bench = Bench::new().await;
    bench.add("main", "ann").await;
    let made = bench
        .backup(BackupScope::Commit(Target::default()))
        .await
        .unwrap();
    bench.damage("/_transactions/").await;
    let root = format!("{}-failed", bench.destination);
    let target = engine(&root, bench.clock.clone()).await;
    let id = GraphId::parse("again").unwrap();
    target
        .restore_graph(&made.uri, &id, &Authorship::default())
        .await
        .unwrap_err();
    let left = files(target.store()).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_no_backup_is_said_so() {
    let bench = Bench::new().await;
    for wrong in ["nonsense", "/tmp/x/y/z", "s3://bucket"] {
        let error = verify_backup(wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}");
    }
    let missing = format!("{}/people/{}", bench.destination, ulid::Ulid::new());
    assert_eq!(
        verify_backup(&missing).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let _ = bench.engine.store();
}
