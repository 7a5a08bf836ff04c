//! Random work and collections against a model: nothing that is kept ever goes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Fork(usize, usize),
    ForkAt(usize, usize),
    Delete(usize),
    Merge(usize, usize),
    Pass(u64),
    Die(usize),
    Collect(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4usize).prop_map(Step::Add),
        2 => (0..4usize, 0..4usize).prop_map(|(a, b)| Step::Fork(a, b)),
        1 => (0..4usize, 0..64usize).prop_map(|(a, b)| Step::ForkAt(a, b)),
        1 => (1..4usize).prop_map(Step::Delete),
        2 => (0..4usize, 0..4usize).prop_map(|(a, b)| Step::Merge(a, b)),
        3 => (1..40u64).prop_map(Step::Pass),
        1 => (0..4usize).prop_map(Step::Die),
        3 => (1..4u64).prop_map(Step::Collect),
    ];
    prop::collection::vec(step, 10..40)
}

const NAMES: [&str; 4] = ["main", "a", "b", "c"];

/// What was ever committed, and the own commits of each living branch with the time at which they
/// became its head.
#[derive(Default)]
struct Model {
    contents: BTreeMap<CommitId, BTreeSet<String>>,
    order: Vec<CommitId>,
    branches: BTreeMap<&'static str, Vec<(CommitId, i64)>>,
    /// The most that a collection since was allowed to take from each branch.
    least: u64,
}

impl Model {
    fn commit(&mut self, branch: &'static str, id: CommitId, names: BTreeSet<String>, now: i64) {
        self.contents.insert(id, names);
        self.order.push(id);
        self.branches.entry(branch).or_default().push((id, now));
    }

    /// Commits that every collection so far had to keep.
    fn kept(&self, now: i64) -> BTreeSet<CommitId> {
        let day = i64::try_from(DAY.as_micros()).unwrap();
        let mut kept = BTreeSet::new();
        for own in self.branches.values() {
            let least = usize::try_from(self.least.max(1)).unwrap();
            kept.extend(own.iter().rev().take(least).map(|(id, _)| *id));
            let superseded = own.windows(2).filter(|pair| pair[1].1 >= now - day);
            kept.extend(superseded.map(|pair| pair[0].0));
        }
        kept
    }
}

async fn run(steps: Vec<Step>) {
    let bench = Bench::new().await;
    let mut model = Model {
        least: u64::MAX,
        ..Model::default()
    };
    let first = bench.graph.branch(&branch("main")).await.unwrap().head.id;
    model.commit("main", first, BTreeSet::new(), bench.clock.now_micros());
    for (number, step) in steps.into_iter().enumerate() {
        one(&bench, &mut model, number, step.clone()).await;
        if matches!(step, Step::Collect(_)) {
            check(&bench, &model, &format!("{number} {step:?}")).await;
        }
    }
    // In the end nothing but the heads' history is left.
    bench.pass(DAY * 3);
    bench.collect(1).await;
    bench.pass(DAY * 2);
    bench.collect(1).await;
    bench.pass(DAY * 2);
    model.least = 1;
    bench.collect(1).await;
    check(&bench, &model, "the end").await;
    assert_eq!(bench.leftovers(1).await, Vec::<Path>::new());
}

async fn one(bench: &Bench, model: &mut Model, number: usize, step: Step) {
    let now = || bench.clock.now_micros();
    match step {
        Step::Add(which) => {
            let on = NAMES[which];
            let Some((head, _)) = model.branches.get(on).and_then(|own| own.last().copied()) else {
                return;
            };
            let name = format!("n{number}");
            let id = bench.add(on, &name).await;
            let mut names = model.contents[&head].clone();
            names.insert(name);
            model.commit(on, id, names, now());
        }
        Step::Fork(which, from) => {
            let (name, from) = (NAMES[which], NAMES[from]);
            if let Some((head, _)) = model.branches.get(from).and_then(|own| own.last().copied())
                && bench.fork(name, &on(from)).await.is_ok()
            {
                model.branches.insert(name, vec![(head, now())]);
            }
        }
        Step::ForkAt(which, which_commit) => {
            let name = NAMES[which];
            let id = model.order[which_commit % model.order.len()];
            if bench.fork(name, &at(id)).await.is_ok() {
                model.branches.insert(name, vec![(id, now())]);
            }
        }
        Step::Delete(which) => {
            let name = NAMES[which];
            if model.branches.remove(name).is_some() {
                let by = Authorship::default();
                let name = branch(name);
                bench.graph.delete_branch(&name, None, &by).await.unwrap();
            }
        }
        Step::Merge(from, into) => {
            let (from, into) = (NAMES[from], NAMES[into]);
            let (source, target) = (branch(from), branch(into));
            let options = MergeOptions::default();
            if let Ok(result) = bench.graph.merge(&source, &target, &options).await
                && let Some(commit) = result.commit
            {
                let (theirs, _) = *model.branches[from].last().unwrap();
                let (ours, _) = *model.branches[into].last().unwrap();
                let both = &model.contents[&theirs] | &model.contents[&ours];
                model.commit(into, commit.id, both, now());
            }
        }
        Step::Pass(hours) => bench.pass(HOUR * u32::try_from(hours).unwrap()),
        Step::Die(which) => {
            if model.branches.contains_key(NAMES[which]) {
                bench.die(NAMES[which]).await;
            }
        }
        Step::Collect(keep) => {
            model.least = model.least.min(keep);
            bench.other().collect(keep).await;
        }
    }
}

async fn check(bench: &Bench, model: &Model, when: &str) {
    let fresh = bench.other();
    for (name, own) in &model.branches {
        let (head, _) = own.last().unwrap();
        let names = fresh.names(&on(name)).await;
        assert_eq!(
            names.as_ref().ok(),
            model.contents.get(head),
            "{when}: {name} {names:?}"
        );
    }
    let kept = model.kept(bench.clock.now_micros());
    for (id, contents) in &model.contents {
        match fresh.names(&at(*id)).await {
            Ok(names) => assert_eq!(names, *contents, "{when}: {id}"),
            Err(error) => {
                assert!(!kept.contains(id), "{when}: {id} had to be kept: {error:?}");
                // Never a file that is missing: what is gone says so.
                assert_eq!(
                    error.kind(),
                    crate::error::ErrorKind::NotFound,
                    "{when}: {error:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_is_kept_is_ever_removed(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Box::pin(run(steps)));
    }
}
