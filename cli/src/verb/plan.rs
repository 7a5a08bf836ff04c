//! `plan`: what apply would change. Reads only.

use std::path::PathBuf;

use omnigraph_proto::control::v1 as pb;

use super::Context;
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
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let dir = context.dir(args.dir.as_ref());
    let bundle = embedded::bundle(&dir)?;
    let sources = Sources::bundle(&bundle);
    let mut client = context.control(&dir).await?;
    let request = pb::PlanRequest {
        bundle: Some(bundle),
        no_refresh: args.no_refresh,
        ..pb::PlanRequest::default()
    };
    let plan = client.plan(request).await;
    let place = client.label.clone();
    client.close().await;
    let plan = plan.map_err(|error| sources.show_in(error))?;
    let text = render::plan::plan(&plan, &place, &sources);
    let json = render::json::plan(&plan).to_string();
    context.output.show(&Rendered::document(text, json))?;
    if args.detailed_exitcode && !plan.changes.is_empty() {
        return Err(Error::silent(Exit::Changes));
    }
    Ok(())
}
