//! A steady stream of reads, to show that a change disturbs nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Readers that go on until they are stopped.
pub struct Readers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Readers {
    /// `per_replica` readers on each gateway ask `find_package` for git, one request after another.
    pub fn start(gateways: &[SocketAddr], per_replica: usize) -> Readers {
        let mut readers = Readers {
            stop: Arc::default(),
            done: Arc::default(),
            failures: Arc::default(),
            tasks: JoinSet::new(),
        };
        for gateway in gateways {
            for _ in 0..per_replica {
                let (stop, done) = (readers.stop.clone(), readers.done.clone());
                let failures = readers.failures.clone();
                let url = format!("http://{gateway}/graphs/debian/queries/find_package");
                readers.tasks.spawn(async move {
                    let client = reqwest::Client::new();
                    while !stop.load(Ordering::Relaxed) {
                        if let Err(failure) = read(&client, &url).await {
                            failures.lock().await.push(failure);
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        readers
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the stream; panics if one request failed.
    pub async fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a reader does not panic");
        }
        let failures = self.failures.lock().await;
        let (failed, total) = (failures.len(), self.answered());
        let shown: Vec<_> = failures.iter().take(5).collect();
        assert!(
            failures.is_empty(),
            "{failed} of {total} reads failed: {shown:#?}"
        );
        total
    }
}

async fn read(client: &reqwest::Client, url: &str) -> Result<(), String> {
    let request = client.post(url).json(&json!({"params": {"name": "git"}}));
    let response = request.send().await.map_err(|e| format!("{url}: {e:?}"))?;
    let status = response.status();
    let body = response.text().await.map_err(|e| format!("{url}: {e:?}"))?;
    let answer: Value =
        serde_json::from_str(&body).map_err(|e| format!("{status}: {e}: {body}"))?;
    match answer["row_count"].as_u64() {
        Some(1) if status.is_success() => Ok(()),
        _ => Err(format!("{status}: {body}")),
    }
}
