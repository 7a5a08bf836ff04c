use super::*;
use crate::schema::{Catalog, Scalar, TypeId, parse_schema};
use crate::value::Value;

const SCHEMA: &str = r#"
interface Titled { title: String @index }
interface Loner { alone: String }
node Package { name: String @key   section: enum(libs, net, devel, admin)   kb: I64?   essential: Bool
               released: Date?   tags: [String]?   summary: String? @index   vec: Vector(2)? }
node Maintainer { email: String @key   name: String }
node Issue implements Titled { slug: String @key   state: enum(open, closed)   opened: DateTime   votes: I32? }
node Advisory implements Titled { cve: String @key   score: F64? }
node Note { text: String   pic: Blob? }
node Slot { tenant: String   slot: U32   weight: F32?   @key(tenant, slot) }
node Day { day: Date @key   note: String @default("none") }
edge DependsOn: Package -> Package { optional: Bool?   floor: String? }
edge Conflicts: Package -> Package { reason: String?   @key(src, dst) }
edge Maintains: Maintainer -> Package { since: Date?   @unique(src, dst) }
edge Affects: Issue -> Package @card(0..1)
edge Warns: Advisory -> Package
edge Holds: Slot -> Day
"#;

fn catalog() -> Catalog {
    parse_schema(SCHEMA).unwrap().0
}

/// The codes of errors, or of warnings if there are no errors.
fn codes(source: &str) -> Vec<&'static str> {
    match compile(source, &catalog()) {
        Ok(queries) => queries
            .iter()
            .flat_map(|q| q.warnings.iter().map(|d| d.code.as_str()))
            .collect(),
        Err(diagnostics) => diagnostics.iter().map(|d| d.code.as_str()).collect(),
    }
}

fn query(source: &str) -> CheckedQuery {
    match compile(source, &catalog()) {
        Ok(mut queries) => queries.remove(0),
        Err(e) => panic!("{}", crate::diagnostic::render_all(&e, "test.gq", source)),
    }
}

fn read(body: &str) -> CheckedRead {
    match query(&format!(
        "query q($n: String, $k: I64 = 3, $s: String?) {{ {body} }}"
    ))
    .body
    {
        Body::Read(read) => read,
        Body::Mutation(_) => panic!("a mutation"),
    }
}

/// `M{`, `R{` and the rest as in section 15 of the query language.
fn expand(row: &str) -> String {
    let row = row.replace("M{", "match {").replace("R{", "return {");
    let is_read = row.contains("match {");
    let row = if is_read && !row.contains("return ") {
        match row.find(" order {") {
            Some(at) => format!("{} return {{ $p.name }}{}", &row[..at], &row[at..]),
            None => format!("{row} return {{ $p.name }}"),
        }
    } else {
        row
    };
    let params = "$n: String, $a: String, $b: String, $c: Blob, $i: I64, $j: I64?, $l: [String], $v: Vector(2)";
    format!("query q({params}) {{ {row} }}")
}

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

