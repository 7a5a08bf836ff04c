//! Validate, plan, apply.

use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition};

use super::*;
use crate::error::ErrorKind;
use crate::finding;

fn summary(plan: &Plan) -> Vec<String> {
    let line = |change: &omnigraph_proto::control::v1::PlanChange| {
        format!(
            "{} {} {}",
            change.operation().label(),
            change.resource,
            change.disposition().label()
        )
    };
    plan.changes.iter().map(line).collect()
}

#[tokio::test]
async fn an_empty_root_becomes_revision_one_and_then_nothing_is_written() {
    let world = World::new().await;
    let plane = world.plane("a");
    let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert_eq!(
        summary(told.plan.as_ref().unwrap()),
        [
            "create graph.shop applied",
            "create schema.shop applied",
            "create query.shop.cheap applied"
        ]
    );
    let result = &told.result;
    assert!(
        result.ok && result.converged && result.state_written,
        "{result:?}"
    );
    assert_eq!(
        (result.revision, result.applied_count, result.blocked_count),
        (1, 3, 0)
    );
    assert_eq!(result.actor_id, "tester");
    let done = told.steps.iter().filter(|step| step.phase() == Phase::Done);
    assert_eq!(done.count(), 3);
    assert_settled(&world, SCHEMA).await;

    let before = plane.store().requests();
    let again = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let spent = plane.store().requests() - before;
    assert!(again.result.converged && !again.result.state_written);
    assert_eq!(again.result.revision, 1);
    assert_eq!(
        (spent.put, spent.delete),
        (0, 0),
        "a converged apply writes nothing"
    );
}

#[tokio::test]
async fn a_changed_query_is_a_revision_that_moves_no_graph() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let head = schemas(&world).await;
    let changed = QUERIES.replace("limit 10", "limit 5");
    let told = apply(&plane, shop(SCHEMA, &changed)).await.unwrap();
    assert_eq!(
        summary(told.plan.as_ref().unwrap()),
        ["update query.shop.cheap applied"]
    );
    assert_eq!(told.result.revision, 2);
    assert_eq!(schemas(&world).await, head);
    let gone = apply(
        &plane,
        bundle(&[
            (
                "cluster.yaml",
                &CLUSTER.replace("    queries: queries/\n", ""),
            ),
            ("shop.pg", SCHEMA),
        ]),
    )
    .await
    .unwrap();
    assert_eq!(
        summary(gone.plan.as_ref().unwrap()),
        ["delete query.shop.cheap applied"]
    );
    let newest = plane.shared().ledger.newest().await.unwrap().unwrap();
    assert!(
        newest
            .content
            .graphs
            .values()
            .all(|graph| graph.queries.is_empty())
    );
}

#[tokio::test]
async fn a_schema_moves_with_the_queries_that_need_it() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let told = apply(&plane, shop(WIDER, COLOURS)).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        summary(&plan),
        [
            "update schema.shop applied",
            "update query.shop.cheap applied"
        ]
    );
    let migration = plan.changes[0].migration.as_ref().unwrap();
    assert!(migration.supported);
    let steps: Vec<_> = migration
        .steps
        .iter()
        .map(|step| step.summary.as_str())
        .collect();
    assert_eq!(steps, ["add property Item.colour", "add node Shelf"]);
    assert!(told.result.ok && told.result.converged, "{:?}", told.result);
    assert_eq!((told.result.revision, told.result.applied_count), (2, 2));
    assert_settled(&world, WIDER).await;
}

#[tokio::test]
async fn comments_and_line_ends_change_nothing() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let schema = format!("// what we sell\r\n{}", SCHEMA.replace('\n', "\r\n"));
    let told = apply(&plane, shop(&schema, &QUERIES.replace('\n', "\r\n")))
        .await
        .unwrap();
    assert!(!told.result.state_written, "{:?}", told.plan);
}

