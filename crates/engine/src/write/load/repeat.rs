//! Loads with an idempotency key: what they are, and what they answer when they are sent again.
//!
//! The fingerprint has two parts: what was asked for, and a hash of the input that is made while it
//! is read. The first is known at once, so that a repeat is answered without reading the input.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{LoadFormat, LoadOptions, LoadOutcome, LoadType};
use crate::error::Result;
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::{BranchName, Commit, Graph};

/// What the answer of a load says beside the commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) branch_created: bool,
    pub(super) nodes: Vec<(String, u64)>,
    pub(super) edges: Vec<(String, u64)>,
    #[serde(skip)]
    pub(super) replayed: bool,
}

/// The fingerprint of a load that comes with a key, under way.
pub(super) struct Fingerprinting {
    keyed: Keyed,
    input: Sha256,
}

impl Fingerprinting {
    /// `None` without a key.
    pub(super) fn begin(branch: &BranchName, options: &LoadOptions) -> Result<Option<Self>> {
        let (format, of) = words(&options.format);
        let keyed = Keyed::of(&options.write, "load", |request| {
            request
                .field(branch.as_str())
                .maybe(options.from.as_ref().map(BranchName::as_str))
                .field(options.mode.as_str())
                .field(if options.permissive {
                    "permissive"
                } else {
                    format
                })
                .maybe(of)
        })?;
        Ok(keyed.map(|keyed| Self {
            keyed,
            input: Sha256::new(),
        }))
    }

    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.input.update(bytes);
    }

    /// The request with its whole fingerprint.
    pub(super) fn finish(self) -> Keyed {
        let fingerprint = format!(
            "{}:{}",
            self.keyed.fingerprint,
            hex::encode(self.input.finalize())
        );
        Keyed {
            fingerprint,
            ..self.keyed
        }
    }

    /// The answer of an earlier load with this key.
    pub(super) async fn answered(
        &self,
        graph: &Graph,
        branch: &BranchName,
        options: &LoadOptions,
    ) -> Result<Option<LoadOutcome>> {
        let beginning = format!("{}:", self.keyed.fingerprint);
        match graph.answered(&self.keyed, &beginning).await? {
            None => Ok(None),
            Some(commit) => {
                let mut answer: Answer = recorded(&commit)?;
                answer.replayed = true;
                Ok(Some(answer.outcome(branch, options, Some(&commit))))
            }
        }
    }
}

/// What the input holds, and the type of its rows.
fn words(format: &LoadFormat) -> (&'static str, Option<&str>) {
    let (word, of) = match format {
        LoadFormat::Ndjson => return ("ndjson", None),
        LoadFormat::Arrow(of) => ("arrow", of),
        LoadFormat::Parquet(of) => ("parquet", of),
    };
    match of {
        LoadType::Node(name) | LoadType::Edge(name) => (word, Some(name)),
    }
}

impl Answer {
    /// The whole answer.
    pub(super) fn outcome(
        self,
        branch: &BranchName,
        options: &LoadOptions,
        commit: Option<&Commit>,
    ) -> LoadOutcome {
        let counts = self.nodes.iter().chain(&self.edges);
        LoadOutcome {
            branch: branch.clone(),
            base_branch: options.from.clone(),
            branch_created: self.branch_created,
            mode: options.mode,
            total: counts.map(|(_, count)| count).sum(),
            nodes: self.nodes,
            edges: self.edges,
            commit: commit.cloned(),
            memory_peak: 0,
            spilled_bytes: 0,
            replayed: self.replayed,
        }
    }
}
