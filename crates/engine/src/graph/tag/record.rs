//! Each tag's name is one log: its last entry says what the tag is.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{TagInfo, TagName};
use crate::error::{Error, Result};
use crate::graph::{ActorId, GraphRoot, ParentRef};
use crate::log::{Entry, Log, Seq};
use crate::store::Store;

/// How many tags are looked at in parallel.
const PARALLEL_TAGS: usize = 16;

/// An entry of a tag's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TagEntry {
    pub(super) id: Ulid,
    pub(super) event: TagEvent,
}

/// What happened to a tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TagEvent {
    /// It names a commit.
    Created {
        at: ParentRef,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<ActorId>,
        created_at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// It ends.
    Deleted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<ActorId>,
        created_at: i64,
    },
    /// Nothing: a writer gave this place up.
    Void,
}

impl Entry for TagEntry {
    fn entry_id(&self) -> Ulid {
        self.id
    }

    fn void(id: Ulid) -> Self {
        Self {
            id,
            event: TagEvent::Void,
        }
    }
}

/// What a tag's log says.
#[derive(Clone, Debug)]
pub(in crate::graph) enum TagState {
    /// The name was never used.
    Absent,
    /// The tag lives.
    Living {
        seq: Seq,
        tag: TagInfo,
        at: ParentRef,
    },
    /// It was deleted; its name can be used again.
    Deleted { seq: Seq },
}

impl TagState {
    /// The last entry.
    pub(super) fn seq(&self) -> Option<Seq> {
        match self {
            Self::Absent => None,
            Self::Living { seq, .. } | Self::Deleted { seq } => Some(*seq),
        }
    }
}

/// The tag logs of one graph.
pub(in crate::graph) struct Tags {
    store: Store,
    root: String,
    known: Mutex<HashMap<TagName, Log<TagEntry>>>,
}

impl Tags {
    pub(in crate::graph) fn new(store: Store, root: &GraphRoot) -> Self {
        Self {
            store,
            root: format!("{}/tags", root.path()),
            known: Mutex::default(),
        }
    }

    pub(super) fn log(&self, name: &TagName) -> Log<TagEntry> {
        let mut known = self.known.lock();
        known
            .entry(name.clone())
            .or_insert_with(|| Log::open(&self.store, &format!("{}/{}", self.root, name.encoded())))
            .clone()
    }

    /// What the log says now: one request when nothing changed since the last look.
    pub(in crate::graph) async fn state(&self, name: &TagName) -> Result<TagState> {
        let log = self.log(name);
        let Some((last, entry)) = log.head(None).await? else {
            return Ok(TagState::Absent);
        };
        let mut seq = last;
        let mut event = entry.event;
        loop {
            match event {
                TagEvent::Created {
                    at,
                    actor,
                    created_at,
                    message,
                } => {
                    let tag = TagInfo {
                        name: name.clone(),
                        commit: at.id,
                        actor,
                        created_at,
                        message,
                    };
                    return Ok(TagState::Living { seq: last, tag, at });
                }
                TagEvent::Deleted { .. } => return Ok(TagState::Deleted { seq: last }),
                TagEvent::Void => {}
            }
            let Some(before) = seq.0.checked_sub(1).map(Seq) else {
                return Ok(TagState::Deleted { seq: last });
            };
            seq = before;
            event = log
                .get(seq)
                .await?
                .ok_or_else(|| Error::corrupt(format!("entry {seq} of tag {name} is missing")))?
                .event;
        }
    }

    /// All living tags, sorted by name.
    pub(super) async fn living(&self) -> Result<Vec<TagInfo>> {
        let prefix = self.store.path(&self.root);
        let listed = self
            .store
            .object_store()
            .list_with_delimiter(Some(&prefix))
            .await?;
        let names: Vec<TagName> = listed
            .common_prefixes
            .iter()
            .filter_map(|directory| directory.parts().next_back())
            .map(|name| TagName::decode(name.as_ref()))
            .collect::<Result<_>>()?;
        let mut living: Vec<TagInfo> = futures::stream::iter(names)
            .map(|name| async move { self.state(&name).await })
            .buffer_unordered(PARALLEL_TAGS)
            .try_filter_map(|state| async move {
                Ok(match state {
                    TagState::Living { tag, .. } => Some(tag),
                    TagState::Absent | TagState::Deleted { .. } => None,
                })
            })
            .try_collect()
            .await?;
        living.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(living)
    }
}
