//! Automatic maintenance: one replica per graph merges small files and extends indexes, pass by
//! pass, behind the requests that it serves.
//!
//! The replica is chosen by rendezvous hash over those that the control plane says are live. Two
//! that both feel chosen do no harm: maintenance commits like any writer.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::{BranchName, Error, Graph, OptimizeOutcome, Upkeep};
use tokio::time::Instant;

use crate::replica::Inner;

/// The time that one pass over one graph may take; what is left then is for the next one.
const PASS_MAX: Duration = Duration::from_secs(600);
/// The longest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);
/// What the environment says about it: a pause such as `30s`, or `off`.
const VARIABLE: &str = "OMNIGRAPH_MAINTENANCE";
/// The pause between two passes where nothing is said.
const EVERY: Duration = Duration::from_secs(30);

/// One graph that is looked after.
struct Kept {
    upkeep: Upkeep,
    failures: u32,
    not_before: Instant,
}

/// The pause between passes by the environment; `None`: it is switched off.
pub(crate) fn interval_from_env() -> Option<Duration> {
    interval(std::env::var(VARIABLE).ok().as_deref())
}

fn interval(text: Option<&str>) -> Option<Duration> {
    let text = text.map_or("", str::trim);
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount: Option<u64> = digits.parse().ok();
    let pause = match (amount, &text[digits.len()..]) {
        _ if text.eq_ignore_ascii_case("off") => return None,
        (Some(amount), "ms") => Duration::from_millis(amount),
        (Some(amount), "s") => Duration::from_secs(amount),
        (Some(amount), "m") => Duration::from_secs(amount.saturating_mul(60)),
        _ if text.is_empty() => EVERY,
        _ => {
            tracing::warn!("{VARIABLE}={text} is no pause such as 30s, and not off: 30s it is");
            EVERY
        }
    };
    Some(pause.max(Duration::from_millis(10)))
}

/// Looks after the graphs until the replica stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    let Some(every) = inner.options.maintenance else {
        return;
    };
    let mut kept: HashMap<String, Kept> = HashMap::new();
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let graphs = served(&inner);
        kept.retain(|id, _| graphs.iter().any(|(served, _)| served == id));
        for (id, graph) in graphs {
            if inner.status.borrow().draining {
                return;
            }
            if !is_chosen(&inner.options.replica_id, &inner.live_peers(), &id) {
                kept.remove(&id);
                continue;
            }
            let known = kept.remove(&id);
            let known = known.filter(|kept| kept.upkeep.graph().root() == graph.root());
            let mut graph = known.unwrap_or_else(|| Kept::new(graph));
            if graph.not_before <= Instant::now() {
                let pass = tokio::time::timeout(PASS_MAX, graph.upkeep.pass());
                let ended = tokio::select! {
                    () = inner.stop.cancelled() => return,
                    ended = pass => ended,
                };
                graph.heed(&id, ended.ok(), every);
            }
            kept.insert(id, graph);
        }
    }
}

impl Kept {
    fn new(graph: Graph) -> Self {
        Kept {
            upkeep: Upkeep::new(graph),
            failures: 0,
            not_before: Instant::now(),
        }
    }

    /// Tells what came of a pass; after a failure the next one waits, twice as long each time.
    fn heed(
        &mut self,
        id: &str,
        ended: Option<Result<Vec<(BranchName, OptimizeOutcome)>, Error>>,
        every: Duration,
    ) {
        let error = match ended {
            Some(Ok(done)) => {
                self.failures = 0;
                for (branch, outcome) in done {
                    tell(id, &branch, &outcome);
                }
                return;
            }
            Some(Err(error)) => error.to_string(),
            None => "it took too long".to_owned(),
        };
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(every, self.failures);
        self.not_before = Instant::now() + pause;
        let pause = pause.as_secs_f64();
        tracing::warn!(
            graph = id,
            error,
            pause,
            "maintenance failed; it is tried again"
        );
    }
}

fn tell(id: &str, branch: &BranchName, outcome: &OptimizeOutcome) {
    let removed: u64 = outcome.tables.iter().map(|t| t.fragments_removed).sum();
    let added: u64 = outcome.tables.iter().map(|t| t.fragments_added).sum();
    let commit = outcome.commit.as_ref().map(|commit| commit.id.to_string());
    tracing::info!(graph = id, %branch, removed, added, commit, "maintained");
}

fn backoff(every: Duration, failures: u32) -> Duration {
    let factor = 1u32 << failures.min(16);
    every.saturating_mul(factor).min(BACKOFF_MAX)
}

fn served(inner: &Inner) -> Vec<(String, Graph)> {
    let status = inner.status.borrow();
    let served = status.graphs.iter().filter_map(|(id, view)| {
        let (_, generation) = view.served.as_ref()?;
        Some((id.clone(), generation.graph.clone()))
    });
    served.collect()
}

/// Whether this replica has the highest hash of all for a graph. It counts itself, whoever else is
/// known to live.
fn is_chosen(me: &str, live: &[String], graph: &str) -> bool {
    let weight = |replica: &str| {
        let mut hasher = DefaultHasher::new();
        (graph, replica).hash(&mut hasher);
        (hasher.finish(), replica.to_owned())
    };
    let mine = weight(me);
    live.iter().all(|other| weight(other) <= mine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_is_chosen_for_each_graph_and_others_take_over() {
        let all: Vec<String> = (0..5).map(|n| format!("replica-{n}")).collect();
        let mut share = HashMap::new();
        for graph in (0..100).map(|n| format!("graph-{n}")) {
            let chosen: Vec<_> = all
                .iter()
                .filter(|me| is_chosen(me, &all, &graph))
                .collect();
            assert_eq!(chosen.len(), 1);
            *share.entry(chosen[0].clone()).or_insert(0) += 1;
            // Without it another one is, and nobody else's graph moves.
            let left: Vec<String> = all.iter().filter(|id| *id != chosen[0]).cloned().collect();
            let next = left.iter().filter(|me| is_chosen(me, &left, &graph));
            assert_eq!(next.count(), 1);
        }
        assert_eq!(share.len(), 5, "{share:?}");
        assert!(is_chosen("alone", &[], "graph"));
    }

    #[test]
    fn pauses_and_the_switch() {
        let cases = [
            (None, Some(EVERY)),
            (Some("off"), None),
            (Some("OFF"), None),
            (Some("5s"), Some(Duration::from_secs(5))),
            (Some(" 2m "), Some(Duration::from_secs(120))),
            (Some("250ms"), Some(Duration::from_millis(250))),
            (Some("0s"), Some(Duration::from_millis(10))),
            (Some("often"), Some(EVERY)),
            (Some("12"), Some(EVERY)),
        ];
        for (text, expected) in cases {
            assert_eq!(interval(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pauses_after_failures_grow_to_a_bound() {
        let every = Duration::from_secs(30);
        assert_eq!(backoff(every, 1), Duration::from_secs(60));
        assert_eq!(backoff(every, 3), Duration::from_secs(240));
        assert_eq!(backoff(every, 40), BACKOFF_MAX);
    }
}
