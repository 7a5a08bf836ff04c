//! Deltas against a full comparison of what the commits hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use omnigraph_lang::schema::EntityType;
use proptest::prelude::*;

use super::{Op, TableDelta};
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::Result;
use crate::graph::writer::{Attempt, Base, CommitRequest, Staged, Write};
use crate::graph::{
    BranchName, Commit, CommitKind, Graph, GraphId, MergeOptions, ReadOptions, Target, WriteOptions,
};
use crate::store::{Store, StoreOptions};
use crate::table::{Appended, TableChange, arrow_schema};

const SCHEMA: &str = "
node Person { name: String @key  age: I64? @index }
node Place { name: String @key }
";

type State = BTreeMap<String, Option<i64>>;

async fn fixture() -> (Store, Graph) {
    let store = Store::open("memory://delta", StoreOptions::default())
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
    (store, engine.open_graph(&root).await.unwrap())
}

/// Replaces and removes rows of Person, or writes all of them again.
struct Rows {
    put: State,
    delete: BTreeSet<String>,
    rewrite: bool,
}

impl Rows {
    fn put(rows: &[(&str, Option<i64>)]) -> Self {
        Self {
            put: rows.iter().map(|(id, v)| ((*id).to_owned(), *v)).collect(),
            delete: BTreeSet::new(),
            rewrite: false,
        }
    }

    fn delete(ids: &[&str]) -> Self {
        Self {
            put: State::new(),
            delete: ids.iter().map(|id| (*id).to_owned()).collect(),
            rewrite: false,
        }
    }

    fn rewrite() -> Self {
        Self {
            put: State::new(),
            delete: BTreeSet::new(),
            rewrite: true,
        }
    }
}

#[async_trait]
impl Write for Rows {
    type Answer = ();

    async fn attempt(&mut self, base: &Base) -> Result<((), Attempt)> {
        let snapshot = &base.snapshot;
        let node = snapshot.schema.catalog.node("Person").unwrap();
        let dataset = snapshot.open(node.id).await?;
        let mut scan = dataset.scan();
        scan.with_row_address();
        let stored = scan.try_into_batch().await?;
        let ids = stored["id"].as_string::<i32>().clone();
        let ages = stored["age"].as_primitive::<Int64Type>().clone();
        let addresses = stored["_rowaddr"].as_primitive::<UInt64Type>();
        let mut put = self.put.clone();
        let mut gone = Vec::new();
        for row in 0..stored.num_rows() {
            let id = ids.value(row);
            if self.rewrite {
                put.insert(id.to_owned(), ages.is_valid(row).then(|| ages.value(row)));
                gone.push(addresses.value(row));
            } else if self.put.contains_key(id) || self.delete.contains(id) {
                gone.push(addresses.value(row));
            }
        }
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(put.keys()));
        let ages: ArrayRef = Arc::new(Int64Array::from_iter(put.values().copied()));
        let schema = arrow_schema(EntityType::Node(node));
        let columns = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "age" => ages.clone(),
                _ => names.clone(),
            });
        let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        let change = TableChange {
            append: Appended::Batches(vec![batch]),
            delete: gone,
            truncate: false,
        };
        let table = snapshot.table(node.id)?;
        let made = snapshot.tables.apply(&dataset, table, change).await?;
        let kind = match self.rewrite {
            true => CommitKind::Maintenance,
            false => CommitKind::Mutate,
        };
        let staged = Staged {
            tables: BTreeMap::from([(node.id, made)]),
            read: BTreeSet::new(),
            touched: Vec::new(),
            kind,
        };
        Ok(((), Attempt::Staged(staged)))
    }
}

async fn commit(graph: &Graph, branch: &str, mut rows: Rows) -> Arc<Commit> {
    let branch = BranchName::parse(branch).unwrap();
    let options = WriteOptions::default();
    let request = CommitRequest {
        branch: &branch,
        options: &options,
        fork_from: None,
    };
    let (_, commit) = graph.commit_with(request, &mut rows).await.unwrap();
    commit.unwrap()
}

async fn head(graph: &Graph, branch: &str) -> Arc<Commit> {
    let target = Target::Branch(BranchName::parse(branch).unwrap());
    let snapshot = graph.snapshot(&target, &ReadOptions::default()).await;
    snapshot.unwrap().commit().clone()
}

