//! Types: what a request touches is known before anything runs.

use serde_json::json;

use super::*;

const TYPED: &str = "version: 1
groups: { a: [act-ann], s: [act-change], m: [act-maintain] }
rules:
  - { id: items, allow: { actors: { group: a }, actions: [read, export, change], types: [Item] } }
  - { id: all, allow: { actors: { group: s }, actions: [read, export, change] } }
";

async fn world() -> (World, Replica) {
    let world = World::new().await;
    world.apply_policy(TYPED).await;
    world.stock().await;
    let replica = world.guarded().await;
    (world, replica)
}

async fn post(replica: &Replica, path: &str, body: &str) -> Got {
    by(
        replica,
        "act-ann",
        "POST",
        &format!("/graphs/shop{path}"),
        body,
    )
    .await
}

#[tokio::test]
async fn queries_are_judged_by_all_that_they_read() {
    let (_world, replica) = world().await;
    let query = |text: &str| json!({"query": text}).to_string();
    let alone = query("query q() { match { $i: Item } return { $i.name as n } }");
    let got = post(&replica, "/query", &alone).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.body);
    for joined in [
        "query q() { match { $i: Item  $i Needs $j } return { $i.name as n } }",
        "query q() { match { $i: Item  not { $i Needs $j } } return { $i.name as n } }",
    ] {
        let got = post(&replica, "/query", &query(joined)).await;
        let text = refusal(&got);
        assert_eq!(text, "act-ann may not read type Needs on branch 'main'");
    }
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_deletion_is_judged_by_what_it_cascades_to() {
    let (_world, replica) = world().await;
    let mutate = |text: &str| json!({"query": text}).to_string();
    let update = mutate("query m() { update Item set { price: 3 } where name = \"nail\" }");
    let got = post(&replica, "/mutate", &update).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.body);
    let delete = mutate("query m() { delete Item where name = \"nail\" }");
    let got = post(&replica, "/mutate", &delete).await;
    assert_eq!(
        refusal(&got),
        "act-ann may not change type Needs on branch 'main'"
    );
    let query = json!({"query": "query q() { match { $i: Item } return { $i.name as n } }"});
    let left = post(&replica, "/query", &query.to_string()).await;
    assert_eq!(left.json()["row_count"], 2, "nothing was deleted");
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_load_is_judged_at_the_first_line_of_each_type() {
    let (_world, replica) = world().await;
    let item = r#"{"type":"Item","data":{"name":"screw","price":1}}"#;
    let got = post(&replica, "/load/ndjson", item).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.body);
    let with_edge = format!(
        "{}\n{{\"edge\":\"Needs\",\"from\":\"saw\",\"to\":\"bolt\"}}\n",
        item.replace("screw", "bolt")
    );
    let got = post(&replica, "/load/ndjson", &with_edge).await;
    assert_eq!(
        refusal(&got),
        "act-ann may not change type Needs on branch 'main'"
    );
    let export = r#"{"type_names":["Item"]}"#;
    let left = post(&replica, "/export", export).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.body);
    assert!(
        !left.body.contains("bolt"),
        "nothing of the load is kept: {}",
        left.body
    );
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn copies_and_feeds_are_judged_by_their_filter() {
    let (_world, replica) = world().await;
    let get = |path: String| {
        let replica = replica.clone();
        async move { by(&replica, "act-ann", "GET", &path, "").await }
    };
    let commits = get("/graphs/shop/commits".to_owned()).await;
    assert_eq!(commits.status, StatusCode::OK, "metadata: {}", commits.body);
    let commit = commits.json()["commits"][0]["graph_commit_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let item = "type=Item";
    for path in [
        "/graphs/shop/changes?start=beginning",
        "/graphs/shop/diff?from=main&to=main",
    ] {
        let all = get(path.to_owned()).await;
        assert!(
            refusal(&all).starts_with("act-ann may not read type "),
            "{path}: {}",
            all.body
        );
        assert!(
            all.body.contains("name the types that you may see"),
            "{}",
            all.body
        );
        let some = get(format!("{path}&{item}")).await;
        assert_ne!(some.status, StatusCode::FORBIDDEN, "{path}: {}", some.body);
    }
    let changes = format!("/graphs/shop/commits/{commit}/changes");
    assert_eq!(get(changes.clone()).await.status, StatusCode::NOT_FOUND);
    let some = get(format!("{changes}?{item}")).await;
    assert_eq!(some.status, StatusCode::OK, "{}", some.body);
    let export = post(&replica, "/export", "{}").await;
    assert!(
        refusal(&export).starts_with("act-ann may not export type "),
        "{}",
        export.body
    );
    let baseline = post(&replica, "/changes/baseline", "{}").await;
    assert!(refusal(&baseline).starts_with("act-ann may not export type "));
    let revert = json!({"to": commit}).to_string();
    let revert = post(&replica, "/branches/main/revert", &revert).await;
    assert!(refusal(&revert).starts_with("act-ann may not change type "));
    assert!(replica.stop(LONG).await);
}
