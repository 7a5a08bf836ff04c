//! The content of a revision: complete, not a delta.

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_engine::graph::{GraphId, GraphRoot, Incarnation};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::bundle::{CLUSTER_SCOPE, EMBEDDING_PREFIX, EmbeddingProfile, ExternalBlobs, Retention};
use crate::catalog::BlobKind;
use crate::declared::{graph_digest, policy_digest};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The newest format of contents.
const FORMAT: u32 = 1;

/// Everything that a revision declares as applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) format: u32,
    pub(crate) cluster_name: String,
    pub(crate) graphs: BTreeMap<GraphId, GraphContent>,
    /// Embedding providers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) providers: BTreeMap<String, ProviderContent>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) policies: BTreeMap<String, PolicyContent>,
    /// What is declared and was not applied, and why, by resource address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) held_back: BTreeMap<String, String>,
    /// What the last look at the storage found wrong, by resource address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) observations: BTreeMap<String, Observation>,
    /// Graphs that this revision deleted or replaced: until the next revision their leader makes
    /// sure that their branches have ended and their approvals are marked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) endings: Vec<Ending>,
}

/// One applied graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GraphContent {
    pub(crate) incarnation: Incarnation,
    /// Digest of the schema's meaning.
    pub(crate) schema: Digest,
    /// The catalog object with its source.
    pub(crate) schema_source: Digest,
    /// Stored queries: catalog objects by name.
    pub(crate) queries: BTreeMap<String, Digest>,
    /// How texts in its queries become vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding: Option<GraphEmbedding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<Retention>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) external_blobs: Vec<ExternalBlobs>,
}

/// One applied policy bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyContent {
    /// The catalog object with its text.
    pub(crate) text: Digest,
    /// `yaml` or `cedar`.
    pub(crate) format: String,
    /// The catalog object with the groups beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Digest>,
    /// Graphs, or the literal `cluster`. `None`: an older release did not say, so that nobody can
    /// know whom it would let in; the next apply fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) applies_to: Option<BTreeSet<String>>,
}

/// Keeps what is bound to graphs that stay although a declaration does not name them any more:
/// without their policy they would be open to more people.
pub(crate) fn keep_bindings(
    next: &mut BTreeMap<String, PolicyContent>,
    applied: &BTreeMap<String, PolicyContent>,
    stays: impl Fn(&str) -> bool,
) {
    for (name, policy) in applied {
        let scopes = policy.applies_to.iter().flatten();
        let kept: BTreeSet<String> = scopes
            .filter(|scope| *scope != CLUSTER_SCOPE && stays(scope))
            .cloned()
            .collect();
        if kept.is_empty() {
            continue;
        }
        let entry = next.entry(name.clone()).or_insert_with(|| PolicyContent {
            applies_to: Some(BTreeSet::new()),
            ..policy.clone()
        });
        entry.applies_to.get_or_insert_default().extend(kept);
    }
}

/// Takes over from `next` what is bound to `scope` now or then, and all that share a scope with
/// that: no scope ever has two policies.
pub(crate) fn take_bound(
    applied: &mut BTreeMap<String, PolicyContent>,
    next: &BTreeMap<String, PolicyContent>,
    scope: &str,
) {
    let mut scopes = BTreeSet::from([scope.to_owned()]);
    let mut names = BTreeSet::new();
    loop {
        let known = (names.len(), scopes.len());
        for (name, policy) in applied.iter().chain(next) {
            let own = policy.applies_to.iter().flatten();
            if names.contains(name) || own.clone().any(|scope| scopes.contains(scope)) {
                scopes.extend(own.cloned());
                names.insert(name.clone());
            }
        }
        if (names.len(), scopes.len()) == known {
            break;
        }
    }
    for name in names {
        match next.get(&name) {
            Some(policy) => applied.insert(name, policy.clone()),
            None => applied.remove(&name),
        };
    }
}

impl PolicyContent {
    /// The state of the policy as a resource.
    pub(crate) fn digest(&self) -> Digest {
        policy_digest(&self.text, self.groups.as_ref())
    }

    /// What the catalog calls its text.
    pub(crate) fn kind(&self) -> BlobKind {
        match self.format.as_str() {
            "cedar" => BlobKind::Cedar,
            _ => BlobKind::Policy,
        }
    }

    fn is_bound_to(&self, scope: &str) -> bool {
        self.applies_to
            .as_ref()
            .is_some_and(|scopes| scopes.contains(scope))
    }
}

/// The embedding of one graph, whole, so that a graph can be served from its own part alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GraphEmbedding {
    /// Name of the provider.
    pub(crate) provider: String,
    /// `None` in what was written before profiles were recorded: the next apply fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<EmbeddingProfile>,
    /// Whether mutations compute the vectors that they are not given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) on_write: bool,
}

/// One applied embedding provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProviderContent {
    pub(crate) digest: Digest,
    /// `None` in what was written before profiles were recorded: the next apply fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<EmbeddingProfile>,
}

/// What a look at the storage found wrong with a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) verdict: Verdict,
    /// A stable word: `root_vanished`, `schema_drifted`, `catalog_missing`, …
    pub(crate) condition: String,
    pub(crate) message: String,
    /// What is there instead: a digest or an incarnation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed: Option<String>,
    /// When it was first seen like this.
    pub(crate) since: i64,
}

/// What an observation means for the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It differs from what was applied.
    Drifted,
    /// It could not be looked at; what is known of it stays.
    Error,
}

