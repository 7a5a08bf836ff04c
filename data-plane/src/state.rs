//! What a replica serves and what it has to do next: a state machine without input or output.
//!
//! The board knows one slot per graph of the newest revision. Its owner takes [`Job`]s from it,
//! runs them, and reports how they ended; the board decides about states and retries.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use omnigraph_control_plane::serving::{Serving, ServingGraph, ServingPolicy};
use tokio::time::Instant;

use crate::authorize::Gate;

/// Builds that run at the same time.
pub(crate) const BUILDS_MAX: usize = 4;

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a graph, or its newest generation, is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    /// An operation of the control plane is unfinished.
    RecoveryPending,
    /// The graph's storage cannot be read.
    GraphUnreadable,
    /// The graph's schema is not the one that was applied, and the queries do not fit it.
    SchemaMismatch,
    /// A stored query does not check.
    QueryInvalid,
    /// The key of the graph's embedding provider is not set here.
    EmbeddingProviderUnresolved,
    /// Content of the catalog is missing or not what its digest says.
    CatalogDigestMismatch,
    /// The policy cannot be loaded or enforced; serving without it would be open to more people.
    PolicyInvalid,
}

impl ReasonCode {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            ReasonCode::RecoveryPending => "recovery_pending",
            ReasonCode::GraphUnreadable => "graph_unreadable",
            ReasonCode::SchemaMismatch => "schema_mismatch",
            ReasonCode::QueryInvalid => "query_invalid",
            ReasonCode::EmbeddingProviderUnresolved => "embedding_provider_unresolved",
            ReasonCode::CatalogDigestMismatch => "catalog_digest_mismatch",
            ReasonCode::PolicyInvalid => "policy_invalid",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            ReasonCode::RecoveryPending => {
                "start a control plane: it finishes or retires the operation by itself"
            }
            ReasonCode::GraphUnreadable => {
                "check the object store and the access to it; it is tried again by itself"
            }
            ReasonCode::SchemaMismatch => {
                "run omnigraphctl plan to see how the graph differs from the declaration, then apply"
            }
            ReasonCode::QueryInvalid => "correct the stored query and run omnigraphctl apply",
            ReasonCode::EmbeddingProviderUnresolved => {
                "set the variable for this replica and start it again, or declare another provider"
            }
            ReasonCode::CatalogDigestMismatch => {
                "run omnigraphctl apply: it publishes the content again"
            }
            ReasonCode::PolicyInvalid => {
                "correct the policy and run omnigraphctl apply; a server without credentials needs \
                 OMNIGRAPH_SERVER_BEARER_TOKENS_FILE to enforce one"
            }
        }
    }
}

/// A failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub code: ReasonCode,
    /// For people.
    pub message: String,
}

/// State of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first generation is being built.
    Loading,
    /// The newest generation is served, or an older one while the newest is being built.
    Ready,
    /// The newest generation failed; an older one is served.
    Stale,
    /// Nothing is served.
    Quarantined,
}

/// One graph as seen from outside.
#[derive(Debug)]
pub(crate) struct View<G> {
    /// Its state.
    pub phase: Phase,
    /// What is served, and since which revision.
    pub served: Option<(u64, Arc<G>)>,
    /// What decides about calls; `None`: it was never known.
    pub gate: Option<Gate>,
    /// The revision that should be served.
    pub target_revision: u64,
    /// Why that is not so.
    pub trouble: Option<Trouble>,
    /// Failed builds of the newest generation.
    pub attempt: u32,
    /// When the next one begins.
    pub retry_at: Option<Instant>,
    /// When the state was entered.
    pub since: Instant,
}

/// A generation to build.
#[derive(Debug)]
pub(crate) struct Job<G> {
    pub(crate) graph_id: String,
    pub(crate) revision: u64,
    pub(crate) spec: Arc<ServingGraph>,
    pub(crate) previous: Option<Arc<G>>,
    /// What decides about calls, if it is known already.
    pub(crate) gate: Option<Gate>,
}

/// All graphs of the newest revision.
pub(crate) struct Board<G> {
    revision: u64,
    serving_digest: String,
    /// What decides about graphs without a policy.
    without_policy: Gate,
    slots: BTreeMap<String, Slot<G>>,
}

