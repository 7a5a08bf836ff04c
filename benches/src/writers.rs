//! Commits per second of concurrent writers: `omnigraph-benches writers`.
//!
//! Each process is a stateless replica without its doors; in each, one task a branch (or several,
//! `--tasks`) writes one row at a time, every process to a node type of its own, so that other
//! processes' commits are re-parented over (`--shared` lets all write one type: then they run
//! again). All processes begin together, once each of them has opened the graph and written a row to
//! each branch; the time runs from there to the end of the last.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use omnigraph_engine::{
    Authorship, BranchName, Engine, EngineOptions, ErrorKind, Graph, GraphId, GraphRoot, Store,
    StoreOptions, Target, WriteOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::graph::Failure;
use crate::record::Record;

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

    /// Tasks of each process that write to the same branch
    #[arg(long, default_value_t = 1)]
    tasks: usize,

    /// All write the same node type
    #[arg(long)]
    shared: bool,

    /// Measure one process and four, on one branch and on eight, each in a graph of its own
    #[arg(long)]
    matrix: bool,

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
        _ if args.matrix => {
            for (processes, branches) in [(1, 1), (1, 8), (4, 1), (4, 8)] {
                let one = Writers {
                    processes,
                    branches,
                    ..args.clone()
                };
                Box::pin(parent(&one)).await?;
            }
            Ok(())
        }
        _ => parent(args).await,
    }
}

async fn parent(args: &Writers) -> Result<(), Failure> {
    let incarnation = prepare(args).await?;
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for place in 0..args.processes.max(1) {
        children.push(Process::start(&program, args, place, &incarnation)?);
    }
    for child in &mut children {
        child.expect("ready")?;
    }
    let began = Instant::now();
    for child in &mut children {
        child.go()?;
    }
    let mut all: Vec<Measured> = Vec::new();
    for child in &mut children {
        all.push(serde_json::from_str(&child.line()?)?);
    }
    let took = began.elapsed();
    for child in children {
        child.end()?;
    }
    report(args, &all, took)
}

/// A process that writes.
struct Process {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(
        program: &std::path::Path,
        args: &Writers,
        place: usize,
        incarnation: &str,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command
            .args(["writers", "--store", &args.store])
            .args(["--processes", &args.processes.to_string()])
            .args(["--branches", &args.branches.to_string()])
            .args(["--tasks", &args.tasks.to_string()])
            .args(["--commits", &args.commits.to_string()])
            .args(["--child", &place.to_string(), incarnation])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if args.shared {
            command.arg("--shared");
        }
        let mut child = command.spawn()?;
        let answers = child.stdout.take().ok_or("a writer has no output")?;
        Ok(Self {
            child,
            answers: BufReader::new(answers),
        })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("a writer failed: {}", self.child.wait()?).into());
        }
        Ok(line)
    }

    fn expect(&mut self, word: &str) -> Result<(), Failure> {
        match self.line()?.trim() {
            said if said == word => Ok(()),
            said => Err(format!("a writer said '{said}' instead of '{word}'").into()),
        }
    }

    fn go(&mut self) -> Result<(), Failure> {
        let input = self.child.stdin.as_mut().ok_or("a writer has no input")?;
        input.write_all(b"go\n")?;
        Ok(input.flush()?)
    }

    fn end(mut self) -> Result<(), Failure> {
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a writer failed: {status}").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody waits for a writer whose fellows have failed; one that has ended is not hit.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        "writers/{kind}/p{}/b{}/t{}{types}",
        args.processes, args.branches, args.tasks
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
    let types =
        (0..args.processes.max(1)).map(|place| format!("node T{place} {{ name: String @key }}\n"));
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
    let own = if args.shared { 0 } else { place };
    // The same for everybody: what opening costs is measured elsewhere.
    for number in 0..args.branches {
        let first = format!("first-{place}");
        write(&graph, &branch(number)?, own, &first, 1).await?;
    }
    println!("ready");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    let before = engine.store().requests();
    let tasks = args.tasks.max(1);
    let mut writers = Vec::new();
    for number in 0..args.branches {
        for task in 0..tasks {
            let name = branch(number)?;
            let graph = graph.clone();
            let prefix = format!("w{place}-{task}");
            let writer_of_branch = place * tasks + task;
            let count = share(
                args.commits,
                args.processes.max(1) * tasks,
                writer_of_branch,
            );
            writers.push(tokio::spawn(async move {
                write(&graph, &name, own, &prefix, count).await
            }));
        }
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

/// What falls to one of several.
fn share(all: usize, among: usize, place: usize) -> usize {
    all / among + usize::from(place < all % among)
}

async fn write(
    graph: &Graph,
    branch: &BranchName,
    own: usize,
    prefix: &str,
    count: usize,
) -> Result<(Vec<u64>, u64), Failure> {
    let source = format!("query add($n: String) {{ insert T{own} {{ name: $n }} }}");
    let options = WriteOptions::default();
    let mut times = Vec::with_capacity(count);
    let mut conflicts = 0;
    for number in 0..count {
        let mut params = Map::new();
        params.insert("n".to_owned(), json!(format!("{prefix}-{number}")));
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
