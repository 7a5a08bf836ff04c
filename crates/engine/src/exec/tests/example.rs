//! The example data of the query language's contract.

use serde_json::{Value as Json, json};

use super::fixture::Fixture;

pub(super) const SCHEMA: &str = r#"
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

pub(super) async fn example() -> Fixture {
    let mut graph = Fixture::new(SCHEMA).await;
    packages(&mut graph).await;
    dependencies(&mut graph).await;
    others(&mut graph).await;
    graph
}

async fn packages(graph: &mut Fixture) {
    let package = |name: &str, section: &str, kb, essential: bool, released, tags, summary, vec| {
        json!({"id": name, "name": name, "section": section, "kb": kb, "essential": essential,
               "released": released, "tags": tags, "summary": summary, "vec": vec})
    };
    let null = || json!(null);
    graph
        .insert(
            "Package",
            &[
                package(
                    "libc",
                    "libs",
                    json!(13000),
                    true,
                    json!("2022-10-20"),
                    json!(["core", "c"]),
                    json!("GNU standard library and headers"),
                    json!([0, 0]),
                ),
                package(
                    "zlib",
                    "libs",
                    json!(170),
                    false,
                    json!("2022-10-20"),
                    json!(["core"]),
                    json!("compression library"),
                    json!([1, 0]),
                ),
                package(
                    "curl",
                    "net",
                    json!(500),
                    false,
                    json!("2023-02-23"),
                    json!(["net"]),
                    json!("transfer data with URLs"),
                    json!([2, 0]),
                ),
                package(
                    "git",
                    "devel",
                    json!(40000),
                    false,
                    null(),
                    null(),
                    json!("version control"),
                    null(),
                ),
                package(
                    "bash",
                    "admin",
                    null(),
                    true,
                    json!("2022-09-01"),
                    json!([]),
                    null(),
                    null(),
                ),
            ],
        )
        .await;
}

async fn dependencies(graph: &mut Fixture) {
    let mut edges: Vec<_> = [
        ("d1", "curl", "libc"),
        ("d2", "curl", "zlib"),
        ("d3", "zlib", "libc"),
        ("d4", "git", "curl"),
        ("d7", "bash", "libc"),
        ("d8", "libc", "libc"),
    ]
    .map(|(id, from, to)| edge(id, from, to))
    .into();
    edges.push(json!({"id": "d5", "src": "git", "dst": "zlib", "optional": false, "floor": "1.2"}));
    edges.push(json!({"id": "d6", "src": "git", "dst": "zlib", "optional": true}));
    graph.insert("DependsOn", &edges).await;
    graph
        .insert(
            "Conflicts",
            &[json!({"id": "[\"bash\",\"git\"]", "src": "bash", "dst": "git"})],
        )
        .await;
}

async fn others(graph: &mut Fixture) {
    let null = || json!(null);
    let maintainers = ["Ann", "Bob", "Eve"].map(|name| {
        let email = format!("{}@x", name.to_lowercase());
        json!({"id": email, "email": email, "name": name})
    });
    graph.insert("Maintainer", &maintainers).await;
    graph
        .insert(
            "Maintains",
            &[
                json!({"id": "m1", "src": "ann@x", "dst": "curl", "since": "2020-01-01"}),
                json!({"id": "m2", "src": "ann@x", "dst": "git"}),
                json!({"id": "m3", "src": "bob@x", "dst": "zlib", "since": "2021-06-01"}),
            ],
        )
        .await;
    let issue = |slug: &str, title: &str, state: &str, opened: &str, votes| json!({"id": slug, "slug": slug, "title": title, "state": state, "opened": opened, "votes": votes});
    graph
        .insert(
            "Issue",
            &[
                issue("i1", "curl hangs", "open", "2024-03-01T08:00:00Z", json!(5)),
                issue(
                    "i2",
                    "git slow with zlib",
                    "closed",
                    "2024-01-10T00:00:00Z",
                    null(),
                ),
                issue(
                    "i3",
                    "typo in docs",
                    "open",
                    "2024-05-05T12:30:00Z",
                    json!(2),
                ),
            ],
        )
        .await;
    graph
        .insert(
            "Affects",
            &[edge("a1", "i1", "curl"), edge("a2", "i2", "git")],
        )
        .await;
    graph
        .insert(
            "Advisory",
            &[
                json!({"id": "cve-1", "cve": "cve-1", "title": "curl overflow", "score": 9.8}),
                json!({"id": "cve-2", "cve": "cve-2", "title": "bash parsing", "score": 4.0}),
            ],
        )
        .await;
    graph.insert("Warns", &[edge("w1", "cve-1", "curl")]).await;
}

fn edge(id: &str, from: &str, to: &str) -> Json {
    json!({"id": id, "src": from, "dst": to})
}
