//! `commit list`, `commit show`.

use super::{Context, raw};
use crate::client::data::{Call, escape};
use crate::client::shapes::{CommitListOutput, CommitOutput};
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the commits of a branch, newest first
    List(ListArgs),
    /// Show one commit
    Show { id: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Branch (default: main)
    #[arg(long)]
    branch: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// The whole history
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let rendered = context
        .with_session(async |session| match command {
            Command::List(args) => {
                let limit = (!args.all).then(|| args.limit.to_string());
                let call = Call::get(session.path("/commits"))
                    .query("branch", args.branch.as_deref())
                    .query("limit", limit.as_deref());
                let (list, json): (CommitListOutput, _) = session.client.json(&call).await?;
                render::commit::commits(&raw(&list.commits), &json, render::words::now_us())
            }
            Command::Show { id } => {
                let path = session.path(&format!("/commits/{}", escape(&id)));
                let (commit, json): (CommitOutput, _) =
                    session.client.json(&Call::get(path)).await?;
                Ok(render::commit::commit(&commit, &json))
            }
        })
        .await?;
    context.output.show(&rendered)
}
