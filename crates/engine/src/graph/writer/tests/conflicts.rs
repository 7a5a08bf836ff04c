//! What others commit between the base of a write and its append.

use super::*;
use crate::error::ErrorKind;

/// The simpler rule, to append the map that the write was prepared with, would take the rival's
/// place back to what it was.
#[tokio::test]
async fn reparenting_lays_our_tables_over_the_map_of_the_head() {
    let site = Site::new().await;
    site.rival(|them| async move {
        mutate(&them, ADD_PLACE, json!({ "n": "here" }))
            .await
            .unwrap();
    });
    let ours = mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    assert!(site.faults.exhausted());
    let commit = ours.commit.unwrap();
    let history = history(&site.theirs, "main").await;
    assert_eq!(history[0].id, commit.id);
    assert_eq!(history[1].id, commit.parents[0].id);
    assert_eq!(commit.version, history[1].version + 1);
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
    assert_eq!(ids(&site.theirs, "main", "Place").await, ["here"]);
}

/// The simpler rule, to compare only the tables that a write changed, would leave an edge without
/// its end: the rival changes no table of edges.
#[tokio::test]
async fn an_edge_is_checked_again_when_an_end_of_it_was_deleted() {
    let site = Site::new().await;
    site.rival(|them| async move {
        mutate(&them, DROP_PERSON, json!({ "n": "bob" }))
            .await
            .unwrap();
    });
    let refused = mutate(&site.ours, ADD_EDGE, json!({ "a": "ann", "b": "bob" })).await;
    let error = refused.unwrap_err();
    assert_eq!(error.detail().diagnostics[0].code.as_str(), "R417");
    assert!(site.faults.exhausted());
    assert!(ids(&site.theirs, "main", "Knows").await.is_empty());
    assert_eq!(site.people().await, ["ann", "cyd"]);
}

/// The same from the other side: whoever deletes a node has looked at the edges.
#[tokio::test]
async fn a_deletion_takes_along_the_edge_that_came_in_between() {
    let site = Site::new().await;
    site.rival(|them| async move {
        mutate(&them, ADD_EDGE, json!({ "a": "ann", "b": "bob" }))
            .await
            .unwrap();
    });
    let outcome = mutate(&site.ours, DROP_PERSON, json!({ "n": "bob" }))
        .await
        .unwrap();
    assert!(site.faults.exhausted());
    assert_eq!((outcome.affected_nodes, outcome.affected_edges), (1, 1));
    assert!(ids(&site.theirs, "main", "Knows").await.is_empty());
}

#[tokio::test]
async fn a_value_that_somebody_else_took_meanwhile_is_not_unique() {
    let site = Site::new().await;
    let add = "query add($n: String) { insert Person { name: $n, email: \"one@x\" } }";
    site.rival(move |them| async move {
        mutate(&them, add, json!({ "n": "eve" })).await.unwrap();
    });
    let refused = mutate(&site.ours, add, json!({ "n": "fay" }))
        .await
        .unwrap_err();
    assert_eq!(refused.detail().diagnostics[0].code.as_str(), "R414");
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "eve"]);
}

