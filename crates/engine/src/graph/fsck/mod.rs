//! A full consistency check of one graph: its logs, its commits, the tables that they name, the
//! files that the tables name, and, on request, every row against the schema. Reads only, and
//! nothing from any cache.
//!
//! | file | subject |
//! |---|---|
//! | `logs` | entries of the branch logs: no holes, legal order, parents that exist |
//! | `formats` | descriptions and schemas: what has which stored format |
//! | `tables` | table versions and their files |
//! | `rows` | rows against the schema: shapes, keys, references, cardinality |

mod formats;
mod logs;
mod rows;
mod tables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;

use super::{BranchName, Commit, CommitId, Graph};
use crate::engine::{Engine, EngineOptions};
use crate::error::{Error, ErrorKind, Result};

/// Findings that one report lists; all are counted.
const LISTED: usize = 1000;

/// How far a check goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Opens the tables of every retained commit, not of the heads alone.
    pub history: bool,
    /// Reads every row of the heads and checks it against the schema.
    pub rows: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FsckSeverity {
    /// Something that a commit promised is missing or contradicts itself.
    Error,
    /// A hint is wrong; nothing that decides is touched.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsckFinding {
    /// How bad it is.
    pub severity: FsckSeverity,
    /// The branch entry, commit, type or object.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// What a check has seen and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// The first thousand findings.
    pub findings: Vec<FsckFinding>,
    /// All errors.
    pub errors: u64,
    /// All warnings.
    pub warnings: u64,
    /// Branch names with a log, ended ones included.
    pub branches: u64,
    /// Log entries read.
    pub entries: u64,
    /// Commits that are retained.
    pub commits: u64,
    /// Table versions opened.
    pub table_versions: u64,
    /// Rows checked.
    pub rows: u64,
    /// Objects of the graph.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects below `tables/` that no opened version names: leftovers of writers that died, or
    /// history that was not opened. Collection removes what nothing needs.
    pub unreferenced_objects: u64,
    /// Their bytes.
    pub unreferenced_bytes: u64,
    /// What has which stored format.
    pub formats: Vec<FsckFormat>,
}

/// How many objects of one kind have one stored format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsckFormat {
    /// `branch entry`, `schema` or `graph description`.
    pub kind: &'static str,
    /// Their format.
    pub format: u64,
    /// The format that this release writes.
    pub newest: u64,
    /// How many they are.
    pub objects: u64,
}

impl FsckReport {
    /// Whether nothing is broken; warnings do not count.
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }

    /// Counts an object of a stored format.
    fn formatted(&mut self, kind: &'static str, format: u64, newest: u64) {
        let mut formats = self.formats.iter_mut();
        match formats.find(|found| found.kind == kind && found.format == format) {
            Some(found) => found.objects += 1,
            None => self.formats.push(FsckFormat {
                kind,
                format,
                newest,
                objects: 1,
            }),
        }
    }

    fn error(&mut self, place: impl Into<String>, message: impl Into<String>, remedy: &str) {
        self.errors += 1;
        self.note(FsckSeverity::Error, place.into(), message.into(), remedy);
    }

    fn warning(&mut self, place: impl Into<String>, message: impl Into<String>, remedy: &str) {
        self.warnings += 1;
        self.note(FsckSeverity::Warning, place.into(), message.into(), remedy);
    }

    fn note(&mut self, severity: FsckSeverity, place: String, message: String, remedy: &str) {
        if self.findings.len() < LISTED {
            self.findings.push(FsckFinding {
                severity,
                place,
                message,
                remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
            });
        }
    }
}

/// What the logs say, as far as later checks need it.
#[derive(Default)]
struct Survey {
    /// Commits that the logs have.
    commits: BTreeMap<CommitId, Arc<Commit>>,
    /// Those whose tables are kept: an entry may outlive what its commit names.
    retained: Vec<Arc<Commit>>,
    /// Heads of living branches.
    heads: Vec<(BranchName, Arc<Commit>)>,
}

impl Engine {
    /// Checks a graph through fresh handles, so that nothing comes from a cache.
    pub async fn fsck(&self, root: &super::GraphRoot, options: &FsckOptions) -> Result<FsckReport> {
        let fresh = self.without_caches();
        let graph = fresh.open_graph(root).await?;
        graph.check(options).await
    }
}

impl Graph {
    /// Checks this graph through fresh handles, so that nothing comes from a cache.
    pub async fn fsck(&self, options: &FsckOptions) -> Result<FsckReport> {
        let engine = Engine::new(self.store().clone(), EngineOptions::for_checks());
        engine.open_graph(self.root()).await?.check(options).await
    }

    async fn check(&self, options: &FsckOptions) -> Result<FsckReport> {
        let mut report = FsckReport::default();
        let mut survey = self.check_logs(&mut report).await?;
        self.find_retained(&mut survey, &mut report).await?;
        report.commits = survey.retained.len() as u64;
        // Listed after the logs were read: what an entry names was there before the entry.
        let objects = self.inventory().await?;
        report.objects = objects.len() as u64;
        report.bytes = objects.values().sum();
        self.check_formats(&objects, &mut report).await?;
        Box::pin(self.check_tables(&survey, &objects, options, &mut report)).await?;
        if options.rows {
            for (branch, head) in &survey.heads {
                Box::pin(self.check_rows(branch, head, &mut report)).await?;
            }
        }
        Ok(report)
    }

    /// What was reclaimed counts as gone from the moment that it is condemned.
    async fn find_retained(&self, survey: &mut Survey, report: &mut FsckReport) -> Result<()> {
        let record = match self.shared.collection.look().await {
            Ok(known) => known.record,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                let place = "the record of collections";
                report.error(place, error.message(), "restore the graph from a backup");
                None
            }
            Err(error) => return Err(error),
        };
        let heads: BTreeSet<CommitId> = survey.heads.iter().map(|(_, head)| head.id).collect();
        let is_kept = |commit: &Arc<Commit>| match &record {
            Some(record) => heads.contains(&commit.id) || record.retains(commit),
            None => true,
        };
        let commits = survey.commits.values();
        survey.retained = commits.filter(|commit| is_kept(commit)).cloned().collect();
        Ok(())
    }

    /// Every object of the graph and its size.
    async fn inventory(&self) -> Result<BTreeMap<Path, u64>> {
        let prefix = self.store().path(&self.shared.root.path());
        self.store()
            .object_store()
            .list(Some(&prefix))
            .map_ok(|object| (object.location, object.size))
            .map_err(Error::from)
            .try_collect()
            .await
    }
}
