//! Cleanup and backup through the public door.

use http::StatusCode;
use serde_json::json;

use super::{ITEMS, LONG, QUERIES, SCHEMA, World, call, ok};

#[tokio::test]
async fn cleanup_says_what_it_would_do_and_touches_nothing_young() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    let route = "/graphs/shop/maintenance/cleanup";
    let preview = ok(
        &replica,
        "POST",
        route,
        r#"{"keep_commits":1,"dry_run":true}"#,
    )
    .await;
    let preview = preview.json();
    assert_eq!(preview["dry_run"], true);
    assert_eq!(preview["objects_removed"], 0);
    assert!(
        preview["oldest_retained_commit_id"].is_string(),
        "{preview}"
    );
    let both = r#"{"keep_commits":1,"older_than_seconds":1,"dry_run":false}"#;
    let done = ok(&replica, "POST", route, both).await.json();
    assert_eq!(
        (
            &done["dry_run"],
            &done["condemned_objects"],
            &done["removable_at"]
        ),
        (&json!(false), &json!(0), &json!(null))
    );
    for body in [
        "{}",
        r#"{"dry_run":true}"#,
        r#"{"keep_commits":1}"#,
        r#"{"keep_commits":0,"dry_run":true}"#,
        r#"{"keep":1,"dry_run":true}"#,
    ] {
        let refused = call(&replica, "POST", route, body).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{body}: {}",
            refused.body
        );
    }
    assert!(replica.stop(LONG).await);
}

/// A place for backups that is gone with the test.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("omnigraph-reclaiming-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn backups_are_made_while_the_graph_is_served() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.replica().await;
    assert!(replica.ready(LONG).await);
    let loaded = ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    let directory = Directory::new();
    let to = directory.0.to_str().expect("text");
    let route = "/graphs/shop/maintenance/backup";
    let body = json!({ "destination_uri": to }).to_string();
    let first = ok(&replica, "POST", route, &body).await.json();
    assert_eq!(first["graph_commit_id"], loaded.commit);
    assert_eq!(first["objects_copied"], first["objects"]);
    let body = json!({ "destination_uri": to, "include_history": true }).to_string();
    let second = ok(&replica, "POST", route, &body).await.json();
    assert!(
        second["objects_copied"].as_u64() < second["objects"].as_u64(),
        "{second}"
    );
    let uri = second["manifest_uri"].as_str().expect("text");
    let check = omnigraph_engine::verify_backup(uri)
        .await
        .expect("readable");
    assert!(check.is_ok(), "{check:?}");
    for body in [
        json!({}),
        json!({ "destination_uri": "" }),
        json!({ "destination_uri": to, "branch": "main", "include_history": true }),
        json!({ "destination_uri": to, "branch": "main", "snapshot": "x" }),
        json!({ "destination_uri": to, "snapshot": "x" }),
        json!({ "destination_uri": "nonsense://x" }),
    ] {
        let refused = call(&replica, "POST", route, &body.to_string()).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{body}: {}",
            refused.body
        );
    }
    assert!(replica.stop(LONG).await);
}