/// Both add one to what they read: an update that was not run again would be lost.
#[tokio::test]
async fn no_update_is_lost() {
    let site = Site::new().await;
    mutate(&site.ours, SET_AGE, json!({ "n": "ann", "a": 1 }))
        .await
        .unwrap();
    let count = "query up() { update Person set { age: age + 1 } where name = \"ann\" }";
    site.rival(move |them| async move {
        mutate(&them, count, json!({})).await.unwrap();
    });
    mutate(&site.ours, count, json!({})).await.unwrap();
    let target = Target::default();
    let snapshot = site
        .theirs
        .snapshot(&target, &ReadOptions::default())
        .await
        .unwrap();
    let source = "query age() { match { $p: Person { name: \"ann\" } } return { $p.age } }";
    let query = site.theirs.compile(&snapshot, source, None).await.unwrap();
    let none = serde_json::Map::new();
    let limits = crate::exec::QueryLimits::default();
    let result = site
        .theirs
        .query(&snapshot, &query, &none, &limits)
        .await
        .unwrap();
    let rows: Vec<String> = crate::exec::rows_to_json(&result, false).collect();
    assert_eq!(rows, [r#"{"p.age":3}"#]);
}

/// Files of before the sweep may be gone: the simpler rule, to re-parent because no table moved,
/// would commit versions that name them.
#[tokio::test]
async fn a_sweep_in_between_starts_the_write_anew() {
    let site = Site::new().await;
    site.rival(|them| async move { sweep(&them).await });
    let before = site.store.requests();
    let outcome = mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    let cost = site.store.requests() - before;
    // Twice manifest and entry; Lance writes its other files past the store.
    assert_eq!(cost.put, 4, "{cost}");
    let commit = outcome.commit.unwrap();
    assert_eq!(history(&site.theirs, "main").await[0].id, commit.id);
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

#[tokio::test]
async fn a_void_in_between_means_nothing() {
    let site = Site::new().await;
    site.rival(|them| async move { append(&them, |_| BranchEvent::Void).await });
    let before = site.store.requests();
    mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    let cost = site.store.requests() - before;
    // The manifest once; two entries.
    assert_eq!(cost.put, 3, "{cost}");
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

#[tokio::test]
async fn a_schema_change_in_between_starts_the_write_anew() {
    let site = Site::new().await;
    site.rival(|them| async move {
        let by = Authorship {
            control_epoch: Some(1),
            ..Authorship::default()
        };
        let wider = SCHEMA.replace("age: I64?", "age: I64?  nick: String?");
        let staged = them
            .stage_schema(&wider, CommitId::new(), &by)
            .await
            .unwrap();
        them.commit_schema(staged).await.unwrap();
    });
    let outcome = mutate(&site.ours, ADD_PERSON, json!({ "n": "dan" }))
        .await
        .unwrap();
    let commit = outcome.commit.unwrap();
    let head = head(&site.theirs, "main").await;
    assert_eq!((head.id, &head.schema), (commit.id, &commit.schema));
    assert_eq!(commit.control_epoch, 1);
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
}

#[tokio::test]
async fn a_branch_that_was_deleted_in_between_is_not_found() {
    let site = Site::new().await;
    let by = Authorship::default();
    site.ours
        .create_branch(&branch("x"), &Target::default(), &by)
        .await
        .unwrap();
    let them = site.theirs.clone();
    let gone = hook(async move {
        them.delete_branch(&branch("x"), None, &Authorship::default())
            .await
            .unwrap();
    });
    site.faults.on(Op::Put, "branches/x/0", Fault::Before(gone));
    let options = WriteOptions::default();
    let refused = mutate_with(&site.ours, "x", ADD_PERSON, json!({ "n": "dan" }), &options).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(site.people().await, ["ann", "bob", "cyd"]);
}

/// The tables of the new life are those of the old one, so comparing them says nothing.
#[tokio::test]
async fn a_branch_that_was_created_again_in_between_gets_the_write_in_its_new_life() {
    let site = Site::new().await;
    let by = Authorship::default();
    site.ours
        .create_branch(&branch("x"), &Target::default(), &by)
        .await
        .unwrap();
    let them = site.theirs.clone();
    let again = hook(async move {
        let by = Authorship::default();
        them.delete_branch(&branch("x"), None, &by).await.unwrap();
        them.create_branch(&branch("x"), &Target::default(), &by)
            .await
            .unwrap();
    });
    site.faults
        .on(Op::Put, "branches/x/0", Fault::Before(again));
    let options = WriteOptions::default();
    let before = site.store.requests();
    mutate_with(&site.ours, "x", ADD_PERSON, json!({ "n": "dan" }), &options)
        .await
        .unwrap();
    let cost = site.store.requests() - before;
    assert_eq!(cost.put, 4, "{cost}");
    assert_eq!(
        ids(&site.theirs, "x", "Person").await,
        ["ann", "bob", "cyd", "dan"]
    );
    assert_eq!(site.people().await, ["ann", "bob", "cyd"]);
}

/// Two loads that both make the branch: one append does, the other goes behind it.
#[tokio::test]
async fn two_loads_that_fork_the_same_branch_both_land() {
    let site = Site::new().await;
    let options = || LoadOptions {
        from: Some(BranchName::main()),
        ..LoadOptions::default()
    };
    let line = |name: &str| format!(r#"{{"type":"Person","data":{{"name":"{name}"}}}}"#);
    let (them, theirs) = (site.theirs.clone(), line("dan"));
    let first = hook(async move {
        load(&them, "new", options(), &theirs).await.unwrap();
    });
    site.faults
        .on(Op::Put, "branches/new/0", Fault::Before(first));
    let outcome = load(&site.ours, "new", options(), &line("eve"))
        .await
        .unwrap();
    assert!(!outcome.branch_created);
    let people = ids(&site.theirs, "new", "Person").await;
    assert_eq!(people, ["ann", "bob", "cyd", "dan", "eve"]);
}

/// The input of a load is gone when it conflicts: what it wrote is checked again instead.
#[tokio::test]
async fn a_load_checks_its_staged_rows_again_on_the_new_head() {
    let site = Site::new().await;
    let add = |name: &'static str| {
        move |them: Graph| async move {
            mutate(&them, ADD_PERSON, json!({ "n": name }))
                .await
                .unwrap();
        }
    };
    let line = r#"{"type":"Person","data":{"name":"dan","age":4}}"#;
    site.rival(add("dan"));
    let merge = load_options(LoadMode::Merge, WriteOptions::default());
    let merged = load(&site.ours, "main", merge, line).await.unwrap();
    let touched = &merged.commit.unwrap().touched;
    assert_eq!((touched[0].inserted, touched[0].updated), (0, 1));

    site.rival(add("eve"));
    let line = r#"{"type":"Person","data":{"name":"eve"}}"#;
    let append = load_options(LoadMode::Append, WriteOptions::default());
    let refused = load(&site.ours, "main", append, line).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::KeyConflict);
    assert!(site.faults.exhausted());
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan", "eve"]);
}

#[tokio::test]
async fn a_conditional_write_does_not_go_behind_another_commit() {
    let site = Site::new().await;
    let options = WriteOptions {
        if_head: Some(head(&site.ours, "main").await.id),
        ..WriteOptions::default()
    };
    // Re-parenting would be possible: another table.
    site.rival(|them| async move {
        mutate(&them, ADD_PLACE, json!({ "n": "here" }))
            .await
            .unwrap();
    });
    let add = json!({ "n": "dan" });
    let refused = mutate_with(&site.ours, "main", ADD_PERSON, add, &options).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    let (expected, actual) = error.detail().precondition.clone().unwrap();
    assert_eq!(expected, options.if_head.unwrap().to_string());
    assert_eq!(
        actual.unwrap(),
        head(&site.theirs, "main").await.id.to_string()
    );
    assert_eq!(site.people().await, ["ann", "bob", "cyd"]);
}

/// Maintenance goes on all the time and says nothing: a condition that it broke could not be met
/// on a busy graph.
#[tokio::test]
async fn a_condition_holds_over_maintenance_fences_and_sweeps() {
    let site = Site::new().await;
    let named = head(&site.ours, "main").await.id;
    let options = WriteOptions {
        if_head: Some(named),
        ..WriteOptions::default()
    };
    // Before the write begins, and in between.
    empty_commit(&site.theirs, CommitKind::Maintenance).await;
    empty_commit(&site.theirs, CommitKind::Fence).await;
    site.rival(|them| async move {
        empty_commit(&them, CommitKind::Maintenance).await;
        sweep(&them).await;
    });
    let add = json!({ "n": "dan" });
    mutate_with(&site.ours, "main", ADD_PERSON, add, &options)
        .await
        .unwrap();
    assert!(site.faults.exhausted());
    assert_eq!(site.people().await, ["ann", "bob", "cyd", "dan"]);
    // The write itself breaks it.
    let add = json!({ "n": "eve" });
    let refused = mutate_with(&site.ours, "main", ADD_PERSON, add, &options).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Precondition);
}

#[tokio::test]
async fn a_write_that_is_always_overtaken_says_by_what() {
    let site = Site::new().await;
    for n in 0..8 {
        site.rival(move |them| async move {
            mutate(&them, SET_AGE, json!({ "n": "ann", "a": n }))
                .await
                .unwrap();
        });
    }
    let refused = mutate(&site.ours, SET_AGE, json!({ "n": "ann", "a": 100 })).await;
    let error = refused.unwrap_err();
    assert!(site.faults.exhausted());
    assert_eq!(error.kind(), ErrorKind::WriteConflict);
    let conflict = error.detail().write_conflict.clone().unwrap();
    let history = history(&site.theirs, "main").await;
    assert_eq!(conflict.head, history[0].id.to_string());
    assert_eq!(conflict.base, history[1].id.to_string());
    assert!(!conflict.truncated);
    let entity = &conflict.entities[0];
    assert_eq!(
        (conflict.entities.len(), entity.constraint.clone()),
        (1, None)
    );
    assert_eq!(
        (entity.entity.edge, entity.entity.type_name.as_str()),
        (false, "Person")
    );
    assert_eq!(entity.entity.id.as_deref(), Some("ann"));
}

#[tokio::test]
async fn what_was_only_read_is_named_as_a_constraint() {
    let site = Site::new().await;
    for n in 0..8 {
        site.rival(move |them| async move {
            mutate(&them, SET_AGE, json!({ "n": "cyd", "a": n }))
                .await
                .unwrap();
        });
    }
    let refused = mutate(&site.ours, ADD_EDGE, json!({ "a": "ann", "b": "bob" })).await;
    let conflict = refused
        .unwrap_err()
        .detail()
        .write_conflict
        .clone()
        .unwrap();
    let overlap = &conflict.entities[0];
    assert_eq!(overlap.entity.type_name, "Person");
    assert_eq!(overlap.constraint.as_deref(), Some("endpoints"));
}
