//! Replicas and the wire.

use omnigraph_policy::{Actor, Credentials};
use omnigraph_proto::common::v1::GraphState;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::replica_service_client::ReplicaServiceClient;
use omnigraph_proto::control::v1::{fetch_revision_response, sync_request, sync_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;
use crate::serving::{BlobKind, Serving, ServingReader, verify_blob};

#[tokio::test]
async fn storage_alone_tells_what_is_applied() {
    let world = World::new().await;
    let store = world.engine.store().clone();
    let reader = ServingReader::new(&store);
    assert!(reader.newest().await.unwrap().is_none());
    let plane = world.plane("a");
    apply(&plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let serving = reader.newest().await.unwrap().unwrap();
    assert_eq!(
        (serving.revision, serving.cluster_name.as_str()),
        (1, "shop")
    );
    assert_eq!(serving.actor.as_deref(), Some("tester"));
    let graph = &serving.graphs[0];
    assert!(world.engine.open_graph(&graph.root).await.is_ok());
    assert_eq!(graph.queries[0].name, "cheap");
    let source = reader.query_source(&graph.queries[0]).await.unwrap();
    assert_eq!(source, QUERIES.trim());
    assert_eq!(
        Serving::from_wire(&serving.to_wire("memory://x")).unwrap(),
        *serving
    );

    let before = store.requests();
    reader.newest().await.unwrap();
    assert_eq!(
        (store.requests() - before).total(),
        1,
        "nothing has changed: one request"
    );
    apply(&plane, shop(SCHEMA, &QUERIES.replace("10", "9")))
        .await
        .unwrap();
    let newer = reader.newest().await.unwrap().unwrap();
    assert_eq!(newer.revision, 2);
    assert_ne!(newer.serving_digest, serving.serving_digest);
}

#[tokio::test]
async fn tampered_or_missing_content_is_never_served() {
    use object_store::ObjectStoreExt;
    let world = World::new().await;
    apply(&world.plane("a"), shop(SCHEMA, QUERIES))
        .await
        .unwrap();
    let store = world.engine.store();
    let reader = ServingReader::new(store);
    let serving = reader.newest().await.unwrap().unwrap();
    let query = &serving.graphs[0].queries[0];
    let path = store.path(&format!("cluster/catalog/{}.gq", query.digest));
    store
        .object_store()
        .put(&path, "query cheap() {}".into())
        .await
        .unwrap();
    let error = reader.query_source(query).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    store.object_store().delete(&path).await.unwrap();
    let error = reader
        .blob(&query.digest, BlobKind::Query)
        .await
        .unwrap_err();
    assert!(error.message().contains("is missing"), "{error}");
    assert!(verify_blob(&query.digest, QUERIES.trim().as_bytes()).is_ok());
    assert!(verify_blob(&query.digest, b"other").is_err());
}

#[tokio::test]
async fn in_process_calls_bring_their_actor() {
    let world = World::new().await;
    let api = world.plane("embedded").cluster_api(Credentials::Open);
    let mut client = ClusterServiceClient::new(ClusterServiceServer::new(api));
    let mut request = tonic::Request::new(ApplyRequest {
        bundle: Some(shop(SCHEMA, QUERIES)),
        wait: true,
        ..ApplyRequest::default()
    });
    request
        .extensions_mut()
        .insert(Actor::declared("ann").unwrap());
    let mut events = client.apply(request).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        match event.event.unwrap() {
            Event::Operation(_) => kinds.push("operation"),
            Event::Plan(_) => kinds.push("plan"),
            Event::Step(_) => {
                if kinds.last() != Some(&"step") {
                    kinds.push("step");
                }
            }
            Event::Result(result) => {
                assert_eq!(result.actor_id, "ann");
                kinds.push("result");
            }
            Event::Rollout(rollout) => {
                assert_eq!(rollout.live_replicas, 0);
                kinds.push("rollout");
            }
        }
    }
    assert_eq!(kinds, ["operation", "plan", "step", "result", "rollout"]);
    let history = client
        .list_revisions(pb::ListRevisionsRequest::default())
        .await
        .unwrap();
    assert_eq!(history.into_inner().revisions.len(), 1);
    let shown = client
        .get_revision(pb::GetRevisionRequest::default())
        .await
        .unwrap();
    assert_eq!(shown.into_inner().resources.len(), 3);
    let refused = client
        .approve(pb::ApproveRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "it has no bundle");
}

/// A served control plane, over a real port.
struct Served {
    plane: ControlPlane,
    uri: String,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

async fn serve(world: &World, credentials: Credentials) -> Served {
    let plane = world.plane("served");
    let stop = CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let leading = plane.spawn_leading(stop.clone());
    let serving = crate::server::serve(plane.clone(), listener, credentials, stop.clone());
    let serving = tokio::spawn(async move { serving.await.unwrap() });
    eventually("taking the lead", || async { plane.is_leading() }).await;
    Served {
        plane,
        uri,
        stop,
        tasks: vec![leading, serving],
    }
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(20), task)
                .await
                .expect("it ends")
                .unwrap();
        }
    }
}

fn frame(frame: sync_request::Frame) -> pb::SyncRequest {
    pb::SyncRequest { frame: Some(frame) }
}

fn ready(revision: u64, state: GraphState) -> pb::GraphReport {
    pb::GraphReport {
        revision,
        graphs: vec![pb::ReplicaGraph {
            graph_id: "shop".into(),
            state: state.into(),
            served_revision: revision,
            ..pb::ReplicaGraph::default()
        }],
    }
}

