//! Finding backups, and checking them by reading everything.

use futures::{StreamExt, TryStreamExt};

use super::copy::{At, digest};
use super::manifest::Object;
use super::place::{Address, Place};
use super::{Amount, BackupCheck, BackupInfo};
use crate::error::{Error, Result};
use crate::graph::GraphRoot;
use crate::store::StoreOptions;

/// Objects that are read at the same time.
const PARALLEL: usize = 8;

/// The complete backups at a place, oldest first.
pub async fn list_backups(uri: &str) -> Result<Vec<BackupInfo>> {
    list_at(uri, &StoreOptions::default()).await
}

pub(crate) async fn list_at(uri: &str, options: &StoreOptions) -> Result<Vec<BackupInfo>> {
    let place = Place::open(uri, options).await?;
    let found = place.list(None).await?;
    Ok(found
        .iter()
        .map(|manifest| place.info(manifest, Amount::default()))
        .collect())
}

/// Reads every object of a backup and compares it with its digest.
///
/// # Errors
/// `NotFound` if there is no complete backup, `Corrupt` if its manifest is damaged.
pub async fn verify_backup(uri: &str) -> Result<BackupCheck> {
    verify_at(uri, &StoreOptions::default()).await
}

pub(crate) async fn verify_at(uri: &str, options: &StoreOptions) -> Result<BackupCheck> {
    let (address, manifest) = Address::open(uri, options).await?;
    let root = GraphRoot {
        id: manifest.header.graph.clone(),
        incarnation: manifest.header.incarnation,
    };
    let place = address.place;
    let mut check = BackupCheck::default();
    let mut checked = futures::stream::iter(manifest.objects)
        .map(move |object| {
            let (place, root) = (place.clone(), root.clone());
            async move {
                let path = place.object(&root, &object.path);
                let at = At {
                    store: &place.store,
                    path: &path,
                };
                let found = digest(at).await?;
                let verdict =
                    found.map(|found| found.sha256 == object.sha256 && found.bytes == object.bytes);
                Ok::<_, Error>((object, verdict))
            }
        })
        .buffered(PARALLEL);
    while let Some((object, verdict)) = checked.try_next().await? {
        let Object { path, bytes, .. } = object;
        match verdict {
            Some(true) => check.matching.add(bytes),
            Some(false) => check.mismatched.push(path),
            None => check.missing.push(path),
        }
    }
    Ok(check)
}
