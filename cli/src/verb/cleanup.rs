//! `cleanup`: reclaims what no kept commit needs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Context, Session};
use crate::args::parse_duration;
use crate::client::data::Call;
use crate::client::shapes::CleanupOutput;
use crate::error::{Error, Result};
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the newest N commits of each branch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Keep what was replaced less long ago than this, and reclaim the rest
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Do it; without this, say what would be reclaimed
    #[arg(long)]
    confirm: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    if args.keep.is_none() && args.older_than.is_none() {
        return Err(
            Error::usage("cleanup needs to know what to keep").with_hint(
                "give --keep N, --older-than DUR, or both: then whichever keeps more counts",
            ),
        );
    }
    let rendered = context
        .with_session(async |session| cleanup(&args, session, context).await)
        .await?;
    context.output.show(&rendered)
}

async fn cleanup(args: &Args, session: &Session, context: &Context) -> Result<Rendered> {
    if args.confirm {
        let what = format!("older history of {}", session.graph);
        context.consent(&what, &session.graph, session.client.local)?;
        let target = session.client.target("cleanup", &session.graph, "*");
        context.output.note(&target);
    }
    let mut body = Map::new();
    if let Some(keep) = args.keep {
        body.insert("keep_commits".into(), json!(keep));
    }
    if let Some(age) = args.older_than {
        body.insert("older_than_seconds".into(), json!(age.as_secs()));
    }
    body.insert("dry_run".into(), json!(!args.confirm));
    let call = Call::post(session.path("/maintenance/cleanup"), Value::Object(body));
    let (output, json): (CleanupOutput, _) = session.client.json(&call).await?;
    Ok(render::cleanup::cleaned(&output, &json))
}
