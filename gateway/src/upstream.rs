//! Where requests go: one replica over the network, or services in this process.

use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use omnigraph_proto::data::v1::graph_service_client::GraphServiceClient;
use omnigraph_proto::data::v1::maintenance_service_client::MaintenanceServiceClient;
use omnigraph_proto::data::v1::readiness_service_client::ReadinessServiceClient;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt as _};

/// Message limit in both directions.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What carries a gRPC call: any service over HTTP, its type forgotten.
pub type Transport = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// The replica that answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    transport: Transport,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("'{address}' is no replica address: {message}; write host:port or grpc://host:port")]
pub struct AddressError {
    address: String,
    message: String,
}

impl Upstream {
    /// A replica over the network. The connection is made when it is first needed, and made again
    /// after it was lost.
    pub fn connect(address: &str) -> Result<Self, AddressError> {
        let refuse = |error: tonic::transport::Error| AddressError {
            address: address.to_owned(),
            message: error.to_string(),
        };
        let uri = match address.split_once("://") {
            None => format!("http://{address}"),
            Some(("grpc", rest)) => format!("http://{rest}"),
            Some(("grpcs", rest)) => format!("https://{rest}"),
            Some(_) => address.to_owned(),
        };
        let endpoint = Endpoint::from_shared(uri)
            .map_err(refuse)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .tcp_nodelay(true);
        Ok(Self::channel(endpoint.connect_lazy()))
    }

    /// A channel that the caller has made.
    pub fn channel(channel: Channel) -> Self {
        Self::service(channel)
    }

    /// Services of this process, without a network between.
    pub fn in_process(routes: tonic::service::Routes) -> Self {
        Self::service(routes)
    }

    /// Any service that answers gRPC requests.
    pub fn service<S, B>(service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>>,
        S: Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service
            .map_response(|response: http::Response<B>| response.map(Body::new))
            .map_err(|error: S::Error| Status::from_error(error.into()));
        Upstream {
            transport: BoxCloneSyncService::new(service),
        }
    }

    /// A client of the replica's graphs.
    pub fn graphs(&self) -> GraphServiceClient<Transport> {
        GraphServiceClient::new(self.transport.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client of the maintenance of its graphs.
    pub fn maintenance(&self) -> MaintenanceServiceClient<Transport> {
        MaintenanceServiceClient::new(self.transport.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A client of the replica's readiness.
    pub fn readiness(&self) -> ReadinessServiceClient<Transport> {
        ReadinessServiceClient::new(self.transport.clone())
    }
}
