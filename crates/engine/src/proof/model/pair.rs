//! A graph beside its model.

use std::collections::{BTreeMap, BTreeSet};

use super::data::{Data, Schema};
use super::steps::{BRANCHES, Point, TAGS};
use crate::graph::{BranchName, Commit, CommitId, TagName, Target};
use crate::proof::world::World;

const DAY: i64 = 24 * 3_600_000_000;

/// What the model knows of a commit.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) data: Data,
    pub(super) schema: Schema,
    /// By which the engine tells schemas apart.
    pub(super) digest: String,
    /// The commit on `main` that moved to this schema.
    pub(super) schema_commit: CommitId,
    pub(super) parents: Vec<CommitId>,
    pub(super) created_at: i64,
}

/// A graph, and what it should say.
pub(super) struct Pair {
    pub(super) world: World,
    /// Heads of living branches.
    pub(super) heads: BTreeMap<BranchName, CommitId>,
    /// Every commit that was ever a head, and all of them in their order.
    pub(super) commits: BTreeMap<CommitId, Known>,
    pub(super) order: Vec<CommitId>,
    pub(super) tags: BTreeMap<&'static str, CommitId>,
    /// The commits of each living branch with the time at which they became its head; the first one
    /// is its base.
    lives: BTreeMap<BranchName, Vec<(CommitId, i64)>>,
    /// The fewest commits that a collection kept.
    least: Option<u64>,
    /// Properties that were ever added.
    pub(super) extras: usize,
}

impl Pair {
    pub(super) async fn new() -> Self {
        let schema = Schema::default();
        let world = World::new(&schema.source(None)).await;
        let main = BranchName::main();
        let head = world.graph.branch(&main).await.unwrap().head;
        let mut pair = Self {
            world,
            heads: BTreeMap::new(),
            commits: BTreeMap::new(),
            order: Vec::new(),
            tags: BTreeMap::new(),
            lives: BTreeMap::new(),
            least: None,
            extras: 0,
        };
        pair.commit(&main, &head, Data::default(), schema);
        pair
    }

    pub(super) fn head(&self, branch: &BranchName) -> Option<&Known> {
        self.heads.get(branch).map(|head| &self.commits[head])
    }

    /// A branch has a new head.
    pub(super) fn commit(
        &mut self,
        branch: &BranchName,
        commit: &Commit,
        data: Data,
        schema: Schema,
    ) {
        let known = Known {
            data,
            schema,
            digest: commit.schema.clone(),
            schema_commit: commit.schema_commit,
            parents: commit.parents.iter().map(|parent| parent.id).collect(),
            created_at: commit.created_at,
        };
        self.commits.insert(commit.id, known);
        self.order.push(commit.id);
        self.move_head(branch, commit.id);
    }

    fn move_head(&mut self, branch: &BranchName, id: CommitId) {
        self.heads.insert(branch.clone(), id);
        let life = self.lives.entry(branch.clone()).or_default();
        life.push((id, self.world.now()));
    }

    pub(super) fn begin(&mut self, branch: &BranchName, at: CommitId) {
        self.lives.remove(branch);
        self.move_head(branch, at);
    }

    pub(super) fn end(&mut self, branch: &BranchName) {
        self.lives.remove(branch);
        self.heads.remove(branch);
    }

    pub(super) fn collected(&mut self, keep: u64) {
        self.least = Some(self.least.map_or(keep, |least| least.min(keep)));
    }

    /// Whether every collection so far had to keep a commit.
    pub(super) fn is_kept(&self, id: CommitId) -> bool {
        let Some(least) = self.least else {
            return true;
        };
        let least = usize::try_from(least).unwrap();
        let since = self.world.now() - DAY;
        let in_life = |life: &Vec<(CommitId, i64)>| {
            let newest = life.iter().rev().take(least);
            let superseded = life.windows(2).filter(|pair| pair[1].1 >= since);
            let recent = superseded.map(|pair| &pair[0]);
            newest.chain(recent).any(|(other, _)| *other == id)
        };
        self.tags.values().any(|tagged| *tagged == id) || self.lives.values().any(in_life)
    }

    /// Commits that can be found by their ids: those that a living branch has in its history.
    pub(super) fn found_by_id(&self) -> BTreeSet<CommitId> {
        let heads = self.heads.values();
        heads.flat_map(|head| self.ancestors(*head)).collect()
    }

    /// A commit and everything that it descends from.
    pub(super) fn ancestors(&self, of: CommitId) -> BTreeSet<CommitId> {
        let mut found = BTreeSet::new();
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(&self.commits[&id].parents);
            }
        }
        found
    }

    /// Common ancestors that no other common ancestor descends from.
    pub(super) fn bases(&self, a: CommitId, b: CommitId) -> Vec<CommitId> {
        let (a, b) = (self.ancestors(a), self.ancestors(b));
        let common: Vec<CommitId> = a.intersection(&b).copied().collect();
        let covered: BTreeSet<CommitId> = common
            .iter()
            .flat_map(|id| {
                let mut below = self.ancestors(*id);
                below.remove(id);
                below
            })
            .collect();
        let best = common.into_iter().filter(|id| !covered.contains(id));
        best.collect()
    }

    /// The newest commit of a branch that is not younger, and whether the way to it is kept.
    fn as_of(&self, branch: &BranchName, at: i64) -> Option<(CommitId, bool)> {
        let mut id = *self.heads.get(branch)?;
        let mut kept = true;
        loop {
            let known = &self.commits[&id];
            kept = kept && self.is_kept(id);
            if known.created_at <= at {
                return Some((id, kept));
            }
            id = *known.parents.first()?;
        }
    }

    /// What a point means to the engine and to the model, and whether the engine must know it.
    pub(super) fn resolve(&self, point: Point) -> (Target, Option<(CommitId, bool)>) {
        let any = |number: usize| self.order[number % self.order.len()];
        match point {
            Point::Branch(branch) => {
                let branch = branch_name(branch);
                let head = self.heads.get(&branch).map(|head| (*head, true));
                (Target::Branch(branch), head)
            }
            Point::Commit(number) => {
                let id = any(number);
                let must = self.is_kept(id) && self.found_by_id().contains(&id);
                (Target::Commit(id), Some((id, must)))
            }
            Point::Tag(tag) => {
                let tagged = self.tags.get(TAGS[tag]).map(|id| (*id, true));
                (Target::Tag(tag_name(tag)), tagged)
            }
            Point::Time { branch, commit } => {
                let branch = branch_name(branch);
                // A little later than it was made.
                let at = self.commits[&any(commit)].created_at + 1;
                let found = self.as_of(&branch, at);
                (Target::AsOf { branch, at }, found)
            }
        }
    }
}

pub(super) fn branch_name(index: usize) -> BranchName {
    match index.checked_sub(1) {
        None => BranchName::main(),
        Some(index) => BranchName::parse(BRANCHES[index]).unwrap(),
    }
}

pub(super) fn tag_name(index: usize) -> TagName {
    TagName::parse(TAGS[index]).unwrap()
}

pub(super) fn index_of(branch: &BranchName) -> usize {
    let mut names = BRANCHES.iter();
    let index = names.position(|name| *name == branch.as_str());
    index.map_or(0, |index| index + 1)
}
