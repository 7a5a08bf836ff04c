//! What keeps a graph in order, over an object store: maintenance, both phases of collection,
//! backups, blobs, tags and checks, through real binaries.

use std::process::Command;
use std::time::Duration;

use omnigraph_integration_tests::cli::{Run, omnigraphctl_with};
use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::s3::S3;
use omnigraph_integration_tests::{binary, until};
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);

/// A place whose storage is in an S3 server.
struct Site {
    server: S3,
    place: Place,
}

impl Site {
    async fn new() -> Site {
        let server = S3::start().await;
        let media = server.root("media/");
        let more = format!("    external_blobs:\n      - \"{media}\"\n");
        let place = Place::shop(Some(server.root("cluster")), &more);
        let site = Site { server, place };
        site.ctl(&["apply"]).await.ok();
        site
    }

    async fn ctl(&self, args: &[&str]) -> Run {
        self.ctl_with(args, "").await
    }

    async fn ctl_with(&self, args: &[&str], stdin: &str) -> Run {
        let env = self.server.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        omnigraphctl_with(&self.place.config(), args, &env, stdin).await
    }

    async fn mutate(&self, source: &str) -> Value {
        let run = self.ctl(&["mutate", "-e", source, "--json"]).await;
        run.ok().json()
    }

    async fn names(&self, args: &[&str]) -> Vec<String> {
        let source = "query q() { match { $i: Item } return { $i.name as name } order { name } }";
        let args = [&["query", "-e", source, "--json"], args].concat();
        let read = self.ctl(&args).await.ok().json();
        let rows = read["rows"].as_array().expect("rows").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_tags_and_checks() {
    let site = Site::new().await;
    let picture: String = (0..4000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    site.server
        .put("media/large", vec![b'x'; (16 << 20) + 5])
        .await;
    site.server.put("media/small", picture.clone().into()).await;
    // `aGVsbG8=` is hello.
    let lines = concat!(
        r#"{"type":"Item","data":{"name":"a","size":1,"image":"base64:aGVsbG8="}}"#,
        "\n",
        r#"{"type":"Item","data":{"name":"b","image":"s3://omnigraph/media/small"}}"#,
        "\n",
    );
    let load = ["load", "--data", "-", "--mode", "merge"];
    site.ctl_with(&load, lines).await.ok();
    site.mutate(r#"query q() { insert Item { name: "c", image: "s3://omnigraph/media/large" } }"#)
        .await;
    let get = |id: &'static str| ["blob", "get", "node", "Item", id, "image"];
    assert_eq!(site.ctl(&get("a")).await.ok().stdout, "hello");
    let part = [&get("b")[..], &["--offset", "1000", "--length", "30"]].concat();
    assert_eq!(site.ctl(&part).await.ok().stdout, picture[1000..1030]);
    let stat = ["blob", "stat", "node", "Item", "c", "image", "--json"];
    let stat = site.ctl(&stat).await.ok();
    assert!(stat.stdout.contains("16777221"), "{}", stat.stdout);
    // The copy is the graph's own: nobody needs the source any more. The refusal of one outside of
    // the declared places names it.
    let outside = r#"query q() { insert Item { name: "d", image: "s3://omnigraph/cluster/x" } }"#;
    let refused = site.ctl(&["mutate", "-e", outside]).await.exits(1);
    assert!(
        refused.stderr.contains("s3://omnigraph/cluster/x"),
        "{}",
        refused.stderr
    );

    site.ctl(&["tag", "create", "v1"]).await.ok();
    site.mutate(r#"query q() { insert Item { name: "e" } }"#)
        .await;
    assert_eq!(site.names(&["--tag", "v1"]).await, ["a", "b", "c"]);
    assert_eq!(site.names(&[]).await, ["a", "b", "c", "e"]);
    let tags = site.ctl(&["tag", "list", "--json"]).await.ok().json();
    assert_eq!(tags["tags"][0]["name"], "v1", "{tags}");
    site.ctl(&["tag", "delete", "v1", "--yes"]).await.ok();
    site.ctl(&["tag", "show", "v1"]).await.exits(1);
    let fsck = ["fsck", "--history", "--rows", "--json"];
    let checked = site.ctl(&fsck).await.ok().json();
    assert_eq!(
        (&checked["sound"], &checked["errors"], &checked["warnings"]),
        (&json!(true), &json!(0), &json!(0)),
        "{checked}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_verified_restored_and_adopted() {
    let site = Site::new().await;
    let load = ["load", "--data", "-", "--mode", "append"];
    let lines = concat!(
        r#"{"type":"Item","data":{"name":"a","image":"base64:aGVsbG8="}}"#,
        "\n",
        r#"{"type":"Item","data":{"name":"b"}}"#,
        "\n",
        r#"{"edge":"Needs","from":"a","to":"b"}"#,
        "\n",
    );
    site.ctl_with(&load, lines).await.ok();
    site.ctl(&["branch", "create", "side"]).await.ok();
    let to = site.server.root("backups");
    let create = ["backup", "create", "--to", &to, "--history", "--json"];
    let first = site.ctl(&create).await.ok().json();
    site.mutate(r#"query q() { insert Item { name: "c" } }"#)
        .await;
    let second = site.ctl(&create).await.ok().json();
    let number = |of: &Value, name: &str| of[name].as_u64().expect("a number");
    assert!(
        number(&second, "objects_copied") < number(&first, "objects_copied"),
        "{second}"
    );
    let listed = ["backup", "list", "--from", &to, "--json"];
    let listed = site.ctl(&listed).await.ok().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let manifest = second["manifest_uri"].as_str().expect("a manifest");
    site.ctl(&["backup", "verify", manifest]).await.ok();
    let exported = site.ctl(&["export"]).await.ok().stdout;

    let restore = ["backup", "restore", manifest, "--graph", "again", "--yes"];
    site.ctl(&restore).await.ok();
    site.place.edit("cluster.yaml", |text| {
        text.replace("graphs:\n", "graphs:\n  again:\n    schema: shop.pg\n")
    });
    let applied = site.ctl(&["apply", "--json"]).await.ok().json();
    assert_eq!(applied["converged"], true, "{applied}");
    let again = ["export", "--graph", "again"];
    assert_eq!(site.ctl(&again).await.ok().stdout, exported);
    let blob = [
        "blob", "get", "node", "Item", "a", "image", "--graph", "again",
    ];
    assert_eq!(site.ctl(&blob).await.ok().stdout, "hello");
    let branches = ["branch", "list", "--graph", "again"];
    let branches = site.ctl(&branches).await.ok().stdout;
    assert!(branches.contains("side"), "{branches}");
    let insert = r#"query q() { insert Item { name: "d" } }"#;
    site.ctl(&["mutate", "-e", insert, "--graph", "again"])
        .await
        .ok();
    let fsck = ["fsck", "--history", "--rows", "--graph", "again"];
    site.ctl(&fsck).await.ok();
}

/// By itself in a replica, and on demand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_kept_in_order() {
    let site = Site::new().await;
    let env = site.server.env();
    let mut env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    env.push(("OMNIGRAPH_MAINTENANCE", "200ms"));
    env.push(("OMNIGRAPH_MAINTENANCE_FRAGMENTS", "4"));
    let flags = ["--unauthenticated"];
    let replica = Replica::start_with(&site.place, "dp-0", None, &flags, &env);
    until("the replica is ready", BOUND, async || {
        replica.is_ready().await.then_some(())
    })
    .await;
    let client = reqwest::Client::new();
    for number in 0..6 {
        let query = format!("query q() {{ insert Item {{ name: \"n{number}\" }} }}");
        let sent = client
            .post(format!("{}/graphs/shop/mutate", replica.url()))
            .json(&json!({ "query": query }));
        let answer = sent.send().await.expect("the replica answers");
        assert_eq!(answer.status(), 200);
    }
    let commits = ["commit", "list", "--json"];
    until("somebody maintains the graph", BOUND, async || {
        let listed = site.ctl(&commits).await.ok().json();
        let mut kinds = listed["commits"].as_array().expect("commits").iter();
        kinds
            .any(|commit| commit["kind"] == "maintenance")
            .then_some(())
    })
    .await;
    drop(replica);
    for number in 6..9 {
        let source = format!("query q() {{ insert Item {{ name: \"n{number}\" }} }}");
        site.mutate(&source).await;
    }
    let done = site.ctl(&["optimize", "--json"]).await.ok().json();
    assert_eq!(done["commit"]["kind"], "maintenance", "{done}");
    assert_eq!(site.names(&[]).await.len(), 9);
    site.ctl(&["fsck", "--history", "--rows"]).await.ok();
    // What it would reclaim now: nothing is a day old.
    let preview = ["cleanup", "--keep", "1", "--json"];
    let preview = site.ctl(&preview).await.ok().json();
    assert_eq!(preview["objects_removed"], 0, "{preview}");
}

fn auditor(server: &S3, args: &[&str]) -> String {
    let run = Command::new(binary("omnigraph-test-auditor"))
        .args(args)
        .envs(server.env())
        .output()
        .expect("the auditor runs");
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{args:?}: {errors}");
    let said = String::from_utf8(run.stdout).expect("text");
    said.trim().to_owned()
}

fn write(server: &S3, store: &str, incarnation: &str, from: usize, to: usize) {
    let run = Command::new(binary("omnigraph-test-writer"))
        .args([store, "written", incarnation, "main", "0"])
        .args([from.to_string(), to.to_string()])
        .envs(server.env())
        .output()
        .expect("the writer runs");
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{errors}");
}

/// Condemned on one day, removed on the next, by the clocks of the server and of the processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_reclaimed_in_two_phases() {
    let server = S3::start().await;
    let store = server.root("written");
    let incarnation = auditor(&server, &["create", &store]);
    write(&server, &store, &incarnation, 0, 6);
    let told = || -> Value {
        let said = auditor(&server, &["tell", &store, &incarnation, "main"]);
        serde_json::from_str(&said).expect("json")
    };
    let collect = |hours: &str| -> Value {
        let said = auditor(&server, &["collect", &store, &incarnation, "1", hours]);
        serde_json::from_str(&said).expect("json")
    };
    let before = told();
    let young = collect("0");
    assert_eq!(young["condemned"], 0, "nothing is a day old: {young}");

    server.be_ahead(50);
    let first = collect("50");
    assert!(first["condemned"].as_u64() > Some(5), "{first}");
    assert_eq!(first["removed"], 0, "{first}");
    server.be_ahead(60);
    let early = collect("60");
    assert_eq!(early["removed"], 0, "a day has not gone by: {early}");
    server.be_ahead(80);
    let second = collect("80");
    assert_eq!(second["removed"], first["condemned"], "{second}");
    assert!(second["log_entries"].as_u64() > Some(0), "{second}");

    assert_eq!(auditor(&server, &["check", &store, &incarnation]), "");
    let after = told();
    assert_eq!(
        (&after["rows"], &after["counter"]),
        (&before["rows"], &before["counter"])
    );
    write(&server, &store, &incarnation, 6, 8);
    assert_eq!(auditor(&server, &["check", &store, &incarnation]), "");
}
