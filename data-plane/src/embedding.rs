//! The embedding provider of a graph: its key is looked up by the replica that loads a revision,
//! by nobody else, and a graph whose key is not there is not served.

mod cache;
mod client;
mod gemini;
mod mock;
mod openai;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use omnigraph_control_plane::serving::{EmbeddingProfile, ProviderKind, ServingEmbedding};
use omnigraph_engine::{EmbedError, Embedder, Embedding, check_vector};
use reqwest::header::HeaderValue;

use self::cache::Cache;
use self::client::Client;
use self::gemini::Gemini;
use self::openai::OpenAi;
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

    fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

/// Values are not shown: some are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// A provider with its key, and the vectors that it gave lately.
pub(crate) struct Provider {
    /// As messages call it.
    name: String,
    profile: EmbeddingProfile,
    key: Option<HeaderValue>,
    service: Service,
    cache: Cache,
}

/// How it is asked.
enum Service {
    Mock,
    OpenAi(OpenAi),
    Gemini(Gemini),
}

/// What a graph embeds with. An earlier provider that is the same is kept, with what it knows.
pub(crate) fn resolve(
    embedding: Option<&ServingEmbedding>,
    environment: &Environment,
    previous: Option<&Arc<Provider>>,
) -> Result<Option<Arc<Provider>>, Trouble> {
    let Some(embedding) = embedding else {
        return Ok(None);
    };
    let key = key(embedding, environment)?;
    if let Some(same) = previous.filter(|previous| previous.is(embedding, key.as_ref())) {
        return Ok(Some(Arc::clone(same)));
    }
    Provider::new(embedding, key).map(|provider| Some(Arc::new(provider)))
}

/// The provider as the engine takes it.
pub(crate) fn lend(provider: &Arc<Provider>, on_write: bool) -> Embedding {
    Embedding {
        embedder: Arc::clone(provider) as Arc<dyn Embedder>,
        on_write,
    }
}

fn key(
    embedding: &ServingEmbedding,
    environment: &Environment,
) -> Result<Option<HeaderValue>, Trouble> {
    let Some(variable) = &embedding.profile.api_key_env else {
        return Ok(None);
    };
    let found = environment.get(variable).ok_or("is not set");
    let key = found.and_then(|value| {
        let mut key = HeaderValue::from_str(&value).map_err(|_| "holds no usable text")?;
        // So that nobody shows it when headers are shown.
        key.set_sensitive(true);
        Ok(key)
    });
    key.map(Some).map_err(|problem| {
        unresolved(format!(
            "embedding provider '{}' takes its key from {variable}, which {problem}",
            embedding.name
        ))
    })
}

fn unresolved(message: String) -> Trouble {
    Trouble {
        code: ReasonCode::EmbeddingProviderUnresolved,
        message,
    }
}

impl Provider {
    fn new(embedding: &ServingEmbedding, key: Option<HeaderValue>) -> Result<Self, Trouble> {
        let name = format!("embedding provider '{}'", embedding.name);
        let profile = embedding.profile.clone();
        let service = Service::new(&name, &profile, key.as_ref());
        let service = service.map_err(|error| unresolved(error.0))?;
        Ok(Provider {
            name,
            profile,
            key,
            service,
            cache: Cache::default(),
        })
    }

    fn is(&self, embedding: &ServingEmbedding, key: Option<&HeaderValue>) -> bool {
        let name = format!("embedding provider '{}'", embedding.name);
        self.name == name && self.profile == embedding.profile && self.key.as_ref() == key
    }

    async fn ask(&self, texts: &[String], width: u32) -> Result<Vec<Vec<f32>>, EmbedError> {
        match &self.service {
            Service::Mock => Ok(texts.iter().map(|text| mock::vector(text, width)).collect()),
            Service::OpenAi(service) => service.embed(texts, width).await,
            Service::Gemini(service) => service.embed(texts, width).await,
        }
    }
}

impl Service {
    fn new(
        name: &str,
        profile: &EmbeddingProfile,
        key: Option<&HeaderValue>,
    ) -> Result<Self, EmbedError> {
        let client = |own_address| {
            let declared = Some(profile.base_url.as_str()).filter(|url| !url.is_empty());
            Client::new(name, declared.unwrap_or(own_address))
        };
        let model = profile.model.as_str();
        Ok(match profile.kind {
            ProviderKind::Mock => Service::Mock,
            ProviderKind::OpenaiCompatible => {
                Service::OpenAi(OpenAi::new(client("")?, model, key, false)?)
            }
            ProviderKind::Openai => {
                let may_choose = !openai::WIDTH_IS_FIXED.contains(&model);
                Service::OpenAi(OpenAi::new(
                    client(openai::ADDRESS)?,
                    model,
                    key,
                    may_choose,
                )?)
            }
            ProviderKind::Gemini => {
                Service::Gemini(Gemini::new(client(gemini::ADDRESS)?, model, key))
            }
        })
    }
}

/// The key is not shown.
impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Embedder for Provider {
    fn name(&self) -> &str {
        &self.name
    }

    /// A mock without a model stands in for any.
    fn model(&self) -> Option<&str> {
        Some(self.profile.model.as_str()).filter(|model| !model.is_empty())
    }

    async fn embed(&self, texts: &[String], width: u32) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors: Vec<Option<Vec<f32>>> = texts
            .iter()
            .map(|text| self.cache.get(text, width))
            .collect();
        let wanted = texts.iter().zip(&vectors);
        let wanted = wanted.filter(|(_, known)| known.is_none());
        let wanted: Vec<String> = wanted.map(|(text, _)| text.clone()).collect();
        if !wanted.is_empty() {
            let made = self.ask(&wanted, width).await?;
            for (text, vector) in wanted.iter().zip(&made) {
                if check_vector(vector, width).is_ok() {
                    self.cache.put(text, width, vector);
                }
            }
            let open = vectors.iter_mut().filter(|known| known.is_none());
            open.zip(made).for_each(|(place, made)| *place = Some(made));
        }
        Ok(vectors.into_iter().flatten().collect())
    }
}
