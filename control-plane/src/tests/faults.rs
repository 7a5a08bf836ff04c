//! A store that fails the requests that a test names and makes objects look old, and a clock that a
//! test moves.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lance_io::object_store::WrappingObjectStore;
use object_store::ObjectStoreExt as _;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use omnigraph_engine::{Clock, Store, SystemClock};
use parking_lot::Mutex;

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Get,
    List,
    Delete,
}

/// What becomes of a request that a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error without effect.
    Before,
    /// The effect, and then an error.
    After,
}

type Rule = dyn Fn(Op, &str) -> Option<Fault> + Send + Sync;

/// Which requests fail. Clones share the rule.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    rule: Arc<Mutex<Option<Arc<Rule>>>>,
    /// What is not newer than this looks more than a day older than it is.
    aged: Arc<Mutex<Option<ObjectMeta>>>,
}

/// Longer than anything is kept for the sake of those who may still need it.
const DAY_AND_MORE: Duration = Duration::from_secs(25 * 3600);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// From now on `rule` decides.
    pub(crate) fn set(&self, rule: impl Fn(Op, &str) -> Option<Fault> + Send + Sync + 'static) {
        *self.rule.lock() = Some(Arc::new(rule));
    }

    /// From now on nothing fails.
    pub(crate) fn clear(&self) {
        *self.rule.lock() = None;
    }

    /// Everything that is there now looks more than a day old from now on.
    pub(crate) async fn age(&self, store: &Store) {
        let path = store.path("mark");
        let objects = store.object_store();
        *self.aged.lock() = None;
        objects.put(&path, "".into()).await.unwrap();
        let mark = objects.head(&path).await.unwrap();
        // What is written next must be told from it.
        while objects.head(&path).await.unwrap().last_modified == mark.last_modified {
            objects.put(&path, "".into()).await.unwrap();
        }
        objects.delete(&path).await.unwrap();
        *self.aged.lock() = Some(mark);
    }

    fn shown(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let aged = self.aged.lock();
        if aged
            .as_ref()
            .is_some_and(|mark| meta.last_modified <= mark.last_modified)
        {
            meta.last_modified -= DAY_AND_MORE;
        }
        meta
    }

    fn of(&self, op: Op, path: &Path) -> Option<Fault> {
        let rule = self.rule.lock().clone();
        rule.and_then(|rule| rule(op, path.as_ref()))
    }
}

impl WrappingObjectStore for Faults {
    fn wrap(&self, _: &str, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Faulty {
            inner,
            faults: self.clone(),
        })
    }

    fn wrap_paginated(
        &self,
        _: &str,
        _: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn broken<T>() -> Result<T> {
    Err(object_store::Error::Generic {
        store: "faulty",
        source: "made to fail".into(),
    })
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match self.faults.of(Op::Put, location) {
            Some(Fault::Before) => broken(),
            Some(Fault::After) => {
                self.inner.put_opts(location, payload, options).await?;
                broken()
            }
            None => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.faults.of(Op::Get, location) {
            Some(_) => broken(),
            None => {
                let mut got = self.inner.get_opts(location, options).await?;
                got.meta = self.faults.shown(got.meta);
                Ok(got)
            }
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.faults.of(Op::Get, location) {
            Some(_) => broken(),
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let faults = self.faults.clone();
        let checked = locations.map(move |location| {
            let location = location?;
            match faults.of(Op::Delete, &location) {
                Some(_) => broken(),
                None => Ok(location),
            }
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.and_then(|prefix| self.faults.of(Op::List, prefix)) {
            Some(_) => futures::stream::once(async { broken() }).boxed(),
            None => {
                let faults = self.faults.clone();
                let listed = self.inner.list(prefix);
                listed.map(move |meta| Ok(faults.shown(meta?))).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match prefix.and_then(|prefix| self.faults.of(Op::List, prefix)) {
            Some(_) => broken(),
            None => {
                let mut listed = self.inner.list_with_delimiter(prefix).await?;
                let objects = std::mem::take(&mut listed.objects);
                listed.objects = objects.into_iter().map(|m| self.faults.shown(m)).collect();
                Ok(listed)
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The machine's clock, moved ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    by_micros: AtomicI64,
    system: SystemClock,
}

impl Ahead {
    pub(crate) fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.by_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now_micros(&self) -> i64 {
        self.system.now_micros() + self.by_micros.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}