const MUTATIONS: &[(&str, &[&str])] = &[
    (
        "insert Package { name: \"zlib\", section: \"libs\", essential: false }",
        &[],
    ),
    ("insert Package { name: \"x\" }", &["Q212"]),
    ("insert Maintains { from: \"ann@x\" }", &["Q212"]),
    (
        "insert Maintains { from: $a to: $b since: date(\"2024-06-01\") }",
        &[],
    ),
    ("insert maintains { from: $a, to: $b, }", &[]),
    ("insert package { name: \"x\" }", &["Q210"]),
    ("insert Maintains { from: 5, to: $b }", &["Q203"]),
    (
        "insert Holds { from: { tenant: $a, slot: 7 }, to: date(\"2024-01-01\") }",
        &[],
    ),
    (
        "insert Holds { from: { slot: 7 }, to: \"19723\" }",
        &["Q212"],
    ),
    (
        "insert Holds { from: { tenant: $a, weight: 7 }, to: \"19723\" }",
        &["Q202"],
    ),
    ("insert Day { day: date(\"2024-01-01\") }", &[]),
    ("insert Day { day: \"2024-01-01\" }", &["Q203"]),
    ("insert Slot { tenant: $a, slot: -1 }", &["Q203"]),
    ("insert Slot { tenant: $a, slot: $i, weight: 1.5 }", &[]),
    (
        "insert Package { name: $a, section: \"games\", essential: true }",
        &["Q203"],
    ),
    (
        "insert Package { name: null, section: $a, essential: true }",
        &["Q203"],
    ),
    (
        "insert Package { name: $a, section: $a, essential: true, vec: [1.0, 2], tags: [], kb: null }",
        &[],
    ),
    (
        "insert Package { name: $a, section: $a, essential: true, vec: [1.0] }",
        &["Q203"],
    ),
    (
        "insert Package { name: $a, section: $a, essential: kb }",
        &["Q206"],
    ),
    ("insert Note { text: $a, pic: $c }", &[]),
    ("insert Note { text: $a, pic: \"base64:Zm9\" }", &["Q203"]),
    ("insert Note { text: $zz, id: \"x\" }", &["Q214", "Q202"]),
    (
        "update Package set { kb: 600 } where name = \"curl\"",
        &["W502", "W502", "W502", "W502"],
    ),
    ("update Package set { name: \"x\" } where kb > 1", &["Q216"]),
    (
        "update Package set { kb: 1, kb: 2 } where kb > 1",
        &["Q213"],
    ),
    ("update Package set { kb: 1.5 } where kb > 1", &["Q203"]),
    (
        "update Package set { kb: cast(1.5 as I64) } where kb > zz",
        &["Q202"],
    ),
    ("update Package set { } where kb > 1", &["P017"]),
    ("update Maintains set { to: $a } where from = $a", &["Q216"]),
    (
        "update Maintains set { since: date(\"2022-02-02\") } where from = $a and since is null",
        &[],
    ),
    ("update Issue set { votes: votes + 1 } where id = $a", &[]),
    (
        "update Issue set { opened: now() } where not (votes > 3)",
        &["W502"],
    ),
    (
        "update Package set { released: now() } where kb = 1",
        &["Q203"],
    ),
    ("delete Package where name = \"curl\"", &[]),
    ("delete Package where kb = $p.kb", &["Q214"]),
    ("delete Package where $zz", &["Q214"]),
    ("delete Package where search(summary, \"x\")", &["Q219"]),
    ("delete Note where pic = $c", &["Q211"]),
    ("delete Nope where a = 1", &["Q210"]),
    ("delete DependsOn where from = $a and to = $b", &[]),
    ("delete Package where kb + 1", &["Q207"]),
    (
        "delete Maintainer where email = $a insert Maintainer { email: $a, name: $b }",
        &[],
    ),
    ("upsert Package { name: \"curl\", kb: 501 }", &[]),
    ("upsert Note { text: \"a\" }", &["Q235"]),
    ("upsert Package { kb: 501 }", &["Q212"]),
    (
        "upsert Conflicts { from: \"bash\", to: \"git\", reason: \"x\" }",
        &[],
    ),
    (
        "delete Package where name = $a match { $p: Package } return { $p.name }",
        &["P018"],
    ),
];

#[test]
fn mutations_have_the_codes_that_the_language_says() {
    for (row, expected) in MUTATIONS {
        let source = expand(row);
        assert_eq!(&codes(&source), expected, "{row}");
    }
}

#[test]
fn heads_of_queries() {
    let body = "{ match { $p: Package } return { $p.name } }";
    for (head, expected) in [
        ("query q()", &[][..]),
        (
            "query q() @description(\"a\") @instruction(\"b\") @timeout(\"500ms\")",
            &[],
        ),
        ("query q() @owner(\"x\")", &["P013"]),
        ("query q() @timeout(\"2h\")", &["P019"]),
        ("query q() @timeout(\"99999999999999999999s\")", &["P019"]),
        (
            "query q() @description(\"a\") @description(\"b\")",
            &["P012"],
        ),
        ("query Q()", &["P007"]),
        (
            "query q($n: I64 = 2, $d: Date = date(\"2024-01-01\"), $l: [I64] = [1, -2], $e: enum(a, b) = \"a\")",
            &[],
        ),
        ("query q($n: I64 = \"x\")", &["Q238"]),
        ("query q($n: I64 = null)", &["Q238"]),
        ("query q($n: I64? = null)", &[]),
        ("query q($e: enum(a, b) = \"c\")", &["Q238"]),
        ("query q($n: I64 = 1 + 1)", &["Q238"]),
        ("query q($n: I64, $n: I64)", &["P001"]),
        ("query q($n: Int)", &["P008"]),
    ] {
        assert_eq!(codes(&format!("{head} {body}")), expected, "{head}");
    }
    assert_eq!(codes("query q() { insert Note { text: \"x\" } }"), ["W501"]);
    assert_eq!(
        codes(&format!("query q() {body} query q() {body}")),
        ["W504"]
    );
    let both = format!(
        "query a() {{ match {{ $p: Nope }} return {{ $p.x }} }} query b() {{ match {{ $ }} }} query c() {body} query d() {{ match {{ $p: Nah }} return {{ $p.x }} }}"
    );
    assert_eq!(codes(&both), ["Q201", "P017", "P006", "P001", "Q201"]);
    assert!(compile("", &catalog()).unwrap().is_empty());
}

