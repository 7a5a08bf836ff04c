//! `lint`: checks schemas, and queries against a schema file or the schema of a graph.

use std::path::{Path, PathBuf};

use omnigraph_lang::format::Language;
use omnigraph_lang::query::{self, QueryCheckup};
use omnigraph_lang::schema::{self, Catalog};
use omnigraph_lang::{Diagnostic, diagnostic};
use serde_json::{Value, json};

use super::Context;
use crate::client::data::Call;
use crate::client::shapes::SchemaOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::count;
use crate::texts::{Named, Text};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    texts: Named,
    /// Schema that the queries are checked against (default: the only one among FILE, else that of
    /// the graph)
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Write the findings by file in the shape of the language server protocol
    #[arg(long)]
    lsp: bool,
}

impl Args {
    /// No graph is asked for its schema, whatever the texts are.
    pub(crate) fn is_local(&self) -> bool {
        self.schema.is_some() || self.texts.name_a_schema()
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let texts = args.texts.read(std::io::stdin().lock())?;
    let mut findings = Findings::default();
    let against = match Against::choose(&texts, args.schema.as_deref())? {
        Choice::Nothing => None,
        Choice::Text(text) => Some(Against::text(text, &mut findings)),
        Choice::File(path) => Some(Against::text(&Text::file(path)?, &mut findings)),
        Choice::Graph => Some(Against::graph(context).await?),
    };
    findings.all(&texts, against.as_ref());
    let failed = findings.errors > 0;
    let rendered = match args.lsp {
        true => findings.for_editors(),
        false => findings.rendered(against.as_ref()),
    };
    context.output.show(&rendered)?;
    match failed {
        true => Err(Error::silent(Exit::Failed)),
        false => Ok(()),
    }
}

/// What queries are checked against.
struct Against {
    place: String,
    /// `None`: the schema has errors, which have been told.
    catalog: Option<Catalog>,
}

/// Where that is to be found.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    /// There are no queries.
    Nothing,
    Text(&'a Text),
    File(&'a Path),
    Graph,
}

impl Against {
    fn choose<'a>(texts: &'a [Text], given: Option<&'a Path>) -> Result<Choice<'a>> {
        if let Some(path) = given {
            let whole = |path: &Path| std::fs::canonicalize(path).ok();
            let wanted = whole(path);
            let same = |text: &&Text| {
                let file = text.file.as_deref();
                wanted.is_some() && file.and_then(whole) == wanted
            };
            let among = texts.iter().find(same);
            return Ok(among.map_or(Choice::File(path), Choice::Text));
        }
        let is = |text: &&Text, language| text.language() == language;
        if !texts.iter().any(|text| is(&text, Language::Query)) {
            return Ok(Choice::Nothing);
        }
        let schemas = texts.iter().filter(|text| is(text, Language::Schema));
        match schemas.collect::<Vec<_>>().as_slice() {
            [] => Ok(Choice::Graph),
            [only] => Ok(Choice::Text(only)),
            [first, second, ..] => {
                let (first, second) = (&first.name, &second.name);
                let message = format!("which schema are the queries for: {first}, {second}?");
                Err(Error::usage(message).with_hint("say it with --schema FILE"))
            }
        }
    }

    fn text(text: &Text, findings: &mut Findings) -> Against {
        Against {
            place: text.name.clone(),
            catalog: findings.schema(text),
        }
    }

    async fn graph(context: &Context) -> Result<Against> {
        let (schema, _): (SchemaOutput, _) = context
            .with_session(async |session| {
                session
                    .client
                    .json(&Call::get(session.path("/schema")))
                    .await
            })
            .await?;
        let catalog = schema::parse_schema(&schema.schema_source).map_err(|found| {
            let text = diagnostic::render_all(&found, "schema", &schema.schema_source);
            Error::failed("the graph's schema cannot be read by this release")
                .with_details(text.lines().map(str::to_owned).collect())
        })?;
        Ok(Against {
            place: "the graph's schema".to_owned(),
            catalog: Some(catalog.0),
        })
    }
}

/// What was found in all texts.
#[derive(Default)]
struct Findings {
    text: String,
    /// Names of schemas that have been checked.
    schemas: Vec<String>,
    /// How many of them are to be checked for themselves.
    schema_files: u64,
    query_files: Vec<String>,
    queries: u64,
    errors: u64,
    warnings: u64,
    results: Vec<Value>,
    schema_results: Vec<Value>,
    diagnostics: Vec<Value>,
    lsp: Vec<Value>,
    /// Queries could not be held against their schema.
    unchecked: bool,
}

impl Findings {
    fn all(&mut self, texts: &[Text], against: Option<&Against>) {
        for text in texts {
            match text.language() {
                Language::Schema => {
                    self.schema_files += 1;
                    if !self.schemas.contains(&text.name) {
                        self.schema(text);
                    }
                }
                Language::Query => match against.and_then(|a| a.catalog.as_ref()) {
                    Some(catalog) => self.queries(text, catalog),
                    None => self.syntax(text),
                },
            }
        }
    }

    /// The catalog, unless the schema has errors.
    fn schema(&mut self, text: &Text) -> Option<Catalog> {
        let (catalog, found) = match schema::parse_schema(&text.source) {
            Ok((catalog, warnings)) => (Some(catalog), warnings),
            Err(found) => (None, found),
        };
        self.tell(text, &found);
        self.schema_results.push(json!({
            "path": text.name,
            "status": status(&found),
            "diagnostics": found,
        }));
        self.schemas.push(text.name.clone());
        catalog
    }

    fn queries(&mut self, text: &Text, catalog: &Catalog) {
        let checkup = query::check(&text.source, catalog);
        self.tell(text, &checkup.all_diagnostics());
        self.queries += checkup.queries.len() as u64;
        let results = checkup.queries.iter();
        self.results.extend(results.map(|q| result(q, &text.name)));
        self.outside(text, &checkup.diagnostics);
    }

    /// Without a schema there is still the syntax.
    fn syntax(&mut self, text: &Text) {
        let found = Language::Query.format(&text.source).err();
        let found = found.unwrap_or_default();
        self.tell(text, &found);
        self.outside(text, &found);
        self.unchecked = true;
    }

    /// What belongs to no query.
    fn outside(&mut self, text: &Text, found: &[Diagnostic]) {
        let found = found.iter().map(|d| with_path(d, &text.name));
        self.diagnostics.extend(found);
        self.query_files.push(text.name.clone());
    }

    fn tell(&mut self, text: &Text, all: &[Diagnostic]) {
        for found in all {
            match found.is_error() {
                true => self.errors += 1,
                false => self.warnings += 1,
            }
            self.text.push_str(&found.render(&text.name, &text.source));
            self.text.push('\n');
        }
        self.lsp.push(json!({
            "path": text.name,
            "diagnostics": diagnostic::to_lsp(all, &text.source),
        }));
    }

    fn rendered(self, against: Option<&Against>) -> Rendered {
        let status = match (self.errors, self.warnings) {
            (0, 0) => "ok",
            (0, _) => "warning",
            _ => "error",
        };
        let mut json = json!({
            "status": status,
            "schema_source": against.map(|against| &against.place),
            "query_path": self.query_files.join(", "),
            "queries_processed": self.queries,
            "errors": self.errors,
            "warnings": self.warnings,
            "results": self.results,
            "diagnostics": self.diagnostics,
        });
        if !self.schema_results.is_empty() {
            json["schemas"] = json!(self.schema_results);
        }
        let mut words = Vec::new();
        if self.schema_files > 0 {
            words.push(count(self.schema_files, "schema"));
        }
        if self.unchecked {
            words.push("queries for their syntax only".to_owned());
        } else if !self.query_files.is_empty() {
            words.push(count(self.queries, "query"));
        }
        let summary = format!(
            "{}: {}, {}",
            words.join(", "),
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
    let mut object = json!({
        "path": path,
        "name": query.name,
        "kind": query.kind,
        "status": status(&query.diagnostics),
        "diagnostics": query.diagnostics,
    });
    if let Some(checked) = &query.checked {
        object["operation"] = json!(checked.operation);
    }
    object
}

fn status(found: &[Diagnostic]) -> &'static str {
    match found {
        [] => "ok",
        found if found.iter().any(Diagnostic::is_error) => "error",
        _ => "warning",
    }
}

fn with_path(found: &Diagnostic, path: &str) -> Value {
    let mut object = json!(found);
    object["path"] = json!(path);
    object
}

#[cfg(test)]
mod tests;