struct Slot<G> {
    spec: Arc<ServingGraph>,
    gate: Option<KnownGate>,
    target_revision: u64,
    served: Option<Served<G>>,
    work: Work,
    trouble: Option<Trouble>,
    attempt: u32,
    phase: Phase,
    since: Instant,
}

/// The newest gate that could be loaded, and for which policy.
#[derive(Clone)]
struct KnownGate {
    policy: Option<ServingPolicy>,
    gate: Gate,
}

struct Served<G> {
    revision: u64,
    spec: Arc<ServingGraph>,
    gate: Option<KnownGate>,
    generation: Arc<G>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The newest generation is served.
    Done,
    /// To be built from this instant on.
    Due(Instant),
    Building,
}

impl<G> Board<G> {
    pub(crate) fn new(without_policy: Gate) -> Self {
        Board {
            revision: 0,
            serving_digest: String::new(),
            without_policy,
            slots: BTreeMap::new(),
        }
    }

    /// The newest revision that was taken up; 0: none.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn serving_digest(&self) -> &str {
        &self.serving_digest
    }

    /// Takes up a revision. Graphs that it does not change are not touched, except that a graph in
    /// trouble is tried again. Lower revisions are ignored; false says so.
    pub(crate) fn adopt(&mut self, serving: &Serving, now: Instant) -> bool {
        if serving.revision <= self.revision {
            return false;
        }
        self.revision = serving.revision;
        self.serving_digest.clone_from(&serving.serving_digest);
        let mut slots = BTreeMap::new();
        for graph in &serving.graphs {
            let id = graph.root.id.to_string();
            let slot = match self.slots.remove(&id) {
                Some(slot) => slot.retarget(graph, serving.revision, now),
                None => Slot::new(graph, serving.revision, now),
            };
            let slot = slot.with_default_gate(&self.without_policy);
            slots.insert(id, slot);
        }
        self.slots = slots;
        true
    }

    /// What is to be built now, as far as there is room. The owner reports each with
    /// [`Board::finished`].
    pub(crate) fn take_jobs(&mut self, now: Instant) -> Vec<Job<G>> {
        let building = |slot: &&Slot<G>| slot.work == Work::Building;
        let room = BUILDS_MAX.saturating_sub(self.slots.values().filter(building).count());
        let due = self.slots.iter_mut().filter(|(_, slot)| match slot.work {
            Work::Due(at) => at <= now,
            Work::Done | Work::Building => false,
        });
        due.take(room)
            .map(|(id, slot)| {
                slot.work = Work::Building;
                Job {
                    graph_id: id.clone(),
                    revision: slot.target_revision,
                    spec: slot.spec.clone(),
                    previous: slot.served.as_ref().map(|s| s.generation.clone()),
                    gate: slot.known_gate(),
                }
            })
            .collect()
    }

    /// What decides about the calls of a graph from now on, even if its newest generation fails for
    /// another reason: an older one is not served under an older policy.
    pub(crate) fn gated(&mut self, job: &Job<G>, gate: Gate) {
        let slot = self.slots.get_mut(&job.graph_id);
        let wanted = slot.filter(|slot| slot.work == Work::Building && *slot.spec == *job.spec);
        if let Some(slot) = wanted {
            let policy = job.spec.policy.clone();
            slot.gate = Some(KnownGate { policy, gate });
        }
    }

    /// How a build ended. One for a graph that is gone, or for content that is not wanted any more,
    /// changes nothing but that the newest is built next.
    pub(crate) fn finished(&mut self, job: &Job<G>, outcome: Result<G, Trouble>, now: Instant) {
        let Some(slot) = self.slots.get_mut(&job.graph_id) else {
            return;
        };
        if slot.work != Work::Building {
            return;
        }
        if *slot.spec != *job.spec {
            slot.work = Work::Due(now);
            return;
        }
        match outcome {
            Ok(generation) => {
                slot.work = Work::Done;
                slot.trouble = None;
                slot.attempt = 0;
                slot.served = Some(Served {
                    revision: slot.target_revision,
                    spec: job.spec.clone(),
                    gate: slot.gate.clone(),
                    generation: Arc::new(generation),
                });
            }
            Err(trouble) => {
                slot.attempt = slot.attempt.saturating_add(1);
                slot.work = Work::Due(now + retry_after(slot.attempt));
                // The policy that is declared may be stricter than the one that is known.
                if trouble.code == ReasonCode::PolicyInvalid {
                    slot.served = None;
                }
                slot.trouble = Some(trouble);
            }
        }
        slot.settle(now);
    }

    /// Builds again what was being built: a build ended without saying how.
    pub(crate) fn forget_builds(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            if slot.work == Work::Building {
                slot.work = Work::Due(now + RETRY_FIRST);
            }
        }
    }

    /// When the next retry is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = self.slots.values().filter_map(|slot| match slot.work {
            Work::Due(at) => Some(at),
            Work::Done | Work::Building => None,
        });
        due.min()
    }

    /// Whether no graph's newest generation is waiting to be built for the first time.
    pub(crate) fn is_settled(&self) -> bool {
        let untried = |slot: &Slot<G>| slot.work != Work::Done && slot.trouble.is_none();
        !self.slots.values().any(untried)
    }

    /// All graphs as seen from outside.
    pub(crate) fn views(&self) -> BTreeMap<String, View<G>> {
        let view = |(id, slot): (&String, &Slot<G>)| (id.clone(), slot.view());
        self.slots.iter().map(view).collect()
    }
}

