//! Real binaries on real ports, for the tests in `tests/e2e/`.
//!
//! | module | subject |
//! |---|---|
//! | [`process`] | daemons: started, read, killed, stopped |
//! | [`cli`] | `omnigraphctl` as a person or a script runs it |
//! | [`cluster`] | a copy of the shipped example, and the daemons that serve it |
//! | [`load`] | a steady stream of reads that must not fail |
//! | [`reflect`] | a gRPC client that knows no `.proto` file |
//! | [`s3`] | an S3 server |
//! | [`writers`] | many writing processes, some of which are killed |
//!
//! The tests need the workspace's binaries beside themselves: `cargo build --workspace --bins`.

pub mod cli;
pub mod cluster;
pub mod load;
pub mod process;
pub mod reflect;
pub mod s3;
pub mod writers;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(25);

/// Waits until `look` finds something; panics with `what` when `bound` runs out.
pub async fn until<T, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < bound, "waited {bound:?} for: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A binary of this workspace, as cargo built it beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the test knows where it is");
    // target/debug/deps/e2e-… or target/debug/e2e
    let found = tests
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `cargo build --workspace --bins` before the tests")
    })
}
