//! An apply belongs to the control plane, not to the command that sent it.

use std::time::Duration;

use omnigraph_integration_tests::cli::{self, Run, Started};
use omnigraph_integration_tests::cluster::{Place, control_plane};
use omnigraph_integration_tests::process::Daemon;
use omnigraph_integration_tests::until;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);

/// A control plane whose next schema change waits in the middle until it is let go on.
struct World {
    place: Place,
    daemon: Daemon,
    url: String,
}

impl World {
    async fn start() -> World {
        let place = Place::new();
        place.ctl(&["apply"]).await.ok();
        let failpoint = format!("armed=until:{}", place.logs().join("go").display());
        let env = [("OMNIGRAPH_FAILPOINT", failpoint.as_str())];
        let mut daemon = control_plane(&place, "control", "127.0.0.1:0", &env);
        let url = format!("grpc://{}", daemon.address("OMNIGRAPH_GRPC_ADDR"));
        World { place, daemon, url }
    }

    async fn ctl(&self, args: &[&str]) -> Run {
        self.place
            .ctl(&[args, &["--control", &self.url]].concat())
            .await
    }

    fn go_on(&self) {
        std::fs::write(self.place.logs().join("go"), "").expect("a file");
    }

    /// An apply that has come to the failpoint.
    async fn waiting_apply(&mut self) -> Started {
        self.place.add_property("late");
        let args = ["apply", "--message", "late", "--control", &self.url];
        let apply = cli::start(&self.place.config(), &args);
        tokio::task::block_in_place(|| self.daemon.fact("OMNIGRAPH_FAILPOINT_HIT"));
        apply.says("operation ", BOUND).await;
        apply
    }