impl<G> Slot<G> {
    fn new(graph: &ServingGraph, revision: u64, now: Instant) -> Self {
        Slot {
            spec: Arc::new(graph.clone()),
            gate: None,
            target_revision: revision,
            served: None,
            work: Work::Due(now),
            trouble: None,
            attempt: 0,
            phase: Phase::Loading,
            since: now,
        }
    }

    fn retarget(mut self, graph: &ServingGraph, revision: u64, now: Instant) -> Self {
        self.target_revision = revision;
        // Another incarnation is another graph: the old one's content must not be served for it.
        if self.spec.root != graph.root {
            return Slot::new(graph, revision, now);
        }
        if *self.spec != *graph {
            self.spec = Arc::new(graph.clone());
            self.trouble = None;
            self.attempt = 0;
        }
        let current = self.served.as_mut().filter(|served| *served.spec == *graph);
        match current {
            Some(served) => {
                served.revision = revision;
                self.gate.clone_from(&served.gate);
                self.trouble = None;
                self.attempt = 0;
                if self.work != Work::Building {
                    self.work = Work::Done;
                }
            }
            None if self.work != Work::Building => self.work = Work::Due(now),
            None => {}
        }
        self.settle(now);
        self
    }

    /// A graph without a policy needs nothing loaded to be decided about.
    fn with_default_gate(mut self, without_policy: &Gate) -> Self {
        if self.gate.is_none() && self.spec.policy.is_none() {
            self.gate = Some(KnownGate {
                policy: None,
                gate: without_policy.clone(),
            });
        }
        self
    }

    /// The gate, if it is that of the newest policy.
    fn known_gate(&self) -> Option<Gate> {
        let known = self.gate.as_ref()?;
        (known.policy == self.spec.policy).then(|| known.gate.clone())
    }

    fn settle(&mut self, now: Instant) {
        let phase = match (&self.served, &self.trouble) {
            (None, None) => Phase::Loading,
            (Some(_), None) => Phase::Ready,
            (Some(_), Some(_)) => Phase::Stale,
            (None, Some(_)) => Phase::Quarantined,
        };
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
        }
    }

    fn view(&self) -> View<G> {
        View {
            phase: self.phase,
            served: self
                .served
                .as_ref()
                .map(|served| (served.revision, served.generation.clone())),
            gate: self.gate.as_ref().map(|known| known.gate.clone()),
            target_revision: self.target_revision,
            trouble: self.trouble.clone(),
            attempt: self.attempt,
            retry_at: match (self.work, &self.trouble) {
                (Work::Due(at), Some(_)) => Some(at),
                _ => None,
            },
            since: self.since,
        }
    }
}

/// Doubles from one failure to the next.
fn retry_after(attempt: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(RETRY_MAX)
}

/// Not derived: the generation need not be `Clone`.
impl<G> Clone for View<G> {
    fn clone(&self) -> Self {
        View {
            phase: self.phase,
            served: self.served.clone(),
            gate: self.gate.clone(),
            target_revision: self.target_revision,
            trouble: self.trouble.clone(),
            attempt: self.attempt,
            retry_at: self.retry_at,
            since: self.since,
        }
    }
}

impl<G> View<G> {
    /// Whether requests are answered.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Stale)
    }
}
