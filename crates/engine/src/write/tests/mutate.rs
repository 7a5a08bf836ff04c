//! The acceptance examples of the query language for mutations (section 15).

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value as Json, json};

use super::{branch, codes, entities, graph, load, mutate};
use crate::engine::Authorship;
use crate::graph::{BranchName, Graph, ReadOptions, Target};
use crate::write::LoadMode;

const SCHEMA: &str = r#"
interface Titled { title: String @index }
node Package { name: String @key   section: enum(libs, net, devel, admin)   kb: I64?   essential: Bool
               released: Date?   tags: [String]?   summary: String? @index   vec: Vector(2)? }
node Maintainer { email: String @key   name: String }
node Issue implements Titled { slug: String @key   state: enum(open, closed)   opened: DateTime   votes: I32? }
node Advisory implements Titled { cve: String @key   score: F64? }
node Note { text: String   pic: Blob? }
edge DependsOn: Package -> Package { optional: Bool?   floor: String? }
edge Conflicts: Package -> Package { reason: String?   @key(src, dst) }
edge Maintains: Maintainer -> Package { since: Date?   @unique(src, dst) }
edge Affects: Issue -> Package @card(0..1)
edge Warns: Advisory -> Package
"#;

const DATA: &str = r#"
{"type":"Package","data":{"name":"libc","section":"libs","kb":13000,"essential":true,"released":"2022-10-20","tags":["core","c"],"summary":"GNU standard library and headers","vec":[0,0]}}
{"type":"Package","data":{"name":"zlib","section":"libs","kb":170,"essential":false,"released":"2022-10-20","tags":["core"],"summary":"compression library","vec":[1,0]}}
{"type":"Package","data":{"name":"curl","section":"net","kb":500,"essential":false,"released":"2023-02-23","tags":["net"],"summary":"transfer data with URLs","vec":[2,0]}}
{"type":"Package","data":{"name":"git","section":"devel","kb":40000,"essential":false,"summary":"version control"}}
{"type":"Package","data":{"name":"bash","section":"admin","essential":true,"released":"2022-09-01","tags":[]}}
{"type":"Maintainer","data":{"email":"ann@x","name":"Ann"}}
{"type":"Maintainer","data":{"email":"bob@x","name":"Bob"}}
{"type":"Maintainer","data":{"email":"eve@x","name":"Eve"}}
{"edge":"DependsOn","from":"curl","to":"libc","data":{"id":"d1"}}
{"edge":"DependsOn","from":"curl","to":"zlib","data":{"id":"d2"}}
{"edge":"DependsOn","from":"zlib","to":"libc","data":{"id":"d3"}}
{"edge":"DependsOn","from":"git","to":"curl","data":{"id":"d4"}}
{"edge":"DependsOn","from":"git","to":"zlib","data":{"id":"d5","optional":false,"floor":"1.2"}}
{"edge":"DependsOn","from":"git","to":"zlib","data":{"id":"d6","optional":true}}
{"edge":"DependsOn","from":"bash","to":"libc","data":{"id":"d7"}}
{"edge":"DependsOn","from":"libc","to":"libc","data":{"id":"d8"}}
{"edge":"Conflicts","from":"bash","to":"git"}
{"edge":"Maintains","from":"ann@x","to":"curl","data":{"since":"2020-01-01"}}
{"edge":"Maintains","from":"ann@x","to":"git"}
{"edge":"Maintains","from":"bob@x","to":"zlib","data":{"since":"2021-06-01"}}
{"type":"Issue","data":{"slug":"i1","title":"curl hangs","state":"open","opened":"2024-03-01T08:00:00Z","votes":5}}
{"type":"Issue","data":{"slug":"i2","title":"git slow with zlib","state":"closed","opened":"2024-01-10"}}
{"type":"Issue","data":{"slug":"i3","title":"typo in docs","state":"open","opened":"2024-05-05T12:30:00Z","votes":2}}
{"edge":"Affects","from":"i1","to":"curl"}
{"edge":"Affects","from":"i2","to":"git"}
{"type":"Advisory","data":{"cve":"cve-1","title":"curl overflow","score":9.8}}
{"type":"Advisory","data":{"cve":"cve-2","title":"bash parsing","score":4.0}}
{"edge":"Warns","from":"cve-1","to":"curl"}
"#;

