//! What only reads writes nothing, whatever it is asked for.

use futures::TryStreamExt;
use futures::future::BoxFuture;

use super::world::{BACKUPS, FULL, World};
use crate::engine::Authorship;
use crate::exec::QueryLimits;
use crate::graph::backup::{list_at, verify_at};
use crate::graph::{
    BackupOptions, BackupScope, BlobSelector, BranchName, ChangeFilter, ChangePage, CollectOptions,
    CommitId, DiffOptions, FeedPosition, FeedRequest, GraphId, MergeOptions, OptimizeOptions,
    ReadOptions, Retention, RevertMode, RevertOptions, Snapshot, TagName, Target, WriteOptions,
};
use crate::store::{Store, StoreOptions};
use crate::write::LoadMode;

const SCHEMA: &str = "node Package { name: String @key  size: I32?  image: Blob? }";
const WIDER: &str =
    "node Package { name: String @key  size: I32?  image: Blob?  licence: String? }";

/// Makes the list of operations that read, and a run of each.
macro_rules! reads {
    ($($door:literal: |$site:ident| $work:expr,)*) => {
        /// The public operations that read.
        pub(super) const READS: &[&str] = &[$($door),*];

        /// What reads, with its name.
        const RUNS: &[(&str, for<'a> fn(&'a Site) -> BoxFuture<'a, ()>)] = &[
            $(($door, |$site| Box::pin(async move { $work; }))),*
        ];
    };
}

/// A graph with some history, two branches, a tag, a blob and a backup.
struct Site {
    world: World,
    head: CommitId,
    backup: String,
}

