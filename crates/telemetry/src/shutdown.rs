//! Stopping: a signal, a cancelled token, a drain with a bound.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns the stop of a process: who wants it, who has to finish, and for how long they may take.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn serve(stop: tokio_util::sync::CancellationToken) { stop.cancelled().await }
/// # async fn run() -> std::io::Result<()> {
/// let shutdown = omnigraph_telemetry::Shutdown::on_signals(Duration::from_secs(30))?;
/// shutdown.spawn(serve(shutdown.token()));
/// shutdown.requested().await;
/// shutdown.drain().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    bound: Duration,
    signals: watch::Receiver<u32>,
    listener: Option<JoinHandle<()>>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task finished.
    Clean,
    /// The bound ran out with so many tasks left.
    TimedOut {
        /// Tasks that had not finished.
        left: usize,
    },
    /// A second signal came: somebody does not want to wait.
    Hurried {
        /// Tasks that had not finished.
        left: usize,
    },
}

impl Shutdown {
    /// Stops on SIGTERM or SIGINT; tasks get `bound` to finish. Must run inside a tokio runtime.
    pub fn on_signals(bound: Duration) -> io::Result<Shutdown> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (count, signals) = watch::channel(0);
        let token = CancellationToken::new();
        let stop = token.clone();
        let listener = tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "stopping");
                count.send_modify(|n| *n += 1);
                stop.cancel();
            }
        });
        Ok(Shutdown {
            token,
            tasks: TaskTracker::new(),
            bound,
            signals,
            listener: Some(listener),
        })
    }

    /// Stops only when [`Shutdown::request`] is called: for servers inside another process.
    pub fn manual(bound: Duration) -> Shutdown {
        Shutdown {
            token: CancellationToken::new(),
            tasks: TaskTracker::new(),
            bound,
            signals: watch::channel(0).1,
            listener: None,
        }
    }

    /// Cancelled as soon as the process is to stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Asks for the stop without a signal.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Waits until the stop is asked for.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Runs a task that [`Shutdown::drain`] waits for. It has to heed the token.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Cancels the token and waits for the tasks: until they are done, the bound runs out, or a
    /// second signal comes. Tasks that are left end with the runtime.
    pub async fn drain(mut self) -> Drained {
        self.token.cancel();
        self.tasks.close();
        let outcome = tokio::select! {
            biased;
            () = self.tasks.wait() => Drained::Clean,
            () = second_signal(&mut self.signals) => Drained::Hurried { left: self.tasks.len() },
            () = tokio::time::sleep(self.bound) => Drained::TimedOut { left: self.tasks.len() },
        };
        match outcome {
            Drained::Clean => tracing::info!("stopped"),
            Drained::TimedOut { left } => tracing::warn!(left, "stopped before all work was done"),
            Drained::Hurried { left } => tracing::warn!(left, "stopped at once"),
        }
        outcome
    }
}

/// Never comes when nobody listens for signals.
async fn second_signal(signals: &mut watch::Receiver<u32>) {
    if signals.wait_for(|n| *n >= 2).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_drain_waits_for_tasks_that_heed_the_token() {
        let shutdown = Shutdown::manual(LONG);
        let token = shutdown.token();
        let task = shutdown.spawn(async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            7
        });
        assert_eq!(shutdown.drain().await, Drained::Clean);
        assert_eq!(task.await.expect("finished"), 7);
    }

    #[tokio::test]
    async fn a_drain_ends_with_its_bound() {
        let shutdown = Shutdown::manual(Duration::from_millis(10));
        shutdown.spawn(std::future::pending::<()>());
        assert_eq!(shutdown.drain().await, Drained::TimedOut { left: 1 });
    }

    fn signal_self() {
        let status = std::process::Command::new("sh")
            .args(["-c", "kill -TERM $PPID"])
            .status()
            .expect("sh runs");
        assert!(status.success());
    }

    #[tokio::test]
    async fn one_signal_stops_and_a_second_one_hurries() {
        let shutdown = Shutdown::on_signals(LONG).expect("signals can be caught");
        shutdown.spawn(std::future::pending::<()>());
        signal_self();
        let requested = tokio::time::timeout(LONG, shutdown.requested()).await;
        requested.expect("the signal cancels the token");
        // Signals of one kind merge while the first is pending, so the second is sent after it.
        let drain = tokio::spawn(shutdown.drain());
        signal_self();
        let outcome = tokio::time::timeout(LONG, drain).await;
        let outcome = outcome.expect("bounded").expect("no panic");
        assert_eq!(outcome, Drained::Hurried { left: 1 });
    }
}
