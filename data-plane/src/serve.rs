//! The replica's listeners, from the first connection to the last.

use std::future::Future;
use std::io;
use std::time::Duration;

use omnigraph_gateway::router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::replica::Replica;

/// Where a replica serves, and how it ends.
#[derive(Debug)]
pub struct ServeOptions {
    /// The embedded gateway; `None`: not served.
    pub http: Option<TcpListener>,
    /// gRPC; `None`: not served.
    pub grpc: Option<TcpListener>,
    /// Settings of the gateway.
    pub gateway: omnigraph_gateway::Options,
    /// How long the replica is unready before it closes its listeners, so that load balancers
    /// notice.
    pub drain_delay: Duration,
    /// How long requests may take to finish after that.
    pub shutdown_timeout: Duration,
}

/// Serves until `stop` resolves or a listener fails; then turns unready, closes the listeners and
/// finishes what was begun, within bounds.
pub async fn serve(
    replica: &Replica,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let closing = CancellationToken::new();
    let mut servers = JoinSet::new();
    if let Some(listener) = options.http {
        let router = router(replica.upstream(), options.gateway);
        let closed = closing.clone().cancelled_owned();
        servers.spawn(omnigraph_gateway::serve(listener, router, closed));
    }
    if let Some(listener) = options.grpc {
        servers.spawn(serve_grpc(replica.clone(), listener, closing.clone()));
    }
    let failed = tokio::select! {
        () = stop => None,
        ended = servers.join_next(), if !servers.is_empty() => ended,
    };
    if let Some(ended) = failed {
        replica.stop(Duration::ZERO).await;
        return ended.map_err(io::Error::other).flatten();
    }
    replica.drain();
    tokio::time::sleep(options.drain_delay).await;
    closing.cancel();
    let finish = async {
        while servers.join_next().await.is_some() {}
        replica.stop(options.shutdown_timeout).await
    };
    match tokio::time::timeout(options.shutdown_timeout, finish).await {
        Ok(true) => tracing::info!("all work was finished"),
        Ok(false) | Err(_) => tracing::warn!("stopped before all work was finished"),
    }
    Ok(())
}

async fn serve_grpc(
    replica: Replica,
    listener: TcpListener,
    closing: CancellationToken,
) -> io::Result<()> {
    // Streams that only watch end at once, so that the others get the time.
    let watched = replica.inner().stop.clone();
    let stop = async move {
        closing.cancelled().await;
        watched.cancel();
    };
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_routes(replica.routes())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await
        .map_err(io::Error::other)
}
