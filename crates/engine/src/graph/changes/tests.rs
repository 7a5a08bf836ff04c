//! Commit changes and diffs: order, pages, filters, refusals.

use std::collections::BTreeSet;

use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::RefusalCause;
use crate::graph::{Graph, GraphId, Target, WriteOptions};
use crate::store::{Store, StoreOptions};
use crate::write::{LoadMode, LoadOptions};

const SCHEMA: &str = "
node Person { name: String @key  age: I64?  born: Date? }
node City { name: String @key }
edge Knows: Person -> Person { since: I64? }
";

async fn fixture() -> (Engine, Graph) {
    let store = Store::open("memory://changes", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(
        store,
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    );
    let id = GraphId::parse("g").unwrap();
    let by = Authorship::default();
    let root = engine.create_graph(&id, SCHEMA, &by).await.unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    (engine, graph)
}

async fn load(graph: &Graph, branch: &str, lines: &str) -> CommitId {
    let options = LoadOptions {
        mode: LoadMode::Merge,
        ..LoadOptions::default()
    };
    let branch = BranchName::parse(branch).unwrap();
    let mut session = graph.load(&branch, options).await.unwrap();
    session.push(lines.to_owned().into()).await.unwrap();
    session.finish().await.unwrap().commit.unwrap().id
}

async fn delete(graph: &Graph, name: &str) -> CommitId {
    let params = serde_json::Map::from_iter([("n".to_owned(), name.into())]);
    let source = "query gone($n: String) { delete Person where name = $n }";
    let options = WriteOptions::default();
    let outcome = graph
        .mutate(&BranchName::main(), source, None, &params, &options)
        .await;
    outcome.unwrap().commit.unwrap().id
}

const PEOPLE: &str = r#"{"type":"Person","data":{"name":"ann","age":1,"born":"1990-01-02"}}
{"type":"Person","data":{"name":"bob"}}
{"type":"City","data":{"name":"oslo"}}
{"edge":"Knows","from":"ann","to":"bob","data":{"id":"01JAAAAAAAAAAAAAAAAAAAAAAA","since":7}}
"#;

async fn pages(
    graph: &Graph,
    id: &CommitId,
    filter: &ChangeFilter,
    limit: u64,
) -> Vec<EntityChange> {
    let mut page = ChangePage {
        limit: Some(limit),
        token: None,
    };
    let mut changes = Vec::new();
    loop {
        let part = graph.commit_changes(id, filter, &page).await.unwrap();
        assert!(part.block.changes.len() as u64 <= limit);
        changes.extend(part.block.changes);
        match part.next {
            None => return changes,
            Some(token) => page.token = Some(token),
        }
    }
}

fn shown(changes: &[EntityChange]) -> Vec<(bool, &str, &str, ChangeOp)> {
    let shown = changes.iter();
    shown
        .map(|c| (c.edge, c.type_name.as_str(), c.id.as_str(), c.op))
        .collect()
}

#[tokio::test]
async fn changes_come_in_order_with_their_images_in_pages_of_any_size() {
    let (_, graph) = fixture().await;
    let first = load(&graph, "main", PEOPLE).await;
    let none = ChangeFilter::default();
    let all = pages(&graph, &first, &none, 1000).await;
    let mut types: Vec<&str> = all.iter().map(|change| change.type_name.as_str()).collect();
    types.dedup();
    assert_eq!(types.last(), Some(&"Knows"));
    assert_eq!(all.len(), 4);
    let ann = all.iter().find(|change| change.id == "ann").unwrap();
    let image = ann.after.as_ref().unwrap();
    assert_eq!(
        image.properties,
        r#"{"age":1,"born":"1990-01-02","name":"ann"}"#
    );
    assert!(ann.before.is_none());
    let knows = all.last().unwrap().after.as_ref().unwrap();
    assert_eq!(knows.ends, Some(["ann".to_owned(), "bob".to_owned()]));
    for limit in [1, 2, 3] {
        assert_eq!(pages(&graph, &first, &none, limit).await, all);
    }

    // Loaded again unchanged, but for one value.
    let again = PEOPLE.replace("\"age\":1", "\"age\":2");
    let second = load(&graph, "main", &again).await;
    let changes = pages(&graph, &second, &none, 10).await;
    assert_eq!(
        shown(&changes),
        [(false, "Person", "ann", ChangeOp::Update)]
    );
    assert!(
        changes[0]
            .before
            .as_ref()
            .unwrap()
            .properties
            .contains("\"age\":1")
    );

    let third = delete(&graph, "ann").await;
    let changes = pages(&graph, &third, &none, 1).await;
    let ops: Vec<ChangeOp> = changes.iter().map(|change| change.op).collect();
    assert_eq!(ops, [ChangeOp::Delete, ChangeOp::Delete]);
    assert!(changes.iter().all(|change| change.after.is_none()));
}

#[tokio::test]
async fn filters_narrow_and_bind_the_pages() {
    let (_, graph) = fixture().await;
    let first = load(&graph, "main", PEOPLE).await;
    let edges = ChangeFilter {
        edges: BTreeSet::from([true]),
        ..ChangeFilter::default()
    };
    assert_eq!(pages(&graph, &first, &edges, 10).await.len(), 1);
    let people = ChangeFilter {
        types: BTreeSet::from(["Person".to_owned()]),
        ..ChangeFilter::default()
    };
    assert_eq!(pages(&graph, &first, &people, 1).await.len(), 2);
    let deleted = ChangeFilter {
        ops: BTreeSet::from([ChangeOp::Delete]),
        ..ChangeFilter::default()
    };
    assert!(pages(&graph, &first, &deleted, 1).await.is_empty());
    let page = ChangePage {
        limit: Some(1),
        token: None,
    };
    let token = graph
        .commit_changes(&first, &people, &page)
        .await
        .unwrap()
        .next;
    let page = ChangePage { limit: None, token };
    let error = graph
        .commit_changes(&first, &edges, &page)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CursorRejected);
    let unknown = ChangeFilter {
        types: BTreeSet::from(["Nobody".to_owned()]),
        ..ChangeFilter::default()
    };
    let error = graph
        .commit_changes(&first, &unknown, &ChangePage::default())
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn limits_and_the_first_commit_are_refused() {
    let (_, graph) = fixture().await;
    let first = load(&graph, "main", PEOPLE).await;
    for (limit, kind) in [(0, ErrorKind::Invalid), (8193, ErrorKind::ResourceLimit)] {
        let page = ChangePage {
            limit: Some(limit),
            token: None,
        };
        let error = graph
            .commit_changes(&first, &ChangeFilter::default(), &page)
            .await;
        assert_eq!(error.unwrap_err().kind(), kind);
    }
    let genesis = graph.commit(&first).await.unwrap().parents[0].id;
    let error = graph
        .commit_changes(&genesis, &ChangeFilter::default(), &ChangePage::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChangeDiffRefused);
    let refusal = error.detail().refusal.as_ref().unwrap();
    assert_eq!(refusal.cause, RefusalCause::ParentlessCommit);
}

#[tokio::test]
async fn long_ids_page_as_well() {
    let (_, graph) = fixture().await;
    let names: Vec<String> = (0..4).map(|n| format!("{}{n}", "ü".repeat(1500))).collect();
    let lines: String = names
        .iter()
        .map(|name| format!("{{\"type\":\"City\",\"data\":{{\"name\":\"{name}\"}}}}\n"))
        .collect();
    let id = load(&graph, "main", &lines).await;
    let changes = pages(&graph, &id, &ChangeFilter::default(), 1).await;
    let ids: Vec<&str> = changes.iter().map(|change| change.id.as_str()).collect();
    assert_eq!(ids, names);
}

#[tokio::test]
async fn a_diff_compares_any_two_states_and_its_pages_stay() {
    let (_, graph) = fixture().await;
    load(&graph, "main", PEOPLE).await;
    let side = BranchName::parse("side").unwrap();
    let by = Authorship::default();
    graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    load(&graph, "side", r#"{"type":"Person","data":{"name":"cyd"}}"#).await;
    load(&graph, "side", r#"{"type":"Person","data":{"name":"dan"}}"#).await;
    delete(&graph, "bob").await;
    let (main, side) = (Target::default(), Target::Branch(side));
    let mut options = DiffOptions {
        page: ChangePage {
            limit: Some(1),
            token: None,
        },
        ..DiffOptions::default()
    };
    let first = graph.diff(&main, &side, &options).await.unwrap();
    let person = first
        .summary
        .iter()
        .find(|count| count.type_name == "Person")
        .unwrap();
    assert_eq!((person.inserted, person.updated, person.deleted), (3, 0, 0));
    // The branch moves on; the pages that follow do not.
    load(&graph, "side", r#"{"type":"Person","data":{"name":"eve"}}"#).await;
    let mut changes = first.changes.clone();
    options.page.token = first.next;
    while let Some(token) = options.page.token.take() {
        options.page.token = Some(token);
        let page = graph.diff(&main, &side, &options).await.unwrap();
        assert_eq!(page.to.commit, first.to.commit);
        changes.extend(page.changes);
        options.page.token = page.next;
    }
    let ids: Vec<&str> = changes.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["bob", "cyd", "dan", "01JAAAAAAAAAAAAAAAAAAAAAAA"]);

    let since = DiffOptions {
        from_merge_base: true,
        ..DiffOptions::default()
    };
    let diff = graph.diff(&main, &side, &since).await.unwrap();
    let ids: Vec<&str> = diff.changes.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["cyd", "dan", "eve"]);
    assert!(diff.merge_base.is_some());
    let counts = DiffOptions {
        summary_only: true,
        ..DiffOptions::default()
    };
    let diff = graph.diff(&side, &main, &counts).await.unwrap();
    assert!(diff.changes.is_empty() && diff.next.is_none());
    assert_eq!(
        diff.summary.iter().map(|count| count.deleted).sum::<u64>(),
        5
    );
}
