//! Many writing processes on one graph, some of which are killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use omnigraph_engine::GraphRoot;

use crate::binary;

/// The schema of the writers: a type for each, and two that all write.
pub const SCHEMA: &str = "
node Counter { name: String @key  value: I64 }
node Seat { name: String @key  number: I64 @unique }
node Item0 { name: String @key  step: I64 }
node Item1 { name: String @key  step: I64 }
node Item2 { name: String @key  step: I64 }
node Item3 { name: String @key  step: I64 }
node Item4 { name: String @key  step: I64 }
node Item5 { name: String @key  step: I64 }
node Item6 { name: String @key  step: I64 }
node Item7 { name: String @key  step: I64 }
";

/// No answer for so long means that something hangs.
const SILENCE_BOUND: Duration = Duration::from_secs(120);

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Adds a row to the writer's own type: others are re-parented over it.
    Item,
    /// Adds one to a number that all writers share: a lost update would show.
    Counter,
    /// Takes a seat that all writers want: a broken constraint would show.
    Seat,
}

/// One step of one writer.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Which writer.
    pub worker: usize,
    /// Which of its steps.
    pub number: usize,
}

impl Step {
    /// What the step does first.
    pub fn what(&self) -> What {
        match self.number % 20 {
            3 | 13 => What::Counter,
            7 => What::Seat,
            _ => What::Item,
        }
    }

    /// Its name, and the beginning of its idempotency keys.
    pub fn key(&self) -> String {
        format!("w{}-{}", self.worker, self.number)
    }
}

impl What {
    /// Its word on stdout.
    pub fn label(self) -> &'static str {
        match self {
            What::Item => "item",
            What::Counter => "counter",
            What::Seat => "seat",
        }
    }

    fn parse(word: &str) -> What {
        [What::Item, What::Counter, What::Seat]
            .into_iter()
            .find(|what| what.label() == word)
            .unwrap_or_else(|| panic!("'{word}' is no step"))
    }
}

/// The writers of one test.
pub struct Plan<'a> {
    /// The storage root's URI.
    pub store: &'a str,
    /// The graph.
    pub root: &'a GraphRoot,
    /// The branch of each writer.
    pub branches: Vec<String>,
    /// Commits of each writer.
    pub steps: usize,
    /// Where randomness comes from; printed, and set by `OMNIGRAPH_TEST_SEED`.
    pub seed: u64,
    /// After about so many answers a writer is killed.
    pub kill_every: usize,
    /// The environment of the writers.
    pub env: Vec<(String, String)>,
}

/// What the writers were told.
#[derive(Debug, Default)]
pub struct Acks {
    /// By writer and step: the commit and what it did.
    pub steps: BTreeMap<(usize, usize), (String, What)>,
    /// Writers that were killed.
    pub kills: usize,
}

enum Said {
    Line(String),
    End,
}

struct Writer {
    child: Child,
    /// The step that has no answer yet.
    next: usize,
    killed: bool,
}

/// The seed of this run.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that takes a seed from the clock; it is printed and can be handed in"
)]
pub fn seed() -> u64 {
    let given = std::env::var("OMNIGRAPH_TEST_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH);
        since.map_or(1, |since| since.as_micros() as u64 | 1)
    });
    println!("OMNIGRAPH_TEST_SEED={seed}");
    seed
}

/// A small generator of numbers (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        number as usize % bound.max(1)
    }
}

/// Runs all writers to their ends. Killed ones are started again with the step that has no answer.
pub fn run(plan: &Plan<'_>) -> Acks {
    let mut dice = Dice(plan.seed.max(1));
    let (sender, said) = channel();
    let mut writers: Vec<Writer> = (0..plan.branches.len())
        .map(|worker| start(plan, worker, 0, &sender))
        .collect();
    let mut acks = Acks::default();
    let mut until_kill = 1 + dice.below(plan.kill_every * 2);
    let mut running = writers.len();
    while running > 0 {
        match next(&said) {
            (worker, Said::Line(line)) => {
                let step = ack(&mut acks, worker, &line);
                writers[worker].next = step + 1;
                until_kill -= 1;
            }
            (worker, Said::End) => {
                let writer = &mut writers[worker];
                let status = writer.child.wait().expect("a child can be waited for");
                if writer.next == plan.steps {
                    running -= 1;
                } else {
                    assert!(writer.killed, "writer {worker} ended by itself: {status}");
                    *writer = start(plan, worker, writer.next, &sender);
                }
            }
        }
        if until_kill == 0 {
            until_kill = 1 + dice.below(plan.kill_every * 2);
            let victim = dice.below(writers.len());
            let writer = &mut writers[victim];
            if writer.next < plan.steps && !writer.killed {
                writer.killed = true;
                writer.child.kill().expect("a child can be killed");
                acks.kills += 1;
            }
        }
    }
    acks
}

fn next(said: &Receiver<(usize, Said)>) -> (usize, Said) {
    said.recv_timeout(SILENCE_BOUND)
        .expect("the writers have not said anything for too long")
}

/// Notes an answer. The same step may be answered twice, before and after a kill: by one commit.
fn ack(acks: &mut Acks, worker: usize, line: &str) -> usize {
    let words: Vec<&str> = line.split(' ').collect();
    let ["ack", step, commit, what] = words.as_slice() else {
        panic!("writer {worker} said: {line}");
    };
    let step: usize = step.parse().expect("a step's number");
    let answer = ((*commit).to_owned(), What::parse(what));
    if let Some(before) = acks.steps.insert((worker, step), answer.clone()) {
        assert_eq!(before, answer, "step {step} of writer {worker}");
    }
    step
}

fn start(plan: &Plan<'_>, worker: usize, from: usize, said: &Sender<(usize, Said)>) -> Writer {
    let began = Instant::now();
    let mut child = Command::new(binary("omnigraph-test-writer"))
        .arg(plan.store)
        .arg(plan.root.id.to_string())
        .arg(plan.root.incarnation.to_string())
        .arg(&plan.branches[worker])
        .arg(worker.to_string())
        .arg(from.to_string())
        .arg(plan.steps.to_string())
        .envs(plan.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let said = said.clone();
    // Ends with the process.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if said.send((worker, Said::Line(line))).is_err() {
                return;
            }
        }
        let _ = said.send((worker, Said::End));
    });
    assert!(began.elapsed() < SILENCE_BOUND);
    Writer {
        child,
        next: from,
        killed: false,
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
