//! `policies:` — bundles, and what each is bound to.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::{Config, Reader};
use crate::finding::{self, Place};

const POLICY_KEYS: [&str; 3] = ["file", "groups_file", "applies_to"];
/// What a bundle about the server itself is bound to.
pub(crate) const CLUSTER_SCOPE: &str = "cluster";

/// One declared bundle.
#[derive(Debug)]
pub(crate) struct PolicyConfig {
    pub(crate) file: (String, Place),
    /// Groups beside a bundle in Cedar.
    pub(crate) groups_file: Option<(String, Place)>,
    /// Graphs, or [`CLUSTER_SCOPE`] alone.
    pub(crate) applies_to: Vec<String>,
    pub(crate) binding: Place,
}

impl Reader<'_> {
    pub(super) fn policies(&mut self, value: &Value, config: &mut Config) {
        let Some(policies) = self.mapping(value, &["policies"], &[]) else {
            return;
        };
        for (name, policy) in policies {
            if let Some(policy) = self.policy(&name, policy) {
                config.policies.insert(name, policy);
            }
        }
    }

    fn policy(&mut self, name: &str, value: &Value) -> Option<PolicyConfig> {
        let path = ["policies", name];
        let sound = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !sound || name.is_empty() || name.len() > 64 {
            let message = format!(
                "policy name '{name}' must be 1 to 64 of the characters a-z, A-Z, 0-9, '-', '_'"
            );
            self.report("C110", &path, message);
        }
        let keys = self.mapping(value, &path, &POLICY_KEYS)?;
        let groups_file = keys
            .get("groups_file")
            .and_then(|file| self.file(file, &["policies", name, "groups_file"]));
        let binding = ["policies", name, "applies_to"];
        let applies_to = match keys.get("applies_to") {
            Some(list) => self.scopes(list, &binding),
            None => {
                let message = format!(
                    "policy '{name}' applies to nothing: add `applies_to: [<graph>]` or `[cluster]`"
                );
                self.report("C105", &path, message);
                Vec::new()
            }
        };
        let Some(file) = keys.get("file") else {
            let message = format!("policy '{name}' has no file: add `file: {name}.yaml`");
            self.report("C105", &path, message);
            return None;
        };
        let file = self.file(file, &["policies", name, "file"])?;
        if groups_file.is_some() && !file.0.ends_with(".cedar") {
            let message =
                "groups_file goes with a bundle in Cedar: a YAML bundle has its groups itself";
            self.report("C105", &["policies", name, "groups_file"], message);
        }
        Some(PolicyConfig {
            file,
            groups_file,
            applies_to,
            binding: self.place(&binding),
        })
    }

    fn scopes(&mut self, value: &Value, path: &[&str]) -> Vec<String> {
        let Value::Sequence(items) = value else {
            self.report(
                "C105",
                path,
                "applies_to must be a list of graphs, or [cluster]",
            );
            return Vec::new();
        };
        if items.is_empty() {
            self.report(
                "C105",
                path,
                "applies_to is empty: name a graph, or cluster",
            );
        }
        let mut scopes: Vec<String> = Vec::new();
        for item in items {
            match item.as_str().map(str::trim) {
                Some(scope) if !scope.is_empty() => {
                    if scopes.iter().any(|known| known == scope) {
                        self.report("C115", path, format!("'{scope}' is named twice"));
                    } else {
                        scopes.push(scope.to_owned());
                    }
                }
                _ => self.report("C105", path, "an entry of applies_to must be a text"),
            }
        }
        if scopes.len() > 1 && scopes.iter().any(|scope| scope == CLUSTER_SCOPE) {
            let message = "a bundle is bound to graphs or to cluster, never to both";
            self.report("C115", path, message);
        }
        scopes
    }

    /// What can be said only when all graphs and policies are known.
    pub(super) fn bindings(&mut self, config: &Config) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, policy) in &config.policies {
            for scope in &policy.applies_to {
                let at = Some(policy.binding.clone());
                if scope != CLUSTER_SCOPE && !config.declared_graphs.contains(scope) {
                    let message = format!(
                        "policy '{name}' applies to graph '{scope}', which is not declared"
                    );
                    self.findings
                        .push(finding::error("C115", at.clone(), message));
                }
                if let Some(other) = taken.insert(scope, name) {
                    let message = format!(
                        "'{scope}' has two policies, '{other}' and '{name}': one bundle per scope"
                    );
                    self.findings.push(finding::error("C115", at, message));
                }
            }
        }
    }
}
