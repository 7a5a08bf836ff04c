//! Plans say what runs, and profiles what came of it.

use serde_json::{Map, Value as Json, json};

use super::example::example;
use super::fixture::Fixture;
use crate::exec::{Explanation, PlanNode, QueryLimits, explain, profile};

fn operators(node: &PlanNode) -> Vec<(&'static str, Option<u64>)> {
    let mut all = vec![(node.op, node.rows)];
    all.extend(node.children.iter().flat_map(operators));
    all
}

async fn planned(graph: &Fixture, source: &str) -> Explanation {
    let query = graph.check(source).unwrap();
    explain(&graph.context(), &query, &Map::new())
        .await
        .unwrap()
}

const READ: &str = r#"query q($n: String) {
    match { $p: Package { name: $n }  $p dependsOn $d  not { $a warns $d }  $d.kb > 1 }
    return { $d.name } order { $d.name } limit 2 }"#;

#[tokio::test]
async fn a_plan_needs_no_parameters_and_runs_nothing() {
    let graph = example().await;
    let plan = planned(&graph, READ).await;
    let ops: Vec<&str> = operators(&plan.plan)
        .into_iter()
        .map(|(op, _)| op)
        .collect();
    assert_eq!(
        ops,
        [
            "limit",
            "top_k",
            "project",
            "anti_join",
            "filter",
            "expand",
            "key_lookup",
            "expand"
        ],
        "{}",
        plan.text()
    );
    let text = plan.text();
    for line in [
        "key_lookup $p Package key = $n  est 1\n",
        "expand $p DependsOn $d  est ",
        "filter $d.kb > 1  est ",
        "\nlogical plan\nlimit 2\n└─ sort d.name\n   └─ project d.name\n      └─ match $p: Package, $d: Package, $p DependsOn $d, $p.name = $n, $d.kb > 1\n         └─ not $a: Advisory, $a Warns $d\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let json = serde_json::to_value(&plan.plan).unwrap();
    let scan = &json["children"][0]["children"][0]["children"][0];
    assert_eq!(scan["op"], "anti_join");
    assert!(json["est_rows"].is_number() && json.get("rows").is_none());
    let lookup = &scan["children"][0]["children"][0]["children"][0];
    assert_eq!(
        lookup["args"],
        json!({"variable": "$p", "type": "Package", "key": "key = $n", "index": "id"})
    );
}

#[tokio::test]
async fn a_profile_counts_the_rows_of_each_operator() {
    let graph = example().await;
    let query = graph.check(READ).unwrap();
    let params = json!({"n": "git"});
    let limits = QueryLimits::default();
    let (profiled, result) = profile(
        &graph.context(),
        &query,
        params.as_object().unwrap(),
        &limits,
    )
    .await
    .unwrap();
    assert_eq!(result.row_count(), 1);
    assert!(result.stats.peak_memory_bytes > 0);
    let rows = |wanted: &str| {
        let all = operators(&profiled.plan);
        all.into_iter().find(|(op, _)| *op == wanted).unwrap().1
    };
    assert_eq!(rows("key_lookup"), Some(1));
    assert_eq!(rows("expand"), Some(2));
    assert_eq!(rows("anti_join"), Some(1));
    assert_eq!(rows("limit"), Some(1));
    fn timed(node: &PlanNode) -> bool {
        // What is shown as one of several parts of an operator has no time of its own.
        (node.ms.is_some() || node.op == "top_k") && node.children.iter().all(timed)
    }
    assert!(timed(&profiled.plan), "{}", profiled.text());
}

#[tokio::test]
async fn all_kinds_of_operators_have_names() {
    let graph = example().await;
    for (body, wanted) in [
        (
            "match { $p: Package } return { $p.section, count(*) as n } order { n }",
            &["sort", "project", "aggregate", "scan"][..],
        ),
        (
            "match { $p: Package  $m: Maintainer } return distinct { $p.name }",
            &["distinct", "project", "cross", "scan", "scan"],
        ),
        (
            "match { $a: Package  $b: Package  $a.section = $b.section } return { $a.name }",
            &["project", "filter", "join", "scan", "scan"],
        ),
        (
            "match { $m: Maintainer  optional { $m maintains $p } } return { $m.name } skip 1",
            &["skip", "sort", "project", "left_join", "scan", "expand"],
        ),
        (
            "match { $x: Titled  path $r = shortest $x affects|warns{1,3} $p } return { $r }",
            &["project", "shortest_path", "scan"],
        ),
        (
            r#"match { $p: Package { name: "git" }  $p dependsOn{1,3} $q } return { $q.name } order { nearest($q.vec, [1.0, 0.0]) } limit 1"#,
            &[
                "limit",
                "top_k",
                "project",
                "search_scan",
                "reachable_expand",
                "key_lookup",
            ],
        ),
        (
            "match { $p: Package } return { $p.name } union match { $m: Maintainer } return { $m.name }",
            &["union", "project", "scan", "project", "scan"],
        ),
        (
            "match { $a dependsOn $b  $b dependsOn $a } return { $a.name }",
            &["project", "semi_join", "expand", "scan"],
        ),
        (
            r#"update Package set { kb: 1 } where name = "curl"  delete Package where kb > 5  insert Note { text: "a" }  upsert Package { name: "x" }"#,
            &[
                "validate",
                "update",
                "filter",
                "key_lookup",
                "delete",
                "filter",
                "scan",
                "insert",
                "upsert",
            ],
        ),
    ] {
        let plan = planned(&graph, &format!("query q() {{ {body} }}")).await;
        let ops: Vec<&str> = operators(&plan.plan)
            .into_iter()
            .map(|(op, _)| op)
            .collect();
        assert_eq!(ops, wanted, "{body}\n{}", plan.text());
        let json: Json = serde_json::to_value(&plan.logical).unwrap();
        assert!(json["op"].is_string());
    }
}

#[tokio::test]
async fn parameters_that_are_given_must_fit() {
    let graph = example().await;
    let query = graph.check(READ).unwrap();
    for (params, code) in [(json!({"n": 7}), "R432"), (json!({"n": null}), "R431")] {
        let found = explain(&graph.context(), &query, params.as_object().unwrap()).await;
        let error = found.unwrap_err();
        assert_eq!(error.detail().diagnostics[0].code.to_string(), code);
    }
}
