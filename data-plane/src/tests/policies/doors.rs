//! Which action each route asks for.

use http::StatusCode;
use omnigraph_policy::{Action, Kind};
use omnigraph_proto::data::v1::graph_service_client::GraphServiceClient;
use omnigraph_proto::data::v1::{ListCommitsRequest, MutateRequest};
use omnigraph_proto::error::WireError;
use serde_json::json;
use tonic::Request;

use super::*;

const QUERY: &str = r#"{"query":"query q() { match { $i: Item } return { $i.name as n } }"}"#;
const MUTATION: &str =
    r#"{"query":"query m() { update Item set { price: 7 } where name = \"nail\" }"}"#;
const LEAST: &str = r#"{"params":{"least":2}}"#;

/// What a route does, and the actions that it needs.
struct Route {
    method: &'static str,
    path: String,
    body: String,
    needs: &'static [Action],
    /// What is said to those who may not.
    denied: StatusCode,
}

fn route(method: &'static str, path: &str, body: &str, needs: &'static [Action]) -> Route {
    Route {
        method,
        path: format!("/graphs/shop{path}"),
        body: body.to_owned(),
        needs,
        denied: StatusCode::FORBIDDEN,
    }
}

fn routes(commit: &str) -> Vec<Route> {
    use Action as A;
    let hidden = |route: Route| Route {
        denied: StatusCode::NOT_FOUND,
        ..route
    };
    let merge = r#"{"source":"dev","target":"main"}"#;
    let trial = r#"{"source":"dev","target":"main","dry_run":true}"#;
    let snapshot = json!({"query": "query q() { match { $i: Item } return { $i.name as n } }", "snapshot": commit});
    vec![
        route("GET", "", "", &[A::Read]),
        route("POST", "/query", QUERY, &[A::Read]),
        route("POST", "/query", &snapshot.to_string(), &[A::Read]),
        route("POST", "/mutate", MUTATION, &[A::Change]),
        route("GET", "/queries", "", &[A::Read]),
        hidden(route(
            "POST",
            "/queries/dear",
            LEAST,
            &[A::InvokeQuery, A::Read],
        )),
        hidden(route(
            "POST",
            "/queries/reprice",
            r#"{"params":{"name":"nail","price":"3"}}"#,
            &[A::InvokeQuery, A::Change],
        )),
        route("POST", "/load/ndjson", ITEMS, &[A::Change]),
        route(
            "POST",
            "/load/ndjson?branch=new&from=main",
            ITEMS,
            &[A::Change, A::BranchCreate],
        ),
        route("POST", "/export", "{}", &[A::Export]),
        route("GET", "/snapshot", "", &[A::Read]),
        route("GET", "/schema", "", &[A::Read]),
        route(
            "POST",
            "/schema/apply",
            r#"{"schema_source":"x"}"#,
            &[A::SchemaApply],
        ),
        route("GET", "/branches", "", &[A::Read]),
        route("GET", "/branches/main", "", &[A::Read]),
        route(
            "POST",
            "/branches",
            r#"{"name":"other"}"#,
            &[A::BranchCreate],
        ),
        route("POST", "/branches/merge", merge, &[A::BranchMerge]),
        route("POST", "/branches/merge", trial, &[A::Read]),
        route(
            "POST",
            "/branches/main/revert",
            &json!({"to": commit, "dry_run": true}).to_string(),
            &[A::Change],
        ),
        route("GET", "/commits", "", &[A::Read]),
        route("GET", &format!("/commits/{commit}"), "", &[A::Read]),
        hidden(route(
            "GET",
            &format!("/commits/{commit}/changes"),
            "",
            &[A::Read],
        )),
        route("GET", "/changes", "", &[A::Read]),
        route("POST", "/changes/baseline", "{}", &[A::Export]),
        route("GET", "/diff?from=main&to=dev", "", &[A::Read]),
        route("GET", "/tags", "", &[A::Read]),
        route(
            "POST",
            "/tags",
            r#"{"name":"v1","branch":"main"}"#,
            &[A::Change],
        ),
        route(
            "POST",
            "/maintenance/optimize",
            r#"{"dry_run":true}"#,
            &[A::Maintain],
        ),
        route("POST", "/maintenance/fsck", "{}", &[A::Maintain]),
        route(
            "POST",
            "/maintenance/cleanup",
            r#"{"keep_commits":9,"dry_run":true}"#,
            &[A::Maintain],
        ),
        route("DELETE", "/branches/dev", "", &[A::BranchDelete]),
    ]
}

