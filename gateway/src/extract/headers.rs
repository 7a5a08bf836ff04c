//! Request headers with rules of their own.

use std::time::Duration;

use http::HeaderMap;
use omnigraph_proto::common::v1::{ReadOptions, WriteOptions};

use super::call::Call;
use crate::errors::ApiError;

const IF_GRAPH_COMMIT: &str = "omnigraph-if-graph-commit";
const MIN_COMMIT: &str = "omnigraph-min-commit";

/// `Omnigraph-Timeout-Ms`.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    const NAME: &str = "omnigraph-timeout-ms";
    let Some(text) = single(headers, NAME)? else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(ms @ 1..=3_600_000) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(ApiError::bad_request(
            "Omnigraph-Timeout-Ms must be a number from 1 to 3600000",
        )),
    }
}

impl Call {
    /// `Omnigraph-Min-Commit` and `Omnigraph-Consistency`. `pinned`: the target is a snapshot.
    pub(crate) fn read_options(&self, pinned: bool) -> Result<ReadOptions, ApiError> {
        let min_commit = commit_id(self.headers(), MIN_COMMIT, "Omnigraph-Min-Commit")?;
        if pinned && min_commit.is_some() {
            return Err(ApiError::bad_request(
                "Omnigraph-Min-Commit needs a branch: a snapshot does not move",
            ));
        }
        Ok(ReadOptions {
            min_commit_id: min_commit.unwrap_or_default(),
            max_staleness_ms: consistency(self.headers())?,
        })
    }

    /// `Omnigraph-Max-Rows`; 0: no limit.
    pub(crate) fn max_rows(&self) -> Result<u64, ApiError> {
        let Some(text) = single(self.headers(), "omnigraph-max-rows")? else {
            return Ok(0);
        };
        match text.parse::<u64>() {
            Ok(rows) if rows > 0 => Ok(rows),
            _ => Err(ApiError::bad_request(
                "Omnigraph-Max-Rows must be a positive number",
            )),
        }
    }

    /// Options of an unconditional write. `conditional` is the route that takes the condition,
    /// where there is one.
    pub(crate) fn unconditional(
        &self,
        message: Option<String>,
        conditional: &str,
    ) -> Result<WriteOptions, ApiError> {
        if self.headers().contains_key(IF_GRAPH_COMMIT) {
            return Err(ApiError::bad_request(format!(
                "Omnigraph-If-Graph-Commit is not taken here: send it to {conditional}"
            )));
        }
        self.write_options(message, None)
    }

    /// Options of a write that needs its condition.
    pub(crate) fn conditional(&self, message: Option<String>) -> Result<WriteOptions, ApiError> {
        let condition = self.condition()?;
        if condition.is_none() {
            return Err(ApiError::bad_request(
                "the header Omnigraph-If-Graph-Commit is missing: name the expected head commit",
            ));
        }
        self.write_options(message, condition)
    }

    /// Options of a write that may have a condition.
    pub(crate) fn maybe_conditional(
        &self,
        message: Option<String>,
    ) -> Result<WriteOptions, ApiError> {
        self.write_options(message, self.condition()?)
    }

    /// Options of a write whose route knows no condition.
    pub(crate) fn plain_write(&self, message: Option<String>) -> Result<WriteOptions, ApiError> {
        self.write_options(message, None)
    }

    /// The raw commit id of `Omnigraph-If-Graph-Commit`.
    pub(crate) fn condition(&self) -> Result<Option<String>, ApiError> {
        commit_id(self.headers(), IF_GRAPH_COMMIT, "Omnigraph-If-Graph-Commit")
    }

    fn write_options(
        &self,
        message: Option<String>,
        if_head: Option<String>,
    ) -> Result<WriteOptions, ApiError> {
        Ok(WriteOptions {
            if_head_commit: if_head.unwrap_or_default(),
            idempotency_key: idempotency_key(self.headers())?.unwrap_or_default(),
            message: message.unwrap_or_default(),
        })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(key) = single(headers, "idempotency-key")? else {
        return Ok(None);
    };
    let visible = key.bytes().all(|c| (0x21..=0x7e).contains(&c));
    if visible && (1..=255).contains(&key.len()) {
        return Ok(Some(key.to_owned()));
    }
    Err(ApiError::bad_request(
        "Idempotency-Key must be 1 to 255 visible ascii characters",
    ))
}

fn consistency(headers: &HeaderMap) -> Result<Option<u32>, ApiError> {
    let Some(text) = single(headers, "omnigraph-consistency")? else {
        return Ok(None);
    };
    if text == "strong" {
        return Ok(None);
    }
    match text.strip_prefix("bounded=").map(str::parse::<u32>) {
        Some(Ok(ms)) => Ok(Some(ms)),
        _ => Err(ApiError::bad_request(
            "Omnigraph-Consistency must be 'strong' or 'bounded=<milliseconds>'",
        )),
    }
}

/// One raw commit id: no list, no quotes, no weak mark, no `*`.
fn commit_id(
    headers: &HeaderMap,
    name: &'static str,
    shown: &str,
) -> Result<Option<String>, ApiError> {
    let Some(text) = single(headers, name)? else {
        return Ok(None);
    };
    let well_formed = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if well_formed {
        return Ok(Some(text.to_owned()));
    }
    Err(ApiError::bad_request(format!(
        "{shown} must be one commit id, without quotes, lists or '*'"
    )))
}

/// The only value of a header, trimmed.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::bad_request(format!(
            "the header {name} is there more than once"
        )));
    }
    let text = value.to_str().map_err(|_| {
        ApiError::bad_request(format!("the header {name} is not visible ascii text"))
    })?;
    Ok(Some(text.trim()))
}
