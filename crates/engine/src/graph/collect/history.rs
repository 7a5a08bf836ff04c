//! The logs of all branches, as far as commits can be reached: a skeleton that fits in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore as _;

use super::super::branch::{BranchState, Head};
use super::super::model::{BranchEntry, BranchEvent, ParentRef};
use super::super::tag::TagState;
use super::super::{BranchName, Commit, CommitId, CommitKind, Graph, TableRef};
use crate::error::{Error, Result};
use crate::log::{Log, Seq};

/// Entries that are read at the same time.
const PARALLEL_ENTRIES: usize = 32;
/// Branches that are looked at at the same time.
const PARALLEL_BRANCHES: usize = 16;

/// Where an entry lies.
pub(crate) type Place = (BranchName, u64);

/// One commit.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: CommitId,
    pub(crate) place: Place,
    pub(crate) version: u64,
    pub(crate) created_at: i64,
    pub(crate) kind: CommitKind,
    pub(crate) parents: Vec<Place>,
    /// Indexes into [`History::tables`].
    pub(crate) tables: Box<[u32]>,
}

/// A branch that lived at some moment while the history was read.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) branch: BranchName,
    /// Where this life began, and when.
    pub(crate) created: Seq,
    pub(crate) created_at: i64,
    /// Its newest commit: its own, or the one that it was made from.
    pub(crate) head: Place,
}

/// Everything that is known of the commits of a graph.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The last entry of each name that was ever used.
    pub(crate) heads: BTreeMap<BranchName, Seq>,
    /// Lowest entry that was found in each log that was read.
    pub(crate) lowest: BTreeMap<BranchName, u64>,
    pub(crate) lives: Vec<Life>,
    /// Commits in logs, by place.
    pub(crate) nodes: BTreeMap<Place, Node>,
    /// What branches were made from, by the place of the entry that made them.
    pub(crate) bases: BTreeMap<Place, Place>,
    /// Commits that were appended while the history was read.
    pub(crate) late: BTreeSet<Place>,
    /// Commits that tags name.
    pub(crate) tagged: BTreeSet<Place>,
    pub(crate) tables: Vec<TableRef>,
    table_index: HashMap<TableRef, u32>,
}

impl History {
    /// Reads the history of every branch that lives.
    ///
    /// The heads are not read at one moment. So they are read again at the end, and what was
    /// appended meanwhile is taken in: whatever was reachable at the moment between the two looks
    /// is in the result.
    pub(crate) async fn read(graph: &Graph) -> Result<Self> {
        let mut history = Self::default();
        for (name, state) in states(graph).await? {
            history.look(&name, &state);
        }
        history.look_at_tags(graph).await?;
        history.load_reachable(graph).await?;
        history.look_at_tags(graph).await?;
        for (name, state) in states(graph).await? {
            history.look_again(graph, &name, &state).await?;
        }
        history.load_reachable(graph).await?;
        Ok(history)
    }

    /// Takes in what commits refer to beyond the heads that were seen: a merge may have been read
    /// after its source moved. What the logs hold up to these heads refers to nothing else.
    pub(crate) async fn close(&mut self, graph: &Graph) -> Result<()> {
        loop {
            let beyond = self
                .nodes
                .values()
                .flat_map(|node| &node.parents)
                .find(|(name, seq)| self.heads.get(name).is_none_or(|head| head.0 < *seq))
                .cloned();
            let Some((name, seq)) = beyond else {
                return Ok(());
            };
            let from = self.heads.insert(name.clone(), Seq(seq));
            let from = from.map_or(Seq::FIRST, Seq::next);
            let log = graph.shared.branches.log(&name);
            for (at, entry) in read_down(&log, from, Seq(seq)).await? {
                self.take(&name, at, entry);
            }
            self.lowest.entry(name).or_insert(from.0);
            self.load_reachable(graph).await?;
        }
    }

    /// Where the head of `main` lies.
    pub(crate) fn head_of_main(&self) -> Option<&Place> {
        let of_main = |node: &&Node| node.place.0.is_main();
        let newest = self
            .nodes
            .values()
            .filter(of_main)
            .max_by_key(|node| node.place.1);
        newest.map(|node| &node.place)
    }

    pub(crate) fn node(&self, place: &Place) -> Option<&Node> {
        self.nodes.get(place)
    }

    /// A branch's own commits since its present life began, oldest first.
    pub(crate) fn own<'a>(&'a self, life: &'a Life) -> impl DoubleEndedIterator<Item = &'a Node> {
        let from = (life.branch.clone(), life.created.0);
        let to = (life.branch.clone(), u64::MAX);
        self.nodes.range(from..=to).map(|(_, node)| node)
    }

    async fn look_at_tags(&mut self, graph: &Graph) -> Result<()> {
        for tag in graph.tags().await? {
            if let TagState::Living { at, .. } = graph.shared.tags.state(&tag.name).await? {
                self.tagged.insert(place_of(&at));
            }
        }
        Ok(())
    }

    fn look(&mut self, name: &BranchName, state: &BranchState) {
        if let Some(seq) = state.seq() {
            self.heads.insert(name.clone(), seq);
        }
        if let BranchState::Living(head) = state {
            self.lives.push(life(name, head));
        }
    }

