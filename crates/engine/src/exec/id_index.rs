//! From ids to ordinals, without a second copy of the ids.

use std::hash::Hasher;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use rustc_hash::FxHasher;

use super::column::Column;
use super::live::LiveSet;
use super::part_cache::Part;
use crate::error::{Error, Result};

const EMPTY: u64 = u64::MAX;

/// Finds the live row with an id. Layers cover consecutive ranges of ordinals; a derived version
/// shares those of its base and adds one for the new rows.
pub(crate) struct IdIndex {
    ids: Arc<Column>,
    live: Arc<LiveSet>,
    layers: Vec<Arc<Layer>>,
}

/// Open addressing: the upper half of a slot is the upper half of the hash, the lower the ordinal.
struct Layer {
    start: u32,
    end: u32,
    slots: Vec<u64>,
}

impl IdIndex {
    /// The index of a snapshot, from that of a former version with the same ordinals.
    ///
    /// # Errors
    /// `Corrupt` if an id is missing.
    pub(crate) fn build(
        ids: Arc<Column>,
        live: Arc<LiveSet>,
        base: Option<&IdIndex>,
    ) -> Result<Self> {
        let mut layers = base.map_or_else(Vec::new, |base| base.layers.clone());
        let mut start = layers.last().map_or(0, |layer| layer.end);
        let end = ids.rows() as u32;
        if start < end {
            // Merge with younger layers that are not much larger.
            while layers
                .last()
                .is_some_and(|last| last.end - last.start <= 2 * (end - start))
            {
                start = layers.pop().map_or(start, |last| last.start);
            }
            layers.push(Arc::new(Layer::build(&ids, &live, start, end)?));
        }
        Ok(Self { ids, live, layers })
    }

    pub(crate) fn ordinal_of(&self, id: &str) -> Option<u32> {
        let hash = hash(id);
        self.layers.iter().rev().find_map(|layer| {
            layer.find(hash, |ordinal| {
                self.live.contains(ordinal) && self.ids.text(ordinal) == Some(id)
            })
        })
    }

    /// The id of a row, also of one that is dead.
    pub(crate) fn id(&self, ordinal: u32) -> &str {
        self.ids.text(ordinal).unwrap_or_default()
    }
}

impl Part for IdIndex {
    /// The ids are charged as a column.
    fn bytes(&self) -> usize {
        self.layers.iter().map(|l| l.slots.len() * 8 + 64).sum()
    }
}

impl Layer {
    fn build(ids: &Column, live: &LiveSet, start: u32, end: u32) -> Result<Self> {
        let capacity = ((end - start) as usize * 2).next_power_of_two().max(8);
        let mask = capacity - 1;
        let mut slots = vec![EMPTY; capacity];
        for (first, array) in ids.segments() {
            let array = array.as_string_opt::<i32>();
            let array = array.ok_or_else(|| Error::corrupt("ids of a table are not text"))?;
            let from = start.max(first);
            let until = end.min(first + array.len() as u32);
            for ordinal in from..until {
                if !live.contains(ordinal) {
                    continue;
                }
                let hash = hash(array.value((ordinal - first) as usize));
                let mut slot = hash as usize & mask;
                while slots[slot] != EMPTY {
                    slot = (slot + 1) & mask;
                }
                slots[slot] = (hash & 0xffff_ffff_0000_0000) | u64::from(ordinal);
            }
        }
        Ok(Self { start, end, slots })
    }

    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == EMPTY {
                return None;
            }
            let ordinal = entry as u32;
            if entry >> 32 == hash >> 32 && is_it(ordinal) {
                return Some(ordinal);
            }
            slot = (slot + 1) & mask;
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(id.as_bytes());
    hasher.finish()
}
