//! What maintenance must never do: change an answer, lose a write, bring back a row, or starve.

mod vectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use async_trait::async_trait;
use lance_index::scalar::FullTextSearchQuery;

use super::*;
use crate::engine::{Engine, EngineOptions};
use crate::exec::QueryLimits;
use crate::graph::branch::entry;
use crate::graph::writer::{Attempt, Base, CommitRequest, Staged, Write};
use crate::graph::{GraphId, ReadOptions, Target, WriteOptions};
use crate::store::{RequestCounts, Store, StoreOptions};
use crate::table::{Appended as NewRows, TableChange};

const SCHEMA: &str = "
node Person { name: String @key  age: I64? @index  bio: String? @index }
node Place { name: String @key }
edge Knows: Person -> Person { since: I64? }
";
const ADD: &str = "query add($n: String, $a: I64) { insert Person { name: $n, age: $a, bio: $n } }";
const ADD_PLACE: &str = "query add($n: String) { insert Place { name: $n } }";
const REMOVE: &str = "query remove($n: String) { delete Person where name = $n }";
const AGE: &str =
    "query age($n: String, $a: I64) { update Person set { age: $a } where name = $n }";
const KNOW: &str = "query know($a: String, $b: String) { insert Knows { from: $a, to: $b } }";
const ALL: &str =
    "query all() { match { $p: Person } return { $p.name, $p.age, $p.bio } order { $p.name } }";
const KNOWN: &str = "query known() { match { $a: Person  $a knows $b } return { $a.name, $b.name } order { $a.name, $b.name } }";

struct Fixture {
    engine: Engine,
    graph: Graph,
}

async fn fixture() -> Fixture {
    let store = Store::open("memory://maintain", StoreOptions::default())
        .await
        .unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("people").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    Fixture { engine, graph }
}

fn engine(store: &Store) -> Engine {
    Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

fn main_branch() -> BranchName {
    BranchName::main()
}

fn params(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}

async fn run(graph: &Graph, branch: &BranchName, source: &str, given: serde_json::Value) {
    Box::pin(graph.mutate(
        branch,
        source,
        None,
        &params(given),
        &WriteOptions::default(),
    ))
    .await
    .unwrap();
}

async fn add(graph: &Graph, name: &str, age: i64) {
    let given = serde_json::json!({"n": name, "a": age});
    run(graph, &main_branch(), ADD, given).await;
}

async fn remove(graph: &Graph, name: &str) {
    run(
        graph,
        &main_branch(),
        REMOVE,
        serde_json::json!({"n": name}),
    )
    .await;
}

async fn rows(graph: &Graph, target: &Target, source: &str) -> Vec<String> {
    let snapshot = graph
        .snapshot(target, &ReadOptions::default())
        .await
        .unwrap();
    let query = graph.compile(&snapshot, source, None).await.unwrap();
    let result = Box::pin(graph.query(
        &snapshot,
        &query,
        &serde_json::Map::new(),
        &QueryLimits::default(),
    ))
    .await
    .unwrap();
    crate::exec::rows_to_json(&result, false).collect()
}

async fn people(graph: &Graph) -> Vec<String> {
    rows(graph, &Target::default(), ALL).await
}

async fn optimize(graph: &Graph) -> OptimizeOutcome {
    let options = OptimizeOptions::default();
    Box::pin(graph.optimize(&main_branch(), &options, &|_| {}))
        .await
        .unwrap()
}

fn of<'a>(outcome: &'a OptimizeOutcome, name: &str) -> &'a TableMaintenance {
    let mut tables = outcome.tables.iter();
    tables.find(|table| table.type_name == name).unwrap()
}

async fn head(graph: &Graph) -> Snapshot {
    graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap()
}

async fn dataset(graph: &Graph, type_name: &str) -> Arc<lance::Dataset> {
    let snapshot = head(graph).await;
    let id = snapshot.schema.catalog.node(type_name).unwrap().id;
    snapshot.open(id).await.unwrap()
}

/// Names by an index look-up, as an external reader does it.
async fn by_filter(graph: &Graph, filter: &str) -> Vec<String> {
    let dataset = dataset(graph, "Person").await;
    let mut scan = dataset.scan();
    scan.project(&["name"]).unwrap().filter(filter).unwrap();
    names_of(&Box::pin(scan.try_into_batch()).await.unwrap())
}

