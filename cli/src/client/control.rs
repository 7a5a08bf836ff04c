//! The control plane: gRPC over the network, or to its service in this process.

use std::time::Duration;

use omnigraph_control_plane::ControlPlane;
use omnigraph_policy::Actor;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::cluster_service_client::ClusterServiceClient;
use omnigraph_proto::control::v1::watch_operation_response::Event as Watched;
use omnigraph_proto::error::WireError;
use tonic::transport::{ClientTlsConfig, Endpoint};
use tonic::{Response, Status, Streaming};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt as _};

use super::data::chain;
use super::embedded::Embedded;
use crate::error::{Error, Result};
use crate::output::Output;

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

type Client = ClusterServiceClient<Transport>;

/// Sends the requests of the control verbs.
pub(crate) struct ControlClient {
    inner: Client,
    /// What people are told: the URL, or the storage root.
    pub(crate) label: String,
    /// Where losing data concerns nobody else.
    pub(crate) local: bool,
    /// `grpc` or `grpcs` of a control plane somewhere else.
    scheme: Option<&'static str>,
    token: Option<String>,
    timeout: Option<Duration>,
    embedded: Option<Embedded>,
    output: Option<Output>,
}

impl ControlClient {
    /// A control plane at one of `grpc(s)://host:port,…`: the first that answers.
    pub(crate) async fn connect(
        urls: &str,
        local: bool,
        token: Option<String>,
        timeout: Option<Duration>,
        output: Output,
    ) -> Result<ControlClient> {
        let (url, channel) = first_channel(urls).await?;
        let service = channel.map_err(BoxError::from);
        let secure = url.starts_with("grpcs://");
        Ok(ControlClient {
            inner: client(BoxCloneSyncService::new(service)),
            label: url,
            local,
            scheme: Some(if secure { "grpcs" } else { "grpc" }),
            token,
            timeout,
            embedded: None,
            output: Some(output),
        })
    }

    /// The service of this process.
    pub(crate) fn embedded(embedded: Embedded, local: bool) -> ControlClient {
        ControlClient {
            inner: client(embedded.control()),
            label: embedded.label.clone(),
            local,
            scheme: None,
            token: None,
            timeout: None,
            embedded: Some(embedded),
            output: None,
        }
    }

    /// A service of this process that somebody else owns.
    pub(crate) fn in_process(plane: &ControlPlane, actor: &Actor, label: String) -> ControlClient {
        ControlClient {
            inner: client(super::embedded::in_process(plane, actor)),
            label,
            local: true,
            scheme: None,
            token: None,
            timeout: None,
            embedded: None,
            output: None,
        }
    }

