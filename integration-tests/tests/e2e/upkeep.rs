//! Several replicas keep one graph in order at the same time, beside writers, and one of them dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use omnigraph_integration_tests::cluster::{Place, Replica};
use omnigraph_integration_tests::until;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(60);
const REPLICAS: usize = 3;
/// Writes of each writer; there is one writer for each replica.
const WRITES: usize = 60;

/// Looks after the graph at any moment, and finds something to do at each.
const EAGER: [(&str, &str); 3] = [
    ("OMNIGRAPH_MAINTENANCE", "20ms"),
    ("OMNIGRAPH_MAINTENANCE_FRAGMENTS", "2"),
    ("OMNIGRAPH_MAINTENANCE_DELETED_ROWS", "1"),
];

async fn start(place: &Place, name: &str) -> Replica {
    let env = [&EAGER[..], &[("OMNIGRAPH_FSYNC", "off")]].concat();
    // Without a control plane each replica feels chosen.
    let replica = Replica::start_with(place, name, None, &["--unauthenticated"], &env);
    until("the replica is ready", BOUND, async || {
        replica.is_ready().await.then_some(())
    })
    .await;
    replica
}

/// One write with a key, sent again, to one replica after another, until it is answered.
async fn write(urls: &[String], first: usize, writer: usize, number: usize) -> String {
    let client = reqwest::Client::new();
    let name = format!("w{writer}-{number}");
    let query = match number % 5 {
        4 => format!(
            "query q() {{ update Item set {{ size: {number} }} where name = \"w{writer}-{}\" }}",
            number - 1
        ),
        _ => format!("query q() {{ insert Item {{ name: \"{name}\", size: 0 }} }}"),
    };
    let began = Instant::now();
    for at in first.. {
        let sent = client
            .post(format!("{}/graphs/shop/mutate", urls[at % urls.len()]))
            .header("Idempotency-Key", &name)
            .timeout(Duration::from_secs(30))
            .json(&json!({ "query": query }));
        let refused = match sent.send().await {
            Ok(answer) if answer.status() == 200 => {
                let body: Value = answer.json().await.expect("json");
                let commit = body["commit"]["graph_commit_id"].as_str();
                return commit.expect("it changes something").to_owned();
            }
            Ok(answer) => {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                let passes = status.is_server_error() || status == 409;
                assert!(passes, "{name}: {status}: {text}");
                text
            }
            Err(error) => error.to_string(),
        };
        assert!(began.elapsed() < BOUND, "{name}: {refused}");
    }
    unreachable!("it ends by an answer or by time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_maintain_one_graph_at_once_lose_nothing() {
    let place = Place::shop(None, "");
    place.ctl(&["apply"]).await.ok();
    let mut replicas = Vec::new();
    for number in 0..REPLICAS {
        replicas.push(start(&place, &format!("dp-{number}")).await);
    }
    let urls: Vec<String> = replicas.iter().map(Replica::url).collect();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..REPLICAS {
        let urls = urls.clone();
        writers.spawn(async move {
            let mut acks = Vec::new();
            for number in 0..WRITES {
                acks.push(write(&urls, writer, writer, number).await);
            }
            acks
        });
    }
    // One dies in the middle of it, with whatever it was about to maintain.
    until("the writers are on their way", BOUND, async || {
        let (status, body) = commits(&urls[0]).await;
        let many = body["commits"].as_array().map_or(0, Vec::len) > WRITES;
        (status == 200 && many).then_some(())
    })
    .await;
    replicas.pop().expect("the last one").daemon.kill();
    let mut acked = Vec::new();
    while let Some(ended) = writers.join_next().await {
        acked.extend(ended.expect("the writer is done"));
    }
    // Those that are left have passes to do yet; what they found to do is done by one of them.
    let history = all_commits(&place).await;
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for commit in &history {
        let id = commit["graph_commit_id"].as_str().expect("an id");
        *times.entry(id).or_default() += 1;
    }
    assert!(times.values().all(|n| *n == 1), "a commit is there twice");
    let distinct: BTreeSet<&String> = acked.iter().collect();
    assert_eq!(distinct.len(), REPLICAS * WRITES);
    for ack in &acked {
        assert!(times.contains_key(ack.as_str()), "{ack} is lost");
    }
    let of = |kind: &str| history.iter().filter(|c| c["kind"] == kind).count();
    assert_eq!(of("mutate"), REPLICAS * WRITES, "nothing landed twice");
    assert!(
        of("maintenance") > 3,
        "{} of maintenance",
        of("maintenance")
    );
    println!("{} commits of maintenance", of("maintenance"));
    for replica in &mut replicas {
        replica.daemon.terminate(BOUND);
    }
    let source = "query q() { match { $i: Item } return { count($i) as n } }";
    let read = ["query", "-e", source, "--json"];
    let read = place.ctl(&read).await.ok().json();
    assert_eq!(read["rows"][0]["n"], REPLICAS * WRITES * 4 / 5, "{read}");
    let fsck = ["fsck", "--history", "--rows", "--json"];
    let checked = place.ctl(&fsck).await.ok().json();
    assert_eq!(checked["errors"], 0, "{checked}");
}

async fn commits(url: &str) -> (u16, Value) {
    let url = format!("{url}/graphs/shop/commits?limit=1000");
    let answer = reqwest::get(url).await.expect("the replica answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("json"))
}

async fn all_commits(place: &Place) -> Vec<Value> {
    let list = ["commit", "list", "--limit", "1000", "--json"];
    let listed = place.ctl(&list).await.ok().json();
    listed["commits"].as_array().expect("commits").clone()
}
