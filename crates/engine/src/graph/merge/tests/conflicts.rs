//! Every kind of conflict under every strategy.

use serde_json::json;

use super::*;

const PACKAGES: &str = r#"insert Package { name: "a", kb: 1 }  insert Package { name: "b", kb: 1 }
    insert Package { name: "c", kb: 1 }"#;

struct Case {
    name: &'static str,
    base: &'static str,
    ours: &'static str,
    theirs: &'static str,
    /// What a merge without a strategy reports.
    conflicts: &'static [&'static str],
    /// What remains when ours, and when theirs decides.
    under_ours: &'static [&'static str],
    under_theirs: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "inserts of one key with different values",
        base: "",
        ours: r#"insert Package { name: "x", kb: 1 }"#,
        theirs: r#"insert Package { name: "x", kb: 2 }"#,
        conflicts: &["divergent_insert Package x"],
        under_ours: &[],
        under_theirs: &[],
    },
    Case {
        name: "updates to different values",
        base: PACKAGES,
        ours: r#"update Package set { kb: 2 } where name = "a""#,
        theirs: r#"update Package set { kb: 3 } where name = "a""#,
        conflicts: &["divergent_update Package a"],
        under_ours: &[],
        under_theirs: &[],
    },
    Case {
        name: "updates of different properties of one entity",
        base: PACKAGES,
        ours: r#"update Package set { kb: 2 } where name = "a""#,
        theirs: r#"update Package set { site: "s" } where name = "a""#,
        conflicts: &["divergent_update Package a"],
        under_ours: &[],
        under_theirs: &[],
    },
    Case {
        name: "deleted by the target, changed by the source",
        base: PACKAGES,
        ours: r#"delete Package where name = "a""#,
        theirs: r#"update Package set { kb: 3 } where name = "a""#,
        conflicts: &["delete_vs_update Package a"],
        under_ours: &[],
        under_theirs: &[],
    },
    Case {
        name: "changed by the target, deleted by the source",
        base: PACKAGES,
        ours: r#"update Package set { kb: 3 } where name = "a""#,
        theirs: r#"delete Package where name = "a""#,
        conflicts: &["delete_vs_update Package a"],
        under_ours: &[],
        under_theirs: &[],
    },
    Case {
        name: "the source adds an edge to a node that the target deleted",
        base: PACKAGES,
        ours: r#"delete Package where name = "b""#,
        theirs: r#"insert Needs { from: "a", to: "b" }"#,
        conflicts: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_ours: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_theirs: &["orphan_edge Needs [\"a\",\"b\"]"],
    },
    Case {
        name: "the source deletes a node to which the target added an edge",
        base: PACKAGES,
        ours: r#"insert Needs { from: "a", to: "b" }"#,
        theirs: r#"delete Package where name = "a""#,
        conflicts: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_ours: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_theirs: &["orphan_edge Needs [\"a\",\"b\"]"],
    },
    Case {
        name: "an edge is changed by one side and goes with its node on the other",
        base: r#"insert Package { name: "a" }  insert Package { name: "b" }
            insert Needs { from: "a", to: "b" }"#,
        ours: r#"update Needs set { floor: "2" } where from = "a""#,
        theirs: r#"delete Package where name = "b""#,
        conflicts: &["delete_vs_update Needs [\"a\",\"b\"]"],
        under_ours: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_theirs: &[],
    },
    Case {
        name: "a node is kept, the edge that the source added to it with it",
        base: PACKAGES,
        ours: r#"delete Package where name = "b""#,
        theirs: r#"update Package set { kb: 9 } where name = "b"  insert Needs { from: "a", to: "b" }"#,
        conflicts: &[
            "delete_vs_update Package b",
            "orphan_edge Needs [\"a\",\"b\"]",
        ],
        under_ours: &["orphan_edge Needs [\"a\",\"b\"]"],
        under_theirs: &[],
    },
    Case {
        name: "both sides give the same unique value away",
        base: PACKAGES,
        ours: r#"update Package set { site: "s" } where name = "a""#,
        theirs: r#"update Package set { site: "s" } where name = "b""#,
        conflicts: &["unique_violation Package b"],
        under_ours: &["unique_violation Package b"],
        under_theirs: &["unique_violation Package b"],
    },
    Case {
        name: "a strategy makes two unique values equal",
        base: r#"insert Package { name: "a", site: "s" }  insert Package { name: "b" }"#,
        ours: r#"update Package set { site: "t" } where name = "a""#,
        theirs: r#"update Package set { kb: 5 } where name = "a"
            update Package set { site: "t" } where name = "b""#,
        conflicts: &["divergent_update Package a", "unique_violation Package b"],
        under_ours: &["unique_violation Package b"],
        under_theirs: &[],
    },
    Case {
        name: "together they have too many edges",
        base: r#"insert Package { name: "a" }  insert Package { name: "b" }
            insert Package { name: "c" }  insert Person { email: "p" }
            insert Keeps { from: "p", to: "a" }"#,
        ours: r#"insert Keeps { from: "p", to: "b" }"#,
        theirs: r#"insert Keeps { from: "p", to: "c" }"#,
        conflicts: &["cardinality_violation Keeps [\"p\",\"c\"]"],
        under_ours: &["cardinality_violation Keeps [\"p\",\"c\"]"],
        under_theirs: &["cardinality_violation Keeps [\"p\",\"c\"]"],
    },
    Case {
        name: "together they have too few edges",
        base: r#"insert Package { name: "a" }  insert Person { email: "p" }
            insert Person { email: "q" }  insert Starts { from: "a", to: "p" }
            insert Starts { from: "a", to: "q" }"#,
        ours: r#"delete Starts where to = "p""#,
        theirs: r#"delete Starts where to = "q""#,
        conflicts: &["cardinality_violation Starts [\"a\",\"q\"]"],
        under_ours: &["cardinality_violation Starts [\"a\",\"q\"]"],
        under_theirs: &["cardinality_violation Starts [\"a\",\"q\"]"],
    },
];

