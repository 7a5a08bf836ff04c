//! The embedding provider of a graph: its key is looked up by the replica that loads a revision,
//! by nobody else, and a graph whose key is not there is not served.

use std::sync::Arc;

use omnigraph_control_plane::serving::ServingEmbedding;

use crate::state::{ReasonCode, Trouble};

type LookUp = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where variables are looked up.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

impl Environment {
    /// The variables of this process.
    pub fn process() -> Self {
        Environment(Arc::new(|name| std::env::var(name).ok()))
    }

    /// Variables that `look_up` knows.
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Environment(Arc::new(look_up))
    }

    fn has(&self, name: &str) -> bool {
        (self.0)(name).is_some_and(|value| !value.trim().is_empty())
    }
}

/// Values are not shown: some are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// Whether the provider of a graph can be used from here.
pub(crate) fn check(
    embedding: Option<&ServingEmbedding>,
    environment: &Environment,
) -> Result<(), Trouble> {
    let Some(embedding) = embedding else {
        return Ok(());
    };
    match &embedding.profile.api_key_env {
        Some(variable) if !environment.has(variable) => Err(Trouble {
            code: ReasonCode::EmbeddingProviderUnresolved,
            message: format!(
                "embedding provider '{}' takes its key from {variable}, which is not set",
                embedding.name
            ),
        }),
        _ => Ok(()),
    }
}
