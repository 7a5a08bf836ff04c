//! Making a backup.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload};

use super::copy::{At, copy};
use super::manifest::{Header, LogRange, Logs, Manifest, Object};
use super::place::Place;
use super::{Amount, BackupInfo, BackupOptions, BackupScope};
use crate::error::{Error, Result};
use crate::graph::collect::{Boundary, CollectProgress, History, Marker, below};
use crate::graph::{BranchName, Commit, Graph, ReadOptions, Target};
use crate::store::Store;
use crate::table::{References, references};

/// Objects that are copied at the same time.
const PARALLEL: usize = 8;

/// What belongs to a backup: sizes by path below the graph's root.
type Wanted = BTreeMap<String, u64>;

impl Graph {
    /// Copies what commits need to another storage root. What is there already is not copied again.
    ///
    /// # Errors
    /// `Corrupt` if an object that a commit needs is missing; then there is no backup.
    pub async fn backup(&self, destination: &str, options: &BackupOptions) -> Result<BackupInfo> {
        // Erased, so that callers need not know what it is made of.
        let work: BoxFuture<'_, _> = Box::pin(self.backup_now(destination, options));
        work.await
    }

    async fn backup_now(&self, destination: &str, options: &BackupOptions) -> Result<BackupInfo> {
        let place = Place::create(destination, self.store().options()).await?;
        place.store.probe_create_once().await?;
        let (header, wanted) = match &options.scope {
            BackupScope::Commit(target) => self.of_commit(target).await?,
            BackupScope::History => Box::pin(self.of_history(options)).await?,
        };
        let known = self.known_objects(&place).await?;
        let (objects, copied) = self.copy_objects(&place, wanted, known, options).await?;
        let manifest = Manifest { header, objects };
        let written = place.manifest(&manifest.header.graph, manifest.header.backup);
        place
            .store
            .object_store()
            .put_opts(
                &place.store.path(&written),
                PutPayload::from(manifest.to_bytes()?),
                PutMode::Create.into(),
            )
            .await?;
        Ok(place.info(&manifest, copied))
    }

    async fn of_commit(&self, target: &Target) -> Result<(Header, Wanted)> {
        let snapshot = self.snapshot(target, &ReadOptions::default()).await?;
        let commit = Commit::clone(snapshot.commit());
        let mut needed = References::default();
        let mut tables = BTreeSet::new();
        for table in commit.tables.values() {
            let dataset = Arc::new(Box::pin(self.tables().load(table)).await?);
            needed.extend(references(&dataset).await?);
            tables.insert(table.path.clone());
        }
        // What Lance looks for first when nobody names a version.
        for path in &tables {
            let first = crate::graph::TableRef {
                path: path.clone(),
                version: 1,
                rows: 0,
            };
            if let Ok(dataset) = Box::pin(self.tables().load(&first)).await {
                needed.extend(references(&Arc::new(dataset)).await?);
            }
        }
        let mut wanted = self.table_objects(&needed, &tables).await?;
        let schema = format!("schema/{}.json", commit.schema);
        wanted.insert(schema.clone(), self.size_of(&schema).await?);
        Ok((self.header(commit, None), wanted))
    }

    async fn of_history(&self, options: &BackupOptions) -> Result<(Header, Wanted)> {
        let known = self.shared.collection.look().await?;
        let marker = Marker {
            graph: self,
            boundary: Boundary::Decided(known.record.as_deref()),
            tell: options.progress.clone(),
        };
        let mut history = History::read(self).await?;
        history.close(self).await?;
        let marked = marker.mark_history(&history).await?;
        let tables = marked.tables.iter().map(|(path, _)| path.clone()).collect();
        let mut wanted = self.table_objects(&marked.needed, &tables).await?;
        for directory in ["schema", "tags"] {
            wanted.extend(self.objects_below(directory).await?);
        }
        let mut branches = Vec::new();
        for (branch, lowest) in &history.lowest {
            let Some(head) = history.heads.get(branch) else {
                continue;
            };
            let range = LogRange {
                branch: branch.clone(),
                from: *lowest,
                to: head.0,
                living: history.lives.iter().any(|life| life.branch == *branch),
            };
            for seq in range.seqs() {
                let path = range.path(seq);
                let size = self.size_of(&path).await?;
                wanted.insert(path, size);
            }
            branches.push(range);
        }
        let head = self.shared.branches.log(&BranchName::main());
        let main = history
            .head_of_main()
            .ok_or_else(|| Error::corrupt("main has no commit"))?;
        let entry = head.get(crate::log::Seq(main.1)).await?;
        let commit = entry.and_then(|entry| entry.event.into_commit());
        let commit = commit.ok_or_else(|| Error::corrupt("the head of main is no commit"))?;
        let logs = Logs {
            branches,
            kept: known.record.as_deref().cloned(),
        };
        Ok((self.header(*commit, Some(logs)), wanted))
    }

    fn header(&self, commit: Commit, logs: Option<Logs>) -> Header {
        let root = self.root();
        let now = self.store().clock().now_micros();
        Header::new(root.id.clone(), root.incarnation, now, commit, logs)
    }