#[tokio::test]
async fn each_route_asks_for_its_action_and_no_other() {
    let world = World::new().await;
    world.apply_policy(&one_action_each(Kind::Graph)).await;
    world.stock().await;
    let replica = world.guarded().await;
    let dev = r#"{"name":"dev"}"#;
    let created = by(
        &replica,
        "act-branch_create",
        "POST",
        "/graphs/shop/branches",
        dev,
    )
    .await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.body);
    let commits = by(&replica, "act-read", "GET", "/graphs/shop/commits", "").await;
    let commit = commits.json()["commits"][0]["graph_commit_id"]
        .as_str()
        .expect("an id")
        .to_owned();

    for route in routes(&commit) {
        let name = format!("{} {}", route.method, route.path);
        for action in Action::ALL.into_iter().filter(|a| a.kind() == Kind::Graph) {
            let actor = format!("act-{action}");
            let got = by(&replica, &actor, route.method, &route.path, &route.body).await;
            match route.needs {
                [only] if *only == action => {
                    let through = ![401, 403, 404, 500, 503].contains(&got.status.as_u16());
                    assert!(through, "{name} by {actor}: {} {}", got.status, got.body);
                }
                // The outer decision was for this actor, the inner one is not.
                [Action::InvokeQuery, _] if action == Action::InvokeQuery => {
                    let text = refusal(&got);
                    assert!(text.starts_with("act-invoke_query may not "), "{text}");
                }
                _ => assert_eq!(got.status, route.denied, "{name} by {actor}: {}", got.body),
            }
            if got.status == StatusCode::FORBIDDEN {
                let text = refusal(&got);
                assert!(
                    text.starts_with(&format!("{actor} may not ")),
                    "{name}: {text}"
                );
                assert_eq!(got.json()["code"], "forbidden");
                for other in ["group", "rule", "may-"] {
                    assert!(!got.body.contains(other), "{name}: {}", got.body);
                }
            }
        }
        let stranger = by(&replica, "act-eve", route.method, &route.path, &route.body).await;
        assert_eq!(stranger.status, route.denied, "{name}: {}", stranger.body);
        let nobody = call_as(&replica, route.method, &route.path, &[], &route.body).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn who_may_both_may_do_what_needs_both() {
    let world = World::new().await;
    world
        .apply_policy(
            "version: 1\ngroups: { a: [act-ann, act-change] }\nprotected_branches: [main]\nrules:\n  \
             - { id: all, allow: { actors: { group: a }, actions: [read, invoke_query] } }\n  \
             - { id: work, allow: { actors: { group: a }, actions: [change], branch_scope: unprotected } }\n  \
             - { id: first, allow: { actors: { group: a }, actions: [change] } }\n  \
             - { id: new, allow: { actors: { group: a }, actions: [branch_create], target_branch_scope: unprotected } }\n  \
             - { id: back, allow: { actors: { group: a }, actions: [branch_merge], target_branch_scope: protected } }\n",
        )
        .await;
    world.stock().await;
    let replica = world.guarded().await;
    let ann = |method, path: &'static str, body: &'static str| {
        let path = format!("/graphs/shop{path}");
        let replica = replica.clone();
        async move { by(&replica, "act-ann", method, &path, body).await }
    };
    let reprice = r#"{"params":{"name":"nail","price":"3"},"branch":"dev"}"#;
    for (method, path, body) in [
        ("POST", "/queries/dear", LEAST),
        (
            "POST",
            "/load/ndjson?branch=dev&from=main&mode=merge",
            ITEMS,
        ),
        ("POST", "/queries/reprice", reprice),
    ] {
        let got = ann(method, path, body).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.body);
    }
    let merge = r#"{"source":"dev","target":"main","delete_branch":true}"#;
    let merged = ann("POST", "/branches/merge", merge).await;
    assert_eq!(merged.status, StatusCode::OK, "{}", merged.body);
    assert_eq!(merged.json()["outcome"], "fast_forward");
    assert_eq!(merged.json()["branch_deleted"], false);
    assert_eq!(
        merged.json()["branch_delete_error"],
        "act-ann may not branch_delete on branch 'dev'"
    );
    let protected = ann("POST", "/branches", r#"{"name":"main2","from":"dev"}"#).await;
    assert_eq!(protected.status, StatusCode::OK, "{}", protected.body);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn scopes_follow_the_branch_of_the_request() {
    let world = World::new().await;
    world
        .apply_policy(
            "version: 1\ngroups: { a: [act-ann], b: [act-change] }\nprotected_branches: [main]\nrules:\n  \
             - { id: read, allow: { actors: { group: a }, actions: [read] } }\n  \
             - { id: work, allow: { actors: { group: a }, actions: [change], branch_scope: unprotected } }\n  \
             - { id: new, allow: { actors: { group: a }, actions: [branch_create], target_branch_scope: unprotected } }\n  \
             - { id: stock, allow: { actors: { group: b }, actions: [change, branch_create] } }\n",
        )
        .await;
    world.stock().await;
    let replica = world.guarded().await;
    let made = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/branches",
        r#"{"name":"dev"}"#,
    )
    .await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let change = |branch: &str| {
        json!({"query": "query m() { update Item set { price: 7 } where name = \"nail\" }", "branch": branch}).to_string()
    };
    let dev = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/mutate",
        &change("dev"),
    )
    .await;
    assert_eq!(dev.status, StatusCode::OK, "{}", dev.body);
    for main in ["main", " main "] {
        let got = by(
            &replica,
            "act-ann",
            "POST",
            "/graphs/shop/mutate",
            &change(main),
        )
        .await;
        assert_eq!(
            refusal(&got),
            "act-ann may not change on branch 'main'",
            "{main:?}"
        );
    }
    let got = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/branches",
        r#"{"name":"main"}"#,
    )
    .await;
    assert_ne!(got.status, StatusCode::OK, "{}", got.body);
    assert!(replica.stop(LONG).await);
}

