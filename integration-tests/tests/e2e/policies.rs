//! Policies over real processes with static tokens: allowed and denied at each door, changed by an
//! apply without a restart, broken and repaired, and nobody somebody else.

use std::time::Duration;

use omnigraph_integration_tests::cli::{Run, omnigraphctl_with};
use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::process::Daemon;
use omnigraph_integration_tests::{binary, until};
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);
const DATA_TOKENS: &str =
    r#"{"act-ann": "t-ann", "act-bruno": "t-bruno", "act-ragnor": "t-ragnor", "act-eve": "t-eve"}"#;
const CONTROL_TOKENS: &str =
    r#"{"act-root": "t-root", "act-ann": "t-ann", "act-replica": "t-replica"}"#;

const TEAM: &str = "version: 1
groups:
  team: [act-ann, act-bruno]
  admins: [act-ragnor]
protected_branches: [main]
rules:
  - { id: team-read, allow: { actors: { group: team }, actions: [read, export] } }
  - { id: team-invoke, allow: { actors: { group: team }, actions: [invoke_query] } }
  - { id: team-write, allow: { actors: { group: team }, actions: [change], branch_scope: unprotected } }
  - { id: team-branch, allow: { actors: { group: team }, actions: [branch_create, branch_delete], target_branch_scope: unprotected } }
  - { id: admins, allow: { actors: { group: admins }, actions: [read, change, maintain] } }
  - { id: admins-merge, allow: { actors: { group: admins }, actions: [branch_merge], target_branch_scope: protected } }
";
const SERVER: &str = "version: 1
groups:
  operators: [act-ann]
  replicas: [act-replica]
rules:
  - { id: operate, allow: { actors: { group: operators }, actions: [cluster_read, cluster_apply, graph_list] } }
  - { id: follow, allow: { actors: { group: replicas }, actions: [replica_sync] } }
";
const CASES: &str = "version: 1
cases:
  - { id: bruno-writes-branch, actor: act-bruno, action: change, branch: review/x, expect: allow, rule: team-write }
  - { id: bruno-not-main, actor: act-bruno, action: change, branch: main, expect: deny }
  - { id: bruno-merges, actor: act-bruno, action: branch_merge, branch: x, target_branch: main, expect: allow }
  - { id: ann-applies, actor: act-ann, action: cluster_apply, expect: allow }
";

struct Cluster {
    place: Place,
    _control: Daemon,
    control_url: String,
    replica: Replica,
}

async fn start() -> Cluster {
    let place = Place::new();
    place.edit("cluster.yaml", |text| {
        format!(
            "{text}policies:\n  team: {{ file: team.yaml, applies_to: [debian] }}\n  server: {{ file: server.yaml, applies_to: [cluster] }}\n"
        )
    });
    write(&place, "team.yaml", TEAM);
    write(&place, "server.yaml", SERVER);
    let storage = place.storage();
    let storage = storage.to_str().expect("UTF-8");
    let args = ["--cluster", storage, "--grpc-bind", "127.0.0.1:0"];
    let env = [
        ("OMNIGRAPH_CONTROL_BEARER_TOKENS_JSON", CONTROL_TOKENS),
        ("OMNIGRAPH_CONTROL_ADMIN_ACTORS", "act-root"),
    ];
    let mut control = Daemon::start(
        "omnigraph-control-plane",
        "control",
        &args,
        &env,
        place.logs(),
    );
    let address = control.address("OMNIGRAPH_GRPC_ADDR");
    let tokens = place.logs().join("tokens.json");
    std::fs::write(&tokens, DATA_TOKENS).expect("a file");
    let env = [
        (
            "OMNIGRAPH_SERVER_BEARER_TOKENS_FILE",
            tokens.to_str().expect("UTF-8"),
        ),
        ("OMNIGRAPH_CONTROL_TOKEN", "t-replica"),
        ("OMNIGRAPH_POLL_INTERVAL_MS", "300"),
    ];
    let replica = Replica::start_with(&place, "dp-0", Some(address), &[], &env);
    Cluster {
        place,
        _control: control,
        control_url: format!("grpc://{address}"),
        replica,
    }
}

fn write(place: &Place, file: &str, text: &str) {
    std::fs::write(place.config().join(file), text).expect("a declared file");
}

impl Cluster {
    async fn control(&self, token: &str, args: &[&str]) -> Run {
        let args = [args, &["--control", &self.control_url]].concat();
        let env = [("OMNIGRAPH_BEARER_TOKEN", token)];
        omnigraphctl_with(&self.place.config(), &args, &env, "").await
    }

