//! Policies: a declared resource, and what decides about the control plane's own calls.

use omnigraph_policy::{Action as Right, Actor, Credentials, Kind};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::replica_service_client::ReplicaServiceClient;
use omnigraph_proto::control::v1::replica_service_server::ReplicaServiceServer;
use tonic::{Code, Request, Status};

use super::*;
use crate::apply::Publication;
use crate::serving::{Serving, ServingReader};

const READERS: &str = "version: 1\ngroups: { team: [act-ann] }\nrules:\n  - { id: read, allow: { actors: { group: team }, actions: [read], types: [Item] } }\n";
const GRAPHS: &str = "graphs:\n  shop:\n    schema: shop.pg\n    queries: queries/\n  scratch: { schema: scratch.pg }\n";

/// A shop and a scratch graph with policies.
fn with(policies: &str, files: &[(&str, &str)]) -> ConfigBundle {
    let cluster = format!("version: 1\nmetadata: {{ name: shop }}\n{GRAPHS}{policies}");
    let mut all = vec![
        ("cluster.yaml", cluster.as_str()),
        ("shop.pg", SCHEMA),
        ("scratch.pg", SCHEMA),
        ("queries/q.gq", QUERIES),
    ];
    all.extend(files);
    bundle(&all)
}

fn readers(applies_to: &str, text: &str) -> ConfigBundle {
    let policies =
        format!("policies:\n  readers: {{ file: p.yaml, applies_to: [{applies_to}] }}\n");
    with(&policies, &[("p.yaml", text)])
}

/// `resource: operation metadata`.
fn told(plan: Option<&Plan>) -> Vec<String> {
    let changes = plan.expect("a plan").changes.iter();
    let policies = changes.filter(|change| change.resource.starts_with("policy."));
    policies
        .map(|change| {
            let same = change.before_digest == change.after_digest;
            let content = if same { "same" } else { "other" };
            format!(
                "{} {:?} {:?} {content} {}",
                change.resource,
                change.operation(),
                change.disposition(),
                change.metadata_change
            )
        })
        .collect()
}

#[tokio::test]
async fn policies_are_planned_and_applied_as_resources() {
    let world = World::new().await;
    let plane = world.plane("a");
    let first = apply(&plane, readers("shop", READERS)).await.unwrap();
    assert!(first.result.converged, "{:?}", first.result);
    assert_eq!(
        told(first.plan.as_ref()),
        ["policy.readers Create Applied other bindings: +graph.shop"]
    );
    let done = first
        .steps
        .iter()
        .any(|step| step.resource == "policy.readers");
    assert!(done, "its step is told");
    let again = apply(&plane, readers("shop", READERS)).await.unwrap();
    assert!(!again.result.state_written, "nothing to do writes nothing");

    let bound = apply(&plane, readers("shop, scratch", READERS))
        .await
        .unwrap();
    assert_eq!(
        told(bound.plan.as_ref()),
        ["policy.readers Update Applied same bindings: +graph.scratch"]
    );
    let other = READERS.replace("act-ann", "act-bob");
    let moved = apply(&plane, readers("scratch", &other)).await.unwrap();
    assert_eq!(
        told(moved.plan.as_ref()),
        ["policy.readers Update Applied other bindings: -graph.shop"]
    );
    let newest = plane.shared().ledger.newest().await.unwrap().unwrap();
    let resources = newest.content.resources();
    assert_eq!(
        resources["policy.readers"],
        crate::digest::Digest::of(other.as_bytes())
    );
    let reader = ServingReader::new(world.engine.store());
    let serving = reader.newest().await.unwrap().unwrap();
    assert_eq!(
        Serving::from_wire(&serving.to_wire("memory://x")).unwrap(),
        *serving
    );
    let [scratch, shop] = serving.graphs.as_slice() else {
        panic!("two graphs")
    };
    assert_eq!(shop.policy, None);
    let policy = scratch.policy.as_ref().unwrap();
    assert_eq!(reader.policy_text(policy).await.unwrap().text, other);

    let gone = apply(&plane, with("", &[])).await.unwrap();
    assert_eq!(
        told(gone.plan.as_ref()),
        ["policy.readers Delete Applied other bindings: -graph.scratch"]
    );
    let serving = reader.newest().await.unwrap().unwrap();
    assert!(serving.graphs.iter().all(|graph| graph.policy.is_none()));
}

