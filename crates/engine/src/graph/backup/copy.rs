//! Copying objects from one store to another in bounded pieces, with the digest of what passed.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::store::Store;

/// Larger objects go in parts of this size.
const PART: usize = 8 << 20;

/// What was copied or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digested {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Where content comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) store: &'a Store,
    pub(super) path: &'a str,
}

impl At<'_> {
    fn path(&self) -> Path {
        self.store.path(self.path)
    }
}

/// Copies an object. With a digest that it must have, nothing appears at the target unless it has.
pub(super) async fn copy(from: At<'_>, to: At<'_>, wanted: Option<&Digested>) -> Result<Digested> {
    let source = from.store.object_store().get(&from.path()).await?;
    let size = source.meta.size;
    let mut stream = source.into_stream();
    let mut digest = Sha256::new();
    let mut waiting = BytesMut::new();
    let mut upload: Option<Box<dyn MultipartUpload>> = None;
    let outcome = async {
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            digest.update(&piece);
            waiting.extend_from_slice(&piece);
            while waiting.len() >= PART && size > PART as u64 {
                let part = waiting.split_to(PART).freeze();
                put_part(&to, &mut upload, part).await?;
            }
        }
        let copied = Digested {
            bytes: size,
            sha256: hex::encode(digest.finalize()),
        };
        check(&from, wanted, &copied)?;
        if upload.is_some() && !waiting.is_empty() {
            put_part(&to, &mut upload, waiting.split().freeze()).await?;
        }
        Ok(copied)
    };
    let outcome: Result<Digested> = outcome.await;
    match (upload, outcome) {
        (Some(mut upload), Ok(copied)) => {
            upload.complete().await?;
            Ok(copied)
        }
        (Some(mut upload), Err(error)) => {
            // A store may keep parts of an upload that was not ended; the error counts.
            let _ = upload.abort().await;
            Err(error)
        }
        (None, Ok(copied)) => {
            let payload = PutPayload::from(waiting.freeze());
            to.store.object_store().put(&to.path(), payload).await?;
            Ok(copied)
        }
        (None, Err(error)) => Err(error),
    }
}

async fn put_part(
    to: &At<'_>,
    upload: &mut Option<Box<dyn MultipartUpload>>,
    part: Bytes,
) -> Result<()> {
    if upload.is_none() {
        *upload = Some(to.store.object_store().put_multipart(&to.path()).await?);
    }
    if let Some(upload) = upload {
        upload.put_part(PutPayload::from(part)).await?;
    }
    Ok(())
}

fn check(from: &At<'_>, wanted: Option<&Digested>, found: &Digested) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != found => Err(Error::corrupt(format!(
            "object {} has another content than when it was backed up",
            from.store.uri(from.path)
        ))
        .with_hint("run omnigraphctl backup verify, and use another backup")),
        Some(_) | None => Ok(()),
    }
}

/// Reads an object to its end; none if it is not there.
pub(super) async fn digest(at: At<'_>) -> Result<Option<Digested>> {
    let found = match at.store.object_store().get(&at.path()).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut stream = found.into_stream();
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        bytes += piece.len() as u64;
        digest.update(&piece);
    }
    Ok(Some(Digested {
        bytes,
        sha256: hex::encode(digest.finalize()),
    }))
}
