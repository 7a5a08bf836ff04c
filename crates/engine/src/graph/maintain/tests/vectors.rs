//! Vector indexes: built once there is enough, extended by segments, and never in the way of a row.
//!
//! Queries of ours compute distances exactly, with or without an index. So the indexes are asked as
//! other readers of the tables do: through Lance.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::Float32Array;
use arrow_array::cast::AsArray;
use lance::index::DatasetIndexExt as _;
use serde_json::json;

use super::*;
use crate::graph::{FsckOptions, SchemaCommitError};
use crate::write::{LoadMode, LoadOptions};

const WIDTH: usize = 4;
const DOCS: &str = "node Doc { name: String @key  kind: String  vec: Vector(4)? @index }";
const SET_VECTOR: &str =
    "query set($n: String, $v: Vector(4)) { update Doc set { vec: $v } where name = $n }";
const REMOVE_DOC: &str = "query remove($n: String) { delete Doc where name = $n }";
const NEAREST: &str = "query near($v: Vector(4)) {
    match { $d: Doc } return { $d.name, nearest($d.vec, $v) as far } order { nearest($d.vec, $v) } limit 5
}";

/// A graph of documents, and what it should hold.
struct Docs {
    store: Store,
    engine: Engine,
    graph: Graph,
    policy: Policy,
    vectors: BTreeMap<String, Option<[f32; WIDTH]>>,
    random: u64,
}

impl Docs {
    async fn new(min_vectors: u64) -> Self {
        let store = Store::open("memory://docs", StoreOptions::default())
            .await
            .unwrap();
        let engine = engine(&store);
        let id = GraphId::parse("docs").unwrap();
        let root = engine
            .create_graph(&id, DOCS, &Authorship::default())
            .await
            .unwrap();
        let graph = engine.open_graph(&root).await.unwrap();
        let policy = Policy {
            min_vectors,
            ..Policy::thorough()
        };
        Self {
            store,
            engine,
            graph,
            policy,
            vectors: BTreeMap::new(),
            random: 7,
        }
    }

