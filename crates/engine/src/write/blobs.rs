//! Blobs on their way into a commit: content gets a place, external objects are looked at or
//! copied in. What is stored for a write that then fails is named by nothing, and collected.

use std::collections::{BTreeMap, HashMap, HashSet};
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

/// What earlier runs of a write have stored, by the table and the digest of the content, or the
/// URI that it was copied from.
#[derive(Debug, Default)]
pub(crate) struct StoredBlobs {
    content: HashMap<(String, String), ManagedBlob>,
    copies: HashMap<(String, String), ManagedBlob>,
}

/// An external object that a row names.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) uri: String,
    /// What stands in the rows for the place to which it will be copied; absent where the
    /// reference is kept.
    pub(crate) stand_in: Option<String>,
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
                stand_in: None,
            };
            return Ok((KeptBlob::External { uri }, named));
        }
        let path = new_path();
        let named = Named {
            uri,
            stand_in: Some(path.clone()),
        };
        Ok((KeptBlob::Managed(ManagedBlob { path, size: 0 }), named))
    }
}

impl Incoming {
    /// Gives content its place; everything else stays as it is.
    pub(crate) fn place(&mut self, value: Value) -> Value {
        let Value::Blob(Blob::Bytes(bytes)) = value else {
            return value;
        };
        let blob = NewBlob::new(Bytes::from(bytes));
        let place = blob.place.clone();
        self.blobs.push(blob);
        Value::Blob(Blob::Kept(KeptBlob::Managed(place)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.sources.is_empty()
    }

    /// Takes a value of a blob property in.
    pub(crate) fn take(
        &mut self,
        value: Value,
        rule: &ExternalRule,
    ) -> std::result::Result<Value, ValueError> {
        let Value::Blob(Blob::Uri(uri)) = value else {
            return Ok(self.place(value));
        };
        let (kept, named) = rule.name(&uri)?;
        self.sources.push(named);
        Ok(Value::Blob(Blob::Kept(kept)))
    }

    /// Stores the content; the places of copied objects by what stands for them.
    pub(crate) async fn store(
        self,
        tables: &Tables,
        table: &str,
        external: &ExternalBlobs,
    ) -> Result<HashMap<String, ManagedBlob>> {
        tables.put_blobs(table, self.blobs).await?;
        let copies = stream::iter(self.sources).map(|named| async move {
            let source = external.open(&named.uri).await?;
            match named.stand_in {
                None => Ok::<_, Error>(None),
                Some(stand_in) => {
                    let place = copy_in(tables, table, &source).await?;
                    Ok(Some((stand_in, place)))
                }
            }
        });
        let copied: Vec<_> = copies.buffer_unordered(PARALLEL).try_collect().await?;
        Ok(copied.into_iter().flatten().collect())
    }
}

/// Copies the external objects in that a mutation names, and drops content that no row names any
/// more, or that is stored already.
///
/// # Errors
/// `ExternalBlobSource` for objects that cannot be read. Those that the graph does not admit are
/// noted.
pub(crate) async fn settle(
    view: &View,
    changed: &mut BTreeMap<TypeId, Pending>,
    incoming: &mut BTreeMap<TypeId, Incoming>,
    stored: &mut StoredBlobs,
    violations: &mut Violations,
) -> Result<()> {
    let rule = ExternalRule {
        admitted: Arc::clone(&view.external),
        keep: false,
    };
    for (id, pending) in changed {
        let Some(entity) = view.catalog().entity(*id) else {
            continue;
        };
        let table = &view.snapshot.table(*id)?.path;
        let named = name_sources(entity.body(), pending, &rule, violations);
        if !named.sources.is_empty() && violations.is_empty() {
            let places = stored.copy_in(view, table, named).await?;
            replace(pending, &places);
        }
        if let Some(new) = incoming.get_mut(id) {
            let wanted: HashSet<&str> = kept(pending).map(|blob| &*blob.path).collect();
            new.blobs.retain(|blob| wanted.contains(&*blob.place.path));
            let known = stored.take_known(table, new);
            replace(pending, &known);
        }
    }
    Ok(())
}

/// Stores the content that [`settle`] has found, unless it is there.
pub(crate) async fn store(
    view: &View,
    incoming: &BTreeMap<TypeId, Incoming>,
    stored: &mut StoredBlobs,
) -> Result<()> {
    for (id, new) in incoming {
        let table = &view.snapshot.table(*id)?.path;
        let there = |blob: &NewBlob| {
            let known = stored.content.get(&(table.clone(), blob.digest.clone()));
            known == Some(&blob.place)
        };
        let missing: Vec<NewBlob> = (new.blobs.iter())
            .filter(|blob| !there(blob))
            .cloned()
            .collect();
        view.snapshot
            .tables
            .put_blobs(table, missing.clone())
            .await?;
        let missing = missing.into_iter();
        stored
            .content
            .extend(missing.map(|blob| ((table.clone(), blob.digest), blob.place)));
    }
    Ok(())
}

impl StoredBlobs {
    /// Copies objects in, each once however often the write is run; the places by what stands for
    /// them.
    async fn copy_in(
        &mut self,
        view: &View,
        table: &str,
        mut named: Incoming,
    ) -> Result<HashMap<String, ManagedBlob>> {
        let mut places = HashMap::new();
        let mut uris = HashMap::new();
        named.sources.retain(|source| {
            let Some(stand_in) = &source.stand_in else {
                return true;
            };
            let known = self.copies.get(&(table.to_owned(), source.uri.clone()));
            match known {
                Some(place) => places.insert(stand_in.clone(), place.clone()),
                None => {
                    uris.insert(stand_in.clone(), source.uri.clone());
                    return true;
                }
            };
            false
        });
        let copied = named
            .store(&view.snapshot.tables, table, &view.external)
            .await?;
        for (stand_in, place) in &copied {
            if let Some(uri) = uris.remove(stand_in) {
                self.copies.insert((table.to_owned(), uri), place.clone());
            }
        }
        places.extend(copied);
        Ok(places)
    }

    /// Takes the content out that is stored already; its places by what stands for them.
    fn take_known(&self, table: &str, new: &mut Incoming) -> HashMap<String, ManagedBlob> {
        let mut known = HashMap::new();
        new.blobs.retain(|blob| {
            let there = self.content.get(&(table.to_owned(), blob.digest.clone()));
            if let Some(place) = there {
                known.insert(blob.place.path.clone(), place.clone());
            }
            there.is_none()
        });
        known
    }
}

/// Puts something in the place of each URI; the same for the same.
fn name_sources(
    body: &TypeBody,
    pending: &mut Pending,
    rule: &ExternalRule,
    violations: &mut Violations,
) -> Incoming {
    let mut named = Incoming::default();
    let mut known: HashMap<String, Value> = HashMap::new();
    for row in pending.rows.values_mut() {
        for (property, value) in body.properties.iter().zip(&mut row.values) {
            let Value::Blob(Blob::Uri(uri)) = value else {
                continue;
            };
            if let Some(kept) = known.get(uri) {
                *value = kept.clone();
                continue;
            }
            let uri = uri.clone();
            match named.take(std::mem::replace(value, Value::Null), rule) {
                Ok(kept) => {
                    known.insert(uri, kept.clone());
                    *value = kept;
                }
                Err(error) => violations.push(
                    Violation::new(Check::Shape, &body.name, error.code, error.message)
                        .id(&row.id)
                        .property(&property.name),
                ),
            }
        }
    }
    named
}

/// The managed blobs that pending rows name.
fn kept(pending: &Pending) -> impl Iterator<Item = &ManagedBlob> {
    let values = pending.rows.values().flat_map(|row| &row.values);
    values.filter_map(|value| match value {
        Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) => Some(blob),
        _ => None,
    })
}

fn replace(pending: &mut Pending, places: &HashMap<String, ManagedBlob>) {
    for value in pending.rows.values_mut().flat_map(|row| &mut row.values) {
        if let Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) = value
            && let Some(place) = places.get(&blob.path)
        {
            blob.clone_from(place);
        }
    }
}

/// Copies an object in. A small one is named by its content; of a large one a part at a time is in
/// memory.
async fn copy_in(tables: &Tables, table: &str, source: &Source) -> Result<ManagedBlob> {
    if source.size <= PART {
        let blob = NewBlob::new(source.read(0..source.size).await?);
        let place = blob.place.clone();
        tables.put_blobs(table, vec![blob]).await?;
        return Ok(place);
    }
    let place = ManagedBlob {
        path: new_path(),
        size: source.size,
    };
    let target = tables.blob_object(table, &place.path);
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
    Ok(place)
}
