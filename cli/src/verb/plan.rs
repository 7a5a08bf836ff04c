//! `plan`: what apply would change. Reads only.

use std::path::PathBuf;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use super::saved_plan::SavedPlan;
use crate::client::embedded;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml (default: the one of --cluster, or this one)
    dir: Option<PathBuf>,
    /// Exit with 3 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Trust the ledger; do not look at the graphs
    #[arg(long)]
    no_refresh: bool,
    /// Only this graph with its schema and queries, as graph.ID (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    target: Vec<String>,
    /// Keep the plan with its configuration for apply --plan
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let dir = context.dir(args.dir.as_ref());
    let bundle = embedded::bundle(&dir)?;
    let sources = Sources::bundle(&bundle);
    let mut client = context.control(&dir).await?;
    let request = pb::PlanRequest {
        bundle: Some(bundle.clone()),
        no_refresh: args.no_refresh,
        targets: args.target.clone(),
    };
    let answer = client.describe_plan(request).await;
    let label = client.label.clone();
    client.close().await;
    let answer = answer.map_err(|error| sources.show_in(error))?;
    let plan = answer
        .plan
        .as_ref()
        .ok_or_else(|| Error::failed("the control plane's answer has no plan"))?;
    let place = render::plan::place(&answer, &label);
    if let Some(file) = &args.out {
        SavedPlan::of(plan, &place, &args.target, &bundle)?.write(file)?;
    }
    let leader = render::plan::leader(&answer);
    let text = render::plan::plan(plan, &place, leader.as_deref(), &sources);
    let json = render::json::plan(plan).to_string();
    context.output.show(&Rendered::document(text, json))?;
    if let Some(file) = &args.out {
        let file = file.display();
        context.output.note(&format!(
            "the plan is in {file}: omnigraphctl apply --plan {file}"
        ));
    }
    if args.detailed_exitcode && !plan.changes.is_empty() {
        return Err(Error::silent(Exit::Changes));
    }
    Ok(())
}
