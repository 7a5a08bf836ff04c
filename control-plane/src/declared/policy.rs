//! Declared policies: read, checked against what they are bound to, with their digests.

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_engine::graph::GraphId;
use omnigraph_policy::{Bundle, Format, Kind, Resource, Source};
use omnigraph_proto::common::v1::Diagnostic;

use super::DeclaredGraph;
use crate::bundle::{CLUSTER_SCOPE, Config, Files, PolicyConfig};
use crate::catalog::BlobKind;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::finding;
use crate::ledger::PolicyContent;

/// One bundle without errors.
#[derive(Debug)]
pub(crate) struct DeclaredPolicy {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) format: Format,
    pub(crate) text: String,
    /// The text of the groups beside a bundle in Cedar.
    pub(crate) groups: Option<String>,
    /// Graphs, or the literal `cluster` alone.
    pub(crate) applies_to: BTreeSet<String>,
    pub(crate) source: Source,
}

impl DeclaredPolicy {
    /// The catalog object with its text.
    pub(crate) fn text_digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The catalog object with its groups.
    pub(crate) fn groups_digest(&self) -> Option<Digest> {
        let groups = self.groups.as_ref();
        groups.map(|text| Digest::of(text.as_bytes()))
    }

    /// What the catalog has to hold for it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (BlobKind, &str)> {
        let kind = match self.format {
            Format::Yaml => BlobKind::Policy,
            Format::Cedar => BlobKind::Cedar,
        };
        let groups = self.groups.as_deref();
        let groups = groups.map(|text| (BlobKind::Policy, text));
        [(kind, self.text.as_str())].into_iter().chain(groups)
    }

    /// As a part of a revision.
    pub(crate) fn content(&self) -> PolicyContent {
        PolicyContent {
            text: self.text_digest(),
            format: self.format.name().to_owned(),
            groups: self.groups_digest(),
            applies_to: Some(self.applies_to.clone()),
        }
    }

    /// What a revision declared.
    pub(crate) fn of_content(
        name: &str,
        path: &str,
        content: &PolicyContent,
        text: String,
        groups: Option<String>,
    ) -> Result<Self> {
        let unusable = |why: String| Error::corrupt(format!("policy '{name}' of {path}: {why}"));
        let format = Format::parse(&content.format)
            .ok_or_else(|| unusable(format!("format '{}' is not known", content.format)))?;
        let applies_to = content.applies_to.clone();
        let applies_to =
            applies_to.ok_or_else(|| unusable("what it applies to is not recorded".to_owned()))?;
        let parsed = Source::parse(format, &text, groups.as_deref());
        let (source, _) = parsed.map_err(|problems| unusable(problems.to_string()))?;
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            format,
            text,
            groups,
            applies_to,
            source,
        })
    }

    /// The state of the policy as a resource: its content, not what it is bound to.
    pub(crate) fn digest(&self) -> Digest {
        policy_digest(&self.text_digest(), self.groups_digest().as_ref())
    }
}

/// The digest of a policy's content.
pub(crate) fn policy_digest(text: &Digest, groups: Option<&Digest>) -> Digest {
    match groups {
        None => text.clone(),
        Some(groups) => Digest::of_lines([text.as_str(), groups.as_str()]),
    }
}

/// Reads every bundle; those with errors are in the findings only.
pub(super) fn read(
    config: &Config,
    files: &Files,
    graphs: &BTreeMap<GraphId, DeclaredGraph>,
) -> (BTreeMap<String, DeclaredPolicy>, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let mut policies = BTreeMap::new();
    for (name, policy) in &config.policies {
        if let Some(read) = read_one(name, policy, files, &mut findings) {
            unknown_names(&read, graphs, &mut findings);
            policies.insert(name.clone(), read);
        }
    }
    (policies, findings)
}

