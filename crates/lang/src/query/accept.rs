//! Section 15 of the query language, as far as it is about the language: every row, with what the
//! checker says. Results of rows that are accepted are tested where they are executed.

use std::collections::BTreeSet;

use serde_json::json;

use super::{bind_params, compile};
use crate::schema::parse_schema;
use crate::value::{Int64Style, to_json};

const SCHEMA: &str = include_str!("../../testdata/query/schema.pg");

/// Number of the row, parameters, body, codes. `M{` and `R{` as in the rows.
type Row = (u32, &'static str, &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    (
        1,
        "",
        r#"M{ $p: Package { section: "libs" } } R{ $p.name } order { $p.name }"#,
        &[],
    ),
    (2, "", r#"M{ $p: Package { tags: "core" } }"#, &[]),
    (2, "", r#"M{ $p: Package { tags: ["core"] } }"#, &["Q203"]),
    (3, "", "M{ $p: Package  $p.kb != 500 }", &[]),
    (4, "", "M{ $p: Package { kb: 169.5 } }", &[]),
    (4, "", r#"M{ $p: Package { kb: "x" } }"#, &["Q203"]),
    (5, "", "M{ $p: Package } R{ $p.name } order { $p.kb }", &[]),
    (
        5,
        "",
        "M{ $p: Package } R{ $p.name } order { $p.kb desc }",
        &[],
    ),
    (
        6,
        "",
        "M{ $p: Package } R{ $p.name } order { $p.section } limit 3",
        &[],
    ),
    (7, "$s: String?", "M{ $p: Package { section: $s } }", &[]),
    (7, "$s: String", "M{ $p: Package { section: $s } }", &[]),
    (
        8,
        "",
        r#"M{ $p: Package  $p.section = "games" }"#,
        &["W506"],
    ),
    (8, "", r#"M{ $p: Package { section: "games" } }"#, &["Q203"]),
    (
        9,
        "",
        r#"M{ $p: Package { name: "git" }  $p dependsOn $q } R{ $q.name }"#,
        &[],
    ),
    (
        10,
        "",
        r#"M{ $p: Package { name: "git" }  $p $w:dependsOn $q } R{ $q.name, $w.optional }"#,
        &[],
    ),
    (
        11,
        "",
        "M{ $p: Package  $p dependsOn{1,2} $q  $p dependsOn{3,3} $r }",
        &[],
    ),
    (
        12,
        "",
        "M{ $p: Package  $p dependsOn{1,1} $q  $p dependsOn{2,2} $r }",
        &[],
    ),
    (
        13,
        "",
        "M{ $p: Package  $p <dependsOn> $q  $p <dependsOn>{2,2} $r }",
        &[],
    ),
    (14, "", "M{ $p: Package  $p $w:<dependsOn> $q }", &[]),
    (15, "", "M{ $p: Package  $p dependsOn{0,2} $q }", &["Q215"]),
    (15, "", "M{ $p: Package  $p dependsOn{3,1} $q }", &["Q215"]),
    (15, "", "M{ $p: Package  $p dependsOn{1,} $q }", &["Q215"]),
    (16, "", "M{ $m <maintains> $p } R{ 1 }", &["Q222"]),
    (16, "", "M{ $p likes $q } R{ 1 }", &["Q204"]),
    (16, "", "M{ $i: Issue  $i dependsOn $q } R{ 1 }", &["Q205"]),
    (
        17,
        "",
        r#"M{ $p: Package { name: "zlib" }  $p maintains $m } R{ $m.name }"#,
        &[],
    ),
    (18, "", "M{ $m maintains{1,3} $p } R{ $p.name }", &[]),
    (
        19,
        "",
        "M{ $a dependsOn $b  $b dependsOn $a } R{ $a.name }",
        &[],
    ),
    (
        20,
        "",
        "M{ $m: Maintainer  not { $m maintains $_ } } R{ $m.name }",
        &[],
    ),
    (
        21,
        "",
        r#"M{ $p: Package  not { $p dependsOn $q  not { $q.name = "libc" } } }"#,
        &[],
    ),
    (
        22,
        "",
        r#"M{ $p: Package  not { $q: Package { name: "git" } } }"#,
        &["Q209"],
    ),
    (
        23,
        "",
        "M{ $p: Package  $p $w:dependsOn{1,2} $q }",
        &["Q223"],
    ),
    (23, "", "M{ $p: Package  $p $p:dependsOn $q }", &["Q223"]),
    (
        23,
        "",
        "M{ $p: Package  $p $w:dependsOn $q } R{ $w }",
        &["Q223"],
    ),
    (
        24,
        "",
        r#"M{ $p: Package  $p.summary contains "lib" }"#,
        &[],
    ),
    (
        24,
        "",
        r#"M{ $p: Package  "git libs" contains $p.name }"#,
        &[],
    ),
    (25, "", r#"M{ $p: Package  $p.name starts_with "_l" }"#, &[]),
    (
        25,
        "",
        r#"M{ $p: Package  $p.kb starts_with "1" }"#,
        &["Q207"],
    ),
    (
        26,
        "$a: String, $b: String",
        "M{ $p: Package  $a contains $b }",
        &["Q239"],
    ),
    (
        26,
        "$a: String, $b: String",
        "M{ $p: Package  ($a) contains $b }",
        &[],
    ),
    (
        27,
        "",
        r#"M{ $p: Package  $p.released = "2022-10-20" }"#,
        &["Q207"],
    ),
    (
        27,
        "",
        r#"M{ $p: Package  $p.released = date("2022-10-20") }"#,
        &[],
    ),
    (
        28,
        "",
        r#"M{ $i: Issue  $i.opened < datetime("2024-03-01T09:00:00+01:00") } R{ $i.slug }"#,
        &[],
    ),
    (
        29,
        "",
        "M{ $m: Maintainer  $m maintains $p } R{ $m.name  count($p) as n } order { n desc }",
        &[],
    ),
    (
        30,
        "",
        "M{ $p: Package } R{ count($p.kb) as c, sum($p.kb) as s, avg($p.kb) as a }",
        &[],
    ),
    (
        31,
        "",
        r#"M{ $p: Package { name: "x" } } R{ count($p) as c, max($p.kb) as m }"#,
        &[],
    ),
    (
        31,
        "",
        r#"M{ $p: Package { name: "x" } } R{ $p.name, count($p) }"#,
        &[],
    ),
    (
        32,
        "",
        "M{ $p: Package  $p dependsOn $q } R{ $p, count($q), min($q.kb), max($q.kb) }",
        &["W507"],
    ),
    (33, "", "M{ $p: Package } R{ sum($p.name) }", &["Q208"]),
    (33, "", "M{ $n: Note } R{ $n.pic }", &["Q224"]),
    (
        33,
        "",
        "M{ $p: Package } R{ $p.name } order { nope }",
        &["Q229"],
    ),
    (
        34,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) } limit 2",
        &[],
    ),
    (
        35,
        "",
        "M{ $p: Package  not { $_ maintains $p } } R{ count($p) as c } order { nearest($p.vec, [2.1, 0.0]) } limit 2",
        &[],
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) }",
        &["Q217"],
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) desc } limit 2",
        &["P016"],
    ),
    (
        36,
        "",
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [1.0]) } limit 2",
        &["Q220"],
    ),
    (
        37,
        "",
        r#"M{ $p: Package  search($p.summary, "libraries") }"#,
        &[],
    ),
    (
        37,
        "",
        r#"M{ $p: Package  fuzzy($p.summary, "libary", 1) }"#,
        &[],
    ),
    (
        38,
        "",
        r#"M{ $p: Package } R{ $p.name } order { bm25($p.summary, "library") }"#,
        &[],
    ),
    (
        38,
        "",
        r#"M{ $p: Package } R{ $p.name } order { bm25($p.summary, "library") asc }"#,
        &["W505"],
    ),
    (
        39,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "library")) } limit 2"#,
        &[],
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(bm25($p.summary, "a"), search($p.summary, "a")) } limit 2"#,
        &["Q221"],
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(bm25($p.summary, "a"), bm25($p.name, "a"), 0) } limit 2"#,
        &["Q221"],
    ),
    (
        40,
        "",
        r#"M{ $p: Package } R{ $p.name } order { rrf(bm25($p.summary, "a"), bm25($p.name, "a")) }"#,
        &["Q217"],
    ),
    (
        41,
        "",
        r#"M{ $p: Package  $p.section = "net" or ($p.kb is null and $p.essential) }"#,
        &[],
    ),
    (
        42,
        "",
        r#"M{ $p: Package  $p.section in ["net", "devel"]  not ($p.kb > 400)  $p.kb not in [170] }"#,
        &[],
    ),
    (
        43,
        "",
        "M{ $p: Package } R{ $p.kb / 1024 as mb, $p.kb / 0 as z, -7 / 2 as a, -7 % 2 as b }",
        &[],
    ),
    (
        44,
        "",
        r#"M{ $p: Package } R{ date("2023-02-23") - date("2022-10-20") as a, date("2024-02-28") + 1 as b }"#,
        &[],
    ),
    (
        45,
        "",
        r#"M{ $p: Package  year($p.released) = 2022 } R{ substring("curl", 1, 9), length("é€") }"#,
        &[],
    ),
    (
        46,
        "",
        r#"M{ $p: Package  matches($p.name, "^z.*b$") }"#,
        &[],
    ),
    (
        46,
        "",
        r#"M{ $p: Package  matches($p.name, "(") }"#,
        &["Q240"],
    ),
    (
        47,
        "",
        r#"M{ $p: Package } R{ cast("12" as I32) as a, cast("x" as I32) as b, try_cast("x" as I32) as c }"#,
        &[],
    ),
    (48, "", "M{ $p: Package  1 < 2 < 3 }", &["P015"]),
    (
        48,
        "",
        r#"M{ $p: Package  $p.name in [1, "a"] }"#,
        &["Q228"],
    ),
    (48, "", "M{ $p: Package  foo(1) }", &["Q227"]),
    (
        49,
        "",
        "M{ $p: Package } return distinct { $p.section as s } order { s }",
        &[],
    ),
    (
        49,
        "",
        "M{ $p: Package } R{ count(distinct $p.section) as c }",
        &[],
    ),
    (
        50,
        "",
        r#"M{ $p: Package { section: "libs" } } R{ collect($p.name) as names, count(*) as c }"#,
        &[],
    ),
    (
        51,
        "$n: I64",
        "M{ $p: Package } R{ $p.name } order { $p.name } skip 1 limit $n",
        &[],
    ),
    (
        52,
        "",
        "M{ $m: Maintainer  optional { $m maintains $p } } R{ $m.name, count($p) as n } order { n desc, $m.name }",
        &[],
    ),
    (
        53,
        "",
        "M{ $m: Maintainer  optional { $m maintains $p }  $p is null } R{ $m.name, $p.name }",
        &[],
    ),
    (
        54,
        "",
        r#"M{ $p: Package { name: "bash" }  $p dependsOn|conflicts $q } R{ $q.name }"#,
        &[],
    ),
    (55, "", "M{ $x: Titled } R{ count($x) as c }", &[]),
    (
        55,
        "",
        r#"M{ $x: Titled  $x affects|warns $p  $p.name = "curl" } R{ id($x), type_name($x) }"#,
        &[],
    ),
    (56, "", "M{ $x: Titled  $x.votes > 1 } R{ 1 }", &["Q234"]),
    (
        56,
        "",
        "M{ $x: Titled  $x affects $p  $x.votes > 2 } R{ $x.slug }",
        &[],
    ),
    (
        57,
        "",
        r#"M{ $a: Package { name: "git" }  path $r = shortest $a dependsOn{1,6} $b  $b.name = "libc" } R{ nodes($r), edges($r), length($r) }"#,
        &[],
    ),
    (
        58,
        "",
        r#"M{ $p: Package { section: "net" } } R{ $p.name as n } union all M{ $m: Maintainer } R{ $m.name } order { n } limit 2"#,
        &[],
    ),
    (
        59,
        "",
        r#"M{ $p: Package { name: "git" }  $p DependsOn $q } R{ $q.name }"#,
        &[],
    ),
    (60, "$n: I64 = 2", "M{ $p: Package } R{ $n }", &[]),
    (61, "$d: Date, $n: I64", "M{ $p: Package } R{ $d, $n }", &[]),
    (62, "", "M{ $i: Issue } R{ $i.opened, now() }", &[]),
    (63, "", "M{ }", &["P017"]),
    (
        63,
        "",
        r#"insert Note { text: "x" } M{ $p: Package }"#,
        &["P018"],
    ),
    (
        64,
        "$n: String",
        r#"insert Package { name: "zlib", section: "libs", essential: false }"#,
        &[],
    ),
    (
        65,
        "$n: String",
        r#"insert Package { name: "x" }"#,
        &["Q212"],
    ),
    (
        65,
        "$n: String",
        r#"insert Maintains { from: "ann@x" }"#,
        &["Q212"],
    ),
    (
        66,
        "$n: String",
        r#"insert Maintains { from: "ann@x", to: "nope" }"#,
        &[],
    ),
    (
        67,
        "$n: String",
        r#"insert Affects { from: "i1", to: "git" }"#,
        &[],
    ),
    (
        68,
        "$n: String",
        r#"insert DependsOn { from: "curl", to: "libc" } insert DependsOn { from: "curl", to: "libc" }"#,
        &[],
    ),
    (
        69,
        "$n: String",
        r#"update Issue set { votes: 600 } where slug = "i1""#,
        &[],
    ),
    (
        70,
        "$n: String",
        r#"update Package set { name: "x" } where kb > 1"#,
        &["Q216"],
    ),
    (
        70,
        "$n: String",
        "update Package set { kb: 1, kb: 2 } where kb > 1",
        &["Q213"],
    ),
    (
        70,
        "$n: String",
        "update Package set { kb: 1.5 } where kb > 1",
        &["Q203"],
    ),
    (
        71,
        "$n: String",
        r#"insert Issue { slug: "r", title: "t", state: "open", opened: now() }  update Issue set { votes: 7 } where slug = "r""#,
        &[],
    ),
    (
        72,
        "$n: String",
        r#"update Issue set { votes: 99 } where slug = "i1"  update Issue set { votes: 1 } where votes = 99"#,
        &[],
    ),
    (
        73,
        "$n: String",
        r#"delete Package where name = "curl""#,
        &[],
    ),
    (
        74,
        "$n: String",
        r#"delete Package where name = "curl"  delete Package where kb < 600"#,
        &[],
    ),
    (
        75,
        "$b: Blob",
        r#"delete Maintains where from = "ann@x""#,
        &[],
    ),
    (75, "$b: Blob", "delete Note where pic = $b", &["Q211"]),
    (75, "$b: Blob", "delete Nope where a = 1", &["Q210"]),
    (
        76,
        "$n: String",
        r#"delete Maintainer where email = "eve@x"  insert Maintainer { email: "joe@x", name: "Joe" }  insert Maintains { from: "joe@x", to: "libc" }"#,
        &[],
    ),
    (
        77,
        "$n: String",
        r#"update Maintains set { since: date("2022-02-02") } where from = "ann@x" and since is null"#,
        &[],
    ),
    (
        78,
        "$n: String",
        r#"update Issue set { votes: votes + 1 } where state in ["open"]"#,
        &[],
    ),
    (
        79,
        "$n: String",
        r#"upsert Package { name: "curl", kb: 501 }"#,
        &[],
    ),
    (
        79,
        "$n: String",
        r#"upsert Package { name: "new", kb: 1 }"#,
        &[],
    ),
    (79, "$n: String", r#"upsert Note { text: "a" }"#, &["Q235"]),
    (
        80,
        "",
        r#"M{ $m: Maintainer { email: "bob@x" } } R{ $m.* }"#,
        &[],
    ),
    (
        80,
        "$s: String?",
        "M{ $p: Package  ($s is null or $p.section = $s) } R{ count(*) as c }",
        &[],
    ),
    (
        81,
        "$n: String",
        r#"upsert Conflicts { from: "bash", to: "git", reason: "x" }"#,
        &[],
    ),
];

