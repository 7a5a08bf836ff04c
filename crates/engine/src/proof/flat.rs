//! What each operation costs in requests, exactly; and that this does not grow with the history, with
//! the number of branches, or with that of types.
//!
//! Every operation starts from the same state, a head at a multiple of 16 where the hint was just
//! written, in a process that knows the graph and has just written to it, unless it says cold.
//! Collections, backups and full checks look at everything, so they are not here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::TryStreamExt;

use super::world::{World, load};
use crate::engine::Authorship;
use crate::exec::QueryLimits;
use crate::graph::{
    BlobSelector, BranchName, ChangeFilter, ChangePage, CommitId, DiffOptions, FeedEnd,
    FeedPosition, FeedRequest, Graph, MergeOptions, OptimizeOptions, ReadOptions, RevertMode,
    RevertOptions, TagName, Target, Upkeep, WriteOptions,
};
use crate::log::fault::Op;
use crate::write::LoadMode;

/// Reads, writes and listings.
type Cost = (u64, u64, u64);
type Costs = BTreeMap<&'static str, Cost>;

/// What each operation costs, at any size.
const EXPECTED: &[(&str, Cost)] = &[
    ("change the schema", (3, 4, 0)),
    ("changes of a commit", (1, 0, 0)),
    ("create a branch", (1, 2, 0)),
    ("create a branch at a commit", (3, 2, 4)),
    ("create a tag", (7, 1, 3)),
    ("delete a branch", (1, 2, 0)),
    ("delete a node", (7, 5, 0)),
    ("delete a tag", (1, 1, 0)),
    ("diff of two branches", (3, 0, 0)),
    ("export a type", (3, 0, 0)),
    ("fence", (1, 1, 0)),
    ("insert a node", (2, 4, 0)),
    ("insert an edge", (2, 4, 0)),
    ("insert with a key", (2, 5, 0)),
    ("load by append", (3, 4, 0)),
    ("load by merge", (3, 4, 0)),
    ("load by overwrite", (3, 4, 0)),
    ("load into a new branch", (5, 5, 2)),
    ("look for upkeep in vain", (1, 0, 0)),
    ("merge by fast-forward", (2, 1, 0)),
    ("merge three-way", (5, 4, 0)),
    ("merge what is merged", (2, 0, 0)),
    ("optimize a table", (24, 22, 1)),
    ("poll with one commit", (2, 0, 0)),
    ("poll without news", (1, 0, 0)),
    ("put a blob", (2, 5, 0)),
    ("read", (1, 0, 0)),
    ("read a commit", (0, 0, 0)),
    ("read by a tag", (1, 0, 0)),
    ("read part of a blob", (2, 0, 0)),
    ("read, cold", (12, 0, 0)),
    ("repeat with a key", (4, 1, 0)),
    ("revert to a commit", (2, 1, 0)),
    ("undo a commit", (4, 3, 0)),
    ("update a node", (3, 4, 0)),
];

fn schema(types: usize) -> String {
    let mut text = String::from(
        "node P0 { name: String @key  size: I32?  image: Blob? }
        edge E0: P0 -> P0 { @key(src, dst) }\n",
    );
    for n in 1..types / 2 {
        let _ = writeln!(
            text,
            "node P{n} {{ name: String @key }}\nedge E{n}: P{n} -> P{n} {{ }}"
        );
    }
    text
}

fn main() -> BranchName {
    BranchName::main()
}

fn name(text: &str) -> BranchName {
    BranchName::parse(text).unwrap()
}

fn v1() -> TagName {
    TagName::parse("v1").unwrap()
}

