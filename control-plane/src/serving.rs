//! What is applied, read from storage alone: for replicas, with or without a control plane.

use std::sync::Arc;

use bytes::Bytes;
use omnigraph_engine::graph::{GraphId, GraphRoot, Incarnation};
use omnigraph_engine::{ExternalBlobBase, Store};
use omnigraph_proto::control::v1 as pb;
use parking_lot::Mutex;

use crate::bundle::ExternalBlobs;
pub use crate::bundle::{EmbeddingProfile, ProviderKind};
pub use crate::catalog::BlobKind;
use crate::catalog::{Catalog, verify};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Ledger, PolicyContent, Revision};
use crate::timestamp;

/// One applied revision, as replicas load it.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// Its number.
    pub revision: u64,
    /// Over what replicas load.
    pub serving_digest: String,
    /// Over what was declared.
    pub config_digest: String,
    /// Epoch microseconds.
    pub created_at: i64,
    /// Who applied it; none in open mode.
    pub actor: Option<String>,
    /// The cluster's name; may be empty.
    pub cluster_name: String,
    /// The graphs, sorted by id.
    pub graphs: Vec<ServingGraph>,
    /// Who may do what to the server itself.
    pub server_policy: Option<ServingPolicy>,
}

/// One graph of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingGraph {
    /// Where it lies.
    pub root: GraphRoot,
    /// Digest of the meaning of the applied schema.
    pub schema_digest: String,
    /// Its stored queries, sorted by name.
    pub queries: Vec<ServingQuery>,
    /// Who may do what to it.
    pub policy: Option<ServingPolicy>,
    /// How texts in its queries become vectors.
    pub embedding: Option<ServingEmbedding>,
    /// An operation on it that is not finished.
    pub pending_operation: Option<String>,
    retention: Option<(u64, u64)>,
    external_blobs: Vec<ExternalBlobs>,
}

impl ServingGraph {
    /// Below which places blob properties may name external objects.
    pub fn external_blobs(&self) -> Result<Vec<ExternalBlobBase>> {
        self.external_blobs
            .iter()
            .map(ExternalBlobs::base)
            .collect()
    }
}

/// A policy bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingPolicy {
    /// Its name.
    pub name: String,
    /// The catalog object with its text. Empty: the revision does not say what its policies apply
    /// to, so that nobody knows which one would.
    pub digest: String,
    /// `yaml` or `cedar`.
    pub format: String,
    /// The catalog object with the groups beside it.
    pub groups_digest: Option<String>,
}

/// The text of a policy bundle, and of the groups beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText {
    /// The bundle.
    pub text: String,
    /// The groups beside a bundle in Cedar.
    pub groups: Option<String>,
}

/// The embedding provider of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingEmbedding {
    /// Its name.
    pub name: String,
    /// How it is reached. The key is looked up by who loads the graph.
    pub profile: EmbeddingProfile,
    /// Whether mutations compute the vectors that they are not given.
    pub on_write: bool,
}

/// One stored query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingQuery {
    /// Its name.
    pub name: String,
    /// The catalog object with its text.
    pub digest: String,
}

/// Reads the newest revision and catalog content. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct ServingReader {
    ledger: Ledger,
    catalog: Catalog,
    newest: Arc<Mutex<Option<Arc<Serving>>>>,
}

impl ServingReader {
    /// A reader of a storage root. Nothing is read yet.
    pub fn new(store: &Store) -> Self {
        Self {
            ledger: Ledger::new(store),
            catalog: Catalog::new(store),
            newest: Arc::default(),
        }
    }

    /// The newest revision, `None` if none was applied yet. One request when nothing has changed.
    pub async fn newest(&self) -> Result<Option<Arc<Serving>>> {
        let Some(revision) = self.ledger.newest().await? else {
            return Ok(None);
        };
        let mut newest = self.newest.lock();
        if let Some(known) = newest
            .as_ref()
            .filter(|n| n.revision == revision.record.number)
        {
            return Ok(Some(Arc::clone(known)));
        }
        let serving = Arc::new(Serving::of(&revision));
        *newest = Some(Arc::clone(&serving));
        Ok(Some(serving))
    }

    /// Content of the catalog, verified.
    pub async fn blob(&self, digest: &str, kind: BlobKind) -> Result<Bytes> {
        let digest = parse(digest)?;
        self.catalog.get(&digest, kind).await
    }

