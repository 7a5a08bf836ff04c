//! `rollback`: an earlier revision's content again, as a new one.

use std::path::Path;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use serde_json::Value;

use super::Context;
use super::apply::{Began, View, destroyed};
use super::approve::millis;
use crate::args::{Format, parse_duration};
use crate::client::control::ControlClient;
use crate::error::{Error, Result, diagnostic_line};
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Revision whose content is to be applied again; `history` shows them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Stay until the replicas serve the revision (default: 5m)
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "5m", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    lock_timeout: Option<Duration>,
    /// Roll back only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let mut client = context.control(Path::new(".")).await?;
    if args.dry_run {
        let plan = plan(&args, &mut client).await;
        let place = client.label.clone();
        client.close().await;
        let plan = plan?;
        let text = render::plan::plan(&plan, &place, None, &Sources::default());
        let json = render::json::plan(&plan).to_string();
        return context.output.show(&Rendered::document(text, json));
    }
    let outcome = roll_back(&args, context, &mut client).await;
    context.under_way.end();
    client.close().await;
    let (result, rollout) = outcome?;
    if context.output.format == Format::Json {
        let mut object = render::json::result(&result);
        if let (Value::Object(object), Some(rollout)) = (&mut object, &rollout) {
            object.insert("rollout".into(), render::json::rollout(rollout));
        }
        let text = render::pretty::pretty(&object.to_string());
        context.output.data(&format!("{text}\n"))?;
    }
    let served = rollout.is_none_or(|r| r.complete || r.live_replicas == 0);
    match () {
        () if !result.ok => Err(failure(&result)),
        () if args.wait.is_some() && !served => Err(Error::failed(
            "not every replica serves the revision",
        )
        .with_hint("omnigraphctl rollout status shows which graph of which replica, and why")),
        () => Ok(()),
    }
}

/// What was applied since is lost: consent is bound to exactly the plan that shows it.
async fn roll_back(
    args: &Args,
    context: &Context,
    client: &mut ControlClient,
) -> Result<(pb::ApplyResult, Option<pb::Rollout>)> {
    let mut request = request(args);
    if !client.local && !context.global.yes {
        let plan = plan(args, client).await?;
        let lost = destroyed(&plan);
        let what = match lost.as_slice() {
            [] => format!(
                "what was applied between revisions {} and {}",
                args.to, plan.base_revision
            ),
            lost => lost.join(", "),
        };
        context.consent(&what, &args.to.to_string(), false)?;
        request.plan_digest = plan.plan_digest;
    }
    let output = context.output;
    output.note(&format!(
        "→ rollback of {} to revision {}",
        client.label, args.to
    ));
    let began = Began {
        under_way: context.under_way.clone(),
        embedded: client.is_embedded(),
    };
    let mut view = View::new(output, Some(began));
    let told = client
        .rollback(request, &mut |event| view.event(event))
        .await;
    match (told, context.under_way.get()) {
        // The connection broke; the rollback did not.
        (Err(error), Some(begun)) if error.reason == "unavailable" && !begun.embedded => {
            return Err(begun.left(error));
        }
        (told, _) => told?,
    }
    let (result, rollout) = view.end()?;
    if output.format == Format::Table && result.ok && result.state_written {
        let (new, old) = (result.revision, args.to);
        output.data(&format!("revision {new} = content of {old}\n"))?;
    }
    Ok((result, rollout))
}

async fn plan(args: &Args, client: &mut ControlClient) -> Result<pb::Plan> {
    let request = pb::RollbackRequest {
        dry_run: true,
        wait: false,
        ..request(args)
    };
    let mut plan = None;
    let mut keep = |event| {
        if let Event::Plan(told) = event {
            plan = Some(told);
        }
        Ok(())
    };
    client.rollback(request, &mut keep).await?;
    plan.ok_or_else(|| Error::unavailable("the control plane told no plan"))
}

fn request(args: &Args) -> pb::RollbackRequest {
    pb::RollbackRequest {
        to_revision: args.to,
        dry_run: false,
        wait: args.wait.is_some(),
        wait_timeout_ms: millis(args.wait),
        lock_timeout_ms: millis(args.lock_timeout),
        message: args.message.clone().unwrap_or_default(),
        expect_revision: args.expect_revision.unwrap_or(0),
        plan_digest: String::new(),
    }
}

fn failure(result: &pb::ApplyResult) -> Error {
    let found = result.diagnostics.iter();
    let mut error = Error::failed("rollback failed; omnigraphctl status shows what is applied");
    error.details = found.map(|d| diagnostic_line(&d.into())).collect();
    error.hint = result
        .diagnostics
        .iter()
        .flat_map(|d| &d.hints)
        .next()
        .cloned();
    let json = render::json::result(result);
    error.detail.insert("result".into(), json);
    error
}
