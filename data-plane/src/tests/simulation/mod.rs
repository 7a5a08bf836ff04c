//! Control planes, ledger, leadership, sidecars and replicas as one system that a seed decides:
//! which request fails or comes late, who crashes, who stands still and comes back, which
//! notices are lost, whose clock is wrong, who applies what when. What lies in the store is judged
//! after each change of it, and when nothing new goes wrong any more, all has to be well soon.
//!
//! | file | subject |
//! |---|---|
//! | `run` | one run, from its seed to its end |
//! | `world` | processes, and what happens to them |
//! | `store`, `link`, `time` | the store, the connections and the clocks as a process sees them |
//! | `faults` | what goes wrong how often |
//! | `client`, `workload` | who does what |
//! | `oracle` | what must hold |
//! | `needed` | that each rule of the protocol is needed: without it the oracle finds something |
//!
//! Everything is real but the network, the store and the tables of graphs, which are outlines:
//! numbers of rows without rows.
//!
//! `OMNIGRAPH_SIM_SEED=7 cargo nextest run -p omnigraph-data-plane simulation::replay --no-capture`
//! shows what happens in one run. `OMNIGRAPH_SIM_RUNS=10000` makes every test that runs seeds run
//! so many, from `OMNIGRAPH_SIM_FROM` on; with `OMNIGRAPH_SIM_ALL=1` it does not stop at the first
//! seed that violates something. `OMNIGRAPH_SIM_WITHOUT=Fence` breaks a rule of the protocol,
//! and `OMNIGRAPH_SIM_DUEL=1` replays with the faults of a duel, as `needed` runs.

mod client;
mod faults;
mod link;
mod needed;
mod oracle;
mod rng;
mod run;
mod store;
mod time;
mod workload;
mod world;

use std::time::{Duration, Instant};

use faults::Profile;
use omnigraph_control_plane::rule::{Rule, Rules};
use run::{run, run_with};

/// Runs of each test that runs seeds, unless the environment says another number.
const RUNS: u64 = 1000;
/// A slow machine stops here.
const LONG: Duration = Duration::from_secs(150);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

/// Runs every `of`-th seed, beginning with `first`.
fn seeds(first: u64, of: u64) {
    let from = setting("OMNIGRAPH_SIM_FROM").unwrap_or(0);
    let wanted = setting("OMNIGRAPH_SIM_RUNS");
    let began = Instant::now();
    let all = setting("OMNIGRAPH_SIM_ALL").is_some();
    let mut found = Vec::new();
    let (mut events, mut revisions, mut took, mut runs) = (0, 0, Duration::ZERO, 0);
    for number in 0..wanted.unwrap_or(RUNS) {
        if wanted.is_none() && began.elapsed() > LONG {
            break;
        }
        let seed = from + first + number * of;
        let outcome = run(seed, &rules(), false);
        if let Some(what) = outcome.violated {
            println!("run {number}, seed {seed}: {what}");
            found.push(seed);
            if !all {
                break;
            }
        }
        events += outcome.events;
        revisions += outcome.revisions;
        took += outcome.took;
        runs += 1;
    }
    println!(
        "{runs} runs, {events} events, {revisions} revisions, {took:?} simulated in {:?}",
        began.elapsed()
    );
    let first = found.first().copied().unwrap_or_default();
    assert!(
        found.is_empty(),
        "seeds {found:?} violate something; replay one with OMNIGRAPH_SIM_SEED={first} cargo nextest run -p omnigraph-data-plane simulation::replay --no-capture"
    );
    assert!(runs > 0 && revisions > 0, "something was applied");
}

#[test]
fn the_system_converges_first_half_of_the_seeds() {
    seeds(0, 2);
}

#[test]
fn the_system_converges_second_half_of_the_seeds() {
    seeds(1, 2);
}

#[test]
fn a_seed_replays_identically() {
    let all = Rules::default();
    for seed in 0..12 {
        let (first, second) = (run(seed, &all, true), run(seed, &all, true));
        let differing = first.lines.iter().zip(&second.lines).find(|(a, b)| a != b);
        assert!(differing.is_none(), "seed {seed}: {differing:?}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert!(first.events > 100, "seed {seed} does something");
    }
}

/// All rules, or all but the one that the environment names.
fn rules() -> Rules {
    let Ok(name) = std::env::var("OMNIGRAPH_SIM_WITHOUT") else {
        return Rules::default();
    };
    let named = |rule: &&Rule| format!("{rule:?}") == name;
    match Rule::ALL.iter().find(named) {
        Some(rule) => Rules::without(*rule),
        None => panic!("OMNIGRAPH_SIM_WITHOUT={name} is none of {:?}", Rule::ALL),
    }
}

/// Shows one run; does nothing unless a seed is named.
#[test]
fn replay() {
    let Some(seed) = setting("OMNIGRAPH_SIM_SEED") else {
        return;
    };
    let outcome = match std::env::var_os("OMNIGRAPH_SIM_DUEL") {
        None => run(seed, &rules(), true),
        Some(_) => run_with(Profile::duel(), seed, &rules(), true),
    };
    for line in &outcome.lines {
        println!("{line}");
    }
    if let Some(what) = outcome.violated {
        panic!("seed {seed}: {what}");
    }
}
