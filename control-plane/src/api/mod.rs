//! The gRPC services: decode, one call, encode.

mod cluster;
mod replica;
mod stream;

use omnigraph_policy::{Actor, Credentials};
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::WireError;
use tonic::{Request, Status};

pub use cluster::ClusterApi;
pub use replica::ReplicaApi;

/// Who is calling: what an in-process caller put into the extensions, which do not travel over a
/// network, else what the credential says.
fn authenticate<T>(credentials: &Credentials, request: &Request<T>) -> Result<Actor, Status> {
    if let Some(actor) = request.extensions().get::<Actor>() {
        return Ok(actor.clone());
    }
    let mut values = request.metadata().get_all("authorization").iter();
    let header = values.next().and_then(|value| value.to_str().ok());
    // Two credentials are none: nobody can say which one was meant.
    let header = if values.next().is_some() {
        Some("")
    } else {
        header
    };
    credentials.authenticate(header).map_err(|refused| {
        tracing::debug!(cause = refused.cause(), "unauthenticated call");
        let error = WireError::new(ErrorReason::Unauthenticated, refused.to_string());
        Status::from(error)
    })
}