async fn by_word(graph: &Graph, word: &str) -> Vec<String> {
    let dataset = dataset(graph, "Person").await;
    let mut scan = dataset.scan();
    let query = FullTextSearchQuery::new(word.to_owned())
        .with_column("bio".to_owned())
        .unwrap();
    scan.project(&["name"])
        .unwrap()
        .full_text_search(query)
        .unwrap();
    names_of(&Box::pin(scan.try_into_batch()).await.unwrap())
}

fn names_of(batch: &arrow_array::RecordBatch) -> Vec<String> {
    let column = batch.column_by_name("name").unwrap();
    let names = column.as_string::<i32>();
    let mut names: Vec<String> = names.iter().flatten().map(str::to_owned).collect();
    names.sort();
    names
}

async fn stable_ids(graph: &Graph) -> BTreeMap<String, u64> {
    let dataset = dataset(graph, "Person").await;
    let mut scan = dataset.scan();
    scan.project(&["name"]).unwrap().with_row_id();
    let batch = Box::pin(scan.try_into_batch()).await.unwrap();
    let names = batch.column_by_name("name").unwrap().as_string::<i32>();
    let ids = batch.column_by_name("_rowid").unwrap();
    let ids = ids.as_primitive::<UInt64Type>();
    names
        .iter()
        .flatten()
        .map(str::to_owned)
        .zip(ids.values().iter().copied())
        .collect()
}

/// How many segments an index has, and whether they cover every fragment.
async fn coverage(graph: &Graph, index: &str) -> (usize, bool) {
    use lance::index::DatasetIndexExt as _;

    let dataset = dataset(graph, "Person").await;
    let indexes = dataset.load_indices_by_name(index).await.unwrap();
    let covered = |fragment: u64| {
        indexes.iter().any(|index| {
            let bitmap = index.fragment_bitmap.as_ref();
            bitmap.is_some_and(|b| b.contains(u32::try_from(fragment).unwrap()))
        })
    };
    let all = dataset.fragments().iter().all(|f| covered(f.id));
    (indexes.len(), all)
}

/// The work of `optimize`, without the commit.
async fn worked(graph: &Graph) -> Round {
    let head = graph.shared.branches.head(&main_branch()).await.unwrap();
    let snapshot = graph.open(head.commit.clone(), None).await.unwrap();
    let all = candidates(&snapshot, &[]).unwrap();
    let (works, _) = Box::pin(graph.work(&snapshot, &all, &Policy::thorough(), &|_| {})).await;
    assert!(!works.is_empty());
    Round { head, works }
}

async fn land(graph: &Graph, round: &Round) -> Landed {
    Box::pin(graph.land_work(&main_branch(), round, &Authorship::default()))
        .await
        .unwrap()
}

#[tokio::test]
async fn fragments_become_one_and_every_index_covers_it() {
    let f = fixture().await;
    for n in 0..5 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let before = people(&f.graph).await;
    let ids = stable_ids(&f.graph).await;
    let outcome = optimize(&f.graph).await;
    let person = of(&outcome, "Person");
    assert_eq!((person.fragments_removed, person.fragments_added), (5, 1));
    assert_eq!(
        person.indexes_extended,
        [
            "age_btree",
            "bio_btree",
            "bio_fts",
            "id_btree",
            "name_btree",
            "name_fts"
        ]
    );
    assert_eq!(of(&outcome, "Place").indexes_extended, Vec::<String>::new());
    let commit = outcome.commit.clone().unwrap();
    assert_eq!(commit.kind, CommitKind::Maintenance);
    assert!(commit.touched.is_empty());

    assert_eq!(dataset(&f.graph, "Person").await.fragments().len(), 1);
    assert_eq!(people(&f.graph).await, before);
    assert_eq!(stable_ids(&f.graph).await, ids);
    for index in &person.indexes_extended {
        assert_eq!(coverage(&f.graph, index).await, (1, true), "{index}");
    }
    assert_eq!(by_filter(&f.graph, "name = 'p3'").await, ["p3"]);
    assert_eq!(by_filter(&f.graph, "age > 2").await, ["p3", "p4"]);
    assert_eq!(by_word(&f.graph, "p2").await, ["p2"]);
}

