//! Reading a configuration directory on the machine of its author.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::{ConfigBundle, ConfigFile};

use super::{
    BYTES_MAX, CLUSTER_FILE, Config, FILE_BYTES_MAX, FILES_MAX, Queries, too_large, too_many_bytes,
    too_many_files,
};
use crate::error::{Error, ErrorKind, Result};
use crate::finding::{self, Place};

/// A directory of declarations as it was read.
#[derive(Debug, Default)]
pub struct Directory {
    /// Everything that could be read.
    pub bundle: ConfigBundle,
    /// What could not, and why.
    pub findings: Vec<Diagnostic>,
}

/// Reads `cluster.yaml` and every file that it names. Files that are missing are left out: the
/// receiver says so, with the place that names them.
///
/// # Errors
/// `NotFound` without `cluster.yaml`; `ConfigInvalid` with every file that may not be read.
pub fn read_directory(directory: &Path) -> Result<ConfigBundle> {
    let read = read(directory)?;
    if read.findings.is_empty() {
        return Ok(read.bundle);
    }
    Err(Error::config(read.findings))
}

/// The same, with all that is wrong with the files beside what could be read.
///
/// # Errors
/// `NotFound` without a readable `cluster.yaml`.
pub fn read(directory: &Path) -> Result<Directory> {
    let cluster = directory.join(CLUSTER_FILE);
    let missing = |why: String| {
        let message = format!("{} cannot be read: {why}", cluster.display());
        Error::new(ErrorKind::NotFound, message).with_hint(
            "name the directory that has cluster.yaml, or make one with `omnigraphctl init`",
        )
    };
    let root = directory
        .canonicalize()
        .map_err(|error| missing(error.to_string()))?;
    let content = match read_inside(&root, CLUSTER_FILE) {
        Ok(Some(content)) => content,
        Ok(None) => return Err(missing("it does not exist".to_owned())),
        Err(refused) => return Err(missing(refused.message.clone())),
    };
    let named = named_files(directory, &String::from_utf8_lossy(&content));
    let mut read = Directory::default();
    if named.len() >= FILES_MAX {
        let message = too_many_files(named.len() + 1);
        read.findings.push(finding::error("C111", None, message));
        return Ok(read);
    }
    let mut size = content.len() as u64;
    read.bundle.files.push(ConfigFile {
        path: CLUSTER_FILE.to_owned(),
        content: content.into(),
    });
    for path in named {
        match read_inside(&root, &path) {
            Ok(None) => {}
            Ok(Some(content)) => {
                size += content.len() as u64;
                if size > BYTES_MAX {
                    // What comes behind it is not read any more.
                    let message = format!("with file '{path}', {}", too_many_bytes(size));
                    read.findings.push(finding::error("C111", None, message));
                    break;
                }
                let content = content.into();
                read.bundle.files.push(ConfigFile { path, content });
            }
            Err(refused) => read.findings.push(*refused),
        }
    }
    Ok(read)
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

/// Reads a file unless it, or what a link makes of it, lies outside, is no file, or is too large.
/// None: it does not exist.
fn read_inside(root: &Path, path: &str) -> Result<Option<Vec<u8>>, Box<Diagnostic>> {
    let refused = |code: &str, message: String| {
        let place = Place {
            file: path.to_owned(),
            ..Place::default()
        };
        Box::new(finding::error(code, Some(place), message))
    };
    let unreadable =
        |error: std::io::Error| refused("C112", format!("file '{path}' cannot be read: {error}"));
    let file = match root.join(path).canonicalize() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !file.starts_with(root) {
        let message = format!("'{path}' is a link that leaves the directory");
        return Err(refused("C106", message));
    }
    let metadata = std::fs::metadata(&file).map_err(unreadable)?;
    // A pipe or a device might never end.
    if !metadata.is_file() {
        let message = format!("'{path}' is no regular file");
        return Err(refused("C112", message));
    }
    if metadata.len() > FILE_BYTES_MAX {
        let message = too_large(path, metadata.len());
        return Err(refused("C111", message));
    }
    std::fs::read(&file).map(Some).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "version: 1\ngraphs:\n  a: { schema: a.pg, queries: queries/ }\n  b: { schema: b.pg, queries: [q.gq] }\n";

    fn codes(found: &[Diagnostic]) -> Vec<(String, String)> {
        let one = |f: &Diagnostic| {
            let file = f.span.as_ref().map(|place| place.file.clone());
            (f.code.clone(), file.unwrap_or_default())
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn everything_that_may_not_be_read_is_named_at_once() {
        let (dir, outside) = (Scratch::new(), Scratch::new());
        let at = |name: &str| dir.0.join(name);
        std::fs::write(at(CLUSTER_FILE), CLUSTER).unwrap();
        std::fs::write(outside.0.join("secret"), "node A { }").unwrap();
        std::os::unix::fs::symlink(outside.0.join("secret"), at("a.pg")).unwrap();
        let large = usize::try_from(FILE_BYTES_MAX).unwrap() + 1;
        std::fs::write(at("b.pg"), vec![b' '; large]).unwrap();
        std::fs::create_dir(at("q.gq")).unwrap();
        std::fs::create_dir(at("queries")).unwrap();
        std::fs::write(at("queries/fine.gq"), "").unwrap();
        // Whoever reads it without looking waits for ever.
        let made = std::process::Command::new("mkfifo")
            .arg(at("queries/pipe.gq"))
            .status();
        assert!(made.unwrap().success());
        let read = read(&dir.0).unwrap();
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs.iter();
            pairs
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        assert_eq!(
            codes(&read.findings),
            owned(&[
                ("C106", "a.pg"),
                ("C111", "b.pg"),
                ("C112", "q.gq"),
                ("C112", "queries/pipe.gq")
            ])
        );
        let paths: Vec<_> = read
            .bundle
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(paths, [CLUSTER_FILE, "queries/fine.gq"]);
        // What could not be read is not missing besides; what is missing is.
        let text = format!("{CLUSTER}  c: {{ schema: gone.pg }}\n");
        std::fs::write(at(CLUSTER_FILE), text).unwrap();
        let response = super::super::validate_directory(&super::read(&dir.0).unwrap());
        assert!(!response.ok);
        let mut expected = codes(&read.findings);
        expected.push(("C107".to_owned(), CLUSTER_FILE.to_owned()));
        assert_eq!(codes(&response.diagnostics), expected);
        std::fs::write(at(CLUSTER_FILE), CLUSTER).unwrap();
        let error = read_directory(&dir.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert_eq!(error.findings().len(), 4);
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let dir = Scratch::new();
        let mut text = "version: 1\ngraphs:\n".to_owned();
        for n in 0..5 {
            text.push_str(&format!("  g{n}: {{ schema: s{n}.pg }}\n"));
            let size = usize::try_from(FILE_BYTES_MAX).unwrap();
            std::fs::write(dir.0.join(format!("s{n}.pg")), vec![b' '; size]).unwrap();
        }
        std::fs::write(dir.0.join(CLUSTER_FILE), text).unwrap();
        let read = read(&dir.0).unwrap();
        assert_eq!(codes(&read.findings), [("C111".to_owned(), String::new())]);
        assert!(read.bundle.files.len() < 5, "what comes behind is not read");
    }

    /// A directory that is gone with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("omnigraph-bundle-{}", ulid::Ulid::new()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
