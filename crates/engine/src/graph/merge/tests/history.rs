//! Histories with several merges, and merges beside other writers.

use std::sync::Arc;

use super::*;
use crate::graph::delta::Side;
use crate::graph::{Commit, CommitKind};

async fn head(fixture: &Fixture, name: &str) -> Arc<Commit> {
    fixture
        .graph
        .shared
        .branches
        .head(&branch(name))
        .await
        .unwrap()
        .commit
}

#[tokio::test]
async fn a_fast_forward_says_what_it_brings() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", r#"insert Package { name: "a" }"#).await;
    fixture.fork("side", "main").await;
    fixture
        .run(
            "side",
            r#"insert Package { name: "b" }  insert Person { email: "p" }"#,
        )
        .await;
    fixture.run("side", r#"insert Package { name: "c" }"#).await;
    let tried = fixture.merge("side", "main", dry()).await.unwrap();
    assert_eq!(tried.outcome, MergeOutcome::FastForward);
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::FastForward);
    assert_eq!(merged.changes, tried.changes);
    let touched: Vec<_> = merged
        .changes
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert_eq!(touched, [("Package", 2, 0, 0), ("Person", 1, 0, 0)]);
    let commit = merged.commit.unwrap();
    assert_eq!(commit.kind, CommitKind::Merge);
    assert_eq!(commit.tables, head(&fixture, "side").await.tables);
    assert_eq!(fixture.state("main").await, fixture.state("side").await);
}

