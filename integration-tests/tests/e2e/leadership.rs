//! Several control planes on one storage root.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use omnigraph_integration_tests::cli::{self, Run};
use omnigraph_integration_tests::cluster::{Place, control_plane};
use omnigraph_integration_tests::process::Daemon;
use omnigraph_integration_tests::until;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);
/// Signs of life that are frequent enough for a test.
const QUICK: [(&str, &str); 2] = [
    ("OMNIGRAPH_HEARTBEAT_MS", "300"),
    ("OMNIGRAPH_TAKEOVER_MS", "1500"),
];
/// Steps of an apply that moves a schema, and of one that changes a query.
const SCHEMA_STEPS: [&str; 8] = [
    "catalogued",
    "prepared",
    "staged",
    "armed",
    "checked",
    "acted",
    "recorded",
    "disarmed",
];
const QUERY_STEPS: [&str; 4] = ["catalogued", "prepared", "publishing", "published"];

/// A control plane and where it listens.
struct Plane {
    daemon: Daemon,
    address: SocketAddr,
}

impl Plane {
    fn start(place: &Place, name: &str, failpoint: Option<&str>) -> Plane {
        let mut env = QUICK.to_vec();
        env.push(("OMNIGRAPH_HOLDER", name));
        env.extend(failpoint.map(|point| ("OMNIGRAPH_FAILPOINT", point)));
        let mut daemon = control_plane(place, name, "127.0.0.1:0", &env);
        let address = daemon.address("OMNIGRAPH_GRPC_ADDR");
        Plane { daemon, address }
    }

    fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    async fn ctl(&self, place: &Place, args: &[&str]) -> Run {
        place
            .ctl(&[args, &["--control", &self.url()]].concat())
            .await
    }

    async fn status(&self, place: &Place) -> Value {
        self.ctl(place, &["status", "--json"]).await.ok().json()
    }

    /// Waits until it is what `role` says.
    async fn is(&self, place: &Place, role: &str) {
        let what = format!("{} is {role}", self.url());
        until(&what, BOUND, async || {
            let run = self.ctl(place, &["status", "--json"]).await;
            (run.code == 0 && run.json()["role"] == role).then_some(())
        })
        .await;
    }
}