#[tokio::test]
async fn a_refused_schema_change_leaves_no_sidecar_and_blocks_only_what_waits_for_it() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    for _ in 0..2 {
        let told = apply(
            &plane,
            shop(REFUSED, &QUERIES.replace("limit 10", "limit 5")),
        )
        .await
        .unwrap();
        let plan = told.plan.unwrap();
        assert_eq!(
            summary(&plan),
            [
                "update schema.shop blocked",
                "update query.shop.cheap blocked"
            ]
        );
        assert!(
            plan.changes[0].reason.starts_with("M301"),
            "{}",
            plan.changes[0].reason
        );
        assert_eq!(plan.changes[1].reason, "waits for schema.shop");
        assert!(!told.result.converged);
        assert_eq!(told.result.blocked_count, 2);
        assert_settled(&world, SCHEMA).await;
    }
    // The second time nothing was new.
    assert_eq!(
        plane
            .shared()
            .ledger
            .newest()
            .await
            .unwrap()
            .unwrap()
            .record
            .number,
        2
    );
    let told = apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    assert!(told.result.converged && told.result.state_written);
}

#[tokio::test]
async fn a_wrong_query_is_blocked_alone_and_keeps_serving_what_was_applied() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let sound = "query all() {\n    match { $i: Item }\n    return { $i.name }\n}\n";
    let wrong = QUERIES.replace("$i.price", "$i.weight");
    let told = apply(&plane, shop(SCHEMA, &format!("{wrong}\n{sound}")))
        .await
        .unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(
        summary(&plan),
        [
            "create query.shop.all applied",
            "update query.shop.cheap blocked"
        ]
    );
    assert!(
        plan.changes[1].reason.contains("queries/q.gq:3:"),
        "{}",
        plan.changes[1].reason
    );
    assert!(plan.diagnostics.iter().any(finding::is_error));
    assert_eq!(
        (told.result.applied_count, told.result.blocked_count),
        (1, 1)
    );
    let newest = plane.shared().ledger.newest().await.unwrap().unwrap();
    let queries: Vec<_> = newest
        .content
        .graphs
        .values()
        .flat_map(|g| g.queries.keys())
        .collect();
    assert_eq!(queries, ["all", "cheap"]);
    assert!(newest.content.held_back.contains_key("query.shop.cheap"));
}

#[tokio::test]
async fn a_graph_is_not_deleted_without_approval() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let none = bundle(&[("cluster.yaml", "version: 1\nmetadata: { name: shop }\n")]);
    let told = apply(&plane, none).await.unwrap();
    let plan = told.plan.unwrap();
    assert_eq!(summary(&plan), ["delete graph.shop approval_required"]);
    assert_eq!(plan.changes[0].operation(), ChangeOperation::Delete);
    assert_eq!(plan.changes[0].disposition(), Disposition::ApprovalRequired);
    assert!(!told.result.converged);
    assert_settled(&world, SCHEMA).await;
}