#[tokio::test]
async fn nothing_to_do_is_no_commit() {
    let f = fixture().await;
    assert_eq!(optimize(&f.graph).await.commit, None);
    add(&f.graph, "ann", 1).await;
    // One fragment that no index covers is something to do; after that there is nothing.
    assert!(optimize(&f.graph).await.commit.is_some());
    let before = f.engine.store().requests();
    let again = optimize(&f.graph).await;
    assert_eq!(again.commit, None);
    assert!(again.tables.iter().all(|t| t.indexes_extended.is_empty()));
    assert_eq!((f.engine.store().requests() - before).put, 0);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let before = f.engine.store().requests();
    let options = OptimizeOptions {
        dry_run: true,
        ..OptimizeOptions::default()
    };
    let forecast = f
        .graph
        .optimize(&main_branch(), &options, &|_| {})
        .await
        .unwrap();
    assert_eq!((f.engine.store().requests() - before).put, 0);
    assert_eq!(forecast.commit, None);
    let done = optimize(&f.graph).await;
    assert_eq!(forecast.tables, done.tables);
}

#[tokio::test]
async fn a_maintenance_commit_changes_nothing_that_a_delta_or_a_check_sees() {
    let f = fixture().await;
    for n in 0..4 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let before = head(&f.graph).await.commit().clone();
    optimize(&f.graph).await;
    let maintained = head(&f.graph).await.commit().clone();
    assert!(
        f.graph
            .delta(&before, &maintained)
            .await
            .unwrap()
            .is_empty()
    );
    remove(&f.graph, "p1").await;
    let after = head(&f.graph).await.commit().clone();
    let delta = f.graph.delta(&before, &after).await.unwrap();
    let changes: usize = delta.types.values().map(|t| t.changes.len()).sum();
    assert_eq!(changes, 1);
    optimize(&f.graph).await;
    let options = crate::graph::FsckOptions {
        history: true,
        rows: true,
    };
    let report = Box::pin(f.graph.fsck(&options)).await.unwrap();
    assert_eq!(
        (report.errors, report.warnings),
        (0, 0),
        "{:?}",
        report.findings
    );
}

