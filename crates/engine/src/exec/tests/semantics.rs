//! What `docs/reference/semantics.md` says, line by line.

use serde_json::{Value as Json, json};

use super::fixture::Fixture;

const SCHEMA: &str = "
interface Named { title: String? }
node N implements Named { k: String @key  i: I64?  u: U64?  f: F64?  s: F32?  t: String?  d: Date?  at: DateTime?  l: [I64]?  v: Vector(2)? }
node M implements Named { k: String @key }
edge E: N -> N { w: I64? }
edge F: N -> M
";

async fn graph() -> Fixture {
    let mut graph = Fixture::new(SCHEMA).await;
    let node = |k: &str, rest: Json| {
        let mut row = json!({"id": k, "k": k});
        let (row_members, rest) = (row.as_object_mut().unwrap(), rest);
        row_members.extend(rest.as_object().unwrap().clone());
        row
    };
    graph
        .insert(
            "N",
            &[
                node("a", json!({"i": 9_007_199_254_740_993_i64, "u": u64::MAX, "f": 1.005, "s": 0.1, "t": "é", "title": "x",
                    "d": "2024-02-29", "at": "2024-03-01T00:30:00+01:00", "l": [1, 2], "v": [1, 0]})),
                node("b", json!({"i": i64::MIN, "u": 0, "f": -0.0, "s": 0.5, "t": "e\u{301}", "title": "x"})),
                node("c", json!({"i": 0, "f": 0.0, "t": "Z", "v": [1, 0]})),
                node("d", json!({"t": "aß İ"})),
            ],
        )
        .await;
    graph
        .insert("M", &[json!({"id": "a", "k": "a", "title": "x"})])
        .await;
    let edge = |id: &str, src: &str, dst: &str| json!({"id": id, "src": src, "dst": dst});
    graph
        .insert(
            "E",
            &[
                edge("e1", "a", "b"),
                edge("e2", "a", "b"),
                edge("e3", "b", "a"),
                edge("e4", "c", "c"),
                edge("e5", "b", "c"),
            ],
        )
        .await;
    graph.insert("F", &[edge("f1", "a", "a")]).await;
    graph
}

