//! N processes write at the same time and are killed at random. Every commit that was answered is
//! in the history once, none is lost, none is there twice, and constraints hold.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use omnigraph_engine::{GraphId, GraphRoot};
use omnigraph_integration_tests::binary;
use omnigraph_integration_tests::s3::S3;
use omnigraph_integration_tests::writers::{self, Acks, Plan, What};
use serde_json::Value;

const WRITERS: usize = 8;

type Env = Vec<(String, String)>;

fn auditor(args: &[&str], env: &Env) -> String {
    let run = Command::new(binary("omnigraph-test-auditor"))
        .args(args)
        .envs(env.iter().cloned())
        .output()
        .expect("the auditor runs");
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{errors}");
    String::from_utf8(run.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// Runs eight writers and looks at what they left.
fn write_and_look(store: &str, env: &Env, branches: &[String], steps: usize, kill_every: usize) {
    let distinct: BTreeSet<&str> = branches.iter().map(String::as_str).collect();
    let mut create = vec!["create", store];
    create.extend(&distinct);
    let incarnation = auditor(&create, env);
    let root = GraphRoot {
        id: GraphId::parse("written").expect("a graph id"),
        incarnation: incarnation.parse().expect("an incarnation"),
    };
    let plan = Plan {
        store,
        root: &root,
        branches: branches.to_vec(),
        steps,
        seed: writers::seed(),
        kill_every,
        env: env.clone(),
    };
    let acks = writers::run(&plan);
    println!("{} answers, {} kills", acks.steps.len(), acks.kills);
    assert_eq!(acks.steps.len(), branches.len() * steps);
    assert!(acks.kills > 0, "nobody was killed");
    let wrong = auditor(&["check", store, &incarnation], env);
    assert!(wrong.is_empty(), "{wrong}");
    for branch in distinct {
        let told = auditor(&["tell", store, &incarnation, branch], env);
        let told: Value = serde_json::from_str(&told).expect("json");
        look(branches, branch, &acks, &told);
    }
}

/// The history and the state of one branch against the answers.
fn look(branches: &[String], branch: &str, acks: &Acks, told: &Value) {
    let history = told["history"].as_array().expect("a history");
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for commit in history {
        *ids.entry(commit["id"].as_str().expect("an id"))
            .or_default() += 1;
        if let Some(key) = commit["key"].as_str() {
            *keys.entry(key).or_default() += 1;
        }
    }
    assert!(ids.values().all(|n| *n == 1), "a commit is there twice");
    assert!(
        keys.values().all(|n| *n == 1),
        "a request landed twice: {keys:?}"
    );
    let here = || {
        acks.steps
            .iter()
            .filter(|((worker, _), _)| branches[*worker] == branch)
    };
    for ((worker, step), (commit, _)) in here() {
        assert!(
            ids.contains_key(commit.as_str()),
            "step {step} of writer {worker} is lost"
        );
    }
    // Every step was answered in the end, so there is nothing else in the history.
    assert_eq!(keys.len(), here().count());
    let versions: BTreeSet<u64> = history
        .iter()
        .filter_map(|c| c["version"].as_u64())
        .collect();
    assert_eq!(
        versions.len(),
        history.len(),
        "two commits have the same version"
    );

    let counted = here()
        .filter(|(_, (_, what))| *what == What::Counter)
        .count();
    assert_eq!(
        told["counter"],
        serde_json::json!([counted]),
        "an update is lost"
    );
    let seats = told["seats"].as_array().expect("a list");
    let taken: BTreeSet<i64> = seats.iter().filter_map(Value::as_i64).collect();
    assert_eq!(taken.len(), seats.len(), "two have the same seat");
    let seated = here().filter(|(_, (_, what))| *what == What::Seat).count();
    assert_eq!(seats.len(), seated);
    for worker in 0..branches.len() {
        let items = here()
            .filter(|((of, _), (_, what))| *of == worker && *what == What::Item)
            .count();
        assert_eq!(
            told["rows"][format!("Item{worker}")],
            items,
            "items of writer {worker}"
        );
    }
}

fn one_branch() -> Vec<String> {
    vec!["main".to_owned(); WRITERS]
}

fn a_branch_each() -> Vec<String> {
    (0..WRITERS)
        .map(|worker| format!("branch/{worker}"))
        .collect()
}

fn local() -> (tempfile::TempDir, Env) {
    let directory = tempfile::tempdir().expect("a directory");
    // The kernel keeps what a killed process wrote; flushing guards against power cuts.
    let env = vec![("OMNIGRAPH_FSYNC".to_owned(), "off".to_owned())];
    (directory, env)
}

#[test]
fn eight_processes_with_200_commits_each_on_one_branch() {
    let (directory, env) = local();
    let store = directory.path().to_str().expect("utf-8");
    write_and_look(store, &env, &one_branch(), 200, 80);
}

#[test]
fn eight_processes_with_200_commits_each_on_branches_of_their_own() {
    let (directory, env) = local();
    let store = directory.path().to_str().expect("utf-8");
    write_and_look(store, &env, &a_branch_each(), 200, 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_over_s3() {
    let server = S3::start().await;
    let (env, store) = (server.env(), server.root("one"));
    let run = tokio::task::spawn_blocking(move || {
        write_and_look(&store, &env, &one_branch(), 12, 12);
    });
    run.await.expect("the writers are done");
    let (env, store) = (server.env(), server.root("each"));
    let run = tokio::task::spawn_blocking(move || {
        write_and_look(&store, &env, &a_branch_each(), 12, 12);
    });
    run.await.expect("the writers are done");
}
