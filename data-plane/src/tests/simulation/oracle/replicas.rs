//! What replicas serve.

use std::collections::BTreeMap;

use super::{Judged, Oracle, ensure};
use crate::authorize::Gate;
use crate::replica::Status;
use crate::state::ReasonCode;
use crate::tests::simulation::workload::version_of;

/// What one life of a replica has served so far.
#[derive(Debug, Default)]
pub(super) struct Served {
    revision: u64,
    target: u64,
    /// Per graph: incarnation and revision.
    graphs: BTreeMap<String, (String, u64)>,
}

impl Oracle {
    /// A replica serves applied content only, never goes back, and never stops serving a graph.
    pub(in super::super) fn serves(&mut self, replica: &str, status: &Status) -> Judged {
        let newest = self.newest().map_or(0, |revision| revision.number);
        let before = self.served.entry(replica.to_owned()).or_default();
        let forward = before.revision <= status.revision && before.target <= status.target;
        let (was, is) = (
            (before.revision, before.target),
            (status.revision, status.target),
        );
        ensure(forward, || {
            format!("{replica} goes back from {was:?} to {is:?}")
        })?;
        ensure(status.target <= newest, || {
            format!("{replica} knows revision {} of {newest}", status.target)
        })?;
        let mut now = Served {
            revision: status.revision,
            target: status.target,
            graphs: BTreeMap::new(),
        };
        let before = self.served.remove(replica).unwrap_or_default();
        for (id, view) in status.graphs.iter() {
            let Some((revision, generation)) = &view.served else {
                continue;
            };
            ensure(*revision <= status.target, || {
                format!("{replica} serves revision {revision} of {id} before it is known")
            })?;
            let applied = self.revision_of(*revision).and_then(|r| r.graphs.get(id));
            let Some(applied) = applied else {
                return Err(format!(
                    "{replica} serves {id} of revision {revision}, which has none"
                ));
            };
            let incarnation = generation.graph.root().incarnation.to_string();
            ensure(incarnation == applied.incarnation, || {
                format!("{replica} serves another {id} than revision {revision} names")
            })?;
            let served = generation.queries.iter();
            let same = served.len() == applied.queries.len()
                && served.into_iter().all(|(name, query)| {
                    applied
                        .queries
                        .get(name)
                        .is_some_and(|text| *text == query.source)
                });
            ensure(same, || {
                format!("{replica} serves other queries of {id} than revision {revision} has")
            })?;
            self.decides(replica, id, *revision, status.target, view.gate.as_ref())?;
            now.graphs.insert(id.clone(), (incarnation, *revision));
        }
        for (id, (incarnation, revision)) in &before.graphs {
            let Some(view) = status.graphs.get(id) else {
                continue;
            };
            let target = self.revision_of(status.target);
            let applied = target.and_then(|revision| revision.graphs.get(id));
            if applied.is_none_or(|graph| graph.incarnation != *incarnation) {
                // Another graph of the same name.
                continue;
            }
            let trouble = view.trouble.as_ref().map(|trouble| trouble.code);
            let policies = [*revision, status.target].map(|number| {
                let graph = self.revision_of(number)?.graphs.get(id)?;
                graph.policy.clone()
            });
            if trouble == Some(ReasonCode::PolicyInvalid) && policies[0] != policies[1] {
                // It cannot load the policy, and does not serve under an older one.
                continue;
            }
            let Some((same, later)) = now.graphs.get(id) else {
                return Err(format!(
                    "{replica} served {id}, and does not any more: {:?}",
                    view.trouble
                ));
            };
            ensure(same != incarnation || later >= revision, || {
                format!("{replica} goes back to revision {later} of {id}")
            })?;
        }
        self.served.insert(replica.to_owned(), now);
        Ok(())
    }

    /// What decides about calls is what was applied when the content that is served was, or later.
    fn decides(
        &self,
        replica: &str,
        id: &str,
        served: u64,
        target: u64,
        gate: Option<&Gate>,
    ) -> Judged {
        let found = match gate {
            Some(Gate::Policy(policy)) => version_of(&policy.to_cedar()),
            Some(_) => None,
            None => return Err(format!("{replica} serves {id}, and nothing decides")),
        };
        let mut between = (served..=target).filter_map(|number| self.revision_of(number));
        let applied = between.any(|revision| {
            let graph = revision.graphs.get(id);
            let policy = graph.and_then(|graph| graph.policy.as_deref());
            policy.and_then(version_of) == found
        });
        ensure(applied, || {
            format!("{replica} serves {id} of revision {served} of {target} under policy {found:?}")
        })
    }
}
