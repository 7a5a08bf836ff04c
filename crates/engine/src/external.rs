//! External objects that blob properties may name: which a graph admits, and reading them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreRegistry};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use omnigraph_lang::Code;
use omnigraph_lang::value::ValueError;

use crate::error::{Error, ErrorKind, Result};

/// The longest wait for one answer of an external store.
const WAIT: Duration = Duration::from_secs(60);
/// What an external store is: the schemes that can be read.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// A place below which a graph admits external objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalBlobBase {
    /// `s3://bucket/prefix/`, `file:///directory/`, …
    pub base: String,
    /// What may be done with its objects.
    pub scope: ExternalBlobScope,
}

/// What may be done with the objects below a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalBlobScope {
    /// Keyed writes copy the bytes in; a load in mode overwrite keeps the reference.
    #[default]
    Reference,
    /// Every write copies the bytes in.
    Copy,
}

impl ExternalBlobScope {
    /// The scope with this name; the empty name is the default.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "" | "reference" => Some(Self::Reference),
            "copy" => Some(Self::Copy),
            _ => None,
        }
    }

    /// The name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Copy => "copy",
        }
    }
}

impl ExternalBlobBase {
    /// Checks the base.
    ///
    /// # Errors
    /// `Invalid` for what is no URI of a directory in a known store.
    pub fn parse(base: &str, scope: ExternalBlobScope) -> Result<Self> {
        let wrong = |why: &str| {
            Error::invalid(format!("external blob base '{base}' {why}"))
                .with_hint("write it as s3://bucket/prefix/ or file:///directory/")
        };
        let (scheme, place) = split(base).map_err(wrong)?;
        if !base.ends_with('/') {
            return Err(wrong("does not end with '/'"));
        }
        if scheme == "file" && place == "/" {
            return Err(wrong("is the whole file system"));
        }
        Ok(Self {
            base: base.to_owned(),
            scope,
        })
    }
}

/// The external objects that a graph admits.
pub(crate) struct ExternalBlobs {
    bases: Vec<ExternalBlobBase>,
    registry: Arc<ObjectStoreRegistry>,
}

impl Default for ExternalBlobs {
    fn default() -> Self {
        Self {
            bases: Vec::new(),
            registry: Arc::new(ObjectStoreRegistry::default()),
        }
    }
}

impl std::fmt::Debug for ExternalBlobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ExternalBlobs").field(&self.bases).finish()
    }
}

impl ExternalBlobs {
    pub(crate) fn new(bases: &[ExternalBlobBase]) -> Result<Self> {
        let bases = bases
            .iter()
            .map(|base| ExternalBlobBase::parse(&base.base, base.scope))
            .collect::<Result<_>>()?;
        Ok(Self {
            bases,
            ..Self::default()
        })
    }

    /// What may be done with this object. It must lie below a base, spelled as its own path: no
    /// `..`, no escapes, no query, so that a prefix of the text is a prefix of the place.
    pub(crate) fn admit(&self, uri: &str) -> std::result::Result<ExternalBlobScope, ValueError> {
        let refuse = |why: &str| ValueError::new(Code::R421, why.to_owned());
        let shown = crate::write::shorten(uri);
        split(uri).map_err(|why| refuse(&format!("external blob `{shown}` {why}")))?;
        let below = |base: &&ExternalBlobBase| {
            uri.len() > base.base.len() && uri.starts_with(base.base.as_str())
        };
        let longest = self
            .bases
            .iter()
            .filter(below)
            .max_by_key(|base| base.base.len());
        longest.map(|base| base.scope).ok_or_else(|| {
            refuse(&match self.bases.is_empty() {
                true => format!(
                    "the graph admits no external blobs such as `{shown}`, write the bytes as \
                     `base64:…`"
                ),
                false => format!(
                    "external blob `{shown}` is outside of the places that the graph admits, \
                     write the bytes as `base64:…`"
                ),
            })
        })
    }

    /// Finds an admitted object: one request.
    ///
    /// # Errors
    /// `ExternalBlobSource` if it is not there or cannot be read.
    pub(crate) async fn open(&self, uri: &str) -> Result<Source> {
        let params = ObjectStoreParams::default();
        let found = async {
            let (store, path) =
                LanceStore::from_uri_and_params(self.registry.clone(), uri, &params)
                    .await
                    .map_err(|e| unreadable(uri, &e))?;
            let store = store.inner.clone();
            let size = store.head(&path).await.map_err(|e| failed(uri, e))?.size;
            Ok(Source {
                uri: uri.to_owned(),
                store,
                path,
                size,
            })
        };
        within(uri, found).await
    }
}

/// An external object that was found.
pub(crate) struct Source {
    uri: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    pub(crate) size: u64,
}

impl Source {
    /// Reads a range of it: one request.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let read = async {
            let bytes = self.store.get_range(&self.path, range).await;
            bytes.map_err(|error| failed(&self.uri, error))
        };
        let bytes = within(&self.uri, read).await?;
        if bytes.len() as u64 != wanted {
            return Err(source_error(&self.uri, "it changed while it was read"));
        }
        Ok(bytes)
    }
}