#[tokio::test]
async fn blobs_are_the_same_after_a_rewrite() {
    use futures::TryStreamExt as _;

    let store = Store::open("memory://maintain", StoreOptions::default())
        .await
        .unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("docs").unwrap();
    let schema = "node Doc { name: String @key  body: Blob? }";
    let root = engine
        .create_graph(&id, schema, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    const PUT: &str = "query put($n: String, $b: Blob?) { insert Doc { name: $n, body: $b } }";
    let bodies = ["base64:", "base64:AAEC", "base64:aGVsbG8gd29ybGQ="];
    for (n, body) in bodies.iter().enumerate() {
        let given = serde_json::json!({"n": format!("d{n}"), "b": body});
        run(&graph, &main_branch(), PUT, given).await;
    }
    let none = serde_json::json!({"n": "none", "b": null});
    run(&graph, &main_branch(), PUT, none).await;
    let contents = async |graph: &Graph| {
        let snapshot = head(graph).await;
        let mut found: Vec<Option<Vec<u8>>> = Vec::new();
        for name in ["d0", "d1", "d2", "none"] {
            let selector = crate::graph::BlobSelector {
                edge: false,
                type_name: "Doc".to_owned(),
                id: name.to_owned(),
                property: "body".to_owned(),
            };
            found.push(match graph.open_blob(&snapshot, &selector).await {
                Ok((_, Some(content))) => {
                    let read = content.read(0..u64::MAX).try_collect::<Vec<_>>();
                    Some(read.await.unwrap().concat())
                }
                _ => None,
            });
        }
        found
    };
    let before = contents(&graph).await;
    assert_eq!(before[1].as_deref(), Some([0, 1, 2].as_slice()));
    assert_eq!(before[3], None);
    let outcome = optimize(&graph).await;
    assert_eq!(of(&outcome, "Doc").error, None);
    assert_eq!(of(&outcome, "Doc").fragments_removed, 4);
    assert_eq!(contents(&graph).await, before);
    let cold = self::engine(&store).open_graph(&root).await.unwrap();
    assert_eq!(contents(&cold).await, before);
}

#[tokio::test]
async fn types_can_be_named_and_must_be_known() {
    let f = fixture().await;
    add(&f.graph, "ann", 1).await;
    run(
        &f.graph,
        &main_branch(),
        ADD_PLACE,
        serde_json::json!({"n": "rome"}),
    )
    .await;
    let mut options = OptimizeOptions {
        types: vec!["Place".to_owned()],
        ..OptimizeOptions::default()
    };
    let outcome = f
        .graph
        .optimize(&main_branch(), &options, &|_| {})
        .await
        .unwrap();
    assert_eq!(outcome.tables.len(), 1);
    assert!(!coverage(&f.graph, "name_btree").await.1);
    options.types = vec!["Nobody".to_owned()];
    let error = f
        .graph
        .optimize(&main_branch(), &options, &|_| {})
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn deletions_are_materialised_and_deleted_rows_stay_away() {
    let f = fixture().await;
    for n in 0..6 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    optimize(&f.graph).await;
    for n in [1, 4] {
        remove(&f.graph, &format!("p{n}")).await;
    }
    let before = people(&f.graph).await;
    assert_eq!(before.len(), 4);
    let outcome = optimize(&f.graph).await;
    assert_eq!(of(&outcome, "Person").fragments_removed, 1);
    let table = dataset(&f.graph, "Person").await;
    assert!(table.fragments().iter().all(|f| f.deletion_file.is_none()));
    assert_eq!(people(&f.graph).await, before);
    assert_eq!(
        by_filter(&f.graph, "name = 'p4'").await,
        Vec::<String>::new()
    );
    assert_eq!(by_word(&f.graph, "p5").await, ["p5"]);
    // Changes of rewritten rows find them.
    remove(&f.graph, "p5").await;
    let given = serde_json::json!({"n": "p0", "a": 77});
    run(&f.graph, &main_branch(), AGE, given).await;
    assert_eq!(by_filter(&f.graph, "age = 77").await, ["p0"]);
    assert_eq!(people(&f.graph).await.len(), 3);
}

/// The simpler rule, to tell Lance that rows are rewritten in place, made it count the new row as
/// covered by a segment that does not have it.
#[tokio::test]
async fn an_updated_row_is_found_by_its_words() {
    let f = fixture().await;
    add(&f.graph, "ann", 1).await;
    add(&f.graph, "bob", 1).await;
    optimize(&f.graph).await;
    let given = serde_json::json!({"n": "ann", "a": 2});
    run(&f.graph, &main_branch(), AGE, given).await;
    assert!(!coverage(&f.graph, "bio_fts").await.1);
    assert_eq!(by_word(&f.graph, "ann").await, ["ann"]);
    optimize(&f.graph).await;
    assert_eq!(by_word(&f.graph, "ann").await, ["ann"]);
}

#[tokio::test]
async fn a_table_that_lost_all_its_rows_can_be_maintained() {
    let f = fixture().await;
    add(&f.graph, "ann", 1).await;
    optimize(&f.graph).await;
    remove(&f.graph, "ann").await;
    optimize(&f.graph).await;
    assert!(people(&f.graph).await.is_empty());
    add(&f.graph, "bob", 1).await;
    optimize(&f.graph).await;
    assert_eq!(by_word(&f.graph, "bob").await, ["bob"]);
}

#[tokio::test]
async fn edges_are_found_across_a_rewrite_of_both_tables() {
    let f = fixture().await;
    for n in 0..4 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    for n in 1..4 {
        let given = serde_json::json!({"a": "p0", "b": format!("p{n}")});
        run(&f.graph, &main_branch(), KNOW, given).await;
    }
    remove(&f.graph, "p2").await;
    let before = rows(&f.graph, &Target::default(), KNOWN).await;
    assert_eq!(before.len(), 2);
    optimize(&f.graph).await;
    assert_eq!(rows(&f.graph, &Target::default(), KNOWN).await, before);
    let given = serde_json::json!({"a": "p3", "b": "p1"});
    run(&f.graph, &main_branch(), KNOW, given).await;
    assert_eq!(rows(&f.graph, &Target::default(), KNOWN).await.len(), 3);
    let cold = engine(f.engine.store())
        .open_graph(f.graph.root())
        .await
        .unwrap();
    assert_eq!(
        rows(&cold, &Target::default(), KNOWN).await,
        rows(&f.graph, &Target::default(), KNOWN).await
    );
}

#[tokio::test]
async fn commits_from_before_a_rewrite_read_as_they_did() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    remove(&f.graph, "p1").await;
    let then = Target::Commit(head(&f.graph).await.commit_id());
    let before = rows(&f.graph, &then, ALL).await;
    optimize(&f.graph).await;
    add(&f.graph, "later", 9).await;
    optimize(&f.graph).await;
    assert_eq!(rows(&f.graph, &then, ALL).await, before);
    let cold = engine(f.engine.store())
        .open_graph(f.graph.root())
        .await
        .unwrap();
    assert_eq!(rows(&cold, &then, ALL).await, before);
    assert_eq!(people(&cold).await.len(), 3);
}

#[tokio::test]
async fn a_branch_is_maintained_apart_from_main() {
    let f = fixture().await;
    let review = BranchName::parse("review").unwrap();
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let by = Authorship::default();
    f.graph
        .create_branch(&review, &Target::default(), &by)
        .await
        .unwrap();
    let given = serde_json::json!({"n": "only", "a": 1});
    run(&f.graph, &review, ADD, given).await;
    let outcome = f
        .graph
        .optimize(&review, &OptimizeOptions::default(), &|_| {})
        .await
        .unwrap();
    assert_eq!(of(&outcome, "Person").fragments_removed, 4);
    assert_eq!(dataset(&f.graph, "Person").await.fragments().len(), 3);
    assert_eq!(people(&f.graph).await.len(), 3);
    let on_review = rows(&f.graph, &Target::Branch(review), ALL).await;
    assert_eq!(on_review.len(), 4);
}

/// The simpler rule, to give up or start again after a conflict, would starve here.
#[tokio::test]
async fn a_rewrite_lands_on_a_branch_that_got_new_rows_meanwhile() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let round = worked(&f.graph).await;
    for n in 3..6 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let landed = land(&f.graph, &round).await;
    assert!(landed.commit.is_some());
    assert_eq!(dataset(&f.graph, "Person").await.fragments().len(), 4);
    assert_eq!(people(&f.graph).await.len(), 6);
    for n in 0..6 {
        let name = format!("p{n}");
        assert_eq!(
            by_filter(&f.graph, &format!("name = '{name}'")).await,
            std::slice::from_ref(&name)
        );
        assert_eq!(by_word(&f.graph, &name).await, [name]);
    }
}

