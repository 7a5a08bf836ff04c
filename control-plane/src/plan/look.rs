//! What is seen of the storage: living graphs, roots that have vanished, the catalog.

use std::collections::BTreeMap;

use futures::StreamExt;
use omnigraph_engine::graph::{BranchName, GraphId};
use omnigraph_engine::{ErrorKind as EngineKind, ReadOptions, Target};
use omnigraph_lang::schema::MigrationPlan;

use crate::catalog::{BlobKind, BlobTrouble};
use crate::declared::DeclaredGraph;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::ledger::{Content, GraphContent, Observation, Verdict};
use crate::plane::ControlPlane;
use crate::roots::FoundRoot;
use crate::sweep::Undecided;

/// Graphs that are looked at at the same time.
const PARALLEL_LOOKS: usize = 16;

/// What was seen of an applied graph.
pub(crate) enum Live {
    /// Nothing was looked at.
    Trusted,
    Seen {
        /// Digest of the meaning of the schema at the head of `main`.
        schema: Digest,
        /// The way to the declared schema, if that is another one.
        plan: Option<MigrationPlan>,
    },
    /// Its root is gone; these others lie under its id.
    Vanished(Vec<FoundRoot>),
    Unreadable(Error),
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Sight {
    pub(crate) graphs: BTreeMap<GraphId, Live>,
    pub(crate) blobs: BTreeMap<(Digest, BlobKind), BlobTrouble>,
}

impl ControlPlane {
    /// Looks at every applied graph and at the catalog. Graphs that are declared are held against
    /// their declaration; those in `skip` are left alone.
    pub(crate) async fn look(
        &self,
        content: &Content,
        declared: &BTreeMap<GraphId, DeclaredGraph>,
        skip: &Undecided,
    ) -> Result<Sight> {
        let wanted = content.graphs.keys().filter(|id| !skip.contains_key(*id));
        let looks = futures::stream::iter(wanted.cloned().collect::<Vec<_>>())
            .map(|id| {
                let desired = declared.get(&id);
                async move {
                    let live = self.look_at(content, &id, desired).await;
                    (id, live)
                }
            })
            .buffer_unordered(PARALLEL_LOOKS);
        let graphs = looks.collect().await;
        let blobs = content.blobs().into_iter();
        let blobs = blobs.map(|(_, digest, kind)| (digest, kind));
        let blobs = self.shared().catalog.check(blobs).await?;
        Ok(Sight { graphs, blobs })
    }

    async fn look_at(
        &self,
        content: &Content,
        id: &GraphId,
        desired: Option<&DeclaredGraph>,
    ) -> Live {
        match self.see(content, id, desired).await {
            Ok(live) => live,
            Err(error) => {
                tracing::warn!(graph = %id, error = error.chain(), "a graph cannot be read");
                Live::Unreadable(error)
            }
        }
    }

