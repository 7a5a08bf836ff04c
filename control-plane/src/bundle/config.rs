//! `cluster.yaml`: what may stand in it, and every finding at once.

mod policies;
mod providers;

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_proto::common::v1::Diagnostic;
use serde_yaml::Value;

pub(crate) use self::providers::EMBEDDING_PREFIX;
pub use self::providers::{EmbeddingProfile, ProviderKind};

use super::external::ExternalBlobs;
use super::locate::Index;
use super::{CLUSTER_FILE, is_inside};
use crate::finding::{self, Place};
pub(crate) use policies::{CLUSTER_SCOPE, PolicyConfig};

const TOP_KEYS: [&str; 6] = [
    "version",
    "metadata",
    "storage",
    "providers",
    "graphs",
    "policies",
];
const RESERVED_KEYS: [&str; 4] = ["pipelines", "ui", "aliases", "bindings"];
const GRAPH_KEYS: [&str; 6] = [
    "schema",
    "queries",
    "embedding_provider",
    "embed_on_write",
    "retention",
    "external_blobs",
];

/// The content of `cluster.yaml`.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) storage: Option<String>,
    /// Embedding providers by name.
    pub(crate) providers: BTreeMap<String, EmbeddingProfile>,
    pub(crate) graphs: BTreeMap<String, GraphConfig>,
    pub(crate) policies: BTreeMap<String, PolicyConfig>,
    /// Every graph that is named, with or without errors.
    declared_graphs: BTreeSet<String>,
}

/// One declared graph.
#[derive(Debug)]
pub(crate) struct GraphConfig {
    pub(crate) place: Place,
    pub(crate) schema: (String, Place),
    pub(crate) queries: Queries,
    /// Name of the embedding provider.
    pub(crate) embedding_provider: Option<(String, Place)>,
    /// Whether mutations compute the vectors that they are not given.
    pub(crate) embed_on_write: bool,
    pub(crate) retention: Option<Retention>,
    pub(crate) external_blobs: Vec<ExternalBlobs>,
}

/// Where the stored queries are.
#[derive(Debug, Default)]
pub(crate) enum Queries {
    #[default]
    None,
    Directory(String, Place),
    Files(Vec<(String, Place)>),
    /// Query name → file.
    Named(BTreeMap<String, (String, Place)>),
}

/// What history is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Retention {
    pub(crate) commits: u64,
    pub(crate) age_seconds: u64,
}

impl Config {
    /// Reads the text. What has errors is left out of the result and is in the findings.
    pub(crate) fn parse(text: &str) -> (Config, Vec<Diagnostic>) {
        let mut reader = Reader {
            text,
            index: Index::new(CLUSTER_FILE, text),
            findings: Vec::new(),
            declared_providers: BTreeSet::new(),
        };
        let config = reader.config();
        (config, reader.findings)
    }
}

