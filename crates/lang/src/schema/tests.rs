use super::*;
use crate::value::Value;

const P: &str = "node P { k: String @key }\n";

fn codes(source: &str) -> Vec<&'static str> {
    match parse_schema(source) {
        Ok((_, warnings)) => warnings.iter().map(|d| d.code.as_str()).collect(),
        Err(diagnostics) => diagnostics.iter().map(|d| d.code.as_str()).collect(),
    }
}

fn catalog(source: &str) -> Catalog {
    parse_schema(source)
        .unwrap_or_else(|e| panic!("{}", crate::diagnostic::render_all(&e, "test.pg", source)))
        .0
}

/// Rows of section 12 of the schema language, and neighbours of theirs.
const SOURCES: &[(&str, &[&str])] = &[
    ("node P { k: String @key  n: I64? }", &[]),
    ("", &[]),
    ("// only\n/* comments */", &[]),
    ("node p { }", &["P007"]),
    ("node P { K: String }", &["P007"]),
    ("node P { a: Text }", &["P008"]),
    ("node P { a: [enum(x)] }", &["P010"]),
    ("node P { a: [[String]] }", &["P010"]),
    ("node P { a: [Blob] b: [Vector(2)] }", &["P010", "P010"]),
    ("node P { v: Vector(0) }", &["P009"]),
    ("node P { v: Vector(2147483648) }", &["P009"]),
    ("node P { v: Vector(2147483647) }", &[]),
    ("node P { s: enum(a, phase-1, 2fa)? }", &[]),
    ("node P { s: enum(a, a) }", &["S109"]),
    ("node P { s: enum(a b) }", &["P001"]),
    ("node P { a: String @description(\"x\\q\") }", &["P003"]),
    ("node P { a: String  a: I32 }", &["S102"]),
    ("node P { } node P { }", &["S101"]),
    ("edge E: A -> B", &["S104", "S104"]),
    (
        "node P { } edge Knows: P -> P edge KNOWS: P -> P",
        &["S103"],
    ),
    ("node P { } edge E: P -> P edge E: P -> P", &["S101"]),
    ("node P implements X { }", &["S105"]),
    (
        "interface I { k: String @key } node N implements I { }",
        &[],
    ),
    (
        "interface I { k: String @key } node N implements I { j: I32 @key }",
        &["S111"],
    ),
    (
        "interface I { a: I32 } node N implements I { a: I32? }",
        &["S106"],
    ),
    (
        "interface I { a: I32 } interface J { a: I32 @index } node N implements I, J { }",
        &["S107"],
    ),
    (
        "interface I { a: I32 } interface J { a: I32 @index } node N implements I, J { a: I32 }",
        &[],
    ),
    ("interface I { a: I32 @key(a) }", &["P001"]),
    ("interface N { } node N { }", &["W510"]),
    ("node P { a: String?  @key(a) }", &["S112"]),
    ("node P { a: [String] @unique }", &["S113"]),
    ("node P { a: Blob @index }", &["S113"]),
    ("node P { v: Vector(3) @index }", &[]),
    ("node P { k: String @range(k, 0..9) }", &["S115"]),
    ("node P { n: I32 @check(n, \"x\") }", &["S116"]),
    ("node P { k: String @check(k, \"[\") }", &["S117"]),
    ("node P { k: String @check(k, \"(?=x)\") }", &["S117"]),
    ("node P { n: I32 @range(n, 9..0) }", &["S118"]),
    ("node P { n: I32 @range(n) }", &["P014"]),
    ("node P { n: I32 @range(n, ..) }", &["P014"]),
    ("node P { n: I32 @range }", &["P014"]),
    ("node P { n: I32 @check(n, 5) }", &["P014"]),
    ("node P { n: I32 @key() }", &["P014"]),
    ("node P { n: F64 @range(n, -1.5..) @range(n, ..5) }", &[]),
    ("node P { n: I32 @key(n, zz) }", &["S110"]),
    ("node P { } edge E: P -> P @card(3..1)", &["S118"]),
    ("node P { } edge E: P -> P @card(1..) @card(1..)", &["P012"]),
    ("node P { } edge E: P -> P @card", &["P011"]),
    ("node P @card(0..1) { }", &["S123"]),
    (
        "node P { k: String v: Vector(2) @embed(k, model=\"m\") }",
        &[],
    ),
    ("node P { k: String v: Vector(2) @embed(\"k\") }", &[]),
    (
        "node P { k: String v: Vector(2) @embed(k, provider=\"p\") }",
        &["S121"],
    ),
    ("node P { v: Vector(2) @embed(zz) }", &["S120"]),
    ("node P { v: Vector(2) @embed }", &["S120"]),
    ("node P { n: I32 v: Vector(2) @embed(n) }", &["S120"]),
    ("node P { k: String v: String @embed(k) }", &["S119"]),
    ("node P { id: String }", &["S108"]),
    ("node P { _rowid: I64 }", &["S108"]),
    ("node P { _row_id: I64 src: String from: String }", &[]),
    (
        "node P { } edge E: P -> P { src: String to: String }",
        &["S108", "S108"],
    ),
    ("interface I { id: String }", &["S108"]),
    ("node P { a: String @instruction(\"x\") }", &["S123"]),
    ("node P @key { k: String }", &["S123"]),
    ("node P @range(k, 0..9) { k: I32 }", &["S123"]),
    ("node P @check { k: I32 }", &["S123"]),
    // What no implementer can use is wrong already in the interface, and is said once.
    (
        "interface I { k: String? @key  l: [String] @unique  b: Blob @index } node N implements I { }",
        &["S112", "S113", "S113"],
    ),
    ("interface I { a: String @key  b: String @key }", &[]),
    ("node P @key(k, j) { k: String j: String }", &["S123"]),
    ("node P @description(\" \") { }", &["S122"]),
    ("node P @description { }", &["S122"]),
    (
        "node P @description(\"a\") @description(\"b\") { }",
        &["P012"],
    ),
    ("node P { k: String @index @index }", &["P012"]),
    ("node P @rename_from(\"\") { }", &["S124"]),
    (
        "node P @rename_from(\"A\") @rename_from(\"B\") { }",
        &["S124"],
    ),
    ("node P { } edge E: P -> P { a: String @key }", &["S114"]),
    (
        "node P { } edge E: P -> P { a: String v: Vector(2) @embed(a) }",
        &["S114"],
    ),
    (
        "node P { } edge E: P -> P { a: String @key(src, dst, a) @unique(src, a) @index(a) }",
        &[],
    ),
    ("node P { n: I32 @default(1.5) }", &["S125"]),
    (
        "node P { n: I32 @default(-3) s: enum(a, b) @default(a) }",
        &[],
    ),
    ("node P { s: enum(a, b) @default(c) }", &["S125"]),
    (
        "node P { d: Date @default(\"2024-02-29\") t: DateTime @default(now) }",
        &[],
    ),
    ("node P { d: Date @default(\"soon\") }", &["S125"]),
    ("node P { d: Date @default(now) }", &["S125"]),
    ("node P { k: String @key @default(\"a\") }", &["S126"]),
    ("node P { k: String @default(\"a\") @key(k) }", &["S126"]),
    ("node P { k: [String] @default(\"a\") }", &["S126"]),
    ("node P { n: I32 @default }", &["S125"]),
    (
        "node P { n: I32 @owner(\"x\", since=2020) @flag @x(-1) }",
        &[],
    ),
    ("node P { n: I32 @owner(\"x\", y) }", &["P011"]),
    ("node P { n: I32 @owner() }", &["P011"]),
    ("node P { n: I64 @x(99999999999999999999) }", &["P005"]),
    ("node P { n: I32 ", &["P001"]),
    (
        "node P { \"x\" n: Text m: I32 } edge E: P -> Q @card(x) edge : ",
        &["P001", "P008", "P001"],
    ),
    (
        "node A implements I @description(\"x\") { } interface I { }",
        &[],
    ),
    ("node node { }", &["P007"]),
    (
        "node P { node: String type: I32 key: Bool @key(key, type) }",
        &[],
    ),
];