    async fn see(
        &self,
        content: &Content,
        id: &GraphId,
        desired: Option<&DeclaredGraph>,
    ) -> Result<Live> {
        let missing = || Error::internal(format!("graph '{id}' is not in the ledger"));
        let root = content.root(id).ok_or_else(missing)?;
        // A handle that is kept would not notice that the root is gone.
        match self.engine().open_graph(&root).await {
            Ok(_) => {}
            Err(error) if error.kind() == EngineKind::NotFound => {
                let mut others = self.found_roots(id, content).await?;
                // What a dead apply prepared holds nothing and replaces nothing.
                others.retain(|found| !found.blank || found.restored_from.is_some());
                return Ok(Live::Vanished(others));
            }
            Err(error) => return Err(error.into()),
        }
        let graph = self.graph(&root).await?;
        let main = Target::Branch(BranchName::main());
        let snapshot = graph.snapshot(&main, &ReadOptions::default()).await?;
        let live = Digest::of_schema(&snapshot.schema().catalog);
        let plan = match desired.and_then(|graph| graph.schema.as_ref()) {
            Some(desired) if desired.digest != live => {
                Some(graph.plan_schema(&snapshot, &desired.source).await?.plan)
            }
            _ => None,
        };
        Ok(Live::Seen { schema: live, plan })
    }
}

impl Sight {
    /// What is wrong, by resource. What was known already keeps the time at which it was seen.
    pub(crate) fn observations(
        &self,
        content: &Content,
        now: i64,
    ) -> BTreeMap<String, Observation> {
        let mut found = Vec::new();
        for (id, live) in &self.graphs {
            if let Some(applied) = content.graphs.get(id) {
                found.extend(observation(id, applied, live));
            }
        }
        for (address, digest, kind) in content.blobs() {
            let trouble = self.blobs.get(&(digest.clone(), kind));
            found.extend(trouble.map(|trouble| (address, of_blob(&digest, trouble))));
        }
        let known = &content.observations;
        let keep = |(address, seen): (String, Seen)| {
            let before = known.get(&address).filter(|before| seen.is(before));
            let observation = before.cloned().unwrap_or_else(|| seen.at(now));
            (address, observation)
        };
        found.into_iter().map(keep).collect()
    }
}

/// An observation without its time.
struct Seen {
    verdict: Verdict,
    condition: &'static str,
    message: String,
    observed: Option<String>,
}

impl Seen {
    /// Whether this is nothing new. The text of an error may differ from one time to the next.
    fn is(&self, before: &Observation) -> bool {
        self.verdict == before.verdict
            && self.condition == before.condition
            && self.observed == before.observed
    }

    fn at(self, now: i64) -> Observation {
        Observation {
            verdict: self.verdict,
            condition: self.condition.to_owned(),
            message: self.message,
            observed: self.observed,
            since: now,
        }
    }
}

fn observation(id: &GraphId, applied: &GraphContent, live: &Live) -> Option<(String, Seen)> {
    let graph = format!("graph.{id}");
    match live {
        Live::Trusted => None,
        Live::Seen { schema, .. } if *schema == applied.schema => None,
        Live::Seen { schema, .. } => Some((
            format!("schema.{id}"),
            Seen {
                verdict: Verdict::Drifted,
                condition: "schema_drifted",
                message: "the graph's schema is not the applied one".to_owned(),
                observed: Some(schema.to_string()),
            },
        )),
        Live::Vanished(others) => {
            let message = vanished(applied, others);
            let observed = others
                .last()
                .map(|found| found.root.incarnation.to_string());
            let condition = match observed {
                None => "root_vanished",
                Some(_) => "root_replaced",
            };
            Some((
                graph,
                Seen {
                    verdict: Verdict::Drifted,
                    condition,
                    message,
                    observed,
                },
            ))
        }
        Live::Unreadable(error) => Some((
            graph,
            Seen {
                verdict: Verdict::Error,
                condition: "graph_unreadable",
                message: error.message().to_owned(),
                observed: None,
            },
        )),
    }
}

/// What is said of a graph whose root is not there.
pub(super) fn vanished(applied: &GraphContent, others: &[FoundRoot]) -> String {
    let own = &applied.incarnation;
    match others {
        [] => format!("root_vanished: incarnation {own} is not on the storage"),
        [.., other] => format!(
            "root_replaced: the storage has incarnation {}, the ledger has {own}",
            other.root.incarnation
        ),
    }
}

fn of_blob(digest: &Digest, trouble: &BlobTrouble) -> Seen {
    let (verdict, condition, message) = match trouble {
        BlobTrouble::Missing => (
            Verdict::Drifted,
            "catalog_missing",
            format!("catalog object {digest} is missing: the next apply publishes it again"),
        ),
        BlobTrouble::Tampered => (
            Verdict::Drifted,
            "catalog_tampered",
            format!(
                "catalog object {digest} is not what its digest says: the next apply publishes it again"
            ),
        ),
        BlobTrouble::Unreadable(error) => (
            Verdict::Error,
            "catalog_unreadable",
            format!("catalog object {digest} cannot be read: {error}"),
        ),
    };
    Seen {
        verdict,
        condition,
        message,
        observed: None,
    }
}