impl Site {
    async fn new() -> Self {
        let world = World::new(SCHEMA).await;
        let line = r#"{"type":"Package","data":{"name":"a","image":"base64:b2xk"}}"#;
        world.load("main", LoadMode::Append, line).await;
        world.branch("side", "main").await;
        world
            .mutate("main", r#"query q() { insert Package { name: "b" } }"#)
            .await;
        world
            .mutate("side", r#"query q() { insert Package { name: "s" } }"#)
            .await;
        let (tag, by) = (TagName::parse("v1").unwrap(), Authorship::default());
        let graph = &world.graph;
        graph
            .create_tag(&tag, &Target::default(), &by)
            .await
            .unwrap();
        let options = BackupOptions {
            scope: BackupScope::History,
            progress: None,
        };
        let backup = graph.backup(BACKUPS, &options).await.unwrap().uri;
        let head = graph.branch(&main()).await.unwrap().head.id;
        Self {
            world,
            head,
            backup,
        }
    }

    async fn snapshot(&self) -> Snapshot {
        let read = ReadOptions::default();
        let graph = &self.world.graph;
        graph.snapshot(&Target::default(), &read).await.unwrap()
    }
}

fn main() -> BranchName {
    BranchName::main()
}

fn image() -> BlobSelector {
    BlobSelector {
        edge: false,
        type_name: "Package".to_owned(),
        id: "a".to_owned(),
        property: "image".to_owned(),
    }
}

fn feed() -> FeedRequest {
    FeedRequest {
        branch: main(),
        position: FeedPosition::Beginning,
        filter: ChangeFilter::default(),
        limit: None,
        wait: std::time::Duration::ZERO,
    }
}

const QUERY: &str = "query q() { match { $p: Package } return { $p.name } }";

reads! {
    "Engine::fsck": |s| s.world.engine.fsck(&s.world.root, &FULL).await.unwrap(),
    "Engine::graph_incarnations": |s| {
        let id = GraphId::parse("g").unwrap();
        s.world.engine.graph_incarnations(&id).await.unwrap()
    },
    "Engine::graph_roots": |s| s.world.engine.graph_roots().await.unwrap(),
    "Engine::open_graph": |s| s.world.engine.open_graph(&s.world.root).await.unwrap(),
    "Engine::restored_from": |s| s.world.engine.restored_from(&s.world.root).await.unwrap(),
    "Engine::restored_roots": |s| s.world.engine.restored_roots().await.unwrap(),
    "Graph::baseline": |s| {
        let baseline = s.world.graph.baseline(&main(), &ChangeFilter::default()).await.unwrap();
        baseline.records.try_collect::<Vec<_>>().await.unwrap()
    },
    "Graph::branch": |s| s.world.graph.branch(&main()).await.unwrap(),
    "Graph::branches": |s| s.world.graph.branches().await.unwrap(),
    "Graph::commit": |s| s.world.graph.commit(&s.head).await.unwrap(),
    "Graph::commit_changes": |s| {
        let (filter, page) = (ChangeFilter::default(), ChangePage::default());
        s.world.graph.commit_changes(&s.head, &filter, &page).await.unwrap()
    },
    "Graph::commits": |s| s.world.graph.commits(&main(), None, None).await.unwrap(),
    "Graph::compile": |s| {
        let snapshot = s.snapshot().await;
        s.world.graph.compile(&snapshot, QUERY, None).await.unwrap()
    },
    "Graph::diff": |s| {
        let side = Target::Branch(BranchName::parse("side").unwrap());
        let options = DiffOptions::default();
        s.world.graph.diff(&Target::default(), &side, &options).await.unwrap()
    },
    "Graph::export": |s| {
        let snapshot = s.snapshot().await;
        let records = s.world.graph.export(&snapshot, &[]).await.unwrap();
        records.try_collect::<Vec<_>>().await.unwrap()
    },
    "Graph::fsck": |s| s.world.graph.fsck(&FULL).await.unwrap(),
    "Graph::oldest_retained": |s| s.world.graph.oldest_retained(&main()).await.unwrap(),
    "Graph::open_blob": |s| {
        let snapshot = s.snapshot().await;
        let (_, content) = s.world.graph.open_blob(&snapshot, &image()).await.unwrap();
        content.unwrap().read(0..2).try_collect::<Vec<_>>().await.unwrap()
    },
    "Graph::plan_schema": |s| {
        let snapshot = s.snapshot().await;
        s.world.graph.plan_schema(&snapshot, WIDER).await.unwrap()
    },
    "Graph::poll_changes": |s| s.world.graph.poll_changes(&feed()).await.unwrap(),
    "Graph::query": |s| {
        let snapshot = s.snapshot().await;
        let query = s.world.graph.compile(&snapshot, QUERY, None).await.unwrap();
        let (params, limits) = (serde_json::Map::new(), QueryLimits::default());
        s.world.graph.query(&snapshot, &query, &params, &limits).await.unwrap()
    },
    "Graph::explain": |s| {
        let snapshot = s.snapshot().await;
        let query = s.world.graph.compile(&snapshot, QUERY, None).await.unwrap();
        s.world.graph.explain(&snapshot, &query, &serde_json::Map::new()).await.unwrap()
    },
    "Graph::profile": |s| {
        let snapshot = s.snapshot().await;
        let query = s.world.graph.compile(&snapshot, QUERY, None).await.unwrap();
        let (params, limits) = (serde_json::Map::new(), QueryLimits::default());
        s.world.graph.profile(&snapshot, &query, &params, &limits).await.unwrap()
    },
    "Graph::snapshot": |s| s.snapshot().await,
    "Graph::stat_blob": |s| {
        let snapshot = s.snapshot().await;
        s.world.graph.stat_blob(&snapshot, &image()).await.unwrap()
    },
    "Graph::tag": |s| s.world.graph.tag(&TagName::parse("v1").unwrap()).await.unwrap(),
    "Graph::tags": |s| s.world.graph.tags().await.unwrap(),
    "Store::open": |s| {
        let options: StoreOptions = s.world.engine.store().options().clone();
        Store::open("memory://another", options).await.unwrap()
    },
    "list_backups": |s| {
        list_at(BACKUPS, s.world.engine.store().options()).await.unwrap()
    },
    "verify_backup": |s| {
        verify_at(&s.backup, s.world.engine.store().options()).await.unwrap()
    },
}

#[tokio::test]
async fn what_reads_writes_nothing() {
    let site = Site::new().await;
    for (name, run) in RUNS {
        // By a process that knows everything, and by one that knows nothing.
        for cold in [false, true] {
            let site = match cold {
                false => Site {
                    world: site.world.fork().await,
                    backup: site.backup.clone(),
                    head: site.head,
                },
                true => Site {
                    world: site.world.fork().await.reopen().await,
                    backup: site.backup.clone(),
                    head: site.head,
                },
            };
            site.world.faults.take_counts();
            run(&site).await;
            assert_eq!(site.world.faults.take_writes(), 0, "{name}");
        }
    }
}

/// What is asked what it would do, does nothing.
#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let site = Site::new().await;
    let graph = &site.world.graph;
    site.world.faults.take_counts();
    let side = BranchName::parse("side").unwrap();
    let options = MergeOptions {
        dry_run: true,
        ..MergeOptions::default()
    };
    graph.merge(&side, &main(), &options).await.unwrap();
    let options = RevertOptions {
        mode: RevertMode::Undo(site.head),
        dry_run: true,
        write: WriteOptions::default(),
    };
    graph.revert(&main(), &options).await.unwrap();
    let options = OptimizeOptions {
        dry_run: true,
        ..OptimizeOptions::default()
    };
    let told = graph.optimize(&main(), &options, &|_| {}).await.unwrap();
    assert_eq!(told.commit, None);
    let options = CollectOptions {
        retention: Retention {
            commits: Some(1),
            age: None,
        },
        dry_run: true,
        progress: None,
    };
    graph.collect(&options).await.unwrap();
    assert_eq!(site.world.faults.take_writes(), 0);
}
