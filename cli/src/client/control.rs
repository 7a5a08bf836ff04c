//! The control plane: gRPC over the network, or to its service in this process.

use std::time::Duration;

use omnigraph_control_plane::ControlPlane;
use omnigraph_policy::Actor;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use tonic::transport::{ClientTlsConfig, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt as _};

use super::data::chain;
use super::embedded::Embedded;
use crate::error::{Error, Result};

/// Message limit in both directions.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound of a call that has none of its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// What carries a call: a channel, or the service of this process.
pub(crate) type Transport = BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    BoxError,
>;

/// Sends the requests of the control verbs.
pub(crate) struct ControlClient {
    inner: ClusterServiceClient<Transport>,
    /// What people are told: the URL, or the storage root.
    pub(crate) label: String,
    /// Where losing data concerns nobody else.
    pub(crate) local: bool,
    token: Option<String>,
    timeout: Option<Duration>,
    embedded: Option<Embedded>,
}

impl ControlClient {
    /// A control plane at `grpc(s)://host:port`.
    pub(crate) async fn connect(
        url: &str,
        local: bool,
        token: Option<String>,
        timeout: Option<Duration>,
    ) -> Result<ControlClient> {
        let channel = channel(url).await?;
        let service = channel.map_err(BoxError::from);
        Ok(ControlClient {
            inner: client(BoxCloneSyncService::new(service)),
            label: url.to_owned(),
            local,
            token,
            timeout,
            embedded: None,
        })
    }

    /// The service of this process.
    pub(crate) fn embedded(embedded: Embedded, local: bool) -> ControlClient {
        ControlClient {
            inner: client(embedded.control()),
            label: embedded.label.clone(),
            local,
            token: None,
            timeout: None,
            embedded: Some(embedded),
        }
    }

    /// A service of this process that somebody else owns.
    pub(crate) fn in_process(plane: &ControlPlane, actor: &Actor, label: String) -> ControlClient {
        ControlClient {
            inner: client(super::embedded::in_process(plane, actor)),
            label,
            local: true,
            token: None,
            timeout: None,
            embedded: None,
        }
    }

    /// Ends what runs behind the client.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }

    pub(crate) async fn plan(&mut self, request: pb::PlanRequest) -> Result<pb::Plan> {
        let request = self.request(request, CALL_TIMEOUT)?;
        let answer = self
            .inner
            .plan(request)
            .await
            .map_err(|s| self.refused(&s))?;
        answer.into_inner().plan.ok_or_else(|| incomplete("plan"))
    }

    pub(crate) async fn status(&mut self) -> Result<pb::ClusterStatus> {
        let request = self.request(pb::StatusRequest {}, CALL_TIMEOUT)?;
        let answer = self
            .inner
            .status(request)
            .await
            .map_err(|s| self.refused(&s))?;
        answer
            .into_inner()
            .status
            .ok_or_else(|| incomplete("status"))
    }

    /// The policies of the newest revision, with their sources.
    pub(crate) async fn policies(&mut self) -> Result<Vec<pb::PolicyBundle>> {
        let message = pb::GetRevisionRequest {
            with_policies: true,
            ..pb::GetRevisionRequest::default()
        };
        let request = self.request(message, CALL_TIMEOUT)?;
        let answer = self.inner.get_revision(request).await;
        let answer = answer.map_err(|s| self.refused(&s))?;
        Ok(answer.into_inner().policies)
    }

    pub(crate) async fn rollout(
        &mut self,
        request: pb::RolloutStatusRequest,
    ) -> Result<pb::Rollout> {
        let request = self.request(request, CALL_TIMEOUT)?;
        let answer = self
            .inner
            .rollout_status(request)
            .await
            .map_err(|s| self.refused(&s))?;
        answer
            .into_inner()
            .rollout
            .ok_or_else(|| incomplete("rollout"))
    }

    /// Applies and hands each event on as it comes. An apply may take as long as its steps do.
    pub(crate) async fn apply(
        &mut self,
        request: pb::ApplyRequest,
        each: &mut (dyn FnMut(Event) -> Result<()> + Send),
    ) -> Result<()> {
        let request = self.request(request, Duration::ZERO)?;
        let answer = self
            .inner
            .apply(request)
            .await
            .map_err(|s| self.refused(&s))?;
        let mut events = answer.into_inner();
        while let Some(response) = events.message().await.map_err(|s| self.refused(&s))? {
            if let Some(event) = response.event {
                each(event)?;
            }
        }
        Ok(())
    }

    /// Adds token and bound. A zero default means none.
    fn request<T>(&self, message: T, default: Duration) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        let bound = self.timeout.unwrap_or(default);
        if !bound.is_zero() {
            request.set_timeout(bound);
        }
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse();
            let mut value: tonic::metadata::MetadataValue<_> =
                value.map_err(|_| Error::usage("OMNIGRAPH_BEARER_TOKEN is not visible ASCII"))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    fn refused(&self, status: &tonic::Status) -> Error {
        if std::error::Error::source(status).is_some() && status.details().is_empty() {
            return Error::unavailable(format!("{}: {}", self.label, chain(status)));
        }
        Error::from_status(status)
    }
}

/// Connects at once, so that a wrong address is named as such.
pub(crate) async fn channel(url: &str) -> Result<tonic::transport::Channel> {
    let wrong = |e: tonic::transport::Error| Error::usage(format!("'{url}': {}", chain(&e)));
    let (scheme, rest) = url.split_once("://").unwrap_or(("grpc", url));
    let secure = scheme == "grpcs";
    let uri = format!("{}://{rest}", if secure { "https" } else { "http" });
    let mut endpoint = Endpoint::from_shared(uri)
        .map_err(wrong)?
        .connect_timeout(CONNECT_TIMEOUT);
    if secure {
        let tls = ClientTlsConfig::new().with_native_roots();
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    endpoint.connect().await.map_err(|e| {
        Error::unavailable(format!("cannot reach {url}: {}", chain(&e)))
            .with_hint("is it running, and is the address right?")
    })
}

fn client(transport: Transport) -> ClusterServiceClient<Transport> {
    ClusterServiceClient::new(transport)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn incomplete(what: &str) -> Error {
    Error::failed(format!("the control plane's answer has no {what}"))
}