#[test]
fn columns_are_named_by_the_rules() {
    let names = |body: &str| -> Vec<String> {
        let read = read(body);
        read.arm.projections.into_iter().map(|p| p.name).collect()
    };
    assert_eq!(
        names(
            "match { $p: Package $p dependsOn $q } return { $p, count($q), min($q.kb), max($q.kb), count(*), now(), $n, 1, upper($n), $k + 1 }"
        ),
        [
            "p", "q", "q.kb", "q.kb_2", "count", "now", "n", "literal", "upper", "expr"
        ]
    );
    assert_eq!(
        names("match { $m: Maintainer } return { $m.* }"),
        ["m.email", "m.name"]
    );
    assert_eq!(
        names("match { $m: Maintainer } return { $m.name as a, $m.email as a_2, $m.name as a }"),
        ["a", "a_2", "a_3"]
    );
}

#[test]
fn directions_follow_the_types_of_the_ends() {
    let direction = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        read.arm.matches.hops[0].edges[0].direction
    };
    assert_eq!(direction("$p: Package $p maintains $m"), Direction::In);
    assert_eq!(direction("$p: Package $m maintains $p"), Direction::Out);
    assert_eq!(direction("$m maintains $p"), Direction::Out);
    assert_eq!(direction("$p maintains $m  $m: Maintainer"), Direction::In);
    assert_eq!(direction("$p: Package $p dependsOn $q"), Direction::Out);
    assert_eq!(direction("$q: Package $p dependsOn $q"), Direction::Out);
    assert_eq!(
        direction("$q: Package $p <dependsOn>{1,3} $q"),
        Direction::Both
    );
}

