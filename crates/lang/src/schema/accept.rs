//! Section 12 of the schema language, as far as it is about the language and its values. Rows that
//! need data are tested where data is written.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Catalog, evolve, parse_schema};
use crate::schema::{DataType, DefaultValue, Scalar};
use crate::value::{Value, derive_id, from_json, spell, time_literal};

const P: &str = "node P { k: String @key }";

/// Number of the row, source (`+` stands for the type P of the rows), codes.
const ROWS: &[(u32, &str, &[&str])] = &[
    (1, "node P { k: String @key  n: I64? }", &[]),
    (2, "", &[]),
    (2, "// one\n/* two */", &[]),
    (3, "node p { }", &["P007"]),
    (3, "node P { K: String }", &["P007"]),
    (4, "node P { a: Text }", &["P008"]),
    (4, "node P { a: [enum(x)] }", &["P010"]),
    (4, "node P { a: [[String]] }", &["P010"]),
    (5, "node P { v: Vector(0) }", &["P009"]),
    (5, "node P { v: Vector(2147483648) }", &["P009"]),
    (6, "node P { s: enum(a, phase-1, 2fa)? }", &[]),
    (6, "node P { s: enum(a, a) }", &["S109"]),
    (7, "node P { a: String @description(\"x\\q\") }", &["P003"]),
    (8, "node P { a: String  a: I32 }", &["S102"]),
    (8, "node P { } node P { }", &["S101"]),
    (9, "edge E: A -> B", &["S104", "S104"]),
    (10, "+ edge Knows: P -> P edge KNOWS: P -> P", &["S103"]),
    (11, "node P implements X { }", &["S105"]),
    (
        12,
        "interface I { k: String @key } node N implements I { }",
        &[],
    ),
    (
        13,
        "interface I { k: String @key } node N implements I { j: I32 @key }",
        &["S111"],
    ),
    (
        14,
        "interface I { a: I32 } node N implements I { a: I32? }",
        &["S106"],
    ),
    (15, "node P { a: String?  @key(a) }", &["S112"]),
    (15, "node P { a: [String] @unique }", &["S113"]),
    (15, "node P { a: Blob @index }", &["S113"]),
    (16, "node P { k: String @key @range(k, 0..9) }", &["S115"]),
    (16, "node P { n: I32 @check(n, \"x\") }", &["S116"]),
    (16, "node P { k: String @key @check(k, \"[\") }", &["S117"]),
    (17, "node P { n: I32? @range(n, ..5) }", &[]),
    (18, "node P { k: String @check(k, \"[A-Z]\") }", &[]),
    (19, "+ edge E: P -> P @card(3..1)", &["S118"]),
    (
        20,
        "node P { k: String  v: Vector(2) @embed(k, model=\"m\") }",
        &[],
    ),
    (
        20,
        "node P { k: String  v: Vector(2) @embed(k, provider=\"p\") }",
        &["S121"],
    ),
    (
        20,
        "node P { k: String  v: Vector(2) @embed(zz) }",
        &["S120"],
    ),
    (21, "node P { id: String }", &["S108"]),
    (21, "node P { _rowid: I64 }", &["S108"]),
    (21, "node P { _row_id: I64 }", &[]),
    (22, "node P { a: String @instruction(\"x\") }", &["S123"]),
    (22, "node P @key { a: String }", &["S123"]),
    (35, "+ edge E: P -> P", &[]),
    (36, "+ edge E: P -> P { @unique(src, dst) }", &[]),
    (36, "+ edge E: P -> P { @key(src, dst) }", &[]),
    (
        38,
        "+ edge E: P -> P @card(0..1) edge F: P -> P @card(1..)",
        &[],
    ),
    (40, "node P { email: String? @unique }", &[]),
    (41, "node P { n: I64 @default(5) }", &[]),
];

/// Rows of which some part is decided by this crate in the tests below the table.
const BELOW: [u32; 16] = [
    1, 12, 23, 24, 28, 29, 30, 31, 34, 41, 42, 45, 46, 47, 48, 36,
];

/// Rows that data alone decides: `crates/engine/src/write/tests/accept.rs` has those about loads,
/// `crates/engine/src/graph/migrate/tests/accept.rs` those about migrations. These tables say which
/// rows they have, too, so that none is missing from both.
const OF_DATA: [u32; 9] = [25, 26, 27, 32, 33, 37, 39, 43, 44];

