//! The way to a control plane: gRPC over the network, or whatever stands for it in a program that
//! has both ends in itself.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use omnigraph_proto::control::v1::replica_service_client::ReplicaServiceClient;
use omnigraph_proto::control::v1::{
    FetchRevisionRequest, FetchRevisionResponse, SyncRequest, SyncResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::options::Control;
use crate::replica::BootError;

/// Frames of a control plane.
pub(crate) type Frames<T> = BoxStream<'static, Result<T, Status>>;

/// One control plane.
#[async_trait]
pub(crate) trait Link: Send + Sync {
    /// Begins a stream of frames in both directions.
    async fn sync(
        &self,
        frames: ReceiverStream<SyncRequest>,
    ) -> Result<Frames<SyncResponse>, Status>;

    /// A revision and its content.
    async fn fetch_revision(
        &self,
        request: FetchRevisionRequest,
    ) -> Result<Frames<FetchRevisionResponse>, Status>;
}

/// Makes links by address. Nothing is sent before a link is used.
pub(crate) trait Dial: Debug + Send + Sync {
    /// A link to a control plane.
    ///
    /// # Errors
    /// If the address or the token is none.
    fn dial(&self, control: &Control) -> Result<Arc<dyn Link>, BootError>;
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network;

impl Dial for Network {
    fn dial(&self, control: &Control) -> Result<Arc<dyn Link>, BootError> {
        let refuse = |message: String| BootError {
            code: "control_plane_address",
            message,
            remedy: "write host:port or grpc://host:port, and a token of visible ascii",
        };
        let address = control.address.as_str();
        let uri = match address.split_once("://") {
            None => format!("http://{address}"),
            Some(("grpc", rest)) => format!("http://{rest}"),
            Some(("grpcs", rest)) => format!("https://{rest}"),
            Some(_) => address.to_owned(),
        };
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|error| refuse(format!("'{address}' is no control plane address: {error}")))?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let credential = Credential::new(control.token.as_deref())
            .ok_or_else(|| refuse("the token for the control plane cannot be sent".to_owned()))?;
        Ok(Arc::new(Remote {
            channel: endpoint.connect_lazy(),
            credential,
        }))
    }
}

/// A control plane behind a channel; the connection is made when it is first needed.
struct Remote {
    channel: Channel,
    credential: Credential,
}

#[async_trait]
impl Link for Remote {
    async fn sync(
        &self,
        frames: ReceiverStream<SyncRequest>,
    ) -> Result<Frames<SyncResponse>, Status> {
        let mut client = ReplicaServiceClient::new(self.channel.clone());
        let answer = client.sync(self.credential.attach(frames)).await?;
        Ok(answer.into_inner().boxed())
    }

    async fn fetch_revision(
        &self,
        request: FetchRevisionRequest,
    ) -> Result<Frames<FetchRevisionResponse>, Status> {
        let mut client = ReplicaServiceClient::new(self.channel.clone())
            .max_decoding_message_size(omnigraph_gateway::MESSAGE_BYTES_MAX);
        let answer = client
            .fetch_revision(self.credential.attach(request))
            .await?;
        Ok(answer.into_inner().boxed())
    }
}

/// The bearer token for the control plane.
struct Credential(Option<MetadataValue<Ascii>>);

impl Credential {
    fn new(token: Option<&str>) -> Option<Self> {
        match token {
            None => Some(Credential(None)),
            Some(token) => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
                value.set_sensitive(true);
                Some(Credential(Some(value)))
            }
        }
    }

    /// A request with the token.
    fn attach<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }
}
