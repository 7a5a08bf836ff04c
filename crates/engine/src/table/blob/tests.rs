//! Blob columns through whole graphs, and through Lance's own interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::TryStreamExt;
use lance::dataset::optimize::{CompactionOptions, plan_compaction};
use lance::dataset::transaction::{Operation, RewriteGroup};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};

use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::{ErrorKind, Result};
use crate::external::{ExternalBlobBase, ExternalBlobScope};
use crate::graph::{
    BlobInfo, BlobSelector, BranchName, ByteRange, CommitId, Graph, GraphId, MergeOptions,
    ReadOptions, Snapshot, Target, WriteOptions,
};
use crate::store::{Store, StoreOptions};
use crate::write::{LoadMode, LoadOptions, LoadOutcome, MutationOutcome};

const SCHEMA: &str = "
node Doc { name: String @key  title: String?  body: Blob?  thumb: Blob? }
node Must { name: String @key  body: Blob }
edge Cites: Doc -> Doc { scan: Blob? }
";

struct Fixture {
    store: Store,
    graph: Graph,
}

async fn fixture(schema: &str) -> Fixture {
    let store = Store::open("memory://blobs", StoreOptions::default())
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
    let root = engine
        .create_graph(&id, schema, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    Fixture { store, graph }
}

async fn head(graph: &Graph, on: &BranchName) -> Snapshot {
    let target = Target::Branch(on.clone());
    graph
        .snapshot(&target, &ReadOptions::default())
        .await
        .unwrap()
}

async fn main_head(graph: &Graph) -> Snapshot {
    head(graph, &BranchName::main()).await
}

async fn load(graph: &Graph, mode: LoadMode, text: &str) -> Result<LoadOutcome> {
    let options = LoadOptions {
        mode,
        ..LoadOptions::default()
    };
    let mut session = graph.load(&BranchName::main(), options).await?;
    for piece in text.as_bytes().chunks(100_000) {
        session.push(Bytes::copy_from_slice(piece)).await?;
    }
    session.finish().await
}

async fn mutate_on(
    graph: &Graph,
    on: &BranchName,
    source: &str,
    params: Json,
) -> Result<MutationOutcome> {
    let params = params.as_object().cloned().unwrap_or_default();
    graph
        .mutate(on, source, None, &params, &WriteOptions::default())
        .await
}

async fn mutate(graph: &Graph, source: &str, params: Json) -> Result<MutationOutcome> {
    mutate_on(graph, &BranchName::main(), source, params).await
}

fn doc(id: &str, property: &str) -> BlobSelector {
    BlobSelector {
        edge: false,
        type_name: "Doc".to_owned(),
        id: id.to_owned(),
        property: property.to_owned(),
    }
}

async fn content(graph: &Graph, snapshot: &Snapshot, selector: &BlobSelector) -> Option<Vec<u8>> {
    let (_, content) = graph.open_blob(snapshot, selector).await.ok()?;
    let content = content?;
    let pieces: Vec<Bytes> = content.read(0..u64::MAX).try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 4 << 20));
    Some(pieces.concat())
}

async fn etag(graph: &Graph, snapshot: &Snapshot, selector: &BlobSelector) -> String {
    match graph.stat_blob(snapshot, selector).await.unwrap() {
        BlobInfo::Managed { etag, .. } => etag,
        other @ BlobInfo::External { .. } => panic!("{other:?}"),
    }
}

async fn export(graph: &Graph) -> String {
    let stream = graph.export(&main_head(graph).await, &[]).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    format!("base64:{}", STANDARD.encode(bytes))
}

/// Bytes that differ from place to place.
fn pattern(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
        .collect()
}

fn line(name: &str, body: Option<&[u8]>) -> String {
    let body = body.map(text);
    format!(
        "{}\n",
        json!({"type": "Doc", "data": {"name": name, "body": body}})
    )
}

const SET_BODY: &str =
    "query set($n: String, $b: Blob) { update Doc set { body: $b } where name = $n }";
const SET_TITLE: &str =
    "query set($n: String, $t: String) { update Doc set { title: $t } where name = $n }";
const PUT: &str = "query put($n: String, $b: Blob?) { upsert Doc { name: $n, body: $b } }";

