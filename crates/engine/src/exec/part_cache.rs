//! One budget for everything that is derived from tables and kept in memory.

use std::any::Any;
use std::hash::Hash;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::OnceCell;

use crate::error::{Error, Result};

/// Something that is built once, shared and charged to the budget.
pub(crate) trait Part: Any + Send + Sync {
    /// Bytes that this part keeps alive, roughly.
    fn bytes(&self) -> usize;
}

type Cell = Arc<OnceCell<Arc<dyn Any + Send + Sync>>>;

struct Entry {
    cell: Cell,
    bytes: usize,
    used: u64,
}

struct State<K> {
    entries: FxHashMap<K, Entry>,
    bytes: usize,
    tick: u64,
}

/// Parts by key, least recently used first out. Whoever holds a part keeps it alive: eviction only
/// forgets it.
pub(crate) struct PartCache<K> {
    state: Mutex<State<K>>,
    budget: usize,
}

impl<K: Clone + Eq + Hash> PartCache<K> {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            state: Mutex::new(State {
                entries: FxHashMap::default(),
                bytes: 0,
                tick: 0,
            }),
            budget,
        }
    }

    /// The part if it is there and complete.
    pub(crate) fn peek<T: Part>(&self, key: &K) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        state.tick += 1;
        let tick = state.tick;
        let entry = state.entries.get_mut(key)?;
        entry.used = tick;
        entry
            .cell
            .get()
            .and_then(|part| part.clone().downcast().ok())
    }

    /// The part, built if it is missing. Concurrent callers join one build; when the builder is
    /// cancelled one of the others takes over.
    ///
    /// The build is boxed: reading a table is a large future, and this is where it would end up in
    /// that of every query.
    pub(crate) async fn get_or_build<T: Part>(
        &self,
        key: K,
        build: BoxFuture<'_, Result<Arc<T>>>,
    ) -> Result<Arc<T>> {
        let cell = self.cell(&key);
        let mut built = None;
        let part = cell
            .get_or_try_init(|| async {
                let part = build.await?;
                built = Some(part.bytes());
                Ok::<_, Error>(part as Arc<dyn Any + Send + Sync>)
            })
            .await?
            .clone();
        if let Some(bytes) = built {
            self.charge(&key, &cell, bytes);
        }
        part.downcast()
            .map_err(|_| Error::internal("a cached part has another type than its key says"))
    }

    #[cfg(test)]
    fn used_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    fn cell(&self, key: &K) -> Cell {
        let mut state = self.state.lock();
        state.tick += 1;
        let tick = state.tick;
        if let Some(entry) = state.entries.get_mut(key) {
            entry.used = tick;
            return entry.cell.clone();
        }
        let cell = Cell::default();
        state.entries.insert(
            key.clone(),
            Entry {
                cell: cell.clone(),
                bytes: 0,
                used: tick,
            },
        );
        cell
    }

    fn charge(&self, key: &K, cell: &Cell, bytes: usize) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        if !Arc::ptr_eq(&entry.cell, cell) {
            return;
        }
        let before = std::mem::replace(&mut entry.bytes, bytes);
        state.bytes = state.bytes - before + bytes;
        if state.bytes > self.budget {
            state.evict(self.budget);
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    /// Forgets the least recently used parts until a tenth of the budget is free again. What is
    /// being built stays.
    fn evict(&mut self, budget: usize) {
        let goal = budget - budget / 10;
        let mut by_age: Vec<(u64, K)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.cell.initialized())
            .map(|(key, entry)| (entry.used, key.clone()))
            .collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_age {
            if self.bytes <= goal {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Block(usize);

    impl Part for Block {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    async fn put(cache: &PartCache<u32>, key: u32, bytes: usize) {
        cache
            .get_or_build(key, Box::pin(async move { Ok(Arc::new(Block(bytes))) }))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first() {
        let cache = PartCache::new(100);
        put(&cache, 1, 40).await;
        put(&cache, 2, 40).await;
        assert!(cache.peek::<Block>(&1).is_some());
        put(&cache, 3, 40).await;
        assert!(cache.peek::<Block>(&2).is_none());
        assert!(cache.peek::<Block>(&1).is_some());
        assert!(cache.peek::<Block>(&3).is_some());
        assert_eq!(cache.used_bytes(), 80);
    }

    #[tokio::test]
    async fn a_failed_build_is_tried_again() {
        let cache = PartCache::<u32>::new(100);
        let failed = cache
            .get_or_build::<Block>(1, Box::pin(async { Err(Error::internal("no")) }))
            .await;
        assert!(failed.is_err());
        put(&cache, 1, 10).await;
        assert_eq!(cache.used_bytes(), 10);
    }

    #[tokio::test]
    async fn concurrent_builds_are_joined() {
        let cache = PartCache::<u32>::new(100);
        let builds = std::sync::atomic::AtomicUsize::new(0);
        let build = || {
            let build = async {
                builds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(Arc::new(Block(1)))
            };
            cache.get_or_build(1, Box::pin(build))
        };
        let (a, b) = tokio::join!(build(), build());
        assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
        assert_eq!(builds.into_inner(), 1);
    }
}
