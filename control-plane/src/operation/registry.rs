//! The operations that this process runs or has run, and those that earlier leaders told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ulid::Ulid;

use super::{Ended, Operation};

/// Operations that are remembered with their events.
const KEPT: usize = 32;
/// Events of ended operations that are kept in all.
const EVENTS_KEPT: usize = 50_000;
/// Operations that heartbeats tell of.
const RECENT: usize = 16;

/// What a process knows of operations.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    own: Mutex<BTreeMap<Ulid, Arc<Operation>>>,
    /// Of earlier leaders, oldest first.
    inherited: Mutex<Vec<Ended>>,
}

impl Operations {
    pub(crate) fn add(&self, operation: &Arc<Operation>) {
        let mut own = self.own.lock();
        own.insert(operation.id(), Arc::clone(operation));
        let mut events = 0;
        let ended: Vec<Ulid> = own
            .values()
            .rev()
            .filter(|one| one.has_ended())
            .enumerate()
            .filter(|(index, one)| {
                events += one.weight();
                *index >= KEPT || events > EVENTS_KEPT
            })
            .map(|(_, one)| one.id())
            .collect();
        for id in ended {
            if let Some(forgotten) = own.remove(&id) {
                // In a few words it is remembered for longer.
                let record = Ended::of(&forgotten.describe(), &forgotten.running);
                self.inherit(vec![record]);
            }
        }
    }

    /// There was no operation: nothing was begun.
    pub(crate) fn remove(&self, id: Ulid) {
        self.own.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: Ulid) -> Option<Arc<Operation>> {
        self.own.lock().get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Operation>> {
        self.own.lock().values().cloned().collect()
    }

    /// Takes over what another leader knew.
    pub(crate) fn inherit(&self, more: Vec<Ended>) {
        let mut inherited = self.inherited.lock();
        for one in more {
            let id = one.running.operation_id;
            if !inherited
                .iter()
                .any(|known| known.running.operation_id == id)
            {
                inherited.push(one);
            }
        }
        inherited.sort_by_key(|one| one.running.operation_id);
        let surplus = inherited.len().saturating_sub(RECENT);
        inherited.drain(..surplus);
    }

    /// The newest that have ended, for the heartbeat; oldest first.
    pub(crate) fn recent(&self) -> Vec<Ended> {
        let mut recent = self.inherited.lock().clone();
        let own = self.all();
        let ended = own.iter().filter(|one| one.has_ended());
        for one in ended {
            recent.retain(|known| known.running.operation_id != one.id());
            recent.push(Ended::of(&one.describe(), &one.running));
        }
        recent.sort_by_key(|one| one.running.operation_id);
        let surplus = recent.len().saturating_sub(RECENT);
        recent.drain(..surplus);
        recent
    }
}
