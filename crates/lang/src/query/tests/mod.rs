//! The checker: which codes it gives, and what becomes of what it accepts.

mod forms;
mod hostile;
mod mutations;
mod reads;

use super::*;
use crate::schema::{Catalog, parse_schema};

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
