//! The acceptance examples for writes: of the query language (section 15) and of the schema
//! language (section 12), by the number of their row.

use serde_json::{Value as Json, json};

use super::mutate::Cases;
use super::{branch, codes, entities, graph, load, mutate};
use crate::write::LoadMode;

enum Expect {
    /// Affected nodes and edges.
    Counts(u64, u64),
    Codes(&'static [&'static str]),
}
use Expect::{Codes, Counts};

const MUTATIONS: &[(u32, &str, Expect)] = &[
    (
        64,
        r#"insert Package { name: "zlib", section: "libs", essential: false }"#,
        Counts(1, 0),
    ),
    (65, r#"insert Package { name: "x" }"#, Codes(&["Q212"])),
    (
        65,
        r#"insert Maintains { from: "ann@x" }"#,
        Codes(&["Q212"]),
    ),
    (
        66,
        r#"insert Maintains { from: "ann@x", to: "nope" }"#,
        Codes(&["R417"]),
    ),
    (
        66,
        r#"insert Maintains { from: "ann@x", to: "curl" }"#,
        Codes(&["R414"]),
    ),
    (
        67,
        r#"insert Affects { from: "i1", to: "git" }"#,
        Codes(&["R418"]),
    ),
    (
        67,
        r#"insert Affects { from: "i3", to: "git" }"#,
        Counts(0, 1),
    ),
    (
        68,
        r#"insert DependsOn { from: "curl", to: "libc" }  insert DependsOn { from: "curl", to: "libc" }"#,
        Counts(0, 2),
    ),
    (
        69,
        r#"update Package set { kb: 600 } where name = "curl""#,
        Counts(1, 0),
    ),
    (
        69,
        r#"update Package set { kb: 600 } where name = "nope""#,
        Counts(0, 0),
    ),
    (
        70,
        r#"update Package set { name: "x" } where kb > 1"#,
        Codes(&["Q216"]),
    ),
    (
        70,
        "update Package set { kb: 1, kb: 2 } where kb > 1",
        Codes(&["Q213"]),
    ),
    (
        70,
        "update Package set { kb: 1.5 } where kb > 1",
        Codes(&["Q203"]),
    ),
    (
        71,
        r#"insert Package { name: "r", section: "net", essential: false }  update Package set { kb: 7 } where name = "r""#,
        Counts(2, 0),
    ),
    (
        72,
        r#"update Package set { kb: 99 } where name = "curl"  update Package set { kb: 1 } where kb = 99"#,
        Counts(2, 0),
    ),
    (73, r#"delete Package where name = "curl""#, Counts(1, 6)),
    (
        74,
        r#"delete Package where name = "curl"  delete Package where kb < 600"#,
        Counts(2, 10),
    ),
    (75, r#"delete Maintains where from = "ann@x""#, Counts(0, 2)),
    (75, "delete Note where pic = $b", Codes(&["Q211"])),
    (75, "delete Nope where a = 1", Codes(&["Q210"])),
    (
        76,
        r#"delete Maintainer where email = "eve@x"  insert Maintainer { email: "joe@x", name: "Joe" }  insert Maintains { from: "joe@x", to: "libc" }"#,
        Counts(2, 1),
    ),
    (
        77,
        r#"update Maintains set { since: date("2022-02-02") } where from = "ann@x" and since is null"#,
        Counts(0, 1),
    ),
    (
        78,
        r#"update Package set { kb: kb + 1 } where section in ["libs"]"#,
        Counts(2, 0),
    ),
    (
        79,
        r#"upsert Package { name: "curl", kb: 501 }"#,
        Counts(1, 0),
    ),
    (
        79,
        r#"upsert Package { name: "new", kb: 1 }"#,
        Codes(&["R410", "R410"]),
    ),
    (79, r#"upsert Note { text: "a" }"#, Codes(&["Q235"])),
    (
        81,
        r#"upsert Conflicts { from: "bash", to: "git", reason: "x" }"#,
        Counts(0, 1),
    ),
];

#[tokio::test]
async fn mutations_give_what_the_contract_says() {
    let cases = Cases::new().await;
    for (row, body, expected) in MUTATIONS {
        match expected {
            Counts(nodes, edges) => {
                assert_eq!(cases.counts(body).await, (*nodes, *edges), "{row}: {body}");
            }
            Codes(wanted) if body.contains("$b") => {
                let source = format!("query q($b: Blob) {{ {body} }}");
                let params = json!({"b": "base64:AA=="});
                let on = branch("main");
                let found = mutate(&cases.graph, &on, &source, params).await;
                assert_eq!(codes(found), *wanted, "{row}: {body}");
            }
            Codes(wanted) => assert_eq!(cases.codes(body).await, *wanted, "{row}: {body}"),
        }
    }
}

#[test]
fn every_row_about_mutations_is_here() {
    let mut rows: Vec<u32> = MUTATIONS.iter().map(|case| case.0).collect();
    rows.dedup();
    let expected: Vec<u32> = (64..=79).chain([81]).collect();
    assert_eq!(rows, expected);
}

/// Number of the row, schema, loads one after the other with what each is refused with, and then
/// the entities of `P` (or of `E`, where there are edges) by id with one of their properties.
struct Load {
    row: u32,
    schema: &'static str,
    loads: &'static [(LoadMode, &'static str, &'static [&'static str])],
    left: &'static str,
}

const P: &str = "node P { k: String @key  n: I64? }";
const TENANT: &str = "node P { tenant: String  slot: U32  @key(tenant, slot) }";
const EDGES: &str = "node P { k: String @key }\nedge E: P -> P";
use LoadMode::{Append, Merge, Overwrite};

const LOADS: &[Load] = &[
    Load {
        row: 17,
        schema: "node P { k: String @key  n: I32?  @range(n, ..5) }",
        loads: &[
            (Append, r#"{"type":"P","data":{"k":"a","n":6}}"#, &["R412"]),
            (Append, r#"{"type":"P","data":{"k":"b","n":5}}"#, &[]),
            (Append, r#"{"type":"P","data":{"k":"c","n":null}}"#, &[]),
        ],
        left: r#"{"b":5,"c":null}"#,
    },
    Load {
        row: 18,
        schema: r#"node P { k: String @key  n: I32?  @check(k, "[A-Z]") }"#,
        loads: &[
            (Append, r#"{"type":"P","data":{"k":"xAy"}}"#, &[]),
            (Append, r#"{"type":"P","data":{"k":"xay"}}"#, &["R413"]),
        ],
        left: r#"{"xAy":null}"#,
    },
    Load {
        row: 23,
        schema: TENANT,
        loads: &[(
            Append,
            r#"{"type":"P","data":{"tenant":"acme","slot":7}}"#,
            &[],
        )],
        left: r#"{"[\"7\",\"acme\"]":null}"#,
    },
    Load {
        row: 24,
        schema: "node P { k: Date @key }",
        loads: &[(Append, r#"{"type":"P","data":{"k":"2024-01-01"}}"#, &[])],
        left: r#"{"19723":null}"#,
    },
    Load {
        row: 24,
        schema: "node P { k: F64 @key }",
        loads: &[
            (Append, r#"{"type":"P","data":{"k":1.50}}"#, &[]),
            (Append, r#"{"type":"P","data":{"k":-0.0}}"#, &[]),
        ],
        left: r#"{"0":null,"1.5":null}"#,
    },
    Load {
        row: 24,
        schema: "node P { k: Bool @key }",
        loads: &[(Append, r#"{"type":"P","data":{"k":true}}"#, &[])],
        left: r#"{"true":null}"#,
    },
    Load {
        row: 25,
        schema: TENANT,
        loads: &[(
            Append,
            r#"{"type":"P","data":{"tenant":"acme","slot":7,"id":"7"}}"#,
            &["R416"],
        )],
        left: "{}",
    },
    Load {
        row: 26,
        schema: P,
        loads: &[(Append, r#"{"type":"P","data":{"k":"a","zz":1}}"#, &["R405"])],
        left: "{}",
    },
    Load {
        row: 27,
        schema: EDGES,
        loads: &[
            (Append, r#"{"type":"P","edge":"E"}"#, &["R402"]),
            (Append, r#"{"type":"P","data":null}"#, &["R402"]),
            (Append, r#"{"type":"P","type":"P"}"#, &["R403"]),
        ],
        left: "{}",
    },
    Load {
        row: 28,
        schema: "node P { k: String @key  n: I32? }",
        loads: &[
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":2147483648}}"#,
                &["R407"],
            ),
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":3.0}}"#,
                &["R406"],
            ),
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":"3"}}"#,
                &["R406"],
            ),
        ],
        left: "{}",
    },
    Load {
        row: 29,
        schema: "node P { k: String @key  n: Date? }",
        loads: &[
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":"2024-1-5"}}"#,
                &[],
            ),
            (
                Append,
                r#"{"type":"P","data":{"k":"b","n":"20240105"}}"#,
                &[],
            ),
            (Append, r#"{"type":"P","data":{"k":"c","n":19727}}"#, &[]),
            (
                Append,
                r#"{"type":"P","data":{"k":"d","n":"Jan 5"}}"#,
                &["R408"],
            ),
        ],
        left: r#"{"a":19727,"b":19727,"c":19727}"#,
    },
    Load {
        row: 30,
        schema: "node P { k: String @key  n: DateTime? }",
        loads: &[(
            Append,
            r#"{"type":"P","data":{"k":"a","n":"2024-01-01 02:00:00+02"}}"#,
            &[],
        )],
        left: r#"{"a":1704067200000}"#,
    },
    Load {
        row: 31,
        schema: "node P { k: String @key  n: Vector(2)? }",
        loads: &[
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":[1]}}"#,
                &["R409"],
            ),
            (
                Append,
                r#"{"type":"P","data":{"k":"a","n":[1,null]}}"#,
                &["R409"],
            ),
            (Append, r#"{"type":"P","data":{"k":"a","n":[1,2]}}"#, &[]),
        ],
        left: r#"{"a":[1.0,2.0]}"#,
    },
    Load {
        row: 32,
        schema: P,
        loads: &[
            (Append, r#"{"type":"P","data":{"k":"a","n":1}}"#, &[]),
            (Append, r#"{"type":"P","data":{"k":"a","n":2}}"#, &["R415"]),
            (Merge, r#"{"type":"P","data":{"k":"a","n":3}}"#, &[]),
        ],
        left: r#"{"a":3}"#,
    },
    Load {
        row: 33,
        schema: P,
        loads: &[(
            Merge,
            "{\"type\":\"P\",\"data\":{\"k\":\"a\"}}\n{\"type\":\"P\",\"data\":{\"k\":\"a\"}}",
            &["R415"],
        )],
        left: "{}",
    },
    Load {
        row: 34,
        schema: P,
        loads: &[
            (Append, r#"{"type":"P","data":{"k":"a","n":1}}"#, &[]),
            (Merge, r#"{"type":"P","data":{"k":"a"}}"#, &[]),
        ],
        left: r#"{"a":null}"#,
    },
    Load {
        row: 35,
        schema: EDGES,
        loads: &[
            (Append, TWO, &[]),
            (Append, A_TO_B, &[]),
            (Append, A_TO_B, &[]),
        ],
        left: "2",
    },
    Load {
        row: 36,
        schema: "node P { k: String @key }\nedge E: P -> P { @unique(src, dst) }",
        loads: &[
            (Append, TWO, &[]),
            (Append, A_TO_B, &[]),
            (Append, A_TO_B, &["R414"]),
        ],
        left: "1",
    },
    Load {
        row: 36,
        schema: "node P { k: String @key }\nedge E: P -> P { n: I64?  @key(src, dst) }",
        loads: &[
            (Merge, TWO, &[]),
            (Merge, A_TO_B, &[]),
            (Merge, A_TO_B, &[]),
        ],
        left: r#"{"[\"a\",\"b\"]":null}"#,
    },
    Load {
        row: 37,
        schema: EDGES,
        loads: &[
            (Append, TWO, &[]),
            (Append, r#"{"edge":"E","from":"a","to":"z"}"#, &["R417"]),
            (Append, A_TO_B, &[]),
            (Overwrite, r#"{"type":"P","data":{"k":"a"}}"#, &["R417"]),
        ],
        left: "1",
    },
    Load {
        row: 38,
        schema: "node P { k: String @key }\nedge E: P -> P @card(0..1)",
        loads: &[
            (Append, TWO, &[]),
            (
                Append,
                "{\"edge\":\"E\",\"from\":\"a\",\"to\":\"a\"}\n{\"edge\":\"E\",\"from\":\"a\",\"to\":\"b\"}",
                &["R418"],
            ),
        ],
        left: "0",
    },
    Load {
        row: 38,
        schema: "node P { k: String @key }\nedge E: P -> P @card(1..)",
        loads: &[(Append, TWO, &[])],
        left: "0",
    },
    Load {
        row: 40,
        schema: "node P { k: String @key  n: String? @unique }",
        loads: &[
            (Append, TWO, &[]),
            (Merge, r#"{"type":"P","data":{"k":"a","n":"m"}}"#, &[]),
            (Merge, r#"{"type":"P","data":{"k":"b","n":"m"}}"#, &["R414"]),
        ],
        left: r#"{"a":"m","b":null}"#,
    },
    Load {
        row: 41,
        schema: "node P { k: String @key  n: I64 @default(5) }",
        loads: &[
            (Append, r#"{"type":"P","data":{"k":"a"}}"#, &[]),
            (
                Append,
                r#"{"type":"P","data":{"k":"b","n":null}}"#,
                &["R410"],
            ),
        ],
        left: r#"{"a":5}"#,
    },
];

const TWO: &str =
    "{\"type\":\"P\",\"data\":{\"k\":\"a\"}}\n{\"type\":\"P\",\"data\":{\"k\":\"b\"}}";
const A_TO_B: &str = r#"{"edge":"E","from":"a","to":"b"}"#;

#[tokio::test]
async fn loads_give_what_the_contract_says() {
    let main = branch("main");
    for case in LOADS {
        let row = case.row;
        let graph = graph(case.schema).await;
        for (mode, text, wanted) in case.loads {
            let found = codes(load(&graph, *mode, text).await);
            assert_eq!(found, *wanted, "{row}: {text}");
        }
        let expected: Json = serde_json::from_str(case.left).unwrap();
        let found = if case.schema.contains("edge") && (expected.is_u64() || row == 36) {
            let edges = entities(&graph, &main, "E").await;
            match expected.is_u64() {
                true => json!(edges.len()),
                false => edges
                    .into_iter()
                    .map(|(id, e)| (id, e["data"]["n"].clone()))
                    .collect(),
            }
        } else {
            let nodes = entities(&graph, &main, "P").await;
            nodes
                .into_iter()
                .map(|(id, e)| (id, e["n"].clone()))
                .collect()
        };
        assert_eq!(found, expected, "{row}");
    }
}

/// Row 39 is a mutation.
#[tokio::test]
async fn the_last_edge_that_must_be_there_stays() {
    let graph = graph("node P { k: String @key }\nedge E: P -> P @card(1..)").await;
    load(&graph, Append, TWO).await.unwrap();
    load(&graph, Append, A_TO_B).await.unwrap();
    let source = r#"query q() { delete E where from = "a" }"#;
    let found = mutate(&graph, &branch("main"), source, Json::Null).await;
    assert_eq!(codes(found), ["R418"]);
}

#[test]
fn every_row_about_loads_is_here() {
    let mut rows: Vec<u32> = LOADS.iter().map(|case| case.row).chain([39]).collect();
    rows.sort_unstable();
    rows.dedup();
    let expected: Vec<u32> = [17, 18].into_iter().chain(23..=41).collect();
    assert_eq!(rows, expected);
}