#[tokio::test]
async fn every_kind_under_every_strategy() {
    for case in CASES {
        let fixture = Fixture::forked(case.base, case.ours, case.theirs).await;
        let before = fixture.state("main").await;
        let tried = fixture.merge("side", "main", dry()).await.unwrap();
        assert_eq!(tried.outcome, MergeOutcome::Conflicted, "{}", case.name);
        assert_eq!(kinds(&tried.conflicts), case.conflicts, "{}", case.name);
        assert_eq!(tried.conflicts.unresolved, tried.conflicts.total);
        let refusal = fixture.merge_side().await.unwrap_err();
        assert_eq!(refused(&refusal), case.conflicts, "{}", case.name);
        for (way, left) in [
            (MergeStrategy::Ours, case.under_ours),
            (MergeStrategy::Theirs, case.under_theirs),
        ] {
            fixture.fork("copy", "main").await;
            let merged = fixture.merge("side", "copy", strategy(way)).await;
            let name = format!("{} under {way:?}", case.name);
            match merged {
                Err(error) => assert_eq!(refused(&error), left, "{name}"),
                Ok(merged) => {
                    assert!(left.is_empty(), "{name}");
                    assert_eq!(merged.outcome, MergeOutcome::Merged, "{name}");
                    assert_eq!(merged.conflicts.unresolved, 0);
                    let wanted = match way {
                        MergeStrategy::Ours => Resolution::Ours,
                        _ => Resolution::Theirs,
                    };
                    let all = &merged.conflicts.listed;
                    assert!(!all.is_empty(), "{name}");
                    assert!(all.iter().all(|c| c.resolution == Some(wanted)), "{name}");
                }
            }
            fixture
                .graph
                .delete_branch(&branch("copy"), None, &Authorship::default())
                .await
                .unwrap();
        }
        assert_eq!(fixture.state("main").await, before, "{}", case.name);
    }
}

#[tokio::test]
async fn a_conflict_carries_base_ours_and_theirs() {
    let fixture = Fixture::forked(
        PACKAGES,
        r#"update Package set { kb: 2 } where name = "a"  delete Package where name = "b""#,
        r#"update Package set { kb: 3, site: "s" } where name = "a"
           update Package set { kb: 4 } where name = "b""#,
    )
    .await;
    let tried = fixture.merge("side", "main", dry()).await.unwrap();
    let [a, b] = tried.conflicts.listed.as_slice() else {
        panic!("{:?}", tried.conflicts);
    };
    let values = |image: &Option<ConflictImage>| image.as_ref().map(|i| json!(i.properties));
    let expected = |kb: i64, site: Json| Some(json!({"name": "a", "kb": kb, "site": site}));
    assert_eq!(values(&a.base), expected(1, Json::Null));
    assert_eq!(values(&a.ours), expected(2, Json::Null));
    assert_eq!(values(&a.theirs), expected(3, json!("s")));
    assert_eq!(b.ours, None);
    assert_eq!(b.theirs.as_ref().unwrap().properties["kb"], json!(4));
    assert!(tried.commit.is_none());
}

#[tokio::test]
async fn edges_carry_their_ends() {
    let fixture = Fixture::forked(
        PACKAGES,
        r#"delete Package where name = "b""#,
        r#"insert Needs { from: "a", to: "b", floor: "1" }"#,
    )
    .await;
    let tried = fixture.merge("side", "main", dry()).await.unwrap();
    let conflict = &tried.conflicts.listed[0];
    assert!(conflict.edge);
    let theirs = conflict.theirs.as_ref().unwrap();
    assert_eq!(theirs.ends, Some(["a".to_owned(), "b".to_owned()]));
    assert_eq!(theirs.properties["floor"], json!("1"));
    assert_eq!(conflict.base, None);
}

