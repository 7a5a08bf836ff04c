//! One accept loop for HTTP/1.1 and for HTTP/2 with prior knowledge.

use std::future::Future;
use std::io;

use axum::Router;
use tokio::net::TcpListener;

/// Serves until `stop` resolves; then accepts nothing more and finishes what it has begun. The
/// caller bounds that time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
}