    async fn look_again(
        &mut self,
        graph: &Graph,
        name: &BranchName,
        state: &BranchState,
    ) -> Result<()> {
        let before = self.heads.get(name).copied();
        let Some(seq) = state.seq().filter(|seq| before != Some(*seq)) else {
            return Ok(());
        };
        self.look(name, state);
        let log = graph.shared.branches.log(name);
        let from = before.map_or(Seq::FIRST, Seq::next);
        for (at, entry) in read_down(&log, from, seq).await? {
            if let Some(place) = self.take(name, at, entry) {
                self.late.insert(place);
            }
        }
        if before.is_some() && !self.lowest.contains_key(name) {
            // It was dead and lives again.
            self.load(graph, name, seq).await?;
        }
        Ok(())
    }

    /// Reads the logs of living branches, and those that they refer to.
    async fn load_reachable(&mut self, graph: &Graph) -> Result<()> {
        loop {
            let wanted: BTreeSet<BranchName> = self
                .lives
                .iter()
                .map(|life| &life.branch)
                .chain(
                    self.nodes
                        .values()
                        .flat_map(|node| node.parents.iter().map(|p| &p.0)),
                )
                .chain(
                    self.bases
                        .values()
                        .chain(&self.tagged)
                        .map(|place| &place.0),
                )
                .filter(|name| !self.lowest.contains_key(*name))
                .cloned()
                .collect();
            if wanted.is_empty() {
                return Ok(());
            }
            for name in wanted {
                let head = self.heads.get(&name).copied().ok_or_else(|| {
                    Error::corrupt(format!(
                        "commits refer to branch '{name}', whose log is missing"
                    ))
                })?;
                self.load(graph, &name, head).await?;
            }
        }
    }

    async fn load(&mut self, graph: &Graph, name: &BranchName, head: Seq) -> Result<()> {
        let log = graph.shared.branches.log(name);
        let mut lowest = head.0;
        for (seq, entry) in read_down(&log, Seq::FIRST, head).await? {
            lowest = lowest.min(seq.0);
            self.take(name, seq, entry);
        }
        self.lowest.insert(name.clone(), lowest);
        Ok(())
    }

    /// Takes an entry in. The place of its commit, if it is one.
    fn take(&mut self, name: &BranchName, seq: Seq, entry: BranchEntry) -> Option<Place> {
        let place = (name.clone(), seq.0);
        let commit = match entry.event {
            BranchEvent::Commit { commit, .. } => commit,
            BranchEvent::Created { base, first, .. } => {
                if let Some(base) = base {
                    self.bases.insert(place.clone(), place_of(&base));
                }
                first?
            }
            BranchEvent::Void | BranchEvent::Swept { .. } | BranchEvent::Deleted { .. } => {
                return None;
            }
        };
        let node = self.node_of(place.clone(), &commit);
        self.nodes.insert(place.clone(), node);
        Some(place)
    }

    fn node_of(&mut self, place: Place, commit: &Commit) -> Node {
        let tables = commit
            .tables
            .values()
            .map(|table| match self.table_index.get(table) {
                Some(index) => *index,
                None => {
                    let index = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
                    self.tables.push(table.clone());
                    self.table_index.insert(table.clone(), index);
                    index
                }
            })
            .collect();
        Node {
            id: commit.id,
            place,
            version: commit.version,
            created_at: commit.created_at,
            kind: commit.kind,
            parents: commit.parents.iter().map(place_of).collect(),
            tables,
        }
    }
}

pub(crate) fn place_of(at: &ParentRef) -> Place {
    (at.branch.clone(), at.seq.0)
}

fn life(name: &BranchName, head: &Head) -> Life {
    Life {
        branch: name.clone(),
        created: head.created.seq,
        created_at: head.created.created_at,
        head: place_of(&head.at),
    }
}

/// What every name that was ever used stands for now. The markers of living branches are hints, so
/// the logs themselves are listed.
pub(crate) async fn states(graph: &Graph) -> Result<Vec<(BranchName, BranchState)>> {
    let store = graph.store();
    let prefix = store.path(&format!("{}/branches", graph.root().path()));
    let listed = store
        .object_store()
        .list_with_delimiter(Some(&prefix))
        .await?;
    let names: Vec<BranchName> = listed
        .common_prefixes
        .iter()
        .filter_map(|directory| directory.filename())
        .map(BranchName::decode)
        .collect::<Result<_>>()?;
    let graph = graph.clone();
    futures::stream::iter(names)
        .map(move |name| {
            let graph = graph.clone();
            async move {
                let state = graph.shared.branches.state(&name).await?;
                Ok::<_, Error>((name, state))
            }
        })
        .buffer_unordered(PARALLEL_BRANCHES)
        .try_collect()
        .await
}

/// The entries from `to` down to `from`, or to the hole that truncation left.
async fn read_down(log: &Log<BranchEntry>, from: Seq, to: Seq) -> Result<Vec<(Seq, BranchEntry)>> {
    let mut found = Vec::new();
    let reader = log.clone();
    let mut entries = futures::stream::iter((from.0..=to.0).rev())
        .map(move |number| {
            let log = reader.clone();
            async move {
                let seq = Seq(number);
                Ok::<_, Error>((seq, log.get(seq).await?))
            }
        })
        .buffered(PARALLEL_ENTRIES);
    while let Some((seq, entry)) = entries.try_next().await? {
        match entry {
            Some(entry) => found.push((seq, entry)),
            None if seq == to => {
                return Err(Error::corrupt(format!(
                    "entry {seq} of {} is missing",
                    log.prefix()
                )));
            }
            None => break,
        }
    }
    Ok(found)
}
