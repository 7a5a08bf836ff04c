//! A store for tests: counts requests, and drops, delays, duplicates and misreports those that a
//! test names. Also a clock that a test moves.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

use super::Clock;

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Put,
    Get,
    Head,
    List,
    Delete,
    Copy,
}

impl Op {
    /// Whether the store is another afterwards.
    pub(crate) fn changes(self) -> bool {
        matches!(self, Op::Put | Op::Delete | Op::Copy)
    }
}

/// What happens to one request.
pub(crate) enum Fault {
    /// An error without effect.
    FailBefore,
    /// The effect, and then an error.
    FailAfter,
    /// A time-out; the effect comes when [`FaultStore::release_late`] is called.
    Late,
    /// The request is carried out twice, as by a client library that lost the first answer; the
    /// second answer is reported.
    Twice,
    /// No effect; a put is told that the object exists, anything else that it does not.
    Misreport,
    /// No effect and never an answer.
    Hang,
    /// The store refuses for good, without effect.
    Deny,
    /// Something else happens first.
    Before(Hook),
    /// Something else happens between effect and answer.
    After(Hook),
}

/// What somebody else does in the meantime.
pub(crate) type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A hook made of an async block.
pub(crate) fn hook<F>(work: F) -> Hook
where
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(move || work.boxed())
}

struct Rule {
    /// `None`: anything that changes the store.
    op: Option<Op>,
    path_part: String,
    skip: usize,
    fault: Fault,
}

struct Shared {
    inner: Arc<dyn ObjectStore>,
    rules: Mutex<Vec<Rule>>,
    counts: Mutex<HashMap<Op, u64>>,
    late: Mutex<Vec<BoxFuture<'static, ()>>>,
    /// How far the store's clock was moved, and where it was when an object was put.
    shift: Mutex<Duration>,
    shifts: Mutex<HashMap<Path, Duration>>,
}

