//! What steps cost, exactly: where only metadata changes, the cost does not grow with the rows.

use serde_json::json;

use super::*;
use crate::store::RequestCounts;

const BEFORE: &str = "node P { k: String @key  n: I64?  m: I64 } node Q { k: String @key }";

async fn with_rows(fragments: usize) -> Fixture {
    let f = fixture(BEFORE).await;
    for part in 0..fragments {
        let row = |k: usize| {
            json!({"type": "P", "data": {"k": format!("p{part}-{k}"), "n": k, "m": k}}).to_string()
        };
        let rows: Vec<String> = (0..10).map(row).collect();
        load(&f.graph, "main", &rows.join("\n")).await.unwrap();
    }
    // A reader has been there, and the log's hint is out of the way.
    exported(&f.graph, &on("main"), "P").await;
    f
}

async fn cost(fragments: usize, after: &str) -> RequestCounts {
    let f = with_rows(fragments).await;
    let before = f.store.requests();
    apply(&f.graph, after).await.unwrap();
    f.store.requests() - before
}

#[tokio::test]
async fn metadata_only_steps_cost_the_same_for_any_number_of_rows() {
    for (name, after, puts) in [
        // The schema object and the entry; where the table changes, transaction and manifest.
        ("optional", BEFORE.replace("m: I64", "m: I64?"), 4),
        (
            "rename",
            BEFORE.replace("n: I64?", "x: I64? @rename_from(\"n\")"),
            4,
        ),
        ("drop", BEFORE.replace("n: I64?", ""), 4),
        ("add", BEFORE.replace("n: I64?", "n: I64?  x: String?"), 4),
        (
            "rename a type",
            BEFORE.replace("node P {", "node R @rename_from(\"P\") {"),
            2,
        ),
        (
            "describe",
            BEFORE.replace("n: I64?", "n: I64? @description(\"n\")"),
            2,
        ),
        (
            "drop a type",
            BEFORE.replace("node Q { k: String @key }", ""),
            2,
        ),
        // Drop, rename and loosen are one step of the table, adding any number of columns another.
        (
            "all",
            BEFORE.replace(
                "n: I64?  m: I64",
                "x: I64? @rename_from(\"m\") y: I64? z: Date?",
            ),
            6,
        ),
    ] {
        let (few, many) = (cost(2, &after).await, cost(9, &after).await);
        assert_eq!(
            (few.put, few.delete, few.list),
            (puts, 0, 0),
            "{name}: {few}"
        );
        assert_eq!(
            (few.put, few.get, few.head, few.list),
            (many.put, many.get, many.head, many.list),
            "{name}: {few} {many}"
        );
        assert!(few.get <= 4, "{name}: {few}");
    }
}

#[tokio::test]
async fn rules_write_nothing_but_the_entry() {
    for after in [
        BEFORE.replace("n: I64?", "n: I64"),
        BEFORE.replace("n: I64?", "n: I64?  @unique(n, k)"),
        BEFORE.replace("n: I64?", "n: I64?  @range(n, 0..)"),
    ] {
        let (few, many) = (cost(2, &after).await, cost(9, &after).await);
        assert_eq!((few.put, many.put), (2, 2), "{after}: {few} {many}");
    }
}

#[tokio::test]
async fn a_fill_writes_one_file_for_a_fragment() {
    let one = BEFORE.replace("n: I64?", "n: I64?  x: I64 @default(1)");
    let two = BEFORE.replace(
        "n: I64?",
        "n: I64?  x: I64 @default(1)  y: String @default(\"\")",
    );
    for after in [one, two] {
        let (few, many) = (cost(2, &after).await, cost(9, &after).await);
        assert_eq!((few.put, many.put), (4 + 2, 4 + 9), "{after}: {few} {many}");
    }
}