fn item(id: &str) -> String {
    format!(r#"query q() {{ insert P0 {{ name: "{id}" }} }}"#)
}

async fn mutate(graph: &Graph, branch: &str, source: &str, key: Option<&str>) {
    let options = WriteOptions {
        idempotency_key: key.map(str::to_owned),
        ..WriteOptions::default()
    };
    let params = serde_json::Map::new();
    graph
        .mutate(&name(branch), source, None, &params, &options)
        .await
        .unwrap();
}

async fn read(graph: &Graph, target: &Target) {
    let read = ReadOptions::default();
    let snapshot = graph.snapshot(target, &read).await.unwrap();
    let source = r#"query q() { match { $p: P0 { name: "seed" } } return { $p.name } }"#;
    let query = graph.compile(&snapshot, source, None).await.unwrap();
    let (params, limits) = (serde_json::Map::new(), QueryLimits::default());
    let result = graph.query(&snapshot, &query, &params, &limits).await;
    let rows: usize = result.unwrap().batches.iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, 1);
}

async fn branch(graph: &Graph, new: &str, from: &Target) {
    let by = Authorship::default();
    graph.create_branch(&name(new), from, &by).await.unwrap();
}

async fn merge(graph: &Graph, source: &str) {
    let options = MergeOptions::default();
    let merged = graph.merge(&name(source), &main(), &options).await;
    merged.unwrap();
}

async fn revert(graph: &Graph, mode: RevertMode) {
    let options = RevertOptions {
        mode,
        dry_run: false,
        write: WriteOptions::default(),
    };
    graph.revert(&main(), &options).await.unwrap();
}

async fn head(graph: &Graph) -> crate::graph::Commit {
    graph.branch(&main()).await.unwrap().head
}

async fn poll(graph: &Graph, position: FeedPosition) -> (usize, FeedPosition) {
    let request = FeedRequest {
        branch: main(),
        position,
        filter: ChangeFilter::default(),
        limit: None,
        wait: std::time::Duration::ZERO,
    };
    let page = graph.poll_changes(&request).await.unwrap();
    match page.end {
        FeedEnd::Cursor { cursor, .. } => (page.blocks.len(), FeedPosition::Cursor(cursor)),
        FeedEnd::Page(page) => panic!("{page}"),
    }
}

async fn image(graph: &Graph) {
    let read = ReadOptions::default();
    let snapshot = graph.snapshot(&Target::default(), &read).await.unwrap();
    let selector = BlobSelector {
        edge: false,
        type_name: "P0".to_owned(),
        id: "pic".to_owned(),
        property: "image".to_owned(),
    };
    let (_, content) = graph.open_blob(&snapshot, &selector).await.unwrap();
    let part = content.unwrap().read(1..3).try_collect::<Vec<_>>().await;
    assert_eq!(part.unwrap().concat(), b"ld");
}

/// Measures operations, each on a copy of the same state.
struct Meter {
    base: World,
    costs: Costs,
}

impl Meter {
    async fn new(world: &World) -> Self {
        let base = world.fork().await;
        for source in [
            item("seed"),
            item("other"),
            r#"query q() { insert E0 { from: "seed", to: "other" } }"#.to_owned(),
            r#"query q() { insert P0 { name: "pic", image: "base64:b2xk" } }"#.to_owned(),
        ] {
            mutate(&base.graph, "main", &source, None).await;
        }
        align(&base).await;
        Self {
            base,
            costs: Costs::new(),
        }
    }

    /// In a process that knows the graph.
    async fn warm<T>(
        &mut self,
        of: &'static str,
        prepare: impl AsyncFnOnce(&Graph) -> T,
        run: impl AsyncFnOnce(&Graph, T),
    ) {
        let world = self.base.fork().await;
        mutate(&world.graph, "main", &item("warm"), None).await;
        let edge = r#"query q() { insert E0 { from: "seed", to: "warm" } }"#;
        mutate(&world.graph, "main", edge, None).await;
        read(&world.graph, &Target::default()).await;
        let with = prepare(&world.graph).await;
        world.faults.take_counts();
        run(&world.graph, with).await;
        self.note(of, &world);
    }

    /// In a process that knows nothing.
    async fn cold(&mut self, of: &'static str, run: impl AsyncFnOnce(&Graph)) {
        let world = self.base.fork().await;
        world.faults.take_counts();
        run(&world.graph).await;
        self.note(of, &world);
    }

