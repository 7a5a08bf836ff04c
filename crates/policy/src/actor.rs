//! The identity of a call.

use std::fmt;
use std::sync::Arc;

/// Prefix of the system's own actors, which no credential may yield.
const SYSTEM_PREFIX: &str = "omnigraph:";

/// Who is calling: a name, or nobody when the server is open. Servers get one from
/// [`Credentials::authenticate`](crate::Credentials::authenticate) only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(Option<Arc<str>>);

impl Actor {
    /// The caller of an open server: nobody in particular.
    pub fn nobody() -> Actor {
        Actor(None)
    }

    /// The actor that an embedded user declares: who holds the storage may say who they are.
    /// Blank names and the system's own are refused.
    pub fn declared(name: &str) -> Option<Actor> {
        let name = name.trim();
        let ours = name.starts_with(SYSTEM_PREFIX);
        (!name.is_empty() && !ours).then(|| Actor(Some(name.into())))
    }

    /// The name that is stamped on commits and revisions; absent when the server is open.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("nobody"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_names_cannot_be_declared() {
        assert_eq!(
            Actor::declared(" act-ann ").and_then(|a| a.name().map(str::to_owned)),
            Some("act-ann".into())
        );
        assert_eq!(Actor::declared("omnigraph:recovery"), None);
        assert_eq!(Actor::declared("  "), None);
    }
}
