//! What was made for a change of schema that did not land, because rows of the type came meanwhile:
//! its next try makes anew only what these rows ask for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lance_table::format::{DataFile, Fragment, IndexMetadata};
use parking_lot::Mutex;

/// Files that no version names are kept for a day: what is half as old is not relied upon any more
/// (storage protocol, section 7).
const RELIED_ON: Duration = Duration::from_secs(12 * 3600);
/// Entries that are remembered.
const MOST: usize = 10_000;

/// Files of filled columns and index segments that wait for a version to name them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    files: Mutex<HashMap<String, Since<Vec<DataFile>>>>,
    segments: Mutex<HashMap<String, Since<Vec<Segment>>>>,
}

#[derive(Clone, Debug)]
struct Since<T> {
    at: Duration,
    what: T,
}

/// A segment of an index, and what it was built over.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) index: IndexMetadata,
    /// Its fragments, by id, as [`content`] says.
    over: BTreeMap<u64, String>,
}

impl Kept {
    pub(super) fn files(&self, key: &str, now: Duration) -> Option<Vec<DataFile>> {
        get(&self.files, key, now)
    }

    pub(super) fn keep_files(&self, key: String, now: Duration, files: Vec<DataFile>) {
        put(&self.files, key, now, files);
    }

    /// The segments under a name, if all that they cover is still among the fragments.
    pub(super) fn segments(
        &self,
        key: &str,
        now: Duration,
        fragments: &[Fragment],
    ) -> Option<Vec<Segment>> {
        let there: HashMap<u64, String> = fragments.iter().map(|f| (f.id, content(f))).collect();
        get(&self.segments, key, now).filter(|segments| {
            let mut over = segments.iter().flat_map(|segment| &segment.over);
            over.all(|(id, content)| there.get(id) == Some(content))
        })
    }

    pub(super) fn keep_segments(&self, key: String, now: Duration, segments: Vec<Segment>) {
        put(&self.segments, key, now, segments);
    }
}

impl Segment {
    pub(super) fn new(index: IndexMetadata, fragments: &[&Fragment]) -> Self {
        let over = fragments.iter().map(|f| (f.id, content(f))).collect();
        Self { index, over }
    }

    pub(super) fn covers(&self, fragment: u64) -> bool {
        self.over.contains_key(&fragment)
    }
}

/// What tells the rows of a fragment from all others, deletions aside: its files are never written
/// twice.
pub(super) fn content(fragment: &Fragment) -> String {
    let files: Vec<&str> = fragment.files.iter().map(|file| &*file.path).collect();
    files.join(" ")
}

fn get<T: Clone>(from: &Mutex<HashMap<String, Since<T>>>, key: &str, now: Duration) -> Option<T> {
    let known = from.lock();
    let found = known.get(key)?;
    (now.saturating_sub(found.at) <= RELIED_ON).then(|| found.what.clone())
}

fn put<T>(into: &Mutex<HashMap<String, Since<T>>>, key: String, now: Duration, what: T) {
    let mut known = into.lock();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(key, Since { at: now, what });
}
