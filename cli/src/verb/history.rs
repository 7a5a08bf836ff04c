//! `history`: what was applied, when and by whom.

use std::path::Path;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use crate::error::{Error, Result};
use crate::output::Rendered;
use crate::render;

/// Revisions of one request.
const PAGE: u32 = 100;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show revisions, newest first
    List(ListArgs),
    /// Show one revision: who made it, and every resource that it has
    Show {
        /// Number of the revision
        revision: u64,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// So many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Name each resource that changed
    #[arg(long)]
    changes: bool,
}

impl Args {
    pub(crate) fn is_show(&self) -> bool {
        matches!(self.command, Some(Command::Show { .. }))
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let rendered = match args.command {
        Some(Command::Show { revision }) => show(revision, context).await?,
        Some(Command::List(list)) => self::list(&list, context).await?,
        None => self::list(&args.list, context).await?,
    };
    context.output.show(&rendered)
}

async fn list(args: &ListArgs, context: &Context) -> Result<Rendered> {
    let mut client = context.control(Path::new(".")).await?;
    let mut found: Vec<pb::RevisionSummary> = Vec::new();
    let mut page_token = String::new();
    let outcome = loop {
        let left = args.limit - u32::try_from(found.len()).unwrap_or(args.limit);
        let request = pb::ListRevisionsRequest {
            page_size: left.min(PAGE),
            page_token: page_token.clone(),
            with_changes: true,
        };
        match client.revisions(request).await {
            Ok(page) => {
                found.extend(page.revisions);
                page_token = page.next_page_token;
            }
            Err(error) => break Err(error),
        }
        if page_token.is_empty() || found.len() >= args.limit as usize {
            break Ok(());
        }
    };
    client.close().await;
    outcome?;
    Ok(render::history::list(&found, args.changes))
}

async fn show(number: u64, context: &Context) -> Result<Rendered> {
    if number == 0 {
        return Err(Error::usage("revisions are numbered from 1")
            .with_hint("omnigraphctl history lists them"));
    }
    let mut client = context.control(Path::new(".")).await?;
    let shown = client.revision(number).await;
    client.close().await;
    Ok(render::history::show(&shown?))
}