#[tokio::test]
async fn nobody_is_somebody_else_by_saying_so() {
    let world = World::new().await;
    world.apply_policy(&one_action_each(Kind::Graph)).await;
    world.stock().await;
    let replica = world.guarded().await;
    let path = "/graphs/shop/mutate";
    let eve = ("authorization", "Bearer t-act-eve");
    for (name, value) in [
        ("x-actor-id", "act-change"),
        ("X-Actor-ID", "act-change"),
        ("x_actor_id", "act-change"),
        ("omnigraph-actor", "act-change"),
        ("actor-id", "act-change"),
        ("x-forwarded-user", "act-change"),
    ] {
        let got = call_as(&replica, "POST", path, &[eve, (name, value)], MUTATION).await;
        assert_eq!(
            refusal(&got),
            "act-eve may not change on branch 'main'",
            "{name}"
        );
        let got = call_as(&replica, "POST", path, &[(name, value)], MUTATION).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    let asked = format!("{path}?actor_id=act-change&as=act-change");
    let got = call_as(&replica, "POST", &asked, &[eve], MUTATION).await;
    assert_ne!(got.status, StatusCode::OK, "{}", got.body);
    let body =
        r#"{"query":"query m() { delete Item where name = \"nail\" }","actor_id":"act-change"}"#;
    let got = call_as(&replica, "POST", path, &[eve], body).await;
    assert_ne!(got.status, StatusCode::OK, "{}", got.body);
    for token in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer t-act-eve t-act-change",
        "Basic t-act-change",
    ] {
        let got = call_as(
            &replica,
            "POST",
            path,
            &[("authorization", token)],
            MUTATION,
        )
        .await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{token:?}");
    }
    let both = [eve, ("authorization", "Bearer t-act-change")];
    let got = call_as(&replica, "POST", path, &both, MUTATION).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{}", got.body);

    // The same over gRPC, and what is stamped on a commit is the caller.
    let client = || GraphServiceClient::new(replica.routes());
    let message = || MutateRequest {
        graph_id: "shop".to_owned(),
        query: "query m() { update Item set { price: 8 } where name = \"nail\" }".to_owned(),
        ..MutateRequest::default()
    };
    let request = |actor: &str| {
        let mut request = Request::new(message());
        let bearer = format!("Bearer t-{actor}").parse().expect("ascii");
        request.metadata_mut().insert("authorization", bearer);
        for name in ["x-actor-id", "actor-id", "actor", "omnigraph-actor"] {
            let value = "act-read".parse().expect("ascii");
            request.metadata_mut().insert(name, value);
        }
        request
    };
    let refused = client()
        .mutate(request("act-eve"))
        .await
        .expect_err("denied");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let wire = WireError::from(&refused);
    assert_eq!(wire.message, "act-eve may not change on branch 'main'");
    let done = client()
        .mutate(request("act-change"))
        .await
        .expect("allowed");
    let result = done.into_inner().result.expect("a result");
    assert_eq!(result.actor_id.as_deref(), Some("act-change"));
    let unsigned = client().list_commits(ListCommitsRequest::default()).await;
    let code = unsigned.expect_err("no token").code();
    assert_eq!(code, tonic::Code::Unauthenticated);
    assert!(replica.stop(LONG).await);
}