/// The simpler rule, to put the same rewrite upon any head, would bring the deleted row back.
#[tokio::test]
async fn a_rewrite_of_rows_that_were_deleted_meanwhile_is_dropped() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let round = worked(&f.graph).await;
    let given = serde_json::json!({"n": "p1", "a": 11});
    run(&f.graph, &main_branch(), AGE, given).await;
    let landed = land(&f.graph, &round).await;
    assert!(landed.commit.is_none());
    assert_eq!(by_filter(&f.graph, "name = 'p1'").await, ["p1"]);
    assert_eq!(people(&f.graph).await.len(), 3);
}

#[tokio::test]
async fn the_same_work_done_twice_lands_once() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let first = worked(&f.graph).await;
    let second = worked(&f.graph).await;
    assert!(land(&f.graph, &first).await.commit.is_some());
    assert!(land(&f.graph, &second).await.commit.is_none());
    assert_eq!(people(&f.graph).await.len(), 3);
    assert_eq!(by_word(&f.graph, "p1").await, ["p1"]);
}

#[tokio::test]
async fn only_the_tables_that_changed_are_done_anew() {
    let f = fixture().await;
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
        let given = serde_json::json!({"n": format!("place{n}")});
        run(&f.graph, &main_branch(), ADD_PLACE, given).await;
    }
    let round = worked(&f.graph).await;
    remove(&f.graph, "p1").await;
    let landed = land(&f.graph, &round).await;
    assert_eq!(landed.types.len(), 1);
    assert_eq!(dataset(&f.graph, "Place").await.fragments().len(), 1);
    assert_eq!(people(&f.graph).await.len(), 2);
}