/// An incarnation that a revision took out of use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) graph: GraphId,
    pub(crate) incarnation: Incarnation,
    pub(crate) operation_id: Ulid,
    /// Whose consent was used up for it.
    pub(crate) approval: Ulid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    pub(crate) at: i64,
}

impl ProviderContent {
    pub(crate) fn of(profile: &EmbeddingProfile) -> Self {
        Self {
            digest: profile.digest(),
            profile: Some(profile.clone()),
        }
    }
}

impl Ending {
    pub(crate) fn root(&self) -> GraphRoot {
        GraphRoot {
            id: self.graph.clone(),
            incarnation: self.incarnation,
        }
    }
}

impl GraphContent {
    /// The state of the graph as a resource.
    pub(crate) fn settings_digest(&self) -> Digest {
        let embedding = self.embedding.as_ref();
        graph_digest(self.retention.as_ref(), &self.external_blobs, embedding)
    }

    /// The state of the graph with everything that it has: what an approval is bound to.
    pub(crate) fn whole_digest(&self) -> Digest {
        let mut lines = vec![
            format!("incarnation {}", self.incarnation),
            format!("settings {}", self.settings_digest()),
            format!("schema {}", self.schema),
        ];
        let queries = self.queries.iter();
        lines.extend(queries.map(|(name, digest)| format!("query {name} {digest}")));
        Digest::of_lines(lines.iter().map(String::as_str))
    }
}

impl Content {
    pub(crate) fn empty() -> Self {
        Self {
            format: FORMAT,
            cluster_name: String::new(),
            graphs: BTreeMap::new(),
            providers: BTreeMap::new(),
            policies: BTreeMap::new(),
            held_back: BTreeMap::new(),
            observations: BTreeMap::new(),
            endings: Vec::new(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("a revision cannot be written").with_source(error))
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let content: Content = serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt("the content of a revision cannot be read").with_source(error)
        })?;
        if content.format > FORMAT {
            let format = content.format;
            let message = format!("the revision has format {format}, this release reads {FORMAT}");
            return Err(Error::corrupt(message).with_hint("upgrade this program"));
        }
        Ok(content)
    }

    /// Over what replicas load: a revision that changes statuses only has its predecessor's.
    pub(crate) fn serving_digest(&self) -> Result<Digest> {
        // Without policies it is what releases that knew none have written.
        let bytes = match self.policies.is_empty() {
            true => serde_json::to_vec(&(&self.cluster_name, &self.graphs)),
            false => serde_json::to_vec(&(&self.cluster_name, &self.graphs, &self.policies)),
        };
        let bytes = bytes
            .map_err(|error| Error::internal("a revision cannot be digested").with_source(error))?;
        Ok(Digest::of(&bytes))
    }

    /// Address and digest of every resource.
    pub(crate) fn resources(&self) -> BTreeMap<String, Digest> {
        let mut resources = BTreeMap::new();
        for (id, graph) in &self.graphs {
            let settings = graph.settings_digest();
            resources.insert(format!("graph.{id}"), settings);
            resources.insert(format!("schema.{id}"), graph.schema.clone());
            for (name, digest) in &graph.queries {
                resources.insert(format!("query.{id}.{name}"), digest.clone());
            }
        }
        for (name, provider) in &self.providers {
            let address = format!("{EMBEDDING_PREFIX}{name}");
            resources.insert(address, provider.digest.clone());
        }
        for (name, policy) in &self.policies {
            resources.insert(format!("policy.{name}"), policy.digest());
        }
        resources
    }

    /// The policy of a graph.
    pub(crate) fn policy_of(&self, graph: &GraphId) -> Option<(&String, &PolicyContent)> {
        self.bound_to(graph.as_str())
    }

    /// The policy of the server itself.
    pub(crate) fn server_policy(&self) -> Option<(&String, &PolicyContent)> {
        self.bound_to(CLUSTER_SCOPE)
    }

    /// A policy of which nobody knows what it applies to.
    pub(crate) fn unbound_policy(&self) -> Option<&String> {
        let mut policies = self.policies.iter();
        let unbound = policies.find(|(_, policy)| policy.applies_to.is_none());
        unbound.map(|(name, _)| name)
    }

    fn bound_to(&self, scope: &str) -> Option<(&String, &PolicyContent)> {
        let mut policies = self.policies.iter();
        policies.find(|(_, policy)| policy.is_bound_to(scope))
    }

    /// The catalog objects that the content names, each with the resource that needs it.
    pub(crate) fn blobs(&self) -> Vec<(String, Digest, BlobKind)> {
        let mut blobs = Vec::new();
        for (id, graph) in &self.graphs {
            let source = graph.schema_source.clone();
            blobs.push((format!("schema.{id}"), source, BlobKind::Schema));
            for (name, digest) in &graph.queries {
                let address = format!("query.{id}.{name}");
                blobs.push((address, digest.clone(), BlobKind::Query));
            }
        }
        for (name, policy) in &self.policies {
            let address = format!("policy.{name}");
            blobs.push((address.clone(), policy.text.clone(), policy.kind()));
            if let Some(groups) = &policy.groups {
                blobs.push((address, groups.clone(), BlobKind::Policy));
            }
        }
        blobs
    }

    pub(crate) fn root(&self, id: &GraphId) -> Option<GraphRoot> {
        let incarnation = self.graphs.get(id)?.incarnation;
        Some(GraphRoot {
            id: id.clone(),
            incarnation,
        })
    }
}
