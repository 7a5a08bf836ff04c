//! Reproducible measurements. One JSON record a case on stdout, a table for people on stderr.
//!
//! `--data FILE` loads an NDJSON file with the schema of the shipped example into a fresh local
//! store and measures the engine in this process; `--url URL` measures stored queries of a running
//! server over HTTP; `writers` measures commits per second of concurrent processes, `merge` merges in
//! a graph and in a tenth of it, `load` loads and the memory that they take. README.md has the
//! commands.

mod engine_cases;
mod graph;
mod http_cases;
mod load;
mod merge;
mod record;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Omnigraph.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,

    /// NDJSON file in the shape of examples/debian, to load and query in this process
    #[arg(long)]
    data: Option<PathBuf>,

    /// Base URL of a running server, to query over HTTP
    #[arg(long)]
    url: Option<String>,

    /// Graph to query over HTTP
    #[arg(long, default_value = "debian")]
    graph: String,

    /// Stored query to call over HTTP
    #[arg(long, default_value = "dependencies")]
    query: String,

    /// Parameters of the stored query, as JSON
    #[arg(long, default_value = r#"{"name":"bash"}"#)]
    params: String,

    /// Runs per case
    #[arg(short = 'n', long, default_value_t = 200)]
    runs: usize,

    /// Cases to run, by a part of their name (all without it)
    #[arg(long = "case")]
    cases: Vec<String>,
}

#[derive(Subcommand)]
enum Mode {
    /// Commits per second of concurrent writers
    Writers(writers::Writers),
    /// Merges of the same change in a graph and in a tenth of it
    Merge(merge::Merge),
    /// Loads, and the memory that they take
    Load(load::Load),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        eprintln!("error: this is a debug build, whose times mean nothing\n\nhint: make bench");
        return ExitCode::from(2);
    }
    if args.mode.is_none() && args.data.is_none() && args.url.is_none() {
        eprintln!("error: nothing to measure\n\nhint: give --data FILE or --url URL");
        return ExitCode::from(2);
    }
    let done = match &args.mode {
        Some(Mode::Writers(writers)) => writers::run(writers).await,
        Some(Mode::Merge(merge)) => merge::run(merge).await,
        Some(Mode::Load(load)) => load::run(load).await,
        None => run(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), graph::Failure> {
    let wanted = |name: &str| {
        args.cases.is_empty() || args.cases.iter().any(|part| name.contains(part.as_str()))
    };
    if let Some(data) = &args.data {
        engine_cases::run(data, args.runs, &wanted).await?;
    }
    if let Some(url) = &args.url {
        let target = http_cases::Target {
            url,
            graph: &args.graph,
            query: &args.query,
            params: serde_json::from_str(&args.params)
                .map_err(|error| format!("--params is no JSON: {error}"))?,
        };
        http_cases::run(&target, args.runs).await?;
    }
    Ok(())
}
