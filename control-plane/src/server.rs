//! The gRPC listener: the two services, reflection and health.

use omnigraph_policy::Credentials;
use omnigraph_proto::control::v1::cluster_service_server::ClusterServiceServer;
use omnigraph_proto::control::v1::replica_service_server::ReplicaServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};

use crate::api::{ClusterApi, ReplicaApi};
use crate::plane::ControlPlane;

/// Bytes of one message, in either direction.
const MESSAGE_MAX: usize = 16 << 20;

/// Serves until `stop`, then refuses new calls and ends when the last one has ended.
pub async fn serve(
    plane: ControlPlane,
    listener: TcpListener,
    credentials: Credentials,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<ClusterServiceServer<ClusterApi>>()
        .await;
    health
        .set_serving::<ReplicaServiceServer<ReplicaApi>>()
        .await;
    let cluster = ClusterServiceServer::new(plane.cluster_api(credentials.clone()))
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let replica = ReplicaServiceServer::new(plane.replica_api(credentials))
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let mut routes = tonic::service::Routes::default();
    // The services work without reflection.
    match reflect().build_v1() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "reflection is not available"),
    }
    match reflect().build_v1alpha() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "reflection is not available"),
    }
    let routes = routes
        .add_service(health_service)
        .add_service(cluster)
        .add_service(replica);
    let stopping = async move {
        stop.cancelled().await;
        let off = tonic_health::ServingStatus::NotServing;
        health.set_service_status("", off).await;
        health
            .set_not_serving::<ClusterServiceServer<ClusterApi>>()
            .await;
        health
            .set_not_serving::<ReplicaServiceServer<ReplicaApi>>()
            .await;
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().add_routes(routes);
    server
        .serve_with_incoming_shutdown(incoming, stopping)
        .await
}

fn reflect() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(omnigraph_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
