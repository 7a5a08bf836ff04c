//! `branch revert`.

use serde_json::{Map, Value, json};

use super::{Context, Session};
use crate::client::data::{Call, escape};
use crate::client::shapes::RevertOutput;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct RevertArgs {
    name: String,
    /// Restore the entities of this commit
    #[arg(
        long,
        value_name = "COMMIT",
        conflicts_with = "undo",
        required_unless_present = "undo"
    )]
    to: Option<String>,
    /// Undo this commit and keep what came after it
    #[arg(long, value_name = "COMMIT")]
    undo: Option<String>,
    /// Report what would happen, without a commit
    #[arg(long)]
    dry_run: bool,
    /// Only if the branch's head is this commit; else exit with 4
    #[arg(long, value_name = "COMMIT")]
    if_commit: Option<String>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

pub(super) async fn run(
    args: RevertArgs,
    session: &Session,
    context: &Context,
) -> Result<Rendered> {
    if !args.dry_run {
        let what = format!("changes on branch {} of {}", args.name, session.graph);
        context.consent(&what, &args.name, session.client.local)?;
    }
    let note = session.client.target("revert", &session.graph, &args.name);
    context.output.note(&note);
    let mut body = Map::new();
    for (member, value) in [
        ("to", &args.to),
        ("undo", &args.undo),
        ("message", &args.message),
    ] {
        if let Some(value) = value {
            body.insert(member.into(), json!(value));
        }
    }
    if args.dry_run {
        body.insert("dry_run".into(), json!(true));
    }
    let path = session.path(&format!("/branches/{}/revert", escape(&args.name)));
    let call = Call::post(path, Value::Object(body))
        .header("omnigraph-if-graph-commit", args.if_commit.as_deref());
    let (reverted, json): (RevertOutput, _) = session.client.json(&call).await?;
    let what = match (&args.to, &args.undo) {
        (Some(to), _) => render::merge::Reverting::To(to),
        (None, undo) => render::merge::Reverting::Undo(undo.as_deref().unwrap_or_default()),
    };
    Ok(render::merge::reverted(&reverted, what, &json))
}