#[test]
fn sources_have_the_codes_that_the_language_says() {
    for (source, expected) in SOURCES {
        assert_eq!(&codes(source), expected, "{source}");
    }
}

#[test]
fn a_minimal_schema_becomes_a_catalog() {
    let catalog = catalog("node P { n: I64?  k: String @key }");
    let node = &catalog.nodes[0];
    let names: Vec<&str> = node.properties.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["k", "n"]);
    assert_eq!(node.key, Some(vec![Member::Property(PropertyId(1))]));
    assert_eq!(node.indexes, [PropertyId(1)]);
    assert_eq!((node.id, catalog.next_type_id), (TypeId(1), 2));
}

#[test]
fn ids_follow_the_byte_order_of_new_names() {
    let catalog = catalog(&format!(
        "{P} edge Zoo: P -> Cat {{ slot: U32 tenant: String @key(tenant, dst, slot, src) }} node Cat {{ }}"
    ));
    assert_eq!(catalog.node("Cat").unwrap().id, TypeId(1));
    assert_eq!(catalog.node("P").unwrap().id, TypeId(2));
    let edge = catalog.edge("zoo").unwrap();
    assert_eq!(edge.id, TypeId(3));
    assert_eq!(
        edge.key,
        Some(vec![
            Member::Src,
            Member::Dst,
            Member::Property(PropertyId(1)),
            Member::Property(PropertyId(2))
        ])
    );
    assert_eq!(edge.property("slot").unwrap().id, PropertyId(1));
}