/// The body without what differs from one request to the next.
fn told(got: &Got, names: &[&str]) -> serde_json::Value {
    let mut text = got.body.clone();
    for name in names {
        text = text.replace(name, "NAME");
    }
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("json");
    json["request_id"] = json!("");
    json
}

#[tokio::test]
async fn what_one_may_not_see_is_not_there() {
    let world = World::new().await;
    world
        .apply_policy(
            "version: 1\ngroups: { a: [act-ann], c: [act-change] }\nprotected_branches: [main]\nrules:\n  \
             - { id: read, allow: { actors: { group: a }, actions: [read], branch_scope: unprotected } }\n  \
             - { id: dear, allow: { actors: { group: a }, actions: [invoke_query], queries: [reprice] } }\n  \
             - { id: stock, allow: { actors: { group: c }, actions: [read, change, invoke_query] } }\n",
        )
        .await;
    world.stock().await;
    let replica = world.guarded().await;
    let denied = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/queries/dear",
        LEAST,
    )
    .await;
    let unknown = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/queries/none",
        LEAST,
    )
    .await;
    assert_eq!(denied.status, StatusCode::NOT_FOUND);
    assert_eq!(told(&denied, &["dear"]), told(&unknown, &["none"]));
    let real = by(
        &replica,
        "act-change",
        "POST",
        "/graphs/shop/queries/none",
        LEAST,
    )
    .await;
    assert_eq!(told(&real, &["none"]), told(&unknown, &["none"]));
    let inner = r#"{"params":{"name":"nail","price":"3"}}"#;
    let inner = by(
        &replica,
        "act-ann",
        "POST",
        "/graphs/shop/queries/reprice",
        inner,
    )
    .await;
    assert_eq!(refusal(&inner), "act-ann may not change on branch 'main'");

    let commits = by(&replica, "act-change", "GET", "/graphs/shop/commits", "").await;
    let commits = commits.json();
    let commit = commits["commits"][0]["graph_commit_id"]
        .as_str()
        .expect("an id");
    let unknown_commit = "01JDB4Q2M0000000000000002M";
    let path = |id: &str| format!("/graphs/shop/commits/{id}/changes");
    let denied = by(&replica, "act-ann", "GET", &path(commit), "").await;
    let unknown = by(&replica, "act-ann", "GET", &path(unknown_commit), "").await;
    assert_eq!(denied.status, StatusCode::NOT_FOUND);
    assert_eq!(told(&denied, &[commit]), told(&unknown, &[unknown_commit]));
    let seen = by(&replica, "act-change", "GET", &path(commit), "").await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    assert!(replica.stop(LONG).await);
}
