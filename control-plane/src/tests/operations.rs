//! Changes under their ids: followed from the start, and remembered.

use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event as Applied;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::watch_operation_response::Event as Watched;
use ulid::Ulid;

use super::*;
use crate::error::ErrorKind;

type Client = ClusterServiceClient<ClusterServiceServer<crate::ClusterApi>>;

fn client(plane: &ControlPlane) -> Client {
    ClusterServiceClient::new(ClusterServiceServer::new(
        plane.cluster_api(Credentials::Open),
    ))
}

fn request(schema: &str, queries: &str) -> ApplyRequest {
    ApplyRequest {
        bundle: Some(shop(schema, queries)),
        lock_timeout_ms: 10_000,
        message: "a note".into(),
        ..ApplyRequest::default()
    }
}

/// The operation's id, from the first event of an apply; the stream stays open.
async fn begin(
    client: &mut Client,
    request: ApplyRequest,
) -> (String, tonic::Streaming<pb::ApplyResponse>) {
    let mut events = client.apply(request).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap().event.unwrap();
    let Applied::Operation(operation) = first else {
        panic!("the operation comes first, not {first:?}");
    };
    assert_eq!(operation.state(), pb::OperationState::Running);
    (operation.operation_id, events)
}

/// Every event of an operation as a word, and the operation as it ended.
async fn follow(client: &mut Client, id: &str) -> (Vec<&'static str>, pb::Operation) {
    let request = pb::WatchOperationRequest {
        operation_id: id.to_owned(),
    };
    let mut events = client.watch_operation(request).await.unwrap().into_inner();
    let (mut kinds, mut last) = (Vec::new(), None);
    while let Some(event) = events.message().await.unwrap() {
        kinds.push(match event.event.unwrap() {
            Watched::Operation(operation) => {
                last = Some(operation);
                "operation"
            }
            Watched::Plan(_) => "plan",
            Watched::Step(_) => "step",
            Watched::Result(_) => "result",
            Watched::Restored(_) => "restored",
        });
    }
    kinds.dedup();
    (kinds, last.unwrap())
}

#[tokio::test]
async fn an_apply_goes_on_without_its_caller_and_is_followed_from_the_start() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let gate = gate();
    let plane = world.failing(Point::Armed, Action::Hold(gate.clone()));
    let mut caller = client(&plane);
    let (id, events) = begin(&mut caller, request(WIDER, COLOURS)).await;
    drop((events, caller));

    let mut other = client(&plane);
    let shown = other
        .get_operation(pb::GetOperationRequest {
            operation_id: id.clone(),
        })
        .await
        .unwrap();
    let shown = shown.into_inner().operation.unwrap();
    assert_eq!(shown.state(), pb::OperationState::Running);
    let status = world.plane("reader").status().await.unwrap();
    assert_eq!(status.running.unwrap().operation_id, id);
    // Held by its failpoint until somebody follows it.
    gate.add_permits(1);
    let (kinds, last) = follow(&mut other, &id).await;
    assert_eq!(kinds, ["operation", "plan", "step", "result", "operation"]);
    assert_eq!(last.state(), pb::OperationState::Succeeded);
    assert_eq!((last.revision, last.message.as_str()), (2, "a note"));
    assert!(last.result.unwrap().converged);
    assert_settled(&world, WIDER).await;
    // Whoever comes later sees all of it, too.
    let (again, _) = follow(&mut other, &id).await;
    assert_eq!(again, kinds);
}

