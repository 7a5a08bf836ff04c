//! `status`: the cluster as the ledger has it, who leads, what runs, what is left to do.

use std::path::Path;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use super::watching::{self, Look};
use crate::client::control::ControlClient;
use crate::error::{Error, Result};
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show it again whenever it has changed, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let graph = context.graph_name();
    let mut client = context.control(Path::new(".")).await?;
    let outcome = match args.watch {
        false => match look(&mut client, graph.as_deref()).await {
            Ok(found) => watching::show(context.output, &found.rendered),
            Err(error) => Err(error),
        },
        true => {
            let client = &mut client;
            watching::watch(context.output, async || {
                look(client, graph.as_deref()).await
            })
            .await
        }
    };
    client.close().await;
    outcome
}

async fn look(client: &mut ControlClient, graph: Option<&str>) -> Result<Look> {
    let mut status = client.status().await?;
    if let Some(graph) = graph {
        narrow(&mut status, graph)?;
    }
    let text = render::status::status(&status, render::words::now_us());
    let json = render::json::status(&status).to_string();
    Ok(Look {
        rendered: Rendered::document(text, json),
        shape: render::status::shape(&status),
        done: false,
    })
}

/// Leaves what belongs to one graph.
fn narrow(status: &mut pb::ClusterStatus, graph: &str) -> Result<()> {
    let own = |address: &str| address.split('.').nth(1) == Some(graph);
    let graphs = |address: &str| {
        let kind = address.split('.').next();
        matches!(kind, Some("graph" | "schema" | "query")) && own(address)
    };
    status
        .resources
        .retain(|resource| graphs(&resource.address));
    status
        .recoveries
        .retain(|sidecar| sidecar.graph_id == graph);
    status
        .approvals
        .retain(|approval| graphs(&approval.resource));
    if let Some(rollout) = &mut status.rollout {
        for replica in &mut rollout.replicas {
            replica.graphs.retain(|one| one.graph_id == graph);
        }
    }
    if status.resources.is_empty() && status.recoveries.is_empty() {
        return Err(Error::failed(format!("the cluster has no graph '{graph}'"))
            .with_hint("omnigraphctl status lists them"));
    }
    Ok(())
}
