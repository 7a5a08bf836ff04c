//! A configuration directory, as it travels: `cluster.yaml` and the files that it names.

mod config;
mod directory;
mod external;
mod locate;

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::{ConfigBundle, Dependency, ResourceSummary, ValidateResponse};

pub(crate) use config::{
    CLUSTER_SCOPE, Config, EMBEDDING_PREFIX, GraphConfig, PolicyConfig, Queries, Retention,
};
pub use config::{EmbeddingProfile, ProviderKind};
pub use directory::{
    Directory, read, read_directory, resolve_cluster, storage_root, watched_files,
};
pub(crate) use external::ExternalBlobs;

use crate::declared::Declared;
use crate::finding;

/// The file that names all others.
pub const CLUSTER_FILE: &str = "cluster.yaml";
/// Bytes that a bundle may have in all.
pub(crate) const BYTES_MAX: u64 = 16 << 20;
/// Bytes that one file may have.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that a bundle may have.
pub(crate) const FILES_MAX: usize = 20_000;

/// The files of a bundle as text.
#[derive(Debug, Default)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
    /// Files that are there and cannot be used. Why has been said, so they are not missing besides.
    refused: BTreeSet<String>,
}

impl Files {
    /// Reads a bundle; findings for files that cannot be used.
    pub(crate) fn of(bundle: &ConfigBundle) -> (Files, Vec<Diagnostic>) {
        let mut files = Files::default();
        let mut findings = Vec::new();
        let size: u64 = bundle
            .files
            .iter()
            .map(|file| file.content.len() as u64)
            .sum();
        if size > BYTES_MAX {
            findings.push(finding::error("C111", None, too_many_bytes(size)));
        }
        if bundle.files.len() > FILES_MAX {
            findings.push(finding::error(
                "C111",
                None,
                too_many_files(bundle.files.len()),
            ));
        }
        if !findings.is_empty() {
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
                files.refused.insert(file.path.clone());
                continue;
            }
            if file.content.len() as u64 > FILE_BYTES_MAX {
                let message = too_large(&file.path, file.content.len() as u64);
                findings.push(finding::error("C111", Some(place), message));
                files.refused.insert(file.path.clone());
                continue;
            }
            if files.texts.contains_key(&file.path) {
                let message = format!("the bundle has file '{}' twice", file.path);
                findings.push(finding::error("C102", Some(place), message));
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
                    files.refused.insert(file.path.clone());
                }
            }
        }
        (files, findings)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// There is no such file, as opposed to one that cannot be used.
    pub(crate) fn lack(&self, path: &str) -> bool {
        !self.texts.contains_key(path) && !self.refused.contains(path)
    }

    /// These files are there, and were not sent along.
    pub(crate) fn refuse(&mut self, paths: impl IntoIterator<Item = String>) {
        self.refused.extend(paths);
    }

    /// The query files directly in a directory, sorted.
    pub(crate) fn queries_in<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        let prefix = match directory.trim_end_matches('/') {
            "" | "." => String::new(),
            directory => format!("{directory}/"),
        };
        // Only what begins with the prefix is looked at, whatever else the bundle has.
        let below = self.texts.range(prefix.clone()..);
        below
            .map(|(path, _)| path.as_str())
            .map_while(move |path| Some((path, path.strip_prefix(prefix.as_str())?)))
            .filter(|(_, name)| !name.contains('/') && name.ends_with(".gq"))
            .map(|(path, _)| path)
    }
}

pub(crate) fn too_many_bytes(size: u64) -> String {
    format!("the configuration has {size} bytes, {BYTES_MAX} are allowed: split the cluster")
}

pub(crate) fn too_many_files(files: usize) -> String {
    format!(
        "the configuration has {files} files, {FILES_MAX} are allowed: put several queries into one file"
    )
}

pub(crate) fn too_large(path: &str, size: u64) -> String {
    format!("file '{path}' has {size} bytes, {FILE_BYTES_MAX} are allowed")
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
    summary(Declared::of(bundle))
}

/// The same for a directory as it was read, where what is wrong with the files themselves is a
/// finding like any other.
pub fn validate_directory(read: &Directory) -> ValidateResponse {
    let refused = read.findings.iter().filter_map(|found| found.span.as_ref());
    let refused = refused.map(|place| place.file.clone());
    let mut response = summary(Declared::with_refused(&read.bundle, refused));
    response.ok &= !read.findings.iter().any(finding::is_error);
    response
        .diagnostics
        .splice(0..0, read.findings.iter().cloned());
    response
}

fn summary(declared: Declared) -> ValidateResponse {
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
            from: graph_address.clone(),
            to: schema_address.clone(),
        });
        dependencies.extend(graph.embedding.iter().map(|embedding| Dependency {
            from: graph_address.clone(),
            to: format!("{EMBEDDING_PREFIX}{}", embedding.provider),
        }));
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
    for (name, profile) in &declared.providers {
        resources.push(ResourceSummary {
            address: format!("{EMBEDDING_PREFIX}{name}"),
            kind: "provider".into(),
            digest: profile.digest().to_string(),
            path: CLUSTER_FILE.into(),
        });
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