#[tokio::test]
async fn a_change_of_a_policy_changes_what_replicas_load() {
    let world = World::new().await;
    let plane = world.plane("a");
    let digest = async || {
        let newest = plane.shared().ledger.newest().await.unwrap().unwrap();
        newest.record.serving_digest.to_string()
    };
    apply(&plane, with("", &[])).await.unwrap();
    let none = digest().await;
    apply(&plane, readers("shop", READERS)).await.unwrap();
    let bound = digest().await;
    apply(&plane, readers("scratch", READERS)).await.unwrap();
    let moved = digest().await;
    assert_ne!(none, bound);
    assert_ne!(bound, moved);
    apply(&plane, with("", &[])).await.unwrap();
    assert_eq!(digest().await, none, "as it was without policies");
}

#[tokio::test]
async fn nothing_is_applied_beside_a_wrong_policy() {
    let world = World::new().await;
    let plane = world.plane("a");
    let wrong = READERS
        .replace("[read]", "[reed]")
        .replace("team }", "teem }");
    let error = apply(&plane, readers("shop, none", &wrong))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::ConfigInvalid);
    let found: Vec<String> = error
        .findings()
        .iter()
        .map(|f| format!("{} {}", f.code, crate::finding::line(f)))
        .collect();
    assert_eq!(
        found,
        [
            "C115 policy 'readers' applies to graph 'none', which is not declared (cluster.yaml:9:28)",
            "C207 rule 'read': group 'teem' is not declared (p.yaml:4:43)",
            "C205 rule 'read': action 'reed' is not known (p.yaml:4:61)",
        ]
    );
    assert!(plane.shared().ledger.newest().await.unwrap().is_none());
    let response = crate::bundle::validate(&readers("shop", &wrong));
    assert!(!response.ok);
    let missing = with(
        "policies:\n  p: { file: p.yaml, applies_to: [shop] }\n",
        &[],
    );
    let response = crate::bundle::validate(&missing);
    let codes: Vec<&str> = response
        .diagnostics
        .iter()
        .map(|d| d.code.as_str())
        .collect();
    assert_eq!(codes, ["C107"]);
}

#[tokio::test]
async fn a_policy_fits_what_it_is_bound_to() {
    let server = "version: 1\ngroups: { a: [x] }\nrules:\n  - { id: r, allow: { actors: { group: a }, actions: [graph_list] } }\n";
    let validate = |scope: &str, text: &str| {
        let response = crate::bundle::validate(&readers(scope, text));
        let found = response.diagnostics.iter().map(crate::finding::line);
        found.collect::<Vec<_>>()
    };
    assert_eq!(validate("cluster", server), [] as [&str; 0]);
    assert_eq!(
        validate("shop", server),
        [
            "policy 'readers' is about the server and is bound to graph 'shop': bind it to cluster (cluster.yaml:9:28)"
        ]
    );
    assert_eq!(
        validate("cluster", READERS),
        [
            "policy 'readers' is about graphs and is bound to cluster: bind it to graphs (cluster.yaml:9:28)"
        ]
    );
    let unknown = READERS.replace("[Item]", "[Item, Itme]");
    assert_eq!(
        validate("shop", &unknown),
        ["rule 'read': graph 'shop' has no type 'Itme' (p.yaml:4:11)"]
    );
}

/// A ledger of a release that did not record what policies apply to.
async fn forget_bindings(plane: &ControlPlane) {
    let newest = plane.shared().ledger.newest().await.unwrap().unwrap();
    let mut content = newest.content.clone();
    for policy in content.policies.values_mut() {
        policy.applies_to = None;
    }
    let turn = plane
        .begin("apply", None, Duration::from_secs(5))
        .await
        .unwrap();
    let publication = Publication {
        content,
        config_digest: newest.record.config_digest.clone(),
        converged: true,
        actor: None,
        operation: "apply",
        operation_id: turn.operation_id,
        message: String::new(),
        epoch_floor: 0,
    };
    plane.publish(&turn.leader, publication).await.unwrap();
    turn.give_back().await;
}

