//! Plans in files and of some graphs; what validation says of a whole directory.

use omnigraph_integration_tests::cluster::Place;
use serde_json::{Value, json};

#[tokio::test]
async fn a_plan_in_a_file_is_applied_as_it_was_looked_at() {
    let place = Place::new();
    let file = place.logs().join("plan.json");
    let file = file.to_str().expect("UTF-8");
    place.ctl(&["plan", "--out", file]).await.ok();
    // Whatever has become of the directory: this was looked at.
    place.add_property("unseen");
    let applied = place
        .ctl(&["apply", "--plan", file, "--json"])
        .await
        .ok()
        .json();
    assert_eq!(
        (&applied["revision"], &applied["converged"]),
        (&json!(1), &json!(true))
    );
    let plan = place.ctl(&["plan", "--json"]).await.ok().json();
    assert_eq!(plan["changes"][0]["resource"], "schema.debian", "{plan}");
    // It was for that moment.
    let stale = place
        .ctl(&["apply", "--plan", file, "--json"])
        .await
        .exits(4);
    assert_eq!(stale.error()["reason"], "plan_stale");
    // A digest, whole or as plan shows it, says the same without the configuration.
    let digest = plan["plan_digest"].as_str().expect("a digest");
    let shown = place.ctl(&["plan"]).await.ok().stdout;
    assert!(
        shown.contains(&format!("digest {}", &digest[..8])),
        "{shown}"
    );
    place.ctl(&["apply", "--plan", &digest[..8]]).await.ok();
    place
        .ctl(&["apply", "--plan", "no such file"])
        .await
        .exits(2);
    place
        .ctl(&["apply", "--plan", "cluster.yaml"])
        .await
        .exits(2);
    place
        .ctl(&["apply", "--plan", file, "--target", "graph.debian"])
        .await
        .exits(2);
    let stale = place
        .ctl(&["apply", "--expect-revision", "1", "--json"])
        .await
        .exits(4);
    assert_eq!(stale.error()["plan_stale"]["ledger_revision"], 2);
}

#[tokio::test]
async fn a_target_is_planned_and_applied_alone() {
    let place = Place::new();
    place.edit("cluster.yaml", |text| {
        text.replace("graphs:\n", "graphs:\n  other:\n    schema: debian.pg\n")
    });
    let target = ["--target", "graph.other"];
    let plan = place
        .ctl(&[&["plan"], &target[..]].concat())
        .await
        .ok()
        .stdout;
    assert!(
        plan.contains("only graph.other, with what it needs"),
        "{plan}"
    );
    assert!(plan.contains("left out by --target"), "{plan}");
    assert!(!plan.contains("schema.debian"), "{plan}");
    let applied = place
        .ctl(&[&["apply", "--json"], &target[..]].concat())
        .await
        .ok()
        .json();
    assert_eq!(
        (&applied["ok"], &applied["converged"]),
        (&json!(true), &json!(false))
    );
    place
        .ctl(&[&["plan", "--detailed-exitcode"], &target[..]].concat())
        .await
        .ok();
    place.ctl(&["plan", "--detailed-exitcode"]).await.exits(3);
    let all = place.ctl(&["apply", "--json"]).await.ok().json();
    assert_eq!(all["converged"], true);
    let refused = place
        .ctl(&["plan", "--json", "--target", "schema.other"])
        .await
        .exits(1);
    assert!(
        refused.error()["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("graph.other"))
    );
}

#[tokio::test]
async fn validation_names_files_that_may_not_be_read_beside_all_other_findings() {
    let place = Place::declared();
    let config = place.config();
    std::os::unix::fs::symlink("/etc/passwd", config.join("queries/link.gq")).expect("a link");
    place.edit("cluster.yaml", |text| {
        format!("{text}  more:\n    schema: ../outside.pg\n  most:\n    schema: missing.pg\n")
    });
    let run = place.ctl(&["validate"]).await.exits(1);
    for part in [
        "link.gq",
        "leaves the directory",
        "'../outside.pg'",
        "missing.pg",
        "cluster.yaml:",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let json: Value = place.ctl(&["validate", "--json"]).await.exits(1).error();
    let found = json["diagnostics"].as_array().expect("diagnostics");
    let codes: Vec<&str> = found
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert_eq!(
        codes.iter().filter(|code| **code == "C106").count(),
        2,
        "{codes:?}"
    );
    assert!(codes.contains(&"C107"), "{codes:?}");
    // The same directory is not applied in part.
    place.ctl(&["apply"]).await.exits(1);
}
