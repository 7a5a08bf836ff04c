//! Claims: objects that are created once and say which commit a key is about.

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use super::Keyed;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{ActorId, BranchName, CommitId, Graph};
use crate::log::Seq;

/// The version of the format of claims.
pub(super) const CLAIM_FORMAT: u32 = 1;
/// How many different requests may try their luck with one key.
pub(super) const CLAIMS_MAX: usize = 16;
/// How often a claim is put before the store is given up.
const PUTS: usize = 3;

/// `idempotency/<sha256 of actor and key>`, and with `-1`, `-2`, … behind it the claims of other
/// requests with the same key. Created once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) format: u32,
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<ActorId>,
    pub(crate) operation: String,
    pub(crate) fingerprint: String,
    /// The branch on which the commit is, or will be.
    pub(crate) branch: BranchName,
    /// The last entry of that branch's log that was there before the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Seq>,
    /// The commit's id.
    pub(crate) commit: CommitId,
    /// When, in microseconds since the Unix epoch.
    pub(crate) created_at: i64,
}

impl Claim {
    pub(super) fn keyed(&self) -> Keyed {
        Keyed {
            key: self.key.clone(),
            actor: self.actor.clone(),
            operation: self.operation.clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

impl Graph {
    /// Adds the claims of a key that follow those that are known.
    pub(super) async fn read_claims(&self, name: &str, claims: &mut Vec<Claim>) -> Result<()> {
        while claims.len() < CLAIMS_MAX {
            match self.read_claim(name, claims.len()).await? {
                Some(claim) => claims.push(claim),
                None => break,
            }
        }
        Ok(())
    }

    async fn read_claim(&self, name: &str, place: usize) -> Result<Option<Claim>> {
        let path = self.claim_path(name, place);
        let bytes = match self.store().object_store().get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let claim: Claim = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("claim {path} cannot be read")).with_source(error)
        })?;
        if claim.format > CLAIM_FORMAT {
            return Err(Error::corrupt(format!(
                "claim {path} has format {}, this program reads up to {CLAIM_FORMAT}",
                claim.format
            ))
            .with_hint("upgrade this program"));
        }
        Ok(Some(claim))
    }

    /// Puts a claim at a place, or finds the one that is there. An unclear answer is followed up
    /// by a look.
    pub(super) async fn create_claim(
        &self,
        name: &str,
        place: usize,
        claim: &Claim,
    ) -> Result<Option<Claim>> {
        let path = self.claim_path(name, place);
        let bytes = serde_json::to_vec(claim)
            .map_err(|error| Error::internal("a claim cannot be written").with_source(error))?;
        let payload = PutPayload::from(bytes);
        let mut refused = None;
        for _ in 0..PUTS {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let put = self.store().object_store();
            match put.put_opts(&path, payload.clone(), options).await {
                Ok(_) => return Ok(None),
                Err(error) => refused = Some(error),
            }
            // The library repeats requests and may have collided with its own first try.
            if let Ok(Some(found)) = self.read_claim(name, place).await {
                return Ok((found.commit != claim.commit).then_some(found));
            }
        }
        let error = Error::new(
            ErrorKind::Unavailable,
            "the object store did not take the claim of an idempotency key; nothing was written",
        );
        Err(match refused {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }

    fn claim_path(&self, name: &str, place: usize) -> object_store::path::Path {
        let root = self.shared.root.path();
        self.store().path(&match place {
            0 => format!("{root}/idempotency/{name}"),
            place => format!("{root}/idempotency/{name}-{place}"),
        })
    }
}