#[tokio::test]
async fn bindings_that_were_not_recorded_are_filled_in_by_the_next_apply() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, readers("shop", READERS)).await.unwrap();
    forget_bindings(&plane).await;
    let reader = ServingReader::new(world.engine.store());
    let serving = reader.newest().await.unwrap().unwrap();
    for graph in &serving.graphs {
        let policy = graph
            .policy
            .as_ref()
            .expect("nobody knows: not without one");
        assert_eq!(
            (policy.name.as_str(), policy.digest.as_str()),
            ("readers", "")
        );
    }
    let filled = apply(&plane, readers("shop", READERS)).await.unwrap();
    assert_eq!(
        told(filled.plan.as_ref()),
        ["policy.readers Update Applied same bindings: +graph.shop (not recorded before)"]
    );
    assert!(filled.result.converged);
    let serving = reader.newest().await.unwrap().unwrap();
    let bound: Vec<bool> = serving.graphs.iter().map(|g| g.policy.is_some()).collect();
    assert_eq!(bound, [false, true]);
}

fn server_policy() -> String {
    let actions = || Right::ALL.into_iter().filter(|a| a.kind() == Kind::Server);
    let groups: String = actions().map(|a| format!("  {a}: [act-{a}]\n")).collect();
    let rules: String = actions()
        .map(|a| {
            format!("  - {{ id: {a}, allow: {{ actors: {{ group: {a} }}, actions: [{a}] }} }}\n")
        })
        .collect();
    format!("version: 1\ngroups:\n{groups}rules:\n{rules}")
}

fn server(text: &str) -> ConfigBundle {
    let policies = "policies:\n  server: { file: s.yaml, applies_to: [cluster] }\n";
    with(policies, &[("s.yaml", text)])
}

fn tokens() -> Credentials {
    let actions = Right::ALL.map(|action| format!("\"act-{action}\": \"t-act-{action}\""));
    let table = format!("{{\"act-root\": \"t-act-root\", {}}}", actions.join(", "));
    Credentials::tokens(&table).expect("a table")
}

fn admin(world: &World, credentials: Credentials) -> (ControlPlane, Credentials) {
    let options = Options {
        admin_actors: AdminActors::parse("act-root, act-other"),
        ..Options::new("a")
    };
    (
        ControlPlane::new(world.engine.clone(), options),
        credentials,
    )
}

fn request<T>(actor: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !actor.is_empty() {
        let bearer = format!("Bearer t-{actor}").parse().expect("ascii");
        request.metadata_mut().insert("authorization", bearer);
    }
    request
        .metadata_mut()
        .insert("x-actor-id", "act-root".parse().expect("ascii"));
    request
}