/// A leader and a standby over the applied example.
async fn pair(place: &Place, failpoint: Option<&str>) -> (Plane, Plane) {
    // Somebody else applies first, so that the failpoint is met by the change that is to meet it.
    place.ctl(&["apply"]).await.ok();
    let leader = Plane::start(place, "cp-0", failpoint);
    leader.is(place, "leader").await;
    let standby = Plane::start(place, "cp-1", None);
    standby.is(place, "standby").await;
    (leader, standby)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_names_the_leader_and_takes_over_within_seconds_of_a_kill() {
    let place = Place::new();
    let (leader, standby) = pair(&place, None).await;
    let leads = leader.address.to_string();
    let seen = standby.status(&place).await;
    assert_eq!(
        (&seen["role"], &seen["leader"]),
        (&json!("standby"), &json!(leads))
    );

    // A change that is sent to the standby goes to the leader.
    place.add_property("one");
    let applied = standby.ctl(&place, &["apply"]).await.ok();
    assert!(applied.stdout.contains("applied revision 2"), "{applied:?}");
    assert!(applied.stderr.contains(&leads), "{}", applied.stderr);

    leader.daemon.kill();
    let killed = Instant::now();
    // Whoever knows both addresses need not know which of them lives.
    place.add_property("two");
    let both = format!("grpc://{leads},{}", standby.url());
    let run = place.ctl(&["apply", "--control", &both]).await.ok();
    println!(
        "applied {:?} after the kill of the leader",
        killed.elapsed()
    );
    assert!(run.stdout.contains("applied revision 3"), "{run:?}");
    let bound = Duration::from_secs(30);
    assert!(
        killed.elapsed() < bound,
        "the takeover took {:?}",
        killed.elapsed()
    );
    let status = standby.status(&place).await;
    assert_eq!(
        (&status["role"], &status["converged"]),
        (&json!("leader"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_at_any_step_of_a_schema_change_moves_nothing_afterwards() {
    for step in SCHEMA_STEPS {
        stopped_at(step, |place| place.add_property("late")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_at_any_step_of_a_query_change_publishes_nothing_afterwards() {
    for step in QUERY_STEPS {
        stopped_at(step, |place| {
            place.edit("queries/packages.gq", |text| {
                text.replace("limit 20", "limit 30")
            });
        })
        .await;
    }
}

/// A leader stands still in the middle of a change; another one leads and makes the change; then the
/// first one goes on.
async fn stopped_at(step: &str, change: impl Fn(&Place)) {
    let place = Place::new();
    let failpoint = format!("{step}=stop");
    let (mut old, new) = pair(&place, Some(&failpoint)).await;
    change(&place);
    let apply = cli::start(
        &place.config(),
        &["apply", "--json", "--control", &old.url()],
    );
    let hit = tokio::task::block_in_place(|| old.daemon.fact("OMNIGRAPH_FAILPOINT_HIT"));
    assert_eq!(hit, step);
    new.is(&place, "leader").await;
    let applied = new
        .ctl(&place, &["apply", "--lock-timeout", "30s", "--json"])
        .await
        .ok();
    assert_eq!(applied.json()["converged"], true, "{step}");
    let before = new.status(&place).await;
    assert_eq!(before["recoveries"], json!([]), "{step}");

    old.daemon.resume();
    old.is(&place, "standby").await;
    let run = apply.end().await;
    let recorded = matches!(step, "recorded" | "disarmed" | "published");
    assert_eq!(run.code == 0, recorded, "{step}: {run:?}");
    let after = new.status(&place).await;
    for fact in [
        "revision",
        "config_digest",
        "serving_digest",
        "recoveries",
        "converged",
    ] {
        assert_eq!(before[fact], after[fact], "{step}: {fact}");
    }
    new.ctl(&place, &["plan", "--detailed-exitcode"]).await.ok();
    // Both go on: the next change is made as ever, through either.
    place.add_property("later");
    let next = old.ctl(&place, &["apply", "--json"]).await.ok();
    assert_eq!(next.json()["converged"], true, "{step}");
    assert!(old.daemon.is_running(), "{step}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_excludes_commands_on_its_storage_until_its_lease_is_taken() {
    let place = Place::new();
    let (leader, standby) = pair(&place, None).await;
    drop(standby);
    place.add_property("one");
    let storage = place.storage();
    let storage = storage.to_str().expect("UTF-8");
    let embedded = ["--cluster", storage];
    let refused = place
        .ctl(&[&["apply", "--json", "."], &embedded[..]].concat())
        .await
        .exits(1);
    let error = refused.error();
    assert_eq!(error["reason"], "lease_held", "{error}");
    assert_eq!(
        error["lease_held"]["address"],
        leader.address.to_string(),
        "{error}"
    );
    let hint = error["hint"].as_str().unwrap_or_default();
    assert!(
        hint.contains(&format!("--control {}", leader.url())),
        "{hint}"
    );
    // Reading needs no lead.
    place.ctl(&[&["status"], &embedded[..]].concat()).await.ok();
    place
        .ctl(&[&["plan", "."], &embedded[..]].concat())
        .await
        .ok();

    // Its machine hangs: nothing is released, and nobody can tell that it is dead.
    leader.daemon.pause();
    let status = place
        .ctl(&[&["status", "--json"], &embedded[..]].concat())
        .await
        .ok()
        .json();
    let lease = status["lease"]["lease_id"]
        .as_str()
        .expect("a lease")
        .to_owned();
    let unlock = |id: &str| {
        let args = ["unlock", id, "--json", "--cluster", storage];
        args.map(str::to_owned)
    };
    let run = async |args: [String; 5]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.ctl(&args).await
    };
    // Only this lease, and only as a whole.
    assert_eq!(
        run(unlock("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
            .await
            .exits(1)
            .error()["reason"],
        "not_found"
    );
    assert_eq!(
        run(unlock("x")).await.exits(1).error()["reason"],
        "invalid_request"
    );
    let released = run(unlock(&lease)).await.ok().json();
    assert_eq!(released["released"]["lease_id"], lease);
    assert_eq!(
        run(unlock(&lease)).await.exits(1).error()["reason"],
        "not_found"
    );
    let applied = place
        .ctl(&[&["apply", "--json", "."], &embedded[..]].concat())
        .await
        .ok();
    assert_eq!(applied.json()["converged"], true);

    // The one that comes back leads again, because nobody else does, and knows what was done.
    leader.daemon.resume();
    leader.is(&place, "leader").await;
    let again = leader.ctl(&place, &["apply"]).await.ok();
    assert!(again.stdout.contains("no changes"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_store_a_leader_refuses_changes_and_goes_on_when_it_is_back() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let mut leader = Plane::start(&place, "cp-0", None);
    leader.is(&place, "leader").await;
    place.add_property("one");
    let (storage, away) = (place.storage(), place.storage().with_extension("away"));
    std::fs::rename(&storage, &away).expect("the store can be taken away");
    // Nothing can be read below a file.
    std::fs::write(&storage, "").expect("a file");
    leader.ctl(&place, &["apply", "--json"]).await.exits(1);
    leader.ctl(&place, &["status", "--json"]).await.exits(1);
    std::fs::remove_file(&storage).expect("the file can be removed");
    std::fs::rename(&away, &storage).expect("the store can be put back");
    leader.is(&place, "leader").await;
    let applied = leader
        .ctl(&place, &["apply", "--lock-timeout", "30s", "--json"])
        .await
        .ok();
    assert_eq!(
        (&applied.json()["revision"], &applied.json()["converged"]),
        (&json!(2), &json!(true))
    );
    assert!(leader.daemon.is_running());
}
