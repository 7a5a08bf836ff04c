//! The contract of the log over each store, and every interleaving that breaks a simpler rule.

mod contract;
mod faults;
mod truncation;

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, memory::InMemory};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::fault::{FaultStore, Op, TestClock};
use super::{Entry, Log, Seq};

pub(super) const SOON: Duration = Duration::from_secs(5);
/// For outcomes that stay unknown: every test of them waits so long.
pub(super) const SHORT: Duration = Duration::from_millis(60);

/// What the tests write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Note {
    Text { id: Ulid, text: String },
    Void { id: Ulid },
}

impl Note {
    pub(super) fn new(text: &str) -> Self {
        Note::Text {
            id: Ulid::new(),
            text: text.to_owned(),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Note::Text { text, .. } => text,
            Note::Void { .. } => "",
        }
    }
}

impl Entry for Note {
    fn entry_id(&self) -> Ulid {
        match self {
            Note::Text { id, .. } | Note::Void { id } => *id,
        }
    }

    fn void(id: Ulid) -> Self {
        Note::Void { id }
    }
}

/// A log over a store whose requests a test counts and spoils.
pub(super) struct Bench {
    pub(super) store: FaultStore,
    pub(super) clock: Arc<TestClock>,
    pub(super) log: Log<Note>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    pub(super) fn over(inner: Arc<dyn ObjectStore>) -> Self {
        let store = FaultStore::new(inner);
        let clock = Arc::new(TestClock::default());
        let log = open(&store, &clock);
        Self { store, clock, log }
    }

    /// Another process: it shares the store and remembers nothing.
    pub(super) fn other(&self) -> Log<Note> {
        open(&self.store, &self.clock)
    }

    /// Appends `count` entries and forgets the requests.
    pub(super) async fn fill(&self, count: u64) {
        let mut head = self.log.head(None).await.unwrap().map(|(seq, _)| seq);
        for _ in 0..count {
            let text = head.map_or(0, |seq| seq.0 + 1).to_string();
            head = Some(
                self.log
                    .append(head, &Note::new(&text), SOON)
                    .await
                    .unwrap(),
            );
        }
        self.store.take_counts();
    }

    pub(super) fn requests(&self) -> Vec<(Op, u64)> {
        self.store.take_counts()
    }

    /// Text of the newest entry as a new process finds it.
    pub(super) async fn newest(&self) -> Option<(u64, String)> {
        let head = self.other().head(None).await.unwrap();
        head.map(|(seq, note)| (seq.0, note.text().to_owned()))
    }
}

fn open(store: &FaultStore, clock: &Arc<TestClock>) -> Log<Note> {
    let store: Arc<dyn ObjectStore> = Arc::new(store.clone());
    Log::new(store, Path::from("root/log"), clock.clone())
}

pub(super) fn at(seq: u64) -> Option<Seq> {
    Some(Seq(seq))
}
