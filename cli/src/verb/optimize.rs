//! `optimize`: fewer files, complete indexes, no change of data.

use serde_json::{Map, Value, json};

use super::{Context, Session, raw};
use crate::client::data::Call;
use crate::client::shapes::OptimizeOutput;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Branch to optimize
    #[arg(long, default_value = "main")]
    branch: String,
    /// Only this type (repeat for more)
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Say what would be done, without a commit
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let rendered = context
        .with_session(async |session| optimize(&args, session, context).await)
        .await?;
    context.output.show(&rendered)
}

async fn optimize(args: &Args, session: &Session, context: &Context) -> Result<Rendered> {
    if !args.dry_run {
        let target = session
            .client
            .target("optimize", &session.graph, &args.branch);
        context.output.note(&target);
    }
    let mut body = Map::new();
    body.insert("branch".into(), json!(args.branch));
    if !args.types.is_empty() {
        body.insert("type_names".into(), json!(args.types));
    }
    if args.dry_run {
        body.insert("dry_run".into(), json!(true));
    }
    let call = Call::post(session.path("/maintenance/optimize"), Value::Object(body));
    let (output, json): (OptimizeOutput, _) = session.client.json(&call).await?;
    let commit = output.commit.map(|commit| commit.graph_commit_id);
    render::maintenance::optimized(
        &raw(&output.datasets),
        commit.as_deref(),
        args.dry_run,
        &json,
    )
}
