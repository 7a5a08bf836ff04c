//! Who is calling. The process that executes a request finds the actor from the credential alone;
//! no header, field or parameter can name one.
//!
//! - [`Actor`]: the identity of a call.
//! - [`Credentials`]: what this process accepts, and how it refuses the rest.

mod actor;
mod credentials;

pub use actor::Actor;
pub use credentials::{Credentials, Plane, StartError, TokenDigest, Unauthenticated};
