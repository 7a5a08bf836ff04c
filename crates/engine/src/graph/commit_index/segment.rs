//! One index segment: the commits of consecutive entries of one log.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::{Error, Result};
use crate::graph::ids::{BranchName, CommitId, Incarnation};
use crate::graph::model::{BranchEntry, BranchEvent, Commit, ParentRef};
use crate::log::Seq;

/// The newest format; readers accept every format ever released.
const FORMAT: u32 = 1;

/// What the name of a segment says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) branch: BranchName,
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// The lowest and the highest id of its commits.
    pub(super) low: CommitId,
    pub(super) high: CommitId,
}

/// Where a commit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) id: CommitId,
    pub(super) seq: Seq,
    pub(super) incarnation: Incarnation,
}

/// A parent outside the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// Of the entry that has this parent.
    pub(super) seq: Seq,
    pub(super) incarnation: Incarnation,
    pub(super) parent: ParentRef,
}

/// The commits of the entries `first..=last`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    format: u32,
    branch: BranchName,
    first: Seq,
    last: Seq,
    /// By id.
    commits: Vec<Place>,
    /// By seq.
    links: Vec<Link>,
}

impl Name {
    /// The last part of the object's path.
    pub(super) fn file(&self) -> String {
        format!(
            "{:020}-{:020}-{}-{}.json",
            self.first.0, self.last.0, self.low, self.high
        )
    }

    pub(super) fn parse(branch: &str, file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".json")?.split('-');
        let name = Self {
            branch: BranchName::decode(branch).ok()?,
            first: Seq(parts.next()?.parse().ok()?),
            last: Seq(parts.next()?.parse().ok()?),
            low: CommitId::parse(parts.next()?).ok()?,
            high: CommitId::parse(parts.next()?).ok()?,
        };
        (parts.next().is_none() && name.first <= name.last).then_some(name)
    }

    pub(super) fn may_have(&self, id: &CommitId) -> bool {
        self.low <= *id && *id <= self.high
    }
}

impl Segment {
    /// Of entries that follow one another.
    pub(super) fn of(branch: &BranchName, entries: &[(Seq, BranchEntry)]) -> Option<Self> {
        let (first, last) = (entries.first()?.0, entries.last()?.0);
        let mut commits = Vec::new();
        let mut links = Vec::new();
        for (seq, entry) in entries {
            let Some((incarnation, commit)) = commit_of(entry) else {
                continue;
            };
            commits.push(Place {
                id: commit.id,
                seq: *seq,
                incarnation,
            });
            links.extend(commit.parents.iter().map(|parent| Link {
                seq: *seq,
                incarnation,
                parent: parent.clone(),
            }));
        }
        Some(Self::closed(branch, first, last, commits, links))
    }

    /// Of segments that follow one another.
    pub(super) fn joined(parts: &[std::sync::Arc<Segment>]) -> Option<Self> {
        let (first, last) = (parts.first()?, parts.last()?);
        let follow = |pair: &[std::sync::Arc<Segment>]| pair[0].last.next() == pair[1].first;
        if !parts.windows(2).all(follow) {
            return None;
        }
        let commits = parts.iter().flat_map(|part| &part.commits).copied();
        let links = parts.iter().flat_map(|part| &part.links).cloned();
        Some(Self::closed(
            &first.branch,
            first.first,
            last.last,
            commits.collect(),
            links.collect(),
        ))
    }

    fn closed(
        branch: &BranchName,
        first: Seq,
        last: Seq,
        mut commits: Vec<Place>,
        mut links: Vec<Link>,
    ) -> Self {
        commits.sort_unstable_by_key(|place| (place.id, place.seq));
        links.retain(|link| {
            let parent = &link.parent;
            parent.branch != *branch || parent.seq < first || parent.seq > last
        });
        Self {
            format: FORMAT,
            branch: branch.clone(),
            first,
            last,
            commits,
            links,
        }
    }

    /// Reads a segment; `None` if it is not what its name says.
    pub(super) fn read(name: &Name, bytes: &[u8]) -> Option<Self> {
        let segment: Self = serde_json::from_slice(bytes).ok()?;
        let sound = segment.format <= FORMAT
            && segment.commits.is_sorted_by_key(|place| place.id)
            && segment.name() == *name;
        sound.then_some(segment)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::internal("an index segment of commits cannot be written").with_source(error)
        })
    }

    pub(super) fn name(&self) -> Name {
        let end = |place: Option<&Place>| place.map_or(CommitId(Ulid::nil()), |place| place.id);
        Name {
            branch: self.branch.clone(),
            first: self.first,
            last: self.last,
            low: end(self.commits.first()),
            high: end(self.commits.last()),
        }
    }

    /// Where a commit lies.
    pub(super) fn find(&self, id: &CommitId) -> Option<Place> {
        let at = self.commits.partition_point(|place| place.id < *id);
        self.commits
            .get(at)
            .filter(|place| place.id == *id)
            .copied()
    }

    /// Where the history of a commit in this segment leaves it.
    pub(super) fn links_from(&self, at: &ParentRef) -> impl Iterator<Item = &ParentRef> {
        self.links
            .iter()
            .filter(move |link| link.incarnation == at.incarnation && link.seq <= at.seq)
            .map(|link| &link.parent)
    }
}

/// The commit that an entry brings, and the life of the branch that it belongs to.
pub(super) fn commit_of(entry: &BranchEntry) -> Option<(Incarnation, &Commit)> {
    match &entry.event {
        BranchEvent::Commit {
            incarnation,
            commit,
            ..
        } => Some((*incarnation, commit)),
        BranchEvent::Created {
            incarnation,
            first: Some(first),
            ..
        } => Some((*incarnation, first)),
        _ => None,
    }
}
