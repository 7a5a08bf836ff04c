//! What a configuration declares: graphs, schemas and queries, checked, with their digests.

mod policy;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use omnigraph_engine::graph::GraphId;
use omnigraph_lang::query;
use omnigraph_lang::schema::{self, Catalog};
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::ConfigBundle;

use crate::bundle::{
    CLUSTER_FILE, Config, EMBEDDING_PREFIX, EmbeddingProfile, ExternalBlobs, Files, GraphConfig,
    Queries, Retention,
};
use crate::digest::Digest;
use crate::finding;
use crate::ledger::GraphEmbedding;
pub(crate) use policy::{DeclaredPolicy, policy_digest};
pub(crate) use sources::Compiled;
use sources::Sources;

/// Everything that a bundle declares.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) cluster_name: String,
    pub(crate) graphs: BTreeMap<GraphId, DeclaredGraph>,
    /// Embedding providers by name.
    pub(crate) providers: BTreeMap<String, EmbeddingProfile>,
    /// Without errors only.
    pub(crate) policies: BTreeMap<String, DeclaredPolicy>,
    /// Over all resources and settings.
    pub(crate) config_digest: Digest,
    /// What an earlier revision held back, when that is what is declared.
    pub(crate) carried: BTreeMap<String, String>,
    pub(crate) findings: Vec<Diagnostic>,
    /// How many sources were compiled for it.
    pub(crate) compiled: Compiled,
    /// `cluster.yaml` itself or a policy is wrong: nothing of the rest can be relied upon. Whatever
    /// would be applied beside a broken policy could be open to more people than is declared.
    pub(crate) broken: bool,
}

/// One graph.
#[derive(Debug)]
pub(crate) struct DeclaredGraph {
    pub(crate) id: GraphId,
    pub(crate) schema_path: String,
    /// `None` if it has errors. Graphs with the same file share it.
    pub(crate) schema: Option<Arc<DeclaredSchema>>,
    pub(crate) queries: BTreeMap<String, DeclaredQuery>,
    pub(crate) embedding: Option<GraphEmbedding>,
    pub(crate) retention: Option<Retention>,
    pub(crate) external_blobs: Vec<ExternalBlobs>,
}

/// A schema without errors.
#[derive(Debug)]
pub(crate) struct DeclaredSchema {
    pub(crate) source: String,
    pub(crate) catalog: Catalog,
    /// Of the meaning: comments do not move it.
    pub(crate) digest: Digest,
}

/// A stored query.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredQuery {
    pub(crate) name: String,
    pub(crate) path: String,
    /// The text of this query alone.
    pub(crate) source: String,
    pub(crate) digest: Digest,
    /// Why it cannot be applied.
    pub(crate) problem: Option<String>,
}

impl Declared {
    /// Reads and checks a bundle; every finding at once.
    pub(crate) fn of(bundle: &ConfigBundle) -> Declared {
        Declared::with_refused(bundle, [])
    }

    /// The same for a bundle without some files that are there and could not be read.
    pub(crate) fn with_refused(
        bundle: &ConfigBundle,
        refused: impl IntoIterator<Item = String>,
    ) -> Declared {
        let (mut files, mut findings) = Files::of(bundle);
        files.refuse(refused);
        let (config, found) = match files.text(CLUSTER_FILE) {
            Some(text) => Config::parse(text),
            None if files.lack(CLUSTER_FILE) => {
                let missing = finding::error("C107", None, "the bundle has no cluster.yaml");
                (Config::default(), vec![missing])
            }
            None => (Config::default(), Vec::new()),
        };
        findings.extend(found);
        let broken = findings.iter().any(finding::is_error);
        let mut graphs = BTreeMap::new();
        let mut sources = Sources::compile(&config, &files);
        for (id, graph) in &config.graphs {
            let Ok(id) = GraphId::parse(id) else { continue };
            let embedding = graph.embedding_provider.as_ref().map(|(name, _)| {
                let profile = config.providers.get(name).cloned();
                let provider = name.clone();
                GraphEmbedding {
                    provider,
                    profile,
                    on_write: graph.embed_on_write,
                }
            });
            let mut graph = read_graph(&id, graph, &files, &mut sources, &mut findings);
            graph.embedding = embedding;
            graphs.insert(id, graph);
        }
        let (policies, found) = policy::read(&config, &files, &graphs);
        let broken = broken || found.iter().any(finding::is_error);
        findings.extend(found);
        let config_digest = config_digest(&config.name, &graphs, &config.providers, &policies);
        Declared {
            cluster_name: config.name,
            graphs,
            policies,
            providers: config.providers,
            config_digest,
            carried: BTreeMap::new(),
            findings,
            compiled: sources.compiled(),
            broken,
        }
    }
}

