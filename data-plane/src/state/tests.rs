use omnigraph_proto::control::v1::{GraphRevision, QueryRef, ServingRevision};

use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const INCARNATION: &str = "01JDB4Q2M0000000000000002M";

/// A revision whose graphs are told by name and number of queries.
fn revision(number: u64, graphs: &[(&str, usize)]) -> Serving {
    let graphs = graphs.iter().map(|(id, queries)| GraphRevision {
        graph_id: (*id).to_owned(),
        incarnation: INCARNATION.to_owned(),
        root_uri: format!("memory://x/graphs/{id}.omni/{INCARNATION}"),
        schema_digest: DIGEST.to_owned(),
        queries: (0..*queries)
            .map(|at| QueryRef {
                name: format!("q{at}"),
                digest: DIGEST.to_owned(),
            })
            .collect(),
        ..Default::default()
    });
    let wire = ServingRevision {
        revision: number,
        serving_digest: DIGEST.to_owned(),
        config_digest: DIGEST.to_owned(),
        graphs: graphs.collect(),
        ..Default::default()
    };
    Serving::from_wire(&wire).expect("a well-formed revision")
}

fn trouble() -> Trouble {
    Trouble {
        code: ReasonCode::QueryInvalid,
        message: "no".to_owned(),
    }
}

/// A generation is its number here.
struct Driver {
    board: Board<u32>,
    now: Instant,
}

impl Driver {
    fn new() -> Self {
        Driver {
            board: Board::new(Gate::Open),
            now: Instant::now(),
        }
    }

    fn adopt(&mut self, serving: &Serving) -> bool {
        self.board.adopt(serving, self.now)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Runs what is due; the names say for which graphs.
    fn run(&mut self, outcome: impl Fn(&str) -> Result<u32, Trouble>) -> Vec<String> {
        let jobs = self.board.take_jobs(self.now);
        for job in &jobs {
            self.board.finished(job, outcome(&job.graph_id), self.now);
        }
        jobs.into_iter().map(|job| job.graph_id).collect()
    }

    fn view(&self, id: &str) -> View<u32> {
        self.board.views().remove(id).expect("a known graph")
    }

    fn served(&self, id: &str) -> Option<(u64, u32)> {
        self.view(id).served.map(|(revision, g)| (revision, *g))
    }
}

#[test]
fn a_graph_goes_through_all_states_and_back() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    assert_eq!(driver.view("a").phase, Phase::Loading);
    assert!(!driver.board.is_settled());

    driver.run(|_| Err(trouble()));
    assert_eq!(driver.view("a").phase, Phase::Quarantined);
    assert!(driver.board.is_settled());

    driver.wait(RETRY_FIRST);
    driver.run(|_| Ok(1));
    assert_eq!(driver.view("a").phase, Phase::Ready);
    assert_eq!(driver.served("a"), Some((1, 1)));

    driver.adopt(&revision(2, &[("a", 2)]));
    assert_eq!(
        driver.view("a").phase,
        Phase::Ready,
        "the old one is served meanwhile"
    );
    assert_eq!(driver.served("a"), Some((1, 1)));
    assert!(!driver.board.is_settled());

    driver.run(|_| Err(trouble()));
    assert_eq!(driver.view("a").phase, Phase::Stale);
    assert_eq!(driver.served("a"), Some((1, 1)));
    assert_eq!(driver.view("a").trouble, Some(trouble()));

    driver.adopt(&revision(3, &[("a", 3)]));
    driver.run(|_| Ok(3));
    assert_eq!(driver.view("a").phase, Phase::Ready);
    assert_eq!(driver.served("a"), Some((3, 3)));
    assert_eq!(driver.view("a").trouble, None);
}

#[test]
fn unchanged_graphs_are_not_touched() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1), ("b", 1)]));
    driver.run(|_| Ok(1));
    driver.adopt(&revision(2, &[("a", 1), ("b", 2), ("c", 0)]));
    assert_eq!(
        driver.served("a"),
        Some((2, 1)),
        "serves the new revision as it is"
    );
    assert_eq!(driver.run(|_| Ok(2)), ["b", "c"]);
    assert_eq!(driver.served("b"), Some((2, 2)));
    driver.adopt(&revision(3, &[("b", 2)]));
    assert_eq!(
        driver.board.views().len(),
        1,
        "graphs that are gone are not served"
    );
}

