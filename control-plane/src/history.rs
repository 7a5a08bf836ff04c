//! What revisions changed.

use std::collections::BTreeMap;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::{ChangeOperation, Disposition};

use crate::digest::Digest;
use crate::error::Result;
use crate::ledger::{Content, RevisionRecord};
use crate::plane::ControlPlane;

impl ControlPlane {
    /// What a revision changed of its predecessor.
    pub(crate) async fn changes_of(&self, record: &RevisionRecord) -> Result<Vec<pb::PlanChange>> {
        let ledger = &self.shared().ledger;
        let before = match record.previous {
            None => Content::empty(),
            Some(previous) => match ledger.record_if_kept(previous).await? {
                Some(earlier) => ledger.content_of(&earlier).await?,
                // Its predecessor was reclaimed: nobody knows any more.
                None => return Ok(Vec::new()),
            },
        };
        let after = ledger.content_of(record).await?;
        Ok(difference(&before, &after))
    }
}

fn difference(before: &Content, after: &Content) -> Vec<pb::PlanChange> {
    let (old, new) = (before.resources(), after.resources());
    let text = |digest: Option<&Digest>| digest.map(ToString::to_string).unwrap_or_default();
    let addresses: BTreeMap<&String, ()> =
        old.keys().chain(new.keys()).map(|key| (key, ())).collect();
    let mut changes = Vec::new();
    for address in addresses.into_keys() {
        let (was, is) = (old.get(address), new.get(address));
        let operation = match (was, is) {
            (None, Some(_)) => ChangeOperation::Create,
            (Some(_), None) => ChangeOperation::Delete,
            (Some(was), Some(is)) if was != is => ChangeOperation::Update,
            _ => continue,
        };
        changes.push(pb::PlanChange {
            resource: address.clone(),
            operation: operation.into(),
            before_digest: text(was),
            after_digest: text(is),
            disposition: Disposition::Applied.into(),
            ..pb::PlanChange::default()
        });
    }
    changes
}
