//! A configuration directory, as it travels: `cluster.yaml` and the files that it names.

mod config;
mod directory;
mod external;
mod locate;

use std::collections::BTreeMap;

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::{ConfigBundle, Dependency, ResourceSummary, ValidateResponse};

pub(crate) use config::{CLUSTER_SCOPE, Config, GraphConfig, PolicyConfig, Queries, Retention};
pub use directory::{read_directory, resolve_cluster, storage_root, watched_files};
pub(crate) use external::ExternalBlobs;

use crate::declared::Declared;
use crate::finding;

/// The file that names all others.
pub const CLUSTER_FILE: &str = "cluster.yaml";
/// Bytes that a bundle may have in all.
const BYTES_MAX: usize = 16 << 20;

/// The files of a bundle as text.
#[derive(Debug, Default)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
}

impl Files {
    /// Reads a bundle; findings for files that cannot be used.
    pub(crate) fn of(bundle: &ConfigBundle) -> (Files, Vec<Diagnostic>) {
        let mut files = Files::default();
        let mut findings = Vec::new();
        let size: usize = bundle.files.iter().map(|file| file.content.len()).sum();
        if size > BYTES_MAX {
            let message = format!("the bundle has {size} bytes, {BYTES_MAX} are allowed");
            findings.push(finding::error("C105", None, message));
            return (files, findings);
        }
        for file in &bundle.files {
            let place = finding::Place {
                file: file.path.clone(),
                ..Default::default()
            };
            if !is_inside(&file.path) {
                let message = format!("path '{}' leaves the directory", file.path);
                findings.push(finding::error("C106", Some(place), message));
                continue;
            }
            match std::str::from_utf8(&file.content) {
                Ok(text) => {
                    // Digests must not depend on how a checkout ends its lines.
                    let text = text.replace("\r\n", "\n");
                    files.texts.insert(file.path.clone(), text);
                }
                Err(_) => {
                    let message = format!("file '{}' is no UTF-8 text", file.path);
                    findings.push(finding::error("C101", Some(place), message));
                }
            }
        }
        (files, findings)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// The query files directly in a directory, sorted.
    pub(crate) fn queries_in<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        let prefix = match directory.trim_end_matches('/') {
            "" | "." => String::new(),
            directory => format!("{directory}/"),
        };
        self.texts.keys().map(String::as_str).filter(move |path| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|name| !name.contains('/') && name.ends_with(".gq"))
        })
    }
}

/// Whether a path is relative and stays inside, with `/` and without detours.
pub(crate) fn is_inside(path: &str) -> bool {
    let odd = path.is_empty() || path.starts_with('/') || path.contains(['\\', '\0']);
    !odd && !path
        .split('/')
        .any(|part| part == ".." || part.contains(':'))
}

/// Checks everything that can be checked without looking at the cluster.
pub fn validate(bundle: &ConfigBundle) -> ValidateResponse {
    let declared = Declared::of(bundle);
    let ok = !declared.findings.iter().any(finding::is_error);
    let mut resources = Vec::new();
    let mut dependencies = Vec::new();
    for graph in declared.graphs.values() {
        let graph_address = format!("graph.{}", graph.id);
        let schema_address = format!("schema.{}", graph.id);
        resources.push(ResourceSummary {
            address: graph_address.clone(),
            kind: "graph".into(),
            digest: graph.digest().to_string(),
            path: CLUSTER_FILE.into(),
        });
        resources.push(ResourceSummary {
            address: schema_address.clone(),
            kind: "schema".into(),
            digest: graph
                .schema
                .as_ref()
                .map(|s| s.digest.to_string())
                .unwrap_or_default(),
            path: graph.schema_path.clone(),
        });
        dependencies.push(Dependency {
            from: graph_address,
            to: schema_address.clone(),
        });
        for query in graph.queries.values() {
            let address = format!("query.{}.{}", graph.id, query.name);
            resources.push(ResourceSummary {
                address: address.clone(),
                kind: "query".into(),
                digest: query.digest.to_string(),
                path: query.path.clone(),
            });
            dependencies.push(Dependency {
                from: address,
                to: schema_address.clone(),
            });
        }
    }
    for policy in declared.policies.values() {
        let address = format!("policy.{}", policy.name);
        resources.push(ResourceSummary {
            address: address.clone(),
            kind: "policy".into(),
            digest: policy.digest().to_string(),
            path: policy.path.clone(),
        });
        let graphs = policy.applies_to.iter().filter(|s| *s != CLUSTER_SCOPE);
        dependencies.extend(graphs.map(|graph| Dependency {
            from: address.clone(),
            to: format!("graph.{graph}"),
        }));
    }
    ValidateResponse {
        ok,
        resources,
        dependencies,
        config_digest: declared.config_digest.to_string(),
        diagnostics: declared.findings,
    }
}
