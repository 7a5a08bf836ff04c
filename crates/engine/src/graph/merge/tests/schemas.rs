//! Branches with different schemas.

use super::*;
use crate::graph::{CommitId, Target};

const BASE: &str = r#"insert Package { name: "a", kb: 1, site: "sa" }  insert Package { name: "b", kb: 2 }
    insert Person { email: "p" }  insert Needs { from: "a", to: "b" }"#;

async fn apply(fixture: &Fixture, schema: &str) {
    let by = Authorship {
        control_epoch: Some(1),
        ..Authorship::default()
    };
    let id = CommitId::new();
    let staged = fixture.graph.stage_schema(schema, id, &by).await.unwrap();
    fixture.graph.commit_schema(staged).await.unwrap();
}

fn newer() -> String {
    SCHEMA
        .replace(
            r#"kb: I64?"#,
            r#"size: I64? @rename_from("kb")  licence: String @default("free")"#,
        )
        .replace("site: String? @unique", "note: String?")
}

async fn schema_of(fixture: &Fixture, name: &str) -> String {
    let target = Target::Branch(branch(name));
    let snapshot = fixture
        .graph
        .snapshot(&target, &ReadOptions::default())
        .await;
    snapshot.unwrap().schema().digest.clone()
}

#[tokio::test]
async fn a_branch_behind_its_target_is_carried_forward() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture.fork("side", "main").await;
    fixture
        .run(
            "side",
            r#"update Package set { kb: 20 } where name = "b"  insert Package { name: "c", kb: 3, site: "sc" }
               insert Needs { from: "c", to: "a" }"#,
        )
        .await;
    apply(&fixture, &newer()).await;
    fixture
        .run(
            "main",
            r#"update Package set { licence: "gpl" } where name = "a""#,
        )
        .await;
    let tried = fixture.merge("side", "main", dry()).await.unwrap();
    assert_eq!(tried.outcome, MergeOutcome::Merged, "{:?}", tried.conflicts);
    let merged = fixture.merge_side().await.unwrap();
    let touched: Vec<_> = merged
        .changes
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert_eq!(touched, [("Package", 1, 1, 0), ("Needs", 1, 0, 0)]);
    let state = fixture.state("main").await;
    let data = |name: &str| state[&format!("Package {name}")][2].clone();
    assert_eq!(
        data("a"),
        json!({"id": "a", "name": "a", "size": 1, "licence": "gpl", "note": null})
    );
    assert_eq!(
        data("b"),
        json!({"id": "b", "name": "b", "size": 20, "licence": "free", "note": null})
    );
    assert_eq!(
        data("c"),
        json!({"id": "c", "name": "c", "size": 3, "licence": "free", "note": null})
    );
    assert!(state.contains_key("Needs [\"c\",\"a\"]"));

    // The source gets the new schema by merging its target.
    let back = fixture
        .merge("main", "side", MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(back.outcome, MergeOutcome::FastForward);
    assert_eq!(fixture.state("side").await, state);
}

#[tokio::test]
async fn conflicts_are_told_in_the_newer_schema() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture.fork("side", "main").await;
    fixture
        .run("side", r#"update Package set { kb: 20 } where name = "b""#)
        .await;
    apply(&fixture, &newer()).await;
    fixture
        .run(
            "main",
            r#"update Package set { size: 21 } where name = "b""#,
        )
        .await;
    let tried = fixture.merge("side", "main", dry()).await.unwrap();
    assert_eq!(kinds(&tried.conflicts), ["divergent_update Package b"]);
    let conflict = &tried.conflicts.listed[0];
    let size = |image: &Option<ConflictImage>| image.as_ref().unwrap().properties["size"].clone();
    assert_eq!(
        [&conflict.base, &conflict.ours, &conflict.theirs].map(size),
        [json!(2), json!(21), json!(20)]
    );
}

#[tokio::test]
async fn a_branch_takes_the_newer_schema_of_its_source() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture.fork("side", "main").await;
    fixture
        .run(
            "side",
            r#"insert Package { name: "c", kb: 3 }  delete Package where name = "b""#,
        )
        .await;
    apply(&fixture, &newer()).await;
    fixture
        .run("main", r#"insert Package { name: "d", licence: "gpl" }"#)
        .await;
    let merged = fixture
        .merge("main", "side", MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!(
        schema_of(&fixture, "side").await,
        schema_of(&fixture, "main").await
    );
    let state = fixture.state("side").await;
    let keys: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(keys, ["Package a", "Package c", "Package d", "Person p"]);
    assert_eq!(state["Package c"][2]["licence"], json!("free"));
    let forward = fixture.merge_side().await.unwrap();
    assert_eq!(forward.outcome, MergeOutcome::FastForward);
    assert_eq!(fixture.state("main").await, state);
}

#[tokio::test]
async fn rows_that_do_not_fit_the_newer_schema_are_conflicts() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture
        .run("main", r#"insert Package { name: "a", kb: 1 }"#)
        .await;
    fixture.fork("side", "main").await;
    fixture
        .run("side", r#"insert Package { name: "large", kb: 900 }"#)
        .await;
    let bounded = SCHEMA.replace(
        "@unique }\nnode Person",
        "@unique  @range(kb, 0..100) }\nnode Person",
    );
    assert_ne!(bounded, SCHEMA);
    apply(&fixture, &bounded).await;
    let error = fixture.merge_side().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MergeConflict);
    let conflicts = error.detail().merge_conflicts.as_ref().unwrap();
    assert_eq!(
        conflicts.listed[0].kind,
        ConflictKind::ValueConstraintViolation
    );
    assert_eq!(conflicts.listed[0].type_name, "Package");
    fixture
        .run(
            "side",
            r#"update Package set { kb: 90 } where name = "large""#,
        )
        .await;
    fixture.merge_side().await.unwrap();
}

#[tokio::test]
async fn what_was_dropped_is_gone_and_new_types_stay() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture.fork("side", "main").await;
    fixture
        .run(
            "side",
            r#"insert Needs { from: "b", to: "a" }  update Package set { kb: 7 } where name = "a""#,
        )
        .await;
    let without = SCHEMA
        .lines()
        .filter(|line| !line.starts_with("edge Needs"))
        .collect::<Vec<_>>()
        .join("\n");
    apply(
        &fixture,
        &format!("{without}\nnode Fresh {{ key: String @key }}"),
    )
    .await;
    fixture.run("main", r#"insert Fresh { key: "f" }"#).await;
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    let state = fixture.state("main").await;
    let keys: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(keys, ["Fresh f", "Package a", "Package b", "Person p"]);
    assert_eq!(state["Package a"][2]["kb"], json!(7));
}