fn codes(source: &str) -> Vec<&'static str> {
    match parse_schema(&source.replace('+', P)) {
        Ok((_, warnings)) => warnings.iter().map(|d| d.code.as_str()).collect(),
        Err(found) => found.iter().map(|d| d.code.as_str()).collect(),
    }
}

#[test]
fn every_row_has_its_codes() {
    for (number, source, expected) in ROWS {
        assert_eq!(&codes(source), expected, "{number}: {source}");
    }
}

#[test]
fn every_row_is_somewhere() {
    let here: BTreeSet<u32> = ROWS.iter().map(|row| row.0).chain(BELOW).collect();
    let elsewhere = BTreeSet::from(OF_DATA);
    assert!(
        here.is_disjoint(&elsewhere),
        "a row is listed as missing and is here"
    );
    assert!(
        here.into_iter()
            .chain(elsewhere)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .eq(1..=48)
    );
}

fn catalog(source: &str) -> Catalog {
    parse_schema(source).unwrap().0
}

/// Rows 1 and 12.
#[test]
fn columns_keys_and_indexes() {
    let node = catalog("node P { k: String @key  n: I64? }")
        .nodes
        .remove(0);
    let names: Vec<&str> = node.properties.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["k", "n"]);
    assert!(node.is_key_member(node.property("k").unwrap().id));
    assert_eq!(node.indexes, [node.property("k").unwrap().id]);
    let inherited = catalog("interface I { k: String @key } node N implements I { }");
    assert!(inherited.nodes[0].is_keyed());
}

/// Rows 23 and 24.
#[test]
fn ids_are_derived_from_keys() {
    let spelled = |values: &[Value]| {
        let parts: Vec<String> = values.iter().map(|v| spell(v).unwrap()).collect();
        derive_id(&parts)
    };
    assert_eq!(
        spelled(&[Value::UInt(7), Value::String("acme".into())]),
        r#"["7","acme"]"#
    );
    let date = time_literal("2024-01-01", Scalar::Date).unwrap();
    for (value, id) in [
        (date, "19723"),
        (Value::F64(1.50), "1.5"),
        (Value::F64(-0.0), "0"),
        (Value::Bool(true), "true"),
    ] {
        assert_eq!(spelled(&[value]), id);
    }
}

/// Rows 28 to 31.
#[test]
fn values_are_read_from_json() {
    let load = |json: Json, data_type: &DataType| match from_json(&json, data_type) {
        Ok(value) => Ok(value),
        Err(e) => Err(e.code.as_str()),
    };
    let i32 = DataType::Scalar(Scalar::I32);
    assert_eq!(load(json!(2_147_483_648_i64), &i32), Err("R407"));
    assert_eq!(load(json!(3.0), &i32), Err("R406"));
    assert_eq!(load(json!("3"), &i32), Err("R406"));
    let date = DataType::Scalar(Scalar::Date);
    for text in [json!("2024-1-5"), json!("20240105"), json!(19727)] {
        assert_eq!(load(text, &date), Ok(Value::Date(19727)));
    }
    assert_eq!(load(json!("Jan 5"), &date), Err("R408"));
    let time = DataType::Scalar(Scalar::DateTime);
    assert_eq!(
        load(json!("2024-01-01 02:00:00+02"), &time),
        Ok(Value::DateTime(1_704_067_200_000))
    );
    let vector = DataType::Vector(2);
    assert_eq!(load(json!([1]), &vector), Err("R409"));
    assert_eq!(load(json!([1, null]), &vector), Err("R409"));
    assert_eq!(
        load(json!([1, 2]), &vector),
        Ok(Value::Vector(vec![1.0, 2.0]))
    );
}

/// What a change of the first schema into the second is planned as: kinds of steps, or codes.
struct Change {
    row: u32,
    before: &'static str,
    after: &'static str,
    steps: &'static [&'static str],
}

const BEFORE: &str = "node P { k: String @key  n: I32?  s: enum(a, b) } edge E: P -> P";

