//! The gRPC services: decode, one call, encode.

mod cluster;
mod replica;
mod stream;

use omnigraph_policy::{Action, Actor, Credentials};
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::WireError;
use tonic::{Request, Status};

use crate::authorize::Standing;
use crate::plane::ControlPlane;
pub use cluster::ClusterApi;
pub use replica::ReplicaApi;

/// A plane and who may call it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) plane: ControlPlane,
    credentials: Credentials,
}

impl Door {
    pub(crate) fn new(plane: ControlPlane, credentials: Credentials) -> Self {
        Self { plane, credentials }
    }

    /// Who is calling, if they may do this.
    pub(crate) async fn admit<T>(
        &self,
        request: &Request<T>,
        action: Action,
    ) -> Result<Actor, Status> {
        let (actor, standing) = self.authenticate(request)?;
        self.plane.authorize(&actor, standing, action).await?;
        Ok(actor)
    }

    /// Who is calling: what an in-process caller put into the extensions, which do not travel over
    /// a network, else what the credential says.
    fn authenticate<T>(&self, request: &Request<T>) -> Result<(Actor, Standing), Status> {
        if let Some(actor) = request.extensions().get::<Actor>() {
            return Ok((actor.clone(), Standing::Trusted));
        }
        let standing = match self.credentials.are_demanded() {
            true => Standing::Proven,
            false => Standing::Trusted,
        };
        let mut values = request.metadata().get_all("authorization").iter();
        let header = values.next().and_then(|value| value.to_str().ok());
        // Two credentials are none: nobody can say which one was meant.
        let header = if values.next().is_some() {
            Some("")
        } else {
            header
        };
        let actor = self.credentials.authenticate(header).map_err(|refused| {
            tracing::debug!(cause = refused.cause(), "unauthenticated call");
            let error = WireError::new(ErrorReason::Unauthenticated, refused.to_string());
            Status::from(error)
        })?;
        Ok((actor, standing))
    }
}