    fn note(&mut self, of: &'static str, world: &World) {
        let (mut reads, mut writes, mut lists) = (0, 0, 0);
        for (op, count) in world.faults.take_counts() {
            match op {
                Op::Get | Op::Head => reads += count,
                Op::Put | Op::Delete | Op::Copy => writes += count,
                Op::List => lists += count,
            }
        }
        let before = self.costs.insert(of, (reads, writes, lists));
        assert_eq!(before, None, "{of} is measured twice");
    }
}

/// Brings `main` to a head at a multiple of 16, where the hint was just written, so that sizes
/// compare.
async fn align(world: &World) {
    for _ in 0..64 {
        lengthen(world, 1).await;
        let path = format!("{}/branches/main/hint", world.root.path());
        let hint = world.object(&path).await.unwrap_or_default();
        let hint: u64 = std::str::from_utf8(&hint).unwrap().parse().unwrap_or(0);
        let next = format!("{}/branches/main/{:020}.json", world.root.path(), hint + 1);
        if hint > 0 && world.object(&next).await.is_none() {
            return;
        }
    }
    panic!("no append wrote the hint");
}

async fn costs(world: &World) -> Costs {
    let mut meter = Meter::new(world).await;
    writes(&mut meter).await;
    loads(&mut meter).await;
    branches(&mut meter).await;
    merges(&mut meter).await;
    reads(&mut meter).await;
    changes(&mut meter).await;
    upkeep(&mut meter).await;
    meter.costs
}

async fn nothing(_: &Graph) {}

async fn writes(meter: &mut Meter) {
    for (of, source) in [
        ("insert a node", item("one")),
        (
            "insert an edge",
            r#"query q() { insert E0 { from: "other", to: "seed" } }"#.to_owned(),
        ),
        (
            "update a node",
            r#"query q() { update P0 set { size: 2 } where name = "other" }"#.to_owned(),
        ),
        (
            "delete a node",
            r#"query q() { delete P0 where name = "other" }"#.to_owned(),
        ),
        (
            "put a blob",
            r#"query q() { insert P0 { name: "new", image: "base64:bmV3" } }"#.to_owned(),
        ),
    ] {
        meter
            .warm(of, nothing, async |graph, ()| {
                mutate(graph, "main", &source, None).await;
            })
            .await;
    }
    meter
        .warm("insert with a key", nothing, async |graph, ()| {
            mutate(graph, "main", &item("one"), Some("key")).await;
        })
        .await;
    meter
        .warm(
            "repeat with a key",
            async |graph| mutate(graph, "main", &item("one"), Some("key")).await,
            async |graph, ()| mutate(graph, "main", &item("one"), Some("key")).await,
        )
        .await;
}

async fn loads(meter: &mut Meter) {
    let line = r#"{"type":"P0","data":{"name":"one"}}"#;
    for (of, mode, branch, from) in [
        ("load by append", LoadMode::Append, "main", None),
        ("load by merge", LoadMode::Merge, "main", None),
        ("load by overwrite", LoadMode::Overwrite, "main", None),
        (
            "load into a new branch",
            LoadMode::Merge,
            "new",
            Some("main"),
        ),
    ] {
        // An overwrite of the only node type would leave edges in the air.
        let prepare = async |graph: &Graph| {
            if mode == LoadMode::Overwrite {
                let all = r#"query q() { delete E0 where from = "seed" }"#;
                mutate(graph, "main", all, None).await;
            }
        };
        meter
            .warm(of, prepare, async |graph, ()| {
                load(graph, branch, mode, from, line).await.unwrap();
            })
            .await;
    }
}

