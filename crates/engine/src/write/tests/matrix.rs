//! Every constraint on every path: mutations and loads in each mode, with keys in memory and in
//! sorted runs.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{branch, entities, graph, mutate};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{BranchName, Graph};
use crate::write::{LoadMode, LoadOptions, LoadOutcome};

const MODES: [LoadMode; 3] = [LoadMode::Append, LoadMode::Merge, LoadMode::Overwrite];
/// With no memory for keys, each piece of the input becomes a run of its own.
const MEMORIES: [Option<u64>; 2] = [None, Some(0)];

const SCHEMA: &str = r#"
node P { k: String @key  email: String? @unique  a: I64?  b: String?  n: I32?  code: String?
         kind: enum(x, y)?  must: I64 @default(1)
         @unique(a, b)  @range(n, 1..5)  @check(code, "^[A-Z]+$") }
node Q { k: String @key }
node N { t: String?  u: I64? @unique }
edge Any: P -> P { w: I64? }
edge Once: P -> Q @card(0..1) { @key(src, dst) }
edge Some: Q -> P @card(1..2)
edge Pair: N -> N { @unique(src, dst) }
"#;

fn p(k: &str, rest: &str) -> String {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!(",{rest}")
    };
    format!(r#"{{"type":"P","data":{{"k":"{k}"{rest}}}}}"#)
}

fn q(k: &str) -> String {
    format!(r#"{{"type":"Q","data":{{"k":"{k}"}}}}"#)
}

fn n(id: &str, rest: &str) -> String {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!(",{rest}")
    };
    format!(r#"{{"type":"N","data":{{"id":"{id}"{rest}}}}}"#)
}

fn e(name: &str, from: &str, to: &str) -> String {
    format!(r#"{{"edge":"{name}","from":"{from}","to":"{to}"}}"#)
}

fn with_id(name: &str, id: &str, from: &str, to: &str) -> String {
    format!(r#"{{"edge":"{name}","from":"{from}","to":"{to}","data":{{"id":"{id}"}}}}"#)
}

async fn load(
    graph: &Graph,
    mode: LoadMode,
    memory: Option<u64>,
    text: &str,
) -> Result<LoadOutcome> {
    let options = LoadOptions {
        mode,
        memory,
        ..LoadOptions::default()
    };
    let mut session = graph.load(&BranchName::main(), options).await?;
    session
        .push(Bytes::copy_from_slice(text.as_bytes()))
        .await?;
    session.finish().await
}

/// What was wrong: lines and codes.
fn found(error: &Error) -> Vec<(u64, &str)> {
    let found = error.detail().diagnostics.iter();
    let mut found: Vec<_> = found
        .map(|d| (d.line.unwrap_or(0), d.code.as_str()))
        .collect();
    // What is wrong with one line has no order that matters.
    found.sort_by_key(|(line, code)| (if *line == 0 { u64::MAX } else { *line }, *code));
    found
}

/// Lines with so much white space after every second one that they are several pieces.
fn spread(lines: &[String]) -> String {
    let blank = " ".repeat(20 << 10);
    let lines = lines.iter().enumerate();
    lines
        .map(|(at, line)| match at % 2 {
            0 => format!("{line}\n"),
            _ => format!("{line}{blank}\n"),
        })
        .collect()
}

async fn state(graph: &Graph) -> Json {
    let mut all = serde_json::Map::new();
    for name in ["P", "Q", "N", "Any", "Once", "Some", "Pair"] {
        let found = entities(graph, &BranchName::main(), name).await;
        let mut rows: Vec<Json> = found
            .into_values()
            .map(|mut row| {
                // Ids that were made up are different in each load.
                if name != "N"
                    && let Some(data) = row.get_mut("data").and_then(Json::as_object_mut)
                    && data
                        .get("id")
                        .and_then(Json::as_str)
                        .is_some_and(|id| id.len() == 26)
                {
                    data.remove("id");
                }
                row
            })
            .collect();
        rows.sort_by_key(ToString::to_string);
        all.insert(name.to_owned(), Json::Array(rows));
    }
    Json::Object(all)
}

struct Case {
    name: &'static str,
    before: Vec<String>,
    lines: Vec<String>,
    /// By mode: append, merge, overwrite.
    expected: [&'static [(u64, &'static str)]; 3],
}

fn same(
    name: &'static str,
    before: Vec<String>,
    lines: Vec<String>,
    expected: &'static [(u64, &'static str)],
) -> Case {
    Case {
        name,
        before,
        lines,
        expected: [expected; 3],
    }
}

