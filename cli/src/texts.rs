//! Schemas and queries that a command line names: files, directories of them, stdin.

use std::io::Read;
use std::path::{Path, PathBuf};

use omnigraph_lang::format::Language;

use crate::error::{Error, Result};

/// Where the texts are.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Schemas (.pg), queries (.gq), directories of them; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What stdin is called; the extension says its language, which else its first word says
    #[arg(long, value_name = "NAME")]
    stdin_filename: Option<PathBuf>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// As people know it.
    pub(crate) name: String,
    /// `None` for stdin.
    pub(crate) file: Option<PathBuf>,
    /// What its name says; `None` if its name says nothing.
    named: Option<Language>,
    pub(crate) source: String,
}

impl Text {
    /// A file's content.
    pub(crate) fn file(path: &Path) -> Result<Text> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| Error::usage(format!("{name}: {e}")))?;
        Text::of(name, Some(path.to_owned()), bytes)
    }

    fn of(name: String, file: Option<PathBuf>, bytes: Vec<u8>) -> Result<Text> {
        let source = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Error::usage(format!("{name}: no UTF-8 text, byte {at} is wrong"))
                .with_hint("save the file as UTF-8")
        })?;
        Ok(Text::new(name, file, source))
    }

    pub(crate) fn new(name: String, file: Option<PathBuf>, source: String) -> Text {
        Text {
            named: Language::of_file(&name),
            name,
            file,
            source,
        }
    }

    /// By its name, else by its first word.
    pub(crate) fn language(&self) -> Language {
        self.named.unwrap_or_else(|| Language::guess(&self.source))
    }

    /// Its name says that it is a text of neither language.
    pub(crate) fn is_foreign(&self) -> bool {
        self.named.is_none() && self.file.is_some()
    }
}

impl Named {
    /// Stdin is among them.
    pub(crate) fn has_stdin(&self) -> bool {
        self.files.iter().any(|path| is_stdin(path))
    }

    /// Stdin is all there is.
    pub(crate) fn is_stdin(&self) -> bool {
        self.has_stdin() && self.files.len() == 1
    }

    /// One of them is called a schema.
    pub(crate) fn name_a_schema(&self) -> bool {
        let names = self.files.iter().chain(&self.stdin_filename);
        let mut languages = names.map(|name| Language::of_file(&name.to_string_lossy()));
        languages.any(|language| language == Some(Language::Schema))
    }

    /// All texts, in the order in which they are named; those of a directory by their paths.
    pub(crate) fn read(&self, stdin: impl Read) -> Result<Vec<Text>> {
        if self.files.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(Error::usage("- is given twice: stdin is one text"));
        }
        if self.stdin_filename.is_some() && !self.has_stdin() {
            return Err(Error::usage(
                "--stdin-filename is about stdin, which - stands for",
            ));
        }
        let mut stdin = Some(stdin);
        let mut texts = Vec::new();
        for path in &self.files {
            if is_stdin(path) {
                texts.extend(stdin.take().map(|from| self.stdin(from)).transpose()?);
                continue;
            }
            for path in expand(path)? {
                texts.push(Text::file(&path)?);
            }
        }
        Ok(texts)
    }

    fn stdin(&self, mut from: impl Read) -> Result<Text> {
        let name = match &self.stdin_filename {
            Some(name) => name.display().to_string(),
            None => "stdin".to_owned(),
        };
        let mut bytes = Vec::new();
        let read = from.read_to_end(&mut bytes);
        read.map_err(|e| Error::usage(format!("{name}: {e}")))?;
        Text::of(name, None, bytes)
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The file, or the schemas and queries below the directory.
fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if path.is_dir() {
        below(path, &mut files)?;
    } else {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// A directory may be the storage of what it declares. What lies there is not people's to change.
fn is_storage(path: &Path) -> bool {
    let graph = path
        .extension()
        .is_some_and(|extension| extension == "omni");
    graph || path.join("catalog").is_dir() && path.join("ledger").is_dir()
}

fn below(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |e| Error::usage(format!("{}: {e}", directory.display()));
    let entries = std::fs::read_dir(directory).map_err(unreadable)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.is_symlink() || is_storage(&path) {
            continue;
        }
        if path.is_dir() {
            below(&path, files)?;
        } else if Language::of_file(&path.to_string_lossy()).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[&str], stdin_filename: Option<&str>) -> Named {
        Named {
            files: files.iter().map(PathBuf::from).collect(),
            stdin_filename: stdin_filename.map(PathBuf::from),
        }
    }

    #[test]
    fn texts_are_found_below_directories() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for directory in [
            "queries",
            "cluster/catalog",
            "cluster/ledger",
            "graphs/g.omni",
        ] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for name in [
            "cluster/catalog/e3b0.pg",
            "graphs/g.omni/x.gq",
            "main.pg",
            "queries/b.gq",
            "queries/a.gq",
            "notes.md",
            ".x.pg",
        ] {
            std::fs::write(root.join(name), "node  A{}").unwrap();
        }
        let texts = named(&[&root.to_string_lossy()], None)
            .read(&b""[..])
            .unwrap();
        let names: Vec<_> = texts
            .iter()
            .map(|text| text.file.as_ref().unwrap().strip_prefix(root).unwrap())
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(names, ["main.pg", "queries/a.gq", "queries/b.gq"]);
        assert_eq!(texts[0].language(), Language::Schema);
        assert_eq!(texts[1].language(), Language::Query);
    }

    #[test]
    fn stdin_has_a_name_and_a_language() {
        let read = |name, source: &str| {
            let texts = named(&["-"], name).read(source.as_bytes());
            let text = texts.unwrap().remove(0);
            (text.name.clone(), text.language(), text.is_foreign())
        };
        let query = "// c\nquery q() { }";
        assert_eq!(read(None, query), ("stdin".into(), Language::Query, false));
        assert_eq!(read(None, "node A {}").1, Language::Schema);
        assert_eq!(
            read(Some("a/b.gq"), "nod"),
            ("a/b.gq".into(), Language::Query, false)
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |files: &[&str], name, stdin: &[u8]| {
            named(files, name).read(stdin).unwrap_err().message.clone()
        };
        assert_eq!(
            error(&["-"], Some("x.pg"), b"node \xff"),
            "x.pg: no UTF-8 text, byte 5 is wrong"
        );
        assert!(error(&["no/such.gq"], None, b"").starts_with("no/such.gq: "));
        assert_eq!(
            error(&["-", "-"], None, b""),
            "- is given twice: stdin is one text"
        );
        assert_eq!(
            error(&["a.pg"], Some("x.pg"), b""),
            "--stdin-filename is about stdin, which - stands for"
        );
    }
}