impl DeclaredGraph {
    /// The state of the graph as a resource: its settings.
    pub(crate) fn digest(&self) -> Digest {
        let embedding = self.embedding.as_ref();
        graph_digest(self.retention.as_ref(), &self.external_blobs, embedding)
    }

    /// Everything that is declared for the graph: what an approval is bound to.
    pub(crate) fn whole_digest(&self) -> Digest {
        let schema = self.schema.as_ref().map_or("-", |s| s.digest.as_str());
        let mut lines = vec![
            format!("settings {}", self.digest()),
            format!("schema {schema}"),
        ];
        let queries = self.queries.values();
        lines.extend(queries.map(|query| format!("query {} {}", query.name, query.digest)));
        Digest::of_lines(lines.iter().map(String::as_str))
    }
}

/// The digest of a graph's settings.
pub(crate) fn graph_digest(
    retention: Option<&Retention>,
    external_blobs: &[ExternalBlobs],
    embedding: Option<&GraphEmbedding>,
) -> Digest {
    let text = retention.map_or_else(String::new, |r| format!("{} {}", r.commits, r.age_seconds));
    let bases = external_blobs
        .iter()
        .map(|blobs| format!("external_blobs {} {}", blobs.base, blobs.scope));
    let on_write = embedding.filter(|embedding| embedding.on_write);
    let lines: Vec<String> = ["graph".to_owned(), text]
        .into_iter()
        .chain(bases)
        .chain(embedding.map(|e| format!("embedding_provider {}", e.provider)))
        .chain(on_write.map(|_| "embed_on_write".to_owned()))
        .collect();
    Digest::of_lines(lines.iter().map(String::as_str))
}

fn config_digest(
    name: &str,
    graphs: &BTreeMap<GraphId, DeclaredGraph>,
    providers: &BTreeMap<String, EmbeddingProfile>,
    policies: &BTreeMap<String, DeclaredPolicy>,
) -> Digest {
    let mut lines = vec![name.to_owned()];
    for (id, graph) in graphs {
        lines.push(format!("graph.{id} {}", graph.digest()));
        let schema = graph.schema.as_ref().map_or("-", |s| s.digest.as_str());
        lines.push(format!("schema.{id} {schema}"));
        for query in graph.queries.values() {
            lines.push(format!("query.{id}.{} {}", query.name, query.digest));
        }
    }
    let providers = providers.iter();
    lines.extend(providers.map(|(name, p)| format!("{EMBEDDING_PREFIX}{name} {}", p.digest())));
    for policy in policies.values() {
        let scopes: Vec<&str> = policy.applies_to.iter().map(String::as_str).collect();
        let (name, digest) = (&policy.name, policy.digest());
        lines.push(format!("policy.{name} {digest} {}", scopes.join(",")));
    }
    Digest::of_lines(lines.iter().map(String::as_str))
}

fn read_graph(
    id: &GraphId,
    config: &GraphConfig,
    files: &Files,
    sources: &mut Sources,
    findings: &mut Vec<Diagnostic>,
) -> DeclaredGraph {
    let (schema_path, place) = &config.schema;
    let schema = match files.text(schema_path) {
        Some(_) => sources.schema(schema_path, findings),
        None => {
            if files.lack(schema_path) {
                let message = format!("schema file '{schema_path}' does not exist");
                findings.push(finding::error("C107", Some(place.clone()), message));
            }
            None
        }
    };
    let mut graph = DeclaredGraph {
        id: id.clone(),
        schema_path: schema_path.clone(),
        schema,
        queries: BTreeMap::new(),
        embedding: None,
        retention: config.retention.clone(),
        external_blobs: config.external_blobs.clone(),
    };
    let (paths, wanted) = query_paths(config, files, findings);
    for (path, name) in paths.iter().zip(wanted) {
        let found = sources.queries(schema_path, path, findings);
        add_queries(&mut graph, found, path, name.as_deref(), config, findings);
    }
    graph
}

fn read_schema(text: &str, path: &str, findings: &mut Vec<Diagnostic>) -> Option<DeclaredSchema> {
    match schema::parse_schema(text) {
        Ok((catalog, warnings)) => {
            findings.extend(warnings.iter().map(|w| finding::of_language(w, path)));
            Some(DeclaredSchema {
                source: text.to_owned(),
                digest: Digest::of_schema(&catalog),
                catalog,
            })
        }
        Err(errors) => {
            findings.extend(errors.iter().map(|e| finding::of_language(e, path)));
            None
        }
    }
}

