//! The objects that the roots need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::super::{BranchName, Graph, TableRef};
use super::history::History;
use super::record::Record;
use super::{Boundary, CollectProgress, Roots};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{References, Seen, references_beside};

/// Table versions that are opened at the same time.
const PARALLEL_TABLES: usize = 16;
/// The version that Lance gave a table when it was created: external tools look for it.
const FIRST_VERSION: u64 = 1;

/// Tells how far something is.
pub(crate) type Tell = Arc<dyn Fn(CollectProgress) + Send + Sync>;

/// Marks.
pub(crate) struct Marker<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) boundary: Boundary<'a>,
    pub(crate) tell: Option<Tell>,
}

/// What is kept, and all objects below `tables/` that it needs.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) needed: References,
    /// The table versions that are needed: directory below the graph's root, and version.
    pub(crate) tables: BTreeSet<(String, u64)>,
    pub(crate) floors: BTreeMap<BranchName, u64>,
    /// When the oldest kept commit was made.
    pub(crate) oldest_at: i64,
    /// What to remember of the decision.
    pub(crate) record: Record,
}

impl Marker<'_> {
    /// Reads the history, finds the roots and everything that they need.
    pub(crate) async fn mark(&self) -> Result<Marked> {
        let at = self.graph.store().clock().now_micros();
        let history = History::read(self.graph).await?;
        self.mark_at(at, &history).await
    }

    /// The same for a history that was read.
    pub(crate) async fn mark_history(&self, history: &History) -> Result<Marked> {
        let at = self.graph.store().clock().now_micros();
        self.mark_at(at, history).await
    }

    async fn mark_at(&self, at: i64, history: &History) -> Result<Marked> {
        let roots = Roots::find(history, self.boundary)?;
        let tables = self.tables_of(history, &roots);
        let (needed, missing) = self.references_of(&tables).await?;
        let names = history.heads.keys().cloned().collect();
        let mut record = Record::new(at, roots.kept, names, BTreeSet::new());
        let mut oldest_at = at;
        for node in roots
            .commits
            .iter()
            .filter_map(|place| history.nodes.get(place))
        {
            oldest_at = oldest_at.min(node.created_at);
            let lost = |index: &u32| {
                let table = history.tables.get(*index as usize);
                table.is_some_and(|table| missing.contains(&key_of(table)))
            };
            let by_place = record.keeps(&node.place.0, node.version, node.created_at);
            if !by_place && !node.tables.iter().any(lost) {
                record.commits.insert(node.id);
            }
        }
        Ok(Marked {
            needed,
            tables: tables
                .into_keys()
                .filter(|key| !missing.contains(key))
                .collect(),
            floors: roots.floors,
            oldest_at,
            record,
        })
    }

    /// The table versions of the roots, and whether each has to be there.
    fn tables_of(&self, history: &History, roots: &Roots) -> BTreeMap<(String, u64), bool> {
        let record = match self.boundary {
            Boundary::Policy { before, .. } => before,
            Boundary::Decided(record) => record,
        };
        let mut tables: BTreeMap<(String, u64), bool> = BTreeMap::new();
        for node in roots.commits.iter().filter_map(|place| history.node(place)) {
            // A branch that was made at a reclaimed commit by somebody who then died is no reason
            // to give up.
            let certain = record.is_none_or(|record| {
                record.names(node.id) || record.keeps(&node.place.0, node.version, node.created_at)
            });
            for index in &node.tables {
                if let Some(table) = history.tables.get(*index as usize) {
                    *tables.entry(key_of(table)).or_default() |= certain;
                }
            }
        }
        let paths: BTreeSet<String> = tables.keys().map(|(path, _)| path.clone()).collect();
        for path in paths {
            tables.entry((path, FIRST_VERSION)).or_default();
        }
        tables
    }

    /// What the versions refer to, and which of them are not there.
    async fn references_of(
        &self,
        tables: &BTreeMap<(String, u64), bool>,
    ) -> Result<(References, BTreeSet<(String, u64)>)> {
        let total = tables.len() as u64;
        let (mut needed, mut missing) = (References::default(), BTreeSet::new());
        let wanted: Vec<_> = tables
            .iter()
            .map(|(k, certain)| (k.clone(), *certain))
            .collect();
        let (graph, seen) = (self.graph.clone(), Arc::new(Seen::default()));
        let mut opened = futures::stream::iter(wanted)
            .map(move |(key, certain)| {
                let (graph, seen) = (graph.clone(), seen.clone());
                async move {
                    let found = references_to(&graph, &key, certain, &seen).await?;
                    Ok::<_, Error>((key, found))
                }
            })
            .buffer_unordered(PARALLEL_TABLES);
        let mut done = 0;
        while let Some((key, found)) = opened.try_next().await? {
            match found {
                Some(found) => needed.extend(found),
                None => {
                    missing.insert(key);
                }
            }
            done += 1;
            self.tell("marking", done, total);
        }
        Ok((needed, missing))
    }

    fn tell(&self, step: &'static str, done: u64, total: u64) {
        if let Some(tell) = &self.tell {
            tell(CollectProgress {
                step,
                done,
                total,
                bytes: 0,
            });
        }
    }
}

impl Marked {
    /// Whether an object below `tables/` is needed.
    pub(crate) fn needs(&self, object: &Path) -> bool {
        self.needed.covers(object)
    }
}

/// What a version refers to; none if it is missing and that is no wonder.
async fn references_to(
    graph: &Graph,
    (path, version): &(String, u64),
    certain: bool,
    seen: &Seen,
) -> Result<Option<References>> {
    let table = TableRef {
        path: path.clone(),
        version: *version,
        rows: 0,
    };
    match Box::pin(graph.tables().load(&table)).await {
        Ok(dataset) => Ok(Some(references_beside(&Arc::new(dataset), seen).await?)),
        Err(error) if error.kind() == ErrorKind::Corrupt && !certain => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => Err(Error::corrupt(format!(
            "{}: nothing is collected",
            error.message()
        ))
        .with_hint("look at the graph with omnigraphctl fsck first")
        .with_source(error)),
        Err(error) => Err(error),
    }
}

fn key_of(table: &TableRef) -> (String, u64) {
    (table.path.clone(), table.version)
}