/// The simpler rule, to add up what the commits say, would count an entity twice.
#[tokio::test]
async fn overlapping_commits_are_not_added_up() {
    let fixture = Fixture::new(SCHEMA).await;
    fixture.run("main", r#"insert Package { name: "a" }"#).await;
    fixture.fork("side", "main").await;
    for statement in [
        r#"insert Package { name: "b" }"#,
        r#"update Package set { kb: 1 } where name = "b""#,
        r#"update Package set { kb: 2 } where name = "a""#,
        r#"update Package set { kb: 3 } where name = "a""#,
        r#"insert Package { name: "gone" }"#,
        r#"delete Package where name = "gone""#,
    ] {
        fixture.run("side", statement).await;
    }
    let merged = fixture.merge_side().await.unwrap();
    let t = &merged.changes[0];
    assert_eq!((t.inserted, t.updated, t.deleted), (1, 1, 0));
    assert_eq!(merged.changes.len(), 1);
}

#[tokio::test]
async fn a_branch_can_be_merged_again_and_again() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a", kb: 0 }"#,
        r#"insert Package { name: "m" }"#,
        r#"update Package set { kb: 1 } where name = "a""#,
    )
    .await;
    for kb in 2..6 {
        fixture.merge_side().await.unwrap();
        fixture
            .run(
                "side",
                &format!(r#"update Package set {{ kb: {kb} }} where name = "a""#),
            )
            .await;
        fixture
            .run("main", &format!(r#"insert Package {{ name: "m{kb}" }}"#))
            .await;
    }
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    let t = &merged.changes[0];
    assert_eq!((t.inserted, t.updated, t.deleted), (0, 1, 0));
    let back = fixture
        .merge("main", "side", MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(back.outcome, MergeOutcome::FastForward);
    assert_eq!(fixture.state("main").await, fixture.state("side").await);
}

/// Two branches that were merged into each other at the same time have two best common ancestors.
async fn crossed(ours: &str, theirs: &str) -> Fixture {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a", kb: 0 }  insert Package { name: "b", kb: 0 }"#,
        ours,
        theirs,
    )
    .await;
    fixture.fork("main2", "main").await;
    fixture
        .merge("side", "main", strategy(MergeStrategy::Theirs))
        .await
        .unwrap();
    fixture
        .merge("main2", "side", strategy(MergeStrategy::Theirs))
        .await
        .unwrap();
    fixture
}

/// The simpler rule, to compare with one common ancestor, would report a conflict: against it both
/// sides changed `b`, once because one had merged the other.
#[tokio::test]
async fn crosswise_merges_have_two_bases_and_no_false_conflict() {
    let fixture = crossed(
        r#"update Package set { kb: 1 } where name = "a""#,
        r#"update Package set { kb: 2 } where name = "b""#,
    )
    .await;
    let (ours, theirs) = (head(&fixture, "main").await, head(&fixture, "side").await);
    let bases = fixture.graph.merge_bases(&ours, &theirs).await.unwrap();
    assert_eq!(bases.len(), 2);
    fixture
        .run("main", r#"update Package set { kb: 10 } where name = "a""#)
        .await;
    fixture
        .run("side", r#"update Package set { kb: 20 } where name = "b""#)
        .await;
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    let state = fixture.state("main").await;
    assert_eq!(state["Package a"][2]["kb"], json!(10));
    assert_eq!(state["Package b"][2]["kb"], json!(20));
}

/// The simpler rule would take the side that one of the ancestors favours, without a word.
#[tokio::test]
async fn opposite_decisions_of_crosswise_merges_are_a_conflict() {
    let fixture = crossed(
        r#"update Package set { kb: 1 } where name = "a""#,
        r#"update Package set { kb: 2 } where name = "a""#,
    )
    .await;
    assert_eq!(fixture.state("main").await["Package a"][2]["kb"], json!(2));
    assert_eq!(fixture.state("side").await["Package a"][2]["kb"], json!(1));
    let error = fixture.merge_side().await.unwrap_err();
    assert_eq!(refused(&error), ["divergent_update Package a"]);
}

/// Three histories: the base of the last merge is reached through a second parent.
#[tokio::test]
async fn the_base_is_found_through_second_parents() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a", kb: 0 }"#,
        r#"insert Package { name: "m" }"#,
        r#"update Package set { kb: 1 } where name = "a""#,
    )
    .await;
    fixture.fork("other", "main").await;
    fixture
        .merge("side", "other", MergeOptions::default())
        .await
        .unwrap();
    fixture
        .run("other", r#"update Package set { kb: 2 } where name = "a""#)
        .await;
    fixture.run("side", r#"insert Package { name: "s" }"#).await;
    let merged = fixture
        .merge("other", "side", MergeOptions::default())
        .await
        .unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    let state = fixture.state("side").await;
    assert_eq!(state["Package a"][2]["kb"], json!(2));
    assert!(state.contains_key("Package m") && state.contains_key("Package s"));
}

#[tokio::test]
async fn heads_that_were_asked_for_must_be_there() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a" }"#,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }"#,
    )
    .await;
    let old = head(&fixture, "main").await.parents[0].id;
    for dry_run in [true, false] {
        let options = MergeOptions {
            if_source: Some(old),
            dry_run,
            ..MergeOptions::default()
        };
        let error = fixture.merge("side", "main", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Precondition);
        let options = MergeOptions {
            write: WriteOptions {
                if_head: Some(old),
                ..WriteOptions::default()
            },
            dry_run,
            ..MergeOptions::default()
        };
        let error = fixture.merge("side", "main", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Precondition);
    }
    let options = MergeOptions {
        if_source: Some(head(&fixture, "side").await.id),
        write: WriteOptions {
            if_head: Some(head(&fixture, "main").await.id),
            ..WriteOptions::default()
        },
        ..MergeOptions::default()
    };
    fixture.merge("side", "main", options).await.unwrap();
}

fn deleting() -> MergeOptions {
    MergeOptions {
        delete_source: true,
        ..MergeOptions::default()
    }
}

#[tokio::test]
async fn the_source_is_deleted_behind_the_merged_head() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a" }"#,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }"#,
    )
    .await;
    let merged = fixture.merge("side", "main", deleting()).await.unwrap();
    assert_eq!(merged.source_deleted, Some(true));
    let gone = fixture.graph.branch(&branch("side")).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);

    fixture.fork("side", "main").await;
    let merged = fixture.merge("side", "main", deleting()).await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::AlreadyUpToDate);
    assert_eq!(merged.source_deleted, Some(true));

    fixture.fork("copy", "main").await;
    let kept = fixture.merge("main", "copy", deleting()).await.unwrap();
    assert_eq!(kept.source_deleted, Some(false));
    assert!(kept.source_delete_error.unwrap().contains("main"));
}

/// The simpler rule, to delete the branch by name, would lose what was written to it meanwhile.
#[tokio::test]
async fn a_source_that_moved_after_it_was_merged_stays() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a" }"#,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }"#,
    )
    .await;
    let merged = fixture
        .graph
        .shared
        .branches
        .head(&branch("side"))
        .await
        .unwrap();
    fixture
        .run("side", r#"insert Package { name: "late" }"#)
        .await;
    let refused = fixture
        .graph
        .end_merged(&branch("side"), &merged, &MergeOptions::default())
        .await;
    assert!(refused.unwrap().contains("has moved"));
    assert!(fixture.state("side").await.contains_key("Package late"));
}

