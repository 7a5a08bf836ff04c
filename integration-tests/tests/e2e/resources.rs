//! Graphs that come, go, drift and come back, as an operator does it from the terminal.

use std::path::PathBuf;

use omnigraph_integration_tests::cluster::Place;
use serde_json::json;

/// Directories of a graph's incarnations.
fn incarnations(place: &Place, graph: &str) -> Vec<PathBuf> {
    let directory = place.config().join(format!("graphs/{graph}.omni"));
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn with_a_second_graph(text: &str) -> String {
    format!("{}\n", text.trim_end()) + "  scratch:\n    schema: scratch.pg\n"
}

#[tokio::test]
async fn a_graph_is_deleted_with_consent_and_a_rollback_says_that_it_comes_back_empty() {
    let place = Place::declared();
    let scratch = place.config().join("scratch.pg");
    std::fs::write(scratch, "node Note {\n    name: String @key\n}\n").expect("written");
    place.ctl(&["apply"]).await.ok();
    let before = std::fs::read_to_string(place.config().join("cluster.yaml")).expect("readable");
    place.edit("cluster.yaml", with_a_second_graph);
    place.ctl(&["apply"]).await.ok();
    place.edit("cluster.yaml", |_| before.clone());

    let plan = place.ctl(&["plan"]).await.ok();
    assert!(plan.stdout.contains("- graph.scratch"), "{}", plan.stdout);
    assert!(
        plan.stdout.contains("omnigraphctl approve graph.scratch"),
        "{}",
        plan.stdout
    );
    place.ctl(&["apply", "--detailed-exitcode"]).await.exits(3);
    place.ctl(&["approve", "graph.debian"]).await.exits(1);
    let approved = place
        .ctl(&["approve", "graph.scratch", "--reason", "not used", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(approved["operation"], "delete");
    assert_eq!(approved["reason"], "not used");
    let status = place.ctl(&["status", "--json"]).await.ok().json();
    assert_eq!(
        status["approvals"][0]["approval_id"],
        approved["approval_id"]
    );
    let applied = place.ctl(&["apply", "--json"]).await.ok().json();
    assert_eq!(
        (&applied["ok"], &applied["converged"]),
        (&json!(true), &json!(true)),
        "{applied}"
    );
    let revision = applied["revision"].as_u64().expect("a number");
    let graphs = place
        .ctl(&["graph", "list", "--all", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(graphs["graphs"].as_array().map(Vec::len), Some(1));

    let dry = place
        .ctl(&["rollback", "--to", "2", "--dry-run"])
        .await
        .ok();
    assert!(dry.stdout.contains("comes back empty"), "{}", dry.stdout);
    let stale = ["rollback", "--to", "2", "--expect-revision", "1"];
    place.ctl(&stale).await.exits(4);
    let rolled = place.ctl(&["rollback", "--to", "2"]).await.ok();
    let said = format!("revision {} = content of 2", revision + 1);
    assert!(rolled.stdout.contains(&said), "{}", rolled.stdout);
    let graphs = place
        .ctl(&["graph", "list", "--all", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(graphs["graphs"].as_array().map(Vec::len), Some(2));
    place.ctl(&["rollback", "--to", "99"]).await.exits(1);
}

#[tokio::test]
async fn what_drifted_is_seen_and_a_lost_ledger_is_told_anew() {
    let place = Place::declared();
    place.ctl(&["apply"]).await.ok();
    place
        .ctl(&["load", "--data", "debian-small.ndjson", "--mode", "append"])
        .await
        .ok();
    let quiet = place.ctl(&["refresh"]).await.ok();
    assert_eq!(quiet.stdout, "observed 1 graph, nothing drifted\n");
    let catalog = place.config().join("cluster/catalog");
    let lost = std::fs::read_dir(catalog).expect("a catalog").flatten();
    let lost = lost
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "gq"));
    std::fs::remove_file(lost.expect("a query")).expect("removed");
    let seen = place.ctl(&["refresh"]).await.ok();
    assert!(
        seen.stdout
            .starts_with("observed 1 graph, 1 drifted: query.debian."),
        "{}",
        seen.stdout
    );
    let plan = place.ctl(&["plan"]).await.ok();
    assert!(plan.stdout.contains("(drift)"), "{}", plan.stdout);
    place.ctl(&["apply", "--detailed-exitcode"]).await.ok();
    assert_eq!(place.ctl(&["refresh"]).await.ok().stdout, quiet.stdout);

    // The ledger is gone, the graph is not.
    std::fs::remove_dir_all(place.config().join("cluster")).expect("removed");
    let refused = place.ctl(&["apply", "--json"]).await.ok().json();
    assert_eq!(refused["converged"], false, "{refused}");
    assert_eq!(
        incarnations(&place, "debian").len(),
        1,
        "none was put beside it"
    );
    let imported = place.ctl(&["import"]).await.ok();
    assert!(
        imported.stdout.starts_with("imported 1 graph as revision "),
        "{}",
        imported.stdout
    );
    place.ctl(&["plan", "--detailed-exitcode"]).await.ok();
    let found = [
        "query",
        "find_package",
        "--params",
        r#"{"name":"git"}"#,
        "--json",
    ];
    let found = place.ctl(&found).await.ok().json();
    assert_eq!(found["row_count"], 1, "{found}");
    place.ctl(&["import"]).await.exits(1);
}
