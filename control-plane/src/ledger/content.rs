//! The content of a revision: complete, not a delta.

use std::collections::BTreeMap;

use omnigraph_engine::graph::{GraphId, GraphRoot, Incarnation};
use serde::{Deserialize, Serialize};

use crate::bundle::{ExternalBlobs, Retention};
use crate::declared::graph_digest;
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
    /// What is declared and was not applied, and why, by resource address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) held_back: BTreeMap<String, String>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<Retention>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) external_blobs: Vec<ExternalBlobs>,
}

impl GraphContent {
    /// The state of the graph as a resource.
    pub(crate) fn settings_digest(&self) -> Digest {
        graph_digest(self.retention.as_ref(), &self.external_blobs)
    }
}

impl Content {
    pub(crate) fn empty() -> Self {
        Self {
            format: FORMAT,
            cluster_name: String::new(),
            graphs: BTreeMap::new(),
            held_back: BTreeMap::new(),
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
        let served = (&self.cluster_name, &self.graphs);
        let bytes = serde_json::to_vec(&served)
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
        resources
    }

    pub(crate) fn root(&self, id: &GraphId) -> Option<GraphRoot> {
        let incarnation = self.graphs.get(id)?.incarnation;
        Some(GraphRoot {
            id: id.clone(),
            incarnation,
        })
    }
}