#[test]
fn blocks_are_normalised() {
    let read = read(
        "match { $p: Package { name: $n }  $p.kb > 1 and $p.essential
           not { $_ maintains $p  $p.kb = 2 }
           optional { $i affects $p  $i.state = \"open\" }  $i is null  not { $i warns $x } } return { $p.name }"
            .replace("not { $i warns $x }", "not { $i affects $p }")
            .as_str(),
    );
    let block = &read.arm.matches;
    assert_eq!(block.variables, [VarId(0)]);
    assert_eq!(block.filters.len(), 3);
    assert!(
        block
            .filters
            .iter()
            .any(|f| f.as_property_equality().is_some())
    );
    assert_eq!(block.negations.len(), 1);
    assert_eq!(block.negations[0].variables.len(), 1);
    assert_eq!(block.optionals.len(), 1);
    assert_eq!(block.late_filters.len(), 1);
    assert_eq!(block.late_negations.len(), 1);
    let optional: Vec<&str> = read
        .arm
        .variables
        .iter()
        .filter(|v| v.optional)
        .filter_map(|v| v.name.as_deref())
        .collect();
    assert_eq!(optional, ["i"]);
}

#[test]
fn grouping_rewrites_projections() {
    let read = read(
        "match { $p: Package } return { $p.section as s, count($p) as n, count($p) + 1 as m, upper($p.section) as u } order { n desc, s }",
    );
    let grouping = read.arm.grouping.unwrap();
    assert_eq!((grouping.keys.len(), grouping.aggregates.len()), (2, 1));
    assert_eq!(read.arm.projections[0].value.kind, ExprKind::GroupKey(0));
    assert_eq!(
        read.arm.projections[1].value.kind,
        ExprKind::AggregateResult(0)
    );
    assert_eq!(read.arm.projections[3].value.kind, ExprKind::GroupKey(1));
    assert_eq!(read.order[0].by, SortBy::Column(1));
    assert!(read.order[0].descending);
    assert_eq!(read.order[1].by, SortBy::Column(0));
}

#[test]
fn rank_keys_come_apart_from_the_others() {
    let ranked = read(
        "match { $p: Package } return { $p.name } order { bm25($p.summary, $n), $p.kb desc, nearest($p.vec, [1, 2]) } limit $k",
    );
    assert!(matches!(
        ranked.rank,
        Some(Rank {
            call: RankCall::Bm25 { .. },
            reverse: false
        })
    ));
    assert_eq!(ranked.order.len(), 2);
    assert!(ranked.order[1].nulls_last && !ranked.order[1].descending);
    assert_eq!(ranked.limit, Some(Count::Param(ParamId(1))));
    for (order, reverse) in [("s desc", false), ("s asc", true), ("s", true)] {
        let read = read(&format!(
            "match {{ $p: Package }} return {{ bm25($p.summary, $n) as s }} order {{ {order} }}"
        ));
        assert_eq!(read.rank.map(|r| r.reverse), Some(reverse), "{order}");
    }
    let near =
        read("match { $p: Package } return { nearest($p.vec, [1, 2]) as d } order { d } limit 1");
    assert!(!near.rank.unwrap().reverse);
}

#[test]
fn an_f32_property_is_compared_in_f32() {
    let read = read("match { $s: Slot  $s.weight = 0.1  $s.weight > $s.slot } return { $s.slot }");
    let ExprKind::Compare { right, .. } = &read.arm.matches.filters[0].kind else {
        panic!("no comparison");
    };
    assert!(matches!(
        right.kind,
        ExprKind::Cast {
            mode: CastMode::Round,
            ..
        }
    ));
    let ExprKind::Compare { right, .. } = &read.arm.matches.filters[1].kind else {
        panic!("no comparison");
    };
    assert!(matches!(right.kind, ExprKind::Property { .. }));
}

#[test]
fn operations_tell_types_and_columns() {
    let query = query(
        "query q() { match { $p: Package  not { $m maintains $p } } return { $p, $p.kb, $p.tags, $p.vec, $p.released, avg(1) as a, $p.essential } }",
    );
    let types = |list: &[TypeRef]| -> Vec<String> {
        list.iter()
            .map(|t| format!("{}:{}", t.kind, t.type_name))
            .collect()
    };
    assert_eq!(
        types(&query.operation.reads),
        ["node:Maintainer", "node:Package", "edge:Maintains"]
    );
    assert!(query.operation.writes.is_empty());
    assert_eq!(
        serde_json::to_value(&query.operation.result).unwrap(),
        serde_json::json!([
            {"name": "p", "kind": "string", "nullable": false},
            {"name": "p.kb", "kind": "bigint", "nullable": true},
            {"name": "p.tags", "kind": "list", "item_kind": "string", "nullable": true},
            {"name": "p.vec", "kind": "vector", "vector_dim": 2, "nullable": true},
            {"name": "p.released", "kind": "date", "nullable": true},
            {"name": "a", "kind": "float", "nullable": true},
            {"name": "p.essential", "kind": "bool", "nullable": false},
        ])
    );
    let delete = self::query("query q($n: String) { delete Maintainer where email = $n }");
    assert_eq!(
        types(&delete.operation.writes),
        ["node:Maintainer", "edge:Maintains"]
    );
    assert_eq!(
        types(&delete.operation.reads),
        ["node:Maintainer", "edge:Maintains"]
    );
    let insert = self::query("query q($n: String) { insert Maintains { from: $n, to: $n } }");
    assert_eq!(types(&insert.operation.writes), ["edge:Maintains"]);
    assert_eq!(insert.operation.reads.len(), 3);
}

#[test]
fn statements_keep_keys_in_order() {
    let query = query(
        "query q($t: String) { insert Holds { to: date(\"2024-01-01\"), from: { tenant: $t, slot: 7 } } }",
    );
    let Body::Mutation(statements) = query.body else {
        panic!("no mutation");
    };
    let Statement::Insert {
        ends: Some(ends), ..
    } = &statements[0]
    else {
        panic!("no insert");
    };
    let Endpoint::Key(members) = &ends.from else {
        panic!("no key");
    };
    // `slot` comes before `tenant`: ids follow the names.
    assert_eq!(members[0].value.kind, ExprKind::Literal(Value::Int(7)));
    assert!(matches!(&ends.to, Endpoint::Key(members) if members.len() == 1));
}

#[test]
fn ambiguities_resolve_as_the_language_says() {
    for body in [
        // Words of the language as names.
        "match { $p: Package $p $d:dependsOn $q $d.optional } return { $p.name as is, $q.name as desc } order { is, desc desc }",
        // Clauses side by side, with and without commas.
        "match { $p: Package, $p.kb > 1 $p.kb < 5, $p dependsOn $q, } return { $p.name, $q.name, }",
        // Conditions over several lines.
        "match { $p: Package  $p.kb - 1 > 2  not $p.essential  not ($p.kb in [1]) } return { $p.kb - 1 as a, -$p.kb as b }",
        "match { $p: Package  $p.summary is not null  $p.kb not in [1, 2]  \"a\" in $p.tags } return { 1 as x }",
    ] {
        read(body);
    }
    // A property spelled like a word, in `where`; `IDENT :` begins the next assignment.
    query(
        "query q($n: String) { update Issue set { votes: votes state: \"open\" } where slug = $n }",
    );
}

#[test]
fn hostile_texts_are_refused_without_panic() {
    let nested = |n: usize| {
        format!(
            "query q() {{ match {{ $p: Package {}true{} }} return {{ 1 as x }} }}",
            "(".repeat(n),
            ")".repeat(n)
        )
    };
    assert_eq!(codes(&nested(50)), [""; 0]);
    assert_eq!(codes(&nested(100)), ["P020"]);
    assert_eq!(codes(&nested(100_000)), ["P020"]);
    for (open, close) in [
        ("not { $p dependsOn $_ ", "}"),
        ("not ", ""),
        ("- ", ""),
        ("[", "]"),
        ("lower(", ")"),
    ] {
        let deep = format!(
            "query q() {{ match {{ $p: Package {}1{} }} return {{ 1 as x }} }}",
            open.repeat(5000),
            close.repeat(5000)
        );
        assert!(codes(&deep).contains(&"P020"), "{open}");
    }
    let sum = format!(
        "query q() {{ match {{ $p: Package }} return {{ 1{} as x }} }}",
        " + 1".repeat(50_000)
    );
    assert_eq!(codes(&sum), ["P020"]);
    let ors = format!(
        "query q() {{ match {{ $p: Package $p.essential{} }} return {{ 1 as x }} }}",
        " or $p.essential".repeat(5000)
    );
    assert_eq!(codes(&ors), [""; 0]);
}

/// A large text is checked in time that a server can spend on it.
#[test]
fn large_texts_take_bounded_time() {
    let fill = |head: &str, part: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        let mut number = 0;
        while text.len() < (1 << 18) {
            text.push_str(&part(number));
            number += 1;
        }
        text + tail
    };
    let read = "query q() { match { $p: Package ";
    let rest = " } return { 1 as x } }";
    let texts = [
        fill(
            "query q() { match { $p: Package } return { ",
            &|_| "1 ".into(),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { ",
            &|i| format!("count($p.kb+{i}) "),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { count($p) ",
            &|i| format!("$p.kb+{i} "),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb ",
            &|i| format!("count(*)+{i} "),
            "} order { $p.kb } }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb as k } order { k",
            &|i| format!(",$p.kb+{i}"),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb as k",
            &|i| format!(" k as k{i}"),
            "} }",
        ),
        fill(
            "query q(",
            &|i| format!("$a{i}: I64,"),
            "$z: I64) { match { $p: Package } return { 1 as x } }",
        ),
        fill(read, &|i| format!("$a{i}:Package "), rest),
        fill(read, &|_| "$p dependsOn $_ ".into(), rest),
        fill(read, &|_| "not{$p.essential} ".into(), rest),
        fill(read, &|_| "optional{$p dependsOn $_} ".into(), rest),
        fill(read, &|i| format!("$p.kb={i} "), rest),
        fill(read, &|_| "$p.x=1 ".into(), rest),
        fill(read, &|i| format!("$a{i} x $b "), rest),
        fill(read, &|_| "# ".into(), rest),
        fill(
            "",
            &|i| format!("query q{i}(){{match{{$p:Package}}return{{1}}}}"),
            "",
        ),
        fill(
            "",
            &|i| format!("query q{i}(){{match{{$p}}return{{#}}}}"),
            "",
        ),
        fill(
            "query q($n:I64) { ",
            &|_| "delete Package where kb=1 ".into(),
            "}",
        ),
        fill(
            "query q($n:I64) { insert Package { ",
            &|i| format!("a{i}:1 "),
            "} }",
        ),
    ];
    let begin = std::time::Instant::now();
    for text in &texts {
        assert!(compile(text, &catalog()).is_err());
    }
    for part in ["a: I64 ", "a: I64 @index ", "a: Text "] {
        let part = |i: usize| part.replacen('a', &format!("a{i}"), 1);
        assert!(parse_schema(&fill("node N { ", &part, "}")).is_err());
    }
    let types = fill("", &|i| format!("node N{i}{{}} "), "");
    assert!(parse_schema(&types).is_err());
    // Generous, because the machine may be busy; a quadratic step takes minutes.
    assert!(begin.elapsed() < std::time::Duration::from_secs(60));
}

fn type_names(types: &[TypeId]) -> Vec<String> {
    let catalog = catalog();
    let mut names: Vec<String> = types
        .iter()
        .map(|ty| catalog.entity(*ty).unwrap().body().name.clone())
        .collect();
    names.sort();
    names
}

#[test]
fn hops_follow_alternatives_each_in_its_direction() {
    let read = read(
        "match { $p: Package  $p dependsOn|maintains|affects{1,2} $x } return { id($x), type_name($x) as t }",
    );
    let hop = &read.arm.matches.hops[0];
    let directions: Vec<Direction> = hop.edges.iter().map(|e| e.direction).collect();
    assert_eq!(directions, [Direction::Out, Direction::In, Direction::In]);
    let far = &read.arm.variables[hop.to.0 as usize];
    assert_eq!(type_names(&far.types), ["Issue", "Maintainer", "Package"]);
    assert!(far.types.is_sorted());
}

#[test]
fn hops_narrow_the_types_of_interfaces() {
    let types = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        type_names(&read.arm.variables[0].types)
    };
    assert_eq!(types("$x: Titled"), ["Advisory", "Issue"]);
    assert_eq!(types("$x: Titled  $x affects $p"), ["Issue"]);
    assert_eq!(
        types("$x: Titled  not { $x affects $p }"),
        ["Advisory", "Issue"]
    );
    assert_eq!(types("$x: Loner"), [""; 0]);
}

#[test]
fn a_common_property_is_known_by_type() {
    let property = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        let block = read.arm.matches;
        let inner = block.negations.first().unwrap_or(&block);
        let ExprKind::Compare { left, .. } = &inner.filters[0].kind else {
            panic!("no comparison");
        };
        let ExprKind::Property { property, .. } = &left.kind else {
            panic!("no property");
        };
        property.clone()
    };
    assert!(property("$x: Issue  $x.title = \"a\"").single().is_some());
    let PropertyRef::ByType(both) = property("$x: Titled  $x.title = \"a\"") else {
        panic!("one type");
    };
    assert_eq!(
        type_names(&both.iter().map(|(ty, _)| *ty).collect::<Vec<_>>()),
        ["Advisory", "Issue"]
    );
    for (ty, id) in &both {
        let reference = PropertyRef::ByType(both.clone());
        assert_eq!(reference.of(*ty), Some(*id));
        assert_eq!(
            catalog()
                .entity(*ty)
                .unwrap()
                .body()
                .property_by_id(*id)
                .unwrap()
                .name,
            "title"
        );
    }
    // The block excludes the other type, the variable still has both.
    let PropertyRef::ByType(narrow) = property("$x: Titled  not { $x affects $p  $x.votes = 1 }")
    else {
        panic!("one type");
    };
    assert_eq!(narrow.len(), 1);
    assert!(
        property("$x: Titled  $x affects $p  $x.votes = 1")
            .single()
            .is_some()
    );
}

