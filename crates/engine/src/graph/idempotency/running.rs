//! Requests with a key that run in this process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Keyed;
use crate::error::Result;
use crate::graph::Graph;

/// Keys of requests that run in this process, with their fingerprints.
#[derive(Clone, Debug, Default)]
pub(in crate::graph) struct Running {
    keys: Arc<Mutex<HashMap<String, String>>>,
}

/// Held while a request with a key runs.
#[derive(Debug)]
pub(crate) struct Admission {
    running: Running,
    name: String,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.running.keys.lock().remove(&self.name);
    }
}

impl Graph {
    /// Takes a key for this process as long as the result lives.
    pub(crate) fn admit(&self, keyed: &Keyed) -> Result<Admission> {
        use std::collections::hash_map::Entry;
        let name = keyed.name();
        let running = self.shared.running.clone();
        match running.keys.lock().entry(name.clone()) {
            Entry::Occupied(other) if *other.get() != keyed.fingerprint => {
                return Err(keyed.mismatch(None));
            }
            Entry::Occupied(_) => return Err(keyed.in_progress()),
            Entry::Vacant(free) => free.insert(keyed.fingerprint.clone()),
        };
        Ok(Admission { running, name })
    }
}