#[tokio::test]
async fn strategies_by_type_go_before_the_general_one() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a" }  insert Package { name: "b" }
           insert Needs { from: "a", to: "b" }"#,
        r#"update Package set { kb: 2 } where name = "a"  update Needs set { floor: "ours" } where from = "a""#,
        r#"update Package set { kb: 3 } where name = "a"  update Needs set { floor: "theirs" } where from = "a""#,
    )
    .await;
    let mut options = strategy(MergeStrategy::Ours);
    options
        .strategies
        .by_type
        .insert("needs".to_owned(), MergeStrategy::Theirs);
    let merged = fixture.merge("side", "main", options).await.unwrap();
    let resolved: Vec<_> = merged
        .conflicts
        .listed
        .iter()
        .map(|c| (c.type_name.as_str(), c.resolution.unwrap()))
        .collect();
    assert_eq!(
        resolved,
        [("Package", Resolution::Ours), ("Needs", Resolution::Theirs)]
    );
    let state = fixture.state("main").await;
    assert_eq!(state["Package a"][2]["kb"], json!(2));
    assert_eq!(state["Needs [\"a\",\"b\"]"][2]["floor"], json!("theirs"));

    let mut unknown = MergeOptions::default();
    unknown
        .strategies
        .by_type
        .insert("Nope".to_owned(), MergeStrategy::Ours);
    fixture.run("main", r#"insert Package { name: "m" }"#).await;
    fixture.run("side", r#"insert Package { name: "s" }"#).await;
    let error = fixture.merge("side", "main", unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("'Nope'"), "{error}");
}

#[tokio::test]
async fn equal_changes_of_both_sides_are_no_conflict() {
    let change = r#"update Package set { kb: 7 } where name = "a"  delete Package where name = "b"
        insert Package { name: "new", kb: 1 }"#;
    let fixture = Fixture::forked(PACKAGES, change, change).await;
    let before = fixture.state("main").await;
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!(merged.changes, []);
    assert_eq!(merged.conflicts, Conflicts::default());
    assert_eq!(merged.commit.unwrap().parents.len(), 2);
    assert_eq!(fixture.state("main").await, before);
    let again = fixture.merge_side().await.unwrap();
    assert_eq!(again.outcome, MergeOutcome::AlreadyUpToDate);
}

#[tokio::test]
async fn what_only_one_side_changed_is_taken() {
    let fixture = Fixture::forked(
        r#"insert Package { name: "a", kb: 1 }  insert Package { name: "b", kb: 1 }
           insert Package { name: "c", kb: 1 }  insert Person { email: "p" }
           insert Needs { from: "b", to: "c" }"#,
        r#"update Package set { kb: 2 } where name = "a"  insert Package { name: "ours" }"#,
        r#"update Package set { kb: 3 } where name = "c"  insert Package { name: "theirs" }
           delete Package where name = "b"  insert Person { email: "q" }"#,
    )
    .await;
    let merged = fixture.merge_side().await.unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    let touched: Vec<_> = merged
        .changes
        .iter()
        .map(|t| (t.type_name.as_str(), t.inserted, t.updated, t.deleted))
        .collect();
    assert_eq!(
        touched,
        [
            ("Package", 1, 1, 1),
            ("Person", 1, 0, 0),
            ("Needs", 0, 0, 1)
        ]
    );
    assert_eq!(merged.commit.unwrap().touched, merged.changes);
    let state = fixture.state("main").await;
    let keys: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "Package a",
            "Package c",
            "Package ours",
            "Package theirs",
            "Person p",
            "Person q"
        ]
    );
    assert_eq!(state["Package a"][2]["kb"], json!(2));
    assert_eq!(state["Package c"][2]["kb"], json!(3));
}

#[tokio::test]
async fn only_the_first_hundred_are_listed_and_all_are_counted() {
    let insert = |kb: u32| {
        let one = |n: u32| format!(r#"insert Package {{ name: "n{n:03}", kb: {kb} }}"#);
        (0..130).map(one).collect::<Vec<_>>().join(" ")
    };
    let fixture = Fixture::forked("", &insert(1), &insert(2)).await;
    let error = fixture.merge_side().await.unwrap_err();
    let conflicts = error.detail().merge_conflicts.as_ref().unwrap();
    assert_eq!((conflicts.listed.len(), conflicts.total), (100, 130));
    assert_eq!(conflicts.listed[99].entity_id.as_deref(), Some("n099"));
    assert!(error.message().contains("130 conflicts"), "{error}");
    let merged = fixture
        .merge("side", "main", strategy(MergeStrategy::Theirs))
        .await
        .unwrap();
    assert_eq!(merged.conflicts.total, 130);
    assert_eq!(merged.changes[0].updated, 130);
}