async fn branches(meter: &mut Meter) {
    let here = Target::default();
    meter
        .warm("create a branch", nothing, async |graph, ()| {
            branch(graph, "side", &here).await;
        })
        .await;
    meter
        .warm(
            "create a branch at a commit",
            async |graph| head(graph).await.parents[0].id,
            async |graph, id| branch(graph, "side", &Target::Commit(id)).await,
        )
        .await;
    meter
        .warm(
            "delete a branch",
            async |graph| branch(graph, "side", &here).await,
            async |graph, ()| {
                let by = Authorship::default();
                graph.delete_branch(&name("side"), None, &by).await.unwrap();
            },
        )
        .await;
    let tag = async |graph: &Graph| {
        let by = Authorship::default();
        graph.create_tag(&v1(), &here, &by).await.unwrap();
    };
    meter
        .warm("create a tag", nothing, async |graph, ()| tag(graph).await)
        .await;
    meter
        .warm("delete a tag", tag, async |graph, ()| {
            let by = Authorship::default();
            graph.delete_tag(&v1(), &by).await.unwrap();
        })
        .await;
    meter
        .warm("read by a tag", tag, async |graph, ()| {
            read(graph, &Target::Tag(v1())).await;
        })
        .await;
}

/// `side` with one commit more than `main`.
async fn side(graph: &Graph) {
    branch(graph, "side", &Target::default()).await;
    mutate(graph, "side", &item("aside"), None).await;
}

async fn merges(meter: &mut Meter) {
    meter
        .warm("merge by fast-forward", side, async |graph, ()| {
            merge(graph, "side").await;
        })
        .await;
    meter
        .warm(
            "merge three-way",
            async |graph| {
                side(graph).await;
                mutate(graph, "main", &item("one"), None).await;
            },
            async |graph, ()| merge(graph, "side").await,
        )
        .await;
    meter
        .warm(
            "merge what is merged",
            async |graph| {
                side(graph).await;
                merge(graph, "side").await;
            },
            async |graph, ()| merge(graph, "side").await,
        )
        .await;
    let more = async |graph: &Graph| {
        mutate(graph, "main", &item("one"), None).await;
        let id = head(graph).await.id;
        mutate(graph, "main", &item("two"), None).await;
        id
    };
    meter
        .warm("undo a commit", more, async |graph, id| {
            revert(graph, RevertMode::Undo(id)).await;
        })
        .await;
    meter
        .warm("revert to a commit", more, async |graph, id| {
            revert(graph, RevertMode::To(id)).await;
        })
        .await;
}

async fn reads(meter: &mut Meter) {
    let here = Target::default();
    meter
        .warm("read", nothing, async |graph, ()| read(graph, &here).await)
        .await;
    meter
        .cold("read, cold", async |graph| read(graph, &here).await)
        .await;
    meter
        .warm(
            "read a commit",
            async |graph| head(graph).await.parents[0].id,
            async |graph, id| read(graph, &Target::Commit(id)).await,
        )
        .await;
    meter
        .warm("read part of a blob", image, async |graph, ()| {
            image(graph).await;
        })
        .await;
    meter
        .warm("export a type", nothing, async |graph, ()| {
            let read = ReadOptions::default();
            let snapshot = graph.snapshot(&here, &read).await.unwrap();
            let records = graph.export(&snapshot, &["E0".to_owned()]).await.unwrap();
            let records = records.try_collect::<Vec<_>>().await.unwrap();
            assert!(!records.is_empty());
        })
        .await;
}

async fn changes(meter: &mut Meter) {
    meter
        .warm(
            "changes of a commit",
            async |graph| {
                mutate(graph, "main", &item("one"), None).await;
                head(graph).await.id
            },
            async |graph, id| {
                let (filter, page) = (ChangeFilter::default(), ChangePage::default());
                let told = graph.commit_changes(&id, &filter, &page).await.unwrap();
                assert_eq!(told.block.changes.len(), 1);
            },
        )
        .await;
    meter
        .warm("diff of two branches", side, async |graph, ()| {
            let (from, to) = (Target::default(), Target::Branch(name("side")));
            let told = graph.diff(&from, &to, &DiffOptions::default()).await;
            assert_eq!(told.unwrap().changes.len(), 1);
        })
        .await;
    let begin = async |graph: &Graph| poll(graph, FeedPosition::Now).await.1;
    meter
        .warm("poll without news", begin, async |graph, cursor| {
            assert_eq!(poll(graph, cursor).await.0, 0);
        })
        .await;
    meter
        .warm(
            "poll with one commit",
            async |graph| {
                let cursor = begin(graph).await;
                mutate(graph, "main", &item("one"), None).await;
                cursor
            },
            async |graph, cursor| assert_eq!(poll(graph, cursor).await.0, 1),
        )
        .await;
}

