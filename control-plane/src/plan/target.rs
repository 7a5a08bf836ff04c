//! Narrowing a plan to some graphs: `--target graph.shop`. A graph brings what it needs, its schema,
//! its stored queries and its embedding provider, so that what is applied is always whole.

use std::collections::BTreeSet;

use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1::{Disposition, PlanChange};

use super::Planned;
use crate::address::graph_of;
use crate::bundle::EMBEDDING_PREFIX;
use crate::declared::Declared;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// What is declared and was left out is not applied for this reason.
const LEFT_OUT: &str = "left out: it belongs to no target of the last apply";

/// The graphs that a plan is about; none means all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    graphs: BTreeSet<GraphId>,
}

impl Targets {
    /// Reads addresses.
    pub(crate) fn parse(addresses: &[String]) -> Result<Self> {
        let mut graphs = BTreeSet::new();
        for address in addresses {
            let wrong = |hint: String| {
                let message = format!("'{address}' is no target");
                Error::new(ErrorKind::Invalid, message).with_hint(hint)
            };
            let Some((kind, rest)) = address.split_once('.') else {
                return Err(wrong(format!("name a graph: graph.{address}")));
            };
            let graph = rest.split('.').next().unwrap_or_default();
            if kind != "graph" || graph != rest {
                return Err(wrong(match kind {
                    "schema" | "query" => format!(
                        "a target is a graph with its schema and its queries: graph.{graph}"
                    ),
                    _ => "a target is a graph: graph.<id>".to_owned(),
                }));
            }
            let graph = GraphId::parse(graph).map_err(|error| wrong(error.message().to_owned()))?;
            graphs.insert(graph);
        }
        Ok(Self { graphs })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.graphs.is_empty()
    }

    /// Leaves of the declaration what an apply of these targets takes over; the rest stays as it
    /// is applied.
    pub(crate) fn narrow(&self, declared: &mut Declared, planned: &Planned) {
        if self.is_everything() {
            return;
        }
        declared.graphs.retain(|id, _| self.graphs.contains(id));
        let needed = declared.graphs.values();
        let needed: BTreeSet<String> = needed
            .filter_map(|graph| Some(graph.embedding.as_ref()?.provider.clone()))
            .collect();
        declared.providers.retain(|name, _| needed.contains(name));
        let Some(base) = &planned.base else { return };
        declared.cluster_name.clone_from(&base.content.cluster_name);
        declared
            .config_digest
            .clone_from(&base.record.config_digest);
        for (name, provider) in &base.content.providers {
            if let Some(profile) = &provider.profile {
                let applied = || profile.clone();
                declared
                    .providers
                    .entry(name.clone())
                    .or_insert_with(applied);
            }
        }
    }

    /// Whether a change is one of a target, or of what it needs.
    fn has(&self, change: &PlanChange, declared: &Declared) -> bool {
        if let Some(graph) = graph_of(&change.resource) {
            return self.graphs.iter().any(|id| id.as_str() == graph);
        }
        let Some(name) = change.resource.strip_prefix(EMBEDDING_PREFIX) else {
            return false;
        };
        self.providers(declared).any(|provider| provider == name)
    }

    /// Embedding providers that the targets use.
    fn providers<'a>(&'a self, declared: &'a Declared) -> impl Iterator<Item = &'a str> {
        let graphs = self.graphs.iter().filter_map(|id| declared.graphs.get(id));
        graphs.filter_map(|graph| Some(graph.embedding.as_ref()?.provider.as_str()))
    }
}

impl Planned {
    /// Leaves the changes of the targets, and counts the others.
    pub(crate) fn narrow(mut self, targets: &Targets, declared: &Declared) -> Result<Planned> {
        if targets.is_everything() {
            return Ok(self);
        }
        for id in &targets.graphs {
            let applied = self.base.as_ref().map(|base| &base.content.graphs);
            let known = declared.graphs.contains_key(id)
                || applied.is_some_and(|graphs| graphs.contains_key(id));
            if !known {
                let message = format!("target graph.{id} is neither declared nor applied");
                return Err(Error::new(ErrorKind::Invalid, message)
                    .with_hint("declare it in cluster.yaml, or leave the target out"));
            }
        }
        let changes = std::mem::take(&mut self.plan.changes);
        let (kept, omitted): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|c| targets.has(c, declared));
        for change in &omitted {
            let reason = || LEFT_OUT.to_owned();
            self.held_back
                .entry(change.resource.clone())
                .or_insert_with(reason);
        }
        self.plan.changes = kept;
        self.plan.omitted_changes = u32::try_from(omitted.len()).unwrap_or(u32::MAX);
        self.plan.converged = self.plan.changes.is_empty() && omitted.is_empty();
        self.plan.targets = self.with_needs(targets, declared);
        let approvals = &mut self.plan.approvals_required;
        approvals.retain(|one| !omitted.iter().any(|c| c.resource == one.resource));
        let own = |id: &GraphId| targets.graphs.contains(id);
        self.creates.retain(&own);
        self.replaces.retain(|id, _| own(id));
        self.deletes.retain(|id, _| own(id));
        let omits = |address: &str| omitted.iter().any(|change| change.resource == address);
        self.consents.retain(|consent| !omits(&consent.resource));
        self.moves.retain(own);
        self.updates.retain(own);
        let whole = [self.plan.plan_digest.as_str()].into_iter();
        let lines = whole.chain(self.plan.targets.iter().map(String::as_str));
        self.plan.plan_digest = Digest::of_lines(lines).to_string();
        Ok(self)
    }

    /// Whether applying this part would leave the ledger as it is.
    pub(crate) fn is_settled_in_part(&self) -> bool {
        let Some(base) = &self.base else {
            return false;
        };
        let known = |change: &PlanChange| {
            let held = base.content.held_back.get(&change.resource);
            matches!(
                change.disposition(),
                Disposition::Blocked | Disposition::ApprovalRequired
            ) && held == Some(&change.reason)
        };
        self.plan.changes.iter().all(known)
    }

    fn with_needs(&self, targets: &Targets, declared: &Declared) -> Vec<String> {
        let mut all = Vec::new();
        for id in &targets.graphs {
            all.push(format!("graph.{id}"));
            all.push(format!("schema.{id}"));
            let queries = declared.graphs.get(id).map(|graph| &graph.queries);
            let names = queries.into_iter().flat_map(|queries| queries.keys());
            all.extend(names.map(|name| format!("query.{id}.{name}")));
        }
        let providers: BTreeSet<&str> = targets.providers(declared).collect();
        let address = |name| format!("{EMBEDDING_PREFIX}{name}");
        all.extend(providers.into_iter().map(address));
        all
    }
}
