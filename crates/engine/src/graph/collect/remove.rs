//! Removing a graph as a whole, some time after it was deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore as _};

use super::condemn::{below, micros, store_time};
use super::history::states;
use crate::engine::{Authorship, Engine};
use crate::error::Result;
use crate::graph::branch::BranchState;
use crate::graph::{BranchName, Graph, GraphId, GraphRoot, Incarnation};

/// A deleted graph stays for so long, so that requests that run on it can end.
const AFTERLIFE: Duration = Duration::from_secs(600);
/// What was never finished is given so long.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);

/// What became of a graph that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Removed {
        /// The objects that were deleted.
        objects: u64,
    },
    /// It was deleted too short a time ago.
    TooEarly,
    /// It lives.
    Living,
}

impl Engine {
    /// Every graph incarnation that lies on the storage root, published or not.
    pub async fn graph_roots(&self) -> Result<Vec<GraphRoot>> {
        let mut roots = Vec::new();
        let objects = self.store().object_store();
        let graphs = objects
            .list_with_delimiter(Some(&self.store().path("graphs")))
            .await?;
        for graph in graphs.common_prefixes {
            let id = graph.filename().and_then(|name| name.strip_suffix(".omni"));
            let Some(Ok(id)) = id.map(GraphId::parse) else {
                continue;
            };
            roots.extend(self.graph_incarnations(&id).await?);
        }
        Ok(roots)
    }

    /// The incarnations of one graph that lie on the storage root, published or not.
    pub async fn graph_incarnations(&self, id: &GraphId) -> Result<Vec<GraphRoot>> {
        let directory = self.store().path(&format!("graphs/{id}.omni"));
        let objects = self.store().object_store();
        let listed = objects.list_with_delimiter(Some(&directory)).await?;
        let names = listed
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename());
        let incarnations = names.filter_map(|name| Incarnation::parse(name).ok());
        Ok(incarnations
            .map(|incarnation| GraphRoot {
                id: id.clone(),
                incarnation,
            })
            .collect())
    }

    /// Removes a graph that was deleted at least ten minutes ago, or whose preparation or
    /// restoration died at least a day ago. One that lives is left alone.
    pub async fn remove_graph(&self, root: &GraphRoot) -> Result<Removal> {
        let prefix = self.store().path(&root.path());
        let objects: Vec<ObjectMeta> = self
            .store()
            .object_store()
            .list(Some(&prefix))
            .try_collect()
            .await?;
        let in_directory = |object: &ObjectMeta, name: &str| {
            below(self.store(), &root.path(), &object.location)
                .is_some_and(|path| path.split('/').next() == Some(name))
        };
        let finished = objects
            .iter()
            .any(|object| in_directory(object, "graph.json"));
        let logs: Vec<&ObjectMeta> = objects
            .iter()
            .filter(|object| in_directory(object, "branches"))
            .collect();
        let graph = Graph::new(self.shared().clone(), root.clone());
        let main = graph.shared.branches.state(&BranchName::main()).await?;
        let (relevant, patience) = match main {
            BranchState::Living(_) if finished => return Ok(Removal::Living),
            BranchState::Deleted { .. } => {
                // A branch whose marker was lost may have been missed.
                end_missed(&graph).await?;
                (logs.clone(), AFTERLIFE)
            }
            BranchState::Absent if finished => return Ok(Removal::Living),
            BranchState::Living(_) | BranchState::Absent => (objects.iter().collect(), UNFINISHED),
        };
        let now = store_time(self.store(), &format!("{}/removal", root.path())).await?;
        let newest = relevant
            .iter()
            .map(|object| object.last_modified.timestamp_micros())
            .max();
        if newest.is_some_and(|newest| now.saturating_sub(newest) < micros(patience)) {
            return Ok(Removal::TooEarly);
        }
        // The logs go last: until then they say that the graph is deleted.
        let (last, first): (Vec<_>, Vec<_>) = objects
            .iter()
            .partition(|object| in_directory(object, "branches"));
        let paths = |objects: Vec<&ObjectMeta>| -> Vec<_> {
            let paths: BTreeSet<_> = objects.iter().map(|o| o.location.clone()).collect();
            paths.into_iter().collect()
        };
        let count = objects.len() as u64;
        super::sweep::delete(self.store(), paths(first)).await?;
        let time = self.store().path(&format!("{}/removal/time", root.path()));
        super::sweep::delete(self.store(), vec![time]).await?;
        super::sweep::delete(self.store(), paths(last)).await?;
        if let Some(local) = self.store().local_root() {
            // What is left are empty directories.
            let _ = std::fs::remove_dir_all(local.join(root.path()));
        }
        Ok(Removal::Removed { objects: count })
    }
}

async fn end_missed(graph: &Graph) -> Result<()> {
    for (name, state) in states(graph).await? {
        if let BranchState::Living(_) = state {
            graph.shared.branches.mark_live(&name).await;
        }
    }
    graph.end_all_branches(&Authorship::default()).await
}
