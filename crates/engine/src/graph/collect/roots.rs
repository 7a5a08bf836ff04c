//! Which commits are kept, and how far the logs have to reach back.
//!
//! Kept are, per living branch, the newest commits as retention says, the commit that the branch
//! was made from, the commits that the kept ones merged, and tags. A merge needs its base, which may
//! be older than all of these: so the common ancestors of all of them are kept too, and every entry
//! on the way from them to there stays in its log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{BranchName, CommitKind};
use super::history::{History, Life, Node, Place};
use super::record::{Kept, Record};
use super::{GRACE, Retention};
use crate::error::{Error, Result};

/// How the kept part of a branch is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Boundary<'a> {
    /// By the rules, as of `now`; what was reclaimed before stays reclaimed.
    Policy {
        retention: Retention,
        now: i64,
        before: Option<&'a Record>,
    },
    /// As it was decided; everything when nothing was.
    Decided(Option<&'a Record>),
}

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roots {
    /// The commits whose tables stay.
    pub(crate) commits: BTreeSet<Place>,
    /// The kept part of each living branch.
    pub(crate) kept: Vec<Kept>,
    /// The first entry that has to stay, by log.
    pub(crate) floors: BTreeMap<BranchName, u64>,
}

impl Roots {
    /// Finds them.
    pub(crate) fn find(history: &History, boundary: Boundary<'_>) -> Result<Self> {
        let mut roots = Self::default();
        let mut anchors: BTreeSet<Place> = history.tagged.clone();
        anchors.extend(history.late.iter().cloned());
        for life in &history.lives {
            let own: Vec<&Node> = history.own(life).collect();
            let from = boundary.first_kept(&own);
            let kept = own.get(from..).unwrap_or_default();
            roots
                .commits
                .extend(kept.iter().map(|node| node.place.clone()));
            for node in kept {
                anchors.extend(node.parents.iter().skip(1).cloned());
            }
            anchors.extend(kept.first().map(|node| node.place.clone()));
            anchors.insert(life.head.clone());
            anchors.extend(base_of(history, life, &own));
            roots
                .kept
                .extend(kept_of(history, life, kept.first().copied()));
        }
        if let Boundary::Decided(Some(record)) = boundary {
            let named = history.nodes.values().filter(|node| record.names(node.id));
            anchors.extend(named.map(|node| node.place.clone()));
        }
        let known = |place: &Place| history.node(place).is_some();
        if let Some(life) = history.lives.iter().find(|life| !known(&life.head)) {
            return Err(Error::corrupt(format!(
                "the head of branch '{}' is not in the log that it names",
                life.branch
            )));
        }
        anchors.retain(known);
        roots.commits.extend(common_ancestors(history, &anchors));
        roots.commits.extend(anchors);
        roots.floors = floors(history, &roots.commits);
        Ok(roots)
    }
}

impl Boundary<'_> {
    /// Index of the oldest commit of a branch that is kept.
    fn first_kept(&self, own: &[&Node]) -> usize {
        match self {
            Self::Policy {
                retention,
                now,
                before,
            } => {
                let first = by_rules(own, retention, *now);
                first.max(first_not_reclaimed(own, *before))
            }
            Self::Decided(record) => first_not_reclaimed(own, *record),
        }
    }
}

fn by_rules(own: &[&Node], retention: &Retention, now: i64) -> usize {
    let age = retention.age.unwrap_or(Duration::ZERO).max(GRACE);
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let cutoff = now.saturating_sub(age);
    let (mut first, mut counted, mut superseded) = (own.len(), 0, i64::MAX);
    for (index, node) in own.iter().enumerate().rev() {
        let by_count = retention.commits.is_some_and(|most| counted < most);
        if !by_count && superseded < cutoff {
            break;
        }
        first = index;
        superseded = node.created_at;
        if !matches!(node.kind, CommitKind::Maintenance | CommitKind::Fence) {
            counted += 1;
        }
    }
    first
}

