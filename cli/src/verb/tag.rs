//! `tag list`, `show`, `create`, `delete`.

use serde_json::{Map, Value, json};

use super::target::Target;
use super::{Context, Session, raw};
use crate::client::data::{Call, escape};
use crate::client::shapes::{TagListOutput, TagOutput};
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the tags with their commits
    List(ListArgs),
    /// Show one tag and its commit
    Show { name: String },
    /// Name a commit; a tag never moves
    Create(CreateArgs),
    /// Delete a tag
    Delete { name: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    name: String,
    #[command(flatten)]
    target: Target,
    /// Note for those who list tags
    #[arg(long)]
    message: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let rendered = context
        .with_session(async |session| match command {
            Command::List(args) => list(args, session).await,
            Command::Show { name } => {
                let (tag, json): (TagOutput, _) = session
                    .client
                    .json(&Call::get(path(session, &name)))
                    .await?;
                Ok(render::changes::tag(&tag, &json))
            }
            Command::Create(args) => create(args, session).await,
            Command::Delete { name } => delete(&name, session, context).await,
        })
        .await?;
    context.output.show(&rendered)
}

fn path(session: &Session, tag: &str) -> String {
    session.path(&format!("/tags/{}", escape(tag)))
}

async fn list(args: ListArgs, session: &Session) -> Result<Rendered> {
    let limit = args.limit.map(|n| n.to_string());
    let call = Call::get(session.path("/tags")).query("limit", limit.as_deref());
    let (list, json): (TagListOutput, _) = session.client.json(&call).await?;
    render::changes::tags(&raw(&list.tags), &json, render::words::now_us())
}

async fn create(args: CreateArgs, session: &Session) -> Result<Rendered> {
    let mut body = Map::new();
    body.insert("name".into(), json!(args.name));
    args.target.fill(&mut body);
    if let Some(message) = &args.message {
        body.insert("message".into(), json!(message));
    }
    let call = Call::post(session.path("/tags"), Value::Object(body));
    let (tag, json): (TagOutput, _) = session.client.json(&call).await?;
    let text = format!("tagged {} as {}", tag.graph_commit_id, tag.name);
    let fields = [("tag", tag.name), ("commit", tag.graph_commit_id)];
    Ok(Rendered::record(text, &fields, &json))
}

async fn delete(name: &str, session: &Session, context: &Context) -> Result<Rendered> {
    let what = format!("tag {name} of {}", session.graph);
    context.consent(&what, name, session.client.local)?;
    let (tag, json): (TagOutput, _) = session
        .client
        .json(&Call::delete(path(session, name)))
        .await?;
    let text = format!("deleted {} (was {})", tag.name, tag.graph_commit_id);
    let fields = [("tag", tag.name), ("commit", tag.graph_commit_id)];
    Ok(Rendered::record(text, &fields, &json))
}
