//! `unlock`: takes the lead from exactly one leader. There is no blind form.

use std::path::Path;

use omnigraph_proto::control::v1 as pb;

use super::Context;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As status shows it
    lease_id: String,
    /// Note for the ledger
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let mut client = context.control(Path::new(".")).await?;
    let released = async {
        let status = client.status().await?;
        let held = status.lease.filter(|lease| lease.lease_id == args.lease_id);
        // Another lease, or none, is refused by the control plane without being asked about.
        if let Some(lease) = &held {
            let what = format!("the lead of {}", render::status::holder(lease));
            context.consent(&what, &args.lease_id, client.local)?;
        }
        let request = pb::ForceUnlockRequest {
            lease_id: args.lease_id.clone(),
            reason: args.reason.clone().unwrap_or_default(),
        };
        client.unlock(request).await
    }
    .await;
    client.close().await;
    let lease = released?;
    let text = render::status::released(&lease, render::words::now_us());
    let json = serde_json::json!({ "released": render::json::lease(&lease) });
    let fields = [
        ("lease_id", lease.lease_id.clone()),
        ("holder", lease.holder.clone()),
        ("host", lease.host.clone()),
        ("operation", lease.operation.clone()),
    ];
    let rendered = Rendered::record(text, &fields, &json.to_string());
    context.output.show(&rendered)
}
