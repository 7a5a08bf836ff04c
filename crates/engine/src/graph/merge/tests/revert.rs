//! Reverts: to a commit, and of a commit.

use super::*;
use crate::graph::{CommitId, CommitKind, RevertMode, RevertOptions, RevertResult};

async fn head(fixture: &Fixture) -> CommitId {
    fixture
        .graph
        .branch(&BranchName::main())
        .await
        .unwrap()
        .head
        .id
}

async fn revert(fixture: &Fixture, mode: RevertMode) -> Result<RevertResult> {
    let options = RevertOptions {
        mode,
        dry_run: false,
        write: WriteOptions::default(),
    };
    fixture.graph.revert(&BranchName::main(), &options).await
}

async fn tried(fixture: &Fixture, mode: RevertMode) -> Result<RevertResult> {
    let options = RevertOptions {
        mode,
        dry_run: true,
        write: WriteOptions::default(),
    };
    fixture.graph.revert(&BranchName::main(), &options).await
}

const BASE: &str = r#"insert Package { name: "a", kb: 0 }  insert Package { name: "b", kb: 0 }
    insert Needs { from: "a", to: "b" }  insert Person { email: "p" }"#;

#[tokio::test]
async fn to_a_commit_restores_every_entity() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    let (then, at) = (fixture.state("main").await, head(&fixture).await);
    fixture
        .run(
            "main",
            r#"delete Package where name = "b"  update Package set { kb: 5 } where name = "a""#,
        )
        .await;
    fixture.run("main", r#"insert Package { name: "c" }"#).await;
    let before = fixture.state("main").await;
    let dry = tried(&fixture, RevertMode::To(at)).await.unwrap();
    assert_eq!(fixture.state("main").await, before);
    let done = revert(&fixture, RevertMode::To(at)).await.unwrap();
    assert_eq!(done.changes, dry.changes);
    let touched: Vec<_> = done
        .changes
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert_eq!(touched, [("Package", 1, 1, 1), ("Needs", 1, 0, 0)]);
    let commit = done.commit.unwrap();
    assert_eq!((commit.kind, commit.parents.len()), (CommitKind::Revert, 1));
    assert_eq!(commit.message, Some(format!("restored {at}")));
    assert_eq!(fixture.state("main").await, then);
    let again = revert(&fixture, RevertMode::To(at)).await.unwrap();
    assert_eq!(again.commit, None);
}

#[tokio::test]
async fn undoing_leaves_what_came_after() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture
        .run(
            "main",
            r#"delete Package where name = "b"  insert Package { name: "c" }"#,
        )
        .await;
    let wrong = head(&fixture).await;
    fixture
        .run(
            "main",
            r#"update Package set { kb: 5 } where name = "a"  insert Person { email: "q" }"#,
        )
        .await;
    let done = revert(&fixture, RevertMode::Undo(wrong)).await.unwrap();
    let touched: Vec<_> = done
        .changes
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert_eq!(touched, [("Package", 1, 0, 1), ("Needs", 1, 0, 0)]);
    let state = fixture.state("main").await;
    let keys: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "Needs [\"a\",\"b\"]",
            "Package a",
            "Package b",
            "Person p",
            "Person q"
        ]
    );
    assert_eq!(state["Package a"][2]["kb"], json!(5));
    // Undoing the undoing brings it back.
    let undo = done.commit.unwrap().id;
    revert(&fixture, RevertMode::Undo(undo)).await.unwrap();
    let state = fixture.state("main").await;
    assert!(state.contains_key("Package c") && !state.contains_key("Package b"));
    assert!(!state.contains_key("Needs [\"a\",\"b\"]"));
}

#[tokio::test]
async fn undoing_what_was_changed_since_is_a_conflict() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    fixture
        .run(
            "main",
            r#"update Package set { kb: 1 } where name = "a"  insert Package { name: "c" }"#,
        )
        .await;
    let wrong = head(&fixture).await;
    fixture
        .run(
            "main",
            r#"update Package set { kb: 2 } where name = "a"  insert Needs { from: "a", to: "c" }"#,
        )
        .await;
    let expected = [
        "divergent_update Package a",
        "orphan_edge Needs [\"a\",\"c\"]",
    ];
    let dry = tried(&fixture, RevertMode::Undo(wrong)).await.unwrap();
    assert_eq!(kinds(&dry.conflicts), expected);
    let before = fixture.state("main").await;
    let error = revert(&fixture, RevertMode::Undo(wrong)).await.unwrap_err();
    assert_eq!(refused(&error), expected);
    assert_eq!(fixture.state("main").await, before);
}

#[tokio::test]
async fn a_merge_is_undone_against_its_first_parent() {
    let fixture = Fixture::forked(
        BASE,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }  update Package set { kb: 3 } where name = "a""#,
    )
    .await;
    let before = fixture.state("main").await;
    let merged = fixture.merge_side().await.unwrap().commit.unwrap().id;
    fixture
        .run("main", r#"insert Person { email: "late" }"#)
        .await;
    revert(&fixture, RevertMode::Undo(merged)).await.unwrap();
    let mut state = fixture.state("main").await;
    state.remove("Person late");
    assert_eq!(state, before);
}

#[tokio::test]
async fn only_commits_of_the_branch_can_be_reverted() {
    let fixture = Fixture::forked(BASE, "", r#"insert Package { name: "s" }"#).await;
    let side = fixture.graph.branch(&branch("side")).await.unwrap().head.id;
    for mode in [RevertMode::To(side), RevertMode::Undo(side)] {
        let error = revert(&fixture, mode).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{mode:?}");
    }
    let history = fixture
        .graph
        .commits(&BranchName::main(), None, None)
        .await
        .unwrap();
    let first = history.commits.last().unwrap().id;
    let error = revert(&fixture, RevertMode::Undo(first)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChangeDiffRefused);
}

#[tokio::test]
async fn nothing_is_reverted_across_a_schema_change() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    let old = head(&fixture).await;
    let wider = SCHEMA.replace("kb: I64?", "kb: I64?  note: String?");
    let by = Authorship {
        control_epoch: Some(1),
        ..Authorship::default()
    };
    let staged = fixture
        .graph
        .stage_schema(&wider, CommitId::new(), &by)
        .await
        .unwrap();
    fixture.graph.commit_schema(staged).await.unwrap();
    for mode in [
        RevertMode::To(old),
        RevertMode::Undo(old),
        RevertMode::Undo(head(&fixture).await),
    ] {
        let error = revert(&fixture, mode).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChangeDiffRefused, "{mode:?}");
        assert!(error.detail().refusal.is_some());
    }
}

#[tokio::test]
async fn a_repeated_revert_commits_once() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", BASE).await;
    let wrong = head(&fixture).await;
    let options = RevertOptions {
        mode: RevertMode::Undo(wrong),
        dry_run: false,
        write: WriteOptions {
            idempotency_key: Some("k".to_owned()),
            ..WriteOptions::default()
        },
    };
    let first = fixture
        .graph
        .revert(&BranchName::main(), &options)
        .await
        .unwrap();
    let second = fixture
        .graph
        .revert(&BranchName::main(), &options)
        .await
        .unwrap();
    assert_eq!(first.commit, second.commit);
    assert_eq!(first.changes, second.changes);
    assert!(second.replayed && !first.replayed);
}
