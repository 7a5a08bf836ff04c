//! `omnigraphctl`: the terminal of operators, developers and agents.
//!
//! | module | subject |
//! |---|---|
//! | `args` | the command line |
//! | `address` | which planes a command speaks to |
//! | `client` | the planes, over the network or in this process |
//! | `verb` | one file per verb |
//! | `render` | results as text, pure and under snapshot test |
//! | `output`, `progress`, `consent`, `error` | stdout, stderr, questions, exit codes |
//! | `under_way` | what becomes of an operation whose command is interrupted |

mod address;
mod args;
mod client;
mod consent;
mod error;
mod output;
mod progress;
mod render;
mod texts;
mod under_way;
mod verb;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser as _, ValueEnum as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::address::Given;
use crate::args::{Cli, Command, Format, Global, Uses};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::under_way::UnderWay;
use crate::verb::Context;

/// What is still running when the command is done gets this long.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, uses) = cli.command.uses();
    let format = format(&cli.global, name, &uses);
    let output = Output {
        format: format.as_ref().copied().unwrap_or_default(),
        quiet: cli.global.quiet,
    };
    let outcome = format.and_then(|_| {
        args::refuse_unusable(&cli.global, name, &uses)?;
        execute(cli, output)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit as u8)
        }
    }
}

/// The form of the output: a flag must fit the verb, the environment is only a preference.
fn format(global: &Global, name: &str, uses: &Uses) -> Result<Format> {
    let flag = if global.json {
        Some(Format::Json)
    } else {
        global.output
    };
    if let Some(format) = flag {
        if uses.formats.contains(&format) {
            return Ok(format);
        }
        let names: Vec<_> = uses
            .formats
            .iter()
            .filter_map(|f| f.to_possible_value())
            .collect();
        let names: Vec<_> = names.iter().map(|v| v.get_name().to_owned()).collect();
        let flag = flag.and_then(|f| f.to_possible_value());
        let flag = flag.map(|v| v.get_name().to_owned()).unwrap_or_default();
        return Err(Error::usage(format!("{name} has no output form {flag}"))
            .with_hint(format!("it has {}", names.join(", "))));
    }
    let Some(text) = std::env::var("OMNIGRAPH_OUTPUT")
        .ok()
        .filter(|text| !text.is_empty())
    else {
        return Ok(Format::Table);
    };
    let format = Format::from_str(&text, true).map_err(|_| {
        Error::usage(format!(
            "OMNIGRAPH_OUTPUT is '{text}', which is no output form"
        ))
    })?;
    Ok(Some(format)
        .filter(|f| uses.formats.contains(f))
        .unwrap_or_default())
}

fn execute(mut cli: Cli, output: Output) -> Result<()> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if cli.global.timeout.is_none()
        && let Some(text) = env("OMNIGRAPH_TIMEOUT")
    {
        let timeout = args::parse_duration(&text);
        let timeout = timeout.map_err(|e| Error::usage(format!("OMNIGRAPH_TIMEOUT: {e}")))?;
        cli.global.timeout = Some(timeout);
    }
    log(&cli)?;
    let context = Context {
        given: Given::new(&cli.global, &env)?,
        global: cli.global,
        output,
        under_way: UnderWay::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::failed(format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(bounded(cli.command, &context));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    outcome
}

/// The embedded planes log to stderr: what went wrong, or more with `-v` and `RUST_LOG`.
fn log(cli: &Cli) -> Result<()> {
    let filter = match (cli.global.verbose, &cli.command) {
        (0, Command::Up(_)) => "warn",
        (0, _) => "error",
        (1, _) => "info",
        (2, _) => {
            "info,omnigraph_control_plane=debug,omnigraph_data_plane=debug,omnigraph_gateway=debug,omnigraph_engine=debug"
        }
        _ => "debug",
    };
    let options = omnigraph_telemetry::log::Options::from_env(filter);
    let installed = options.and_then(|options| options.install());
    installed.map_err(|e| Error::usage(e.to_string()))
}

/// Runs the verb within the bound of the whole command. Ctrl-C drops it; `up` drains instead.
async fn bounded(command: Command, context: &Context) -> Result<()> {
    let stays = matches!(command, Command::Up(_));
    if stays {
        return verb::run(command, context).await;
    }
    // Installed before anything is begun: what is said on stderr can be interrupted.
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| Error::failed(format!("signals: {e}")))?;
    let mut work = std::pin::pin!(verb::run(command, context));
    let limit = context.global.timeout.unwrap_or(Duration::MAX);
    let stopped = tokio::select! {
        outcome = &mut work => return outcome,
        () = tokio::time::sleep(limit) => {
            Error::unavailable("the command took longer than --timeout")
                .with_hint("a write that was under way may have been committed; read to find out")
        }
        _ = interrupt.recv() => Error::interrupted(),
    };
    let Some(begun) = context.under_way.get() else {
        return Err(stopped);
    };
    if !begun.embedded {
        return Err(begun.left(stopped));
    }
    // Nobody else would finish it.
    let (kind, id) = (&begun.kind, &begun.id);
    context.output.warn(&format!(
        "{kind} {id} is finished first; Ctrl-C again stops at once"
    ));
    tokio::select! {
        outcome = &mut work => outcome.and(Err(stopped)),
        _ = interrupt.recv() => Err(begun.left(stopped)),
    }
}
