//! What a revision will say when the steps of an apply have been made.

use std::collections::BTreeMap;

use omnigraph_engine::graph::{GraphId, Incarnation};
use ulid::Ulid;

use super::run::Run;
use crate::declared::{Declared, DeclaredGraph};
use crate::digest::Digest;
use crate::ledger::{
    Content, Ending, GraphContent, PolicyContent, ProviderContent, keep_bindings, take_bound,
};
use crate::sidecar::Completion;

/// By name.
type Policies = BTreeMap<String, PolicyContent>;

impl Run<'_> {
    /// Takes over everything that needs no move of a living graph.
    pub(super) fn complete(&self, content: &mut Content) {
        let (declared, planned) = (self.declared, self.planned);
        content.cluster_name.clone_from(&declared.cluster_name);
        content.held_back.clone_from(&planned.held_back);
        let carried = declared.carried.iter();
        content
            .held_back
            .extend(carried.map(|(address, reason)| (address.clone(), reason.clone())));
        content.providers = providers(declared);
        content.policies = self.policies(&content.policies, self.postpones_deletions());
        content.observations = planned.unrepaired(&self.failed);
        for (id, incarnation) in &self.prepared {
            let Some(graph) = declared.graphs.get(id) else {
                continue;
            };
            let made = graph_content(graph, *incarnation, None);
            let replaced = content.graphs.insert(id.clone(), made);
            if let (Some(old), Some(approval)) = (replaced, planned.replaces.get(id)) {
                content.endings.push(self.ending(id, &old, *approval));
            }
        }
        for id in &planned.updates {
            let waits = self.failed.contains(id) || planned.moves.contains(id);
            if let Some(graph) = declared.graphs.get(id).filter(|_| !waits)
                && let Some(before) = content.graphs.get(id)
            {
                let after = graph_content(graph, before.incarnation, Some(before));
                content.graphs.insert(id.clone(), after);
            }
        }
        if self.postpones_deletions() {
            return;
        }
        for (id, approval) in &planned.deletes {
            if let Some(old) = content.graphs.remove(id) {
                content.endings.push(self.ending(id, &old, *approval));
            }
        }
    }

    /// The declared policies. Graphs that are about to be deleted keep theirs as long as they are
    /// `still_there`.
    fn policies(&self, applied: &Policies, still_there: bool) -> Policies {
        let mut next = self.planned.policies.clone();
        if still_there {
            let deleted = |graph: &str| {
                let mut deletes = self.planned.deletes.keys();
                deletes.any(|id| id.as_str() == graph)
            };
            keep_bindings(&mut next, applied, deleted);
        }
        next
    }

    /// A graph that moves gets what decides about it at the same time: never has it the new schema
    /// under the old policy.
    pub(super) fn take_policy_of(&self, content: &mut Content, id: &GraphId) {
        let next = self.policies(&content.policies, true);
        take_bound(&mut content.policies, &next, id.as_str());
    }

    /// Deletions come last: what is to take a graph's place must be there first.
    pub(super) fn postpones_deletions(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The revision that the next step is made on.
    pub(super) fn made_on(&self) -> u64 {
        self.published.unwrap_or_else(|| self.planned.base_number())
    }

    fn ending(&self, id: &GraphId, old: &GraphContent, approval: Ulid) -> Ending {
        Ending {
            graph: id.clone(),
            incarnation: old.incarnation,
            operation_id: self.turn.operation_id,
            approval,
            actor: self.actor.map(str::to_owned),
            at: self.turn_began,
        }
    }

    /// What a recovery of the move of one graph may say of the whole cluster, if that move is all
    /// that is left to be done.
    pub(super) fn completion(&self, id: &GraphId, after: &GraphContent) -> Option<Completion> {
        let mut moved = self.content.clone();
        moved.graphs.insert(id.clone(), after.clone());
        self.take_policy_of(&mut moved, id);
        let mut whole = moved.clone();
        self.complete(&mut whole);
        let rest = whole.graphs != moved.graphs
            || whole.policies != moved.policies
            || whole.providers != moved.providers
            || whole.endings != moved.endings;
        (!rest).then(|| Completion {
            revision: self.made_on(),
            config_digest: self.declared.config_digest.clone(),
            cluster_name: whole.cluster_name,
            held_back: whole.held_back,
            observations: whole.observations,
        })
    }
}

/// The declared embedding providers as a part of a revision.
pub(crate) fn providers(declared: &Declared) -> BTreeMap<String, ProviderContent> {
    let providers = declared.providers.iter();
    providers
        .map(|(name, profile)| (name.clone(), ProviderContent::of(profile)))
        .collect()
}

/// The declared graph as a part of a revision. Queries with problems keep what was applied before.
pub(crate) fn graph_content(
    graph: &DeclaredGraph,
    incarnation: Incarnation,
    before: Option<&GraphContent>,
) -> GraphContent {
    let mut queries = BTreeMap::new();
    for query in graph.queries.values() {
        let applied = before.and_then(|before| before.queries.get(&query.name));
        let digest = match &query.problem {
            None => Some(&query.digest),
            Some(_) => applied,
        };
        queries.extend(digest.map(|digest| (query.name.clone(), digest.clone())));
    }
    let (schema, schema_source) = match (&graph.schema, before) {
        (Some(schema), _) => (schema.digest.clone(), Digest::of(schema.source.as_bytes())),
        (None, Some(before)) => (before.schema.clone(), before.schema_source.clone()),
        (None, None) => (Digest::of(b""), Digest::of(b"")),
    };
    GraphContent {
        incarnation,
        schema,
        schema_source,
        queries,
        embedding: graph.embedding.clone(),
        retention: graph.retention.clone(),
        external_blobs: graph.external_blobs.clone(),
    }
}
