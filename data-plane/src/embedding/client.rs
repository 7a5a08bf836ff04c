//! Requests to a provider: bounded in time and size, tried again once, and without a word of the key.

use std::time::Duration;

use omnigraph_engine::EmbedError;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One try, answer included. The time of the caller's request may end before.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Before the second try, unless the provider says how long.
const PAUSE: Duration = Duration::from_millis(250);
/// Who wants to be left alone for longer is not asked again.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer.
pub(super) const ANSWER_MAX: usize = 16 << 20;
/// Bytes of the text of an error that are passed on.
const EXCERPT_MAX: usize = 200;

/// A way to one provider.
pub(super) struct Client {
    http: reqwest::Client,
    /// As messages call the provider.
    name: String,
    base: Url,
    timeout: Duration,
}

/// A header with the key, and the key alone, which answers must not tell on.
pub(super) struct Secret {
    pub(super) header: (HeaderName, HeaderValue),
    pub(super) key: HeaderValue,
}

/// Why a try failed.
struct Failure {
    message: String,
    /// How long to wait before another try; `None`: it would not help.
    again: Option<Duration>,
}

impl Client {
    pub(super) fn new(name: &str, base: &str) -> Result<Self, EmbedError> {
        let error = |problem: &str| EmbedError(format!("{name} cannot be used: {problem}"));
        let base = Url::parse(base).map_err(|_| error("base_url is not an address"))?;
        if base.cannot_be_a_base() {
            return Err(error("base_url is not an address"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A key goes to the declared address and to no other.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("omnigraph/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| error("the TLS roots of this machine cannot be read"))?;
        Ok(Client {
            http,
            name: name.to_owned(),
            base,
            timeout: TIMEOUT,
        })
    }

    #[cfg(test)]
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Client { timeout, ..self }
    }

    /// An address below that of the provider.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends JSON and reads JSON. Once more where that may help: the answer depends on nothing but
    /// what is sent.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        body: &Value,
        secret: Option<&Secret>,
    ) -> Result<T, EmbedError> {
        let first = match self.attempt(url, body, secret).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let Some(pause) = first.again else {
            return Err(EmbedError(first.message));
        };
        tokio::time::sleep(pause).await;
        let second = self.attempt(url, body, secret).await;
        second.map_err(|failure| EmbedError(failure.message))
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        url: &Url,
        body: &Value,
        secret: Option<&Secret>,
    ) -> Result<T, Failure> {
        let mut request = self.http.post(url.clone()).timeout(self.timeout).json(body);
        if let Some(Secret { header, .. }) = secret {
            request = request.header(header.0.clone(), header.1.clone());
        }
        let sent = request.send().await;
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let bytes = self.content(&mut response).await?;
        if !response.status().is_success() {
            return Err(self.refused(&response, &bytes, secret));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            self.failure(format!(
                "gave an answer that is not understood (line {line}, column {column})"
            ))
        })
    }

    async fn content(&self, response: &mut Response) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.unreachable(&error))? else {
                return Ok(content);
            };
            if content.len() + chunk.len() > ANSWER_MAX {
                return Err(self.failure(format!("gave an answer of more than {ANSWER_MAX} bytes")));
            }
            content.extend_from_slice(&chunk);
        }
    }

    /// An answer that is none, or one that breaks off. Details go to the log: they name addresses.
    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        tracing::warn!(provider = self.name, error = ?error, "an embedding provider failed");
        if error.is_timeout() && !error.is_connect() {
            let seconds = self.timeout.as_secs_f64();
            return self.failure(format!("did not answer within {seconds} s"));
        }
        let message = match error.is_connect() {
            true => "cannot be reached",
            false => "broke off its answer",
        };
        Failure {
            again: Some(PAUSE),
            ..self.failure(message)
        }
    }

    fn refused(&self, response: &Response, content: &[u8], secret: Option<&Secret>) -> Failure {
        let status = response.status();
        // What is said about a key may repeat it, or a part of it.
        let about_key = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
        let said = match about_key {
            true => String::new(),
            false => excerpt(content, secret),
        };
        let message = match said.as_str() {
            "" => format!("answered {status}"),
            said => format!("answered {status}: {said}"),
        };
        let transient = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let wanted = response.headers().get(RETRY_AFTER);
        let wanted = wanted.and_then(|value| value.to_str().ok()?.parse().ok());
        let pause = wanted.map_or(PAUSE, Duration::from_secs);
        Failure {
            again: Some(pause).filter(|pause| transient && *pause <= PAUSE_MAX),
            ..self.failure(message)
        }
    }

    /// What is wrong with an answer.
    pub(super) fn error(&self, problem: &str) -> EmbedError {
        EmbedError(self.failure(problem).message)
    }

    fn failure(&self, message: impl std::fmt::Display) -> Failure {
        Failure {
            message: format!("{} {message}", self.name),
            again: None,
        }
    }
}

/// The beginning of a text, on one line, without the key.
fn excerpt(content: &[u8], secret: Option<&Secret>) -> String {
    let mut text = String::from_utf8_lossy(content).into_owned();
    if let Some(key) = secret.and_then(|secret| secret.key.to_str().ok()) {
        text = text.replace(key, "…");
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.len() > EXCERPT_MAX {
        true => format!("{}…", &text[..text.floor_char_boundary(EXCERPT_MAX)]),
        false => text,
    }
}