#[test]
fn paths_belong_to_hops() {
    let read = read(
        "match { $p: Package  optional { path $r = shortest $p dependsOn{1,6} $q } } return { $r, length($r), nodes($r) }",
    );
    let hop = &read.arm.matches.optionals[0].hops[0];
    let path = hop.path_var.unwrap();
    let variable = &read.arm.variables[path.0 as usize];
    assert_eq!((variable.kind, variable.optional), (VarKind::Path, true));
    assert!(read.arm.matches.optionals[0].variables.contains(&path));
    let values: Vec<_> = (read.arm.projections.iter())
        .map(|p| (p.value.ty, p.value.nullable))
        .collect();
    assert_eq!(
        values,
        [
            (ExprType::Path, true),
            (ExprType::Scalar(Scalar::I64), true),
            (ExprType::List(Scalar::String), true)
        ]
    );
}

#[test]
fn the_arms_of_a_union_get_one_type_by_column() {
    let read = read(
        "match { $p: Package } return { $p as id, $p.kb as n, null as z }
         union match { $m: Maintainer  $m maintains $p } return { $m, count($p), $m.name }
         union all match { $a: Advisory } return { $a.title, $a.score, null } order { n desc }",
    );
    assert_eq!(
        read.unions
            .iter()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>(),
        [UnionKind::Distinct, UnionKind::All]
    );
    let text = ExprType::Scalar(Scalar::String);
    for arm in std::iter::once(&read.arm).chain(read.unions.iter().map(|(_, arm)| arm)) {
        let columns: Vec<_> = arm
            .projections
            .iter()
            .map(|p| (p.name.as_str(), p.value.ty, p.value.nullable))
            .collect();
        assert_eq!(
            columns,
            [
                ("id", text, false),
                ("n", ExprType::Scalar(Scalar::F64), true),
                ("z", text, true)
            ]
        );
    }
    assert_eq!(read.order[0].by, SortBy::Column(1));
}

