//! Changes of embedding providers.

use omnigraph_proto::control::v1::ChangeOperation;

use super::{Builder, Change};
use crate::bundle::EMBEDDING_PREFIX;
use crate::declared::Declared;
use crate::ledger::Content;

/// What is said of metadata that an earlier release did not write.
pub(super) const BACKFILL: &str = "embedding profile, which an earlier release did not record";

impl Builder {
    pub(super) fn change_providers(&mut self, declared: &Declared, content: &Content) {
        for (name, profile) in &declared.providers {
            let digest = profile.digest();
            let resource = format!("{EMBEDDING_PREFIX}{name}");
            let Some(applied) = content.providers.get(name) else {
                let create = ChangeOperation::Create;
                self.push(Change::new(resource, create, None, Some(&digest)));
                continue;
            };
            let before = Some(&applied.digest);
            let update = ChangeOperation::Update;
            let mut change = Change::new(resource, update, before, Some(&digest));
            match &applied.profile {
                Some(_) if applied.digest == digest => continue,
                Some(old) => change.metadata_change = old.differences(profile),
                None => change.metadata_change = BACKFILL.to_owned(),
            }
            let users = declared.graphs.values().filter(|graph| {
                let embedding = graph.embedding.as_ref();
                embedding.is_some_and(|embedding| embedding.provider == *name)
            });
            change.affects = users.map(|graph| format!("graph.{}", graph.id)).collect();
            self.push(change);
        }
        for (name, applied) in &content.providers {
            if !declared.providers.contains_key(name) {
                let resource = format!("{EMBEDDING_PREFIX}{name}");
                let before = Some(&applied.digest);
                self.push(Change::new(resource, ChangeOperation::Delete, before, None));
            }
        }
    }
}