/// The simpler rule, to look at the tables alone, would commit files that a collection may have
/// condemned.
#[tokio::test]
async fn work_from_before_a_collection_is_dropped() {
    let f = fixture().await;
    add(&f.graph, "ann", 1).await;
    let round = worked(&f.graph).await;
    let log = f.graph.shared.branches.log(&main_branch());
    let swept = entry(BranchEvent::Swept {
        at: 0,
        before: None,
    });
    log.append(Some(round.head.seq), &swept, append_deadline())
        .await
        .unwrap();
    assert!(land(&f.graph, &round).await.commit.is_none());
    // Started anew it lands.
    assert!(optimize(&f.graph).await.commit.is_some());
}

/// Deletes one person by the address that its base knows.
struct Forget {
    name: &'static str,
    meanwhile: Option<Graph>,
    runs: usize,
}

#[async_trait]
impl Write for Forget {
    type Answer = ();

    async fn attempt(&mut self, base: &Base) -> Result<((), Attempt)> {
        self.runs += 1;
        let snapshot = &base.snapshot;
        let id = snapshot.schema.catalog.node("Person").unwrap().id;
        let dataset = snapshot.open(id).await?;
        let mut scan = dataset.scan();
        scan.project(&["name"])?
            .filter(&format!("name = '{}'", self.name))?
            .with_row_address();
        let found = Box::pin(scan.try_into_batch()).await?;
        let addresses = found.column_by_name("_rowaddr").unwrap();
        let delete = addresses.as_primitive::<UInt64Type>().values().to_vec();
        let change = TableChange {
            append: NewRows::None,
            delete,
            truncate: false,
        };
        let made = snapshot
            .tables
            .apply(&dataset, snapshot.table(id)?, change)
            .await?;
        if let Some(other) = self.meanwhile.take() {
            assert!(optimize(&other).await.commit.is_some());
        }
        let staged = Staged {
            tables: BTreeMap::from([(id, made)]),
            read: std::collections::BTreeSet::new(),
            touched: Vec::new(),
            kind: CommitKind::Mutate,
        };
        Ok(((), Attempt::Staged(staged)))
    }
}

/// The simpler rule, to treat maintenance as if nothing had happened, would bring the old
/// fragments back, or delete whatever lies at the old address.
#[tokio::test]
async fn a_write_that_was_prepared_before_a_rewrite_runs_again_after_it() {
    let f = fixture().await;
    for n in 0..4 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let mut write = Forget {
        name: "p2",
        meanwhile: Some(Graph::new(
            f.graph.shared.engine.clone(),
            f.graph.root().clone(),
        )),
        runs: 0,
    };
    let main = main_branch();
    let options = WriteOptions::default();
    let request = CommitRequest {
        branch: &main,
        options: &options,
        fork_from: None,
    };
    Box::pin(f.graph.commit_with(request, &mut write))
        .await
        .unwrap();
    assert_eq!(write.runs, 2);
    assert_eq!(by_filter(&f.graph, "age >= 0").await, ["p0", "p1", "p3"]);
    assert_eq!(people(&f.graph).await.len(), 3);
    assert_eq!(dataset(&f.graph, "Person").await.fragments().len(), 1);
}

async fn cost(f: &Fixture, what: impl Future<Output = ()>) -> RequestCounts {
    let before = f.engine.store().requests();
    what.await;
    f.engine.store().requests() - before
}

#[tokio::test]
async fn a_cold_read_of_a_maintained_table_does_not_pay_for_each_write() {
    let f = fixture().await;
    for n in 0..10 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let cold_read = async |f: &Fixture| {
        let cold = engine(f.engine.store());
        let root = f.graph.root().clone();
        cost(f, async move {
            let graph = cold.open_graph(&root).await.unwrap();
            assert_eq!(people(&graph).await.len(), 10);
        })
        .await
    };
    let before = cold_read(&f).await;
    optimize(&f.graph).await;
    let after = cold_read(&f).await;
    // Graph, head, schema; then manifest and index list of the table, and the footer and the columns
    // of each fragment.
    assert_eq!(
        (before.total(), after.total()),
        (37, 11),
        "{before} {after}"
    );
}

