//! Reading a configuration directory on the machine of its author.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use omnigraph_proto::control::v1::{ConfigBundle, ConfigFile};

use super::{CLUSTER_FILE, Config, Queries};
use crate::error::{Error, ErrorKind, Result};

/// Reads `cluster.yaml` and every file that it names. Files that are missing are left out: the
/// receiver says so, with the place that names them.
pub fn read_directory(directory: &Path) -> Result<ConfigBundle> {
    let cluster = directory.join(CLUSTER_FILE);
    let content = std::fs::read(&cluster).map_err(|error| {
        let message = format!("{} cannot be read: {error}", cluster.display());
        Error::new(ErrorKind::NotFound, message).with_hint(
            "name the directory that has cluster.yaml, or make one with `omnigraphctl init`",
        )
    })?;
    let named = named_files(directory, &String::from_utf8_lossy(&content));
    let mut files = vec![ConfigFile {
        path: CLUSTER_FILE.to_owned(),
        content: content.into(),
    }];
    for path in named {
        if let Some(content) = read_inside(directory, &path)? {
            files.push(ConfigFile {
                path,
                content: content.into(),
            });
        }
    }
    Ok(ConfigBundle { files })
}

/// The files that [`read_directory`] reads, and the directories in which new ones may appear.
pub fn watched_files(directory: &Path) -> Vec<PathBuf> {
    let cluster = directory.join(CLUSTER_FILE);
    let text = std::fs::read_to_string(&cluster).unwrap_or_default();
    let mut watched = vec![cluster];
    let (config, _) = Config::parse(&text);
    for graph in config.graphs.values() {
        if let Queries::Directory(queries, _) = &graph.queries {
            watched.push(directory.join(queries));
        }
    }
    let named = named_files(directory, &text).into_iter();
    watched.extend(named.map(|path| directory.join(path)));
    watched
}

/// `storage:` of the directory's `cluster.yaml`, or the directory itself, absolute.
pub fn storage_root(directory: &Path) -> Result<String> {
    let cluster = directory.join(CLUSTER_FILE);
    let text = std::fs::read_to_string(&cluster).map_err(|error| {
        let message = format!("{} cannot be read: {error}", cluster.display());
        Error::new(ErrorKind::NotFound, message)
    })?;
    let (config, _) = Config::parse(&text);
    match config.storage {
        Some(storage) if storage.contains("://") || storage.starts_with('/') => Ok(storage),
        Some(relative) => absolute(&directory.join(relative)),
        None => absolute(directory),
    }
}

/// The storage root that a user means: of a directory with `cluster.yaml`, its own; everything
/// else is a storage root already.
pub fn resolve_cluster(text: &str) -> Result<String> {
    let directory = Path::new(text);
    if !text.contains("://") && directory.join(CLUSTER_FILE).is_file() {
        return storage_root(directory);
    }
    Ok(text.to_owned())
}

fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(|error| {
        let message = format!("{} is no usable path: {error}", path.display());
        Error::new(ErrorKind::Invalid, message)
    })?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(ErrorKind::Invalid, "the storage path is no UTF-8 text"))
}

fn named_files(directory: &Path, text: &str) -> BTreeSet<String> {
    let (config, _) = Config::parse(text);
    let mut named = BTreeSet::new();
    for graph in config.graphs.into_values() {
        named.insert(graph.schema.0);
        match graph.queries {
            Queries::None => {}
            Queries::Files(files) => named.extend(files.into_iter().map(|(path, _)| path)),
            Queries::Named(files) => named.extend(files.into_values().map(|(path, _)| path)),
            Queries::Directory(queries, _) => named.extend(query_files(directory, &queries)),
        }
    }
    for policy in config.policies.into_values() {
        named.insert(policy.file.0);
        named.extend(policy.groups_file.map(|(path, _)| path));
    }
    named
}

fn query_files(directory: &Path, queries: &str) -> Vec<String> {
    let queries = queries.trim_end_matches('/');
    let entries = std::fs::read_dir(directory.join(queries))
        .into_iter()
        .flatten();
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let queries_only = names.filter(|name| name.ends_with(".gq"));
    queries_only
        .map(|name| format!("{queries}/{name}"))
        .collect()
}

/// Reads a file unless it, or what a link makes of it, lies outside.
fn read_inside(directory: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let unreadable = |error: std::io::Error| {
        Error::new(
            ErrorKind::Invalid,
            format!("{path} cannot be read: {error}"),
        )
    };
    let root = directory.canonicalize().map_err(unreadable)?;
    let file = match directory.join(path).canonicalize() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !file.starts_with(&root) {
        let message = format!("{path} is a link that leaves the directory");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    std::fs::read(&file).map(Some).map_err(unreadable)
}