/// The query files, and for each the one query that is wanted from it, if not all are.
fn query_paths(
    config: &GraphConfig,
    files: &Files,
    findings: &mut Vec<Diagnostic>,
) -> (Vec<String>, Vec<Option<String>>) {
    let listed: Vec<_> = match &config.queries {
        Queries::None => Vec::new(),
        Queries::Directory(directory, place) => {
            let paths: Vec<_> = files.queries_in(directory).map(str::to_owned).collect();
            if paths.is_empty() {
                let message = format!("directory '{directory}' has no query files (*.gq)");
                let mut finding = finding::warning("C107", message);
                finding.span = Some(place.clone());
                findings.push(finding);
            }
            return (paths.clone(), vec![None; paths.len()]);
        }
        Queries::Files(list) => list.iter().map(|(path, at)| (path, at, None)).collect(),
        Queries::Named(map) => map
            .iter()
            .map(|(name, (path, at))| (path, at, Some(name.clone())))
            .collect(),
    };
    let mut paths = Vec::new();
    let mut wanted = Vec::new();
    for (path, place, name) in listed {
        if files.text(path).is_none() {
            if files.lack(path) {
                let message = format!("query file '{path}' does not exist");
                findings.push(finding::error("C107", Some(place.clone()), message));
            }
            continue;
        }
        paths.push(path.clone());
        wanted.push(name);
    }
    (paths, wanted)
}

fn read_queries(
    text: &str,
    path: &str,
    schema: Option<&DeclaredSchema>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<DeclaredQuery> {
    let query = |name: &str, source: &str, problem: Option<String>| DeclaredQuery {
        name: name.to_owned(),
        path: path.to_owned(),
        source: source.trim().to_owned(),
        digest: Digest::of(source.trim().as_bytes()),
        problem,
    };
    let Some(schema) = schema else {
        let problem = || Some("the schema has errors".to_owned());
        let parts = split(text).into_iter();
        return parts
            .map(|(_, name, source)| query(name, source, problem()))
            .collect();
    };
    let checkup = query::check(text, &schema.catalog);
    let all = checkup.all_diagnostics();
    findings.extend(all.iter().map(|found| finding::of_language(found, path)));
    let unread = || "it could not be read to its end".to_owned();
    let said =
        |found: &omnigraph_lang::Diagnostic| finding::line(&finding::of_language(found, path));
    // Those that are right by themselves are not held up by their neighbours.
    let mut queries: Vec<DeclaredQuery> = checkup
        .queries
        .iter()
        .map(|one| {
            let problem = one.checked.is_none().then(|| {
                let error = one.diagnostics.iter().find(|found| found.is_error());
                error.map_or_else(unread, said)
            });
            query(&one.name, &one.source, problem)
        })
        .collect();
    if checkup.incomplete {
        // A query that could not be read is held back, not taken for one that is gone.
        for (begin, name, source) in split(text) {
            if queries.iter().any(|known| known.name == name) {
                continue;
            }
            let alone = query::check(source, &schema.catalog);
            if let ([only], false) = (alone.queries.as_slice(), alone.incomplete)
                && only.checked.is_some()
            {
                queries.push(query(name, &only.source, None));
                continue;
            }
            let errors = || all.iter().filter(|found| found.is_error());
            let behind = errors().find(|e| e.span.is_some_and(|s| s.start as usize >= begin));
            let own = behind.or_else(|| errors().next()).map(said);
            queries.push(query(name, source, Some(own.unwrap_or_else(unread))));
        }
    }
    queries
}

/// The queries of a file that cannot be parsed as a whole, by the lines that begin one: where, their
/// names, their texts.
fn split(text: &str) -> Vec<(usize, &str, &str)> {
    let mut starts = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("query ") {
            let name = rest.trim_start();
            let end = name
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(name.len());
            starts.push((offset, &name[..end]));
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let parts = starts.iter().zip(ends);
    parts
        .map(|((at, name), end)| (*at, *name, &text[*at..end]))
        .collect()
}

fn add_queries(
    graph: &mut DeclaredGraph,
    found: Vec<DeclaredQuery>,
    path: &str,
    wanted: Option<&str>,
    config: &GraphConfig,
    findings: &mut Vec<Diagnostic>,
) {
    if let Some(name) = wanted
        && !found.iter().any(|query| query.name == name)
    {
        let message = format!("file '{path}' has no query '{name}'");
        findings.push(finding::error("C107", Some(config.place.clone()), message));
    }
    for query in found {
        if wanted.is_some_and(|name| name != query.name) {
            continue;
        }
        if let Some(first) = graph.queries.get_mut(&query.name) {
            let message = format!(
                "query '{}' is declared in {} and in {path}",
                query.name, first.path
            );
            first.problem.get_or_insert_with(|| message.clone());
            let place = finding::Place {
                file: path.to_owned(),
                ..Default::default()
            };
            findings.push(finding::error("C108", Some(place), message));
            continue;
        }
        graph.queries.insert(query.name.clone(), query);
    }
}