const CHANGES: &[Change] = &[
    Change {
        row: 42,
        before: BEFORE,
        after: "node P { k: String @key  n: I64?  s: enum(a, b) } edge E: P -> P",
        steps: &["M301"],
    },
    Change {
        row: 42,
        before: BEFORE,
        after: "node P { k: String @key  n: I32?  s: enum(a, b, c) } edge E: P -> P",
        steps: &["extend_enum"],
    },
    Change {
        row: 42,
        before: BEFORE,
        after: "node P { k: String @key  n: I32?  s: enum(a) } edge E: P -> P",
        steps: &["M302"],
    },
    Change {
        row: 45,
        before: "node T { a: String  b: U32  @key(a, b) }",
        after: "node T { z: String @rename_from(\"a\")  c: U32 @rename_from(\"b\")  @key(c, z) }",
        steps: &["rename_property", "rename_property"],
    },
    Change {
        row: 46,
        before: BEFORE,
        after: "node P { k: String @key  n: I32?  s: enum(a, b) } edge E: P -> P
                node Q @rename_from(\"Ghost\") { }",
        steps: &["add_type", "M311"],
    },
    // An edge with the name of a node as its hint, and the reverse.
    Change {
        row: 46,
        before: BEFORE,
        after: "node P { k: String @key  n: I32?  s: enum(a, b) } edge E: P -> P
                edge F: P -> P @rename_from(\"P\")",
        steps: &["add_type", "M312"],
    },
    Change {
        row: 46,
        before: BEFORE,
        after: "node P { k: String @key  n: I32?  s: enum(a, b) } edge E: P -> P
                node Q @rename_from(\"E\") { }",
        steps: &["add_type", "M312"],
    },
    Change {
        row: 47,
        before: BEFORE,
        after: "node P { k: String @key  s: enum(a, b) } edge E: P -> P",
        steps: &["drop_property soft"],
    },
    Change {
        row: 47,
        before: BEFORE,
        after: "node P { n: I32?  s: enum(a, b) } edge E: P -> P",
        steps: &["M305"],
    },
    Change {
        row: 48,
        before: BEFORE,
        after: "// c\nedge E: P -> P /* d */ node P { s: enum(b, a)  n: I32?  k: String @key }",
        steps: &[],
    },
];

#[test]
fn changes_are_planned_as_the_rows_say() {
    for change in CHANGES {
        let plan = evolve(&catalog(change.before), change.after).unwrap().plan;
        let json = serde_json::to_value(&plan.steps).unwrap();
        let steps = json.as_array().unwrap().iter().map(|step| {
            let word = |name: &str| step[name].as_str();
            let what = word("code").or(word("kind")).unwrap();
            let mode = word("mode").map(|mode| format!(" {mode}"));
            format!("{what}{}", mode.unwrap_or_default())
        });
        let steps: Vec<String> = steps.collect();
        assert_eq!(steps, change.steps, "{}: {}", change.row, change.after);
        let refused = change.steps.iter().any(|step| step.starts_with('M'));
        assert_eq!(plan.supported, !refused, "{}", change.row);
    }
}

/// Row 45: the members keep their order, so ids keep their spelling.
#[test]
fn a_flip_of_names_keeps_the_key() {
    let change = CHANGES.iter().find(|change| change.row == 45).unwrap();
    let before = catalog(change.before);
    let after = evolve(&before, change.after).unwrap().catalog;
    assert_eq!(after.nodes[0].key, before.nodes[0].key);
}

/// Rows 34 and 41: what is left out is null, or the default.
#[test]
fn what_a_line_leaves_out() {
    let node = catalog("node P { k: String @key  n: I64?  m: I64 @default(5) }")
        .nodes
        .remove(0);
    assert!(node.property("n").unwrap().nullable);
    let default = &node.property("m").unwrap().default;
    assert_eq!(default, &Some(DefaultValue::Value(Value::Int(5))));
}

/// Row 36: with a key the id of an edge is made of its ends.
#[test]
fn the_id_of_a_keyed_edge() {
    let keyed = catalog(&"+ edge E: P -> P { @key(src, dst) }".replace('+', P));
    assert!(keyed.edges[0].is_keyed());
    assert_eq!(derive_id(&["a".to_owned(), "b".to_owned()]), r#"["a","b"]"#);
}
