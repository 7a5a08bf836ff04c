//! `lint`: checks queries against a schema file, or against the schema of a graph.

use std::path::{Path, PathBuf};

use omnigraph_lang::query::{Checkup, QueryCheckup};
use omnigraph_lang::{Diagnostic, diagnostic, query, schema};
use serde_json::{Value, json};

use super::Context;
use crate::client::data::Call;
use crate::client::shapes::SchemaOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::count;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files with queries
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Schema file (default: the schema of the graph)
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Write the findings by file in the shape of the language server protocol
    #[arg(long)]
    lsp: bool,
}

/// What was found in all files.
#[derive(Default)]
struct Findings {
    text: String,
    queries: u64,
    errors: u64,
    warnings: u64,
    results: Vec<Value>,
    diagnostics: Vec<Value>,
    lsp: Vec<Value>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let (place, source) = match &args.schema {
        Some(path) => (path.display().to_string(), read(path)?),
        None => {
            let (schema, _): (SchemaOutput, _) = context
                .with_session(async |session| {
                    session
                        .client
                        .json(&Call::get(session.path("/schema")))
                        .await
                })
                .await?;
            ("the graph's schema".to_owned(), schema.schema_source)
        }
    };
    let (catalog, _) = schema::parse_schema(&source).map_err(|found| {
        let text = diagnostic::render_all(&found, &place, &source);
        Error::failed(format!("{place} is not a valid schema"))
            .with_details(text.lines().map(str::to_owned).collect())
    })?;
    let mut findings = Findings::default();
    for path in &args.files {
        let text = read(path)?;
        findings.file(path, &text, &query::check(&text, &catalog));
    }
    let failed = findings.errors > 0;
    let rendered = match args.lsp {
        true => findings.for_editors(),
        false => findings.rendered(&place, &args.files),
    };
    context.output.show(&rendered)?;
    match failed {
        true => Err(Error::silent(Exit::Failed)),
        false => Ok(()),
    }
}

impl Findings {
    fn file(&mut self, path: &Path, source: &str, checkup: &Checkup) {
        let shown = path.display().to_string();
        let all = checkup.all_diagnostics();
        for found in &all {
            match found.is_error() {
                true => self.errors += 1,
                false => self.warnings += 1,
            }
            self.text.push_str(&found.render(&shown, source));
            self.text.push('\n');
        }
        self.queries += checkup.queries.len() as u64;
        let results = checkup.queries.iter();
        self.results.extend(results.map(|q| result(q, &shown)));
        self.diagnostics
            .extend(checkup.diagnostics.iter().map(|d| with_path(d, &shown)));
        self.lsp.push(json!({
            "path": shown,
            "diagnostics": diagnostic::to_lsp(&all, source),
        }));
    }

    fn rendered(self, schema: &str, files: &[PathBuf]) -> Rendered {
        let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
        let json = json!({
            "status": status(self.errors > 0, self.warnings > 0),
            "schema_source": schema,
            "query_path": files.join(", "),
            "queries_processed": self.queries,
            "errors": self.errors,
            "warnings": self.warnings,
            "results": self.results,
            "diagnostics": self.diagnostics,
        });
        let summary = format!(
            "{}: {}, {}",
            count(self.queries, "query"),
            count(self.errors, "error"),
            count(self.warnings, "warning"),
        );
        Rendered::document(format!("{}{summary}\n", self.text), json.to_string())
    }

    /// JSON in every form of output: an editor reads it.
    fn for_editors(self) -> Rendered {
        let json = json!({ "files": self.lsp }).to_string();
        Rendered::document(json.clone(), json)
    }
}

fn result(query: &QueryCheckup, path: &str) -> Value {
    let has = |error: bool| query.diagnostics.iter().any(|d| d.is_error() == error);
    let mut object = json!({
        "path": path,
        "name": query.name,
        "kind": query.kind,
        "status": status(has(true), has(false)),
        "diagnostics": query.diagnostics,
    });
    if let Some(checked) = &query.checked {
        object["operation"] = json!(checked.operation);
    }
    object
}

fn status(errors: bool, warnings: bool) -> &'static str {
    match (errors, warnings) {
        (true, _) => "error",
        (false, true) => "warning",
        (false, false) => "ok",
    }
}

fn with_path(found: &Diagnostic, path: &str) -> Value {
    let mut object = json!(found);
    object["path"] = json!(path);
    object
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_does_not_hide_another() {
        let (catalog, _) = schema::parse_schema("node P { k: String @key  n: I64? }").unwrap();
        let source = "query good($k: String) { match { $p: P { k: $k } } return { $p.n } }\n\
                      query bad() { match { $p: P } return { $p.m } }\n\
                      query worse( { match { $p: P } return { 1 } }";
        let mut findings = Findings::default();
        findings.file(Path::new("q.gq"), source, &query::check(source, &catalog));
        let rendered = findings.rendered("s.pg", &[PathBuf::from("q.gq")]);
        let json: Value = serde_json::from_str(&rendered.json).unwrap();
        assert_eq!(json["status"], "error");
        assert_eq!(
            (&json["queries_processed"], &json["errors"]),
            (&json!(3), &json!(2))
        );
        let of = |at: usize| {
            (
                json["results"][at]["name"].clone(),
                json["results"][at]["status"].clone(),
            )
        };
        assert_eq!(of(0), (json!("good"), json!("ok")));
        assert_eq!(of(1), (json!("bad"), json!("error")));
        assert_eq!(of(2), (json!("worse"), json!("error")));
        assert_eq!(
            json["results"][0]["operation"]["reads"][0]["type_name"],
            "P"
        );
        assert!(json["results"][1].get("operation").is_none());
        assert!(
            rendered.text.ends_with("3 queries: 2 errors, 0 warnings\n"),
            "{}",
            rendered.text
        );
    }
}