#[test]
fn interfaces_hand_down_properties_and_annotations() {
    let catalog = catalog(
        "interface I { k: String @key  t: String @index @description(\"words\") }
         node N implements I { n: I32 }",
    );
    let node = catalog.node("N").unwrap();
    assert_eq!(node.implements, [catalog.interface("I").unwrap().id]);
    assert!(node.is_key_member(node.property("k").unwrap().id));
    assert_eq!(
        node.property("t").unwrap().description.as_deref(),
        Some("words")
    );
    assert_eq!(node.indexes.len(), 2);
    assert_eq!(catalog.implementers(node.implements[0]).count(), 1);
}

#[test]
fn defaults_have_the_type_of_their_property() {
    let catalog = catalog(
        "node P { a: U32 @default(5) b: F32 @default(1) c: Date @default(\"1970-01-02\") d: DateTime @default(now) }",
    );
    let defaults: Vec<_> = catalog.nodes[0]
        .properties
        .iter()
        .map(|p| p.default.clone())
        .collect();
    assert_eq!(
        defaults,
        [
            Some(DefaultValue::Value(Value::UInt(5))),
            Some(DefaultValue::Value(Value::F32(1.0))),
            Some(DefaultValue::Value(Value::Date(1))),
            Some(DefaultValue::Now)
        ]
    );
}

#[test]
fn the_digest_sees_meaning_only() {
    let a = catalog(
        "node A { x: I32 @index  y: String? @unique  @key(x) } // one
         edge E: A -> A @card(0..1) { @unique(src, dst) }",
    );
    let b = catalog(
        "edge E: A -> A @card(0..1) { @unique(dst, src) }
         node A @rename_from(\"B\") { @key(x)  y: String?   x: I32 @unique(y) @index(x) }",
    );
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.digest().len(), 64);
    for other in [
        "node A { x: I32 @key } edge E: A -> A",
        "node A { x: I32  y: String? @unique  @key(x) } edge E: A -> A @card(0..2) { @unique(src, dst) }",
    ] {
        assert_ne!(a.digest(), catalog(other).digest());
    }
}

#[test]
fn a_catalog_survives_json() {
    let before = catalog(
        "interface T { t: String @index }
         node A implements T @description(\"d\") { k: U64 @key v: Vector(3) @embed(t, model=\"m\") s: enum(b, a)? l: [Date]?
            r: F64 @range(r, -1..2.5) c: String @odd(1, two=\"2\") @check(c, \"^x\") d: Date @default(\"2020-01-01\") }
         edge E: A -> A @card(1..) { @unique(src, dst) }",
    );
    let json = serde_json::to_string(&before).unwrap();
    let after: Catalog = serde_json::from_str(&json).unwrap();
    assert_eq!(before, after);
    assert_eq!(before.digest(), after.digest());
}

/// Each implementer has a copy of what its interfaces hand down.
#[test]
fn interfaces_do_not_hand_down_without_end() {
    let words: String = (0..20_000).map(|i| format!("a{i}, ")).collect();
    let nodes = |n: usize| -> String {
        (0..n)
            .map(|i| format!("node N{i} implements I {{ }} "))
            .collect()
    };
    let interface = format!("interface I {{ s: enum({words}z) }}");
    assert_eq!(codes(&format!("{interface} {}", nodes(5))), [""; 0]);
    assert_eq!(codes(&format!("{interface} {}", nodes(500))), ["P020"]);
}