#[tokio::test]
async fn expectations_that_do_not_hold_refuse() {
    let world = World::new().await;
    let plane = world.plane("a");
    let planned = plane.plan_for(&shop(SCHEMA, QUERIES), true).await.unwrap();
    let request = |digest: &str, revision| ApplyRequest {
        bundle: Some(shop(SCHEMA, QUERIES)),
        plan_digest: digest.to_owned(),
        expect_revision: revision,
        ..ApplyRequest::default()
    };
    let error = apply_request(&plane, request("", 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanStale);
    apply_request(&plane, request(&planned.plan.plan_digest, 0))
        .await
        .unwrap();
    let error = apply_request(&plane, request(&planned.plan.plan_digest, 0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlanStale);
    apply_request(&plane, request("", 1)).await.unwrap();
}

#[tokio::test]
async fn a_broken_cluster_file_refuses_everything() {
    let world = World::new().await;
    let plane = world.plane("a");
    let broken = bundle(&[(
        "cluster.yaml",
        "version: 1\ngraphs:\n  shop:\n    shema: shop.pg\n",
    )]);
    let error = apply(&plane, broken.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert_eq!(error.findings().len(), 2, "{error:?}");
    assert!(
        plane.shared().ledger.state().await.unwrap().seq.is_none(),
        "nothing was written"
    );
    let validated = crate::bundle::validate(&broken);
    assert!(!validated.ok);
}

#[tokio::test]
async fn validate_finds_everything_at_once() {
    let config = bundle(&[
        (
            "cluster.yaml",
            "version: 1\ngraphs:\n  a:\n    schema: a.pg\n    queries: queries/\n  b:\n    schema: missing.pg\n  c:\n    schema: c.pg\n",
        ),
        ("a.pg", SCHEMA),
        ("c.pg", "node C {\n    name: Text @key\n}\n"),
        (
            "queries/x.gq",
            "query one() {\n    match { $i: Itm }\n    return { $i.name }\n}\n",
        ),
        (
            "queries/y.gq",
            "query two() {\n    match { $i: Item }\n    return { $i.nam }\n}\n\nquery three() {\n    match { $i: Item }\n    return { $i.name }\n}\n",
        ),
    ]);
    let response = crate::bundle::validate(&config);
    assert!(!response.ok);
    let mut places: Vec<_> = response
        .diagnostics
        .iter()
        .map(|found| {
            let place = found.span.clone().unwrap_or_default();
            format!("{}:{}", place.file, place.line)
        })
        .collect();
    places.sort();
    assert_eq!(
        places,
        [
            "c.pg:2",
            "cluster.yaml:7",
            "queries/x.gq:2",
            "queries/y.gq:3"
        ]
    );
    let addresses: Vec<_> = response
        .resources
        .iter()
        .map(|r| r.address.as_str())
        .collect();
    assert!(
        addresses.contains(&"query.a.three") && addresses.contains(&"query.a.two"),
        "{addresses:?}"
    );
}

/// One mistake does not hide the next, neither of its query nor of another one.
#[tokio::test]
async fn every_mistake_of_a_file_is_told_and_only_wrong_queries_are_held_back() {
    let file = "query one() {
    match { $i: Itm }
    return { $i.name }
}
query two() {
    match { $i: Item  $i neds $j }
    return { $i.nam }
}
query three() {
    match { $i: Item }
    return { $i.name }
}
query four() {
    match { $i: Item  $i.name == \"pin\" }
    return { $i.name, $i.prize }
}
query five(
query six() {
    match { $i: Item }
    return { $i.name }
}
query seven() {
    match { $i: Item }
    return { $i.name }
";
    let config = shop(SCHEMA, file);
    let response = crate::bundle::validate(&config);
    let places: Vec<_> = response
        .diagnostics
        .iter()
        .map(|found| {
            let place = found.span.clone().unwrap_or_default();
            format!("{} {}:{}", found.code, place.file, place.line)
        })
        .collect();
    assert_eq!(
        places,
        [
            "Q201 queries/q.gq:2",
            "Q204 queries/q.gq:6",
            "Q202 queries/q.gq:7",
            "P001 queries/q.gq:14",
            "Q202 queries/q.gq:15",
            "P001 queries/q.gq:18",
            "P001 queries/q.gq:25",
        ]
    );
    let world = World::new().await;
    let told = apply(&world.plane("a"), config).await.unwrap();
    let outcomes: Vec<_> = told.plan.unwrap().changes;
    let of = |name: &str| {
        let address = format!("query.shop.{name}");
        let change = outcomes.iter().find(|change| change.resource == address);
        change
            .unwrap_or_else(|| panic!("{address} is not planned"))
            .reason
            .clone()
    };
    assert!(of("one").contains("(queries/q.gq:2:"), "{}", of("one"));
    assert!(of("two").contains("(queries/q.gq:6:"), "{}", of("two"));
    assert_eq!(of("three"), "");
    assert!(of("four").contains("(queries/q.gq:14:"), "{}", of("four"));
    // Neither has a body that could be read; both are there all the same.
    assert!(of("five").contains("(queries/q.gq:18:"), "{}", of("five"));
    assert_eq!(of("six"), "");
    assert!(of("seven").contains("(queries/q.gq:25:"), "{}", of("seven"));
}

#[tokio::test]
async fn plan_writes_nothing() {
    let world = World::new().await;
    let plane = world.plane("a");
    let planned = plane.plan_for(&shop(SCHEMA, QUERIES), true).await.unwrap();
    assert!(!planned.plan.converged);
    let spent = plane.store().requests();
    assert_eq!((spent.put, spent.delete), (0, 0));
    let again = plane.plan_for(&shop(SCHEMA, QUERIES), true).await.unwrap();
    assert_eq!(planned.plan.plan_digest, again.plan.plan_digest);
}
