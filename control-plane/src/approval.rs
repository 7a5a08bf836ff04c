//! Consent to changes that lose data. An approval is bound to one resource: to what is applied of
//! it and to what is declared for it. If either moves, the approval is stale; what happens to other
//! graphs does not concern it. Approvals are kept for ever, each with the operation that used it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use omnigraph_engine::Store;
use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1 as pb;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::apply::declare;
use crate::declared::{Declared, DeclaredGraph};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::lead::Turn;
use crate::ledger::{Content, GraphContent};
use crate::plan::{Planned, check_expectations};
use crate::plane::ControlPlane;

const DIRECTORY: &str = "cluster/approvals";
/// The newest format of approvals.
const FORMAT: u32 = 1;
/// Approvals that are read at the same time.
const PARALLEL_READS: usize = 16;

/// What a change would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    /// A graph with all that it holds.
    Delete,
    /// What a graph held whose root has vanished: the new one is empty.
    Recreate,
}

/// A recorded consent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) format: u32,
    /// Its name below the directory.
    pub(crate) id: Ulid,
    pub(crate) resource: String,
    pub(crate) loss: Loss,
    /// Of what is applied.
    pub(crate) state: Digest,
    /// Of what is declared.
    pub(crate) desired: Digest,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    pub(crate) approved_by: Option<String>,
    pub(crate) created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) consumed: Option<Consumed>,
}

/// What an approval was used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Consumed {
    pub(crate) at: i64,
    pub(crate) operation_id: Ulid,
}

/// A change of a plan that needs an approval, and the one that fits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consent {
    pub(crate) resource: String,
    pub(crate) loss: Loss,
    pub(crate) state: Digest,
    pub(crate) desired: Digest,
    pub(crate) approval: Option<Ulid>,
}

impl Consent {
    /// Consent to the deletion of a graph that is not declared any more.
    pub(crate) fn to_delete(id: &GraphId, applied: &GraphContent, given: &[Approval]) -> Self {
        let nothing = Digest::of_lines(["nothing"]);
        Self::new(id, Loss::Delete, applied.whole_digest(), nothing, given)
    }

    /// Consent to an empty graph in the place of one that has vanished.
    pub(crate) fn to_recreate(
        declared: &DeclaredGraph,
        applied: &GraphContent,
        given: &[Approval],
    ) -> Self {
        let (state, desired) = (applied.whole_digest(), declared.whole_digest());
        Self::new(&declared.id, Loss::Recreate, state, desired, given)
    }

    fn new(id: &GraphId, loss: Loss, state: Digest, desired: Digest, given: &[Approval]) -> Self {
        let mut consent = Self {
            resource: format!("graph.{id}"),
            loss,
            state,
            desired,
            approval: None,
        };
        let fitting = given.iter().find(|approval| consent.is_met_by(approval));
        consent.approval = fitting.map(|approval| approval.id);
        consent
    }

    fn is_met_by(&self, approval: &Approval) -> bool {
        approval.consumed.is_none()
            && approval.resource == self.resource
            && approval.loss == self.loss
            && approval.state == self.state
            && approval.desired == self.desired
    }
}

impl Approval {
    /// Whether the applied state is another one than the approval was given for.
    fn is_stale(&self, content: &Content) -> bool {
        let id = self.resource.strip_prefix("graph.");
        let id = id.and_then(|id| GraphId::parse(id).ok());
        let applied = id.and_then(|id| content.graphs.get(&id));
        applied.is_none_or(|applied| applied.whole_digest() != self.state)
    }

    /// As it travels. Staleness is told as far as it can be seen without a configuration.
    pub(crate) fn to_wire(&self, content: &Content) -> pb::Approval {
        let operation = match self.loss {
            Loss::Delete => pb::ChangeOperation::Delete,
            Loss::Recreate => pb::ChangeOperation::Recreate,
        };
        let consumed = self.consumed.as_ref();
        pb::Approval {
            approval_id: self.id.to_string(),
            resource: self.resource.clone(),
            operation: operation.into(),
            reason: self.reason.clone(),
            bound_config_digest: self.desired.to_string(),
            bound_state_digest: self.state.to_string(),
            approved_by: self.approved_by.clone().unwrap_or_default(),
            created_at: Some(crate::timestamp(self.created_at)),
            consumed_at: consumed.map(|consumed| crate::timestamp(consumed.at)),
            consumed_by_operation: consumed
                .map(|consumed| consumed.operation_id.to_string())
                .unwrap_or_default(),
            stale: self.consumed.is_none() && self.is_stale(content),
        }
    }
}

