//! A stored query over HTTP, one call after the other on one connection.

use std::time::{Duration, Instant};

use crate::graph::Failure;
use crate::record::Record;

/// What is called.
pub(crate) struct Target<'a> {
    pub(crate) url: &'a str,
    pub(crate) graph: &'a str,
    pub(crate) query: &'a str,
    pub(crate) params: serde_json::Value,
}

pub(crate) async fn run(target: &Target<'_>, runs: usize) -> Result<(), Failure> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .build()?;
    let url = format!(
        "{}/graphs/{}/queries/{}",
        target.url.trim_end_matches('/'),
        target.graph,
        target.query
    );
    let body = serde_json::json!({ "params": target.params });
    let call = async || -> Result<u64, Failure> {
        let mut request = client.post(&url).json(&body);
        if let Ok(token) = std::env::var("OMNIGRAPH_BEARER_TOKEN") {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body: serde_json::Value = answer.json().await?;
        if !status.is_success() {
            return Err(format!("{url}: {status}: {}", body["error"]).into());
        }
        Ok(body["row_count"].as_u64().unwrap_or(0))
    };
    let mut rows = 0;
    for _ in 0..runs.min(50) {
        rows = call().await?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        rows = call().await?;
        times.push(started.elapsed());
    }
    Record::new(format!("http/{}", target.query), times)
        .rows(rows)
        .print()?;
    Ok(())
}