#[tokio::test]
async fn an_insert_costs_the_same_with_many_index_segments() {
    let f = fixture().await;
    add(&f.graph, "first", 0).await;
    add(&f.graph, "second", 0).await;
    let plain = cost(&f, add(&f.graph, "third", 0)).await;
    let only_index = Policy {
        target_rows: 1,
        ..Policy::thorough()
    };
    for n in 0..40 {
        add(&f.graph, &format!("p{n}"), n).await;
        let options = OptimizeOptions::default();
        Box::pin(
            f.graph
                .optimize_with(&main_branch(), &options, &only_index, &|_| {}),
        )
        .await
        .unwrap();
    }
    let (segments, all) = coverage(&f.graph, "bio_fts").await;
    assert!(all && (2..=12).contains(&segments), "{segments}");
    assert_eq!(dataset(&f.graph, "Person").await.fragments().len(), 43);
    for name in ["first", "p0", "p20", "p39"] {
        assert_eq!(by_word(&f.graph, name).await, [name]);
        assert_eq!(
            by_filter(&f.graph, &format!("name = '{name}'")).await,
            [name]
        );
    }
    let mut costs = Vec::new();
    for n in 40..43 {
        costs.push(cost(&f, add(&f.graph, &format!("p{n}"), n)).await.total());
    }
    // The first one has the list of indexes at hand.
    assert_eq!((plain.total(), costs), (6, vec![5, 6, 6]));
}

fn small_steps() -> Policy {
    Policy {
        min_fragments: 4,
        min_deleted: 1,
        min_unindexed: 8,
        ..Policy::incremental()
    }
}

#[tokio::test]
async fn by_itself_it_waits_until_it_is_worth_it_and_then_costs_nothing_more() {
    let f = fixture().await;
    let mut upkeep = Upkeep::new(f.graph.clone());
    for n in 0..3 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    assert!(upkeep.pass_with(&small_steps()).await.unwrap().is_empty());
    let review = BranchName::parse("review").unwrap();
    let by = Authorship::default();
    f.graph
        .create_branch(&review, &Target::default(), &by)
        .await
        .unwrap();
    for n in 3..12 {
        add(&f.graph, &format!("p{n}"), n).await;
        let given = serde_json::json!({"n": format!("r{n}"), "a": n});
        run(&f.graph, &review, ADD, given).await;
    }
    let done = upkeep.pass_with(&small_steps()).await.unwrap();
    let names: Vec<&str> = done.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["main", "review"]);
    let commit = done[0].1.commit.as_ref().unwrap();
    assert_eq!(commit.kind, CommitKind::Maintenance);
    assert_eq!(
        commit.actor.as_ref().map(ToString::to_string).as_deref(),
        Some("omnigraph:maintenance")
    );
    assert_eq!(people(&f.graph).await.len(), 12);
    assert!(dataset(&f.graph, "Person").await.fragments().len() < 5);
    // Nothing has moved since: a look at main.
    let idle = cost(&f, async {
        assert!(upkeep.pass_with(&small_steps()).await.unwrap().is_empty());
    })
    .await;
    assert_eq!((idle.get, idle.total()), (1, 1), "{idle}");
}