/// The data of the documents; each case gets a branch of its own.
pub(super) struct Cases {
    pub(super) graph: Graph,
    next: AtomicU32,
}

impl Cases {
    pub(super) async fn new() -> Self {
        let graph = graph(SCHEMA).await;
        load(&graph, LoadMode::Append, DATA).await.unwrap();
        Self {
            graph,
            next: AtomicU32::new(0),
        }
    }

    async fn fresh(&self) -> BranchName {
        let name = branch(&format!(
            "case-{}",
            self.next.fetch_add(1, Ordering::Relaxed)
        ));
        let (from, by) = (Target::default(), Authorship::default());
        self.graph.create_branch(&name, &from, &by).await.unwrap();
        name
    }

    /// Affected nodes and edges, and the branch to look at.
    pub(super) async fn run(&self, body: &str) -> ((u64, u64), BranchName) {
        let on = self.fresh().await;
        let done = mutate(&self.graph, &on, &query(body), Json::Null)
            .await
            .unwrap();
        let sums = done
            .statements
            .iter()
            .fold((0, 0), |(n, e), s| (n + s.nodes, e + s.edges));
        assert_eq!(sums, (done.affected_nodes, done.affected_edges));
        ((done.affected_nodes, done.affected_edges), on)
    }

    pub(super) async fn counts(&self, body: &str) -> (u64, u64) {
        self.run(body).await.0
    }

    pub(super) async fn codes(&self, body: &str) -> Vec<String> {
        let on = self.fresh().await;
        codes(mutate(&self.graph, &on, &query(body), Json::Null).await)
    }

    async fn package(&self, on: &BranchName, id: &str) -> Json {
        let mut packages = entities(&self.graph, on, "Package").await;
        packages.remove(id).unwrap_or_default()
    }
}

fn query(body: &str) -> String {
    format!("query q() {{ {body} }}")
}