    /// The text of a policy bundle.
    pub async fn policy_text(&self, policy: &ServingPolicy) -> Result<PolicyText> {
        let kind = match policy.format.as_str() {
            "cedar" => BlobKind::Cedar,
            _ => BlobKind::Policy,
        };
        let text = self.text(&policy.digest, kind).await?;
        let groups = match &policy.groups_digest {
            None => None,
            Some(digest) => Some(self.text(digest, BlobKind::Policy).await?),
        };
        Ok(PolicyText { text, groups })
    }

    async fn text(&self, digest: &str, kind: BlobKind) -> Result<String> {
        let bytes = self.blob(digest, kind).await?;
        String::from_utf8(bytes.into()).map_err(|error| {
            Error::corrupt(format!("catalog content {digest} is no text")).with_source(error)
        })
    }

    /// The text of a stored query.
    pub async fn query_source(&self, query: &ServingQuery) -> Result<String> {
        let bytes = self.blob(&query.digest, BlobKind::Query).await?;
        String::from_utf8(bytes.into()).map_err(|error| {
            let message = format!("query '{}' is no UTF-8 text", query.name);
            Error::corrupt(message).with_source(error)
        })
    }
}

impl ServingPolicy {
    /// The catalog objects that it needs.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let own = Some(self.digest.as_str()).filter(|digest| !digest.is_empty());
        own.into_iter().chain(self.groups_digest.as_deref())
    }

    fn of(name: &str, policy: &PolicyContent) -> Self {
        ServingPolicy {
            name: name.to_owned(),
            digest: policy.text.to_string(),
            format: policy.format.clone(),
            groups_digest: policy.groups.as_ref().map(ToString::to_string),
        }
    }

    fn unknown(name: &str) -> Self {
        ServingPolicy {
            name: name.to_owned(),
            digest: String::new(),
            format: String::new(),
            groups_digest: None,
        }
    }

    fn to_wire(&self) -> pb::PolicyRef {
        pb::PolicyRef {
            name: self.name.clone(),
            digest: self.digest.clone(),
            format: self.format.clone(),
            groups_digest: self.groups_digest.clone().unwrap_or_default(),
        }
    }

    fn from_wire(wire: &pb::PolicyRef) -> Self {
        ServingPolicy {
            name: wire.name.clone(),
            digest: wire.digest.clone(),
            format: wire.format.clone(),
            groups_digest: Some(wire.groups_digest.clone()).filter(|digest| !digest.is_empty()),
        }
    }
}

/// Refuses content that came over the network and does not have this digest.
pub fn verify_blob(digest: &str, content: &[u8]) -> Result<()> {
    verify(&parse(digest)?, content)
}

fn parse(digest: &str) -> Result<Digest> {
    Digest::parse(digest).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("'{digest}' is no SHA-256 digest"),
        )
    })
}

impl Serving {
    pub(crate) fn of(revision: &Revision) -> Self {
        let content = &revision.content;
        let bound = |policy: Option<(&String, &PolicyContent)>| match policy {
            Some((name, policy)) => Some(ServingPolicy::of(name, policy)),
            None => content.unbound_policy().map(|n| ServingPolicy::unknown(n)),
        };
        let graphs = revision
            .content
            .graphs
            .iter()
            .map(|(id, graph)| ServingGraph {
                root: GraphRoot {
                    id: id.clone(),
                    incarnation: graph.incarnation,
                },
                schema_digest: graph.schema.to_string(),
                queries: graph
                    .queries
                    .iter()
                    .map(|(name, digest)| ServingQuery {
                        name: name.clone(),
                        digest: digest.to_string(),
                    })
                    .collect(),
                policy: bound(content.policy_of(id)),
                // One whose profile was never recorded is served without until it is.
                embedding: graph.embedding.as_ref().and_then(|embedding| {
                    Some(ServingEmbedding {
                        name: embedding.provider.clone(),
                        profile: embedding.profile.clone()?,
                        on_write: embedding.on_write,
                    })
                }),
                pending_operation: None,
                retention: graph.retention.as_ref().map(|r| (r.commits, r.age_seconds)),
                external_blobs: graph.external_blobs.clone(),
            });
        Serving {
            revision: revision.record.number,
            serving_digest: revision.record.serving_digest.to_string(),
            config_digest: revision.record.config_digest.to_string(),
            created_at: revision.record.created_at,
            actor: revision.record.actor.clone(),
            cluster_name: revision.content.cluster_name.clone(),
            graphs: graphs.collect(),
            server_policy: bound(content.server_policy()),
        }
    }

