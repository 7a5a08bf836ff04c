//! Providers over a server that a test tells what to answer.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_control_plane::serving::{EmbeddingProfile, ProviderKind, ServingEmbedding};
use omnigraph_engine::Embedder as _;
use serde_json::json;

use super::testing::{Answer, Server, vectors};
use super::{Client, Environment, OpenAi, Provider, resolve};

const KEY: &str = "sk-planted";

fn embedding(kind: ProviderKind, base_url: &str) -> ServingEmbedding {
    ServingEmbedding {
        name: "default".to_owned(),
        profile: EmbeddingProfile {
            kind,
            base_url: base_url.to_owned(),
            model: "m".to_owned(),
            api_key_env: Some("KEY".to_owned()),
        },
        on_write: false,
    }
}

fn environment() -> Environment {
    Environment::new(|name| (name == "KEY").then(|| format!(" {KEY}\n")))
}

fn provider(kind: ProviderKind, base_url: &str) -> Arc<Provider> {
    let resolved = resolve(Some(&embedding(kind, base_url)), &environment(), None);
    resolved.expect("it resolves").expect("a provider")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn compatible_servers_are_asked_in_the_way_of_openai() {
    let swapped =
        json!({"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1.5, 2]}]});
    let server = Server::new([Answer::Json(swapped), vectors(&[&[5.0, 6.0]])]).await;
    // A slash at the end changes nothing.
    let provider = provider(ProviderKind::OpenaiCompatible, &format!("{}/", server.url));
    let got = provider.embed(&texts(&["a", "b"]), 2).await;
    assert_eq!(got, Ok(vec![vec![1.5, 2.0], vec![3.0, 4.0]]));
    let body = json!({"model": "m", "input": ["a", "b"], "encoding_format": "float"});
    let key = format!("Bearer {KEY}");
    assert_eq!(
        server.requests(),
        [("POST /v1/embeddings".to_owned(), key, body)]
    );
    // What is known is not asked for again, and the order is that of the texts.
    let got = provider.embed(&texts(&["b", "c", "a"]), 2).await;
    assert_eq!(
        got,
        Ok(vec![vec![3.0, 4.0], vec![5.0, 6.0], vec![1.5, 2.0]])
    );
    assert_eq!(server.requests()[0].2["input"], json!(["c"]));
    assert_eq!(provider.model(), Some("m"));
    assert_eq!(provider.name(), "embedding provider 'default'");
}

#[tokio::test]
async fn openai_and_gemini_are_told_the_width() {
    let server = Server::new([vectors(&[&[1.0, 2.0]])]).await;
    let openai = provider(ProviderKind::Openai, &server.url);
    openai.embed(&texts(&["a"]), 2).await.expect("vectors");
    assert_eq!(server.requests()[0].2["dimensions"], json!(2));

    let values = |values: &[f32]| Answer::Json(json!({"embedding": {"values": values}}));
    let server = Server::new([values(&[1.0, 2.0])]).await;
    let gemini = provider(ProviderKind::Gemini, &server.url);
    let got = gemini.embed(&texts(&["a"]), 2).await;
    assert_eq!(got, Ok(vec![vec![1.0, 2.0]]));
    let body = json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 2});
    assert_eq!(
        server.requests(),
        [(
            "POST /v1/models/m:embedContent".to_owned(),
            KEY.to_owned(),
            body
        )]
    );
}

#[tokio::test]
async fn large_numbers_of_texts_are_asked_about_in_parts() {
    let numbers: Vec<Vec<f32>> = (0..40_u8).map(|n| vec![f32::from(n), 1.0]).collect();
    let parts = [&numbers[..32], &numbers[32..]];
    let answers = parts.map(|part| vectors(&part.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    let server = Server::new(answers).await;
    let provider = provider(ProviderKind::OpenaiCompatible, &server.url);
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    assert_eq!(provider.embed(&texts, 2).await, Ok(numbers));
    let asked: Vec<usize> = server
        .requests()
        .iter()
        .map(|(_, _, body)| body["input"].as_array().expect("a list").len())
        .collect();
    assert_eq!(asked, [32, 8]);
}

/// What a provider says when it is given these answers, and how often it was asked.
async fn failing(kind: ProviderKind, answers: Vec<Answer>) -> (String, usize) {
    let server = Server::new(answers).await;
    let got = provider(kind, &server.url).embed(&texts(&["a"]), 2).await;
    let error = got.expect_err("no vectors").to_string();
    assert!(!error.contains("planted"), "{error}");
    (error, server.requests().len())
}

#[tokio::test]
async fn refusals_name_provider_and_status_and_never_the_key() {
    let status = |status, text: &str| Answer::Status(status, text.to_owned());
    let long = format!("no\n model {KEY} {}", "é".repeat(200));
    let long_said = format!("no model … {}…", "é".repeat(93));
    let cases = [
        (
            vec![status(401, "Incorrect API key: sk-pl***ted")],
            "answered 401 Unauthorized".to_owned(),
            1,
        ),
        (
            vec![status(400, &long)],
            format!("answered 400 Bad Request: {long_said}"),
            1,
        ),
        (vec![], "answered 404 Not Found".to_owned(), 1),
        (
            vec![status(307, "")],
            "answered 307 Temporary Redirect".to_owned(),
            1,
        ),
        (
            vec![status(500, "oops"), status(503, "still")],
            "answered 503 Service Unavailable: still".to_owned(),
            2,
        ),
        (
            vec![Answer::Later(429, 3600)],
            "answered 429 Too Many Requests: later".to_owned(),
            1,
        ),
        (
            vec![Answer::Json(json!({"data": "none"}))],
            "gave an answer that is not understood (line 1, column 14)".to_owned(),
            1,
        ),
        (
            vec![Answer::Json(json!({"data": [{"embedding": [1, null]}]}))],
            "gave an answer that is not understood (line 1, column 29)".to_owned(),
            1,
        ),
        (
            vec![Answer::Json(json!({"data": []}))],
            "gave vectors that do not belong to the texts".to_owned(),
            1,
        ),
        (
            vec![Answer::Json(
                json!({"data": [{"index": 1, "embedding": [1, 2]}]}),
            )],
            "gave vectors that do not belong to the texts".to_owned(),
            1,
        ),
        (
            vec![status(200, &" ".repeat(super::client::ANSWER_MAX + 1))],
            "gave an answer of more than 16777216 bytes".to_owned(),
            1,
        ),
    ];
    for (answers, expected, asked) in cases {
        let (error, requests) = failing(ProviderKind::OpenaiCompatible, answers).await;
        assert_eq!(error, format!("embedding provider 'default' {expected}"));
        assert_eq!(requests, asked, "{expected}");
    }
    let odd = Answer::Json(json!({"data": []}));
    let (error, _) = failing(ProviderKind::Gemini, vec![odd]).await;
    assert_eq!(
        error,
        "embedding provider 'default' gave an answer that is not understood (line 1, column 11)"
    );
}

#[tokio::test]
async fn what_may_pass_is_tried_once_more() {
    for code in [429, 500, 502] {
        let first = Answer::Status(code, String::new());
        let server = Server::new([first, vectors(&[&[1.0, 2.0]])]).await;
        let provider = provider(ProviderKind::OpenaiCompatible, &server.url);
        let got = provider.embed(&texts(&["a"]), 2).await;
        assert_eq!(got, Ok(vec![vec![1.0, 2.0]]), "{code}");
        assert_eq!(server.requests().len(), 2, "{code}");
    }
    let first = Answer::Later(503, 0);
    let server = Server::new([first, vectors(&[&[1.0, 2.0]])]).await;
    let provider = provider(ProviderKind::OpenaiCompatible, &server.url);
    let got = provider.embed(&texts(&["a"]), 2).await;
    assert_eq!(got, Ok(vec![vec![1.0, 2.0]]));
}

#[tokio::test]
async fn silence_and_absence_are_told_apart() {
    let server = Server::new([Answer::Never]).await;
    let client = Client::new("the provider", &server.url).expect("a client");
    let client = client.with_timeout(Duration::from_millis(300));
    let service = OpenAi::new(client, "m", None, false).expect("a service");
    let got = service.embed(&texts(&["a"]), 2).await;
    assert_eq!(
        got.expect_err("no vectors").0,
        "the provider did not answer within 0.3 s"
    );
    let asked = server.requests();
    assert_eq!(asked.len(), 1, "a second try would take as long");
    assert_eq!(asked[0].1, "", "no key is sent where none is declared");

    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let absent = provider(ProviderKind::OpenaiCompatible, &format!("http://{address}"));
    let got = absent.embed(&texts(&["a"]), 2).await;
    assert_eq!(
        got.expect_err("no vectors").0,
        "embedding provider 'default' cannot be reached"
    );
}

#[tokio::test]
async fn vectors_that_are_of_no_use_are_passed_on_and_not_kept() {
    let server = Server::new([vectors(&[&[1.0]]), vectors(&[&[1.0, 2.0]])]).await;
    let provider = provider(ProviderKind::OpenaiCompatible, &server.url);
    let wrong = provider.embed(&texts(&["a"]), 2).await;
    assert_eq!(wrong, Ok(vec![vec![1.0]]));
    let right = provider.embed(&texts(&["a"]), 2).await;
    assert_eq!(right, Ok(vec![vec![1.0, 2.0]]));
}

#[test]
fn keys_are_looked_up_and_not_shown() {
    let declared = embedding(ProviderKind::Openai, "");
    let first = resolve(Some(&declared), &environment(), None);
    let first = first.expect("it resolves").expect("a provider");
    let shown = format!("{first:?} {:?}", environment());
    assert!(!shown.contains("planted"), "{shown}");
    // The same provider is kept, another is not.
    let again = |declared: &ServingEmbedding, environment: &Environment| {
        let resolved = resolve(Some(declared), environment, Some(&first));
        Arc::ptr_eq(&first, &resolved.expect("it resolves").expect("a provider"))
    };
    assert!(again(&declared, &environment()));
    let rotated = Environment::new(|_| Some("another".to_owned()));
    assert!(!again(&declared, &rotated));
    let mut moved = declared.clone();
    moved.profile.model = "n".to_owned();
    assert!(!again(&moved, &environment()));

    for (value, expected) in [
        (None, "is not set"),
        (Some("  "), "is not set"),
        (Some("a\nb"), "holds no usable text"),
    ] {
        let environment = Environment::new(move |_| value.map(str::to_owned));
        let trouble = resolve(Some(&declared), &environment, None).expect_err("no key");
        assert_eq!(
            trouble.message,
            format!("embedding provider 'default' takes its key from KEY, which {expected}")
        );
    }
    assert!(matches!(resolve(None, &environment(), None), Ok(None)));
}