#[tokio::test]
async fn content_of_every_size_comes_back_and_an_export_loads_as_it_was() {
    let f = fixture(SCHEMA).await;
    let sizes = [
        0,
        1,
        2,
        3,
        1000,
        256 << 10,
        (256 << 10) + 1,
        (3 << 20) + 1,
        5 << 20,
    ];
    let mut lines = line("null", None);
    for size in sizes {
        lines += &line(&format!("d{size}"), Some(&pattern(size, 7)));
    }
    lines += &format!(
        "{}\n",
        json!({"edge": "Cites", "from": "d0", "to": "d1", "data": {"id": "e", "scan": text(b"edge")}})
    );
    load(&f.graph, LoadMode::Append, &lines).await.unwrap();
    let snapshot = main_head(&f.graph).await;
    for size in sizes {
        let selector = doc(&format!("d{size}"), "body");
        let read = content(&f.graph, &snapshot, &selector).await;
        assert!(read == Some(pattern(size, 7)), "{size}");
    }
    let edge = BlobSelector {
        edge: true,
        type_name: "cites".to_owned(),
        id: "e".to_owned(),
        property: "scan".to_owned(),
    };
    let read = content(&f.graph, &snapshot, &edge).await;
    assert_eq!(read.as_deref(), Some(b"edge".as_slice()));

    let exported = export(&f.graph).await;
    let again = fixture(SCHEMA).await;
    load(&again.graph, LoadMode::Overwrite, &exported)
        .await
        .unwrap();
    assert!(export(&again.graph).await == exported);
    // The tags are of the content, not of the place.
    let there = main_head(&again.graph).await;
    let selector = doc("d1000", "body");
    assert_eq!(
        etag(&f.graph, &snapshot, &selector).await,
        etag(&again.graph, &there, &selector).await
    );
}

