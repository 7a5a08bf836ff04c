//! `queries list`: the stored queries of a graph; `queries validate`: those of a directory.

use std::path::PathBuf;

use omnigraph_proto::control::v1::ValidateResponse;
use serde_json::json;

use super::{Context, raw};
use crate::client::data::Call;
use crate::client::embedded;
use crate::client::shapes::QueriesCatalogOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;
use crate::render::words::count;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the stored queries with their parameters
    List,
    /// Check the queries that a directory declares against its schemas
    Validate(ValidateArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Directory with cluster.yaml
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::List => list(context).await,
        Command::Validate(args) => validate(&args, context),
    }
}

async fn list(context: &Context) -> Result<()> {
    let (catalog, json): (QueriesCatalogOutput, _) = context
        .with_session(async |session| {
            session
                .client
                .json(&Call::get(session.path("/queries")))
                .await
        })
        .await?;
    context
        .output
        .show(&render::commit::queries(&raw(&catalog.queries), &json)?)
}

fn validate(args: &ValidateArgs, context: &Context) -> Result<()> {
    let (bundle, response) = embedded::validate(&args.dir)?;
    context
        .output
        .show(&validated(&response, &Sources::bundle(&bundle)))?;
    match response.ok {
        true => Ok(()),
        false => Err(Error::silent(Exit::Failed)),
    }
}

/// `✓ 9 queries`, after what was found. Without its schema a query cannot be checked, so what is
/// wrong with schemas is shown, too.
fn validated(response: &ValidateResponse, sources: &Sources) -> Rendered {
    let mut text = String::new();
    let found = response.diagnostics.iter();
    let found: Vec<_> = found
        .map(omnigraph_proto::error::DiagnosticOutput::from)
        .collect();
    for diagnostic in &found {
        text.push_str(&sources.explain(diagnostic));
        text.push_str("\n\n");
    }
    let queries = response.resources.iter().filter(|r| r.kind == "query");
    if response.ok {
        let queries = count(queries.count() as u64, "query");
        text.push_str(&format!("✓ {queries}\n"));
    }
    let json = json!({"ok": response.ok, "diagnostics": found});
    Rendered::document(text, json.to_string())
}
