//! A snapshot: one commit, and everything that a query needs to read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lance::Dataset;
use omnigraph_lang::schema::TypeId;

use super::ids::{BranchName, CommitId};
use super::model::{Commit, TableRef};
use super::schema::SchemaVersion;
use super::tag::TagName;
use crate::error::{Error, Result};
use crate::exec::{TableKey, TableSource};
use crate::table::Tables;

/// What is read: the head of a branch, or one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The newest commit of a branch.
    Branch(BranchName),
    /// One commit.
    Commit(CommitId),
    /// The commit that a tag names.
    Tag(TagName),
    /// The newest commit of a branch's first-parent chain that is not younger.
    AsOf {
        /// The branch.
        branch: BranchName,
        /// Microseconds since the Unix epoch.
        at: i64,
    },
    /// Whatever has this name: a commit, else a branch, else a tag.
    Named(String),
}

impl Default for Target {
    fn default() -> Self {
        Self::Branch(BranchName::main())
    }
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The head is looked up after the request has come.
    #[default]
    Strong,
    /// A head that was looked up so long ago at most will do.
    Bounded(Duration),
}

/// How a snapshot is chosen.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// How fresh it has to be.
    pub consistency: Consistency,
    /// A commit that must be part of the branch's history.
    pub min_commit: Option<CommitId>,
    /// When to stop waiting for that commit.
    pub deadline: Option<Instant>,
}

/// One table of a snapshot, for people and external tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    /// Whether it holds edges.
    pub edge: bool,
    /// The type's name.
    pub type_name: String,
    /// The dataset's directory below the storage root.
    pub path: String,
    /// Its Lance version.
    pub version: u64,
    /// Live rows.
    pub rows: u64,
}

/// One commit, opened for reading. Immutable and cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) commit: Arc<Commit>,
    pub(crate) branch: Option<BranchName>,
    pub(crate) schema: Arc<SchemaVersion>,
    pub(crate) tables: Tables,
}

impl Snapshot {
    /// The commit.
    pub fn commit(&self) -> &Arc<Commit> {
        &self.commit
    }

    /// The commit's id, which is the snapshot's id.
    pub fn commit_id(&self) -> CommitId {
        self.commit.id
    }

    /// The branch that was asked for, if one was.
    pub fn branch(&self) -> Option<&BranchName> {
        self.branch.as_ref()
    }

    /// The schema at this commit.
    pub fn schema(&self) -> &Arc<SchemaVersion> {
        &self.schema
    }

    /// The tables: node types before edge types, by name.
    pub fn datasets(&self) -> Vec<DatasetInfo> {
        let catalog = &self.schema.catalog;
        let nodes = catalog
            .nodes
            .iter()
            .map(|node| (false, &node.name, node.id));
        let edges = catalog.edges.iter().map(|edge| (true, &edge.name, edge.id));
        let mut datasets: Vec<DatasetInfo> = nodes
            .chain(edges)
            .filter_map(|(edge, name, id)| {
                let table = self.commit.tables.get(&id)?;
                Some(DatasetInfo {
                    edge,
                    type_name: name.clone(),
                    path: self.tables.relative_path(&table.path),
                    version: table.version,
                    rows: table.rows,
                })
            })
            .collect();
        datasets.sort_by(|a, b| (a.edge, &a.type_name).cmp(&(b.edge, &b.type_name)));
        datasets
    }

    pub(crate) fn table(&self, id: TypeId) -> Result<&TableRef> {
        self.commit.tables.get(&id).ok_or_else(|| {
            Error::corrupt(format!(
                "commit {} has no table for type {id:?} of its schema",
                self.commit.id
            ))
        })
    }

    /// The dataset of a type at this commit.
    pub(crate) async fn open(&self, id: TypeId) -> Result<Arc<Dataset>> {
        self.tables.open(self.table(id)?).await
    }
}

#[async_trait]
impl TableSource for Snapshot {
    async fn dataset(&self, id: TypeId) -> Result<(TableKey, Arc<Dataset>)> {
        let table = self.table(id)?;
        let key = TableKey::new(&self.tables.relative_path(&table.path), table.version);
        Ok((key, self.tables.open(table).await?))
    }
}
