//! Places at which a test can make an operation fail, stop or crash. In release builds nothing of
//! this remains but an empty call.

use crate::error::Result;

/// The steps of operations. The first six are those of a change that moves a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Everything is staged, no sidecar exists.
    Staged,
    /// The sidecar is written.
    Armed,
    /// The ledger was looked at once more.
    Checked,
    /// The graph's log has the commit.
    Acted,
    /// The ledger has the revision.
    Recorded,
    /// The sidecar is removed.
    Disarmed,
    /// The catalog has every text that the revision will name.
    Catalogued,
    /// New graphs are prepared; nobody sees them.
    Prepared,
    /// What needs no move is about to be written to the ledger.
    Publishing,
    /// The ledger has it.
    Published,
    /// The branches of deleted graphs have ended.
    Ended,
    /// The approvals that were used say so.
    Consumed,
    /// An approval is about to be written.
    Approving,
    /// It is written.
    Approved,
    /// Recovery knows what became of a sidecar's commit.
    Fenced,
    /// Recovery has rolled the ledger forward.
    RolledForward,
}

impl Point {
    /// Every point of a change that moves a graph, in the order of the steps.
    pub const ALL: [Point; 6] = [
        Point::Staged,
        Point::Armed,
        Point::Checked,
        Point::Acted,
        Point::Recorded,
        Point::Disarmed,
    ];

    /// The point's name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Point::Staged => "staged",
            Point::Armed => "armed",
            Point::Checked => "checked",
            Point::Acted => "acted",
            Point::Recorded => "recorded",
            Point::Disarmed => "disarmed",
            Point::Catalogued => "catalogued",
            Point::Prepared => "prepared",
            Point::Publishing => "publishing",
            Point::Published => "published",
            Point::Ended => "ended",
            Point::Consumed => "consumed",
            Point::Approving => "approving",
            Point::Approved => "approved",
            Point::Fenced => "fenced",
            Point::RolledForward => "rolled_forward",
        }
    }
}

/// What happens at a point.
#[derive(Clone, Debug)]
pub enum Action {
    /// The step fails with an error, and the operation goes on as after any failure.
    Fail,
    /// The step goes on when the semaphore has a permit.
    Hold(std::sync::Arc<tokio::sync::Semaphore>),
    /// The operation never gets further, as if the process had died.
    Hang,
    /// The step goes on when the file exists; everything else goes on meanwhile.
    Until(std::path::PathBuf),
    /// The process is stopped as by SIGSTOP, and goes on when somebody continues it.
    Stop,
    /// The process dies.
    Abort,
}

/// Decides what happens at each point.
#[derive(Clone, Default)]
pub struct Failpoints {
    #[cfg(debug_assertions)]
    decide: Option<std::sync::Arc<dyn Fn(Point) -> Option<Action> + Send + Sync>>,
}

impl std::fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failpoints")
    }
}

impl Failpoints {
    /// Failpoints that ask `decide`; ignored in release builds.
    #[cfg(debug_assertions)]
    pub fn new(decide: impl Fn(Point) -> Option<Action> + Send + Sync + 'static) -> Self {
        Self {
            decide: Some(std::sync::Arc::new(decide)),
        }
    }

    /// What `OMNIGRAPH_FAILPOINT` asks for, as `acted=hang`: actions are `error`,
    /// `hang`, `stop`, `until:FILE`, `crash`.
    /// When it is hit, a line on stdout says so.
    #[cfg(debug_assertions)]
    pub fn from_env() -> Self {
        let Ok(text) = std::env::var("OMNIGRAPH_FAILPOINT") else {
            return Self::default();
        };
        let (name, action) = text.split_once('=').unwrap_or((&text, "crash"));
        let name = name.to_owned();
        let action = match action {
            "error" => Action::Fail,
            "hang" => Action::Hang,
            "stop" => Action::Stop,
            other => match other.strip_prefix("until:") {
                Some(file) => Action::Until(file.into()),
                None => Action::Abort,
            },
        };
        // Once: what goes on afterwards goes on undisturbed.
        let armed = std::sync::atomic::AtomicBool::new(true);
        Self::new(move |point| {
            let hit =
                point.name() == name && armed.swap(false, std::sync::atomic::Ordering::Relaxed);
            if hit {
                use std::io::Write as _;
                println!("OMNIGRAPH_FAILPOINT_HIT={name}");
                let _ = std::io::stdout().flush();
            }
            hit.then(|| action.clone())
        })
    }

    /// Nothing, in a release build.
    #[cfg(not(debug_assertions))]
    pub fn from_env() -> Self {
        Self::default()
    }

    #[cfg(debug_assertions)]
    pub(crate) async fn hit(&self, point: Point) -> Result<()> {
        let action = self.decide.as_ref().and_then(|decide| decide(point));
        match action {
            None => Ok(()),
            Some(Action::Fail) => {
                let message = format!("failpoint {} was hit", point.name());
                Err(crate::error::Error::unavailable(message))
            }
            Some(Action::Hold(gate)) => {
                if let Ok(permit) = gate.acquire().await {
                    permit.forget();
                }
                Ok(())
            }
            Some(Action::Hang) => std::future::pending().await,
            Some(Action::Until(file)) => {
                while !file.exists() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Ok(())
            }
            Some(Action::Stop) => {
                stop_itself().await;
                Ok(())
            }
            Some(Action::Abort) => std::process::abort(),
        }
    }

    #[cfg(not(debug_assertions))]
    pub(crate) async fn hit(&self, _: Point) -> Result<()> {
        Ok(())
    }
}

/// Every thread stands still until the process is continued.
#[cfg(debug_assertions)]
async fn stop_itself() {
    let own = std::process::id().to_string();
    let kill = tokio::process::Command::new("kill")
        .args(["-STOP", &own])
        .status();
    if let Err(error) = kill.await {
        tracing::error!(%error, "the failpoint cannot stop this process");
    }
}
