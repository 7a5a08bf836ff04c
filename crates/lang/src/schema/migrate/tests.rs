use serde_json::{Value as Json, json};

use crate::schema::{Catalog, evolve, parse_schema};

const BEFORE: &str = "
interface Named { name: String }
node Package implements Named { name: String @key   kb: I64?   tags: [String]?   homepage: String? @unique   state: enum(a, b)
   vec: Vector(2)? @embed(text)   text: String   other: String }
node Note { text: String }
edge DependsOn: Package -> Package { floor: String?   @unique(src, dst, floor) }
edge Names: Note -> Package @card(0..2)
";

fn accepted() -> Catalog {
    parse_schema(BEFORE).unwrap().0
}

/// The steps from `BEFORE` with the replacements made in it.
fn steps(replacements: &[(&str, &str)]) -> Vec<Json> {
    let mut source = BEFORE.to_owned();
    for (from, to) in replacements {
        assert!(source.contains(from), "{from}");
        source = source.replace(from, to);
    }
    let evolution = evolve(&accepted(), &source).unwrap();
    let plan = serde_json::to_value(&evolution.plan).unwrap();
    plan["steps"].as_array().unwrap().clone()
}

fn codes(replacements: &[(&str, &str)]) -> Vec<String> {
    steps(replacements)
        .iter()
        .filter_map(|s| s["code"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn the_same_schema_has_no_steps() {
    let shuffled = format!(
        "// a comment\n{}",
        BEFORE.replace("kb: I64?   tags: [String]?", "tags: [String]? kb: I64?")
    );
    let evolution = evolve(&accepted(), &shuffled).unwrap();
    assert!(evolution.plan.is_empty() && evolution.plan.supported);
    assert_eq!(evolution.catalog, accepted());
}

#[test]
fn additions() {
    assert_eq!(
        steps(&[
            (
                "kb: I64?",
                "kb: I64?  size: I64?  must: I32  given: I32 @default(0)"
            ),
            ("node Note {", "node Extra { }\nnode Note {"),
        ]),
        [
            json!({"kind": "add_type", "type_kind": "node", "type_name": "Extra"}),
            json!({"kind": "add_property", "type_kind": "node", "type_name": "Package", "property_name": "given", "checked": false}),
            json!({"kind": "add_property", "type_kind": "node", "type_name": "Package", "property_name": "must", "checked": true}),
            json!({"kind": "add_property", "type_kind": "node", "type_name": "Package", "property_name": "size", "checked": false}),
        ]
    );
    let evolution = evolve(&accepted(), &BEFORE.replace("kb: I64?", "kb: I64? a: I32?")).unwrap();
    let node = evolution.catalog.node("Package").unwrap();
    // New properties come after the others, so the columns that exist keep their places.
    assert_eq!(node.properties.last().unwrap().name, "a");
}

#[test]
fn renames_keep_ids() {
    let source = BEFORE
        .replace(
            "node Package implements",
            "node Software @rename_from(\"Package\") implements",
        )
        .replace("-> Package", "-> Software")
        .replace("DependsOn: Package", "DependsOn: Software")
        .replace("kb: I64?", "size: I64? @rename_from(\"kb\")");
    let evolution = evolve(&accepted(), &source).unwrap();
    assert!(evolution.plan.supported, "{:?}", evolution.plan);
    assert_eq!(
        serde_json::to_value(&evolution.plan.steps).unwrap(),
        json!([
            {"kind": "rename_type", "type_kind": "node", "type_name": "Software", "from": "Package", "to": "Software"},
            {"kind": "rename_property", "type_kind": "node", "type_name": "Software", "property_name": "size", "from": "kb", "to": "size"},
        ])
    );
    let before = accepted();
    let old = before.node("Package").unwrap();
    let new = evolution.catalog.node("Software").unwrap();
    assert_eq!(old.id, new.id);
    assert_eq!(
        old.property("kb").unwrap().id,
        new.property("size").unwrap().id
    );
    assert_eq!(old.key, new.key);
}

#[test]
fn flipping_the_names_of_key_members_keeps_their_order() {
    let before = parse_schema("node T { a: String b: U32 @key(a, b) }")
        .unwrap()
        .0;
    let after = "node T { z: String @rename_from(\"a\") c: U32 @rename_from(\"b\") @key(c, z) }";
    let evolution = evolve(&before, after).unwrap();
    assert_eq!(before.nodes[0].key, evolution.catalog.nodes[0].key);
    assert!(evolution.plan.supported);
}

#[test]
fn drops_are_soft_and_names_come_back_as_new() {
    assert_eq!(
        steps(&[("homepage: String? @unique", "")]),
        [
            json!({"kind": "drop_property", "type_kind": "node", "type_name": "Package", "property_name": "homepage", "mode": "soft"})
        ]
    );
    assert_eq!(
        steps(&[("edge Names: Note -> Package @card(0..2)", "")]),
        [json!({"kind": "drop_type", "type_kind": "edge", "type_name": "Names", "mode": "soft"})]
    );
    let dropped = evolve(&accepted(), &BEFORE.replace("kb: I64?", ""))
        .unwrap()
        .catalog;
    let again = evolve(&dropped, BEFORE).unwrap().catalog;
    assert_ne!(
        accepted()
            .node("Package")
            .unwrap()
            .property("kb")
            .unwrap()
            .id,
        again.node("Package").unwrap().property("kb").unwrap().id
    );
}

#[test]
fn constraints_and_cardinality() {
    assert_eq!(
        steps(&[
            ("kb: I64?", "kb: I64? @index @range(kb, 0..)"),
            ("homepage: String? @unique", "homepage: String?"),
            ("@card(0..2)", "@card(0..1)"),
            ("state: enum(a, b)", "state: enum(b, c, a)"),
            ("tags: [String]?", "tags: [String]"),
        ]),
        [
            json!({"kind": "extend_enum", "type_kind": "node", "type_name": "Package", "property_name": "state", "added_values": ["c"]}),
            json!({"kind": "set_required", "type_kind": "node", "type_name": "Package", "property_name": "tags", "checked": true}),
            json!({"kind": "add_constraint", "type_kind": "node", "type_name": "Package", "constraint": "@index(kb)", "checked": false}),
            json!({"kind": "add_constraint", "type_kind": "node", "type_name": "Package", "constraint": "@range(kb, 0..)", "checked": true}),
            json!({"kind": "drop_constraint", "type_kind": "node", "type_name": "Package", "constraint": "@unique(homepage)"}),
            json!({"kind": "set_cardinality", "type_kind": "edge", "type_name": "Names", "from": "0..2", "to": "0..1", "checked": true}),
        ]
    );
    assert_eq!(
        steps(&[
            ("@card(0..2)", ""),
            ("node Note {", "node Note @description(\"d\") {")
        ]),
        [
            json!({"kind": "update_type_metadata", "type_kind": "node", "type_name": "Note"}),
            json!({"kind": "set_cardinality", "type_kind": "edge", "type_name": "Names", "from": "0..2", "to": "0..", "checked": false}),
        ]
    );
}

#[test]
fn what_cannot_be_done_has_a_code() {
    for (replacements, expected) in [
        (&[("kb: I64?", "kb: I32?")][..], &["M301"][..]),
        (&[("tags: [String]?", "tags: String?")], &["M301"]),
        (&[("state: enum(a, b)", "state: enum(a)")], &["M302"]),
        (&[("state: enum(a, b)", "state: String")], &["M302"]),
        (&[("other: String", "other: enum(x)")], &["M302"]),
        (&[("String @key", "String")], &["M305"]),
        (
            &[("Names: Note -> Package", "Names: Package -> Note")],
            &["M306"],
        ),
        (&[("@embed(text)", "@embed(other)")], &["M308"]),
        (
            &[
                ("interface Named {", "interface Called {"),
                ("implements Named", "implements Called"),
            ],
            &["M309", "M310"],
        ),
        (&[("implements Named", "")], &["M310"]),
        (
            &[(
                "node Note {",
                "node Ghost @rename_from(\"Gone\") { }\nnode Note {",
            )],
            &["M311"],
        ),
        (
            &[(
                "node Note {",
                "node Ghost @rename_from(\"Names\") { }\nnode Note {",
            )],
            &["M312"],
        ),
        (
            &[(
                "node Note {",
                "node Ghost { kb: I32 @rename_from(\"kb\") }\nnode Note {",
            )],
            &["M312"],
        ),
        (
            &[(
                "node Note {",
                "node Ghost @rename_from(\"Note\") { }\nnode Note {",
            )],
            &["M313"],
        ),
        (
            &[(
                "kb: I64?",
                "a: I64? @rename_from(\"kb\") b: I64? @rename_from(\"kb\")",
            )],
            &["M313"],
        ),
        (&[("kb: I64?", "a: I64? @rename_from(\"zz\")")], &["M311"]),
    ] {
        assert_eq!(codes(replacements), expected, "{replacements:?}");
    }
}

#[test]
fn a_hint_beside_its_match_is_ignored_with_a_warning() {
    let evolution = evolve(
        &accepted(),
        &BEFORE.replace("node Note {", "node Note @rename_from(\"Package\") {"),
    )
    .unwrap();
    assert!(evolution.plan.supported && evolution.plan.is_empty());
    assert_eq!(evolution.plan.diagnostics[0].code.as_str(), "W508");
    // In a first schema hints do nothing.
    assert!(
        parse_schema("node A @rename_from(\"B\") { }")
            .unwrap()
            .1
            .is_empty()
    );
}

#[test]
fn a_plan_survives_json() {
    let plan = evolve(
        &accepted(),
        &BEFORE.replace("kb: I64?", "kb: I32?  x: I32?"),
    )
    .unwrap()
    .plan;
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        serde_json::from_str::<super::MigrationPlan>(&json).unwrap(),
        plan
    );
    assert!(!plan.supported);
    assert_eq!(plan.diagnostics[0].path.as_deref(), Some("Package.kb"));
}

#[test]
fn a_wrong_hint_is_a_step_in_its_place() {
    let found = steps(&[
        ("kb: I64?", "size: I64? @rename_from(\"zz\")"),
        (
            "node Note {",
            "node Ghost @rename_from(\"Gone\") { }\nnode Note {",
        ),
    ]);
    let short: Vec<String> = found
        .iter()
        .map(|s| format!("{} {}", s["kind"], s["entity"]).replace('"', ""))
        .collect();
    assert_eq!(
        short,
        [
            "add_type null",
            "unsupported_change node:Ghost",
            "drop_property null",
            "add_property null",
            "unsupported_change node:Package.size",
        ]
        .map(str::to_owned)
    );
}

/// Rows of the table in section 10 that the tests above do not have.
#[test]
fn interfaces_and_their_properties_change_together() {
    assert_eq!(
        steps(&[(
            "interface Named { name: String }",
            "interface Named { name: String  note: String? }"
        )]),
        [
            json!({"kind": "add_property", "type_kind": "interface", "type_name": "Named", "property_name": "note", "checked": false}),
            json!({"kind": "add_property", "type_kind": "node", "type_name": "Package", "property_name": "note", "checked": false}),
        ]
    );
    assert_eq!(
        steps(&[
            (
                "interface Named { name: String }",
                "interface Named { name: String }\ninterface Texted { text: String }"
            ),
            ("node Note {", "node Note implements Texted {"),
        ]),
        [
            json!({"kind": "add_type", "type_kind": "interface", "type_name": "Texted"}),
            json!({"kind": "update_type_metadata", "type_kind": "node", "type_name": "Note"}),
        ]
    );
    assert_eq!(
        steps(&[("kb: I64?", "kb: I64? @default(5) @owner(\"x\")")]),
        [
            json!({"kind": "update_property_metadata", "type_kind": "node", "type_name": "Package", "property_name": "kb"})
        ]
    );
    assert_eq!(
        steps(&[
            ("other: String", "other: String?"),
            ("vec: Vector(2)?", "vec: Vector(2)")
        ]),
        [
            json!({"kind": "set_nullable", "type_kind": "node", "type_name": "Package", "property_name": "other"}),
            json!({"kind": "set_required", "type_kind": "node", "type_name": "Package", "property_name": "vec", "checked": true}),
        ]
    );
    assert_eq!(codes(&[("vec: Vector(2)?", "vec: Vector(3)?")]), ["M301"]);
    assert_eq!(
        codes(&[("name: String @key", "name: String @key  k: String @unique")]),
        [""; 0]
    );
}
