//! The embeddings interface of OpenAI, which many servers speak.

use omnigraph_engine::EmbedError;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Secret};

/// Where OpenAI answers.
pub(super) const ADDRESS: &str = "https://api.openai.com/v1";
/// Models of OpenAI that refuse to be told a width.
pub(super) const WIDTH_IS_FIXED: [&str; 1] = ["text-embedding-ada-002"];
/// Texts of one request.
const TEXTS_MAX: usize = 32;

pub(super) struct OpenAi {
    client: Client,
    url: Url,
    model: String,
    secret: Option<Secret>,
    /// Whether the model is told how wide vectors shall be. Compatible servers are not: many refuse
    /// the whole request for it.
    may_choose: bool,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    /// Left out by some servers, which answer in the order of the texts.
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl OpenAi {
    pub(super) fn new(
        client: Client,
        model: &str,
        key: Option<&HeaderValue>,
        may_choose: bool,
    ) -> Result<Self, EmbedError> {
        Ok(OpenAi {
            url: client.url(&["embeddings"]),
            client,
            model: model.to_owned(),
            secret: key.map(bearer).transpose()?,
            may_choose,
        })
    }

    pub(super) async fn embed(
        &self,
        texts: &[String],
        width: u32,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TEXTS_MAX) {
            let mut body = json!({"model": self.model, "input": texts, "encoding_format": "float"});
            if self.may_choose {
                body["dimensions"] = width.into();
            }
            let secret = self.secret.as_ref();
            let mut answer: Answer = self.client.post(&self.url, &body, secret).await?;
            answer.data.sort_by_key(|item| item.index);
            let mut numbered = answer.data.iter().enumerate();
            if numbered.any(|(at, item)| item.index.is_some_and(|index| index != at))
                || answer.data.len() != texts.len()
            {
                return Err(self
                    .client
                    .error("gave vectors that do not belong to the texts"));
            }
            vectors.extend(answer.data.into_iter().map(|item| item.embedding));
        }
        Ok(vectors)
    }
}

fn bearer(key: &HeaderValue) -> Result<Secret, EmbedError> {
    let value = [b"Bearer ", key.as_bytes()].concat();
    let unusable = |_| EmbedError("the key of an embedding provider fits no header".to_owned());
    let mut value = HeaderValue::from_bytes(&value).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(Secret {
        header: (AUTHORIZATION, value),
        key: key.clone(),
    })
}
