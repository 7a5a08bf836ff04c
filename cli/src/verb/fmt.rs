//! `fmt`: schemas and queries in their standard form.

use std::path::Path;

use omnigraph_lang::{Diagnostic, diagnostic};
use serde_json::json;

use super::Context;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::count;
use crate::texts::{Named, Text};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    texts: Named,
    /// Change nothing; fail if a file would change
    #[arg(long)]
    check: bool,
}

/// What became of the files.
#[derive(Default)]
struct Report {
    files: Vec<(String, bool)>,
    /// What cannot be read as what it is.
    found: Vec<(Text, Vec<Diagnostic>)>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let texts = args.texts.read(std::io::stdin().lock())?;
    if args.texts.is_stdin() {
        return stdin(&texts, args.check, context);
    }
    if args.texts.has_stdin() {
        return Err(Error::usage(
            "- stands alone: what is formatted is written to stdout",
        ));
    }
    if let Some(text) = texts.iter().find(|text| text.is_foreign()) {
        return Err(Error::usage(format!("{}: neither .pg nor .gq", text.name)));
    }
    let mut report = Report::default();
    for text in texts {
        match text.language().format(&text.source) {
            Ok(formatted) => {
                let changed = formatted != text.source;
                if let (true, false, Some(path)) = (changed, args.check, &text.file) {
                    replace(path, &formatted)?;
                }
                report.files.push((text.name, changed));
            }
            Err(found) => report.found.push((text, found)),
        }
    }
    let failed = !report.found.is_empty() || (args.check && report.changed() > 0);
    context.output.show(&report.rendered(args.check))?;
    match failed {
        true => Err(Error::silent(Exit::Failed)),
        false => Ok(()),
    }
}

/// The formatted text, or with `check` only whether it would change.
fn stdin(texts: &[Text], check: bool, context: &Context) -> Result<()> {
    let [text] = texts else {
        return Err(Error::usage("stdin could not be read"));
    };
    let formatted = text.language().format(&text.source).map_err(|found| {
        let shown = diagnostic::render_all(&found, &text.name, &text.source);
        Error::failed(format!("{} cannot be formatted", text.name))
            .with_details(shown.lines().map(str::to_owned).collect())
    })?;
    let changed = formatted != text.source;
    if !check {
        let json = json!({"files": [{"path": text.name, "changed": changed}], "text": formatted});
        let rendered = Rendered::document(formatted, json.to_string());
        return context.output.show(&rendered);
    }
    let mut report = Report::default();
    report.files.push((text.name.clone(), changed));
    context.output.show(&report.rendered(true))?;
    match changed {
        false => Ok(()),
        true => Err(Error::silent(Exit::Failed)),
    }
}

impl Report {
    fn changed(&self) -> usize {
        self.files.iter().filter(|(_, changed)| *changed).count()
    }

    fn rendered(&self, check: bool) -> Rendered {
        let mut text = String::new();
        for (of, found) in &self.found {
            text.push_str(&diagnostic::render_all(found, &of.name, &of.source));
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
                .map(|(of, found)| json!({"path": of.name, "diagnostics": found}))
                .collect();
        }
        Rendered::document(text, json.to_string())
    }
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
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("main.pg");
        std::fs::write(&path, "node  A{}").unwrap();
        replace(&path, "node A {}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "node A {}\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_shown_in_its_text() {
        let text = Text::new("x.pg".into(), None, "node A { a: Txt }\n".into());
        let found = text.language().format(&text.source).unwrap_err();
        let report = Report {
            files: vec![("a.pg".into(), false)],
            found: vec![(text, found)],
        };
        let rendered = report.rendered(false);
        assert!(
            rendered.text.contains(" --> x.pg:1:13\n"),
            "{}",
            rendered.text
        );
        assert!(rendered.text.ends_with("formatted 0 of 2 files\n"));
        assert!(rendered.json.contains(r#""failed":[{"path":"x.pg","#));
    }
}