#[tokio::test]
async fn inserts_replace_and_are_checked() {
    let cases = Cases::new().await;
    // 64
    let (counts, on) = cases
        .run(r#"insert Package { name: "zlib", section: "libs", essential: false }"#)
        .await;
    assert_eq!(counts, (1, 0));
    let zlib = cases.package(&on, "zlib").await;
    assert_eq!(
        (&zlib["kb"], &zlib["section"]),
        (&Json::Null, &json!("libs"))
    );
    // 65
    assert_eq!(
        cases.codes(r#"insert Package { name: "x" }"#).await[0],
        "Q212"
    );
    assert_eq!(
        cases.codes(r#"insert Maintains { from: "ann@x" }"#).await,
        ["Q212"]
    );
    // 66
    assert_eq!(
        cases
            .codes(r#"insert Maintains { from: "ann@x", to: "nope" }"#)
            .await,
        ["R417"]
    );
    assert_eq!(
        cases
            .codes(r#"insert Maintains { from: "ann@x", to: "curl" }"#)
            .await,
        ["R414"]
    );
    // 67
    assert_eq!(
        cases
            .codes(r#"insert Affects { from: "i1", to: "git" }"#)
            .await,
        ["R418"]
    );
    assert_eq!(
        cases
            .counts(r#"insert Affects { from: "i3", to: "git" }"#)
            .await,
        (0, 1)
    );
    // 68
    let edge = r#"insert DependsOn { from: "curl", to: "libc" }"#;
    let (counts, on) = cases.run(&format!("{edge} {edge}")).await;
    assert_eq!(counts, (0, 2));
    assert_eq!(entities(&cases.graph, &on, "DependsOn").await.len(), 10);
}

#[tokio::test]
async fn updates_see_what_was_written_before() {
    let cases = Cases::new().await;
    // 69
    let (counts, on) = cases
        .run(r#"update Package set { kb: 600 } where name = "curl""#)
        .await;
    assert_eq!(counts, (1, 0));
    assert_eq!(cases.package(&on, "curl").await["kb"], json!(600));
    let on = cases.fresh().await;
    let source = query(r#"update Package set { kb: 600 } where name = "nope""#);
    let done = mutate(&cases.graph, &on, &source, Json::Null)
        .await
        .unwrap();
    assert_eq!((done.affected_nodes, done.commit), (0, None));
    // 70
    for (body, code) in [
        (r#"update Package set { name: "x" } where kb > 1"#, "Q216"),
        ("update Package set { kb: 1, kb: 2 } where kb > 1", "Q213"),
        ("update Package set { kb: 1.5 } where kb > 1", "Q203"),
    ] {
        assert_eq!(cases.codes(body).await, [code], "{body}");
    }
    // 71
    let (counts, on) = cases
        .run(
            r#"insert Package { name: "r", section: "net", essential: false }
               update Package set { kb: 7 } where name = "r""#,
        )
        .await;
    assert_eq!(counts, (2, 0));
    assert_eq!(cases.package(&on, "r").await["kb"], json!(7));
    // 72
    let (counts, on) = cases
        .run(
            r#"update Package set { kb: 99 } where name = "curl"
               update Package set { kb: 1 } where kb = 99"#,
        )
        .await;
    assert_eq!(counts, (2, 0));
    assert_eq!(cases.package(&on, "curl").await["kb"], json!(1));
    // 77
    assert_eq!(
        cases
            .counts(
                r#"update Maintains set { since: date("2022-02-02") }
                   where from = "ann@x" and since is null"#
            )
            .await,
        (0, 1)
    );
    // 78
    let (counts, on) = cases
        .run(r#"update Package set { kb: kb + 1 } where section in ["libs"]"#)
        .await;
    assert_eq!(counts, (2, 0));
    assert_eq!(cases.package(&on, "libc").await["kb"], json!(13001));
    assert_eq!(cases.package(&on, "zlib").await["kb"], json!(171));
}

#[tokio::test]
async fn deletes_take_incident_edges_along() {
    let cases = Cases::new().await;
    // 73
    let (counts, on) = cases.run(r#"delete Package where name = "curl""#).await;
    assert_eq!(counts, (1, 6));
    assert_eq!(entities(&cases.graph, &on, "DependsOn").await.len(), 5);
    assert_eq!(entities(&cases.graph, &on, "Warns").await.len(), 0);
    assert_eq!(cases.package(&on, "curl").await, Json::Null);
    // 74
    assert_eq!(
        cases
            .counts(r#"delete Package where name = "curl"  delete Package where kb < 600"#)
            .await,
        (2, 10)
    );
    // 75
    assert_eq!(
        cases
            .counts(r#"delete Maintains where from = "ann@x""#)
            .await,
        (0, 2)
    );
    assert_eq!(cases.codes("delete Nope where a = 1").await, ["Q210"]);
    // 76
    let (counts, on) = cases
        .run(
            r#"delete Maintainer where email = "eve@x"
               insert Maintainer { email: "joe@x", name: "Joe" }
               insert Maintains { from: "joe@x", to: "libc" }"#,
        )
        .await;
    assert_eq!(counts, (2, 1));
    let people = entities(&cases.graph, &on, "Maintainer").await;
    assert_eq!(
        people.keys().collect::<Vec<_>>(),
        ["ann@x", "bob@x", "joe@x"]
    );
}

#[tokio::test]
async fn upserts_keep_what_is_not_assigned() {
    let cases = Cases::new().await;
    // 79
    let (counts, on) = cases
        .run(r#"upsert Package { name: "curl", kb: 501 }"#)
        .await;
    assert_eq!(counts, (1, 0));
    let curl = cases.package(&on, "curl").await;
    assert_eq!(
        (&curl["kb"], &curl["section"]),
        (&json!(501), &json!("net"))
    );
    assert_eq!(
        cases
            .codes(r#"upsert Package { name: "new", kb: 1 }"#)
            .await[0],
        "R410"
    );
    assert_eq!(cases.codes(r#"upsert Note { text: "a" }"#).await, ["Q235"]);
    // 81
    let (counts, on) = cases
        .run(r#"upsert Conflicts { from: "bash", to: "git", reason: "x" }"#)
        .await;
    assert_eq!(counts, (0, 1));
    let edges = entities(&cases.graph, &on, "Conflicts").await;
    assert_eq!(edges.keys().collect::<Vec<_>>(), [r#"["bash","git"]"#]);
    assert_eq!(edges[r#"["bash","git"]"#]["data"]["reason"], json!("x"));
}

#[tokio::test]
async fn statements_undo_each_other() {
    let cases = Cases::new().await;
    // What a statement adds, a later one can take away again: nothing changes, no commit.
    let on = cases.fresh().await;
    let source = query(r#"insert Note { text: "a" }  delete Note where text = "a""#);
    let done = mutate(&cases.graph, &on, &source, Json::Null)
        .await
        .unwrap();
    assert_eq!((done.affected_nodes, done.commit), (2, None));
    // A deleted node that is inserted again has lost its edges.
    let (counts, on) = cases
        .run(
            r#"delete Package where name = "bash"
               insert Package { name: "bash", section: "admin", essential: true }"#,
        )
        .await;
    assert_eq!(counts, (2, 2));
    assert_eq!(entities(&cases.graph, &on, "Package").await.len(), 5);
    assert_eq!(entities(&cases.graph, &on, "Conflicts").await.len(), 0);
    // An edge to a node that an earlier statement deleted dangles.
    assert_eq!(
        cases
            .codes(
                r#"delete Package where name = "bash"
                   insert DependsOn { from: "bash", to: "libc" }"#
            )
            .await,
        ["R417"]
    );
    // A value that the same write frees may be used again.
    assert_eq!(
        cases
            .counts(
                r#"delete Maintains where from = "ann@x" and to = "curl"
                   insert Maintains { from: "ann@x", to: "curl" }"#
            )
            .await,
        (0, 2)
    );
}

#[tokio::test]
async fn parameters_are_bound_and_checked() {
    let cases = Cases::new().await;
    let on = cases.fresh().await;
    let source =
        "query set($n: String, $kb: I64?) { update Package set { kb: $kb } where name = $n }";
    let params = json!({"n": "git", "kb": "41000"});
    let done = mutate(&cases.graph, &on, source, params).await.unwrap();
    assert_eq!((done.query_name.as_str(), done.affected_nodes), ("set", 1));
    assert_eq!(cases.package(&on, "git").await["kb"], json!(41000));
    let missing = mutate(&cases.graph, &on, source, json!({"kb": 1})).await;
    assert_eq!(codes(missing), ["R430"]);
    let read = mutate(
        &cases.graph,
        &on,
        "query q() { match { $p: Package } return { $p.name } }",
        Json::Null,
    )
    .await;
    assert_eq!(codes(read), ["R435"]);
}

#[tokio::test]
async fn commits_say_what_they_touched() {
    let cases = Cases::new().await;
    let on = cases.fresh().await;
    let source = query(
        r#"insert Package { name: "new", section: "net", essential: false }
           update Package set { kb: 1 } where name = "curl"
           delete Package where name = "bash""#,
    );
    let done = mutate(&cases.graph, &on, &source, Json::Null)
        .await
        .unwrap();
    let commit = done.commit.unwrap();
    let touched: Vec<_> = commit
        .touched
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert!(touched.contains(&("Package", 1, 1, 1)), "{touched:?}");
    assert!(touched.contains(&("DependsOn", 0, 0, 1)), "{touched:?}");
    assert!(touched.contains(&("Conflicts", 0, 0, 1)), "{touched:?}");
    let snapshot = cases
        .graph
        .snapshot(&Target::Branch(on), &ReadOptions::default())
        .await
        .unwrap();
    assert_eq!(snapshot.commit_id(), commit.id);
    let packages = snapshot
        .datasets()
        .into_iter()
        .find(|d| d.type_name == "Package");
    assert_eq!(packages.map(|d| d.rows), Some(5));
}

/// The budget of the storage protocol: eight requests in all, however long the history.
#[tokio::test]
async fn a_one_row_write_costs_at_most_eight_requests() {
    let cases = Cases::new().await;
    let on = cases.fresh().await;
    let package =
        "query q($n: String) { insert Package { name: $n, section: \"net\", essential: false } }";
    let edge = "query q($n: String) { insert Maintains { from: \"eve@x\", to: $n } }";
    let update = "query q($n: String) { update Package set { kb: 7 } where name = $n }";
    let mut used = Vec::new();
    for i in 0..6 {
        for source in [package, edge, update] {
            let params = json!({"n": format!("p{i}")});
            let before = cases.graph.store().requests();
            mutate(&cases.graph, &on, source, params).await.unwrap();
            used.push(cases.graph.store().requests() - before);
        }
    }
    // The first round opens what is not at hand yet.
    for used in &used[3..] {
        assert!(used.total() <= 8, "{used}");
    }
}