async fn state(graph: &Graph, commit: &Arc<Commit>) -> State {
    let snapshot = graph.open(commit.clone(), None).await.unwrap();
    let node = snapshot.schema.catalog.node("Person").unwrap();
    let dataset = snapshot.open(node.id).await.unwrap();
    let batch = dataset.scan().try_into_batch().await.unwrap();
    let ids = batch["id"].as_string::<i32>();
    let ages = batch["age"].as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| {
            let age = ages.is_valid(row).then(|| ages.value(row));
            (ids.value(row).to_owned(), age)
        })
        .collect()
}

type Shown = BTreeMap<String, (Option<Option<i64>>, Option<Option<i64>>)>;

fn naive(before: &State, after: &State) -> Shown {
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    ids.into_iter()
        .filter(|id| before.get(*id) != after.get(*id))
        .map(|id| {
            (
                id.clone(),
                (before.get(id).copied(), after.get(id).copied()),
            )
        })
        .collect()
}

fn shown(changes: &BTreeMap<String, super::Change>) -> Shown {
    let age = |row: &super::RowRef| {
        let ages = row.array("age").unwrap().as_primitive::<Int64Type>();
        ages.is_valid(row.row).then(|| ages.value(row.row))
    };
    changes
        .iter()
        .map(|(id, change)| {
            for row in change.before.iter().chain(&change.after) {
                assert_eq!(row.id(), id);
            }
            let pair = (
                change.before.as_ref().map(age),
                change.after.as_ref().map(age),
            );
            (id.clone(), pair)
        })
        .collect()
}

async fn compared(graph: &Graph, from: &Arc<Commit>, to: &Arc<Commit>, eager: usize) -> TableDelta {
    let (from, to) = (
        graph.side(from).await.unwrap(),
        graph.side(to).await.unwrap(),
    );
    let id = from.schema.catalog.node("Person").unwrap().id;
    let delta = graph.table_delta_with(&from, &to, id, eager).await;
    delta.unwrap()
}

async fn check(graph: &Graph, from: &Arc<Commit>, to: &Arc<Commit>) {
    let expected = naive(&state(graph, from).await, &state(graph, to).await);
    for eager in [0, 8192] {
        let delta = compared(graph, from, to, eager).await;
        let mut parts = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let (part, rest) = delta.part(after.as_deref(), 2).await.unwrap();
            parts.extend(part);
            match rest {
                super::Rest::Nothing => break,
                super::Rest::Behind(id) => after = Some(id),
            }
        }
        assert_eq!(shown(&parts), expected, "in parts, eager {eager}");
        assert_eq!(
            shown(&delta.all().await.unwrap()),
            expected,
            "eager {eager}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(bool, Vec<(u8, i64)>),
    Delete(bool, Vec<u8>),
    Rewrite(bool),
    FastForward,
}

fn step() -> impl Strategy<Value = Step> {
    let row = (0u8..12, 0i64..3);
    prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(row, 1..5)).prop_map(|(b, r)| Step::Put(b, r)),
        2 => (any::<bool>(), prop::collection::vec(0u8..12, 1..4)).prop_map(|(b, r)| Step::Delete(b, r)),
        1 => any::<bool>().prop_map(Step::Rewrite),
        1 => Just(Step::FastForward),
    ]
}

fn branch(side: bool) -> &'static str {
    if side { "side" } else { "main" }
}

async fn play(steps: Vec<Step>) {
    let (_, graph) = fixture().await;
    let first = Rows::put(&[("p1", Some(1)), ("p2", None), ("p3", Some(0))]);
    let mut commits = vec![commit(&graph, "main", first).await];
    let side = BranchName::parse("side").unwrap();
    let by = Authorship::default();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    for step in steps {
        let made = match step {
            Step::Put(on, rows) => {
                let put = rows.into_iter().map(|(id, v)| (format!("p{id}"), Some(v)));
                let mut rows = Rows::put(&[]);
                rows.put = put.collect();
                commit(&graph, branch(on), rows).await
            }
            Step::Delete(on, ids) => {
                let mut rows = Rows::delete(&[]);
                rows.delete = ids.into_iter().map(|id| format!("p{id}")).collect();
                commit(&graph, branch(on), rows).await
            }
            Step::Rewrite(on) => commit(&graph, branch(on), Rows::rewrite()).await,
            Step::FastForward => {
                let main = BranchName::main();
                // Refused where both have moved: then the history simply stays diverged.
                let _ = graph.merge(&side, &main, &MergeOptions::default()).await;
                head(&graph, "main").await
            }
        };
        commits.push(made);
    }
    for from in &commits {
        for to in &commits {
            check(&graph, from, to).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, .. ProptestConfig::default() })]

    #[test]
    fn a_delta_is_what_a_full_comparison_finds(steps in prop::collection::vec(step(), 3..9)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(play(steps));
    }
}