    /// As it travels.
    pub fn to_wire(&self, storage_root: &str) -> pb::ServingRevision {
        let graphs = self.graphs.iter().map(|graph| pb::GraphRevision {
            graph_id: graph.root.id.to_string(),
            root_uri: format!("{storage_root}/{}", graph.root.path()),
            incarnation: graph.root.incarnation.to_string(),
            schema_digest: graph.schema_digest.clone(),
            queries: graph
                .queries
                .iter()
                .map(|query| pb::QueryRef {
                    name: query.name.clone(),
                    digest: query.digest.clone(),
                })
                .collect(),
            embedding: graph.embedding.as_ref().map(ServingEmbedding::to_wire),
            retention: graph.retention.map(|(commits, age_seconds)| pb::Retention {
                commits,
                age_seconds,
            }),
            external_blobs: graph
                .external_blobs
                .iter()
                .map(|blobs| pb::ExternalBlobBase {
                    base: blobs.base.clone(),
                    scope: blobs.scope.clone(),
                })
                .collect(),
            policy: graph.policy.as_ref().map(ServingPolicy::to_wire),
            pending_operation_id: graph.pending_operation.clone().unwrap_or_default(),
        });
        pb::ServingRevision {
            revision: self.revision,
            serving_digest: self.serving_digest.clone(),
            config_digest: self.config_digest.clone(),
            created_at: Some(timestamp(self.created_at)),
            actor_id: self.actor.clone().unwrap_or_default(),
            storage_root: storage_root.to_owned(),
            cluster_name: self.cluster_name.clone(),
            graphs: graphs.collect(),
            server_policy: self.server_policy.as_ref().map(ServingPolicy::to_wire),
        }
    }

    /// Reads what travelled.
    pub fn from_wire(wire: &pb::ServingRevision) -> Result<Serving> {
        let graphs = wire.graphs.iter().map(|graph| {
            Ok(ServingGraph {
                root: GraphRoot {
                    id: GraphId::parse(&graph.graph_id)?,
                    incarnation: Incarnation::parse(&graph.incarnation)?,
                },
                schema_digest: graph.schema_digest.clone(),
                queries: graph
                    .queries
                    .iter()
                    .map(|query| ServingQuery {
                        name: query.name.clone(),
                        digest: query.digest.clone(),
                    })
                    .collect(),
                policy: graph.policy.as_ref().map(ServingPolicy::from_wire),
                embedding: match &graph.embedding {
                    None => None,
                    Some(embedding) => Some(
                        ServingEmbedding::from_wire(embedding)
                            .ok_or_else(|| needs_newer(wire.revision))?,
                    ),
                },
                pending_operation: Some(graph.pending_operation_id.clone())
                    .filter(|id| !id.is_empty()),
                retention: graph.retention.as_ref().map(|r| (r.commits, r.age_seconds)),
                external_blobs: graph
                    .external_blobs
                    .iter()
                    .map(|blobs| ExternalBlobs {
                        base: blobs.base.clone(),
                        scope: blobs.scope.clone(),
                    })
                    .collect(),
            })
        });
        Ok(Serving {
            revision: wire.revision,
            serving_digest: wire.serving_digest.clone(),
            config_digest: wire.config_digest.clone(),
            created_at: wire
                .created_at
                .as_ref()
                .map_or(0, |at| at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000),
            actor: Some(wire.actor_id.clone()).filter(|actor| !actor.is_empty()),
            cluster_name: wire.cluster_name.clone(),
            graphs: graphs.collect::<Result<_>>()?,
            server_policy: wire.server_policy.as_ref().map(ServingPolicy::from_wire),
        })
    }
}

impl ServingEmbedding {
    fn to_wire(&self) -> pb::EmbeddingProfile {
        pb::EmbeddingProfile {
            name: self.name.clone(),
            kind: self.profile.kind.as_str().to_owned(),
            base_url: self.profile.base_url.clone(),
            model: self.profile.model.clone(),
            api_key_env: self.profile.api_key_env.clone().unwrap_or_default(),
            on_write: self.on_write,
        }
    }

    /// `None` for a kind that only a newer release knows.
    fn from_wire(wire: &pb::EmbeddingProfile) -> Option<Self> {
        let profile = EmbeddingProfile {
            kind: ProviderKind::parse(&wire.kind)?,
            base_url: wire.base_url.clone(),
            model: wire.model.clone(),
            api_key_env: Some(wire.api_key_env.clone()).filter(|name| !name.is_empty()),
        };
        Some(Self {
            name: wire.name.clone(),
            profile,
            on_write: wire.on_write,
        })
    }
}

fn needs_newer(revision: u64) -> Error {
    let message = format!("revision {revision} needs a newer release");
    Error::corrupt(message).with_hint("upgrade this replica")
}