struct Reader<'a> {
    text: &'a str,
    index: Index<'a>,
    findings: Vec<Diagnostic>,
    /// Those with errors too, so that who names them is not blamed for it.
    declared_providers: BTreeSet<String>,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let mut config = Config::default();
        let value: Value = match serde_yaml::from_str(&without_braces(self.text)) {
            Ok(value) => value,
            Err(error) => {
                self.syntax(&error);
                return config;
            }
        };
        let known = [TOP_KEYS.as_slice(), &RESERVED_KEYS].concat();
        let Some(top) = self.mapping(&value, &[], &known) else {
            return config;
        };
        for key in RESERVED_KEYS {
            if top.contains_key(key) {
                let message = format!("key '{key}' is reserved for a later release: remove it");
                self.report("C104", &[key], message);
            }
        }
        match top.get("version") {
            Some(Value::Number(number)) if number.as_u64() == Some(1) => {}
            Some(_) => self.report("C105", &["version"], "version must be 1"),
            None => self.report("C105", &[], "key 'version' is missing: add `version: 1`"),
        }
        if let Some(metadata) = top.get("metadata")
            && let Some(metadata) = self.mapping(metadata, &["metadata"], &["name"])
            && let Some(name) = metadata.get("name")
        {
            config.name = self.string(name, &["metadata", "name"]).unwrap_or_default();
        }
        if let Some(storage) = top.get("storage") {
            config.storage = self.string(storage, &["storage"]);
        }
        if let Some(providers) = top.get("providers") {
            config.providers = self.providers(providers);
        }
        if let Some(graphs) = top.get("graphs")
            && let Some(graphs) = self.mapping(graphs, &["graphs"], &[])
        {
            for (id, graph) in graphs {
                config.declared_graphs.insert(id.clone());
                if let Some(graph) = self.graph(&id, graph) {
                    config.graphs.insert(id, graph);
                }
            }
        }
        if let Some(policies) = top.get("policies") {
            self.policies(policies, &mut config);
            self.bindings(&config);
        }
        self.check_provider_references(&config);
        config
    }

    fn graph(&mut self, id: &str, value: &Value) -> Option<GraphConfig> {
        let path = ["graphs", id];
        let keys = self.mapping(value, &path, &GRAPH_KEYS)?;
        if let Err(error) = omnigraph_engine::graph::GraphId::parse(id) {
            self.report("C110", &path, error.message());
        }
        let embedding_provider = keys.get("embedding_provider").and_then(|value| {
            self.provider_reference(value, &["graphs", id, "embedding_provider"])
        });
        let embed_on_write = keys.get("embed_on_write").is_some_and(|value| {
            let named = keys.contains_key("embedding_provider");
            self.embed_on_write(value, named, &["graphs", id, "embed_on_write"])
        });
        let queries = match keys.get("queries") {
            Some(value) => self.queries(value, &["graphs", id, "queries"]),
            None => Queries::None,
        };
        let retention = keys
            .get("retention")
            .and_then(|value| self.retention(value, &["graphs", id, "retention"]));
        let external_blobs = keys.get("external_blobs").map_or_else(Vec::new, |value| {
            self.external_blobs(value, &["graphs", id, "external_blobs"])
        });
        let Some(schema) = keys.get("schema") else {
            let message = format!("graph '{id}' has no schema: add `schema: {id}.pg`");
            self.report("C105", &path, message);
            return None;
        };
        let schema = self.file(schema, &["graphs", id, "schema"])?;
        Some(GraphConfig {
            place: self.place(&path),
            schema,
            queries,
            embedding_provider,
            embed_on_write,
            retention,
            external_blobs,
        })
    }

    /// A list of bases: texts, or maps with `base` and `scope`.
    fn external_blobs(&mut self, value: &Value, path: &[&str]) -> Vec<ExternalBlobs> {
        let items = match value {
            Value::Null => return Vec::new(),
            Value::Sequence(items) => items,
            _ => {
                self.report("C105", path, "external_blobs must be a list of bases");
                return Vec::new();
            }
        };
        let mut bases = Vec::new();
        for item in items {
            let keys = match item {
                Value::String(_) => Some([("base".to_owned(), item)].into()),
                _ => self.mapping(item, path, &["base", "scope"]),
            };
            let Some(keys) = keys else { continue };
            let Some(base) = keys.get("base") else {
                self.report(
                    "C105",
                    path,
                    "an external blob base is missing: add `base:`",
                );
                continue;
            };
            let Some(base) = self.string(base, path) else {
                continue;
            };
            let scope = match keys.get("scope") {
                None => None,
                Some(scope) => match self.string(scope, path) {
                    Some(scope) => Some(scope),
                    None => continue,
                },
            };
            match ExternalBlobs::declared(&base, scope.as_deref()) {
                Ok(base) => bases.push(base),
                Err(message) => self.report("C105", path, message),
            }
        }
        bases.sort();
        bases.dedup();
        bases
    }

    fn queries(&mut self, value: &Value, path: &[&str]) -> Queries {
        match value {
            Value::Null => Queries::None,
            Value::String(_) => match self.file(value, path) {
                Some((file, place)) if file.ends_with(".gq") => Queries::Files(vec![(file, place)]),
                Some((directory, place)) => Queries::Directory(directory, place),
                None => Queries::None,
            },
            Value::Sequence(items) => {
                let files = items.iter().filter_map(|item| self.file(item, path));
                Queries::Files(files.collect())
            }
            Value::Mapping(_) => {
                let mut named = BTreeMap::new();
                let queries = self.mapping(value, path, &[]).unwrap_or_default();
                for (name, value) in queries {
                    let path = [path, &[name.as_str()]].concat();
                    let Some(entry) = self.mapping(value, &path, &["file"]) else {
                        continue;
                    };
                    let path = [path.as_slice(), &["file"]].concat();
                    match entry.get("file") {
                        Some(file) => {
                            named.extend(self.file(file, &path).map(|f| (name.clone(), f)))
                        }
                        None => self.report("C105", &path, format!("query '{name}' has no file")),
                    }
                }
                Queries::Named(named)
            }
            _ => {
                self.report(
                    "C105",
                    path,
                    "queries must be a directory, a list of files or a map",
                );
                Queries::None
            }
        }
    }

    fn retention(&mut self, value: &Value, path: &[&str]) -> Option<Retention> {
        let keys = self.mapping(value, path, &["commits", "age"])?;
        let mut retention = Retention {
            commits: 0,
            age_seconds: 0,
        };
        if let Some(commits) = keys.get("commits") {
            match commits.as_u64() {
                Some(commits) => retention.commits = commits,
                None => self.report(
                    "C105",
                    &[path, &["commits"]].concat(),
                    "commits must be a number",
                ),
            }
        }
        if let Some(age) = keys.get("age") {
            match age.as_str().and_then(seconds) {
                Some(age) => retention.age_seconds = age,
                None => {
                    let message = "age must be a number of days, hours or minutes, such as 30d";
                    self.report("C105", &[path, &["age"]].concat(), message);
                }
            }
        }
        Some(retention)
    }

    /// A path to a file or directory inside the bundle.
    fn file(&mut self, value: &Value, path: &[&str]) -> Option<(String, Place)> {
        let text = self.string(value, path)?;
        let file = text.strip_prefix("./").unwrap_or(&text).to_owned();
        if !is_inside(&file) {
            let message =
                format!("path '{text}' leaves the directory: use a relative path inside it");
            self.report("C106", path, message);
            return None;
        }
        Some((file, self.place(path)))
    }

    fn string(&mut self, value: &Value, path: &[&str]) -> Option<String> {
        match value.as_str() {
            Some(text) if !text.trim().is_empty() => Some(with_braces(text)),
            _ => {
                let key = path.last().copied().unwrap_or_default();
                self.report("C105", path, format!("'{key}' must be a text"));
                None
            }
        }
    }

    /// The keys of a mapping, checked against the known ones; an empty list knows every key.
    fn mapping<'v>(
        &mut self,
        value: &'v Value,
        path: &[&str],
        known: &[&str],
    ) -> Option<BTreeMap<String, &'v Value>> {
        let Value::Mapping(mapping) = value else {
            if value.is_null() {
                return Some(BTreeMap::new());
            }
            let what = path.last().copied().unwrap_or(CLUSTER_FILE);
            self.report("C105", path, format!("'{what}' must be a mapping"));
            return None;
        };
        let mut keys = BTreeMap::new();
        for (key, value) in mapping {
            let Some(key) = key.as_str() else {
                self.report("C105", path, "keys must be texts: quote this one");
                continue;
            };
            if !known.is_empty() && !known.contains(&key) {
                let at = self.place(&[path, &[key]].concat());
                let shown: Vec<_> = known
                    .iter()
                    .filter(|k| !RESERVED_KEYS.contains(k))
                    .copied()
                    .collect();
                let finding = finding::error("C103", Some(at), format!("key '{key}' is not known"));
                let hint = format!("known here: {}", shown.join(", "));
                self.findings.push(finding::hinted(finding, hint));
            }
            keys.insert(key.to_owned(), value);
        }
        Some(keys)
    }

    fn place(&self, path: &[&str]) -> Place {
        self.index.locate(path, 0)
    }

    fn report(&mut self, code: &str, path: &[&str], message: impl Into<String>) {
        let place = self.place(path);
        self.findings
            .push(finding::error(code, Some(place), message));
    }

    fn syntax(&mut self, error: &serde_yaml::Error) {
        let text = error.to_string();
        let duplicate = text
            .split_once("duplicate entry with key ")
            .and_then(|(before, rest)| {
                let key = rest.strip_prefix('"')?.split('"').next()?;
                let mut path: Vec<&str> = before.trim_end_matches(": ").split('.').collect();
                path.retain(|part| !part.is_empty());
                path.push(key);
                Some((key, self.index.locate(&path, 1)))
            });
        if let Some((key, place)) = duplicate {
            let message = format!("key '{key}' is given twice");
            self.findings
                .push(finding::error("C102", Some(place), message));
            return;
        }
        let at = error.location();
        let place = Place {
            file: CLUSTER_FILE.to_owned(),
            line: at
                .as_ref()
                .map_or(0, |l| u32::try_from(l.line()).unwrap_or(0)),
            column: at
                .as_ref()
                .map_or(0, |l| u32::try_from(l.column()).unwrap_or(0)),
            start: at.as_ref().map_or(0, |l| l.index() as u64),
            end: at.as_ref().map_or(0, |l| l.index() as u64 + 1),
        };
        let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
        self.findings
            .push(finding::error("C101", Some(place), message));
    }
}