/// One call of each kind; the code that it ends with, `Ok` for those that get through.
async fn call(plane: &ControlPlane, credentials: &Credentials, rpc: &str, actor: &str) -> Code {
    let api = plane.cluster_api(credentials.clone());
    let mut cluster = ClusterServiceClient::new(ClusterServiceServer::new(api));
    let api = plane.replica_api(credentials.clone());
    let mut replicas = ReplicaServiceClient::new(ReplicaServiceServer::new(api));
    let done: Result<(), Status> = match rpc {
        "validate" => cluster
            .validate(request(actor, pb::ValidateRequest::default()))
            .await
            .map(drop),
        "plan" => cluster
            .plan(request(actor, pb::PlanRequest::default()))
            .await
            .map(drop),
        "status" => cluster
            .status(request(actor, pb::StatusRequest::default()))
            .await
            .map(drop),
        "revisions" => cluster
            .list_revisions(request(actor, pb::ListRevisionsRequest::default()))
            .await
            .map(drop),
        "revision" => cluster
            .get_revision(request(actor, pb::GetRevisionRequest::default()))
            .await
            .map(drop),
        "rollout" => cluster
            .rollout_status(request(actor, pb::RolloutStatusRequest::default()))
            .await
            .map(drop),
        "apply" => cluster
            .apply(request(actor, pb::ApplyRequest::default()))
            .await
            .map(drop),
        "rollback" => cluster
            .rollback(request(actor, pb::RollbackRequest::default()))
            .await
            .map(drop),
        "import" => cluster
            .import(request(actor, pb::ImportRequest::default()))
            .await
            .map(drop),
        "refresh" => cluster
            .refresh(request(actor, pb::RefreshRequest::default()))
            .await
            .map(drop),
        "approve" => cluster
            .approve(request(actor, pb::ApproveRequest::default()))
            .await
            .map(drop),
        "unlock" => cluster
            .force_unlock(request(actor, pb::ForceUnlockRequest::default()))
            .await
            .map(drop),
        "fetch" => replicas
            .fetch_revision(request(actor, pb::FetchRevisionRequest::default()))
            .await
            .map(drop),
        "sync" => {
            let frames = tokio_stream::iter(Vec::<pb::SyncRequest>::new());
            replicas.sync(request(actor, frames)).await.map(drop)
        }
        other => panic!("{other}"),
    };
    done.err().map_or(Code::Ok, |status| status.code())
}

const RPCS: [(&str, Right); 14] = [
    ("validate", Right::ClusterRead),
    ("plan", Right::ClusterRead),
    ("status", Right::ClusterRead),
    ("revisions", Right::ClusterRead),
    ("revision", Right::ClusterRead),
    ("rollout", Right::ClusterRead),
    ("apply", Right::ClusterApply),
    ("rollback", Right::ClusterApply),
    ("import", Right::ClusterApply),
    ("refresh", Right::ClusterApply),
    ("approve", Right::ClusterApprove),
    ("unlock", Right::ClusterUnlock),
    ("fetch", Right::ReplicaSync),
    ("sync", Right::ReplicaSync),
];

#[tokio::test]
async fn each_call_asks_for_its_action_and_no_other() {
    let world = World::new().await;
    let (plane, credentials) = admin(&world, tokens());
    apply(&plane, server(&server_policy())).await.unwrap();
    for (rpc, right) in RPCS {
        for action in Right::ALL.into_iter().filter(|a| a.kind() == Kind::Server) {
            let code = call(&plane, &credentials, rpc, &format!("act-{action}")).await;
            let denied = code == Code::PermissionDenied;
            assert_eq!(denied, action != right, "{rpc} by {action}: {code:?}");
        }
        let root = call(&plane, &credentials, rpc, "act-root").await;
        assert_ne!(root, Code::PermissionDenied, "{rpc} by an administrator");
        assert_eq!(
            call(&plane, &credentials, rpc, "").await,
            Code::Unauthenticated,
            "{rpc}"
        );
        let other = call(&plane, &credentials, rpc, "act-read").await;
        assert_eq!(other, Code::PermissionDenied, "{rpc} by somebody unknown");
    }
}

#[tokio::test]
async fn without_a_policy_administrators_alone_may_do_anything() {
    let world = World::new().await;
    let (plane, credentials) = admin(&world, tokens());
    for (rpc, right) in RPCS {
        let code = call(&plane, &credentials, rpc, &format!("act-{right}")).await;
        assert_eq!(code, Code::PermissionDenied, "{rpc}");
        let root = call(&plane, &credentials, rpc, "act-root").await;
        assert_ne!(root, Code::PermissionDenied, "{rpc}");
        let open = call(&plane, &Credentials::Open, rpc, "").await;
        assert_ne!(
            open,
            Code::PermissionDenied,
            "{rpc}: everybody is let in on purpose"
        );
    }
    // With a policy even those who hold the storage have to be named by it.
    apply(&plane, server(&server_policy())).await.unwrap();
    let open = call(&plane, &Credentials::Open, "status", "").await;
    assert_eq!(open, Code::PermissionDenied);
    let declared = |name| Credentials::Declared(Actor::declared(name).expect("a name"));
    let reader = call(&plane, &declared("act-cluster_read"), "status", "").await;
    assert_eq!(reader, Code::Ok);
    let reader = call(&plane, &declared("act-cluster_read"), "apply", "").await;
    assert_eq!(reader, Code::PermissionDenied);
}

