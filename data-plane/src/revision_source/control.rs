//! Revisions from a control plane, content by digest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use omnigraph_control_plane::serving::{
    PolicyText, Serving, ServingPolicy, ServingQuery, verify_blob,
};
use omnigraph_engine::Clock;
use omnigraph_proto::control::v1::{
    FetchRevisionRequest, FetchRevisionResponse, ServingRevision, fetch_revision_response,
};
use parking_lot::Mutex;

use super::{RevisionSource, SourceError};
use crate::link::{Frames, Link};

/// A whole fetch takes no longer.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// Asks a control plane.
#[derive(Clone)]
pub struct ControlSource {
    shared: Arc<Shared>,
}

struct Shared {
    replica_id: String,
    link: Arc<dyn Link>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    newest: Option<Arc<Serving>>,
    storage_root: Option<String>,
    /// Verified content of the newest revision.
    blobs: HashMap<String, Bytes>,
}

impl ControlSource {
    /// A source behind a link.
    pub(crate) fn new(link: Arc<dyn Link>, clock: Arc<dyn Clock>, replica_id: &str) -> Self {
        ControlSource {
            shared: Arc::new(Shared {
                replica_id: replica_id.to_owned(),
                link,
                clock,
                known: Mutex::default(),
            }),
        }
    }

    /// The storage root that the newest revision names.
    pub fn storage_root(&self) -> Option<String> {
        self.shared.known.lock().storage_root.clone()
    }

    async fn fetch(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        let request = FetchRevisionRequest {
            replica_id: self.shared.replica_id.clone(),
            revision: 0,
            have_digests: self.shared.known.lock().blobs.keys().cloned().collect(),
        };
        let mut frames = match self.shared.link.fetch_revision(request).await {
            Ok(frames) => frames,
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
            Err(status) => return Err(unreachable(&status)),
        };
        let revision = first(&mut frames).await?;
        let serving = Serving::from_wire(&revision)
            .map_err(|error| SourceError::Unreadable(error.to_string()))?;
        if let Some(known) = self.unchanged(&serving) {
            return Ok(Some(known));
        }
        let blobs = collect(&mut frames).await?;
        Ok(Some(self.remember(serving, revision.storage_root, blobs)))
    }

    async fn text(&self, digest: &str, what: &str) -> Result<String, SourceError> {
        let known = self.shared.known.lock().blobs.get(digest).cloned();
        let content = match known {
            Some(content) => content,
            None => {
                self.newest().await?;
                let blobs = &self.shared.known.lock().blobs;
                blobs.get(digest).cloned().ok_or_else(|| {
                    SourceError::Content(format!(
                        "the control plane has no valid content for {what}"
                    ))
                })?
            }
        };
        String::from_utf8(content.into())
            .map_err(|_| SourceError::Content(format!("{what} is no text")))
    }

    /// What is known already, if all its content is.
    fn unchanged(&self, serving: &Serving) -> Option<Arc<Serving>> {
        let known = self.shared.known.lock();
        let newest = known.newest.as_ref()?;
        let complete = digests(serving).all(|digest| known.blobs.contains_key(digest));
        (newest.revision == serving.revision && complete).then(|| newest.clone())
    }

    /// Keeps content that is what its digest says; the rest is as good as missing.
    fn remember(
        &self,
        serving: Serving,
        storage_root: String,
        blobs: Vec<(String, Bytes)>,
    ) -> Arc<Serving> {
        let serving = Arc::new(serving);
        let wanted: HashSet<&str> = digests(&serving).collect();
        let mut known = self.shared.known.lock();
        for (digest, content) in blobs {
            match verify_blob(&digest, &content) {
                Ok(()) => {
                    known.blobs.insert(digest, content);
                }
                Err(error) => tracing::warn!(digest, %error, "refused content of the catalog"),
            }
        }
        known
            .blobs
            .retain(|digest, _| wanted.contains(digest.as_str()));
        known.newest = Some(serving.clone());
        known.storage_root = Some(storage_root).filter(|root| !root.is_empty());
        serving
    }
}

fn digests(serving: &Serving) -> impl Iterator<Item = &str> {
    let queries = serving.graphs.iter().flat_map(|graph| &graph.queries);
    let policies = serving
        .graphs
        .iter()
        .filter_map(|graph| graph.policy.as_ref());
    let policies = policies.chain(&serving.server_policy);
    let queries = queries.map(|query| query.digest.as_str());
    queries.chain(policies.flat_map(ServingPolicy::digests))
}

async fn first(frames: &mut Frames<FetchRevisionResponse>) -> Result<ServingRevision, SourceError> {
    let message = frames.try_next().await.map_err(|s| unreachable(&s))?;
    match message.and_then(|message| message.frame) {
        Some(fetch_revision_response::Frame::Revision(revision)) => Ok(revision),
        _ => Err(SourceError::Unreachable(
            "the control plane's answer does not begin with a revision".to_owned(),
        )),
    }
}

/// The content, if the stream ends in order: nothing is loaded from one that broke off.
async fn collect(
    frames: &mut Frames<FetchRevisionResponse>,
) -> Result<Vec<(String, Bytes)>, SourceError> {
    let mut blobs = Vec::new();
    while let Some(message) = frames.try_next().await.map_err(|s| unreachable(&s))? {
        if let Some(fetch_revision_response::Frame::Blob(blob)) = message.frame {
            blobs.push((blob.digest, blob.content));
        }
    }
    Ok(blobs)
}

fn unreachable(status: &tonic::Status) -> SourceError {
    SourceError::Unreachable(format!(
        "the control plane did not answer: {}",
        status.message()
    ))
}

#[async_trait]
impl RevisionSource for ControlSource {
    async fn newest(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        match self.shared.clock.timeout(FETCH_MAX, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(SourceError::Unreachable(
                "the control plane did not answer in time".to_owned(),
            )),
        }
    }

    async fn query_source(&self, query: &ServingQuery) -> Result<String, SourceError> {
        let what = format!("query '{}'", query.name);
        self.text(&query.digest, &what).await
    }

    async fn policy_text(&self, policy: &ServingPolicy) -> Result<PolicyText, SourceError> {
        let what = format!("policy '{}'", policy.name);
        let text = self.text(&policy.digest, &what).await?;
        let groups = match &policy.groups_digest {
            None => None,
            Some(digest) => Some(self.text(digest, &what).await?),
        };
        Ok(PolicyText { text, groups })
    }
}
