//! The whole round in one process per command, straight on storage.

use omnigraph_integration_tests::cli::omnigraphctl_with;
use omnigraph_integration_tests::cluster::Place;
use serde_json::{Value, json};

/// A place with the example applied and loaded.
async fn loaded() -> Place {
    let place = Place::declared();
    place.ctl(&["apply"]).await.ok();
    place
        .ctl(&["load", "--data", "debian-small.ndjson", "--mode", "append"])
        .await
        .ok();
    place
}

#[tokio::test]
async fn declarations_become_a_served_graph() {
    let place = Place::declared();
    let valid = place.ctl(&["validate"]).await.ok();
    assert!(
        valid.stdout.starts_with("✓ 1 graph, 1 schema, "),
        "{}",
        valid.stdout
    );
    place.ctl(&["plan", "--detailed-exitcode"]).await.exits(3);
    let plan = place.ctl(&["plan", "--json"]).await.ok().json();
    assert_eq!(plan["base_revision"], 0);

    let applied = place.ctl(&["apply", "--json"]).await.ok().json();
    assert_eq!(
        (&applied["ok"], &applied["converged"]),
        (&json!(true), &json!(true)),
        "{applied}"
    );
    assert_eq!(applied["revision"], 1);
    place.ctl(&["plan", "--detailed-exitcode"]).await.ok();
    let again = place.ctl(&["apply"]).await.ok();
    assert!(again.stdout.contains("no changes"), "{}", again.stdout);

    // A plan that was made before something else happened is stale.
    place.edit("queries/packages.gq", |text| {
        text.replace("limit 20", "limit 30")
    });
    let stale = place
        .ctl(&["apply", "--plan", "0000", "--json"])
        .await
        .exits(4);
    assert_eq!(stale.error()["reason"], "plan_stale");
    place.ctl(&["apply"]).await.ok();

    let status = place.ctl(&["status", "--json"]).await.ok().json();
    assert_eq!(
        (&status["revision"], &status["converged"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(status["cluster_name"], "debian-example");
    let graphs = place.ctl(&["graph", "list", "--json"]).await.ok().json();
    assert_eq!(graphs["graphs"][0]["graph_id"], "debian");
    let schema = place.ctl(&["schema", "show"]).await.ok();
    assert!(schema.stdout.contains("node Package"));
    let queries = place.ctl(&["queries", "list", "-o", "jsonl"]).await.ok();
    assert!(
        queries
            .stdout
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(queries.stdout.contains("find_package"));
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_applied() {
    let place = Place::declared();
    place.edit("queries/packages.gq", |text| {
        text.replacen("$p.version", "$p.versoin", 1)
    });
    let invalid = place.ctl(&["validate"]).await.exits(1);
    assert!(
        invalid.stderr.contains("packages.gq:") && invalid.stderr.contains("versoin"),
        "{}",
        invalid.stderr
    );
    let lint = place
        .ctl(&["lint", "--schema", "debian.pg", "queries/packages.gq"])
        .await
        .exits(1);
    assert!(lint.stdout.contains("versoin"), "{}", lint.stdout);
    let partly = place.ctl(&["apply", "--detailed-exitcode"]).await.exits(3);
    assert!(
        partly.stdout.contains("blocked") && partly.stderr.contains("versoin"),
        "{partly:?}"
    );
    place.edit("cluster.yaml", |text| format!("{text}pipelines: {{}}\n"));
    let refused = place.ctl(&["apply", "--json"]).await.exits(1);
    assert_eq!(refused.error()["reason"], "config_invalid");
}

/// Schemas, queries, whole directories and stdin, without a cluster.
#[tokio::test]
async fn texts_are_checked_wherever_they_are() {
    let place = Place::declared();
    let all = place.ctl(&["lint", "."]).await.ok();
    assert!(all.stdout.starts_with("1 schema, "), "{}", all.stdout);
    assert!(all.stdout.contains(": 0 errors, "), "{}", all.stdout);
    let schema = "node A {\n    name: Text @key\n}\n";
    let told = omnigraphctl_with(&place.config(), &["lint", "-"], &[], schema).await;
    let told = told.exits(1);
    assert!(told.stdout.contains(" --> stdin:2:11"), "{}", told.stdout);
    let query = "query q() { match { $p: Package } return { $p.versoin } }";
    let args = [
        "lint",
        "-",
        "--stdin-filename",
        "new.gq",
        "--schema",
        "debian.pg",
    ];
    let told = omnigraphctl_with(&place.config(), &args, &[], query)
        .await
        .exits(1);
    assert!(told.stdout.contains("--> new.gq:1:"), "{}", told.stdout);
    let args = [&args[..], &["--json"]].concat();
    let told = omnigraphctl_with(&place.config(), &args, &[], query)
        .await
        .exits(1);
    assert_eq!(told.json()["results"][0]["diagnostics"][0]["code"], "Q202");
    let args = ["fmt", "-", "--stdin-filename", "new.pg"];
    let made = omnigraphctl_with(&place.config(), &args, &[], "node  A{}")
        .await
        .ok();
    assert_eq!(made.stdout, "node A {}\n");
    let missing = place.ctl(&["lint", "no.gq", "debian.pg"]).await.exits(2);
    assert!(missing.stderr.contains("no.gq"), "{}", missing.stderr);
    let unused = ["lint", "debian.pg", "--stdin-filename", "x.pg"];
    let refused = place.ctl(&unused).await.exits(2);
    assert!(
        refused.stderr.contains("--stdin-filename"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn reads_in_every_form() {
    let place = loaded().await;
    let find = ["query", "find_package", "--params", r#"{"name":"git"}"#];
    let table = place.ctl(&find).await.ok();
    let first = table.stdout.lines().next().unwrap_or_default();
    assert!(first.starts_with("p.name | p.version"), "{}", table.stdout);
    assert!(
        table.stderr.contains("1 row · debian@main"),
        "{}",
        table.stderr
    );
    let quiet = place.ctl(&[&find[..], &["--quiet"]].concat()).await.ok();
    assert_eq!(quiet.stderr, "");

    let json = place
        .ctl(&[&find[..], &["--json"]].concat())
        .await
        .ok()
        .json();
    assert_eq!(json["rows"][0]["p.name"], "git");
    assert_eq!(json["query_name"], "find_package");
    let lines = place
        .ctl(&[&find[..], &["-o", "jsonl"]].concat())
        .await
        .ok()
        .stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("a line of JSON"))
        .collect();
    assert_eq!(lines[0]["kind"], "metadata");
    assert_eq!(lines[1], json["rows"][0]);
    let csv = place
        .ctl(&[&find[..], &["-o", "csv"]].concat())
        .await
        .ok()
        .stdout;
    assert!(csv.starts_with("p.name,p.version,"), "{csv}");

    let source = "query heavy($kb: I64) { match { $p: Package $p.installed_kb > $kb } return { count($p) as n } }";
    let counted = ["query", "-e", source, "--params", r#"{"kb":0}"#, "--json"];
    let counted = place.ctl(&counted).await.ok().json();
    assert!(
        counted["rows"][0]["n"].as_u64().is_some_and(|n| n > 100),
        "{counted}"
    );
}

#[tokio::test]
async fn branches_mutations_and_conditions() {
    let place = loaded().await;
    let head = async |branch: &str| {
        let shown = place
            .ctl(&["branch", "show", branch, "--json"])
            .await
            .ok()
            .json();
        shown["head"]["graph_commit_id"]
            .as_str()
            .expect("a head")
            .to_owned()
    };
    let first = head("main").await;
    place.ctl(&["branch", "create", "review/x"]).await.ok();
    let set = [
        "mutate",
        "set_priority",
        "--params",
        r#"{"name":"git","priority":"extra"}"#,
    ];
    let changed = place
        .ctl(&[&set[..], &["--branch", "review/x", "--json"]].concat())
        .await
        .ok()
        .json();
    assert_eq!(changed["affected_nodes"], 1);

    let source = "query q() { match { $p: Package { name: \"git\" } } return { $p.priority } }";
    let priority = async |args: &[&str]| {
        let args = [&["query", "-e", source, "--json"], args].concat();
        place.ctl(&args).await.ok().json()["rows"][0]["p.priority"].clone()
    };
    assert_eq!(priority(&[]).await, "optional");
    assert_eq!(priority(&["--branch", "review/x"]).await, "extra");
    assert_eq!(head("main").await, first);

    let merged = place
        .ctl(&["branch", "merge", "review/x", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(merged["outcome"], "fast_forward");
    assert_eq!(priority(&[]).await, "extra");
    assert_eq!(priority(&["--snapshot", &first]).await, "optional");
    let listed = place.ctl(&["branch", "list"]).await.ok().stdout;
    assert!(
        listed.contains("main") && listed.contains("review/x"),
        "{listed}"
    );
    place.ctl(&["branch", "delete", "review/x"]).await.ok();

    // The head has moved since.
    let moved = place
        .ctl(&[&set[..], &["--if-commit", &first, "--json"]].concat())
        .await
        .exits(4);
    assert_eq!(
        moved.error()["precondition_failure"]["expected"],
        first.as_str()
    );
    let commits = place.ctl(&["commit", "list", "--json"]).await.ok().json();
    let newest = &commits["commits"][0];
    assert_eq!(newest["graph_commit_id"], head("main").await.as_str());
    let shown = place
        .ctl(&["commit", "show", &first, "--json"])
        .await
        .ok()
        .json();
    assert_eq!(shown["graph_commit_id"], first.as_str());
}

#[tokio::test]
async fn an_export_loads_into_an_equal_graph() {
    let place = loaded().await;
    let written = place.ctl(&["export", "--out", "out.ndjson"]).await.ok();
    assert!(
        written.stdout.starts_with("3,325 records of debian@main "),
        "{}",
        written.stdout
    );
    let streamed = place.ctl(&["export"]).await.ok().stdout;
    let file = std::fs::read_to_string(place.config().join("out.ndjson")).expect("the export");
    assert_eq!(streamed, file);

    let copy = Place::declared();
    copy.ctl(&["apply"]).await.ok();
    let load = ["load", "--data", "-", "--mode", "append", "--json"];
    let loaded = omnigraphctl_with(&copy.config(), &load, &[], &streamed)
        .await
        .ok()
        .json();
    assert_eq!(loaded["total_entities"], 3325);
    assert_eq!(copy.ctl(&["export"]).await.ok().stdout, streamed);
    let types = copy.ctl(&["snapshot", "-o", "csv"]).await.ok().stdout;
    assert!(types.contains("node,Package,577,"), "{types}");
}

#[tokio::test]
async fn a_bad_file_loads_nothing_and_names_its_lines() {
    let place = loaded().await;
    let bad = concat!(
        r#"{"type":"Maintainer","data":{"email":"a@b.org","name":"A"}}"#,
        "\n",
        r#"{"type":"Maintainer","data":{"email":7,"name":"B"}}"#,
        "\n"
    );
    let load = ["load", "--data", "-", "--mode", "append", "--json"];
    let refused = omnigraphctl_with(&place.config(), &load, &[], bad)
        .await
        .exits(1)
        .error();
    assert_eq!(refused["diagnostics"][0]["line"], 2, "{refused}");
    let conflict = omnigraphctl_with(
        &place.config(),
        &load,
        &[],
        &bad.replace("7", "\"a@b.org\""),
    )
    .await;
    conflict.exits(1);
    let types = place.ctl(&["snapshot", "-o", "csv"]).await.ok().stdout;
    assert!(types.contains("node,Maintainer,147,"), "{types}");
}

#[tokio::test]
async fn refusals_and_their_exit_codes() {
    let place = Place::declared();
    place.ctl(&["apply"]).await.ok();
    for (args, code) in [
        (&["query", "no_such_query"][..], 1),
        (&["query", "find_package"], 1),
        (&["query", "set_priority"], 1),
        (&["query", "find_package", "--params", "[]"], 2),
        (&["query"], 2),
        (&["query", "find_package", "--graph", "nowhere"], 1),
        (&["branch", "show", "nowhere"], 1),
        (&["branch", "delete", "main"], 1),
        (&["load", "--data", "nowhere.ndjson", "--mode", "merge"], 2),
        (&["status", "--control", "grpc://127.0.0.1:1"], 1),
        (&["graph", "list", "--server", "http://127.0.0.1:1"], 1),
        (&["graph", "list", "--server", "127.0.0.1:1"], 2),
        (&["plan", "--server", "http://127.0.0.1:1"], 2),
        (&["rollout", "status"], 2),
        (&["plan", "-o", "csv"], 2),
        (&["nonsense"], 2),
    ] {
        let run = place.ctl(args).await.exits(code);
        assert_eq!(run.stdout, "", "{}: an error leaves stdout empty", run.line);
        assert!(
            !run.stderr.is_empty(),
            "{}: an error says something",
            run.line
        );
    }
    let remote = [
        "load",
        "--data",
        "debian-small.ndjson",
        "--mode",
        "overwrite",
        "--server",
        "http://127.0.0.1:1",
        "--graph",
        "debian",
    ];
    let unconfirmed = place.ctl(&remote).await.exits(2);
    assert!(
        unconfirmed.stderr.contains("--yes"),
        "{}",
        unconfirmed.stderr
    );
}

#[tokio::test]
async fn texts_become_vectors_in_one_process_too() {
    let place = Place::shop(
        None,
        "    embedding_provider: p\n    embed_on_write: true\nproviders:\n  embedding:\n    p: { kind: mock }\n",
    );
    place.write(
        "shop.pg",
        "node Doc { k: String @key  text: String  v: Vector(8) @embed(text) }\n",
    );
    place.ctl(&["apply"]).await.ok();
    let insert = r#"query q($k: String, $text: String) { insert Doc { k: $k, text: $text } }"#;
    for params in [
        r#"{"k":"a","text":"red apple"}"#,
        r#"{"k":"b","text":"green pear"}"#,
    ] {
        place
            .ctl(&["mutate", "-e", insert, "--params", params])
            .await
            .ok();
    }
    let near = r#"query q($q: String) { match { $d: Doc } return { $d.k as k, nearest($d.v, $q) as far } order { nearest($d.v, $q) } limit 1 }"#;
    let params = r#"{"q":"green pear"}"#;
    let ask = ["query", "-e", near, "--params", params, "--json"];
    let answer = place.ctl(&ask).await.ok().json();
    assert_eq!(answer["rows"], json!([{"k": "b", "far": 0.0}]));

    place.edit("cluster.yaml", |text| {
        text.replace("    embedding_provider: p\n    embed_on_write: true\n", "")
    });
    place.ctl(&["apply"]).await.ok();
    let refused = place.ctl(&ask).await.exits(1);
    assert!(
        refused.stderr.contains("R444") && refused.stderr.contains("providers.embedding"),
        "{}",
        refused.stderr
    );
}
