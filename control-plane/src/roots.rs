//! Graph roots on the storage that the ledger does not name: restored backups, what another ledger
//! or a lost one left, and preparations that died.

use futures::{StreamExt, TryStreamExt};
use omnigraph_engine::graph::GraphId;
use omnigraph_engine::{ErrorKind, GraphRoot, ReadOptions, Target};

use crate::declared::DeclaredGraph;
use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::Content;
use crate::plane::ControlPlane;

/// Roots that are looked at at the same time.
const PARALLEL_LOOKS: usize = 8;

/// A graph root with a living `main`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundRoot {
    pub(crate) root: GraphRoot,
    /// The backup that it was made of.
    pub(crate) restored_from: Option<String>,
    /// Digest of the meaning of its schema.
    pub(crate) schema: Digest,
    /// The schema's text.
    pub(crate) source: String,
    /// The highest epoch of a control plane that wrote to it.
    pub(crate) control_epoch: u64,
    /// It holds nothing but its creation.
    pub(crate) blank: bool,
}

/// What the roots that lie under an id mean for a graph that the ledger does not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Waiting {
    /// Nothing that could be lost: a new graph is made.
    Nothing,
    /// A restored graph, the newest if there are several, that can be taken over.
    Restored(Box<FoundRoot>),
    /// A graph with content that nobody restored.
    Unknown(Box<FoundRoot>),
}

impl ControlPlane {
    /// The living roots of one graph that the content does not use, oldest first.
    pub(crate) async fn found_roots(
        &self,
        id: &GraphId,
        content: &Content,
    ) -> Result<Vec<FoundRoot>> {
        let mut roots = self.engine().graph_incarnations(id).await?;
        roots.sort_by_key(|root| root.incarnation);
        let used = |root: &GraphRoot| {
            let ending = content.endings.iter().any(|ending| ending.root() == *root);
            ending || content.root(id).as_ref() == Some(root)
        };
        roots.retain(|root| !used(root));
        let looks = futures::stream::iter(roots)
            .map(|root| async move { self.look_at_root(root).await })
            .buffered(PARALLEL_LOOKS);
        let found: Vec<Option<FoundRoot>> = looks.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What lies under the id of a graph that is to be made.
    pub(crate) async fn waiting(&self, id: &GraphId, content: &Content) -> Result<Waiting> {
        let found = self.found_roots(id, content).await?;
        let restored = found.iter().rev().find(|f| f.restored_from.is_some());
        let unknown = found.iter().rev().find(|f| !f.blank);
        Ok(match (restored, unknown) {
            (Some(found), _) => Waiting::Restored(Box::new(found.clone())),
            (None, Some(found)) => Waiting::Unknown(Box::new(found.clone())),
            (None, None) => Waiting::Nothing,
        })
    }

    /// `None` for what is unfinished or deleted.
    pub(crate) async fn look_at_root(&self, root: GraphRoot) -> Result<Option<FoundRoot>> {
        let gone = |error: &omnigraph_engine::Error| error.kind() == ErrorKind::NotFound;
        let graph = match self.engine().open_graph(&root).await {
            Ok(graph) => graph,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let read = ReadOptions::default();
        let snapshot = match graph.snapshot(&Target::default(), &read).await {
            Ok(snapshot) => snapshot,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A branch may hold what `main` does not.
        let blank = snapshot.commit().version == 1 && graph.branches().await?.len() <= 1;
        Ok(Some(FoundRoot {
            restored_from: self.engine().restored_from(&root).await?,
            schema: Digest::of_schema(&snapshot.schema().catalog),
            source: snapshot.schema().source.clone(),
            control_epoch: snapshot.commit().control_epoch,
            blank,
            root,
        }))
    }

    /// Where a root lies, for people.
    pub(crate) fn place_of(&self, root: &GraphRoot) -> String {
        self.store().uri(&root.path())
    }
}

/// Why a graph cannot be made as it is declared.
pub(crate) fn refusal(
    waiting: &Waiting,
    declared: &DeclaredGraph,
    ledger_is_empty: bool,
    place: impl Fn(&GraphRoot) -> String,
) -> Option<String> {
    let id = &declared.id;
    match waiting {
        Waiting::Nothing => None,
        Waiting::Restored(found) => {
            let schema = declared.schema.as_ref()?;
            let from = found.restored_from.as_deref().unwrap_or_default();
            (schema.digest != found.schema).then(|| {
                format!(
                    "a graph '{id}' was restored from {from} and has another schema: declare that one first, and change it then"
                )
            })
        }
        Waiting::Unknown(found) => {
            let place = place(&found.root);
            Some(if ledger_is_empty {
                format!(
                    "graph_unknown: {place} holds a graph '{id}' and nothing is applied here: run omnigraphctl import to take it over"
                )
            } else {
                format!(
                    "graph_unknown: {place} holds a graph '{id}' that the ledger does not have: move it away, or declare another id"
                )
            })
        }
    }
}
