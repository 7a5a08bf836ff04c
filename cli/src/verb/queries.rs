//! `queries list`: the stored queries of a graph.

use super::{Context, raw};
use crate::client::data::Call;
use crate::client::shapes::QueriesCatalogOutput;
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the stored queries with their parameters
    List,
}

pub(crate) async fn run(_command: Command, context: &Context) -> Result<()> {
    let (catalog, json): (QueriesCatalogOutput, _) = context
        .with_session(async |session| {
            session
                .client
                .json(&Call::get(session.path("/queries")))
                .await
        })
        .await?;
    context
        .output
        .show(&render::commit::queries(&raw(&catalog.queries), &json)?)
}