#[tokio::test]
async fn who_would_lock_themselves_out_is_warned() {
    let world = World::new().await;
    let plane = world.plane("a");
    let warned = |told: &Told| told.result.diagnostics.iter().any(|d| d.code == "C117");
    let out = apply(&plane, server(&server_policy())).await.unwrap();
    assert!(warned(&out), "'tester' is in none of its groups");
    let in_group = server_policy().replace("[act-cluster_apply]", "[act-cluster_apply, tester]");
    let still = apply(&plane, server(&in_group)).await.unwrap();
    assert!(!warned(&still));
    let (plane, _) = admin(&world, tokens());
    let declared = crate::declared::Declared::of(&server(&server_policy()));
    assert!(plane.lockout(&declared, Some("act-root")).is_none());
    assert!(plane.lockout(&declared, None).is_some());
    // Taking the policy away leaves the administrators alone.
    let (plane, credentials) = admin(&world, tokens());
    call(&plane, &credentials, "status", "act-cluster_read").await;
    let none = crate::declared::Declared::of(&with("", &[]));
    assert!(plane.lockout(&none, Some("act-cluster_apply")).is_some());
    assert!(plane.lockout(&none, Some("act-root")).is_none());
}

#[tokio::test]
async fn a_bad_server_policy_is_repaired_by_an_administrator() {
    use object_store::ObjectStoreExt as _;
    let world = World::new().await;
    let (plane, credentials) = admin(&world, tokens());
    let text = server_policy();
    apply(&plane, server(&text)).await.unwrap();
    let digest = crate::digest::Digest::of(text.as_bytes());
    let store = world.engine.store();
    let path = store.path(&format!("cluster/catalog/{digest}.yaml"));
    store.object_store().delete(&path).await.unwrap();
    let (plane, _) = admin(&world, tokens());
    let broken = call(&plane, &credentials, "status", "act-cluster_read").await;
    assert_eq!(broken, Code::DataLoss, "neither allowed nor denied");
    assert_eq!(
        call(&plane, &credentials, "status", "act-root").await,
        Code::Ok
    );
    let repaired = server_policy().replace("id: cluster_read", "id: reading");
    apply(&plane, server(&repaired)).await.unwrap();
    let reader = call(&plane, &credentials, "status", "act-cluster_read").await;
    assert_eq!(reader, Code::Ok);
}

/// The shop and a second graph, each with what is given.
fn two_with(graphs: &[&str], policies: &str, texts: &[(&str, &str)]) -> ConfigBundle {
    let declared: String = graphs
        .iter()
        .map(|id| format!("  {id}: {{ schema: shop.pg }}\n"))
        .collect();
    let cluster = format!("version: 1\ngraphs:\n{declared}policies:\n{policies}");
    let mut files = vec![("cluster.yaml", cluster.as_str()), ("shop.pg", SCHEMA)];
    files.extend(texts);
    bundle(&files)
}

async fn policies(world: &World) -> Vec<String> {
    let newest = world.newest().await;
    let lines = newest.content.policies.iter().map(|(name, policy)| {
        let scopes: Vec<&str> = policy
            .applies_to
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        format!("{name}: {}", scopes.join(" "))
    });
    lines.collect()
}

