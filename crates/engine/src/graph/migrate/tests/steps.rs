//! Every step, on an empty type, on a type with rows that allow it, and on one with rows that do
//! not.

use serde_json::{Value as Json, json};

use super::*;

/// Both versions of the schema stand between these.
const REST: &str = "
node Tag { name: String @key }
edge Has: Item -> Tag { weight: I64? }
";

struct Case {
    name: &'static str,
    /// What `Item` has beside its key before and after; with more declarations after a `;`.
    before: &'static str,
    after: &'static str,
    /// Rows of `Item` beside their key that allow the change, and what becomes of them.
    good: &'static [(&'static str, &'static str)],
    /// Rows that do not, and the first finding.
    bad: &'static [&'static str],
    finding: &'static str,
    /// Written under the new schema afterwards.
    new: &'static str,
    /// No data file is written.
    metadata_only: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "add a nullable property",
        before: "n: I64?",
        after: "n: I64?  m: String?",
        good: &[(r#"{"n":1}"#, r#"{"n":1,"m":null}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":"x"}"#,
        metadata_only: true,
    },
    Case {
        name: "add a required property",
        before: "n: I64?",
        after: "n: I64?  m: String",
        good: &[],
        bad: &[r#"{"n":1}"#, r#"{"n":2}"#],
        finding: "M303 Item.m a new required property without a default: 2 of 2 entities would violate it",
        new: r#"{"n":2,"m":"x"}"#,
        metadata_only: true,
    },
    Case {
        name: "add a required property with a default",
        before: "n: I64?",
        after: "n: I64?  m: String @default(\"none\")  on: Date @default(\"2024-01-01\")  f: F32 @default(1.5)  b: Bool @default(true)  e: enum(x, y) @default(y)",
        good: &[(
            r#"{"n":1}"#,
            r#"{"n":1,"m":"none","on":19723,"f":1.5,"b":true,"e":"y"}"#,
        )],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":"x","on":1,"f":2.5,"b":false,"e":"x"}"#,
        metadata_only: false,
    },
    Case {
        name: "add a nullable property with a default",
        before: "n: I64?",
        after: "n: I64?  m: U64? @default(18446744073709551615)",
        good: &[(r#"{"n":1}"#, r#"{"n":1,"m":18446744073709551615}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":null}"#,
        metadata_only: false,
    },
    Case {
        name: "a default that the new rules refuse",
        before: "n: I64?",
        after: "n: I64?  m: I64 @default(7)  @range(m, ..5)",
        good: &[],
        bad: &[r#"{"n":1}"#],
        finding: "M307 Item.m @range of m: 1 of 1 entity would violate it",
        new: r#"{"n":2,"m":5}"#,
        metadata_only: true,
    },
    Case {
        name: "a unique default",
        before: "n: I64?",
        after: "n: I64?  m: I64 @default(7) @unique",
        good: &[(r#"{"n":1}"#, r#"{"n":1,"m":7}"#)],
        bad: &[r#"{"n":1}"#, r#"{"n":2}"#],
        finding: "M307 Item.m @unique(m): 1 of 2 entities would violate it",
        new: r#"{"n":2,"m":5}"#,
        metadata_only: false,
    },
    Case {
        name: "required",
        before: "n: I64?",
        after: "n: I64",
        good: &[(r#"{"n":1}"#, r#"{"n":1}"#)],
        bad: &[r#"{"n":1}"#, "{}", "{}"],
        finding: "M304 Item.n required I64: 2 of 3 entities would violate it",
        new: r#"{"n":2}"#,
        metadata_only: true,
    },
    Case {
        name: "required, with a default for the others",
        before: "n: I64?  m: String?",
        after: "n: I64 @default(0)  m: String @default(\"-\")",
        good: &[
            (r#"{"n":1}"#, r#"{"n":1,"m":"-"}"#),
            (r#"{"m":"x"}"#, r#"{"n":0,"m":"x"}"#),
        ],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":"y"}"#,
        metadata_only: false,
    },
    Case {
        name: "required, with a default that an old rule refuses",
        before: "n: I64?  @unique(n)",
        after: "n: I64 @default(1)  @unique(n)",
        good: &[(r#"{"n":3}"#, r#"{"n":3}"#), ("{}", r#"{"n":1}"#)],
        bad: &[r#"{"n":1}"#, "{}"],
        finding: "M307 Item.n @unique(n): 1 of 2 entities would violate it",
        new: r#"{"n":2}"#,
        metadata_only: false,
    },
    Case {
        name: "optional",
        before: "n: I64  v: Vector(2)",
        after: "n: I64?  v: Vector(2)?",
        good: &[(r#"{"n":1,"v":[1,2]}"#, r#"{"n":1,"v":[1.0,2.0]}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":null,"v":null}"#,
        metadata_only: true,
    },
    Case {
        name: "unique",
        before: "n: I64?",
        after: "n: I64? @unique",
        good: &[
            (r#"{"n":1}"#, r#"{"n":1}"#),
            ("{}", r#"{"n":null}"#),
            ("{}", r#"{"n":null}"#),
        ],
        bad: &[r#"{"n":1}"#, r#"{"n":1}"#, r#"{"n":1}"#, "{}"],
        finding: "M307 Item.n @unique(n): 2 of 4 entities would violate it",
        new: r#"{"n":2}"#,
        metadata_only: true,
    },
    Case {
        name: "unique over several",
        before: "n: I64?  m: String?",
        after: "n: I64?  m: String?  @unique(m, n)",
        good: &[
            (r#"{"n":1,"m":"a"}"#, r#"{"n":1,"m":"a"}"#),
            (r#"{"n":1,"m":"b"}"#, r#"{"n":1,"m":"b"}"#),
            (r#"{"n":1}"#, r#"{"n":1,"m":null}"#),
            (r#"{"n":1}"#, r#"{"n":1,"m":null}"#),
        ],
        bad: &[r#"{"n":1,"m":"a"}"#, r#"{"n":1,"m":"a"}"#],
        finding: "M307 Item @unique(m, n): 1 of 2 entities would violate it",
        new: r#"{"n":2,"m":"a"}"#,
        metadata_only: true,
    },
    Case {
        name: "no longer unique",
        before: "n: I64? @unique",
        after: "n: I64?",
        good: &[(r#"{"n":1}"#, r#"{"n":1}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":1}"#,
        metadata_only: true,
    },
    Case {
        name: "range",
        before: "n: I64?",
        after: "n: I64?  @range(n, 0..9)",
        good: &[(r#"{"n":9}"#, r#"{"n":9}"#), ("{}", r#"{"n":null}"#)],
        bad: &[r#"{"n":-1}"#, r#"{"n":10}"#, r#"{"n":5}"#],
        finding: "M307 Item.n @range of n: 2 of 3 entities would violate it",
        new: r#"{"n":2}"#,
        metadata_only: true,
    },
    Case {
        name: "another range",
        before: "n: F64?  @range(n, 0..9)",
        after: "n: F64?  @range(n, -1..8)",
        good: &[(r#"{"n":8}"#, r#"{"n":8.0}"#)],
        bad: &[r#"{"n":8.5}"#],
        finding: "M307 Item.n @range of n: 1 of 1 entity would violate it",
        new: r#"{"n":-1.0}"#,
        metadata_only: true,
    },
    Case {
        name: "check",
        before: "m: String?",
        after: "m: String?  @check(m, \"^[a-z]+$\")",
        good: &[(r#"{"m":"a"}"#, r#"{"m":"a"}"#), ("{}", r#"{"m":null}"#)],
        bad: &[r#"{"m":"A"}"#],
        finding: "M307 Item.m @check of m: 1 of 1 entity would violate it",
        new: r#"{"m":"b"}"#,
        metadata_only: true,
    },
    Case {
        name: "no range and no check any more",
        before: "n: I64?  m: String?  @range(n, 0..9)  @check(m, \"^[a-z]+$\")",
        after: "n: I64?  m: String?",
        good: &[(r#"{"n":1,"m":"a"}"#, r#"{"n":1,"m":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":10,"m":"A"}"#,
        metadata_only: true,
    },
    Case {
        name: "more enum values",
        before: "e: enum(a, b)",
        after: "e: enum(a, b, c)",
        good: &[(r#"{"e":"a"}"#, r#"{"e":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"e":"c"}"#,
        metadata_only: true,
    },
    Case {
        name: "index",
        before: "n: I64?  m: String?",
        after: "n: I64? @index  m: String? @index",
        good: &[(r#"{"n":1,"m":"a"}"#, r#"{"n":1,"m":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":"b"}"#,
        metadata_only: true,
    },
    Case {
        name: "no index",
        before: "n: I64? @index  m: String? @index",
        after: "n: I64?  m: String?",
        good: &[(r#"{"n":1,"m":"a"}"#, r#"{"n":1,"m":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":2,"m":"b"}"#,
        metadata_only: true,
    },
    Case {
        name: "rename a property",
        before: "n: I64? @index @unique  @range(n, 0..9)",
        after: "z: I64? @index @unique @rename_from(\"n\")  @range(z, 0..9)",
        good: &[(r#"{"n":1}"#, r#"{"z":1}"#)],
        bad: &[],
        finding: "",
        new: r#"{"z":2}"#,
        metadata_only: true,
    },
    Case {
        name: "drop a property with its rules",
        before: "n: I64? @index @unique  @range(n, 0..9)  m: String?",
        after: "m: String?",
        good: &[(r#"{"n":1,"m":"a"}"#, r#"{"m":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"m":"b"}"#,
        metadata_only: true,
    },
    Case {
        name: "descriptions and defaults",
        before: "n: I64?  m: String",
        after: "n: I64? @default(4) @description(\"a number\")  m: String @default(\"d\")",
        good: &[(r#"{"m":"a"}"#, r#"{"n":null,"m":"a"}"#)],
        bad: &[],
        finding: "",
        new: r#"{"n":null,"m":"d"}"#,
        metadata_only: true,
    },
    Case {
        name: "everything at once",
        before: "a: I64?  b: String?  c: [String]?  d: I64",
        after: "x: I64 @default(9) @rename_from(\"a\") @index  c: [String]?  d: I64? @unique  e: DateTime @default(\"2024-01-01T00:00:00Z\")  @range(x, 0..)",
        good: &[
            (
                r#"{"a":1,"b":"gone","c":["u"],"d":1}"#,
                r#"{"x":1,"c":["u"],"d":1,"e":1704067200000}"#,
            ),
            (r#"{"d":2}"#, r#"{"x":9,"c":null,"d":2,"e":1704067200000}"#),
        ],
        bad: &[r#"{"a":-1,"d":1}"#],
        finding: "M307 Item.x @range of x: 1 of 1 entity would violate it",
        new: r#"{"x":3,"c":[],"d":null,"e":5}"#,
        metadata_only: false,
    },
];

fn schema(item: &str) -> String {
    format!("node Item {{ k: String @key  {item} }}\n{REST}")
}

fn lines<'a>(rows: impl Iterator<Item = &'a str>) -> String {
    let mut text = "{\"type\":\"Tag\",\"data\":{\"name\":\"t\"}}\n".to_owned();
    for (at, row) in rows.enumerate() {
        let mut data: Json = serde_json::from_str(row).unwrap();
        data["k"] = format!("i{at}").into();
        text += &json!({"type": "Item", "data": data}).to_string();
        text += "\n";
        text += &json!({"edge": "Has", "from": format!("i{at}"), "to": "t"}).to_string();
        text += "\n";
    }
    text
}

fn keyed(at: usize, row: &str) -> (String, Json) {
    let mut data: Json = serde_json::from_str(row).unwrap();
    data["k"] = format!("i{at}").into();
    (format!("i{at}"), data)
}

#[tokio::test]
async fn every_step_on_an_empty_type() {
    for case in CASES {
        let f = fixture(&schema(case.before)).await;
        apply(&f.graph, &schema(case.after))
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        let text = lines(std::iter::once(case.new));
        load(&f.graph, "main", &text)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        let rows = exported(&f.graph, &on("main"), "Item").await;
        let expected = [keyed(0, case.new)].into_iter().collect();
        assert_eq!(rows, expected, "{}", case.name);
    }
}

#[tokio::test]
async fn every_step_on_rows_that_allow_it() {
    for case in CASES.iter().filter(|case| !case.good.is_empty()) {
        let f = fixture(&schema(case.before)).await;
        let graph = &f.graph;
        let name = case.name;
        load(graph, "main", &lines(case.good.iter().map(|row| row.0)))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        fork(graph, "old").await;
        let before = exported(graph, &on("main"), "Item").await;
        let files = data_files(graph, &on("main"), "Item").await;
        let edges = exported(graph, &on("main"), "Has").await;
        let parent = snapshot(graph, &on("main")).await.commit_id();

        apply(graph, &schema(case.after))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let expected: BTreeMap<String, Json> = case
            .good
            .iter()
            .enumerate()
            .map(|(at, row)| keyed(at, row.1))
            .collect();
        // Through Lance, through the executor with and without what it knew, and from elsewhere.
        assert_eq!(
            exported(graph, &on("main"), "Item").await,
            expected,
            "{name}"
        );
        assert_eq!(asked(graph, &expected).await, expected, "{name}");
        let other = f.elsewhere().await;
        assert_eq!(asked(&other, &expected).await, expected, "{name}");
        assert_eq!(exported(graph, &on("main"), "Has").await, edges, "{name}");
        let now = data_files(graph, &on("main"), "Item").await;
        if case.metadata_only {
            assert!(now.iter().all(|file| files.contains(file)), "{name}");
        } else {
            // New columns stand in files beside the old ones.
            assert!(now.iter().any(|file| files.contains(file)), "{name}");
        }

        // The time before and the other branch still have the old schema, and take writes.
        let then = Target::Commit(parent);
        assert_eq!(exported(graph, &then, "Item").await, before, "{name}");
        let text = lines(case.good.iter().map(|row| row.0));
        load(graph, "old", &text)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(exported(graph, &on("old"), "Item").await, before, "{name}");

        let mut more = expected.clone();
        let (_, mut new) = keyed(0, case.new);
        new["k"] = "new".into();
        let line = json!({"type": "Item", "data": new}).to_string();
        more.insert("new".to_owned(), new);
        if case.good.len() > 1 || !case.name.starts_with("no longer") {
            load(graph, "main", &line)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(exported(graph, &on("main"), "Item").await, more, "{name}");
            assert_eq!(asked(graph, &more).await, more, "{name}");
        }
    }
}

#[tokio::test]
async fn every_step_on_rows_that_forbid_it() {
    for case in CASES.iter().filter(|case| !case.bad.is_empty()) {
        let f = fixture(&schema(case.before)).await;
        let graph = &f.graph;
        load(graph, "main", &lines(case.bad.iter().copied()))
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        let before = graph.branch(&BranchName::main()).await.unwrap();
        let requests = f.store.requests();
        let error = apply(graph, &schema(case.after)).await.unwrap_err();
        // Nothing is written before the rows have been looked at.
        assert_eq!((f.store.requests() - requests).put, 0, "{}", case.name);
        let (found, total) = findings(&error);
        assert_eq!(error.kind(), crate::error::ErrorKind::Migration);
        assert_eq!(found[0], case.finding, "{}", case.name);
        assert!(total >= 1, "{}", case.name);
        let plan = graph
            .plan_schema(&snapshot(graph, &on("main")).await, &schema(case.after))
            .await
            .unwrap();
        assert!(!plan.plan.supported, "{}", case.name);
        let after = graph.branch(&BranchName::main()).await.unwrap();
        assert_eq!(before, after, "{}", case.name);
    }
}

/// The properties that the expected rows have, asked for in a query.
async fn asked(graph: &Graph, expected: &BTreeMap<String, Json>) -> BTreeMap<String, Json> {
    let names: Vec<&String> = expected
        .values()
        .next()
        .and_then(Json::as_object)
        .unwrap()
        .keys()
        .collect();
    let query = format!(
        "query all() {{ match {{ $i: Item }} return {{ {} }} }}",
        names
            .iter()
            .map(|name| format!("$i.{name} as {name}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let exact = ["on", "e"];
    ask(graph, &on("main"), &query)
        .await
        .iter()
        .map(|row| {
            let mut row: Json = serde_json::from_str(row).unwrap();
            let id = row["k"].as_str().unwrap().to_owned();
            // Dates are texts in results and numbers in exports.
            for name in exact {
                if row.get(name).is_some_and(Json::is_string) && expected[&id][name].is_i64() {
                    row[name] = expected[&id][name].clone();
                }
            }
            (id, row)
        })
        .collect()
}

#[tokio::test]
async fn types_come_and_go_and_are_renamed() {
    let f = fixture(&schema("n: I64?")).await;
    let graph = &f.graph;
    load(graph, "main", &lines([r#"{"n":1}"#].into_iter()))
        .await
        .unwrap();
    fork(graph, "old").await;
    let before = snapshot(graph, &on("main")).await;
    let files = data_files(graph, &on("main"), "Item").await;
    // Item is called Thing, Tag and its edge go, a new type and edge come.
    let desired = "node Thing @rename_from(\"Item\") { k: String @key  n: I64? }
        node Box { name: String @key }  edge In: Thing -> Box @card(0..1)";
    apply(graph, desired).await.unwrap();
    let rows = exported(graph, &on("main"), "Thing").await;
    assert_eq!(rows["i0"], json!({"k": "i0", "n": 1}));
    assert_eq!(data_files(graph, &on("main"), "Thing").await, files);
    let after = snapshot(graph, &on("main")).await;
    let id = |s: &Snapshot, name: &str| s.schema().catalog.node(name).map(|n| n.id);
    assert_eq!(id(&before, "Item"), id(&after, "Thing"));
    assert!(after.schema().catalog.node("Tag").is_none());
    load(
        graph,
        "main",
        "{\"type\":\"Box\",\"data\":{\"name\":\"b\"}}\n{\"edge\":\"In\",\"from\":\"i0\",\"to\":\"b\"}",
    )
    .await
    .unwrap();
    // What was dropped is there in the time before, and on the branch that still has it.
    let then = Target::Commit(before.commit_id());
    assert_eq!(exported(graph, &then, "Tag").await.len(), 1);
    assert_eq!(exported(graph, &then, "Has").await.len(), 1);
    load(graph, "old", "{\"type\":\"Tag\",\"data\":{\"name\":\"u\"}}")
        .await
        .unwrap();
    assert_eq!(exported(graph, &on("old"), "Tag").await.len(), 2);
    // A type of the same name is another one.
    let again = format!("{desired}\nnode Tag {{ name: String @key }}");
    apply(graph, &again).await.unwrap();
    assert!(exported(graph, &on("main"), "Tag").await.is_empty());
    assert_ne!(
        id(&snapshot(graph, &on("main")).await, "Tag"),
        id(&before, "Tag")
    );
}

#[tokio::test]
async fn cardinality_is_held_against_the_edges_that_exist() {
    let with =
        |card: &str| format!("node A {{ k: String @key }}  edge E: A -> A {card} {{ w: I64? }}");
    let f = fixture(&with("")).await;
    let graph = &f.graph;
    let mut text = String::new();
    for name in ["a", "b", "c"] {
        text += &json!({"type": "A", "data": {"k": name}}).to_string();
        text += "\n";
    }
    for (from, to) in [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c")] {
        text += &json!({"edge": "E", "from": from, "to": to}).to_string();
        text += "\n";
    }
    load(graph, "main", &text).await.unwrap();
    for (card, code) in [
        ("@card(0..2)", Some("`a`: has 3 edges of type E")),
        ("@card(2..)", Some("`b`: has 1 edge of type E")),
        // A source that never had an edge is not asked.
        ("@card(1..3)", None),
        ("@card(0..9)", None),
        ("", None),
    ] {
        let result = apply(graph, &with(card)).await;
        match code {
            None => assert!(result.is_ok(), "{card}: {result:?}"),
            Some(text) => {
                let (found, total) = findings(&result.unwrap_err());
                assert_eq!(total, 2, "{card}: {found:?}");
                assert!(found[0].starts_with("M307 E @card("), "{found:?}");
                assert!(found[1].ends_with(text), "{found:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_hundred_offenders_are_named_and_all_are_counted() {
    let f = fixture(&schema("n: I64?  m: I64?")).await;
    let rows = vec![r#"{"n":-1}"#; 130];
    load(&f.graph, "main", &lines(rows.into_iter()))
        .await
        .unwrap();
    let error = apply(&f.graph, &schema("n: I64? @unique  m: I64  @range(n, 0..)"))
        .await
        .unwrap_err();
    let (found, total) = findings(&error);
    // 130 without a value, 129 that repeat one, 130 below the range.
    assert_eq!(total, 389);
    assert_eq!(found.len(), 103, "{found:?}");
    assert_eq!(
        found[0],
        "M304 Item.m required I64: 130 of 130 entities would violate it"
    );
    assert_eq!(found[1], "M304 Item.m `i0`: has no value");
    assert_eq!(
        found[101],
        "M307 Item.n @unique(n): 129 of 130 entities would violate it"
    );
    assert_eq!(
        found[102],
        "M307 Item.n @range of n: 130 of 130 entities would violate it"
    );
}

#[tokio::test]
async fn what_an_interface_gains_its_implementers_gain() {
    let before = "interface Named { title: String }
        node A implements Named { k: String @key  title: String }
        node B implements Named { k: String @key  title: String }";
    let f = fixture(before).await;
    load(
        &f.graph,
        "main",
        "{\"type\":\"A\",\"data\":{\"k\":\"a\",\"title\":\"t\"}}",
    )
    .await
    .unwrap();
    let after = before.replace(
        "{ title: String }\n",
        "{ title: String  lang: String @default(\"en\") @index }\n",
    );
    apply(&f.graph, &after).await.unwrap();
    let rows = exported(&f.graph, &on("main"), "A").await;
    assert_eq!(rows["a"], json!({"k": "a", "title": "t", "lang": "en"}));
    let required = before.replace("{ title: String }\n", "{ title: String  x: String }\n");
    let error = apply(&f.graph, &required).await.unwrap_err();
    let (found, _) = findings(&error);
    assert!(found[0].starts_with("M303 A.x"), "{found:?}");
}
