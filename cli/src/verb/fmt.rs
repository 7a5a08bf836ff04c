//! `fmt`: schemas and queries in their standard form.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use omnigraph_lang::format::Language;
use omnigraph_lang::{Diagnostic, diagnostic};
use serde_json::json;

use super::Context;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::count;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Schemas (.pg), queries (.gq), directories of them; - reads stdin and writes stdout
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; fail if a file would change
    #[arg(long)]
    check: bool,
}

/// What became of the files.
#[derive(Default)]
struct Report {
    files: Vec<(String, bool)>,
    found: Vec<(String, String, Vec<Diagnostic>)>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    if args.files.iter().any(|f| f.as_os_str() == "-") {
        if args.files.len() > 1 {
            return Err(Error::usage("- stands alone: stdin is one text"));
        }
        return stdin(&args, context);
    }
    let mut report = Report::default();
    for path in expand(&args.files)? {
        let source = read(&path)?;
        let language = Language::of_file(&path.to_string_lossy())
            .ok_or_else(|| Error::usage(format!("{}: neither .pg nor .gq", path.display())))?;
        let shown = path.display().to_string();
        match language.format(&source) {
            Ok(formatted) => {
                let changed = formatted != source;
                if changed && !args.check {
                    replace(&path, &formatted)?;
                }
                report.files.push((shown, changed));
            }
            Err(found) => report.found.push((shown, source, found)),
        }
    }
    let failed = !report.found.is_empty() || (args.check && report.changed() > 0);
    context.output.show(&report.rendered(args.check))?;
    match failed {
        true => Err(Error::silent(Exit::Failed)),
        false => Ok(()),
    }
}

fn stdin(args: &Args, context: &Context) -> Result<()> {
    let mut source = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut source);
    read.map_err(|e| Error::usage(format!("stdin: {e}")))?;
    let language = Language::guess(&source);
    let formatted = language.format(&source).map_err(|found| {
        let text = diagnostic::render_all(&found, "stdin", &source);
        Error::failed("stdin cannot be formatted")
            .with_details(text.lines().map(str::to_owned).collect())
    })?;
    if !args.check {
        let json =
            json!({"files": [{"path": "-", "changed": formatted != source}], "text": formatted});
        return context
            .output
            .show(&Rendered::document(formatted, json.to_string()));
    }
    let mut report = Report::default();
    report.files.push(("-".to_owned(), formatted != source));
    context.output.show(&report.rendered(true))?;
    match report.changed() {
        0 => Ok(()),
        _ => Err(Error::silent(Exit::Failed)),
    }
}

impl Report {
    fn changed(&self) -> usize {
        self.files.iter().filter(|(_, changed)| *changed).count()
    }

    fn rendered(&self, check: bool) -> Rendered {
        let mut text = String::new();
        for (path, source, found) in &self.found {
            text.push_str(&diagnostic::render_all(found, path, source));
            text.push('\n');
        }
        for (path, _) in self.files.iter().filter(|(_, changed)| check && *changed) {
            text.push_str(&format!("{path}\n"));
        }
        let all = count((self.files.len() + self.found.len()) as u64, "file");
        let word = if check { "would format" } else { "formatted" };
        text.push_str(&format!("{word} {} of {all}\n", self.changed()));
        let files = self.files.iter();
        let mut json = json!({
            "files": files
                .map(|(path, changed)| json!({"path": path, "changed": changed}))
                .collect::<Vec<_>>(),
        });
        if !self.found.is_empty() {
            let failed = self.found.iter();
            json["failed"] = failed
                .map(|(path, _, found)| json!({"path": path, "diagnostics": found}))
                .collect();
        }
        Rendered::document(text, json.to_string())
    }
}

/// Files as given, and the schemas and queries below directories.
fn expand(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            below(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
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
        if hidden || path.is_symlink() {
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

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))
}

/// Whatever happens, the file is the old one or the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::failed(format!("{}: {e}", path.display()));
    // A link stays a link.
    let target = std::fs::canonicalize(path).map_err(failed)?;
    let directory = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.{}.new", std::process::id()));
    let written = std::fs::write(&new, text)
        .and_then(|()| std::fs::metadata(&target))
        .and_then(|old| std::fs::set_permissions(&new, old.permissions()))
        .and_then(|()| std::fs::rename(&new, &target));
    written.map_err(|e| {
        // What is left of the attempt is of no use; the error that counts is the first.
        let _ = std::fs::remove_file(&new);
        failed(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_changes() {
        let report = Report {
            files: vec![("a.pg".into(), true), ("b.gq".into(), false)],
            found: Vec::new(),
        };
        assert_eq!(report.rendered(false).text, "formatted 1 of 2 files\n");
        assert_eq!(
            report.rendered(true).text,
            "a.pg\nwould format 1 of 2 files\n"
        );
        assert_eq!(
            report.rendered(false).json,
            r#"{"files":[{"path":"a.pg","changed":true},{"path":"b.gq","changed":false}]}"#
        );
    }

    #[test]
    fn files_are_found_below_directories_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("queries")).unwrap();
        for name in ["main.pg", "queries/b.gq", "queries/a.gq", "notes.md"] {
            std::fs::write(root.join(name), "node  A{}").unwrap();
        }
        let found = expand(&[root.to_owned()]).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|p| p.strip_prefix(root).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["main.pg", "queries/a.gq", "queries/b.gq"]);
        replace(&found[0], "node A {}\n").unwrap();
        assert_eq!(read(&found[0]).unwrap(), "node A {}\n");
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 3);
    }
}
