//! Commits per second of concurrent writers: `omnigraph-benches writers`.
//!
//! Each process is a stateless replica without its doors; in each, one task a branch writes one row
//! at a time, every process and branch to a node type of its own, so that other processes' commits
//! are re-parented over (`--shared` lets all write one type: then they run again).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use omnigraph_engine::{
    Authorship, BranchName, Engine, EngineOptions, ErrorKind, Graph, GraphId, GraphRoot, Store,
    StoreOptions, Target, WriteOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::record::Record;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Concurrent writers.
#[derive(Clone, Debug, Args)]
pub(crate) struct Writers {
    /// Storage root: a directory or s3://bucket/prefix (a new graph is made in it)
    #[arg(long)]
    store: String,

    /// Processes that write at the same time
    #[arg(long, default_value_t = 1)]
    processes: usize,

    /// Branches that are written to
    #[arg(long, default_value_t = 1)]
    branches: usize,

    /// Commits on each branch, from all processes together
    #[arg(long, default_value_t = 200)]
    commits: usize,

    /// All write the same node type
    #[arg(long)]
    shared: bool,

    /// Internal: the place of this process, and the graph's incarnation
    #[arg(long, hide = true, num_args = 2, value_names = ["PLACE", "INCARNATION"])]
    child: Vec<String>,
}

/// What one process measured, in microseconds.
#[derive(Serialize, Deserialize)]
struct Measured {
    times: Vec<u64>,
    conflicts: u64,
    get: u64,
    put: u64,
    list: u64,
    total: u64,
}

/// The figures of all processes together.
#[derive(Serialize)]
struct Throughput<'a> {
    case: &'a str,
    processes: usize,
    branches: usize,
    commits: usize,
    commits_per_second: f64,
    conflicts: u64,
    requests_per_commit: f64,
    seconds: f64,
}

pub(crate) async fn run(args: &Writers) -> Result<(), Failure> {
    match args.child.as_slice() {
        [place, incarnation] => child(args, place.parse()?, incarnation).await,
        _ => parent(args).await,
    }
}

async fn parent(args: &Writers) -> Result<(), Failure> {
    let incarnation = prepare(args).await?;
    let program = std::env::current_exe()?;
    let began = Instant::now();
    let mut children = Vec::new();
    for place in 0..args.processes {
        let mut command = Command::new(&program);
        command
            .args(["writers", "--store", &args.store])
            .args(["--processes", &args.processes.to_string()])
            .args(["--branches", &args.branches.to_string()])
            .args(["--commits", &args.commits.to_string()])
            .args(["--child", &place.to_string(), &incarnation])
            .stdout(Stdio::piped());
        if args.shared {
            command.arg("--shared");
        }
        children.push(command.spawn()?);
    }
    let mut all: Vec<Measured> = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a writer failed: {}", output.status).into());
        }
        all.push(serde_json::from_slice(&output.stdout)?);
    }
    report(args, &all, began.elapsed())
}

fn report(args: &Writers, all: &[Measured], took: Duration) -> Result<(), Failure> {
    let times: Vec<Duration> = all
        .iter()
        .flat_map(|one| &one.times)
        .map(|us| Duration::from_micros(*us))
        .collect();
    let kind = if args.store.starts_with("s3://") {
        "s3"
    } else {
        "local"
    };
    let types = if args.shared { "/shared" } else { "" };
    let case = format!(
        "writers/{kind}/p{}/b{}{types}",
        args.processes, args.branches
    );
    let requests: u64 = all.iter().map(|one| one.total).sum();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let throughput = Throughput {
        case: &case,
        processes: args.processes,
        branches: args.branches,
        commits: times.len(),
        commits_per_second: times.len() as f64 / took.as_secs_f64(),
        conflicts: all.iter().map(|one| one.conflicts).sum(),
        requests_per_commit: requests as f64 / times.len().max(1) as f64,
        seconds: took.as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&throughput)?);
    eprintln!(
        "{case:32} {:8.1} commits/s  {:.1} requests a commit  {} conflicts",
        throughput.commits_per_second, throughput.requests_per_commit, throughput.conflicts
    );
    Record::new(case.clone(), times).print()?;
    Ok(())
}

async fn open(args: &Writers) -> Result<Engine, Failure> {
    let store = Store::open(&args.store, StoreOptions::default()).await?;
    Ok(Engine::new(store, EngineOptions::default()))
}

fn branch(number: usize) -> Result<BranchName, Failure> {
    Ok(match number {
        0 => BranchName::main(),
        number => BranchName::parse(&format!("b{number}"))?,
    })
}

async fn prepare(args: &Writers) -> Result<String, Failure> {
    let engine = open(args).await?;
    let types = (0..args.processes).map(|place| format!("node T{place} {{ name: String @key }}\n"));
    let schema: String = types.collect();
    let by = Authorship::default();
    let root = engine
        .create_graph(&GraphId::parse("writers")?, &schema, &by)
        .await?;
    let graph = engine.open_graph(&root).await?;
    for number in 1..args.branches {
        graph
            .create_branch(&branch(number)?, &Target::default(), &by)
            .await?;
    }
    Ok(root.incarnation.to_string())
}

async fn child(args: &Writers, place: usize, incarnation: &str) -> Result<(), Failure> {
    let engine = open(args).await?;
    let root = GraphRoot {
        id: GraphId::parse("writers")?,
        incarnation: incarnation.parse()?,
    };
    let graph = engine.open_graph(&root).await?;
    let count = args.commits / args.processes.max(1);
    let own = if args.shared { 0 } else { place };
    let before = engine.store().requests();
    let mut writers = Vec::new();
    for number in 0..args.branches {
        let name = branch(number)?;
        let graph = graph.clone();
        writers.push(tokio::spawn(async move {
            write(&graph, &name, own, place, count).await
        }));
    }
    let mut times = Vec::new();
    let mut conflicts = 0;
    for writer in writers {
        let (own, lost) = writer.await??;
        times.extend(own);
        conflicts += lost;
    }
    let requests = engine.store().requests() - before;
    let measured = Measured {
        times,
        conflicts,
        get: requests.get,
        put: requests.put,
        list: requests.list,
        total: requests.total(),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

async fn write(
    graph: &Graph,
    branch: &BranchName,
    own: usize,
    place: usize,
    count: usize,
) -> Result<(Vec<u64>, u64), Failure> {
    let source = format!("query add($n: String) {{ insert T{own} {{ name: $n }} }}");
    let options = WriteOptions::default();
    let mut times = Vec::with_capacity(count);
    let mut conflicts = 0;
    for number in 0..count {
        let mut params = Map::new();
        params.insert("n".to_owned(), json!(format!("w{place}-{number}")));
        let began = Instant::now();
        loop {
            match graph.mutate(branch, &source, None, &params, &options).await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WriteConflict => conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
        times.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok((times, conflicts))
}