    /// Everything of the tables that is needed. What has to be there must be.
    async fn table_objects(
        &self,
        needed: &References,
        tables: &BTreeSet<String>,
    ) -> Result<Wanted> {
        let root = self.root().path();
        let mut wanted = Wanted::new();
        let mut missing: BTreeSet<_> = needed.files.iter().cloned().collect();
        for table in tables {
            let prefix = self.store().path(&format!("{root}/{table}"));
            let mut listed = self.store().object_store().list(Some(&prefix));
            while let Some(object) = listed.try_next().await? {
                missing.remove(&object.location);
                if needed.covers(&object.location)
                    && let Some(path) = below(self.store(), &root, &object.location)
                {
                    wanted.insert(path, object.size);
                }
            }
        }
        match missing.first() {
            None => Ok(wanted),
            Some(first) => Err(Error::corrupt(format!(
                "object {first} is missing or lies outside of the graph: nothing was backed up"
            ))
            .with_hint("look at the graph with omnigraphctl fsck first")),
        }
    }

    async fn objects_below(&self, directory: &str) -> Result<Wanted> {
        let root = self.root().path();
        let prefix = self.store().path(&format!("{root}/{directory}"));
        let mut listed = self.store().object_store().list(Some(&prefix));
        let mut found = Wanted::new();
        while let Some(object) = listed.try_next().await? {
            let path = below(self.store(), &root, &object.location);
            // Hints of logs are never trusted, and the only objects that change.
            let path = path.filter(|path| !path.ends_with("/hint") && !path.ends_with("/time"));
            found.extend(path.map(|path| (path, object.size)));
        }
        Ok(found)
    }

    async fn size_of(&self, path: &str) -> Result<u64> {
        let location = self.store().path(&format!("{}/{path}", self.root().path()));
        Ok(self.store().object_store().head(&location).await?.size)
    }

    /// Objects of this graph that complete backups have there, and that are still there.
    async fn known_objects(&self, place: &Place) -> Result<HashMap<String, Object>> {
        let earlier = place.list(Some(&self.root().id)).await?;
        let earlier: Vec<Manifest> = earlier
            .into_iter()
            .filter(|manifest| manifest.header.incarnation == self.root().incarnation)
            .collect();
        if earlier.is_empty() {
            return Ok(HashMap::new());
        }
        let present = place.present(self.root()).await?;
        Ok(earlier
            .into_iter()
            .flat_map(|manifest| manifest.objects)
            .filter(|object| present.get(&object.path) == Some(&object.bytes))
            .map(|object| (object.path.clone(), object))
            .collect())
    }

    async fn copy_objects(
        &self,
        place: &Place,
        wanted: Wanted,
        known: HashMap<String, Object>,
        options: &BackupOptions,
    ) -> Result<(Vec<Object>, Amount)> {
        let total = wanted.len() as u64;
        let (mut objects, mut copied) = (Vec::new(), Amount::default());
        let mut written = Vec::new();
        let (store, root, to) = (self.store().clone(), self.root().clone(), place.clone());
        let mut results = futures::stream::iter(wanted)
            .map(move |(path, size)| {
                let known = known
                    .get(&path)
                    .filter(|object| object.bytes == size)
                    .cloned();
                let (store, root, to) = (store.clone(), root.clone(), to.clone());
                async move {
                    if let Some(object) = known {
                        return Ok((object, false));
                    }
                    let object = copy_one(&store, &root, &to, path).await?;
                    Ok::<_, Error>((object, true))
                }
            })
            .buffered(PARALLEL);
        while let Some((object, fresh)) = results.try_next().await? {
            if fresh {
                copied.add(object.bytes);
                written.push(place.store.path(&place.object(self.root(), &object.path)));
            }
            objects.push(object);
            if let Some(tell) = &options.progress {
                tell(CollectProgress {
                    step: "copying",
                    done: objects.len() as u64,
                    total,
                    bytes: copied.bytes,
                });
            }
        }
        drop(results);
        place.store.flush(written).await?;
        Ok((objects, copied))
    }
}

async fn copy_one(
    store: &Store,
    root: &crate::graph::GraphRoot,
    place: &Place,
    path: String,
) -> Result<Object> {
    let (from, to) = (format!("{}/{path}", root.path()), place.object(root, &path));
    let from = At { store, path: &from };
    let to = At {
        store: &place.store,
        path: &to,
    };
    let copied = copy(from, to, None).await?;
    Ok(Object {
        path,
        bytes: copied.bytes,
        sha256: copied.sha256,
    })
}

impl LogRange {
    /// The first entry of a log is never truncated, so it belongs to it.
    pub(super) fn seqs(&self) -> impl Iterator<Item = u64> + use<> {
        let first = (self.from > 0).then_some(0);
        first.into_iter().chain(self.from..=self.to)
    }

    pub(super) fn path(&self, seq: u64) -> String {
        format!("branches/{}/{seq:020}.json", self.branch.encoded())
    }
}
