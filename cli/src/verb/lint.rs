//! `lint`: checks queries against a schema file, or against the schema of a graph.

use std::path::{Path, PathBuf};

use omnigraph_lang::query::{Body, CheckedQuery};
use omnigraph_lang::{Diagnostic, Severity, diagnostic, query, schema};
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
        findings.file(path, &text, query::compile(&text, &catalog));
    }
    let failed = findings.errors > 0;
    context
        .output
        .show(&findings.rendered(&place, &args.files))?;
    match failed {
        true => Err(Error::silent(Exit::Failed)),
        false => Ok(()),
    }
}

impl Findings {
    fn file(
        &mut self,
        path: &Path,
        source: &str,
        compiled: std::result::Result<Vec<CheckedQuery>, Vec<Diagnostic>>,
    ) {
        let shown = path.display().to_string();
        match compiled {
            Ok(queries) => {
                for query in queries {
                    self.queries += 1;
                    self.note(&query.warnings, &shown, source);
                    let kind = match query.body {
                        Body::Read(_) => "read",
                        Body::Mutation(_) => "mutation",
                    };
                    self.results.push(json!({
                        "path": shown,
                        "name": query.name,
                        "kind": kind,
                        "status": if query.warnings.is_empty() { "ok" } else { "warning" },
                        "diagnostics": query.warnings,
                        "operation": query.operation,
                    }));
                }
            }
            Err(found) => {
                self.note(&found, &shown, source);
                self.diagnostics.extend(found.iter().map(|d| {
                    let mut object = json!(d);
                    object["path"] = json!(shown);
                    object
                }));
            }
        }
    }

    fn note(&mut self, found: &[Diagnostic], file: &str, source: &str) {
        for diagnostic in found {
            match diagnostic.severity {
                Severity::Error => self.errors += 1,
                _ => self.warnings += 1,
            }
            self.text.push_str(&diagnostic.render(file, source));
            self.text.push('\n');
        }
    }

    fn rendered(self, schema: &str, files: &[PathBuf]) -> Rendered {
        let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
        let status = match (self.errors, self.warnings) {
            (0, 0) => "ok",
            (0, _) => "warning",
            _ => "error",
        };
        let json = json!({
            "status": status,
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
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))
}