#[tokio::test]
async fn a_replica_registers_hears_of_revisions_and_completes_the_rollout() {
    let world = World::new().await;
    let served = serve(&world, Credentials::Open).await;
    let mut cluster = ClusterServiceClient::connect(served.uri.clone())
        .await
        .unwrap();
    apply(&served.plane, shop(SCHEMA, QUERIES)).await.unwrap();

    let mut replica = ReplicaServiceClient::connect(served.uri.clone())
        .await
        .unwrap();
    let (to, from) = mpsc::channel(16);
    to.send(frame(sync_request::Frame::Register(pb::Register {
        replica_id: "dp-0".into(),
        session_id: "1".into(),
        ..pb::Register::default()
    })))
    .await
    .unwrap();
    let mut told = replica
        .sync(ReceiverStream::new(from))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || told.message().await.unwrap().unwrap().frame.unwrap();
    assert!(matches!(next().await, sync_response::Frame::Welcome(w) if w.epoch == 1));
    assert!(matches!(next().await, sync_response::Frame::Revision(n) if n.revision == 1));

    let request = ApplyRequest {
        bundle: Some(shop(WIDER, COLOURS)),
        wait: true,
        ..ApplyRequest::default()
    };
    let mut events = cluster.apply(request).await.unwrap().into_inner();
    assert!(matches!(next().await, sync_response::Frame::Revision(n) if n.revision == 2));
    let beat = pb::Heartbeat {
        sequence: 7,
        revision: 1,
        storage_reachable: true,
    };
    to.send(frame(sync_request::Frame::Heartbeat(beat)))
        .await
        .unwrap();
    assert!(
        matches!(next().await, sync_response::Frame::Ack(a) if a.sequence == 7 && a.latest_revision == 2)
    );
    let loading = ready(1, GraphState::Loading);
    to.send(frame(sync_request::Frame::Report(loading)))
        .await
        .unwrap();
    to.send(frame(sync_request::Frame::Report(ready(
        2,
        GraphState::Ready,
    ))))
    .await
    .unwrap();
    let mut last = None;
    while let Some(event) = events.message().await.unwrap() {
        if let Some(Event::Rollout(rollout)) = event.event {
            last = Some(rollout);
        }
    }
    let last = last.unwrap();
    assert!(last.complete, "{last:?}");
    assert_eq!(
        (
            last.target_revision,
            last.live_replicas,
            last.replicas_at_target
        ),
        (2, 1, 1)
    );

    // A silent replica is not live after some missed heartbeats.
    eventually("the report expires", || async {
        let mut cluster = cluster.clone();
        let rollout = cluster
            .rollout_status(pb::RolloutStatusRequest::default())
            .await
            .unwrap();
        rollout.into_inner().rollout.unwrap().live_replicas == 0
    })
    .await;
    served.end().await;
}

#[tokio::test]
async fn a_replica_fetches_a_revision_with_what_it_lacks() {
    let world = World::new().await;
    let served = serve(&world, Credentials::Open).await;
    apply(&served.plane, shop(SCHEMA, QUERIES)).await.unwrap();
    let mut replica = ReplicaServiceClient::connect(served.uri.clone())
        .await
        .unwrap();
    let mut have = Vec::new();
    for expected in [2, 0] {
        let request = pb::FetchRevisionRequest {
            have_digests: have.clone(),
            ..Default::default()
        };
        let mut frames = replica.fetch_revision(request).await.unwrap().into_inner();
        let first = frames.message().await.unwrap().unwrap().frame.unwrap();
        let fetch_revision_response::Frame::Revision(revision) = first else {
            panic!("{first:?}")
        };
        assert_eq!(revision.revision, 1);
        let mut blobs = 0;
        while let Some(next) = frames.message().await.unwrap() {
            let Some(fetch_revision_response::Frame::Blob(blob)) = next.frame else {
                panic!()
            };
            verify_blob(&blob.digest, &blob.content).unwrap();
            have.push(blob.digest);
            blobs += 1;
        }
        assert_eq!(blobs, expected);
    }
    served.end().await;
}

#[tokio::test]
async fn a_token_is_asked_for_and_extensions_do_not_travel() {
    let world = World::new().await;
    let served = serve(&world, Credentials::token("s3cret")).await;
    let mut cluster = ClusterServiceClient::connect(served.uri.clone())
        .await
        .unwrap();
    let mut request = tonic::Request::new(pb::StatusRequest {});
    request
        .extensions_mut()
        .insert(Actor::declared("mallory").unwrap());
    let refused = cluster.status(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(pb::StatusRequest {});
    request
        .metadata_mut()
        .insert("authorization", "Bearer s3cret".parse().unwrap());
    let status = cluster
        .status(request)
        .await
        .unwrap()
        .into_inner()
        .status
        .unwrap();
    assert_eq!(status.revision, 0);
    assert_eq!(status.lease.unwrap().holder, "served");
    served.end().await;
}

#[tokio::test]
async fn a_refused_apply_is_a_status_with_diagnostics() {
    let world = World::new().await;
    let served = serve(&world, Credentials::Open).await;
    let mut cluster = ClusterServiceClient::connect(served.uri.clone())
        .await
        .unwrap();
    let request = ApplyRequest {
        bundle: Some(bundle(&[("cluster.yaml", "version: 3\n")])),
        ..ApplyRequest::default()
    };
    let mut events = cluster.apply(request).await.unwrap().into_inner();
    let status = events.message().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let error = omnigraph_proto::error::WireError::from(&status);
    assert_eq!(error.reason_str(), "CONFIG_INVALID");
    assert!(error.detail.is_some());
    served.end().await;
}