    /// A request to the gateway of the replica.
    async fn http(&self, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let url = format!("{}/graphs/debian{path}", self.replica.url());
        let mut request = reqwest::Client::new()
            .request(method, url)
            .header("x-actor-id", "act-ragnor")
            .json(&body);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("the replica answers");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("text");
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Waits until a call ends with this status.
    async fn becomes(&self, token: &str, path: &str, wanted: u16) {
        let what = format!("GET {path} by {token} is answered with {wanted}");
        until(&what, BOUND, async || {
            let (status, _) = self.http(token, "GET", path, Value::Null).await;
            (status == wanted).then_some(())
        })
        .await;
    }
}

/// The same by gRPC and through the command line.
async fn listed_by_each_door(cluster: &Cluster) {
    for url in [
        cluster.replica.url(),
        format!("grpc://{}", cluster.replica.grpc),
    ] {
        let list = |token: &'static str| {
            let url = url.clone();
            let dir = cluster.place.config();
            async move {
                let args = [
                    "branch", "list", "--json", "--graph", "debian", "--server", &url,
                ];
                omnigraphctl_with(&dir, &args, &[("OMNIGRAPH_BEARER_TOKEN", token)], "").await
            }
        };
        list("t-ann").await.ok();
        let denied = list("t-eve").await.exits(1);
        assert_eq!(denied.error()["error"], "act-eve may not read", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_guard_every_door_and_change_without_a_restart() {
    let cluster = start().await;

    // Nobody but the administrator may do anything at first.
    let denied = cluster
        .control("t-ann", &["apply", "--json"])
        .await
        .exits(1);
    assert_eq!(denied.error()["reason"], "permission_denied");
    // The plan that an apply shows comes first.
    assert_eq!(denied.error()["error"], "act-ann may not cluster_read");
    let applied = cluster.control("t-root", &["apply", "--json"]).await.ok();
    assert_eq!(applied.json()["converged"], true);
    cluster.becomes("t-ann", "/branches", 200).await;
    let pid = cluster.replica.daemon.pid();
    let plan = cluster
        .control("t-ann", &["plan", "--detailed-exitcode"])
        .await;
    plan.ok();
    let denied = cluster
        .control("t-replica", &["status", "--json"])
        .await
        .exits(1);
    assert_eq!(denied.error()["reason"], "permission_denied");

    // Allowed and denied, by action and branch.
    let branch = json!({"name": "review"});
    let (status, body) = cluster.http("t-bruno", "POST", "/branches", branch).await;
    assert_eq!(status, 200, "{body}");
    let item = r#"{"type":"Maintainer","data":{"email":"policy@example.org","name":"Policy"}}"#;
    let load = |branch: &str| json!({"data": item, "branch": branch, "mode": "merge"});
    for (token, branch, expected) in [
        ("t-bruno", "review", 200),
        ("t-bruno", "main", 403),
        ("t-eve", "review", 403),
        ("", "review", 401),
        ("t-ragnor", "main", 200),
    ] {
        let (status, body) = cluster.http(token, "POST", "/load", load(branch)).await;
        assert_eq!(status, expected, "{token} on {branch}: {body}");
        if expected == 403 {
            let actor = token.replacen("t-", "act-", 1);
            assert_eq!(
                body["error"],
                format!("{actor} may not change on branch '{branch}'")
            );
        }
    }
    let merge = json!({"source": "review", "target": "main"});
    let (status, _) = cluster
        .http("t-bruno", "POST", "/branches/merge", merge.clone())
        .await;
    assert_eq!(status, 403);
    let (status, body) = cluster
        .http("t-ragnor", "POST", "/branches/merge", merge)
        .await;
    assert_eq!(status, 200, "{body}");
    let ask = json!({"params": {"name": "git"}});
    let (status, body) = cluster
        .http("t-ann", "POST", "/queries/find_package", ask.clone())
        .await;
    assert_eq!(status, 200, "{body}");
    let (status, _) = cluster
        .http("t-eve", "POST", "/queries/find_package", ask)
        .await;
    assert_eq!(status, 404, "like a query that is not there");

    listed_by_each_door(&cluster).await;

    // A stricter policy, then a looser one, in the running process.
    write(
        &cluster.place,
        "team.yaml",
        &TEAM.replace("act-ann, act-bruno", "act-ann"),
    );
    let plan = cluster.control("t-ann", &["plan"]).await.ok();
    assert!(plan.stdout.contains("~ policy.team"), "{}", plan.stdout);
    cluster.control("t-ann", &["apply"]).await.ok();
    cluster.becomes("t-bruno", "/branches", 403).await;
    cluster.becomes("t-ann", "/branches", 200).await;
    write(
        &cluster.place,
        "team.yaml",
        &TEAM.replace("act-bruno", "act-bruno, act-eve"),
    );
    cluster.control("t-ann", &["apply"]).await.ok();
    cluster.becomes("t-eve", "/branches", 200).await;

    // One that is wrong is refused with its place, and changes nothing.
    write(
        &cluster.place,
        "team.yaml",
        &TEAM.replace("[invoke_query]", "[invoke]"),
    );
    let wrong = cluster.control("t-ann", &["apply"]).await.exits(1);
    assert!(wrong.stderr.contains("team.yaml:8:68"), "{}", wrong.stderr);
    cluster.becomes("t-eve", "/branches", 200).await;

    // Without the last bundle of the graph whoever has a token may read, and no more.
    cluster.place.edit("cluster.yaml", |text| {
        text.replace("  team: { file: team.yaml, applies_to: [debian] }\n", "")
    });
    cluster.control("t-ann", &["apply"]).await.ok();
    cluster.becomes("t-ragnor", "/branches", 200).await;
    let (status, _) = cluster
        .http("t-ragnor", "POST", "/load", load("main"))
        .await;
    assert_eq!(status, 403);
    assert_eq!(cluster.replica.daemon.pid(), pid);
    let log = cluster.replica.daemon.log();
    assert!(
        log.contains("team-write"),
        "decisions are logged with their rule"
    );
    // The names of actors end like their tokens.
    let unnamed = log.replace("act-", "");
    for token in ["t-ann", "t-bruno", "t-ragnor", "t-eve", "t-replica"] {
        assert!(!unnamed.contains(token), "{token} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_loaded_quarantines_until_it_can() {
    let cluster = start().await;
    cluster.control("t-root", &["apply"]).await.ok();
    cluster.becomes("t-ann", "/branches", 200).await;
    // A replica without credentials cannot enforce it.
    let place = &cluster.place;
    let open = Replica::start_with(
        place,
        "open",
        None,
        &["--unauthenticated", "--boot", "wait"],
        &[("OMNIGRAPH_POLL_INTERVAL_MS", "300")],
    );
    until(
        "the open replica has quarantined the graph",
        BOUND,
        async || {
            let answer = reqwest::get(format!("{}/graphs/debian/branches", open.url()))
                .await
                .ok()?;
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.ok()?;
            let code = &body["graph_unavailable"]["reason_code"];
            (status == 503 && code == "policy_invalid").then_some(())
        },
    )
    .await;
    let pid = open.daemon.pid();
    place.edit("cluster.yaml", |text| {
        let text = text.replace("  team: { file: team.yaml, applies_to: [debian] }\n", "");
        text.replace(
            "policies:\n  server: { file: server.yaml, applies_to: [cluster] }\n",
            "",
        )
    });
    cluster.control("t-ann", &["apply"]).await.ok();
    until(
        "the open replica serves the graph again",
        BOUND,
        async || is_served(&open).await.then_some(()),
    )
    .await;
    assert_eq!(open.daemon.pid(), pid);

    let storage = place.storage();
    let refused = tokio::process::Command::new(binary("omnigraph-control-plane"))
        .args(["--cluster", storage.to_str().expect("UTF-8")])
        .args(["--grpc-bind", "127.0.0.1:0"])
        .env("OMNIGRAPH_CONTROL_BEARER_TOKENS_JSON", CONTROL_TOKENS)
        .kill_on_drop(true)
        .output();
    let refused = tokio::time::timeout(BOUND, refused).await.expect("it ends");
    let refused = refused.expect("it starts");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("OMNIGRAPH_CONTROL_ADMIN_ACTORS"), "{said}");
}

/// Whether the graph is served; the replica looks at the ledger by itself.
async fn is_served(replica: &Replica) -> bool {
    let answer = reqwest::get(format!("{}/graphs/debian/branches", replica.url())).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_check_show_explain_and_test_policies() {
    let cluster = start().await;
    let place = &cluster.place;
    write(place, "cases.yaml", CASES);
    let checked = place.ctl(&["policy", "validate"]).await.ok();
    assert_eq!(
        checked.stdout,
        "✓ server: 2 groups, 2 actors, 2 rules\n✓ team: 2 groups, 3 actors, 6 rules\n"
    );
    let checked = place
        .ctl(&["policy", "validate", "team.yaml", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(
        checked,
        json!({"bundles": [{"name": "team", "kind": "graph", "actors": 3, "rules": 6}], "diagnostics": []})
    );
    let shown = place
        .ctl(&["policy", "show", "team", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(shown["source"], TEAM);
    assert_eq!(shown["applies_to"], json!(["debian"]));
    let cedar = place.ctl(&["policy", "show", "team", "--cedar"]).await.ok();
    assert!(
        cedar.stdout.contains("@id(\"team-write:change\")"),
        "{}",
        cedar.stdout
    );
    write(place, "shown.cedar", &cedar.stdout);
    place.ctl(&["policy", "validate", "shown.cedar"]).await.ok();

    let explain = [
        "policy",
        "explain",
        "--graph",
        "debian",
        "--actor",
        "act-bruno",
        "--action",
        "change",
        "--branch",
        "main",
    ];
    let told = place.ctl(&explain).await.ok();
    assert!(
        told.stdout
            .starts_with("deny: act-bruno may not change on branch 'main'\n"),
        "{}",
        told.stdout
    );
    assert!(
        told.stdout
            .contains("team-write: branch_scope unprotected, main is protected")
    );
    let told = place
        .ctl(&[&explain[..], &["--json"]].concat())
        .await
        .ok()
        .json();
    assert_eq!(told["allowed"], false);
    assert_eq!(told["branch"], "main");
    assert_eq!(told["considered"].as_array().map(Vec::len), Some(6));

    let tested = place
        .ctl(&["policy", "test", "--tests", "cases.yaml"])
        .await
        .exits(1);
    assert_eq!(
        tested.stdout,
        "3 passed, 1 failed\nbruno-merges: expected allow, got deny\n"
    );
    what_is_applied_counts(&cluster).await;
    who_holds_the_storage_says_who_they_are(place).await;
}

/// Not what is declared.
async fn what_is_applied_counts(cluster: &Cluster) {
    let place = &cluster.place;
    cluster.control("t-root", &["apply"]).await.ok();
    write(
        place,
        "team.yaml",
        &TEAM.replace(
            "group: admins }, actions: [branch_merge]",
            "group: team }, actions: [branch_merge]",
        ),
    );
    place
        .ctl(&["policy", "test", "--tests", "cases.yaml"])
        .await
        .ok();
    let applied = ["policy", "test", "--tests", "cases.yaml", "--json"];
    let tested = cluster.control("t-ann", &applied).await.exits(1).json();
    assert_eq!(
        tested,
        json!({"passed": 3, "failed": [{"id": "bruno-merges", "expected": "allow", "actual": "deny"}]})
    );
    let denied = cluster
        .control("t-replica", &["policy", "show", "team"])
        .await
        .exits(1);
    assert!(
        denied.stderr.contains("act-replica may not cluster_read"),
        "{}",
        denied.stderr
    );
}

async fn who_holds_the_storage_says_who_they_are(place: &Place) {
    let storage = place.storage();
    let storage = storage.to_str().expect("UTF-8");
    let list = ["branch", "list", "--graph", "debian", "--cluster", storage];
    let nobody = place.ctl(&list).await.exits(1);
    assert!(
        nobody.stderr.contains("nobody may not read"),
        "{}",
        nobody.stderr
    );
    place
        .ctl(&[&list[..], &["--as", "act-ann"]].concat())
        .await
        .ok();
    let stranger = place
        .ctl(&[&list[..], &["--as", "act-eve"]].concat())
        .await
        .exits(1);
    assert!(
        stranger.stderr.contains("act-eve may not read"),
        "{}",
        stranger.stderr
    );
    let status = place.ctl(&["status", "--cluster", storage]).await.exits(1);
    assert!(
        status.stderr.contains("nobody may not cluster_read"),
        "{}",
        status.stderr
    );
    place
        .ctl(&["status", "--cluster", storage, "--as", "act-ann"])
        .await
        .ok();
    let remote = [
        "branch",
        "list",
        "--server",
        "http://127.0.0.1:1",
        "--as",
        "act-ann",
    ];
    place.ctl(&remote).await.exits(2);
}