/// The approvals of a cluster. Clones share what they know.
#[derive(Clone, Debug)]
pub(crate) struct Approvals {
    store: Store,
    /// Used ones, which never change again.
    used: Arc<Mutex<BTreeMap<Ulid, Approval>>>,
    /// Used ones that nobody can mark any more.
    lost: Arc<Mutex<BTreeSet<Ulid>>>,
}

/// All approvals, and the objects among them that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Oldest first.
    pub(crate) approvals: Vec<Approval>,
    pub(crate) unreadable: Vec<(String, String)>,
}

impl Approvals {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            used: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// Writes a new approval.
    pub(crate) async fn record(&self, approval: &Approval) -> Result<()> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let path = self.path(approval.id);
        let payload = PutPayload::from(encode(approval)?);
        let objects = self.store.object_store();
        match objects.put_opts(&path, payload, options).await {
            // A repeat of the client library's own: the id is ours alone.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what an approval was used for. Again changes nothing. The ledger says so too: one that
    /// somebody has removed or damaged since keeps nobody waiting.
    pub(crate) async fn consume(&self, id: Ulid, operation_id: Ulid, at: i64) -> Result<()> {
        if self.is_used(id) {
            return Ok(());
        }
        let path = self.path(id);
        let found = async {
            let bytes = self.store.object_store().get(&path).await?.bytes().await?;
            decode(&path, &bytes)
        };
        let mut approval = match found.await {
            Ok(approval) => approval,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(approval = %id, error = error.chain(), "it cannot be marked as used");
                self.lost.lock().insert(id);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if approval.consumed.is_none() {
            approval.consumed = Some(Consumed { at, operation_id });
            let payload = PutPayload::from(encode(&approval)?);
            self.store.object_store().put(&path, payload).await?;
        }
        self.used.lock().insert(id, approval);
        Ok(())
    }

    /// Whether this process knows that an approval is marked as used.
    pub(crate) fn is_used(&self, id: Ulid) -> bool {
        self.used.lock().contains_key(&id) || self.lost.lock().contains(&id)
    }

    /// The same, looked up where this process does not know.
    pub(crate) async fn was_used(&self, id: Ulid) -> Result<bool> {
        if self.is_used(id) {
            return Ok(true);
        }
        match self.read(&self.path(id)).await {
            Ok(approval) => Ok(approval.consumed.is_some()),
            // The next change finds out that nobody can mark it any more.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every approval. What cannot be read gives no consent, and is told.
    pub(crate) async fn list(&self) -> Result<Listed> {
        let directory = self.store.path(DIRECTORY);
        let objects = self.store.object_store().list(Some(&directory));
        let mut paths: Vec<Path> = objects.map_ok(|meta| meta.location).try_collect().await?;
        paths.sort();
        let read: Vec<_> = futures::stream::iter(paths)
            .map(|path| async move {
                let found = self.read(&path).await;
                (path, found)
            })
            .buffered(PARALLEL_READS)
            .collect()
            .await;
        let mut listed = Listed::default();
        for (path, found) in read {
            match found {
                Ok(approval) => listed.approvals.push(approval),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let reason = error.message().to_owned();
                    listed.unreadable.push((path.to_string(), reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// Those that were not used yet.
    pub(crate) async fn usable(&self) -> Result<Vec<Approval>> {
        let mut approvals = self.list().await?.approvals;
        approvals.retain(|approval| approval.consumed.is_none());
        Ok(approvals)
    }

    async fn read(&self, path: &Path) -> Result<Approval> {
        let name = path.filename().and_then(|name| name.strip_suffix(".json"));
        let id = name.and_then(|name| Ulid::from_string(name).ok());
        let used = id.and_then(|id| self.used.lock().get(&id).cloned());
        if let Some(used) = used {
            return Ok(used);
        }
        let bytes = self.store.object_store().get(path).await?.bytes().await?;
        let approval = decode(path, &bytes)?;
        if Some(approval.id) != id {
            return Err(Error::corrupt("its name is not its id"));
        }
        if approval.consumed.is_some() {
            self.used.lock().insert(approval.id, approval.clone());
        }
        Ok(approval)
    }

    fn path(&self, id: Ulid) -> Path {
        self.store.path(&format!("{DIRECTORY}/{id}.json"))
    }
}

fn encode(approval: &Approval) -> Result<Vec<u8>> {
    serde_json::to_vec(approval)
        .map_err(|error| Error::internal("an approval cannot be written").with_source(error))
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Approval> {
    let approval: Approval = serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt(format!("{path} is no approval")).with_source(error))?;
    if approval.format > FORMAT {
        let message = format!("{path} has format {}, which is not known", approval.format);
        return Err(Error::corrupt(message).with_hint("upgrade this program"));
    }
    Ok(approval)
}

impl ControlPlane {
    /// Records consent to one change of the plan for a configuration. Repeating it changes nothing.
    pub(crate) async fn approve(
        &self,
        request: &pb::ApproveRequest,
        actor: Option<&str>,
    ) -> Result<pb::Approval> {
        let declared = match request.rollback_to {
            0 => declare(request.bundle.clone().unwrap_or_default()).await?,
            number => self.declared_at(number).await?,
        };
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("approve", actor, patience).await?;
        let outcome = self.approve_in_turn(&turn, &declared, request, actor).await;
        turn.conclude(outcome).await
    }

    async fn approve_in_turn(
        &self,
        turn: &Turn,
        declared: &Declared,
        request: &pb::ApproveRequest,
        actor: Option<&str>,
    ) -> Result<pb::Approval> {
        let undecided = self.sweep(&turn.leader).await?;
        let planned = self.plan(declared, &undecided, true).await?;
        check_expectations(&planned, "", request.expect_revision)?;
        let content = planned.base_content();
        let consent = wanted(&planned, &request.resource)?;
        if let Some(id) = consent.approval {
            let mut given = self.shared().approvals.usable().await?;
            given.retain(|approval| approval.id == id);
            if let Some(approval) = given.first() {
                return Ok(approval.to_wire(&content));
            }
        }
        let approval = Approval {
            format: FORMAT,
            id: self.clock().fresh_id(),
            resource: consent.resource.clone(),
            loss: consent.loss,
            state: consent.state.clone(),
            desired: consent.desired.clone(),
            reason: request.reason.clone(),
            approved_by: actor.map(str::to_owned),
            created_at: self.store().clock().now_micros(),
            consumed: None,
        };
        let failpoints = &self.options().failpoints;
        failpoints.hit(Point::Approving).await?;
        self.check_lead(&turn.leader).await?;
        self.shared().approvals.record(&approval).await?;
        failpoints.hit(Point::Approved).await?;
        tracing::info!(
            audit = true,
            resource = approval.resource,
            approval = %approval.id,
            actor,
            "approved"
        );
        Ok(approval.to_wire(&content))
    }
}

fn wanted<'a>(planned: &'a Planned, resource: &str) -> Result<&'a Consent> {
    let mut consents = planned.consents.iter();
    if let Some(consent) = consents.find(|consent| consent.resource == resource) {
        return Ok(consent);
    }
    let message = format!("nothing about '{resource}' waits for an approval");
    let waiting = planned.consents.iter().filter(|c| c.approval.is_none());
    let names: Vec<&str> = waiting.map(|consent| consent.resource.as_str()).collect();
    let hint = match names.as_slice() {
        [] => "omnigraphctl plan shows what does: now nothing".to_owned(),
        names => format!("what waits: {}", names.join(", ")),
    };
    Err(Error::new(ErrorKind::NotFound, message).with_hint(hint))
}
