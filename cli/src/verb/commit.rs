//! `commit list`, `show`, `changes`.

use super::diff::{Filter, Page};
use super::{Context, Session, raw};
use crate::client::data::{Call, escape};
use crate::client::shapes::{CommitChangesOutput, CommitListOutput, CommitOutput};
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the commits of a branch, newest first
    List(ListArgs),
    /// Show one commit
    Show { id: String },
    /// Show what a commit changed
    Changes(ChangesArgs),
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

#[derive(Debug, clap::Args)]
pub(crate) struct ChangesArgs {
    id: String,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: Page,
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
            Command::Changes(args) => changes(&args, session).await,
        })
        .await?;
    context.output.show(&rendered)
}

/// All pages joined, or the one that was asked for.
async fn changes(args: &ChangesArgs, session: &Session) -> Result<Rendered> {
    let path = session.path(&format!("/commits/{}/changes", escape(&args.id)));
    let call = |token: Option<&str>| {
        args.page
            .query(args.filter.query(Call::get(path.clone())), token)
    };
    let (mut output, json): (CommitChangesOutput, _) = session.client.json(&call(None)).await?;
    if args.page.is_one() || output.next_page_token.is_none() {
        return render::changes::commit(&output, &raw(&output.changes), &json);
    }
    while let Some(token) = output.next_page_token.take() {
        let (next, _): (CommitChangesOutput, _) = session.client.json(&call(Some(&token))).await?;
        output.changes.extend(next.changes);
        output.next_page_token = next.next_page_token;
    }
    let json = render::changes::joined(&json, &raw(&output.changes))?;
    render::changes::commit(&output, &raw(&output.changes), &json)
}
