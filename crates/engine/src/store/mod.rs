//! One storage root: an object store, a place in it, a clock and a request counter.
//!
//! The logs and the tables reach the same store through the same wrappers, so that counts are
//! exact and injected faults hit both.

mod count;

use std::path::PathBuf;
use std::sync::Arc;

use lance_io::object_store::{
    ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreRegistry, WrappingObjectStore,
};
use object_store::list::PaginatedListStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

pub use self::count::RequestCounts;
use self::count::{Counted, Counters};
use crate::error::{Error, ErrorKind, Result};
pub use crate::log::{Clock, Elapsed, SystemClock};

/// How a storage root is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Wraps the object store, for tests that inject faults.
    pub wrapper: Option<Arc<dyn WrappingObjectStore>>,
    /// Whether files on a local disk are flushed before they are relied upon.
    pub fsync: bool,
}

impl Default for StoreOptions {
    /// The system's clock, no wrapper, and flushing unless `OMNIGRAPH_FSYNC=off`.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            wrapper: None,
            fsync: std::env::var("OMNIGRAPH_FSYNC").as_deref() != Ok("off"),
        }
    }
}

/// A storage root. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    root_uri: String,
    base: Path,
    local_root: Option<PathBuf>,
    /// What the logs and other small objects go through.
    objects: Arc<dyn ObjectStore>,
    /// Kept so that the registry goes on handing out this very store.
    _lance: Arc<LanceStore>,
    registry: Arc<ObjectStoreRegistry>,
    params: ObjectStoreParams,
    counters: Arc<Counters>,
    options: StoreOptions,
    create_once: tokio::sync::OnceCell<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.shared.root_uri).finish()
    }
}

impl Store {
    /// Opens a storage root: `s3://bucket/prefix`, `file:///directory`, the path of a local
    /// directory (created if it is missing), or `memory://name`, which is new at each call.
    pub async fn open(root_uri: &str, options: StoreOptions) -> Result<Self> {
        let (root_uri, local_root) = normalise(root_uri)?;
        if let Some(directory) = &local_root {
            std::fs::create_dir_all(directory).map_err(|error| {
                Error::invalid(format!(
                    "storage directory {} cannot be created: {error}",
                    directory.display()
                ))
            })?;
        }
        let counters = Arc::new(Counters::default());
        let wrapper = Arc::new(Wrapper {
            counters: counters.clone(),
            outer: options.wrapper.clone(),
        });
        let params = ObjectStoreParams {
            object_store_wrapper: Some(wrapper.clone()),
            ..ObjectStoreParams::default()
        };
        let registry = Arc::new(ObjectStoreRegistry::default());
        let (lance, base) = LanceStore::from_uri_and_params(registry.clone(), &root_uri, &params)
            .await
            .map_err(|error| {
                Error::invalid(format!("storage root {root_uri} cannot be used: {error}"))
                    .with_hint("use s3://bucket/prefix, file:///directory or a local directory")
            })?;
        let objects = if options.fsync && local_root.is_some() {
            wrapper.wrap("file", Arc::new(LocalFileSystem::new().with_fsync(true)))
        } else {
            lance.inner.clone()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                root_uri,
                base,
                local_root,
                objects,
                _lance: lance,
                registry,
                params,
                counters,
                options,
                create_once: tokio::sync::OnceCell::new(),
            }),
        })
    }

    /// The root's URI, without credentials and without a slash at the end.
    pub fn root_uri(&self) -> &str {
        &self.shared.root_uri
    }

    /// The object store, counted and wrapped.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.objects
    }

    /// The path of an object below the root.
    pub fn path(&self, relative: &str) -> Path {
        // Segments that are percent-encoded already stay as they are; `From` would encode them
        // again, and a listing could not tell.
        let relative = Path::parse(relative).unwrap_or_else(|_| Path::from(relative));
        self.shared.base.parts().chain(relative.parts()).collect()
    }

    /// The URI of something below the root.
    pub fn uri(&self, relative: &str) -> String {
        format!("{}/{relative}", self.shared.root_uri)
    }

    /// How it was opened, for other roots that belong to the same work.
    pub(crate) fn options(&self) -> &StoreOptions {
        &self.shared.options
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.options.clock
    }

    /// The requests sent so far.
    pub fn requests(&self) -> RequestCounts {
        self.shared.counters.read()
    }

    /// The local directory, when the root is one.
    pub fn local_root(&self) -> Option<&std::path::Path> {
        self.shared.local_root.as_deref()
    }

    /// Whether files have to be flushed to disk before they are relied upon.
    pub fn flushes(&self) -> bool {
        self.shared.options.fsync && self.shared.local_root.is_some()
    }

    /// Refuses a store on which a second create of the same key succeeds, because every commit
    /// relies on exactly one winner. Asks the store once.
    pub async fn probe_create_once(&self) -> Result<()> {
        self.shared
            .create_once
            .get_or_try_init(|| self.probe())
            .await
            .copied()
    }

    pub(crate) fn lance_params(&self) -> &ObjectStoreParams {
        &self.shared.params
    }

    pub(crate) fn lance_registry(&self) -> &Arc<ObjectStoreRegistry> {
        &self.shared.registry
    }

    /// Flushes files that Lance wrote, and the directories that name them, when the root is local.
    /// What goes through [`Store::object_store`] is flushed by the store itself.
    pub(crate) async fn flush(&self, files: Vec<Path>) -> Result<()> {
        if !self.flushes() || files.is_empty() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || flush_files(&files))
            .await
            .map_err(|error| Error::internal("flushing was cut off").with_source(error))?
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "files cannot be flushed to disk")
                    .with_source(error)
            })
    }

    async fn probe(&self) -> Result<()> {
        let path = self.path(&format!("graphs/probe-{}", self.clock().fresh_id()));
        let create = || {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            self.object_store()
                .put_opts(&path, PutPayload::from_static(b"{}"), options)
        };
        create().await?;
        let second = create().await;
        let _ = self.object_store().delete(&path).await;
        match second {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Ok(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "storage root {} lets two writers create the same object, which could lose commits",
                    self.root_uri()
                ),
            )
            .with_hint("use a store that honours If-None-Match on put")),
            Err(error) => Err(error.into()),
        }
    }
}

