//! Time that passes when nobody has anything to do, and the clocks of processes in it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use omnigraph_engine::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;
use ulid::Ulid;

use super::rng::Rng;

/// 2026-01-01, in microseconds.
const EPOCH: i64 = 1_767_225_600_000_000;

/// The time of a whole run.
pub(super) struct Time {
    began: Instant,
    timers: Mutex<Timers>,
    /// Tasks that wait for their turn in this moment.
    turns: Mutex<Vec<(u64, Waker)>>,
    /// Of the task that does nothing.
    idler: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct Timers {
    now: Duration,
    next: u64,
    /// By when they are due, then by who came first.
    due: BTreeMap<(Duration, u64), Waker>,
}

impl Time {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Time {
            began: Instant::now(),
            timers: Mutex::default(),
            turns: Mutex::default(),
            idler: Mutex::default(),
        })
    }

    /// Since the beginning of the run.
    pub(super) fn now(&self) -> Duration {
        self.timers.lock().now
    }

    /// Lets those go on who wait for their turn, else goes on to the next moment at which somebody
    /// wants to wake up. False: nobody does.
    pub(super) fn advance(&self) -> bool {
        // Whoever wanted to wake up may be gone by now: then time goes on once more, which it does
        // when the runtime has been busy.
        if let Some(idler) = &*self.idler.lock() {
            idler.wake_by_ref();
        }
        let mut turns = std::mem::take(&mut *self.turns.lock());
        if !turns.is_empty() {
            turns.sort_by_key(|(task, _)| *task);
            turns.into_iter().for_each(|(_, waker)| waker.wake());
            return true;
        }
        let mut timers = self.timers.lock();
        let Some(((at, _), waker)) = timers.due.pop_first() else {
            return false;
        };
        timers.now = timers.now.max(at);
        drop(timers);
        waker.wake();
        true
    }

    /// Does nothing, for ever, each time that time goes on.
    pub(super) async fn idle(self: Arc<Self>) {
        std::future::poll_fn(|context| {
            *self.idler.lock() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Ends when nobody has anything else to do in this moment. Tasks go on in the order of their
    /// birth, whatever order they came in: tokio wakes those who watch the same value in any.
    pub(super) async fn turn(&self) {
        let mut asked = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            let task = tokio::task::try_id().map_or(0, |id| id.to_string().parse().unwrap_or(0));
            self.turns.lock().push((task, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    pub(super) fn sleep(self: &Arc<Self>, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    pub(super) fn sleep_until(self: &Arc<Self>, at: Duration) -> Sleep {
        Sleep {
            time: Arc::clone(self),
            at,
            registered: None,
        }
    }
}

/// Ends at its time.
pub(super) struct Sleep {
    time: Arc<Time>,
    at: Duration,
    registered: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = Arc::clone(&self.time);
        let mut timers = time.timers.lock();
        if timers.now >= self.at {
            if let Some(number) = self.registered.take() {
                timers.due.remove(&(self.at, number));
            }
            return Poll::Ready(());
        }
        let number = match self.registered {
            Some(number) => number,
            None => {
                timers.next += 1;
                timers.next
            }
        };
        self.registered = Some(number);
        timers
            .due
            .insert((self.at, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.registered {
            self.time.timers.lock().due.remove(&(self.at, number));
        }
    }
}

/// Whether a process gets to run.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<(Life, Vec<Waker>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Running,
    /// Stopped, and goes on later without noticing.
    Paused,
    /// Killed: none of its futures ever ends.
    Dead,
}

impl Gate {
    pub(super) fn life(&self) -> Life {
        self.state.lock().0
    }

    /// Nothing brings back the dead.
    pub(super) fn set(&self, life: Life) {
        let mut state = self.state.lock();
        if state.0 == Life::Dead {
            return;
        }
        state.0 = life;
        let waiting = std::mem::take(&mut state.1);
        drop(state);
        if life == Life::Running {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends as soon as the process runs.
    pub(super) async fn passed(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            match state.0 {
                Life::Running => Poll::Ready(()),
                Life::Paused => {
                    state.1.push(context.waker().clone());
                    Poll::Pending
                }
                Life::Dead => Poll::Pending,
            }
        })
        .await;
    }
}

/// The clock of one process: a wall clock that may be wrong, and timers that stand still with it.
pub(super) struct ProcessClock {
    pub(super) time: Arc<Time>,
    pub(super) gate: Arc<Gate>,
    /// How far the wall clock is ahead, in microseconds.
    pub(super) ahead: AtomicI64,
    pub(super) ids: Rng,
}

impl fmt::Debug for ProcessClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessClock({:?})", self.time.now())
    }
}

impl Clock for ProcessClock {
    fn now_micros(&self) -> i64 {
        let passed = i64::try_from(self.time.now().as_micros()).unwrap_or(i64::MAX);
        EPOCH + passed + self.ahead.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.time.now()
    }

    fn instant(&self) -> Instant {
        self.time.began + self.time.now()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let over = self.time.sleep_until(at - self.time.began);
        let gate = Arc::clone(&self.gate);
        async move {
            over.await;
            gate.passed().await;
        }
        .boxed()
    }

    fn fresh_id(&self) -> Ulid {
        let millis = u64::try_from(self.now_micros() / 1000).unwrap_or(0);
        let random = (u128::from(self.ids.next()) << 64) | u128::from(self.ids.next());
        Ulid::from_parts(millis, random)
    }
}
