//! The reads among the acceptance examples of the query language's contract.

use serde_json::{Value as Json, json};

use super::example::example;
use super::fixture::Fixture;

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
    (
        8,
        "",
        r#"M{ $p: Package { section: "games" } }"#,
        "{}",
        Code("Q203"),
    ),
    (15, "", "M{ $p dependsOn{0,2} $q }", "{}", Code("Q215")),
    (15, "", "M{ $p dependsOn{3,1} $q }", "{}", Code("Q215")),
    (15, "", "M{ $p dependsOn{1,} $q }", "{}", Code("Q215")),
    (16, "", "M{ $m <maintains> $p }", "{}", Code("Q222")),
    (16, "", "M{ $p likes $q }", "{}", Code("Q204")),
    (
        16,
        "",
        "M{ $i: Issue  $i dependsOn $q }",
        "{}",
        Code("Q205"),
    ),
    (
        22,
        "",
        r#"M{ $p: Package  not { $q: Package { name: "git" } } }"#,
        "{}",
        Code("Q209"),
    ),
    (
        23,
        "",
        "M{ $p: Package  $p $w:dependsOn{1,2} $q }",
        "{}",
        Code("Q223"),
    ),
    (
        23,
        "",
        "M{ $p: Package  $p $p:dependsOn $q }",
        "{}",
        Code("Q223"),
    ),
    (
        23,
        "",
        "M{ $p: Package  $p $w:dependsOn $q } R{ $w }",
        "{}",
        Code("Q223"),
    ),
    (
        25,
        "",
        r#"M{ $p: Package  $p.kb starts_with "1" }"#,
        "{}",
        Code("Q207"),
    ),
    (
        26,
        "$a: String, $b: String",
        "M{ $p: Package  $a contains $b }",
        r#"{"a":"xy","b":"y"}"#,
        Code("Q239"),
    ),
    (
        26,
        "$a: String, $b: String",
        r#"M{ $p: Package { name: "git" }  ($a) contains $b }"#,
        r#"{"a":"xy","b":"y"}"#,
        Bag(r#"["git"]"#),
    ),
    (
        27,
        "",
        r#"M{ $p: Package  $p.released = "2022-10-20" }"#,
        "{}",
        Code("Q207"),
    ),
    (
        33,
        "",
        "M{ $p: Package } R{ sum($p.name) }",
        "{}",
        Code("Q208"),
    ),
    (33, "", "M{ $n: Note } R{ $n.pic }", "{}", Code("Q224")),
    (
        33,
        "",
        "M{ $p: Package } R{ $p.name } order { nope }",
        "{}",
        Code("Q229"),
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) }",
        "{}",
        Code("Q217"),
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) desc } limit 2",
        "{}",
        Code("P016"),
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [1.0]) } limit 2",
        "{}",
        Code("Q220"),
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(bm25($p.summary, "a"), search($p.summary, "a")) } limit 2"#,
        "{}",
        Code("Q221"),
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "a"), 0) } limit 2"#,
        "{}",
        Code("Q221"),
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "a")) }"#,
        "{}",
        Code("Q217"),
    ),
    (
        46,
        "",
        r#"M{ $p: Package  matches($p.name, "(") }"#,
        "{}",
        Code("Q240"),
    ),
    (48, "", "M{ $p: Package  1 < 2 < 3 }", "{}", Code("P015")),
    (
        48,
        "",
        r#"M{ $p: Package } R{ [1, "a"] }"#,
        "{}",
        Code("Q228"),
    ),
    (48, "", "M{ $p: Package } R{ foo(1) }", "{}", Code("Q227")),
    (
        54,
        "",
        r#"M{ $p: Package { name: "bash" }  $p dependsOn|conflicts $q } R{ $q.name }"#,
        "{}",
        Bag(r#"["git","libc"]"#),
    ),
    (
        55,
        "",
        "M{ $x: Titled } R{ count($x) as c }",
        "{}",
        Rows("[5]"),
    ),
    (
        55,
        "",
        r#"M{ $x: Titled  $x affects|warns $p  $p.name = "curl" } R{ id($x), type_name($x) }"#,
        "{}",
        Bag(r#"[["cve-1","Advisory"],["i1","Issue"]]"#),
    ),
    (
        56,
        "",
        "M{ $x: Titled  $x.votes > 1 } R{ $x.title }",
        "{}",
        Code("Q234"),
    ),
    (
        56,
        "",
        "M{ $x: Titled  $x affects $p  $x.votes > 2 } R{ $x.slug }",
        "{}",
        Bag(r#"["i1"]"#),
    ),
    (
        57,
        "",
        r#"M{ $a: Package { name: "git" }  path $r = shortest $a dependsOn{1,6} $b  $b.name = "libc" }
           R{ nodes($r), edges($r), length($r) }"#,
        "{}",
        Rows(r#"[[["git","curl","libc"],["d4","d1"],2]]"#),
    ),
    (
        58,
        "",
        r#"M{ $p: Package { section: "net" } } R{ $p.name as n } union all M{ $m: Maintainer } R{ $m.name } order { n } limit 2"#,
        "{}",
        Rows(r#"["Ann","Bob"]"#),
    ),
    (
        62,
        "",
        "M{ $i: Issue { slug: \"i1\" } } R{ now() }",
        "{}",
        Rows(r#"["2023-11-14T22:13:20.000Z"]"#),
    ),
    (63, "", "M{ }", "{}", Code("P017")),
    (
        63,
        "",
        "M{ $p: Package } R{ $p.name } insert Note { text: \"a\" }",
        "{}",
        Code("P018"),
    ),
];

/// Rows that are about mutations: `write/tests/accept.rs` has those.
const MUTATIONS: [u32; 17] = [
    64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 81,
];

#[test]
fn every_row_of_the_table_is_here() {
    let mut rows: Vec<u32> = CASES.iter().map(|case| case.0).chain(MUTATIONS).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows, (1..=81).collect::<Vec<u32>>());
}

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

/// Names of the columns, and the codes of the warnings.
async fn about(graph: &Fixture, source: &str) -> (Vec<String>, Vec<String>) {
    let query = graph.check(source).unwrap();
    let limits = crate::exec::QueryLimits::default();
    let result = graph.run(&query, json!({}), &limits).await.unwrap();
    let names = result.columns.iter().map(|c| c.name.clone()).collect();
    let warnings = query.warnings.iter().map(|w| w.code.to_string());
    (names, warnings.collect())
}

#[tokio::test]
async fn columns_are_named_after_what_they_show() {
    let graph = example().await;
    for (row, body, columns, warnings) in [
        (
            1,
            "match { $p: Package } return { $p.name }",
            &["p.name"][..],
            &[][..],
        ),
        (
            8,
            r#"match { $p: Package  $p.section = "games" } return { $p.name }"#,
            &["p.name"],
            &["W506"],
        ),
        (
            32,
            r#"match { $p: Package  $p dependsOn $q } return { $p, count($q), min($q.kb), max($q.kb) }"#,
            &["p", "q", "q.kb", "q.kb_2"],
            &["W507"],
        ),
        (
            38,
            r#"match { $p: Package } return { $p.name } order { bm25($p.summary, "library") asc }"#,
            &["p.name"],
            &["W505"],
        ),
        (62, "match { $p: Package } return { now() }", &["now"], &[]),
        (
            80,
            "match { $m: Maintainer } return { $m.* }",
            &["m.email", "m.name"],
            &[],
        ),
    ] {
        let (found, warned) = about(&graph, &format!("query q() {{ {body} }}")).await;
        assert_eq!((found, warned), (texts(columns), texts(warnings)), "{row}");
    }
    for (notes, code) in [(r#"@owner("x")"#, "P013"), (r#"@timeout("2h")"#, "P019")] {
        let source =
            format!("query q() {notes} {{ match {{ $p: Package }} return {{ $p.name }} }}");
        assert_eq!(graph.check(&source).unwrap_err(), code, "63");
    }
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}
