//! `graph list`, `graph show`.

use super::{Context, raw};
use crate::client::data::{Call, escape, understand};
use crate::client::shapes::{GraphListItem, GraphOutput};
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the graphs that are served
    List(ListArgs),
    /// Show one graph: state, reason and remedy, head
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Also those that are loading or quarantined
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Graph (default: --graph, or the only one)
    id: Option<String>,
}

#[derive(serde::Deserialize)]
struct RawList {
    graphs: Vec<Box<serde_json::value::RawValue>>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::List(args) => list(args, context).await,
        Command::Show(args) => show(args, context).await,
    }
}

async fn list(args: ListArgs, context: &Context) -> Result<()> {
    let client = context.data().await?;
    let call = Call::get("/graphs").query("include", args.all.then_some("all"));
    let answer = client.json::<RawList>(&call).await;
    client.close().await;
    let (list, json) = answer?;
    let raw = raw(&list.graphs);
    let items = raw
        .iter()
        .map(|text| understand(text))
        .collect::<Result<Vec<GraphListItem>>>()?;
    context
        .output
        .show(&render::commit::graphs(&items, &raw, &json)?)
}

async fn show(args: ShowArgs, context: &Context) -> Result<()> {
    let path = |graph: &str| format!("/graphs/{}", escape(graph));
    let (graph, json) = match &args.id {
        Some(id) => {
            let client = context.data().await?;
            let answer = client.json::<GraphOutput>(&Call::get(path(id))).await;
            client.close().await;
            answer?
        }
        None => {
            context
                .with_session(async |session| {
                    session.client.json(&Call::get(session.path(""))).await
                })
                .await?
        }
    };
    context.output.show(&render::commit::graph(&graph, &json))
}
