//! A plan in a file: its digest and the configuration that it was made of, so that exactly what was
//! looked at is applied, whatever has become of the directory.

use std::collections::BTreeMap;
use std::path::Path;

use omnigraph_proto::control::v1 as pb;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::render;

/// The newest format of the file.
const FORMAT: u32 = 1;
/// No plan is larger.
const BYTES_MAX: u64 = 256 << 20;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedPlan {
    /// Tells the file from any other JSON.
    omnigraph_plan: u32,
    /// For people.
    cluster: String,
    pub(crate) plan_digest: String,
    base_revision: u64,
    pub(crate) targets: Vec<String>,
    /// The plan as `plan --json` shows it, for programs that check it.
    plan: Value,
    /// Path and text of every file of the configuration.
    files: BTreeMap<String, String>,
}

/// What `--plan` names.
#[derive(Debug)]
pub(crate) enum Named {
    Digest(String),
    File(Box<SavedPlan>),
}

impl Named {
    /// A file, or else the digest of a plan or its first eight or more characters.
    pub(crate) fn parse(text: &str) -> Result<Named> {
        if Path::new(text).is_file() {
            return SavedPlan::read(Path::new(text)).map(|plan| Named::File(Box::new(plan)));
        }
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.is_empty() || !hex {
            return Err(
                Error::usage(format!("{text} is no plan file and no digest of a plan"))
                    .with_hint("omnigraphctl plan --out FILE writes one; plan shows the digest"),
            );
        }
        Ok(Named::Digest(text.to_owned()))
    }
}

impl SavedPlan {
    pub(crate) fn of(
        plan: &pb::Plan,
        cluster: &str,
        targets: &[String],
        bundle: &pb::ConfigBundle,
    ) -> Result<SavedPlan> {
        let mut files = BTreeMap::new();
        for file in &bundle.files {
            let text = String::from_utf8(file.content.to_vec())
                .map_err(|_| Error::failed(format!("{} is no UTF-8 text", file.path)))?;
            files.insert(file.path.clone(), text);
        }
        Ok(SavedPlan {
            omnigraph_plan: FORMAT,
            cluster: cluster.to_owned(),
            plan_digest: plan.plan_digest.clone(),
            base_revision: plan.base_revision,
            targets: targets.to_vec(),
            plan: render::json::plan(plan),
            files,
        })
    }

    /// Writes the file; a reader sees the old one or the new one, never half of it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let wrong = |why: String| Error::failed(format!("{}: {why}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(|e| wrong(e.to_string()))?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let beside =
            tempfile::NamedTempFile::new_in(directory).map_err(|e| wrong(e.to_string()))?;
        std::fs::write(beside.path(), text).map_err(|e| wrong(e.to_string()))?;
        beside.persist(path).map_err(|e| wrong(e.to_string()))?;
        Ok(())
    }

    fn read(path: &Path) -> Result<SavedPlan> {
        let shown = path.display();
        let wrong = |why: String| {
            Error::usage(format!("{shown} is no plan: {why}"))
                .with_hint("omnigraphctl plan --out FILE writes one")
        };
        let size = std::fs::metadata(path)
            .map_err(|e| wrong(e.to_string()))?
            .len();
        if size > BYTES_MAX {
            return Err(wrong(format!("it has {size} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let plan: SavedPlan = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if plan.omnigraph_plan > FORMAT {
            let format = plan.omnigraph_plan;
            return Err(wrong(format!("its format {format} is not known"))
                .with_hint("upgrade this program, or plan again with it"));
        }
        Ok(plan)
    }

    /// The configuration that was planned.
    pub(crate) fn bundle(&self) -> pb::ConfigBundle {
        // The file that names all others comes first.
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(path, _)| path.as_str() != "cluster.yaml");
        let files = files.into_iter().map(|(path, text)| pb::ConfigFile {
            path: path.clone(),
            content: text.clone().into_bytes().into(),
        });
        pb::ConfigBundle {
            files: files.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let file = |path: &str, text: &str| pb::ConfigFile {
            path: path.into(),
            content: text.as_bytes().to_vec().into(),
        };
        let bundle = pb::ConfigBundle {
            files: vec![
                file("cluster.yaml", "version: 1\n"),
                file("a.pg", "node A {}\n"),
            ],
        };
        let plan = pb::Plan {
            plan_digest: "0123456789abcdef".into(),
            ..pb::Plan::default()
        };
        let targets = ["graph.a".to_owned()];
        let saved = SavedPlan::of(&plan, "here", &targets, &bundle).unwrap();
        saved.write(&path).unwrap();
        let Named::File(read) = Named::parse(path.to_str().unwrap()).unwrap() else {
            panic!("it is a file");
        };
        assert_eq!(read.bundle(), bundle);
        assert_eq!(
            (read.plan_digest.as_str(), &read.targets[..]),
            ("0123456789abcdef", &targets[..])
        );
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        std::fs::write(&path, "{}").unwrap();
        let error = Named::parse(path.to_str().unwrap()).unwrap_err();
        assert!(error.message.contains("is no plan"), "{}", error.message);
        std::fs::write(&path, "{\"omnigraph_plan\":9,\"cluster\":\"\",\"plan_digest\":\"\",\"base_revision\":0,\"targets\":[],\"plan\":null,\"files\":{}}").unwrap();
        let error = Named::parse(path.to_str().unwrap()).unwrap_err();
        assert!(error.message.contains("format 9"), "{}", error.message);
        assert!(Named::parse("no such file").is_err());
        assert!(matches!(Named::parse("7f3a91c2"), Ok(Named::Digest(_))));
    }
}