async fn upkeep(meter: &mut Meter) {
    let (here, now) = (Target::default(), ReadOptions::default());
    let snapshot = meter.base.graph.snapshot(&here, &now).await.unwrap();
    let source = snapshot.schema().source.clone();
    let wider = source.replacen("size: I32?", "size: I32?  more: String?", 1);
    assert_ne!(source, wider);
    meter
        .warm("change the schema", nothing, async |graph, ()| {
            let by = Authorship::default();
            let staged = graph.stage_schema(&wider, CommitId::new(), &by).await;
            graph.commit_schema(staged.unwrap()).await.unwrap();
        })
        .await;
    meter
        .warm("fence", nothing, async |graph, ()| {
            let by = Authorship::default();
            graph.fence(CommitId::new(), &by).await.unwrap();
        })
        .await;
    let options = OptimizeOptions {
        types: vec!["P0".to_owned()],
        ..OptimizeOptions::default()
    };
    let optimize = async |graph: &Graph| {
        graph.optimize(&main(), &options, &|_| {}).await.unwrap();
    };
    meter
        .warm(
            "optimize a table",
            // The index of the history is up to date, so that only the table is worked on.
            async |graph| {
                let idle = OptimizeOptions {
                    types: vec!["E0".to_owned()],
                    ..OptimizeOptions::default()
                };
                graph.optimize(&main(), &idle, &|_| {}).await.unwrap();
            },
            async |graph, ()| optimize(graph).await,
        )
        .await;
    meter
        .warm(
            "look for upkeep in vain",
            async |graph| {
                let mut upkeep = Upkeep::new(graph.clone());
                upkeep.pass().await.unwrap();
                upkeep
            },
            async |_, mut upkeep| {
                assert!(upkeep.pass().await.unwrap().is_empty());
            },
        )
        .await;
}

/// Commits without data, to make a history long at little cost.
async fn lengthen(world: &World, commits: usize) {
    for _ in 0..commits {
        world
            .graph
            .fence(CommitId::new(), &Authorship::default())
            .await
            .unwrap();
    }
}

fn expected() -> Costs {
    EXPECTED.iter().copied().collect()
}

#[tokio::test]
async fn each_operation_costs_what_it_costs() {
    let costs = costs(&World::new(&schema(2)).await).await;
    let table: String = costs.iter().fold(String::new(), |mut table, (of, cost)| {
        let _ = writeln!(table, "    ({of:?}, {cost:?}),");
        table
    });
    assert_eq!(costs, expected(), "now it is:\n{table}");
}

#[tokio::test]
async fn requests_are_the_same_after_ten_and_two_thousand_commits() {
    let world = World::new(&schema(2)).await;
    lengthen(&world, 10).await;
    assert_eq!(costs(&world).await, expected());
    lengthen(&world, 1990).await;
    assert_eq!(costs(&world).await, expected());
}

#[tokio::test]
async fn requests_are_the_same_with_two_and_two_hundred_types() {
    assert_eq!(costs(&World::new(&schema(200)).await).await, expected());
}

#[tokio::test]
async fn requests_are_the_same_with_one_branch_and_a_hundred() {
    let world = World::new(&schema(2)).await;
    for n in 0..100 {
        world.branch(&format!("b{n}"), "main").await;
    }
    let mut wanted = expected();
    // A commit that this process has not seen and that no index names yet may lie at the end of any
    // branch.
    wanted.insert("create a branch at a commit", (203, 2, 104));
    assert_eq!(costs(&world).await, wanted);
}