async fn within<T>(uri: &str, what: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(WAIT, what).await {
        Ok(done) => done,
        Err(_) => Err(source_error(uri, "its store does not answer")),
    }
}

fn failed(uri: &str, error: object_store::Error) -> Error {
    let reason = match &error {
        object_store::Error::NotFound { .. } => "it does not exist",
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => "its store denies access",
        _ => "its store cannot be read",
    };
    source_error(uri, reason).with_source(error)
}

fn unreadable(uri: &str, error: &lance::Error) -> Error {
    tracing::warn!(%error, "an external store cannot be opened");
    source_error(uri, "its store cannot be opened")
}

/// `reason` is shown to the caller, so it names nothing of the store.
fn source_error(uri: &str, reason: &str) -> Error {
    let message = format!("external blob `{}`: {reason}", crate::write::shorten(uri));
    Error::new(ErrorKind::ExternalBlobSource, message)
        .with_hint("repeat it when the object is there, or write the bytes as base64:…")
        .with_detail(|detail| detail.external = Some((uri.to_owned(), reason.to_owned())))
}

/// Scheme and place of a URI that means exactly what it spells.
fn split(uri: &str) -> std::result::Result<(&str, &str), &'static str> {
    let (scheme, place) = uri.split_once("://").ok_or("is no URI")?;
    if !SCHEMES.contains(&scheme) {
        return Err("is in no store that can be read: s3, gs, az or file");
    }
    let (host, path) = place.split_once('/').ok_or("names no object")?;
    if host.is_empty() != (scheme == "file") {
        return Err("has no place of its store");
    }
    let plain = |c: char| !c.is_control() && !matches!(c, '%' | '?' | '#' | '\\' | '@' | ' ');
    if !place.chars().all(plain) {
        return Err("has characters that need escapes");
    }
    let segments = path.strip_suffix('/').unwrap_or(path);
    let wrong = |segment: &str| matches!(segment, "" | "." | "..");
    if !path.is_empty() && segments.split('/').any(wrong) {
        return Err("has a path with empty, '.' or '..' segments");
    }
    Ok((scheme, &place[host.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(bases: &[&str], uri: &str) -> bool {
        let bases: Vec<_> = bases
            .iter()
            .map(|base| ExternalBlobBase::parse(base, ExternalBlobScope::Reference).unwrap())
            .collect();
        ExternalBlobs::new(&bases).unwrap().admit(uri).is_ok()
    }

    #[test]
    fn only_what_lies_below_a_base_is_admitted() {
        let bases = ["s3://media/public/", "file:///srv/blobs/"];
        for uri in [
            "s3://media/public/a.png",
            "s3://media/public/x/y.png",
            "file:///srv/blobs/a",
        ] {
            assert!(admits(&bases, uri), "{uri}");
        }
        for uri in [
            "s3://media/public/",
            "s3://media/publication/a",
            "s3://media/public/../private/a",
            "s3://media/public/%2e%2e/private/a",
            "s3://media/public//a",
            "s3://media/public/a?versionId=1",
            "s3://user@media/public/a",
            "s3://other/public/a",
            "s3://media/public/./a",
            "S3://media/public/a",
            "file:///srv/blobs/../secret",
            "file://srv/blobs/a",
            "/srv/blobs/a",
            "http://media/public/a",
            "plain text",
            "",
        ] {
            assert!(!admits(&bases, uri), "{uri}");
        }
        assert!(!admits(&[], "s3://media/public/a"));
    }

    #[test]
    fn the_longest_base_decides_the_scope() {
        let base = |base, scope| ExternalBlobBase::parse(base, scope).unwrap();
        let blobs = ExternalBlobs::new(&[
            base("s3://b/", ExternalBlobScope::Reference),
            base("s3://b/inner/", ExternalBlobScope::Copy),
        ])
        .unwrap();
        let scope = |uri| blobs.admit(uri).unwrap();
        assert_eq!(scope("s3://b/a"), ExternalBlobScope::Reference);
        assert_eq!(scope("s3://b/inner/a"), ExternalBlobScope::Copy);
    }

    #[test]
    fn a_base_is_the_uri_of_a_directory() {
        for base in [
            "s3://b",
            "s3://b/p",
            "b/",
            "file:///",
            "http://h/p/",
            "s3://b/../",
        ] {
            let parsed = ExternalBlobBase::parse(base, ExternalBlobScope::Reference);
            assert!(parsed.is_err(), "{base}");
        }
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_is_the_sources_trouble() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("there"), b"0123456789").unwrap();
        let base = format!("file://{}/", directory.path().display());
        let base = ExternalBlobBase::parse(&base, ExternalBlobScope::Reference).unwrap();
        let blobs = ExternalBlobs::new(std::slice::from_ref(&base)).unwrap();
        let there = blobs.open(&format!("{}there", base.base)).await.unwrap();
        assert_eq!(there.size, 10);
        assert_eq!(there.read(3..6).await.unwrap(), "345");
        let uri = format!("{}missing", base.base);
        let error = blobs.open(&uri).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ExternalBlobSource);
        let (named, reason) = error.detail().external.clone().unwrap();
        assert_eq!((named, reason.as_str()), (uri, "it does not exist"));
    }
}