#[test]
fn reads_of_interfaces_and_unions_name_all_types() {
    let query = query(
        "query q($n: String) { match { $x: Titled  $x affects $p } return { $x.title }
         union match { $a warns|affects $p } return { $a.title } }",
    );
    let reads: Vec<String> = query
        .operation
        .reads
        .iter()
        .map(|t| format!("{}:{}", t.kind, t.type_name))
        .collect();
    assert_eq!(
        reads,
        [
            "node:Advisory",
            "node:Issue",
            "node:Package",
            "edge:Affects",
            "edge:Warns"
        ]
    );
    assert_eq!(query.operation.result.len(), 1);
}

/// What cannot be read does not keep the rest from being checked, and has no consequences.
#[test]
fn a_query_with_a_syntax_error_is_checked_all_the_same() {
    for (source, expected) in [
        (
            "query q($n: Strin) { match { $p: Pakage { name: $n }  $p.kb > }  return { $p.name } limit many }",
            &["P008", "Q201", "P001", "P001"][..],
        ),
        (
            "query q($n: String) { match { $p: Package { name: } $p maintains $m  $m.kb = 1  $q: Nope  $q.zz = 1 } return { $p.zz } }",
            &["P001", "Q201"],
        ),
        (
            "query q() { match { $p: Package  $p.kb = 1 = 2  $p.zz = 1  not { $r. }  $r.k = 2 } return { $p.yy, 1 +, $p.xx as x y } order { x } }",
            &[
                "P015", "Q202", "P001", "Q206", "Q202", "P001", "Q202", "Q206",
            ],
        ),
        (
            "query q($a: I64, $b $c: String) { match { $p: Package { name: $b, summary: $c, zz: $d } } return { $p.name } }",
            &["P001", "Q202", "Q214"],
        ),
        (
            "query q($a: I64) { insert Package { name: , kb: \"x\" } update Package set { zz: 1 } where kb > delete Nope where a = 1 }",
            &["P001", "Q203", "Q202", "Q202", "P001"],
        ),
        (
            "query q() { match { $p: Package  $p.kb = 'x' } return { $p.zz } }",
            &["P006", "P006", "Q202"],
        ),
        (
            "query q() { match { $p: Nope } retrun { $p.name } } query r() { match { $p: Nah } return { $p.x } }",
            &["Q201", "P001", "Q201"],
        ),
        (
            "query q() { match { $p: Package ) } return { $p.zz } }",
            &["P001", "Q202"],
        ),
        (
            "query q() { match { $p: Package return { $p.zz } }",
            &["P001"],
        ),
        (
            "query q( { match { $p: Nope } return { $p.zz } }",
            &["P001", "Q201"],
        ),
    ] {
        assert_eq!(codes(source), expected, "{source}");
    }
}
