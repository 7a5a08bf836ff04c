//! A manifest: lines of JSON. The first says what the backup is, then each names an object, the
//! last closes it with a digest of all before, so that a manifest that was cut off or changed is
//! known as such.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::error::{Error, Result};
use crate::graph::collect::{Amount, Record};
use crate::graph::{BranchName, Commit, GraphId, Incarnation};

/// The newest format.
const FORMAT: u32 = 1;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) backup: Ulid,
    pub(super) graph: GraphId,
    pub(super) incarnation: Incarnation,
    pub(super) created_at: i64,
    /// The commit that it holds; with history the head of `main`.
    pub(super) commit: Box<Commit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<Logs>,
}

/// The logs of a backup with history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Logs {
    pub(super) branches: Vec<LogRange>,
    /// Which commits are kept, if any were reclaimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<Record>,
}

/// The entries of one branch that belong to a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LogRange {
    pub(super) branch: BranchName,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) living: bool,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    /// Below the graph's root.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A backup, as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) header: Header,
    /// Sorted by path.
    pub(super) objects: Vec<Object>,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: Seal,
}

#[derive(Serialize, Deserialize)]
struct Seal {
    objects: u64,
    sha256: String,
}

impl Header {
    pub(super) fn new(
        graph: GraphId,
        incarnation: Incarnation,
        created_at: i64,
        commit: Commit,
        history: Option<Logs>,
    ) -> Self {
        Self {
            format: FORMAT,
            backup: Ulid::new(),
            graph,
            incarnation,
            created_at,
            commit: Box::new(commit),
            history,
        }
    }
}

impl Manifest {
    pub(super) fn content(&self) -> Amount {
        let mut content = Amount::default();
        for object in &self.objects {
            content.add(object.bytes);
        }
        content
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        line(&mut bytes, &self.header)?;
        for object in &self.objects {
            line(&mut bytes, object)?;
        }
        let end = End {
            end: Seal {
                objects: self.objects.len() as u64,
                sha256: hex::encode(Sha256::digest(&bytes)),
            },
        };
        line(&mut bytes, &end)?;
        Ok(bytes)
    }

    /// Reads a manifest; `name` is what errors call it.
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupt(format!("backup manifest {name} is damaged"));
        let body = bytes.strip_suffix(b"\n").ok_or_else(damaged)?;
        let cut = body
            .iter()
            .rposition(|byte| *byte == b'\n')
            .ok_or_else(damaged)?;
        let (body, end) = body.split_at(cut + 1);
        let end: End = serde_json::from_slice(end).map_err(|error| damaged().with_source(error))?;
        if end.end.sha256 != hex::encode(Sha256::digest(body)) {
            return Err(damaged());
        }
        let mut lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let first = lines.next().ok_or_else(damaged)?;
        let tag: Tag = serde_json::from_slice(first).map_err(|e| damaged().with_source(e))?;
        if tag.format > FORMAT {
            return Err(Error::corrupt(format!(
                "backup manifest {name} has format {}, this program reads up to {FORMAT}",
                tag.format
            ))
            .with_hint("upgrade this program"));
        }
        let header = serde_json::from_slice(first).map_err(|e| damaged().with_source(e))?;
        let objects: Vec<Object> = lines
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| damaged().with_source(error))?;
        if objects.len() as u64 != end.end.objects {
            return Err(damaged());
        }
        Ok(Self { header, objects })
    }
}

#[derive(Deserialize)]
struct Tag {
    format: u32,
}

fn line<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(&mut *bytes, value).map_err(|error| {
        Error::internal("a backup manifest cannot be written").with_source(error)
    })?;
    bytes.push(b'\n');
    Ok(())
}
