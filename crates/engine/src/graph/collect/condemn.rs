//! The first phase: writing down what nothing needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::mark::Tell;
use super::record::{CollectEntry, CollectEvent, Known, List};
use super::{
    Amount, Boundary, CollectOptions, CollectOutcome, CollectProgress, CollectedTable, GRACE,
    Marked, Marker,
};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::writer::append_deadline;
use crate::graph::{BranchName, Graph, ReadOptions, Target};
use crate::log::{AppendError, Settled};
use crate::store::Store;

/// Objects in one part of a list.
const PART: usize = 20_000;
/// How often progress is told while listing.
const TOLD_EVERY: u64 = 1_000;
/// Time to find out what became of an append whose answer was lost.
const SETTLE: Duration = Duration::from_secs(10);

/// One part of a list.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Part {
    /// Paths below the graph's root, and sizes.
    pub(super) objects: Vec<(String, u64)>,
}

/// What a listing found that nothing needs.
#[derive(Debug, Default)]
struct Unneeded {
    total: Amount,
    by_table: BTreeMap<String, Amount>,
}

impl Graph {
    /// What a collection would do now.
    pub(super) async fn preview(&self, options: &CollectOptions) -> Result<CollectOutcome> {
        let known = self.shared.collection.look().await?;
        let marked = self.mark_by_policy(options, &known).await?;
        let now = newest_time(self.store(), self.shared.collection.directory()).await?;
        let mut found = Unneeded::default();
        self.unneeded(&marked, now, options.progress.as_ref(), |path, size| {
            found.add(&path, size);
        })
        .await?;
        let pending = known.list.filter(|(_, waits)| *waits).map(|(list, _)| list);
        Ok(CollectOutcome {
            dry_run: true,
            removed: found.total,
            tables: self.name_tables(found.by_table).await?,
            condemned: pending.as_ref().map(amount).unwrap_or_default(),
            removable_at: pending.as_ref().map(removable_at),
            log_entries: 0,
            oldest_retained: marked.record.oldest(&BranchName::main()),
        })
    }

    /// Condemns what nothing needs, unless another list waits for its removal.
    pub(super) async fn condemn(&self, options: &CollectOptions) -> Result<CollectOutcome> {
        let known = self.shared.collection.look().await?;
        if let Some((list, true)) = &known.list {
            return self.waiting(list).await;
        }
        let marked = self.mark_by_policy(options, &known).await?;
        let now = store_time(self.store(), self.shared.collection.directory()).await?;
        let id = Ulid::new();
        let list = self.write_list(id, &marked, now, options).await?;
        if list.objects == 0 {
            let mut outcome = nothing();
            outcome.oldest_retained = marked.record.oldest(&BranchName::main());
            return Ok(outcome);
        }
        self.shared
            .collection
            .put(id, "kept", &marked.record)
            .await?;
        let event = CollectEvent::Condemned(list.clone());
        if self.append_collect(&known, event).await? {
            return self.waiting(&list).await;
        }
        // Another collector was faster: its list counts, and ours is removed with the next one.
        let known = self.shared.collection.look().await?;
        match &known.list {
            Some((list, true)) => self.waiting(list).await,
            Some(_) | None => Ok(nothing()),
        }
    }

    async fn mark_by_policy(&self, options: &CollectOptions, known: &Known) -> Result<Marked> {
        let marker = Marker {
            graph: self,
            boundary: Boundary::Policy {
                retention: options.retention,
                now: self.store().clock().now_micros(),
                before: known.record.as_deref(),
            },
            tell: options.progress.clone(),
        };
        marker.mark().await
    }

    async fn waiting(&self, list: &List) -> Result<CollectOutcome> {
        Ok(CollectOutcome {
            condemned: amount(list),
            removable_at: Some(removable_at(list)),
            oldest_retained: self.oldest_retained(&BranchName::main()).await?,
            ..nothing()
        })
    }

    async fn write_list(
        &self,
        id: Ulid,
        marked: &Marked,
        now: i64,
        options: &CollectOptions,
    ) -> Result<List> {
        let mut paths = Vec::new();
        let told = options.progress.as_ref();
        self.unneeded(marked, now, told, |path, size| paths.push((path, size)))
            .await?;
        let mut list = List {
            id,
            parts: 0,
            objects: paths.len() as u64,
            bytes: paths.iter().map(|(_, size)| size).sum(),
            at: now,
        };
        while !paths.is_empty() {
            let rest = paths.split_off(paths.len().min(PART));
            let part = Part { objects: paths };
            let name = part_name(list.parts);
            self.shared.collection.put(id, &name, &part).await?;
            list.parts += 1;
            paths = rest;
        }
        Ok(list)
    }

    /// Keys that another request has claimed anew behind an older claim: the claims of a key are
    /// read in order, so they go together or not at all.
    async fn claims_in_use(&self, root: &str, than: i64) -> Result<BTreeSet<String>> {
        let prefix = self.store().path(&format!("{root}/idempotency"));
        let mut objects = self.store().object_store().list(Some(&prefix));
        let mut in_use = BTreeSet::new();
        while let Some(object) = objects.try_next().await? {
            let young = object.last_modified.timestamp_micros() >= than;
            let name = object.location.filename().unwrap_or_default();
            if young && name.contains('-') {
                in_use.insert(claim_of(&object.location).to_owned());
            }
        }
        Ok(in_use)
    }

