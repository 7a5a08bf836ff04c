//! `apply`: makes the cluster match a directory.

use std::path::PathBuf;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use serde_json::{Value, json};

use super::Context;
use crate::args::{Format, parse_duration};
use crate::client::control::ControlClient;
use crate::client::embedded;
use crate::error::{Error, Exit, Result, diagnostic_line};
use crate::output::Output;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml (default: the one of --cluster, or this one)
    dir: Option<PathBuf>,
    /// Apply only if the plan still has this digest
    #[arg(long, value_name = "DIGEST")]
    plan: Option<String>,
    /// Apply only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Stay until the replicas serve the revision (default: 5m)
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "5m", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    lock_timeout: Option<Duration>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
    /// Exit with 3 when apply did not converge
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let dir = context.dir(args.dir.as_ref());
    let bundle = embedded::bundle(&dir)?;
    let sources = Sources::bundle(&bundle);
    let mut client = context.control(&dir).await?;
    let outcome = apply(&args, bundle, context, &mut client).await;
    client.close().await;
    let (result, rollout) = outcome.map_err(|error| sources.show_in(error))?;
    let converged = result.converged;
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
        () if args.detailed_exitcode && !converged => Err(Error::silent(Exit::Changes)),
        () if args.wait.is_some() && !served => Err(Error::failed(
            "not every replica serves the revision",
        )
        .with_hint("omnigraphctl rollout status shows which graph of which replica, and why")),
        () if args.wait.is_some() && !converged => {
            Err(Error::failed("the cluster did not converge")
                .with_hint("omnigraphctl status names what is blocked"))
        }
        () => Ok(()),
    }
}

/// A destructive plan needs consent, bound to exactly that plan.
async fn apply(
    args: &Args,
    bundle: pb::ConfigBundle,
    context: &Context,
    client: &mut ControlClient,
) -> Result<(pb::ApplyResult, Option<pb::Rollout>)> {
    let mut plan_digest = args.plan.clone().unwrap_or_default();
    if !client.local && !context.global.yes {
        let request = pb::PlanRequest {
            bundle: Some(bundle.clone()),
            no_refresh: false,
        };
        let plan = client.plan(request).await?;
        let lost = destroyed(&plan);
        if !lost.is_empty() {
            context.consent(&lost.join(", "), &client.label, false)?;
            if plan_digest.is_empty() {
                plan_digest = plan.plan_digest;
            }
        }
    }
    let millis = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
    let request = pb::ApplyRequest {
        bundle: Some(bundle),
        plan_digest,
        wait: args.wait.is_some(),
        wait_timeout_ms: args.wait.map(millis).unwrap_or(0),
        lock_timeout_ms: args.lock_timeout.map(millis).unwrap_or(0),
        message: args.message.clone().unwrap_or_default(),
        expect_revision: args.expect_revision.unwrap_or(0),
    };
    context.output.note(&format!("→ apply to {}", client.label));
    let mut view = View::new(context.output);
    client
        .apply(request, &mut |event| view.event(event))
        .await?;
    view.end()
}

/// What a plan would lose.
pub(crate) fn destroyed(plan: &pb::Plan) -> Vec<String> {
    let mut lost = Vec::new();
    for change in &plan.changes {
        let operation = change.operation();
        let lossy = [pb::ChangeOperation::Delete, pb::ChangeOperation::Recreate];
        if lossy.contains(&operation) && change.resource.starts_with("graph.") {
            lost.push(change.resource.clone());
        }
        let steps = change.migration.iter().flat_map(|m| &m.steps);
        lost.extend(steps.filter(|s| s.destructive).map(|s| s.summary.clone()));
    }
    lost
}

fn failure(result: &pb::ApplyResult) -> Error {
    let lines: Vec<_> = result
        .diagnostics
        .iter()
        .map(|d| diagnostic_line(&d.into()))
        .collect();
    let hint = result
        .diagnostics
        .iter()
        .flat_map(|d| &d.hints)
        .next()
        .cloned();
    let mut error = Error::failed("apply failed; omnigraphctl status shows what is applied");
    error.details = lines;
    error.hint = hint;
    error
        .detail
        .insert("result".into(), render::json::result(result));
    error
}

/// Shows events as they come and keeps the last ones.
pub(crate) struct View {
    output: Output,
    width: usize,
    result: Option<pb::ApplyResult>,
    rollout: Option<pb::Rollout>,
    /// Changes that no step told of.
    untold: Vec<pb::PlanChange>,
}

impl View {
    pub(crate) fn new(output: Output) -> View {
        View {
            output,
            width: 0,
            result: None,
            rollout: None,
            untold: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event) -> Result<()> {
        if self.output.format == Format::Jsonl {
            self.output.data(&format!("{}\n", line(&event)))?;
        }
        match event {
            Event::Plan(plan) => {
                self.width = plan
                    .changes
                    .iter()
                    .map(|c| c.resource.len())
                    .max()
                    .unwrap_or(0);
                self.untold = plan.changes;
            }
            Event::Step(step) => {
                let line = render::plan::step(&step, self.width);
                if line.is_some() {
                    self.untold
                        .retain(|change| change.resource != step.resource);
                }
                self.people(line)?;
            }
            Event::Result(result) => {
                for change in std::mem::take(&mut self.untold) {
                    if !change.reason.is_empty() {
                        let (resource, width) = (&change.resource, self.width);
                        self.people(Some(format!(
                            "  ! {resource:width$}  skipped  {}",
                            change.reason
                        )))?;
                    }
                }
                self.people(Some(render::plan::applied(&result)))?;
                if result.ok && !self.output.format.is_json() {
                    for diagnostic in &result.diagnostics {
                        self.output.warn(&diagnostic_line(&diagnostic.into()));
                    }
                }
                self.result = Some(result);
            }
            Event::Rollout(rollout) => self.rollout = Some(rollout),
        }
        Ok(())
    }

    /// The result, after the last event.
    pub(crate) fn end(self) -> Result<(pb::ApplyResult, Option<pb::Rollout>)> {
        if let Some(rollout) = &self.rollout {
            let text = render::status::rollout(rollout);
            self.people(Some(text.trim_end().to_owned()))?;
        }
        let result = self.result.ok_or_else(|| {
            Error::unavailable("the control plane ended the apply without a result")
                .with_hint("omnigraphctl status shows what was applied")
        })?;
        Ok((result, self.rollout))
    }

    fn people(&self, line: Option<String>) -> Result<()> {
        match line {
            Some(line) if self.output.format == Format::Table => {
                self.output.data(&format!("{line}\n"))
            }
            _ => Ok(()),
        }
    }
}

/// One event as one line of JSON.
fn line(event: &Event) -> Value {
    let (kind, mut body) = match event {
        Event::Plan(plan) => ("plan", render::json::plan(plan)),
        Event::Step(step) => ("step", render::json::step(step)),
        Event::Result(result) => ("result", render::json::result(result)),
        Event::Rollout(rollout) => ("rollout", render::json::rollout(rollout)),
    };
    match &mut body {
        Value::Object(object) => {
            object.insert("event".into(), json!(kind));
            body
        }
        _ => body,
    }
}