/// What stands between the braces of a query, and its rows.
const CASES: &[(&str, &str)] = &[
    // Numbers.
    (
        r#"match { $n: N { k: "a" } } return { $n.i, $n.u, $n.i + 1 }"#,
        "[[9007199254740993,18446744073709551615,9007199254740994]]",
    ),
    (
        "match { $n: N  $n.i = 9007199254740992.0 } return { $n.k }",
        "[]",
    ),
    (
        "match { $n: N  $n.u > 18446744073709551614 } return { $n.k }",
        r#"[["a"]]"#,
    ),
    (
        r#"match { $n: N { k: "b" } } return { $n.i - 1 }"#,
        r#""R440""#,
    ),
    (
        r#"match { $n: N { k: "b" } } return { -$n.i }"#,
        r#""R440""#,
    ),
    (
        r#"match { $n: N { k: "b" } } return { abs($n.i) }"#,
        r#""R440""#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { $n.u + $n.u }"#,
        r#""R440""#,
    ),
    (r#"match { $n: N { k: "a" } } return { $n.u * 0 }"#, "[[0]]"),
    (
        r#"match { $n: N { k: "a" } } return { coalesce($n.u, $n.i) }"#,
        r#""R440""#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { [$n.u, $n.i] }"#,
        r#""R440""#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { -7 / 2, -7 % 2, 7 % -2 }"#,
        "[[-3,-1,1]]",
    ),
    (
        r#"match { $n: N { k: "a" } } return { 1 / 0.0 as i, 0.0 / 0.0 as n, -1 / 0.0 as m }"#,
        r#"[["Infinity","NaN","-Infinity"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { 0 / 0.0 = 0 / 0.0, 0 / 0.0 > 1 / 0.0, 0 / 0.0 in [1.0, 0 / 0.0] }"#,
        "[[true,true,true]]",
    ),
    (
        "match { $n: N } return { count(distinct $n.f / 0.0) as n }",
        // Infinity, and NaN of both zeros.
        "[[2]]",
    ),
    (
        "match { $n: N  $n.f = 0 } return { $n.k } order { $n.k }",
        r#"[["b"],["c"]]"#,
    ),
    (
        "match { $n: N } return { count(distinct $n.f) as n }",
        "[[2]]",
    ),
    ("match { $n: N  $n.s = 0.1 } return { $n.k }", r#"[["a"]]"#),
    ("match { $n: N  $n.s = $n.f } return { $n.k }", "[]"),
    (
        r#"match { $n: N { k: "a" } } return { round($n.f, 2), round(-2.5), round(1250, -2), round($n.s, 0), round(0.05, 1), round(99.95, 1) }"#,
        "[[1.01,-3.0,1300,0.0,0.1,100.0]]",
    ),
    (
        "match { $n: N  $n.k != \"a\" } return { sum($n.i) as s, avg($n.i) as a }",
        "[[-9.223372036854775808e18,-4.611686018427387904e18]]",
    ),
    // Null.
    (
        "match { $n: N  $n.i != 0 } return { $n.k } order { $n.k }",
        r#"[["a"],["b"]]"#,
    ),
    (
        "match { $n: N  not ($n.i = 0) } return { $n.k } order { $n.k }",
        r#"[["a"],["b"]]"#,
    ),
    (
        "match { $n: N  $n.i != 0 and 10 / $n.i = 0 } return { $n.k } order { $n.k }",
        r#"[["a"],["b"]]"#,
    ),
    (
        "match { $n: N  ($n.i is null or $n.i = 0 or 10 / $n.i = 0) } return { count(*) as n }",
        "[[4]]",
    ),
    (
        "match { $n: N  (10 / $n.i = 0 or $n.i = 0) } return { $n.k }",
        r#""R441""#,
    ),
    (
        r#"match { $n: N { k: "c" } } return { coalesce(1, 10 / $n.i) }"#,
        "[[1]]",
    ),
    (
        r#"match { $n: N { k: "d" } } return { 1 in [1, null] as a, 2 in [1, null] as b, $n.i in [1] as c, 2 in [1] as d }"#,
        "[[true,null,null,false]]",
    ),
    (
        "match { $n: N } return { $n.k } order { $n.i }",
        r#"[["d"],["b"],["c"],["a"]]"#,
    ),
    (
        "match { $n: N } return { $n.k } order { $n.i desc }",
        r#"[["a"],["c"],["b"],["d"]]"#,
    ),
    (
        "match { $n: N } return { $n.d, count(*) as n } order { n }",
        r#"[["2024-02-29",1],[null,3]]"#,
    ),
    (
        "match { $n: N } return distinct { $n.d as d } order { d }",
        r#"[[null],["2024-02-29"]]"#,
    ),
    (
        r#"match { $n: N { k: "nobody" } } return { count($n) as a, sum($n.i) as b, collect($n.i) as c, min($n.t) as d, count(*) as e }"#,
        "[[0,null,[],null,0]]",
    ),
    (
        r#"match { $n: N { k: "nobody" } } return { $n.t, count(*) as e }"#,
        "[]",
    ),
    (
        "match { $n: N  not search($n.title, \"x\") } return { $n.k } order { $n.k }",
        r#"[["c"],["d"]]"#,
    ),
    (
        "match { $n: N } return { bm25($n.title, \"x\") > 0 as hit, count(*) as n } order { hit }",
        "[[false,2],[true,2]]",
    ),
    (
        "match { $n: N } return { nearest($n.v, [0.0, 0.0]) as far } order { far desc } limit 4",
        // As a rank key it would drop what has no vector.
        "[[1.0],[1.0]]",
    ),
    // Rows.
    (
        "match { $n: N  $m: M } return { $m.k } order { $m.k }",
        r#"[["a"],["a"],["a"],["a"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $n e $m } return { $m.k }"#,
        r#"[["b"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $n $w:e $m } return { id($w) as w } order { w }"#,
        r#"[["e1"],["e2"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $n <e> $m } return { $m.k }"#,
        r#"[["b"]]"#,
    ),
    ("match { $n e $n } return { $n.k }", r#"[["c"]]"#),
    (
        r#"match { $n: N { k: "c" }  $n $w:<e> $m } return { id($w) as w, $m.k } order { w }"#,
        r#"[["e4","c"],["e5","b"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $n e{1,9} $m } return { $m.k } order { $m.k }"#,
        r#"[["b"],["c"]]"#,
    ),
    (
        r#"match { $n: N { k: "c" }  $n e{1,9} $m } return { $m.k }"#,
        r#"[["c"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $n e{3,3} $m } return { $m.k }"#,
        // Two steps, and the edge of `c` to itself.
        r#"[["c"]]"#,
    ),
    // Several types.
    (
        "match { $x: Named } return { $x, type_name($x) } order { $x }",
        r#"[["a","M"],["a","N"],["b","N"],["c","N"],["d","N"]]"#,
    ),
    (
        r#"match { $x: Named  id($x) = "a" } return { $x, count(*) as n } order { $x }"#,
        r#"[["a",1],["a",1]]"#,
    ),
    (
        r#"match { $x: Named  id($x) = "a" } return distinct { $x }"#,
        r#"[["a"],["a"]]"#,
    ),
    (
        r#"match { $x: Named  id($x) = "a" } return { collect(distinct $x) as c, count(distinct $x) as n }"#,
        r#"[[["a","a"],2]]"#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { $n } union match { $m: M } return { $m }"#,
        r#"[["a"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  path $r = shortest $n e|f{1,2} $x } return { nodes($r) as n, type_name($x) as t } order { t, n }"#,
        r#""Q207""#,
    ),
    (
        r#"match { $n: N { k: "a" }  path $r = shortest $n e|f{1,2} $x } return { $r } order { type_name($x), id($x) }"#,
        r#"[[{"nodes":[{"type":"N","id":"a"},{"type":"M","id":"a"}],"edges":[{"type":"F","id":"f1","from":"a","to":"a"}],"length":1}],
            [{"nodes":[{"type":"N","id":"a"},{"type":"N","id":"b"}],"edges":[{"type":"E","id":"e1","from":"a","to":"b"}],"length":1}],
            [{"nodes":[{"type":"N","id":"a"},{"type":"N","id":"b"},{"type":"N","id":"c"}],
              "edges":[{"type":"E","id":"e1","from":"a","to":"b"},{"type":"E","id":"e5","from":"b","to":"c"}],"length":2}]]"#,
    ),
    (
        r#"match { $n: N { k: "b" }  path $r = shortest $m e $n } return { $r }"#,
        r#"[[{"nodes":[{"type":"N","id":"a"},{"type":"N","id":"b"}],"edges":[{"type":"E","id":"e1","from":"a","to":"b"}],"length":1}]]"#,
    ),
    (
        r#"match { $n: N { k: "a" }  $m: M  optional { path $r = shortest $n e{5,6} $x } } return { $r, length($r) as l }"#,
        "[[null,null]]",
    ),
    // Text and time.
    (
        "match { $n: N } return { $n.t } order { $n.t }",
        r#"[["Z"],["aß İ"],["e\u0301"],["\u00e9"]]"#,
    ),
    (
        r#"match { $n: N  $n.t = "é" } return { $n.k }"#,
        r#"[["a"]]"#,
    ),
    (
        r#"match { $n: N { k: "d" } } return { upper($n.t), lower($n.t), length($n.t), substring($n.t, 1, 1) }"#,
        r#"[["ASS İ","aß i̇",4,"ß"]]"#,
    ),
    (
        r#"match { $n: N { k: "b" } } return { length($n.t), trim("  x  ") }"#,
        r#"[[2,"x"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { $n.at, date($n.at), hour($n.at), year($n.at), weekday($n.at), $n.d + 1 }"#,
        r#"[["2024-02-29T23:30:00.000Z","2024-02-29",23,2024,4,"2024-03-01"]]"#,
    ),
    (
        r#"match { $n: N { k: "a" } } return { datetime("2024-01-01T00:00:00.9999Z"), date("-0001-12-31"), datetime("2024-01-01 02:00:00+0200") = datetime("2024-01-01T00:00:00") }"#,
        r#"[["2024-01-01T00:00:00.999Z","-0001-12-31",true]]"#,
    ),
];

#[tokio::test]
async fn values_rows_and_texts_behave_as_documented() {
    let graph = graph().await;
    let mut wrong = Vec::new();
    for (body, expected) in CASES {
        let expected: Json = serde_json::from_str(expected).unwrap();
        let source = format!("query q() {{ {body} }}");
        let found = match graph.rows(&source, json!({})).await {
            Ok(rows) => json!(rows),
            Err(code) => json!(code),
        };
        if found != expected {
            wrong.push(format!("{body}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn texts_for_an_embedding_provider_are_refused_clearly() {
    let graph = graph().await;
    let source =
        r#"query q() { match { $n: N } return { $n.k } order { nearest($n.v, "text") } limit 2 }"#;
    let query = graph.check(source).unwrap();
    let limits = crate::exec::QueryLimits::default();
    let error = graph.run(&query, json!({}), &limits).await.unwrap_err();
    let found = &error.detail().diagnostics[0];
    assert_eq!(found.code.to_string(), "R444");
    assert!(
        found.message.contains("no embedding provider"),
        "{}",
        found.message
    );
}
