//! Three-way merges of the same change in a graph and in a tenth of it: `omnigraph-benches merge`.
//!
//! What a merge costs is to depend on what changed, not on what there is. So both graphs get the
//! same number of changed rows a side, and the runs alternate between them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use futures::TryStreamExt;
use omnigraph_engine::{
    Authorship, BranchName, Engine, Graph, LoadMode, MergeOptions, MergeOutcome, ReadOptions,
    RequestCounts, Target,
};
use serde_json::Value;

use crate::graph::{Failure, create, load_file, load_lines, open};
use crate::record::Record;

/// Merges.
#[derive(Clone, Debug, Args)]
pub(crate) struct Merge {
    /// NDJSON file in the shape of examples/debian; `.zst` and `.gz` are decompressed by the load
    #[arg(long)]
    data: PathBuf,

    /// Changed packages on each side
    #[arg(long, default_value_t = 100)]
    rows: usize,

    /// Runs in each graph
    #[arg(short = 'n', long, default_value_t = 15)]
    runs: usize,
}

/// A graph to merge in.
struct Place {
    name: &'static str,
    graph: Graph,
    /// Some packages as NDJSON lines.
    packages: Vec<Value>,
    rows: u64,
    times: Vec<std::time::Duration>,
    requests: Vec<RequestCounts>,
}

pub(crate) async fn run(args: &Merge) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let engine = open(&directory.path().to_string_lossy()).await?;
    let (_, whole) = create(&engine, "whole").await?;
    let loaded = load_file(&whole, &args.data, None).await?;
    let (_, part) = create(&engine, "tenth").await?;
    let lines = tenth(&whole).await?;
    let part_rows = lines.len() as u64;
    load_lines(&part, &BranchName::main(), LoadMode::Append, &lines).await?;
    let mut places = [
        Place::new("whole", whole, loaded.total, args.rows).await?,
        Place::new("tenth", part, part_rows, args.rows).await?,
    ];
    // The first run of each warms what later ones find.
    for run in 0..=args.runs {
        for place in &mut places {
            place.merge(&engine, run, args.rows).await?;
        }
    }
    let mut medians = Vec::new();
    for place in places {
        let case = format!("merge/rows={}/{}", args.rows, place.name);
        let record = Record::new(case, place.times.into_iter().skip(1).collect()).rows(place.rows);
        medians.push(record.p50_us());
        let requests = place.requests.into_iter().skip(1);
        match requests.reduce(|a, b| a + b) {
            Some(requests) => record.requests(requests).print()?,
            None => record.print()?,
        }
    }
    if let [whole, tenth] = medians.as_slice() {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let ratio = *whole as f64 / (*tenth).max(1) as f64;
        eprintln!("    the whole takes {ratio:.2} times as long as a tenth of it (median)");
    }
    Ok(())
}

impl Place {
    async fn new(
        name: &'static str,
        graph: Graph,
        rows: u64,
        wanted: usize,
    ) -> Result<Self, Failure> {
        let mut packages = exported(&graph, &["Package".to_owned()]).await?;
        if packages.len() < 2 * wanted {
            return Err(format!("{name} has {} packages, too few", packages.len()).into());
        }
        // From all over the table, as people's changes are.
        let step = packages.len() / (2 * wanted);
        packages = packages
            .into_iter()
            .step_by(step.max(1))
            .take(2 * wanted)
            .collect();
        Ok(Self {
            name,
            graph,
            packages,
            rows,
            times: Vec::new(),
            requests: Vec::new(),
        })
    }

    async fn merge(&mut self, engine: &Engine, run: usize, rows: usize) -> Result<(), Failure> {
        let (main, side) = (
            BranchName::main(),
            BranchName::parse(&format!("side{run}"))?,
        );
        self.graph
            .create_branch(&side, &Target::default(), &Authorship::default())
            .await?;
        let (ours, theirs) = self.packages.split_at(rows);
        for (branch, packages) in [(&main, ours), (&side, theirs)] {
            let lines: Vec<String> = packages
                .iter()
                .map(|package| changed(package, run))
                .collect();
            load_lines(&self.graph, branch, LoadMode::Merge, &lines).await?;
        }
        let before = engine.store().requests();
        let began = Instant::now();
        let merged = self
            .graph
            .merge(&side, &main, &MergeOptions::default())
            .await?;
        self.times.push(began.elapsed());
        self.requests.push(engine.store().requests() - before);
        match merged.outcome {
            MergeOutcome::Merged => Ok(()),
            other => Err(format!("run {run} in {} was {other:?}", self.name).into()),
        }
    }
}

/// The line of a package with another version.
fn changed(package: &Value, run: usize) -> String {
    let mut package = package.clone();
    package["data"]["version"] = format!("run-{run}").into();
    package.to_string()
}

/// The lines of every tenth package, all maintainers, and the edges between them.
async fn tenth(graph: &Graph) -> Result<Vec<String>, Failure> {
    let mut kept = HashSet::new();
    let mut lines = Vec::new();
    let mut packages = 0_u64;
    for line in exported(graph, &[]).await? {
        let text = |at: &Value| at.as_str().map(str::to_owned).unwrap_or_default();
        let keep = match line.get("type").and_then(Value::as_str) {
            Some("Package") => {
                packages += 1;
                let keep = packages % 10 == 1;
                if keep {
                    kept.insert(text(&line["data"]["name"]));
                }
                keep
            }
            Some(_) => true,
            None => {
                let from = line["edge"] == "Maintains" || kept.contains(&text(&line["from"]));
                from && kept.contains(&text(&line["to"]))
            }
        };
        if keep {
            lines.push(line.to_string());
        }
    }
    Ok(lines)
}

/// The entities of some types, all without any: nodes before edges, as they can be loaded again.
async fn exported(graph: &Graph, types: &[String]) -> Result<Vec<Value>, Failure> {
    let snapshot = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await?;
    let mut stream = Box::pin(graph.export(&snapshot, types).await?);
    let (mut lines, mut rest) = (Vec::new(), Vec::new());
    while let Some(chunk) = stream.try_next().await? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            lines.push(loadable(&line)?);
        }
    }
    if !rest.is_empty() {
        lines.push(loadable(&rest)?);
    }
    Ok(lines)
}

fn loadable(line: &[u8]) -> Result<Value, Failure> {
    Ok(serde_json::from_slice(line)?)
}
