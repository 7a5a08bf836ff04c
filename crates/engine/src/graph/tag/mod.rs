//! Tags: names for commits that never move. A tag keeps its commit from being reclaimed.

mod record;
mod resolve;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use self::record::{TagEntry, TagEvent};
pub(super) use self::record::{TagState, Tags};
use super::{ActorId, BranchName, Commit, CommitId, Graph, ParentRef, Target};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::writer::append_deadline;
use crate::log::{AppendError, Settled};

/// How long to find out what became of an append whose answer was lost.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(10);
/// How often an append is tried again when others append to the same name.
const TRIES: usize = 8;

/// The name of a tag. The rules are those of branch names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TagName(BranchName);

impl TagName {
    /// Checks a name; white space around it does not count.
    pub fn parse(text: &str) -> Result<Self> {
        match BranchName::parse(text) {
            Ok(name) => Ok(Self(name)),
            Err(error) => Err(Error::invalid(
                error.message().replace("branch name", "tag name"),
            )),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn encoded(&self) -> String {
        self.0.encoded()
    }

    fn decode(encoded: &str) -> Result<Self> {
        BranchName::decode(encoded).map(Self)
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TagName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// A living tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagInfo {
    /// Its name.
    pub name: TagName,
    /// The commit that it names.
    pub commit: CommitId,
    /// Who made it.
    pub actor: Option<ActorId>,
    /// When, in microseconds since the Unix epoch.
    pub created_at: i64,
    /// What its author says about it.
    pub message: Option<String>,
}

impl Graph {
    /// All living tags, sorted by name.
    pub async fn tags(&self) -> Result<Vec<TagInfo>> {
        self.shared.tags.living().await
    }

    /// One living tag.
    pub async fn tag(&self, name: &TagName) -> Result<TagInfo> {
        match self.shared.tags.state(name).await? {
            TagState::Living { tag, .. } => Ok(tag),
            TagState::Absent | TagState::Deleted { .. } => Err(missing(name)),
        }
    }

    /// Names a commit. The commit is looked at again once the tag is there: if it was reclaimed
    /// meanwhile, the tag is withdrawn.
    pub async fn create_tag(
        &self,
        name: &TagName,
        target: &Target,
        by: &Authorship,
    ) -> Result<TagInfo> {
        self.store().probe_create_once().await?;
        let (at, commit) = self.locate_target(target).await?;
        self.still_there(&at, &commit).await?;
        for _ in 0..TRIES {
            let state = self.shared.tags.state(name).await?;
            if let TagState::Living { .. } = state {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("tag '{name}' already exists"),
                )
                .with_hint("tags do not move: delete it first, or choose another name"));
            }
            let event = TagEvent::Created {
                at: at.clone(),
                actor: by.actor.clone(),
                created_at: self.store().clock().now_micros(),
                message: by.message.clone(),
            };
            if !self.append_tag(name, &state, event).await? {
                continue;
            }
            if let Err(error) = self.still_there(&at, &commit).await {
                self.delete_tag(name, by).await?;
                return Err(error);
            }
            return self.tag(name).await;
        }
        Err(busy(name))
    }

    /// Ends a tag; its name can be used again. Answers with what it was.
    pub async fn delete_tag(&self, name: &TagName, by: &Authorship) -> Result<TagInfo> {
        for _ in 0..TRIES {
            let state = self.shared.tags.state(name).await?;
            let TagState::Living { tag, .. } = &state else {
                return Err(missing(name));
            };
            let event = TagEvent::Deleted {
                actor: by.actor.clone(),
                created_at: self.store().clock().now_micros(),
            };
            if self.append_tag(name, &state, event).await? {
                return Ok(tag.clone());
            }
        }
        Err(busy(name))
    }

    /// Whether the event is in the log; otherwise somebody else's is at its place.
    async fn append_tag(&self, name: &TagName, state: &TagState, event: TagEvent) -> Result<bool> {
        let log = self.shared.tags.log(name);
        let entry = TagEntry {
            id: Ulid::new(),
            event,
        };
        match log.append(state.seq(), &entry, append_deadline()).await {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(AppendError::Log(error)) => Err(error.into()),
            Err(AppendError::OutcomeUnknown { seq, .. }) => {
                match log.settle(seq, entry.id, SETTLE).await {
                    Ok(Settled::Landed) => Ok(true),
                    Ok(Settled::Excluded) => Ok(false),
                    Err(error) => Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("outcome unknown: the object store did not say whether the entry of tag '{name}' was written"),
                    )
                    .with_source(error)),
                }
            }
        }
    }

    /// The commit's entry is there, and it was not reclaimed.
    async fn still_there(&self, at: &ParentRef, commit: &Commit) -> Result<()> {
        let log = self.shared.branches.log(&at.branch);
        if log.get(at.seq).await?.is_none() {
            return Err(super::changes::gap(None, commit.id));
        }
        let kept = self.refuse_reclaimed(commit).await;
        kept.map_err(|error| super::changes::or_gap(error, commit.id))
    }
}

fn missing(name: &TagName) -> Error {
    Error::not_found(format!("tag '{name}' not found"))
}

fn busy(name: &TagName) -> Error {
    Error::new(
        ErrorKind::WriteConflict,
        format!("tag '{name}' kept changing; nothing was written"),
    )
    .with_hint("repeat it")
}