#[test]
fn every_row_has_its_codes() {
    let catalog = parse_schema(SCHEMA).unwrap().0;
    let mut wrong = Vec::new();
    for (number, params, body, expected) in ROWS {
        let body = body.replace("M{", "match {").replace("R{", "return {");
        let ret = if body.contains("match") && !body.contains("return") {
            "return { $p.name }"
        } else {
            ""
        };
        let source = format!("query q({params}) {{ {body} {ret} }}");
        let found: Vec<&str> = match compile(&source, &catalog) {
            Ok(queries) => queries[0]
                .warnings
                .iter()
                .map(|d| d.code.as_str())
                .collect(),
            Err(found) => found.iter().map(|d| d.code.as_str()).collect(),
        };
        if found != *expected {
            wrong.push(format!(
                "{number}: {source}: {found:?} instead of {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_is_here() {
    let numbers: BTreeSet<u32> = ROWS.iter().map(|row| row.0).collect();
    assert!(numbers.into_iter().eq(1..=81), "some row is missing");
}

/// Rows 7, 60, 61 and 63: parameters and notes.
#[test]
fn parameters_and_notes_of_the_rows() {
    let catalog = parse_schema(SCHEMA).unwrap().0;
    let bound = |params: &str, given: serde_json::Value| -> Result<serde_json::Value, String> {
        let source = format!("query q({params}) {{ match {{ $p: Package }} return {{ 1 as x }} }}");
        let query = compile(&source, &catalog).unwrap().remove(0);
        match bind_params(&query.params, Some(&given)) {
            Ok(bound) => {
                let values = bound.values.iter().map(|v| to_json(v, Int64Style::Number));
                Ok(json!(values.collect::<Vec<_>>()))
            }
            Err(found) => Err(found[0].code.to_string()),
        }
    };
    assert_eq!(bound("$s: String?", json!({})), Ok(json!([null])));
    assert_eq!(bound("$s: String", json!({})), Err("R430".into()));
    assert_eq!(bound("$n: I64 = 2", json!({})), Ok(json!([2])));
    assert_eq!(bound("$n: I64 = 2", json!({"n": null})), Err("R431".into()));
    assert_eq!(bound("$d: Date", json!({"d": 19723})), Err("R432".into()));
    assert_eq!(
        bound("$n: I64", json!({"n": "9007199254740993"})),
        Ok(json!([9_007_199_254_740_993_i64]))
    );
    for (note, code) in [("@owner(\"x\")", "P013"), ("@timeout(\"2h\")", "P019")] {
        let source = format!("query q() {note} {{ match {{ $p: Package }} return {{ $p.name }} }}");
        assert_eq!(
            compile(&source, &catalog).unwrap_err()[0].code.as_str(),
            code
        );
    }
}