    /// Whether changes run in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Ends what runs behind the client.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.close().await;
        }
    }

    pub(crate) async fn plan(&mut self, request: pb::PlanRequest) -> Result<pb::Plan> {
        let answer = self.describe_plan(request).await?;
        answer.plan.ok_or_else(|| incomplete("plan"))
    }

    /// The plan and the cluster that it is for.
    pub(crate) async fn describe_plan(
        &mut self,
        request: pb::PlanRequest,
    ) -> Result<pb::PlanResponse> {
        self.unary(request, async |client, request| client.plan(request).await)
            .await
    }

    pub(crate) async fn status(&mut self) -> Result<pb::ClusterStatus> {
        let request = pb::StatusRequest {};
        let answer = self
            .unary(request, async |client, request| {
                client.status(request).await
            })
            .await?;
        answer.status.ok_or_else(|| incomplete("status"))
    }

    pub(crate) async fn import(&mut self, request: pb::ImportRequest) -> Result<pb::ClusterStatus> {
        let answer = self
            .unary(request, async |client, request| {
                client.import(request).await
            })
            .await?;
        answer.status.ok_or_else(|| incomplete("status"))
    }

    pub(crate) async fn refresh(
        &mut self,
        request: pb::RefreshRequest,
    ) -> Result<pb::ClusterStatus> {
        let answer = self
            .unary(request, async |client, request| {
                client.refresh(request).await
            })
            .await?;
        answer.status.ok_or_else(|| incomplete("status"))
    }

    /// Rolls back and hands each event on as it comes, in the form of an apply's.
    pub(crate) async fn rollback(
        &mut self,
        request: pb::RollbackRequest,
        each: &mut (dyn FnMut(Event) -> Result<()> + Send),
    ) -> Result<()> {
        use pb::rollback_response::Event as Rollback;
        self.stream(
            request,
            async |client, request| client.rollback(request).await,
            |frame| {
                frame.event.map(|event| match event {
                    Rollback::Plan(plan) => Event::Plan(plan),
                    Rollback::Step(step) => Event::Step(step),
                    Rollback::Result(result) => Event::Result(result),
                    Rollback::Rollout(rollout) => Event::Rollout(rollout),
                    Rollback::Operation(operation) => Event::Operation(operation),
                })
            },
            each,
        )
        .await
    }

    pub(crate) async fn approve(&mut self, request: pb::ApproveRequest) -> Result<pb::Approval> {
        let answer = self
            .unary(request, async |client, request| {
                client.approve(request).await
            })
            .await?;
        answer.approval.ok_or_else(|| incomplete("approval"))
    }

    /// The policies of the newest revision, with their sources.
    pub(crate) async fn policies(&mut self) -> Result<Vec<pb::PolicyBundle>> {
        let request = pb::GetRevisionRequest {
            with_policies: true,
            ..pb::GetRevisionRequest::default()
        };
        let answer = self
            .unary(request, async |client, request| {
                client.get_revision(request).await
            })
            .await?;
        Ok(answer.policies)
    }

    pub(crate) async fn rollout(
        &mut self,
        request: pb::RolloutStatusRequest,
    ) -> Result<pb::Rollout> {
        let answer = self
            .unary(request, async |client, request| {
                client.rollout_status(request).await
            })
            .await?;
        answer.rollout.ok_or_else(|| incomplete("rollout"))
    }

    pub(crate) async fn revisions(
        &mut self,
        request: pb::ListRevisionsRequest,
    ) -> Result<pb::ListRevisionsResponse> {
        self.unary(request, async |client, request| {
            client.list_revisions(request).await
        })
        .await
    }

    pub(crate) async fn revision(&mut self, number: u64) -> Result<pb::GetRevisionResponse> {
        let request = pb::GetRevisionRequest {
            revision: number,
            ..pb::GetRevisionRequest::default()
        };
        self.unary(request, async |client, request| {
            client.get_revision(request).await
        })
        .await
    }

    pub(crate) async fn unlock(
        &mut self,
        request: pb::ForceUnlockRequest,
    ) -> Result<omnigraph_proto::common::v1::Lease> {
        let answer = self
            .unary(request, async |client, request| {
                client.force_unlock(request).await
            })
            .await?;
        answer.released.ok_or_else(|| incomplete("lease"))
    }

    pub(crate) async fn operations(&mut self, page_size: u32) -> Result<Vec<pb::Operation>> {
        let request = pb::ListOperationsRequest { page_size };
        let answer = self
            .unary(request, async |client, request| {
                client.list_operations(request).await
            })
            .await?;
        Ok(answer.operations)
    }

    /// Follows an operation from its first event on.
    pub(crate) async fn watch_operation(
        &mut self,
        id: &str,
        each: &mut (dyn FnMut(Watched) -> Result<()> + Send),
    ) -> Result<()> {
        let request = pb::WatchOperationRequest {
            operation_id: id.to_owned(),
        };
        self.stream(
            request,
            async |client, request| client.watch_operation(request).await,
            |frame| frame.event,
            each,
        )
        .await
    }

    /// Makes a graph of a backup. `each` hears of its operation first.
    pub(crate) async fn restore(
        &mut self,
        request: pb::RestoreGraphRequest,
        each: &mut (dyn FnMut(pb::restore_graph_response::Event) -> Result<()> + Send),
    ) -> Result<()> {
        self.stream(
            request,
            async |client, request| client.restore_graph(request).await,
            |frame| frame.event,
            each,
        )
        .await
    }

    /// Applies and hands each event on as it comes. An apply may take as long as its steps do.
    pub(crate) async fn apply(
        &mut self,
        request: pb::ApplyRequest,
        each: &mut (dyn FnMut(Event) -> Result<()> + Send),
    ) -> Result<()> {
        self.stream(
            request,
            async |client, request| client.apply(request).await,
            |frame| frame.event,
            each,
        )
        .await
    }

    /// One call, sent once more to the leader if a standby says who that is.
    async fn unary<M: Clone, T>(
        &mut self,
        message: M,
        send: impl AsyncFn(&mut Client, tonic::Request<M>) -> std::result::Result<Response<T>, Status>,
    ) -> Result<T> {
        let request = self.request(message.clone(), CALL_TIMEOUT)?;
        let mut answer = send(&mut self.inner, request).await;
        if let Err(status) = &answer
            && self.goes_to_leader(status).await?
        {
            let request = self.request(message, CALL_TIMEOUT)?;
            answer = send(&mut self.inner, request).await;
        }
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(self.refused(&status)),
        }
    }

    /// A stream of events. One that a standby refuses is asked of the leader, once: nothing was
    /// begun.
    async fn stream<M: Clone, T, E>(
        &mut self,
        message: M,
        send: impl AsyncFn(
            &mut Client,
            tonic::Request<M>,
        ) -> std::result::Result<Response<Streaming<T>>, Status>,
        event: impl Fn(T) -> Option<E>,
        each: &mut (dyn FnMut(E) -> Result<()> + Send),
    ) -> Result<()> {
        let mut followed = false;
        loop {
            let request = self.request(message.clone(), Duration::ZERO)?;
            let opened = send(&mut self.inner, request).await;
            let first = match opened {
                Ok(answer) => {
                    let mut frames = answer.into_inner();
                    frames.message().await.map(|first| (first, frames))
                }
                Err(status) => Err(status),
            };
            if let Err(status) = &first
                && !followed
                && self.goes_to_leader(status).await?
            {
                followed = true;
                continue;
            }
            let (mut next, mut frames) = first.map_err(|status| self.refused(&status))?;
            while let Some(frame) = next {
                if let Some(event) = event(frame) {
                    each(event)?;
                }
                next = frames.message().await.map_err(|s| self.refused(&s))?;
            }
            return Ok(());
        }
    }

    /// Whether a standby has refused and named the leader: then this client speaks to that one
    /// from now on.
    async fn goes_to_leader(&mut self, status: &Status) -> Result<bool> {
        let Some(scheme) = self.scheme else {
            return Ok(false);
        };
        let wire = WireError::from(status);
        let Some(Detail::LeaseHeld(lease)) = wire.detail.as_deref() else {
            return Ok(false);
        };
        if wire.reason != ErrorReason::NotLeader || lease.address.is_empty() {
            return Ok(false);
        }
        let url = format!("{scheme}://{}", lease.address);
        if url == self.label {
            return Ok(false);
        }
        let channel = channel(&url).await.map_err(|error| {
            Error::unavailable(format!("{} is a standby: {}", self.label, error.message))
                .with_hint("name the leader with --control by an address that is reached from here")
        })?;
        if let Some(output) = &self.output {
            output.note(&format!("{} is a standby; the leader is {url}", self.label));
        }
        self.inner = client(BoxCloneSyncService::new(channel.map_err(BoxError::from)));
        self.label = url;
        Ok(true)
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

    fn refused(&self, status: &Status) -> Error {
        if std::error::Error::source(status).is_some() && status.details().is_empty() {
            return Error::unavailable(format!("{}: {}", self.label, chain(status)));
        }
        Error::from_status(status)
    }
}

/// Connects to the first of several addresses that answers.
async fn first_channel(urls: &str) -> Result<(String, tonic::transport::Channel)> {
    let mut refused: Option<Error> = None;
    for url in urls.split(',') {
        match channel(url).await {
            Ok(channel) => return Ok((url.to_owned(), channel)),
            Err(error) => {
                refused = Some(match refused {
                    None => error,
                    Some(mut earlier) => {
                        earlier.message = format!("{}; {}", earlier.message, error.message);
                        earlier
                    }
                });
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::usage("the address of the control plane is empty")))
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

fn client(transport: Transport) -> Client {
    ClusterServiceClient::new(transport)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn incomplete(what: &str) -> Error {
    Error::failed(format!("the control plane's answer has no {what}"))
}