#[tokio::test]
async fn a_graph_that_stays_keeps_its_policy() {
    let world = World::new().await;
    let plane = world.plane("a");
    let both =
        "  one: { file: 1.yaml, applies_to: [a] }\n  two: { file: 2.yaml, applies_to: [a2] }\n";
    let texts = [("1.yaml", READERS), ("2.yaml", READERS)];
    apply(&plane, two_with(&["a", "a2"], both, &texts))
        .await
        .unwrap();
    // Its deletion needs consent; until that is there it stays, and so does what guards it.
    let one = "  one: { file: 1.yaml, applies_to: [a] }\n";
    let told = apply(&plane, two_with(&["a"], one, &texts[..1]))
        .await
        .unwrap();
    let plan = lines(told.plan.as_ref().unwrap());
    assert_eq!(
        plan,
        [
            "delete graph.a2 approval_required",
            "delete policy.two blocked"
        ]
    );
    assert_eq!(policies(&world).await, ["one: a", "two: a2"]);
    // A bundle that is still declared keeps the graph that stays beside its own.
    let moved = "  two: { file: 2.yaml, applies_to: [a] }\n";
    apply(&plane, two_with(&["a"], moved, &texts[1..]))
        .await
        .unwrap();
    assert_eq!(policies(&world).await, ["two: a a2"]);

    approve(&plane, "graph.a2", two_with(&["a"], moved, &texts[1..]))
        .await
        .unwrap();
    let told = apply(&plane, two_with(&["a"], moved, &texts[1..]))
        .await
        .unwrap();
    assert!(told.result.converged, "{:?}", told.result);
    assert_eq!(policies(&world).await, ["two: a"]);
}

#[tokio::test]
async fn a_target_brings_what_decides_about_it() {
    let world = World::new().await;
    let plane = world.plane("a");
    let both =
        "  one: { file: 1.yaml, applies_to: [a] }\n  two: { file: 2.yaml, applies_to: [a2] }\n";
    let texts = [("1.yaml", READERS), ("2.yaml", READERS)];
    let target = |bundle: ConfigBundle, targets: &[&str]| ApplyRequest {
        bundle: Some(bundle),
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        ..ApplyRequest::default()
    };
    let bundle = two_with(&["a", "a2"], both, &texts);
    let told = apply_request(&plane, target(bundle.clone(), &["graph.a"]))
        .await
        .unwrap();
    let plan = lines(told.plan.as_ref().unwrap());
    assert_eq!(
        plan,
        [
            "create graph.a applied",
            "create schema.a applied",
            "create policy.one applied"
        ]
    );
    assert_eq!(policies(&world).await, ["one: a"]);
    apply(&plane, bundle).await.unwrap();
    assert_eq!(policies(&world).await, ["one: a", "two: a2"]);
    // The bundles change places: taking over one of the graphs takes both along.
    let swapped =
        "  one: { file: 1.yaml, applies_to: [a2] }\n  two: { file: 2.yaml, applies_to: [a] }\n";
    let bundle = two_with(&["a", "a2"], swapped, &texts);
    apply_request(&plane, target(bundle, &["graph.a"]))
        .await
        .unwrap();
    assert_eq!(policies(&world).await, ["one: a2", "two: a"]);
}

#[tokio::test]
async fn policies_roll_back_and_heal() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, readers("shop", READERS)).await.unwrap();
    let other = READERS.replace("act-ann", "act-bob");
    apply(&plane, readers("scratch", &other)).await.unwrap();
    let request = RollbackRequest {
        to_revision: 1,
        lock_timeout_ms: 10_000,
        ..RollbackRequest::default()
    };
    let told = roll_back(&plane, request).await.unwrap();
    assert!(told.result.converged, "{:?}", told.result);
    assert_eq!(policies(&world).await, ["readers: shop"]);
    let newest = world.newest().await;
    let digest = crate::digest::Digest::of(READERS.as_bytes());
    assert_eq!(newest.content.policies["readers"].text, digest);

    world
        .erase_one(&format!("cluster/catalog/{digest}.yaml"))
        .await;
    let healed = apply(&plane, readers("shop", READERS)).await.unwrap();
    let plan = lines(healed.plan.as_ref().unwrap());
    assert_eq!(plan, ["update policy.readers applied (drift)"]);
    assert!(healed.result.state_written, "replicas have to hear of it");
    let reader = ServingReader::new(world.engine.store());
    let serving = reader.newest().await.unwrap().unwrap();
    let policy = serving.graphs[1].policy.as_ref().unwrap();
    assert_eq!(reader.policy_text(policy).await.unwrap().text, READERS);
}
