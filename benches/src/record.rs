//! What a case measured.

use std::time::Duration;

use omnigraph_engine::RequestCounts;
use serde::Serialize;

/// One case's figures. Times are in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    case: String,
    n: usize,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Requests>,
    peak_rss_kb: u64,
    /// Memory by the engine's own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    accounted_bytes: Option<u64>,
}

/// Requests to the object store over all runs of a case.
#[derive(Debug, Serialize)]
struct Requests {
    get: u64,
    head: u64,
    put: u64,
    list: u64,
    total: u64,
}

impl Record {
    /// Sorts the times of all runs into percentiles.
    pub(crate) fn new(case: impl Into<String>, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let last = times.len().saturating_sub(1);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index into a short list"
            )]
            let index = (last as f64 * share).round() as usize;
            times.get(index).map_or(0, |time| {
                u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
            })
        };
        Self {
            case: case.into(),
            n: times.len(),
            p50_us: at(0.50),
            p95_us: at(0.95),
            p99_us: at(0.99),
            max_us: at(1.0),
            rows: None,
            requests: None,
            peak_rss_kb: peak_rss_kb(),
            accounted_bytes: None,
        }
    }

    pub(crate) fn p50_us(&self) -> u64 {
        self.p50_us
    }

    /// Memory that other processes took.
    pub(crate) fn memory(mut self, peak_rss_kb: u64, accounted_bytes: u64) -> Self {
        self.peak_rss_kb = peak_rss_kb;
        self.accounted_bytes = Some(accounted_bytes);
        self
    }

    pub(crate) fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    pub(crate) fn requests(mut self, counts: RequestCounts) -> Self {
        self.requests = Some(Requests {
            get: counts.get,
            head: counts.head,
            put: counts.put,
            list: counts.list,
            total: counts.total(),
        });
        self
    }

    /// The record on stdout, a line for people on stderr.
    pub(crate) fn print(&self) -> Result<(), serde_json::Error> {
        println!("{}", serde_json::to_string(self)?);
        let requests = self
            .requests
            .as_ref()
            .map_or_else(String::new, |r| format!("  {} requests", r.total));
        let rows = self
            .rows
            .map_or_else(String::new, |rows| format!("  {rows} rows"));
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let ms = |us: u64| us as f64 / 1000.0;
        eprintln!(
            "{:32} n {:5}  p50 {:9.3} ms  p95 {:9.3} ms  max {:9.3} ms  peak {} MB{rows}{requests}",
            self.case,
            self.n,
            ms(self.p50_us),
            ms(self.p95_us),
            ms(self.max_us),
            self.peak_rss_kb / 1024,
        );
        Ok(())
    }
}

/// The most memory that this process ever had, as the kernel counts it.
pub(crate) fn peak_rss_kb() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
