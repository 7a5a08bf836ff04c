//! Opening snapshots and running queries on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use omnigraph_lang::query::CheckedQuery;

use super::branch::{Head, living};
use super::{BranchName, Commit, CommitId, Consistency, Graph, ReadOptions, Snapshot, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, Explanation, QueryContext, QueryLimits, QueryResult};
use crate::store::RequestCounts;

/// How long a read waits for the commit that it must see, unless its deadline is shorter.
const MIN_COMMIT_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at the head while waiting.
const MIN_COMMIT_PAUSE: Duration = Duration::from_millis(25);

impl Graph {
    /// Opens a snapshot: one request when the head has not moved.
    pub async fn snapshot(&self, target: &Target, read: &ReadOptions) -> Result<Snapshot> {
        match target {
            Target::Named(text) => {
                let target = self.what_is(text).await?;
                Box::pin(self.snapshot(&target, read)).await
            }
            Target::Commit(_) | Target::Tag(_) | Target::AsOf { .. } => {
                if read.min_commit.is_some() {
                    return Err(Error::invalid(
                        "a minimal commit can be asked for on branches only",
                    ));
                }
                let commit = self.pinned(target).await?;
                self.refuse_old_if_reclaimed(&commit).await?;
                self.open(commit, None).await
            }
            Target::Branch(name) => {
                let head = self.read_head(name, read).await?;
                self.open(head.commit, Some(name.clone())).await
            }
        }
    }

    /// Checks a query against the schema of a snapshot; checked queries are kept.
    pub async fn compile(
        &self,
        snapshot: &Snapshot,
        source: &str,
        name: Option<&str>,
    ) -> Result<Arc<CheckedQuery>> {
        let schema = &snapshot.schema;
        self.plans()
            .compile(&schema.digest, &schema.catalog, source, name)
    }

    /// Runs a read.
    pub async fn query(
        &self,
        snapshot: &Snapshot,
        query: &CheckedQuery,
        params: &serde_json::Map<String, serde_json::Value>,
        limits: &QueryLimits,
    ) -> Result<QueryResult> {
        exec::run(&self.context(snapshot), query, params, limits).await
    }

    /// Requests that this process has made to the store so far, for whatever reason.
    pub fn requests(&self) -> RequestCounts {
        self.store().requests()
    }

    /// The plan of a query; nothing is run.
    pub async fn explain(
        &self,
        snapshot: &Snapshot,
        query: &CheckedQuery,
        params: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Explanation> {
        exec::explain(&self.context(snapshot), query, params).await
    }

    /// Runs a read and measures each operator of its plan.
    pub async fn profile(
        &self,
        snapshot: &Snapshot,
        query: &CheckedQuery,
        params: &serde_json::Map<String, serde_json::Value>,
        limits: &QueryLimits,
    ) -> Result<(Explanation, QueryResult)> {
        exec::profile(&self.context(snapshot), query, params, limits).await
    }

    fn context<'a>(&'a self, snapshot: &'a Snapshot) -> QueryContext<'a> {
        QueryContext {
            catalog: &snapshot.schema.catalog,
            tables: snapshot,
            cache: self.snapshots(),
            embedder: self
                .embedding()
                .map(|embedding| embedding.embedder.as_ref()),
            now: self.store().clock().now_micros() / 1000,
        }
    }

    pub(crate) async fn open(
        &self,
        commit: Arc<Commit>,
        branch: Option<BranchName>,
    ) -> Result<Snapshot> {
        let schema = self.shared.schemas.get(&commit.schema).await?;
        Ok(Snapshot {
            commit,
            branch,
            schema,
            tables: self.tables().clone(),
        })
    }

    async fn read_head(&self, name: &BranchName, read: &ReadOptions) -> Result<Head> {
        let recent = match read.consistency {
            Consistency::Strong => None,
            Consistency::Bounded(age) => self.shared.branches.recent(name, age),
        };
        let head = match recent {
            Some(state) => living(name, state)?,
            None => self.shared.branches.head(name).await?,
        };
        match &read.min_commit {
            None => Ok(head),
            Some(wanted) => self.await_commit(name, head, wanted, read.deadline).await,
        }
    }

    /// Waits until a commit is part of the branch's history.
    async fn await_commit(
        &self,
        name: &BranchName,
        mut head: Head,
        wanted: &CommitId,
        deadline: Option<Instant>,
    ) -> Result<Head> {
        let patience = Instant::now() + MIN_COMMIT_WAIT;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let mut searched: Option<CommitId> = None;
        loop {
            if self
                .reaches(&head.commit, wanted, searched.as_ref())
                .await?
            {
                return Ok(head);
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::Precondition,
                    format!("commit {wanted} is not in the history of branch '{name}'"),
                )
                .with_detail(|detail| {
                    detail.precondition =
                        Some((wanted.to_string(), Some(head.commit.id.to_string())));
                }));
            }
            searched = Some(head.commit.id);
            tokio::time::sleep(MIN_COMMIT_PAUSE).await;
            head = self.shared.branches.head(name).await?;
        }
    }
}
