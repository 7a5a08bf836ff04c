//! `refresh`: looks at graphs and catalog and records what drifted.

use std::path::Path;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use super::approve::millis;
use crate::args::parse_duration;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    lock_timeout: Option<Duration>,
    /// Refresh only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let mut client = context.control(Path::new(".")).await?;
    let request = pb::RefreshRequest {
        lock_timeout_ms: millis(args.lock_timeout),
        expect_revision: args.expect_revision.unwrap_or(0),
        message: args.message.unwrap_or_default(),
    };
    let status = client.refresh(request).await;
    client.close().await;
    let status = status?;
    let text = render::resources::refreshed(&status);
    let json = render::json::status(&status).to_string();
    context.output.show(&Rendered::document(text, json))
}
