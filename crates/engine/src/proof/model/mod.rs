//! Random operations on branches against a model that is a few maps: after every step each branch
//! says what the model says; what is kept still says what it said, by commit, tag and time; what
//! was reclaimed says so; and the graph is sound.
//!
//! `OMNIGRAPH_TEST_SEED` chooses other operations, `OMNIGRAPH_PROOF_CASES` more.
//!
//! | file | subject |
//! |---|---|
//! | `data` | the model's data, its schemas and merges |
//! | `steps` | operations, chosen by chance |
//! | `pair` | a graph beside its model |
//! | `apply` | each operation on both |
//! | `look` | comparing the two |

mod apply;
mod data;
mod look;
mod pair;
mod steps;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use self::pair::Pair;
use self::steps::{Point, Step, step};
use super::dice::{Dice, number, seed};

/// Sequences of operations, where the environment does not say otherwise.
const CASES: usize = 8;

type Checked = Result<(), TestCaseError>;

async fn run(steps: Vec<Step>) -> Checked {
    let mut pair = Pair::new().await;
    let put = |name| Step::Put {
        branch: 0,
        name,
        size: 0,
    };
    let create = |branch| Step::Create {
        branch,
        from: Point::Branch(0),
    };
    let first = [put(0), put(1), create(1), create(2)];
    for (number, step) in first.iter().chain(&steps).enumerate() {
        let told = |error| TestCaseError::fail(format!("step {number}, {step:?}: {error}"));
        pair.step(step).await.map_err(told)?;
        pair.check().await.map_err(told)?;
    }
    pair.finish().await
}

#[test]
fn branches_say_what_the_model_says() {
    let cases = number("OMNIGRAPH_PROOF_CASES", CASES);
    let mut dice = Dice::new(seed(), "model");
    let bytes: Vec<u8> = (0..32).map(|_| dice.below(256) as u8).collect();
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .unwrap();
    let steps = prop::collection::vec(step(), 8..40);
    let ended = runner.run(&steps, |steps| runtime.block_on(Box::pin(run(steps))));
    if let Err(error) = ended {
        panic!("OMNIGRAPH_TEST_SEED={}: {error}", seed());
    }
}