    /// Tells of every object that is old enough and that nothing needs: files of tables, and claims
    /// of requests that are older than the kept history.
    async fn unneeded(
        &self,
        marked: &Marked,
        now: i64,
        tell: Option<&Tell>,
        mut found: impl FnMut(String, u64),
    ) -> Result<()> {
        let grace = micros(GRACE);
        let old = |object: &ObjectMeta, than: i64| object.last_modified.timestamp_micros() < than;
        let root = self.root().path();
        let mut listed = 0;
        let forgotten = now.saturating_sub(grace).min(marked.oldest_at);
        let in_use = self.claims_in_use(&root, forgotten).await?;
        for (directory, than) in [
            ("tables", now.saturating_sub(grace)),
            ("idempotency", forgotten),
        ] {
            let prefix = self.store().path(&format!("{root}/{directory}"));
            let mut objects = self.store().object_store().list(Some(&prefix));
            while let Some(object) = objects.try_next().await? {
                listed += 1;
                if let Some(tell) = tell.filter(|_| listed % TOLD_EVERY == 0) {
                    tell(progress("listing", listed));
                }
                let needed = match directory {
                    "tables" => marked.needs(&object.location),
                    _ => in_use.contains(claim_of(&object.location)),
                };
                if needed || !old(&object, than) {
                    continue;
                }
                if let Some(below) = below(self.store(), &root, &object.location) {
                    found(below, object.size);
                }
            }
        }
        Ok(())
    }

    /// Appends to the log of collections. False: another collector did.
    pub(super) async fn append_collect(&self, known: &Known, event: CollectEvent) -> Result<bool> {
        let log = self.shared.collection.log();
        let entry = CollectEntry::new(event);
        let id = crate::log::Entry::entry_id(&entry);
        match log.append(known.seq, &entry, append_deadline()).await {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(AppendError::Log(error)) => Err(error.into()),
            Err(AppendError::OutcomeUnknown { seq, .. }) => {
                match log.settle(seq, id, SETTLE).await {
                    Ok(Settled::Landed) => Ok(true),
                    Ok(Settled::Excluded) => Ok(false),
                    Err(error) => Err(Error::new(
                        ErrorKind::Unavailable,
                        "the object store did not say whether the collection was recorded",
                    )
                    .with_hint("repeat it: it is carried on")
                    .with_source(error)),
                }
            }
        }
    }

    /// Amounts by table directory, under the names of the types.
    pub(super) async fn name_tables(
        &self,
        amounts: BTreeMap<String, Amount>,
    ) -> Result<Vec<CollectedTable>> {
        let snapshot = self
            .snapshot(&Target::default(), &ReadOptions::default())
            .await?;
        let prefix = format!("{}/", self.root().path());
        let names: BTreeMap<String, (bool, String)> = snapshot
            .datasets()
            .into_iter()
            .map(|dataset| {
                let below = dataset.path.strip_prefix(&prefix).unwrap_or(&dataset.path);
                (below.to_owned(), (dataset.edge, dataset.type_name.clone()))
            })
            .collect();
        let mut tables: Vec<CollectedTable> = amounts
            .into_iter()
            .map(|(table, removed)| {
                let (edge, type_name) = names.get(&table).cloned().unwrap_or((false, table));
                CollectedTable {
                    edge,
                    type_name,
                    removed,
                }
            })
            .collect();
        tables.sort_by(|a, b| (a.edge, &a.type_name).cmp(&(b.edge, &b.type_name)));
        Ok(tables)
    }
}

impl Unneeded {
    fn add(&mut self, path: &str, size: u64) {
        self.total.add(size);
        if let Some(table) = table_of(path) {
            self.by_table.entry(table).or_default().add(size);
        }
    }
}

pub(super) fn part_name(number: u32) -> String {
    format!("part-{number:05}")
}

/// `tables/<ulid>.lance` of a path below the graph's root.
pub(super) fn table_of(path: &str) -> Option<String> {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("tables"), Some(table)) => Some(format!("tables/{table}")),
        _ => None,
    }
}

/// A path below the graph's root.
pub(crate) fn below(store: &Store, root: &str, path: &object_store::path::Path) -> Option<String> {
    let root = store.path(root);
    let below = path.prefix_match(&root)?;
    Some(
        below
            .map(|part| part.as_ref().to_owned())
            .collect::<Vec<_>>()
            .join("/"),
    )
}

fn nothing() -> CollectOutcome {
    CollectOutcome {
        dry_run: false,
        removed: Amount::default(),
        condemned: Amount::default(),
        removable_at: None,
        tables: Vec::new(),
        log_entries: 0,
        oldest_retained: None,
    }
}

fn amount(list: &List) -> Amount {
    Amount {
        objects: list.objects,
        bytes: list.bytes,
    }
}

fn removable_at(list: &List) -> i64 {
    list.at.saturating_add(micros(GRACE))
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn progress(step: &'static str, done: u64) -> CollectProgress {
    CollectProgress {
        step,
        done,
        total: 0,
        bytes: 0,
    }
}

/// What the store's clock says, in microseconds: told by an object that was just written.
pub(crate) async fn store_time(store: &Store, directory: &str) -> Result<i64> {
    let path = store.path(&format!("{directory}/time"));
    let objects = store.object_store();
    objects.put(&path, PutPayload::from_static(b"")).await?;
    Ok(objects.head(&path).await?.last_modified.timestamp_micros())
}

/// The same for somebody who writes nothing: this process's clock, unless the store's is behind.
async fn newest_time(store: &Store, directory: &str) -> Result<i64> {
    let path = store.path(&format!("{directory}/time"));
    let now = store.clock().now_micros();
    match store.object_store().head(&path).await {
        Ok(meta) => Ok(now.max(meta.last_modified.timestamp_micros())),
        Err(object_store::Error::NotFound { .. }) => Ok(now),
        Err(error) => Err(error.into()),
    }
}

/// The key that a claim is for: `<sha256>` and `<sha256>-1` are of the same.
fn claim_of(location: &object_store::path::Path) -> &str {
    let name = location.filename().unwrap_or_default();
    name.split_once('-').map_or(name, |(key, _)| key)
}