fn first_not_reclaimed(own: &[&Node], record: Option<&Record>) -> usize {
    let Some(record) = record else {
        return 0;
    };
    let kept = |node: &&&Node| record.keeps(&node.place.0, node.version, node.created_at);
    own.len() - own.iter().rev().take_while(kept).count()
}

/// Where the branch was made: as its first entry says, or its first own commit.
fn base_of(history: &History, life: &Life, own: &[&Node]) -> Option<Place> {
    let created = (life.branch.clone(), life.created.0);
    let named = history.bases.get(&created).cloned();
    named.or_else(|| {
        let first = own.first()?;
        let base = first.parents.first()?;
        (base.0 != life.branch).then(|| base.clone())
    })
}

fn kept_of(history: &History, life: &Life, oldest: Option<&Node>) -> Option<Kept> {
    let oldest = match oldest {
        Some(oldest) => oldest,
        // A branch without a commit of its own stands on its base.
        None => history.node(&life.head)?,
    };
    Some(Kept {
        branch: life.branch.clone(),
        since: life.created_at,
        oldest: oldest.id,
        version: oldest.version,
    })
}

/// The commits from which two of the anchors part: the bases that merges between them, and between
/// branches made at them, will have. Every such commit has several children, none of which leads
/// to all the anchors that it leads to itself.
fn common_ancestors(history: &History, anchors: &BTreeSet<Place>) -> Vec<Place> {
    let numbers: BTreeMap<&Place, usize> = anchors.iter().zip(0..).collect();
    let mut newest_first: Vec<&Node> = history.nodes.values().collect();
    newest_first.sort_by_key(|node| (std::cmp::Reverse(node.version), node.place.clone()));
    let mut reached: BTreeMap<&Place, Reached> = BTreeMap::new();
    let mut found = Vec::new();
    for node in newest_first {
        let mut here = reached.remove(&node.place).unwrap_or_default();
        if here.children > 1 && here.anchors.count() > here.most_of_a_child {
            found.push(node.place.clone());
        }
        if let Some(number) = numbers.get(&node.place) {
            here.anchors.insert(*number);
        }
        if here.anchors.count() == 0 {
            continue;
        }
        for parent in &node.parents {
            let above = reached.entry(parent).or_default();
            above.children += 1;
            above.most_of_a_child = above.most_of_a_child.max(here.anchors.count());
            above.anchors.union(&here.anchors);
        }
    }
    found
}

/// What leads to a commit.
#[derive(Default)]
struct Reached {
    anchors: Bits,
    children: usize,
    most_of_a_child: u32,
}

#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, number: usize) {
        let word = number / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (number % 64);
        }
    }

    fn union(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// An entry stays when it is kept or leads to something that is. Logs have no holes, so everything
/// above the lowest such entry stays.
fn floors(history: &History, roots: &BTreeSet<Place>) -> BTreeMap<BranchName, u64> {
    let mut oldest_first: Vec<&Node> = history.nodes.values().collect();
    oldest_first.sort_by_key(|node| node.version);
    let mut needed: BTreeSet<&Place> = BTreeSet::new();
    let mut floors: BTreeMap<BranchName, u64> = history
        .heads
        .iter()
        .map(|(name, head)| (name.clone(), head.0))
        .collect();
    for node in oldest_first {
        if roots.contains(&node.place) || node.parents.iter().any(|p| needed.contains(p)) {
            needed.insert(&node.place);
            lower(&mut floors, &node.place);
        }
    }
    // The entry that made a living branch says what it was made from.
    for life in &history.lives {
        let created = (life.branch.clone(), life.created.0);
        if history.bases.contains_key(&created) {
            lower(&mut floors, &created);
        }
    }
    floors
}

fn lower(floors: &mut BTreeMap<BranchName, u64>, place: &Place) {
    if let Some(floor) = floors.get_mut(&place.0) {
        *floor = (*floor).min(place.1);
    }
}
