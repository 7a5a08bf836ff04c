//! The second phase: removing what was condemned and is still needed by nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore as _;
use object_store::path::Path;
use ulid::Ulid;

use super::condemn::{Part, below, micros, part_name, progress, store_time, table_of};
use super::history::states;
use super::record::{CollectEvent, List};
use super::{Amount, Boundary, CollectOptions, CollectedTable, GRACE, Marked, Marker};
use crate::error::{Error, Result};
use crate::graph::branch::BranchState;
use crate::graph::model::BranchEvent;
use crate::graph::writer::{Appended, append_deadline};
use crate::graph::{BranchName, Graph};
use crate::log::Seq;

/// How long a sweep waits for a writer of its own process.
const QUEUE_WAIT: Duration = Duration::from_secs(60);
/// How often a branch may move while it is told of the sweep.
const TRIES: usize = 64;

/// What a sweep did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) removed: Amount,
    pub(super) tables: Vec<CollectedTable>,
    pub(super) log_entries: u64,
}

impl Graph {
    /// Removes what was condemned, if that was long enough ago.
    pub(super) async fn sweep(&self, options: &CollectOptions) -> Result<Swept> {
        let known = self.shared.collection.look().await?;
        let Some((list, true)) = known.list.clone() else {
            return Ok(Swept::default());
        };
        let now = store_time(self.store(), self.shared.collection.directory()).await?;
        if now.saturating_sub(list.at) < micros(GRACE) {
            return Ok(Swept::default());
        }
        self.tell_branches().await?;
        let marker = Marker {
            graph: self,
            boundary: Boundary::Decided(known.record.as_deref()),
            tell: options.progress.clone(),
        };
        let marked = marker.mark().await?;
        let (removed, by_table) = self.remove_condemned(&list, &marked, options).await?;
        // Whoever else collected at the same time has removed the same.
        self.append_collect(&known, CollectEvent::Removed(list.clone()))
            .await?;
        let log_entries = self.truncate_logs(&marked).await?;
        self.remove_old_lists(list.id, now).await?;
        self.remove_old_probes(now).await?;
        Ok(Swept {
            removed,
            tables: self.name_tables(by_table).await?,
            log_entries,
        })
    }

    /// Appends to every living branch, so that whoever staged something before starts from scratch.
    async fn tell_branches(&self) -> Result<()> {
        for (name, state) in states(self).await? {
            if matches!(state, BranchState::Living(_)) {
                self.tell_branch(&name).await?;
            }
        }
        Ok(())
    }

    async fn tell_branch(&self, name: &BranchName) -> Result<()> {
        let queue = self.queue(name);
        // A writer of this process would only have to start again.
        let _turn = tokio::time::timeout(QUEUE_WAIT, queue.lock()).await;
        for _ in 0..TRIES {
            let BranchState::Living(head) = self.shared.branches.state(name).await? else {
                return Ok(());
            };
            let event = BranchEvent::Swept {
                at: self.store().clock().now_micros(),
                before: Some(head.said),
            };
            let appended = self
                .append_event(name, Some(head.seq), event, append_deadline())
                .await?;
            if matches!(appended, Appended::Landed(_)) {
                return Ok(());
            }
        }
        Err(Error::new(
            crate::error::ErrorKind::WriteConflict,
            format!("branch '{name}' kept moving; nothing was removed"),
        )
        .with_hint("repeat it: the collection is carried on"))
    }

    async fn remove_condemned(
        &self,
        list: &List,
        marked: &Marked,
        options: &CollectOptions,
    ) -> Result<(Amount, BTreeMap<String, Amount>)> {
        let root = self.root().path();
        let (mut total, mut by_table) = (Amount::default(), BTreeMap::<String, Amount>::new());
        for number in 0..list.parts {
            let part: Part = self
                .shared
                .collection
                .get(list.id, &part_name(number))
                .await?;
            let mut gone = Vec::new();
            for (path, size) in part.objects {
                let location = self.store().path(&format!("{root}/{path}"));
                if marked.needs(&location) {
                    continue;
                }
                total.add(size);
                if let Some(table) = table_of(&path) {
                    by_table.entry(table).or_default().add(size);
                }
                gone.push(location);
            }
            self.delete(gone).await?;
            if let Some(tell) = &options.progress {
                tell(super::CollectProgress {
                    total: list.objects,
                    bytes: total.bytes,
                    ..progress("removing", total.objects)
                });
            }
        }
        Ok((total, by_table))
    }

