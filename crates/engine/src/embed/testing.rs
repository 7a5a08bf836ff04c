//! An embedder that does what a test tells it and remembers what it was asked.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{EmbedError, Embedder, Embedding};

type Answer = dyn Fn(&str) -> Result<Vec<f32>, EmbedError> + Send + Sync;
type Meanwhile = dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync;

/// See the module.
pub(crate) struct Stub {
    model: Option<&'static str>,
    answer: Box<Answer>,
    /// What happens while it works, by number of the call.
    meanwhile: Mutex<Option<Arc<Meanwhile>>>,
    calls: Mutex<Vec<Vec<String>>>,
}

impl Stub {
    /// The number of bytes of a text, and one.
    pub(crate) fn lengths() -> Self {
        Self::new(|text| Ok(vec![text.len() as f32, 1.0]))
    }

    pub(crate) fn new(
        answer: impl Fn(&str) -> Result<Vec<f32>, EmbedError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            model: None,
            answer: Box::new(answer),
            meanwhile: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// The same of a model.
    pub(crate) fn of_model(self, model: &'static str) -> Self {
        Self {
            model: Some(model),
            ..self
        }
    }

    pub(crate) fn meanwhile(
        &self,
        work: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        *self.meanwhile.lock() = Some(Arc::new(work));
    }

    /// The texts of each call since the last look.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.calls.lock())
    }

    pub(crate) fn on_write(self: &Arc<Self>) -> Option<Embedding> {
        Some(Embedding {
            embedder: self.clone(),
            on_write: true,
        })
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stub")
    }
}

#[async_trait]
impl Embedder for Stub {
    fn name(&self) -> &str {
        "the stub"
    }

    fn model(&self) -> Option<&str> {
        self.model
    }

    async fn embed(&self, texts: &[String], _width: u32) -> Result<Vec<Vec<f32>>, EmbedError> {
        let call = {
            let mut calls = self.calls.lock();
            calls.push(texts.to_vec());
            calls.len()
        };
        let meanwhile = self.meanwhile.lock().clone();
        if let Some(meanwhile) = meanwhile {
            meanwhile(call).await;
        }
        texts.iter().map(|text| (self.answer)(text)).collect()
    }
}