/// Whether a text can be the name of an environment variable.
fn is_variable(name: &str) -> bool {
    let head = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    head && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// YAML allows no braces in a bare text inside of `{ … }`. So that `${NAME}` can be written there,
/// the parser is shown `$(NAME)`, which is as long.
fn without_braces(text: &str) -> String {
    exchange(text, ("${", '}'), ("$(", ')'))
}

fn with_braces(text: &str) -> String {
    exchange(text, ("$(", ')'), ("${", '}'))
}

fn exchange(text: &str, old: (&str, char), new: (&str, char)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(old.0) {
        out.push_str(before);
        rest = after;
        match after
            .split_once(old.1)
            .filter(|(name, _)| is_variable(name))
        {
            Some((name, after)) => {
                out.push_str(new.0);
                out.push_str(name);
                out.push(new.1);
                rest = after;
            }
            None => out.push_str(old.0),
        }
    }
    out.push_str(rest);
    out
}

/// `30d`, `12h`, `90m`, `45s`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let (_, findings) = Config::parse(text);
        let line = |f: &Diagnostic| {
            let place = f.span.clone().unwrap_or_default();
            format!("{} {}:{} {}", f.code, place.line, place.column, f.message)
        };
        findings.iter().map(line).collect()
    }

    #[test]
    fn a_full_file_is_read() {
        let text = "version: 1\nmetadata: { name: shop }\nstorage: s3://b/p\ngraphs:\n  a:\n    schema: ./a.pg\n    queries: queries/\n    retention: { commits: 10, age: 2d }\n  b:\n    schema: b.pg\n    queries: [x.gq, y.gq]\n  c:\n    schema: c.pg\n    queries:\n      top: { file: top.gq }\n";
        let (config, findings) = Config::parse(text);
        assert_eq!(findings, []);
        assert_eq!(config.name, "shop");
        assert_eq!(config.storage.as_deref(), Some("s3://b/p"));
        let a = &config.graphs["a"];
        assert_eq!(a.schema.0, "a.pg");
        assert!(matches!(&a.queries, Queries::Directory(dir, _) if dir == "queries/"));
        assert_eq!(a.retention.as_ref().map(|r| r.age_seconds), Some(172_800));
        assert!(matches!(&config.graphs["b"].queries, Queries::Files(files) if files.len() == 2));
        assert!(
            matches!(&config.graphs["c"].queries, Queries::Named(named) if named["top"].0 == "top.gq")
        );
    }

    #[test]
    fn every_mistake_is_found_at_its_place() {
        let text = "version: 2\ncolour: red\nui: {}\npolicies:\n  readers: { file: p.yaml, colour: red }\ngraphs:\n  healthz:\n    schema: ../a.pg\n  b:\n    schema: b.pg\n    shema: c.pg\n    retention: { age: soon }\n  c: {}\n";
        assert_eq!(
            findings(text),
            [
                "C103 2:1 key 'colour' is not known",
                "C104 3:1 key 'ui' is reserved for a later release: remove it",
                "C105 1:1 version must be 1",
                "C103 11:5 key 'shema' is not known",
                "C105 12:18 age must be a number of days, hours or minutes, such as 30d",
                "C105 13:3 graph 'c' has no schema: add `schema: c.pg`",
                "C110 7:3 graph id 'healthz' is reserved: choose another",
                "C106 8:5 path '../a.pg' leaves the directory: use a relative path inside it",
                "C103 5:28 key 'colour' is not known",
                "C105 5:3 policy 'readers' applies to nothing: add `applies_to: [<graph>]` or `[cluster]`",
            ]
        );
    }

    #[test]
    fn policies_are_bound_to_graphs_or_to_the_cluster() {
        let head = "version: 1\ngraphs:\n  a: { schema: a.pg }\n  b: { schema: b.pg }\npolicies:\n";
        let text = format!(
            "{head}  readers: {{ file: ./p.yaml, applies_to: [a, b] }}\n  server: {{ file: s.cedar, groups_file: g.yaml, applies_to: [cluster] }}\n"
        );
        let (config, found) = Config::parse(&text);
        assert_eq!(found, []);
        assert_eq!(config.policies["readers"].file.0, "p.yaml");
        assert_eq!(config.policies["readers"].applies_to, ["a", "b"]);
        assert_eq!(config.policies["server"].applies_to, [CLUSTER_SCOPE]);
        let text = format!(
            "{head}  one: {{ file: 1.yaml, applies_to: [a, cluster] }}\n  two: {{ file: 2.yaml, applies_to: [a, c, c] }}\n  three: {{ file: ../3.yaml, applies_to: [] }}\n  four: {{ applies_to: b }}\n  \"fi ve\": {{ file: 5.yaml, groups_file: g.yaml, applies_to: [b] }}\n"
        );
        let mut found = findings(&text);
        found.sort();
        assert_eq!(
            found,
            [
                "C105 10:28 groups_file goes with a bundle in Cedar: a YAML bundle has its groups itself",
                "C105 8:29 applies_to is empty: name a graph, or cluster",
                "C105 9:11 applies_to must be a list of graphs, or [cluster]",
                "C105 9:3 policy 'four' has no file: add `file: four.yaml`",
                "C106 8:12 path '../3.yaml' leaves the directory: use a relative path inside it",
                "C110 10:4 policy name 'fi ve' must be 1 to 64 of the characters a-z, A-Z, 0-9, '-', '_'",
                "C115 6:24 a bundle is bound to graphs or to cluster, never to both",
                "C115 7:24 'a' has two policies, 'one' and 'two': one bundle per scope",
                "C115 7:24 'c' is named twice",
                "C115 7:24 policy 'two' applies to graph 'c', which is not declared",
            ]
        );
    }

    #[test]
    fn external_blobs_are_bases_of_known_stores() {
        let text = "version: 1\ngraphs:\n  a:\n    schema: a.pg\n    external_blobs:\n    - s3://media/public/\n    - { base: \"file:///srv/b/\", scope: copy }\n";
        let (config, found) = Config::parse(text);
        assert_eq!(found, []);
        let bases = &config.graphs["a"].external_blobs;
        let shown: Vec<_> = bases.iter().map(|b| (&*b.base, &*b.scope)).collect();
        assert_eq!(
            shown,
            [("file:///srv/b/", "copy"), ("s3://media/public/", "")]
        );
        for wrong in [
            "s3://media",
            "[http://h/p/]",
            "[s3://media/public]",
            "[{ base: \"s3://m/p/\", scope: all }]",
            "[{ scope: copy }]",
            "[{ base: \"s3://m/p/\", mode: copy }]",
        ] {
            let text = format!(
                "version: 1\ngraphs:\n  a:\n    schema: a.pg\n    external_blobs: {wrong}\n"
            );
            let found = findings(&text);
            assert_eq!(found.len(), 1, "{wrong}: {found:?}");
            assert!(found[0].contains(" 5:"), "{found:?}");
        }
    }

    #[test]
    fn a_key_that_is_given_twice_is_an_error_at_the_second() {
        let text = "version: 1\ngraphs:\n  a:\n    schema: a.pg\n  a:\n    schema: b.pg\n";
        assert_eq!(findings(text), ["C102 5:3 key 'a' is given twice"]);
        let text = "version: 1\nversion: 1\n";
        assert_eq!(findings(text), ["C102 2:1 key 'version' is given twice"]);
    }

    #[test]
    fn broken_yaml_has_a_place() {
        let found = findings("version: 1\ngraphs: [\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("C101 "), "{found:?}");
    }
}