    /// Numbers from 0 to 1 that are the same in every run.
    fn number(&mut self) -> f32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "24 bits are kept")]
        let number = (self.random >> 40) as f32;
        number / (1_u64 << 24) as f32
    }

    /// Around one of eight places, as what people embed is.
    fn vector(&mut self) -> [f32; WIDTH] {
        let place = (self.number() * 8.0).floor();
        std::array::from_fn(|_| place * 3.0 + self.number())
    }

    /// Loads documents; every `each`-th has no vector.
    async fn load(&mut self, branch: &str, count: usize, each: usize) {
        let mut text = String::new();
        for at in 0..count {
            let name = format!("d{:05}", self.vectors.len());
            let vector = (each == 0 || at % each != 0).then(|| self.vector());
            let kind = if at % 10 == 0 { "rare" } else { "common" };
            let data = json!({ "name": name, "kind": kind, "vec": vector });
            text.push_str(&json!({ "type": "Doc", "data": data }).to_string());
            text.push('\n');
            self.vectors.insert(name, vector);
        }
        let options = LoadOptions {
            mode: LoadMode::Append,
            ..LoadOptions::default()
        };
        let branch = BranchName::parse(branch).unwrap();
        let mut session = self.graph.load(&branch, options).await.unwrap();
        session.push(text.into()).await.unwrap();
        session.finish().await.unwrap();
    }

    async fn optimize(&self) -> TableMaintenance {
        self.optimize_with(&OptimizeOptions::default()).await
    }

    async fn optimize_with(&self, options: &OptimizeOptions) -> TableMaintenance {
        let main = main_branch();
        let outcome = self
            .graph
            .optimize_with(&main, options, &self.policy, &|_| {});
        let outcome = Box::pin(outcome).await.unwrap();
        let doc = of(&outcome, "Doc").clone();
        assert_eq!(doc.error, None);
        doc
    }

    async fn set(&mut self, name: &str, vector: [f32; WIDTH]) {
        let given = json!({ "n": name, "v": vector });
        run(&self.graph, &main_branch(), SET_VECTOR, given).await;
        self.vectors.insert(name.to_owned(), Some(vector));
    }

    async fn remove(&mut self, name: &str) {
        run(
            &self.graph,
            &main_branch(),
            REMOVE_DOC,
            json!({ "n": name }),
        )
        .await;
        self.vectors.remove(name);
    }

    /// The segments of the vector index: which, and how many fragments each has.
    async fn segments(&self) -> BTreeMap<String, u64> {
        let dataset = dataset(&self.graph, "Doc").await;
        let indexes = dataset.load_indices().await.unwrap();
        let of_vectors = indexes.iter().filter(|i| i.name.ends_with("_vector"));
        of_vectors
            .map(|i| {
                (
                    i.uuid.to_string(),
                    i.fragment_bitmap.as_ref().unwrap().len(),
                )
            })
            .collect()
    }

    /// Asks the index, over so many of its partitions, with a filter before the search.
    async fn found(
        &self,
        to: [f32; WIDTH],
        count: usize,
        partitions: usize,
        filter: Option<&str>,
    ) -> Vec<String> {
        let dataset = dataset(&self.graph, "Doc").await;
        let mut scan = dataset.scan();
        scan.project(&["name"]).unwrap();
        if let Some(filter) = filter {
            scan.filter(filter).unwrap();
            scan.prefilter(true);
        }
        let to = Float32Array::from_iter_values(to);
        scan.nearest("vec", &to, count).unwrap();
        scan.nprobes(partitions).refine(4);
        let batch = scan.try_into_batch().await.unwrap();
        let names = batch.column_by_name("name").unwrap().as_string::<i32>();
        names.iter().flatten().map(str::to_owned).collect()
    }

    /// The true answer.
    fn nearest(&self, to: [f32; WIDTH], count: usize) -> Vec<String> {
        let with_vector = self.vectors.iter();
        let mut all: Vec<(f32, String)> = with_vector
            .filter_map(|(name, vector)| {
                let squares = vector
                    .as_ref()?
                    .iter()
                    .zip(to)
                    .map(|(a, b)| (a - b).powi(2));
                Some((squares.sum(), name.clone()))
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        all.into_iter().take(count).map(|(_, name)| name).collect()
    }

    /// The part of the true answers that the index finds over so many partitions.
    async fn recall(&mut self, partitions: usize) -> f64 {
        let (mut found, mut all) = (0, 0);
        for _ in 0..20 {
            let to = self.vector();
            let truth: BTreeSet<String> = self.nearest(to, 10).into_iter().collect();
            let answer = self.found(to, 10, partitions, None).await;
            assert_eq!(answer.len(), 10);
            found += answer.iter().filter(|name| truth.contains(*name)).count();
            all += 10;
        }
        f64::from(found as u32) / f64::from(all)
    }

    async fn exact(&self, to: [f32; WIDTH]) -> Vec<String> {
        let snapshot = head(&self.graph).await;
        let query = self.graph.compile(&snapshot, NEAREST, None).await.unwrap();
        let given = params(json!({ "v": to }));
        let limits = QueryLimits::default();
        let result = self.graph.query(&snapshot, &query, &given, &limits);
        let result = Box::pin(result).await.unwrap();
        crate::exec::rows_to_json(&result, false).collect()
    }

    async fn check(&self) {
        let report = self
            .engine
            .fsck(self.graph.root(), &FsckOptions::default())
            .await
            .unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

#[tokio::test]
async fn an_index_waits_until_there_is_enough_to_train_it() {
    let mut docs = Docs::new(100).await;
    // Every second has no vector.
    docs.load("main", 150, 2).await;
    let few = docs.optimize().await;
    assert_eq!(
        few.pending_indexes,
        [PendingIndex {
            name: "vec_vector".to_owned(),
            reason: "needs 100 vectors, has 75".to_owned(),
        }]
    );
    assert!(docs.segments().await.is_empty());
    docs.load("main", 60, 2).await;
    let dry = docs
        .optimize_with(&OptimizeOptions {
            dry_run: true,
            ..OptimizeOptions::default()
        })
        .await;
    let done = docs.optimize().await;
    for outcome in [&dry, &done] {
        assert!(outcome.pending_indexes.is_empty(), "{outcome:?}");
        assert!(outcome.indexes_extended.contains(&"vec_vector".to_owned()));
    }
    assert_eq!(docs.segments().await.len(), 1);
    let again = docs.optimize().await;
    assert!(again.indexes_extended.is_empty() && again.pending_indexes.is_empty());
    docs.check().await;
}

#[tokio::test]
async fn what_the_index_finds_and_that_it_filters_first() {
    let mut docs = Docs::new(100).await;
    docs.load("main", 1_200, 0).await;
    let to = docs.vector();
    let before = docs.exact(to).await;
    docs.optimize().await;
    assert_eq!(docs.exact(to).await, before);
    // Of 34 partitions: the bound is what a fifth of them must find.
    let recall = docs.recall(7).await;
    assert!(recall >= 0.9, "{recall}");
    let all = docs.recall(64).await;
    assert!((all - 1.0).abs() < f64::EPSILON, "{all}");
    // The ten nearest of all are not rare: filtered afterwards, the answer would be short.
    let rare = docs.found(to, 10, 64, Some("kind = 'rare'")).await;
    assert_eq!(rare.len(), 10);
    let dataset = dataset(&docs.graph, "Doc").await;
    let all_rare = dataset.count_rows(Some("kind = 'rare'".to_owned())).await;
    assert_eq!(all_rare.unwrap(), 120);
}

#[tokio::test]
async fn rows_that_no_segment_has_are_found_and_deleted_ones_are_not() {
    let mut docs = Docs::new(200).await;
    docs.load("main", 400, 0).await;
    docs.optimize().await;
    let built = docs.segments().await;
    let far = [100.0; WIDTH];
    docs.load("main", 5, 0).await;
    docs.set("d00402", far).await;
    docs.set("d00007", [101.0; WIDTH]).await;
    assert_eq!(docs.found(far, 2, 64, None).await, ["d00402", "d00007"]);
    docs.remove("d00402").await;
    assert_eq!(docs.found(far, 1, 64, None).await, ["d00007"]);
    // Compaction moves the rows; their ids stay, and so does what is known of them.
    docs.optimize().await;
    docs.check().await;
    assert_eq!(docs.found(far, 1, 64, None).await, ["d00007"]);
    let recall = docs.recall(64).await;
    assert!((recall - 1.0).abs() < f64::EPSILON, "{recall}");
    assert!(!built.is_empty() && !docs.segments().await.is_empty());
}

/// Training anew for each batch of rows would make a growing table ever slower to keep.
#[tokio::test]
async fn new_rows_get_a_segment_of_their_own() {
    let mut docs = Docs::new(100).await;
    docs.policy.min_fragments = usize::MAX;
    docs.load("main", 900, 0).await;
    docs.optimize().await;
    let first = docs.segments().await;
    docs.load("main", 50, 0).await;
    assert!(
        docs.optimize()
            .await
            .indexes_extended
            .iter()
            .all(|i| i != "vec_vector")
    );
    docs.load("main", 100, 0).await;
    docs.optimize().await;
    let both = docs.segments().await;
    assert_eq!(both.len(), 2);
    assert!(first.keys().all(|uuid| both.contains_key(uuid)));
    let recall = docs.recall(64).await;
    assert!((recall - 1.0).abs() < f64::EPSILON, "{recall}");
    // A larger batch takes the small segment in.
    docs.load("main", 200, 0).await;
    docs.optimize().await;
    let merged = docs.segments().await;
    assert_eq!(merged.len(), 2);
    assert!(first.keys().all(|uuid| merged.contains_key(uuid)));
    docs.check().await;
}

#[tokio::test]
async fn a_table_that_outgrows_plain_vectors_keeps_bytes() {
    let mut docs = Docs::new(100).await;
    docs.policy.plain_vectors = 500;
    docs.policy.min_fragments = usize::MAX;
    docs.load("main", 400, 0).await;
    docs.optimize().await;
    let plain = docs.segments().await;
    docs.load("main", 150, 0).await;
    docs.optimize().await;
    let bytes = docs.segments().await;
    assert_eq!((plain.len(), bytes.len()), (1, 1));
    assert!(plain.keys().all(|uuid| !bytes.contains_key(uuid)));
    let recall = docs.recall(64).await;
    assert!(recall >= 0.95, "{recall}");
    docs.check().await;
}

#[tokio::test]
async fn vectors_that_are_all_the_same_can_be_indexed() {
    let mut docs = Docs::new(50).await;
    docs.load("main", 60, 0).await;
    for name in docs.vectors.keys().cloned().collect::<Vec<_>>() {
        docs.set(&name, [1.0; WIDTH]).await;
    }
    docs.optimize().await;
    assert_eq!(docs.segments().await.len(), 1);
    assert_eq!(docs.found([1.0; WIDTH], 60, 64, None).await.len(), 60);
}

#[tokio::test]
async fn merged_rows_and_branches_keep_their_indexes() {
    let mut docs = Docs::new(100).await;
    docs.load("main", 300, 0).await;
    docs.optimize().await;
    let side = BranchName::parse("side").unwrap();
    let by = Authorship::default();
    docs.graph
        .create_branch(&side, &Target::default(), &by)
        .await
        .unwrap();
    docs.load("side", 40, 0).await;
    docs.load("main", 20, 0).await;
    docs.graph
        .merge(
            &side,
            &main_branch(),
            &crate::graph::MergeOptions::default(),
        )
        .await
        .unwrap();
    let recall = docs.recall(64).await;
    assert!((recall - 1.0).abs() < f64::EPSILON, "{recall}");
    docs.optimize().await;
    let recall = docs.recall(64).await;
    assert!((recall - 1.0).abs() < f64::EPSILON, "{recall}");
    docs.check().await;
}

async fn apply(graph: &Graph, schema: &str) {
    let leader = Authorship {
        control_epoch: Some(1),
        ..Authorship::default()
    };
    let staged = graph
        .stage_schema(schema, CommitId::new(), &leader)
        .await
        .unwrap();
    let landed: Result<Commit, SchemaCommitError> = graph.commit_schema(staged).await;
    landed.unwrap();
}

#[tokio::test]
async fn the_index_goes_with_its_declaration_and_comes_back_with_it() {
    let mut docs = Docs::new(100).await;
    docs.load("main", 300, 0).await;
    docs.optimize().await;
    assert_eq!(docs.segments().await.len(), 1);
    let plain = "node Doc { name: String @key  kind: String  vec: Vector(4)? }";
    apply(&docs.graph, plain).await;
    assert!(docs.segments().await.is_empty());
    assert!(docs.optimize().await.pending_indexes.is_empty());
    apply(&docs.graph, DOCS).await;
    assert!(docs.segments().await.is_empty());
    docs.optimize().await;
    let built = docs.segments().await;
    assert_eq!(built.len(), 1);
    // A column that is renamed keeps its index.
    let renamed = r#"node Doc { name: String @key  kind: String  place: Vector(4)? @index @rename_from("vec") }"#;
    apply(&docs.graph, renamed).await;
    assert_eq!(docs.segments().await, built);
    assert!(docs.optimize().await.pending_indexes.is_empty());
    assert_eq!(docs.segments().await, built);
    docs.check().await;
    assert!(docs.store.requests().put > 0);
}
