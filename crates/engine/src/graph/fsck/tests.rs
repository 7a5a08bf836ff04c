//! Every kind of damage is found, and what is sound stays silent.

use object_store::{ObjectStoreExt as _, PutPayload};

use arrow_array::{Int32Array, StringArray};

use super::*;
use crate::engine::{Authorship, EngineOptions};
use crate::graph::{
    Attempt, Base, CommitKind, CommitRequest, GraphId, GraphRoot, Staged, Target, WriteOptions,
};
use crate::store::{Store, StoreOptions};
use crate::table::{Appended, TableChange, arrow_schema};

const SCHEMA: &str = "
node Package { name: String @key  size: I32  kind: enum(lib, app)?  @range(size, 0..100) }
edge DependsOn: Package -> Package { @unique(src, dst) }
";

struct Fixture {
    engine: Engine,
    root: GraphRoot,
    graph: Graph,
}

async fn fixture() -> Fixture {
    let store = Store::open("memory://fsck", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(store, EngineOptions::default());
    let id = GraphId::parse("g").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    let fixture = Fixture {
        engine,
        root,
        graph,
    };
    let main = BranchName::main();
    for name in ["a", "b", "c"] {
        fixture.add(&main, name).await;
    }
    let review = BranchName::parse("review/x").unwrap();
    fixture
        .graph
        .create_branch(&review, &Target::default(), &Authorship::default())
        .await
        .unwrap();
    fixture.add(&review, "d").await;
    fixture
        .mutate(
            &main,
            r#"query link() { insert DependsOn { from: "a", to: "b" } }"#,
        )
        .await;
    fixture
}

impl Fixture {
    async fn add(&self, branch: &BranchName, name: &str) {
        let source = format!(r#"query add() {{ insert Package {{ name: "{name}", size: 1 }} }}"#);
        self.mutate(branch, &source).await;
    }

    async fn mutate(&self, branch: &BranchName, source: &str) {
        self.graph
            .mutate(
                branch,
                source,
                None,
                &serde_json::Map::new(),
                &WriteOptions::default(),
            )
            .await
            .unwrap();
    }

    async fn check(&self) -> FsckReport {
        let options = FsckOptions {
            history: true,
            rows: true,
        };
        self.engine.fsck(&self.root, &options).await.unwrap()
    }

    /// Objects whose path contains this.
    async fn objects(&self, part: &str) -> Vec<Path> {
        let mut found: Vec<Path> = self
            .graph
            .inventory()
            .await
            .unwrap()
            .into_keys()
            .filter(|path| path.as_ref().contains(part))
            .collect();
        found.sort();
        found
    }

    async fn remove(&self, path: &Path) {
        let store = self.engine.store().object_store();
        store.delete(path).await.unwrap();
    }

    async fn edit(&self, path: &Path, from: &str, to: &str) {
        let store = self.engine.store().object_store();
        let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        store.put(path, PutPayload::from(text)).await.unwrap();
    }
}

#[track_caller]
fn has_error(report: &FsckReport, place: &str, message: &str) {
    let found = report.findings.iter().any(|finding| {
        finding.severity == FsckSeverity::Error
            && finding.place.contains(place)
            && finding.message.contains(message)
    });
    assert!(found, "{report:#?}");
}

#[tokio::test]
async fn stored_formats_are_counted() {
    let fixture = fixture().await;
    let options = FsckOptions::default();
    let report = fixture.graph.fsck(&options).await.unwrap();
    let formats = report.formats.iter();
    let told: Vec<_> = formats
        .map(|f| (f.kind, f.format, f.newest, f.objects))
        .collect();
    let entries = ("branch entry", 1, 1, report.entries);
    let (description, schema) = (("graph description", 1, 1, 1), ("schema", 1, 1, 1));
    assert_eq!(told, [entries, description, schema]);
}

#[tokio::test]
async fn a_sound_graph_has_no_finding() {
    let fixture = fixture().await;
    let report = fixture.check().await;
    assert!(
        report.is_sound() && report.findings.is_empty(),
        "{report:#?}"
    );
    assert_eq!((report.branches, report.commits), (2, 6));
    assert_eq!(report.rows, 4 + 4, "main and review/x");
    assert!(report.table_versions >= 6 && report.objects > 20);
}

#[tokio::test]
async fn a_hole_in_a_log_is_found() {
    let fixture = fixture().await;
    let entries = fixture.objects("branches/main/0").await;
    fixture.remove(&entries[2]).await;
    has_error(
        &fixture.check().await,
        "branch main entry 3",
        "missing before it",
    );
}

#[tokio::test]
async fn a_damaged_entry_is_found_and_the_rest_is_still_checked() {
    let fixture = fixture().await;
    let entries = fixture.objects("branches/main/0").await;
    fixture.edit(&entries[2], "\"entry\"", "\"entri\"").await;
    let report = fixture.check().await;
    has_error(&report, "branch main entry 2", "cannot be read");
    assert!(report.rows > 0);
}

#[tokio::test]
async fn a_parent_that_is_not_where_the_commit_says_is_found() {
    let fixture = fixture().await;
    let entries = fixture.objects("branches/main/0").await;
    let commits = fixture
        .graph
        .commits(&BranchName::main(), None, None)
        .await
        .unwrap()
        .commits;
    let (newest, before, older) = (&commits[0], &commits[1], &commits[2]);
    let last = entries.last().unwrap();
    assert_eq!(newest.parents[0].id, before.id);
    fixture
        .edit(last, &before.id.to_string(), &older.id.to_string())
        .await;
    has_error(
        &fixture.check().await,
        "branch main entry 4",
        "first parent",
    );
}

#[tokio::test]
async fn a_missing_data_file_is_found() {
    let fixture = fixture().await;
    let files = fixture.objects(".lance/data/").await;
    fixture.remove(&files[0]).await;
    has_error(&fixture.check().await, "type", "which is missing");
}

#[tokio::test]
async fn a_missing_table_version_is_found() {
    let fixture = fixture().await;
    let head = fixture
        .graph
        .branch(&BranchName::main())
        .await
        .unwrap()
        .head;
    let mut gone = 0;
    for table in head.tables.values() {
        for path in fixture.objects(&table.path).await {
            if path.as_ref().contains("_versions/") {
                fixture.remove(&path).await;
                gone += 1;
            }
        }
    }
    assert!(gone > 0);
    has_error(&fixture.check().await, "type Package", "is missing");
}

#[tokio::test]
async fn a_wrong_row_count_is_found() {
    let fixture = fixture().await;
    let entries = fixture.objects("branches/main/0").await;
    let last = entries.last().unwrap();
    fixture.edit(last, "\"rows\":1", "\"rows\":7").await;
    has_error(
        &fixture.check().await,
        "type DependsOn",
        "its commit says 7",
    );
}

#[tokio::test]
async fn a_missing_marker_is_a_warning() {
    let fixture = fixture().await;
    let marker = fixture.objects("/live/review").await;
    fixture.remove(&marker[0]).await;
    let report = fixture.check().await;
    assert!(report.is_sound());
    assert_eq!(report.warnings, 1, "{report:#?}");
    assert!(report.findings[0].message.contains("marker"));
}

#[tokio::test]
async fn leftovers_are_counted() {
    let fixture = fixture().await;
    let table = fixture.objects(".lance/data/").await[0].clone();
    let stray = Path::from(format!("{table}.stray"));
    let store = fixture.engine.store().object_store();
    store.put(&stray, "stray".into()).await.unwrap();
    let before = fixture.check().await;
    assert!(before.is_sound());
    fixture.remove(&stray).await;
    let after = fixture.check().await;
    assert_eq!(before.unreferenced_objects - after.unreferenced_objects, 1);
    assert_eq!(before.unreferenced_bytes - after.unreferenced_bytes, 5);
}

/// Puts rows into a table without any check, as no write of ours would.
struct Unchecked {
    table: &'static str,
    columns: Vec<(&'static str, arrow_array::ArrayRef)>,
}

#[async_trait::async_trait]
impl crate::graph::writer::Write for Unchecked {
    type Answer = ();

    async fn attempt(&mut self, base: &Base) -> Result<((), Attempt)> {
        let entity = base.snapshot.schema.catalog.entities();
        let entity = entity.into_iter().find(|e| e.body().name == self.table);
        let entity = entity.ok_or_else(|| Error::not_found(self.table))?;
        let id = entity.body().id;
        let schema = arrow_schema(entity);
        let column = |name: &String| {
            let found = self.columns.iter().find(|(other, _)| other == name);
            found.unwrap().1.clone()
        };
        let columns = schema.fields().iter().map(|field| column(field.name()));
        let batch = arrow_array::RecordBatch::try_new(schema.clone(), columns.collect())?;
        let dataset = base.snapshot.open(id).await?;
        let change = TableChange {
            append: Appended::Batches(vec![batch]),
            delete: Vec::new(),
            truncate: false,
        };
        let table = base.snapshot.table(id)?;
        let made = Box::pin(base.snapshot.tables.apply(&dataset, table, change)).await?;
        Ok((
            (),
            Attempt::Staged(Staged {
                tables: BTreeMap::from([(id, made)]),
                read: std::collections::BTreeSet::new(),
                touched: Vec::new(),
                kind: CommitKind::Load,
            }),
        ))
    }
}

async fn with_package(id: &str, name: &str, size: i32, kind: Option<&str>) -> FsckReport {
    let columns: Vec<(&str, arrow_array::ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(vec![id]))),
        ("name", Arc::new(StringArray::from(vec![name]))),
        ("size", Arc::new(Int32Array::from(vec![size]))),
        ("kind", Arc::new(StringArray::from(vec![kind]))),
    ];
    with_rows("Package", columns).await
}

async fn with_rows(
    table: &'static str,
    columns: Vec<(&'static str, arrow_array::ArrayRef)>,
) -> FsckReport {
    let fixture = fixture().await;
    let options = WriteOptions::default();
    let request = CommitRequest {
        branch: &BranchName::main(),
        options: &options,
        fork_from: None,
    };
    let mut write = Unchecked { table, columns };
    fixture
        .graph
        .commit_with(request, &mut write)
        .await
        .unwrap();
    fixture.check().await
}

#[tokio::test]
async fn rows_that_break_the_schema_are_found() {
    let report = with_package("a", "a", 1, None).await;
    has_error(&report, "Package `a`", "the id is there twice");
    has_error(&report, "Package `a`", "has the same values of (name)");
    has_error(
        &with_package("z", "z", 101, None).await,
        "Package `z`",
        "size: R412",
    );
    let report = with_package("z", "z", 1, Some("game")).await;
    has_error(&report, "Package `z`", "none of the declared values");
    let report = with_package("z", "z", 1, Some("lib")).await;
    assert!(report.is_sound(), "{report:#?}");
}

#[tokio::test]
async fn edges_that_hang_in_the_air_or_are_double_are_found() {
    let edge = |id: &str, src: &str, dst: &str| -> Vec<(&'static str, arrow_array::ArrayRef)> {
        vec![
            ("id", Arc::new(StringArray::from(vec![id]))),
            ("src", Arc::new(StringArray::from(vec![src]))),
            ("dst", Arc::new(StringArray::from(vec![dst]))),
        ]
    };
    let report = with_rows("DependsOn", edge("e", "a", "nobody")).await;
    has_error(&report, "DependsOn `e`", "dst: `nobody` does not exist");
    let report = with_rows("DependsOn", edge("e", "a", "b")).await;
    has_error(&report, "DependsOn `", "has the same values of (src, dst)");
}
