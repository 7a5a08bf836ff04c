//! Every file that a version of a table needs: what may not be collected, what a backup copies and
//! what a check looks for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow_array::BooleanArray;
use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance_table::format::{DataFile, Fragment, IndexMetadata};
use lance_table::io::deletion::deletion_file_path;
use lance_table::io::manifest::read_manifest_indexes;
use object_store::path::Path;
use parking_lot::Mutex;

use super::blob::managed_paths;
use super::child;
use crate::error::{Error, Result};
use crate::exec::read_fragments;

const DATA: &str = "data";
const INDICES: &str = "_indices";
/// Row maps of indexes whose fragments were rewritten.
const ROW_MAPS: &str = "_fri";

/// What a version of a table refers to. Paths are those of the object store, as listings give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Objects that have to be there.
    pub(crate) files: BTreeSet<Path>,
    /// Directories of which everything belongs to the version, though its manifest does not name
    /// the objects: index segments, and blobs beside a data file.
    pub(crate) directories: BTreeSet<Path>,
}

impl References {
    /// Whether an object belongs to the version.
    pub(crate) fn covers(&self, object: &Path) -> bool {
        if self.files.contains(object) {
            return true;
        }
        let mut parts: Vec<_> = object.parts().collect();
        while parts.pop().is_some() {
            let ancestor: Path = parts.iter().cloned().collect();
            if self.directories.contains(&ancestor) {
                return true;
            }
        }
        false
    }

    /// Adds what another version refers to.
    pub(crate) fn extend(&mut self, other: References) {
        self.files.extend(other.files);
        self.directories.extend(other.directories);
    }
}

/// Fragments whose blobs are known. Versions share most of their fragments, and each is read once.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    fragments: Mutex<HashSet<String>>,
}

/// What an opened version refers to: manifest, transaction, data, overlay and deletion files,
/// index segments and blobs. At most one request, for the list of indexes; blobs are read from
/// the cells that name them.
pub(crate) async fn references(dataset: &Arc<Dataset>) -> Result<References> {
    references_beside(dataset, &Seen::default()).await
}

/// The same, without the blobs of fragments that were seen before.
pub(crate) async fn references_beside(dataset: &Arc<Dataset>, seen: &Seen) -> Result<References> {
    let manifest = dataset.manifest();
    let root = root_of(dataset)?;
    let mut found = References::default();
    found.files.insert(dataset.manifest_location().path.clone());
    if let Some(name) = &manifest.transaction_file {
        found.files.insert(child(&dataset.transactions_dir(), name));
    }
    for fragment in manifest.fragments.iter() {
        add_fragment(dataset, &root, fragment, &mut found)?;
    }
    let objects = dataset.object_store(None).await?;
    let indexes = read_manifest_indexes(&objects, dataset.manifest_location(), manifest).await?;
    for index in &indexes {
        add_index(dataset, &root, index, &mut found)?;
    }
    found.directories.insert(root.clone().join(ROW_MAPS));
    if manifest.has_managed_blobs() {
        add_blobs(dataset, &root, seen, &mut found).await?;
    }
    Ok(found)
}

/// The objects that the cells of live rows name.
async fn add_blobs(
    dataset: &Arc<Dataset>,
    root: &Path,
    seen: &Seen,
    found: &mut References,
) -> Result<()> {
    let columns: Vec<String> = dataset
        .schema()
        .fields
        .iter()
        .filter(|field| field.is_blob_v2())
        .map(|field| field.name.clone())
        .collect();
    for fragment in dataset.get_fragments() {
        let name = name_of(&fragment);
        if seen.fragments.lock().contains(&name) {
            continue;
        }
        let mut paths = BTreeSet::new();
        for column in &columns {
            for cells in live_cells(dataset, fragment.clone(), column).await? {
                managed_paths(&cells, &mut paths)?;
            }
        }
        found
            .files
            .extend(paths.iter().map(|path| child(root, path)));
        seen.fragments.lock().insert(name);
    }
    Ok(())
}

