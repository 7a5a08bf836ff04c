//! `apply`: makes the cluster match a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event;
use serde_json::{Value, json};

use super::Context;
use super::saved_plan::Named;
use crate::args::{Format, parse_duration};
use crate::client::control::ControlClient;
use crate::client::embedded;
use crate::error::{Error, Exit, Result, diagnostic_line};
use crate::output::Output;
use crate::render;
use crate::render::source::Sources;
use crate::under_way::UnderWay;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml (default: the one of --cluster, or this one)
    dir: Option<PathBuf>,
    /// Apply exactly this plan: a file of plan --out, or a digest as plan shows it
    #[arg(long, value_name = "FILE|DIGEST")]
    plan: Option<String>,
    /// Only this graph with its schema and queries, as graph.ID (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    target: Vec<String>,
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
    let wanted = Wanted::of(&args, &dir)?;
    let sources = Sources::bundle(&wanted.bundle);
    let mut client = context.control(&dir).await?;
    let outcome = apply(&args, wanted, context, &mut client).await;
    context.under_way.end();
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

/// What is to be applied.
struct Wanted {
    bundle: pb::ConfigBundle,
    targets: Vec<String>,
    /// Empty: any plan.
    plan_digest: String,
}

impl Wanted {
    /// The directory, or what a plan file has kept of it.
    fn of(args: &Args, dir: &Path) -> Result<Wanted> {
        let named = args.plan.as_deref().map(Named::parse).transpose()?;
        Ok(match named {
            Some(Named::File(_)) if !args.target.is_empty() => {
                return Err(Error::usage("a plan file has its targets already")
                    .with_hint("leave --target out, or plan again with it"));
            }
            Some(Named::File(saved)) => Wanted {
                bundle: saved.bundle(),
                targets: saved.targets,
                plan_digest: saved.plan_digest,
            },
            other => Wanted {
                bundle: embedded::bundle(dir)?,
                targets: args.target.clone(),
                plan_digest: match other {
                    Some(Named::Digest(digest)) => digest,
                    _ => String::new(),
                },
            },
        })
    }
}

/// A destructive plan needs consent, bound to exactly that plan.
async fn apply(
    args: &Args,
    wanted: Wanted,
    context: &Context,
    client: &mut ControlClient,
) -> Result<(pb::ApplyResult, Option<pb::Rollout>)> {
    let Wanted {
        bundle,
        targets,
        mut plan_digest,
    } = wanted;
    if !client.local && !context.global.yes {
        let request = pb::PlanRequest {
            bundle: Some(bundle.clone()),
            targets: targets.clone(),
            ..pb::PlanRequest::default()
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
        targets,
    };
    context.output.note(&format!("→ apply to {}", client.label));
    let began = Began {
        under_way: context.under_way.clone(),
        embedded: client.is_embedded(),
    };
    let mut view = View::new(context.output, Some(began));
    let applied = client.apply(request, &mut |event| view.event(event)).await;
    match (applied, context.under_way.get()) {
        // The connection broke; the apply did not.
        (Err(error), Some(begun)) if error.reason == "unavailable" && !begun.embedded => {
            return Err(begun.left(error));
        }
        (applied, _) => applied?,
    }
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

/// Where an operation that is admitted is made known.
pub(crate) struct Began {
    pub(crate) under_way: UnderWay,
    pub(crate) embedded: bool,
}

/// Shows events as they come and keeps the last ones.
pub(crate) struct View {
    output: Output,
    began: Option<Began>,
    width: usize,
    result: Option<pb::ApplyResult>,
    rollout: Option<pb::Rollout>,
    /// Changes that no step told of.
    untold: Vec<pb::PlanChange>,
}

impl View {
    pub(crate) fn new(output: Output, began: Option<Began>) -> View {
        View {
            output,
            began,
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
        self.show(event)
    }

    /// Shows an event to people, and keeps it.
    pub(crate) fn show(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Plan(plan) => {
                self.width = plan
                    .changes
                    .iter()
                    .map(|c| c.resource.len())
                    .max()
                    .unwrap_or(0);
                if plan.omitted_changes > 0 {
                    let graphs = plan.targets.iter().filter(|t| t.starts_with("graph."));
                    let graphs: Vec<_> = graphs.map(String::as_str).collect();
                    self.output.note(&format!(
                        "only {}, with schema and queries; {} left out",
                        graphs.join(", "),
                        render::words::count(u64::from(plan.omitted_changes), "change")
                    ));
                }
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
                // In this process it goes on until the lead is given back.
                if let Some(began) = self.began.as_ref().filter(|began| !began.embedded) {
                    began.under_way.end();
                }
                self.result = Some(result);
            }
            Event::Rollout(rollout) => self.rollout = Some(rollout),
            Event::Operation(operation) => {
                let id = &operation.operation_id;
                self.output.note(&format!("operation {id}"));
                if let Some(began) = &self.began {
                    began.under_way.begin(&operation, began.embedded);
                }
            }
        }
        Ok(())
    }

    /// The result, after the last event.
    pub(crate) fn end(self) -> Result<(pb::ApplyResult, Option<pb::Rollout>)> {
        if let Some(rollout) = &self.rollout {
            let text = render::status::rollout(rollout, render::words::now_us());
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
        Event::Operation(operation) => ("operation", render::json::operation(operation)),
    };
    match &mut body {
        Value::Object(object) => {
            object.insert("event".into(), json!(kind));
            body
        }
        _ => body,
    }
}