#[test]
fn a_lower_revision_is_ignored() {
    let mut driver = Driver::new();
    assert!(driver.adopt(&revision(5, &[("a", 1)])));
    assert!(!driver.adopt(&revision(4, &[])));
    assert!(!driver.adopt(&revision(5, &[])));
    assert_eq!(driver.board.views().len(), 1);
    assert_eq!(driver.board.revision(), 5);
}

#[test]
fn the_trouble_of_one_graph_stays_its_own() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1), ("b", 1)]));
    driver.run(|id| if id == "a" { Err(trouble()) } else { Ok(1) });
    assert_eq!(driver.view("a").phase, Phase::Quarantined);
    assert_eq!(driver.view("b").phase, Phase::Ready);
    assert!(driver.run(|_| Ok(9)).is_empty(), "the retry is not due yet");
}

#[test]
fn retries_back_off_and_a_new_revision_does_not_wait() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    driver.run(|_| Err(trouble()));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let due = driver.board.next_due().expect("a retry is planned");
        assert_eq!(driver.view("a").retry_at, Some(due));
        pauses.push(due - driver.now);
        driver.now = due;
        assert_eq!(driver.run(|_| Err(trouble())), ["a"]);
    }
    assert_eq!(pauses[0], RETRY_FIRST);
    assert_eq!(pauses[1], RETRY_FIRST * 2);
    assert_eq!(pauses[9], RETRY_MAX);
    assert_eq!(driver.view("a").attempt, 11);
    // Neither the same content nor other content in a new revision has to wait.
    driver.adopt(&revision(2, &[("a", 1)]));
    assert_eq!(driver.run(|_| Err(trouble())), ["a"]);
    driver.adopt(&revision(3, &[("a", 2)]));
    assert_eq!(driver.view("a").attempt, 0);
    assert_eq!(driver.run(|_| Ok(1)), ["a"]);
    assert_eq!(driver.board.next_due(), None);
}

#[test]
fn so_many_builds_at_a_time() {
    let mut driver = Driver::new();
    let names: Vec<String> = (0..10).map(|at| format!("g{at}")).collect();
    let graphs: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    driver.adopt(&revision(1, &graphs));
    let first = driver.board.take_jobs(driver.now);
    assert_eq!(first.len(), BUILDS_MAX);
    assert!(driver.board.take_jobs(driver.now).is_empty());
    driver.board.finished(&first[0], Ok(1), driver.now);
    assert_eq!(driver.board.take_jobs(driver.now).len(), 1);
}

#[test]
fn a_build_that_was_overtaken_is_not_served() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    let old = driver.board.take_jobs(driver.now);
    driver.adopt(&revision(2, &[("a", 2)]));
    assert!(
        driver.board.take_jobs(driver.now).is_empty(),
        "one build per graph"
    );
    driver.board.finished(&old[0], Ok(1), driver.now);
    assert_eq!(driver.served("a"), None);
    assert!(!driver.board.is_settled());
    assert_eq!(driver.run(|_| Ok(2)), ["a"]);
    assert_eq!(driver.served("a"), Some((2, 2)));
}

#[test]
fn a_failure_of_what_is_not_wanted_any_more_is_no_trouble() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    driver.run(|_| Ok(1));
    driver.adopt(&revision(2, &[("a", 2)]));
    let overtaken = driver.board.take_jobs(driver.now);
    driver.adopt(&revision(3, &[("a", 1)]));
    driver
        .board
        .finished(&overtaken[0], Err(trouble()), driver.now);
    assert_eq!(driver.view("a").phase, Phase::Ready);
    driver.run(|_| Ok(3));
    assert_eq!(driver.view("a").phase, Phase::Ready);
    assert!(driver.board.is_settled());
}

#[test]
fn another_incarnation_is_another_graph() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    driver.run(|_| Ok(1));
    let mut recreated = revision(2, &[("a", 1)]);
    recreated.graphs[0].root.incarnation = omnigraph_engine::Incarnation::new();
    driver.adopt(&recreated);
    assert_eq!(driver.view("a").phase, Phase::Loading);
    assert_eq!(driver.served("a"), None);
}

#[test]
fn a_build_that_ended_without_saying_how_is_built_again() {
    let mut driver = Driver::new();
    driver.adopt(&revision(1, &[("a", 1)]));
    assert_eq!(driver.board.take_jobs(driver.now).len(), 1);
    driver.board.forget_builds(driver.now);
    driver.wait(RETRY_FIRST);
    assert_eq!(driver.run(|_| Ok(1)), ["a"]);
}
