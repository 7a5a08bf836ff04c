//! The acceptance examples about migrations (schema language, section 12, rows 42 to 48), on a graph
//! with rows.

use serde_json::{Value as Json, json};

use super::*;

/// A change of a graph with rows.
struct Change {
    row: u32,
    before: &'static str,
    /// Lines that are loaded before.
    rows: &'static [&'static str],
    after: &'static str,
    /// The first words of what is refused; without, it is applied.
    refused: Option<&'static str>,
    /// Kinds of the steps that are planned, or their codes.
    steps: &'static [&'static str],
    /// Entities of the type that are there afterwards, by id.
    left: (&'static str, &'static str),
}

const P: &str = "node P { k: String @key  n: I32?  s: enum(a, b) }";
const A_B: &[&str] = &[
    r#"{"type":"P","data":{"k":"a","n":1,"s":"a"}}"#,
    r#"{"type":"P","data":{"k":"b","n":1,"s":"b"}}"#,
];
const UNCHANGED: (&str, &str) = (
    "P",
    r#"{"a":{"k":"a","n":1,"s":"a"},"b":{"k":"b","n":1,"s":"b"}}"#,
);

const CHANGES: &[Change] = &[
    Change {
        row: 42,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I64?  s: enum(a, b) }",
        refused: Some("M301"),
        steps: &["M301"],
        left: UNCHANGED,
    },
    Change {
        row: 42,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I32?  s: enum(a, b, c) }",
        refused: None,
        steps: &["extend_enum"],
        left: UNCHANGED,
    },
    Change {
        row: 42,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I32?  s: enum(a) }",
        refused: Some("M302"),
        steps: &["M302"],
        left: UNCHANGED,
    },
    Change {
        row: 43,
        before: "node P { k: String @key }",
        rows: &[r#"{"type":"P","data":{"k":"a"}}"#],
        after: "node P { k: String @key  n: I64 }",
        refused: Some("M303"),
        steps: &["add_property"],
        left: ("P", r#"{"a":{"k":"a"}}"#),
    },
    Change {
        row: 43,
        before: "node P { k: String @key }",
        rows: &[r#"{"type":"P","data":{"k":"a"}}"#],
        after: "node P { k: String @key  n: I64 @default(0) }",
        refused: None,
        steps: &["add_property"],
        left: ("P", r#"{"a":{"k":"a","n":0}}"#),
    },
    Change {
        row: 44,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I32? @unique  s: enum(a, b) }",
        refused: Some("M307"),
        steps: &["add_constraint"],
        left: UNCHANGED,
    },
    Change {
        row: 45,
        before: "node T { a: String  b: U32  @key(a, b) }",
        rows: &[r#"{"type":"T","data":{"a":"x","b":7}}"#],
        after: "node T { z: String @rename_from(\"a\")  c: U32 @rename_from(\"b\")  @key(c, z) }",
        refused: None,
        steps: &["rename_property", "rename_property"],
        left: ("T", r#"{"[\"x\",\"7\"]":{"c":7,"z":"x"}}"#),
    },
    Change {
        row: 46,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I32?  s: enum(a, b) } node Q @rename_from(\"Ghost\") { }",
        refused: Some("M311"),
        steps: &["add_type", "M311"],
        left: UNCHANGED,
    },
    Change {
        row: 46,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  n: I32?  s: enum(a, b) } edge E: P -> P @rename_from(\"P\")",
        refused: Some("M312"),
        steps: &["add_type", "M312"],
        left: UNCHANGED,
    },
    Change {
        row: 47,
        before: P,
        rows: A_B,
        after: "node P { k: String @key  s: enum(a, b) }",
        refused: None,
        steps: &["drop_property"],
        left: ("P", r#"{"a":{"k":"a","s":"a"},"b":{"k":"b","s":"b"}}"#),
    },
    Change {
        row: 47,
        before: P,
        rows: A_B,
        after: "node P { n: I32?  s: enum(a, b) }",
        refused: Some("M305"),
        steps: &["M305"],
        left: UNCHANGED,
    },
    Change {
        row: 48,
        before: P,
        rows: A_B,
        after: "// again\nnode P { s: enum(b, a)  n: I32?  /* the key */ k: String @key }",
        refused: None,
        steps: &[],
        left: UNCHANGED,
    },
];

#[tokio::test]
async fn migrations_give_what_the_contract_says() {
    for change in CHANGES {
        let row = change.row;
        let Fixture { graph, .. } = fixture(change.before).await;
        load(&graph, "main", &change.rows.join("\n")).await.unwrap();
        let before = snapshot(&graph, &on("main")).await;
        let accepted = &before.schema.catalog;
        let plan = omnigraph_lang::schema::evolve(accepted, change.after)
            .unwrap()
            .plan;
        let steps = serde_json::to_value(&plan.steps).unwrap();
        let word = |step: &Json| {
            let word = step["code"].as_str().or(step["kind"].as_str());
            word.unwrap().to_owned()
        };
        let steps: Vec<String> = steps.as_array().unwrap().iter().map(word).collect();
        assert_eq!(steps, change.steps, "{row}: {}", change.after);
        let applied = apply(&graph, change.after).await;
        match (&applied, change.refused) {
            (Ok(_), None) => {}
            (Err(error), Some(code)) => {
                let (found, _) = findings(error);
                assert!(found[0].starts_with(code), "{row}: {found:?}");
                let after = snapshot(&graph, &on("main")).await;
                assert_eq!(
                    after.commit.id, before.commit.id,
                    "{row}: nothing is applied"
                );
            }
            // A schema that changes nothing makes no commit.
            (Err(_), None) if change.steps.is_empty() => {}
            _ => panic!("{row}: {}: {applied:?}", change.after),
        }
        let (name, left) = change.left;
        let left: BTreeMap<String, Json> = serde_json::from_str(left).unwrap();
        let found = exported(&graph, &on("main"), name).await;
        assert_eq!(json!(found), json!(left), "{row}: {}", change.after);
    }
}

#[test]
fn every_row_about_migrations_is_here() {
    let mut rows: Vec<u32> = CHANGES.iter().map(|change| change.row).collect();
    rows.dedup();
    assert_eq!(rows, (42..=48).collect::<Vec<u32>>());
}
