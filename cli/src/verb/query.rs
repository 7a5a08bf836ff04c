//! `query`: a stored query, or one from a file or the command line.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::target::Target;
use super::{Context, Session};
use crate::client::data::{Call, escape};
use crate::client::shapes::ReadOutput;
use crate::error::{Error, Result};
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    target: Target,
    /// Wait until this commit is in the branch
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["snapshot", "tag", "as_of"])]
    min_commit: Option<String>,
    /// Refuse a result with more rows
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
}

/// Which query: stored under a name, or in a source.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// Stored query; with a source, the query in it
    pub(crate) name: Option<String>,
    /// Source on the command line
    #[arg(
        short = 'e',
        long = "expression",
        value_name = "GQ",
        conflicts_with = "query"
    )]
    expression: Option<String>,
    /// File with the source
    #[arg(long, value_name = "FILE")]
    query: Option<PathBuf>,
}

impl Source {
    /// The source text, or none for a stored query.
    pub(crate) fn text(&self) -> Result<Option<String>> {
        match (&self.expression, &self.query, &self.name) {
            (Some(text), _, _) => Ok(Some(text.clone())),
            (None, Some(path), _) => read(path).map(Some),
            (None, None, Some(_)) => Ok(None),
            (None, None, None) => Err(Error::usage("which query?").with_hint(
                "name a stored query (omnigraphctl queries list), or use --query FILE or -e SOURCE",
            )),
        }
    }
}

impl Source {
    /// Shows the source line that an error is about.
    pub(crate) fn show_in(&self, text: Option<&str>, error: Error) -> Error {
        let Some(text) = text else { return error };
        let name = self.query.as_ref().map(|path| path.display().to_string());
        Sources::one(name.as_deref().unwrap_or("-e"), text).show_in(error)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Params {
    /// Parameters as a JSON object; members beat those of --params-file
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// File with parameters as a JSON object
    #[arg(long, value_name = "FILE")]
    params_file: Option<PathBuf>,
}

impl Params {
    pub(crate) fn object(&self) -> Result<Map<String, Value>> {
        let mut object = match &self.params_file {
            Some(path) => parse(&read(path)?, &path.display().to_string())?,
            None => Map::new(),
        };
        if let Some(text) = &self.params {
            object.extend(parse(text, "--params")?);
        }
        Ok(object)
    }
}

fn parse(text: &str, place: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|e| {
        Error::usage(format!("{place} is not a JSON object: {e}"))
            .with_hint(r#"write it as '{"name":"bash"}'"#)
    })
}

fn read(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let source = args.source.text()?;
    let params = args.params.object()?;
    let rendered = context
        .with_session(async |session| {
            let started = Instant::now();
            let call = call(&args, source.as_deref(), params, session);
            let (output, json): (ReadOutput, _) = session.client.json(&call).await?;
            let elapsed = started.elapsed().as_millis();
            Ok(render::query::read(&session.graph, &output, &json, elapsed))
        })
        .await;
    let rendered = rendered.map_err(|error| args.source.show_in(source.as_deref(), error))?;
    context.output.show(&rendered)
}

fn call(args: &Args, source: Option<&str>, params: Map<String, Value>, session: &Session) -> Call {
    let mut body = Map::new();
    body.insert("params".into(), Value::Object(params));
    args.target.fill(&mut body);
    let name = args.source.name.as_deref().unwrap_or_default();
    let call = match source {
        Some(source) => {
            body.insert("query".into(), json!(source));
            if !name.is_empty() {
                body.insert("name".into(), json!(name));
            }
            Call::ask(session.path("/query"), Value::Object(body))
        }
        None => {
            body.insert("expect_mutation".into(), json!(false));
            let path = session.path(&format!("/queries/{}", escape(name)));
            Call::ask(path, Value::Object(body))
        }
    };
    let max_rows = args.max_rows.map(|n| n.to_string());
    call.header("omnigraph-min-commit", args.min_commit.as_deref())
        .header("omnigraph-max-rows", max_rows.as_deref())
}
