//! `providers.embedding` and the graphs' `embedding_provider`: how texts in queries become vectors.
//! Keys are named, never written down; the replica that loads the revision looks them up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::{Config, Reader};
use crate::digest::Digest;
use crate::finding::{self, Place};

/// What every address of an embedding provider begins with.
pub(crate) const EMBEDDING_PREFIX: &str = "provider.embedding.";
const PROVIDER_KEYS: [&str; 4] = ["kind", "base_url", "model", "api_key"];
/// Bytes that a name may have.
const NAME_MAX: usize = 64;

/// Which protocol a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anything that answers as the embeddings interface of OpenAI does.
    OpenaiCompatible,
    /// OpenAI.
    Openai,
    /// Gemini.
    Gemini,
    /// Vectors made from the text itself, for tests: no network, no key.
    Mock,
}

impl ProviderKind {
    const ALL: [ProviderKind; 4] = [
        ProviderKind::OpenaiCompatible,
        ProviderKind::Openai,
        ProviderKind::Gemini,
        ProviderKind::Mock,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderKind::OpenaiCompatible => "openai-compatible",
            ProviderKind::Openai => "openai",
            ProviderKind::Gemini => "gemini",
            ProviderKind::Mock => "mock",
        }
    }

    /// The kind that a word stands for.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A provider as it is declared, stored and served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingProfile {
    /// The protocol.
    pub kind: ProviderKind,
    /// Where it answers; empty: the kind's own address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_url: String,
    /// The model that makes the vectors; empty for a mock only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Name of the environment variable with the key, never its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
}

impl EmbeddingProfile {
    /// The state of the provider as a resource.
    pub(crate) fn digest(&self) -> Digest {
        let key = self.api_key_env.as_deref().unwrap_or_default();
        Digest::of_lines([
            "provider.embedding",
            self.kind.as_str(),
            &self.base_url,
            &self.model,
            key,
        ])
    }

    /// In which respects another profile differs, for people.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let respects = [
            ("kind", self.kind != other.kind),
            ("base_url", self.base_url != other.base_url),
            ("model", self.model != other.model),
            ("api_key", self.api_key_env != other.api_key_env),
        ];
        let differing = respects.iter().filter(|(_, differs)| *differs);
        let names: Vec<_> = differing.map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// `default` of `default` and of `provider.embedding.default`.
fn provider_name(reference: &str) -> &str {
    reference
        .strip_prefix(EMBEDDING_PREFIX)
        .unwrap_or(reference)
}