#[tokio::test]
async fn an_update_of_something_else_moves_no_content() {
    let f = fixture(SCHEMA).await;
    let body = pattern(1 << 20, 1);
    mutate(&f.graph, PUT, json!({"n": "a", "b": text(&body)}))
        .await
        .unwrap();
    let before = f.store.requests();
    mutate(&f.graph, SET_TITLE, json!({"n": "a", "t": "new"}))
        .await
        .unwrap();
    let cost = f.store.requests() - before;
    assert!(cost.bytes_written < 64 << 10, "{cost}");
    let snapshot = main_head(&f.graph).await;
    let selector = doc("a", "body");
    assert!(content(&f.graph, &snapshot, &selector).await == Some(body));
    // Null again, and another content: another tag.
    let first = etag(&f.graph, &snapshot, &selector).await;
    mutate(&f.graph, SET_BODY, json!({"n": "a", "b": text(b"x")}))
        .await
        .unwrap();
    let now = main_head(&f.graph).await;
    assert_ne!(etag(&f.graph, &now, &selector).await, first);
    assert_eq!(etag(&f.graph, &snapshot, &selector).await, first);
    let clear = "query clear($n: String) { update Doc set { body: null } where name = $n }";
    mutate(&f.graph, clear, json!({"n": "a"})).await.unwrap();
    let now = main_head(&f.graph).await;
    let error = f.graph.stat_blob(&now, &selector).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn branches_merges_deletions_and_time_travel_keep_content() {
    let f = fixture(SCHEMA).await;
    let lines = line("a", Some(b"one")) + &line("b", Some(b"two"));
    load(&f.graph, LoadMode::Append, &lines).await.unwrap();
    let old = main_head(&f.graph).await;
    let side = BranchName::parse("side").unwrap();
    f.graph
        .create_branch(&side, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let change = json!({"n": "a", "b": text(b"three")});
    mutate_on(&f.graph, &side, PUT, change).await.unwrap();
    let delete = "query del($n: String) { delete Doc where name = $n }";
    mutate_on(&f.graph, &side, delete, json!({"n": "b"}))
        .await
        .unwrap();
    let read = async |snapshot: &Snapshot, id: &str| {
        let read = content(&f.graph, snapshot, &doc(id, "body")).await;
        read.map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let there = head(&f.graph, &side).await;
    assert_eq!(read(&there, "a").await.as_deref(), Some("three"));
    assert_eq!(read(&there, "b").await, None);
    let here = main_head(&f.graph).await;
    assert_eq!(read(&here, "a").await.as_deref(), Some("one"));
    f.graph
        .merge(&side, &BranchName::main(), &MergeOptions::default())
        .await
        .unwrap();
    let merged = main_head(&f.graph).await;
    assert_eq!(read(&merged, "a").await.as_deref(), Some("three"));
    assert_eq!(read(&merged, "b").await, None);
    let target = Target::Commit(old.commit_id());
    let old = f
        .graph
        .snapshot(&target, &ReadOptions::default())
        .await
        .unwrap();
    assert_eq!(read(&old, "b").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_merge_load_replaces_and_nulls_whole_entities() {
    let f = fixture(SCHEMA).await;
    let lines = line("a", Some(b"one")) + &line("b", Some(b"two"));
    load(&f.graph, LoadMode::Append, &lines).await.unwrap();
    let lines = line("a", Some(b"three")) + &line("b", None);
    load(&f.graph, LoadMode::Merge, &lines).await.unwrap();
    let now = main_head(&f.graph).await;
    let a = content(&f.graph, &now, &doc("a", "body")).await;
    assert_eq!(a.as_deref(), Some(b"three".as_slice()));
    assert_eq!(content(&f.graph, &now, &doc("b", "body")).await, None);
}

#[tokio::test]
async fn wrong_blobs_are_refused_and_nothing_is_written() {
    let f = fixture(SCHEMA).await;
    let before = main_head(&f.graph).await.commit_id();
    let bad = [
        (json!("base64:AA="), "R420"),
        (json!("base64:A A="), "R420"),
        (json!("s3://bucket/key"), "R421"),
        (json!("plain text"), "R421"),
        (json!(7), "R406"),
    ];
    for (body, code) in bad {
        let entity = json!({"type": "Doc", "data": {"name": "a", "body": body}});
        let error = load(&f.graph, LoadMode::Append, &format!("{entity}\n"))
            .await
            .unwrap_err();
        let found = &error.detail().diagnostics[0];
        assert_eq!(found.code.as_str(), code, "{body}");
        assert_eq!(found.line, Some(1), "{body}");
    }
    let missing = json!({"type": "Must", "data": {"name": "a", "body": null}});
    let error = load(&f.graph, LoadMode::Append, &format!("{missing}\n"))
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R410");
    let uri = json!({"n": "a", "b": "s3://bucket/key"});
    let error = mutate(&f.graph, PUT, uri).await.unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R421");
    assert_eq!(main_head(&f.graph).await.commit_id(), before);
}

#[tokio::test]
async fn selectors_that_select_nothing_say_why() {
    let f = fixture(SCHEMA).await;
    load(&f.graph, LoadMode::Append, &line("a", Some(b"one")))
        .await
        .unwrap();
    let now = main_head(&f.graph).await;
    let mut edge = doc("a", "body");
    edge.edge = true;
    let must = BlobSelector {
        type_name: "Must".to_owned(),
        ..doc("a", "body")
    };
    for (selector, kind) in [
        (doc("a", "thumb"), ErrorKind::NotFound),
        (doc("z", "body"), ErrorKind::NotFound),
        (must, ErrorKind::NotFound),
        (doc("a", "title"), ErrorKind::Invalid),
        (doc("a", "nothing"), ErrorKind::Invalid),
        (edge, ErrorKind::Invalid),
    ] {
        let error = f.graph.stat_blob(&now, &selector).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{selector:?}");
    }
}

#[tokio::test]
async fn a_warm_range_costs_the_head_and_one_request() {
    let f = fixture(SCHEMA).await;
    let body = pattern(1 << 20, 3);
    let lines = line("a", Some(&body)) + &line("b", Some(b"other"));
    load(&f.graph, LoadMode::Append, &lines).await.unwrap();
    let read = async |range: std::ops::Range<u64>| {
        let snapshot = main_head(&f.graph).await;
        let (_, content) = f
            .graph
            .open_blob(&snapshot, &doc("a", "body"))
            .await
            .unwrap();
        let pieces = content.unwrap().read(range);
        pieces.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    };
    read(0..1).await;
    let before = f.store.requests();
    assert!(read(500_000..500_100).await == body[500_000..500_100]);
    let cost = f.store.requests() - before;
    assert_eq!((cost.get, cost.total()), (2, 2), "{cost}");
    assert!(cost.bytes_read < 10_000, "{cost}");
    // A new blob costs one request more than a row without one.
    mutate(&f.graph, PUT, json!({"n": "c", "b": null}))
        .await
        .unwrap();
    let before = f.store.requests();
    mutate(&f.graph, PUT, json!({"n": "d", "b": null}))
        .await
        .unwrap();
    let without = f.store.requests() - before;
    let before = f.store.requests();
    mutate(&f.graph, PUT, json!({"n": "e", "b": text(b"new")}))
        .await
        .unwrap();
    let with = f.store.requests() - before;
    assert_eq!(with.put, without.put + 1, "{with} {without}");
    assert_eq!(with.get, without.get, "{with} {without}");
}

#[test]
fn any_range_is_the_same_as_of_the_bytes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let body = pattern((4 << 20) * 2 + 12_345, 9);
    let f = runtime.block_on(fixture(SCHEMA));
    runtime.block_on(async {
        load(&f.graph, LoadMode::Append, &line("a", Some(&body)))
            .await
            .unwrap();
    });
    let snapshot = runtime.block_on(main_head(&f.graph));
    let selector = doc("a", "body");
    let open = f.graph.open_blob(&snapshot, &selector);
    let content = runtime.block_on(open).unwrap().1.unwrap();
    let size = content.size();
    let range = prop_oneof![
        (0..size + 10, proptest::option::of(0..size + 10)).prop_map(|(a, b)| ByteRange::Span(a, b)),
        (0..size + 10).prop_map(ByteRange::Suffix),
        (0..100u64, 0..100u64)
            .prop_map(|(a, n)| ByteRange::Span((4 << 20) - 50 + a, Some((4 << 20) - 50 + a + n))),
    ];
    let mut runner = TestRunner::new(Config::with_cases(60));
    runner
        .run(&range, |range| {
            let expected = match range {
                ByteRange::Span(start, end) => {
                    let end = end.unwrap_or(size).min(size);
                    (start < end).then(|| &body[start as usize..end as usize])
                }
                ByteRange::Suffix(0) => None,
                ByteRange::Suffix(n) => Some(&body[size.saturating_sub(n) as usize..]),
            };
            let read = range.of(size).map(|range| {
                let pieces = content.read(range).try_collect::<Vec<Bytes>>();
                runtime.block_on(pieces).unwrap().concat()
            });
            prop_assert!(read.as_deref() == expected, "{range:?}");
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn content_that_goes_to_many_rows_is_stored_once() {
    let f = fixture(SCHEMA).await;
    let lines: String = (0..50).map(|n| line(&format!("d{n:02}"), None)).collect();
    load(&f.graph, LoadMode::Append, &lines).await.unwrap();
    let body = pattern(100_000, 4);
    let all = "query all($b: Blob) { update Doc set { body: $b, thumb: $b } where name >= \"d\" }";
    let before = f.store.requests();
    let done = mutate(&f.graph, all, json!({"b": text(&body)}))
        .await
        .unwrap();
    assert_eq!(done.affected_nodes, 50);
    let cost = f.store.requests() - before;
    assert!(cost.bytes_written < 300_000, "{cost}");
    let now = main_head(&f.graph).await;
    for id in ["d00", "d49"] {
        for property in ["body", "thumb"] {
            let read = content(&f.graph, &now, &doc(id, property)).await;
            assert!(read.as_ref() == Some(&body), "{id} {property}");
        }
    }
    // The same content again changes nothing, so there is no commit.
    let done = mutate(&f.graph, all, json!({"b": text(&body)}))
        .await
        .unwrap();
    assert!(done.commit.is_none());
}

/// All cells of a property, by Lance's own reader.
async fn by_lance(snapshot: &Snapshot, property: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let id = snapshot.schema().catalog.node("Doc").unwrap().id;
    let dataset = snapshot.open(id).await.unwrap();
    through_lance(&dataset, property).await
}

async fn through_lance(
    dataset: &Arc<lance::Dataset>,
    property: &str,
) -> BTreeMap<String, Option<Vec<u8>>> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt64Type;

    let mut scan = dataset.scan();
    scan.project(&["id"]).unwrap().with_row_address();
    let batches: Vec<_> = scan
        .try_into_stream()
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut found = BTreeMap::new();
    for batch in batches {
        let ids = batch["id"].as_string::<i32>();
        let addresses = batch["_rowaddr"].as_primitive::<UInt64Type>();
        let blobs = dataset
            .read_blobs(property)
            .unwrap()
            .with_row_addresses(addresses.values().to_vec())
            .execute()
            .await
            .unwrap();
        for (id, blob) in ids.iter().zip(blobs) {
            let bytes = blob.data.map(|bytes| bytes.to_vec());
            found.insert(id.unwrap().to_owned(), bytes);
        }
    }
    found
}

#[tokio::test]
async fn lance_itself_reads_the_content_also_after_compaction() {
    let f = fixture(SCHEMA).await;
    let mut expected = BTreeMap::new();
    for n in 0..4 {
        let (a, b) = (pattern(100 * n + 1, n as u32), pattern(n, 5));
        let lines = line(&format!("a{n}"), Some(&a)) + &line(&format!("b{n}"), Some(&b));
        load(
            &f.graph,
            LoadMode::Append,
            &(lines + &line(&format!("n{n}"), None)),
        )
        .await
        .unwrap();
        expected.insert(format!("a{n}"), Some(a));
        expected.insert(format!("b{n}"), Some(b));
        expected.insert(format!("n{n}"), None);
    }
    mutate(&f.graph, SET_TITLE, json!({"n": "a1", "t": "x"}))
        .await
        .unwrap();
    let snapshot = main_head(&f.graph).await;
    assert_eq!(by_lance(&snapshot, "body").await, expected);

    let id = snapshot.schema().catalog.node("Doc").unwrap().id;
    let dataset = snapshot.open(id).await.unwrap();
    let paths_before = managed(&dataset).await;
    let plan = plan_compaction(&dataset, &CompactionOptions::default())
        .await
        .unwrap();
    let mut groups = Vec::new();
    for task in plan.compaction_tasks() {
        let done = task.execute(&dataset).await.unwrap();
        groups.push(RewriteGroup {
            old_fragments: done.original_fragments,
            new_fragments: done.new_fragments,
        });
    }
    assert!(!groups.is_empty());
    for (at, fragment) in groups
        .iter_mut()
        .flat_map(|g| &mut g.new_fragments)
        .enumerate()
    {
        fragment.id = dataset.manifest().max_fragment_id().unwrap_or(0) + 1 + at as u64;
    }
    let before = f.store.requests();
    let rewrite = Operation::Rewrite {
        groups,
        rewritten_indices: Vec::new(),
        frag_reuse_index: None,
    };
    let compacted = snapshot.tables.commit(&dataset, rewrite).await.unwrap();
    assert!((f.store.requests() - before).bytes_written < 64 << 10);
    assert_eq!(compacted.get_fragments().len(), 1);
    assert_eq!(through_lance(&compacted, "body").await, expected);
    assert_eq!(managed(&compacted).await, paths_before);
}

/// The objects that the cells of a version name.
async fn managed(dataset: &Arc<lance::Dataset>) -> std::collections::BTreeSet<String> {
    let mut paths = std::collections::BTreeSet::new();
    let batches: Vec<_> = dataset
        .scan()
        .project(&["body"])
        .unwrap()
        .try_into_stream()
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    for batch in batches {
        super::managed_paths(batch.column(0), &mut paths).unwrap();
    }
    paths
}

#[tokio::test]
async fn a_blob_property_can_be_added_and_dropped() {
    const BEFORE: &str = "node Doc { name: String @key }";
    const AFTER: &str = "node Doc { name: String @key  body: Blob? }";
    let f = fixture(BEFORE).await;
    let named = |name: &str| format!("{}\n", json!({"type": "Doc", "data": {"name": name}}));
    load(&f.graph, LoadMode::Append, &named("old"))
        .await
        .unwrap();
    let move_to = async |schema: &str| {
        let staged = f
            .graph
            .stage_schema(schema, CommitId::new(), &Authorship::default())
            .await
            .unwrap();
        f.graph.commit_schema(staged).await.unwrap();
    };
    move_to(AFTER).await;
    let now = main_head(&f.graph).await;
    let old = f.graph.stat_blob(&now, &doc("old", "body")).await;
    assert_eq!(old.unwrap_err().kind(), ErrorKind::NotFound);
    load(&f.graph, LoadMode::Append, &line("new", Some(b"one")))
        .await
        .unwrap();
    mutate(&f.graph, SET_BODY, json!({"n": "old", "b": text(b"two")}))
        .await
        .unwrap();
    let filled = main_head(&f.graph).await;
    for (id, expected) in [("new", "one"), ("old", "two")] {
        let read = content(&f.graph, &filled, &doc(id, "body")).await;
        assert_eq!(read.as_deref(), Some(expected.as_bytes()));
    }
    assert_eq!(by_lance(&filled, "body").await.len(), 2);
    // Rows that are older than the property are merged like others.
    load(&f.graph, LoadMode::Merge, &named("older"))
        .await
        .unwrap();
    let side = BranchName::parse("side").unwrap();
    f.graph
        .create_branch(&side, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    let change = json!({"n": "older", "b": text(b"three")});
    mutate_on(&f.graph, &side, SET_BODY, change).await.unwrap();
    mutate(&f.graph, SET_BODY, json!({"n": "old", "b": text(b"four")}))
        .await
        .unwrap();
    f.graph
        .merge(&side, &BranchName::main(), &MergeOptions::default())
        .await
        .unwrap();
    let merged = main_head(&f.graph).await;
    for (id, expected) in [("new", "one"), ("old", "four"), ("older", "three")] {
        let read = content(&f.graph, &merged, &doc(id, "body")).await;
        assert_eq!(read.as_deref(), Some(expected.as_bytes()), "{id}");
    }
    move_to(BEFORE).await;
    assert_eq!(export(&f.graph).await.lines().count(), 3);
    let read = content(&f.graph, &filled, &doc("new", "body")).await;
    assert_eq!(read.as_deref(), Some(b"one".as_slice()));
}

#[tokio::test]
async fn external_objects_are_copied_or_kept_as_the_write_says() {
    let directory = tempfile::tempdir().unwrap();
    let small = pattern(1000, 1);
    let large = pattern((8 << 20) * 2 + 77, 2);
    std::fs::write(directory.path().join("small"), &small).unwrap();
    std::fs::write(directory.path().join("large"), &large).unwrap();
    std::fs::write(directory.path().join("empty"), b"").unwrap();
    let base = format!("file://{}/", directory.path().display());
    let uri = |name: &str| format!("{base}{name}");
    let f = fixture(SCHEMA).await;
    let bases = [ExternalBlobBase::parse(&base, ExternalBlobScope::Reference).unwrap()];
    let graph = f.graph.with_external_blobs(&bases).unwrap();

    for (name, bytes) in [("small", &small), ("large", &large), ("empty", &Vec::new())] {
        mutate(&graph, PUT, json!({"n": name, "b": uri(name)}))
            .await
            .unwrap();
        let now = main_head(&graph).await;
        let read = content(&graph, &now, &doc(name, "body")).await;
        assert!(read.as_ref() == Some(bytes), "{name}");
    }
    // What was seen as a whole is known by its content.
    let now = main_head(&graph).await;
    mutate(&graph, PUT, json!({"n": "inline", "b": text(&small)}))
        .await
        .unwrap();
    let after = main_head(&graph).await;
    assert_eq!(
        etag(&graph, &now, &doc("small", "body")).await,
        etag(&graph, &after, &doc("inline", "body")).await
    );
    let named = |name: &str, uri: &str| {
        let entity = json!({"type": "Doc", "data": {"name": name, "body": uri}});
        format!("{entity}\n")
    };
    let lines = named("m", &uri("small")) + &named("l", &uri("large"));
    load(&graph, LoadMode::Merge, &lines).await.unwrap();
    let now = main_head(&graph).await;
    assert!(content(&graph, &now, &doc("m", "body")).await == Some(small));
    assert!(content(&graph, &now, &doc("l", "body")).await == Some(large));

    // Unreachable, and outside.
    let gone = named("g", &uri("gone"));
    let error = load(&graph, LoadMode::Merge, &gone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExternalBlobSource);
    let error = load(&graph, LoadMode::Overwrite, &gone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExternalBlobSource);
    let error = mutate(&graph, PUT, json!({"n": "g", "b": uri("gone")}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExternalBlobSource);
    let outside = named("g", "file:///etc/hostname");
    let error = load(&graph, LoadMode::Overwrite, &outside)
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R421");

    // Overwrite keeps the reference; it stays when something else is updated, and in the export.
    load(&graph, LoadMode::Overwrite, &named("kept", &uri("small")))
        .await
        .unwrap();
    mutate(&graph, SET_TITLE, json!({"n": "kept", "t": "x"}))
        .await
        .unwrap();
    let now = main_head(&graph).await;
    let info = graph.stat_blob(&now, &doc("kept", "body")).await.unwrap();
    assert_eq!(info, BlobInfo::External { uri: uri("small") });
    let exported: Json = serde_json::from_str(&export(&graph).await).unwrap();
    assert_eq!(exported["data"]["body"], json!(uri("small")));
    // A base that is to be copied from is never kept.
    let bases = [ExternalBlobBase::parse(&base, ExternalBlobScope::Copy).unwrap()];
    let graph = f.graph.with_external_blobs(&bases).unwrap();
    load(&graph, LoadMode::Overwrite, &named("kept", &uri("small")))
        .await
        .unwrap();
    let now = main_head(&graph).await;
    assert_eq!(
        content(&graph, &now, &doc("kept", "body"))
            .await
            .map(|b| b.len()),
        Some(1000)
    );
}