    /// The newest operation.
    async fn newest(&self) -> Value {
        let listed = self.ctl(&["operation", "list", "--json"]).await.ok().json();
        listed[0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_an_apply_to_the_control_plane_and_names_it() {
    let mut world = World::start().await;
    let apply = world.waiting_apply().await;
    apply.signal("INT");
    let run = apply.end().await.exits(130);
    let said = run
        .stderr
        .lines()
        .find_map(|line| line.split_once("goes on as operation "));
    let id = said
        .unwrap_or_else(|| panic!("no id: {}", run.stderr))
        .1
        .trim()
        .to_owned();
    assert!(
        run.stderr.contains(&format!("omnigraphctl operation {id}")),
        "{}",
        run.stderr
    );

    let listed = world.newest().await;
    assert_eq!(
        (&listed["operation_id"], &listed["state"]),
        (&json!(id), &json!("running"))
    );
    world.go_on();
    // From its first event on, in each form.
    let followed = world.ctl(&["operation", &id]).await.ok();
    assert!(followed.stdout.contains("schema.debian"), "{followed:?}");
    assert!(
        followed.stdout.contains("applied revision 2"),
        "{followed:?}"
    );
    let lines = world
        .ctl(&["operation", &id, "-o", "jsonl"])
        .await
        .ok()
        .stdout;
    let mut kinds: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event"].to_string())
        .collect();
    kinds.dedup();
    let expected = ["operation", "plan", "step", "result", "operation"];
    assert_eq!(kinds, expected.map(|kind| format!("\"{kind}\"")));
    let shown = world.ctl(&["operation", &id, "--json"]).await.ok().json();
    assert_eq!(
        (&shown["state"], &shown["revision"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(
        (&shown["message"], &shown["result"]["converged"]),
        (&json!("late"), &json!(true))
    );

    // A restarted control plane knows how it ended.
    assert_eq!(world.daemon.terminate(BOUND).code(), Some(0));
    let mut after = control_plane(&world.place, "after", "127.0.0.1:0", &[]);
    world.url = format!("grpc://{}", after.address("OMNIGRAPH_GRPC_ADDR"));
    until("the operation is known again", BOUND, async || {
        let run = world.ctl(&["operation", &id, "--json"]).await;
        (run.code == 0 && run.json()["state"] == "succeeded").then_some(())
    })
    .await;
    world
        .ctl(&["operation", "01ARZ3NDEKTSV4RRFFQ69G5FAV"])
        .await
        .exits(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_stops_nothing_and_a_second_one_is_told_what_runs() {
    let mut world = World::start().await;
    let apply = world.waiting_apply().await;
    apply.signal("KILL");
    apply.end().await;
    let second = world.ctl(&["apply", "--json"]).await.exits(1).error();
    assert_eq!(second["reason"], "lease_held", "{second}");
    let said = second["error"].as_str().unwrap_or_default();
    assert!(said.contains("has been running for"), "{said}");
    // It is there for everybody who can read the storage.
    let storage = world.place.storage();
    let status = world
        .place
        .ctl(&[
            "status",
            "--json",
            "--cluster",
            storage.to_str().expect("UTF-8"),
        ])
        .await
        .ok()
        .json();
    let id = status["running"]["operation_id"]
        .as_str()
        .expect("it runs")
        .to_owned();
    assert_eq!(status["lease"]["operation"], "apply");
    assert!(said.contains(&id), "{said}");
    world.go_on();
    let followed = world.ctl(&["operation", &id, "--json"]).await.ok().json();
    assert_eq!(followed["state"], "succeeded", "{followed}");
    assert_eq!(world.newest().await["operation_id"], id);
    let status = world.ctl(&["status", "--json"]).await.ok().json();
    assert_eq!(
        (&status["revision"], &status["converged"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(status["running"], Value::Null);
    // Nothing is left to do.
    let again = world.ctl(&["apply"]).await.ok();
    assert!(again.stdout.contains("no changes"), "{again:?}");
    let history = world.ctl(&["history", "--json"]).await.ok().json();
    assert_eq!(
        (&history[0]["revision"], &history[0]["message"]),
        (&json!(2), &json!("late"))
    );
    assert_eq!(history[0]["operation_id"], id);
    let changed: Vec<&str> = history[0]["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter_map(|change| change["resource"].as_str())
        .collect();
    assert_eq!(changed, ["schema.debian"]);
    let shown = world.ctl(&["history", "show", "1"]).await.ok();
    assert!(shown.stdout.contains("graph.debian"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_embedded_apply_is_finished_first() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    place.add_property("late");
    let apply = cli::start(&place.config(), &["apply"]);
    // As soon as it is admitted, its heartbeat tells of it.
    let storage = place.storage();
    let storage = storage.to_str().expect("UTF-8");
    let seen = until("the apply runs or has ended", BOUND, async || {
        let run = place
            .ctl(&["status", "--json", "--cluster", storage])
            .await
            .ok();
        let status = run.json();
        (status["running"] != Value::Null || status["revision"] == 2).then_some(status)
    })
    .await;
    if seen["revision"] == 2 {
        // It was faster than we are; the other tests cut it at a place that is certain.
        apply.end().await.ok();
        return;
    }
    apply.signal("INT");
    let run = apply.end().await;
    assert!(run.code == 130 || run.code == 0, "{run:?}");
    let status = place.ctl(&["status", "--json"]).await.ok().json();
    assert_eq!(
        (&status["revision"], &status["recoveries"]),
        (&json!(2), &json!([]))
    );
    assert_eq!(status["lease"], Value::Null, "the lead was released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_by_the_control_plane() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let mut daemon = control_plane(&place, "control", "127.0.0.1:0", &[]);
    let url = format!("grpc://{}", daemon.address("OMNIGRAPH_GRPC_ADDR"));
    let backups = place.logs().join("backups");
    let to = backups.to_str().expect("UTF-8");
    let storage = place.storage();
    let storage = storage.to_str().expect("UTF-8");
    place
        .ctl(&["backup", "create", "--to", to, "--cluster", storage])
        .await
        .ok();
    let listed = place
        .ctl(&["backup", "list", "--from", to, "--json"])
        .await
        .ok()
        .json();
    let uri = listed[0]["uri"].as_str().expect("a backup").to_owned();
    let restore = |graph: &str, more: &[&str]| {
        let mut args = vec![
            "backup",
            "restore",
            &uri,
            "--graph",
            graph,
            "--json",
            "--control",
            &url,
        ];
        args.extend(more);
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let run = async |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.ctl(&args).await
    };
    let stale = run(restore("copy", &["--expect-revision", "9"]))
        .await
        .exits(4);
    assert_eq!(stale.error()["reason"], "plan_stale");
    run(restore("debian", &[])).await.exits(1);
    let made = run(restore("copy", &["--expect-revision", "1"]))
        .await
        .ok()
        .json();
    assert_eq!(made["graph_id"], "copy");
    // The apply that declares it takes it over.
    place.edit("cluster.yaml", |text| {
        text.replace("graphs:\n", "graphs:\n  copy:\n    schema: debian.pg\n")
    });
    let plan = place.ctl(&["plan", "--control", &url]).await.ok();
    assert!(plan.stdout.contains("adopts what was restored"), "{plan:?}");
    let applied = place
        .ctl(&["apply", "--json", "--control", &url])
        .await
        .ok()
        .json();
    assert_eq!(applied["converged"], true);
    let listed = place
        .ctl(&["operation", "list", "--control", &url])
        .await
        .ok();
    assert!(listed.stdout.contains("restore"), "{listed:?}");
    assert_eq!(daemon.terminate(BOUND).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_shows_each_change_once_and_ends_on_ctrl_c() {
    let place = Place::new();
    place.ctl(&["apply"]).await.ok();
    let mut daemon = control_plane(&place, "control", "127.0.0.1:0", &[]);
    let url = format!("grpc://{}", daemon.address("OMNIGRAPH_GRPC_ADDR"));
    until("it leads", BOUND, async || {
        let run = place.ctl(&["status", "--json", "--control", &url]).await;
        (run.code == 0 && run.json()["role"] == "leader").then_some(())
    })
    .await;
    let args = ["status", "--watch", "-o", "jsonl", "--control", &url];
    let watching = cli::start(&place.config(), &args);
    watching.prints(1, BOUND).await;
    place.add_property("late");
    place.ctl(&["apply", "--control", &url]).await.ok();
    until("the change is shown", BOUND, async || {
        let shown = watching.prints(2, BOUND).await;
        let last: Value = serde_json::from_str(shown.lines().last()?).ok()?;
        (last["revision"] == 2 && last["running"] == Value::Null).then_some(())
    })
    .await;
    watching.signal("INT");
    let run = watching.end().await.exits(130);
    // What did not change is not shown again, however often it was looked at.
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.len() <= 4, "{} lines", lines.len());
    assert!(lines.windows(2).all(|two| two[0] != two[1]));
    assert_eq!(daemon.terminate(BOUND).code(), Some(0));
}
