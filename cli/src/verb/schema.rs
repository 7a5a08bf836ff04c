//! `schema show`: the accepted schema source of a graph.

use super::Context;
use crate::client::data::Call;
use crate::client::shapes::SchemaOutput;
use crate::error::Result;
use crate::output::Rendered;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print the schema source
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Branch (default: main)
    #[arg(long)]
    branch: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let Command::Show(args) = command;
    let (schema, json): (SchemaOutput, _) = context
        .with_session(async |session| {
            let call = Call::get(session.path("/schema")).query("branch", args.branch.as_deref());
            session.client.json(&call).await
        })
        .await?;
    context
        .output
        .show(&Rendered::document(schema.schema_source, json))
}