fn read_one(
    name: &str,
    config: &PolicyConfig,
    files: &Files,
    findings: &mut Vec<Diagnostic>,
) -> Option<DeclaredPolicy> {
    let mut text_of = |(path, place): &(String, finding::Place)| {
        let text = files.text(path).map(str::to_owned);
        if files.lack(path) {
            let message = format!("policy file '{path}' does not exist");
            findings.push(finding::error("C107", Some(place.clone()), message));
        }
        text
    };
    let text = text_of(&config.file);
    let groups = config.groups_file.as_ref().map(&mut text_of);
    let (text, groups) = match (text, groups) {
        (Some(text), None) => (text, None),
        (Some(text), Some(Some(groups))) => (text, Some(groups)),
        _ => return None,
    };
    let path = &config.file.0;
    let format = Format::of_path(path);
    let (source, warnings) = match Source::parse(format, &text, groups.as_deref()) {
        Ok(read) => read,
        Err(problems) => {
            let beside = config.groups_file.as_ref().map_or("", |(path, _)| path);
            let own = problems.source.iter();
            findings.extend(own.map(|found| finding::of_policy(found, path)));
            let groups = problems.groups.iter();
            findings.extend(groups.map(|found| finding::of_policy(found, beside)));
            return None;
        }
    };
    findings.extend(warnings.iter().map(|f| finding::of_policy(f, path)));
    let applies_to: BTreeSet<String> = config.applies_to.iter().cloned().collect();
    fits(name, config, &source, findings)?;
    Some(DeclaredPolicy {
        name: name.to_owned(),
        path: path.clone(),
        format,
        text,
        groups,
        applies_to,
        source,
    })
}

/// Whether the bundle is about what it is bound to, and compiles for it.
fn fits(
    name: &str,
    config: &PolicyConfig,
    source: &Source,
    findings: &mut Vec<Diagnostic>,
) -> Option<()> {
    let before = findings.len();
    for scope in &config.applies_to {
        let resource = resource_of(scope);
        if source.kind().is_some_and(|kind| kind != resource.kind()) {
            let message = match resource.kind() {
                Kind::Graph => format!(
                    "policy '{name}' is about the server and is bound to graph '{scope}': bind it to cluster"
                ),
                Kind::Server => format!(
                    "policy '{name}' is about graphs and is bound to cluster: bind it to graphs"
                ),
            };
            let at = Some(config.binding.clone());
            findings.push(finding::error("C115", at, message));
        } else if let Err(error) = source.compile(resource) {
            let at = Some(config.file.1.clone());
            findings.push(finding::error("C211", at, error.to_string()));
        }
    }
    (findings.len() == before).then_some(())
}

/// What a scope means for the policy.
pub(crate) fn resource_of(scope: &str) -> Resource {
    match scope {
        CLUSTER_SCOPE => Resource::Server,
        graph => Resource::Graph(graph.to_owned()),
    }
}

/// Types and queries that the graphs do not have: allowed to come later, and perhaps misspelt.
fn unknown_names(
    policy: &DeclaredPolicy,
    graphs: &BTreeMap<GraphId, DeclaredGraph>,
    findings: &mut Vec<Diagnostic>,
) {
    let Source::Yaml(Bundle { rules, .. }) = &policy.source else {
        return;
    };
    for (id, graph) in graphs {
        let Some(schema) = &graph.schema else {
            continue;
        };
        if !policy.applies_to.contains(id.as_str()) {
            continue;
        }
        let nodes = schema.catalog.nodes.iter().map(|node| node.name.as_str());
        let edges = schema.catalog.edges.iter().map(|edge| edge.name.as_str());
        let types: BTreeSet<&str> = nodes.chain(edges).collect();
        for rule in rules {
            let place = || finding::Place {
                file: policy.path.clone(),
                line: rule.place.line,
                column: rule.place.column,
                start: rule.place.start as u64,
                end: rule.place.end as u64,
            };
            let mut warn = |what: &str, name: &str| {
                let message = format!("rule '{}': graph '{id}' has no {what} '{name}'", rule.id);
                let mut found = finding::warning("C116", message);
                found.span = Some(place());
                findings.push(found);
            };
            for name in rule.types.iter().flatten() {
                if !types.contains(name.as_str()) {
                    warn("type", name);
                }
            }
            for name in rule.queries.iter().flatten() {
                if !graph.queries.contains_key(name) {
                    warn("stored query", name);
                }
            }
        }
    }
}