fn flush_files(files: &[Path]) -> std::io::Result<()> {
    let mut directories = std::collections::BTreeSet::new();
    for file in files {
        let path = PathBuf::from("/").join(file.as_ref());
        std::fs::File::open(&path)?.sync_all()?;
        directories.extend(path.parent().map(PathBuf::from));
    }
    for directory in directories {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Splits off the local directory of a root and makes the URI absolute.
fn normalise(root: &str) -> Result<(String, Option<PathBuf>)> {
    let root = root.trim_end_matches('/');
    match root.split_once("://") {
        Some(("file", path)) => {
            let path = percent_encoding::percent_decode_str(path)
                .decode_utf8()
                .map_err(|_| Error::invalid(format!("storage root {root} is not valid UTF-8")))?;
            local(&PathBuf::from(path.as_ref()))
        }
        Some((scheme, place)) => {
            let has_user = place
                .split('/')
                .next()
                .is_some_and(|host| host.contains('@'));
            if has_user {
                return Err(Error::invalid(format!(
                    "the storage root ({scheme}://…) must not contain credentials"
                ))
                .with_hint("pass credentials by environment, such as AWS_ACCESS_KEY_ID"));
            }
            Ok((root.to_owned(), None))
        }
        None => local(&PathBuf::from(if root.is_empty() { "/" } else { root })),
    }
}

fn local(path: &std::path::Path) -> Result<(String, Option<PathBuf>)> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Error::invalid(format!(
            "storage directory {} is no usable path: {error}",
            path.display()
        ))
    })?;
    let text = absolute.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "storage directory {} is not valid UTF-8",
            absolute.display()
        ))
    })?;
    let encoded = percent_encoding::utf8_percent_encode(text, LOCAL_PATH).to_string();
    Ok((format!("file://{encoded}"), Some(absolute)))
}

/// What has to be escaped in the path of a `file://` URI.
const LOCAL_PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

#[derive(Debug)]
struct Wrapper {
    counters: Arc<Counters>,
    outer: Option<Arc<dyn WrappingObjectStore>>,
}

impl WrappingObjectStore for Wrapper {
    fn wrap(&self, prefix: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        let counted: Arc<dyn ObjectStore> = Arc::new(Counted {
            inner: original,
            counters: self.counters.clone(),
        });
        match &self.outer {
            Some(outer) => outer.wrap(prefix, counted),
            None => counted,
        }
    }

    /// Listings by page would pass the counter by, so they are given up.
    fn wrap_paginated(
        &self,
        _prefix: &str,
        _lister: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}
