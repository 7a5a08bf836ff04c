//! The changes of policies: their content, and what they are bound to.

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_proto::control::v1::{ChangeOperation, Disposition, PlanChange};

use super::{Builder, Change};
use crate::bundle::CLUSTER_SCOPE;
use crate::declared::Declared;
use crate::digest::Digest;
use crate::ledger::{Content, PolicyContent, keep_bindings};

impl Builder {
    /// Runs last: a graph that stays although it is not declared keeps its policy, because without
    /// one it would be open to more people.
    pub(super) fn change_policies(&mut self, declared: &Declared, content: &Content) {
        let staying: BTreeSet<&str> = self.changes.iter().filter_map(held_deletion).collect();
        let next = next(declared, content, &staying);
        let mut changes = self.heal_policies(declared, content);
        for (name, policy) in &next {
            let before = content.policies.get(name);
            changes.extend(change(name, before, policy));
        }
        for (name, before) in &content.policies {
            if !next.contains_key(name) {
                let resource = format!("policy.{name}");
                let digest = before.digest();
                changes.push(Change {
                    metadata_change: bindings(before.applies_to.as_ref(), &BTreeSet::new()),
                    ..Change::new(resource, ChangeOperation::Delete, Some(&digest), None)
                });
            } else if !declared.policies.contains_key(name) {
                let digest = before.digest();
                let resource = format!("policy.{name}");
                let change = Change::new(resource, ChangeOperation::Delete, Some(&digest), None);
                let bound = next[name].applies_to.iter().flatten();
                let graphs: Vec<String> = bound.map(|graph| format!("graph.{graph}")).collect();
                changes.push(change.blocked(format!("waits for {}", graphs.join(", "))));
            }
        }
        for change in changes {
            self.push(change);
        }
        self.policies = next;
    }

    /// Policies that stay as they are and whose texts the catalog has lost.
    fn heal_policies(&mut self, declared: &Declared, content: &Content) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, policy) in &declared.policies {
            let now = policy.content();
            let applied = content.policies.get(name);
            if applied != Some(&now) {
                continue;
            }
            for (kind, text) in policy.texts() {
                let Some(found) = self.trouble(&Digest::of(text.as_bytes()), kind) else {
                    continue;
                };
                self.heals.push((kind, text.to_owned()));
                let (resource, digest) = (format!("policy.{name}"), now.digest());
                let update = ChangeOperation::Update;
                let mut change = Change::new(resource, update, Some(&digest), Some(&digest));
                change.metadata_change = found;
                change.drift = true;
                changes.push(change);
                break;
            }
        }
        changes
    }
}

/// The graph that a change would delete and does not delete now.
fn held_deletion(change: &PlanChange) -> Option<&str> {
    let held = matches!(
        change.disposition(),
        Disposition::Blocked | Disposition::ApprovalRequired
    );
    let deletes = change.operation() == ChangeOperation::Delete;
    let graph = change.resource.strip_prefix("graph.")?;
    (held && deletes).then_some(graph)
}

/// The policies as they are to be.
fn next(
    declared: &Declared,
    content: &Content,
    staying: &BTreeSet<&str>,
) -> BTreeMap<String, PolicyContent> {
    let mut next: BTreeMap<String, PolicyContent> = declared
        .policies
        .values()
        .map(|policy| (policy.name.clone(), policy.content()))
        .collect();
    keep_bindings(&mut next, &content.policies, |graph| {
        staying.contains(graph)
    });
    next
}

fn change(name: &str, before: Option<&PolicyContent>, after: &PolicyContent) -> Option<Change> {
    if before == Some(after) {
        return None;
    }
    let resource = format!("policy.{name}");
    let none = BTreeSet::new();
    let scopes = after.applies_to.as_ref().unwrap_or(&none);
    let (operation, digest, metadata_change) = match before {
        None => (ChangeOperation::Create, None, bindings(Some(&none), scopes)),
        Some(before) => (
            ChangeOperation::Update,
            Some(before.digest()),
            bindings(before.applies_to.as_ref(), scopes),
        ),
    };
    Some(Change {
        metadata_change,
        ..Change::new(resource, operation, digest.as_ref(), Some(&after.digest()))
    })
}

/// `bindings: +graph.scratch, -cluster`; empty if nothing moves.
fn bindings(before: Option<&BTreeSet<String>>, after: &BTreeSet<String>) -> String {
    let none = BTreeSet::new();
    let address = |scope: &String| match scope.as_str() {
        CLUSTER_SCOPE => CLUSTER_SCOPE.to_owned(),
        graph => format!("graph.{graph}"),
    };
    let known = before.unwrap_or(&none);
    let added = after.difference(known).map(|s| format!("+{}", address(s)));
    let removed = known.difference(after).map(|s| format!("-{}", address(s)));
    let moved: Vec<String> = added.chain(removed).collect();
    let recorded = match before {
        None => " (not recorded before)",
        Some(_) => "",
    };
    match moved.is_empty() {
        true => String::new(),
        false => format!("bindings: {}{recorded}", moved.join(", ")),
    }
}