#[tokio::test]
async fn work_that_is_given_up_leaves_the_graph_as_it_was() {
    let f = fixture().await;
    for n in 0..4 {
        add(&f.graph, &format!("p{n}"), n).await;
    }
    let before = head(&f.graph).await.commit_id();
    let begun = std::sync::atomic::AtomicBool::new(false);
    let options = OptimizeOptions::default();
    {
        let tell = |_| begun.store(true, std::sync::atomic::Ordering::Relaxed);
        let branch = main_branch();
        let mut work = Box::pin(f.graph.optimize(&branch, &options, &tell));
        // Polled until it has begun, then dropped.
        std::future::poll_fn(|context| {
            let _ = work.as_mut().poll(context);
            match begun.load(std::sync::atomic::Ordering::Relaxed) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }
    assert_eq!(head(&f.graph).await.commit_id(), before);
    assert_eq!(
        optimize(&f.graph).await.commit.map(|c| c.parents[0].id),
        Some(before)
    );
}

mod random {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, i64),
        Remove(u8),
        Thorough,
        Incremental,
        /// Work that lands after these writes.
        Late(Vec<Step>),
    }

    fn write() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..12u8, 0..100i64).prop_map(|(name, age)| Step::Put(name, age)),
            1 => (0..12u8).prop_map(Step::Remove),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => write(),
            1 => Just(Step::Thorough),
            1 => Just(Step::Incremental),
            1 => prop::collection::vec(write(), 1..4).prop_map(Step::Late),
        ]
    }

    type Model = BTreeMap<String, i64>;

    async fn put(graph: &Graph, model: &mut Model, step: &Step) {
        match step {
            Step::Put(name, age) => {
                let name = format!("p{name:02}");
                let given = serde_json::json!({"n": name, "a": age});
                let source = if model.contains_key(&name) { AGE } else { ADD };
                run(graph, &main_branch(), source, given).await;
                model.insert(name, *age);
            }
            Step::Remove(name) => {
                let name = format!("p{name:02}");
                remove(graph, &name).await;
                model.remove(&name);
            }
            _ => {}
        }
    }

    async fn maintain(graph: &Graph, policy: &Policy) {
        let options = OptimizeOptions::default();
        let branch = main_branch();
        let outcome = Box::pin(graph.optimize_with(&branch, &options, policy, &|_| {}))
            .await
            .unwrap();
        assert!(outcome.tables.iter().all(|table| table.error.is_none()));
    }

    async fn check(graph: &Graph, target: &Target, model: &Model) {
        let found = rows(graph, target, ALL).await;
        let expected: Vec<String> = model
            .iter()
            .map(|(name, age)| format!(r#"{{"name":"{name}","age":{age},"bio":"{name}"}}"#))
            .collect();
        let found: Vec<String> = found.iter().map(|row| row.replace("p.", "")).collect();
        assert_eq!(found, expected);
    }

    async fn play(steps: &[Step]) {
        let f = fixture().await;
        let mut model = Model::new();
        let mut past: Vec<(Target, Model)> = Vec::new();
        for step in steps {
            match step {
                Step::Put(..) | Step::Remove(_) => put(&f.graph, &mut model, step).await,
                Step::Thorough => maintain(&f.graph, &Policy::thorough()).await,
                Step::Incremental => maintain(&f.graph, &small_steps()).await,
                Step::Late(writes) => {
                    let head = f.graph.shared.branches.head(&main_branch()).await.unwrap();
                    let snapshot = f.graph.open(head.commit.clone(), None).await.unwrap();
                    let all = candidates(&snapshot, &[]).unwrap();
                    let policy = Policy::thorough();
                    let worked = f.graph.work(&snapshot, &all, &policy, &|_| {});
                    let (works, _) = Box::pin(worked).await;
                    for write in writes {
                        put(&f.graph, &mut model, write).await;
                    }
                    land(&f.graph, &Round { head, works }).await;
                }
            }
            check(&f.graph, &Target::default(), &model).await;
            past.push((
                Target::Commit(super::head(&f.graph).await.commit_id()),
                model.clone(),
            ));
        }
        let cold = engine(f.engine.store())
            .open_graph(f.graph.root())
            .await
            .unwrap();
        for (target, model) in &past {
            check(&f.graph, target, model).await;
            check(&cold, target, model).await;
        }
        // Through the indexes, as others read it.
        by_indexes(&cold, &model).await;
        maintain(&f.graph, &Policy::thorough()).await;
        by_indexes(&f.graph, &model).await;
    }

    async fn by_indexes(graph: &Graph, model: &Model) {
        for name in (0..12).map(|name| format!("p{name:02}")) {
            let expected: Vec<String> = model.keys().filter(|key| **key == name).cloned().collect();
            let found = by_filter(graph, &format!("name = '{name}'")).await;
            assert_eq!(found, expected);
            assert_eq!(by_word(graph, &name).await, expected);
        }
        let old: Vec<String> = model
            .iter()
            .filter(|(_, age)| **age >= 50)
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(by_filter(graph, "age >= 50").await, old);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn writes_and_maintenance_in_any_order_answer_as_the_writes_alone(
            steps in prop::collection::vec(step(), 1..30)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(Box::pin(play(&steps)));
        }
    }
}