/// Wraps a store. Clones share everything.
#[derive(Clone)]
pub(crate) struct FaultStore {
    shared: Arc<Shared>,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        let shared = Shared {
            inner,
            rules: Mutex::default(),
            counts: Mutex::default(),
            late: Mutex::default(),
            shift: Mutex::default(),
            shifts: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The same clock and the same ages of objects over a copy of the store; no faults.
    pub(crate) fn fork(&self, inner: Arc<dyn ObjectStore>) -> Self {
        let forked = Self::new(inner);
        *forked.shared.shift.lock() = *self.shared.shift.lock();
        forked
            .shared
            .shifts
            .lock()
            .clone_from(&self.shared.shifts.lock());
        forked
    }

    /// The next request of this kind to a path that contains `path_part` suffers `fault`.
    pub(crate) fn on(&self, op: Op, path_part: &str, fault: Fault) {
        self.on_nth(op, path_part, 0, fault);
    }

    /// As [`FaultStore::on`], after `skip` such requests.
    pub(crate) fn on_nth(&self, op: Op, path_part: &str, skip: usize, fault: Fault) {
        self.add(Some(op), path_part, skip, fault);
    }

    /// What changes the store suffers `fault` once, after `skip` such requests.
    pub(crate) fn on_nth_write(&self, skip: usize, fault: Fault) {
        self.add(None, "", skip, fault);
    }

    fn add(&self, op: Option<Op>, path_part: &str, skip: usize, fault: Fault) {
        let path_part = path_part.to_owned();
        let rule = Rule {
            op,
            path_part,
            skip,
            fault,
        };
        self.shared.rules.lock().push(rule);
    }

    /// Forgets the faults that have not happened.
    pub(crate) fn heal(&self) {
        self.shared.rules.lock().clear();
    }

    /// Whether every fault has happened.
    pub(crate) fn exhausted(&self) -> bool {
        self.shared.rules.lock().is_empty() && self.shared.late.lock().is_empty()
    }

    /// Lets the requests that were reported as timed out take effect, in their order.
    pub(crate) async fn release_late(&self) {
        let late = std::mem::take(&mut *self.shared.late.lock());
        for effect in late {
            effect.await;
        }
    }

    /// Requests since the last call, without those of zero: `[(Put, 1)]`.
    pub(crate) fn take_counts(&self) -> Vec<(Op, u64)> {
        let mut counts: Vec<_> = self.shared.counts.lock().drain().collect();
        counts.sort_by_key(|(op, _)| *op as u8);
        counts
    }

    /// Requests since the last call to this or to [`FaultStore::take_counts`] that change the store.
    pub(crate) fn take_writes(&self) -> usize {
        let counts = self.take_counts();
        let writes = counts.iter().filter(|(op, _)| op.changes());
        writes.map(|(_, count)| *count as usize).sum()
    }

    /// Objects put from now on are younger by so much.
    pub(crate) fn advance(&self, by: Duration) {
        *self.shared.shift.lock() += by;
    }

    fn take(&self, op: Op, path: &Path) -> Option<Fault> {
        *self.shared.counts.lock().entry(op).or_default() += 1;
        let mut rules = self.shared.rules.lock();
        let mut hit = None;
        for (index, rule) in rules.iter_mut().enumerate() {
            let meant = rule.op.map_or(op.changes(), |wanted| wanted == op);
            if !meant || !path.as_ref().contains(&rule.path_part) {
                continue;
            }
            if rule.skip == 0 {
                hit = Some(index);
                break;
            }
            rule.skip -= 1;
        }
        hit.map(|index| rules.remove(index).fault)
    }

    /// Notes when an object was put.
    fn stamp(&self, path: &Path) {
        let shift = *self.shared.shift.lock();
        self.shared.shifts.lock().insert(path.clone(), shift);
    }

    fn restamp(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(shift) = self.shared.shifts.lock().get(&meta.location) {
            meta.last_modified += *shift;
        }
        meta
    }

    /// Carries a request out, or not, as `fault` says.
    async fn request<R: Send + 'static>(
        &self,
        fault: Option<Fault>,
        path: &Path,
        misreport: fn(&Path) -> object_store::Error,
        send: impl Fn() -> BoxFuture<'static, Result<R>> + Send + Sync,
    ) -> Result<R> {
        match fault {
            None => send().await,
            Some(Fault::FailBefore) => Err(failed()),
            Some(Fault::FailAfter) => {
                let _ = send().await;
                Err(failed())
            }
            Some(Fault::Late) => {
                let effect = send().map(|_| ()).boxed();
                self.shared.late.lock().push(effect);
                Err(failed())
            }
            Some(Fault::Twice) => {
                let _ = send().await;
                send().await
            }
            Some(Fault::Misreport) => Err(misreport(path)),
            Some(Fault::Hang) => futures::future::pending().await,
            Some(Fault::Deny) => Err(object_store::Error::PermissionDenied {
                path: path.to_string(),
                source: "injected".into(),
            }),
            Some(Fault::Before(hook)) => {
                hook().await;
                send().await
            }
            Some(Fault::After(hook)) => {
                let answer = send().await;
                hook().await;
                answer
            }
        }
    }
}

fn failed() -> object_store::Error {
    object_store::Error::Generic {
        store: "fault",
        source: "injected".into(),
    }
}

fn exists(path: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists {
        path: path.to_string(),
        source: "injected".into(),
    }
}

