//! What decides when: without a policy, with one, with a broken one, and from one to the next.

use futures::TryStreamExt as _;
use omnigraph_policy::Actor;

use super::*;

const READ_ALL: &str = "version: 1\ngroups: { a: [act-ann, act-bob] }\nrules:\n  \
     - { id: read, allow: { actors: { group: a }, actions: [read] } }\n";
/// Only one of them.
const READ_ONE: &str = "version: 1\ngroups: { a: [act-ann] }\nrules:\n  \
     - { id: read, allow: { actors: { group: a }, actions: [read] } }\n";
const MUTATION: &str =
    r#"{"query":"query m() { update Item set { price: 7 } where name = \"nail\" }"}"#;

async fn reads(replica: &Replica, actor: &str) -> StatusCode {
    by(replica, actor, "GET", "/graphs/shop/branches", "")
        .await
        .status
}

#[tokio::test]
async fn with_credentials_and_without_a_policy_one_may_read() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let replica = world.guarded().await;
    assert_eq!(reads(&replica, "act-ann").await, StatusCode::OK);
    let denied = by(&replica, "act-ann", "POST", "/graphs/shop/mutate", MUTATION).await;
    assert_eq!(refusal(&denied), "act-ann may not change on branch 'main'");
    assert!(
        denied.body.contains("no policy applies to this graph"),
        "{}",
        denied.body
    );
    let list = by(&replica, "act-ann", "GET", "/graphs", "").await;
    assert_eq!(refusal(&list), "act-ann may not graph_list");
    let verbose = by(&replica, "act-ann", "GET", "/readyz?verbose=1", "").await;
    assert_eq!(verbose.status, StatusCode::FORBIDDEN, "{}", verbose.body);
    let counted = by(&replica, "act-ann", "GET", "/readyz", "").await;
    assert_eq!(counted.status, StatusCode::OK, "{}", counted.body);
    let nobody = call_as(&replica, "GET", "/graphs/shop/branches", &[], "").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    let unknown = by(&replica, "act-ann", "GET", "/graphs/none/branches", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.body);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_bundle_of_the_cluster_decides_about_the_list_of_graphs() {
    let world = World::new().await;
    let cluster = cluster("policies:\n  server: { file: server.yaml, applies_to: [cluster] }\n");
    let server = one_action_each(Kind::Server);
    world
        .apply_files(&[
            ("cluster.yaml", &cluster),
            ("shop.pg", SCHEMA),
            ("queries/q.gq", QUERIES),
            ("server.yaml", &server),
        ])
        .await;
    let replica = world.guarded().await;
    let list = by(&replica, "act-graph_list", "GET", "/graphs", "").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    let list = by(&replica, "act-cluster_read", "GET", "/graphs", "").await;
    assert_eq!(refusal(&list), "act-cluster_read may not graph_list");
    // The graph itself has none.
    assert_eq!(reads(&replica, "act-eve").await, StatusCode::OK);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_change_is_taken_up_without_a_restart() {
    let world = World::new().await;
    world.apply_policy(READ_ALL).await;
    let replica = world.guarded().await;
    assert_eq!(reads(&replica, "act-bob").await, StatusCode::OK);
    assert_eq!(reads(&replica, "act-eve").await, StatusCode::FORBIDDEN);
    world.apply_policy(READ_ONE).await;
    assert!(replica.takes_up(2, LONG).await);
    assert_eq!(reads(&replica, "act-ann").await, StatusCode::OK);
    assert_eq!(reads(&replica, "act-bob").await, StatusCode::FORBIDDEN);
    // Without the last bundle callers may read, and nothing is open.
    world.apply(SCHEMA, QUERIES).await;
    assert!(replica.takes_up(3, LONG).await);
    assert_eq!(reads(&replica, "act-eve").await, StatusCode::OK);
    let change = by(&replica, "act-ann", "POST", "/graphs/shop/mutate", MUTATION).await;
    assert_eq!(change.status, StatusCode::FORBIDDEN, "{}", change.body);
    let nobody = call_as(&replica, "GET", "/graphs/shop/branches", &[], "").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert!(replica.stop(LONG).await);
}

/// Spoils every text of a kind in the catalog; says how many there were.
async fn spoil(world: &World, extension: &str) -> usize {
    let store = world.engine.store();
    let catalog = store.path("cluster/catalog");
    let objects = store.object_store().list(Some(&catalog));
    let objects: Vec<_> = objects.try_collect().await.expect("a listing");
    let mut spoilt = 0;
    for object in objects {
        if object.location.as_ref().ends_with(extension) {
            let text = "spoilt".to_owned().into();
            let put = store
                .object_store()
                .put_opts(&object.location, text, Default::default());
            put.await.expect("stored");
            spoilt += 1;
        }
    }
    spoilt
}

#[tokio::test]
async fn a_policy_that_cannot_be_loaded_closes_the_graph_until_it_can() {
    let world = World::new().await;
    world.apply_policy(READ_ALL).await;
    let replica = world.guarded().await;
    assert_eq!(reads(&replica, "act-bob").await, StatusCode::OK);

    world.apply_policy(READ_ONE).await;
    assert_eq!(spoil(&world, ".yaml").await, 2);
    assert!(replica.takes_up(2, LONG).await);
    // The looser one is not served on, and why is not told.
    let got = by(&replica, "act-ann", "GET", "/graphs/shop/branches", "").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{}", got.body);
    let json = got.json();
    assert_eq!(
        json["graph_unavailable"]["reason_code"], "policy_invalid",
        "{json}"
    );
    assert_eq!(json["error"], "graph 'shop' is quarantined");
    // Who may do nothing by the newest policy that was known hears that.
    assert_eq!(reads(&replica, "act-eve").await, StatusCode::FORBIDDEN);

    // The next revision publishes the content again.
    let third = READ_ONE.replace("id: read", "id: reading");
    world.apply_policy(&third).await;
    assert!(replica.takes_up(3, LONG).await);
    assert_eq!(reads(&replica, "act-ann").await, StatusCode::OK);
    assert_eq!(reads(&replica, "act-bob").await, StatusCode::FORBIDDEN);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn a_graph_in_other_trouble_is_decided_about_by_the_newest_policy() {
    let world = World::new().await;
    world.apply_policy(READ_ALL).await;
    let replica = world.guarded().await;
    let cluster = cluster(SHOP);
    let queries =
        format!("{QUERIES}\n\nquery more() {{ match {{ $i: Item }} return {{ $i.name as n }} }}\n");
    world
        .apply_files(&[
            ("cluster.yaml", &cluster),
            ("shop.pg", SCHEMA),
            ("queries/q.gq", &queries),
            ("shop.yaml", READ_ONE),
        ])
        .await;
    assert!(spoil(&world, ".gq").await > 0);
    assert!(replica.takes_up(2, LONG).await);
    let stale = by(&replica, "act-ann", "GET", "/graphs/shop", "").await;
    assert_eq!(stale.json()["status"], "stale", "{}", stale.body);
    assert_eq!(reads(&replica, "act-bob").await, StatusCode::FORBIDDEN);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn without_credentials_a_policy_is_not_served_past() {
    let world = World::new().await;
    world.apply(SCHEMA, QUERIES).await;
    let open = world.served(Credentials::Open);
    let replica = Replica::start(open.clone()).await.expect("a replica");
    assert!(replica.takes_up(1, LONG).await);
    let read = call_as(&replica, "GET", "/graphs/shop/branches", &[], "").await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    let list = call_as(&replica, "GET", "/graphs", &[], "").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.body);
    world.apply_policy(READ_ALL).await;
    assert!(replica.takes_up(2, LONG).await);
    let read = call_as(&replica, "GET", "/graphs/shop/branches", &[], "").await;
    assert_eq!(
        read.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        read.body
    );
    assert!(read.body.contains("policy_invalid"), "{}", read.body);
    assert!(replica.stop(LONG).await);

    let start = Replica::start(Options {
        boot: Boot::Fail,
        ..open
    });
    let refused = start.await.err().expect("it must not start");
    assert_eq!(
        refused.to_string(),
        "credentials_missing: the applied revision has policies and no credentials are configured: \
         every request would be refused; set OMNIGRAPH_SERVER_BEARER_TOKENS_FILE, and leave \
         --unauthenticated out"
    );
}

#[tokio::test]
async fn who_holds_the_storage_says_who_they_are() {
    let world = World::new().await;
    let start = |actor: Actor| Replica::start(Options::embedded(world.engine.clone(), actor));
    let ann = || Actor::declared("act-ann").expect("a name");
    world.apply(SCHEMA, QUERIES).await;
    let replica = start(Actor::nobody()).await.expect("a replica");
    super::super::ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
    assert!(replica.stop(LONG).await);

    world.apply_policy(READ_ALL).await;
    let replica = start(Actor::nobody()).await.expect("a replica");
    let denied = call_as(&replica, "GET", "/graphs/shop/branches", &[], "").await;
    assert_eq!(refusal(&denied), "nobody may not read");
    assert!(
        denied.body.contains("omnigraphctl --as <actor>"),
        "{}",
        denied.body
    );
    assert!(replica.stop(LONG).await);
    let replica = start(ann()).await.expect("a replica");
    super::super::ok(&replica, "GET", "/graphs/shop/branches", "").await;
    super::super::ok(&replica, "GET", "/graphs", "").await;
    let denied = call_as(&replica, "POST", "/graphs/shop/mutate", &[], MUTATION).await;
    assert_eq!(refusal(&denied), "act-ann may not change on branch 'main'");
    assert!(replica.stop(LONG).await);
}
