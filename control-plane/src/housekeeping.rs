//! What the leader does unasked: history that a graph's `retention` does not keep is reclaimed, and
//! deleted graphs are removed. One graph after the other, bounded, and never in anybody's way: a
//! collection that is cut off is carried on by the next one, and one that runs twice does no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use omnigraph_engine::{CollectOptions, GraphRoot, Removal, Retention};

use crate::bundle;
use crate::error::Result;
use crate::lead::Role;
use crate::plane::{ControlPlane, authorship};

/// A new leader has more urgent things to do.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
/// A preparation that is older than this is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// One graph gets so long; the rest is for the next time.
const GRAPH_MAX: Duration = Duration::from_secs(3600);

impl ControlPlane {
    /// Runs until it is dropped.
    pub(crate) async fn keep_house(&self) {
        let every = self.options().housekeeping;
        self.clock().sleep(FIRST_PAUSE.min(every)).await;
        loop {
            if let Err(error) = self.keep_house_once().await {
                tracing::warn!(error = error.chain(), "housekeeping was left out");
            }
            if let Err(error) = self.reclaim_records().await {
                tracing::warn!(
                    error = error.chain(),
                    "ledger and catalog were not reclaimed"
                );
            }
            self.clock().sleep(every).await;
        }
    }

    /// Reclaims ledger and catalog, unless a change runs.
    async fn reclaim_records(&self) -> Result<()> {
        let Role::Leading(leader) = self.shared().role.borrow().clone() else {
            return Ok(());
        };
        let Ok(_turn) = self.shared().turn.try_lock() else {
            return Ok(());
        };
        let done = self.reclaim_history(&leader).await?;
        tracing::info!(
            entries = done.entries,
            objects = done.objects,
            "ledger and catalog were reclaimed"
        );
        Ok(())
    }

    /// One round over all graphs.
    pub(crate) async fn keep_house_once(&self) -> Result<()> {
        let Some(revision) = self.shared().ledger.newest().await? else {
            return Ok(());
        };
        let content = &revision.content;
        let mut applied = BTreeSet::new();
        for (id, graph) in &content.graphs {
            let root = GraphRoot {
                id: id.clone(),
                incarnation: graph.incarnation,
            };
            if let Some(retention) = graph.retention.as_ref().and_then(rules) {
                self.reclaim(&root, retention).await;
            }
            applied.insert(root.path());
        }
        for root in self.engine().graph_roots().await? {
            if !applied.contains(&root.path()) {
                self.end_if_abandoned(&root).await;
                self.remove(&root).await;
            }
        }
        Ok(())
    }

    /// What an apply prepared and no ledger entry ever named holds nothing. After a day nobody can
    /// still be about to name it, and it is ended like a deleted graph.
    async fn end_if_abandoned(&self, root: &GraphRoot) {
        let made = i64::try_from(root.incarnation.0.timestamp_ms()).unwrap_or(i64::MAX);
        let now = self.store().clock().now_micros() / 1_000;
        let patience = i64::try_from(ABANDONED.as_millis()).unwrap_or(i64::MAX);
        if now.saturating_sub(made) < patience {
            return;
        }
        let ended = async {
            let found = self.look_at_root(root.clone()).await?;
            let abandoned = found.is_some_and(|f| f.blank && f.restored_from.is_none());
            if abandoned {
                let by = authorship(None, 0, "prepared and never used");
                self.engine().tombstone_graph(root, &by).await?;
                tracing::info!(graph = %root.id, incarnation = %root.incarnation, "ended");
            }
            Ok::<_, crate::error::Error>(())
        };
        if let Err(error) = ended.await {
            tracing::warn!(graph = %root.id, error = error.chain(), "a graph cannot be read");
        }
    }

    async fn reclaim(&self, root: &GraphRoot, retention: Retention) {
        let graph = match self.graph(root).await {
            Ok(graph) => graph,
            Err(error) => {
                tracing::warn!(graph = %root.id, error = error.chain(), "a graph cannot be read");
                return;
            }
        };
        let options = CollectOptions {
            retention,
            ..CollectOptions::default()
        };
        match self
            .clock()
            .timeout(GRAPH_MAX, Box::pin(graph.collect(&options)))
            .await
        {
            Ok(Ok(done)) => tracing::info!(
                graph = %root.id,
                removed = done.removed.objects,
                bytes = done.removed.bytes,
                condemned = done.condemned.objects,
                "history was reclaimed"
            ),
            Ok(Err(error)) => {
                tracing::warn!(graph = %root.id, %error, "history was not reclaimed");
            }
            Err(_) => {
                tracing::warn!(graph = %root.id, "reclaiming history took too long and goes on later");
            }
        }
    }

    /// Only what was deleted or never finished goes; what the ledger does not know may be a restored
    /// backup.
    async fn remove(&self, root: &GraphRoot) {
        match self
            .clock()
            .timeout(GRAPH_MAX, Box::pin(self.engine().remove_graph(root)))
            .await
        {
            Ok(Ok(Removal::Removed { objects })) => tracing::info!(
                graph = %root.id,
                incarnation = %root.incarnation,
                objects,
                "a deleted graph was removed"
            ),
            Ok(Ok(Removal::TooEarly | Removal::Living)) => {}
            Ok(Err(error)) => {
                tracing::warn!(graph = %root.id, %error, "a deleted graph was not removed");
            }
            Err(_) => {
                tracing::warn!(graph = %root.id, "removing a deleted graph goes on later");
            }
        }
    }
}

/// What `cluster.yaml` says; nothing if it sets no bound.
fn rules(declared: &bundle::Retention) -> Option<Retention> {
    let retention = Retention {
        commits: Some(declared.commits).filter(|commits| *commits > 0),
        age: Some(declared.age_seconds)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    };
    (retention.commits.is_some() || retention.age.is_some()).then_some(retention)
}
