//! Texts as vectors. The engine does not know how that is done: whoever opens a graph lends it an
//! [`Embedder`], and the engine checks what it gives.

use std::sync::Arc;

use async_trait::async_trait;
use omnigraph_lang::schema::Property;
use omnigraph_lang::{Code, Diagnostic};

use crate::error::{Error, ErrorKind, Result};

/// Makes vectors of texts.
#[async_trait]
pub trait Embedder: Send + Sync + std::fmt::Debug {
    /// What messages call it, such as `embedding provider 'default'`.
    fn name(&self) -> &str;

    /// The model that makes the vectors. `None`: it stands in for any model.
    fn model(&self) -> Option<&str>;

    /// A vector for each of the texts, in their order. `width` is how many numbers are wanted; who
    /// cannot choose gives what there is, and the engine refuses it if it does not fit. The future
    /// is dropped when the time of the request is over, and has to have a bound of its own beside
    /// that.
    async fn embed(&self, texts: &[String], width: u32) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why there is no vector: the provider and what is the matter with it, for people. No secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EmbedError(pub String);

/// The embedder of a graph, and what it is used for beside texts in queries.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// It.
    pub embedder: Arc<dyn Embedder>,
    /// Whether mutations compute the vectors that they are not given.
    pub on_write: bool,
}

/// Whether a vector can be used: what is wrong with it, for people.
///
/// # Errors
/// If its width is another, if a number is not finite, or if all are zero: a vector without
/// direction is as near to everything.
pub fn check_vector(vector: &[f32], width: u32) -> std::result::Result<(), String> {
    if vector.len() != width as usize {
        return Err(format!("{} numbers", vector.len()));
    }
    if vector.iter().any(|x| !x.is_finite()) {
        return Err("numbers that are not finite".to_owned());
    }
    if vector.iter().all(|x| *x == 0.0) {
        return Err("zeros only".to_owned());
    }
    Ok(())
}

/// The vectors of texts, checked.
///
/// # Errors
/// R444 if the embedder fails or miscounts, R446 for vectors that cannot be used.
pub(crate) async fn vectors(
    embedder: &dyn Embedder,
    texts: &[String],
    width: u32,
) -> Result<Vec<Vec<f32>>> {
    let vectors = embedder.embed(texts, width).await;
    let vectors = vectors.map_err(|error| refused(Code::R444, error.0))?;
    let name = embedder.name();
    if vectors.len() != texts.len() {
        let (got, wanted) = (vectors.len(), texts.len());
        let message = format!("{name} gave {got} vectors for {wanted} texts");
        return Err(refused(Code::R444, message));
    }
    for vector in &vectors {
        check_vector(vector, width).map_err(|found| {
            let message = format!("{name} gave {found}; expected {width} finite numbers");
            refused(Code::R446, message)
        })?;
    }
    Ok(vectors)
}

/// The embedder must use the model that the stored vectors were made with.
///
/// # Errors
/// R445.
pub(crate) fn check_model(
    embedder: &dyn Embedder,
    type_name: &str,
    property: &Property,
) -> Result<()> {
    let recorded = property.embed.as_ref().and_then(|e| e.model.as_deref());
    match (recorded, embedder.model()) {
        (Some(recorded), Some(model)) if recorded != model => {
            let message = format!(
                "the vectors of {type_name}.{} are of model \"{recorded}\", {} uses \"{model}\"",
                property.name,
                embedder.name()
            );
            Err(refused(Code::R445, message))
        }
        _ => Ok(()),
    }
}

/// R444 for a graph that nobody lent an embedder.
pub(crate) fn not_configured() -> Error {
    let message = "a text cannot be made a vector: no embedding provider is configured for this graph; declare one below providers.embedding in cluster.yaml and name it in the graph's embedding_provider, or pass the vector itself";
    refused(Code::R444, message)
}

fn refused(code: Code, message: impl Into<String>) -> Error {
    Error::diagnostics(ErrorKind::Invalid, vec![Diagnostic::error(code, message)])
}

#[cfg(test)]
pub(crate) mod testing;
