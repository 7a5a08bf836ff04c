//! Loading a file, and the memory that it takes: `omnigraph-benches load`.
//!
//! Every run is a process of its own over a fresh local store, because the kernel tells the most
//! memory that a process ever had, and nothing but the load shall be in it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::graph::{Failure, create, load_file, open};
use crate::record::{Record, peak_rss_kb};

/// Loads.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// NDJSON file in the shape of examples/debian; `.zst` and `.gz` are decompressed by the load
    #[arg(long)]
    data: PathBuf,

    /// Memory that the load may take, in MiB (the engine's default without it)
    #[arg(long)]
    memory: Option<u64>,

    /// Runs
    #[arg(short = 'n', long, default_value_t = 3)]
    runs: usize,

    /// Internal: do one run, and say what it took
    #[arg(long, hide = true)]
    child: bool,
}

/// What one run took.
#[derive(Serialize, Deserialize)]
struct Measured {
    us: u64,
    rows: u64,
    peak_rss_kb: u64,
    /// What the process had before it began.
    rss_before_kb: u64,
    /// By the load's own account.
    accounted_bytes: u64,
    spilled_bytes: u64,
}

pub(crate) async fn run(args: &Load) -> Result<(), Failure> {
    if args.child {
        return child(args).await;
    }
    let program = std::env::current_exe()?;
    let mut all: Vec<Measured> = Vec::new();
    for _ in 0..args.runs.max(1) {
        let mut command = Command::new(&program);
        command.args(["load", "--child", "--data"]).arg(&args.data);
        if let Some(memory) = args.memory {
            command.args(["--memory", &memory.to_string()]);
        }
        let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a load failed: {}", output.status).into());
        }
        all.push(serde_json::from_slice(&output.stdout)?);
    }
    let memory = args
        .memory
        .map_or_else(|| "default".to_owned(), |m| format!("{m}MiB"));
    let most = |of: fn(&Measured) -> u64| all.iter().map(of).max().unwrap_or(0);
    let times = all
        .iter()
        .map(|one| Duration::from_micros(one.us))
        .collect();
    Record::new(format!("load/memory={memory}"), times)
        .rows(most(|one| one.rows))
        .memory(most(|one| one.peak_rss_kb), most(|one| one.accounted_bytes))
        .print()?;
    eprintln!(
        "    {} MB before it began; by its own account {} MB, {} MB spilled",
        most(|one| one.rss_before_kb) / 1024,
        most(|one| one.accounted_bytes) >> 20,
        most(|one| one.spilled_bytes) >> 20,
    );
    Ok(())
}

async fn child(args: &Load) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let engine = open(&directory.path().to_string_lossy()).await?;
    let (_, graph) = create(&engine, "debian").await?;
    let rss_before_kb = peak_rss_kb();
    let began = Instant::now();
    let loaded = load_file(&graph, &args.data, args.memory.map(|memory| memory << 20)).await?;
    let took = began.elapsed();
    let measured = Measured {
        us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        rows: loaded.total,
        peak_rss_kb: peak_rss_kb(),
        rss_before_kb,
        accounted_bytes: loaded.memory_peak,
        spilled_bytes: loaded.spilled_bytes,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}