#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn cases() -> Vec<Case> {
    let ab = || vec![p("a", ""), p("b", ""), q("q")];
    let own = |rest: &str| vec![p("a", rest)];
    vec![
        same(
            "a value of each kind",
            vec![],
            vec![p("a", r#""email":"m","n":5,"code":"AB","kind":"y""#)],
            &[],
        ),
        same("range", vec![], own(r#""n":6"#), &[(1, "R412")]),
        same("check", vec![], own(r#""code":"ab""#), &[(1, "R413")]),
        same("enum", vec![], own(r#""kind":"z""#), &[(1, "R411")]),
        same("required", vec![], own(r#""must":null"#), &[(1, "R410")]),
        same(
            "key twice",
            vec![],
            vec![
                p("a", ""),
                q("q"),
                p("b", ""),
                p("a", ""),
                p("b", ""),
                p("a", ""),
            ],
            &[(4, "R415"), (5, "R415"), (6, "R415")],
        ),
        Case {
            name: "key exists",
            before: ab(),
            lines: vec![p("c", ""), p("b", "")],
            expected: [&[(2, "R415")], &[], &[]],
        },
        same(
            "unique in the file",
            vec![],
            vec![
                p("a", r#""email":"m""#),
                p("b", ""),
                p("c", r#""email":"m""#),
                p("d", r#""email":null"#),
                p("e", r#""email":"m""#),
            ],
            &[(3, "R414"), (5, "R414")],
        ),
        Case {
            name: "unique in the graph",
            before: vec![p("a", r#""email":"m""#)],
            lines: vec![p("b", ""), p("c", r#""email":"m""#)],
            expected: [&[(2, "R414")], &[(2, "R414")], &[]],
        },
        Case {
            name: "unique freed",
            before: vec![p("a", r#""email":"m""#), p("b", r#""email":"o""#)],
            lines: vec![p("a", r#""email":"o""#), p("b", r#""email":"m""#)],
            expected: [
                &[(1, "R414"), (1, "R415"), (2, "R414"), (2, "R415")],
                &[],
                &[],
            ],
        },
        same(
            "composite",
            vec![],
            vec![
                p("a", r#""a":1,"b":"x""#),
                p("b", r#""a":1,"b":"y""#),
                p("c", r#""a":1"#),
                p("d", r#""a":1"#),
                p("e", r#""b":"x","a":1"#),
            ],
            &[(5, "R414")],
        ),
        Case {
            name: "composite in the graph",
            before: vec![p("a", r#""a":1,"b":"x""#)],
            lines: vec![p("b", r#""a":1,"b":"x""#)],
            expected: [&[(1, "R414")], &[(1, "R414")], &[]],
        },
        same(
            "ends",
            ab(),
            vec![
                e("Any", "a", "b"),
                e("Any", "a", "x"),
                e("Any", "y", "b"),
                e("Any", "q", "q"),
            ],
            &[(2, "R417"), (3, "R417"), (4, "R417"), (4, "R417")],
        ),
        same(
            "ends in the file",
            vec![],
            vec![
                e("Any", "a", "b"),
                p("b", ""),
                e("Any", "b", "c"),
                p("a", ""),
            ],
            &[(3, "R417")],
        ),
        same(
            "keyed edge twice",
            ab(),
            vec![e("Once", "a", "q"), e("Any", "a", "a"), e("Once", "a", "q")],
            &[(3, "R415"), (3, "R418")],
        ),
        same(
            "card in the file",
            ab(),
            vec![
                q("r"),
                q("q2"),
                p("z", ""),
                e("Once", "z", "q2"),
                e("Some", "q2", "z"),
                e("Once", "z", "r"),
                e("Some", "r", "z"),
            ],
            &[(6, "R418")],
        ),
        Case {
            name: "card in the graph",
            before: [ab(), vec![q("r"), e("Once", "a", "q")]].concat(),
            lines: vec![e("Once", "b", "q"), e("Once", "a", "r")],
            expected: [&[(2, "R418")], &[(2, "R418")], &[]],
        },
        Case {
            name: "card below",
            before: [
                ab(),
                vec![with_id("Some", "s", "q", "a")],
                vec![q("r"), with_id("Some", "t", "r", "a")],
            ]
            .concat(),
            lines: vec![with_id("Some", "s", "r", "a")],
            expected: [&[(1, "R415")], &[(0, "R418")], &[(0, "R418")]],
        },
        Case {
            name: "left behind",
            before: [ab(), vec![e("Any", "a", "b")]].concat(),
            lines: vec![p("a", "")],
            expected: [&[(1, "R415")], &[], &[(0, "R417")]],
        },
        Case {
            name: "last wins",
            before: vec![n("x", r#""u":1"#)],
            lines: vec![
                n("y", r#""u":2"#),
                n("z", ""),
                n("y", r#""u":3"#),
                n("w", r#""u":2"#),
                with_id("Pair", "e", "y", "nowhere"),
                with_id("Pair", "e", "y", "z"),
            ],
            expected: [
                &[(3, "R415"), (4, "R414"), (5, "R417"), (6, "R415")],
                &[],
                &[(3, "R415"), (4, "R414"), (5, "R417"), (6, "R415")],
            ],
        },
        Case {
            name: "last wins, and is wrong",
            before: vec![n("x", r#""u":1"#)],
            lines: vec![n("y", r#""u":2"#), n("y", r#""u":1"#)],
            expected: [&[(2, "R414"), (2, "R415")], &[(2, "R414")], &[(2, "R415")]],
        },
        same(
            "unique ends",
            vec![],
            vec![
                n("x", ""),
                n("y", ""),
                e("Pair", "x", "y"),
                e("Pair", "y", "x"),
                e("Pair", "x", "y"),
            ],
            &[(5, "R414")],
        ),
    ]
}

#[tokio::test]
async fn loads_keep_every_constraint_in_every_mode() {
    for case in cases() {
        for (mode, expected) in MODES.into_iter().zip(case.expected) {
            let mut states = Vec::new();
            for memory in MEMORIES {
                let graph = graph(SCHEMA).await;
                if !case.before.is_empty() {
                    let before = spread(&case.before);
                    load(&graph, LoadMode::Append, memory, &before)
                        .await
                        .unwrap();
                }
                let before = state(&graph).await;
                let outcome = load(&graph, mode, memory, &spread(&case.lines)).await;
                let what = format!("{} {mode:?} {memory:?}", case.name);
                match outcome {
                    Ok(outcome) => {
                        assert!(expected.is_empty(), "{what} went through");
                        assert_eq!(outcome.spilled_bytes > 0, memory.is_some(), "{what}");
                    }
                    Err(error) => {
                        assert_eq!(found(&error), expected, "{what}: {error:?}");
                        assert_eq!(error.detail().diagnostics_total, expected.len());
                        assert_eq!(state(&graph).await, before, "{what}");
                    }
                }
                states.push(state(&graph).await);
            }
            assert_eq!(states[0], states[1], "{} {mode:?}", case.name);
        }
    }
}

#[tokio::test]
async fn an_id_that_exists_is_a_key_conflict_only_by_itself() {
    for memory in MEMORIES {
        let graph = graph(SCHEMA).await;
        load(&graph, LoadMode::Append, memory, &p("a", ""))
            .await
            .unwrap();
        let error = load(&graph, LoadMode::Append, memory, &p("a", ""))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyConflict);
        let both = [p("a", ""), e("Any", "a", "b")].join("\n");
        let error = load(&graph, LoadMode::Append, memory, &both)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LoadInvalid);
    }
}

#[tokio::test]
async fn the_first_hundred_are_listed_and_all_are_counted() {
    let lines: Vec<String> = (0..400)
        .map(|i| match i % 4 {
            0 => p("same", ""),
            1 => e("Any", "same", &format!("nobody{i}")),
            2 => p(&format!("p{i}"), r#""email":"m""#),
            _ => q(&format!("q{i}")),
        })
        .collect();
    let mut reports = Vec::new();
    for memory in MEMORIES {
        let graph = graph(SCHEMA).await;
        let error = load(&graph, LoadMode::Append, memory, &spread(&lines))
            .await
            .unwrap_err();
        assert_eq!(
            error.detail().diagnostics_total,
            99 + 100 + 99,
            "{memory:?}"
        );
        assert_eq!(error.detail().diagnostics.len(), 100);
        assert!(
            error.message().ends_with("(and 297 more)"),
            "{}",
            error.message()
        );
        reports.push(
            found(&error)
                .iter()
                .map(|(l, c)| (*l, (*c).to_owned()))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(reports[0], reports[1]);
    assert!(reports[0].is_sorted());
}

#[tokio::test]
async fn mutations_keep_every_constraint() {
    for (what, source, expected) in [
        (
            "range",
            r#"query q() { insert P { k: "z", n: 6 } }"#,
            &["R412"][..],
        ),
        (
            "range by update",
            r#"query q() { update P set { n: 0 } where k = "a" }"#,
            &["R412"],
        ),
        (
            "check",
            r#"query q() { insert P { k: "z", code: "ab" } }"#,
            &["R413"],
        ),
        (
            "enum",
            r#"query q($x: String) { insert P { k: "z", kind: $x } }"#,
            &["R411"],
        ),
        (
            "required",
            r#"query q($n: I64?) { insert P { k: "z", must: $n } }"#,
            &["R410"],
        ),
        (
            "unique",
            r#"query q() { insert P { k: "z", email: "m" } }"#,
            &["R414"],
        ),
        (
            "unique by update",
            r#"query q() { update P set { email: "m" } where k = "b" }"#,
            &["R414"],
        ),
        (
            "composite",
            r#"query q() { insert P { k: "z", a: 1, b: "x" } }"#,
            &["R414"],
        ),
        (
            "end",
            r#"query q() { insert Any { from: "a", to: "z" } }"#,
            &["R417"],
        ),
        (
            "card above",
            r#"query q() { insert Once { from: "a", to: "r" } }"#,
            &["R418"],
        ),
        (
            "card below",
            r#"query q() { delete Some where from = "q" }"#,
            &["R418"],
        ),
        (
            "card below by cascade",
            r#"query q() { delete P where k = "b" }"#,
            &["R418"],
        ),
        (
            "key moved",
            r#"query q() { insert P { k: "z", email: "o" }  update P set { email: "o" } where k = "b" }"#,
            &["R414"],
        ),
    ] {
        let graph = mutated().await;
        let before = state(&graph).await;
        let params = json!({"x": "w", "n": null});
        let params = match what {
            "enum" => json!({"x": params["x"]}),
            "required" => json!({"n": null}),
            _ => json!({}),
        };
        let outcome = mutate(&graph, &BranchName::main(), source, params).await;
        let error = outcome.expect_err(what);
        let codes: Vec<_> = error
            .detail()
            .diagnostics
            .iter()
            .map(|d| d.code.as_str())
            .collect();
        assert_eq!(codes, expected, "{what}: {error:?}");
        assert_eq!(state(&graph).await, before, "{what}");
    }
    for source in [
        r#"query q() { insert P { k: "z", n: 1, code: "A", kind: "x", email: "new", a: 1, b: "y" } }"#,
        r#"query q() { update P set { email: "o" } where k = "a"  insert P { k: "z", email: "m" } }"#,
        r#"query q() { delete Once where from = "a"  insert Once { from: "a", to: "r" } }"#,
        r#"query q() { insert Some { from: "q", to: "a" } }"#,
        r#"query q() { delete Q where k = "q" }"#,
    ] {
        let graph = mutated().await;
        let outcome = mutate(&graph, &BranchName::main(), source, json!({})).await;
        assert!(outcome.is_ok(), "{source}: {outcome:?}");
    }
}

async fn mutated() -> Graph {
    let graph = graph(SCHEMA).await;
    let lines = [
        p("a", r#""email":"m","a":1,"b":"x""#),
        p("b", ""),
        q("q"),
        q("r"),
        e("Once", "a", "q"),
        e("Some", "q", "b"),
        e("Any", "a", "a"),
        e("Any", "b", "a"),
    ];
    load(&graph, LoadMode::Append, None, &lines.join("\n"))
        .await
        .unwrap();
    graph
}

#[tokio::test]
async fn deleting_a_node_takes_its_edges_of_every_type() {
    let graph = mutated().await;
    let source = r#"query q() { delete P where k = "a" }"#;
    let outcome = mutate(&graph, &BranchName::main(), source, json!({}))
        .await
        .unwrap();
    // Once a → q, Any a → a, Any b → a.
    assert_eq!((outcome.affected_nodes, outcome.affected_edges), (1, 3));
    let after = state(&graph).await;
    assert_eq!(after["Any"], json!([]));
    assert_eq!(after["Once"], json!([]));
    assert_eq!(after["Some"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_load_leaves_few_files_and_no_branch() {
    let graph = graph(SCHEMA).await;
    let count = || async {
        use futures::TryStreamExt;
        let store = graph.store().object_store();
        let files: Vec<_> = store.list(None).try_collect().await.unwrap();
        files
            .iter()
            .filter(|file| file.location.as_ref().ends_with(".lance"))
            .count()
    };
    let before = count().await;
    for memory in MEMORIES {
        for lines in [
            vec![p("a", ""), p("a", "")],
            vec![p("a", ""), e("Any", "a", "b")],
            vec![p("a", ""), "{}".to_owned()],
        ] {
            let options = LoadOptions {
                from: Some(BranchName::main()),
                memory,
                ..LoadOptions::default()
            };
            let mut session = graph.load(&branch("new"), options).await.unwrap();
            session.push(Bytes::from(spread(&lines))).await.unwrap();
            assert_eq!(
                session.finish().await.unwrap_err().kind(),
                ErrorKind::LoadInvalid
            );
            assert!(graph.branch(&branch("new")).await.is_err());
            assert_eq!(count().await, before, "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_load_much_larger_than_its_memory_keeps_to_it() {
    const MEMORY: u64 = 4 << 20;
    let graph =
        graph("node P { k: String @key  u: String @unique } edge E: P -> P @card(0..2)").await;
    let id = |i: usize| format!("{i:0150}");
    let options = LoadOptions {
        mode: LoadMode::Append,
        memory: Some(MEMORY),
        ..LoadOptions::default()
    };
    let mut session = graph.load(&BranchName::main(), options).await.unwrap();
    let mut sent = 0;
    const COUNT: usize = 40_000;
    for start in (0..COUNT).step_by(1000) {
        let mut text = String::new();
        for i in start..start + 1000 {
            text += &e("E", &id(i), &id((i * 7 + 1) % COUNT));
            text.push('\n');
            text += &format!(r#"{{"type":"P","data":{{"k":"{}","u":"{i}"}}}}"#, id(i));
            text.push('\n');
        }
        sent += text.len() as u64;
        session.push(Bytes::from(text)).await.unwrap();
    }
    assert!(sent > 4 * MEMORY, "{sent}");
    let outcome = session.finish().await.unwrap();
    assert_eq!(outcome.total, 2 * COUNT as u64);
    assert!(
        outcome.spilled_bytes > 2 * MEMORY,
        "{}",
        outcome.spilled_bytes
    );
    assert!(outcome.memory_peak <= MEMORY, "{}", outcome.memory_peak);
    // The same again: every id exists; and with one end that does not.
    let text: String = (0..COUNT)
        .step_by(2)
        .map(|i| {
            format!(
                "{{\"type\":\"P\",\"data\":{{\"k\":\"{}\",\"u\":\"{}\"}}}}\n",
                id(i),
                i + 1
            )
        })
        .collect();
    let error = load(&graph, LoadMode::Merge, Some(MEMORY), &text)
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics_total, COUNT / 2);
    assert!(found(&error).iter().all(|(_, code)| *code == "R414"));
    let error = load(&graph, LoadMode::Append, Some(MEMORY), &text)
        .await
        .unwrap_err();
    assert_eq!(error.detail().diagnostics_total, COUNT);
}

/// A line over few names, so that much collides.
fn any_line() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let small = || prop::option::of(0_i64..4);
    prop_oneof![
        (name(), small(), small()).prop_map(|(k, a, b)| {
            let email = a.map_or("null".to_owned(), |a| format!("\"m{a}\""));
            let b = b.map_or("null".to_owned(), |b| format!("\"{b}\""));
            p(k, &format!(r#""email":{email},"a":1,"b":{b}"#))
        }),
        name().prop_map(q),
        (name(), small()).prop_map(|(id, u)| n(id, &format!(r#""u":{}"#, json!(u)))),
        (name(), name()).prop_map(|(from, to)| e("Any", from, to)),
        (name(), name(), name()).prop_map(|(id, from, to)| with_id("Any", id, from, to)),
        (name(), name()).prop_map(|(from, to)| e("Once", from, to)),
        (name(), name(), name()).prop_map(|(id, from, to)| with_id("Some", id, from, to)),
        (name(), name(), name()).prop_map(|(id, from, to)| with_id("Pair", id, from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Both ways to check find the same, and leave the same behind.
    #[test]
    fn sorted_runs_find_what_memory_finds(
        loads in prop::collection::vec(
            (prop::sample::select(MODES.to_vec()), prop::collection::vec(any_line(), 1..14)),
            1..5,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let graphs = [graph(SCHEMA).await, graph(SCHEMA).await];
            // Something to build on: most random loads are refused.
            let first: Vec<String> = ["a", "b", "c"].iter()
                .flat_map(|k| [p(k, ""), q(k), n(k, "")])
                .collect();
            for (graph, memory) in graphs.iter().zip(MEMORIES) {
                load(graph, LoadMode::Append, memory, &spread(&first)).await.unwrap();
            }
            for (mode, lines) in &loads {
                let mut reports = Vec::new();
                for (graph, memory) in graphs.iter().zip(MEMORIES) {
                    let outcome = load(graph, *mode, memory, &spread(lines)).await;
                    reports.push(match outcome {
                        Ok(outcome) => {
                            let touched = outcome.commit.map(|commit| commit.touched);
                            format!("{:?} {:?} {touched:?}", outcome.nodes, outcome.edges)
                        }
                        Err(error) => {
                            let found = error.detail().diagnostics.iter();
                            let mut found: Vec<_> =
                                found.map(|d| format!("{:?} {d}", d.line)).collect();
                            found.sort();
                            format!("{:?} {found:#?}", error.kind())
                        }
                    });
                }
                assert_eq!(reports[0], reports[1], "{mode:?} {lines:#?}");
                assert_eq!(state(&graphs[0]).await, state(&graphs[1]).await);
            }
        });
    }
}