impl Reader<'_> {
    pub(super) fn providers(&mut self, value: &Value) -> BTreeMap<String, EmbeddingProfile> {
        let path = ["providers", "embedding"];
        let embedding = self
            .mapping(value, &path[..1], &["embedding"])
            .and_then(|kinds| self.mapping(kinds.get("embedding")?, &path, &[]));
        let mut providers = BTreeMap::new();
        for (name, value) in embedding.unwrap_or_default() {
            let path = ["providers", "embedding", name.as_str()];
            self.declared_providers.insert(name.clone());
            let odd = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-';
            if name.is_empty() || name.len() > NAME_MAX || name.contains(odd) {
                let message = format!(
                    "provider name '{name}' is not usable: take up to {NAME_MAX} letters, digits, '_' and '-'"
                );
                self.report("C110", &path, message);
            }
            if let Some(profile) = self.provider(&name, value, &path) {
                providers.insert(name, profile);
            }
        }
        providers
    }

    fn provider(&mut self, name: &str, value: &Value, path: &[&str]) -> Option<EmbeddingProfile> {
        let keys = self.mapping(value, path, &PROVIDER_KEYS)?;
        let below = |key: &'static str| [path, &[key]].concat();
        let known = || ProviderKind::ALL.map(ProviderKind::as_str).join(", ");
        let kind = match keys.get("kind") {
            None => {
                let message = format!("provider '{name}' has no kind: one of {}", known());
                self.report("C105", path, message);
                return None;
            }
            Some(kind) => match ProviderKind::parse(&self.string(kind, &below("kind"))?) {
                Some(kind) => kind,
                None => {
                    let message = format!("kind must be one of {}", known());
                    self.report("C105", &below("kind"), message);
                    return None;
                }
            },
        };
        let base_url = match keys.get("base_url") {
            None => String::new(),
            Some(url) => self.base_url(url, &below("base_url"))?,
        };
        let model = match keys.get("model") {
            None => String::new(),
            Some(model) => self.string(model, &below("model"))?,
        };
        let api_key_env = match keys.get("api_key") {
            None => None,
            Some(key) => Some(self.key_reference(key, &below("api_key"))?),
        };
        let missing = |key: &str, example: &str| {
            let kind = kind.as_str();
            format!("a provider of kind {kind} needs {key}: add `{key}: {example}`")
        };
        if kind == ProviderKind::OpenaiCompatible && base_url.is_empty() {
            self.report("C105", path, missing("base_url", "https://host/v1"));
        }
        if kind != ProviderKind::Mock && model.is_empty() {
            self.report("C105", path, missing("model", "name"));
        }
        let own_service = matches!(kind, ProviderKind::Openai | ProviderKind::Gemini);
        if own_service && api_key_env.is_none() {
            self.report("C105", path, missing("api_key", "${EMBED_API_KEY}"));
        }
        if kind == ProviderKind::Mock && (api_key_env.is_some() || !base_url.is_empty()) {
            let message = "a mock has neither base_url nor api_key: remove them";
            self.report("C105", path, message);
        }
        Some(EmbeddingProfile {
            kind,
            base_url,
            model,
            api_key_env,
        })
    }

    fn base_url(&mut self, value: &Value, path: &[&str]) -> Option<String> {
        let text = self.string(value, path)?;
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next());
        let secret = host.is_some_and(|host| host.contains('@')) || text.contains(['?', '#']);
        if secret {
            // The text is not repeated: it may hold what must not be seen.
            let message =
                "base_url may have no user, password, query or fragment: keys go into api_key";
            self.report("C114", path, message);
            return None;
        }
        if host.is_none_or(str::is_empty) || text.contains(char::is_whitespace) {
            self.report(
                "C105",
                path,
                "base_url must be an address such as https://host/v1",
            );
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    /// The name in `${NAME}`. What else stands there may be a secret, so that it is not repeated.
    fn key_reference(&mut self, value: &Value, path: &[&str]) -> Option<String> {
        let text = value.as_str().map(super::with_braces).unwrap_or_default();
        let name = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|name| super::is_variable(name));
        if name.is_none() {
            let message = "api_key must name an environment variable of the replicas, as ${EMBED_API_KEY}: secrets have no place in a configuration";
            self.report("C114", path, message);
        }
        name.map(str::to_owned)
    }

    pub(super) fn provider_reference(
        &mut self,
        value: &Value,
        path: &[&str],
    ) -> Option<(String, Place)> {
        let text = self.string(value, path)?;
        Some((provider_name(&text).to_owned(), self.place(path)))
    }

    pub(super) fn embed_on_write(&mut self, value: &Value, named: bool, path: &[&str]) -> bool {
        let Some(wanted) = value.as_bool() else {
            self.report("C105", path, "'embed_on_write' must be true or false");
            return false;
        };
        if wanted && !named {
            let message =
                "embed_on_write needs embedding_provider: name the provider that makes the vectors";
            self.report("C105", path, message);
        }
        wanted
    }

    /// Graphs may name declared providers only.
    pub(super) fn check_provider_references(&mut self, config: &Config) {
        for graph in config.graphs.values() {
            let Some((name, place)) = &graph.embedding_provider else {
                continue;
            };
            if self.declared_providers.contains(name) {
                continue;
            }
            let message = format!("embedding provider '{name}' is not declared");
            let finding = finding::error("C113", Some(place.clone()), message);
            let hint = format!("add it below providers.embedding, or name another than '{name}'");
            self.findings.push(finding::hinted(finding, hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn read(providers: &str, graph: &str) -> (Config, Vec<String>) {
        let text = format!(
            "version: 1\nproviders:\n  embedding:\n{providers}graphs:\n  a:\n    schema: a.pg\n{graph}"
        );
        let (config, found) = Config::parse(&text);
        let shown = found.iter().map(|f| {
            let place = f.span.clone().unwrap_or_default();
            format!("{} {}: {}", f.code, place.line, f.message)
        });
        (config, shown.collect())
    }

    #[test]
    fn every_kind_is_read() {
        let (config, found) = read(
            "    default: { kind: openai-compatible, base_url: https://h/v1/, model: m, api_key: ${EMBED_API_KEY} }\n    local:\n      kind: openai-compatible\n      base_url: http://localhost:9/v1\n      model: m\n    open: { kind: openai, model: m, api_key: \"${A}\" }\n    gem: { kind: gemini, model: m, api_key: ${B_2} }\n    test: { kind: mock }\n",
            "    embedding_provider: default\n",
        );
        assert_eq!(found, Vec::<String>::new());
        let default = &config.providers["default"];
        assert_eq!(default.base_url, "https://h/v1");
        assert_eq!(default.api_key_env.as_deref(), Some("EMBED_API_KEY"));
        assert_eq!(config.providers.len(), 5);
        assert_eq!(config.providers["test"].kind, ProviderKind::Mock);
        let name = |config: &Config| config.graphs["a"].embedding_provider.clone().map(|p| p.0);
        assert_eq!(name(&config).as_deref(), Some("default"));
        let (config, _) = read(
            "    x: { kind: mock }\n",
            "    embedding_provider: provider.embedding.x\n",
        );
        assert_eq!(name(&config).as_deref(), Some("x"));
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for provider in [
            "{ kind: openai, model: m, api_key: sk-planted }",
            "{ kind: openai, model: m, api_key: \"${A} sk-planted\" }",
            "{ kind: openai, model: m, api_key: 123 }",
            "{ kind: openai-compatible, model: m, base_url: \"https://u:sk-planted@h/v1\" }",
            "{ kind: openai-compatible, model: m, base_url: \"https://h/v1?key=sk-planted\" }",
        ] {
            let (_, found) = read(&format!("    p: {provider}\n"), "");
            assert_eq!(found.len(), 1, "{provider}: {found:?}");
            assert!(found[0].starts_with("C114 4: "), "{found:?}");
            assert!(!found[0].contains("planted"), "{found:?}");
        }
    }

    #[test]
    fn mistakes_have_places_and_remedies() {
        for (provider, expected) in [
            ("{ model: m }", "C105 4: provider 'p' has no kind"),
            ("{ kind: other }", "C105 4: kind must be one of"),
            (
                "{ kind: openai, model: m }",
                "C105 4: a provider of kind openai needs api_key",
            ),
            (
                "{ kind: gemini, api_key: ${A} }",
                "C105 4: a provider of kind gemini needs model",
            ),
            (
                "{ kind: openai-compatible, model: m }",
                "C105 4: a provider of kind openai-compatible needs base_url",
            ),
            (
                "{ kind: openai-compatible, model: m, base_url: h }",
                "C105 4: base_url must be an address",
            ),
            (
                "{ kind: mock, api_key: ${A} }",
                "C105 4: a mock has neither",
            ),
            ("{ kind: mock, size: 3 }", "C103 4: key 'size' is not known"),
        ] {
            let (_, found) = read(&format!("    p: {provider}\n"), "");
            assert_eq!(found.len(), 1, "{provider}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
        let (_, found) = read("    a b: { kind: mock }\n", "");
        assert!(found[0].starts_with("C110 4: "), "{found:?}");
        let (_, found) = read(
            "    p: { kind: mock }\n",
            "    embedding_provider: provider.embedding.q\n",
        );
        assert_eq!(
            found,
            ["C113 8: embedding provider 'q' is not declared".to_owned()]
        );
    }

    #[test]
    fn vectors_are_computed_at_writes_where_that_is_switched_on() {
        let mock = "    p: { kind: mock }\n";
        for (graph, wanted, expected) in [
            ("    embedding_provider: p\n", false, None),
            (
                "    embedding_provider: p\n    embed_on_write: true\n",
                true,
                None,
            ),
            ("    embed_on_write: false\n", false, None),
            (
                "    embed_on_write: true\n",
                true,
                Some(
                    "C105 8: embed_on_write needs embedding_provider: name the provider that makes the vectors",
                ),
            ),
            (
                "    embedding_provider: p\n    embed_on_write: sometimes\n",
                false,
                Some("C105 9: 'embed_on_write' must be true or false"),
            ),
        ] {
            let (config, found) = read(mock, graph);
            assert_eq!(config.graphs["a"].embed_on_write, wanted, "{graph}");
            assert_eq!(found.first().map(String::as_str), expected, "{graph}");
        }
    }
}
