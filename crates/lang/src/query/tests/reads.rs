//! Reads and their codes.

use super::{codes, expand};

const READS: &[(&str, &[&str])] = &[
    (
        "M{ $p: Package { section: \"libs\" } } order { $p.name }",
        &[],
    ),
    ("M{ $p: Package { tags: \"core\" } }", &[]),
    ("M{ $p: Package { tags: [\"core\"] } }", &["Q203"]),
    ("M{ $p: Package { kb: 169.5 } }", &[]),
    ("M{ $p: Package { kb: \"x\" } }", &["Q203"]),
    ("M{ $p: Package { kb: null } }", &["W506"]),
    ("M{ $p: Package  $p.section = \"games\" }", &["W506"]),
    ("M{ $p: Package { section: \"games\" } }", &["Q203"]),
    ("M{ $p: Package { nope: 1 } }", &["Q202"]),
    ("M{ $p: Package  $_: Package { kb: 5 } }", &[]),
    ("M{ $p: Package { name: $zz } }", &["Q214"]),
    (
        "M{ $p: Package { name: $n } $q: Package { name: $p.summary } }",
        &[],
    ),
    ("M{ $p: Pakage }", &["Q201"]),
    ("M{ $p: Package $p: Issue }", &["Q225"]),
    ("M{ $p: Package $p: Package { kb: 1 } }", &[]),
    (
        "M{ $p: Package { name: \"git\" }  $p $w:dependsOn $q } R{ $q.name, $w.optional }",
        &[],
    ),
    ("M{ $p dependsOn{0,2} $q }", &["Q215"]),
    ("M{ $p dependsOn{3,1} $q }", &["Q215"]),
    ("M{ $p dependsOn{1,} $q }", &["Q215"]),
    ("M{ $p dependsOn{2} $q }", &[]),
    ("M{ $m <maintains> $p }", &["Q222"]),
    ("M{ $p likes $q }", &["Q204"]),
    ("M{ $i: Issue  $i dependsOn $q } R{ $i.slug }", &["Q205"]),
    ("M{ $p: Package  $p maintains $m } R{ $m.name }", &[]),
    ("M{ $m maintains{1,3} $p }", &[]),
    ("M{ $a dependsOn $b  $b dependsOn $a } R{ $a.name }", &[]),
    (
        "M{ $m: Maintainer  not { $m maintains $_ } } R{ $m.name }",
        &[],
    ),
    (
        "M{ $p: Package  not { $p dependsOn $q  not { $q.name = \"libc\" } } }",
        &[],
    ),
    (
        "M{ $p: Package  not { $q: Package { name: \"git\" } } }",
        &["Q209"],
    ),
    (
        "M{ $p: Package  not { $q: Package { name: $n } } }",
        &["Q209"],
    ),
    (
        "M{ $p: Package  not { $p dependsOn $q } $q.kb = 1 }",
        &["Q206"],
    ),
    ("M{ $p: Package  $p $w:dependsOn{1,2} $q }", &["Q223"]),
    ("M{ $p: Package  $p $p:dependsOn $q }", &["Q223"]),
    ("M{ $p $w:dependsOn $q } R{ $w }", &["Q223"]),
    ("M{ $p $w:dependsOn $q  $w dependsOn $r }", &["Q223"]),
    (
        "M{ $p $w:dependsOn $q } R{ count($w), id($w), from_id($w) }",
        &[],
    ),
    ("M{ $p: Package  $p.summary contains \"lib\" }", &[]),
    ("M{ $p: Package  \"git libs\" contains $p.name }", &[]),
    ("M{ $p: Package  $p.tags contains \"core\" }", &[]),
    ("M{ $p: Package  $p.kb starts_with \"1\" }", &["Q207"]),
    ("M{ $p: Package  $a contains $b }", &["Q239"]),
    ("M{ $p: Package  ($a) contains $b }", &[]),
    ("M{ $p: Package  $p.released = \"2022-10-20\" }", &["Q207"]),
    ("M{ $p: Package  $p.released = date(\"2022-10-20\") }", &[]),
    ("M{ $p: Package  $p.released = date(\"soon\") }", &["Q203"]),
    (
        "M{ $i: Issue  $i.opened < datetime(\"2024-03-01T09:00:00+01:00\") } R{ $i.slug }",
        &[],
    ),
    ("M{ $p: Package  $p.name = 5 }", &["Q207"]),
    ("M{ $p: Package  $p = \"x\" }", &["Q207"]),
    ("M{ $p: Package  $p.tags = \"x\" }", &["Q207"]),
    ("M{ $p: Package  $p.essential }", &[]),
    ("M{ $p: Package  $p.kb }", &["Q207"]),
    ("M{ $p: Package  $p }", &["P001"]),
    (
        "M{ $p: Package  $p.nope = 1 $p.nah = 2 }",
        &["Q202", "Q202"],
    ),
    ("M{ $p: Package  name = \"x\" }", &["Q206"]),
    (
        "M{ $m: Maintainer  $m maintains $p } R{ $m.name  count($p) as n } order { n desc }",
        &[],
    ),
    (
        "M{ $p: Package } R{ count($p.kb) as c, sum($p.kb) as s, avg($p.kb) as a }",
        &[],
    ),
    ("M{ $p: Package } R{ sum($p.name) }", &["Q208"]),
    ("M{ $p: Package } R{ min($p.essential) }", &["Q208"]),
    ("M{ $p: Package } R{ max($p.released), min($p.name) }", &[]),
    ("M{ $n: Note } R{ $n.pic }", &["Q224"]),
    ("M{ $p: Package } R{ $c }", &["Q224"]),
    ("M{ $p: Package } order { nope }", &["Q229"]),
    (
        "M{ $p: Package } R{ $p.name } order { nearest($p.vec, [2.1, 0.0]) } limit 2",
        &[],
    ),
    (
        "M{ $p: Package } R{ count($p) as c } order { nearest($p.vec, $v) } limit 2",
        &[],
    ),
    (
        "M{ $p: Package } order { nearest($p.vec, [2.1, 0.0]) }",
        &["Q217"],
    ),
    (
        "M{ $p: Package } order { nearest($p.vec, [2.1, 0.0]) desc } limit 2",
        &["P016"],
    ),
    (
        "M{ $p: Package } order { nearest($p.vec, [1.0]) } limit 2",
        &["Q220"],
    ),
    (
        "M{ $p: Package } order { nearest($p.name, [1.0, 2.0]) } limit 2",
        &["Q220"],
    ),
    ("M{ $p: Package  search($p.summary, \"libraries\") }", &[]),
    ("M{ $p: Package  fuzzy($p.summary, \"libary\", 1) }", &[]),
    ("M{ $p: Package  search($p.kb, \"x\") }", &["Q219"]),
    ("M{ $p: Package  search($p.summary, $p.name) }", &["Q219"]),
    (
        "M{ $p $w:dependsOn $q  search($w.floor, \"x\") }",
        &["Q223"],
    ),
    (
        "M{ $p: Package } order { bm25($p.summary, \"library\") }",
        &[],
    ),
    (
        "M{ $p: Package } order { bm25($p.summary, \"library\") asc }",
        &["W505"],
    ),
    (
        "M{ $p: Package } order { search($p.summary, \"library\") }",
        &["Q207"],
    ),
    (
        "M{ $p: Package } order { rrf(nearest($p.vec, $v), bm25($p.summary, $n)) } limit 2",
        &[],
    ),
    (
        "M{ $p: Package } order { rrf(bm25($p.summary, $n), search($p.summary, $n)) } limit 2",
        &["Q221"],
    ),
    (
        "M{ $p: Package } order { rrf(bm25($p.summary, $n), bm25($p.name, $n), 0) } limit 2",
        &["Q221"],
    ),
    (
        "M{ $p: Package } order { rrf(bm25($p.summary, $n), bm25($p.name, $n)) }",
        &["Q217"],
    ),
    (
        "M{ $p: Package $p dependsOn $q } order { rrf(bm25($p.summary, $n), bm25($q.name, $n)) } limit 1",
        &["Q221"],
    ),
    (
        "M{ $p: Package } return distinct { $p.name } order { bm25($p.summary, $n) }",
        &["Q218"],
    ),
    (
        "M{ $p: Package } R{ bm25($p.summary, $n) as score, $p.name } order { score desc }",
        &[],
    ),
    (
        "M{ $p: Package } R{ nearest($p.vec, $v) as d } order { d }",
        &["Q217"],
    ),
    (
        "M{ $p: Package  $p.section = \"net\" or ($p.kb is null and $p.essential) }",
        &[],
    ),
    (
        "M{ $p: Package  $p.section in [\"net\", \"devel\"]  not ($p.kb > 400)  $p.kb not in [170] }",
        &[],
    ),
    ("M{ $p: Package  $p.name in $l }", &[]),
    ("M{ $p: Package  $p.name in \"x\" }", &["Q207"]),
    ("M{ $p: Package  $p.kb in [\"a\"] }", &["Q207"]),
    (
        "M{ $p: Package } R{ $p.kb / 1024 as mb, -7 / 2, -7 % 2 }",
        &["W507"],
    ),
    ("M{ $p: Package } R{ $p.kb + $p.name }", &["Q207"]),
    (
        "M{ $p: Package } R{ date(\"2023-02-23\") - date(\"2022-10-20\") as d, date(\"2024-02-28\") + 1 as e }",
        &[],
    ),
    (
        "M{ $p: Package  year($p.released) = 2022 } R{ substring(\"curl\", 1, 9), length(\"é€\") }",
        &[],
    ),
    ("M{ $p: Package  hour($p.released) = 2 }", &["Q207"]),
    ("M{ $p: Package  matches($p.name, \"^z.*b$\") }", &[]),
    ("M{ $p: Package  matches($p.name, \"(\") }", &["Q240"]),
    (
        "M{ $p: Package } R{ cast(\"12\" as I32) as a, try_cast(\"x\" as I32) as b }",
        &[],
    ),
    (
        "M{ $p: Package } R{ cast(($p.kb) as I32) as c, cast(date(\"2024-01-01\") as DateTime) as d }",
        &[],
    ),
    ("M{ $p: Package } R{ cast($p.tags as I32) }", &["Q207"]),
    ("M{ $p: Package  1 < 2 < 3 }", &["P015"]),
    ("M{ $p: Package  $p.name in [1, \"a\"] }", &["Q228"]),
    ("M{ $p: Package  foo(1) }", &["Q227"]),
    ("M{ $p: Package  length(\"a\", \"b\") = 1 }", &["Q227"]),
    (
        "M{ $p: Package } return distinct { $p.section as s } order { s }",
        &[],
    ),
    ("M{ $p: Package } return distinct { $p.vec }", &["Q237"]),
    (
        "M{ $p: Package } return distinct { $p.section as s } order { $p.name }",
        &["Q237"],
    ),
    ("M{ $p: Package } R{ count(distinct $p.section) as c }", &[]),
    (
        "M{ $p: Package } R{ collect($p.name) as names, count(*) as c }",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.section, count($p) as n } order { $p.section, count($p) desc }",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.section, count($p) as n } order { $p.name }",
        &["Q237"],
    ),
    (
        "M{ $p: Package } R{ $p.section, count($p) as n } order { sum($p.kb) }",
        &["Q237"],
    ),
    (
        "M{ $p: Package } R{ $p.name } order { count($p) }",
        &["Q237"],
    ),
    (
        "M{ $p: Package } R{ $p.section, count($p) + $p.kb as n }",
        &["Q226"],
    ),
    ("M{ $p: Package } R{ $p.kb, count($p) + $p.kb as n }", &[]),
    ("M{ $p: Package } R{ sum(count($p)) }", &["Q226"]),
    ("M{ $p: Package  count($p) > 1 }", &["Q226"]),
    ("M{ $p: Package } R{ $p.kb as k, k + 1 as l }", &[]),
    ("M{ $p: Package } R{ l + 1 as k, $p.kb as l }", &["Q206"]),
    (
        "M{ $p: Package } R{ $p.name } order { $p.name } skip 1 limit $i",
        &[],
    ),
    ("M{ $p: Package } R{ $p.name } limit $j", &["Q236"]),
    ("M{ $p: Package } R{ $p.name } limit $n", &["Q236"]),
    ("M{ $p: Package } R{ $p.name } limit 1 limit 2", &["P001"]),
    ("M{ $p: Package } R{ $p.tags } order { $p.tags }", &["Q207"]),
    (
        "M{ $m: Maintainer  optional { $m maintains $p } } R{ $m.name, count($p) as n } order { n desc, $m.name }",
        &[],
    ),
    (
        "M{ $m: Maintainer  optional { $m maintains $p }  $p is null } R{ $m.name, $p.name }",
        &[],
    ),
    (
        "M{ $m: Maintainer  optional { $m.name = \"x\" } } R{ $m.name }",
        &["Q231"],
    ),
    ("M{ $p: Package  $p DependsOn $q }", &[]),
    ("M{ } R{ $p.name }", &["P017"]),
    ("M{ $p: Package } R{ }", &["P017"]),
    ("M{ $p: Package } R{ $p.* }", &[]),
    ("M{ $p: Package  $p.* = 1 }", &["P001"]),
    (
        "M{ $p: Package  ($n is null or $p.section = $n) } R{ count(*) as c }",
        &[],
    ),
    ("M{ $p: Package } R{ $p.name, $p.name }", &["W507"]),
    ("M{ $p: Package } R{ now(), now(1) }", &["Q227"]),
    ("M{ $p: Package $p.kb = 99999999999999999999 }", &["P005"]),
    ("M{ $p: Package $p.kb = 18446744073709551615 }", &[]),
    ("M{ $p: Package $p.name = 'x' }", &["P006", "P006"]),
    // Conditions that never hold.
    ("M{ $p: Package  $p.kb = null }", &["W506"]),
    ("M{ $p: Package  $p.name contains null }", &["W506"]),
    ("M{ $p: Package  null in [1, 2] }", &["W506"]),
    (
        "M{ $p: Package  $p.section in [\"games\", \"toys\"] }",
        &["W506"],
    ),
    ("M{ $p: Package  $p.section in [\"games\", \"libs\"] }", &[]),
    ("M{ $p: Package  \"games\" = $p.section }", &["W506"]),
    ("M{ $p: Package  $p.section != \"games\" }", &[]),
    // A rank call anywhere in a key.
    (
        "M{ $p: Package } order { nearest($p.vec, [1, 2]) + 1 }",
        &["Q217"],
    ),
    (
        "M{ $n: Note  search($n.pic, \"x\") } R{ id($n) }",
        &["Q224"],
    ),
    // Several edge types.
    (
        "M{ $p: Package { name: \"bash\" }  $p dependsOn|conflicts $q } R{ $q.name }",
        &[],
    ),
    ("M{ $p: Package  $p dependsOn|dependson $q }", &[]),
    (
        "M{ $p: Package  $p dependsOn|likes|loves $q }",
        &["Q204", "Q204"],
    ),
    ("M{ $p: Package  $p <dependsOn|conflicts>{1,3} $q }", &[]),
    ("M{ $p: Package  $p <dependsOn|maintains> $q }", &["Q222"]),
    (
        "M{ $i: Issue  $i affects|warns $p } R{ $i.slug }",
        &["Q205"],
    ),
    ("M{ $x affects|warns $p: Package }", &["P001"]),
    ("M{ $p: Package  $x affects|warns $p } R{ $x.title }", &[]),
    (
        "M{ $p: Package  $x affects|warns $p } R{ $x.votes }",
        &["Q234"],
    ),
    (
        "M{ $p: Package  $x affects|warns $p } R{ $x.nope }",
        &["Q202"],
    ),
    (
        "M{ $p: Package  $p $w:dependsOn|conflicts $q  $w.reason = \"x\" }",
        &["Q234"],
    ),
    (
        "M{ $p: Package  $p $w:dependsOn|conflicts $q } R{ type_name($w), from_id($w) }",
        &[],
    ),
    (
        "M{ $p: Package  $p $w:dependsOn|conflicts{1,2} $q }",
        &["Q223"],
    ),
    (
        "M{ $p: Package  $p dependsOn|maintains $q } R{ id($q) }",
        &[],
    ),
    // Interfaces.
    ("M{ $x: Titled } R{ count($x) as c }", &[]),
    (
        "M{ $x: Titled  $x affects|warns $p  $p.name = \"curl\" } R{ id($x), type_name($x) }",
        &[],
    ),
    ("M{ $x: Titled  $x.votes > 1 } R{ id($x) }", &["Q234"]),
    (
        "M{ $x: Titled  $x affects $p  $x.votes > 2 } R{ $x.slug }",
        &[],
    ),
    ("M{ $x: Titled  $x dependsOn $p } R{ $x.title }", &["Q205"]),
    ("M{ $x: Titled { title: $n }  $x: Titled } R{ $x.* }", &[]),
    ("M{ $x: Titled  $x: Issue } R{ $x.title }", &["Q225"]),
    ("M{ $x: Titled { votes: 1 } } R{ $x.title }", &["Q234"]),
    ("M{ $x: Titled { title: 1 } } R{ $x.title }", &["Q203"]),
    (
        "M{ $x: Titled  $_: Titled  search($x.title, \"x\") } R{ id($x) }",
        &[],
    ),
    (
        "M{ $x: Titled } R{ $x.title } order { bm25($x.title, $n) } limit 1",
        &[],
    ),
    (
        "M{ $x: Titled  search($x.slug, \"x\") } R{ id($x) }",
        &["Q234"],
    ),
    // What a block narrows is narrow only in it.
    (
        "M{ $x: Titled  not { $x affects $p  $x.votes > 2 } } R{ $x.title }",
        &[],
    ),
    (
        "M{ $x: Titled  optional { $x affects $p  $x.votes > 2 } } R{ $x.votes }",
        &["Q234"],
    ),
    ("M{ $x: Loner } R{ $x.alone, $x.* }", &["W507"]),
    (
        "M{ $x: Loner  $x.alone = 1 } R{ $x.nope }",
        &["Q207", "Q202"],
    ),
    ("M{ $x: Dependson } R{ $x.title }", &["Q201"]),
    // Paths.
    (
        "M{ $p: Package { name: \"git\" }  path $r = shortest $p dependsOn{1,6} $q  $q.name = \"libc\" } R{ nodes($r), edges($r), length($r) as steps, $r } order { steps }",
        &[],
    ),
    (
        "M{ $p: Package  path $_ = shortest $p <dependsOn|conflicts>{2} $q }",
        &[],
    ),
    (
        "M{ $p: Package  path $r = shortest $p $w:dependsOn $q }",
        &["P001"],
    ),
    (
        "M{ $p: Package  path $p = shortest $p dependsOn $q }",
        &["Q225"],
    ),
    (
        "M{ $p: Package  path $r = longest $p dependsOn $q }",
        &["P001"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p likes $q  $r = $q }",
        &["Q204"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q  $r is null }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q  $r = $r }",
        &["Q233", "Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q  $r dependsOn $x }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q  $r.name = \"x\" }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ count($r) }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ id($r) }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r.* }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ [$r] as l }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r as k, length(k) as l }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r } order { $r }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r as k } order { k }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r, count(*) }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } return distinct { $r }",
        &["Q233"],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ max(length($r)) as l }",
        &[],
    ),
    ("M{ $p: Package } R{ nodes($p) }", &["Q207"]),
    ("M{ $p: Package } R{ length($p) }", &["Q207"]),
    // Unions.
    (
        "M{ $p: Package { section: \"net\" } } R{ $p.name as n } union all M{ $m: Maintainer } R{ $m.name } order { n } limit 2",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.kb as n, $p } union M{ $p: Issue } R{ $p.votes, $p } union all M{ $a: Advisory } R{ $a.score, \"x\" } order { n desc }",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $m: Maintainer } R{ $m.name, 1 }",
        &["Q232"],
    ),
    (
        "M{ $p: Package } R{ $p.name as n } union M{ $q: Package } R{ $q.kb }",
        &["Q232"],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $m: Maintainer } R{ $p.name }",
        &["Q206"],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $p: Maintainer } R{ $p.nope } order { z }",
        &["Q202", "Q229"],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $m: Maintainer } R{ $m.name } order { $p.name }",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $m: Maintainer } R{ $m.name } order { $p.kb }",
        &["Q237"],
    ),
    (
        "M{ $p: Package } R{ $p.name } union M{ $m: Maintainer } R{ $m.name } order { bm25($p.summary, $n) }",
        &["Q218"],
    ),
    (
        "M{ $p: Package } R{ $p.vec } union M{ $q: Package } R{ $q.vec }",
        &["Q237"],
    ),
    (
        "M{ $p: Package } R{ $p.vec } union all M{ $q: Package } R{ $q.vec }",
        &[],
    ),
    (
        "M{ $p: Package } R{ $p.tags } union M{ $q: Package } R{ [] } union M{ $q: Package } R{ null }",
        &[],
    ),
    (
        "M{ $p: Package } R{ count(*) as n } union M{ $q: Package } R{ sum($q.kb) }",
        &[],
    ),
    (
        "M{ $p: Package  path $r = shortest $p dependsOn $q } R{ $r } union all M{ $q: Package } R{ $q.name }",
        &["Q233"],
    ),
];

#[test]
fn reads_have_the_codes_that_the_language_says() {
    let mut wrong = Vec::new();
    for (row, expected) in READS {
        // The rows share their parameters, and some name variables alike.
        let mut found = codes(&expand(row));
        found.retain(|code| *code != "W509");
        if found != *expected {
            wrong.push(format!("{row}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let shared = "query q($n: String) { match { $n: Package  $n.name = $n } return { $n.name } }";
    assert_eq!(codes(shared), ["W509"]);
}
