//! `import`: takes graphs that exist over into a new ledger. No graph is written to.

use std::path::PathBuf;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use super::approve::millis;
use crate::args::parse_duration;
use crate::client::embedded;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml (default: the one of --cluster, or this one)
    dir: Option<PathBuf>,
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    lock_timeout: Option<Duration>,
    /// Import only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let dir = context.dir(args.dir.as_ref());
    let bundle = embedded::bundle(&dir)?;
    let sources = Sources::bundle(&bundle);
    let mut client = context.control(&dir).await?;
    let request = pb::ImportRequest {
        bundle: Some(bundle),
        lock_timeout_ms: millis(args.lock_timeout),
        message: args.message.unwrap_or_default(),
        expect_revision: args.expect_revision.unwrap_or(0),
    };
    let status = client.import(request).await;
    client.close().await;
    let status = status.map_err(|error| sources.show_in(error))?;
    let text = render::resources::imported(&status);
    let json = render::json::status(&status).to_string();
    context.output.show(&Rendered::document(text, json))
}