/// Files of a fragment, which decide what is in it.
fn name_of(fragment: &FileFragment) -> String {
    let metadata = fragment.metadata();
    let mut name = String::new();
    for file in metadata.referenced_lance_files() {
        name.push_str(&file.path);
        name.push(' ');
    }
    if let Some(deletion) = &metadata.deletion_file {
        name.push_str(&format!(
            "{}-{}-{}",
            metadata.id, deletion.read_version, deletion.id
        ));
    }
    name
}

async fn live_cells(
    dataset: &Arc<Dataset>,
    fragment: FileFragment,
    column: &str,
) -> Result<Vec<arrow_array::ArrayRef>> {
    let deleted = fragment.get_deletion_vector().await?;
    let cells = read_fragments(dataset, vec![fragment], column).await?;
    let Some(deleted) = deleted else {
        return Ok(cells);
    };
    cells
        .into_iter()
        .map(|cells| {
            let rows = u32::try_from(cells.len()).unwrap_or(u32::MAX);
            let live = (0..rows).map(|row| Some(!deleted.contains(row)));
            let live: BooleanArray = live.collect();
            Ok(arrow_select::filter::filter(&cells, &live)?)
        })
        .collect()
}

fn add_fragment(
    dataset: &Dataset,
    root: &Path,
    fragment: &Fragment,
    found: &mut References,
) -> Result<()> {
    for file in fragment.referenced_lance_files() {
        let path = child(&data_directory(dataset, root, file)?, &file.path);
        // Blobs lie in a directory named after their data file.
        if let Some(stem) = path.as_ref().strip_suffix(".lance")
            && let Ok(blobs) = Path::parse(stem)
        {
            found.directories.insert(blobs);
        }
        found.files.insert(path);
    }
    if let Some(deletion) = &fragment.deletion_file {
        let base = base_directory(dataset, deletion.base_id)?.unwrap_or_else(|| root.clone());
        found
            .files
            .insert(deletion_file_path(&base, fragment.id, deletion));
    }
    Ok(())
}

fn data_directory(dataset: &Dataset, root: &Path, file: &DataFile) -> Result<Path> {
    let Some(id) = file.base_id else {
        return Ok(root.clone().join(DATA));
    };
    let base = base_directory(dataset, Some(id))?.unwrap_or_else(|| root.clone());
    let whole = dataset
        .manifest()
        .base_paths
        .get(&id)
        .is_some_and(|base| base.is_dataset_root);
    Ok(if whole { base.join(DATA) } else { base })
}

fn add_index(
    dataset: &Dataset,
    root: &Path,
    index: &IndexMetadata,
    found: &mut References,
) -> Result<()> {
    let base = match base_directory(dataset, index.base_id)? {
        Some(base) => base,
        None => root.clone(),
    };
    let directory = base.join(INDICES).join(index.uuid.to_string());
    for file in index.files.iter().flatten() {
        found.files.insert(child(&directory, &file.path));
    }
    found.directories.insert(directory);
    Ok(())
}

/// Where files lie that are not in the table's own directory.
fn base_directory(dataset: &Dataset, id: Option<u32>) -> Result<Option<Path>> {
    let Some(id) = id else {
        return Ok(None);
    };
    let base = dataset.manifest().base_paths.get(&id).ok_or_else(|| {
        Error::corrupt(format!(
            "{} refers to base path {id}, which its manifest does not have",
            dataset.uri()
        ))
    })?;
    Ok(Some(base.extract_path(dataset.session().store_registry())?))
}

/// The table's directory: the manifest lies in a directory of it.
fn root_of(dataset: &Dataset) -> Result<Path> {
    let mut parts: Vec<_> = dataset
        .data_dir()
        .parts()
        .map(|p| p.as_ref().to_owned())
        .collect();
    if parts.pop().as_deref() != Some(DATA) {
        return Err(Error::internal(format!(
            "the data of {} lies in an unexpected directory",
            dataset.uri()
        )));
    }
    Path::parse(parts.join("/"))
        .map_err(|error| Error::internal("a table's directory is no path").with_source(error))
}

#[cfg(test)]
mod tests;
