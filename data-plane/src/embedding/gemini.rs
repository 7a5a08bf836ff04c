//! The embeddings interface of Gemini.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use omnigraph_engine::EmbedError;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Secret};

/// Where Gemini answers.
pub(super) const ADDRESS: &str = "https://generativelanguage.googleapis.com/v1beta";
/// Models that refuse to be told a width.
const WIDTH_IS_FIXED: [&str; 1] = ["embedding-001"];
/// Texts that are asked about at the same time: each is a request of its own.
const REQUESTS_MAX: usize = 4;

pub(super) struct Gemini {
    client: Client,
    url: Url,
    secret: Option<Secret>,
    may_choose: bool,
}

#[derive(Deserialize)]
struct Answer {
    embedding: Values,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f32>,
}

impl Gemini {
    pub(super) fn new(client: Client, model: &str, key: Option<&HeaderValue>) -> Self {
        // Names are given with and without their collection.
        let model = model.strip_prefix("models/").unwrap_or(model);
        Gemini {
            url: client.url(&["models", &format!("{model}:embedContent")]),
            client,
            secret: key.map(|key| Secret {
                header: (HeaderName::from_static("x-goog-api-key"), key.clone()),
                key: key.clone(),
            }),
            may_choose: !WIDTH_IS_FIXED.contains(&model),
        }
    }

    pub(super) async fn embed(
        &self,
        texts: &[String],
        width: u32,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let answers = stream::iter(texts.to_vec()).map(|text| async move {
            let mut body = json!({"content": {"parts": [{"text": text}]}});
            if self.may_choose {
                body["outputDimensionality"] = width.into();
            }
            let secret = self.secret.as_ref();
            let answer: Answer = self.client.post(&self.url, &body, secret).await?;
            Ok(answer.embedding.values)
        });
        answers.buffered(REQUESTS_MAX).try_collect().await
    }
}
