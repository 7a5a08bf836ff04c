//! `status`: the cluster as the ledger has it.

use std::path::Path;

use super::Context;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<()> {
    let mut client = context.control(Path::new(".")).await?;
    let status = client.status().await;
    client.close().await;
    let status = status?;
    let text = render::status::status(&status, render::words::now_us());
    let json = render::json::status(&status).to_string();
    context.output.show(&Rendered::document(text, json))
}
