//! The object store as one process sees it: shared, slow, and unreliable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use lance_io::object_store::WrappingObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::oneshot;

use super::faults::{Fate, Op, Strike, When};
use super::world::{Process, World};

/// The client library gives up after so long.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The shared store through the eyes of one process.
#[derive(Clone)]
pub(super) struct ProcessStore {
    world: Arc<World>,
    process: Arc<Process>,
}

impl ProcessStore {
    pub(super) fn new(world: &Arc<World>, process: &Arc<Process>) -> Self {
        ProcessStore {
            world: Arc::clone(world),
            process: Arc::clone(process),
        }
    }

    /// A request that changes something. Once it is sent it is carried out, whether anybody still
    /// waits for it or not.
    async fn change<R: Send + 'static>(
        &self,
        op: Op,
        path: &Path,
        effect: impl Fn(&ProcessStore) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (fate, strike) = self.sent(op, path).await;
        let (answer, answered) = oneshot::channel();
        let (reach, again, back) = match fate {
            Fate::Answer { reach, back } => (Some(reach), None, Some(back)),
            Fate::Twice { reach, again, back } => (Some(reach), Some(again), Some(back)),
            Fate::ErrorAfter { reach, .. } => (Some(reach), None, None),
            Fate::Error { .. } | Fate::Silence => (None, None, None),
        };
        if let Some(reach) = reach {
            let store = self.clone();
            tokio::spawn(async move {
                let time = &store.world.time;
                time.sleep(reach).await;
                let mut result = effect(&store);
                if let Some(again) = again {
                    time.sleep(again).await;
                    result = effect(&store);
                }
                if let Some(back) = back {
                    time.sleep(back).await;
                    let _ = answer.send(result);
                }
            });
        } else {
            drop(answer);
        }
        let strike = self.meanwhile(strike);
        let patience = match fate {
            Fate::Error { back } | Fate::ErrorAfter { back, .. } => back,
            _ => CLIENT_TIMEOUT,
        };
        let over = self.world.time.sleep(patience);
        let result = tokio::select! {
            biased;
            Ok(result) = answered => result,
            () = over => Err(failed()),
        };
        self.received(strike).await;
        result
    }

    /// A request that changes nothing.
    async fn read<R>(&self, op: Op, path: &Path, effect: impl FnOnce() -> Result<R>) -> Result<R> {
        let (fate, strike) = self.sent(op, path).await;
        let strike = self.meanwhile(strike);
        let time = &self.world.time;
        let result = match fate {
            Fate::Answer { reach, back } | Fate::Twice { reach, back, .. } => {
                time.sleep(reach.min(CLIENT_TIMEOUT)).await;
                let result = effect();
                time.sleep(back.min(CLIENT_TIMEOUT)).await;
                match reach + back > CLIENT_TIMEOUT {
                    true => Err(failed()),
                    false => result,
                }
            }
            Fate::Error { back } | Fate::ErrorAfter { back, .. } => {
                time.sleep(back).await;
                Err(failed())
            }
            Fate::Silence => {
                time.sleep(CLIENT_TIMEOUT).await;
                Err(failed())
            }
        };
        self.received(strike).await;
        result
    }

    /// What becomes of a request, once the process gets to send it.
    async fn sent(&self, op: Op, path: &Path) -> (Fate, Option<Strike>) {
        self.process.gate.passed().await;
        self.world.time.turn().await;
        let (fate, strike) = self.world.fate(&self.process, op, path);
        self.world
            .note(|| format!("{} {op:?} {path} {fate:?} {strike:?}", self.process.name));
        match strike {
            Some(strike) if strike.when == When::Before => {
                self.world.strike(&self.process, strike.pause);
                self.process.gate.passed().await;
                (fate, None)
            }
            later => (fate, later),
        }
    }

    /// What happens while the request is on its way; what is left for later.
    fn meanwhile(&self, strike: Option<Strike>) -> Option<Strike> {
        match strike {
            Some(strike) if strike.when == When::Meanwhile => {
                self.world.strike(&self.process, strike.pause);
                None
            }
            later => later,
        }
    }

    async fn received(&self, strike: Option<Strike>) {
        if let Some(strike) = strike {
            self.world.strike(&self.process, strike.pause);
        }
        self.process.gate.passed().await;
    }

    fn objects(&self) -> &dyn ObjectStore {
        &self.world.objects
    }
}

/// The store in memory answers at once.
fn at_once<R>(future: impl Future<Output = R>) -> R {
    future.now_or_never().expect("memory does not wait")
}

fn failed() -> object_store::Error {
    object_store::Error::Generic {
        store: "simulated",
        source: "injected".into(),
    }
}

impl fmt::Debug for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessStore({})", self.process.name)
    }
}

impl fmt::Display for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl WrappingObjectStore for ProcessStore {
    fn wrap(&self, _: &str, _: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(self.clone())
    }

    fn wrap_paginated(
        &self,
        _: &str,
        _: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

#[async_trait]
impl ObjectStore for ProcessStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let path = location.clone();
        self.change(Op::Put, location, move |store| {
            let existed = at_once(store.objects().head(&path)).is_ok();
            let put = at_once(
                store
                    .objects()
                    .put_opts(&path, payload.clone(), opts.clone()),
            )?;
            let bytes = Bytes::from(payload.clone());
            store.world.stored(&store.process, &path, &bytes, existed);
            Ok(put)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented {
            operation: "uploads in parts".to_owned(),
            implementer: "simulation".to_owned(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = if options.head { Op::Head } else { Op::Get };
        let get = || at_once(self.objects().get_opts(location, options));
        self.read(op, location, get).await
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
                    let target = path.clone();
                    let delete = move |store: &ProcessStore| {
                        at_once(store.objects().delete(&target))?;
                        store.world.removed(&store.process, &target);
                        Ok(target.clone())
                    };
                    store.change(Op::Delete, &path, delete).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix.cloned().unwrap_or_default(), None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix.cloned().unwrap_or_default(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = || at_once(self.objects().list_with_delimiter(prefix));
        self.read(Op::List, &prefix.cloned().unwrap_or_default(), list)
            .await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(object_store::Error::NotImplemented {
            operation: "copies".to_owned(),
            implementer: "simulation".to_owned(),
        })
    }
}

impl ProcessStore {
    fn listed(&self, prefix: Path, offset: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let listing = async move {
            let list = || {
                let objects = match &offset {
                    Some(offset) => store.objects().list_with_offset(Some(&prefix), offset),
                    None => store.objects().list(Some(&prefix)),
                };
                at_once(objects.try_collect::<Vec<_>>())
            };
            let listed = store.read(Op::List, &prefix, list).await?;
            Ok::<_, object_store::Error>(futures::stream::iter(listed.into_iter().map(Ok)))
        };
        listing.into_stream().try_flatten().boxed()
    }
}
