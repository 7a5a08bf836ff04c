//! A provider's server for tests.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// It answers on a port of its own.
pub(crate) struct Server {
    /// Its base.
    pub(crate) url: String,
    told: Arc<Told>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Answer>>,
    /// Method and path, key, body.
    requests: Mutex<Vec<(String, String, Value)>>,
}

pub(crate) enum Answer {
    Json(Value),
    Status(u16, String),
    /// As above, and when to come again.
    Later(u16, u64),
    Never,
}

impl Server {
    /// Gives these answers, then 404.
    pub(crate) async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let told = Arc::new(Told::default());
        told.answers.lock().extend(answers);
        let router = Router::new().fallback(answer).with_state(told.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Server {
            url: format!("http://{address}/v1"),
            told,
            task,
        }
    }

    /// What it was asked since the last look: method and path, key, body.
    pub(crate) fn requests(&self) -> Vec<(String, String, Value)> {
        std::mem::take(&mut *self.told.requests.lock())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(told): State<Arc<Told>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().expect("ascii"))
    };
    let key = text("authorization").or(text("x-goog-api-key"));
    told.requests.lock().push((
        format!("{method} {uri}"),
        key.unwrap_or_default().to_owned(),
        serde_json::from_slice(&body).expect("json"),
    ));
    let answer = told.answers.lock().pop_front();
    let status = |status: u16| StatusCode::from_u16(status).expect("a status");
    match answer {
        Some(Answer::Json(answer)) => axum::Json(answer).into_response(),
        Some(Answer::Status(code, text)) => (status(code), text).into_response(),
        Some(Answer::Later(code, seconds)) => {
            let when = [(header::RETRY_AFTER, seconds.to_string())];
            (status(code), when, "later").into_response()
        }
        Some(Answer::Never) => std::future::pending().await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// An answer in the way of OpenAI.
pub(crate) fn vectors(vectors: &[&[f32]]) -> Answer {
    let items = vectors.iter().enumerate();
    let items = items.map(|(at, v)| json!({"object": "embedding", "index": at, "embedding": v}));
    Answer::Json(json!({"object": "list", "data": items.collect::<Vec<_>>()}))
}
