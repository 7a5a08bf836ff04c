//! Stored formats of the objects of a graph, beside its logs (which have a codec of their own).
//!
//! A release reads every format that was ever released and writes the newest, so an upgrade
//! rewrites nothing: what is written from then on is of the new format. An object of a format that
//! only a newer release knows is refused by name; nothing is guessed.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::model::{GraphFile, SchemaFile};
use crate::error::{Error, Result, UPGRADE};

/// The part that every format has.
#[derive(Deserialize)]
struct Tag {
    format: u64,
}

/// The format that is written.
pub(crate) const NEWEST: u64 = 1;

/// The format that an object names, if it is one that names any.
pub(crate) fn tag(bytes: &[u8]) -> Option<u64> {
    let tag: Tag = serde_json::from_slice(bytes).ok()?;
    Some(tag.format)
}

/// An object that says its format.
pub(crate) trait Stored: DeserializeOwned {
    /// What it is called in messages.
    const NAME: &'static str;

    /// Reads the bytes of one format. `None`: this release does not know the format.
    fn of_format(format: u64, bytes: &[u8]) -> Option<serde_json::Result<Self>> {
        match format {
            1 => Some(serde_json::from_slice(bytes)),
            _ => None,
        }
    }
}

impl Stored for GraphFile {
    const NAME: &'static str = "graph description";
}

impl Stored for SchemaFile {
    const NAME: &'static str = "schema";
}

/// Reads an object of any released format.
///
/// # Errors
/// `Corrupt`, naming the object: it is damaged, or of a format that only a newer release knows.
pub(crate) fn read<T: Stored>(path: &str, bytes: &[u8]) -> Result<T> {
    let damaged =
        |error| Error::corrupt(format!("{} {path} cannot be read", T::NAME)).with_source(error);
    let tag: Tag = serde_json::from_slice(bytes).map_err(damaged)?;
    match T::of_format(tag.format, bytes) {
        Some(read) => read.map_err(damaged),
        None => Err(Error::corrupt(format!(
            "{} {path} has format {}, which this program cannot read",
            T::NAME,
            tag.format
        ))
        .with_hint(UPGRADE)),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::error::ErrorKind;
    use crate::graph::model::{BranchEntry, BranchEvent, CommitKind, STORAGE_FORMAT};
    use crate::graph::schema::SchemaVersion;

    const GRAPH_1: &str = include_str!("golden/graph-1.json");
    const SCHEMA_1: &str = include_str!("golden/schema-1.json");
    const BRANCH_1: &str = include_str!("golden/branch-1.ndjson");

    /// The newest format is written as it is read.
    fn same<T: Serialize>(value: &T, text: &str) {
        let written = serde_json::to_value(value).unwrap();
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(written, expected);
    }

    #[test]
    fn graph_descriptions_of_every_format() {
        let file: GraphFile = read("graph.json", GRAPH_1.as_bytes()).unwrap();
        assert_eq!(file.graph_id.as_str(), "debian");
        assert_eq!(file.restored_from.as_deref(), Some("s3://backups/debian"));
        assert_eq!(file.format, STORAGE_FORMAT);
        same(&file, GRAPH_1);
    }

    #[test]
    fn schemas_of_every_format() {
        let file: SchemaFile = read("schema/x.json", SCHEMA_1.as_bytes()).unwrap();
        assert_eq!(file.catalog.nodes[0].name, "Package");
        same(&file, SCHEMA_1);
        // The name of a schema object is the digest of its bytes: they must not change by themselves.
        let (version, bytes) = SchemaVersion::new(&file.source, file.catalog.clone()).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), SCHEMA_1.trim_end());
        let parsed = omnigraph_lang::schema::parse_schema(&file.source)
            .unwrap()
            .0;
        assert_eq!(parsed, version.catalog);
    }

    #[test]
    fn branch_entries_of_every_format() {
        let mut seen = Vec::new();
        for line in BRANCH_1.lines() {
            let entry: BranchEntry = serde_json::from_str(line).unwrap();
            same(&entry, line);
            seen.push(match entry.event {
                BranchEvent::Created { .. } => "created".to_owned(),
                BranchEvent::Commit { commit, .. } => {
                    assert!(commit.tables.values().all(|table| table.version >= 1 << 63));
                    let kind = serde_json::to_value(commit.kind).unwrap();
                    if commit.kind == CommitKind::Fence {
                        assert!(commit.fences.is_some());
                    }
                    kind.as_str().unwrap().to_owned()
                }
                BranchEvent::Swept { .. } => "swept".to_owned(),
                BranchEvent::Void => "void".to_owned(),
                BranchEvent::Deleted { .. } => "deleted".to_owned(),
            });
        }
        let expected = [
            "created", "created", "mutate", "schema", "fence", "swept", "swept", "void", "deleted",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn newer_formats_are_refused_by_name() {
        let newer = br#"{"format":2,"shape":"unknown"}"#;
        let graph = read::<GraphFile>("graphs/g.omni/x/graph.json", newer).unwrap_err();
        let schema = read::<SchemaFile>("graphs/g.omni/x/schema/y.json", newer).unwrap_err();
        for (error, object) in [
            (graph, "graph description graphs/g.omni/x/graph.json"),
            (schema, "schema graphs/g.omni/x/schema/y.json"),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert_eq!(
                error.message(),
                format!("{object} has format 2, which this program cannot read")
            );
            assert_eq!(error.detail().hint.as_deref(), Some(UPGRADE));
        }
        assert!(read::<GraphFile>("graph.json", b"{}").is_err());
    }
}
