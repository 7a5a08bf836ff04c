//! `rollout status`: which replica serves which revision of which graph.

use std::path::Path;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use super::watching::{self, Look};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show revision × replica × graph
    Status(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Revision to look at (default: the newest)
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    revision: u64,
    /// Show it again whenever it has changed, until every live replica serves the revision
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let Command::Status(args) = command;
    let address = context
        .given
        .control(Path::new("."), &crate::address::Up::find)?;
    if matches!(address, Address::Embedded(_)) {
        return Err(Error::usage("rollout status needs a running control plane")
            .with_hint("use --control grpc://host:8090, or start one with omnigraphctl up"));
    }
    let mut client = context.control(Path::new(".")).await?;
    let request = pb::RolloutStatusRequest {
        revision: args.revision,
        graph_id: context.graph_name().unwrap_or_default(),
    };
    let mut look = async || {
        let rollout = client.rollout(request.clone()).await?;
        let text = render::status::rollout(&rollout, render::words::now_us());
        let json = render::json::rollout(&rollout).to_string();
        Ok::<Look, Error>(Look {
            rendered: Rendered::document(text, json),
            shape: render::status::rollout_shape(&rollout),
            done: rollout.complete,
        })
    };
    let outcome = match args.watch {
        false => look()
            .await
            .and_then(|found| watching::show(context.output, &found.rendered)),
        true => watching::watch(context.output, look).await,
    };
    client.close().await;
    outcome
}