/// Another process commits between the merge's run and its append: over a table that the merge does
/// not depend on it is re-parented, otherwise it runs again; nothing is lost either way.
#[tokio::test]
async fn a_merge_and_other_writers_lose_nothing() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a", kb: 0 }"#,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }  insert Needs { from: "s", to: "a" }"#,
    )
    .await;
    let rival = fixture.engine.open_graph(&fixture.root).await.unwrap();
    let writes = async {
        for n in 0..12 {
            run(
                &rival,
                "main",
                &format!(r#"insert Person {{ email: "p{n}" }}"#),
            )
            .await
            .unwrap();
            run(
                &rival,
                "main",
                &format!(r#"insert Package {{ name: "r{n}" }}"#),
            )
            .await
            .unwrap();
        }
    };
    let merges = async {
        for n in 0..6 {
            fixture.merge_side().await.unwrap();
            fixture
                .run("side", &format!(r#"insert Package {{ name: "s{n}" }}"#))
                .await;
        }
        fixture.merge_side().await.unwrap();
    };
    tokio::join!(writes, merges);
    let state = fixture.state("main").await;
    let packages = state
        .keys()
        .filter(|key| key.starts_with("Package "))
        .count();
    assert_eq!(packages, 3 + 12 + 6);
    let people = state
        .keys()
        .filter(|key| key.starts_with("Person "))
        .count();
    assert_eq!(people, 12);
    assert!(state.contains_key("Needs [\"s\",\"a\"]"));
}

/// Compaction by hand: the same rows in one new fragment, as a `maintenance` commit.
async fn rewrite(fixture: &Fixture, on: &str, type_name: &str) {
    use crate::graph::writer::{Attempt, Base, CommitRequest, Staged, Write};
    use crate::table::{Appended, TableChange};

    struct Rewrite(String);

    #[async_trait::async_trait]
    impl Write for Rewrite {
        type Answer = ();

        async fn attempt(&mut self, base: &Base) -> Result<((), Attempt)> {
            let snapshot = &base.snapshot;
            let node = snapshot.schema.catalog.node(&self.0).unwrap();
            let dataset = snapshot.open(node.id).await?;
            let rows = dataset.scan().try_into_batch().await?;
            let change = TableChange {
                append: Appended::Batches(vec![rows]),
                delete: Vec::new(),
                truncate: true,
            };
            let table = snapshot.table(node.id)?;
            let made = snapshot.tables.apply(&dataset, table, change).await?;
            let staged = Staged {
                tables: [(node.id, made)].into(),
                read: std::collections::BTreeSet::new(),
                touched: Vec::new(),
                kind: CommitKind::Maintenance,
            };
            Ok(((), Attempt::Staged(staged)))
        }
    }

    let (name, options) = (branch(on), WriteOptions::default());
    let request = CommitRequest {
        branch: &name,
        options: &options,
        fork_from: None,
    };
    let mut write = Rewrite(type_name.to_owned());
    fixture
        .graph
        .commit_with(request, &mut write)
        .await
        .unwrap();
}

#[tokio::test]
async fn rewritten_tables_merge_like_others() {
    for rewritten in [&["main"][..], &["side"], &["main", "side"]] {
        let fixture = Fixture::forked(
            r#"insert Package { name: "a", kb: 0 }  insert Package { name: "b", kb: 0 }
               insert Package { name: "c", kb: 0 }"#,
            r#"update Package set { kb: 1 } where name = "a""#,
            r#"update Package set { kb: 2 } where name = "b"  delete Package where name = "c""#,
        )
        .await;
        for on in rewritten {
            rewrite(&fixture, on, "Package").await;
        }
        fixture
            .run("side", r#"insert Package { name: "late" }"#)
            .await;
        let merged = fixture.merge_side().await.unwrap();
        let t = &merged.changes[0];
        assert_eq!(
            (t.inserted, t.updated, t.deleted),
            (1, 1, 1),
            "{rewritten:?}"
        );
        let state = fixture.state("main").await;
        let keys: Vec<&str> = state.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["Package a", "Package b", "Package late"],
            "{rewritten:?}"
        );
        assert_eq!(state["Package b"][2]["kb"], json!(2));
    }
}

#[tokio::test]
async fn ancestors_are_found_however_the_history_runs() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a" }"#,
        r#"insert Package { name: "m" }"#,
        r#"insert Package { name: "s" }"#,
    )
    .await;
    let base = head(&fixture, "main").await;
    let base = fixture.graph.first_parent(&base).await.unwrap().unwrap();
    let (ours, theirs) = (head(&fixture, "main").await, head(&fixture, "side").await);
    let graph = &fixture.graph;
    let bases = graph.merge_bases(&ours, &theirs).await.unwrap();
    assert_eq!(bases.iter().map(|b| b.id).collect::<Vec<_>>(), [base.id]);
    assert!(graph.descends(&ours, &base).await.unwrap());
    assert!(!graph.descends(&base, &ours).await.unwrap());
    assert!(!graph.descends(&ours, &theirs).await.unwrap());
    fixture.merge_side().await.unwrap();
    let merged = head(&fixture, "main").await;
    assert!(graph.descends(&merged, &theirs).await.unwrap());
    let bases = graph.merge_bases(&merged, &theirs).await.unwrap();
    assert_eq!(bases.iter().map(|b| b.id).collect::<Vec<_>>(), [theirs.id]);
    let _: Side = graph.side(&merged).await.unwrap();
}
