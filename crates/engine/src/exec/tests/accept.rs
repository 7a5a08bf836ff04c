//! The reads among the acceptance examples of the query language's contract.

use serde_json::{Value as Json, json};

use super::example::example;

/// How the expected values relate to the result.
#[derive(Clone, Copy)]
enum Expect {
    /// In this order.
    Rows(&'static str),
    /// In any order.
    Bag(&'static str),
    Code(&'static str),
}
use Expect::{Bag, Code, Rows};

/// Number of the example, parameters of the query, its body, values of the parameters, result. The
/// body may use `M{`, `R{` and leave the return away, as the examples do.
type Case = (u32, &'static str, &'static str, &'static str, Expect);

const CASES: &[Case] = &[
    (
        1,
        "",
        r#"M{ $p: Package { section: "libs" } } R{ $p.name } order { $p.name }"#,
        "{}",
        Rows(r#"["libc","zlib"]"#),
    ),
    (
        2,
        "",
        r#"M{ $p: Package { tags: "core" } } R{ $p.name }"#,
        "{}",
        Bag(r#"["libc","zlib"]"#),
    ),
    (
        2,
        "",
        r#"M{ $p: Package { tags: ["core"] } }"#,
        "{}",
        Code("Q203"),
    ),
    (
        3,
        "",
        r#"M{ $p: Package  $p.kb != 500 } R{ $p.name }"#,
        "{}",
        Bag(r#"["libc","zlib","git"]"#),
    ),
    (
        4,
        "",
        r#"M{ $p: Package { kb: 169.5 } } R{ $p.name }"#,
        "{}",
        Bag("[]"),
    ),
    (
        4,
        "",
        r#"M{ $p: Package { kb: "x" } } R{ $p.name }"#,
        "{}",
        Code("Q203"),
    ),
    (
        5,
        "",
        r#"M{ $p: Package } R{ $p.name } order { $p.kb }"#,
        "{}",
        Rows(r#"["bash","zlib","curl","libc","git"]"#),
    ),
    (
        5,
        "",
        r#"M{ $p: Package } R{ $p.name } order { $p.kb desc }"#,
        "{}",
        Rows(r#"["git","libc","curl","zlib","bash"]"#),
    ),
    (
        6,
        "",
        r#"M{ $p: Package } R{ $p.name } order { $p.section } limit 3"#,
        "{}",
        Rows(r#"["bash","git","libc"]"#),
    ),
    (
        7,
        "$s: String?",
        r#"M{ $p: Package { section: $s } }"#,
        "{}",
        Bag("[]"),
    ),
    (
        7,
        "$s: String",
        r#"M{ $p: Package { section: $s } }"#,
        "{}",
        Code("R430"),
    ),
    (
        8,
        "",
        r#"M{ $p: Package  $p.section = "games" }"#,
        "{}",
        Bag("[]"),
    ),
    (
        9,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["curl","zlib"]"#),
    ),
    (
        10,
        "",
        r#"M{ $p: Package { name: "git" }  $p $w:dependsOn $q } R{ $q.name, $w.optional }"#,
        "{}",
        Bag(r#"[["curl",null],["zlib",false],["zlib",true]]"#),
    ),
    (
        11,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn{1,2} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["curl","zlib","libc"]"#),
    ),
    (
        11,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn{2,2} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["libc"]"#),
    ),
    (
        11,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn{3,3} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["libc"]"#),
    ),
    (
        11,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn{1,3} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["curl","zlib","libc"]"#),
    ),
    (
        12,
        "",
        r#"M{ $p: Package { name: "libc" }  $p dependsOn{1,1} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["libc"]"#),
    ),
    (
        12,
        "",
        r#"M{ $p: Package { name: "libc" }  $p dependsOn{2,2} $q } R{ $q.name }"#,
        "{}",
        Bag("[]"),
    ),
    (
        12,
        "",
        r#"M{ $p: Package { name: "bash" }  $p dependsOn{2,2} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["libc"]"#),
    ),
    (
        13,
        "",
        r#"M{ $p: Package { name: "zlib" }  $p <dependsOn> $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["curl","git","libc"]"#),
    ),
    (
        13,
        "",
        r#"M{ $p: Package { name: "zlib" }  $p <dependsOn>{2,2} $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["bash","libc"]"#),
    ),
    (
        14,
        "",
        r#"M{ $p: Package { name: "libc" }  $p $w:<dependsOn> $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["zlib","curl","bash","libc"]"#),
    ),
    (
        17,
        "",
        r#"M{ $p: Package { name: "zlib" }  $p maintains $m } R{ $m.name }"#,
        "{}",
        Bag(r#"["Bob"]"#),
    ),
    (
        18,
        "",
        r#"M{ $m maintains{1,3} $p } R{ $p.name }"#,
        "{}",
        Bag(r#"["curl","git","zlib"]"#),
    ),
    (
        19,
        "",
        r#"M{ $a dependsOn $b  $b dependsOn $a } R{ $a.name }"#,
        "{}",
        Bag(r#"["libc"]"#),
    ),
    (
        20,
        "",
        r#"M{ $m: Maintainer  not { $m maintains $_ } } R{ $m.name }"#,
        "{}",
        Bag(r#"["Eve"]"#),
    ),
    (
        21,
        "",
        r#"M{ $p: Package  not { $p dependsOn $q  not { $q.name = "libc" } } }"#,
        "{}",
        Bag(r#"["bash","libc","zlib"]"#),
    ),
    (
        24,
        "",
        r#"M{ $p: Package  $p.summary contains "lib" }"#,
        "{}",
        Bag(r#"["libc","zlib"]"#),
    ),
    (
        24,
        "",
        r#"M{ $p: Package  "git libs" contains $p.name }"#,
        "{}",
        Bag(r#"["git"]"#),
    ),
    (
        25,
        "",
        r#"M{ $p: Package  $p.name starts_with "_l" }"#,
        "{}",
        Bag("[]"),
    ),
    (
        27,
        "",
        r#"M{ $p: Package  $p.released = date("2022-10-20") }"#,
        "{}",
        Bag(r#"["libc","zlib"]"#),
    ),
    (
        28,
        "",
        r#"M{ $i: Issue  $i.opened < datetime("2024-03-01T09:00:00+01:00") } R{ $i.slug }"#,
        "{}",
        Bag(r#"["i2"]"#),
    ),
    (
        29,
        "",
        r#"M{ $m: Maintainer  $m maintains $p } R{ $m.name  count($p) as n } order { n desc }"#,
        "{}",
        Rows(r#"[["Ann",2],["Bob",1]]"#),
    ),
    (
        30,
        "",
        r#"M{ $p: Package } R{ count($p.kb) as c, sum($p.kb) as s, avg($p.kb) as a }"#,
        "{}",
        Rows("[[4,53670.0,13417.5]]"),
    ),
    (
        31,
        "",
        r#"M{ $p: Package { name: "x" } } R{ count($p) as c, max($p.kb) as m }"#,
        "{}",
        Rows("[[0,null]]"),
    ),
    (
        31,
        "",
        r#"M{ $p: Package { name: "x" } } R{ $p.name, count($p) }"#,
        "{}",
        Rows("[]"),
    ),
    (
        32,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn $q } R{ $p, count($q), min($q.kb), max($q.kb) }"#,
        "{}",
        Rows(r#"[["git",2,170,500]]"#),
    ),
    (
        34,
        "",
        r#"M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) } limit 2"#,
        "{}",
        Rows(r#"["curl","zlib"]"#),
    ),
    (
        35,
        "",
        r#"M{ $p: Package { section: "libs" } } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) } limit 2"#,
        "{}",
        Rows(r#"["zlib","libc"]"#),
    ),
    (
        35,
        "",
        r#"M{ $p: Package  not { $_ maintains $p } } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) } limit 2"#,
        "{}",
        Rows(r#"["libc"]"#),
    ),
    (
        35,
        "",
        r#"M{ $p: Package } R{ count($p) as c } order { nearest($p.vec, [2.1, 0.0]) } limit 2"#,
        "{}",
        Rows("[2]"),
    ),
    (
        37,
        "",
        r#"M{ $p: Package  search($p.summary, "libraries") }"#,
        "{}",
        Bag(r#"["libc","zlib"]"#),
    ),
    (
        37,
        "",
        r#"M{ $p: Package  fuzzy($p.summary, "libary", 1) }"#,
        "{}",
        Bag(r#"["libc","zlib"]"#),
    ),
    (
        38,
        "",
        r#"M{ $p: Package } R{ $p.name } order { bm25($p.summary, "library") }"#,
        "{}",
        Rows(r#"["zlib","libc"]"#),
    ),
    (
        38,
        "",
        r#"M{ $p: Package } R{ $p.name } order { bm25($p.summary, "library") asc }"#,
        "{}",
        Rows(r#"["zlib","libc"]"#),
    ),
    (
        39,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "library")) } limit 2"#,
        "{}",
        Rows(r#"["zlib","curl"]"#),
    ),
    (
        41,
        "",
        r#"M{ $p: Package  $p.section = "net" or ($p.kb is null and $p.essential) }"#,
        "{}",
        Bag(r#"["curl","bash"]"#),
    ),
    (
        42,
        "",
        r#"M{ $p: Package  $p.section in ["net", "devel"] }"#,
        "{}",
        Bag(r#"["curl","git"]"#),
    ),
    (
        42,
        "",
        r#"M{ $p: Package  not ($p.kb > 400) }"#,
        "{}",
        Bag(r#"["zlib"]"#),
    ),
    (
        42,
        "",
        r#"M{ $p: Package  $p.kb not in [170] }"#,
        "{}",
        Bag(r#"["libc","curl","git"]"#),
    ),
    (
        43,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ $p.kb / 1024 as mb }"#,
        "{}",
        Rows("[12]"),
    ),
    (
        43,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ $p.kb / 0 }"#,
        "{}",
        Code("R441"),
    ),
    (
        43,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ -7 / 2 as a, -7 % 2 as b }"#,
        "{}",
        Rows("[[-3,-1]]"),
    ),
    (
        44,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ date("2023-02-23") - date("2022-10-20") as a, date("2024-02-28") + 1 as b }"#,
        "{}",
        Rows(r#"[[126,"2024-02-29"]]"#),
    ),
    (
        45,
        "",
        r#"M{ $p: Package  year($p.released) = 2022 }"#,
        "{}",
        Bag(r#"["libc","zlib","bash"]"#),
    ),
    (
        45,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ substring("curl", 1, 9) as a, length("é€") as b }"#,
        "{}",
        Rows(r#"[["url",2]]"#),
    ),
    (
        46,
        "",
        r#"M{ $p: Package  matches($p.name, "^z.*b$") }"#,
        "{}",
        Bag(r#"["zlib"]"#),
    ),
    (
        47,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ cast("12" as I32) as a, try_cast("x" as I32) as b }"#,
        "{}",
        Rows("[[12,null]]"),
    ),
    (
        47,
        "",
        r#"M{ $p: Package { name: "libc" } } R{ cast("x" as I32) }"#,
        "{}",
        Code("R442"),
    ),
    (
        49,
        "",
        r#"M{ $p: Package } R distinct { $p.section as s } order { s }"#,
        "{}",
        Rows(r#"["admin","devel","libs","net"]"#),
    ),
    (
        49,
        "",
        r#"M{ $p: Package } R{ count(distinct $p.section) as c }"#,
        "{}",
        Rows("[4]"),
    ),
    (
        50,
        "",
        r#"M{ $p: Package { section: "libs" } } R{ collect($p.name) as names, count(*) as c }"#,
        "{}",
        Rows(r#"[[["libc","zlib"],2]]"#),
    ),
    (
        51,
        "$n: I64",
        r#"M{ $p: Package } R{ $p.name } order { $p.name } skip 1 limit $n"#,
        r#"{"n":2}"#,
        Rows(r#"["curl","git"]"#),
    ),
    (
        51,
        "$n: I64",
        r#"M{ $p: Package } R{ $p.name } order { $p.name } skip 1 limit $n"#,
        r#"{"n":-1}"#,
        Code("R443"),
    ),
    (
        52,
        "",
        r#"M{ $m: Maintainer  optional { $m maintains $p } } R{ $m.name, count($p) as n } order { n desc, $m.name }"#,
        "{}",
        Rows(r#"[["Ann",2],["Bob",1],["Eve",0]]"#),
    ),
    (
        53,
        "",
        r#"M{ $m: Maintainer  optional { $m maintains $p }  $p is null } R{ $m.name, $p.name }"#,
        "{}",
        Rows(r#"[["Eve",null]]"#),
    ),
    (
        59,
        "",
        r#"M{ $p: Package { name: "git" }  $p DependsOn $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["curl","zlib"]"#),
    ),
    (
        60,
        "$n: I64 = 2",
        r#"M{ $p: Package { name: "git" } } R{ $n as n }"#,
        "{}",
        Rows("[2]"),
    ),
    (
        60,
        "$n: I64 = 2",
        r#"M{ $p: Package { name: "git" } } R{ $n as n }"#,
        r#"{"n":null}"#,
        Code("R431"),
    ),
    (
        61,
        "$d: Date",
        r#"M{ $p: Package { released: $d } }"#,
        r#"{"d":19723}"#,
        Code("R432"),
    ),
    (
        61,
        "$n: I64",
        r#"M{ $p: Package { name: "git" } } R{ $n as n }"#,
        r#"{"n":"9007199254740993"}"#,
        Rows("[9007199254740993]"),
    ),
    (
        62,
        "",
        r#"M{ $i: Issue { slug: "i1" } } R{ $i.opened }"#,
        "{}",
        Rows(r#"["2024-03-01T08:00:00.000Z"]"#),
    ),
    (
        80,
        "",
        r#"M{ $m: Maintainer { email: "bob@x" } } R{ $m.* }"#,
        "{}",
        Rows(r#"[["bob@x","Bob"]]"#),
    ),
    (
        80,
        "$s: String?",
        r#"M{ $p: Package  ($s is null or $p.section = $s) } R{ count(*) as c }"#,
        "{}",
        Rows("[5]"),
    ),
    (
        80,
        "$s: String?",
        r#"M{ $p: Package  ($s is null or $p.section = $s) } R{ count(*) as c }"#,
        r#"{"s":"libs"}"#,
        Rows("[2]"),
    ),
];

#[tokio::test]
async fn reads_give_what_the_contract_says() {
    let graph = example().await;
    let mut wrong = Vec::new();
    for (number, params, body, values, expected) in CASES {
        let body = body
            .replace("M{", "match {")
            .replace("R{", "return {")
            .replace("R distinct", "return distinct");
        let ret = if body.contains("return") {
            ""
        } else {
            "return { $p.name }"
        };
        let source = format!("query q({params}) {{ {body} {ret} }}");
        let result = graph
            .rows(&source, serde_json::from_str(values).unwrap())
            .await;
        let (found, expected) = match (result, expected) {
            (Err(code), Code(wanted)) => (json!(code), json!(wanted)),
            (Err(code), Rows(wanted) | Bag(wanted)) => {
                (json!(code), serde_json::from_str(wanted).unwrap())
            }
            (Ok(rows), Code(wanted)) => (json!(rows), json!(wanted)),
            (Ok(rows), Rows(wanted)) => (json!(flat(rows)), serde_json::from_str(wanted).unwrap()),
            (Ok(rows), Bag(wanted)) => {
                let mut wanted: Vec<Json> = serde_json::from_str(wanted).unwrap();
                let mut rows = flat(rows);
                rows.sort_by_key(Json::to_string);
                wanted.sort_by_key(Json::to_string);
                (json!(rows), json!(wanted))
            }
        };
        if found != expected {
            wrong.push(format!(
                "{number}: {source}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows of one column as that column's values.
pub(super) fn flat(rows: Vec<Json>) -> Vec<Json> {
    let one = |row: Json| match row {
        Json::Array(mut cells) if cells.len() == 1 => cells.remove(0),
        row => row,
    };
    rows.into_iter().map(one).collect()
}

#[tokio::test]
async fn columns_are_named_after_what_they_show() {
    let graph = example().await;
    let source = r#"query q() { match { $p: Package { name: "git" }  $p dependsOn $q }
                                return { $p, count($q), min($q.kb), max($q.kb) } }"#;
    let query = graph.check(source).unwrap();
    let limits = crate::exec::QueryLimits::default();
    let result = graph.run(&query, json!({}), &limits).await.unwrap();
    let names: Vec<&str> = result.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["p", "q", "q.kb", "q.kb_2"]);
}
