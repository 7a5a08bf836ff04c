//! `snapshot`: the tables behind a branch, for tools that open them directly.

use super::target::Target;
use super::{Context, raw};
use crate::client::data::Call;
use crate::client::shapes::SnapshotOutput;
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let (snapshot, json): (SnapshotOutput, _) = context
        .with_session(async |session| {
            let call = args.target.query(Call::get(session.path("/snapshot")));
            session.client.json(&call).await
        })
        .await?;
    context
        .output
        .show(&render::commit::datasets(&raw(&snapshot.datasets), &json)?)
}
