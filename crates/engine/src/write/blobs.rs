//! Blobs on their way into a commit: content gets a place, external objects are looked at or
//! copied in. What is stored for a write that then fails is named by nothing, and collected.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload};
use omnigraph_lang::schema::{TypeBody, TypeId};
use omnigraph_lang::value::{Blob, KeptBlob, ManagedBlob, Value, ValueError};

use super::overlay::Pending;
use super::view::View;
use super::violations::{Check, Violation, Violations};
use crate::error::{Error, Result};
use crate::external::{ExternalBlobScope, ExternalBlobs, Source};
use crate::table::Tables;
use crate::table::blob::{CHUNK, NewBlob, new_path};

/// Parts of large objects: stores want them larger than 5 MiB.
const PART: u64 = 2 * CHUNK;
/// External objects that are read at the same time.
const PARALLEL: usize = 4;

/// What the rows of one type bring.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Content that came with the rows.
    pub(crate) blobs: Vec<NewBlob>,
    /// Objects that the rows name.
    pub(crate) sources: Vec<Named>,
}

/// An external object that a row names.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) uri: String,
    /// Where it is to be copied; absent where the reference is kept.
    pub(crate) copy_to: Option<String>,
}

/// What is to become of external objects in one write.
#[derive(Clone, Debug)]
pub(crate) struct ExternalRule {
    pub(crate) admitted: Arc<ExternalBlobs>,
    /// The write keeps references where it may.
    pub(crate) keep: bool,
}

impl ExternalRule {
    /// No object is admitted.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            admitted: Arc::default(),
            keep: false,
        }
    }

    /// Decides about one object.
    pub(crate) fn name(&self, uri: &str) -> std::result::Result<(KeptBlob, Named), ValueError> {
        let scope = self.admitted.admit(uri)?;
        let uri = uri.to_owned();
        if self.keep && scope == ExternalBlobScope::Reference {
            let named = Named {
                uri: uri.clone(),
                copy_to: None,
            };
            return Ok((KeptBlob::External { uri }, named));
        }
        let path = new_path();
        let named = Named {
            uri,
            copy_to: Some(path.clone()),
        };
        Ok((KeptBlob::Managed(ManagedBlob { path, size: 0 }), named))
    }
}

impl Incoming {
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.sources.is_empty()
    }

    /// Takes a value of a blob property in.
    pub(crate) fn take(
        &mut self,
        value: Value,
        rule: &ExternalRule,
    ) -> std::result::Result<Value, ValueError> {
        let kept = match value {
            Value::Blob(Blob::Bytes(bytes)) => {
                let blob = NewBlob::new(Bytes::from(bytes));
                let place = blob.place.clone();
                self.blobs.push(blob);
                KeptBlob::Managed(place)
            }
            Value::Blob(Blob::Uri(uri)) => {
                let (kept, named) = rule.name(&uri)?;
                self.sources.push(named);
                kept
            }
            other => return Ok(other),
        };
        Ok(Value::Blob(Blob::Kept(kept)))
    }

    /// Stores the content; the sizes of copied objects by their paths.
    pub(crate) async fn store(
        self,
        tables: &Tables,
        table: &str,
        external: &ExternalBlobs,
    ) -> Result<HashMap<String, u64>> {
        tables.put_blobs(table, self.blobs).await?;
        let copies = stream::iter(self.sources).map(|named| async move {
            let source = external.open(&named.uri).await?;
            match named.copy_to {
                None => Ok::<_, Error>(None),
                Some(path) => {
                    copy_in(tables, table, &path, &source).await?;
                    Ok(Some((path, source.size)))
                }
            }
        });
        let copied: Vec<_> = copies.buffer_unordered(PARALLEL).try_collect().await?;
        Ok(copied.into_iter().flatten().collect())
    }
}

/// What a mutation brings, by type; its rows get cells instead of content.
///
/// # Errors
/// R421 for objects that the graph does not admit, `ExternalBlobSource` for those that cannot be
/// read.
pub(crate) async fn settle(
    view: &View,
    changed: &mut BTreeMap<TypeId, Pending>,
    violations: &mut Violations,
) -> Result<BTreeMap<TypeId, Incoming>> {
    let rule = ExternalRule {
        admitted: Arc::clone(&view.external),
        keep: false,
    };
    let mut incoming = BTreeMap::new();
    for (id, pending) in changed {
        let Some(entity) = view.catalog().entity(*id) else {
            continue;
        };
        let mut new = take_rows(entity.body(), pending, &rule, violations);
        let copies = Incoming {
            blobs: Vec::new(),
            sources: std::mem::take(&mut new.sources),
        };
        if !copies.sources.is_empty() && violations.is_empty() {
            let table = &view.snapshot.table(*id)?.path;
            let tables = &view.snapshot.tables;
            let sizes = copies.store(tables, table, &view.external).await?;
            resize(pending, &sizes);
        }
        if !new.is_empty() {
            incoming.insert(*id, new);
        }
    }
    Ok(incoming)
}

/// Stores what [`settle`] has found.
pub(crate) async fn store(view: &View, incoming: BTreeMap<TypeId, Incoming>) -> Result<()> {
    for (id, new) in incoming {
        let table = &view.snapshot.table(id)?.path;
        new.store(&view.snapshot.tables, table, &view.external)
            .await?;
    }
    Ok(())
}

fn take_rows(
    body: &TypeBody,
    pending: &mut Pending,
    rule: &ExternalRule,
    violations: &mut Violations,
) -> Incoming {
    let mut new = Incoming::default();
    for row in pending.rows.values_mut() {
        for (property, value) in body.properties.iter().zip(&mut row.values) {
            if !matches!(value, Value::Blob(Blob::Bytes(_) | Blob::Uri(_))) {
                continue;
            }
            match new.take(std::mem::replace(value, Value::Null), rule) {
                Ok(kept) => *value = kept,
                Err(error) => violations.push(
                    Violation::new(Check::Shape, &body.name, error.code, error.message)
                        .id(&row.id)
                        .property(&property.name),
                ),
            }
        }
    }
    new
}

fn resize(pending: &mut Pending, sizes: &HashMap<String, u64>) {
    for value in pending.rows.values_mut().flat_map(|row| &mut row.values) {
        if let Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) = value
            && let Some(size) = sizes.get(&blob.path)
        {
            blob.size = *size;
        }
    }
}

/// Copies an object part by part, so that one part is in memory, whatever its size.
async fn copy_in(tables: &Tables, table: &str, path: &str, source: &Source) -> Result<()> {
    let target = tables.blob_object(table, path);
    if source.size <= PART {
        let bytes = source.read(0..source.size).await?;
        tables
            .blob_store()
            .put(&target, PutPayload::from(bytes))
            .await?;
        return Ok(());
    }
    let mut upload = tables.blob_store().put_multipart(&target).await?;
    let mut start = 0;
    while start < source.size {
        let end = source.size.min(start + PART);
        let part = async {
            let bytes = source.read(start..end).await?;
            upload.put_part(PutPayload::from(bytes)).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = part.await {
            // What is left of it is collected by the store or with the garbage.
            let _ = upload.abort().await;
            return Err(error);
        }
        start = end;
    }
    upload.complete().await?;
    Ok(())
}