#[tokio::test]
async fn operations_are_known_to_later_processes() {
    let world = World::new().await;
    let plane = world.plane("first");
    let mut caller = client(&plane);
    let mut ids = Vec::new();
    for limit in 1..=20 {
        let queries = QUERIES.replace("limit 10", &format!("limit {limit}"));
        let (id, mut events) = begin(&mut caller, request(SCHEMA, &queries)).await;
        while events.message().await.unwrap().is_some() {}
        ids.push(id);
    }
    let later = world.plane("later");
    let listed = later.operations(0).await.unwrap();
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    let listed: Vec<String> = listed.into_iter().map(|one| one.operation_id).collect();
    assert_eq!(listed, newest_first);
    // The newest are told of by the heartbeat, the oldest by the ledger alone.
    for (number, id) in ids.iter().enumerate() {
        let (kinds, shown) = follow(&mut client(&later), id).await;
        assert_eq!(kinds, ["operation"]);
        assert_eq!(shown.state(), pb::OperationState::Succeeded, "{number}");
        assert_eq!(shown.revision, number as u64 + 1);
        assert_eq!(
            (shown.kind.as_str(), shown.message.as_str()),
            ("apply", "a note")
        );
        assert!(!shown.followable);
    }
    let unknown = Ulid::new();
    let error = later.operation(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let request = pb::GetOperationRequest {
        operation_id: "x".into(),
    };
    let refused = client(&later).get_operation(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn an_operation_whose_process_died_was_interrupted() {
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let doomed = world.failing(Point::Acted, Action::Hang);
    let mut caller = client(&doomed);
    let (id, mut events) = begin(&mut caller, request(WIDER, COLOURS)).await;
    while let Some(event) = events.message().await.unwrap() {
        if matches!(event.event, Some(Applied::Step(_))) {
            break;
        }
    }
    let id: Ulid = id.parse().unwrap();
    let later = world.plane("later");
    eventually("the sidecar is there", || async {
        let shown = later.operation(id).await;
        shown.is_ok_and(|shown| shown.pending_graphs == ["shop"])
    })
    .await;
    // It hangs and goes on showing life: somebody has to take the lead from it.
    let lease = later.status().await.unwrap().lease.unwrap();
    later.unlock(&lease.lease_id, "").await.unwrap();
    let told = apply(&later, shop(WIDER, COLOURS)).await.unwrap();
    assert!(told.result.ok);
    let shown = world.plane("reader").operation(id).await.unwrap();
    assert_eq!(shown.state(), pb::OperationState::Interrupted);
    assert!(shown.pending_graphs.is_empty());
    assert_settled(&world, WIDER).await;
}

#[tokio::test]
async fn the_second_is_told_which_operation_runs_and_since_when() {
    let world = World::new().await;
    let plane = world.plane("a");
    let turn = plane
        .begin("apply", Some("ann"), Duration::ZERO)
        .await
        .unwrap();
    let id = turn.operation_id.to_string();
    let error = plane
        .begin("apply", None, Duration::ZERO)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::LeaseHeld);
    let message = error.message().to_owned();
    assert!(
        message.starts_with("apply by ann has been running for "),
        "{message}"
    );
    assert!(message.contains(&id), "{message}");
    let other = world.plane("other");
    eventually("the heartbeat tells", || async {
        let held = other
            .begin("apply", None, Duration::ZERO)
            .await
            .err()
            .unwrap();
        held.message().contains(&id) && held.message().contains("runs apply by ann, for")
    })
    .await;
    turn.finish().await;
}

#[tokio::test]
async fn an_apply_whose_caller_left_before_its_turn_is_not_begun() {
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let turn = plane.begin("test", None, Duration::ZERO).await.unwrap();
    let mut caller = client(&plane);
    let changed = QUERIES.replace("limit 10", "limit 5");
    let events = caller.apply(request(SCHEMA, &changed)).await.unwrap();
    drop((events, caller));
    turn.finish().await;
    eventually("the turn is free again", || async {
        match plane.begin("test", None, Duration::from_secs(10)).await {
            Ok(turn) => {
                turn.give_back().await;
                true
            }
            Err(_) => false,
        }
    })
    .await;
    let status = plane.status().await.unwrap();
    assert_eq!(status.revision, 1, "nobody wanted it any more");
}

#[tokio::test]
async fn a_restoration_is_an_operation_of_the_control_plane() {
    use pb::restore_graph_response::Event as Restore;
    let world = World::new().await;
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let place = super::restoring::Place::new();
    let uri = super::restoring::backed_up(&world, &place).await;
    let restore = |graph: &str, expect_revision| pb::RestoreGraphRequest {
        uri: uri.clone(),
        graph_id: graph.to_owned(),
        expect_revision,
        ..pb::RestoreGraphRequest::default()
    };
    let mut api = client(&plane);
    let first = async |api: &mut Client, request| {
        let mut events = api.restore_graph(request).await.unwrap().into_inner();
        let first = events.message().await;
        (first, events)
    };
    for (request, code) in [
        (restore("again", 7), tonic::Code::Aborted),
        (restore("shop", 0), tonic::Code::InvalidArgument),
        (restore("no good", 0), tonic::Code::InvalidArgument),
    ] {
        let (refused, _) = first(&mut api, request).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let (begun, mut events) = first(&mut api, restore("again", 1)).await;
    let Some(Restore::Operation(operation)) = begun.unwrap().unwrap().event else {
        panic!("the operation comes first");
    };
    let made = events.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(made, Restore::Result(made) if made.graph_id == "again" && made.objects > 0));
    let (kinds, last) = follow(&mut api, &operation.operation_id).await;
    assert_eq!(kinds, ["operation", "restored", "operation"]);
    assert_eq!(last.state(), pb::OperationState::Succeeded);
    // One that fails says why, to its caller and to those who ask later.
    let mut broken = restore("other", 0);
    broken.uri = format!("{}/nothing", place.uri());
    let (begun, mut events) = first(&mut api, broken).await;
    let Some(Restore::Operation(operation)) = begun.unwrap().unwrap().event else {
        panic!("the operation comes first");
    };
    let refused = events.message().await.unwrap_err();
    let (_, last) = follow(&mut api, &operation.operation_id).await;
    assert_eq!(last.state(), pb::OperationState::Failed);
    assert_eq!(last.failure.unwrap().message, refused.message());
}