/// Values that were written again unchanged are no change, and fragment ids of diverged versions
/// mean different rows: matching fragments by id would find nothing here.
#[tokio::test]
async fn diverged_versions_use_the_same_fragment_id_for_different_rows() {
    let (_, graph) = fixture().await;
    commit(&graph, "main", Rows::put(&[("a", Some(1))])).await;
    let side = BranchName::parse("side").unwrap();
    graph
        .create_branch(&side, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let left = commit(&graph, "main", Rows::put(&[("b", Some(2)), ("a", Some(1))])).await;
    let right = commit(&graph, "side", Rows::put(&[("c", Some(2))])).await;
    let delta = graph.delta(&left, &right).await.unwrap();
    let touched = delta.touched();
    assert_eq!(touched.len(), 1);
    let person = &touched[0];
    assert_eq!((person.inserted, person.updated, person.deleted), (1, 0, 1));
    let ops: Vec<Op> = delta.types[&delta.types.keys().next().copied().unwrap()]
        .changes
        .values()
        .map(super::Change::op)
        .collect();
    assert_eq!(ops, [Op::Delete, Op::Insert]);
    check(&graph, &left, &right).await;
}

/// Comparing both ends directly would read the whole table, because compaction left no common
/// fragment.
#[tokio::test]
async fn a_rewrite_in_between_does_not_make_the_table_be_read() {
    let (store, graph) = fixture().await;
    let many: State = (0..500).map(|n| (format!("p{n:03}"), Some(n))).collect();
    let mut rows = Rows::put(&[]);
    rows.put = many;
    let base = commit(&graph, "main", rows).await;
    commit(&graph, "main", Rows::put(&[("p001", Some(-1))])).await;
    commit(&graph, "main", Rows::rewrite()).await;
    let end = commit(&graph, "main", Rows::put(&[("p002", Some(-2))])).await;
    let warm = compared(&graph, &base, &end, 16).await.all().await.unwrap();
    assert_eq!(warm.len(), 2);
    let before = store.requests();
    let delta = compared(&graph, &base, &end, 16).await;
    assert_eq!(delta.at_most(), 2);
    let cost = store.requests() - before;
    // Four versions are open; per piece, the rows that were replaced and those that replace them.
    assert_eq!((cost.put, cost.list), (0, 0), "{cost}");
    assert!(cost.bytes_read < 40_000, "{cost}");
    check(&graph, &base, &end).await;
    check(&graph, &end, &base).await;
}

#[tokio::test]
async fn equal_tables_cost_nothing_and_small_changes_read_only_their_rows() {
    let (store, graph) = fixture().await;
    let base = commit(&graph, "main", Rows::put(&[("a", Some(1)), ("b", Some(1))])).await;
    let before = store.requests();
    assert!(graph.delta(&base, &base).await.unwrap().is_empty());
    assert_eq!((store.requests() - before).total(), 0);
    let end = commit(&graph, "main", Rows::put(&[("a", Some(2))])).await;
    let before = store.requests();
    let delta = graph.delta(&base, &end).await.unwrap();
    let cost = store.requests() - before;
    assert_eq!(delta.touched()[0].updated, 1);
    // The deletion file of the new version, and one small data file on each side.
    assert_eq!((cost.get, cost.total()), (3, 3), "{cost}");
}

#[tokio::test]
async fn the_merge_base_is_the_newest_common_ancestor() {
    let (_, graph) = fixture().await;
    let root = commit(&graph, "main", Rows::put(&[("a", Some(1))])).await;
    let side = BranchName::parse("side").unwrap();
    let main = BranchName::main();
    let by = Authorship::default();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    let one = commit(&graph, "side", Rows::put(&[("b", Some(1))])).await;
    let two = head(&graph, "main").await;
    assert_eq!(
        graph.merge_base(&one, &two).await.unwrap().unwrap().id,
        root.id
    );
    graph
        .merge(&side, &main, &MergeOptions::default())
        .await
        .unwrap();
    let merged = commit(&graph, "main", Rows::put(&[("c", Some(1))])).await;
    let further = commit(&graph, "side", Rows::put(&[("d", Some(1))])).await;
    // The newest one is reached through the second parent of the merge.
    let base = graph.merge_base(&merged, &further).await.unwrap().unwrap();
    assert_eq!(base.id, one.id);
    check(&graph, &base, &merged).await;
}