    /// Removes what processes left behind that died while they probed the store
    /// ([`crate::store::Store::probe_create_once`]).
    async fn remove_old_probes(&self, now: i64) -> Result<()> {
        let directory = self.store().path("graphs");
        let objects = self.store().object_store();
        let listed = objects.list_with_delimiter(Some(&directory)).await?;
        let old = listed.objects.into_iter().filter(|object| {
            let age = now.saturating_sub(object.last_modified.timestamp_micros());
            let name = object.location.filename().unwrap_or_default();
            name.starts_with("probe-") && age > micros(GRACE)
        });
        self.delete(old.map(|object| object.location).collect())
            .await
    }

    /// Deletes objects; those that are gone already do not matter.
    pub(super) async fn delete(&self, objects: Vec<Path>) -> Result<()> {
        delete(self.store(), objects).await
    }

    /// Forgets entries of branch logs that lead to nothing that is kept.
    async fn truncate_logs(&self, marked: &Marked) -> Result<u64> {
        let mut deleted = 0;
        for (name, floor) in marked.floors.iter().filter(|(_, floor)| **floor > 0) {
            let log = self.shared.branches.log(name);
            deleted += log.truncate(Seq(*floor)).await?.deleted;
        }
        Ok(deleted)
    }

    /// Removes lists that do not count any more: of earlier collections, and of collectors that
    /// died before they published theirs.
    async fn remove_old_lists(&self, current: Ulid, now: i64) -> Result<()> {
        let directory = self.shared.collection.directory().to_owned();
        let prefix = self.store().path(&directory);
        let keep = [current.to_string(), "log".to_owned(), "time".to_owned()];
        let objects: Vec<_> = self
            .store()
            .object_store()
            .list(Some(&prefix))
            .try_collect()
            .await?;
        let old = objects
            .into_iter()
            .filter(|object| {
                let age = now.saturating_sub(object.last_modified.timestamp_micros());
                let list = below(self.store(), &directory, &object.location);
                let list = list.as_deref().and_then(|path| path.split('/').next());
                age > micros(GRACE) && list.is_some_and(|list| !keep.iter().any(|k| k == list))
            })
            .map(|object| object.location);
        self.delete(old.collect()).await
    }
}

/// Deletes objects, and on a local disk the directories that this leaves empty.
pub(crate) async fn delete(store: &crate::store::Store, objects: Vec<Path>) -> Result<()> {
    let directories: BTreeSet<Path> = objects.iter().filter_map(parent).collect();
    let paths = futures::stream::iter(objects.into_iter().map(Ok)).boxed();
    let mut deleted = store.object_store().delete_stream(paths);
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if store.local_root().is_some() {
        for directory in directories {
            remove_empty(&directory);
        }
    }
    Ok(())
}

fn parent(path: &Path) -> Option<Path> {
    let mut parts: Vec<_> = path.parts().collect();
    parts.pop()?;
    Some(parts.into_iter().collect())
}

/// Directories of index segments and of blobs are never used twice. Others may be written to at
/// any moment, but whoever writes makes what is missing.
fn remove_empty(directory: &Path) {
    let at = std::path::PathBuf::from("/").join(directory.as_ref());
    let single_use = at
        .parent()
        .and_then(|parent| parent.file_name())
        .is_some_and(|parent| parent == "_indices" || parent == "data" || parent == "collect");
    if single_use {
        // It stays when something is in it.
        let _ = std::fs::remove_dir(at);
    }
}
