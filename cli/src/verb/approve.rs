//! `approve`: consent to one change of the plan that would lose data.

use std::path::PathBuf;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use crate::args::parse_duration;
use crate::client::embedded;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Resource that the plan says needs an approval, such as graph.old
    resource: String,
    /// Directory with cluster.yaml (default: the one of --cluster, or this one)
    dir: Option<PathBuf>,
    /// The change is one of a rollback to this revision, not of a plan for DIR
    #[arg(long, value_name = "N", conflicts_with = "dir")]
    rollback_to: Option<u64>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    lock_timeout: Option<Duration>,
    /// Approve only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let dir = context.dir(args.dir.as_ref());
    let bundle = match args.rollback_to {
        None => Some(embedded::bundle(&dir)?),
        Some(_) => None,
    };
    let sources = bundle.as_ref().map(Sources::bundle).unwrap_or_default();
    let mut client = context.control(&dir).await?;
    let request = pb::ApproveRequest {
        resource: args.resource,
        bundle,
        rollback_to: args.rollback_to.unwrap_or(0),
        reason: args.reason.unwrap_or_default(),
        lock_timeout_ms: millis(args.lock_timeout),
        expect_revision: args.expect_revision.unwrap_or(0),
    };
    let approval = client.approve(request).await;
    client.close().await;
    let approval = approval.map_err(|error| sources.show_in(error))?;
    let json = render::json::approval(&approval).to_string();
    let fields = render::resources::approval_fields(&approval);
    let text = render::resources::approved(&approval);
    context.output.show(&Rendered::record(text, &fields, &json))
}

/// A duration as it travels; 0 when there is none.
pub(crate) fn millis(duration: Option<Duration>) -> u32 {
    duration.map_or(0, |d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX))
}