fn missing(path: &Path) -> object_store::Error {
    object_store::Error::NotFound {
        path: path.to_string(),
        source: "injected".into(),
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({:?})", self.shared.inner)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.shared.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.take(Op::Put, location);
        let send = || {
            let (store, path) = (self.clone(), location.clone());
            let (payload, opts) = (payload.clone(), opts.clone());
            async move {
                let put = store.shared.inner.put_opts(&path, payload, opts).await?;
                store.stamp(&path);
                Ok(put)
            }
            .boxed()
        };
        self.request(fault, location, exists, send).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.take(Op::Put, location);
        let send = || {
            let (store, path, opts) = (self.clone(), location.clone(), opts.clone());
            async move {
                let inner = store.shared.inner.put_multipart_opts(&path, opts).await?;
                let upload = FaultUpload {
                    store,
                    path,
                    inner: Arc::new(Mutex::new(Some(inner))),
                };
                Ok(Box::new(upload) as Box<dyn MultipartUpload>)
            }
            .boxed()
        };
        self.request(fault, location, missing, send).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = if options.head { Op::Head } else { Op::Get };
        let fault = self.take(op, location);
        let send = || {
            let (store, path, options) = (self.clone(), location.clone(), options.clone());
            async move {
                let mut got = store.shared.inner.get_opts(&path, options).await?;
                got.meta = store.restamp(got.meta);
                Ok(got)
            }
            .boxed()
        };
        self.request(fault, location, missing, send).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let path = location?;
                    let fault = store.take(Op::Delete, &path);
                    let send = || {
                        let one = futures::stream::iter([Ok(path.clone())]).boxed();
                        let mut deleted = store.shared.inner.delete_stream(one);
                        let path = path.clone();
                        async move { deleted.next().await.unwrap_or(Ok(path)) }.boxed()
                    };
                    store.request(fault, &path, missing, send).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        self.listed(path, self.shared.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        self.listed(path, self.shared.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let fault = self.take(Op::List, &path);
        let send = || {
            let (store, prefix) = (self.clone(), prefix.cloned());
            async move {
                let inner = &store.shared.inner;
                let mut listed = inner.list_with_delimiter(prefix.as_ref()).await?;
                let objects = std::mem::take(&mut listed.objects).into_iter();
                listed.objects = objects.map(|meta| store.restamp(meta)).collect();
                Ok(listed)
            }
            .boxed()
        };
        self.request(fault, &path, missing, send).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.take(Op::Copy, to);
        let send = || {
            let (store, from, to) = (self.clone(), from.clone(), to.clone());
            let options = options.clone();
            async move {
                store.shared.inner.copy_opts(&from, &to, options).await?;
                store.stamp(&to);
                Ok(())
            }
            .boxed()
        };
        self.request(fault, to, exists, send).await
    }
}

/// An object that comes in parts. Each part is a request, and so is the end, which alone makes the
/// object appear.
struct FaultUpload {
    store: FaultStore,
    path: Path,
    /// Gone once it was ended.
    inner: Arc<Mutex<Option<Box<dyn MultipartUpload>>>>,
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultUpload({})", self.path)
    }
}

fn ended() -> object_store::Error {
    object_store::Error::Generic {
        store: "fault",
        source: "the upload was ended already".into(),
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.store.take(Op::Put, &self.path);
        let never_sent = matches!(
            fault,
            Some(Fault::FailBefore | Fault::Late | Fault::Hang | Fault::Deny)
        );
        // The order of the calls is that of the parts, so it is sent now, or never.
        let sent = match (never_sent, self.inner.lock().as_mut()) {
            (true, _) => None,
            (false, Some(upload)) => Some(upload.put_part(data)),
            (false, None) => return futures::future::ready(Err(ended())).boxed(),
        };
        async move {
            let answer = match sent {
                Some(sent) => sent.await,
                None => Err(failed()),
            };
            match fault {
                Some(Fault::FailAfter) => Err(failed()),
                Some(Fault::Hang) => futures::future::pending().await,
                Some(Fault::Before(hook) | Fault::After(hook)) => {
                    hook().await;
                    answer
                }
                _ => answer,
            }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.store.take(Op::Put, &self.path);
        let send = || {
            let (store, path) = (self.store.clone(), self.path.clone());
            let inner = Arc::clone(&self.inner);
            async move {
                let upload = inner.lock().take();
                let put = upload.ok_or_else(ended)?.complete().await?;
                store.stamp(&path);
                Ok(put)
            }
            .boxed()
        };
        self.store.request(fault, &self.path, exists, send).await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = self.inner.lock().take();
        match upload {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl FaultStore {
    /// A listing knows two faults: failing, and something that happens before it.
    fn listed(
        &self,
        path: Path,
        inner: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let answer = match self.take(Op::List, &path) {
            None => inner,
            Some(Fault::After(hook)) => {
                let objects = inner.collect::<Vec<_>>();
                let run = async move {
                    let objects = objects.await;
                    hook().await;
                    futures::stream::iter(objects)
                };
                run.flatten_stream().boxed()
            }
            Some(_) => futures::stream::iter([Err(failed())]).boxed(),
        };
        answer
            .map(move |meta| meta.map(|meta| store.restamp(meta)))
            .boxed()
    }
}

/// A clock that stands until a test moves it.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl TestClock {
    /// Another clock that shows the same.
    pub(crate) fn fork(&self) -> Self {
        Self {
            wall: AtomicI64::new(self.wall.load(Ordering::SeqCst)),
            monotonic: AtomicU64::new(self.monotonic.load(Ordering::SeqCst)),
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        let micros = by.as_micros() as u64;
        self.monotonic.fetch_add(micros, Ordering::SeqCst);
        self.wall.fetch_add(micros as i64, Ordering::SeqCst);
    }

    /// What happens to a monotonic clock that stands still in a sleeping machine.
    pub(crate) fn sleep_machine(&self, by: Duration) {
        self.wall.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_micros(&self) -> i64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic.load(Ordering::SeqCst))
    }
}
