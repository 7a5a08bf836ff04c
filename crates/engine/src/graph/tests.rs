//! Branches, commits, schema changes and fences over real tables in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;

use super::writer::{Attempt, Base, CommitRequest, Staged, Write};
use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::{ErrorKind, Result};
use crate::store::{Store, StoreOptions};
use crate::table::{Appended, TableChange, arrow_schema};

const SCHEMA: &str = "
node Person { name: String @key  age: I64? @index  bio: String? @index }
node Place { name: String @key }
edge Knows: Person -> Person { since: I64? }
";

async fn engine() -> Engine {
    let store = Store::open("memory://graphs", StoreOptions::default())
        .await
        .unwrap();
    Engine::new(
        store,
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

async fn graph() -> (Engine, Graph) {
    let engine = engine().await;
    let id = GraphId::parse("people").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    (engine, graph)
}

/// Appends rows with these names to a node type.
struct AddNames {
    type_name: &'static str,
    names: Vec<String>,
    runs: usize,
    /// Runs after the rows are staged, before the append.
    interfere: Option<(Graph, BranchName, &'static str)>,
}

impl AddNames {
    fn new(type_name: &'static str, names: &[&str]) -> Self {
        Self {
            type_name,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            runs: 0,
            interfere: None,
        }
    }
}

#[async_trait]
impl Write for AddNames {
    type Answer = ();

    async fn attempt(&mut self, base: &Base) -> Result<((), Attempt)> {
        self.runs += 1;
        let snapshot = &base.snapshot;
        let node = snapshot.schema.catalog.node(self.type_name).unwrap();
        let schema = arrow_schema(omnigraph_lang::schema::EntityType::Node(node));
        let names: arrow_array::ArrayRef = Arc::new(StringArray::from(self.names.clone()));
        let columns = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "id" | "name" => names.clone(),
                _ => arrow_array::new_null_array(field.data_type(), self.names.len()),
            })
            .collect();
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let dataset = snapshot.open(node.id).await?;
        let change = TableChange {
            append: Appended::Batches(vec![batch]),
            delete: Vec::new(),
            truncate: false,
        };
        let made = snapshot
            .tables
            .apply(&dataset, snapshot.table(node.id)?, change)
            .await?;
        if let Some((graph, branch, type_name)) = self.interfere.take() {
            // The queue of this process would wait for ever, so the other writer is another one.
            let other = Graph::new(graph.shared.engine.clone(), graph.root().clone());
            let mut write = Box::new(AddNames::new(type_name, &["rival"]));
            Box::pin(other.commit_with(request(&branch, &WriteOptions::default()), &mut *write))
                .await?;
        }
        Ok((
            (),
            Attempt::Staged(Staged {
                tables: BTreeMap::from([(node.id, made)]),
                read: BTreeSet::new(),
                touched: Vec::new(),
                kind: CommitKind::Load,
            }),
        ))
    }
}

fn request<'a>(branch: &'a BranchName, options: &'a WriteOptions) -> CommitRequest<'a> {
    CommitRequest {
        branch,
        options,
        fork_from: None,
    }
}

async fn add(graph: &Graph, branch: &str, type_name: &'static str, names: &[&str]) -> Arc<Commit> {
    let branch = BranchName::parse(branch).unwrap();
    let options = WriteOptions::default();
    let mut write = AddNames::new(type_name, names);
    let (_, commit) = graph
        .commit_with(request(&branch, &options), &mut write)
        .await
        .unwrap();
    commit.unwrap()
}

async fn names(graph: &Graph, target: &Target, type_name: &str) -> Vec<String> {
    let snapshot = graph
        .snapshot(target, &ReadOptions::default())
        .await
        .unwrap();
    let node = snapshot.schema.catalog.node(type_name).unwrap();
    let dataset = snapshot.open(node.id).await.unwrap();
    let batch = dataset
        .scan()
        .project(&["id"])
        .unwrap()
        .try_into_batch()
        .await
        .unwrap();
    let ids = batch
        .column(0)
        .as_any()
        .downcast_ref::<StringArray>()
        .unwrap();
    let mut names: Vec<String> = ids.iter().flatten().map(str::to_owned).collect();
    names.sort();
    names
}

fn on(branch: &str) -> Target {
    Target::Branch(BranchName::parse(branch).unwrap())
}

#[tokio::test]
async fn a_fresh_graph_has_main_and_empty_tables() {
    let (_, graph) = graph().await;
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let datasets = snapshot.datasets();
    let shown: Vec<(bool, &str, u64)> = datasets
        .iter()
        .map(|d| (d.edge, d.type_name.as_str(), d.rows))
        .collect();
    assert_eq!(
        shown,
        [
            (false, "Person", 0),
            (false, "Place", 0),
            (true, "Knows", 0)
        ]
    );
    assert!(datasets.iter().all(|d| d.version >= 1 << 63));
    assert_eq!(graph.branches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn branches_do_not_see_each_other_until_merged() {
    let (_, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let review = BranchName::parse("review/x").unwrap();
    graph
        .create_branch(&review, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let listed = graph.branches().await.unwrap();
    let listed: Vec<&str> = listed.iter().map(|branch| branch.name.as_str()).collect();
    assert_eq!(listed, ["main", "review/x"]);
    add(&graph, "review/x", "Person", &["bob"]).await;
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann"]);
    assert_eq!(
        names(&graph, &on("review/x"), "Person").await,
        ["ann", "bob"]
    );

    let main = BranchName::main();
    let merged = graph
        .merge(&review, &main, &MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::FastForward);
    assert_eq!(merged.commit.unwrap().parents.len(), 2);
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann", "bob"]);
    let again = graph
        .merge(&review, &main, &MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(again.outcome, MergeOutcome::AlreadyUpToDate);

    add(&graph, "main", "Person", &["cyd"]).await;
    add(&graph, "review/x", "Person", &["dan"]).await;
    let merged = graph
        .merge(&review, &main, &MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!(
        names(&graph, &on("main"), "Person").await,
        ["ann", "bob", "cyd", "dan"]
    );
}

#[tokio::test]
async fn a_deleted_name_can_live_again() {
    let (_, graph) = graph().await;
    let name = BranchName::parse("scratch").unwrap();
    let by = Authorship::default();
    graph
        .create_branch(&name, &Target::default(), &by)
        .await
        .unwrap();
    add(&graph, "scratch", "Person", &["ann"]).await;
    let twice = graph.create_branch(&name, &Target::default(), &by).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::AlreadyExists);
    graph.delete_branch(&name, None, &by).await.unwrap();
    assert_eq!(
        graph.branch(&name).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(graph.branches().await.unwrap().len(), 1);
    graph
        .create_branch(&name, &Target::default(), &by)
        .await
        .unwrap();
    assert!(names(&graph, &on("scratch"), "Person").await.is_empty());
    let main = graph.delete_branch(&BranchName::main(), None, &by).await;
    assert_eq!(main.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A branch that is never written to gets one sweep after the other.
#[tokio::test]
async fn the_head_of_an_idle_branch_is_found_past_its_sweeps() {
    let main = BranchName::main();
    let mut costs = Vec::new();
    for (sweeps, point) in [(1, true), (12, true), (12, false)] {
        let (engine, graph) = graph().await;
        let ann = add(&graph, "main", "Person", &["ann"]).await;
        for at in 0..sweeps {
            let head = graph.shared.branches.head(&main).await.unwrap();
            let event = model::BranchEvent::Swept {
                at,
                // Older releases did not write it.
                before: point.then_some(head.said),
            };
            let within = std::time::Duration::from_secs(5);
            let appended = graph.append_event(&main, Some(head.seq), event, within);
            appended.await.unwrap();
        }
        let before = engine.store().requests();
        let cold = engine.open_graph(graph.root()).await.unwrap();
        assert_eq!(cold.branch(&main).await.unwrap().head.id, ann.id);
        costs.push((engine.store().requests() - before).get);
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[2], costs[1] + 11);
}

/// The simpler rule, to run every write again after any conflict, would run this one twice.
#[tokio::test]
async fn a_write_is_reparented_over_untouched_tables() {
    let (_, graph) = graph().await;
    let main = BranchName::main();
    let options = WriteOptions::default();
    let mut write = AddNames::new("Person", &["ann"]);
    write.interfere = Some((graph.clone(), main.clone(), "Place"));
    graph
        .commit_with(request(&main, &options), &mut write)
        .await
        .unwrap();
    assert_eq!(write.runs, 1);
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann"]);
    assert_eq!(names(&graph, &on("main"), "Place").await, ["rival"]);
    assert_eq!(
        graph
            .commits(&main, None, None)
            .await
            .unwrap()
            .commits
            .len(),
        3
    );
}

/// The simpler rule, to re-parent always, would lose the rival's row.
#[tokio::test]
async fn a_write_is_run_again_when_its_table_moved() {
    let (_, graph) = graph().await;
    let main = BranchName::main();
    let options = WriteOptions::default();
    let mut write = AddNames::new("Person", &["ann"]);
    write.interfere = Some((graph.clone(), main.clone(), "Person"));
    graph
        .commit_with(request(&main, &options), &mut write)
        .await
        .unwrap();
    assert_eq!(write.runs, 2);
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann", "rival"]);
}

#[tokio::test]
async fn a_conditional_write_refuses_a_moved_head() {
    let (_, graph) = graph().await;
    let main = BranchName::main();
    let first = add(&graph, "main", "Person", &["ann"]).await;
    add(&graph, "main", "Person", &["bob"]).await;
    let options = WriteOptions {
        if_head: Some(first.id),
        ..WriteOptions::default()
    };
    let mut write = AddNames::new("Person", &["cyd"]);
    let error = graph
        .commit_with(request(&main, &options), &mut write)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    assert_eq!(write.runs, 0);
}

#[tokio::test]
async fn a_load_can_fork_its_branch_in_the_same_append() {
    let (_, graph) = graph().await;
    let (main, import) = (BranchName::main(), BranchName::parse("import").unwrap());
    let options = WriteOptions::default();
    let mut write = AddNames::new("Person", &["ann"]);
    let request = CommitRequest {
        branch: &import,
        options: &options,
        fork_from: Some(&main),
    };
    graph.commit_with(request, &mut write).await.unwrap();
    assert_eq!(names(&graph, &on("import"), "Person").await, ["ann"]);
    assert!(names(&graph, &on("main"), "Person").await.is_empty());
    let history = graph.commits(&import, None, None).await.unwrap().commits;
    assert_eq!(history.len(), 2);
}

#[tokio::test]
async fn history_is_paged_and_time_travel_reads_any_commit() {
    let (_, graph) = graph().await;
    let first = add(&graph, "main", "Person", &["ann"]).await;
    add(&graph, "main", "Person", &["bob"]).await;
    let main = BranchName::main();
    let all = graph.commits(&main, None, None).await.unwrap();
    assert_eq!(all.commits.len(), 3);
    let page = graph.commits(&main, Some(2), None).await.unwrap();
    let rest = graph
        .commits(&main, Some(2), page.next.as_deref())
        .await
        .unwrap();
    let joined: Vec<CommitId> = page
        .commits
        .iter()
        .chain(&rest.commits)
        .map(|c| c.id)
        .collect();
    assert_eq!(joined, all.commits.iter().map(|c| c.id).collect::<Vec<_>>());
    assert_eq!(
        names(&graph, &Target::Commit(first.id), "Person").await,
        ["ann"]
    );
    assert!(graph.commits(&main, None, Some("x")).await.is_err());
    let lost = graph.commit(&CommitId::new()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::NotFound);
}

const WIDER: &str = "
node Person { name: String @key  age: I64? @index  bio: String? @index  nick: String? @index }
node Place { name: String @key }
node Pet { tag: String @key }
edge Knows: Person -> Person { since: I64? }
edge Owns: Person -> Pet
";

fn leader(epoch: u64) -> Authorship {
    Authorship {
        control_epoch: Some(epoch),
        ..Authorship::default()
    }
}

#[tokio::test]
async fn a_schema_moves_while_other_branches_exist() {
    let (_, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let old = BranchName::parse("old").unwrap();
    graph
        .create_branch(&old, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let id = CommitId::new();
    let staged = graph.stage_schema(WIDER, id, &leader(1)).await.unwrap();
    // A write to a table that the change leaves alone comes between.
    add(&graph, "main", "Place", &["here"]).await;
    let commit = graph.commit_schema(staged).await.unwrap();
    assert_eq!((commit.id, commit.schema_commit), (id, id));
    add(&graph, "main", "Person", &["bob"]).await;
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann", "bob"]);
    assert_eq!(names(&graph, &on("main"), "Place").await, ["here"]);
    assert!(names(&graph, &on("main"), "Pet").await.is_empty());
    assert_eq!(names(&graph, &on("old"), "Person").await, ["ann"]);
    let snapshot = graph
        .snapshot(&on("old"), &ReadOptions::default())
        .await
        .unwrap();
    assert!(snapshot.schema.catalog.node("Pet").is_none());
}

#[tokio::test]
async fn a_schema_change_gives_way_to_a_write_of_the_same_table() {
    let (_, graph) = graph().await;
    let staged = graph
        .stage_schema(WIDER, CommitId::new(), &leader(1))
        .await
        .unwrap();
    add(&graph, "main", "Person", &["ann"]).await;
    let error = graph.commit_schema(staged).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Conflict));
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann"]);
}

/// Without the fence the old leader's late commit would land after the new leader has decided that
/// it never did.
#[tokio::test]
async fn a_fence_shuts_out_the_named_commit() {
    let (_, graph) = graph().await;
    let id = CommitId::new();
    let staged = graph.stage_schema(WIDER, id, &leader(1)).await.unwrap();
    let head = graph.fence(id, &leader(2)).await.unwrap();
    assert_ne!(head.schema_commit, id);
    let again = graph.fence(id, &leader(2)).await.unwrap();
    assert_eq!(again.id, head.id);
    let error = graph.commit_schema(staged).await.unwrap_err();
    assert!(matches!(error, SchemaCommitError::Fenced));
    let late = graph.stage_schema(WIDER, CommitId::new(), &leader(1)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
    // Data goes on, and carries the epoch.
    let commit = add(&graph, "main", "Person", &["ann"]).await;
    assert_eq!(commit.control_epoch, 2);
}

#[tokio::test]
async fn a_fence_after_the_commit_finds_it() {
    let (_, graph) = graph().await;
    let id = CommitId::new();
    let staged = graph.stage_schema(WIDER, id, &leader(1)).await.unwrap();
    graph.commit_schema(staged).await.unwrap();
    add(&graph, "main", "Place", &["here"]).await;
    let head = graph.fence(id, &leader(2)).await.unwrap();
    assert_eq!(head.schema_commit, id);
}

#[tokio::test]
async fn a_refused_schema_change_leaves_nothing() {
    let (_, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let before = graph.branch(&BranchName::main()).await.unwrap();
    let desired = SCHEMA.replace("age: I64?", "age: String?");
    let error = graph
        .stage_schema(&desired, CommitId::new(), &leader(1))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration);
    let required = SCHEMA.replace("age: I64?", "age: I64?  shoe: I64");
    let error = graph
        .stage_schema(&required, CommitId::new(), &leader(1))
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "M303");
    assert_eq!(graph.branch(&BranchName::main()).await.unwrap(), before);
}

#[tokio::test]
async fn renamed_and_dropped_columns_need_no_rewrite() {
    let (_, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let desired = SCHEMA.replace(
        "age: I64? @index  bio: String? @index",
        "years: I64? @index @rename_from(\"age\")",
    );
    let staged = graph
        .stage_schema(&desired, CommitId::new(), &leader(1))
        .await
        .unwrap();
    graph.commit_schema(staged).await.unwrap();
    add(&graph, "main", "Person", &["bob"]).await;
    assert_eq!(names(&graph, &on("main"), "Person").await, ["ann", "bob"]);
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let person = snapshot.schema.catalog.node("Person").unwrap();
    let dataset = snapshot.open(person.id).await.unwrap();
    let years = dataset
        .scan()
        .project(&["years"])
        .unwrap()
        .try_into_batch()
        .await
        .unwrap();
    assert!(years.column(0).as_any().is::<Int64Array>());
    assert!(dataset.schema().field("bio").is_none());
}

#[tokio::test]
async fn requests_of_branch_create_and_snapshot_open() {
    let (engine, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let store = engine.store();
    let before = store.requests();
    let name = BranchName::parse("cheap").unwrap();
    graph
        .create_branch(&name, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let cost = store.requests() - before;
    assert_eq!((cost.get, cost.put, cost.total()), (1, 2, 3), "{cost}");

    let before = store.requests();
    graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap();
    let warm = store.requests() - before;
    assert_eq!((warm.get, warm.total()), (1, 1), "{warm}");
}

#[tokio::test]
async fn requests_of_a_one_row_append() {
    let (engine, graph) = graph().await;
    add(&graph, "main", "Person", &["ann"]).await;
    let before = engine.store().requests();
    add(&graph, "main", "Person", &["bob"]).await;
    let cost = engine.store().requests() - before;
    assert_eq!(cost.put, 4, "{cost}");
    assert!(cost.total() <= 6, "{cost}");
}

#[tokio::test]
async fn a_tombstoned_graph_takes_no_more_writes() {
    let (engine, graph) = graph().await;
    engine
        .tombstone_graph(graph.root(), &leader(3))
        .await
        .unwrap();
    let main = BranchName::main();
    let error = graph
        .commit_with(
            request(&main, &WriteOptions::default()),
            &mut AddNames::new("Person", &["ann"]),
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
