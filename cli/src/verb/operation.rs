//! `operation`: follows a change of the cluster from its start, or says how it ended.

use std::path::Path;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event as Applied;
use omnigraph_proto::control::v1::watch_operation_response::Event;
use serde_json::{Value, json};

use super::Context;
use super::apply::View;
use crate::args::Format;
use crate::client::control::ControlClient;
use crate::error::{Error, Exit, Result};
use crate::render;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// As apply, status and operation list show it
    #[arg(required = true)]
    id: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show operations, newest first
    List {
        /// So many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
}

impl Args {
    pub(crate) fn is_list(&self) -> bool {
        self.command.is_some()
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let mut client = context.control(Path::new(".")).await?;
    let outcome = match (args.command, args.id) {
        (Some(Command::List { limit }), _) => list(limit, context, &mut client).await,
        (None, Some(id)) => follow(&id, context, &mut client).await,
        (None, None) => Err(Error::usage("which operation?")
            .with_hint("omnigraphctl operation list shows the newest")),
    };
    client.close().await;
    outcome
}

async fn list(limit: u32, context: &Context, client: &mut ControlClient) -> Result<()> {
    let found = client.operations(limit).await?;
    let rendered = render::operation::list(&found, render::words::now_us());
    context.output.show(&rendered)
}

async fn follow(id: &str, context: &Context, client: &mut ControlClient) -> Result<()> {
    let output = context.output;
    let mut view = View::new(output, None);
    let mut last: Option<pb::Operation> = None;
    client
        .watch_operation(id, &mut |event| {
            if output.format == Format::Jsonl {
                output.data(&format!("{}\n", line(&event)))?;
            }
            match event {
                Event::Operation(operation) => {
                    if last.is_none() && output.format == Format::Table {
                        output.note(&render::operation::head(&operation));
                    }
                    last = Some(operation);
                    Ok(())
                }
                Event::Plan(plan) => view.show(Applied::Plan(plan)),
                Event::Step(step) => view.show(Applied::Step(step)),
                Event::Result(result) => view.show(Applied::Result(result)),
                Event::Restored(_) => Ok(()),
            }
        })
        .await?;
    let Some(operation) = last else {
        return Err(Error::unavailable(
            "the control plane ended the stream without a word",
        ));
    };
    match output.format {
        Format::Json => {
            let text = render::pretty::pretty(&render::json::operation(&operation).to_string());
            output.data(&format!("{text}\n"))?;
        }
        Format::Table => output.data(&render::operation::end(&operation))?,
        _ => {}
    }
    match operation.state() {
        pb::OperationState::Succeeded => Ok(()),
        // Another process runs it, and this one has no way to it.
        pb::OperationState::Running => Ok(()),
        _ => Err(Error::silent(Exit::Failed)),
    }
}

/// One event as one line of JSON.
fn line(event: &Event) -> Value {
    let (kind, mut body) = match event {
        Event::Operation(operation) => ("operation", render::json::operation(operation)),
        Event::Plan(plan) => ("plan", render::json::plan(plan)),
        Event::Step(step) => ("step", render::json::step(step)),
        Event::Result(result) => ("result", render::json::result(result)),
        Event::Restored(made) => ("restored", render::json::restored(made)),
    };
    if let Value::Object(object) = &mut body {
        object.insert("event".into(), json!(kind));
    }
    body
}
